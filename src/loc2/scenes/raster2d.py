"""Painting plans: polygons and strokes into north-up grids of the ground, compiled.

A grid is placed by the world coordinates of its upper left corner and its cell size; row 0 is the
northernmost. A cell belongs to a polygon when its centre lies inside (even-odd rule).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
UInt8 = NDArray[np.uint8]


@dataclass(frozen=True)
class Grid:
    """Where a raster of the ground lies.

    Attributes:
        west_m: world coordinate of its left edge.
        north_m: world coordinate of its upper edge.
        cell_m: cell size.
        width: columns.
        height: rows.
    """

    west_m: float
    north_m: float
    cell_m: float
    width: int
    height: int

    @classmethod
    def around(cls, center: Float64, half_m: float, cell_m: float) -> Grid:
        """Return a square grid around a (2,) point."""
        size = round(2 * half_m / cell_m)
        half = size * cell_m / 2
        return cls(float(center[0]) - half, float(center[1]) + half, cell_m, size, size)

    def cells(
        self, points: NDArray[np.floating]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """Return rows and columns of (N, 2) points, and which of them lie on the grid."""
        col = np.floor((points[:, 0] - self.west_m) / self.cell_m).astype(np.int64)
        row = np.floor((self.north_m - points[:, 1]) / self.cell_m).astype(np.int64)
        inside = (col >= 0) & (row >= 0) & (col < self.width) & (row < self.height)
        return row, col, inside


def rings_of(geometry: BaseGeometry) -> list[Float64]:
    """Return the (N, 2) rings, outer and inner, of all polygons of a geometry."""
    parts = geometry.geoms if hasattr(geometry, "geoms") else [geometry]
    rings: list[Float64] = []
    for part in parts:
        if isinstance(part, MultiPolygon):
            rings += rings_of(part)
        elif isinstance(part, Polygon) and not part.is_empty:
            rings += [np.asarray(r.coords)[:, :2] for r in (part.exterior, *part.interiors)]
    return rings


def edges_of(rings: list[Float64]) -> Float64:
    """Return the (E, 4) edges x0, y0, x1, y1 of rings."""
    if not rings:
        return np.zeros((0, 4))
    return np.concatenate([np.concatenate((r[:-1], r[1:]), 1) for r in map(_closed, rings)])


def _closed(ring: Float64) -> Float64:
    return ring if np.array_equal(ring[0], ring[-1]) else np.concatenate((ring, ring[:1]))


def fill(raster: UInt8, grid: Grid, edges: Float64, value: int) -> None:
    """Set the cells inside a polygon, given by its edges, to a value."""
    if len(edges):
        _fill(raster, grid.west_m, grid.north_m, grid.cell_m, edges, value)


@njit(cache=True, nogil=True)
def _fill(raster, west, north, cell, edges, value):  # type: ignore[no-untyped-def]
    rows, cols = raster.shape
    left, right, bottom, top = math.inf, -math.inf, math.inf, -math.inf
    for e in range(len(edges)):
        left = min(left, edges[e, 0], edges[e, 2])
        right = max(right, edges[e, 0], edges[e, 2])
        bottom = min(bottom, edges[e, 1], edges[e, 3])
        top = max(top, edges[e, 1], edges[e, 3])
    if right < west - cell or left > west + (cols + 1) * cell or bottom > north + cell:
        return
    if top < north - (rows + 1) * cell:
        return
    tops = np.maximum(edges[:, 1], edges[:, 3])
    order = np.argsort(-tops)
    first = max(0, math.floor((north - tops[order[0]]) / cell))
    last = min(rows - 1, math.ceil((north - bottom) / cell))
    crossings = np.empty(len(edges))
    active = np.empty(len(edges), np.int64)
    alive, entered = 0, 0
    for row in range(first, last + 1):
        y = north - (row + 0.5) * cell
        while entered < len(order) and tops[order[entered]] > y:
            active[alive] = order[entered]
            alive += 1
            entered += 1
        count, kept = 0, 0
        for i in range(alive):
            e = active[i]
            y0, y1 = edges[e, 1], edges[e, 3]
            if min(y0, y1) > y:
                continue  # below its lower end: never crossed again
            active[kept] = e
            kept += 1
            if (y0 <= y) != (y1 <= y):
                t = (y - y0) / (y1 - y0)
                crossings[count] = edges[e, 0] + t * (edges[e, 2] - edges[e, 0])
                count += 1
        alive = kept
        ordered = np.sort(crossings[:count])
        for k in range(0, count - 1, 2):
            a = math.ceil((ordered[k] - west) / cell - 0.5)
            b = math.ceil((ordered[k + 1] - west) / cell - 0.5)
            for col in range(max(a, 0), min(b, cols)):
                raster[row, col] = value


@njit(cache=True, nogil=True)
def draw_strokes(raster, touched, west, north, cell, strokes):  # type: ignore[no-untyped-def]
    """Draw strokes into a raster of coverage, keeping the larger value.

    Args:
        raster: (H, W) uint8.
        touched: (H, W) uint8 that is set to 1 where anything is drawn.
        west: left edge, metres.
        north: upper edge, metres.
        cell: cell size, metres.
        strokes: (K, 8) x0, y0, x1, y1, half width, softness of the edge (metres), strength in
            [0, 1], and 1 for square ends or 0 for round ones.
    """
    rows, cols = raster.shape
    for k in range(len(strokes)):
        x0, y0, x1, y1, half, soft, alpha, square = strokes[k]
        reach = half + soft + cell
        c0 = max(0, int((min(x0, x1) - reach - west) / cell))
        c1 = min(cols - 1, int((max(x0, x1) + reach - west) / cell))
        r0 = max(0, int((north - max(y0, y1) - reach) / cell))
        r1 = min(rows - 1, int((north - min(y0, y1) + reach) / cell))
        if c0 > c1 or r0 > r1:
            continue
        dx, dy = x1 - x0, y1 - y0
        length = math.sqrt(dx * dx + dy * dy)
        if length > 0.0:
            dx, dy = dx / length, dy / length
        else:
            dx, dy = 1.0, 0.0
        blur = max(soft, cell)
        peak = alpha * min(1.0, 2.0 * half / cell) * 255.0
        for row in range(r0, r1 + 1):
            py = north - (row + 0.5) * cell - y0
            for col in range(c0, c1 + 1):
                px = west + (col + 0.5) * cell - x0
                along = px * dx + py * dy
                across = abs(px * dy - py * dx)
                beyond = max(-along, along - length)
                if square > 0.5:
                    share = min(1.0, max(0.0, 0.5 - beyond / cell))
                    gap = across
                else:
                    share = 1.0
                    gap = math.sqrt(across * across + beyond * beyond) if beyond > 0 else across
                cover = min(1.0, max(0.0, (half - gap) / blur + 0.5)) * share
                value = int(peak * cover + 0.5)
                if value > raster[row, col]:
                    raster[row, col] = value
                    touched[row, col] = 1


@njit(cache=True, nogil=True, error_model="numpy")
def look_up(  # type: ignore[no-untyped-def]
    points, west, north, cell, index, table, cover, thick, covered, values, done
):
    """Look up what lies at points on a raster, those that are done left out.

    Args:
        points: (N, 2 or more) world positions, metres.
        west: left edge, metres.
        north: upper edge, metres.
        cell: cell size, metres.
        index: (H, W) raster.
        table: value of each index.
        cover: (C, H, W) coverage of strokes.
        thick: (256,) value of a cell of each value under a stroke.
        covered: (C,) whether a channel counts.
        values: (N,) output; points beyond the raster keep theirs.
        done: (N,) set where a value is written.
    """
    rows, cols = index.shape
    for i in range(len(points)):
        if done[i]:
            continue
        col = math.floor((points[i, 0] - west) / cell)
        row = math.floor((north - points[i, 1]) / cell)
        if col < 0 or row < 0 or col >= cols or row >= rows:
            continue
        value = table[index[row, col]]
        if thick[value] != value:
            for k in range(len(covered)):
                if covered[k] and cover[k, row, col] > 110:
                    value = thick[value]
                    break
        values[i] = value
        done[i] = True


@njit(cache=True, nogil=True)
def touches(raster, west, north, cell, edges):  # type: ignore[no-untyped-def]
    """Return whether a polygon, given by its (E, 4) edges, covers a cell that is not zero."""
    rows, cols = raster.shape
    top, bottom = -1e18, 1e18
    for e in range(len(edges)):
        top = max(top, edges[e, 1], edges[e, 3])
        bottom = min(bottom, edges[e, 1], edges[e, 3])
    first = max(0, math.floor((north - top) / cell))
    last = min(rows - 1, math.ceil((north - bottom) / cell))
    crossings = np.empty(len(edges))
    for row in range(first, last + 1):
        y = north - (row + 0.5) * cell
        count = 0
        for e in range(len(edges)):
            y0, y1 = edges[e, 1], edges[e, 3]
            if (y0 <= y) != (y1 <= y):
                crossings[count] = edges[e, 0] + (y - y0) / (y1 - y0) * (edges[e, 2] - edges[e, 0])
                count += 1
        ordered = np.sort(crossings[:count])
        for k in range(0, count - 1, 2):
            a = max(0, math.ceil((ordered[k] - west) / cell - 0.5))
            b = min(cols, math.ceil((ordered[k + 1] - west) / cell - 0.5))
            for col in range(a, b):
                if raster[row, col] != 0:
                    return True
    return False
