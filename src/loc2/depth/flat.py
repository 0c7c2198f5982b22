"""Depth without a network: every ray is cut with a level ground plane."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from loc2.cameras import Camera, Equirectangular
from loc2.depth.base import DepthMap
from loc2.frames import cell_centers_px


@dataclass(frozen=True)
class FlatGround:
    """Range to a level plane below the camera.

    Attributes:
        camera_height_m: height of the camera above the plane, metres.
        max_range_m: rays that meet the plane farther away are invalid, metres; near the horizon
            a small error of attitude moves the point by many metres.
    """

    camera_height_m: float
    max_range_m: float = 40.0

    def __call__(self, image: Tensor, camera: Camera) -> DepthMap:
        """Return metric range where a pixel's ray meets the ground, see :class:`DepthModel`."""
        # In a level panorama a row is one elevation: one column says all (and is all the memory).
        level = isinstance(camera, Equirectangular) and camera.roll_deg == camera.pitch_deg == 0
        columns = 1 if level else camera.width
        uv_px = cell_centers_px(camera.height, columns, camera.height, camera.width)
        down = -camera.pixels_to_rays(uv_px)[..., 2]
        distance = self.camera_height_m / down.clamp_min(1e-6)
        valid = (down > 0) & (distance <= self.max_range_m)
        depth = torch.where(valid, distance, torch.zeros_like(distance))
        shape = camera.height, camera.width
        return DepthMap(
            depth.expand(shape), "range", True, valid.expand(shape), "flat", levelled=True
        )
