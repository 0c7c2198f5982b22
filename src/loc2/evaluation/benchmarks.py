"""Running a localizer over a benchmark: one sample at a time, nothing lost, everything recorded."""

from __future__ import annotations

import platform
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch

from loc2 import __version__
from loc2.data.samples import Sample, SampleSource
from loc2.depth import HEAD_DEPTHS, DepthMap, depth_model_info
from loc2.errors import InputError, Loc2Error
from loc2.evaluation.calibration import calibrate_rows
from loc2.evaluation.records import (
    Record,
    is_finite,
    summarize_records,
    worst_position_error_m,
)
from loc2.frames import Pose
from loc2.hub import sha256_of
from loc2.localization import PROBABILITY, Localization
from loc2.localizer import Localizer
from loc2.pose.solve import Solver
from loc2.query import HeadingPrior

KNOWN_HEADING_DEG = 0.5
"""Half-width of the prior that stands for a known heading, degrees."""


@dataclass(frozen=True)
class RunOptions:
    """How a localizer is run on a benchmark.

    Attributes:
        heading_range_deg: half-width of the heading noise, and of the prior.
        heading_center_deg: heading without noise, the prior's centre.
        use_prior: tell the localizer the range of headings; no prior at 180 in any case.
        depth: ``files`` for the data set's own, else ``default`` or the name of a depth model.
        solver: name of the pose solver; None for the weights' own.
        seed: of everything drawn at random while localizing.
        limit: evaluate this many samples, evenly spread over the list; None for all.
        workers: threads that read samples ahead; they change nothing in the results.
    """

    heading_range_deg: float
    heading_center_deg: float = 0.0
    use_prior: bool = True
    depth: str = "files"
    solver: Solver | None = None
    seed: int = 0
    limit: int | None = None
    workers: int = 2

    def __post_init__(self) -> None:
        """Reject numbers that make no sense."""
        if self.limit is not None and self.limit < 1:
            raise InputError(f"limit must be at least 1, got {self.limit}")
        if self.workers < 1:
            raise InputError(f"workers must be at least 1, got {self.workers}")
        if self.depth not in ("files", "default", *HEAD_DEPTHS):
            depth_model_info(self.depth)

    @property
    def heading_prior(self) -> HeadingPrior | None:
        """What the localizer is told of the heading."""
        if not self.use_prior or self.heading_range_deg >= 180.0:
            return None
        half_width = max(self.heading_range_deg, KNOWN_HEADING_DEG)
        return HeadingPrior(self.heading_center_deg, half_width)


def evaluate(
    localizer: Localizer,
    source: SampleSource,
    options: RunOptions,
    progress: Callable[[int], None] | None = None,
) -> list[Record]:
    """Localize the samples of a benchmark.

    Samples are localized one by one, and all random numbers depend on the seed and the sample's
    name alone, so no sample's result depends on which others are evaluated.

    Args:
        localizer: what is measured.
        source: the benchmark.
        options: how it is run.
        progress: called with the number of finished samples.

    Returns:
        One record a sample, in the order of the list; failures are records too.
    """
    indices = chosen(len(source), options.limit)
    records: list[Record] = []
    for index, sample in _read_ahead(source, indices, options.workers):
        records.append(_localize(localizer, source, index, sample, options))
        if progress is not None:
            progress(len(records))
    return records


def chosen(count: int, limit: int | None) -> list[int]:
    """Return which samples of a list are evaluated: all, or evenly spread ones."""
    if limit is None or limit >= count:
        return list(range(count))
    return [i * count // limit for i in range(limit)]


def _localize(
    localizer: Localizer,
    source: SampleSource,
    index: int,
    sample: Sample | Loc2Error,
    options: RunOptions,
) -> Record:
    truth = source.truth(index)
    side_m = source.aerial_side_m(index)
    record = Record(
        id=source.sample_id(index),
        group=source.group(index),
        truth=truth,
        estimate=None,
        worst_position_m=worst_position_error_m(truth, side_m, side_m),
        failure="not localized",
    )
    if isinstance(sample, Loc2Error):
        return replace(record, failure=str(sample))
    start = time.perf_counter()
    try:
        answer = _answer(localizer, sample, options)
    except Loc2Error as error:
        return replace(record, failure=str(error), seconds=time.perf_counter() - start)
    seconds = time.perf_counter() - start
    estimate: Pose = answer.pose
    if not is_finite(estimate):
        return replace(record, failure="the pose is not finite", seconds=seconds)
    return replace(
        record,
        estimate=estimate,
        failure=None,
        confidence=answer.confidence,
        radius_90_m=answer.radius_90_m,
        seconds=seconds,
    )


def _answer(localizer: Localizer, sample: Sample, options: RunOptions) -> Localization:
    depth: str | DepthMap = options.depth
    if sample.depth is not None:
        depth = sample.depth
    return localizer.localize(
        sample.ground,
        sample.aerial,
        camera=sample.camera,
        meters_per_pixel=sample.meters_per_pixel,
        heading_prior=options.heading_prior,
        depth=depth,
        camera_height_m=sample.camera_height_m,
        solver=options.solver,
        seed=options.seed,
    )


def localize_again(
    localizer: Localizer, source: SampleSource, index: int, options: RunOptions
) -> tuple[Localization, Pose]:
    """Repeat one sample of an evaluation, to look at it.

    Returns:
        The answer, and the true pose in its aerial image.

    Raises:
        Loc2Error: the sample cannot be read or localized.
    """
    return _answer(localizer, source.load(index), options), source.truth(index)


def _read_ahead(
    source: SampleSource, indices: Sequence[int], workers: int
) -> Iterator[tuple[int, Sample | Loc2Error]]:
    """Read samples in threads, a few ahead, and give them in order."""
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[tuple[int, Future[Sample]]] = deque()
        upcoming = iter(indices)
        while True:
            while len(waiting) <= workers and (index := next(upcoming, None)) is not None:
                waiting.append((index, pool.submit(source.load, index)))
            if not waiting:
                return
            index, future = waiting.popleft()
            try:
                yield index, future.result()
            except Loc2Error as error:
                yield index, error


def results_content(
    records: list[Record],
    config: dict[str, Any],
    options: RunOptions,
    further_summaries: dict[str, Any],
) -> dict[str, Any]:
    """Assemble a results file.

    Args:
        records: answers of all samples.
        config: data set, split, weights and their checksum.
        options: how the localizer was run.
        further_summaries: summaries special to the data set, by name.

    Returns:
        ``config``, ``versions``, ``summary`` and ``calibration`` (for all and for each group), the
        further summaries, ``failures`` (names and reasons) and ``samples`` (one row each); plain
        finite values.
    """
    return {
        "config": {**config, **asdict(options)},
        "versions": versions(),
        "summary": summarize_records(records),
        "calibration": calibrate_rows(
            [r.row() for r in records], config.get("confidence", PROBABILITY) == PROBABILITY
        ),
        **further_summaries,
        "failures": {r.id: r.failure for r in records if r.failure is not None},
        "samples": [r.row() for r in records],
    }


def versions() -> dict[str, str]:
    """Return the versions of what decides a result."""
    return {
        "loc2": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "pillow": PIL.__version__,
    }


def weights_record(localizer: Localizer, path: Path) -> dict[str, str]:
    """Return what a results file says of the weights: name, checksum, licence, source.

    Args:
        localizer: the localizer that was measured.
        path: the file its weights came from.
    """
    keys = ("licence", "source", "source_sha256")
    said = {key: localizer.metadata[key] for key in keys if key in localizer.metadata}
    return {"name": localizer.weights, "sha256": sha256_of(path), **said}
