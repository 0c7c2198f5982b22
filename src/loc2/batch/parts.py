"""The job's folder: finished parts, each written whole or not at all, and what job they are of."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from loc2.errors import InputError, OutputError
from loc2.outputs import ensure_directory

if sys.platform != "win32":
    import fcntl

_NAME = "part-{:08d}.jsonl"
_PER_FOLDER = 1000


class JobFolder:
    """The folder ``OUTPUT.job`` beside a batch's output, while the batch is not finished.

    A part is a file of results, one JSON record a line. It is written under another name, flushed
    to the disk, and renamed: after a kill at any moment a part is there completely or not at all.

    Args:
        output: the batch's output file.
    """

    def __init__(self, output: Path) -> None:
        self.output = output
        self.path = output.with_name(output.name + ".job")

    @contextlib.contextmanager
    def opened(self, job: dict[str, Any]) -> Iterator[None]:
        """Hold the folder for one run; made if it is not there.

        Where the run fails before any part is finished, nothing stays that would be in the way of
        another job.

        Args:
            job: everything that decides the results; parts of another job are not continued.

        Raises:
            InputError: another run holds it, or its parts belong to another job.
            OutputError: it cannot be written.
        """
        ensure_directory(self.path)
        with self._locked():
            try:
                known = self.path / "job.json"
                if known.is_file() and self.begun():
                    self._check(known, job)
                else:
                    self._write(known, json.dumps(job, indent=2) + "\n")
                for leftover in self.path.rglob("*.partial"):
                    leftover.unlink(missing_ok=True)
                yield
            except BaseException:
                if not self.begun():
                    with contextlib.suppress(OSError):  # what went wrong is told, not this
                        self.remove()
                raise

    def begun(self) -> bool:
        """Return whether any part is finished."""
        return any(self.path.glob("*/part-*.jsonl"))

    def has(self, index: int) -> bool:
        """Return whether a part is finished."""
        return self._part(index).is_file()

    def write(self, index: int, records: list[dict[str, Any]]) -> None:
        """Keep the results of a part.

        Raises:
            OutputError: they cannot be written.
        """
        lines = [json.dumps(record, allow_nan=False) for record in records]
        path = self._part(index)
        ensure_directory(path.parent)
        self._write(path, "\n".join(lines) + "\n")

    def read(self, parts: int) -> Iterator[list[dict[str, Any]]]:
        """Yield the results of all parts in order.

        Raises:
            InputError: a part is missing or damaged.
        """
        for index in range(parts):
            path = self._part(index)
            try:
                lines = path.read_text(encoding="utf-8").splitlines()
                yield [json.loads(line) for line in lines]
            except (OSError, ValueError) as error:
                raise InputError(f"{path}: damaged; remove it and run again") from error

    def size(self, index: int) -> int:
        """Return how many results a finished part holds."""
        with self._part(index).open("rb") as file:
            return sum(1 for _ in file)

    def remove(self) -> None:
        """Remove the folder, finished parts and all; its description goes last."""
        for entry in sorted(self.path.iterdir(), key=lambda entry: entry.name == "job.json"):
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.path.rmdir()

    @property
    def scratch(self) -> Path:
        """Name for an output that is being written; on the output's own disk."""
        return self.path / f"joined{self.output.suffix}.partial"

    def _part(self, index: int) -> Path:
        return self.path / f"{index // _PER_FOLDER:05d}" / _NAME.format(index)

    def _write(self, path: Path, text: str) -> None:
        partial = path.with_name(path.name + ".partial")
        try:
            with partial.open("w", encoding="utf-8", newline="") as file:
                file.write(text)
            settle(partial, path)
        except OSError as error:
            raise OutputError(f"{path}: cannot be written ({error.strerror})") from error

    def _check(self, known: Path, job: dict[str, Any]) -> None:
        try:
            before = json.loads(known.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{known}: damaged; remove {self.path} to begin anew") from error
        changed = sorted(k for k in before.keys() | job.keys() if before.get(k) != job.get(k))
        if changed:
            raise InputError(
                f"{self.path}: holds parts of another job ({', '.join(changed)} changed since); "
                "run that one to its end, remove the folder, or name another --output"
            )

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other runs out; the system lets go when the process ends, however it ends."""
        with (self.path / "lock").open("w") as file:
            if sys.platform != "win32":
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError as error:
                    raise InputError(f"{self.path}: another run is at work on it") from error
            yield


def settle(partial: Path, final: Path) -> None:
    """Put a finished file in place so that a power cut leaves the old one or the new one.

    Args:
        partial: the file under another name, on the same disk.
        final: its name.
    """
    with partial.open("rb+") as file:
        os.fsync(file.fileno())
    partial.replace(final)
    if sys.platform != "win32":
        folder = os.open(final.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
