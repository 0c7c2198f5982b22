"""The report of a comparison of two evaluations: one page without network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

import loc2
from loc2.evaluation.cases import limit_words
from loc2.evaluation.compare import Change, Comparison, Pairing
from loc2.outputs import atomic_path
from loc2.report.charts import Chart, Theme, chart_axes, chart_legend
from loc2.report.evaluation import CALIBRATION_NAMES, SUMMARY_NAMES, figure_words
from loc2.report.figures.style import figure_of
from loc2.report.gallery import case_words
from loc2.report.page import Cell, Markup, asset, build_page, fill, grid, table

LISTED = 30
"""Trials listed at most on each side."""
CHANGE_NAMES = {
    "recall_right": "right",
    **SUMMARY_NAMES,
    **CALIBRATION_NAMES,
}
"""Figures of a comparison in the order of the table, in words."""
VERDICTS = {"better": "better", "worse": "worse", "open": "may be chance"}
_SMALLEST = 0.01


def write_comparison_report(
    comparison: Comparison,
    path: Path,
    names: tuple[str, str],
    *,
    provenance: Mapping[str, object] | None = None,
) -> Path:
    """Write the report of a comparison as one HTML file.

    Args:
        comparison: what to show.
        path: file to write, whole or not at all.
        names: of the two files; any text, it is escaped.
        provenance: further facts, such as the command; any text, it is escaped.

    Raises:
        OutputError: the file cannot be written.
    """
    style = asset("report.css") + asset("evaluation.css")
    script = asset("theme.js") + 'document.documentElement.dataset.ready = "yes";\n'
    values = {
        "headline": headline(comparison),
        "first": names[0],
        "second": names[1],
        "warnings": _warnings(comparison, names),
        "changes": change_table(comparison.changes),
        "chart": scatter_chart(comparison).html(),
        "fixed": _listed(comparison.fixed, "became right"),
        "broken": _listed(comparison.broken, "became wrong"),
        "provenance": table(
            [
                *((str(k), v) for k, v in (provenance or {}).items()),
                ("software", f"loc2 {loc2.__version__}"),
            ]
        ),
    }
    title = f"Comparison: {names[0]} and {names[1]}"
    text = build_page("comparison.html", title=title, style=style, script=script, values=values)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def headline(comparison: Comparison) -> str:
    """Say in two sentences which file is better."""
    (right,) = (c for c in comparison.changes if c.name == "recall_right")
    words = {
        "better": "The second is right more often",
        "worse": "The second is right less often",
        "open": "Which of the two is right more often cannot be told from these samples",
    }[right.verdict]
    return (
        f"{words}: {right.first:.0%} in the first, {right.second:.0%} in the second. "
        f"{len(comparison.fixed)} of {len(comparison.pairings)} became right, "
        f"{len(comparison.broken)} became wrong."
    )


def change_words(change: Change) -> tuple[str, str, str, str, str]:
    """Return a change as words: name, first, second, difference with interval, verdict."""
    return (
        CHANGE_NAMES.get(change.name, change.name),
        figure_words(change.name, change.first),
        figure_words(change.name, change.second),
        f"{_signed(change.name, change.difference)} ({_signed(change.name, change.low)} to "
        f"{_signed(change.name, change.high)})",
        VERDICTS[change.verdict],
    )


def ordered(changes: Sequence[Change]) -> list[Change]:
    """Return the changes in the order of the table."""
    names = list(CHANGE_NAMES)
    return sorted(changes, key=lambda c: names.index(c.name) if c.name in names else len(names))


def change_table(changes: Sequence[Change]) -> Markup:
    """Return the table of changes."""
    rows = []
    for change in ordered(changes):
        name, first, second, difference, verdict = change_words(change)
        rows.append([name, Cell(verdict, change.verdict), first, second, difference])
    return grid(["", "the second is", "first", "second", "difference (95 %)"], rows)


def _signed(name: str, value: float) -> str:
    sign = "+" if value >= 0 else "−"
    return sign + figure_words(name, abs(value))


def scatter_chart(comparison: Comparison) -> Chart:
    """Return the chart of errors of the one against the other."""
    both = [
        p for p in comparison.pairings if np.isfinite([p.first.badness, p.second.badness]).all()
    ]
    first = np.array([p.first.badness for p in both])
    second = np.array([p.second.badness for p in both])
    better, worse = int((second < first).sum()), int((second > first).sum())
    words = f"{better} of {len(both)} trials have a smaller error in the second, {worse} a larger"
    return Chart(
        "errors",
        "Error by error",
        "The larger of position and heading error, in units of its limit "
        f"({limit_words([p.first for p in both])}): below 1 is right. Below the diagonal the "
        f"second is better: {words}.",
        f"Cloud of errors in the first against the second. {words}.",
        partial(_scatter, first, second),
    )


def _scatter(
    first: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    second: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    theme: Theme,
) -> Figure:
    axes = chart_axes(theme, "error in the first", "error in the second", 2, height_in=4.0)
    top = float(max(first.max(initial=2.0), second.max(initial=2.0))) * 1.3
    axes.plot([_SMALLEST, top], [_SMALLEST, top], color=theme.muted, linestyle="--", linewidth=1)
    for line in (axes.axhline, axes.axvline):
        line(1.0, color=theme.muted, linewidth=0.9)
    x, y = np.maximum(first, _SMALLEST), np.maximum(second, _SMALLEST)
    handles = []
    for chosen, marker, color, label in (
        ((first >= 1) & (second < 1), "o", theme.right, "became right"),
        ((first < 1) & (second >= 1), "x", theme.wrong, "became wrong"),
        ((first < 1) == (second < 1), ".", theme.muted, "as before"),
    ):
        (points,) = axes.plot(
            x[chosen], y[chosen], marker, color=color, markersize=5, linestyle="none", label=label
        )
        points.set_gid(label)
        handles.append(points)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(_SMALLEST * 0.8, top)
    axes.set_ylim(_SMALLEST * 0.8, top)
    ticks = [t for t in (0.01, 0.1, 1.0, 10.0) if t <= top]
    axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axes.set_yticks(ticks, [f"{t:g}" for t in ticks])
    axes.minorticks_off()
    axes.set_aspect("equal")
    equal = Line2D([], [], color=theme.muted, linestyle="--", label="equal")
    chart_legend(axes, theme, [*handles, equal])
    return figure_of(axes)


def _listed(pairings: Sequence[Pairing], what: str) -> Markup:
    if not pairings:
        return Markup(f"<p>No trial {what}.</p>")
    rows = [[p.first.name, case_words(p.first), case_words(p.second)] for p in pairings[:LISTED]]
    more = len(pairings) - len(rows)
    note = f"<p class='small'>And {more} more, in the file of --output.</p>" if more else ""
    listing = grid(["trial", "first", "second"], rows, words=True)
    return Markup(f'<div class="tablewrap">{listing}</div>{note}')


def warning_lines(comparison: Comparison, names: tuple[str, str]) -> list[str]:
    """Return what a reader must know before believing the comparison."""
    lines = []
    for name, a, b in comparison.other_settings:
        lines.append(f"The two were made differently: {name.replace('_', ' ')} is {a} and {b}.")
    for name, cases in zip(names, (comparison.only_first, comparison.only_second), strict=True):
        if cases:
            lines.append(f"{len(cases)} trials are only in {name}: {_some(cases)}.")
    if comparison.other_truth:
        cases = tuple(p.first for p in comparison.other_truth)
        lines.append(
            f"{len(cases)} trials have different truths in the two files and are left out: "
            f"{_some(cases)}."
        )
    return lines


def _some(cases: Sequence[object], most: int = 3) -> str:
    shown = ", ".join(getattr(c, "name", str(c)) for c in cases[:most])
    return shown + (f" and {len(cases) - most} more" if len(cases) > most else "")


def _warnings(comparison: Comparison, names: tuple[str, str]) -> Markup:
    lines = warning_lines(comparison, names)
    if not lines:
        return Markup("")
    items = "".join(fill("<li>{{line}}</li>", {"line": line}) for line in lines)
    return Markup(f'<ul class="small" id="warnings">{items}</ul>')
