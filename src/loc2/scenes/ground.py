"""Painting the ground: surfaces, mottling, wear and lines become one texture, compiled.

Everything is anchored in world coordinates, so that the same blotch, patch and line is seen from
the street and from above, at whatever resolution each needs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache

import numpy as np
from numba import njit
from numpy.typing import NDArray

from loc2.scenes.noise import fractal_tile
from loc2.scenes.raster2d import Grid, draw_strokes, fill
from loc2.scenes.surfaces import Surface
from loc2.scenes.texture import linear_to_srgb, srgb_to_linear
from loc2.scenes.textures import Texture

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
UInt8 = NDArray[np.uint8]

NOISE_SIZE = 512
BLOCK = 16
"""Cells along each side of the blocks that are painted when any of them is seen."""

SCATTERED = ("asphalt", "concrete", "grass", "soil", "gravel", "litter", "water")
"""Patterns without courses or joints: every tile starts elsewhere in the texture."""

PAINTS = ("white", "yellow", "red", "green")
"""Channels that wear off."""

CHANNELS: dict[str, tuple[float, float, float]] = {
    "dust": (168, 156, 134), "soil": (132, 108, 82), "weed": (88, 100, 56), "dark": (34, 33, 32),
    "tar": (30, 30, 31), "light": (190, 184, 172), "white": (232, 232, 226),
    "yellow": (222, 172, 52), "red": (150, 74, 60), "green": (92, 138, 110),
}  # fmt: skip
"""Overlays in the order of painting, with their sRGB colours."""


@dataclass(frozen=True, eq=False)
class Rasters:
    """A plan on a grid.

    Attributes:
        index: (H, W) surface indices.
        channels: names of the channels that have strokes.
        cover: (len(channels), H, W) their coverage.
        touched: (H, W) 1 where any covers anything.
    """

    index: UInt8
    channels: tuple[str, ...]
    cover: UInt8
    touched: UInt8


@dataclass(eq=False)
class GroundPlan:
    """What covers the ground, as polygons in order of painting and strokes over them.

    Attributes:
        surfaces: kinds of ground; index 0 covers what nothing else does.
        layers: (order of painting, edges (E, 4), surface index).
        strokes: by channel, (K, 8) rows of ``draw_strokes``.
        soil_rgb: colour of the soil channel, sRGB.
    """

    surfaces: list[Surface] = field(default_factory=list)
    layers: list[tuple[int, Float64, int]] = field(default_factory=list)
    strokes: dict[str, list[Float64]] = field(default_factory=dict)
    soil_rgb: tuple[float, float, float] = CHANNELS["soil"]
    _rasters: dict[Grid, Rasters] = field(default_factory=dict, repr=False)

    def surface(self, surface: Surface) -> int:
        """Add a surface and return its index; the last is used again when 255 are there."""
        if len(self.surfaces) < 255:
            self.surfaces.append(surface)
        return len(self.surfaces) - 1

    def add(self, edges: Float64, index: int, order: int) -> None:
        """Cover a polygon with a surface, over all polygons of lower order and earlier ones."""
        if len(edges):
            self.layers.append((order, edges, index))

    def stroke(self, channel: str, rows: Float64) -> None:
        """Add strokes to a channel."""
        if len(rows):
            self.strokes.setdefault(channel, []).append(rows)

    def index_raster(self, grid: Grid) -> UInt8:
        """Return (H, W) surface indices."""
        raster = np.zeros((grid.height, grid.width), np.uint8)
        for _, edges, index in sorted(self.layers, key=lambda layer: layer[0]):
            fill(raster, grid, edges, index)
        return raster

    def coverage(self, grid: Grid, channels: Sequence[str]) -> tuple[UInt8, UInt8]:
        """Return (len(channels), H, W) coverage of some channels, and (H, W) 1 where any is."""
        touched = np.zeros((grid.height, grid.width), np.uint8)
        cover = np.zeros((len(channels), grid.height, grid.width), np.uint8)
        for i, name in enumerate(channels):
            for rows in self.strokes.get(name, []):
                draw_strokes(cover[i], touched, grid.west_m, grid.north_m, grid.cell_m, rows)
        return cover, touched

    def rasters(self, grid: Grid) -> Rasters:
        """Return the plan on a grid, kept for the next call: for when the plan is complete."""
        if grid not in self._rasters:
            channels = tuple(name for name in CHANNELS if name in self.strokes)
            self._rasters[grid] = Rasters(
                self.index_raster(grid), channels, *self.coverage(grid, channels)
            )
        return self._rasters[grid]


@dataclass(frozen=True)
class Wear:
    """How the ground looks on the day of one photograph.

    Attributes:
        dryness: added to the dryness of plants, -1 to 1.
        paint: how worn the lines are, 0 new to 1 gone.
        wet: darkening of hard surfaces, 0 to 1.
        grey: lightness of hard surfaces (age, dust), about 1.
        green: lightness of plants, about 1.
    """

    dryness: float = 0.0
    paint: float = 0.2
    wet: float = 0.0
    grey: float = 1.0
    green: float = 1.0


class GroundPainter:
    """Paints textures of a plan at any place and resolution."""

    def __init__(self, plan: GroundPlan, textures: list[Texture], noise_seed: int) -> None:
        """Keep the plan; ``textures`` holds one texture for each of its surfaces."""
        self.plan = plan
        self._textures = textures
        rng = np.random.default_rng(noise_seed)
        self._noise = _noises()
        self._shift = rng.uniform(0, 1000, 4)

    def paint(self, grid: Grid, wear: Wear, seen_uv: Float32 | None = None) -> UInt8:
        """Return the (H, W, 3) sRGB texture of a grid.

        Args:
            grid: where.
            wear: the state of the ground.
            seen_uv: (K, 3, 2) texture coordinates of the triangles that are seen; what lies
                elsewhere gets the plain colours of its surfaces. None paints everything.
        """
        table, tiles = self._tables(grid.cell_m, wear)
        plan = self.plan.rasters(grid)
        colors = np.array(
            [self.plan.soil_rgb if n == "soil" else CHANNELS[n] for n in plan.channels], np.float32
        ).reshape(-1, 3)
        out = np.empty((grid.height, grid.width, 3), np.uint8)
        worn = np.array([name in PAINTS for name in plan.channels], np.bool_)
        plain = np.clip(table[:, 4:7] * 0.65 + table[:, 7:10] * 0.35, 0.0, 1.0)
        wanted = np.full((grid.height // BLOCK + 1, grid.width // BLOCK + 1), seen_uv is None)
        if seen_uv is not None:
            _mark_blocks(seen_uv, grid.height, grid.width, wanted)
        _paint(
            out, grid.west_m, grid.north_m, grid.cell_m, plan.index, plan.cover, plan.touched,
            srgb_to_linear(colors / 255), worn, float(wear.paint), table, tiles, self._noise,
            self._shift, _TO_SRGB, wanted, np.rint(linear_to_srgb(plain) * 255).astype(np.uint8),
        )  # fmt: skip
        return out

    def _tables(self, cell_m: float, wear: Wear) -> tuple[Float64, Float32]:
        """Return (S, 20) parameters of the surfaces and (N, 3) texels of all their tiles."""
        rows: list[list[float]] = []
        gains: list[float] = []
        chunks, offset = [], 0
        known: dict[int, tuple[int, int]] = {}
        for surface, texture in zip(self.plan.surfaces, self._textures, strict=True):
            key = id(texture)
            if key not in known:
                tile = _ratio_tile(texture, cell_m)
                known[key] = (offset, tile.shape[0])
                chunks.append(tile.reshape(-1, 3))
                offset += tile.shape[0] ** 2
            a, b = np.array(surface.color), np.array(surface.other)
            if surface.straw is not None:
                straw = np.array(surface.straw)
                dry = float(np.clip(surface.dry + wear.dryness, 0, 1))
                a, b = a + (straw - a) * dry, b + (straw - b) * dry
                gain = wear.green
            else:
                gain = wear.grey * (1 - 0.45 * wear.wet)
            start, size = known[key]
            angle = math.radians(surface.rows_deg)
            spin = float(len(rows)) * 0.7 if surface.soft else 0.0
            rows.append([
                start, size, texture.extent_m, surface.grain, *a, *b, surface.mottle_m,
                surface.mottle,
                float(surface.soft), surface.rows_m, math.cos(angle), math.sin(angle),
                surface.rows, math.cos(spin), math.sin(spin),
                float(surface.pattern in SCATTERED),
            ])  # fmt: skip
            gains.append(gain)
        table = np.array(rows)
        table[:, 4:10] = srgb_to_linear(table[:, 4:10] / 255) * np.array(gains)[:, None]
        return table, np.concatenate(chunks)


def _ratio_tile(texture: Texture, cell_m: float) -> Float32:
    """Return the (n, n, 3) texture divided by its mean, its texels about one cell large."""
    info = texture.material.pyramid[1]
    wanted = texture.extent_m / cell_m
    level = next((i for i, (_, h, _) in enumerate(info) if h <= wanted * 1.4), len(info) - 1)
    return _ratio_level(texture, level)


@lru_cache(maxsize=512)
def _ratio_level(texture: Texture, level: int) -> Float32:
    """Return one mip level of a texture divided by the texture's mean."""
    texels, info = texture.material.pyramid
    start, height, width = (int(v) for v in info[level])
    pixels = texels[start : start + height * width, :3].reshape(height, width, 3)
    return np.asarray(srgb_to_linear(pixels.astype(np.float32) / 255) / texture.mean, np.float32)


