"""A posterior over poses: modes with masses and covariances, and a sparse set of weighted poses.

Around each mode the posterior is integrated on a small grid whose axes follow the local
covariance; elsewhere the search grid's own scores stand. Poses are rows
(east_m, north_m, heading_deg, scale) of (P, 4) tensors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from loc2.frames import Pose, wrap_heading_deg


@dataclass(frozen=True)
class PosePrior:
    """What is known before matching; each part is a factor of the posterior.

    Attributes:
        heading_deg: heading around which to search; None for no prior.
        heading_range_deg: largest deviation from it, in (0, 180]; every heading within is equally
            likely.
        position_m: (east_m, north_m) around which to search; None for no prior.
        position_radius_m: largest distance from it; every position within is equally likely.
        heading_sigma_deg: further Gaussian factor on the deviation; None for none.
        position_sigma_m: further Gaussian factor on the distance, for each axis; None for none.
        log_scale_sigma: Gaussian factor on the natural logarithm of the scale; None for none.
    """

    heading_deg: float | None = None
    heading_range_deg: float = 180.0
    position_m: tuple[float, float] | None = None
    position_radius_m: float = math.inf
    heading_sigma_deg: float | None = None
    position_sigma_m: float | None = None
    log_scale_sigma: float | None = None

    def __post_init__(self) -> None:
        """Refuse ranges that hold no pose."""
        if not 0 < self.heading_range_deg <= 180:
            raise ValueError(f"heading_range_deg is {self.heading_range_deg}; use (0, 180]")
        if not self.position_radius_m > 0:
            raise ValueError(f"position_radius_m is {self.position_radius_m}; it must be positive")
        for name in ("heading_sigma_deg", "position_sigma_m", "log_scale_sigma"):
            if (value := getattr(self, name)) is not None and not value > 0:
                raise ValueError(f"{name} is {value}; it must be positive")

    def beyond_m(self, half_size_m: tuple[float, float]) -> float:
        """Return how far the position's centre lies outside a window of half this size, metres."""
        pairs = zip(self.position_m or (0.0, 0.0), half_size_m, strict=True)
        return math.hypot(*(max(abs(centre) - half, 0.0) for centre, half in pairs))

    def misses(self, half_size_m: tuple[float, float]) -> bool:
        """Return whether it allows no position in a window of half this size (east, north)."""
        return self.beyond_m(half_size_m) > self.position_radius_m

    def log_factor(self, poses: Tensor) -> Tensor:
        """Return (P,) logarithms of the prior of (P, 4) poses; minus infinity outside."""
        result = torch.zeros_like(poses[:, 0])
        if self.heading_deg is not None:
            turn = heading_offset_deg(poses[:, 2], self.heading_deg).abs()
            if self.heading_sigma_deg is not None:
                result = result - 0.5 * (turn / self.heading_sigma_deg).square()
            result = result.masked_fill(turn > self.heading_range_deg + 1e-3, -math.inf)
        if self.position_m is not None:
            distance = (poses[:, :2] - poses.new_tensor(self.position_m)).norm(dim=1)
            if self.position_sigma_m is not None:
                result = result - 0.5 * (distance / self.position_sigma_m).square()
            result = result.masked_fill(distance > self.position_radius_m + 1e-3, -math.inf)
        return result + self.log_scale_factor(poses[:, 3])

    def log_scale_factor(self, scale: Tensor) -> Tensor:
        """Return the logarithms of the prior's factor on scales of any shape."""
        if self.log_scale_sigma is None:
            return torch.zeros_like(scale)
        return -0.5 * (scale.log() / self.log_scale_sigma).square()

    def clamp(self, poses: Tensor) -> Tensor:
        """Return the (P, 4) poses moved to the nearest ones that the prior allows."""
        poses = poses.clone()
        if self.heading_deg is not None:
            turn = heading_offset_deg(poses[:, 2], self.heading_deg)
            limit = self.heading_range_deg
            poses[:, 2] = torch.remainder(self.heading_deg + turn.clamp(-limit, limit), 360.0)
        if self.position_m is not None and math.isfinite(self.position_radius_m):
            centre = poses.new_tensor(self.position_m)
            away = poses[:, :2] - centre
            distance = away.norm(dim=1, keepdim=True).clamp(min=1e-9)
            poses[:, :2] = centre + away * (self.position_radius_m / distance).clamp(max=1.0)
        return poses


@dataclass(frozen=True)
class PoseMode:
    """One hypothesis.

    Attributes:
        pose: its maximum.
        mass: posterior probability of this mode, in [0, 1].
        score: evidence and prior at the maximum, natural logarithm.
        covariance: (3, 3) of (east_m, north_m, heading_deg), float64.
    """

    pose: Pose
    mass: float
    score: float
    covariance: Tensor


