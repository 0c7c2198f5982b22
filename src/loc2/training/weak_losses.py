"""The published weakly supervised losses: what a camera pose alone can teach.

Distance of virtual points around the camera, and InfoNCE between the matches that the true pose
implies. Source: Loc2 (ICLR 2026), training. Frames are free: any plane in which
``aerial = scale * rotation @ ground + translation``. All losses are per sample, (B,).
"""

from __future__ import annotations

import torch
from torch import Tensor


def virtual_points(side_m: float = 5.0, count: int = 10) -> Tensor:
    """Return (count * count, 2) points of a square grid centred at the camera, edges included.

    Args:
        side_m: side of the square, metres.
        count: points along a side.
    """
    steps = torch.linspace(-side_m / 2, side_m / 2, count)
    return torch.cartesian_prod(steps, steps)


def bev_distance_loss(
    rotation: Tensor,
    translation: Tensor,
    true_rotation: Tensor,
    true_translation: Tensor,
    points_m: Tensor,
) -> Tensor:
    """Measure how far virtual points land from where the true pose puts them.

    The gradient is zero, not undefined, at equal poses.

    Args:
        rotation: (B, 2, 2) estimated.
        translation: (B, 2) estimated, metres.
        true_rotation: (B, 2, 2).
        true_translation: (B, 2), metres.
        points_m: (N, 2) points around the camera, metres.

    Returns:
        (B,) mean distances, metres.
    """
    turned = points_m @ (rotation - true_rotation).transpose(-1, -2)
    offset = turned + (translation - true_translation)[:, None]
    distance: Tensor = torch.linalg.vector_norm(offset, dim=-1)
    return distance.mean(1)


def pose_infonce(
    scores: Tensor,
    aerial_m: Tensor,
    ground: Tensor,
    sampled: tuple[Tensor, Tensor],
    true_rotation: Tensor,
    true_translation: Tensor,
    scale: Tensor | float = 1.0,
    *,
    keep_m: float | Tensor,
    negative_m: float = 1.0,
    mask: Tensor | None = None,
) -> Tensor:
    """Contrast the matches that the true pose implies with all others, both ways.

    From above, a sampled cell's point is moved into the ground frame and must score best with the
    ground point nearest to it; others within ``negative_m`` of that one are no negatives. From the
    ground, a sampled point is moved up and must score best with the cell nearest to it, among all.
    What has nothing within ``keep_m`` is left out, and repeated samples count once.

    Args:
        scores: (B, A, G) cosine over temperature; ``-inf`` at masked ground points.
        aerial_m: (B, A, 2) cell centres, metres.
        ground: (B, G, 2) lifted ground points, units of depth.
        sampled: (B, K) indices of aerial cells, and (B, K) of ground points, of drawn matches.
        true_rotation: (B, 2, 2), ground to aerial.
        true_translation: (B, 2) camera positions, metres.
        scale: (B,) or a number, metres per unit of depth; no gradient flows into it.
        keep_m: largest distance of an implied match, metres; (B,) or a number.
        negative_m: smallest distance of a negative from the true ground point, metres.
        mask: (B, G) bool, False for ground points that cannot match; by default those with ``-inf``
            in every cell.

    Returns:
        (B,) means of both directions; a direction without an implied match counts zero.
    """
    rows, cols = sampled
    ones = scores.new_ones(len(scores))
    scale = torch.as_tensor(scale, dtype=scores.dtype, device=scores.device).detach() * ones
    keep = torch.as_tensor(keep_m, dtype=scores.dtype, device=scores.device) * ones
    if mask is None:
        mask = torch.isfinite(scores).any(1)

    # From above to the ground, in units of depth.
    cells_m = _take(aerial_m, rows)
    moved = (cells_m - true_translation[:, None]) @ true_rotation / scale[:, None, None]
    distance = torch.cdist(moved, ground, compute_mode="donot_use_mm_for_euclid_dist")
    nearest, index = distance.min(-1)
    kept = (nearest <= (keep / scale)[:, None]) & mask.gather(1, index) & _first_of_each(rows)
    row_scores = _take(scores, rows)
    apart = torch.cdist(_take(ground, index), ground, compute_mode="donot_use_mm_for_euclid_dist")
    negative = (apart > (negative_m / scale)[:, None, None]) & mask[:, None]
    negative = negative.scatter(2, index[..., None], mask.gather(1, index)[..., None])
    down = _masked_logsumexp(row_scores, negative, kept)
    down = down - _value_at(row_scores, index, kept)
    loss = _mean_where(down, kept)

    # From the ground up, in metres.
    points = _take(ground, cols)
    moved_m = scale[:, None, None] * (points @ true_rotation.transpose(-1, -2))
    moved_m = moved_m + true_translation[:, None]
    distance = torch.cdist(moved_m, aerial_m, compute_mode="donot_use_mm_for_euclid_dist")
    nearest, index = distance.min(-1)
    kept = (nearest <= keep[:, None]) & mask.gather(1, cols) & _first_of_each(cols)
    column_scores = _take(scores.transpose(1, 2), cols)
    up = _masked_logsumexp(column_scores, kept[..., None].expand_as(column_scores), kept)
    up = up - _value_at(column_scores, index, kept)
    return (loss + _mean_where(up, kept)) / 2


def _take(values: Tensor, index: Tensor) -> Tensor:
    """Gather (B, N, D) rows by (B, K) indices."""
    return values.gather(1, index[..., None].expand(-1, -1, values.shape[-1]))


def _first_of_each(index: Tensor) -> Tensor:
    """Return (B, K) bool, True where an index occurs for the first time in its sample."""
    order = torch.arange(index.shape[1], device=index.device).expand_as(index)
    size = int(index.max()) + 1 if index.numel() else 1
    first = order.new_full((len(index), size), index.shape[1])
    first = first.scatter_reduce(1, index, order, "amin")
    return first.gather(1, index) == order


def _masked_logsumexp(scores: Tensor, chosen: Tensor, kept: Tensor) -> Tensor:
    """Return (B, K) logarithms of sums over the chosen entries; zero in rows not kept."""
    # Entries go to a large negative number, not to -inf, whose gradient would be undefined.
    floor = torch.finfo(scores.dtype).min / 4
    safe = torch.where(chosen & kept[..., None], scores, torch.full_like(scores, floor))
    summed = safe.logsumexp(-1)
    return torch.where(kept, summed, torch.zeros_like(summed))


def _value_at(scores: Tensor, index: Tensor, kept: Tensor) -> Tensor:
    value = scores.gather(2, index[..., None])[..., 0]
    return torch.where(kept, value, torch.zeros_like(value))


def _mean_where(values: Tensor, kept: Tensor) -> Tensor:
    total = torch.where(kept, values, torch.zeros_like(values)).sum(1)
    return total / kept.sum(1).clamp_min(1)
