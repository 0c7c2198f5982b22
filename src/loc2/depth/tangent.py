"""Tangent views: a panorama cut into overlapping perspective images, and put together again.

The views stand in the gravity-aligned frame, so that the horizon is a straight, level row of each
level view whatever the panorama's roll and pitch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from loc2.cameras import Equirectangular, Pinhole, camera_to_local_rotation
from loc2.frames import cell_centers_px, heading_to_rotation

ViewLayout = Literal["cube", "icosahedron"]

CUBE_FOV_DEG = 110.0
"""Field of view of a cube's views: 10 degrees of overlap at each side."""
ICOSAHEDRON_FOV_DEG = 90.0
"""Field of view of an icosahedron's views; the corners of a face lie 37.4 degrees off its axis."""

_EDGE_RATIO = 1.25
"""Neighbouring depths farther apart than this belong to different surfaces."""


@dataclass(frozen=True)
class TangentView:
    """A perspective view out of a panorama.

    Attributes:
        camera: level pinhole camera of the view.
        rotation: (3, 3) float64; its columns are the view's right, forward and up axes in the
            gravity-aligned local frame.
    """

    camera: Pinhole
    rotation: Tensor

    def rays(self) -> Tensor:
        """Return (h, w, 3) unit rays of the pixel centres in the local frame."""
        height, width = self.camera.height, self.camera.width
        rays = self.camera.pixels_to_rays(cell_centers_px(height, width, height, width))
        return rays @ self.rotation.to(rays).T

    def project(self, rays: Tensor) -> tuple[Tensor, Tensor]:
        """Project directions.

        Args:
            rays: (..., 3) directions in the local frame.

        Returns:
            (..., 2) pixels, and a (...) mask of those inside the view.
        """
        return self.camera.points_to_pixels(rays @ self.rotation.to(rays))


def _view(size_px: int, fov_deg: float, yaw_deg: float, pitch_deg: float) -> TangentView:
    turn = torch.eye(3, dtype=torch.float64)
    turn[:2, :2] = heading_to_rotation(torch.tensor(yaw_deg, dtype=torch.float64))
    rotation = turn @ camera_to_local_rotation(0.0, pitch_deg)
    return TangentView(Pinhole.from_hfov(size_px, size_px, fov_deg), rotation)


def tangent_views(layout: ViewLayout, size_px: int) -> list[TangentView]:
    """Return views that cover the sphere with overlap.

    Args:
        layout: ``cube`` (6 views, four of them level) or ``icosahedron`` (20 smaller ones).
        size_px: width and height of a view, pixels.
    """
    if layout == "cube":
        level = [(yaw, 0.0) for yaw in (0.0, 90.0, 180.0, 270.0)]
        return [_view(size_px, CUBE_FOV_DEG, *a) for a in [*level, (0.0, 90.0), (0.0, -90.0)]]
    # Face centres of an icosahedron with a vertex up: rings of five at these elevations.
    outer, inner = 52.622631859350, 10.812316963572
    rings = ((outer, 0.0), (inner, 0.0), (-inner, 36.0), (-outer, 36.0))
    return [
        _view(size_px, ICOSAHEDRON_FOV_DEG, start + 72.0 * k, pitch)
        for pitch, start in rings
        for k in range(5)
    ]


def native_view_size(camera: Equirectangular, fov_deg: float) -> int:
    """Return the view size at which a view's centre is as fine as the panorama, pixels."""
    focal_px = camera.width / (2 * math.pi)
    return round(2 * focal_px * math.tan(math.radians(fov_deg) / 2))


def cut_views(
    image: Tensor, camera: Equirectangular, views: list[TangentView]
) -> tuple[Tensor, Tensor]:
    """Cut tangent views out of a panorama.

    Args:
        image: (C, H, W) panorama, on any device.
        camera: its camera.
        views: views of one size.

    Returns:
        (V, C, h, w) images, and a (V, h, w) bool mask of what the panorama covers; beyond its
        upper and lower edges the nearest row goes on.
    """
    focal_px = views[0].camera.fx
    uv_px = []
    covered = []
    for view in views:
        uv, inside = camera.points_to_pixels(view.rays())
        uv_px.append(uv)
        covered.append(inside)
    shrunk = _shrink(image, round(2 * math.pi * focal_px))
    grid = torch.cat(uv_px) * torch.tensor(
        [shrunk.shape[-1] / camera.width, shrunk.shape[-2] / camera.height]
    )
    flat = sample_panorama(shrunk, grid.to(image.device))
    count, (height, width) = len(views), uv_px[0].shape[:2]
    cut = flat.reshape(image.shape[0], count, height, width).permute(1, 0, 2, 3)
    return cut.contiguous(), torch.stack(covered).to(image.device)


def sample_panorama(image: Tensor, uv_px: Tensor) -> Tensor:
    """Sample a panorama bilinearly; left and right edges meet.

    Args:
        image: (C, H, W).
        uv_px: (h, w, 2) pixels of that image.

    Returns:
        (C, h, w) samples; beyond the upper and lower edge the outermost row.
    """
    height, width = image.shape[-2:]
    padded = torch.cat((image[..., -1:], image, image[..., :1]), dim=-1)
    size = torch.tensor([width + 2, height], dtype=torch.float32, device=image.device)
    shift = torch.tensor([1.0, 0.0], device=image.device)
    grid = (uv_px + shift) / size * 2 - 1
    return functional.grid_sample(
        padded[None].float(), grid[None].float(), mode="bilinear", padding_mode="border",
        align_corners=False,
    )[0]  # fmt: skip


