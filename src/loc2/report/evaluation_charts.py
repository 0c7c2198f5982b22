"""Charts of an evaluation: error curves, confidence, headings, where answers lie."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Patch

from loc2.evaluation.cases import RIGHT_DEG, RIGHT_M, Case, Results, limit_words
from loc2.evaluation.metrics import FLIP_DEG
from loc2.evaluation.tables import PublishedRow
from loc2.report.charts import (
    MANY_POINTS,
    Chart,
    Floats,
    Theme,
    chart_axes,
    chart_legend,
    percent,
    right_wrong,
)
from loc2.report.evaluation_confidence import confidence_chart, reliability_chart, risk_chart
from loc2.report.evaluation_curves import (
    directions_chart,
    heading_chart,
    placed,
    position_chart,
    published_recall,
)
from loc2.report.figures.style import figure_of, round_length_m

_HEADING_BIN_DEG = 10.0
_SECOND_RING_M = 10.0


def evaluation_charts(results: Results, published: Sequence[PublishedRow] = ()) -> list[Chart]:
    """Return the charts of an evaluation that its data allow.

    Args:
        results: what was measured.
        published: figures of others in the same setting.
    """
    cases = results.cases
    charts = [position_chart(cases, published), heading_chart(cases, published)]
    if any(published_recall(row, "lateral_recall_1m") is not None for row in published):
        charts.append(directions_chart(cases, published))
    charts += [_confusion_chart(cases), _map_chart(cases)]
    if results.rated:
        charts.append(confidence_chart(cases))
        if results.probable:
            charts.append(reliability_chart(cases))
        charts.append(risk_chart(cases))
    return charts


def _confusion_chart(cases: Sequence[Case]) -> Chart:
    turns = np.array([c.turn_deg for c in cases if c.turn_deg is not None])
    size = np.abs(turns)
    total = max(1, len(cases))
    near, flips = float((size < RIGHT_DEG).sum() / total), float((size > FLIP_DEG).sum() / total)
    back = float((size > 150).sum() / total)
    side = float(((size > 60) & (size < 120)).sum() / total)
    words = (
        f"{percent(near)} within {RIGHT_DEG:.0f}°, {percent(side)} turned sideways (60° to 120°), "
        f"{percent(back)} facing about backwards (over 150°); {percent(flips)} are flips, turned "
        f"by more than {FLIP_DEG:.0f}°"
    )
    return Chart(
        "heading-confusion",
        "Which way wrong headings point",
        f"Turns from the true heading, clockwise to the right: {words}. The scale is compressed, "
        "so that rare turns are seen.",
        f"Histogram of the turns of {len(turns)} answers from the true heading: {words}.",
        partial(_confusion, turns, total),
    )


def _confusion(turns: Floats, total: int, theme: Theme) -> Figure:
    axes = chart_axes(theme, "turn from the true heading, degrees", "share of samples")
    edges = np.arange(-180, 180 + 1, _HEADING_BIN_DEG)
    counts, _ = np.histogram(turns, edges)
    middle = (edges[:-1] + edges[1:]) / 2
    flip = np.where(np.abs(middle) > FLIP_DEG, theme.wrong, theme.muted)
    colors = np.where(np.abs(middle) < RIGHT_DEG, theme.right, flip)
    hatches = ["" if abs(m) < FLIP_DEG else "///" for m in middle]
    bars = axes.bar(
        middle, counts / total, width=_HEADING_BIN_DEG * 0.92, color=colors.tolist(),
        edgecolor=theme.paper, linewidth=0, hatch=hatches,
    )  # fmt: skip
    for bar in bars:
        bar.set_gid("turn-bar")
    axes.set_yscale("function", functions=(lambda y: np.sqrt(np.clip(y, 0, None)), np.square))
    ticks = [0.0, 0.01, 0.05, 0.2, 0.5, 1.0]
    top = max(0.06, float(counts.max(initial=0)) / total * 1.1)
    axes.set_ylim(0, top)
    axes.set_yticks([t for t in ticks if t <= top], [f"{t:.0%}" for t in ticks if t <= top])
    axes.set_xlim(-180, 180)
    axes.set_xticks(range(-180, 181, 90), ["−180", "−90", "0", "90", "180"])
    handles = [
        Patch(facecolor=theme.right, label=f"within {RIGHT_DEG:.0f}°"),
        Patch(
            facecolor=theme.wrong,
            hatch="///",
            edgecolor=theme.paper,
            linewidth=0,
            label=f"flips, over {FLIP_DEG:.0f}°",
        ),
    ]
    chart_legend(axes, theme, handles)
    return figure_of(axes)


def _map_chart(cases: Sequence[Case]) -> Chart:
    known = [c for c in placed(cases) if c.offset_m is not None]
    offsets = np.array([c.offset_m for c in known]).reshape(-1, 2)
    right = np.array([c.right for c in known], bool)
    limit = map_limit_m(offsets)
    beyond = int((np.abs(offsets) > limit).any(1).sum())
    forward, sideways = (float(v) for v in np.median(offsets, 0)) if len(offsets) else (0.0, 0.0)
    words = (
        f"the median answer lies {abs(forward):.1f} m {'ahead of' if forward >= 0 else 'behind'} "
        f"and {abs(sideways):.1f} m {'right' if sideways >= 0 else 'left'} of the truth"
    )
    rings = f"the ring is {RIGHT_M:.0f} m away"
    if limit >= _SECOND_RING_M:
        rings = f"the rings are {RIGHT_M:.0f} m and {_SECOND_RING_M:.0f} m away"
    return Chart(
        "error-map",
        "Where answers lie around the truth",
        f"The true camera stands in the middle and looks up; {rings}. "
        f"Triangles at the edge are farther away ({beyond} of {len(known)}).",
        f"Map of {len(known)} answers around the true camera: {words}; {beyond} are more than "
        f"{limit:.0f} m off along an axis.",
        partial(_map, offsets, right, limit, limit_words(known)),
    )


def map_limit_m(offsets: Floats) -> float:
    """Return half the side of the error map: most answers, at least 6 m, at most 60 m."""
    reach = float(np.quantile(np.abs(offsets).max(1), 0.9)) if len(offsets) else 0.0
    return min(60.0, max(6.0, 2.0 * math.ceil(reach / 2.0)))


def _map(
    offsets: Floats, right: npt.NDArray[np.bool_], limit: float, limits: str, theme: Theme
) -> Figure:
    axes = chart_axes(theme, "to the right, m", "ahead, m", legend_rows=2, height_in=4.0)
    for radius in (RIGHT_M, _SECOND_RING_M):
        ring = Circle((0, 0), radius, fill=False, edgecolor=theme.muted, linewidth=0.9)
        axes.add_patch(ring)
    size = np.abs(offsets).max(1, initial=1e-9)
    inside = size <= limit
    drawn = offsets * np.minimum(1.0, 0.97 * limit / size)[:, None]
    many = len(offsets) > MANY_POINTS
    for chosen, marker, color, gid in (
        (~right & ~inside, "^", theme.wrong, "far"),
        (~right & inside, "x", theme.wrong, "wrong"),
        (right & inside, "o", theme.right, "right"),
    ):
        (points,) = axes.plot(
            drawn[chosen, 1], drawn[chosen, 0], marker, color=color, markersize=2 if many else 4.5,
            markerfacecolor="none" if marker == "^" else color, markeredgewidth=1.1,
            alpha=0.4 if many else 0.8, linestyle="none", rasterized=many, zorder=3,
        )  # fmt: skip
        points.set_gid(gid)
    (truth,) = axes.plot(
        [0], [0], "P", color=theme.ink, markeredgecolor=theme.paper, markersize=8, zorder=5
    )
    truth.set_gid("truth")
    axes.annotate(
        "", (0, 0.16 * limit), (0, 0), zorder=4,
        arrowprops={"arrowstyle": "-|>", "color": theme.ink, "lw": 1.4},
    )  # fmt: skip
    axes.set_xlim(-limit, limit)
    axes.set_ylim(-limit, limit)
    step = round_length_m(limit / 2)
    ticks = step * np.arange(-(limit // step), limit // step + 1)
    axes.set_xticks(ticks)
    axes.set_yticks(ticks)
    axes.set_aspect("equal")
    chart_legend(axes, theme, right_wrong(theme, limits, farther=True))
    return figure_of(axes)
