"""What every source of training data gives: a ground image, an aerial image, and the pose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from loc2.cameras import Camera
from loc2.depth import DepthMap
from loc2.frames import Pose


@dataclass(frozen=True)
class TrainingPair:
    """One pair with its truth, as a data set knows it.

    Attributes:
        id: unique name in its source.
        ground: (3, H, W) float32 RGB in [0, 1].
        camera: camera of the ground image.
        aerial: (3, h, w) float32 RGB in [0, 1].
        meters_per_pixel: of the aerial image, metres.
        pose: true pose of the camera in the aerial metric frame.
        camera_height_m: height above the ground, metres; known or assumed.
        depth: depth of the ground image, metric or relative; None where only the pose is known.
        visible_from_above: (H, W) bool, True where nothing hides the pixel's point from above;
            None where unknown. Its size may differ from the image's, as that of ``depth`` may.
    """

    id: str
    ground: Tensor
    camera: Camera
    aerial: Tensor
    meters_per_pixel: float
    pose: Pose
    camera_height_m: float
    depth: DepthMap | None = None
    visible_from_above: Tensor | None = None


class PairSource(Protocol):
    """A list of pairs that are read or made when asked for.

    Reading a pair raises :class:`loc2.errors.Loc2Error` where it is missing or broken.
    """

    @property
    def ids(self) -> Sequence[str]:
        """Names of the pairs, unique, in order."""
        ...

    @property
    def fingerprint(self) -> str:
        """A text that changes whenever any pair would."""
        ...

    def read(self, index: int, variant: int) -> TrainingPair:
        """Read or make the pair at an index.

        Args:
            index: of the pair.
            variant: number of the draw, where the source itself draws something (a benchmark's
                noise); otherwise it changes nothing.
        """
        ...
