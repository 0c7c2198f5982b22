"""The ground layout: the ground image's own colours, lifted and seen from above."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from loc2.cameras import Equirectangular
from loc2.depth.base import DepthMap
from loc2.frames import Pose, aerial_m_to_px, cell_centers_px, local_to_aerial
from loc2.localization import Localization

SURFACE_STEP = 0.3
"""Neighbouring pixels whose ranges differ by more than this share lie on different surfaces."""
ABOVE_GROUND_WEIGHT = 0.08
"""Walls and crowns, higher than a step above the ground, hide ground only where it is unseen."""
SPACING = 0.75
"""Distance of the points drawn for one square, in cells of the grid: close enough for no gaps."""
MAX_HALVINGS = 5
"""How often a pixel's side is halved at most; ground that is farther stays open."""


@dataclass(frozen=True)
class LiftedImage:
    """The ground image with every pixel lifted to the camera's local frame.

    Attributes:
        bev: (H, W, 2) points (right, forward), units of depth, zero where invalid.
        color: (H, W, 3) RGB in [0, 1].
        weight: (H, W) how much a point counts where several fall on one place.
        valid: (H, W) bool, True where there is a depth.
        closed: True if the last column borders on the first, as in a panorama.
    """

    bev: Tensor
    color: Tensor
    weight: Tensor
    valid: Tensor
    closed: bool


