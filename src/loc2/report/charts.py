"""What charts of evaluations share: themes, axes, curves, embedding in a page for both themes."""

from __future__ import annotations

import base64
import io
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from loc2.report.figures.style import (
    BLUE,
    GREEN,
    INK,
    MUTED,
    PAPER,
    VERMILION,
    figure_of,
    legend_below,
    new_figure,
)
from loc2.report.page import Markup, fill

TEXT_PT = 10.0
"""Size of text: about ten pixels where a chart is as wide as a phone."""
WIDTH_IN, HEIGHT_IN = 4.0, 2.7
LEFT_IN, RIGHT_IN, TOP_IN = 0.76, 0.26, 0.12
MANY_POINTS = 2000
"""Clouds of more points are embedded as pixels."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Theme:
    """Colours of a chart; right and wrong differ in lightness too, and in shape where drawn.

    Attributes:
        ink: text.
        muted: axes and reference lines.
        grid: faint lines.
        paper: background, for outlines of marks.
        main: what the chart is about.
        right: right answers.
        wrong: wrong answers.
        groups: further curves.
    """

    ink: str
    muted: str
    grid: str
    paper: str
    main: str
    right: str
    wrong: str
    groups: tuple[str, ...]


LIGHT = Theme(
    INK, MUTED, "#d9dde3", PAPER, BLUE, GREEN, VERMILION,
    ("#b05a00", "#7b4fc9", "#0a6e4c", "#a8326b", "#5c6570"),
)  # fmt: skip
DARK = Theme(
    "#e9ecf0", "#a2acb8", "#343b45", "#14171b", "#7cc0ff", "#59d3a4", "#ff9b7a",
    ("#f0bd55", "#c3a6ff", "#59d3a4", "#ff9ecb", "#a2acb8"),
)  # fmt: skip
GROUP_LINES = ("--", "-.", (0, (4, 1, 1, 1)), (0, (6, 1, 1, 1, 1, 1)), (0, (1, 2)))


@dataclass(frozen=True)
class Chart:
    """A chart of a page.

    Attributes:
        name: of its file and anchor; letters and hyphens.
        title: a few words.
        caption: what it shows and how to read it.
        alt: what a reader who cannot see it is told, with its figures.
        draw: draws it in a theme.
    """

    name: str
    title: str
    caption: str
    alt: str
    draw: Callable[[Theme], Figure]

    def html(self) -> Markup:
        """Return the chart as a figure element that holds both themes."""
        template = (
            '<figure class="chart" id="{{name}}"><h3>{{title}}</h3>'
            '<img class="on-light" alt="{{alt}}" src="{{light}}">'
            '<img class="on-dark" alt="{{alt}}" src="{{dark}}">'
            '<figcaption class="small">{{caption}}</figcaption></figure>'
        )
        values = {
            "name": self.name,
            "title": self.title,
            "alt": self.alt,
            "caption": self.caption,
            "light": Markup(svg_uri(self.draw(LIGHT))),
            "dark": Markup(svg_uri(self.draw(DARK))),
        }
        return Markup(fill(template, values))


def chart_axes(
    theme: Theme, across: str, up: str, legend_rows: int = 1, height_in: float = HEIGHT_IN
) -> Axes:
    """Return axes for a chart on a new figure without background.

    Args:
        theme: its colours.
        across: name of the horizontal axis, with its unit.
        up: name of the vertical axis, with its unit.
        legend_rows: rows of legend below.
        height_in: height of the axes, inches.
    """
    bottom_in = 0.5 + 0.21 * legend_rows
    outer_w, outer_h = LEFT_IN + WIDTH_IN + RIGHT_IN, height_in + bottom_in + TOP_IN
    figure = new_figure(outer_w, outer_h)
    figure.patch.set_alpha(0.0)
    axes = figure.add_axes(
        (LEFT_IN / outer_w, bottom_in / outer_h, WIDTH_IN / outer_w, height_in / outer_h)
    )
    axes.set_facecolor("none")
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(theme.muted)
    axes.tick_params(colors=theme.muted, labelcolor=theme.ink, labelsize=TEXT_PT, length=3)
    axes.grid(color=theme.grid, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.set_xlabel(across, fontsize=TEXT_PT, color=theme.ink, labelpad=2)
    axes.set_ylabel(up, fontsize=TEXT_PT, color=theme.ink)
    return axes


def percent_axis(axes: Axes, which: str = "y") -> None:
    """Let an axis run over shares from nothing to all, labelled in percent."""
    ticks = [0.0, 0.25, 0.5, 0.75, 1.0]
    labels = [f"{t:.0%}" for t in ticks]
    if which == "y":
        axes.set_ylim(0, 1.02)
        axes.set_yticks(ticks, labels)
    else:
        axes.set_xlim(0, 1.0)
        axes.set_xticks(ticks, labels)


def chart_legend(axes: Axes, theme: Theme, handles: Sequence[Artist], columns: int = 2) -> None:
    """Put a legend under the name of the horizontal axis."""
    legend = legend_below(axes, handles, columns)
    height_in = axes.get_position().height * figure_of(axes).get_figheight()
    legend.set_bbox_to_anchor((0.5, -0.42 / height_in), transform=axes.transAxes)
    for text in legend.get_texts():
        text.set_color(theme.ink)
        text.set_fontsize(TEXT_PT)


def share_curve(
    errors: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the steps of the share of samples whose error is at most x.

    Args:
        errors: (N,) errors, infinite for samples without an answer.

    Returns:
        Finite errors, ascending from zero, and the share of all samples at or below each.
    """
    finite = np.sort(errors[np.isfinite(errors)])
    share = np.arange(1, len(finite) + 1) / max(1, len(errors))
    return np.concatenate(([0.0], finite)), np.concatenate(([0.0], share))


def svg_uri(figure: Figure) -> str:
    """Return a figure as an SVG data address; the same figure gives the same text."""
    buffer = io.BytesIO()
    with (
        matplotlib.rc_context({"svg.hashsalt": "loc2", "svg.fonttype": "path"}),
        warnings.catch_warnings(),
    ):
        # Names of groups may be in any script; what the font lacks is drawn as a box.
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(buffer, format="svg", dpi=110, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue().decode()
    text = re.sub(r"<\?xml.*?\?>|<!DOCTYPE.*?>|<metadata>.*?</metadata>", "", text, flags=re.S)
    return "data:image/svg+xml;base64," + base64.b64encode(text.strip().encode()).decode()


def percent(share: float) -> str:
    """Return a share in words for a sentence."""
    return f"{100 * share:.0f} %"


def right_wrong(theme: Theme, limits: str, farther: bool = False) -> list[Line2D]:
    """Return legend entries for right answers, wrong ones, and those beyond the axes."""
    return [
        Line2D(
            [],
            [],
            marker=marker,
            color=color,
            linestyle="none",
            markersize=5,
            markerfacecolor="none" if marker == "^" else color,
            label=label,
        )
        for marker, color, label in (
            ("o", theme.right, f"right (within {limits})"),
            ("x", theme.wrong, "wrong"),
            *((("^", theme.wrong, "wrong, farther"),) if farther else ()),
        )
    ]
