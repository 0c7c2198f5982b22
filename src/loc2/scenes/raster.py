"""Rasterisation: which triangle, if any, each sample of an image sees.

Triangles are drawn into two buffers, the sort key of the nearest surface (larger is nearer) and
the index of its face. The key is what is linear on the screen: the reciprocal of the depth in a
perspective view, the coordinate towards the viewer in a parallel one. Samples lie at pixel
centres, (0.5, 0.5) for the first. Vertices are joined in one order whichever triangle an edge
belongs to, so that neighbours leave neither gap nor overlap.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from loc2.scenes.packed import PackedMesh

Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]

NEAR_M = 0.05
"""Distance of the near plane, metres."""

NO_FACE = -1
"""Index of a sample that sees no triangle."""


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
    _draw_perspective(
        points, *focal_px, *center_px, NEAR_M, key, index, mesh.faces, mesh.uv, mesh.material,
        mesh.has_alpha, mesh.texels, mesh.levels, mesh.level_count,
    )  # fmt: skip
    return index


def draw_parallel(
    mesh: PackedMesh, screen: Float32, width: int, height: int, with_index: bool = True
) -> tuple[Float32, Int32]:
    """Draw a parallel view.

    Args:
        mesh: the triangles.
        screen: (V, 3) vertices as (column, row, key); columns and rows in samples, the key in any
            unit, larger towards the viewer.
        width: columns of samples.
        height: rows of samples.
        with_index: false to skip the face indices (shadow maps).

    Returns:
        (height, width) keys of the nearest surface, -inf where there is none, and (height, width)
        face indices, ``NO_FACE`` where there is none (empty without indices).
    """
    key = np.full((height, width), -np.inf, np.float32)
    index = np.full((height, width) if with_index else (0, 0), NO_FACE, np.int32)
    _draw_parallel(
        screen, key, index, with_index, mesh.faces, mesh.uv, mesh.material,
        mesh.has_alpha, mesh.texels, mesh.levels, mesh.level_count,
    )  # fmt: skip
    return key, index


@njit(cache=True, nogil=True, error_model="numpy")
def _row_span(y, ax, ay, bx, by, cx, cy):  # type: ignore[no-untyped-def]
    """Return where a row at y enters and leaves a triangle whose corners are sorted by y."""
    x_long = ax + (cx - ax) * ((y - ay) / (cy - ay))
    if y < by:
        x_short = ax + (bx - ax) * ((y - ay) / (by - ay))
    else:
        x_short = bx + (cx - bx) * ((y - by) / (cy - by)) if cy > by else bx
    if x_long < x_short:
        return x_long, x_short
    return x_short, x_long


@njit(cache=True, nogil=True, error_model="numpy")
def _threshold(row, col, face):  # type: ignore[no-untyped-def]
    """Return a number in [0, 255) of the sample's own.

    Partly present texels (of coarse mip levels) are seen by their share of the samples, so that far
    foliage keeps its density.
    """
    mixed = (row * 73856093 + col * 19349663 + face * 83492791) & 0xFFFFFFFF
    mixed = ((mixed ^ (mixed >> 15)) * 0x2C1B3C6D) & 0xFFFFFFFF
    mixed = ((mixed ^ (mixed >> 12)) * 0x297A2D39) & 0xFFFFFFFF
    return (mixed >> 8) % 255


@njit(cache=True, nogil=True, error_model="numpy")
def _triangle(  # type: ignore[no-untyped-def]
    key, index, with_index, face, ax, ay, ak, bx, by, bk, cx, cy, ck,
    masked, perspective, au, av, bu, bv, cu, cv, texels, offset, rows, cols,
):  # fmt: skip
    """Draw one triangle given as (column, row, key) corners, testing its mask if it has one."""
    height, width = key.shape
    if by < ay:
        ax, ay, ak, au, av, bx, by, bk, bu, bv = bx, by, bk, bu, bv, ax, ay, ak, au, av
    if cy < ay:
        ax, ay, ak, au, av, cx, cy, ck, cu, cv = cx, cy, ck, cu, cv, ax, ay, ak, au, av
    if cy < by:
        bx, by, bk, bu, bv, cx, cy, ck, cu, cv = cx, cy, ck, cu, cv, bx, by, bk, bu, bv
    first_row = max(0, math.ceil(max(ay, -1.0) - 0.5))
    last_row = min(height, math.ceil(min(cy, height + 1.0) - 0.5))
    if first_row >= last_row:
        return
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    if area == 0.0:
        return
    # planes through the corners: key, and texture coordinates over depth
    kx = ((bk - ak) * (cy - ay) - (ck - ak) * (by - ay)) / area
    ky = ((ck - ak) * (bx - ax) - (bk - ak) * (cx - ax)) / area
    k_min = min(ak, bk, ck)
    k_max = max(ak, bk, ck)
    ux = uy = vx = vy = 0.0
    if masked:
        if perspective:
            au, bu, cu = au * ak, bu * bk, cu * ck
            av, bv, cv = av * ak, bv * bk, cv * ck
        ux = ((bu - au) * (cy - ay) - (cu - au) * (by - ay)) / area
        uy = ((cu - au) * (bx - ax) - (bu - au) * (cx - ax)) / area
        vx = ((bv - av) * (cy - ay) - (cv - av) * (by - ay)) / area
        vy = ((cv - av) * (bx - ax) - (bv - av) * (cx - ax)) / area
    for row in range(first_row, last_row):
        y = row + 0.5
        left, right = _row_span(y, ax, ay, bx, by, cx, cy)
        first = max(0, math.ceil(max(left, -1.0) - 0.5))
        last = min(width, math.ceil(min(right, width + 1.0) - 0.5))
        for col in range(first, last):
            dx = col + 0.5 - ax
            dy = y - ay
            k = min(max(ak + kx * dx + ky * dy, k_min), k_max)  # slivers extrapolate
            if k <= key[row, col]:
                continue
            if masked:
                u = au + ux * dx + uy * dy
                v = av + vx * dx + vy * dy
                if perspective:
                    u /= k
                    v /= k
                tx = min(int((u - math.floor(u)) * cols), cols - 1)
                ty = min(int((math.ceil(v) - v) * rows), rows - 1)
                if texels[offset + ty * cols + tx, 3] <= _threshold(row, col, face):
                    continue
            key[row, col] = k
            if with_index:
                index[row, col] = face


@njit(cache=True, nogil=True, error_model="numpy")
def _mask_level(  # type: ignore[no-untyped-def]
    ax, ay, au, av, bx, by, bu, bv, cx, cy, cu, cv, levels, level_count
):
    """Return the mip level whose texels are about as large as the samples."""
    screen = abs((bx - ax) * (cy - ay) - (by - ay) * (cx - ax))
    texture = abs((bu - au) * (cv - av) - (bv - av) * (cu - au)) * levels[0, 1] * levels[0, 2]
    if screen <= 0.0 or texture <= screen:
        return 0
    return min(int(0.5 * math.log2(texture / screen) + 0.5), level_count - 1)


@njit(cache=True, nogil=True, error_model="numpy")
def _draw_perspective(  # type: ignore[no-untyped-def]
    points, fx, fy, cx, cy, near, key, index, faces, uv, material,
    has_alpha, texels, levels, level_count,
):  # fmt: skip
    height, width = key.shape
    # slopes of the frustum's sides, to skip what lies outside
    left, right = -cx / fx, (width - cx) / fx
    top, bottom = -cy / fy, (height - cy) / fy
    px = np.empty(4)
    py = np.empty(4)
    pk = np.empty(4)
    pu = np.empty(4)
    pv = np.empty(4)
    for f in range(len(faces)):
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        xa, ya, za = points[i, 0], points[i, 1], points[i, 2]
        xb, yb, zb = points[j, 0], points[j, 1], points[j, 2]
        xc, yc, zc = points[k, 0], points[k, 1], points[k, 2]
        if za < near and zb < near and zc < near:
            continue
        if (
            (xa < left * za and xb < left * zb and xc < left * zc)
            or (xa > right * za and xb > right * zb and xc > right * zc)
            or (ya < top * za and yb < top * zb and yc < top * zc)
            or (ya > bottom * za and yb > bottom * zb and yc > bottom * zc)
        ):
            continue
        count = 0
        for edge in range(3):  # clip against the near plane, corner by corner
            j0, j1 = faces[f, edge], faces[f, (edge + 1) % 3]
            e1 = (edge + 1) % 3
            z0, z1 = points[j0, 2], points[j1, 2]
            if z0 >= near:
                px[count] = points[j0, 0] / z0 * fx + cx
                py[count] = points[j0, 1] / z0 * fy + cy
                pk[count] = 1.0 / z0
                pu[count], pv[count] = uv[f, edge, 0], uv[f, edge, 1]
                count += 1
            if (z0 >= near) != (z1 >= near):
                t = (near - z0) / (z1 - z0)
                px[count] = (points[j0, 0] + t * (points[j1, 0] - points[j0, 0])) / near * fx + cx
                py[count] = (points[j0, 1] + t * (points[j1, 1] - points[j0, 1])) / near * fy + cy
                pk[count] = 1.0 / near
                pu[count] = uv[f, edge, 0] + t * (uv[f, e1, 0] - uv[f, edge, 0])
                pv[count] = uv[f, edge, 1] + t * (uv[f, e1, 1] - uv[f, edge, 1])
                count += 1
        m = material[f]
        for c in range(1, count - 1):
            level = 0
            if has_alpha[m]:
                level = _mask_level(
                    px[0], py[0], pu[0], pv[0], px[c], py[c], pu[c], pv[c],
                    px[c + 1], py[c + 1], pu[c + 1], pv[c + 1], levels[m], level_count[m],
                )  # fmt: skip
            _triangle(
                key, index, True, f, px[0], py[0], pk[0], px[c], py[c], pk[c],
                px[c + 1], py[c + 1], pk[c + 1], has_alpha[m], True,
                pu[0], pv[0], pu[c], pv[c], pu[c + 1], pv[c + 1],
                texels, levels[m, level, 0], levels[m, level, 1], levels[m, level, 2],
            )  # fmt: skip


@njit(cache=True, nogil=True, error_model="numpy")
def _draw_parallel(  # type: ignore[no-untyped-def]
    screen, key, index, with_index, faces, uv, material, has_alpha, texels, levels, level_count
):
    height, width = key.shape
    for f in range(len(faces)):
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        ax, ay, ak = float(screen[i, 0]), float(screen[i, 1]), float(screen[i, 2])
        bx, by, bk = float(screen[j, 0]), float(screen[j, 1]), float(screen[j, 2])
        cx, cy, ck = float(screen[k, 0]), float(screen[k, 1]), float(screen[k, 2])
        if (
            max(ax, bx, cx) <= 0.0
            or max(ay, by, cy) <= 0.0
            or min(ax, bx, cx) >= width
            or min(ay, by, cy) >= height
        ):
            continue
        # foliage is mostly smaller than a sample: what holds no sample's centre is skipped before
        # its mask is looked at (columns with a margin for rounding, rows as they are drawn)
        if math.ceil(max(min(ay, by, cy), -1.0) - 0.5) >= math.ceil(
            min(max(ay, by, cy), height + 1.0) - 0.5
        ) or math.ceil(max(min(ax, bx, cx), -1.0) - 0.501) >= math.ceil(
            min(max(ax, bx, cx), width + 1.0) - 0.499
        ):
            continue
        m = material[f]
        au, av, bu, bv = uv[f, 0, 0], uv[f, 0, 1], uv[f, 1, 0], uv[f, 1, 1]
        cu, cv = uv[f, 2, 0], uv[f, 2, 1]
        level = 0
        if has_alpha[m]:
            level = _mask_level(
                ax, ay, au, av, bx, by, bu, bv, cx, cy, cu, cv, levels[m], level_count[m]
            )
        _triangle(
            key, index, with_index, f, ax, ay, ak, bx, by, bk, cx, cy, ck, has_alpha[m], False,
            float(au), float(av), float(bu), float(bv), float(cu), float(cv),
            texels, levels[m, level, 0], levels[m, level, 1], levels[m, level, 2],
        )  # fmt: skip
