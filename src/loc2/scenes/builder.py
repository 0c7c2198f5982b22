"""Collecting triangles: quads, boxes, prisms and tubes into one mesh."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from loc2.scenes.mesh import Material, Mesh, SemanticClass, merge

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
WHITE = (1.0, 1.0, 1.0)
Tint = tuple[float, float, float]
_Quads = tuple[Float64, ArrayLike, int, ArrayLike]
"""(N, 4, 3) corners, texture coordinates, class and linear factors of some quadrilaterals."""


def up(height_m: float) -> Float64:
    """Return the (3,) vector that points up."""
    return np.array([0.0, 0.0, height_m])


class MeshBuilder:
    """Gathers parts; ``build`` joins them."""

    def __init__(self) -> None:
        """Start empty."""
        self._quads: dict[int, tuple[Material, list[_Quads]]] = {}
        self._parts: list[Mesh] = []

    def add(self, mesh: Mesh) -> None:
        """Add a finished mesh."""
        if len(mesh.faces):
            self._parts.append(mesh)

    def quads(
        self,
        corners: ArrayLike,
        uv: ArrayLike,
        material: Material,
        semantic: SemanticClass,
        tint: ArrayLike = WHITE,
    ) -> None:
        """Add quadrilaterals.

        Args:
            corners: (N, 4, 3) or (4, 3) corners in order around, metres.
            uv: (N, 4, 2) or (4, 2) texture coordinates, repeats.
            material: the material.
            semantic: the class.
            tint: (3,) or (N, 3) linear factors.
        """
        points = np.asarray(corners, np.float64).reshape(-1, 4, 3)
        group = self._quads.setdefault(id(material), (material, []))
        group[1].append((points, uv, int(semantic), tint))

    def triangle(
        self,
        corners: ArrayLike,
        uv: ArrayLike,
        material: Material,
        semantic: SemanticClass,
        tint: ArrayLike = WHITE,
    ) -> None:
        """Add one triangle, (3, 3) corners and (3, 2) texture coordinates."""
        points, coords = np.asarray(corners, np.float64), np.asarray(uv, np.float64)
        self.quads(points[[0, 1, 2, 2]], coords[[0, 1, 2, 2]], material, semantic, tint)

    def box(
        self,
        center: ArrayLike,
        size: ArrayLike,
        angle: float,
        material: Material,
        semantic: SemanticClass,
        tint: ArrayLike = WHITE,
        repeat_m: float = 1.0,
    ) -> None:
        """Add an upright box without a floor.

        Args:
            center: (3,) middle of its floor, metres.
            size: (3,) width, depth and height, metres.
            angle: direction of its width, radians anticlockwise from east.
            material: the material.
            semantic: the class.
            tint: (3,) linear factors.
            repeat_m: extent of the texture, metres.
        """
        w, d, h = np.asarray(size, np.float64)
        base = np.array([[-w, -d], [w, -d], [w, d], [-w, d]]) / 2
        c, s = np.cos(angle), np.sin(angle)
        base = base @ np.array([[c, s], [-s, c]])
        middle = np.asarray(center, np.float64)
        low = float(middle[2])
        self.prism(middle[:2] + base, low, low + h, material, semantic, tint, repeat_m)

    def prism(
        self,
        ring: Float64,
        bottom: float,
        top: float,
        material: Material,
        semantic: SemanticClass,
        tint: ArrayLike = WHITE,
        repeat_m: float = 1.0,
        lid: bool = True,
    ) -> None:
        """Add the walls over a (N, 2) anticlockwise ring, and a lid when it has four corners."""
        after = np.concatenate((ring[1:], ring[:1]))
        length = np.hypot(*(after - ring).T)
        walls = np.empty((len(ring), 4, 3))
        walls[:, [0, 3], :2], walls[:, [1, 2], :2] = ring[:, None], after[:, None]
        walls[:, :2, 2], walls[:, 2:, 2] = bottom, top
        uv = np.zeros((len(ring), 4, 2))
        uv[:, 1:3, 0] = (length / repeat_m)[:, None]
        uv[:, 2:, 1] = (top - bottom) / repeat_m
        self.quads(walls, uv, material, semantic, tint)
        if lid and len(ring) == 4:
            cap = np.concatenate((ring, np.full((4, 1), top)), 1)
            self.quads(cap, (ring - ring[0]) / repeat_m, material, semantic, tint)

    def tube(
        self,
        a: ArrayLike,
        b: ArrayLike,
        radius_a: float,
        radius_b: float,
        material: Material,
        semantic: SemanticClass,
        tint: ArrayLike = WHITE,
        sides: int = 6,
        repeat_m: float = 1.0,
    ) -> None:
        """Add a tapered tube from point ``a`` to point ``b``."""
        start, end = np.asarray(a, np.float64), np.asarray(b, np.float64)
        axis = end - start
        length = float(np.linalg.norm(axis))
        axis = axis / max(length, 1e-9)
        side = _cross(axis, (1.0, 0.0, 0.0) if abs(axis[0]) < 0.8 else (0.0, 1.0, 0.0))
        side /= np.linalg.norm(side)
        other = _cross(axis, side)
        angle = np.linspace(0, 2 * np.pi, sides + 1)
        ring = np.cos(angle)[:, None] * side + np.sin(angle)[:, None] * other
        low, high = start + radius_a * ring, end + radius_b * ring
        quads = np.stack((low[:-1], low[1:], high[1:], high[:-1]), 1)
        u = angle / (2 * np.pi) * max(1.0, round(6.3 * radius_a / repeat_m))
        uv = np.zeros((sides, 4, 2))
        uv[:, [0, 3], 0], uv[:, [1, 2], 0] = u[:-1, None], u[1:, None]
        uv[:, 2:, 1] = length / repeat_m
        self.quads(quads, uv, material, semantic, tint)

    def build(self) -> Mesh:
        """Return everything as one mesh."""
        parts = list(self._parts)
        for material, groups in self._quads.values():
            points = np.concatenate([g[0] for g in groups])
            count = len(points)
            uv, tint = np.empty((count, 4, 2)), np.empty((count, 3))
            semantic = np.empty(count, np.uint8)
            start = 0
            for corners, coords, kind, color in groups:  # what is the same for all is repeated
                end = start + len(corners)
                uv[start:end], tint[start:end], semantic[start:end] = coords, color, kind
                start = end
            parts.append(quad_mesh(points, uv, material, semantic, tint))
        return merge(parts)


def _cross(a: Sequence[float] | Float64, b: Sequence[float] | Float64) -> Float64:
    """Return the cross product of two vectors of three; ``np.cross`` is slow on single ones."""
    return np.array(
        (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])
    )


def quad_mesh(
    points: NDArray[np.floating],
    uv: NDArray[np.floating],
    material: Material,
    semantic: NDArray[np.uint8],
    tint: NDArray[np.floating],
    normals: NDArray[np.floating] | None = None,
) -> Mesh:
    """Return the mesh of (N, 4, 3) quadrilaterals.

    Args:
        points: (N, 4, 3) corners in order around.
        uv: (N, 4, 2) texture coordinates.
        material: the material of all.
        semantic: (N,) classes.
        tint: (N, 3) linear factors.
        normals: (N, 4, 3) shading normals, or None.
    """
    count = len(points)
    base = np.arange(count, dtype=np.int32)[:, None, None] * 4
    faces = (base + np.array([[0, 1, 2], [0, 2, 3]], np.int32)).reshape(-1, 3)
    pick = np.array([[0, 1, 2], [0, 2, 3]])
    corner_tint = np.repeat(np.asarray(tint, np.float32), 2, axis=0)[:, None]
    return Mesh(
        vertices=points.reshape(-1, 3).astype(np.float32),
        faces=faces,
        uv=uv[:, pick].reshape(-1, 3, 2).astype(np.float32),
        material=np.zeros(2 * count, np.int32),
        materials=[material],
        class_id=np.repeat(semantic, 2),
        color=np.ascontiguousarray(np.broadcast_to(corner_tint, (2 * count, 3, 3))),
        normals=None if normals is None else normals[:, pick].reshape(-1, 3, 3).astype(np.float32),
    )


def instances(
    prototype: Mesh,
    positions: NDArray[np.floating],
    angles: NDArray[np.floating],
    scales: NDArray[np.floating],
    tints: Sequence[NDArray[np.floating]] | NDArray[np.floating],
) -> Mesh:
    """Return copies of a mesh.

    Args:
        prototype: the mesh around the origin.
        positions: (N, 3) where the copies stand, metres.
        angles: (N,) turns about the vertical, radians anticlockwise.
        scales: (N, 3) factors along its own axes.
        tints: (N, 3) linear factors.
    """
    count, corners, faces = len(positions), len(prototype.vertices), len(prototype.faces)
    cos, sin = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
    zero, one = np.zeros(count, np.float32), np.ones(count, np.float32)
    turn = np.stack((np.stack((cos, -sin, zero), -1), np.stack((sin, cos, zero), -1),
                     np.stack((zero, zero, one), -1)), 1)  # fmt: skip
    shape = np.asarray(scales, np.float32).reshape(count, 1, 3)
    points = (prototype.vertices[None] * shape) @ turn.transpose(0, 2, 1)
    points += np.asarray(positions, np.float32)[:, None]
    color = np.asarray(tints, np.float32).reshape(count, 1, 1, 3)
    color = color * (np.float32(1) if prototype.color is None else prototype.color[None])
    normals = None
    if prototype.normals is not None:
        normals = prototype.normals.reshape(1, -1, 3) @ turn.transpose(0, 2, 1)
        normals = normals.reshape(-1, 3, 3)
    shift = (np.arange(count, dtype=np.int32) * corners)[:, None, None]
    return Mesh(
        vertices=points.reshape(-1, 3),
        faces=(prototype.faces[None] + shift).reshape(-1, 3),
        uv=np.tile(prototype.uv, (count, 1, 1)),
        material=np.tile(prototype.material, count),
        materials=prototype.materials,
        class_id=np.tile(prototype.class_id, count),
        color=np.broadcast_to(color, (count, faces, 3, 3)).reshape(-1, 3, 3),
        normals=normals,
    )
