"""Generated scenes on the fly, and to disk with several processes."""

from __future__ import annotations

import json
import multiprocessing
import re
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path

from loc2.errors import InputError, OutputError
from loc2.scenes.manifest import finished_ids, write_pair
from loc2.scenes.pairs import SceneOptions, ScenePair, generate_pair

OPTIONS_NAME = "scenes.json"


class SceneDataset:
    """Pairs of a range of seeds, generated when asked for.

    Indexing is a pure function, so the data set can be shared by worker processes.
    """

    def __init__(self, first_seed: int, count: int, options: SceneOptions | None = None) -> None:
        """Choose the seeds ``first_seed`` to ``first_seed + count - 1``.

        Raises:
            InputError: a negative seed or count.
        """
        if first_seed < 0 or count < 0:
            raise InputError(f"seed and count must not be negative, got {first_seed} and {count}")
        self.first_seed = first_seed
        self.count = count
        self.options = options or SceneOptions()

    def __len__(self) -> int:
        """Return the number of pairs."""
        return self.count

    def __getitem__(self, index: int) -> ScenePair:
        """Generate the pair at an index.

        Raises:
            IndexError: there is no such index.
        """
        if not 0 <= index < self.count:
            raise IndexError(index)
        return generate_pair(self.first_seed + index, self.options)


def make_scenes(dataset: SceneDataset, folder: Path, workers: int) -> Iterator[tuple[int, int]]:
    """Write all pairs of a data set to a folder, those that are there already left out.

    Args:
        dataset: what to make.
        folder: output folder; its manifest is extended.
        workers: processes; 0 or 1 to work in this one.

    Yields:
        (pairs that are done, all pairs), at the start and after each pair.

    Raises:
        InputError: the folder holds pairs of other options.
        OutputError: the folder cannot be written.
    """
    _check_options(dataset.options, folder)
    # Renders of a mesh may lie in the same folder; their ids are "MESH_sSEED_NUMBER".
    made = (re.fullmatch(r"[^_]+_(\d+)", name) for name in finished_ids(folder))
    done_seeds = {int(found[1]) for found in made if found}
    seeds = [dataset.first_seed + i for i in range(len(dataset))]
    todo = [seed for seed in seeds if seed not in done_seeds]
    done = len(seeds) - len(todo)
    yield done, len(seeds)
    for pair in _generated(todo, dataset.options, workers):
        write_pair(folder, pair.rendered())
        done += 1
        yield done, len(seeds)


def _generated(seeds: list[int], options: SceneOptions, workers: int) -> Iterator[ScenePair]:
    """Yield pairs as they are finished, in no particular order with several workers."""
    if workers <= 1:
        for seed in seeds:
            yield generate_pair(seed, options)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        waiting = iter(seeds)
        running: set[Future[ScenePair]] = set()
        try:
            while True:
                for seed in waiting:
                    running.add(pool.submit(_plain_pair, seed, options))
                    if len(running) >= 2 * workers:
                        break
                if not running:
                    return
                finished, running = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    yield future.result()
        finally:
            for future in running:
                future.cancel()


def _plain_pair(seed: int, options: SceneOptions) -> ScenePair:
    """Generate a pair without its renders, which are large to send between processes."""
    pair = generate_pair(seed, options)
    return ScenePair(**{**vars(pair), "extras": None})


def _check_options(options: SceneOptions, folder: Path) -> None:
    """Write the options beside the manifest, or compare them with those of an earlier run."""
    values = {k: str(v) for k, v in sorted(vars(options).items())}
    path = folder / OPTIONS_NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            if json.loads(path.read_text(encoding="utf-8")) != values:
                raise InputError(
                    f"{folder} holds scenes made with other options; give another --output"
                )
            return
        path.write_text(json.dumps(values, indent=1), encoding="utf-8")
    except (OSError, ValueError) as error:
        raise OutputError(f"{folder}: cannot be used for output ({error})") from error
