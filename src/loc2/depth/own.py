"""The depth head of loc2's own weights: as a depth model, as a mask, and to tell the ground."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NoReturn

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
"""Where it sees no more of level ground than this, it is not asked: too little would be left."""


def seen_ground(
    own: DepthMap, level: DepthMap, camera_height_m: float, range_m: tuple[float, float]
) -> DepthMap:
    """Return level ground where the depth head sees ground, and nothing elsewhere.

    What stands on the ground is worth having in the search only if its range is right to better
    than a tenth, which the head's is not; but it tells well what does not belong to the ground.

    Args:
        own: depth by the head, zero outside the rows that it sees.
        level: level ground of the same image and camera height.
        camera_height_m: that height, metres.
        range_m: nearest and farthest ground that can be matched, horizontally, metres.

    Returns:
        A part of ``level``; all of it, under its own name, where the head sees no more than a
        tenth of what can be matched.
    """
    likeness = (own.depth / level.depth.clamp_min(1e-6) - 1).abs()
    seen = level.valid & own.valid & (likeness < _GROUND_TOLERANCE)
    distance_m = (level.depth.square() - camera_height_m**2).clamp_min(0).sqrt()
    near, far = range_m
    matched = level.valid & (own.depth > 0) & (distance_m >= near) & (distance_m <= far)
    if int((seen & matched).sum()) <= _LEAST_GROUND * int(matched.sum()):
        return level
    return replace(level, valid=seen, source="ground")


def no_head(name: str) -> NoReturn:
    """Refuse depth by a head that the weights do not have.

    Args:
        name: what was asked for.

    Raises:
        InputError: always.
    """
    raise InputError(f"depth '{name}': these weights have no depth head; use 'flat'")


def head_depth(
    name: str,
    told: CellDepth | None,
    grid: GroundGrid,
    camera: Camera,
    camera_height_m: float,
    range_m: tuple[float, float],
) -> DepthMap:
    """Return what the depth head tells, in one of two ways.

    Args:
        name: one of :data:`loc2.depth.HEAD_DEPTHS`: ``own``, the head's range, or ``ground``, see
            :func:`seen_ground`.
        told: see :func:`spread_head`.
        grid: likewise.
        camera: likewise.
        camera_height_m: likewise.
        range_m: nearest and farthest ground that can be matched, metres.

    Raises:
        InputError: the weights have no depth head.
    """
    own = spread_head(told, grid, camera, camera_height_m)
    if own is None:
        no_head(name)
    if name == "own":
        return own
    level = FlatGround(camera_height_m)(grid.image, camera)
    return seen_ground(own, level, camera_height_m, range_m)


@dataclass(frozen=True)
class OwnDepth:
    """The depth head of a network.

    Attributes:
        model: the network.
        camera_height_m: height of the camera above the ground, metres.
        name: what of it, see :func:`head_depth`.
    """

    model: Loc2Model
    camera_height_m: float
    name: str = "own"

    def __call__(self, image: Tensor, camera: Camera) -> DepthMap:
        """Estimate depth, see :class:`loc2.depth.DepthModel`.

        Raises:
            InputError: the weights have no depth head.
        """
        return self._told(image, camera)[1]

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
            range_m = self.model.config.range_m
            return grid, head_depth(self.name, told, grid, camera, self.camera_height_m, range_m)
