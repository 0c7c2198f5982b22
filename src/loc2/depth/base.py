"""What a depth model is: image and camera in; depth, its kind and a validity mask out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from loc2.cameras import Camera, DepthKind
from loc2.frames import cell_centers_px


@dataclass(frozen=True)
class DepthMap:
    """Depth of a ground image.

    Attributes:
        depth: (H, W) float32 depth; its size need not be that of the image.
        kind: ``range`` along the ray or ``z`` along the optical axis.
        metric: True when the unit is the metre, False when depth is known up to scale.
        valid: (H, W) bool; False for sky, own vehicle, unknown.
        source: what the depth came from, for reports.
        levelled: True when the depth already puts the ground at the camera's height, so that its
            scale needs no estimate.
        from_head: True when the weights' own depth head estimated it.
    """

    depth: Tensor
    kind: DepthKind
    metric: bool
    valid: Tensor
    source: str
    levelled: bool = False
    from_head: bool = False

    def __post_init__(self) -> None:
        """Keep depth and mask of one shape."""
        if self.depth.shape != self.valid.shape or self.depth.ndim != 2:
            raise ValueError("depth and valid must be maps of the same size")


class DepthModel(Protocol):
    """Anything that gives the depth of a ground image."""

    def __call__(self, image: Tensor, camera: Camera) -> DepthMap:
        """Estimate depth.

        Args:
            image: (3, H, W) float32 RGB in [0, 1].
            camera: the camera of that image.
        """
        ...


def lift_pixels(depth_map: DepthMap, camera: Camera, uv_px: Tensor) -> tuple[Tensor, Tensor]:
    """Lift pixels of a ground image with its depth.

    Depth is read at the nearest depth pixel, never averaged: a mean over a depth edge belongs to
    neither side.

    Args:
        depth_map: depth of the image; any resolution.
        camera: camera of the image.
        uv_px: (..., 2) pixels (u, v) of the camera's image, inside it.

    Returns:
        (..., 3) points (right, forward, up) in units of depth, zero where invalid, and a (...) bool
        mask of validity (finite, positive, marked valid).
    """
    height, width = depth_map.depth.shape
    col = (uv_px[..., 0] * (width / camera.width)).long().clamp(0, width - 1)
    row = (uv_px[..., 1] * (height / camera.height)).long().clamp(0, height - 1)
    depth = depth_map.depth[row, col]
    valid = depth_map.valid[row, col] & torch.isfinite(depth) & (depth > 0)
    safe = torch.where(valid, depth, torch.zeros_like(depth))
    return camera.lift(uv_px, safe, depth_map.kind), valid


def lift_cells(depth_map: DepthMap, camera: Camera, rows: int, cols: int) -> tuple[Tensor, Tensor]:
    """Lift the centres of a grid of cells that tiles a ground image, see :func:`lift_pixels`.

    Args:
        depth_map: depth of the image; any resolution.
        camera: camera of the image that the cells tile, at any resolution.
        rows: rows of cells.
        cols: columns of cells.

    Returns:
        (rows, cols, 3) points and a (rows, cols) bool mask of validity.
    """
    uv_px = cell_centers_px(rows, cols, camera.height, camera.width)
    return lift_pixels(depth_map, camera, uv_px)


GROUND_ELEVATION_DEG = -12.0
"""Rays steeper than this mostly meet the ground near the camera."""


def implied_camera_height(points: Tensor, valid: Tensor) -> float | None:
    """Estimate the camera's height above the ground from lifted points.

    The median depth below the camera of what is seen steeply below the horizon: near the camera
    that is mostly ground, and the median bears what is not.

    Args:
        points: (N, 3) lifted points (right, forward, up), any unit.
        valid: (N,) bool.

    Returns:
        Height in the unit of the points, or None where too little is seen below the horizon.
    """
    steep = math.sin(math.radians(GROUND_ELEVATION_DEG))
    up = points[:, 2]
    below = valid & (up < steep * torch.linalg.vector_norm(points, dim=1))
    if int(below.sum()) < 5:
        return None
    return float((-up[below]).median())
