"""The report of an evaluation: one page without network, beside the reports of chosen cases."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import loc2
from loc2.evaluation.cases import RIGHT_DEG, RIGHT_M, Results, results_of
from loc2.evaluation.tables import PublishedRow, published_rows
from loc2.outputs import atomic_path
from loc2.report.charts import percent
from loc2.report.evaluation_charts import evaluation_charts
from loc2.report.gallery import Explain, case_words, choose_cases, gallery_html, write_cases
from loc2.report.page import Markup, asset, build_page, grid, table

INDEX_NAME = "index.html"
SHOWN_FAILURES = 20

SUMMARY_NAMES = {
    "recall_2m_5deg": "within 2 m and 5°",
    "recall_5m_10deg": "within 5 m and 10°",
    "recall_10m_10deg": "within 10 m and 10°",
    "recall_1m": "within 1 m",
    "recall_3m": "within 3 m",
    "recall_5m": "within 5 m",
    "recall_10m": "within 10 m",
    "recall_1deg": "within 1°",
    "recall_5deg": "within 5°",
    "recall_10deg": "within 10°",
    "position_median_m": "position error, median",
    "position_mean_m": "position error, mean",
    "heading_median_deg": "heading error, median",
    "heading_mean_deg": "heading error, mean",
    "flip_rate": "turned by more than 90°",
    "failures": "without an answer",
    "n": "samples",
}
"""Figures of a summary in the order of the table, in words."""


CALIBRATION_NAMES = {
    "auroc": "confidence ranks right above wrong (AUROC)",
    "expected_calibration_error": "distance of confidence from truth (ECE)",
    "risk_coverage_area": "mean risk over all coverages",
    "radius_median_m": "90 % radius, median",
    "radius_coverage": "errors within their 90 % radius",
}
"""Figures of a calibration in the order of the table, in words."""


def write_evaluation_report(
    content: Mapping[str, Any],
    folder: Path,
    explain: Explain,
    *,
    provenance: Mapping[str, object] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Path:
    """Write the report of an evaluation.

    The page is written last, so that a page that is there has all its cases.

    Args:
        content: of a results file of any kind of evaluation, with its summary.
        folder: created if missing: ``index.html``, and ``cases/`` with the reports of its gallery.
        explain: repeats the localization of a case.
        provenance: further facts, such as the command; any text, it is escaped.
        progress: called with the number of finished cases of the gallery.

    Returns:
        The page.

    Raises:
        OutputError: a file cannot be written.
        InputError: the content is not that of a results file.
    """
    results = results_of(content)
    chosen = choose_cases(results)
    cases = [case for kind in chosen.values() for case in kind]
    shown = write_cases(cases, folder, explain, progress)
    page = render_evaluation(
        content, results, gallery_html(chosen, shown), provenance=provenance or {}
    )
    path = folder / INDEX_NAME
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def render_evaluation(
    content: Mapping[str, Any],
    results: Results,
    gallery: Markup,
    *,
    provenance: Mapping[str, object],
) -> str:
    """Return the page of :func:`write_evaluation_report` as text."""
    config = results.config
    rows = published_rows(config, float(config.get("heading_range_deg", -1.0)))
    style = asset("report.css") + asset("evaluation.css")
    script = asset("theme.js") + 'document.documentElement.dataset.ready = "yes";\n'
    charts = "".join(chart.html() for chart in evaluation_charts(results, rows))
    values = {
        "headline": headline(results, content["summary"]["all"]),
        "setting": setting_words(results),
        "summary": _summary_table(content["summary"], content.get("calibration") or {}),
        "published": _published_section(rows, content["summary"]["all"]),
        "charts": Markup(charts),
        "gallery": gallery,
        "failures": _failures_section(results),
        "provenance": table(
            [
                *((str(name), value) for name, value in provenance.items()),
                ("software", f"loc2 {loc2.__version__}"),
                *((name.replace("_", " "), _plain(value)) for name, value in config.items()),
            ]
        ),
    }
    title = f"Evaluation: {results.title}"
    return build_page("evaluation.html", title=title, style=style, script=script, values=values)


def headline(results: Results, summary: Mapping[str, Any]) -> str:
    """Say in a sentence how often the answers were right."""
    right = sum(c.right for c in results.cases)
    rough = any(not c.position_counts for c in results.cases)
    limits = f"within {RIGHT_M:.0f} m and {RIGHT_DEG:.0f}°"
    if rough:
        limits += " (10 m where the true position is only roughly known)"
    words = f"{right} of {len(results.cases)} answers are right, {limits}."
    if summary.get("failures"):
        words += f" {summary['failures']} samples had no answer and count as wrong."
    return words


def setting_words(results: Results) -> str:
    """Say in a sentence what the localizer was told beforehand."""
    config = results.config
    parts = []
    half_width = config.get("heading_range_deg")
    if half_width is not None:
        told = half_width < 180 and config.get("use_prior", True)
        parts.append(
            f"the heading was known to ± {half_width:g}°" if told else "the heading was not known"
        )
    cut = [case.window_m for case in results.cases if case.window_m is not None]
    asked = config.get("window_m")
    if cut:  # it is smaller where the image is too small for what was asked
        low, high = f"{min(cut):.0f}", f"{max(cut):.0f}"
        wide = f"{low} m" if low == high else f"{low} to {high} m"
        told = "" if asked is None or f"{asked:.0f}" == low else f" ({asked:g} m asked for)"
        parts.append(f"the aerial window was {wide} wide{told}")
    elif asked:
        parts.append(f"the aerial window was {asked:g} m wide")
    if config.get("shift_range_m"):
        parts.append(f"and moved at random by up to {config['shift_range_m']:g} m along each axis")
    weights = config.get("weights")
    if isinstance(weights, Mapping):
        weights = weights.get("name")
    known = f"Weights: {weights}. " if weights else ""
    words = ", ".join(parts).replace(", and", " and")
    return known + (words[:1].upper() + words[1:] + "." if words else "")


def figure_words(name: str, value: float | None) -> str:
    """Return a figure of a summary with its unit."""
    if value is None:
        return "–"
    if name in ("n", "failures"):
        return f"{value:.0f}"
    if name in ("auroc", "expected_calibration_error", "risk_coverage_area"):
        return f"{value:.3f}"
    if name.endswith("_m") and not name.startswith("recall"):
        return f"{value:.2f} m"
    if name.endswith("_deg") and not name.startswith("recall"):
        return f"{value:.1f}°"
    return percent(value)


def _summary_table(summary: Mapping[str, Any], calibration: Mapping[str, Any]) -> Markup:
    every = summary["all"]
    guessed = "guess" in every
    heads = ["", "all", "95 % interval", *(["guessing"] if guessed else [])]
    groups = [name for name in summary if name != "all"]
    rows = []
    for name, words in SUMMARY_NAMES.items():
        if name not in every:
            continue
        interval = every.get("interval_95", {}).get(name)
        span = "" if interval is None else " to ".join(figure_words(name, v) for v in interval)
        cells = [words, figure_words(name, every[name]), span]
        if guessed:
            counted = name in ("n", "failures")
            cells.append("" if counted else figure_words(name, every["guess"].get(name)))
        cells += [figure_words(name, summary[g].get(name)) for g in groups]
        rows.append(cells)
    for name, words in CALIBRATION_NAMES.items():
        if name in calibration.get("all", {}):
            every_group = [calibration.get(g, {}).get(name) for g in ("all", *groups)]
            first, *others = [figure_words(name, value) for value in every_group]
            rows.append([words, first, "", *([""] if guessed else []), *others])
    return grid([*heads, *groups], rows)


def _published_section(rows: Sequence[PublishedRow], summary: Mapping[str, Any]) -> Markup:
    if not rows:
        return Markup("")
    heads = ["method", "position mean", "median", "heading mean", "median", "note"]
    names = ("position_mean_m", "position_median_m", "heading_mean_deg", "heading_median_deg")
    lines = [
        [row.method, *(figure_words(n, getattr(row, n)) for n in names), row.note] for row in rows
    ]
    lines.append(["measured now", *(figure_words(n, summary[n]) for n in names), ""])
    return Markup(
        "<section><h2>Beside published figures</h2><p class='small'>Published figures of this "
        "setting. They are the authors' own unless a note says otherwise.</p>"
        f'<div class="tablewrap">{grid(heads, lines)}</div></section>'
    )


def _failures_section(results: Results) -> Markup:
    failed = [c for c in results.cases if c.estimate is None]
    if not failed:
        return Markup("")
    lines = [(c.name, case_words(c)) for c in failed[:SHOWN_FAILURES]]
    more = len(failed) - len(lines)
    note = f"<p class='small'>And {more} more, in the results file.</p>" if more else ""
    return Markup(
        f'<section id="failures"><h2>Without an answer ({len(failed)})</h2>'
        f'<div class="tablewrap">{table(lines)}</div>{note}</section>'
    )


def _plain(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(entry)}" for key, entry in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_plain, value))
    return "none" if value is None else str(value)
