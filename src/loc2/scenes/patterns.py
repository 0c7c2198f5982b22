"""Procedural textures of surfaces: each a function of a generator that returns sRGB pixels.

Every pattern tiles. Colours are near those of the real material; scenes tint them further.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from loc2.scenes.facades import door, garage, shopfront, window
from loc2.scenes.noise import cellular_tile, fractal_tile

Float32 = NDArray[np.float32]
UInt8 = NDArray[np.uint8]
SIZE = 256


def _finish(rgb: NDArray[np.floating]) -> UInt8:
    pixels: UInt8 = np.clip(np.rint(rgb), 0, 255).astype(np.uint8)
    return pixels


def _grey(field: NDArray[np.floating], color: tuple[float, float, float]) -> NDArray[np.float64]:
    return np.asarray(field)[..., None] * np.array(color, np.float64)


def _roll_light(height: Float32) -> Float32:
    """Return relief shading of a height field lit from the upper left."""
    return np.asarray(height - np.roll(height, (2, 2), (0, 1)), np.float32)


def asphalt(rng: np.random.Generator) -> UInt8:
    """Bitumen with chippings."""
    stones = fractal_tile(rng, SIZE, 0.15, 24)
    broad = fractal_tile(rng, SIZE, 1.2, 3)
    value = 96 * (1 + rng.uniform(0.1, 0.2) * stones + 0.04 * broad)
    value += 60 * (stones > rng.uniform(2.0, 2.6))
    return _finish(_grey(value, (1.0, 0.99, 0.97)))


def concrete(rng: np.random.Generator) -> UInt8:
    """Cast concrete with pores and water marks."""
    value = 165 * (
        1 + 0.05 * fractal_tile(rng, SIZE, 0.4, 8) + 0.05 * fractal_tile(rng, SIZE, 1.4, 2)
    )
    value -= 25 * (fractal_tile(rng, SIZE, 0.2, 30) > 2.6)
    return _finish(_grey(value, (1.0, 0.985, 0.95)))


def slabs(rng: np.random.Generator) -> UInt8:
    """Square or staggered paving slabs with joints."""
    rows = int(rng.choice([4, 5, 6, 8]))
    ratio = int(rng.choice([1, 1, 2]))
    columns = max(rows // ratio, 2)
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    r = (y * rows).astype(int)
    shift = (r % 2) * 0.5 if rng.random() < 0.5 else 0.0 * r
    cx = x * columns + shift
    c = np.floor(cx).astype(int) % columns
    tone = rng.normal(1.0, rng.uniform(0.03, 0.09), (rows, columns))[r, c]
    joint = np.minimum(
        np.abs((y * rows) % 1 - 0.5) * -1 + 0.5, (np.abs(cx % 1 - 0.5) * -1 + 0.5) / ratio
    )
    dark = np.clip(joint / (0.02 * rows / 4), 0, 1)
    value = 160 * tone * (0.62 + 0.38 * dark) * (1 + 0.05 * fractal_tile(rng, SIZE, 0.5, 4))
    return _finish(_grey(value, (1.0, 0.98, 0.94)))


def brick_paving(rng: np.random.Generator) -> UInt8:
    """Clay or concrete block paving."""
    return _bricks(rng, 16, 8, (156.0, 110.0, 92.0), 0.12, 0.75)


def brick(rng: np.random.Generator) -> UInt8:
    """Brickwork in running bond; a tile is 2 m wide and high."""
    palette = [(150, 82, 62), (168, 104, 78), (122, 66, 52), (176, 140, 104), (196, 170, 132),
               (112, 92, 82), (184, 120, 88)]  # fmt: skip
    color = palette[int(rng.integers(len(palette)))]
    return _bricks(rng, 26, 9, color, float(rng.uniform(0.06, 0.16)), float(rng.uniform(0.9, 1.35)))


def _bricks(
    rng: np.random.Generator,
    rows: int,
    columns: int,
    color: tuple[float, float, float],
    spread: float,
    mortar: float,
) -> UInt8:
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    r = (y * rows).astype(int)
    cx = x * columns + (r % 2) * 0.5
    c = np.floor(cx).astype(int) % columns
    tone = rng.normal(1.0, spread, (rows, columns))[r, c]
    warm = rng.normal(0.0, spread * 0.5, (rows, columns))[r, c]
    rgb = np.array(color) * tone[..., None] * (1 + warm[..., None] * np.array([0.5, 0.0, -0.5]))
    seam = ((y * rows) % 1 < 0.16) | (cx % 1 < 0.055)
    grey = np.array([172.0, 164.0, 150.0]) * mortar
    rgb = np.where(seam[..., None], grey * 0.5 + rgb * 0.5, rgb)
    rgb *= 1 + 0.06 * fractal_tile(rng, SIZE, 0.3, 6)[..., None]
    return _finish(rgb * (1 + 0.05 * fractal_tile(rng, SIZE, 1.5, 1)[..., None]))


def plaster(rng: np.random.Generator) -> UInt8:
    """Rendered wall with faint stains that run down."""
    streaks = fractal_tile(rng, SIZE, 0.9, 2)
    streaks = np.asarray(np.mean([np.roll(streaks, k * 6, 0) for k in range(12)], 0))
    value = 215 * (1 + 0.02 * fractal_tile(rng, SIZE, 0.3, 8) + 0.05 * streaks)
    return _finish(_grey(value, (1.0, 0.985, 0.95)))


def siding(rng: np.random.Generator) -> UInt8:
    """Horizontal boards; a tile is 2 m high."""
    rows = int(rng.integers(10, 18))
    y = (np.arange(SIZE) / SIZE * rows) % 1
    shade = np.where(y > 0.88, 0.62, 1.0 - 0.08 * y)[:, None]
    value = 210 * shade * (1 + 0.015 * fractal_tile(rng, SIZE, 0.5, 3))
    return _finish(_grey(value, (1.0, 0.99, 0.97)))


def stone(rng: np.random.Generator) -> UInt8:
    """Coursed ashlar blocks."""
    rows, columns = int(rng.integers(5, 9)), int(rng.integers(3, 5))
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    r = (y * rows).astype(int)
    cx = x * columns + rng.random(rows)[r]
    c = np.floor(cx).astype(int) % columns
    tone = rng.normal(1.0, 0.06, (rows, columns))[r, c]
    seam = ((y * rows) % 1 < 0.05) | (cx % 1 < 0.03)
    value = 178 * tone * np.where(seam, 0.72, 1.0) * (1 + 0.06 * fractal_tile(rng, SIZE, 0.7, 2))
    return _finish(_grey(value, (1.0, 0.96, 0.88)))


def panels(rng: np.random.Generator) -> UInt8:
    """Concrete or metal cladding panels."""
    rows, columns = int(rng.choice([2, 3, 4])), int(rng.choice([1, 2, 3]))
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    seam = ((y * rows) % 1 < 0.02 * rows / 2) | ((x * columns) % 1 < 0.015 * columns)
    tone = rng.normal(1.0, 0.02, (rows, columns))
    tone = tone[(y * rows).astype(int), (x * columns).astype(int)]
    value = 190 * tone * np.where(seam, 0.6, 1.0) * (1 + 0.03 * fractal_tile(rng, SIZE, 1.2, 1))
    return _finish(_grey(value, (1.0, 1.0, 0.99)))


def roof_tiles(rng: np.random.Generator) -> UInt8:
    """Clay or concrete tiles; a tile of the texture is 3 m."""
    rows, columns = 10, int(rng.choice([10, 12, 14]))
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    r = (y * rows).astype(int)
    cx = x * columns + (r % 2) * (0.5 if rng.random() < 0.5 else 0.0)
    c = np.floor(cx).astype(int) % columns
    tone = rng.normal(1.0, rng.uniform(0.05, 0.14), (rows, columns))[r, c]
    edge = np.where((y * rows) % 1 > 0.8, 0.55, 1.0)
    wave = 1 + 0.22 * np.sin(2 * np.pi * cx)
    palette = [(158, 92, 68), (140, 76, 58), (120, 104, 92), (92, 80, 74), (172, 116, 84),
               (86, 88, 92), (134, 96, 74)]  # fmt: skip
    rgb = np.array(palette[int(rng.integers(len(palette)))]) * (tone * edge * wave)[..., None]
    moss = fractal_tile(rng, SIZE, 1.3, 1)[..., None]
    return _finish(rgb * (1 + 0.1 * moss * np.array([1.0, 0.7, 0.9])))


def shingles(rng: np.random.Generator) -> UInt8:
    """Asphalt shingles or slates; a tile of the texture is 3 m."""
    rows, columns = 20, 12
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    r = (y * rows).astype(int)
    cx = x * columns + rng.random(rows)[r]
    c = np.floor(cx).astype(int) % columns
    tone = rng.normal(1.0, rng.uniform(0.08, 0.18), (rows, columns))[r, c]
    edge = np.where((y * rows) % 1 > 0.85, 0.65, 1.0) * np.where(cx % 1 < 0.05, 0.75, 1.0)
    palette = [(96, 92, 90), (112, 96, 84), (84, 84, 88), (130, 116, 104), (78, 74, 72),
               (104, 84, 72), (120, 120, 122)]  # fmt: skip
    rgb = np.array(palette[int(rng.integers(len(palette)))]) * (tone * edge)[..., None]
    return _finish(rgb * (1 + 0.09 * fractal_tile(rng, SIZE, 1.2, 1)[..., None]))


def sheet_metal(rng: np.random.Generator) -> UInt8:
    """Profiled or standing-seam metal; the ribs run up the texture, a tile is 3 m."""
    ribs = int(rng.choice([6, 8, 12, 16]))
    x = (np.arange(SIZE) / SIZE * ribs) % 1
    profile = np.where(x < 0.12, 0.72, np.where(x < 0.24, 1.12, 1.0))[None]
    stain = fractal_tile(rng, SIZE, 1.4, 1)
    stain = np.asarray(np.mean([np.roll(stain, k * 8, 0) for k in range(16)], 0))
    value = 176 * profile * (1 + 0.09 * stain + 0.03 * fractal_tile(rng, SIZE, 0.6, 4))
    return _finish(_grey(value, (0.98, 1.0, 1.02)))


def flat_roof(rng: np.random.Generator) -> UInt8:
    """Felt, membrane or gravel on a flat roof, with ponding; a tile is 16 m."""
    base = float(rng.choice([95, 130, 165, 195]))
    pond = fractal_tile(rng, SIZE, 1.5, 1)
    value = base * (1 + 0.14 * np.clip(pond, -2, 1.2) + 0.05 * fractal_tile(rng, SIZE, 0.2, 20))
    seams = (np.arange(SIZE) % int(rng.choice([16, 32, 43]))) < 1
    value = np.where(seams[:, None], value * rng.uniform(0.72, 0.95), value)
    return _finish(_grey(value, (1.0, 0.99, 0.96)))


def grass(rng: np.random.Generator) -> UInt8:
    """Turf."""
    blades = fractal_tile(rng, SIZE, 0.25, 12)
    clumps = fractal_tile(rng, SIZE, 0.9, 4)
    light = 1 + 0.2 * blades + 0.12 * clumps
    yellow = fractal_tile(rng, SIZE, 0.7, 4)[..., None] * np.array([9.0, 3.0, 1.0])
    return _finish(_grey(light, (92, 112, 58)) + yellow)


def soil(rng: np.random.Generator) -> UInt8:
    """Bare earth with clods and small stones."""
    clods = _roll_light(fractal_tile(rng, SIZE, 1.1, 3))
    value = 1 + 0.3 * clods + 0.1 * fractal_tile(rng, SIZE, 0.4, 8)
    return _finish(_grey(value, (146, 118, 88)))


def gravel(rng: np.random.Generator) -> UInt8:
    """Loose stones."""
    inner, border, owner = cellular_tile(rng, SIZE, 420)
    tone = rng.normal(1.0, 0.16, 420)[owner]
    value = tone * (0.55 + 0.5 * np.clip(border * 60, 0, 1)) * (1.05 - 4 * inner)
    return _finish(_grey(value, (150, 140, 126)))


def litter(rng: np.random.Generator) -> UInt8:
    """Forest floor: leaves, needles and twigs."""
    _, border, owner = cellular_tile(rng, SIZE, 500)
    tone = rng.normal(1.0, 0.28, 500)[owner]
    hue = rng.normal(0.0, 0.18, 500)[owner]
    rgb = np.array([118.0, 96.0, 66.0]) * tone[..., None]
    rgb = rgb * (1 + hue[..., None] * np.array([0.6, 0.0, -0.6]))
    rgb *= (0.6 + 0.4 * np.clip(border * 80, 0, 1))[..., None]
    return _finish(rgb * (1 + 0.15 * fractal_tile(rng, SIZE, 0.8, 3)[..., None]))


def bark(rng: np.random.Generator) -> UInt8:
    """Furrowed bark, the furrows run up the texture."""
    field = fractal_tile(rng, SIZE, 0.7, 4)
    field = np.asarray(np.mean([np.roll(field, k * 3, 0) for k in range(10)], 0)) * 2
    return _finish(_grey(1 + 0.25 * field, (112, 98, 82)))


def water(rng: np.random.Generator) -> UInt8:
    """Still or rippled water."""
    return _finish(_grey(1 + 0.05 * fractal_tile(rng, SIZE, 0.8, 3), (62, 78, 76)))


def plain(rng: np.random.Generator) -> UInt8:
    """An even white surface, for tints (paint, plastic)."""
    return np.full((8, 8, 3), 255, np.uint8)


PATTERNS: dict[str, Callable[[np.random.Generator], UInt8]] = {
    "asphalt": asphalt, "concrete": concrete, "slabs": slabs, "brick_paving": brick_paving,
    "brick": brick, "plaster": plaster, "siding": siding, "stone": stone, "panels": panels,
    "roof_tiles": roof_tiles, "shingles": shingles, "sheet_metal": sheet_metal,
    "flat_roof": flat_roof, "grass": grass, "soil": soil, "gravel": gravel, "litter": litter,
    "bark": bark, "water": water, "plain": plain, "window": window, "door": door,
    "garage": garage, "shopfront": shopfront,
}  # fmt: skip
"""Every pattern by name."""

EXTENT_M: dict[str, float] = {
    "asphalt": 2.5, "concrete": 3.0, "slabs": 3.0, "brick_paving": 1.6, "brick": 2.0,
    "plaster": 4.0, "siding": 2.0, "stone": 3.0, "panels": 4.0, "roof_tiles": 3.0,
    "shingles": 3.0, "sheet_metal": 3.0, "flat_roof": 16.0, "grass": 3.0, "soil": 3.0,
    "gravel": 2.0, "litter": 3.0, "bark": 1.2, "water": 6.0, "plain": 1.0,
    "window": 1.0, "door": 1.0, "garage": 1.0, "shopfront": 1.0,
}  # fmt: skip
"""Width and height of one tile of each pattern, metres."""
