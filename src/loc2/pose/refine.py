"""From rough candidates to a posterior: alignment, local shape, integration.

The same steps serve every solver; solvers differ only in where their candidates come from.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from loc2.frames import local_to_aerial
from loc2.pose.evidence import Evidence, Votes
from loc2.pose.posterior import (
    PoseMode,
    PosePosterior,
    PosePrior,
    distinct,
    heading_offset_deg,
    to_pose,
)
from loc2.pose.similarity import weighted_similarity

# Trapezoid rules in standard deviations, exact to 0.2 % for a Gaussian: (spacing, points).
# One each for east, north, heading and the scale, of which no moment is reported.
_RULES = (*[(1.4, 5)] * 3, (math.sqrt(3.0), 3))
_NEGLIGIBLE = 25.0  # nats below the best mode
_CHANCE = 128  # poses that tell what a wrong pose scores
_SUPPORT = 4096  # poses kept in a posterior


@dataclass(frozen=True)
class SearchSteps:
    """The spacing of a search, and what its candidates are allowed to be.

    Attributes:
        position_m: spacing of positions.
        heading_deg: spacing of headings.
        log_scale: spacing of the scale's logarithm.
        scale: smallest and largest scale; equal where the scale is known.
        prior: what is known before matching.
    """

    position_m: float
    heading_deg: float
    log_scale: float
    scale: tuple[float, float]
    prior: PosePrior

    @property
    def spacing(self) -> Tensor:
        """(D,) spacing of (east, north, heading) and, where it is free, the scale's logarithm."""
        free = self.scale[1] > self.scale[0]
        values = (self.position_m, self.position_m, self.heading_deg)
        return torch.tensor((*values, self.log_scale) if free else values, device="cpu")

    def moved(self, poses: Tensor, offsets: Tensor) -> Tensor:
        """Return (P, 4) poses plus (P, D) offsets of (east, north, heading, log scale)."""
        result = poses.clone()
        result[:, :3] += offsets[:, :3]
        if offsets.shape[1] == 4:
            result[:, 3] = (result[:, 3].log() + offsets[:, 3]).exp().clamp(*self.scale)
        return result


def align(
    poses: Tensor, votes: Votes, reach_m: float, steps: SearchSteps, *, iterations: int = 5
) -> Tensor:
    """Move each pose uphill by repeated weighted alignment on the votes that support it.

    A vote's weight is its value times a Gaussian of its residual, whose width shrinks from twice
    ``reach_m`` to ``reach_m``. This is mean shift on the sum of these Gaussians.

    Returns:
        (P, 4) poses within the prior and the scale's bounds.
    """
    if len(votes.value) == 0:
        return poses
    if len(votes.value) > 2048:  # the strongest votes place a pose well enough to go on from
        best = votes.value.topk(2048).indices
        votes = Votes(votes.source[best], votes.target[best], votes.value[best])
    source, target = votes.source[None], votes.target[None]
    for i in range(iterations):
        width = reach_m * max(1.0, 2.0 - i / 2)
        moved = local_to_aerial(source, poses[:, 2], poses[:, :2], poses[:, 3])
        weights = torch.exp((moved - target).square().sum(-1) * (-0.5 / width**2)) * votes.value
        count = len(poses)
        found = weighted_similarity(
            source.expand(count, -1, -1),
            target.expand(count, -1, -1),
            weights,
            scale=steps.scale if steps.scale[1] > steps.scale[0] else steps.scale[0],
        )
        better = torch.cat((found.translation, found.heading_deg[:, None], found.scale[:, None]), 1)
        fixed = steps.prior.clamp(better)
        poses = torch.where(found.valid[:, None], fixed, poses)
    return poses