@cache
def _noises() -> Float32:
    """Return (2, N, N) noise, broad and fine, the same for every world (worlds shift it)."""
    rng = np.random.default_rng(20240)
    broad = fractal_tile(rng, NOISE_SIZE, 1.35, 2)
    return np.stack((broad, fractal_tile(rng, NOISE_SIZE, 0.75, 4)))


_TO_SRGB: UInt8 = np.rint(linear_to_srgb((np.arange(2049) / 2048.0) ** 2) * 255).astype(np.uint8)
"""sRGB bytes by 2048 times the square root of the linear value."""


@njit(cache=True, nogil=True, error_model="numpy")
def _mark_blocks(uv, rows, cols, wanted):  # type: ignore[no-untyped-def]
    """Mark the blocks of a texture that triangles touch, and those around them."""
    for i in range(len(uv)):
        left = min(uv[i, 0, 0], uv[i, 1, 0], uv[i, 2, 0]) * cols
        right = max(uv[i, 0, 0], uv[i, 1, 0], uv[i, 2, 0]) * cols
        low = min(uv[i, 0, 1], uv[i, 1, 1], uv[i, 2, 1])
        high = max(uv[i, 0, 1], uv[i, 1, 1], uv[i, 2, 1])
        r0 = max(int((1.0 - high) * rows) // BLOCK - 1, 0)
        r1 = min(int((1.0 - low) * rows) // BLOCK + 1, wanted.shape[0] - 1)
        c0 = max(int(left) // BLOCK - 1, 0)
        c1 = min(int(right) // BLOCK + 1, wanted.shape[1] - 1)
        for row in range(r0, r1 + 1):
            for col in range(c0, c1 + 1):
                wanted[row, col] = True


@njit(cache=True, nogil=True, error_model="numpy")
def _texel(a, b, n, scattered):  # type: ignore[no-untyped-def]
    """Return the index of the texel at (a, b) repeats in a texture of n by n."""
    low_a, low_b = math.floor(a), math.floor(b)
    a, b = a - low_a, b - low_b
    if scattered > 0.5:
        mixed = (int(low_a) * 73856093) ^ (int(low_b) * 19349663)
        a += ((mixed >> 4) & 1023) / 1024.0
        b += ((mixed >> 14) & 1023) / 1024.0
        a -= a >= 1.0
        b -= b >= 1.0
    return min(int(b * n), n - 1) * n + min(int(a * n), n - 1)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz"})
def _paint(  # type: ignore[no-untyped-def]
    out, west, north, cell, index, cover, touched, colors, worn, paint_wear, table, tiles, noise,
    shift, to_srgb, wanted, plain,
):  # fmt: skip
    rows, cols = index.shape
    size = NOISE_SIZE
    mask = size - 1
    shift0, shift1, shift2, shift3 = shift
    broad = size / 210.0
    stain = size / 13.0
    fine = size / 47.0
    for row in range(rows):
        y = north - (row + 0.5) * cell
        for col in range(cols):
            x = west + (col + 0.5) * cell
            s = index[row, col]
            if not wanted[row // BLOCK, col // BLOCK]:
                for k in range(3):
                    out[row, col, k] = plain[s, k]
                continue
            n_fine = noise[1, int(y * fine + shift0 * 7) & mask, int(x * fine + shift1 * 7) & mask]
            n_stain = noise[1, int(y * stain + shift2) & mask, int(x * stain + shift3) & mask]
            if table[s, 12] > 0.5:  # ragged borders
                r2 = row + int(0.22 * n_stain / cell)
                c2 = col + int(0.22 * n_fine / cell)
                if 0 <= r2 < rows and 0 <= c2 < cols and table[index[r2, c2], 12] > 0.5:
                    s = index[r2, c2]
            scale = size / table[s, 10]
            u = x * 0.8 + y * 0.6 + shift0 * 3
            v = y * 0.8 - x * 0.6 + shift1 * 3
            n_mottle = noise[0, int(v * scale) & mask, int(u * scale) & mask]
            n_broad = noise[0, int(y * broad + shift2) & mask, int(x * broad + shift3) & mask]
            share = 0.35 + 0.4 * table[s, 11] * n_mottle
            if table[s, 12] > 0.5:
                share += 0.18 * n_fine * table[s, 11]
            share = min(max(share, 0.0), 1.0)
            # two turned copies of the texture, mixed by noise, do not show its period
            n = int(table[s, 1])
            start = int(table[s, 0])
            a = (x * table[s, 17] + y * table[s, 18]) / table[s, 2]
            b = (y * table[s, 17] - x * table[s, 18]) / table[s, 2]
            t0 = start + _texel(a, b, n, table[s, 19])
            gain = table[s, 3]
            light = 1.0 + 0.07 * n_broad + 0.035 * n_stain + 0.03 * n_fine
            if table[s, 12] > 0.5:
                a2 = (a * 0.31 - b * 0.95) * 0.83 + 0.37
                b2 = (b * 0.31 + a * 0.95) * 0.83 + 0.61
                t1 = start + _texel(a2, b2, n, table[s, 19])
                w = min(max(0.5 + 0.6 * n_fine, 0.0), 1.0)
                d0 = (tiles[t0, 0] - 1) * (1 - w) + (tiles[t1, 0] - 1) * w
                d1 = (tiles[t0, 1] - 1) * (1 - w) + (tiles[t1, 1] - 1) * w
                d2 = (tiles[t0, 2] - 1) * (1 - w) + (tiles[t1, 2] - 1) * w
            else:
                d0, d1, d2 = tiles[t0, 0] - 1, tiles[t0, 1] - 1, tiles[t0, 2] - 1
            if table[s, 13] > 0.0 and table[s, 13] > 2.0 * cell:
                across = (x * table[s, 14] + y * table[s, 15] + 0.5 * n_broad) / table[s, 13]
                light += table[s, 16] * (1.0 + 0.4 * n_fine) * math.sin(6.2832 * across)
            red = (table[s, 4] + (table[s, 7] - table[s, 4]) * share) * light * (1 + gain * d0)
            green = (table[s, 5] + (table[s, 8] - table[s, 5]) * share) * light * (1 + gain * d1)
            blue = (table[s, 6] + (table[s, 9] - table[s, 6]) * share) * light * (1 + gain * d2)
            for k in range(cover.shape[0] if touched[row, col] else 0):
                value = cover[k, row, col]
                if value == 0:
                    continue
                alpha = value / 255.0
                if worn[k]:
                    keep = 1.15 - paint_wear * (1.0 + 0.55 * n_stain + 0.45 * n_fine)
                    alpha *= min(max(keep, 0.0), 1.0)
                    red += (colors[k, 0] * light * (1 + 0.3 * d0) - red) * alpha
                    green += (colors[k, 1] * light * (1 + 0.3 * d1) - green) * alpha
                    blue += (colors[k, 2] * light * (1 + 0.3 * d2) - blue) * alpha
                else:
                    alpha *= min(max(0.8 + 0.35 * n_stain, 0.0), 1.0)
                    red += (colors[k, 0] * (1 + d0) - red) * alpha
                    green += (colors[k, 1] * (1 + d1) - green) * alpha
                    blue += (colors[k, 2] * (1 + d2) - blue) * alpha
            out[row, col, 0] = to_srgb[int(math.sqrt(min(max(red, 0.0), 1.0)) * 2048)]
            out[row, col, 1] = to_srgb[int(math.sqrt(min(max(green, 0.0), 1.0)) * 2048)]
            out[row, col, 2] = to_srgb[int(math.sqrt(min(max(blue, 0.0), 1.0)) * 2048)]
