"""Planar polylines: arc length, offsets, pieces and dashes; (east, north), metres."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Polyline:
    """A polyline parametrised by arc length.

    Attributes:
        points: (N, 2) vertices, metres, N >= 2, no two neighbours equal.
    """

    points: Float64

    @cached_property
    def stations(self) -> Float64:
        """(N,) arc length at each vertex, metres."""
        steps = np.hypot(*np.diff(self.points, axis=0).T)
        return np.concatenate(([0.0], np.cumsum(steps)))

    @property
    def length(self) -> float:
        """Total length, metres."""
        return float(self.stations[-1])

    def at(self, station: float | Float64) -> Float64:
        """Return the (..., 2) points at stations, clamped to the ends."""
        if isinstance(station, float):
            return np.array(self._point(station))
        s = np.asarray(station, np.float64)
        x = np.interp(s, self.stations, self.points[:, 0])
        y = np.interp(s, self.stations, self.points[:, 1])
        return _paired(x, y)

    def direction(self, station: float | Float64) -> Float64:
        """Return the (..., 2) unit tangents at stations."""
        if isinstance(station, float):
            return np.array(self._tangent(station))
        s = np.clip(np.asarray(station, np.float64), 0.0, self.length)
        delta = self.at(np.minimum(s + 0.5, self.length)) - self.at(np.maximum(s - 0.5, 0.0))
        norm = np.sqrt(delta[..., :1] ** 2 + delta[..., 1:] ** 2)
        return np.asarray(delta / np.maximum(norm, 1e-9))

    def side_point(self, station: float | Float64, left_m: float | Float64) -> Float64:
        """Return the (..., 2) points ``left_m`` metres left of the line at stations."""
        if isinstance(station, float) and isinstance(left_m, float | int):
            (x, y), (east, north) = self._point(station), self._tangent(station)
            return np.array((x - north * left_m, y + east * left_m))
        tangent = self.direction(station)
        normal = _paired(-tangent[..., 1], tangent[..., 0])
        return np.asarray(self.at(station) + normal * np.asarray(left_m)[..., None])

    # Single stations are asked for by the thousand: plain floats give the bits that arrays give,
    # in a tenth of the time.

    @cached_property
    def _table(self) -> tuple[list[float], list[float], list[float]]:
        """Stations and coordinates of the vertices."""
        return self.stations.tolist(), self.points[:, 0].tolist(), self.points[:, 1].tolist()

    def _point(self, station: float) -> tuple[float, float]:
        """Return the point at one station, interpolated as ``np.interp`` does."""
        stations, x, y = self._table
        i = bisect_right(stations, station) - 1
        if i < 0 or i >= len(stations) - 1 or stations[i] == station:
            i = max(i, 0)
            return x[i], y[i]
        step, along = stations[i + 1] - stations[i], station - stations[i]
        return (x[i + 1] - x[i]) / step * along + x[i], (y[i + 1] - y[i]) / step * along + y[i]

    def _tangent(self, station: float) -> tuple[float, float]:
        """Return the unit tangent at one station."""
        s = min(max(station, 0.0), self.length)
        x1, y1 = self._point(min(s + 0.5, self.length))
        x0, y0 = self._point(max(s - 0.5, 0.0))
        east, north = x1 - x0, y1 - y0
        norm = max(math.sqrt(east * east + north * north), 1e-9)
        return east / norm, north / norm

    def piece(self, start: float, end: float, step_m: float = 2.0) -> Polyline:
        """Return the part between two stations, resampled at about ``step_m``."""
        count = max(2, int(np.ceil(abs(end - start) / step_m)) + 1)
        return Polyline(self.at(np.linspace(start, end, count)))

    def offset(self, left_m: float) -> Polyline:
        """Return the parallel line ``left_m`` metres to the left (sharp bends may fold)."""
        return Polyline(self.side_point(self.stations, left_m))

    def nearest(self, point: Float64) -> tuple[float, float]:
        """Return the station nearest to a (2,) point, and the distance in metres."""
        a, b = self.points[:-1], self.points[1:]
        d = b - a
        t = np.clip(((point - a) * d).sum(1) / np.maximum((d * d).sum(1), 1e-12), 0.0, 1.0)
        gap = np.hypot(*(a + d * t[:, None] - point).T)
        i = int(np.argmin(gap))
        return float(self.stations[i] + t[i] * np.hypot(*d[i])), float(gap[i])


def _paired(x: Float64, y: Float64) -> Float64:
    """Return (..., 2) points of their coordinates."""
    points = np.empty((*x.shape, 2))
    points[..., 0], points[..., 1] = x, y
    return points


def dashes(start: float, end: float, on_m: float, off_m: float, phase_m: float) -> Float64:
    """Return (K, 2) start and end stations of the dashes of a broken line between two stations."""
    first = start + (phase_m % (on_m + off_m)) - (on_m + off_m)
    begins = np.arange(first, end, on_m + off_m)
    pieces = np.stack((np.maximum(begins, start), np.minimum(begins + on_m, end)), -1)
    return np.asarray(pieces[pieces[:, 1] - pieces[:, 0] > 0.3])


def gaps_removed(
    start: float, end: float, gaps: list[tuple[float, float]]
) -> list[tuple[float, float]]:
    """Return the parts of [start, end] outside all gaps, in order."""
    parts = []
    at = start
    for low, high in sorted(gaps):
        if low > at:
            parts.append((at, min(low, end)))
        at = max(at, high)
        if at >= end:
            break
    if at < end:
        parts.append((at, end))
    return [(a, b) for a, b in parts if b - a > 0.5]
