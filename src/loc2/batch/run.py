"""A batch from manifest to output: what is done already, what is left, one file at the end."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from loc2 import __version__
from loc2.batch.join import WRITERS, check_output
from loc2.batch.ledger import Part, Records
from loc2.batch.manifest import Manifest, blocks
from loc2.batch.parts import JobFolder, settle
from loc2.batch.rows import OK
from loc2.errors import InputError
from loc2.localizer import DEFAULT_WEIGHTS
from loc2.model import packaged_weights
from loc2.outputs import output_file, write_json

PART_ROWS = 100
"""Photos whose results are kept together: what a kill costs each worker at most."""

Engine = Callable[[Iterator[Part], Callable[[int], None]], Iterator[tuple[int, Records]]]
"""Does parts, in any order, and tells how many photos are done."""


@dataclass(frozen=True)
class Batch:
    """A job.

    Attributes:
        manifest: the photos.
        output: results, ``.parquet``, ``.csv`` or ``.geojson``.
        defaults: fields of :class:`loc2.request.PhotoRequest` for rows that leave them out.
        weights: file, or None for the default.
        part_rows: photos whose results are kept together.
    """

    manifest: Manifest
    output: Path
    defaults: dict[str, Any] = field(default_factory=dict)
    weights: Path | None = None
    part_rows: int = PART_ROWS

    @property
    def parts(self) -> int:
        """Number of parts."""
        return -(-self.manifest.rows // self.part_rows)

    def description(self) -> dict[str, Any]:
        """Return everything that decides the results, as plain values."""
        weights = packaged_weights(DEFAULT_WEIGHTS) if self.weights is None else self.weights
        if not weights.is_file():
            raise InputError(f"{weights}: no such weights file")
        with weights.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {
            "manifest": str(self.manifest.path.resolve()),
            "content": self.manifest.digest,
            "options": {
                k: _without_keys(str(v)) for k, v in sorted(self.defaults.items()) if v is not None
            },
            "part_rows": self.part_rows,
            "weights": digest,
            "version": __version__,
        }


def _without_keys(value: str) -> str:
    """Return what tells one value from another; of an address, which may hold keys, a digest."""
    return hashlib.sha256(value.encode()).hexdigest() if "://" in value else value


@dataclass(frozen=True)
class Summary:
    """What came of a batch.

    Attributes:
        rows: photos in all.
        ok: photos that were localized.
        failed: photos that were not; their rows say why.
        resumed: photos whose results were there from earlier runs.
        seconds: duration of this run.
        job: digest of the job's description.
    """

    rows: int
    ok: int
    failed: int
    resumed: int
    seconds: float
    job: str


def summary_path(output: Path) -> Path:
    """Return where the summary of a batch is written."""
    return output.with_name(output.name + ".summary.json")


def run_batch(batch: Batch, engine: Engine, progress: Callable[[int], None]) -> Summary:
    """Do what is left of a batch and write its output.

    After a kill at any moment, the same call goes on: finished parts are kept, unfinished ones
    are done again, and the output and its summary appear whole.

    Args:
        batch: the job.
        engine: what does the parts.
        progress: called with the number of photos done, earlier runs included.

    Raises:
        InputError: another job's parts or output are in the way, or another run is at work.
        OutputError: results cannot be written.
    """
    check_output(batch.output)
    description = batch.description()
    job = hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()
    folder = JobFolder(batch.output)
    finished = _finished(batch.output, job)
    if finished is None and batch.output.exists() and not folder.begun():
        raise InputError(f"output {batch.output}: exists already; remove it or name another")
    with output_file(batch.output), folder.opened(description):
        if finished is None:
            finished = _run(batch, folder, engine, progress, job)
        folder.remove()
    return finished


def _run(
    batch: Batch,
    folder: JobFolder,
    engine: Engine,
    progress: Callable[[int], None],
    job: str,
) -> Summary:
    started_s = time.monotonic()
    total = batch.manifest.rows
    kept = sum(min(batch.part_rows, total - i * batch.part_rows)
               for i in range(batch.parts) if folder.has(i))  # fmt: skip
    settled, under_way = kept, 0
    progress(kept)

    def told(count: int) -> None:
        nonlocal under_way
        under_way += count
        progress(min(settled + under_way, total))

    if kept < total:
        for index, records in engine(_left(batch, folder), told):
            folder.write(index, records)
            settled, under_way = settled + len(records), max(under_way - len(records), 0)
            progress(min(settled + under_way, total))
    counts = {"rows": 0, "ok": 0}

    def counted() -> Iterator[Records]:
        for records in folder.read(batch.parts):
            counts["rows"] += len(records)
            counts["ok"] += sum(record["status"] == OK for record in records)
            yield records

    WRITERS[batch.output.suffix.lower()](folder.scratch, counted())
    if counts["rows"] != total:
        raise InputError(
            f"{folder.path}: its parts hold {counts['rows']} results for {total} photos; the "
            "manifest changed while it ran; remove the folder and run again"
        )
    settle(folder.scratch, batch.output)
    ok = counts["ok"]
    seconds = round(time.monotonic() - started_s, 3)
    summary = Summary(total, ok, total - ok, kept, seconds, job)
    write_json(summary_path(batch.output), asdict(summary))
    return summary


def _left(batch: Batch, folder: JobFolder) -> Iterator[Part]:
    rows = batch.manifest.read(batch.defaults)
    for index, block in enumerate(blocks(rows, batch.part_rows)):
        if not folder.has(index):
            yield Part(index, block)


def _finished(output: Path, job: str) -> Summary | None:
    """Return the summary of the same job if an earlier run finished it."""
    try:
        known = Summary(**json.loads(summary_path(output).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return known if known.job == job and output.is_file() else None
