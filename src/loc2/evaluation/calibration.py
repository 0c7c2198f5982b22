"""How far a confidence can be trusted: ranking, calibration, risk against coverage.

Everywhere, ``correct`` says whether an answer was right and ``confidence`` is the probability that
was claimed for it. A sample that failed counts as wrong with confidence zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Values = Sequence[float] | npt.NDArray[np.float64]
Flags = Sequence[bool] | npt.NDArray[np.bool_]


@dataclass(frozen=True)
class ReliabilityBin:
    """Answers of like confidence.

    Attributes:
        low: smallest confidence of the bin.
        high: largest confidence of the bin.
        count: number of answers.
        confidence: their mean confidence.
        accuracy: share of right ones.
    """

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class RiskCoverage:
    """The share of wrong answers when only the most confident ones are given.

    Attributes:
        coverage: (N,) share of samples answered, ascending to one.
        risk: (N,) share of wrong ones among them.
        area: mean risk over all coverages; smaller is better.
    """

    coverage: npt.NDArray[np.float64]
    risk: npt.NDArray[np.float64]
    area: float


def auroc(confidence: Values, correct: Flags) -> float:
    """Return the probability that a right answer is more confident than a wrong one.

    The Mann-Whitney statistic, ties counting one half; NaN where all are right or all wrong.
    """
    score, right = _checked(confidence, correct)
    positive, negative = score[right], score[~right]
    if len(positive) == 0 or len(negative) == 0:
        return float("nan")
    ordered = np.sort(negative)
    below = np.searchsorted(ordered, positive, side="left")
    not_above = np.searchsorted(ordered, positive, side="right")
    return float((below + not_above).mean() / (2 * len(negative)))


def reliability(confidence: Values, correct: Flags, bins: int = 10) -> list[ReliabilityBin]:
    """Sort answers into bins of equal width in confidence; empty bins are left out."""
    score, right = _checked(confidence, correct)
    index = np.minimum((score * bins).astype(int), bins - 1)
    return [
        ReliabilityBin(
            k / bins,
            (k + 1) / bins,
            int(inside.sum()),
            float(score[inside].mean()),
            float(right[inside].mean()),
        )
        for k in range(bins)
        if (inside := index == k).any()
    ]


def expected_calibration_error(confidence: Values, correct: Flags, bins: int = 10) -> float:
    """Return the mean distance of confidence and accuracy over bins, weighted by their counts.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
    """
    table = reliability(confidence, correct, bins)
    total = sum(row.count for row in table)
    return sum(row.count * abs(row.confidence - row.accuracy) for row in table) / total


def risk_coverage(confidence: Values, correct: Flags) -> RiskCoverage:
    """Return the risk at every coverage; equally confident answers are given together."""
    score, right = _checked(confidence, correct)
    order = np.argsort(-score, kind="stable")
    score, wrong = score[order], (~right[order]).astype(np.float64)
    count = np.arange(1, len(score) + 1)
    risk = np.cumsum(wrong) / count
    last = np.searchsorted(-score, -score, side="right") - 1  # the last answer as confident
    risk = risk[last]
    return RiskCoverage(count / len(score), risk, float(risk.mean()))


def radius_coverage(radius_m: Values, position_error_m: Values) -> float:
    """Return the share of samples whose error lies within the radius given for it."""
    radius, error = np.asarray(radius_m, np.float64), np.asarray(position_error_m, np.float64)
    if radius.shape != error.shape or len(radius) == 0:
        raise ValueError("radii and errors must be as many, and at least one")
    return float((error <= radius).mean())


def calibration_summary(
    confidence: Values,
    correct: Flags,
    *,
    radius_m: Values | None = None,
    position_error_m: Values | None = None,
    probable: bool = True,
) -> dict[str, Any]:
    """Return all of the above as plain numbers for a results file.

    Keys: ``n``, ``wrong``, ``auroc``, ``risk_coverage_area``, ``risk_at_coverage`` (at 50, 70, 80,
    90 and 100 %); where the confidence is meant as a probability (``probable``)
    ``expected_calibration_error`` and ``reliability``; where radii are given ``radius_coverage``
    and ``radius_median_m``.
    """
    _, right = _checked(confidence, correct)
    curve = risk_coverage(confidence, correct)
    summary: dict[str, Any] = {
        "n": len(right),
        "wrong": int((~right).sum()),
        "auroc": auroc(confidence, correct),
        "risk_coverage_area": curve.area,
        "risk_at_coverage": {
            str(percent): float(curve.risk[max(0, round(percent / 100 * len(right)) - 1)])
            for percent in (50, 70, 80, 90, 100)
        },
    }
    if probable:
        error = expected_calibration_error(confidence, correct)
        rows = [asdict(row) for row in reliability(confidence, correct)]
        summary |= {"expected_calibration_error": error, "reliability": rows}
    if radius_m is not None and position_error_m is not None:
        summary["radius_coverage"] = radius_coverage(radius_m, position_error_m)
        summary["radius_median_m"] = float(np.median(np.asarray(radius_m, np.float64)))
    return summary


def calibrate_rows(
    rows: Sequence[Mapping[str, Any]], probable: bool = True
) -> dict[str, dict[str, Any]]:
    """Judge the confidence of an evaluation's answers.

    An answer is right within 5 m and 10 degrees; where the true position is only nominal
    (``position_counts`` is false), within 10 m and 10 degrees, and its radius is not judged.

    Args:
        rows: one for each sample: ``group``, ``position_error_m``, ``heading_error_deg``,
            ``confidence`` and ``radius_90_m`` as in results files; None in failed samples.
        probable: whether the confidence is meant as a probability; else it only ranks answers.

    Returns:
        :func:`calibration_summary` for all rows and, where there are several, for each group;
        figures that are not defined (all right, or all wrong) are None. Empty where nothing was
        claimed.
    """
    if all(row["confidence"] is None for row in rows):
        return {}
    groups = sorted({row["group"] for row in rows} - {"all"})
    summary = {"all": _calibrate(rows, probable)}
    for group in groups if len(groups) > 1 else ():
        summary[group] = _calibrate([r for r in rows if r["group"] == group], probable)
    return summary


def _calibrate(rows: Sequence[Mapping[str, Any]], probable: bool) -> dict[str, Any]:
    confidence = [row["confidence"] or 0.0 for row in rows]
    correct = [
        row["position_error_m"] is not None
        and row["position_error_m"] < (5.0 if row.get("position_counts", True) else 10.0)
        and row["heading_error_deg"] < 10.0
        for row in rows
    ]
    known = [
        row
        for row in rows
        if row.get("radius_90_m") is not None
        and row["position_error_m"] is not None
        and row.get("position_counts", True)
    ]
    summary = calibration_summary(
        confidence,
        correct,
        radius_m=[row["radius_90_m"] for row in known] if known else None,
        position_error_m=[row["position_error_m"] for row in known] if known else None,
        probable=probable,
    )
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in summary.items()}


def _checked(
    confidence: Values, correct: Flags
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    score, right = np.asarray(confidence, np.float64), np.asarray(correct, bool)
    if score.ndim != 1 or score.shape != right.shape or len(score) == 0:
        raise ValueError("confidence and correct must be one-dimensional, as many, at least one")
    if not ((score >= 0) & (score <= 1)).all():
        raise ValueError("a confidence is not in [0, 1]")
    return score, right
