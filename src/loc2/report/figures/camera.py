"""The camera drawn on the aerial image: position, heading with its range, 90 % region."""

from __future__ import annotations

import math

import torch
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Ellipse, Wedge
from torch import Tensor

from loc2.frames import Pose, aerial_m_to_px
from loc2.localization import Localization
from loc2.report.figures.style import GREEN, INK, PAPER, YELLOW, FloatArray, Panel, halo

CHI2_90_2D = 4.605170185988092
"""90 % quantile of the chi-square distribution with two degrees of freedom, -2 ln 0.1."""
NORMAL_90 = 1.6448536269514722
"""Half-width of the central 90 % of a normal distribution, in standard deviations."""


def aerial_panel(localization: Localization) -> Panel:
    """Return the panel of the aerial image in its own pixel coordinates."""
    height, width = localization.aerial_image.shape[1:]
    return Panel(0.0, 0.0, 1.0, width, height)


def pose_px(localization: Localization, pose: Pose) -> Tensor:
    """Return (2,) aerial pixels (u, v) of a pose, float64."""
    height, width = localization.aerial_image.shape[1:]
    position = torch.tensor([pose.east_m, pose.north_m], dtype=torch.float64)
    return aerial_m_to_px(position, width, height, localization.meters_per_pixel)


def ellipse_90(covariance: Tensor) -> tuple[float, float, float]:
    """Return the 90 % ellipse of a position covariance.

    Args:
        covariance: (3, 3) or (2, 2), east and north first, square metres.

    Returns:
        Semi-axes (long, short) in metres and the bearing of the long one, degrees clockwise from
        image up, in [0, 180).
    """
    position = covariance[:2, :2].detach().cpu().double()
    values, vectors = torch.linalg.eigh((position + position.T) / 2)
    short_m, long_m = (float(v) for v in (values.clamp_min(0) * CHI2_90_2D).sqrt())
    east, north = (float(c) for c in vectors[:, 1])
    return long_m, short_m, math.degrees(math.atan2(east, north)) % 180.0


def heading_half_width_deg(covariance: Tensor) -> float:
    """Return half the central 90 % interval of the heading, degrees, at most 180."""
    variance = max(float(covariance[2, 2]), 0.0)
    return min(180.0, NORMAL_90 * math.sqrt(variance))


def draw_camera(
    axes: Axes,
    localization: Localization,
    panel: Panel,
    *,
    pose: Pose | None = None,
    uncertainty: bool = True,
) -> list[Artist]:
    """Draw a camera on an aerial panel: dot, heading ray and wedge, 90 % region.

    Args:
        axes: where the panel was drawn.
        localization: gives the pose and its covariance.
        panel: where the aerial image lies in the axes.
        pose: another pose to draw instead, in the aerial metric frame.
        uncertainty: draw wedge and ellipse, which belong to the localization's own pose.

    Returns:
        Legend entries for what was drawn.
    """
    shown = pose or localization.pose
    x, y = panel.to_axes(pose_px(localization, shown))
    size = panel.scale * panel.width
    handles: list[Artist] = []
    if uncertainty:
        half_deg = max(2.0, heading_half_width_deg(localization.covariance))
        # axes angles run counter-clockwise from the right of a y-up frame; y points down here, so
        # an angle grows clockwise on the page, as headings do, and starts at the right
        center_deg = shown.heading_deg - 90.0
        wedge = Wedge(
            (x, y), 0.17 * size, center_deg - half_deg, center_deg + half_deg,
            facecolor=YELLOW, alpha=0.45, edgecolor="none", zorder=6,
        )  # fmt: skip
        wedge.set_gid("heading-wedge")
        axes.add_patch(wedge)
        handles.append(_swatch(wedge, f"heading {shown.heading_deg:.1f}° ± {half_deg:.1f}° (90 %)"))
    tip = _ahead(x, y, shown.heading_deg, 0.17 * size)
    (ray,) = axes.plot(
        [x, tip[0]], [y, tip[1]], color=YELLOW, linewidth=1.8, zorder=7, path_effects=halo(3.4)
    )
    ray.set_gid("heading")
    if uncertainty:
        long_m, short_m, bearing_deg = ellipse_90(localization.covariance)
        to_axes = panel.scale / localization.meters_per_pixel
        ellipse = Ellipse(
            (x, y), 2 * long_m * to_axes, 2 * short_m * to_axes, angle=bearing_deg - 90.0,
            fill=False, edgecolor=PAPER, linewidth=1.6, zorder=7, path_effects=halo(3.2),
        )  # fmt: skip
        ellipse.set_gid("ellipse-90")
        axes.add_patch(ellipse)
        handles.append(
            Line2D([], [], color=PAPER, linewidth=1.6, path_effects=halo(3.2),
                   label=f"90 % region, ± {long_m:.1f} m × ± {short_m:.1f} m")
        )  # fmt: skip
    (dot,) = axes.plot(
        [x], [y], "o", markersize=6.5, markerfacecolor=YELLOW, markeredgecolor=INK,
        markeredgewidth=1.3, zorder=9, linestyle="none",
        label=f"camera at {shown.east_m:+.1f} m E, {shown.north_m:+.1f} m N",
    )  # fmt: skip
    dot.set_gid("camera")
    return [dot, *handles]


def draw_truth(axes: Axes, localization: Localization, panel: Panel, truth: Pose) -> list[Artist]:
    """Draw a known true pose as a green cross with its heading; return its legend entry."""
    x, y = panel.to_axes(pose_px(localization, truth))
    tip = _ahead(x, y, truth.heading_deg, 0.12 * panel.scale * panel.width)
    (ray,) = axes.plot(
        [x, tip[0]], [y, tip[1]], color=GREEN, linewidth=1.6, linestyle=(0, (3, 1.5)), zorder=7,
        path_effects=halo(3.2, PAPER),
    )  # fmt: skip
    ray.set_gid("truth-heading")
    (cross,) = axes.plot(
        [x], [y], "P", markersize=8, markerfacecolor=GREEN, markeredgecolor=PAPER,
        markeredgewidth=1.1, zorder=9, linestyle="none", label="true camera",
    )  # fmt: skip
    cross.set_gid("truth")
    return [cross]


def _ahead(x: float, y: float, heading_deg: float, length: float) -> tuple[float, float]:
    angle = math.radians(heading_deg)
    return x + length * math.sin(angle), y - length * math.cos(angle)


def _swatch(wedge: Wedge, label: str) -> Line2D:
    return Line2D(
        [], [], color=wedge.get_facecolor(), alpha=0.8, linewidth=7, solid_capstyle="butt",
        label=label,
    )  # fmt: skip


def ring_points(x: float, y: float, radius: float, bearings_deg: Tensor) -> FloatArray:
    """Return (N, 2) axes points on a circle at bearings clockwise from image up."""
    angle = torch.deg2rad(bearings_deg.double())
    points: FloatArray = (
        torch.stack((x + radius * torch.sin(angle), y - radius * torch.cos(angle)), -1)
    ).numpy()
    return points
