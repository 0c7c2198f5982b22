"""Cuts and embankments: slopes beside the main road, as a grid of height differences."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from loc2.scenes.polyline import Float64
from loc2.scenes.roads import Network

CELL_M = 2.5
HALF_M = 200.0


@dataclass(frozen=True, eq=False)
class Banks:
    """Slopes beside a road.

    Attributes:
        heights: (N, N) heights on a grid around the origin, row 0 in the south, metres.
        slopes: (K, 2) rings of the faces of cuts.
    """

    heights: Float64
    slopes: list[Float64]


def draw_banks(rng: np.random.Generator, network: Network) -> Banks:
    """Draw slopes beside the main road.

    Each side of the main road rises or falls on its own, in waves along the road; side roads and
    the border of the grid stay as they are.

    Args:
        rng: source.
        network: the roads.
    """
    road = network.roads[0]
    nearest, _ = road.line.nearest(np.zeros(2))
    stations = np.arange(nearest - 290.0, nearest + 290.0, 3.0)
    stations = stations[(stations > 0) & (stations < road.line.length)]
    points = road.line.at(stations)
    left = road.line.side_point(stations, 1.0) - points
    others = [r.line.points[::3] for r in network.roads[1:]]
    halves = [
        np.full(len(p), r.width_m / 2) for p, r in zip(others, network.roads[1:], strict=True)
    ]
    profile = np.zeros((2, len(stations)))
    for side in range(2):
        high = float(rng.choice([0.0, 1.0, -0.6], p=[0.3, 0.5, 0.2])) * float(rng.uniform(1.0, 5.5))
        wave = np.sin(stations / float(rng.uniform(18, 60)) + float(rng.uniform(0, 6.3)))
        profile[side] = high * np.clip(0.55 + 0.6 * wave, 0.0, 1.0)
    start = road.width_m / 2 + float(rng.uniform(2.2, 5.0))
    wide = float(rng.uniform(6.0, 12.0))
    heights = _rise(
        points, left, profile, start, wide,
        np.concatenate([np.zeros((0, 2)), *others]), np.concatenate([np.zeros(0), *halves]),
    )  # fmt: skip
    slopes = []
    for side, sign in ((0, 1.0), (1, -1.0)):
        turns = np.flatnonzero(np.diff(np.pad(profile[side] > 1.2, 1).astype(int)))
        for a, b in turns.reshape(-1, 2):
            if b - a > 2:
                reach = np.array([start + 0.5, start + wide * 0.85]) * sign
                near = points[a:b] + left[a:b] * reach[0]
                far = points[a:b] + left[a:b] * reach[1]
                slopes.append(np.concatenate((near, far[::-1])))
    return Banks(heights, slopes)


@njit(cache=True, nogil=True, error_model="numpy")
def sample_heights(heights, x, y, out):  # type: ignore[no-untyped-def]
    """Interpolate between the heights of a grid, and return whether points lie beyond it.

    Args:
        heights: (N, N) heights on a grid as that of ``Banks``, metres.
        x: (K,) east, metres.
        y: (K,) north, metres.
        out: (K,) output, left as it is at points beyond the grid, metres.
    """
    beyond = False
    for k in range(len(x)):
        if not (abs(x[k]) < HALF_M and abs(y[k]) < HALF_M):
            beyond = True
            continue
        u, v = (x[k] + HALF_M) / CELL_M, (y[k] + HALF_M) / CELL_M
        i, j = min(int(v), len(heights) - 2), min(int(u), len(heights) - 2)
        s, t = u - j, v - i
        low = heights[i, j] * (1 - s) + heights[i, j + 1] * s
        high = heights[i + 1, j] * (1 - s) + heights[i + 1, j + 1] * s
        out[k] = low * (1 - t) + high * t
    return beyond


@njit(cache=True, nogil=True, error_model="numpy")
def _rise(points, left, profile, start, wide, others, halves):  # type: ignore[no-untyped-def]
    count = int(2 * HALF_M / CELL_M) + 1
    out = np.zeros((count, count))
    for row in range(count):
        y = row * CELL_M - HALF_M
        for col in range(count):
            x = col * CELL_M - HALF_M
            best, at = 1e18, 0
            for k in range(len(points)):
                d = (x - points[k, 0]) ** 2 + (y - points[k, 1]) ** 2
                if d < best:
                    best, at = d, k
            away = np.sqrt(best)
            if away < start:
                continue
            gap = 1e9
            for k in range(len(others)):
                d = np.sqrt((x - others[k, 0]) ** 2 + (y - others[k, 1]) ** 2) - halves[k]
                gap = min(gap, d)
            edge = (HALF_M - max(abs(x), abs(y))) / 30.0
            calm = min(max((gap - 5.0) / 14.0, 0.0), 1.0) * min(max(edge, 0.0), 1.0)
            calm *= min(max((120.0 - away) / 80.0, 0.0), 1.0)
            across = (x - points[at, 0]) * left[at, 0] + (y - points[at, 1]) * left[at, 1]
            share = min((away - start) / wide, 1.0)
            side = 0 if across > 0 else 1
            out[row, col] = profile[side, at] * share * share * (3 - 2 * share) * calm
    return out
