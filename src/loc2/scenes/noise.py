"""Smooth random fields, periodic, that textures and the ground are mottled with."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
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
    first, second, owner = _nearest(rng.random((count, 2)), size)
    return first, second - first, owner


@njit(cache=True, nogil=True)
def _nearest(points: NDArray[np.float64], size: int) -> tuple[Float32, Float32, NDArray[np.int64]]:
    first = np.empty((size, size), np.float32)
    second = np.empty((size, size), np.float32)
    owner = np.empty((size, size), np.int64)
    for row in range(size):
        for column in range(size):
            nearest, next_nearest, index = np.float32(9.0), np.float32(9.0), 0
            for i in range(len(points)):
                dx = abs((column + 0.5) / size - points[i, 0])
                dy = abs((row + 0.5) / size - points[i, 1])
                dx, dy = min(dx, 1 - dx), min(dy, 1 - dy)
                if dx * dx + dy * dy > 1.001 * next_nearest * next_nearest:
                    continue  # most points: the root is what takes the time
                gap = np.float32(math.hypot(dx, dy))
                if gap < nearest:
                    nearest, next_nearest, index = gap, nearest, i
                elif gap < next_nearest:
                    next_nearest = gap
            first[row, column], second[row, column] = nearest, next_nearest
            owner[row, column] = index
    return first, second, owner
