"""Smooth random fields, periodic, that textures and the ground are mottled with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]


def fractal_tile(rng: np.random.Generator, size: int, slope: float, low_cut: int = 1) -> Float32:
    """Return (size, size) periodic noise of zero mean and unit deviation.

    Args:
        rng: source.
        size: rows and columns.
        slope: amplitude falls as frequency to the power of -slope; 0 is white, 2 very smooth.
        low_cut: frequencies below this many per tile are left out, which hides repetition.
    """
    fy = np.fft.fftfreq(size, 1 / size)[:, None]
    fx = np.fft.rfftfreq(size, 1 / size)[None]
    frequency = np.hypot(fy, fx)
    amplitude = np.where(frequency >= low_cut, np.maximum(frequency, 1.0) ** -slope, 0.0)
    spectrum = amplitude * np.exp(1j * rng.uniform(0, 2 * np.pi, frequency.shape))
    field = np.fft.irfft2(spectrum, (size, size))
    field -= field.mean()
    return np.asarray(field / max(float(field.std()), 1e-12), np.float32)


def cellular_tile(
    rng: np.random.Generator, size: int, count: int
) -> tuple[Float32, Float32, NDArray[np.int64]]:
    """Return a periodic cell pattern of random points (stones, cracks, leaves).

    Args:
        rng: source.
        size: rows and columns.
        count: number of cells.

    Returns:
        (size, size) distance to the nearest point, the gap to the second nearest (0 on borders),
        both in tile widths, and the index of the nearest point.
    """
    points = rng.random((count, 2))
    grid = (np.arange(size) + 0.5) / size
    first = np.full((size, size), 9.0, np.float32)
    second = np.full((size, size), 9.0, np.float32)
    owner = np.zeros((size, size), np.int64)
    for i, (px, py) in enumerate(points):
        dx = np.abs(grid - px)
        dy = np.abs(grid - py)
        gap = np.hypot(np.minimum(dy, 1 - dy)[:, None], np.minimum(dx, 1 - dx)[None])
        gap = gap.astype(np.float32)
        nearer = gap < first
        second = np.where(nearer, first, np.minimum(second, gap))
        owner[nearer] = i
        first = np.where(nearer, gap, first)
    return first, second - first, owner
