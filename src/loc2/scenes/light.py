"""Daylight: the sun, a sky dome, and which of them each surface sees.

The sky lights a surface from a few directions, each with its own low-resolution shadow map, so
that streets, courtyards and the ground under trees and cars darken as they do under real skies.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from loc2.scenes.packed import PackedMesh
from loc2.scenes.raster import draw_shadows

Float32 = NDArray[np.float32]
Rgb = tuple[float, float, float]

SUN_MAP_SIZE = 640
SKY_MAP_SIZE = 256
SKY_DIRECTIONS = 6
SKY_FOLIAGE = 3
"""One in so many leaf cards is drawn for the sky, and so much larger."""
WARM = (1.0, 0.92, 0.78)
WHITE = (0.97, 0.985, 1.0)
"""Colours of the sun's glow and of clouds, linear RGB."""


@dataclass(frozen=True, eq=False)
class Sky:
    """A dome of radiance.

    Attributes:
        radiance: (H, W, 3) linear RGB, equirectangular: the centre of column c looks at compass
            direction ``((c + 0.5) / W - 0.5) * 360`` degrees clockwise from north, rows run from
            the zenith to the nadir. Radiance 1 is a white surface under a uniform sky of 1.
    """

    radiance: Float32

    def rotated(self, degrees: float) -> Sky:
        """Return the sky turned clockwise (seen from above), to whole columns."""
        columns = round(degrees / 360.0 * self.radiance.shape[1])
        return Sky(np.roll(self.radiance, columns, axis=1))


@dataclass(frozen=True, eq=False)
class Light:
    """The illumination of one photograph.

    Attributes:
        sky: the dome.
        sun_azimuth_deg: compass direction of the sun, degrees clockwise from north.
        sun_elevation_deg: height of the sun above the horizon, degrees.
        sun_rgb: irradiance on a surface that faces the sun; (0, 0, 0) under clouds.
        bounce: share of the light that comes back from surfaces that hide the sky.
        haze_per_m: extinction of the air, 1 / metre; far things fade to the horizon's colour.
        self_lit: true when textures already hold the light (photogrammetry): no shading at all.
    """

    sky: Sky
    sun_azimuth_deg: float = 150.0
    sun_elevation_deg: float = 45.0
    sun_rgb: Rgb = (2.2, 2.0, 1.7)
    bounce: float = 0.2
    haze_per_m: float = 0.0
    self_lit: bool = False

    @property
    def sun_direction(self) -> NDArray[np.float64]:
        """Unit vector (east, north, up) towards the sun."""
        return _direction(self.sun_azimuth_deg, self.sun_elevation_deg)


class LightField(NamedTuple):
    """A light and its shadow maps over one region, the form that compiled code reads.

    Attributes:
        sun_direction: (3,) towards the sun.
        sun_rgb: (3,) irradiance.
        sun_maps: (C, N, N) keys of the surfaces nearest to the sun, the finest map first.
        sun_views: (C, 3, 4) world to (column, row, key).
        sun_texel_m: (C,) width of a texel, metres.
        sky_directions: (K, 3) towards parts of the sky.
        sky_rgb: (K, 3) irradiance of each part on a surface that faces it.
        sky_maps: (K, n, n) keys as above.
        sky_views: (K, 3, 4) world to (column, row, key).
        bounce_rgb: (3,) radiance of what hides the sky.
        haze_rgb: (3,) colour of the horizon.
        haze_per_m: extinction.
        dome: (H, W, 3) radiance of the sky.
        self_lit: no shading.
    """

    sun_direction: Float32
    sun_rgb: Float32
    sun_maps: Float32
    sun_views: Float32
    sun_texel_m: Float32
    sky_directions: Float32
    sky_rgb: Float32
    sky_maps: Float32
    sky_views: Float32
    bounce_rgb: Float32
    haze_rgb: Float32
    haze_per_m: float
    dome: Float32
    self_lit: bool


