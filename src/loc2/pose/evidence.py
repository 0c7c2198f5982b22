"""How well a pose explains the matches: one number for each pose, in natural logarithms.

Two kinds of evidence share one interface. :class:`DenseEvidence` reads a score of every ground
point in every aerial cell; :class:`MatchEvidence` reads a list of matches with unknown outliers.
A pose is a row (east_m, north_m, heading_deg, scale) of a (P, 4) tensor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from loc2.frames import local_to_aerial

_CHUNK = 1 << 22  # (ground point, pose) pairs looked at together: at most 64 MiB of temporaries


@dataclass(frozen=True)
class Votes:
    """Single matches, each a vote for the poses that bring its two points together.

    Attributes:
        source: (M, 2) BEV points (right, forward), units of depth.
        target: (M, 2) points (east_m, north_m), metres.
        value: (M,) positive evidence of each match.
    """

    source: Tensor
    target: Tensor
    value: Tensor


SECTORS = 8
"""Directions from the camera, 45 degrees each."""


class Evidence(Protocol):
    """What the search and the posterior need to know about the matches."""

    @property
    def votes(self) -> Votes:
        """The strongest single matches."""

    @property
    def dropped(self) -> float:
        """Share of the positive evidence that is not among the votes, in [0, 1]."""

    @property
    def points(self) -> int:
        """Number of ground points or matches that a pose's score adds up."""

    @property
    def resolution_m(self) -> float:
        """Distance in metres over which the evidence changes: a cell, or a match's noise."""

    @property
    def half_size_m(self) -> tuple[float, float]:
        """Half the window's extent towards east and north, metres."""

    def score(self, poses: Tensor) -> Tensor:
        """Return the (P,) evidence of (P, 4) poses."""

    def background(self, poses: Tensor) -> Tensor:
        """Return (P,) what the votes leave out, at low resolution."""

    def by_direction(self, poses: Tensor) -> Tensor:
        """Return (P, SECTORS) the evidence split by direction as seen from the camera."""


def log_likelihood_ratio(cell_probability: Tensor, dustbin_probability: Tensor) -> Tensor:
    """Return the evidence of a probability over aerial cells against "anywhere".

    A ground point either has its match where the network says or, with the dustbin's
    probability, anywhere in the window. Relative to a point that says nothing, a cell's evidence
    is ``log(n p_cell + p_dustbin)``: its exponential averages to one over the cells, it is zero for
    a flat distribution, and it is never below the logarithm of the dustbin's probability.

    Args:
        cell_probability: (G, h, w), with the dustbin it sums to one over the cells.
        dustbin_probability: (G,) in (0, 1].

    Returns:
        (G, h, w) scores for :func:`loc2.pose.voting.vote`.
    """
    cells = cell_probability.shape[-1] * cell_probability.shape[-2]
    floor = dustbin_probability.clamp(min=1e-3)[:, None, None]
    return torch.log(cells * cell_probability + floor)


