"""What all figures share: sizes, colours that colour-blind readers can tell apart, image panels.

Figures are built with matplotlib's objects, never through pyplot, so drawing one changes nothing
elsewhere in the process and works in threads and servers. Images are drawn over the extent
[0, W] x [0, H], so that the pixel coordinates of :mod:`loc2.frames` are the data coordinates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.legend import Legend
from matplotlib.patheffects import AbstractPathEffect, withStroke
from torch import Tensor

FloatArray = npt.NDArray[np.float64]

# Okabe and Ito's palette: distinct under the common colour vision deficiencies.
BLUE, SKY, ORANGE, VERMILION = "#0072B2", "#56B4E9", "#E69F00", "#D55E00"
GREEN, YELLOW, PURPLE = "#009E73", "#F0E442", "#CC79A7"
INK, PAPER, MUTED = "#1a1d21", "#ffffff", "#5c6570"

PROBABILITY_COLORS = LinearSegmentedColormap.from_list(
    "loc2_probability",
    # dark violet to yellow with rising lightness, transparent where there is nothing
    [(0.19, 0.05, 0.35, 0.0), (0.45, 0.10, 0.50, 0.60), (0.86, 0.30, 0.36, 0.85),
     (0.98, 0.62, 0.28, 0.95), (0.99, 0.96, 0.64, 1.0)],
)  # fmt: skip
"""Probability over an image: nothing is clear, a little is violet, the most is light yellow."""

BEARING_COLORS = LinearSegmentedColormap.from_list(
    "loc2_bearing",
    # a ring of hues with changing lightness, so that directions differ in more than hue:
    # forward is yellow, right red, back violet, left blue
    [(0.00, "#7b4fc9"), (0.25, "#3aa7f0"), (0.375, "#8fe3d0"), (0.50, "#fff04d"),
     (0.625, "#ffb02e"), (0.75, "#f2593c"), (1.00, "#7b4fc9")],
)  # fmt: skip
"""Cyclic colours of bearings from -180 (back) through 0 (forward, yellow) to 180 degrees."""


@dataclass(frozen=True)
class Panel:
    """Where an image lies in an axes: ``axes = origin + scale * pixel``.

    Attributes:
        x0: data coordinate of the image's left edge.
        y0: data coordinate of the image's top edge; y grows downwards.
        scale: data units per image pixel.
        width: image width, pixels.
        height: image height, pixels.
    """

    x0: float
    y0: float
    scale: float
    width: int
    height: int

    def to_axes(self, uv_px: Tensor) -> FloatArray:
        """Return (..., 2) data coordinates of (..., 2) image pixels."""
        px = uv_px.detach().cpu().double().numpy()
        return np.asarray(np.array([self.x0, self.y0]) + self.scale * px)

    def show(self, axes: Axes, image: npt.NDArray[np.uint8], **options: object) -> AxesImage:
        """Draw an image, or a map of another resolution, over the panel."""
        extent = (
            self.x0,
            self.x0 + self.scale * self.width,
            self.y0 + self.scale * self.height,
            self.y0,
        )
        return axes.imshow(image, extent=extent, **options)  # type: ignore[arg-type]


def new_figure(width_in: float, height_in: float) -> Figure:
    """Return an empty figure that belongs to nobody else; sizes in inches."""
    figure = Figure(figsize=(width_in, height_in), facecolor=PAPER)
    FigureCanvasAgg(figure)
    return figure


def framed_axes(
    width_in: float, height_in: float, legend_rows: int, margin_in: float = 0.12
) -> Axes:
    """Return axes of an exact size on a new figure, with room for a title and a legend.

    Args:
        width_in: width of the axes, inches.
        height_in: height of the axes, inches.
        legend_rows: rows of legend below.
        margin_in: white space around, inches.
    """
    top_in, bottom_in = 0.36, 0.12 + 0.2 * legend_rows
    outer_w, outer_h = width_in + 2 * margin_in, height_in + top_in + bottom_in
    figure = new_figure(outer_w, outer_h)
    box = (margin_in / outer_w, bottom_in / outer_h, width_in / outer_w, height_in / outer_h)
    return figure.add_axes(box)


def figure_of(axes: Axes) -> Figure:
    """Return the figure that an axes belongs to."""
    figure = axes.get_figure(root=True)
    if figure is None:
        raise ValueError("the axes belong to no figure")
    return figure


def text_size(axes: Axes, points: float) -> float:
    """Return a font size for an axes: as asked at 4 inches, less on small axes, at least 5."""
    box = axes.get_position()
    figure = figure_of(axes)
    width_in = box.width * figure.get_figwidth()
    return max(5.0, points * min(1.25, max(0.6, width_in / 4.0)))


def image_array(image: Tensor) -> npt.NDArray[np.uint8]:
    """Convert (3, H, W) in [0, 1] to (H, W, 3) bytes."""
    pixels = (image.detach().cpu().float().clamp(0, 1) * 255).round().byte()
    return np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())


def dimmed(image: Tensor, color: float = 0.35, brightness: float = 0.66) -> Tensor:
    """Return (3, H, W) with most of its colour taken away and no bright parts.

    The brightest 2 % come out at ``brightness``, so that images in deep shadow stay readable.
    """
    pixels = image.detach().cpu().float()
    grey = pixels.mean(dim=0, keepdim=True)
    top = float(np.quantile(grey.numpy(), 0.98))
    gain = brightness / min(1.0, max(top, 0.35))
    return ((grey + color * (pixels - grey)) * gain).clamp(0, 1)


def halo(width: float = 2.2, color: str = INK) -> list[AbstractPathEffect]:
    """Return an outline that keeps text and lines readable on any image."""
    return [withStroke(linewidth=width, foreground=color)]


def fit(axes: Axes, panel: Panel) -> None:
    """Show exactly the panel, pixels square, with no ticks."""
    axes.set_xlim(panel.x0, panel.x0 + panel.scale * panel.width)
    axes.set_ylim(panel.y0 + panel.scale * panel.height, panel.y0)
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_axis_off()


def title(axes: Axes, text: str) -> None:
    """Write a title above the left edge."""
    axes.set_title(text, loc="left", fontsize=text_size(axes, 10), color=INK, pad=6)


def legend_below(axes: Axes, handles: Sequence[Artist], columns: int = 2) -> Legend:
    """Put a legend under an axes, where it hides nothing."""
    return axes.legend(
        handles=list(handles),
        loc="upper center",
        bbox_to_anchor=(0.5, 0.0),
        ncols=columns,
        frameon=False,
        fontsize=text_size(axes, 8),
        handlelength=1.8,
        columnspacing=1.4,
        borderaxespad=0.5,
    )


def round_length_m(length_m: float) -> float:
    """Return the largest of 1, 2, 5 times a power of ten that does not exceed a length."""
    if not length_m > 0:
        raise ValueError("length must be positive")
    power: float = 10.0 ** math.floor(math.log10(length_m))
    for step in (5.0, 2.0, 1.0):
        if step * power <= length_m * (1 + 1e-9):
            return step * power
    return power


def scale_bar(axes: Axes, panel: Panel, meters_per_pixel: float) -> None:
    """Draw a scale bar in the lower left corner of an aerial panel, about a fifth of its width."""
    length_m = round_length_m(panel.width * meters_per_pixel / 4)
    length = length_m / meters_per_pixel * panel.scale
    margin = 0.04 * panel.width * panel.scale
    x, y = panel.x0 + margin, panel.y0 + panel.scale * panel.height - margin
    (bar,) = axes.plot(
        [x, x + length], [y, y], color=PAPER, linewidth=2.4, solid_capstyle="butt",
        path_effects=halo(4.4), zorder=8,
    )  # fmt: skip
    bar.set_gid("scale-bar")
    label = axes.text(
        x + length / 2, y - 0.015 * panel.height * panel.scale, f"{length_m:g} m", color=PAPER,
        ha="center", va="bottom", fontsize=text_size(axes, 8), path_effects=halo(), zorder=8,
    )  # fmt: skip
    label.set_gid("scale-bar-label")


def north_arrow(axes: Axes, panel: Panel) -> None:
    """Draw an arrow in the upper right corner; north of the metric frame is image up."""
    unit = panel.scale * panel.height
    x = panel.x0 + panel.scale * panel.width - 0.055 * unit
    y = panel.y0 + 0.115 * unit
    arrow = axes.annotate(
        "", (x, y - 0.08 * unit), (x, y), zorder=8,
        arrowprops={"arrowstyle": "-|>", "color": PAPER, "lw": 1.6, "path_effects": halo(3.6),
                    "shrinkA": 0, "shrinkB": 0},
    )  # fmt: skip
    arrow.set_gid("north")
    axes.text(
        x, y + 0.008 * unit, "N", color=PAPER, ha="center", va="top",
        fontsize=text_size(axes, 8), fontweight="bold", path_effects=halo(), zorder=8,
    )  # fmt: skip
