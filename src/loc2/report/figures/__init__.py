"""Figures of a localization, one function each; data coordinates of images are their pixels."""

from __future__ import annotations

from collections.abc import Callable

from matplotlib.figure import Figure

from loc2.localization import Localization
from loc2.report.figures.depth import draw_depth
from loc2.report.figures.matches import draw_matches
from loc2.report.figures.overlay import draw_overlay
from loc2.report.figures.points import draw_points
from loc2.report.figures.posterior import draw_posterior

FIGURES: dict[str, Callable[[Localization], Figure]] = {
    "matches": draw_matches,
    "overlay": draw_overlay,
    "posterior": draw_posterior,
    "points": draw_points,
    "depth": draw_depth,
}
"""Figures by name; each function also takes the axes to draw on."""

__all__ = ["FIGURES", "draw_depth", "draw_matches", "draw_overlay", "draw_points", "draw_posterior"]
