"""Matches: the same spots in the photo and from above, joined by lines."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from loc2.cameras import Equirectangular
from loc2.localization import Localization, Matches
from loc2.report.figures.camera import draw_camera, pose_px, ring_points
from loc2.report.figures.style import (
    BEARING_COLORS,
    INK,
    MUTED,
    PAPER,
    FloatArray,
    Panel,
    figure_of,
    fit,
    framed_axes,
    halo,
    image_array,
    legend_below,
    north_arrow,
    scale_bar,
    text_size,
    title,
)

WIDE_ASPECT = 1.8
"""Ground images wider than this stand above the aerial image instead of beside it."""


def draw_matches(
    localization: Localization, axes: Axes | None = None, *, limit: int = 70, numbered: int = 8
) -> Figure:
    """Draw the ground image and the aerial image with lines between matched spots.

    Matches that agree with the pose are solid, coloured by their bearing from the camera: the
    strip over the ground image and the ring around the camera show the same colours. Matches
    that disagree are black, dashed, with crosses. Both are drawn in their true proportion. Width
    and opacity grow with the match probability. The strongest spots in all directions carry
    numbers in both images.

    Args:
        localization: what to show.
        axes: where to draw; a new figure if not given.
        limit: lines to draw at most, the strongest of every direction first.
        numbered: matches that carry a number in both images.

    Returns:
        The figure; its axes' data coordinates are those of :func:`match_panels`.
    """
    ground, aerial = match_panels(localization)
    width = max(ground.x0 + ground.scale * ground.width, aerial.x0 + aerial.scale * aerial.width)
    height = aerial.y0 + aerial.scale * aerial.height
    if axes is None:
        axes = framed_axes(9.0, 9.0 * height / width, legend_rows=2)
    ground.show(axes, image_array(localization.ground_image))
    aerial.show(axes, image_array(localization.aerial_image))
    matches = localization.matches
    shown = proportional_selection(matches, limit)
    agree = matches.inlier[shown]
    if len(shown):
        _draw_lines(axes, matches, shown[~agree], ground, aerial, agree=False)
        _draw_lines(axes, matches, shown[agree], ground, aerial, agree=True)
        chosen = apart(shown[agree], matches, ground, aerial, numbered)
        _draw_numbers(axes, matches, chosen, ground, aerial)
    _bearing_strip(axes, localization, ground)
    camera = draw_camera(axes, localization, aerial, uncertainty=False)
    _bearing_ring(axes, localization, aerial)
    scale_bar(axes, aerial, localization.meters_per_pixel)
    north_arrow(axes, aerial)

    fit(axes, Panel(0.0, 0.0, 1.0, 1, 1))
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    total, good = len(matches.weight), int(matches.inlier.sum())
    share = f" ({good / total:.0%})" if total else ""
    drawn = f", {len(shown)} of them drawn" if len(shown) < total else ""
    title(axes, f"{good} of {total} matches{share} agree with the estimated pose{drawn}")
    legend_below(axes, [*_line_handles(), *camera], columns=2)
    return figure_of(axes)


def match_panels(localization: Localization) -> tuple[Panel, Panel]:
    """Return where :func:`draw_matches` puts the ground and the aerial image.

    A panorama stands above the aerial image; a photo beside it, both of the same height. One unit
    of the axes is the aerial image's height.
    """
    ground_h, ground_w = localization.ground_image.shape[1:]
    aerial_h, aerial_w = localization.aerial_image.shape[1:]
    aspect, gap = ground_w / ground_h, 0.05
    if aspect > WIDE_ASPECT:
        width = 1.9 * aerial_w / aerial_h
        ground = Panel(0.0, 0.0, width / ground_w, ground_w, ground_h)
        x0 = (width - aerial_w / aerial_h) / 2
        top = width / aspect + 2 * gap
    else:
        ground = Panel(0.0, 0.0, 1.0 / ground_h, ground_w, ground_h)
        x0, top = aspect + gap, 0.0
    return ground, Panel(x0, top, 1.0 / aerial_h, aerial_w, aerial_h)


def proportional_selection(matches: Matches, limit: int) -> Tensor:
    """Choose inliers and outliers in their true proportion, each as :func:`spread_selection` does.

    Taking simply the strongest would mostly drop the outliers and flatter the result.
    """
    total, good = len(matches.inlier), int(matches.inlier.sum())
    agree = min(good, round(limit * good / max(total, 1)))
    order = spread_selection(matches, total)
    inlier = matches.inlier[order]
    return torch.cat((order[inlier][:agree], order[~inlier][: max(0, limit - agree)]))


def spread_selection(matches: Matches, limit: int, sectors: int = 16) -> Tensor:
    """Choose matches that are strong and lie in all directions.

    The strongest of each sector of bearing come first, then the second strongest of each, so a
    wall of strong matches on one side does not hide the rest.

    Args:
        matches: to choose from.
        limit: how many at most.
        sectors: number of sectors of bearing.

    Returns:
        (K,) indices, best first.
    """
    sector = ((_bearing_deg(matches.bev) + 180.0) / 360.0 * sectors).long().clamp(0, sectors - 1)
    order = torch.argsort(matches.weight, descending=True, stable=True)
    seen = torch.zeros(sectors, dtype=torch.long)
    rank = torch.empty(len(order), dtype=torch.long)
    for index in order.tolist():
        rank[index] = seen[sector[index]]
        seen[sector[index]] += 1
    first = torch.argsort(rank[order], stable=True)
    return order[first][:limit]


def bearing_colors(bev: Tensor) -> FloatArray:
    """Return (N, 4) colours of the bearings of (N, 2) BEV points."""
    return _colors(_bearing_deg(bev))


def _bearing_deg(bev: Tensor) -> Tensor:
    return torch.rad2deg(torch.atan2(bev[:, 0], bev[:, 1]))


def _colors(bearing_deg: Tensor) -> FloatArray:
    return np.asarray(BEARING_COLORS((bearing_deg.double().numpy() + 180.0) / 360.0))


def _draw_lines(
    axes: Axes, matches: Matches, index: Tensor, ground: Panel, aerial: Panel, *, agree: bool
) -> None:
    if not len(index):
        return
    ends = np.stack(
        (ground.to_axes(matches.ground_px[index]), aerial.to_axes(matches.aerial_px[index])), 1
    )
    top = float(matches.weight.max())
    strength = (matches.weight[index] / max(top, 1e-12)).double().numpy().clip(0, 1)
    colors = (
        bearing_colors(matches.bev[index])
        if agree
        else np.tile(np.array(to_rgba(INK)), (len(index), 1))
    )
    colors[:, 3] = (0.30 + 0.65 * strength) * (1.0 if agree else 0.75)
    lines = LineCollection(
        list(ends),
        colors=colors,
        linewidths=(0.5 + 1.3 * strength) * (1.0 if agree else 0.7),
        linestyles="solid" if agree else (0, (4, 3)),
        zorder=4 if agree else 3,
    )
    lines.set_gid("inlier-lines" if agree else "outlier-lines")
    axes.add_collection(lines)
    for side, name in ((0, "ground"), (1, "aerial")):
        spots = axes.scatter(
            ends[:, side, 0], ends[:, side, 1], s=16 if agree else 15,
            c=colors[:, :3], marker="o" if agree else "x",
            edgecolors=INK if agree else None, linewidths=0.6 if agree else 1.2, zorder=5,
            path_effects=None if agree else halo(1.9, PAPER),
        )  # fmt: skip
        spots.set_gid(f"{'inlier' if agree else 'outlier'}-spots-{name}")


def _draw_numbers(
    axes: Axes, matches: Matches, index: Tensor, ground: Panel, aerial: Panel
) -> None:
    left_to_right = index[torch.argsort(matches.ground_px[index, 0])]
    for number, item in enumerate(left_to_right.tolist(), start=1):
        color = bearing_colors(matches.bev[item][None])[0]
        for panel, px in ((ground, matches.ground_px), (aerial, matches.aerial_px)):
            x, y = panel.to_axes(px[item])
            label = axes.text(
                x, y, str(number), ha="center", va="center", fontsize=text_size(axes, 6.5),
                fontweight="bold", color=INK, zorder=10,
                bbox={"boxstyle": "circle,pad=0.22", "facecolor": color, "edgecolor": INK,
                      "linewidth": 0.8},
            )  # fmt: skip
            label.set_gid(f"number-{number}")


def apart(index: Tensor, matches: Matches, ground: Panel, aerial: Panel, limit: int) -> Tensor:
    """Keep the first matches whose spots lie apart in both images, so numbers do not collide."""
    places = np.concatenate(
        (ground.to_axes(matches.ground_px[index]), aerial.to_axes(matches.aerial_px[index])), 1
    )
    kept: list[int] = []
    for row, place in enumerate(places):
        gap = np.abs(places[kept] - place)
        if len(kept) < limit and np.all(
            np.minimum(np.hypot(gap[:, 0], gap[:, 1]), np.hypot(gap[:, 2], gap[:, 3])) > 0.06
        ):
            kept.append(row)
    return index[kept]


def _bearing_strip(axes: Axes, localization: Localization, ground: Panel) -> None:
    """A band of the bearing colours along the ground image's upper edge."""
    height, width = localization.ground_image.shape[1:]
    camera = localization.camera.resized(width, height)
    u_px = torch.arange(width, dtype=torch.float32) + 0.5
    middle = torch.full_like(u_px, height / 2)
    rays = camera.pixels_to_rays(torch.stack((u_px, middle), -1))
    colors = bearing_colors(rays[:, :2])
    right, band = ground.x0 + ground.scale * width, 0.014
    strip = axes.imshow(
        colors[None, :, :3], aspect="auto", zorder=2,
        extent=(ground.x0, right, ground.y0 + band, ground.y0),
    )  # fmt: skip
    strip.set_gid("bearing-strip")
    if not isinstance(camera, Equirectangular):
        return
    for text, share, side in (
        ("back", 0.006, "left"), ("left", 0.25, "center"), ("forward", 0.5, "center"),
        ("right", 0.75, "center"), ("back", 0.994, "right"),
    ):  # fmt: skip
        axes.text(
            ground.x0 + ground.scale * width * share, ground.y0 + band + 0.012, text, color=PAPER,
            path_effects=halo(), ha=side, va="top", fontsize=text_size(axes, 7), zorder=6,
        )  # fmt: skip