class DenseEvidence:
    """Scores of every ground point in every aerial cell, interpolated between cell centres."""

    def __init__(
        self,
        scores: Tensor,
        bev: Tensor,
        *,
        cell_size_m: float,
        weights: Tensor | None = None,
        temperature: float = 1.0,
        max_votes: int = 65536,
        parts: int = 1,
    ) -> None:
        """Keep the scores and find the strongest votes.

        Args:
            scores: (G, h, w) evidence that ground point g lies in aerial cell (row, col); row 0
                is the top. Zero is neutral, and stands for everything outside the window.
            bev: (G, 2) BEV points (right, forward), units of depth.
            cell_size_m: metres per cell.
            weights: (G,) factors on the scores, not negative; default one.
            temperature: divides the scores, so that their sum is a log-likelihood ratio.
            max_votes: how many single matches may vote; the rest counts at low resolution.
            parts: the votes are of squares of so many cells along the side; divides h and w.
        """
        if scores.ndim != 3 or bev.shape != (scores.shape[0], 2):
            raise ValueError(
                f"scores must be (G, h, w) and bev (G, 2), not {(*scores.shape,)}, {(*bev.shape,)}"
            )
        if scores.numel() == 0 or not cell_size_m > 0 or not temperature > 0:
            raise ValueError("scores are empty, or cell_size_m or temperature is not positive")
        bev, scores = bev.detach().to(torch.float32), scores.detach()
        factor = torch.ones_like(bev[:, 0]) if weights is None else weights.detach().to(bev)
        if not (factor > 0).all() and (factor > 0).any():
            kept = (factor > 0).nonzero()[:, 0]
            bev, scores, factor = bev[kept], scores[kept], factor[kept]
        self._bev = bev
        self._scores = scores.to(torch.float32) * (factor / temperature)[:, None, None]
        searched = functional.avg_pool2d(self._scores, parts) if parts > 1 else self._scores
        self._rows, self._cols = int(searched.shape[1]), int(searched.shape[2])
        self._cell_size_m = parts * float(cell_size_m)
        self._votes, self._dropped, voted = self._strongest(searched, max_votes)
        self._coarse, self._coarse_bev = self._rest(searched, voted)

    @property
    def votes(self) -> Votes:
        """The strongest single matches."""
        return self._votes

    @property
    def dropped(self) -> float:
        """Share of the positive evidence that is not among the votes."""
        return self._dropped

    @property
    def points(self) -> int:
        """Number of ground points."""
        return len(self._bev)

    @property
    def resolution_m(self) -> float:
        """The size of what votes: a cell, or a square of several."""
        return self._cell_size_m

    @property
    def half_size_m(self) -> tuple[float, float]:
        """Half the window's extent towards east and north, metres."""
        return self._cols * self._cell_size_m / 2, self._rows * self._cell_size_m / 2

    def score(self, poses: Tensor) -> Tensor:
        """Return the (P,) sum over ground points of weight times interpolated score."""
        return self._lookup(self._scores, self._bev, poses)

    def background(self, poses: Tensor) -> Tensor:
        """Return (P,) the evidence that is not among the votes, pooled over cells and points."""
        return self._lookup(self._coarse, self._coarse_bev, poses)

    def by_direction(self, poses: Tensor) -> Tensor:
        """Return (P, SECTORS) the evidence split by direction as seen from the camera."""
        each = self._each(self._scores, self._bev, poses.to(self._bev))
        return each.T @ _sector(self._bev)

    def _lookup(self, maps: Tensor, bev: Tensor, poses: Tensor) -> Tensor:
        chunks = torch.split(poses.to(bev), max(1, _CHUNK // len(bev)))
        parts = [self._each(maps, bev, chunk).sum(0) for chunk in chunks]
        return torch.cat(parts) if parts else bev.new_zeros(0)

    def _each(self, maps: Tensor, bev: Tensor, poses: Tensor) -> Tensor:
        return evidence_under(maps, bev, poses, self.half_size_m)

    def _strongest(
        self, scores: Tensor, max_votes: int
    ) -> tuple[Votes, float, tuple[Tensor, Tensor]]:
        """Return the votes, the share of evidence left out, and the votes' (point, cell)."""
        flat = scores.flatten(1)
        point, cell = strongest(flat, max_votes)
        value = flat[point, cell]
        half_east, half_north = self.half_size_m
        east = (cell % self._cols + 0.5) * self._cell_size_m - half_east
        north = half_north - (cell // self._cols + 0.5) * self._cell_size_m
        total = float(flat.clamp(min=0).sum())
        dropped = 1.0 - float(value.sum()) / total if total > 0 else 0.0
        votes = Votes(self._bev[point], torch.stack((east, north), -1).to(self._bev), value)
        return votes, min(max(dropped, 0.0), 1.0), (point, cell)

    def _rest(self, scores: Tensor, voted: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Pool what is not a vote over blocks of four cells and patches of ground points."""
        rest = scores.flatten(1).clone()
        rest[voted] = 0.0
        rows, cols = math.ceil(self._rows / 4), math.ceil(self._cols / 4)
        pooled = functional.adaptive_avg_pool2d(rest.reshape(scores.shape), (rows, cols))
        patch = self._bev.norm(dim=1).quantile(0.9).clamp(min=1e-6) / 5
        key = torch.round(self._bev / patch).long().clamp(-1000, 1000)
        _, group = torch.unique(key[:, 0] * 4001 + key[:, 1], return_inverse=True)
        # A product, unlike a scattered sum, adds in the same order on every run and device.
        member = functional.one_hot(group).T.to(pooled)
        maps = (member @ pooled.flatten(1)).reshape(-1, rows, cols)
        return maps, member @ self._bev / member.sum(1, keepdim=True)


def evidence_under(
    maps: Tensor, bev: Tensor, poses: Tensor, half_size_m: tuple[float, float]
) -> Tensor:
    """Return what each pose finds for each ground point, interpolated between cell centres.

    Args:
        maps: (G, h, w) evidence of each point over the window; row 0 is the top.
        bev: (G, 2) points (right, forward), units of depth.
        poses: (P, 4) rows (east_m, north_m, heading_deg, scale).
        half_size_m: half the window's extent towards east and north, metres.

    Returns:
        (G, P); zero where a pose puts a point outside the window.
    """
    # grid_sample's [-1, 1] spans the window's outer edges, x right and y down.
    half = bev.new_tensor(half_size_m) * bev.new_tensor((1.0, -1.0))
    middle = poses[:, :2] / half
    unit = torch.eye(2, dtype=bev.dtype, device=bev.device)
    axes = local_to_aerial(unit, poses[:, 2], torch.zeros_like(middle), poses[:, 3]) / half
    # One product of two matrices, and places side by side in memory for each map: eight times as
    # fast as products of every pose and strided places.
    where = torch.addmm(middle.reshape(-1), bev, axes.transpose(0, 1).reshape(2, -1))
    where = where.reshape(len(bev), len(poses), 1, 2)
    return functional.grid_sample(maps[:, None], where, align_corners=False)[:, 0, :, 0]


def strongest(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return rows and columns of about the ``count`` largest positive entries of a (R, C) matrix.

    The threshold is read from a sample, because exact selection among millions costs more than
    what follows; at most ``count`` entries are returned, in row-major order.
    """
    flat = values.reshape(-1)
    stride = max(1, len(flat) // (1 << 18))
    sample = flat[::stride]
    keep = max(1, min(len(sample), count // stride))
    threshold = sample.topk(keep).values[-1]
    chosen = values >= threshold if threshold > 0 else values > 0
    row, col = chosen.nonzero().unbind(1)
    if len(row) > count:
        best = values[row, col].topk(count).indices.sort().values
        row, col = row[best], col[best]
    return row, col


class MatchEvidence:
    """A list of matches of which an unknown share is right, up to Gaussian noise.

    The evidence of a match with residual r is ``log(1 + k exp(-r^2 / 2 sigma^2))``, where k is the
    odds of an inlier times the ratio of the window's area to the noise's ``2 pi sigma^2``: the
    likelihood of "inlier or uniform outlier" against "uniform outlier".
    """

    def __init__(
        self,
        source: Tensor,
        target: Tensor,
        weights: Tensor,
        *,
        half_size_m: tuple[float, float],
        noise_m: float = 1.0,
        inlier_share: float = 0.2,
    ) -> None:
        """Keep the matches.

        Args:
            source: (N, 2) BEV points (right, forward), units of depth.
            target: (N, 2) points (east_m, north_m), metres.
            weights: (N,) weights; only their ratios count. Together they speak as many times as
                there are effectively different matches, ``sum(w)^2 / sum(w^2)``.
            half_size_m: half the window's extent towards east and north, metres.
            noise_m: standard deviation of an inlier's residual in each axis.
            inlier_share: expected share of inliers, in (0, 1).
        """
        self.source, self.target = source.detach().float(), target.detach().float()
        total = weights.detach().double().sum().clamp(min=1e-300)
        share = weights.detach().double() / total
        effective = 1.0 / share.square().sum().clamp(min=1e-300)
        self.weights = (share * effective).to(self.source)
        self._half_size_m = half_size_m
        self.noise_m, self.inlier_share = float(noise_m), float(inlier_share)
        area = 4.0 * half_size_m[0] * half_size_m[1]
        odds = self.inlier_share / (1.0 - self.inlier_share)
        self._gain = odds * area / (2.0 * math.pi * self.noise_m**2)

    @property
    def votes(self) -> Votes:
        """All matches with a weight."""
        kept = self.weights > 0
        return Votes(self.source[kept], self.target[kept], self.weights[kept])

    @property
    def dropped(self) -> float:
        """Nothing is left out."""
        return 0.0

    @property
    def points(self) -> int:
        """Number of matches."""
        return len(self.source)

    @property
    def resolution_m(self) -> float:
        """The noise of a match."""
        return self.noise_m

    @property
    def half_size_m(self) -> tuple[float, float]:
        """Half the window's extent towards east and north, metres."""
        return self._half_size_m

    def score(self, poses: Tensor) -> Tensor:
        """Return the (P,) log-likelihood ratio of each pose against "all matches are wrong"."""
        chunks = torch.split(poses.to(self.source), max(1, _CHUNK // max(1, len(self.source))))
        parts = [self._each(chunk) @ self.weights for chunk in chunks]
        return torch.cat(parts) if parts else self.source.new_zeros(0)

    def _each(self, poses: Tensor) -> Tensor:
        """Return (P, N) the log-likelihood ratio of each match under each pose."""
        moved = local_to_aerial(self.source, poses[:, 2], poses[:, :2], poses[:, 3])
        squared = (moved - self.target).square().sum(-1)
        return torch.log1p(self._gain * torch.exp(squared * (-0.5 / self.noise_m**2)))

    def fitted(self, pose: Tensor, *, parameters: int, rounds: int = 10) -> MatchEvidence:
        """Return the same matches with noise and share of inliers estimated at the (4,) pose.

        Expectation maximisation of the mixture. The noise's variance is divided by the degrees of
        freedom that are left once a pose of this many ``parameters`` has been fitted. Noise stays
        within a factor of four of what was assumed.
        """
        moved = local_to_aerial(self.source, pose[2], pose[:2], pose[3])
        squared = (moved - self.target).square().sum(-1).double()
        weights = self.weights.double()
        area = 4.0 * self._half_size_m[0] * self._half_size_m[1]
        noise, share = self.noise_m, self.inlier_share
        for _ in range(rounds):
            gain = share / (1 - share) * area / (2 * math.pi * noise**2)
            inlier = gain * torch.exp(-0.5 * squared / noise**2)
            inlier = weights * inlier / (1 + inlier)
            count = float(inlier.sum())
            share = min(max(count / float(weights.sum()), 0.01), 0.95)
            freedom = max(2 * count - parameters, 1.0)
            found = math.sqrt(float((inlier * squared).sum()) / freedom)
            noise = min(max(found, self.noise_m / 4), self.noise_m * 4)
        return MatchEvidence(
            self.source,
            self.target,
            self.weights,
            half_size_m=self._half_size_m,
            noise_m=noise,
            inlier_share=share,
        )

    def background(self, poses: Tensor) -> Tensor:
        """Return zeros: nothing is left out."""
        return self.source.new_zeros(len(poses))

    def by_direction(self, poses: Tensor) -> Tensor:
        """Return (P, SECTORS) the evidence split by direction as seen from the camera."""
        return (self._each(poses.to(self.source)) * self.weights) @ _sector(self.source)


def _sector(bev: Tensor) -> Tensor:
    """Return (N, SECTORS) one at the sector of each (N, 2) point, else zero."""
    turn = torch.atan2(bev[:, 0], bev[:, 1]) / (2 * math.pi) + 0.5
    index = (turn * SECTORS).long().clamp(0, SECTORS - 1)
    return functional.one_hot(index, SECTORS).to(bev)
