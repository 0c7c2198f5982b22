"""Confidence: the calibrated probability of being right, and a radius that holds nine times in ten.

A logistic model over a few statistics of the posterior and the matches. Its parameters belong to
the weights whose posteriors it was fitted on and travel with them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Self

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import Tensor

from loc2.errors import WeightsError
from loc2.frames import local_to_aerial
from loc2.pose.posterior import PosePosterior, heading_offset_deg

CORRECT_M, CORRECT_DEG = 5.0, 10.0
"""An answer is right when both its errors are smaller."""

_FOLDS = 5
_PENALTIES = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)


@dataclass(frozen=True)
class Statistics:
    """What confidence is judged by; each number grows or falls steadily with reliability.

    Attributes:
        peak_mass: logit of the posterior probability within 5 m and 10 degrees of the pose.
        second_mode: logarithm of the second mode's mass over the first's.
        spread_m: logarithm of the posterior's root mean square distance from the pose.
        spread_deg: logarithm of its root mean square turn from the pose.
        peak_height: by how many standard deviations the evidence at the pose exceeds that of
            random poses; logarithm.
        evidence: by how many units of the posterior's exponent it exceeds theirs; logarithm.
        peak_gap: by how many it exceeds the second mode's; logarithm.
        rivalry: t-statistic of the lead over the other modes, between -5 and 5.
        inlier_share: share of the matches' weight that agrees with the pose.
        match_weight: logarithm of the mean weight of the matches; low where the dustbin took them.
        azimuth_spread: directions in which inliers lie, 1 for all around and 0 for one.
        range_spread: standard deviation of the logarithm of the inliers' distances.
        inside: share of the matches' weight that the pose puts inside the window.
        searched: logarithm of the number of poses that were possible.
        other_lead: lead over the best other mode (over chance, where there is no other), in units
            of the posterior's exponent, of the evidence lifted in another way (see
            :class:`SecondOpinion`); between -10 and 10. This and the next three are 0 without one.
        other_evidence: that evidence itself; logarithm.
        other_far_lead: the lead by the farther half of the points alone.
        other_near_lead: the lead by the nearer half of the points alone.
    """

    peak_mass: float
    second_mode: float
    spread_m: float
    spread_deg: float
    peak_height: float
    evidence: float
    peak_gap: float
    rivalry: float
    inlier_share: float
    match_weight: float
    azimuth_spread: float
    range_spread: float
    inside: float
    searched: float
    other_lead: float
    other_evidence: float
    other_far_lead: float
    other_near_lead: float

    def vector(self) -> Tensor:
        """Return the numbers in the order of the fields, float64."""
        return torch.tensor(list(asdict(self).values()), dtype=torch.float64)


NAMES = tuple(Statistics.__dataclass_fields__)


@dataclass(frozen=True)
class SecondOpinion:
    """The evidence for a posterior's modes with points that were lifted in another way.

    Level ground and the model's own depth go wrong in different places, so what both see is more
    likely right.

    Attributes:
        whole: (P,) evidence of the modes, in their order, natural logarithm.
        far: (P,) that of the farther half of the points.
        near: (P,) that of the nearer half of the points.
    """

    whole: Tensor
    far: Tensor
    near: Tensor


def statistics(
    posterior: PosePosterior,
    *,
    source: Tensor,
    weights: Tensor,
    inlier: Tensor,
    half_size_m: tuple[float, float],
    other: SecondOpinion | None = None,
) -> Statistics:
    """Return what the confidence model looks at.

    Args:
        posterior: of any solver.
        source: (N, 2) BEV points (right, forward) of the matches, in the posterior's unit.
        weights: (N,) probability of each match, in [0, 1].
        inlier: (N,) bool, whether the match agrees with the pose.
        half_size_m: half the window's extent towards east and north, metres.
        other: what another way of lifting says of the modes; its numbers are zero without.
    """

    other = other or SecondOpinion(*torch.zeros(3, 1))
    pose, first = posterior.pose, posterior.modes[0]
    others = posterior.modes[1:]
    peak = posterior.mass_within(pose, CORRECT_M, CORRECT_DEG)
    probability = posterior.probability
    away = posterior.poses[:, :2] - posterior.poses.new_tensor((pose.east_m, pose.north_m))
    turn = heading_offset_deg(posterior.poses[:, 2], pose.heading_deg)
    # What was dropped lies anywhere: half the window's diagonal and a right angle away.
    far = math.hypot(*half_size_m)
    spread_m = (probability @ away.square().sum(1)) + posterior.dropped_mass * far**2
    spread_deg = (probability @ turn.square()) + posterior.dropped_mass * 104.0**2
    chance = max(posterior.chance_deviation, 1e-9)
    height = (first.score - posterior.chance_mean) / chance
    gap = (first.score - max((m.score for m in others), default=posterior.chance_mean)) / chance

    weights = weights.double()
    total = weights.sum().clamp(min=1e-12)
    agreeing = weights * inlier
    agreed = agreeing.sum().clamp(min=1e-12)
    source = source.double()
    distance = source.norm(dim=1).clamp(min=0.1)
    direction = source / distance[:, None]
    resultant = (agreeing[:, None] * direction).sum(0).norm() / agreed
    log_range = distance.log()
    mean = (agreeing @ log_range) / agreed
    moved = local_to_aerial(
        source,
        source.new_tensor(pose.heading_deg),
        source.new_tensor((pose.east_m, pose.north_m)),
        pose.scale,
    )
    within = (moved.abs() <= moved.new_tensor(half_size_m)).all(1)
    return Statistics(
        peak_mass=_logit(peak),
        second_mode=math.log(
            (max((m.mass for m in others), default=0.0) + 1e-6) / (first.mass + 1e-6)
        ),
        spread_m=0.5 * math.log(float(spread_m) + 0.01),
        spread_deg=0.5 * math.log(float(spread_deg) + 0.01),
        peak_height=math.log1p(max(height, 0.0)),
        evidence=math.log1p(max(first.score - posterior.chance_mean, 0.0)),
        peak_gap=math.log1p(max(gap, 0.0)),
        rivalry=min(max(posterior.rivalry, -5.0), 5.0),
        inlier_share=float(agreeing.sum() / total),
        match_weight=math.log(float(weights.mean()) + 1e-6) if len(weights) else -14.0,
        azimuth_spread=1.0 - float(resultant),
        range_spread=float(((agreeing @ (log_range - mean).square()) / agreed).sqrt()),
        inside=float((weights * within).sum() / total),
        searched=math.log(max(posterior.searched, 1)),
        other_lead=_lead(other.whole),
        other_evidence=math.log1p(max(float(other.whole[0]), 0.0)),
        other_far_lead=_lead(other.far),
        other_near_lead=_lead(other.near),
    )


def _lead(evidence: Tensor) -> float:
    rivals = float(evidence[1:].max()) if len(evidence) > 1 else 0.0
    return min(max(float(evidence[0]) - rivals, -10.0), 10.0)


class ConfidenceModel(BaseModel):
    """A logistic model of being right and a conformal radius.

    Attributes:
        names: statistics that it uses, in order.
        mean: their means in the data it was fitted on.
        deviation: their standard deviations there.
        coefficients: of the standardised statistics, for the logit of being right.
        intercept: of that logit.
        radius_coefficients: of the standardised statistics, for the logarithm of the error's size.
        radius_intercept: of that logarithm.
        radius_factor: the radius is this times the predicted size; 90 % conformal quantile.
        abstain_below: an answer of smaller confidence should not be given.
        fitted_on: what the model was fitted on, in words; "" for the uncalibrated stand-in.
        samples: how many.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    names: tuple[str, ...]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    coefficients: tuple[float, ...]
    intercept: float
    radius_coefficients: tuple[float, ...]
    radius_intercept: float
    radius_factor: float = Field(gt=0)
    abstain_below: float = Field(ge=0, le=1)
    fitted_on: str = ""
    samples: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        columns = (self.mean, self.deviation, self.coefficients, self.radius_coefficients)
        if any(len(column) != len(self.names) for column in columns):
            raise ValueError("as many means, deviations and coefficients as names are needed")
        unknown = [name for name in self.names if name not in NAMES]
        if unknown:
            raise ValueError(f"unknown statistics: {', '.join(unknown)}")
        if not all(value > 0 for value in self.deviation):
            raise ValueError("deviations must be positive")
        return self

    @property
    def calibrated(self) -> bool:
        """Whether the model was fitted to data."""
        return self.samples > 0

    def confidence(self, found: Statistics) -> float:
        """Return the probability that position and heading are within 5 m and 10 degrees."""
        return _sigmoid(_dot(self.coefficients, self._standardised(found)) + self.intercept)

    def radius_m(self, found: Statistics) -> float:
        """Return the radius about the position that holds the truth in 90 % of cases, metres."""
        log_size = _dot(self.radius_coefficients, self._standardised(found))
        return self.radius_factor * math.exp(min(log_size + self.radius_intercept, 20.0))

    def abstains(self, confidence: float) -> bool:
        """Return whether an answer of this confidence should be withheld."""
        return confidence < self.abstain_below

    def to_json(self) -> str:
        """Return the parameters as JSON, for the metadata of a weights file."""
        return self.model_dump_json()

    @classmethod
    def from_json(cls, text: str) -> ConfidenceModel:
        """Read :meth:`to_json`'s output.

        Raises:
            WeightsError: not JSON, or not a model's parameters.
        """
        try:
            return cls.model_validate(json.loads(text))
        except (json.JSONDecodeError, ValidationError) as error:
            reason = str(error).splitlines()
            raise WeightsError(f"confidence model: {' '.join(reason[:3])}") from error

    def _standardised(self, found: Statistics) -> list[float]:
        values = asdict(found)
        return [
            (values[name] - mean) / deviation
            for name, mean, deviation in zip(self.names, self.mean, self.deviation, strict=True)
        ]