def local_shape(
    evidence: Evidence, poses: Tensor, steps: SearchSteps, *, step: float
) -> tuple[Tensor, Tensor]:
    """Return the Newton step and the covariance at each pose, by central differences.

    Args:
        evidence: what to differentiate.
        poses: (P, 4).
        steps: the search's spacing, the unit of all differences.
        step: length of the differences in units of the spacing.

    Returns:
        (P, D) offsets to the maximum of the local parabola, at most one spacing long, and
        (P, D, D) covariances (Laplace's approximation), both in units of the spacing, float64.
        Standard deviations lie between 1/100 and 1 spacing: flatter directions are left to the
        search grid.
    """
    spacing = steps.spacing.to(poses)
    d = len(spacing)
    unit = torch.eye(d, device=poses.device, dtype=poses.dtype)
    pairs = list(itertools.combinations(range(d), 2))
    rows = [unit[0] * 0, *unit, *(-unit)]
    for i, j in pairs:
        rows += [unit[i] + unit[j], unit[i] - unit[j], unit[j] - unit[i], -unit[i] - unit[j]]
    offsets = torch.stack(rows) * step * spacing
    stencil = steps.moved(poses.repeat_interleave(len(offsets), 0), offsets.repeat(len(poses), 1))
    value = evidence.score(stencil) + steps.prior.log_factor(stencil).clamp(min=-1e4)
    value = value.double().reshape(len(poses), len(offsets))
    gradient = (value[:, 1 : d + 1] - value[:, d + 1 : 2 * d + 1]) / (2 * step)
    hessian = value.new_zeros(len(poses), d, d)
    second = value[:, 1 : d + 1] + value[:, d + 1 : 2 * d + 1] - 2 * value[:, :1]
    hessian.diagonal(dim1=1, dim2=2).copy_(second / step**2)
    for k, (i, j) in enumerate(pairs):
        a, b, c, e = value[:, 2 * d + 1 + 4 * k : 2 * d + 5 + 4 * k].unbind(1)
        hessian[:, i, j] = hessian[:, j, i] = (a - b - c + e) / (4 * step**2)
    curvature, axes = torch.linalg.eigh(-hessian)
    variance = 1.0 / curvature.clamp(min=1.0, max=1e4)
    covariance = (axes * variance[:, None]) @ axes.transpose(1, 2)
    # The way uphill does not depend on how sharp the posterior is, only on its shape.
    sharpest = curvature.abs().amax(1, keepdim=True).clamp(min=1e-12)
    inverse = 1.0 / torch.maximum(curvature.abs(), 0.05 * sharpest)
    newton = ((axes * inverse[:, None]) @ axes.transpose(1, 2) @ gradient[..., None])[..., 0]
    length = newton.norm(dim=1, keepdim=True).clamp(min=1.0)
    return newton / length, covariance


def climb(
    evidence: Evidence, poses: Tensor, steps: SearchSteps, *, rounds: int = 2
) -> tuple[Tensor, Tensor, Tensor]:
    """Refine poses to the maximum of the evidence itself.

    Returns:
        (P, 4) poses, their (P,) evidence and (P, D, D) covariances in units of the spacing.
    """
    spacing = steps.spacing.to(poses)
    score = evidence.score(poses) + steps.prior.log_factor(poses)
    step = min(0.5, 0.5 * evidence.resolution_m / steps.position_m)
    for _ in range(rounds):
        newton, _ = local_shape(evidence, poses, steps, step=step)
        for fraction in (1.0, 0.4):  # the longer step where it helps, else the shorter
            trial = steps.prior.clamp(steps.moved(poses, newton.to(poses) * spacing * fraction))
            found = evidence.score(trial) + steps.prior.log_factor(trial)
            better = found > score
            poses = torch.where(better[:, None], trial, poses)
            score = torch.where(better, found, score)
            newton = torch.where(better[:, None], torch.zeros_like(newton), newton)
    _, covariance = local_shape(evidence, poses, steps, step=step)
    return poses, score, covariance


