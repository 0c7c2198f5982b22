"""Cut-out textures of foliage: clusters of leaves, needles, fronds and bare twigs."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from loc2.scenes.mesh import Material

UInt8 = NDArray[np.uint8]
VARIANTS = 5
SIZE = 128
KINDS = ("broad", "slender", "needles", "frond", "twigs", "grass")


def leaf_material(rng: np.random.Generator, kind: str) -> Material:
    """Return one of the leaf textures of a kind: grey, to be tinted with the leaves' colour."""
    return _variant(kind, int(rng.integers(VARIANTS)))


@cache
def _variant(kind: str, variant: int) -> Material:
    rng = np.random.default_rng([313, KINDS.index(kind), variant])
    shade = np.full((SIZE, SIZE), 150.0)
    alpha = np.zeros((SIZE, SIZE), np.uint8)
    if kind == "frond":
        _frond(rng, shade, alpha)
    elif kind == "grass":
        for _ in range(150):
            foot = np.array([rng.uniform(0.04, 0.96) * SIZE, SIZE - 2.0])
            rise = rng.uniform(0.25, 0.95) * SIZE / 2 * np.sin(np.pi * foot[0] / SIZE) ** 0.5
            lean = rng.normal() * 0.25
            spot = foot - np.array([-np.sin(lean), np.cos(lean)]) * rise
            light = 255 * rng.uniform(0.5, 1.0)
            _leaf(shade, alpha, spot, np.pi / 2 + lean, rise, rng.uniform(1.0, 2.2), light)
    elif kind == "twigs":
        for _ in range(34):
            spot = rng.uniform(0.15, 0.85, 2) * SIZE
            angle = rng.normal() * 0.7 + np.pi / 2
            _leaf(shade, alpha, spot, angle, rng.uniform(10, 34), 0.55, 120.0)
    else:
        count, long, wide = {
            "broad": (170, 9.0, 5.0), "slender": (200, 13.0, 2.2), "needles": (320, 11.0, 1.3),
        }[kind]  # fmt: skip
        clumps = rng.uniform(0.22, 0.78, (int(rng.integers(5, 10)), 2))
        for _ in range(count):
            hub = clumps[int(rng.integers(len(clumps)))]
            spot = np.clip(hub + rng.normal(size=2) * 0.13, 0.04, 0.96) * SIZE
            angle = rng.uniform(0, np.pi) if kind != "slender" else rng.normal() * 0.5 + np.pi / 2
            _leaf(shade, alpha, spot, angle, long * rng.uniform(0.6, 1.3),
                  wide * rng.uniform(0.7, 1.3), 255 * rng.uniform(0.45, 1.0))  # fmt: skip
    warm = np.array([1.0, 1.0, 0.94])
    texture = np.clip(shade[..., None] * warm, 0, 255).astype(np.uint8)
    return Material(texture, alpha)


def _leaf(
    shade: NDArray[np.float64], alpha: UInt8, spot: NDArray[np.float64], angle: float, long: float,
    wide: float, light: float,
) -> None:  # fmt: skip
    """Draw a pointed ellipse."""
    reach = int(long) + 2
    r0, c0 = int(spot[1]) - reach, int(spot[0]) - reach
    rows = np.arange(max(r0, 0), min(r0 + 2 * reach, SIZE))
    cols = np.arange(max(c0, 0), min(c0 + 2 * reach, SIZE))
    if len(rows) == 0 or len(cols) == 0:
        return
    dy, dx = rows[:, None] - spot[1], cols[None] - spot[0]
    u = (dx * np.cos(angle) + dy * np.sin(angle)) / long
    v = (dy * np.cos(angle) - dx * np.sin(angle)) / wide
    inside = np.abs(v) < np.clip(1 - u * u, 0, 1)
    window = np.ix_(rows, cols)
    vein = 1.0 - 0.2 * (np.abs(v) < 0.15) - 0.12 * (v > 0)
    shade[window] = np.where(inside, light * vein, shade[window])
    alpha[window] = np.where(inside, 255, alpha[window])


def _frond(rng: np.random.Generator, shade: NDArray[np.float64], alpha: UInt8) -> None:
    for row in range(4, SIZE - 2, 3):
        share = row / SIZE
        length = SIZE * 0.48 * np.sin(np.pi * (0.12 + 0.85 * share))
        for side in (-1, 1):
            spot = np.array([SIZE / 2 + side * length / 2, SIZE - row - length * 0.2])
            _leaf(shade, alpha, spot, -side * 0.45, length / 2, 1.6, 255 * rng.uniform(0.5, 1.0))
    alpha[:, SIZE // 2 - 1 : SIZE // 2 + 1] = 255
