"""Drawing triangles into buffers of sort keys and face indices, compiled; see ``raster``."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

RUN = 32
"""Faces that are tested together for lying beside a shadow map; neighbours mostly."""


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
    inverse = 1.0 / area
    # planes through the corners: key, and texture coordinates over depth
    kx = ((bk - ak) * (cy - ay) - (ck - ak) * (by - ay)) * inverse
    ky = ((ck - ak) * (bx - ax) - (bk - ak) * (cx - ax)) * inverse
    k_min = min(ak, bk, ck)
    k_max = max(ak, bk, ck)
    ux = uy = vx = vy = 0.0
    if masked:  # texture coordinates in texels, rows downwards
        au, bu, cu = au * cols, bu * cols, cu * cols
        av, bv, cv = (1.0 - av) * rows, (1.0 - bv) * rows, (1.0 - cv) * rows
        if perspective:
            au, bu, cu = au * ak, bu * bk, cu * ck
            av, bv, cv = av * ak, bv * bk, cv * ck
        ux = ((bu - au) * (cy - ay) - (cu - au) * (by - ay)) * inverse
        uy = ((cu - au) * (bx - ax) - (bu - au) * (cx - ax)) * inverse
        vx = ((bv - av) * (cy - ay) - (cv - av) * (by - ay)) * inverse
        vy = ((cv - av) * (bx - ax) - (bv - av) * (cx - ax)) * inverse
    # where rows enter and leave: each edge from its lower end, the same for both its triangles
    long_slope = (cx - ax) / (cy - ay)
    first_slope = (bx - ax) / (by - ay) if by > ay else 0.0
    second_slope = (cx - bx) / (cy - by) if cy > by else 0.0
    for row in range(first_row, last_row):
        y = row + 0.5
        left = ax + long_slope * (y - ay)
        right = ax + first_slope * (y - ay) if y < by else bx + second_slope * (y - by)
        if left > right:
            left, right = right, left
        first = max(0, math.ceil(max(left, -1.0) - 0.5))
        last = min(width, math.ceil(min(right, width + 1.0) - 0.5))
        dy = y - ay
        k_row = ak + ky * dy
        key_row = key[row]
        if not masked:
            for col in range(first, last):
                k = min(max(k_row + kx * (col + 0.5 - ax), k_min), k_max)  # slivers extrapolate
                if k > key_row[col]:
                    key_row[col] = k
                    if with_index:
                        index[row, col] = face
            continue
        u_row, v_row = au + uy * dy, av + vy * dy
        for col in range(first, last):
            dx = col + 0.5 - ax
            k = min(max(k_row + kx * dx, k_min), k_max)
            if k <= key_row[col]:
                continue
            u = u_row + ux * dx
            v = v_row + vx * dx
            if perspective:
                u /= k
                v /= k
            if not 0.0 <= u < cols:  # leaf cards hold their texture once: rare
                u -= math.floor(u / cols) * cols
            if not 0.0 <= v < rows:
                v -= math.floor(v / rows) * rows
            tx = min(int(u), cols - 1)
            ty = min(int(v), rows - 1)
            present = texels[offset + ty * cols + tx, 3]
            if present < 255 and (present == 0 or present <= _threshold(row, col, face)):
                continue
            key_row[col] = k
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
def _perspective_face(  # type: ignore[no-untyped-def]
    corner, polygon, f, fx, fy, cx, cy, near, key, index, faces, uv, material,
    has_alpha, texels, levels, level_count,
):  # fmt: skip
    """Draw a face given as (3, 3) corners in camera axes, clipped against the near plane."""
    height, width = key.shape
    count = 0
    for edge in range(3):
        e1 = (edge + 1) % 3
        z0, z1 = corner[edge, 2], corner[e1, 2]
        if z0 >= near:
            polygon[count, 0] = corner[edge, 0] / z0 * fx + cx
            polygon[count, 1] = corner[edge, 1] / z0 * fy + cy
            polygon[count, 2] = 1.0 / z0
            polygon[count, 3], polygon[count, 4] = uv[f, edge, 0], uv[f, edge, 1]
            count += 1
        if (z0 >= near) != (z1 >= near):
            t = (near - z0) / (z1 - z0)
            x = corner[edge, 0] + t * (corner[e1, 0] - corner[edge, 0])
            y = corner[edge, 1] + t * (corner[e1, 1] - corner[edge, 1])
            polygon[count, 0] = x / near * fx + cx
            polygon[count, 1] = y / near * fy + cy
            polygon[count, 2] = 1.0 / near
            polygon[count, 3] = uv[f, edge, 0] + t * (uv[f, e1, 0] - uv[f, edge, 0])
            polygon[count, 4] = uv[f, edge, 1] + t * (uv[f, e1, 1] - uv[f, edge, 1])
            count += 1
    ax, ay, ak, au, av = polygon[0]
    m = material[f]
    for c in range(1, count - 1):
        bx, by, bk, bu, bv = polygon[c]
        dx, dy, dk, du, dv = polygon[c + 1]
        if _between_samples(ax, ay, bx, by, dx, dy, width, height):
            continue
        level = 0
        if has_alpha[m]:
            level = _mask_level(
                ax, ay, au, av, bx, by, bu, bv, dx, dy, du, dv, levels[m], level_count[m]
            )
        _triangle(
            key, index, True, f, ax, ay, ak, bx, by, bk, dx, dy, dk, has_alpha[m], True,
            au, av, bu, bv, du, dv,
            texels, levels[m, level, 0], levels[m, level, 1], levels[m, level, 2],
        )  # fmt: skip


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _between_samples(ax, ay, bx, by, cx, cy, width, height):  # type: ignore[no-untyped-def]
    """Return whether a triangle surely holds no sample's centre.

    Foliage is mostly smaller than a sample: it is skipped before its mask is looked at (columns
    with a margin for rounding, rows as they are drawn).
    """
    return math.ceil(max(min(ay, by, cy), -1.0) - 0.5) >= math.ceil(
        min(max(ay, by, cy), height + 1.0) - 0.5
    ) or math.ceil(max(min(ax, bx, cx), -1.0) - 0.501) >= math.ceil(
        min(max(ax, bx, cx), width + 1.0) - 0.499
    )


@njit(cache=True, nogil=True, error_model="numpy")
def draw_faces_in_view(  # type: ignore[no-untyped-def]
    points, fx, fy, cx, cy, near, key, index, faces, uv, material,
    has_alpha, texels, levels, level_count,
):  # fmt: skip
    """Draw all faces into one perspective view; see ``raster.draw_perspective``."""
    height, width = key.shape
    # slopes of the frustum's sides, to skip what lies outside
    left, right = -cx / fx, (width - cx) / fx
    top, bottom = -cy / fy, (height - cy) / fy
    corner = np.empty((3, 3), np.float32)
    polygon = np.empty((4, 5))
    for f in range(len(faces)):
        for v in range(3):
            for axis in range(3):
                corner[v, axis] = points[faces[f, v], axis]
        if _outside_view(corner, near, left, right, top, bottom):
            continue
        _perspective_face(
            corner, polygon, f, fx, fy, cx, cy, near, key, index, faces, uv, material,
            has_alpha, texels, levels, level_count,
        )  # fmt: skip


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _outside_view(corner, near, left, right, top, bottom):  # type: ignore[no-untyped-def]
    """Return whether all corners lie behind the near plane or beyond one side of the frustum."""
    xa, ya, za = corner[0, 0], corner[0, 1], corner[0, 2]
    xb, yb, zb = corner[1, 0], corner[1, 1], corner[1, 2]
    xc, yc, zc = corner[2, 0], corner[2, 1], corner[2, 2]
    return (
        (za < near and zb < near and zc < near)
        or (xa < left * za and xb < left * zb and xc < left * zc)
        or (xa > right * za and xb > right * zb and xc > right * zc)
        or (ya < top * za and yb < top * zb and yc < top * zc)
        or (ya > bottom * za and yb > bottom * zb and yc > bottom * zc)
    )


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _cube_side(x, y, z):  # type: ignore[no-untyped-def]
    """Return the view of a cube whose cone holds a point strictly, or -1."""
    ax, ay, az = abs(x), abs(y), abs(z)
    if ax > ay and ax > az:
        return 0 if x > 0 else 1
    if ay > ax and ay > az:
        return 2 if y > 0 else 3
    if az > ax and az > ay:
        return 4 if z > 0 else 5
    return -1


@njit(cache=True, nogil=True, error_model="numpy")
def draw_faces_around(  # type: ignore[no-untyped-def]
    offset, axes, signs, needed, half, near, key, index, faces, uv, material,
    has_alpha, texels, levels, level_count,
):  # fmt: skip
    """Draw all faces into the views of a cube; see ``raster.draw_cube``."""
    corner = np.empty((3, 3), np.float32)
    polygon = np.empty((4, 5))
    for f in range(len(faces)):
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        side = _cube_side(offset[i, 0], offset[i, 1], offset[i, 2])
        if side >= 0 and (
            _cube_side(offset[j, 0], offset[j, 1], offset[j, 2]) != side
            or _cube_side(offset[k, 0], offset[k, 1], offset[k, 2]) != side
        ):
            side = -1
        # a face within one view's cone lies outside all others
        first, last = (0, 6) if side < 0 else (side, side + 1)
        for s in range(first, last):
            if not needed[s]:
                continue
            for v in range(3):
                for axis in range(3):
                    corner[v, axis] = offset[faces[f, v], axes[s, axis]] * signs[s, axis]
            if _outside_view(corner, near, -1.0, 1.0, -1.0, 1.0):
                continue
            _perspective_face(
                corner, polygon, f, half, half, half, half, near, key[s], index[s],
                faces, uv, material, has_alpha, texels, levels, level_count,
            )  # fmt: skip


@njit(cache=True, nogil=True, error_model="numpy")
def _parallel_face(  # type: ignore[no-untyped-def]
    f, ax, ay, ak, bx, by, bk, cx, cy, ck, key, index, with_index, uv, material,
    has_alpha, texels, levels, level_count,
):  # fmt: skip
    """Draw a face given as (column, row, key) corners."""
    height, width = key.shape
    if (
        max(ax, bx, cx) <= 0.0
        or max(ay, by, cy) <= 0.0
        or min(ax, bx, cx) >= width
        or min(ay, by, cy) >= height
    ):
        return
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


@njit(cache=True, nogil=True, error_model="numpy")
def draw_faces_from_above(  # type: ignore[no-untyped-def]
    screen, key, index, faces, uv, material, has_alpha, texels, levels, level_count
):
    """Draw all faces into a parallel view; see ``raster.draw_parallel``."""
    height, width = key.shape
    for f in range(len(faces)):
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        if _between_samples(
            screen[i, 0], screen[i, 1], screen[j, 0], screen[j, 1], screen[k, 0], screen[k, 1],
            width, height,
        ):  # fmt: skip
            continue
        _parallel_face(
            f, float(screen[i, 0]), float(screen[i, 1]), float(screen[i, 2]),
            float(screen[j, 0]), float(screen[j, 1]), float(screen[j, 2]),
            float(screen[k, 0]), float(screen[k, 1]), float(screen[k, 2]),
            key, index, True, uv, material, has_alpha, texels, levels, level_count,
        )  # fmt: skip


@njit(cache=True, nogil=True, error_model="numpy")
def draw_shadow_faces(  # type: ignore[no-untyped-def]
    vertices, views, maps, faces, uv, material, one_in, widen, has_alpha, texels, levels,
    level_count,
):  # fmt: skip
    """Draw faces into the maps of several lights; see ``raster.draw_shadows``.

    Of each material one face in ``one_in`` (M,) is drawn, of 0 none, and that ``widen`` (M,) times
    as wide.
    """
    size = maps.shape[1]
    none = np.empty((0, 0), np.int32)
    run = np.empty((RUN, 3, 3), np.float32)
    names = np.empty(RUN, np.int64)
    low = np.empty(3, np.float32)
    high = np.empty(3, np.float32)
    following = 0
    while following < len(faces):
        count = 0
        low[:] = np.inf
        high[:] = -np.inf
        while count < RUN and following < len(faces):
            f = following
            following += 1
            m = material[f]
            if one_in[m] == 0 or f % one_in[m] != 0:
                continue
            for axis in range(3):
                center = np.float32(0)
                if widen[m] > 1.0:
                    for v in range(3):
                        center += vertices[faces[f, v], axis] / np.float32(3)
                for v in range(3):
                    value = vertices[faces[f, v], axis]
                    if widen[m] > 1.0:
                        value = center + widen[m] * (value - center)
                    run[count, v, axis] = value
                    low[axis] = min(low[axis], value)
                    high[axis] = max(high[axis], value)
            names[count] = f
            count += 1
        for d in range(len(views)):
            # where the box around these faces falls on the map
            beside = False
            for axis in range(2):
                middle = float(views[d, axis, 3])
                reach = 1.0
                for w in range(3):
                    middle += views[d, axis, w] * 0.5 * (float(low[w]) + float(high[w]))
                    reach += abs(views[d, axis, w]) * 0.5 * (float(high[w]) - float(low[w]))
                if middle + reach < 0.0 or middle - reach > size:
                    beside = True
            if beside:
                continue
            c0, c1, c2, c3 = views[d, 0, 0], views[d, 0, 1], views[d, 0, 2], views[d, 0, 3]
            r0, r1, r2, r3 = views[d, 1, 0], views[d, 1, 1], views[d, 1, 2], views[d, 1, 3]
            k0, k1, k2, k3 = views[d, 2, 0], views[d, 2, 1], views[d, 2, 2], views[d, 2, 3]
            target = maps[d]  # taken out once: compiled code counts a reference each time
            for i in range(count):
                x, y, z = run[i, 0, 0], run[i, 0, 1], run[i, 0, 2]
                ax, ay = c0 * x + c1 * y + c2 * z + c3, r0 * x + r1 * y + r2 * z + r3
                ak = k0 * x + k1 * y + k2 * z + k3
                x, y, z = run[i, 1, 0], run[i, 1, 1], run[i, 1, 2]
                bx, by = c0 * x + c1 * y + c2 * z + c3, r0 * x + r1 * y + r2 * z + r3
                bk = k0 * x + k1 * y + k2 * z + k3
                x, y, z = run[i, 2, 0], run[i, 2, 1], run[i, 2, 2]
                cx, cy = c0 * x + c1 * y + c2 * z + c3, r0 * x + r1 * y + r2 * z + r3
                ck = k0 * x + k1 * y + k2 * z + k3
                if _between_samples(ax, ay, bx, by, cx, cy, size, size):
                    continue
                _parallel_face(
                    names[i], float(ax), float(ay), float(ak), float(bx), float(by), float(bk),
                    float(cx), float(cy), float(ck), target, none, False, uv, material,
                    has_alpha, texels, levels, level_count,
                )  # fmt: skip
