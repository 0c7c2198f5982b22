"""Inverse depth up to scale and shift becomes depth up to scale.

Many networks return ``q = a / depth + b`` with a positive a and a b that nobody knows. Depth up to
scale needs b. Level ground gives it: on a plane a height h below the camera, the ray with unit
direction d and ``s`` units of range per unit of depth meets the ground at

    1 / depth = g / h   with   g = -d_up * s,   hence   q = A g + b   with   A = a / h.

A line through (g, q) of the ground therefore gives b and A, and with them depth in units of the
camera's height, ``depth / h = A / (q - b)``. What stands on the ground is nearer than the ground
behind it, so it lies above that line and never below; the robust fit uses this.

Where no ground is found, the far regions give b: the smallest q of the image is taken for
infinitely far. That is right where sky or a distant background is seen and wrong indoors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from loc2.cameras import Camera, DepthKind
from loc2.depth.base import GROUND_ELEVATION_DEG
from loc2.errors import InputError
from loc2.frames import cell_centers_px

ShiftSource = Literal["ground", "far"]

FARTHEST_HEIGHTS = 100.0
"""Beyond this many camera heights inverse depth says nothing, and depth is invalid."""
_HYPOTHESES = 400
_MAX_POINTS = 4000
_MIN_SHARE = 0.25
_TOLERANCE = 0.02


@dataclass(frozen=True)
class GroundLine:
    """The ground's line ``q = slope * g + shift``.

    Attributes:
        slope: A of the module's formula, positive.
        shift: b of the module's formula.
        share: share of what is seen steeply below the horizon that lies on the line.
    """

    slope: float
    shift: float
    share: float


def ground_factor(camera: Camera, kind: DepthKind, rows: int, cols: int) -> Tensor:
    """Return (rows, cols) inverse depth of level ground one unit below the camera; see the module.

    Args:
        camera: camera of the image that the map tiles.
        kind: of the depth.
        rows: rows of the map.
        cols: columns of the map.

    Raises:
        ValueError: z-depth asked of a panorama.
    """
    uv_px = cell_centers_px(rows, cols, camera.height, camera.width)
    return -camera.pixels_to_rays(uv_px)[..., 2] * camera.range_per_depth(uv_px, kind)


def steep_pixels(camera: Camera, rows: int, cols: int) -> Tensor:
    """Return a (rows, cols) mask of rays that mostly meet the ground near the camera."""
    uv_px = cell_centers_px(rows, cols, camera.height, camera.width)
    elevation_deg = torch.rad2deg(torch.asin(camera.pixels_to_rays(uv_px)[..., 2].clamp(-1, 1)))
    # Straight below there is a tripod, a car's roof or a blur more often than ground.
    return (elevation_deg < GROUND_ELEVATION_DEG) & (elevation_deg > -65.0)


def fit_ground_line(value: Tensor, factor: Tensor, seed: int = 0) -> GroundLine | None:
    """Fit ``value = slope * factor + shift`` to the ground among other things.

    Lines through two points are drawn at random; each counts the points on it and loses those
    below it, where nothing can be. The best one is refined with Cauchy weights.

    Args:
        value: (N,) inverse depth up to scale and shift.
        factor: (N,) of :func:`ground_factor`.
        seed: of the draw.

    Returns:
        The line; None where the points are too few or too narrow a band, or where less than a
        quarter of them agrees.
    """
    if len(value) < 50:
        return None
    generator = torch.Generator().manual_seed(seed)
    if len(value) > _MAX_POINTS:
        chosen = torch.randperm(len(value), generator=generator)[:_MAX_POINTS]
        value, factor = value[chosen], factor[chosen]
    q, g = value.double(), factor.double()
    if float(g.quantile(0.95)) < 1.3 * float(g.quantile(0.05)):
        return None
    tolerance = _TOLERANCE * float(q.quantile(0.95) - q.quantile(0.05))
    if not tolerance > 0:
        return None
    pair = torch.randint(len(q), (2, _HYPOTHESES), generator=generator)
    run = g[pair[1]] - g[pair[0]]
    run = torch.where(run.abs() < 1e-6, torch.full_like(run, 1e-6), run)
    slope = (q[pair[1]] - q[pair[0]]) / run
    shift = q[pair[0]] - slope * g[pair[0]]
    residual = q - slope[:, None] * g - shift[:, None]
    score = (residual.abs() < tolerance).double().mean(1)
    score = score - 2.0 * (residual < -2 * tolerance).double().mean(1)
    score = torch.where(slope > 0, score, torch.full_like(score, -10.0))
    best = int(score.argmax())
    line = torch.stack((slope[best], shift[best]))
    design = torch.stack((g, torch.ones_like(g)), 1)
    for _ in range(10):
        weight = 1 / (1 + ((q - design @ line) / tolerance) ** 2) ** 2
        normal = design.T @ (weight[:, None] * design)
        line = torch.linalg.solve(normal, design.T @ (weight * q))
    share = float(((q - design @ line).abs() < tolerance).double().mean())
    if share < _MIN_SHARE or not float(line[0]) > 0:
        return None
    return GroundLine(float(line[0]), float(line[1]), share)


def inverse_to_depth(
    value: Tensor, valid: Tensor, camera: Camera, kind: DepthKind, seed: int = 0
) -> tuple[Tensor, Tensor, ShiftSource]:
    """Turn inverse depth up to scale and shift into depth up to scale; see the module's formula.

    Args:
        value: (H, W) inverse depth, larger is nearer.
        valid: (H, W) bool.
        camera: camera of the image, at any size.
        kind: of the depth.
        seed: of the ground's fit.

    Returns:
        (H, W) depth, zero where invalid; a (H, W) bool mask; and what gave the shift: ``ground``
        (depth is then in units of the camera's height) or ``far`` (in an unknown unit).

    Raises:
        InputError: no value is valid, or all are equal.
    """
    valid = valid & torch.isfinite(value)
    if not bool(valid.any()):
        raise InputError("depth: no valid inverse depth")
    rows, cols = value.shape
    factor = ground_factor(camera, kind, rows, cols)
    steep = steep_pixels(camera, rows, cols) & valid
    line = fit_ground_line(value[steep], factor[steep], seed)
    if line is not None:
        excess, slope = value.double() - line.shift, line.slope
        source: ShiftSource = "ground"
    else:
        known = value[valid].double()
        step = max(known.numel() // 100_000, 1)
        excess = value.double() - float(known[::step].quantile(0.005))
        positive = excess[valid & (excess > 0)]
        if not positive.numel():
            raise InputError("depth: all inverse depth is equal; it says nothing")
        slope, source = float(positive.median()), "far"
    usable = valid & (excess > slope / FARTHEST_HEIGHTS)
    depth = torch.where(usable, slope / torch.where(usable, excess, 1.0), 0.0)
    return depth.float(), usable, source
