"""The published RANSAC procedure as a plain loop, written from its description, for comparison.

20 rounds of 100 hypotheses. A round draws 8192 matches without replacement in proportion to their
probability; a hypothesis takes 3 of these, drawn alike, and fits an unweighted similarity by
singular value decomposition. The score is the sum of sigmoid(5 / th * (th - residual)) over the
round's matches at th = 5 m. The best hypothesis is refitted up to 4 times to its inliers within
2.5 m, as long as these become more.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class PublishedPose:
    """Results for a batch: rotation (B, 2, 2), translation (B, 2), scale (B,), count (B,)."""

    rotation: Tensor
    translation: Tensor
    scale: Tensor
    soft_count: Tensor


def procrustes(source: Tensor, target: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Similarity by singular value decomposition, (B, N, 2) points and (B, N) weights."""
    share = (weights / (weights.sum(1, keepdim=True) + 1e-16))[..., None]
    source_mean, target_mean = (share * source).sum(1), (share * target).sum(1)
    p, q = source - source_mean[:, None], target - target_mean[:, None]
    u, _, vt = torch.linalg.svd(p.transpose(1, 2) @ (weights[..., None] * q))
    v, ut = vt.transpose(1, 2), u.transpose(1, 2)
    turn = torch.eye(2).repeat(len(u), 1, 1)
    turn[:, 1, 1] = torch.linalg.det(u @ vt).sign()
    rotation = v @ turn @ ut
    moved = p @ rotation.transpose(1, 2)
    scale = (share * q * moved).sum((1, 2)) / ((share * moved.square()).sum((1, 2)) + 1e-16)
    translation = target_mean - scale[:, None] * (rotation @ source_mean[..., None])[..., 0]
    return rotation, translation, scale


def residuals(
    source: Tensor, target: Tensor, rotation: Tensor, translation: Tensor, scale: Tensor
) -> Tensor:
    moved = scale[:, None, None] * (source @ rotation.transpose(1, 2)) + translation[:, None]
    return ((moved - target).square().sum(-1) + 1e-6).sqrt()


def soft_count(residual: Tensor, threshold: float) -> Tensor:
    return torch.sigmoid((threshold - residual) * (5.0 / threshold)).sum(1)


def published_ransac(
    probability: Tensor,
    aerial: Tensor,
    ground: Tensor,
    *,
    rounds: int = 20,
    hypotheses: int = 100,
    samples: int = 8192,
    refinements: int = 4,
    seed: int = 0,
) -> PublishedPose:
    """Run it on (B, A, G) match probabilities, (A, 2) aerial and (B, G, 2) ground points."""
    generator = torch.Generator().manual_seed(seed)
    batch, _, points = probability.shape
    flat = probability.reshape(batch, -1)
    rows = torch.arange(batch)[:, None]
    best = torch.full((batch,), -torch.inf)
    pose = (torch.eye(2).repeat(batch, 1, 1), torch.zeros(batch, 2), torch.ones(batch))
    winner = torch.zeros(batch, samples, dtype=torch.long)
    for _ in range(rounds):
        drawn = torch.multinomial(flat, samples, generator=generator)
        source, target = ground[rows, drawn % points], aerial[drawn // points]
        weights = flat.gather(1, drawn)
        for _ in range(hypotheses):
            three = torch.multinomial(weights, 3, generator=generator)
            p, q = source[rows, three], target[rows, three]
            ones = torch.ones(batch, 3)
            centred = (p - p.mean(1, keepdim=True)).transpose(1, 2) @ (q - q.mean(1, keepdim=True))
            valid = torch.linalg.matrix_rank(centred) > 1
            found = procrustes(p, q, ones)
            score = soft_count(residuals(source, target, *found), 5.0)
            score = torch.where(valid, score, torch.full_like(score, -torch.inf))
            better = score > best
            best = torch.where(better, score, best)
            pose = tuple(
                torch.where(better.reshape(-1, *[1] * (old.ndim - 1)), new, old)
                for new, old in zip(found, pose, strict=True)
            )
            winner = torch.where(better[:, None], drawn, winner)
    source, target = ground[rows, winner % points], aerial[winner // points]
    count = torch.full((batch,), 3)
    for _ in range(refinements):
        inlier = residuals(source, target, *pose) <= 2.5
        improved = (inlier.sum(1) >= 3) & (inlier.sum(1) > count)
        if not improved.any():
            break
        count = torch.where(improved, inlier.sum(1), count)
        found = procrustes(source, target, inlier.float())
        pose = tuple(
            torch.where(improved.reshape(-1, *[1] * (old.ndim - 1)), new, old)
            for new, old in zip(found, pose, strict=True)
        )
    rotation, translation, scale = pose
    final = soft_count(residuals(source, target, rotation, translation, scale), 2.5)
    return PublishedPose(rotation, translation, scale, final)
