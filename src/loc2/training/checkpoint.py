"""Checkpoints: everything that a run needs to go on as if it had never stopped."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from loc2.errors import WeightsError


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write atomically: a reader finds the old checkpoint or the new one, never a part.

    Args:
        path: file to replace.
        state: tensors, numbers, texts, lists and dictionaries.
    """
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read what :func:`write_checkpoint` wrote.

    Raises:
        WeightsError: the file is damaged.
    """
    bad = WeightsError(f"{path}: not a readable checkpoint; delete it to start anew")
    if not zipfile.is_zipfile(path):
        raise bad
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError) as error:
        raise bad from error
    return state
