"""Voting: the score of every pose on a grid of headings, positions and scales, then a posterior.

Each strong match votes, at every heading and scale, for the one position that explains it; the
votes are spread bilinearly, so that a grid pose's score equals the interpolated evidence of these
matches exactly. What did not vote is added at low resolution. The best grid poses are refined on
the full evidence and integrated (:mod:`loc2.pose.refine`).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from loc2.frames import heading_to_rotation
from loc2.pose.evidence import DenseEvidence, Evidence, Votes
from loc2.pose.posterior import PosePosterior, PosePrior, distinct
from loc2.pose.refine import SearchSteps, integrate, select
from loc2.pose.similarity import ScaleOption, scale_bounds

FREE_SCALE = (0.2, 5.0)
"""What a search takes "free" to mean, metres per unit of depth."""

_CHUNK = {"cpu": 1 << 16, "cuda": 1 << 22}  # (vote, heading) pairs at a time: a CPU's cache, 200 MB
_REST = 2048  # grid poses of each scale that stay in the running
_LOOKUPS = 5 << 19  # (ground point, grid pose) pairs scored anew


def vote(
    scores: Tensor,
    bev: Tensor,
    *,
    cell_size_m: float,
    weights: Tensor | None = None,
    scale: ScaleOption = 1.0,
    prior: PosePrior | None = None,
    heading_step_deg: float = 5.0,
    position_step_m: float | None = None,
    temperature: float = 1.0,
    max_modes: int = 8,
    max_votes: int | None = None,
    nms_m: float | None = None,
    nms_deg: float = 15.0,
    parts: int = 1,
) -> PosePosterior:
    """Return the posterior over camera poses, given each ground point's score in each aerial cell.

    The score of a pose is the weighted sum of the scores at the transformed ground points, each
    interpolated between cell centres and zero outside the window. The search covers the whole
    window and all headings unless a prior narrows it. No randomness; the same inputs give the
    same answer.

    Args:
        scores: (G, h, w) evidence (log-likelihood ratio, 0 = neutral) that ground point g lies
            in cell (row, col); row 0 is the top (north).
        bev: (G, 2) ground points (right, forward), units of depth.
        cell_size_m: metres per cell.
        weights: (G,) factors; default one.
        scale: metres per unit of depth: a number, bounds, or ``"free"`` for 0.2 to 5.
        prior: what is known before matching.
        heading_step_deg: spacing of headings.
        position_step_m: spacing of positions; default one cell, or a square of them.
        temperature: divides the scores before they become probabilities; above one where ground
            points are not independent of each other.
        max_modes: number of hypotheses to keep.
        max_votes: number of single matches that vote at each scale; default 65536, fewer where
            many scales are tried.
        nms_m: hypotheses nearer than this and ...
        nms_deg: ... than this are one; default the larger of two cells and 3 m, and 15 degrees.
        parts: the search looks at squares of so many cells along the side; the poses that it
            finds are scored by the cells themselves. Divides h and w.

    Returns:
        The posterior. Memory: the scores once more, 100 MB of temporaries, and the search grid
        of one scale (4 bytes a pose).
    """
    low, high = bounds = search_bounds(scale)
    evidence = DenseEvidence(
        scores,
        bev,
        cell_size_m=cell_size_m,
        weights=weights,
        temperature=temperature,
        max_votes=max_votes or (65536 if low == high else 8192),
        parts=parts,
    )
    return search(
        evidence,
        scale=bounds,
        prior=prior or PosePrior(),
        heading_step_deg=heading_step_deg,
        position_step_m=position_step_m or evidence.resolution_m,
        max_modes=max_modes,
        nms=(nms_m or max(2.0 * evidence.resolution_m, 3.0), nms_deg),
    )


@dataclass(frozen=True)
class Scan:
    """What an exhaustive search found.

    Attributes:
        peaks: (P, 4) distinct local maxima of the grid, rough.
        poses: (K, 4) the best grid poses.
        scores: (K,) their evidence and prior.
        log_tail: logarithm of the summed ``exp(score)`` of all other grid poses.
        steps: the grid's spacing.
        searched: number of grid poses.
    """

    peaks: Tensor
    poses: Tensor
    scores: Tensor
    log_tail: Tensor
    steps: SearchSteps
    searched: int


def search(
    evidence: Evidence,
    *,
    scale: tuple[float, float],
    prior: PosePrior,
    heading_step_deg: float,
    position_step_m: float,
    max_modes: int,
    nms: tuple[float, float],
) -> PosePosterior:
    """Search all poses for the given evidence; see :func:`vote` for the arguments."""
    found = scan(
        evidence,
        scale=scale,
        prior=prior,
        heading_step_deg=heading_step_deg,
        position_step_m=position_step_m,
        nms=nms,
    )
    # The best grid poses are scored anew on all the evidence, not on the votes alone.
    count = min(_REST, max(256, _LOOKUPS // evidence.points), len(found.scores))
    best = found.scores.topk(count).indices
    scores = found.scores.clone()
    scores[best] = evidence.score(found.poses[best]) + prior.log_factor(found.poses[best])
    chosen = best[distinct(found.poses[best], scores[best], nms[0] / 2, nms[1] / 2, 24)]
    candidates = torch.cat((found.peaks, found.poses[chosen]))
    modes, mode_scores, shape = select(evidence, candidates, found.steps, nms=nms, count=max_modes)
    return integrate(
        evidence,
        modes,
        mode_scores,
        shape,
        found.steps,
        rest=(found.poses, scores),
        log_tail=found.log_tail,
        nms=nms,
        searched=found.searched,
    )


def scan(
    evidence: Evidence,
    *,
    scale: tuple[float, float],
    prior: PosePrior,
    heading_step_deg: float,
    position_step_m: float,
    nms: tuple[float, float],
) -> Scan:
    """Score every pose of the grid; see :func:`vote` for the arguments."""
    grid = PoseGrid.over(evidence.half_size_m, prior, heading_step_deg, position_step_m)
    scales, log_step = _scales(scale, evidence.half_size_m, position_step_m)
    votes = evidence.votes
    # A vote counts for the positions in a cell of the evidence, whatever the grid's spacing.
    gain = (evidence.resolution_m / position_step_m) ** 2
    found: list[tuple[Tensor, Tensor]] = []
    rest: list[tuple[Tensor, Tensor]] = []
    tails: list[Tensor] = []
    background = torch.zeros(0)
    log_prior = grid.log_prior(prior, votes.source.device)
    for i, value in enumerate(scales):
        if i % 3 == 0:  # smooth by construction: it may lag behind by a scale
            background = grid.background(evidence, scales[min(i + 1, len(scales) - 1)])
        volume = gain * grid.count(votes, value) + background
        volume += log_prior + prior.log_scale_factor(log_prior.new_tensor(value))
        found.append(grid.maxima(volume, value, count=64))
        rest.append(grid.best(volume, value, count=_REST if len(scales) == 1 else _REST // 4))
        tails.append(_log_tail(volume, rest[-1][1]))
    poses, scores = (torch.cat(parts) for parts in zip(*rest, strict=True))
    peaks, smooth = (torch.cat(parts) for parts in zip(*found, strict=True))
    return Scan(
        peaks=peaks[distinct(peaks, smooth, nms[0] / 2, nms[1] / 2, 40)],
        poses=poses,
        scores=scores,
        log_tail=torch.stack(tails).logsumexp(0),
        steps=SearchSteps(position_step_m, grid.heading_step_deg, log_step, scale, prior),
        searched=grid.size * len(scales),
    )


@dataclass(frozen=True)
class PoseGrid:
    """A grid of headings and positions: (H, rows, cols), rows from south to north.

    Attributes:
        headings_deg: (H,) headings.
        heading_step_deg: their spacing.
        circular: whether the last heading is a neighbour of the first.
        south_west_m: position of the first row and column.
        step_m: spacing of positions.
        rows: positions towards north.
        cols: positions towards east.
    """

    headings_deg: tuple[float, ...]
    heading_step_deg: float
    circular: bool
    south_west_m: tuple[float, float]
    step_m: float
    rows: int
    cols: int

    @staticmethod
    def over(
        half_size_m: tuple[float, float], prior: PosePrior, heading_step_deg: float, step_m: float
    ) -> PoseGrid:
        """Return the grid that covers the window, or what the prior leaves of it.

        Raises:
            ValueError: the prior leaves nothing of the window.
        """
        if prior.misses(half_size_m):
            raise ValueError("the position prior lies outside the aerial image")
        full = prior.heading_deg is None or prior.heading_range_deg >= 180
        if full:
            count = max(4, round(360 / heading_step_deg))
            spacing = 360 / count
            start = 0.0
        else:
            assert prior.heading_deg is not None
            count = 2 * math.ceil(prior.heading_range_deg / heading_step_deg) + 1
            spacing = 2 * prior.heading_range_deg / (count - 1)
            start = prior.heading_deg - prior.heading_range_deg
        headings = tuple((start + i * spacing) % 360 for i in range(count))
        axes = []
        centres = prior.position_m or (0.0, 0.0)
        radius = prior.position_radius_m if prior.position_m is not None else math.inf
        for i, (half, centre) in enumerate(zip(half_size_m, centres, strict=True)):
            # How far a circle reaches along this axis where it first enters along the other: a box
            # about the whole circle could have no grid position inside the circle.
            beyond = max(abs(centres[1 - i]) - half_size_m[1 - i], 0.0)
            reach = math.sqrt(max(radius * radius - beyond * beyond, 0.0))
            low, high = max(-half, centre - reach), min(half, centre + reach)
            cells = max(1, round((high - low) / step_m))
            axes.append(((low + high - (cells - 1) * step_m) / 2, cells))
        (west, cols), (south, rows) = axes
        return PoseGrid(headings, spacing, full, (west, south), step_m, rows, cols)

    @property
    def size(self) -> int:
        """Number of poses."""
        return len(self.headings_deg) * self.rows * self.cols

    def poses(self, index: Tensor, scale: float) -> Tensor:
        """Return the (P, 4) poses of flat indices into (H, rows, cols)."""
        plane = self.rows * self.cols
        heading = index.new_tensor(self.headings_deg, dtype=torch.float32)[index // plane]
        east = self.south_west_m[0] + self.step_m * (index % self.cols)
        north = self.south_west_m[1] + self.step_m * (index % plane // self.cols)
        return torch.stack((east, north, heading, torch.full_like(heading, scale)), -1)

    def count(self, votes: Votes, scale: float) -> Tensor:
        """Return (H, rows, cols) the sum of votes, each spread over the four nearest positions."""
        device = votes.source.device
        height, width = self.rows + 3, self.cols + 3  # a border takes what falls outside
        plane = height * width
        total = torch.zeros(len(self.headings_deg) * plane, device=device)
        origin = votes.source.new_tensor(self.south_west_m) - self.step_m  # the border's corner
        start = (votes.target - origin) / self.step_m  # in steps
        chunk_size = _CHUNK.get(device.type, 1 << 20)
        per_chunk = max(1, chunk_size // max(1, len(votes.value)))
        for first in range(0, len(self.headings_deg), per_chunk):
            chunk = votes.source.new_tensor(self.headings_deg[first : first + per_chunk])
            turn = heading_to_rotation(chunk) * (scale / self.step_m)  # (H, 2, 2)
            x = start[:, 0] - turn[:, 0] @ votes.source.T  # (H, M), in steps
            y = start[:, 1] - turn[:, 1] @ votes.source.T
            x.clamp_(0, width - 1.001)
            y.clamp_(0, height - 1.001)
            col, row = x.floor(), y.floor()
            x -= col
            y -= row
            offset = torch.arange(first, first + len(chunk), device=device)[:, None] * plane
            index = (row * width + col).long() + offset
            right = votes.value * x
            left = votes.value - right
            upper_right, upper_left = right * y, left * y
            for shift, part in (
                (0, left - upper_left),
                (1, right - upper_right),
                (width, upper_left),
                (width + 1, upper_right),
            ):
                _add(total, (index + shift).reshape(-1), part.reshape(-1))
        return total.reshape(-1, height, width)[:, 1 : self.rows + 1, 1 : self.cols + 1]

    def background(self, evidence: Evidence, scale: float) -> Tensor:
        """Return (H, rows, cols) the rest of the evidence, from a four times coarser grid."""
        headings = len(self.headings_deg)
        coarse = PoseGrid(
            self.headings_deg[::2],
            self.heading_step_deg * 2,
            self.circular,
            # The centre of the first block of four positions.
            (self.south_west_m[0] + 1.5 * self.step_m, self.south_west_m[1] + 1.5 * self.step_m),
            self.step_m * 4,
            math.ceil(self.rows / 4),
            math.ceil(self.cols / 4),
        )
        device = evidence.votes.source.device
        index = torch.arange(coarse.size, device=device)
        values = evidence.background(coarse.poses(index, scale))
        volume = values.reshape(len(coarse.headings_deg), coarse.rows, coarse.cols)
        size = (4 * coarse.rows, 4 * coarse.cols)
        volume = functional.interpolate(volume[None], size, mode="bilinear")[0]
        volume = volume[:, : self.rows, : self.cols].repeat_interleave(2, 0)
        return volume[:headings]

    def log_prior(self, prior: PosePrior, device: torch.device) -> Tensor:
        """Return (H, rows, cols) the prior's factors at a scale of one, logarithms."""
        index = torch.arange(self.size, device=device)
        if prior.heading_deg is None and prior.position_m is None:
            return torch.zeros(1, 1, 1, device=device)
        factor = prior.log_factor(self.poses(index, 1.0))
        return factor.reshape(-1, self.rows, self.cols)

    def maxima(self, volume: Tensor, scale: float, *, count: int) -> tuple[Tensor, Tensor]:
        """Return the poses and smoothed scores of the best local maxima of the smoothed volume."""
        # To its neighbours a cell that the prior excludes is as bad as the worst that it allows.
        allowed = torch.isfinite(volume)
        smooth = torch.where(allowed, volume, volume.masked_fill(~allowed, math.inf).min())
        for axis in (1, 2):
            smooth = functional.pad(smooth, (1, 1) if axis == 2 else (0, 0, 1, 1))
            size = smooth.shape[axis] - 2
            middle = smooth.narrow(axis, 1, size)
            smooth = smooth.narrow(axis, 0, size) + smooth.narrow(axis, 2, size) + 2 * middle
        before, after = self._neighbours(smooth)
        smooth = (before + after + 2 * smooth) / 64
        # Only the highest cells can be among the best maxima: look at their neighbours alone.
        values, index = smooth.reshape(-1).topk(min(64 * count, smooth.numel()))
        plane = self.rows * self.cols
        heading, row, col = index // plane, index % plane // self.cols, index % self.cols
        highest = inside = allowed.reshape(-1)[index]
        for turn, north, east in itertools.product((-1, 0, 1), repeat=3):
            k = heading + turn
            k = k % len(self.headings_deg) if self.circular else k.clamp(0, len(smooth) - 1)
            i, j = (row + north).clamp(0, self.rows - 1), (col + east).clamp(0, self.cols - 1)
            highest = highest & (values >= smooth[k, i, j])
        best = (highest if bool(highest.any()) else inside).nonzero()[:count, 0]
        return self.poses(index[best], scale), values[best]

    def best(self, volume: Tensor, scale: float, *, count: int) -> tuple[Tensor, Tensor]:
        """Return the poses and scores of the best grid poses."""
        values, index = volume.reshape(-1).topk(min(count, volume.numel()))
        kept = torch.isfinite(values)
        return self.poses(index[kept], scale), values[kept]

    def _neighbours(self, volume: Tensor) -> tuple[Tensor, Tensor]:
        """Return the volume at the previous and the next heading."""
        if self.circular:
            return volume.roll(1, 0), volume.roll(-1, 0)
        return torch.cat((volume[:1], volume[:-1])), torch.cat((volume[1:], volume[-1:]))