def lift_image(localization: Localization, max_width: int = 720) -> LiftedImage:
    """Lift every pixel of the ground image that has a depth.

    Args:
        localization: gives image, camera and depth.
        max_width: larger images are reduced to this width first, pixels.
    """
    image = localization.ground_image.detach().cpu().float()
    height, width = image.shape[1:]
    if width > max_width:
        size = (max(1, round(height * max_width / width)), max_width)
        image = interpolate(image[None], size, mode="bilinear", antialias=True)[0]
        height, width = size
    camera = localization.camera.resized(width, height)
    depth, valid = resample_depth(localization.depth, height, width)
    uv_px = cell_centers_px(height, width, height, width)
    points = camera.lift(uv_px, depth, localization.depth.kind)
    up = points[..., 2]
    # the ground is the lowest there is; without metric depth its level is only known relatively
    level = up[valid].sort().values[int(valid.sum()) // 50] if valid.any() else up.new_zeros(())
    low = up < level + 0.25 * level.abs().clamp_min(1e-6)
    weight = torch.where(low, 1.0, ABOVE_GROUND_WEIGHT)
    closed = isinstance(camera, Equirectangular)
    return LiftedImage(points[..., :2], image.permute(1, 2, 0), weight, valid, closed)


def resample_depth(depth_map: DepthMap, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Bring a depth map to the size of an image.

    Inverse depth is interpolated, which is exact on planes seen by a pinhole; across depth edges
    and at the border of validity the nearest value is taken, for a mean belongs to neither side.

    Args:
        depth_map: depth and validity at any resolution.
        height: rows asked for.
        width: columns asked for.

    Returns:
        (height, width) depth, zero where invalid, and the bool mask of validity.
    """
    depth = depth_map.depth.detach().cpu().float()
    valid = depth_map.valid.detach().cpu() & torch.isfinite(depth) & (depth > 0)
    inverse = torch.where(valid, 1 / depth.clamp_min(1e-9), torch.zeros_like(depth))
    maps = torch.stack((inverse, valid.float()))[None]
    nearest = interpolate(maps, (height, width), mode="nearest-exact")[0]
    smooth = interpolate(maps, (height, width), mode="bilinear", align_corners=False)[0]
    known = nearest[1] > 0.5
    near = known & (smooth[1] > 0.999)
    near &= (smooth[0] - nearest[0]).abs() < SURFACE_STEP / 2 * nearest[0]
    chosen = torch.where(near, smooth[0], nearest[0])
    return torch.where(known, 1 / chosen.clamp_min(1e-9), torch.zeros_like(chosen)), known


def splat(lifted: LiftedImage, uv_px: Tensor, height: int, width: int) -> Tensor:
    """Draw a lifted image on a grid.

    Every square of four neighbouring pixels on one surface is split so finely that it leaves no
    gap, its colours interpolated; what falls into one cell of the grid is averaged by weight.

    Args:
        lifted: the pixels.
        uv_px: (H, W, 2) where they fall, continuous pixels (u, v) of the grid.
        height: rows of the grid.
        width: columns of the grid.

    Returns:
        (4, height, width) RGB and opacity, all in [0, 1].
    """
    corners = torch.cat((uv_px, lifted.color, lifted.weight[..., None]), -1)
    distance = lifted.bev.norm(dim=-1)
    ok = lifted.valid
    if lifted.closed:
        corners = torch.cat((corners, corners[:, :1]), 1)
        distance, ok = (torch.cat((t, t[:, :1]), 1) for t in (distance, ok))

    nearest, farthest = distance[:-1, :-1], distance[:-1, :-1]
    whole = ok[:-1, :-1]
    for part in (np.s_[:-1, 1:], np.s_[1:, :-1], np.s_[1:, 1:]):
        nearest = torch.minimum(nearest, distance[part])
        farthest = torch.maximum(farthest, distance[part])
        whole = whole & ok[part]
    row, col = (whole & (farthest < (1 + SURFACE_STEP) * nearest)).nonzero(as_tuple=True)
    first = row * corners.shape[1] + col
    flat, below = corners.reshape(-1, 6), corners.shape[1]
    quads = torch.stack([flat[first + step] for step in (0, 1, below, below + 1)])
    place = quads[..., :2]
    inside = (place.amax(0) >= 0).all(-1)
    inside &= (place.amin(0) <= torch.tensor([width, height])).all(-1)
    quads, place = quads[:, inside], place[:, inside]
    across = torch.maximum((place[1] - place[0]).norm(dim=-1), (place[3] - place[2]).norm(dim=-1))
    along = torch.maximum((place[2] - place[0]).norm(dim=-1), (place[3] - place[1]).norm(dim=-1))
    halvings = torch.stack((across, along)).div(SPACING).clamp_min(1).log2().ceil().long()
    kind = halvings[0] * (MAX_HALVINGS + 1) + halvings[1]
    kind[halvings.amax(0) > MAX_HALVINGS] = -1
    sums = torch.zeros(height * width, 4)
    for index in torch.bincount(kind[kind >= 0]).nonzero()[:, 0].tolist():
        rights, downs = (2**n for n in divmod(index, MAX_HALVINGS + 1))
        _add(sums, quads[:, kind == index], rights, downs, height, width)
    total = sums[:, 3].reshape(height, width)
    rgb = (sums[:, :3] / sums[:, 3:].clamp_min(1e-12)).T.reshape(3, height, width)
    return torch.cat((rgb.clamp(0, 1), (total > 0).float()[None]))


def _add(sums: Tensor, quads: Tensor, rights: int, downs: int, height: int, width: int) -> None:
    """Add (4, N, 6) quads of (u, v, r, g, b, weight), each at rights x downs inner points."""
    right = ((torch.arange(rights) + 0.5) / rights)[:, None, None, None]
    down = ((torch.arange(downs) + 0.5) / downs)[:, None, None]
    top, bottom = (torch.lerp(quads[i], quads[i + 1], right) for i in (0, 2))
    point = torch.lerp(top, bottom, down).reshape(-1, 6)
    cell = point[:, :2].floor().long()
    keep = (cell >= 0).all(-1) & (cell[:, 0] < width) & (cell[:, 1] < height)
    point, cell = point[keep], cell[keep]
    weight = point[:, 5:] / (rights * downs)
    index = cell[:, 1] * width + cell[:, 0]
    sums.index_add_(0, index, torch.cat((point[:, 2:5] * weight, weight), 1))


def layout_radius_m(localization: Localization) -> float:
    """Return how far the layout is drawn by default, metres.

    Less than a third of the aerial window, so that what it must run on into stays visible, and at
    most 20 m, beyond which a pixel near the horizon covers metres of ground.
    """
    side_px = min(localization.aerial_image.shape[1:])
    return min(20.0, 0.3 * side_px * localization.meters_per_pixel)


def layout_on_aerial(
    localization: Localization, pose: Pose | None = None, radius_m: float = math.inf
) -> Tensor:
    """Draw the lifted ground image on the pixels of the aerial image.

    Args:
        localization: what to lift.
        pose: where to put it; the localization's own pose if not given.
        radius_m: what is farther from the camera is left out, metres.

    Returns:
        (4, H, W) RGB and opacity in [0, 1], of the aerial image's size.
    """
    pose = pose or localization.pose
    lifted = lift_image(localization)
    height, width = localization.aerial_image.shape[1:]
    position_m = local_to_aerial(
        lifted.bev.flatten(0, 1),
        torch.tensor(pose.heading_deg),
        torch.tensor([pose.east_m, pose.north_m]),
        pose.scale,
    ).reshape(lifted.bev.shape)
    uv_px = aerial_m_to_px(position_m, width, height, localization.meters_per_pixel)
    center_px = aerial_m_to_px(
        torch.tensor([pose.east_m, pose.north_m]), width, height, localization.meters_per_pixel
    )
    layout = splat(lifted, uv_px, height, width)
    distance_px = (cell_centers_px(height, width, height, width) - center_px).norm(dim=-1)
    layout[3] *= distance_px * localization.meters_per_pixel <= radius_m
    return layout


def layout_in_camera_frame(
    localization: Localization, meters_per_pixel: float, radius_m: float
) -> Tensor:
    """Draw the lifted ground image around the camera, forward up.

    Args:
        localization: what to lift; its scale turns depth into metres.
        meters_per_pixel: of the drawing, metres.
        radius_m: half the side of the drawing, metres; what is farther is left out.

    Returns:
        (4, S, S) RGB and opacity in [0, 1]; the camera is in the middle.
    """
    lifted = lift_image(localization)
    side = max(1, round(2 * radius_m / meters_per_pixel))
    local_m = lifted.bev * localization.pose.scale
    uv_px = aerial_m_to_px(local_m, side, side, meters_per_pixel)
    layout = splat(lifted, uv_px, side, side)
    distance_px = (cell_centers_px(side, side, side, side) - side / 2).norm(dim=-1)
    layout[3] *= distance_px * meters_per_pixel <= radius_m
    return layout
