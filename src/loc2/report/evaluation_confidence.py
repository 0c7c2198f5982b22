"""Charts of an evaluation that show whether its confidence can be believed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from loc2.evaluation.calibration import (
    auroc,
    expected_calibration_error,
    reliability,
    risk_coverage,
)
from loc2.evaluation.cases import RIGHT_M, Case, limit_words
from loc2.report.charts import (
    MANY_POINTS,
    TEXT_PT,
    Chart,
    Floats,
    Theme,
    chart_axes,
    chart_legend,
    percent,
    percent_axis,
    right_wrong,
)
from loc2.report.evaluation_curves import position_errors
from loc2.report.figures.style import figure_of
from loc2.report.verdict import TRUST_CONFIDENCE

_SMALLEST_M = 0.05


def _rated(cases: Sequence[Case]) -> tuple[Floats, npt.NDArray[np.bool_]]:
    return np.array([c.stated for c in cases]), np.array([c.right for c in cases], bool)


def confidence_chart(cases: Sequence[Case]) -> Chart:
    """Return the chart of errors against confidence, with the ranking in words."""
    answered = [c for c in cases if c.estimate is not None]
    confidence, right = _rated(cases)
    sure = confidence >= TRUST_CONFIDENCE
    misled = int((sure & ~right).sum())
    ranking = auroc(confidence, right)
    ranks = (
        "All answers are right, or all wrong: there is nothing to rank."
        if math.isnan(ranking)
        else f"A right answer is more confident than a wrong one in {percent(ranking)} of cases "
        f"(AUROC {ranking:.2f}; 0.50 is chance)."
    )
    trusted = (
        f"Of {int(sure.sum())} answers with at least {percent(TRUST_CONFIDENCE)} confidence, "
        f"{misled} are wrong."
    )
    return Chart(
        "confidence",
        "Error against confidence",
        f"{ranks} {trusted} Crosses low in the chart are near the place but look the wrong way.",
        f"Cloud of {len(answered)} answers by confidence and position error. {ranks} {trusted}",
        partial(_confidence, answered),
    )


def _confidence(cases: Sequence[Case], theme: Theme) -> Figure:
    axes = chart_axes(theme, "confidence", "position error, m")
    confidence, right = _rated(cases)
    error = np.maximum(position_errors(cases), _SMALLEST_M)
    many = len(cases) > MANY_POINTS
    for chosen, marker, color, gid in (
        (right, "o", theme.right, "right"),
        (~right, "x", theme.wrong, "wrong"),
    ):
        (points,) = axes.plot(
            confidence[chosen], error[chosen], marker, color=color, linestyle="none",
            markersize=2 if many else 4.5, alpha=0.4 if many else 0.8, rasterized=many,
            clip_on=False, zorder=3,
        )  # fmt: skip
        points.set_gid(gid)
    axes.set_yscale("log")
    top = max(20.0, 1.3 * float(error.max(initial=0.0)))
    axes.set_ylim(0.8 * min(0.5, float(error.min(initial=0.5))), top)
    ticks = [t for t in (0.1, 1.0, 5.0, 20.0, 100.0) if axes.get_ylim()[0] <= t <= top]
    axes.set_yticks(ticks, [f"{t:g}" for t in ticks])
    axes.minorticks_off()
    for limit_m in sorted({case.limit_m for case in cases} or {RIGHT_M}):
        axes.axhline(limit_m, color=theme.muted, linewidth=1.1, linestyle="--")
    percent_axis(axes, "x")
    chart_legend(axes, theme, right_wrong(theme, limit_words(cases)))
    return figure_of(axes)


def reliability_chart(cases: Sequence[Case]) -> Chart:
    """Return the chart of the share of right answers by confidence."""
    confidence, right = _rated(cases)
    error = expected_calibration_error(confidence, right)
    gap = float(confidence.mean() - right.mean())
    lean = "too sure" if gap > 0 else "not sure enough"
    words = (
        f"On average {percent(float(confidence.mean()))} is claimed and "
        f"{percent(float(right.mean()))} is right: {lean} by {percent(abs(gap))}."
    )
    bins = "; ".join(
        f"{percent(b.confidence)} claimed, {percent(b.accuracy)} right ({b.count})"
        for b in reliability(confidence, right)
    )
    return Chart(
        "reliability",
        "Does the confidence hold what it claims?",
        f"{words} Points on the diagonal hold it, below they claim too much. Bars: what chance "
        "leaves open with so few samples (95 %); below, their number. Mean distance (ECE) "
        f"{error:.2f}.",
        f"Share of right answers by confidence: {bins}. {words}",
        partial(_reliability, confidence, right),
    )


def wilson(right: float, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a share; source: Wilson, JASA 22, 1927.

    Args:
        right: the observed share.
        count: of how many.
    """
    z = 1.959963984540054
    middle = (right + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(right * (1 - right) / count + (z / count / 2) ** 2)
    return max(0.0, middle - half), min(1.0, middle + half)


def _reliability(confidence: Floats, right: npt.NDArray[np.bool_], theme: Theme) -> Figure:
    axes = chart_axes(theme, "confidence", "share right")
    axes.plot([0, 1], [0, 1], color=theme.muted, linewidth=1.1, linestyle="--")
    table = reliability(confidence, right)
    for row in table:
        low, high = wilson(row.accuracy, row.count)
        axes.plot([row.confidence] * 2, [low, high], color=theme.main, linewidth=1.4)
        axes.text(
            (row.low + row.high) / 2, 0.02, f"{row.count}", color=theme.muted, ha="center",
            va="bottom", fontsize=TEXT_PT - 1,
        )  # fmt: skip
    (points,) = axes.plot(
        [b.confidence for b in table], [b.accuracy for b in table], "o", color=theme.main,
        markersize=6, clip_on=False, zorder=3, label="measured",
    )  # fmt: skip
    points.set_gid("reliability")
    percent_axis(axes)
    percent_axis(axes, "x")
    exact = Line2D([], [], color=theme.muted, linestyle="--", label="as claimed")
    chart_legend(axes, theme, [points, exact])
    return figure_of(axes)


def risk_chart(cases: Sequence[Case]) -> Chart:
    """Return the chart of the share of wrong answers by the share of samples answered."""
    confidence, right = _rated(cases)
    curve = risk_coverage(confidence, right)
    half = float(curve.risk[max(0, round(0.5 * len(right)) - 1)])
    words = (
        f"Answering always, {percent(float(1 - right.mean()))} are wrong; answering only the surer "
        f"half, {percent(half)}"
    )
    return Chart(
        "risk-coverage",
        "What abstaining buys",
        f"{words}. The nearer to the dotted line (wrong answers all come last), the better the "
        f"confidence sorts. Mean risk {curve.area:.3f}. The star: answers that a report calls "
        f"likely right (confidence of at least {percent(TRUST_CONFIDENCE)}).",
        f"Curve of wrong answers by the share of samples answered. {words}.",
        partial(_risk, confidence, right),
    )


def _risk(confidence: Floats, right: npt.NDArray[np.bool_], theme: Theme) -> Figure:
    curve = risk_coverage(confidence, right)
    wrong = float(1 - right.mean())
    axes = chart_axes(theme, "share of samples answered", "share wrong among them", legend_rows=2)
    (line,) = axes.plot(
        curve.coverage, curve.risk, color=theme.main, linewidth=2.2, label="measured"
    )
    line.set_gid("risk")
    count = np.arange(1, len(right) + 1)
    ideal = np.maximum(0.0, count - right.sum()) / count
    (ordered,) = axes.plot(
        count / len(right),
        ideal,
        color=theme.right,
        linewidth=1.2,
        linestyle=":",
        label="best order",
    )  # fmt: skip
    (chance,) = axes.plot(
        [0, 1], [wrong, wrong], color=theme.muted, linewidth=1.2, linestyle="--", label="by chance"
    )
    handles = [line, ordered, chance]
    sure = confidence >= TRUST_CONFIDENCE
    if sure.any():
        (star,) = axes.plot(
            [sure.mean()], [float((~right[sure]).mean())], "*", color=theme.wrong, markersize=11,
            markeredgecolor=theme.paper, clip_on=False, zorder=5, linestyle="none",
            label="likely right",
        )  # fmt: skip
        star.set_gid("trusted")
        handles.append(star)
    percent_axis(axes, "x")
    top = min(1.0, max(0.1, 1.15 * float(curve.risk.max())))
    axes.set_ylim(0, top)
    step = 0.25 if top > 0.6 else 0.1 if top > 0.2 else 0.05
    ticks = np.arange(0, top + 1e-9, step)
    axes.set_yticks(ticks, [f"{t:.0%}" for t in ticks])
    chart_legend(axes, theme, handles)
    return figure_of(axes)