def integrate(
    evidence: Evidence,
    modes: Tensor,
    scores: Tensor,
    covariance: Tensor,
    steps: SearchSteps,
    *,
    rest: tuple[Tensor, Tensor],
    log_tail: Tensor,
    nms: tuple[float, float],
    searched: int,
) -> PosePosterior:
    """Build the posterior from refined modes and the rest of the search grid.

    Args:
        evidence: scores poses.
        modes: (P, 4) refined poses, best first.
        scores: (P,) their evidence.
        covariance: (P, D, D) in units of the spacing.
        steps: the search's spacing.
        rest: (K, 4) poses of the search grid and their (K,) evidence, each standing for one cell
            of the grid; may be empty.
        log_tail: logarithm of the summed ``exp(evidence)`` of the search grid's
            other poses; minus infinity where there is no grid.
        nms: distance in metres and degrees within which a pose belongs to a mode.
        searched: number of poses of the search grid.
    """
    factor = torch.linalg.cholesky(covariance)
    points, log_mass, owner = _quadrature(evidence, modes, scores, factor, steps)
    inside = _first_owner(points, modes, nms)
    # Grids of two modes may overlap: a point counts for the better one only.
    log_mass[(inside >= 0) & (inside < owner)] = -math.inf
    rest_poses, rest_scores = rest
    outside = _outside(rest_poses, modes, factor, steps)
    rest_poses, rest_scores = rest_poses[outside], rest_scores[outside]
    poses = torch.cat((points, rest_poses))
    log_mass = torch.cat((log_mass, rest_scores.double()))
    total = torch.cat((log_mass, log_tail[None])).logsumexp(0)
    probability = (log_mass - total).exp()

    near = torch.cat((owner, _first_owner(rest_poses, modes, nms)))
    metric = steps.spacing.to(modes)[:3].double()
    result = []
    for k in range(len(modes)):
        mine = (near == k).nonzero()[:, 0]
        if (owner == k).sum() > 1:
            moments = _moments(poses[mine], log_mass[mine].softmax(0), modes[k])
        else:
            moments = covariance[k, :3, :3] * metric[:, None] * metric
        mass = float(probability[mine].sum())
        result.append(PoseMode(to_pose(modes[k]), mass, float(scores[k]), moments))
    result.sort(key=lambda mode: -mode.mass)
    chance = evidence.score(_anywhere(evidence, steps)).double()
    keep = probability.topk(min(_SUPPORT, len(probability))).indices
    kept = probability[keep]
    return PosePosterior(
        modes=tuple(result),
        poses=poses[keep].double(),
        probability=kept,
        dropped_mass=max(0.0, 1.0 - float(kept.sum())),
        dropped_evidence=evidence.dropped,
        searched=searched,
        log_evidence=float(total),
        chance_mean=float(chance.mean()),
        chance_deviation=float(chance.std()),
        rivalry=_rivalry(evidence.by_direction(modes)),
    )