def _bearing_ring(axes: Axes, localization: Localization, aerial: Panel) -> None:
    """A ring of the bearing colours around the camera: yellow is ahead."""
    x, y = aerial.to_axes(pose_px(localization, localization.pose))
    steps = torch.linspace(-180.0, 180.0, 73)
    radius = 0.055 * aerial.scale * aerial.width
    points = ring_points(x, y, radius, steps + localization.pose.heading_deg)
    axes.plot(points[:, 0], points[:, 1], color=INK, linewidth=4.6, zorder=6)
    ring = LineCollection(
        list(np.stack((points[:-1], points[1:]), 1)),
        colors=_colors((steps[:-1] + steps[1:]) / 2),
        linewidths=2.8,
        capstyle="round",
        zorder=6,
    )
    ring.set_gid("bearing-ring")
    axes.add_collection(ring)


def _line_handles() -> list[Artist]:
    return [
        Line2D([], [], color=BEARING_COLORS(0.7), marker="o", markeredgecolor=INK, markersize=5,
               linewidth=1.6, label="agrees, coloured by bearing (as on strip and ring)"),
        Line2D([], [], color=INK, marker="x", markersize=5, linewidth=1.1,
               linestyle=(0, (4, 3)), label="disagrees with the pose"),
        Line2D([], [], color=MUTED, linewidth=2.0, label="thicker: more probable"),
    ]  # fmt: skip
