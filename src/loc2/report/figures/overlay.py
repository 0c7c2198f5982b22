"""Overlay: the lifted ground layout in its own colours over the dimmed aerial image."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from loc2.frames import Pose
from loc2.localization import Localization
from loc2.report.figures.camera import aerial_panel, draw_camera, draw_truth
from loc2.report.figures.style import (
    MUTED,
    dimmed,
    figure_of,
    fit,
    framed_axes,
    image_array,
    legend_below,
    north_arrow,
    scale_bar,
    title,
)
from loc2.report.layout import layout_on_aerial, layout_radius_m


def draw_overlay(
    localization: Localization,
    axes: Axes | None = None,
    *,
    truth: Pose | None = None,
    opacity: float = 0.95,
    radius_m: float | None = None,
) -> Figure:
    """Draw what the photo sees of the ground, laid over the aerial image at the estimated pose.

    Where the pose is right, kerbs, markings and roofs run on across the edge of the layout.

    Args:
        localization: what to show.
        axes: where to draw; a new figure if not given.
        truth: the true pose, drawn in green where it is known.
        opacity: of the layout, in [0, 1].
        radius_m: how far from the camera the layout is drawn, metres; by default so far that the
            aerial image around it stays visible.

    Returns:
        The figure; its axes' data coordinates are aerial pixels.
    """
    panel = aerial_panel(localization)
    if axes is None:
        axes = framed_axes(6.0, 6.0 * panel.height / panel.width, legend_rows=2 + bool(truth))
    panel.show(axes, image_array(dimmed(localization.aerial_image)))
    radius_m = layout_radius_m(localization) if radius_m is None else radius_m
    layout = layout_on_aerial(localization, radius_m=radius_m)
    layout[3] *= opacity
    pixels = (layout.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    panel.show(axes, pixels).set_gid("layout")
    handles = draw_camera(axes, localization, panel)
    handles.append(Patch(facecolor=MUTED, label=f"photo, laid on the ground to {radius_m:.0f} m"))
    if truth is not None:
        handles += draw_truth(axes, localization, panel, truth)
    scale_bar(axes, panel, localization.meters_per_pixel)
    north_arrow(axes, panel)
    fit(axes, panel)
    title(axes, "The photo's ground layout on the aerial image")
    legend_below(axes, handles)
    return figure_of(axes)
