"""What a run writes down: JSON lines and, if wanted, TensorBoard events."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Protocol

from loc2.errors import InputError


class _Writer(Protocol):
    def add_scalar(self, tag: str, value: float, step: int) -> None: ...
    def close(self) -> None: ...


class RunLog:
    """Appends records to ``log.jsonl``; a resumed run forgets what came after its checkpoint.

    Args:
        folder: of the run.
        from_step: records of later steps are dropped.
        tensorboard: write events too.

    Raises:
        InputError: TensorBoard is wanted and not installed.
    """

    def __init__(self, folder: Path, from_step: int, tensorboard: bool) -> None:
        self.path = folder / "log.jsonl"
        if self.path.exists():
            kept = [line for line in self._lines() if json.loads(line)["step"] <= from_step]
            partial = self.path.with_suffix(".partial")
            partial.write_text("".join(f"{line}\n" for line in kept if from_step > 0))
            partial.replace(self.path)
        self._file = self.path.open("a")
        self._writer = _tensorboard(folder / "tensorboard", from_step) if tensorboard else None

    def _lines(self) -> list[str]:
        lines = self.path.read_text().split("\n")
        # Text after the last line break is a line that a kill cut short.
        return [line for line in lines[:-1] if line]

    def write(self, record: dict[str, Any]) -> None:
        """Append a record; it must have a ``step``."""
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()
        if self._writer is not None:
            for name, value in record.items():
                if isinstance(value, float):
                    self._writer.add_scalar(name, value, record["step"])

    def sync(self) -> None:
        """Put what was written on the disk, before a checkpoint counts on it."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        if self._writer is not None:
            self._writer.close()


def _tensorboard(folder: Path, from_step: int) -> _Writer:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InputError(
            "run.tensorboard: TensorBoard is missing; pip install tensorboard"
        ) from error
    writer: _Writer = SummaryWriter(str(folder), purge_step=from_step + 1)
    return writer
