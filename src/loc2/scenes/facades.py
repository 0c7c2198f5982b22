"""Procedural windows, doors and whole storeys of larger buildings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loc2.scenes.noise import fractal_tile

UInt8 = NDArray[np.uint8]
Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class FacadeSize:
    """How much wall a facade texture shows, metres."""

    width_m: float
    height_m: float


def _bytes(rgb: Float64) -> UInt8:
    return np.clip(np.rint(rgb), 0, 255).astype(np.uint8)


def _glass(rng: np.random.Generator, height: int, width: int) -> Float64:
    """Return a pane: dark rooms, a reflection of the sky above, sometimes a blind or curtain."""
    base = np.array([46.0, 54.0, 62.0]) * rng.uniform(0.5, 1.5)
    sky = np.array([150.0, 170.0, 190.0]) * rng.uniform(0.3, 1.0)
    t = np.clip(np.linspace(1.0, -0.4, height) * rng.uniform(0.2, 0.9), 0, 1)[:, None, None]
    pane = np.broadcast_to(base + (sky - base) * t, (height, width, 3)).copy()
    kind = rng.random()
    if kind < 0.3:
        drop = int(height * rng.uniform(0.2, 0.95))
        pane[:drop] = np.array([205.0, 200.0, 188.0]) * rng.uniform(0.6, 1.0)
    elif kind < 0.5:
        edge = max(1, int(width * rng.uniform(0.1, 0.3)))
        cloth = np.array([200.0, 192.0, 178.0]) * rng.uniform(0.5, 1.0)
        pane[:, :edge], pane[:, width - edge :] = cloth, cloth
    return pane


def window(rng: np.random.Generator) -> UInt8:
    """A framed window with glazing bars."""
    size = 64
    frame = np.array([232.0, 230.0, 224.0]) if rng.random() < 0.7 else rng.uniform(40, 140, 3)
    image = np.broadcast_to(frame, (size, size, 3)).copy()
    columns, lines = int(rng.choice([1, 2, 2, 3])), int(rng.choice([1, 1, 2]))
    bar, border = int(rng.integers(1, 4)), int(rng.integers(3, 6))
    pane = _glass(rng, size, size)
    inner = size - 2 * border
    for i in range(lines):
        for j in range(columns):
            r0 = border + i * inner // lines + bar * (i > 0)
            r1 = border + (i + 1) * inner // lines
            c0 = border + j * inner // columns + bar * (j > 0)
            c1 = border + (j + 1) * inner // columns
            image[r0:r1, c0:c1] = pane[r0:r1, c0:c1]
    image[-3:] = frame * 0.8
    return _bytes(image)


def door(rng: np.random.Generator) -> UInt8:
    """A front door."""
    color = np.array([(120, 40, 36), (40, 60, 84), (60, 74, 58), (190, 186, 176), (96, 68, 48),
                      (40, 40, 44)][int(rng.integers(6))], np.float64)  # fmt: skip
    image = np.broadcast_to(color, (64, 32, 3)).copy()
    image[:3], image[:, :2], image[:, -2:] = 222.0, 222.0, 222.0
    for top, bottom in ((8, 28), (34, 58)):
        image[top:bottom, 7:25] *= 0.8
    if rng.random() < 0.5:
        image[8:26, 8:24] = _glass(rng, 18, 16)
    return _bytes(image)


def garage(rng: np.random.Generator) -> UInt8:
    """A garage door of horizontal panels."""
    color = np.array([220.0, 216.0, 206.0]) * rng.uniform(0.45, 1.05)
    image = np.broadcast_to(color, (64, 96, 3)).copy()
    for row in range(0, 64, int(rng.choice([4, 8, 16]))):
        image[row] *= 0.72
    image[:3] *= 0.6
    return _bytes(image)


def shopfront(rng: np.random.Generator) -> UInt8:
    """Shop windows under a sign."""
    size = 128
    image = np.empty((size, 2 * size, 3))
    image[:] = rng.uniform(50, 190, 3)
    for k in range(4):
        left = k * 64
        image[36:, left + 3 : left + 61] = _glass(rng, size - 36, 58) * rng.uniform(0.5, 1.0)
        goods = rng.uniform(20, 200, (12, 8, 3)).repeat(6, 0).repeat(7, 1)
        image[50:122, left + 4 : left + 60] = (
            0.65 * image[50:122, left + 4 : left + 60] + 0.35 * goods
        )
    image[4:30] = rng.uniform(20, 220, 3)
    for left in range(20, 230, 60):
        image[10:24, left : left + int(rng.integers(20, 50))] = rng.uniform(150, 250, 3)
    return _bytes(image)


def facade(rng: np.random.Generator) -> tuple[UInt8, FacadeSize]:
    """Four storeys by four bays of a larger building.

    Returns:
        (512, 512, 3) pixels that tile, and the size of wall that they show.
    """
    bays, storeys, size = 4, 4, 512
    cell = size // bays
    bay_m, storey_m = float(rng.uniform(2.6, 4.2)), float(rng.uniform(2.9, 3.9))
    kind = str(rng.choice(["punched", "punched", "punched", "ribbon", "curtain", "balcony"]))
    palettes = [(188, 176, 154), (150, 92, 72), (206, 198, 184), (128, 124, 120), (172, 122, 92),
                (216, 212, 206), (98, 74, 64), (160, 152, 138)]  # fmt: skip
    wall = np.array(palettes[int(rng.integers(len(palettes)))], np.float64) * rng.uniform(0.8, 1.1)
    image = np.broadcast_to(wall, (size, size, 3)).copy()
    grain = fractal_tile(rng, size, 0.4, 8)[..., None]
    stain = fractal_tile(rng, size, 1.4, 1)[..., None]
    image *= 1 + 0.04 * grain + 0.04 * stain
    if rng.random() < 0.5 and kind == "punched":
        image[:: int(rng.choice([4, 6, 10]))] *= 0.9
    frame = np.array([225.0, 224.0, 220.0]) if rng.random() < 0.5 else np.array([52.0, 54.0, 58.0])
    low, high = rng.uniform(0.16, 0.3), rng.uniform(0.76, 0.9)
    side = float(rng.uniform(0.12, 0.3))
    lintel = float(rng.uniform(0.75, 1.25))
    for i in range(storeys):
        for j in range(bays):
            top, left = i * cell, j * cell
            if kind == "curtain":
                r0, r1, c0, c1 = top + 3, top + cell - 3, left + 2, left + cell - 2
            elif kind == "ribbon":
                r0, r1 = top + int(cell * (1 - high)), top + int(cell * (1 - low))
                c0, c1 = left + 1, left + cell - 1
            else:
                r0, r1 = top + int(cell * (1 - high)), top + int(cell * (1 - low))
                c0, c1 = left + int(cell * side), left + int(cell * (1 - side))
            image[max(r0 - 8, 0) : r0, c0:c1] *= lintel
            image[r1 : r1 + 5, max(c0 - 4, 0) : c1 + 4] *= 1.12
            image[r0:r1, c0:c1] = frame
            panes = 1 if c1 - c0 < 40 else 2
            for k in range(panes):
                p0 = c0 + 3 + k * (c1 - c0) // panes
                p1 = c0 - 3 + (k + 1) * (c1 - c0) // panes
                image[r0 + 3 : r1 - 3, p0:p1] = _glass(rng, r1 - r0 - 6, p1 - p0)
            if kind == "curtain":
                image[r1 - cell // 4 : r1, c0:c1] = wall * 0.6
            if kind == "balcony" and j % 2 == 0:
                image[r1 - 34 : r1 + 4, max(c0 - 12, 0) : c1 + 12] *= 0.5
                image[r1 - 34 : r1 - 31, max(c0 - 12, 0) : c1 + 12] = 200.0
        if rng.random() < 0.3:
            image[i * cell : i * cell + 4] *= 0.75
    return _bytes(image), FacadeSize(bays * bay_m, storeys * storey_m)
