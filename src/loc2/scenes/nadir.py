"""The bottom of panoramas: the capture vehicle, a blurred or blackened nadir."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from loc2.cameras import Equirectangular
from loc2.scenes.mesh import SemanticClass
from loc2.scenes.render import GroundRender
from loc2.scenes.sensor import linear_rgb

Float64 = NDArray[np.float64]
NadirKind = Literal["none", "vehicle", "blur", "cap"]


def random_nadir_kind(rng: np.random.Generator, camera_height_m: float) -> NadirKind:
    """Draw what fills the nadir: vehicles carry high cameras, people and tripods low ones."""
    kinds: list[NadirKind] = ["none", "vehicle", "blur", "cap"]
    weights = [0.3, 0.35, 0.25, 0.1] if camera_height_m >= 2.0 else [0.5, 0.0, 0.35, 0.15]
    return kinds[int(rng.choice(4, p=weights))]


def add_nadir(render: GroundRender, kind: NadirKind, rng: np.random.Generator) -> GroundRender:
    """Cover the bottom of a panorama.

    Covered pixels get the class ``OWN_VEHICLE`` and distance inf: they show nothing of the place.

    Args:
        render: a panorama; other views are returned as they are.
        kind: what covers it.
        rng: source of shape and colour.
    """
    camera = render.camera
    if kind == "none" or not isinstance(camera, Equirectangular):
        return render
    azimuth, elevation = _angles(camera)
    if kind == "vehicle":
        cover, color = _vehicle(rng, azimuth, elevation, render)
    else:
        edge_deg = -rng.uniform(58.0, 80.0)
        softness_deg = rng.uniform(0.5, 4.0) if kind == "blur" else 0.4
        degrees = np.degrees(elevation)[:, None] + np.zeros(camera.width)
        cover = np.clip((edge_deg - degrees) / softness_deg + 0.5, 0.0, 1.0)
        if kind == "cap":
            flat = np.array(linear_rgb(rng, 0.0, 0.25))
            color = np.broadcast_to(flat[:, None, None], render.rgb.shape)
        else:
            color = _smeared(render, cover)
    if not (cover > 0).any():
        return render
    hidden = cover > 0.5
    rgb = render.rgb + cover.astype(np.float32) * (color.astype(np.float32) - render.rgb)
    return replace(
        render,
        rgb=rgb.astype(np.float32),
        range_m=np.where(hidden, np.float32(np.inf), render.range_m),
        classes=np.where(hidden, np.uint8(SemanticClass.OWN_VEHICLE), render.classes),
    )


def _angles(camera: Equirectangular) -> tuple[Float64, Float64]:
    """Return (W,) azimuths and (H,) elevations of pixel centres in camera axes, radians."""
    azimuth = ((np.arange(camera.width) + 0.5) / camera.width - 0.5) * (2 * math.pi)
    span_deg = camera.elevation_bottom_deg - camera.elevation_top_deg
    row = (np.arange(camera.height) + 0.5) / camera.height
    return azimuth, np.radians(camera.elevation_top_deg + row * span_deg)


def _vehicle(
    rng: np.random.Generator, azimuth: Float64, elevation: Float64, render: GroundRender
) -> tuple[Float64, Float64]:
    """Return the (H, W) cover and (3, H, W) colour of a car roof below the camera."""
    below_m = rng.uniform(0.9, 1.4)
    half_width_m = rng.uniform(0.5, 0.72)
    front_m, back_m = rng.uniform(0.4, 0.9), rng.uniform(0.6, 1.3)
    down = np.maximum(np.tan(-elevation), 1e-3)[:, None]
    right = below_m / down * np.sin(azimuth)
    forward = below_m / down * np.cos(azimuth)
    length = np.where(forward > 0, front_m, back_m)
    power = rng.uniform(3.0, 6.0)
    shape = (np.abs(right) / half_width_m) ** power + (np.abs(forward) / length) ** power
    shape = np.where(elevation[:, None] < -0.2, shape, 9.0)
    cover = np.clip((1.05 - shape) / 0.1, 0.0, 1.0)
    paint = np.array(linear_rgb(rng, *((0.75, 0.95) if rng.random() < 0.5 else (0.05, 0.5))))
    # the roof mirrors the sky above, more so where it curves away
    sky = render.rgb[:, : max(1, render.rgb.shape[1] // 6)].mean(axis=(1, 2))
    level = float(render.rgb.mean()) * 1.6
    gloss = 0.06 + 0.3 * np.clip(shape, 0.0, 1.0) ** 2
    shade = 1.0 - 0.35 * np.clip(shape, 0.0, 1.0)
    color = paint[:, None, None] * level * shade * (1 - gloss) + sky[:, None, None] * gloss
    return cover, color


def _smeared(render: GroundRender, cover: Float64) -> Float64:
    """Return the image with its covered rows smeared along azimuth and mixed with their mean."""
    first = int(np.argmax(cover.max(axis=1) > 0))
    ring = render.rgb[:, first : first + 3].astype(np.float64)
    width = ring.shape[2]
    window = max(1, width // 12)
    line = np.cumsum(np.concatenate([ring.mean(axis=1)] * 3, axis=1), axis=1)
    smooth = (
        line[:, width + window : 2 * width + window] - line[:, width - window : 2 * width - window]
    ) / (2 * window)
    color = render.rgb.astype(np.float64).copy()
    rows = np.linspace(0.0, 1.0, max(1, color.shape[1] - first))[:, None]
    mean = smooth.mean(axis=1)[:, None, None]
    color[:, first:] = smooth[:, None] * (1 - rows) + mean * rows
    return color