def select(
    evidence: Evidence,
    candidates: Tensor,
    steps: SearchSteps,
    *,
    nms: tuple[float, float],
    count: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Refine candidates and keep the best distinct ones: poses, scores, covariances."""
    scores = evidence.score(candidates) + steps.prior.log_factor(candidates)
    best = scores.topk(min(4 * count, len(scores))).indices
    aligned = align(candidates[best], evidence.votes, evidence.resolution_m, steps)
    both = torch.cat((candidates[best], aligned))
    again = evidence.score(aligned) + steps.prior.log_factor(aligned)
    keep = distinct(both, torch.cat((scores[best], again)), *nms, count + count // 2)
    poses, scores, covariance = climb(evidence, both[keep], steps)
    keep = distinct(poses, scores, *nms, count)
    return poses[keep], scores[keep], covariance[keep]


def _quadrature(
    evidence: Evidence, modes: Tensor, scores: Tensor, factor: Tensor, steps: SearchSteps
) -> tuple[Tensor, Tensor, Tensor]:
    """Integrate the evidence around each mode.

    Returns:
        (K, 4) poses, the (K,) logarithms of the mass that each stands for, in cells of the search
        grid, and the (K,) index of the mode. A mode that can matter has a grid of them; one whose
        evidence is ``_NEGLIGIBLE`` below the best's is one point, with Laplace's mass.
    """
    spacing = steps.spacing.to(modes)
    d = len(spacing)
    rules = _RULES[:d]
    lines = [h * (torch.arange(n, device=modes.device) - n // 2).double() for h, n in rules]
    whitened = torch.cartesian_prod(*lines)
    log_cell = factor.diagonal(dim1=1, dim2=2).log().sum(1)
    matters = scores > scores.max() - _NEGLIGIBLE
    wide, narrow = matters.nonzero()[:, 0], (~matters).nonzero()[:, 0]
    offsets = (whitened @ factor[wide].transpose(1, 2)) * spacing.double()  # (P, Q, D)
    points = steps.moved(
        modes[wide].repeat_interleave(len(whitened), 0), offsets.reshape(-1, d).to(modes)
    )
    log_mass = (evidence.score(points) + steps.prior.log_factor(points)).double()
    if d == 4:
        # How far a node's cell reaches up and down in log scale, and what of it is searched.
        reach = rules[3][0] / 2 * factor[wide, 3, 3, None] * spacing[3]  # (P, 1)
        middle = modes[wide, 3, None].log() + offsets[..., 3]  # (P, Q)
        low, high = (math.log(bound) if bound > 0 else -math.inf for bound in steps.scale)
        inside = (middle + reach).clamp(low, high) - (middle - reach).clamp(low, high)
        log_mass += (inside / (2 * reach)).log().flatten()
    log_mass += (log_cell[wide] + sum(math.log(h) for h, _ in rules)).repeat_interleave(
        len(whitened)
    )
    laplace = scores[narrow].double() + log_cell[narrow] + d / 2 * math.log(2 * math.pi)
    return (
        torch.cat((points, modes[narrow])),
        torch.cat((log_mass, laplace)),
        torch.cat((wide.repeat_interleave(len(whitened)), narrow)),
    )


def _outside(poses: Tensor, modes: Tensor, factor: Tensor, steps: SearchSteps) -> Tensor:
    """Return (K,) whether each pose lies outside the modes' own grids."""
    spacing = steps.spacing.to(modes)
    limits = factor.new_tensor([h * n / 2 for h, n in _RULES])
    outside = torch.ones(len(poses), dtype=torch.bool, device=modes.device)
    for mode, shape in zip(modes, factor, strict=True):
        offset = poses - mode
        offset[:, 2] = heading_offset_deg(poses[:, 2], mode[2])
        offset[:, 3] = (poses[:, 3] / mode[3]).log()
        scaled = (offset[:, : len(spacing)] / spacing).double()
        z = torch.linalg.solve_triangular(shape, scaled.T, upper=False)
        outside &= (z.abs() > limits[: len(z), None]).any(0)
    return outside


def _anywhere(evidence: Evidence, steps: SearchSteps) -> Tensor:
    """Return (P, 4) poses that cover the window, all headings and the scales evenly."""
    engine = torch.quasirandom.SobolEngine(4)  # type: ignore[no-untyped-call]
    unit = engine.draw(_CHANCE + 1)[1:].to(steps.spacing)
    half = unit.new_tensor(evidence.half_size_m)
    low, high = max(steps.scale[0], 0.2), min(steps.scale[1], 5.0)
    low, high = min(low, high), max(low, high)
    scale = (math.log(low) + unit[:, 3:] * math.log(high / low)).exp()
    poses = torch.cat(((2 * unit[:, :2] - 1) * half, 360 * unit[:, 2:3], scale), 1)
    return poses.to(evidence.votes.source)


def _first_owner(poses: Tensor, modes: Tensor, nms: tuple[float, float]) -> Tensor:
    """Return (K,) the first mode near each pose, or -1."""
    near = torch.cdist(poses[:, :2], modes[:, :2]) <= nms[0]
    near &= heading_offset_deg(poses[:, None, 2], modes[None, :, 2]).abs() <= nms[1]
    first = near.to(torch.uint8).argmax(1)
    return torch.where(near.any(1), first, torch.full_like(first, -1))


def _rivalry(by_direction: Tensor) -> float:
    """Return the smallest t-statistic of the first row's lead over the others.

    Points in one direction see the same thing and are not independent; directions nearly are.
    """
    if len(by_direction) < 2:
        return math.inf
    lead = by_direction[0] - by_direction[1:]
    return float((lead.sum(1) / lead.square().sum(1).sqrt().clamp(min=1e-9)).min())


def _moments(poses: Tensor, probability: Tensor, mode: Tensor) -> Tensor:
    """Return the (3, 3) second moment about the mode of weighted poses."""
    offset = (poses - mode)[:, :3].double()
    offset[:, 2] = heading_offset_deg(poses[:, 2], mode[2]).double()
    return (offset * probability[:, None]).T @ offset