UNCALIBRATED = ConfidenceModel(
    names=("peak_mass", "spread_m"),
    mean=(0.0, 0.0),
    deviation=(1.0, 1.0),
    coefficients=(1.0, 0.0),
    intercept=0.0,
    radius_coefficients=(0.0, 1.0),
    radius_intercept=0.0,
    radius_factor=1.52,
    abstain_below=0.5,
)
"""The stand-in for weights without a fitted model: it takes the posterior at its word.

The confidence is the posterior's own mass within 5 m and 10 degrees, the radius that of a circular
Gaussian of the posterior's spread.
"""


def fit_confidence(
    found: Sequence[Statistics],
    correct: Sequence[bool],
    position_error_m: Sequence[float | None],
    *,
    fitted_on: str,
    abstain_below: float = 0.5,
    coverage: float = 0.9,
    groups: Sequence[int] | None = None,
    candidates: Sequence[str] = NAMES,
) -> ConfidenceModel:
    """Fit the model; judge it on other data.

    The penalty of the logistic model is chosen by five-fold cross-validation, and statistics are
    left out, one after the other, as long as the held-out loss falls by that. The radius is split
    conformal over the same folds: errors are divided by sizes that were predicted without them, and
    the quantile of these ratios becomes the factor (Vovk, Cross-conformal predictors, 2015).

    Args:
        found: statistics of each sample.
        correct: whether its answer was within 5 m and 10 degrees.
        position_error_m: its position error; None where there is no true position (the photo is of
            another place), which the radius is then not fitted on.
        fitted_on: what the samples are, for the record.
        abstain_below: confidence below which no answer should be given.
        coverage: of the radius.
        groups: place of each sample; samples of one place stay in one fold.
        candidates: names of the statistics to choose from. What depends on how much images look
            like those of the fit (levels of evidence, weights of matches) helps there and misleads
            elsewhere.

    Raises:
        ValueError: fewer than 20 samples, all of them right or all wrong, or an unknown candidate.
    """
    unknown = sorted(set(candidates) - set(NAMES))
    if unknown or not candidates:
        raise ValueError(f"candidates: {', '.join(unknown) or 'none'}; known: {', '.join(NAMES)}")
    if not len(found) == len(correct) == len(position_error_m):
        raise ValueError("statistics, correct and errors must be as many")
    right = torch.tensor(list(correct), dtype=torch.float64)
    if len(right) < 20 or right.min() == right.max():
        raise ValueError("a confidence model needs 20 samples, right and wrong ones among them")
    raw = torch.stack([row.vector() for row in found])
    mean, deviation = raw.mean(0), raw.std(0).clamp(min=1e-6)
    scaled = (raw - mean) / deviation
    placed = torch.tensor([value is not None for value in position_error_m])
    error = torch.tensor([value or 0.0 for value in position_error_m], dtype=torch.float64)
    log_error = (error + 0.1).log()
    place = torch.tensor(list(groups) if groups is not None else list(range(len(raw))))
    fold = _folds(place)

    def held_out(columns: list[int]) -> tuple[float, float]:
        """Return the smallest held-out loss of any penalty, and that penalty."""
        chosen = _with_intercept(scaled[:, columns])
        losses = [(_held_out_loss(chosen, right, fold, p), p) for p in _PENALTIES]
        return min(losses)

    used = [column for column, name in enumerate(NAMES) if name in candidates]
    loss, penalty = held_out(used)
    while len(used) > 1:
        fewer = [[c for c in used if c != dropped] for dropped in used]
        (next_loss, next_penalty), columns = min((held_out(c), c) for c in fewer)
        if next_loss >= loss:
            break
        loss, penalty, used = next_loss, next_penalty, columns
    features = _with_intercept(scaled[:, used])
    weights = _logistic(features, right, penalty)
    ratio = torch.empty_like(error)
    for k in range(_FOLDS):
        train, test = (fold != k) & placed, (fold == k) & placed
        ratio[test] = (
            error[test] / (features[test] @ _ridge(features[train], log_error[train])).exp()
        )
    ratio = ratio[placed].sort().values
    size = _ridge(features[placed], log_error[placed])
    rank = min(math.ceil((len(ratio) + 1) * coverage), len(ratio))
    return ConfidenceModel(
        names=tuple(NAMES[c] for c in used),
        mean=tuple(mean[used].tolist()),
        deviation=tuple(deviation[used].tolist()),
        coefficients=tuple(weights[:-1].tolist()),
        intercept=float(weights[-1]),
        radius_coefficients=tuple(size[:-1].tolist()),
        radius_intercept=float(size[-1]),
        radius_factor=max(float(ratio[rank - 1]), 1e-6),
        abstain_below=abstain_below,
        fitted_on=fitted_on,
        samples=len(right),
    )


