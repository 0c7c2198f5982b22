"""Batched RANSAC: two-point hypotheses, thousands at a time, then the common refinement.

Pairs of matches are drawn in proportion to their weights. A pair fixes a similarity, and most
wrong pairs show themselves before any scoring: the scale is out of bounds, or the camera would
stand outside the aerial image or the prior. The rest are scored by soft inlier counts in metres.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from loc2.frames import local_to_aerial
from loc2.pose.evidence import MatchEvidence
from loc2.pose.posterior import PosePosterior, PosePrior, distinct, heading_offset_deg
from loc2.pose.refine import SearchSteps, integrate, select
from loc2.pose.similarity import ScaleOption, scale_bounds

_CHUNK = {"cpu": 1 << 18, "cuda": 1 << 24}  # (hypothesis, match) pairs at a time: 20 MB, 1 GB
_DRAWS = 1 << 12  # pairs drawn at a time; early stopping looks between draws
_SCORED = 512  # matches that score hypotheses; all of them count in the refinement


def residuals_m(source: Tensor, target: Tensor, poses: Tensor) -> Tensor:
    """Return (P, N) distances in metres between transformed and matched points.

    Args:
        source: (N, 2) BEV points (right, forward), units of depth.
        target: (N, 2) points (east_m, north_m).
        poses: (P, 4) rows (east_m, north_m, heading_deg, scale).
    """
    moved = local_to_aerial(source, poses[:, 2], poses[:, :2], poses[:, 3])
    return ((moved - target).square().sum(-1) + 1e-6).sqrt()


def soft_inliers(residual_m: Tensor, threshold_m: float) -> Tensor:
    """Return how much each residual counts as an inlier: a sigmoid, one half at the threshold.

    ``sigmoid(5 / threshold * (threshold - residual))``, as in the published method.
    """
    return torch.sigmoid((threshold_m - residual_m) * (5.0 / threshold_m))


def ransac(
    source: Tensor,
    target: Tensor,
    weights: Tensor,
    *,
    half_size_m: tuple[float, float],
    scale: ScaleOption = "free",
    prior: PosePrior | None = None,
    noise_m: float = 1.0,
    inlier_m: float = 2.5,
    max_draws: int = 1 << 17,
    max_modes: int = 8,
    nms_m: float = 3.0,
    nms_deg: float = 15.0,
    seed: int = 0,
) -> list[PosePosterior]:
    """Return a posterior for each image of a batch, its modes found by random two-point poses.

    Args:
        source: (B, N, 2) BEV points (right, forward), units of depth.
        target: (B, N, 2) matched points (east_m, north_m).
        weights: (B, N) match probabilities, not negative; only their ratios count.
        half_size_m: half the window's extent towards east and north; cameras outside are refused.
        scale: metres per unit of depth: a number, bounds or ``"free"``.
        prior: what is known before matching, for every image of the batch.
        noise_m: expected standard deviation of an inlier's residual in each axis.
        inlier_m: threshold of the soft inlier count.
        max_draws: largest number of pairs to draw for an image. Drawing stops earlier once a
            better pose is improbable.
        max_modes: number of hypotheses to keep.
        nms_m: hypotheses nearer than this and ...
        nms_deg: ... than this are one.
        seed: of the draws. An image's answer depends on its matches and the seed alone, not on
            the batch it comes in.

    Returns:
        One posterior an image. It covers the modes alone: no exhaustive search stands behind
        their masses.
    """
    low, high = scale_bounds(scale)
    prior = prior or PosePrior()
    results = []
    for p, q, w in zip(source.detach(), target.detach(), weights.detach(), strict=True):
        evidence = MatchEvidence(p, q, w, half_size_m=half_size_m, noise_m=noise_m)
        candidates, drawn = _draw(
            evidence, (low, high), prior, inlier_m=inlier_m, max_draws=max_draws, seed=seed
        )
        results.append(
            posterior_of_matches(
                evidence,
                candidates,
                scale=(low, high),
                prior=prior,
                max_modes=max_modes,
                nms=(nms_m, nms_deg),
                searched=drawn,
            )
        )
    return results


def posterior_of_matches(
    evidence: MatchEvidence,
    candidates: Tensor,
    *,
    scale: tuple[float, float],
    prior: PosePrior,
    max_modes: int,
    nms: tuple[float, float],
    searched: int,
) -> PosePosterior:
    """Refine (P, 4) candidates on a list of matches, estimate its noise, integrate the modes."""
    low, high = scale
    spread = float(evidence.source.norm(dim=1).square().mean().sqrt()) * math.sqrt(
        max(low, 1e-3) * min(high, 1e3)
    )
    for fit in (True, False):
        # A mode is never wider than the noise of one match; the steps are that wide.
        noise = evidence.noise_m
        turn = math.degrees(noise / max(spread, noise))
        steps = SearchSteps(noise, min(turn, 10.0), math.radians(min(turn, 10.0)), scale, prior)
        modes, scores, shape = select(evidence, candidates, steps, nms=nms, count=max_modes)
        if fit:
            parameters = len(steps.spacing)
            evidence = evidence.fitted(modes[0], parameters=parameters)
            candidates = modes
    nothing = modes.new_zeros(0)
    return integrate(
        evidence,
        modes,
        scores,
        shape,
        steps,
        rest=(nothing.reshape(0, 4), nothing),
        log_tail=torch.tensor(-math.inf, dtype=torch.float64, device=modes.device),
        nms=nms,
        searched=searched,
    )


def _draw(
    evidence: MatchEvidence,
    scale: tuple[float, float],
    prior: PosePrior,
    *,
    inlier_m: float,
    max_draws: int,
    seed: int,
) -> tuple[Tensor, int]:
    """Return the (P, 4) best two-point poses and the number of pairs drawn."""
    source, target = evidence.source, evidence.target
    share = evidence.weights / evidence.weights.sum().clamp(min=1e-30)
    share = 0.9 * share + 0.1 / len(share)  # overconfident weights must not silence the rest
    cumulative = share.double().cumsum(0)
    cumulative /= cumulative[-1].clone()
    scored, judge = _judges(evidence.weights)
    generator = torch.Generator().manual_seed(seed)
    poses, scores = source.new_zeros(0, 4), source.new_zeros(0)
    drawn = 0
    while drawn < max_draws:
        uniform = torch.rand(2, _DRAWS, generator=generator, dtype=torch.float64, device="cpu")
        first, second = torch.searchsorted(cumulative, uniform.to(cumulative)).clamp(
            max=len(share) - 1
        )
        drawn += _DRAWS
        found = _two_point_poses(
            source[first], source[second], target[first], target[second], scale, evidence, prior
        )
        if len(found):
            size = max(1, _CHUNK.get(source.device.type, 1 << 20) // len(scored))
            counted = [
                soft_inliers(residuals_m(source[scored], target[scored], part), inlier_m) @ judge
                for part in torch.split(found, size)
            ]
            poses, scores = torch.cat((poses, found)), torch.cat((scores, *counted))
            # Suppressed at once, so that a strong mode's many pairs do not crowd out the others.
            best = distinct(poses, scores, inlier_m / 2, 5.0, 64)
            poses, scores = poses[best], scores[best]
        if len(scores) and _enough(float(scores[0]), drawn):
            break
    if len(poses) == 0:
        poses = prior.clamp(source.new_tensor([[0.0, 0.0, 0.0, max(scale[0], min(1.0, scale[1]))]]))
        return poses, drawn
    return poses, drawn


def _two_point_poses(
    p1: Tensor,
    p2: Tensor,
    q1: Tensor,
    q2: Tensor,
    scale: tuple[float, float],
    evidence: MatchEvidence,
    prior: PosePrior,
) -> Tensor:
    """Return the (P, 4) poses of the (D, 2) pairs that could be right."""
    dp, dq = p2 - p1, q2 - q1
    length, span = dp.norm(dim=1), dq.norm(dim=1)
    slack = 4.0 * evidence.noise_m  # about three standard deviations of a distance
    low, high = scale
    usable = (span > slack) & (length > 0)
    usable &= (span + slack >= low * length) & (span - slack <= high * length)
    index = usable.nonzero()[:, 0]
    p1, p2, q1, q2, dp, dq = (x[index] for x in (p1, p2, q1, q2, dp, dq))
    length, span = length[index], span[index]
    factor = (span / length).clamp(low, high)
    # The phase of conj(p) q is minus the heading.
    real = (dp * dq).sum(1)
    imag = dp[:, 0] * dq[:, 1] - dp[:, 1] * dq[:, 0]
    heading = torch.remainder(torch.rad2deg(torch.atan2(-imag, real)), 360.0)
    middle = local_to_aerial(((p1 + p2) / 2)[:, None], heading, torch.zeros_like(q1), factor)[:, 0]
    position = (q1 + q2) / 2 - middle
    poses = torch.cat((position, heading[:, None], factor[:, None]), 1)
    # A pair's own noise may shift a right pose by some metres and turn it by some degrees.
    allowed = prior.clamp(poses)
    half = position.new_tensor(evidence.half_size_m)
    keep = (position.abs() <= half + slack).all(1)
    keep &= (allowed[:, :2] - position).norm(dim=1) <= slack
    keep &= heading_offset_deg(allowed[:, 2], heading).abs() <= 10.0
    return poses[keep]


def _judges(weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return the matches that score hypotheses, and their shares: all, or a sample by weight."""
    share = weights / weights.sum().clamp(min=1e-30)
    if len(share) <= _SCORED:
        return torch.arange(len(share), device=share.device), share
    at = (torch.arange(_SCORED, device=share.device).double() + 0.5) / _SCORED
    drawn = torch.searchsorted(share.double().cumsum(0), at).clamp(max=len(share) - 1)
    index, count = torch.unique(drawn, return_counts=True)
    return index, count / _SCORED


def _enough(inlier_share: float, drawn: int) -> bool:
    """Whether a pair of inliers has been drawn often enough.

    Only about one pair in ten of two inliers lies far enough apart to give a good pose at once.
    """
    chance = 0.1 * inlier_share**2
    return drawn * -math.log1p(-min(chance, 0.999)) > 7.0  # missed with probability e^-7