def build_light_field(
    mesh: PackedMesh, light: Light, center: NDArray[np.float64], radii_m: tuple[float, ...]
) -> LightField:
    """Draw the shadow maps of a light.

    Args:
        mesh: what casts shadows.
        light: the light.
        center: (3,) middle of the region, metres.
        radii_m: half the width of each of the sun's maps, finest first; the sky's maps cover the
            last. Points outside are lit.

    Returns:
        The light and its maps.
    """
    sun = light.sun_direction
    has_sun = max(light.sun_rgb) > 0.0 and not light.self_lit
    sun_radii_m = list(radii_m) if has_sun else []
    sun_views, sun_maps = _shadow_maps(
        mesh, [sun] * len(sun_radii_m), center, sun_radii_m, SUN_MAP_SIZE, thin_foliage=0
    )
    directions = [] if light.self_lit else _sky_directions()
    sky_radii_m = [radii_m[-1]] * len(directions)
    sky_views, sky_maps = _shadow_maps(
        mesh, directions, center, sky_radii_m, SKY_MAP_SIZE, thin_foliage=SKY_FOLIAGE
    )
    sky_directions = np.array(directions, np.float32).reshape(-1, 3)
    sky_rgb = _sky_irradiance(light.sky, sky_directions)
    horizontal = (sky_rgb * np.maximum(sky_directions[:, 2:], 0.0)).sum(0)
    horizontal = horizontal + np.array(light.sun_rgb) * max(float(sun[2]), 0.0)
    return LightField(
        sun_direction=sun.astype(np.float32),
        sun_rgb=np.array(light.sun_rgb, np.float32) * np.float32(has_sun),
        sun_maps=sun_maps,
        sun_views=sun_views,
        sun_texel_m=np.array(sun_radii_m, np.float32) * np.float32(2.0 / SUN_MAP_SIZE),
        sky_directions=sky_directions,
        sky_rgb=sky_rgb,
        sky_maps=sky_maps,
        sky_views=sky_views,
        bounce_rgb=(light.bounce * horizontal).astype(np.float32),
        haze_rgb=_horizon_rgb(light.sky),
        haze_per_m=float(light.haze_per_m),
        dome=np.ascontiguousarray(light.sky.radiance, np.float32),
        self_lit=bool(light.self_lit),
    )


def procedural_sky(
    rng: np.random.Generator,
    *,
    clouds: float,
    sun_azimuth_deg: float,
    sun_elevation_deg: float,
    width: int = 512,
) -> Sky:
    """Return a sky with a gradient, a glow around the sun, and clouds.

    Args:
        rng: source of the clouds' shapes.
        clouds: share of the sky under cloud, 0 (clear) to 1 (overcast).
        sun_azimuth_deg: compass direction of the sun, degrees.
        sun_elevation_deg: height of the sun, degrees.
        width: columns; half as many rows.
    """
    height = width // 4  # the upper half
    azimuth = ((np.arange(width) + 0.5) / width - 0.5) * (2 * math.pi)
    elevation = (1.0 - (np.arange(height) + 0.5) / height) * (math.pi / 2)
    cos_el = np.cos(elevation)[:, None]
    z = np.broadcast_to(np.sin(elevation)[:, None], (height, width))
    rays = np.stack((cos_el * np.sin(azimuth), cos_el * np.cos(azimuth), z), -1)
    rays = rays.astype(np.float32)
    sun = _direction(sun_azimuth_deg, sun_elevation_deg).astype(np.float32)
    up = rays[:, 0, 2:]
    zenith = np.array([0.14, 0.3, 0.7]) * rng.uniform(0.7, 1.2)
    horizon = np.array([0.72, 0.82, 0.93]) * rng.uniform(0.85, 1.15)
    horizon = horizon + (0.85 - horizon) * clouds
    zenith = zenith + (horizon - zenith) * 0.7 * rng.beta(1.0, 3.0)  # dust and moisture
    zenith, horizon = zenith.astype(np.float32), horizon.astype(np.float32)
    clear = zenith + (horizon - zenith) * (1.0 - up) ** rng.uniform(2.5, 5.0)
    density, relief = _clouds(rng, rays, clouds)
    bright, dark, rough = (
        rng.uniform(0.85, 1.15),
        0.45 * rng.uniform(0.3, 1.0),
        rng.uniform(0.05, 0.2),
    )
    high = np.minimum(up[:, 0] / 0.1, 1.0) ** 0.7  # clouds fade towards the horizon
    dome = np.empty((2 * height, width, 3), np.float32)
    _blend(rays, sun, clear, high, density, relief, bright, dark, rough, dome)
    dome[height:] = (0.32, 0.31, 0.28)  # ground that the mesh does not cover
    return Sky(dome)


