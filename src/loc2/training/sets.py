"""Sets of cells that training reads from: caches, images, and several of them as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from loc2.training.cache import CacheConfig, CellModel, FeatureCache, read_cells
from loc2.training.cells import Cells
from loc2.training.pairs import PairSource


class CellSet(Protocol):
    """Samples by index; :class:`loc2.errors.Loc2Error` where one is missing or broken."""

    def __len__(self) -> int:
        """Return the number of samples."""
        ...

    def shape(self, index: int) -> tuple[int, ...]:
        """Return what tells samples apart that cannot share a batch, as far as it is known."""
        ...

    def name(self, index: int) -> str:
        """Return the name of a sample."""
        ...

    def read(self, index: int, epoch: int) -> Cells:
        """Return a sample as this epoch sees it."""
        ...


class CachedSet:
    """Features from one or more caches, one after the other.

    Args:
        caches: finished caches made with the same grids.
        aerial: read the aerial features too.
    """

    def __init__(self, caches: Sequence[FeatureCache], aerial: bool = True) -> None:
        self.caches = caches
        self.aerial = aerial
        self.where = [(c, i) for c in caches for i in range(len(c))]

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.where)

    def shape(self, index: int) -> tuple[int, ...]:
        """Return the sizes of a sample's grids."""
        cache, at = self.where[index]
        return cache.shape(at)

    def name(self, index: int) -> str:
        """Return the name of a sample."""
        cache, at = self.where[index]
        return cache.entries[at].id

    def read(self, index: int, epoch: int) -> Cells:
        """Return a sample, the same in every epoch."""
        cache, at = self.where[index]
        return cache.read(at, self.aerial)


class ImageSet:
    """Images, read and varied anew in every epoch.

    Args:
        model: decides the grids.
        source: pairs.
        config: its augmentation is applied, with another draw in each epoch.
    """

    def __init__(self, model: CellModel, source: PairSource, config: CacheConfig) -> None:
        self.model = model
        self.source = source
        self.config = config

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.source.ids)

    def shape(self, index: int) -> tuple[int, ...]:
        """Return nothing: sizes are known only when images are read."""
        return ()

    def name(self, index: int) -> str:
        """Return the name of a sample."""
        return self.source.ids[index]

    def read(self, index: int, epoch: int) -> Cells:
        """Read the images of a pair."""
        return read_cells(self.model.config, self.source, index, epoch, self.config)
