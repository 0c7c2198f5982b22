"""The shape of the ground: smooth hills, the mesh that carries the painted textures, kerbs."""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.typing import NDArray

from loc2.scenes.banks import CELL_M, HALF_M, Banks, draw_banks, sample_heights
from loc2.scenes.builder import quad_mesh
from loc2.scenes.mesh import Material, Mesh, SemanticClass
from loc2.scenes.polyline import Float64
from loc2.scenes.raster2d import Grid
from loc2.scenes.roads import Network

HILLS_FROM_M = 260.0


class Hills:
    """A sum of plane waves: gentle near the origin, hillier beyond the streets."""

    def __init__(self, rng: np.random.Generator, relief_m: float, far_m: float) -> None:
        """Draw the waves.

        Args:
            rng: source.
            relief_m: height differences near the origin, metres.
            far_m: height of the hills on the horizon, metres.
        """
        lengths = np.array([75.0, 120.0, 190.0, 330.0, 560.0]) * rng.uniform(0.8, 1.25, 5)
        angle = rng.uniform(0, 2 * math.pi, 5)
        self._k = 2 * math.pi / lengths * np.stack((np.cos(angle), np.sin(angle)))
        self._phase = rng.uniform(0, 2 * math.pi, 5)
        self._size = relief_m * np.array([0.05, 0.1, 0.22, 0.45, 0.6]) * rng.uniform(0.4, 1.2, 5)
        self._far_m = far_m
        self._far_phase = rng.uniform(0, 2 * math.pi, 3)
        self._banks: Banks | None = None
        at = np.linspace(-HALF_M, HALF_M, round(2 * HALF_M / CELL_M) + 1)
        self._near = self._sum(*np.meshgrid(at, at))

    @property
    def banked(self) -> bool:
        """Whether there are slopes beside the main road, which want a finer mesh."""
        return self._banks is not None

    @property
    def slopes(self) -> list[Float64]:
        """(K, 2) rings of the faces of cuts."""
        return [] if self._banks is None else self._banks.slopes

    def add_banks(self, rng: np.random.Generator, network: Network) -> None:
        """Raise or sink the land beside the main road: cuts and embankments.

        Args:
            rng: source.
            network: the roads; side roads stay on their level.
        """
        self._banks = draw_banks(rng, network)
        self._near = self._near + self._banks.heights

    def __call__(
        self, east: NDArray[np.floating], north: NDArray[np.floating]
    ) -> NDArray[np.float32]:
        """Return heights, metres, at (east, north) arrays.

        Near the origin they are interpolated between those of a grid.
        """
        x, y = np.asarray(east), np.asarray(north)
        z = np.empty(x.shape, np.float32)
        if sample_heights(self._near, x.ravel(), y.ravel(), z.reshape(-1)):
            beyond = (np.abs(x) >= HALF_M) | (np.abs(y) >= HALF_M)
            z[beyond] = self._sum(x[beyond], y[beyond])
        return z

    def _sum(self, east: NDArray[np.floating], north: NDArray[np.floating]) -> Float64:
        """Return the sum of the waves and the hills on the horizon."""
        x, y = np.asarray(east, np.float64), np.asarray(north, np.float64)
        z = np.zeros(x.shape)
        for i in range(5):
            z += self._size[i] * np.sin(self._k[0, i] * x + self._k[1, i] * y + self._phase[i])
        distance = np.asarray(np.hypot(x, y))
        far = np.asarray(distance > HILLS_FROM_M)
        if far.any():
            bearing = np.arctan2(y[far], x[far])
            ridge = 1.0 + 0.5 * np.sin(3 * bearing + self._far_phase[0])
            ridge = ridge + 0.35 * np.sin(7 * bearing + self._far_phase[1])
            rise = np.clip((distance[far] - HILLS_FROM_M) / 450.0, 0.0, 1.0)
            z[far] = z[far] + self._far_m * ridge * rise**2
        return z

    def at(self, points: NDArray[np.floating]) -> Float64:
        """Return (...,) heights at (..., 2) points."""
        return np.asarray(self(points[..., 0], points[..., 1]), np.float64)


