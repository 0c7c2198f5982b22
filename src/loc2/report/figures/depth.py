"""Depth: what the lifting used, and where there was none."""

from __future__ import annotations

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor
from torch.nn.functional import interpolate

from loc2.localization import Localization
from loc2.report.figures.style import (
    INK,
    MUTED,
    PAPER,
    Panel,
    dimmed,
    figure_of,
    fit,
    framed_axes,
    halo,
    image_array,
    legend_below,
    text_size,
    title,
)
from loc2.report.layout import resample_depth

DEPTH_COLORS = colormaps["viridis"].reversed()
"""Near is light yellow, far dark violet; readable by the colour-blind."""


def draw_depth(localization: Localization, axes: Axes | None = None) -> Figure:
    """Draw depth in colour over the grey photo; hatched where there is none.

    Args:
        localization: what to show.
        axes: where to draw; a new figure if not given.

    Returns:
        The figure; its axes' data coordinates are pixels of the ground image.
    """
    image = localization.ground_image.detach().cpu().float()
    height, width = image.shape[1:]
    panel = Panel(0.0, 0.0, 1.0, width, height)
    if axes is None:
        width_in = 9.0 if width > 1.5 * height else 5.5
        axes = framed_axes(width_in, width_in * height / width, legend_rows=3)
    panel.show(axes, image_array(dimmed(image, color=0.0, brightness=0.9)))
    size = min(1.0, 1000 / width)
    shape = (max(1, round(height * size)), max(1, round(width * size)))
    depth, valid = resample_depth(localization.depth, *shape)
    depth = depth * localization.pose.scale
    low, high = _range(depth, valid)
    luminance = interpolate(image.mean(0)[None, None], shape, mode="bilinear")[0, 0].numpy()
    norm = LogNorm(low, high)
    colors = DEPTH_COLORS(norm(depth.clamp(low, high).numpy()))
    # colour from depth, light from the photo, so that its edges stay visible
    colors[..., :3] *= (0.55 + 0.6 * luminance[..., None]).clip(0, 1.15)
    colors[..., :3] = colors[..., :3].clip(0, 1)
    colors[..., 3] = valid.numpy()
    panel.show(axes, (colors * 255).round().astype(np.uint8)).set_gid("depth")
    hatch = _hatch(*shape)
    hatch[..., 3] = np.where(valid.numpy(), 0, hatch[..., 3])
    panel.show(axes, hatch).set_gid("invalid")
    if bool(valid.any()):
        _contours(axes, panel, depth, valid)
        bar_axes = axes.inset_axes((0.0, -0.16 / _inches(axes), 1.0, 0.10 / _inches(axes)))
        bar = figure_of(axes).colorbar(
            ScalarMappable(norm, DEPTH_COLORS), cax=bar_axes, orientation="horizontal"
        )
        bar.ax.minorticks_off()
        ticks = [t for t in (0.5, 1, 2, 5, 10, 20, 50, 100, 200) if low <= t <= high]
        bar.set_ticks(ticks or [low, high], labels=[f"{t:.3g}" for t in ticks or [low, high]])
        bar.ax.tick_params(labelsize=text_size(axes, 7), length=2, pad=1.5)
        kind = "range along the ray" if localization.depth.kind == "range" else "z-depth"
        bar.set_label(f"{kind}, m", fontsize=text_size(axes, 7.5), labelpad=1)
    fit(axes, panel)
    share = float(valid.float().mean())
    title(axes, f"Depth ({localization.depth.source}): {share:.0%} of the photo can be lifted")
    legend = legend_below(
        axes,
        [Patch(facecolor=MUTED, edgecolor=PAPER, hatch="////", label="no depth: takes no part")],
    )
    legend.set_bbox_to_anchor((0.5, -0.42 / _inches(axes)), transform=axes.transAxes)
    return figure_of(axes)


def _inches(axes: Axes) -> float:
    return axes.get_position().height * figure_of(axes).get_figheight()


def _range(depth: Tensor, valid: Tensor) -> tuple[float, float]:
    """Return the 1 % and 99 % quantiles of valid depth, apart by at least a tenth."""
    if not bool(valid.any()):
        return 1.0, 10.0
    values = np.quantile(depth[valid].numpy(), (0.01, 0.99))
    return float(values[0]), float(max(values[1], values[0] * 1.1))


def _hatch(height: int, width: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Diagonal light lines on a dark veil."""
    period = max(6, width // 90)
    v, u = np.mgrid[:height, :width]
    line = (u + v) % period < max(1, period // 6)
    veil = np.zeros((height, width, 4), np.uint8)
    veil[..., :3] = np.where(line[..., None], 235, 25)
    veil[..., 3] = np.where(line, 120, 130)
    return veil


def _contours(axes: Axes, panel: Panel, depth: Tensor, valid: Tensor) -> None:
    """Draw lines of equal distance, each labelled where it is nearest to the middle."""
    rows, cols = depth.shape
    values = np.ma.MaskedArray(depth.numpy(), ~valid.numpy())
    u = (np.arange(cols) + 0.5) * (panel.width / cols)
    v = (np.arange(rows) + 0.5) * (panel.height / rows)
    low, high = float(depth[valid].min()), float(depth[valid].max())
    levels = [x for x in (2.0, 5.0, 10.0, 20.0, 50.0) if low < x < high]
    if not levels:
        return
    lines = axes.contour(u, v, values, levels=levels, colors=INK, linewidths=0.8)
    middle = np.array([panel.width / 2, panel.height / 2])
    nearest = []
    for path in lines.get_paths():
        points = np.asarray(path.vertices)
        if len(points):
            nearest.append(tuple(points[np.abs(points - middle).sum(1).argmin()]))
    labels = axes.clabel(
        lines, fmt="%g m", fontsize=text_size(axes, 6.5), inline=True, manual=nearest
    )
    for label in labels:
        label.set_color(PAPER)
        label.set_path_effects(halo(1.8))