@dataclass(frozen=True)
class PosePosterior:
    """A normalised posterior over poses.

    Attributes:
        modes: hypotheses, largest mass first; at least one.
        poses: (K, 4) float64 support points (east_m, north_m, heading_deg, scale).
        probability: (K,) float64; sums to ``1 - dropped_mass``.
        dropped_mass: posterior probability of the support points that were not kept.
        dropped_evidence: share of the positive evidence that did not vote singly (it counts at
            low resolution in the search, and fully in the modes' scores).
        searched: number of poses of the search grid.
        log_evidence: logarithm of the summed ``exp(evidence)`` over the cells of the search grid;
            compares windows searched with the same steps. NaN where not computed.
        chance_mean: mean evidence of poses spread evenly over the window, all headings, and the
            scales that were searched; what a wrong pose scores.
        chance_deviation: its standard deviation.
        rivalry: how surely the best-scored mode beats the others, whatever the evidence's scale:
            the smallest t-statistic, over the other modes, of the difference in evidence of the
            directions from the camera. Infinite where there is no other mode.
    """

    modes: tuple[PoseMode, ...]
    poses: Tensor = field(repr=False)
    probability: Tensor = field(repr=False)
    dropped_mass: float
    dropped_evidence: float
    searched: int
    log_evidence: float = math.nan
    chance_mean: float = math.nan
    chance_deviation: float = math.nan
    rivalry: float = math.nan

    @property
    def pose(self) -> Pose:
        """The pose of the first mode."""
        return self.modes[0].pose

    @property
    def covariance(self) -> Tensor:
        """(3, 3) covariance of the first mode: (east_m, north_m, heading_deg)."""
        return self.modes[0].covariance

    def mass_within(self, pose: Pose, radius_m: float, heading_deg: float) -> float:
        """Return the probability of the poses this near to ``pose`` in position and heading."""
        distance = (self.poses[:, :2] - self.poses.new_tensor((pose.east_m, pose.north_m))).norm(
            dim=1
        )
        turn = heading_offset_deg(self.poses[:, 2], pose.heading_deg).abs()
        near = (distance <= radius_m) & (turn <= heading_deg)
        return float(self.probability[near].sum())

    def heatmap(self, rows: int, cols: int, half_size_m: tuple[float, float]) -> Tensor:
        """Return (rows, cols) the probability of the camera's position in cells of the window.

        Row 0 is the top (north); ``half_size_m`` is half the window's extent towards east and
        north.
        """
        col = ((self.poses[:, 0] / half_size_m[0] + 1) / 2 * cols).floor().long()
        row = ((1 - self.poses[:, 1] / half_size_m[1]) / 2 * rows).floor().long()
        index = row.clamp(0, rows - 1) * cols + col.clamp(0, cols - 1)
        cells = self.probability.new_zeros(rows * cols).index_add_(0, index, self.probability)
        return cells.reshape(rows, cols)

    def heading_histogram(self, count: int) -> Tensor:
        """Return (count,) the probability of the headings 0, 360 / count, ... degrees."""
        index = torch.round(self.poses[:, 2] * (count / 360.0)).long().remainder(count)
        return self.probability.new_zeros(count).index_add_(0, index, self.probability)


def heading_offset_deg(heading_deg: Tensor, reference_deg: Tensor | float) -> Tensor:
    """Return the signed turns from the reference to the headings, in [-180, 180)."""
    return torch.remainder(heading_deg - reference_deg + 180.0, 360.0) - 180.0


def to_pose(row: Tensor) -> Pose:
    """Return one row (east_m, north_m, heading_deg, scale) as a :class:`loc2.frames.Pose`."""
    east, north, heading, scale = (float(value) for value in row)
    return Pose(east, north, wrap_heading_deg(heading), scale)


def distinct(
    poses: Tensor, scores: Tensor, radius_m: float, heading_deg: float, count: int
) -> Tensor:
    """Return indices of the best poses, none near a better one in both position and heading.

    Non-maximum suppression of (P, 4) poses by (P,) scores; at most ``count``, best first.
    """
    left = scores.clone()
    kept: list[int] = []
    while len(kept) < count:
        best = int(left.argmax())
        if not math.isfinite(float(left[best])):
            break
        kept.append(best)
        near = (poses[:, :2] - poses[best, :2]).norm(dim=1) <= radius_m
        near &= heading_offset_deg(poses[:, 2], poses[best, 2]).abs() <= heading_deg
        near[best] = True
        left = left.masked_fill(near, -math.inf)
    return torch.tensor(kept, device=poses.device, dtype=torch.long)
