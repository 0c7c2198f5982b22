"""What a worker does, whatever started it: a part's photos in, its records out."""

from __future__ import annotations

import ctypes
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loc2.batch.manifest import Row
from loc2.batch.rows import result_row
from loc2.errors import Loc2Error
from loc2.geo.many import Imagery, locate_many
from loc2.localizer import Localizer

logger = logging.getLogger(__name__)

_PHOTOS_A_TRIM = 25


@dataclass(frozen=True)
class Setup:
    """How a worker works.

    Attributes:
        weights: file, or None for the default.
        device: ``cpu``, ``cuda``, ...
        threads: threads within an operation of PyTorch on the CPU.
        readers: threads that read images.
        batch_size: images that go through the network together; None for the device's usual.
        cache_bytes: memory for aerial imagery and features.
    """

    weights: Path | None = None
    device: str | None = None
    threads: int = 1
    readers: int = 2
    batch_size: int | None = None
    cache_bytes: int = 1 << 30


class Worker:
    """A loaded model with its cache of aerial features, kept from part to part.

    Args:
        setup: how it works.

    Raises:
        Loc2Error: the weights or the device cannot be used.
    """

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._localizer = Localizer.from_pretrained(setup.weights, setup.device)
        self._imagery = Imagery(setup.cache_bytes)

    @property
    def windows_made(self) -> int:
        """Number of aerial windows that were read and described."""
        return self._imagery.windows.made

    def run(self, rows: list[Row], told: Callable[[int], None] | None = None) -> list[Any]:
        """Localize photos and return their records, in order.

        Args:
            rows: the photos.
            told: called with one after each photo.
        """
        outcomes = locate_many(
            self._localizer,
            rows,
            Row.request,
            imagery=self._imagery,
            batch_size=self._setup.batch_size or self._localizer.default_batch_size,
            readers=self._setup.readers,
        )
        records = []
        for count, (row, outcome) in enumerate(zip(rows, outcomes, strict=True), 1):
            if isinstance(outcome, Exception) and not isinstance(outcome, Loc2Error):
                logger.error("row %d (%s)", row.number, row.id, exc_info=outcome)
            records.append(result_row(row, outcome))
            if told is not None:
                told(1)
            if count % _PHOTOS_A_TRIM == 0 or count == len(rows):
                give_back_memory()
        return records


def give_back_memory() -> None:
    """Return what is freed, but kept by the C library, to the system where that is possible.

    Threads that allocate and free whole images leave glibc's arenas in pieces: without this a
    worker grows by megabytes a photo though nothing is kept.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # not in every C library
        if trim is not None:
            trim(0)