def _shrink(image: Tensor, width: int) -> Tensor:
    """Return the panorama at about that width, or as it is where it is not wider."""
    if image.shape[-1] <= width * 1.2:
        return image
    width += width % 2
    height = max(1, round(width * image.shape[-2] / image.shape[-1]))
    # Twice around, so that the filter meets the other edge instead of a border.
    doubled = functional.interpolate(
        torch.cat((image, image), -1)[None], size=(height, 2 * width), mode="bilinear",
        align_corners=False, antialias=True,
    )[0]  # fmt: skip
    return torch.roll(doubled[..., width // 2 : width // 2 + width], width // 2, dims=-1)


def blend_views(
    inverse_range: Tensor, valid: Tensor, views: list[TangentView], camera: Equirectangular
) -> tuple[Tensor, Tensor]:
    """Put the views' depth together as a panorama of range.

    Views are blended by weights that fall to zero at their borders. Inverse z-depth is sampled
    bilinearly, which is exact on planes; where neighbours belong to different surfaces the nearest
    is taken, never a mean.

    Args:
        inverse_range: (V, h, w) 1 / range, all in one unit; 0 is infinitely far.
        valid: (V, h, w) bool.
        views: the views.
        camera: of the panorama.

    Returns:
        (H, W) range in that unit, and a (H, W) bool mask: where the views that see a pixel say by
        a majority of their weights that it is valid and not infinitely far.
    """
    device = inverse_range.device
    height, width = camera.height, camera.width
    rays = camera.pixels_to_rays(cell_centers_px(height, width, height, width))
    total = torch.zeros(height, width, device=device)
    weight_valid = torch.zeros_like(total)
    weight_all = torch.zeros_like(total)
    for index, view in enumerate(views):
        uv, inside = view.project(rays)
        uv, inside = uv.to(device), inside.to(device)
        half = view.camera.width / 2
        margin = 1 - ((uv - half).abs() / half).amax(-1)
        weight = torch.where(inside, _smooth(margin / 0.3), torch.zeros_like(margin))
        cosine = 1 / view.camera.range_per_depth(uv, "z").clamp_min(1.0)
        rpd = _length(view).to(device)
        value, known = _sample_inverse(inverse_range[index] * rpd, valid[index], uv)
        value = value * cosine
        weight_all += weight
        usable = known & (value > 0) & inside
        weight = torch.where(usable, weight, torch.zeros_like(weight))
        total += weight * torch.log(torch.where(usable, value, torch.ones_like(value)))
        weight_valid += weight
    seen = (weight_valid > 0.5 * weight_all) & (weight_valid > 0)
    distance = torch.exp(-total / weight_valid.clamp_min(1e-12))
    return torch.where(seen, distance, torch.zeros_like(distance)), seen


def _length(view: TangentView) -> Tensor:
    """Return (h, w) range per unit of z."""
    height, width = view.camera.height, view.camera.width
    return view.camera.range_per_depth(cell_centers_px(height, width, height, width), "z")


def _smooth(x: Tensor) -> Tensor:
    """Return a step from 0 to 1 without a kink at either end."""
    x = x.clamp(0, 1)
    return x * x * (3 - 2 * x) + 1e-6


def _sample_inverse(inverse: Tensor, valid: Tensor, uv_px: Tensor) -> tuple[Tensor, Tensor]:
    """Sample a map of 1 / z: bilinear within a surface, nearest across edges and gaps.

    Args:
        inverse: (h, w).
        valid: (h, w) bool.
        uv_px: (H, W, 2) pixels of that map.

    Returns:
        (H, W) values and validity.
    """
    rows, cols = inverse.shape
    u = (uv_px[..., 0] - 0.5).clamp(0, cols - 1)
    v = (uv_px[..., 1] - 0.5).clamp(0, rows - 1)
    left, top = (
        u.floor().long().clamp(max=max(cols - 2, 0)),
        v.floor().long().clamp(max=max(rows - 2, 0)),
    )
    right, bottom = (left + 1).clamp(max=cols - 1), (top + 1).clamp(max=rows - 1)
    fu, fv = u - left, v - top
    corners = torch.stack([inverse[r, c] for r in (top, bottom) for c in (left, right)])
    known = torch.stack([valid[r, c] for r in (top, bottom) for c in (left, right)])
    weights = torch.stack(((1 - fu) * (1 - fv), fu * (1 - fv), (1 - fu) * fv, fu * fv))
    bilinear = (corners * weights).sum(0)
    low, high = corners.amin(0), corners.amax(0)
    one_surface = known.all(0) & (low > 0) & (high <= low * _EDGE_RATIO)
    row, col = v.round().long(), u.round().long()
    return torch.where(one_surface, bilinear, inverse[row, col]), valid[row, col]
