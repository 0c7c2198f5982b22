"""The depth head of loc2's own weights: as a depth model, as a mask, and to tell the ground."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from loc2.cameras import Camera
from loc2.depth.base import DepthMap
from loc2.depth.flat import FlatGround
from loc2.errors import InputError
from loc2.matching.heads import CellDepth
from loc2.model import GroundGrid, Loc2Model


def spread_head(
    told: CellDepth | None, grid: GroundGrid, camera: Camera, camera_height_m: float
) -> DepthMap | None:
    """Spread the depth head's cells over the image.

    Args:
        told: depth of the cells of the ground image, if any.
        grid: the cells.
        camera: camera of the image.
        camera_height_m: height above the ground, metres.

    Returns:
        Metric range, invalid outside the rows that the grid covers; None without a depth head.
    """
    if told is None:
        return None
    size = (grid.bottom_px - grid.top_px, camera.width)
    maps = torch.stack((told.log_range_ratio[0], told.valid_logit[0]))[None]
    log_ratio, logit = functional.interpolate(
        maps.float().cpu(), size=size, mode="bilinear", align_corners=False
    )[0]
    depth = torch.zeros(camera.height, camera.width)
    valid = torch.zeros(camera.height, camera.width, dtype=torch.bool)
    depth[grid.top_px : grid.bottom_px] = log_ratio.exp() * camera_height_m
    valid[grid.top_px : grid.bottom_px] = logit > 0
    return DepthMap(depth, "range", True, valid, "own", levelled=True, from_head=True)


_GROUND_TOLERANCE = 0.3
"""The head sees ground where its range is within this share of level ground's."""
_LEAST_GROUND = 0.1
"""Where it sees less of level ground than this share, it is not asked: too little would be left."""


def seen_ground(own: DepthMap, level: DepthMap) -> DepthMap:
    """Return level ground where the depth head sees ground, and nothing elsewhere.

    What stands on the ground is worth having in the search only if its range is right to better
    than a tenth, which the head's is not; but it tells well what does not belong to the ground.

    Args:
        own: depth by the head.
        level: level ground of the same image and camera height.
    """
    likeness = (own.depth / level.depth.clamp_min(1e-6) - 1).abs()
    seen = level.valid & own.valid & (likeness < _GROUND_TOLERANCE)
    enough = int(seen.sum()) > _LEAST_GROUND * int(level.valid.sum())
    return replace(level, valid=seen if enough else level.valid, source="ground")


@dataclass(frozen=True)
class OwnDepth:
    """The depth head of a network.

    Attributes:
        model: the network.
        camera_height_m: height of the camera above the ground, metres.
    """

    model: Loc2Model
    camera_height_m: float

    def __call__(self, image: Tensor, camera: Camera) -> DepthMap:
        """Estimate depth, see :class:`loc2.depth.DepthModel`.

        Raises:
            InputError: the weights have no depth head.
        """
        return self._told(image, camera)[1]

    def ground(self, image: Tensor, camera: Camera) -> DepthMap:
        """Return the level ground that the head sees, see :func:`seen_ground`.

        Args:
            image: (3, H, W) float32 RGB in [0, 1].
            camera: the camera of that image.

        Raises:
            InputError: the weights have no depth head.
        """
        return seen_ground(self(image, camera), FlatGround(self.camera_height_m)(image, camera))

    def unusable(self, image: Tensor, camera: Camera) -> Tensor:
        """Return a (H, W) mask of what the validity head calls sky or own vehicle.

        Above and below the rows that the head sees, each column goes on as it ends.

        Raises:
            InputError: the weights have no depth head.
        """
        grid, told = self._told(image, camera)
        bad = ~told.valid
        bad[: grid.top_px] = bad[grid.top_px]
        bad[grid.bottom_px :] = bad[grid.bottom_px - 1]
        return bad

    def _told(self, image: Tensor, camera: Camera) -> tuple[GroundGrid, DepthMap]:
        with torch.inference_mode():
            grid = self.model.ground_grid(image, camera)
            rays = grid.cell_rays()[None].to(self.model.device)
            features = self.model.features(grid.image[None])
            told = self.model.tell_depth(features, rays, grid.wrap)
            estimated = spread_head(told, grid, camera, self.camera_height_m)
        if estimated is None:
            raise InputError("depth 'own': these weights have no depth head; use 'flat'")
        return grid, estimated
