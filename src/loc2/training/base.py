"""What the loop needs of whatever it trains: losses, localization, saving."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from loc2.training.cells import Cells
from loc2.training.validation import ValidationErrors


class Trainable(nn.Module, ABC):
    """A model with its losses."""

    @abstractmethod
    def forward(self, cells: Cells, seed: int) -> dict[str, Tensor]:
        """Compute the losses of a micro-batch.

        Args:
            cells: a batch as read.
            seed: of everything drawn at random.

        Returns:
            ``loss`` (B,), and its parts and other figures by name, all (B,).
        """

    @abstractmethod
    def localize(self, cells: Cells, lift: str) -> ValidationErrors:
        """Localize one pair without any prior and compare with the truth.

        Args:
            cells: of one pair, features or images.
            lift: ``own``, ``flat`` or ``exact``, see :mod:`loc2.training.validation`.
        """

    @abstractmethod
    def save(self, path: Path, metadata: Mapping[str, str]) -> None:
        """Write the model so that :class:`loc2.localizer.Localizer` can load it."""

    def scalars(self) -> dict[str, float]:
        """Return learned numbers that are worth a place in the log."""
        return {}
