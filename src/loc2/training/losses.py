"""Losses over cells with known points: correspondence, voting, depth. All are per sample, (B,).

Nothing here loops over the batch; a sample with nothing to learn from gives zero.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from loc2.frames import aerial_m_to_px, local_to_aerial


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over all but the first axis where the mask holds, zero where it never does.

    Args:
        values: (B, ...) values; those outside the mask may be anything, NaN too.
        mask: (B, ...) bool.
    """
    kept = torch.where(mask, values, torch.zeros_like(values)).flatten(1).sum(1)
    return kept / mask.flatten(1).sum(1).clamp_min(1)


def cell_coordinates(position_m: Tensor, cell_size_m: Tensor, rows: int, cols: int) -> Tensor:
    """Convert metres to cells of the aerial window.

    Args:
        position_m: (B, ..., 2) coordinates (east_m, north_m).
        cell_size_m: (B,) side of a cell, metres.
        rows: rows of the window.
        cols: columns of the window.

    Returns:
        (B, ..., 2) continuous (column, row); the centre of the first cell is (0.5, 0.5).
    """
    size = cell_size_m.reshape(-1, *(1,) * (position_m.ndim - 1))
    return aerial_m_to_px(position_m / size, cols, rows, 1.0)


def sample_bilinear(maps: Tensor, cells: Tensor) -> Tensor:
    """Read maps between cell centres; zero outside.

    Args:
        maps: (N, C, h, w).
        cells: (N, M, 2) continuous (column, row).

    Returns:
        (N, C, M) values.
    """
    rows, cols = maps.shape[-2:]
    size = torch.tensor([cols, rows], dtype=cells.dtype, device=cells.device)
    grid = (cells / size * 2 - 1)[:, None]
    return functional.grid_sample(
        maps, grid.to(maps.dtype), mode="bilinear", padding_mode="zeros", align_corners=False
    )[:, :, 0]


def correspondence_loss(
    ground: Tensor,
    aerial: Tensor,
    target: Tensor,
    mask: Tensor,
    temperature: Tensor | float,
    exclude_cells: float = 1.0,
) -> Tensor:
    """Contrast true correspondences with all others, both ways (InfoNCE).

    From the ground, a point's true cells are the four around its true location, by their bilinear
    shares, among all cells of the window. From above, the true location's descriptor must find its
    point among all ground points, save those whose own location is too near to be wrong.

    Args:
        ground: (B, G, D) unit descriptors of ground points.
        aerial: (B, D, h, w) unit descriptors of aerial cells.
        target: (B, G, 2) true location of each point, continuous (column, row).
        mask: (B, G) bool, points that have a true location.
        temperature: divides the cosines.
        exclude_cells: other points nearer than this are no negatives, cells.

    Returns:
        (B,) mean of both directions.
    """
    rows, cols = aerial.shape[-2:]
    size = target.new_tensor([cols, rows])
    inside = ((target >= 0.5) & (target <= size - 0.5)).all(-1) & mask
    target = torch.where(inside[..., None], target, torch.full_like(target, 0.5))
    logits = torch.einsum("bgd,bdhw->bghw", ground, aerial).float() / temperature
    # The expected logit under the bilinear shares, minus the normaliser.
    near = logits.flatten(0, 1)[:, None]
    hit = sample_bilinear(near, target.flatten(0, 1)[:, None])[:, 0, 0].reshape(inside.shape)
    forward = logits.flatten(2).logsumexp(-1) - hit

    found = functional.normalize(sample_bilinear(aerial.float(), target), dim=1)
    back = torch.einsum("bgd,bdk->bkg", ground.float(), found) / temperature
    distance = torch.cdist(target, target)
    keep = inside[:, None] & (distance > exclude_cells)
    keep = keep | torch.eye(target.shape[1], dtype=torch.bool, device=target.device)
    back = back.masked_fill(~keep, -torch.inf)
    backward = back.logsumexp(-1) - back.diagonal(dim1=-2, dim2=-1)

    per_point = (forward + backward) / 2
    return masked_mean(per_point, inside)


def pose_scores(
    evidence: Tensor,
    weight: Tensor,
    bev_m: Tensor,
    position_m: Tensor,
    heading_deg: Tensor,
    cell_size_m: Tensor,
) -> Tensor:
    """Score poses as the voting solver does: the weighted mean of evidence at the moved points.

    Args:
        evidence: (B, G, h, w) evidence of each point in each cell.
        weight: (B, G) weights that sum to one over the points.
        bev_m: (B, G, 2) points (right, forward), metres.
        position_m: (B, P, 2) positions of the poses.
        heading_deg: (B, P) their headings.
        cell_size_m: (B,) side of a cell, metres.

    Returns:
        (B, P) scores; a point outside the window adds nothing.
    """
    batch, points, rows, cols = evidence.shape
    moved_m = local_to_aerial(bev_m[:, None], heading_deg, position_m)
    cells = cell_coordinates(moved_m, cell_size_m, rows, cols).transpose(1, 2)
    found = sample_bilinear(
        evidence.reshape(batch * points, 1, rows, cols), cells.reshape(batch * points, -1, 2)
    )
    return torch.einsum("bg,bgp->bp", weight, found.reshape(batch, points, -1))


def voting_loss(scores: Tensor, sharpness: Tensor | float) -> Tensor:
    """Contrast the true pose with all others under the posterior that the scores imply.

    Args:
        scores: (B, P) scores of poses, the true one first.
        sharpness: factor that turns a score into a logarithm of a probability.

    Returns:
        (B,) negative logarithms of the true pose's probability.
    """
    logits = scores * sharpness
    return logits.logsumexp(-1) - logits[:, 0]


def depth_loss(log_ratio: Tensor, true_log_ratio: Tensor, mask: Tensor) -> Tensor:
    """Compare predicted and true range by the relative error, which is what lifting suffers from.

    It is the mean of the error relative to the true range and of that relative to the smaller of
    the two: the former alone is smaller for what is told too near, and what is uncertain would come
    out nearer than it is. Beyond a factor of two what is told too far costs the logarithm of the
    ratio only, and what is told too near hardly more, so that single cells beside an edge do not
    outweigh all others and yet have a gradient.

    Args:
        log_ratio: (B, h, w) predicted logarithms of range over camera height.
        true_log_ratio: (B, h, w) true logarithms.
        mask: (B, h, w) bool, cells with a true range.

    Returns:
        (B,) mean relative errors.
    """
    difference = torch.where(mask, log_ratio - true_log_ratio, torch.zeros_like(log_ratio))
    limit = math.log(2.0)
    symmetric = torch.expm1(difference.abs().clamp_max(limit))
    relative = torch.expm1(difference.clamp_max(limit)).abs()
    beyond = 2 * (difference - limit).clamp_min(0) + (-difference - limit).clamp_min(0)
    return masked_mean((symmetric + relative) / 2 + beyond, mask)


def validity_loss(logit: Tensor, valid: Tensor) -> Tensor:
    """Return (B,) mean cross entropies of "has depth"; both arguments are (B, h, w)."""
    entropy = functional.binary_cross_entropy_with_logits(
        logit, valid.to(logit.dtype), reduction="none"
    )
    return entropy.flatten(1).mean(1)
