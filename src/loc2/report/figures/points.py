"""Points: where the probability of chosen ground points lies in the aerial image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from loc2.frames import aerial_m_to_px
from loc2.localization import Localization
from loc2.report.figures.camera import aerial_panel, pose_px
from loc2.report.figures.matches import apart, bearing_colors, match_panels, spread_selection
from loc2.report.figures.style import (
    INK,
    PAPER,
    PROBABILITY_COLORS,
    YELLOW,
    Panel,
    dimmed,
    figure_of,
    fit,
    halo,
    image_array,
    legend_below,
    new_figure,
    title,
)
from loc2.report.probability import cell_probability, cells_panel, nearest_cells, posed_m


def draw_points(
    localization: Localization,
    axes: Sequence[Axes] | None = None,
    *,
    points_px: Sequence[tuple[float, float]] | None = None,
    count: int = 4,
) -> Figure:
    """Draw ground points and, for each, its probability over the aerial image.

    Args:
        localization: what to show.
        axes: one axes for the ground image and one more for each point; a new figure if not given.
        points_px: pixels (u, v) in the ground image; the nearest cells are shown. Strong matches
            in all directions if not given.
        count: how many points to choose if none are given, at most.

    Returns:
        The figure; data coordinates are pixels of the images.
    """
    chosen = choose_cells(localization, points_px, count if axes is None else len(axes) - 1)
    if axes is None:
        axes = _new_axes(localization, len(chosen))
    ground_axes, *map_axes = axes
    height, width = localization.ground_image.shape[1:]
    ground = Panel(0.0, 0.0, 1.0, width, height)
    ground.show(ground_axes, image_array(localization.ground_image))
    colors = bearing_colors(localization.cells.bev[chosen])
    for number, item in enumerate(chosen.tolist()):
        x, y = ground.to_axes(localization.cells.ground_px[item])
        _number(ground_axes, x, y, number + 1, colors[number])
    fit(ground_axes, ground)
    title(ground_axes, "Chosen spots, and where each may lie from above")
    for number, (axis, item) in enumerate(zip(map_axes, chosen.tolist(), strict=False)):
        _draw_map(axis, localization, item, number + 1, colors[number])
    handles = [
        Line2D([], [], marker="s", color=PROBABILITY_COLORS(0.75), linestyle="none", markersize=7,
               label="probability of the spot's place (lighter: more)"),
        Line2D([], [], marker="o", markerfacecolor="none", markeredgecolor=INK, markersize=8,
               markeredgewidth=1.5, linestyle="none", label="where the estimated pose puts it"),
        Line2D([], [], marker="o", markerfacecolor=YELLOW, markeredgecolor=INK, markersize=6,
               linestyle="none", label="camera"),
    ]  # fmt: skip
    legend_below(ground_axes, handles, columns=3)
    return figure_of(ground_axes)


def choose_cells(
    localization: Localization, points_px: Sequence[tuple[float, float]] | None, count: int
) -> Tensor:
    """Return (K,) indices of the cells at given pixels, or of strong ones in all directions."""
    if points_px is not None:
        return nearest_cells(localization, torch.tensor(points_px, dtype=torch.float32))
    matches = localization.matches
    ground, aerial = match_panels(localization)
    index = spread_selection(matches, len(matches.weight))
    index = apart(index, matches, ground, aerial, count)
    index = index[torch.argsort(matches.ground_px[index, 0])]
    return nearest_cells(localization, matches.ground_px[index])


def _draw_map(
    axes: Axes, localization: Localization, item: int, number: int, color: object
) -> None:
    panel = aerial_panel(localization)
    panel.show(axes, image_array(dimmed(localization.aerial_image, color=0.15, brightness=0.7)))
    probability = cell_probability(localization.cells, torch.tensor([item]))[0].numpy()
    grid = cells_panel(localization, panel)
    drawn = axes.imshow(
        probability, cmap=PROBABILITY_COLORS, norm=PowerNorm(0.6, 0.0, float(probability.max())),
        interpolation="nearest", zorder=2,
        extent=(grid.x0, grid.x0 + grid.scale * grid.width,
                grid.y0 + grid.scale * grid.height, grid.y0),
    )  # fmt: skip
    drawn.set_gid(f"point-map-{number}")
    position_m = posed_m(localization.cells.bev[item][None], localization.pose)
    place = aerial_m_to_px(position_m, panel.width, panel.height, localization.meters_per_pixel)
    ((x, y),) = panel.to_axes(place)
    (ring,) = axes.plot(
        [x], [y], "o", markersize=9, markerfacecolor="none", markeredgecolor=PAPER,
        markeredgewidth=1.6, path_effects=halo(3.2), zorder=5,
    )  # fmt: skip
    ring.set_gid(f"point-posed-{number}")
    x, y = panel.to_axes(pose_px(localization, localization.pose))
    axes.plot([x], [y], "o", markersize=4.5, markerfacecolor=YELLOW, markeredgecolor=INK, zorder=6)
    fit(axes, panel)
    margin = 0.085 * panel.width
    _number(axes, margin, margin, number, color)


def _number(axes: Axes, x: float, y: float, number: int, color: object) -> None:
    label = axes.text(
        x, y, str(number), ha="center", va="center", fontsize=8, zorder=7,
        fontweight="bold", color=INK,
        bbox={"boxstyle": "circle,pad=0.25", "facecolor": color, "edgecolor": INK,
              "linewidth": 0.9},
    )  # fmt: skip
    label.set_gid(f"spot-{number}")


def _new_axes(localization: Localization, count: int) -> list[Axes]:
    """The ground image above, the maps below in rows of four."""
    columns = max(1, min(count, 4))
    gap_in, width_in = 0.12, 9.24
    ground_h, ground_w = localization.ground_image.shape[1:]
    aerial_h, aerial_w = localization.aerial_image.shape[1:]
    inner_in = width_in - 2 * gap_in
    shown_w = inner_in if ground_w > 1.5 * ground_h else 0.55 * inner_in
    photo_in = shown_w * ground_h / ground_w
    map_w = (inner_in - (columns - 1) * gap_in) / columns
    map_h = map_w * aerial_h / aerial_w
    rows = -(-count // columns)
    height_in = 0.36 + photo_in + 0.36 + rows * (map_h + gap_in) + 0.02
    figure = new_figure(width_in, height_in)

    def place(left: float, top: float, width: float, height: float) -> Axes:
        bottom = height_in - top - height
        return figure.add_axes(
            (left / width_in, bottom / height_in, width / width_in, height / height_in)
        )

    axes = [place((width_in - shown_w) / 2, 0.36, shown_w, photo_in)]
    top = 0.36 + photo_in + 0.36
    for index in range(count):
        row, col = divmod(index, columns)
        axes.append(
            place(gap_in + col * (map_w + gap_in), top + row * (map_h + gap_in), map_w, map_h)
        )
    return axes
