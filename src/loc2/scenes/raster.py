"""Rasterisation: which triangle, if any, each sample of an image sees.

Triangles are drawn into two buffers, the sort key of the nearest surface (larger is nearer) and
the index of its face. The key is what is linear on the screen: the reciprocal of the depth in a
perspective view, the coordinate towards the viewer in a parallel one. Samples lie at pixel
centres, (0.5, 0.5) for the first. Vertices are joined in one order whichever triangle an edge
belongs to, so that neighbours leave neither gap nor overlap.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from loc2.scenes.packed import PackedMesh
from loc2.scenes.triangles import (
    draw_faces_around,
    draw_faces_from_above,
    draw_faces_in_view,
    draw_shadow_faces,
)

Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]

NEAR_M = 0.05
"""Distance of the near plane, metres."""

NO_FACE = -1
"""Index of a sample that sees no triangle."""


# rows: right, down and forward of the views east, west, north, south, up, down, in world axes
CUBE_AXES = np.array(
    [
        [[0, -1, 0], [0, 0, -1], [1, 0, 0]],
        [[0, 1, 0], [0, 0, -1], [-1, 0, 0]],
        [[1, 0, 0], [0, 0, -1], [0, 1, 0]],
        [[-1, 0, 0], [0, 0, -1], [0, -1, 0]],
        [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        [[1, 0, 0], [0, -1, 0], [0, 0, -1]],
    ],
    np.float64,
)


def draw_perspective(
    mesh: PackedMesh,
    points: Float32,
    focal_px: tuple[float, float],
    center_px: tuple[float, float],
    width: int,
    height: int,
) -> Int32:
    """Draw a perspective view.

    Args:
        mesh: the triangles.
        points: (V, 3) vertices in camera axes (x right, y down, z forward), metres.
        focal_px: focal lengths in x and y, pixels.
        center_px: principal point, pixels.
        width: columns of samples.
        height: rows of samples.

    Returns:
        (height, width) indices of the nearest face, ``NO_FACE`` where there is none.
    """
    key = np.zeros((height, width), np.float32)
    index = np.full((height, width), NO_FACE, np.int32)
    draw_faces_in_view(
        points, *focal_px, *center_px, NEAR_M, key, index, mesh.faces, mesh.uv, mesh.material,
        mesh.has_alpha, mesh.texels, mesh.levels, mesh.level_count,
    )  # fmt: skip
    return index


def draw_cube(mesh: PackedMesh, offset: Float32, size: int, needed: NDArray[np.bool_]) -> Int32:
    """Draw the six square views of ``CUBE_AXES`` around a camera, in one pass over the mesh.

    Args:
        mesh: the triangles.
        offset: (V, 3) vertices from the camera, world axes, metres.
        size: columns and rows of samples of each view.
        needed: (6,) which views to draw.

    Returns:
        (6, size, size) indices of the nearest face, ``NO_FACE`` where there is none.
    """
    key = np.zeros((6, size, size), np.float32)
    index = np.full((6, size, size), NO_FACE, np.int32)
    axes = np.abs(CUBE_AXES).argmax(axis=2)
    signs = CUBE_AXES.sum(axis=2).astype(np.float32)
    draw_faces_around(
        offset, axes, signs, needed, size / 2.0, NEAR_M, key, index, mesh.faces, mesh.uv,
        mesh.material, mesh.has_alpha, mesh.texels, mesh.levels, mesh.level_count,
    )  # fmt: skip
    return index


def draw_parallel(mesh: PackedMesh, screen: Float32, width: int, height: int) -> Int32:
    """Draw a parallel view.

    Args:
        mesh: the triangles.
        screen: (V, 3) vertices as (column, row, key); columns and rows in samples, the key in any
            unit, larger towards the viewer.
        width: columns of samples.
        height: rows of samples.

    Returns:
        (height, width) indices of the nearest face, ``NO_FACE`` where there is none.
    """
    key = np.full((height, width), -np.inf, np.float32)
    index = np.full((height, width), NO_FACE, np.int32)
    draw_faces_from_above(
        screen, key, index, mesh.faces, mesh.uv, mesh.material,
        mesh.has_alpha, mesh.texels, mesh.levels, mesh.level_count,
    )  # fmt: skip
    return index


def draw_shadows(mesh: PackedMesh, views: Float32, size: int, *, thin_foliage: int = 0) -> Float32:
    """Draw square maps of the surfaces nearest to lights, in one pass over the mesh.

    Args:
        mesh: the triangles.
        views: (C, 3, 4) world to (column, row, key), the key larger towards the light.
        size: columns and rows of each map.
        thin_foliage: if not 0, draw of what is cut out by masks only the share that they let
            stand, and that solid; of these one in so many, and so much larger. Enough for maps
            whose samples are about as large as a leaf card.

    Returns:
        (C, size, size) keys of the nearest surface, -inf where there is none.
    """
    maps = np.full((len(views), size, size), -np.inf, np.float32)
    if len(views):
        one_in, masked = mesh.casts_shadow.astype(np.int64), mesh.has_alpha
        widen = np.ones(len(masked), np.float32)
        if thin_foliage:
            coarsest = mesh.levels[np.arange(len(masked)), mesh.level_count - 1, 0]
            present = np.maximum(mesh.texels[coarsest[masked], 3], 1)  # of one texel: the mean
            one_in[masked] = np.rint(thin_foliage * 255.0 / present)
            widen[masked] = np.sqrt(thin_foliage)
            masked = np.zeros_like(masked)
        draw_shadow_faces(
            mesh.vertices, views, maps, mesh.faces, mesh.uv, mesh.material, one_in,
            widen, masked, mesh.texels, mesh.levels, mesh.level_count,
        )  # fmt: skip
    return maps
