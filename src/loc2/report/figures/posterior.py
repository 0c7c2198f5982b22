"""Posterior: where the camera may be, and which way it may look."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.projections.polar import PolarAxes

from loc2.frames import heading_error_deg
from loc2.localization import Localization
from loc2.report.figures.camera import aerial_panel, pose_px
from loc2.report.figures.style import (
    INK,
    MUTED,
    ORANGE,
    PAPER,
    PROBABILITY_COLORS,
    YELLOW,
    dimmed,
    figure_of,
    fit,
    halo,
    image_array,
    legend_below,
    new_figure,
    north_arrow,
    scale_bar,
    text_size,
    title,
)
from loc2.report.probability import centered_panel

MAX_MODES = 5
"""Hypotheses that are marked; the rest have little mass."""


def draw_posterior(localization: Localization, axes: Sequence[Axes] | None = None) -> Figure:
    """Draw the position map with its modes, and the rose of headings.

    Args:
        localization: what to show.
        axes: two axes, one for the map and a polar one for the rose; a new figure if not given.

    Returns:
        The figure; the map's data coordinates are aerial pixels.
    """
    panel = aerial_panel(localization)
    if axes is None:
        rows = math.ceil(min(MAX_MODES, len(localization.hypotheses)) / 2)
        map_h, below = 5.0 * panel.height / panel.width, 0.75 + 0.2 * rows
        height = map_h + 0.36 + below
        figure = new_figure(9.3, height)
        map_axes = figure.add_axes((0.3 / 9.3, below / height, 5.0 / 9.3, map_h / height))
        side = min(2.9, map_h)
        rose_y = below + (map_h - side) / 2
        rose_axes = figure.add_axes(
            (5.85 / 9.3, rose_y / height, side / 9.3, side / height), projection="polar"
        )
    else:
        map_axes, rose_axes = axes
    draw_position_map(localization, map_axes)
    draw_heading_rose(localization, cast(PolarAxes, rose_axes))
    return figure_of(map_axes)


def draw_position_map(localization: Localization, axes: Axes) -> None:
    """Draw the probability of the camera's position over the aerial image, modes numbered."""
    panel = aerial_panel(localization)
    panel.show(axes, image_array(dimmed(localization.aerial_image, color=0.0, brightness=0.75)))
    heatmap = localization.heatmap
    density = heatmap.position.detach().cpu().double().numpy() / heatmap.step_m**2
    grid = centered_panel(localization, panel, density.shape[0], density.shape[1], heatmap.step_m)
    # a square root shows minor modes beside a sharp major one
    norm = PowerNorm(0.5, vmin=0.0, vmax=max(float(density.max()), 1e-12))
    drawn = axes.imshow(
        density, cmap=PROBABILITY_COLORS, norm=norm, interpolation="bilinear", zorder=2,
        extent=(grid.x0, grid.x0 + grid.scale * grid.width,
                grid.y0 + grid.scale * grid.height, grid.y0),
    )  # fmt: skip
    drawn.set_gid("position-map")
    bar_axes = axes.inset_axes((0.0, -0.045, 1.0, 0.025))
    bar = figure_of(axes).colorbar(drawn, cax=bar_axes, orientation="horizontal")
    bar_axes.set_facecolor(MUTED)
    bar.set_ticks(_root_ticks(float(density.max())))
    bar.ax.tick_params(labelsize=text_size(axes, 7), length=2, pad=1.5)
    bar.set_label("probability per square metre", fontsize=text_size(axes, 7.5), labelpad=1)
    handles: list[Artist] = []
    for number, hypothesis in enumerate(localization.hypotheses[:MAX_MODES], start=1):
        x, y = panel.to_axes(pose_px(localization, hypothesis.pose))
        angle = math.radians(hypothesis.pose.heading_deg)
        length = 0.09 * panel.width
        axes.plot(
            [x, x + length * math.sin(angle)], [y, y - length * math.cos(angle)],
            color=YELLOW if number == 1 else PAPER, linewidth=1.6, path_effects=halo(3.2), zorder=5,
        )  # fmt: skip
        (dot,) = axes.plot(
            [x], [y], "o", markersize=4.5, markerfacecolor=YELLOW if number == 1 else PAPER,
            markeredgecolor=INK, zorder=6,
        )  # fmt: skip
        dot.set_gid(f"mode-{number}")
        behind = 0.045 * panel.width  # the number stands behind the camera, off the map's peak
        axes.text(
            x - behind * math.sin(angle), y + behind * math.cos(angle), str(number),
            ha="center", va="center", fontsize=text_size(axes, 7), zorder=6,
            fontweight="bold", color=INK,
            bbox={"boxstyle": "circle,pad=0.25", "facecolor": YELLOW if number == 1 else PAPER,
                  "edgecolor": INK, "linewidth": 0.9},
        )  # fmt: skip
        pose = hypothesis.pose
        handles.append(
            Line2D([], [], marker=f"${number}$", color=INK, linestyle="none", markersize=6.5,
                   markeredgewidth=0,
                   label=f"{hypothesis.mass:.0%} at {pose.east_m:+.1f} m E, "
                         f"{pose.north_m:+.1f} m N, {pose.heading_deg:.0f}°")
        )  # fmt: skip
    scale_bar(axes, panel, localization.meters_per_pixel)
    north_arrow(axes, panel)
    fit(axes, panel)
    title(axes, "Where the camera may be")
    legend = legend_below(axes, handles)
    legend.set_bbox_to_anchor((0.5, -0.115), transform=axes.transAxes)