def _add(total: Tensor, index: Tensor, value: Tensor) -> None:
    """Add values at indices, in a result that does not depend on the order of addition."""
    if total.device.type == "cpu":
        total.index_add_(0, index, value)  # sequential, hence always the same
        return
    # Elsewhere additions come in any order: whole numbers make the order irrelevant.
    unit = 2.0**-16
    whole = torch.zeros_like(total, dtype=torch.int64)
    whole.index_add_(0, index, torch.round(value / unit).long())
    total += whole.float() * unit


def _log_tail(everything: Tensor, kept: Tensor) -> Tensor:
    """Return the logarithm of the mass of the grid poses that were not kept."""
    total = everything.double().logsumexp((0, 1, 2))
    share = (kept.double() - total).exp().sum().clamp(max=1.0 - 1e-12)
    return total + torch.log1p(-share)


def search_bounds(scale: ScaleOption) -> tuple[float, float]:
    """Return the smallest and largest scale to search."""
    return FREE_SCALE if scale == "free" else scale_bounds(scale)


def _scales(
    bounds: tuple[float, float], half_size_m: tuple[float, float], step_m: float
) -> tuple[list[float], float]:
    """Return the scales to try and the spacing of their logarithms.

    A point half the window away, farther than most, moves by two position steps from one scale to
    the next.
    """
    low, high = bounds
    log_step = 2.0 * step_m / max(half_size_m)
    if high <= low:
        return [low], log_step
    count = max(3, math.ceil(math.log(high / low) / log_step) + 1)
    spacing = math.log(high / low) / (count - 1)
    return [low * math.exp(i * spacing) for i in range(count)], spacing