def _with_intercept(features: Tensor) -> Tensor:
    return torch.cat((features, torch.ones_like(features[:, :1])), 1)


def _held_out_loss(features: Tensor, right: Tensor, fold: Tensor, penalty: float) -> float:
    """Return the summed cross entropy of samples under models of the other folds."""
    total = 0.0
    for k in range(_FOLDS):
        train, test = fold != k, fold == k
        logit = features[test] @ _logistic(features[train], right[train], penalty)
        total += float(
            torch.nn.functional.binary_cross_entropy_with_logits(
                logit, right[test], reduction="sum"
            )
        )
    return total


def _folds(place: Tensor) -> Tensor:
    """Return (N,) fold of each sample: places dealt out in turn, in a fixed shuffled order."""
    unique, index = torch.unique(place, return_inverse=True)
    order = torch.randperm(len(unique), generator=torch.Generator().manual_seed(0))
    return order[index] % _FOLDS


def _logistic(features: Tensor, right: Tensor, penalty: float) -> Tensor:
    """Return the coefficients of a penalised logistic model, by Newton's method.

    The last column is the intercept's and is not penalised.
    """
    weights = features.new_zeros(features.shape[1])
    ridge = torch.full_like(weights, penalty)
    ridge[-1] = 1e-6
    for _ in range(50):
        probability = torch.sigmoid(features @ weights)
        gradient = features.T @ (probability - right) + ridge * weights
        curvature = (features.T * (probability * (1 - probability))) @ features + ridge.diag()
        step = torch.linalg.solve(curvature, gradient)
        # Damped: a full step may overshoot where the curvature is small.
        weights = weights - step / max(1.0, float(step.abs().max()))
        if float(step.abs().max()) < 1e-9:
            break
    return weights


def _ridge(features: Tensor, target: Tensor, penalty: float = 1.0) -> Tensor:
    """Return the coefficients of a ridge regression; the last column, the intercept's, is free."""
    ridge = torch.full_like(features[0], penalty)
    ridge[-1] = 1e-6
    solution: Tensor = torch.linalg.solve(features.T @ features + ridge.diag(), features.T @ target)
    return solution


def _dot(a: Sequence[float], b: Sequence[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def _logit(probability: float) -> float:
    inside = min(max(probability, 1e-6), 1.0 - 1e-6)
    return math.log(inside / (1.0 - inside))


def _sigmoid(logit: float) -> float:
    return 1.0 / (1.0 + math.exp(-max(min(logit, 700.0), -700.0)))
