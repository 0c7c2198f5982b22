"""Matches that explain a pose: each ground point looked for near where the pose puts it."""

from __future__ import annotations

import torch
from torch import Tensor

from loc2.frames import Pose, aerial_px_to_m, cell_centers_px, local_to_aerial
from loc2.localization import GroundCells, Matches
from loc2.matching.correlation import dual_softmax

GUIDE_M = 6.0
"""Matches that explain a pose are looked for this near to where the pose puts a point."""
INLIER_M = 2.5
"""A match is an inlier when the pose brings its point this near to it (the published threshold)."""


def likeliest_cells(
    cells: GroundCells,
    width_px: int,
    height_px: int,
    meters_per_pixel: float,
    near_m: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return each ground point's most probable aerial cell.

    Args:
        cells: the ground points with their evidence over the aerial cells.
        width_px: width of the aerial image, pixels.
        height_px: height of the aerial image, pixels.
        meters_per_pixel: of the aerial image, metres.
        near_m: (G, 2) positions (east_m, north_m); only cells within :data:`GUIDE_M` of a point's
            are looked at. All cells if not given.

    Returns:
        (G,) dual-softmax probabilities, zero where no cell is near enough, and (G, 2) pixels
        (u, v) of the cells' centres in the aerial image.
    """
    _, rows, cols = cells.evidence.shape
    scores = cells.evidence.flatten(1).T[None].float() / cells.temperature
    probability = dual_softmax(scores, 1.0)[0]
    span_px = cells.cell_size_m / meters_per_pixel
    centers_px = cell_centers_px(rows, cols, rows * span_px, cols * span_px).reshape(-1, 2)
    if near_m is not None:
        centers_m = aerial_px_to_m(centers_px, cols * span_px, rows * span_px, meters_per_pixel)
        probability = probability * (torch.cdist(centers_m, near_m) <= GUIDE_M)
    best_probability, best = probability.max(dim=0)
    offset = torch.tensor([(width_px - cols * span_px) / 2, (height_px - rows * span_px) / 2])
    return best_probability, centers_px[best] + offset


def explaining_matches(
    cells: GroundCells, pose: Pose, width_px: int, height_px: int, meters_per_pixel: float
) -> Matches:
    """Match each ground point near where a pose puts it, and say whether the two agree.

    Alone, most points resemble many places (asphalt is asphalt); what a pose rests on is seen by
    looking around where it puts them. A point whose best cell there is another one than the pose
    says, or that leaves the window, is an outlier.

    Args:
        cells: the ground points with their evidence over the aerial cells.
        pose: where they are looked for.
        width_px: width of the aerial image, pixels.
        height_px: height of the aerial image, pixels.
        meters_per_pixel: of the aerial image, metres.

    Returns:
        One match for each ground point, in their order.
    """
    moved_m = local_to_aerial(
        cells.bev,
        torch.tensor(pose.heading_deg),
        torch.tensor([pose.east_m, pose.north_m]),
        pose.scale,
    )
    probability, aerial_px = likeliest_cells(cells, width_px, height_px, meters_per_pixel, moved_m)
    target_m = aerial_px_to_m(aerial_px, width_px, height_px, meters_per_pixel)
    agrees = ((moved_m - target_m).norm(dim=1) <= INLIER_M) & (probability > 0)
    return Matches(cells.ground_px, aerial_px, cells.bev, probability, agrees)
