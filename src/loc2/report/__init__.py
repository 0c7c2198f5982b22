"""Show why: figures and reports of a localization, reports of evaluations."""

from loc2.report.evaluation import write_evaluation_report
from loc2.report.figures import (
    FIGURES,
    draw_depth,
    draw_matches,
    draw_overlay,
    draw_points,
    draw_posterior,
)
from loc2.report.html import render_report, write_report
from loc2.report.save import DEFAULT_FIGURES, FIGURE_FORMATS, save_figures

__all__ = [
    "DEFAULT_FIGURES",
    "FIGURES",
    "FIGURE_FORMATS",
    "draw_depth",
    "draw_matches",
    "draw_overlay",
    "draw_points",
    "draw_posterior",
    "render_report",
    "save_figures",
    "write_evaluation_report",
    "write_report",
]