def draw_heading_rose(localization: Localization, axes: PolarAxes) -> None:
    """Draw the probability of headings as a rose; areas are proportional to probability."""
    heading = localization.heatmap.heading.detach().cpu().double().numpy()
    step = 2 * np.pi / len(heading)
    angles = np.arange(len(heading)) * step
    axes.set_theta_zero_location("N")
    axes.set_theta_direction(-1)
    radius = np.sqrt(np.clip(heading, 0, None) / max(float(heading.max()), 1e-12))
    bars = axes.bar(angles, radius, width=step, color=ORANGE, edgecolor=PAPER, linewidth=0.4)
    for bar in bars:
        bar.set_gid("heading-bar")
    placed: list[float] = []
    for number, hypothesis in enumerate(localization.hypotheses[:MAX_MODES], start=1):
        heading_deg = hypothesis.pose.heading_deg
        angle = math.radians(heading_deg)
        axes.plot([angle, angle], [0, 1.0], color=INK, linewidth=1.0 if number == 1 else 0.6)
        crowd = sum(heading_error_deg(heading_deg, other) < 10.0 for other in placed)
        placed.append(heading_deg)
        axes.text(
            angle, 1.0 - 0.13 * crowd, str(number), ha="center", va="center", color=INK,
            fontsize=text_size(axes, 10), fontweight="bold", zorder=6,
            bbox={"boxstyle": "circle,pad=0.25", "facecolor": YELLOW if number == 1 else PAPER,
                  "edgecolor": INK, "linewidth": 0.9},
        )  # fmt: skip
    axes.set_ylim(0, 1.1)
    axes.set_yticks([])
    axes.set_xticks(np.deg2rad([0, 45, 90, 135, 180, 225, 270, 315]))
    axes.set_xticklabels(["0° N", "45°", "90°", "135°", "180°", "225°", "270°", "315°"])
    axes.tick_params(labelsize=text_size(axes, 11), pad=1, colors=MUTED)
    axes.grid(color="#d5d9de", linewidth=0.6)
    axes.spines["polar"].set_color("#b6bcc4")
    axes.set_title("Which way it may look", fontsize=text_size(axes, 14), color=INK, pad=12)


def _root_ticks(top: float) -> list[float]:
    """Round values that are spread out on a square-root scale from 0 to ``top``."""
    if top <= 0:
        return [0.0]
    unit = 10.0 ** math.floor(math.log10(top))
    lead = top / unit
    steps = (0.1, 0.5, 1.0, 2.0, 5.0) if lead >= 2 else (0.05, 0.2, 0.5, 1.0)
    return [0.0, *(s * unit for s in steps if s <= lead)]