@njit(cache=True, nogil=True, error_model="numpy")
def _blend(rays, sun, clear, high, density, relief, bright, dark, rough, dome):  # type: ignore[no-untyped-def]
    """Write the upper rows of a dome: the clear sky of each row, the sun's glow, and clouds."""
    disc = math.cos(0.006)
    for row in range(rays.shape[0]):
        for col in range(rays.shape[1]):
            cosine = sun[0] * rays[row, col, 0] + sun[1] * rays[row, col, 1]
            cosine = min(max(cosine + sun[2] * rays[row, col, 2], 0.0), 1.0)
            glow = 0.35 * cosine**8 + 2.5 * cosine**200 + 30.0 * (cosine > disc)
            halo = 0.35 * cosine**6
            thick = density[row, col]
            lit = (bright - dark * thick) * (1.0 + rough * relief[row, col])
            share = min(thick * 1.6, 1.0) * high[row]
            for c in range(3):
                blue = clear[row, c] + glow * WARM[c]
                dome[row, col, c] = blue + (WHITE[c] * lit + halo * WARM[c] - blue) * share


def _clouds(rng: np.random.Generator, rays: Float32, clouds: float) -> tuple[Float32, Float32]:
    """Return density in [0, 1] and relief (mean 0, deviation 1) of clouds on a plane high above.

    Both come from one field of noise, cut off so that density covers the given share of the sky.
    """
    height = rays[..., 2] + np.float32(0.12)
    x = rays[..., 0] / height
    y = rays[..., 1] / height
    noise = np.zeros(x.shape, np.float32)
    size = 64
    for octave in range(5):
        grid = rng.random((size, size), np.float32)
        frequency = np.float32(0.8 * 2.0**octave)
        u = x * frequency + np.float32(rng.uniform(size, 2 * size))
        v = y * frequency + np.float32(rng.uniform(size, 2 * size))
        _add_octave(grid, u, v, 0.5**octave, noise)
    threshold = np.quantile(noise, np.clip(1.0 - clouds, 0.0, 1.0))
    relief: Float32 = (noise - noise.mean()) / (noise.std() + np.float32(1e-6))
    density = np.clip(0.8 * (noise - threshold) / (noise.std() + 1e-6), 0.0, 1.0)
    density *= min(clouds * 20.0, 1.0)  # a clear sky stays clear
    return density.astype(np.float32), relief


@njit(cache=True, nogil=True, error_model="numpy")
def _add_octave(grid, u, v, weight, noise):  # type: ignore[no-untyped-def]
    """Add the values of a periodic grid at (u, v) cells, smoothly interpolated."""
    size = len(grid)
    for i in range(noise.shape[0]):
        for j in range(noise.shape[1]):
            left, low = math.floor(u[i, j]), math.floor(v[i, j])
            s, t = u[i, j] - left, v[i, j] - low
            s, t = s * s * (3 - 2 * s), t * t * (3 - 2 * t)
            col, row = left % size, low % size
            right, high = (col + 1) % size, (row + 1) % size
            top = grid[row, col] * (1 - s) + grid[row, right] * s
            bottom = grid[high, col] * (1 - s) + grid[high, right] * s
            noise[i, j] += weight * (top * (1 - t) + bottom * t)


