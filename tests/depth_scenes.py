"""Analytic scenes for tests of depth: the true range along any ray in closed form."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from loc2.cameras import Camera
from loc2.frames import cell_centers_px


@dataclass(frozen=True)
class Box:
    """An axis-aligned box seen from outside, metres, in the camera's local frame."""

    low: tuple[float, float, float]
    high: tuple[float, float, float]

    def range_m(self, rays: Tensor) -> Tensor:
        inverse = 1 / torch.where(rays.abs() < 1e-9, torch.full_like(rays, 1e-9), rays)
        a = torch.tensor(self.low, dtype=rays.dtype) * inverse
        b = torch.tensor(self.high, dtype=rays.dtype) * inverse
        enter, leave = torch.minimum(a, b).amax(-1), torch.maximum(a, b).amin(-1)
        hit = (enter < leave) & (enter > 0)
        return torch.where(hit, enter, torch.full_like(enter, math.inf))


@dataclass(frozen=True)
class Scene:
    """Boxes, a tilted ground plane and an optional room around the camera.

    Attributes:
        height_m: camera above the ground below it.
        slope_deg: the ground rises by this towards ``slope_azimuth_deg``.
        room_m: half width and half length of a room, and its ceiling above the camera.
    """

    height_m: float = 2.0
    slope_deg: float = 0.0
    slope_azimuth_deg: float = 30.0
    boxes: tuple[Box, ...] = ()
    room_m: tuple[float, float, float] | None = None

    def range_m(self, rays: Tensor) -> Tensor:
        """Return the range along (..., 3) unit rays; infinite for sky."""
        return self.surfaces(rays)[0]

    def surfaces(self, rays: Tensor) -> tuple[Tensor, Tensor]:
        """Return range and the number of the surface that is seen (0 sky)."""
        azimuth = math.radians(self.slope_azimuth_deg)
        rise = math.tan(math.radians(self.slope_deg))
        level = rays[..., 2] - rise * (
            rays[..., 0] * math.sin(azimuth) + rays[..., 1] * math.cos(azimuth)
        )
        infinite = torch.full_like(level, math.inf)
        found = [
            infinite,
            torch.where(level < 0, -self.height_m / level.clamp(max=-1e-9), infinite),
        ]
        found += [box.range_m(rays) for box in self.boxes]
        if self.room_m is not None:
            for axis, half in enumerate(self.room_m):
                along = rays[..., axis]
                for sign in (1.0, -1.0) if axis < 2 else (1.0,):
                    hit = sign * along > 1e-9
                    found.append(torch.where(hit, half / along.abs().clamp_min(1e-9), infinite))
        distance, surface = torch.stack(found).min(0)
        return distance, torch.where(torch.isfinite(distance), surface, torch.zeros_like(surface))


BOX_ROOM = Scene(
    height_m=1.6,
    room_m=(4.0, 6.0, 1.4),
    boxes=(Box((1.0, 2.5, -1.6), (2.2, 3.5, -0.4)), Box((-3.0, -3.0, -1.6), (-2.0, -1.8, 0.4))),
)
SLOPE = Scene(
    height_m=2.4,
    slope_deg=4.0,
    boxes=(
        Box((4.0, 6.0, -3.0), (9.0, 16.0, 6.0)),
        Box((-14.0, -4.0, -3.5), (-8.0, 14.0, 9.0)),
        Box((1.5, -12.0, -3.5), (3.5, -8.0, -0.6)),
        Box((-4.0, 20.0, -3.0), (2.0, 30.0, 12.0)),
    ),
)


def pixel_rays(camera: Camera) -> Tensor:
    uv_px = cell_centers_px(camera.height, camera.width, camera.height, camera.width)
    return camera.pixels_to_rays(uv_px)


def picture(scene: Scene, camera: Camera) -> Tensor:
    """Return a (3, H, W) picture: each surface its own grey, darker with distance, blue sky."""
    distance, surface = scene.surfaces(pixel_rays(camera))
    shade = 0.25 + 0.6 * ((surface * 0.37) % 1.0)
    shade = shade * (0.75 + 0.25 / (1 + torch.where(surface > 0, distance, 0 * distance) / 20))
    sky = torch.tensor([0.55, 0.7, 0.95])[:, None, None]
    return torch.where(surface > 0, shade[None].expand(3, -1, -1), sky.expand(3, *surface.shape))