def sheet(grid: Grid, step_m: float, hole: Grid | None, hills: Hills, material: Material) -> Mesh:
    """Return the ground of one textured square.

    Args:
        grid: the square that the texture covers.
        step_m: size of the mesh's cells.
        hole: a finer square inside that is left out, but for an overlap that lies deeper.
        hills: heights.
        material: the texture, row 0 in the north.
    """
    side = grid.cell_m * grid.width
    count = max(2, round(side / step_m))
    x = grid.west_m + np.linspace(0, side, count + 1)
    y = grid.north_m - np.linspace(0, side, count + 1)
    gx, gy = np.meshgrid(x, y)
    z = np.asarray(hills(gx, gy), np.float64)
    quads_i, quads_j = np.meshgrid(np.arange(count), np.arange(count), indexing="ij")
    if hole is not None:
        west, east = hole.west_m, hole.west_m + hole.cell_m * hole.width
        north, south = hole.north_m, hole.north_m - hole.cell_m * hole.height
        inside = (gx > west) & (gx < east) & (gy > south) & (gy < north)
        z = np.where(inside, z - 0.02 * step_m, z)
        covered = inside[:-1, :-1] & inside[1:, :-1] & inside[:-1, 1:] & inside[1:, 1:]
        quads_i, quads_j = quads_i[~covered], quads_j[~covered]
    i, j = quads_i.reshape(-1), quads_j.reshape(-1)
    points = np.stack((gx, gy, z), -1)
    corners = np.stack((points[i + 1, j], points[i + 1, j + 1], points[i, j + 1], points[i, j]), 1)
    return quad_mesh(
        corners, grid_uv(grid, corners), material,
        np.full(len(corners), SemanticClass.TERRAIN, np.uint8), np.ones((len(corners), 3)),
    )  # fmt: skip


def grid_uv(grid: Grid, points: NDArray[np.floating]) -> Float64:
    """Return (..., 2) texture coordinates of world points in a grid's texture."""
    u = (points[..., 0] - grid.west_m) / (grid.cell_m * grid.width)
    v = 1.0 - (grid.north_m - points[..., 1]) / (grid.cell_m * grid.height)
    return np.stack((u, v), -1)


def kerbs(
    rings: list[Float64],
    mouths: Float64,
    height_m: float,
    grid: Grid,
    reach_m: float,
    hills: Hills,
    material: Material,
) -> Mesh | None:
    """Return kerbs along the edges of carriageways, textured with the painted ground.

    Args:
        rings: (N, 2) closed edges with the carriageway on the left.
        mouths: (M, 3) drives: position and half width; the kerb is dropped there.
        height_m: height of the kerb.
        grid: the square that the texture covers; kerbs end at its border.
        reach_m: kerbs farther than this from the middle of the grid are left out.
        hills: heights.
        material: the texture of the grid.
    """
    side = grid.cell_m * grid.width
    middle = np.array([grid.west_m + side / 2, grid.north_m - side / 2])
    quads, classes = [], []
    for ring in rings:
        points = _resample(ring, 1.5)
        if len(points) < 4:
            continue
        step = np.roll(points, -1, 0) - points
        normal = np.stack((step[:, 1], -step[:, 0]), -1)
        normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
        out = normal + np.roll(normal, 1, 0)
        out /= np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-3)
        near = np.abs(points - middle).max(1) < min(reach_m, side / 2 - 2)
        if not near.any():
            continue
        used = near | np.roll(near, 1)  # those and the ends of their strips
        rise, z = np.full(len(points), height_m), np.zeros(len(points))
        if len(mouths):
            gap = np.hypot(*(points[used, None] - mouths[None, :, :2]).transpose(2, 0, 1))
            rise[used] *= np.clip((gap - mouths[:, 2]) / 0.8, 0.15, 1.0).min(1)
        z[used] = hills.at(points[used])
        profile = [(0.0, -0.02), (0.0, 1.0), (0.15, 1.0), (0.9, 0.0)]
        lines = [np.concatenate((points + out * d, (z + rise * h)[:, None]), 1) for d, h in profile]
        for k in range(3):
            low, high = lines[k], lines[k + 1]
            strip = np.stack((low, np.roll(low, -1, 0), np.roll(high, -1, 0), high), 1)
            quads.append(strip[near])
            kind = SemanticClass.KERB if k < 2 else SemanticClass.TERRAIN
            classes.append(np.full(int(near.sum()), kind, np.uint8))
    if not quads:
        return None
    corners = np.concatenate(quads)
    uv = grid_uv(grid, corners)
    # the texture's kerb lies across the edge: the upright face takes its colour from the top
    return quad_mesh(corners, uv, material, np.concatenate(classes), np.ones((len(corners), 3)))


def _resample(ring: Float64, step_m: float) -> Float64:
    """Return the ring without its last point, no two neighbours farther apart than the step."""
    parts = []
    for a, b in itertools.pairwise(ring):
        count = max(1, math.ceil(float(np.hypot(*(b - a))) / step_m))
        parts.append(a + (b - a) * (np.arange(count) / count)[:, None])
    return np.concatenate(parts)