def _direction(azimuth_deg: float, elevation_deg: float) -> NDArray[np.float64]:
    azimuth, elevation = math.radians(azimuth_deg), math.radians(elevation_deg)
    return np.array(
        [
            math.cos(elevation) * math.sin(azimuth),
            math.cos(elevation) * math.cos(azimuth),
            math.sin(elevation),
        ]
    )


def _sky_directions() -> list[NDArray[np.float64]]:
    """Return directions that share the upper hemisphere evenly (a Fibonacci spiral)."""
    directions = []
    for k in range(SKY_DIRECTIONS):
        z = (k + 0.5) / SKY_DIRECTIONS
        directions.append(_direction(k * 137.508, math.degrees(math.asin(z))))
    return directions


def _sky_irradiance(sky: Sky, directions: Float32) -> Float32:
    """Return (K, 3) irradiance of the part of the dome that is nearest to each direction."""
    height, width = sky.radiance.shape[:2]
    step = max(1, width // 64)
    rows = np.arange(step // 2, max(height // 2, 1), step)
    columns = np.arange(step // 2, width, step)
    azimuth = ((columns + 0.5) / width - 0.5) * (2 * math.pi)
    elevation = (0.5 - (rows + 0.5) / height) * math.pi
    cos_el = np.cos(elevation)[:, None]
    z = np.broadcast_to(np.sin(elevation)[:, None], (len(rows), len(columns)))
    rays = np.stack((cos_el * np.sin(azimuth), cos_el * np.cos(azimuth), z), -1).reshape(-1, 3)
    weight = np.broadcast_to(cos_el, z.shape).reshape(-1)
    radiance = np.minimum(sky.radiance[rows][:, columns].reshape(-1, 3), 4.0)  # the sun is apart
    if len(directions) == 0:
        return np.zeros((0, 3), np.float32)
    owner = np.argmax(rays @ directions.T, axis=1)
    irradiance = np.zeros((len(directions), 3))
    for k in range(len(directions)):
        mine = owner == k
        irradiance[k] = (radiance[mine] * weight[mine, None]).sum(0)
    unit = np.bincount(owner, weight, len(directions)) @ np.maximum(directions[:, 2], 0.0)
    return (irradiance / max(float(unit), 1e-9)).astype(np.float32)


def _horizon_rgb(sky: Sky) -> Float32:
    height = sky.radiance.shape[0]
    band = sky.radiance[int(height * 0.44) : max(int(height * 0.49), int(height * 0.44) + 1)]
    horizon: Float32 = np.minimum(band, 2.0).mean(axis=(0, 1)).astype(np.float32)
    return horizon


def _shadow_maps(
    mesh: PackedMesh,
    directions: list[NDArray[np.float64]],
    center: NDArray[np.float64],
    radii_m: list[float],
    size: int,
    *,
    thin_foliage: int,
) -> tuple[Float32, Float32]:
    """Return (C, 3, 4) views and (C, size, size) maps, one for each direction and radius."""
    views = np.zeros((len(directions), 3, 4), np.float32)
    for i, (direction, radius_m) in enumerate(zip(directions, radii_m, strict=True)):
        side = np.cross(direction, [0.0, 0.0, 1.0])
        norm = float(np.linalg.norm(side))
        side = side / norm if norm > 1e-6 else np.array([1.0, 0.0, 0.0])
        axes = np.stack((side, np.cross(side, direction), direction))
        axes[:2] *= size / (2.0 * radius_m)
        views[i, :, :3] = axes
        views[i, :, 3] = -(axes @ center)
        views[i, :2, 3] += size / 2.0
    return views, draw_shadows(mesh, views, size, thin_foliage=thin_foliage)
