"""Error curves of an evaluation: shares of samples below x metres and degrees."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from loc2.evaluation.cases import Case
from loc2.evaluation.tables import RECALL_NAMES, PublishedRow
from loc2.report.charts import (
    GROUP_LINES,
    Chart,
    Floats,
    Theme,
    chart_axes,
    chart_legend,
    percent,
    percent_axis,
    share_curve,
)
from loc2.report.figures.style import figure_of

MOST_GROUPS = 5
"""Curves of groups are drawn where there are at most so many."""
LOC2 = "Loc2"
"""The published method that these figures are compared with first."""


def placed(cases: Sequence[Case]) -> list[Case]:
    """Return the cases whose true position is well known; all where none is."""
    return [c for c in cases if c.position_counts] or list(cases)


def position_errors(cases: Sequence[Case]) -> Floats:
    """Return (N,) position errors, metres, infinite for failures."""
    return np.array([math.inf if c.position_m is None else c.position_m for c in cases])


def heading_errors(cases: Sequence[Case]) -> Floats:
    """Return (N,) unsigned heading errors, degrees, infinite for failures."""
    return np.array([math.inf if c.heading_deg is None else c.heading_deg for c in cases])


def position_chart(cases: Sequence[Case], published: Sequence[PublishedRow]) -> Chart:
    """Return the curve of position errors."""
    known = placed(cases)
    errors = position_errors(known)
    shares = ", ".join(f"{percent(float(np.mean(errors < x)))} below {x} m" for x in (1, 3, 5, 10))
    caption = f"How many of {len(known)} samples are nearer to the truth than x metres."
    if len(known) < len(cases):
        caption += " The others' true position is only roughly known."
    medians = [(r.method, r.position_median_m, 0.5) for r in published]
    return Chart(
        "position-curve",
        "Position error",
        caption + _published_words(medians),
        f"Curve of position errors of {len(known)} samples: {shares}.",
        partial(_curves, known, "position_m", _points(medians), "position error, m"),
    )


def heading_chart(cases: Sequence[Case], published: Sequence[PublishedRow]) -> Chart:
    """Return the curve of heading errors."""
    errors = heading_errors(cases)
    limits = (1, 5, 10, 30)
    shares = ", ".join(f"{percent(float(np.mean(errors < x)))} below {x}°" for x in limits)
    points: list[tuple[str, float | None, float | None]]
    points = [(r.method, r.heading_median_deg, 0.5) for r in published]
    for degrees in (1, 5):
        recalls = [(r.method, published_recall(r, f"recall_{degrees}deg")) for r in published]
        points += [(method, float(degrees), share) for method, share in recalls]
    return Chart(
        "heading-curve",
        "Heading error",
        f"How many of {len(cases)} samples are turned by less than x degrees from the truth."
        + _published_words(points),
        f"Curve of heading errors of {len(cases)} samples: {shares}.",
        partial(_curves, cases, "heading_deg", _points(points), "heading error, degrees"),
    )


def directions_chart(cases: Sequence[Case], published: Sequence[PublishedRow]) -> Chart:
    """Return the curves of the errors across and along the true heading."""
    split = np.array([c.offset_m or (math.inf, math.inf) for c in cases])
    along, across = np.abs(split[:, 0]), np.abs(split[:, 1])
    points = {
        name: _points(
            [
                (r.method, x, published_recall(r, f"{name}_recall_{x:.0f}m"))
                for r in published
                for x in (1.0, 5.0)
            ]
        )
        for name in ("lateral", "longitudinal")
    }
    words = ", ".join(
        f"{name} {percent(float(np.mean(errors < 1)))} below 1 m and "
        f"{percent(float(np.mean(errors < 5)))} below 5 m"
        for name, errors in (("lateral", across), ("longitudinal", along))
    )
    return Chart(
        "directions",
        "Error across and along the road",
        "Lateral is across the true viewing direction, longitudinal along it. Published recalls at "
        "1 m and 5 m are diamonds (lateral) and squares (longitudinal); some sources exchange the "
        "two.",
        f"Curves of the errors of {len(cases)} samples by direction: {words}.",
        partial(_directions, across, along, points),
    )


def published_recall(row: PublishedRow, name: str) -> float | None:
    """Return a recall of a published row as a share; None where it is not given."""
    value = row.recalls[RECALL_NAMES.index(name)] if row.recalls else None
    return None if value is None else value / 100


Point = tuple[str, float, float]


def _points(rows: Sequence[tuple[str, float | None, float | None]]) -> list[Point]:
    return [(name, x, y) for name, x, y in rows if x is not None and y is not None]


def _published_words(rows: Sequence[tuple[str, float | None, float | None]]) -> str:
    if not _points(rows):
        return ""
    return (
        " Diamonds are published figures of other methods; a median stands at half of the samples. "
        f"The filled one is {LOC2}."
    )


def _curves(
    cases: Sequence[Case], field: str, published: Sequence[Point], across: str, theme: Theme
) -> Figure:
    groups = sorted({c.group for c in cases})
    groups = groups if 1 < len(groups) <= MOST_GROUPS else []
    guess_field = {"position_m": "guess_position_m", "heading_deg": "guess_heading_deg"}[field]
    guesses = _values(cases, guess_field)
    guessed = bool(np.isfinite(guesses).any())
    entries = 1 + len(groups) + guessed + bool(published)
    axes = chart_axes(theme, across, "share of samples", legend_rows=(entries + 1) // 2)
    errors = _values(cases, field)
    limit = _curve_limit(errors)
    handles = [_curve(axes, errors, limit, "all", theme.main, "-", 2.2, "curve-all")]
    for name, color, style in zip(groups, theme.groups, GROUP_LINES, strict=False):
        part = _values([c for c in cases if c.group == name], field)
        handles.append(_curve(axes, part, limit, _short(name), color, style, 1.2, f"curve-{name}"))
    if guessed:
        handles.append(
            _curve(axes, guesses, limit, "guessing", theme.muted, (0, (1, 1.5)), 1.2, "guess")
        )
    if published:
        handles.append(_published(axes, theme, published, "D", "published"))
    axes.set_xlim(0, limit)
    percent_axis(axes)
    chart_legend(axes, theme, handles)
    return figure_of(axes)


def _values(cases: Sequence[Case], field: str) -> Floats:
    values = [getattr(c, field) for c in cases]
    return np.array([math.inf if v is None else v for v in values], np.float64)


def _curve_limit(errors: Floats) -> float:
    """Return where a curve ends: nine in ten samples are seen, from 10 up to 45 units."""
    finite = errors[np.isfinite(errors)]
    reach = float(np.quantile(finite, 0.9)) if len(finite) else 0.0
    return min(45.0, max(10.0, 5.0 * math.ceil(reach / 5.0)))


def _curve(
    axes: Axes,
    errors: Floats,
    limit: float,
    label: str,
    color: str,
    style: object,
    width: float,
    gid: str,
) -> Line2D:
    x, share = share_curve(errors)
    x, share = np.append(x, max(limit, x[-1])), np.append(share, share[-1])
    (line,) = axes.step(
        x, share, where="post", color=color, linestyle=style, linewidth=width, label=label
    )
    line.set_gid(gid)
    return line


def _published(
    axes: Axes, theme: Theme, points: Sequence[Point], marker: str, label: str
) -> Line2D:
    for ours in (False, True):
        chosen = [(x, y) for name, x, y in points if (name == LOC2) is ours]
        if chosen:
            axes.plot(
                *zip(*chosen, strict=True), marker, markersize=6 if ours else 5,
                markerfacecolor=theme.groups[0] if ours else "none",
                markeredgecolor=theme.groups[0], linestyle="none", zorder=4, clip_on=True,
            )[0].set_gid("published-loc2" if ours else "published")  # fmt: skip
    return Line2D(
        [], [], marker=marker, markersize=5, markerfacecolor="none", linestyle="none",
        markeredgecolor=theme.groups[0], label=label,
    )  # fmt: skip


def _directions(
    across: Floats, along: Floats, published: dict[str, list[Point]], theme: Theme
) -> Figure:
    axes = chart_axes(theme, "error, m", "share of samples", legend_rows=2)
    limit = _curve_limit(np.concatenate((across, along)))
    handles = [
        _curve(axes, across, limit, "lateral", theme.main, "-", 2.0, "lateral"),
        _curve(axes, along, limit, "longitudinal", theme.groups[0], "--", 2.0, "longitudinal"),
        _published(axes, theme, published["lateral"], "D", "published, lateral"),
        _published(axes, theme, published["longitudinal"], "s", "published, longitudinal"),
    ]
    axes.set_xlim(0, limit)
    percent_axis(axes)
    chart_legend(axes, theme, handles)
    return figure_of(axes)


def _short(name: str, most: int = 18) -> str:
    """Make a legend of a name that may hold anything: one line, no mathematics, not hidden."""
    text = " ".join(name.split())
    text = text if len(text) <= most else text[: most - 1] + "…"
    return (" " if text.startswith("_") else "") + text.replace("$", r"\$")
