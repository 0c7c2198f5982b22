"""Texture sampling and lighting of single surface points, compiled."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from loc2.scenes.texture import srgb_to_linear

FAST = {"contract", "arcp", "nsz", "reassoc"}
"""What the compiler may do with sums and quotients: nothing that infinities do not survive."""

MAX_TAPS = 8
"""Texture samples along the long axis of a pixel's footprint."""

_LUT_STEPS = 4
_LINEAR = srgb_to_linear(np.arange(255 * _LUT_STEPS + 2) / (255.0 * _LUT_STEPS))


@njit(cache=True, nogil=True, error_model="numpy", inline="always", fastmath=FAST)
def _bilinear(texels, offset, rows, cols, u, v):  # type: ignore[no-untyped-def]
    """Return the sRGB colour (0 to 255) of one level at (u, v), repeats, v up."""
    x = (u - math.floor(u)) * cols - 0.5
    y = (math.ceil(v) - v) * rows - 0.5
    x0 = math.floor(x)
    y0 = math.floor(y)
    s = x - x0
    t = y - y0
    x1 = x0 + 1
    y1 = y0 + 1
    if x0 < 0:
        x0 += cols
    if x1 >= cols:
        x1 -= cols
    if y0 < 0:
        y0 += rows
    if y1 >= rows:
        y1 -= rows
    a = offset + y0 * cols
    b = offset + y1 * cols
    w00 = (1.0 - s) * (1.0 - t)
    w01 = s * (1.0 - t)
    w10 = (1.0 - s) * t
    w11 = s * t
    i, j, k, m = texels[a + x0], texels[a + x1], texels[b + x0], texels[b + x1]
    red = (i & 255) * w00 + (j & 255) * w01 + (k & 255) * w10 + (m & 255) * w11
    i, j, k, m = i >> 8, j >> 8, k >> 8, m >> 8
    green = (i & 255) * w00 + (j & 255) * w01 + (k & 255) * w10 + (m & 255) * w11
    i, j, k, m = i >> 8, j >> 8, k >> 8, m >> 8
    blue = (i & 255) * w00 + (j & 255) * w01 + (k & 255) * w10 + (m & 255) * w11
    return red, green, blue


@njit(cache=True, nogil=True, error_model="numpy", inline="always", fastmath=FAST)
def texture_footprint(  # type: ignore[no-untyped-def]
    levels, level_count, m, du_dx, dv_dx, du_dy, dv_dy
):
    """Return how to sample a texture over the footprint of one pixel.

    Anisotropic: the mip level follows the short axis of the footprint, and up to ``MAX_TAPS``
    trilinear samples lie along the long one, so that markings stay sharp along a road.

    Args:
        levels: (M, L, 3) offset, height and width per level of each material.
        level_count: (M,) number of levels.
        m: index of the material.
        du_dx: change of u from one pixel to the next on the right.
        dv_dx: change of v to the right.
        du_dy: change of u to the next pixel below.
        dv_dy: change of v downwards.

    Returns:
        The finer level, the share of the next one, the number of samples, and the long axis (u, v).
    """
    rows, cols = levels[m, 0, 1], levels[m, 0, 2]
    x_len = math.sqrt((du_dx * cols) ** 2 + (dv_dx * rows) ** 2)
    y_len = math.sqrt((du_dy * cols) ** 2 + (dv_dy * rows) ** 2)
    if x_len >= y_len:
        long_axis, short_axis, step_u, step_v = x_len, y_len, du_dx, dv_dx
    else:
        long_axis, short_axis, step_u, step_v = y_len, x_len, du_dy, dv_dy
    short_axis = max(short_axis, long_axis / MAX_TAPS, 1.0)
    taps = max(1, min(MAX_TAPS, int(long_axis / short_axis + 0.5)))
    last = level_count[m] - 1
    level = min(math.log2(short_axis), float(last))
    low = int(level)
    # two levels are mixed only half-way between them, elsewhere the nearer one is enough
    part = min(max(2.0 * (level - low) - 0.5, 0.0), 1.0)
    if part == 1.0:
        low, part = min(low + 1, last), 0.0
    return low, part, taps, step_u, step_v


@njit(cache=True, nogil=True, error_model="numpy", inline="always", fastmath=FAST)
def sample_texture(  # type: ignore[no-untyped-def]
    texels, levels, level_count, m, u, v, low, part, taps, step_u, step_v
):
    """Return the linear RGB colour of a texture over a footprint.

    Args:
        texels: (N,) RGBA texels, each in one number, red lowest.
        levels: (M, L, 3) offset, height and width per level of each material.
        level_count: (M,) number of levels.
        m: index of the material.
        u: texture coordinate, repeats.
        v: texture coordinate, repeats, up.
        low: this and the next four: see :func:`texture_footprint`.
        part: see there.
        taps: see there.
        step_u: see there.
        step_v: see there.
    """
    high = min(low + 1, level_count[m] - 1)
    low_offset, low_rows, low_cols = levels[m, low, 0], levels[m, low, 1], levels[m, low, 2]
    high_offset, high_rows, high_cols = levels[m, high, 0], levels[m, high, 1], levels[m, high, 2]
    red = green = blue = 0.0
    for tap in range(taps):
        along = (tap + 0.5) / taps - 0.5
        tap_u = u + along * step_u
        tap_v = v + along * step_v
        r, g, b = _bilinear(texels, low_offset, low_rows, low_cols, tap_u, tap_v)
        if part > 0.0:
            r1, g1, b1 = _bilinear(texels, high_offset, high_rows, high_cols, tap_u, tap_v)
            r += part * (r1 - r)
            g += part * (g1 - g)
            b += part * (b1 - b)
        red += r
        green += g
        blue += b
    scale = _LUT_STEPS / taps
    return (
        _LINEAR[int(red * scale + 0.5)],
        _LINEAR[int(green * scale + 0.5)],
        _LINEAR[int(blue * scale + 0.5)],
    )


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def sample_dome(dome, x, y, z):  # type: ignore[no-untyped-def]
    """Return the radiance of the sky in a unit direction (east, north, up)."""
    height, width = dome.shape[:2]
    col = (math.atan2(x, y) / (2.0 * math.pi) + 0.5) * width - 0.5
    row = (0.5 - math.asin(min(max(z, -1.0), 1.0)) / math.pi) * height - 0.5
    row = min(max(row, 0.0), height - 1.0)
    c0 = math.floor(col)
    r0 = int(row)
    s = col - c0
    t = row - r0
    c1 = (c0 + 1) % width
    c0 = c0 % width
    r1 = min(r0 + 1, height - 1)
    w00, w01, w10, w11 = (1 - s) * (1 - t), s * (1 - t), (1 - s) * t, s * t
    red = dome[r0, c0, 0] * w00 + dome[r0, c1, 0] * w01 + dome[r1, c0, 0] * w10
    green = dome[r0, c0, 1] * w00 + dome[r0, c1, 1] * w01 + dome[r1, c0, 1] * w10
    blue = dome[r0, c0, 2] * w00 + dome[r0, c1, 2] * w01 + dome[r1, c0, 2] * w10
    return red + dome[r1, c1, 0] * w11, green + dome[r1, c1, 1] * w11, blue + dome[r1, c1, 2] * w11


@njit(cache=True, nogil=True, error_model="numpy", inline="always", fastmath=FAST)
def _visible(maps, views, i, x, y, z, bias):  # type: ignore[no-untyped-def]
    """Return the share of light i that reaches a point, and whether its map covers it."""
    size = maps.shape[1]
    col = views[i, 0, 0] * x + views[i, 0, 1] * y + views[i, 0, 2] * z + views[i, 0, 3] - 0.5
    row = views[i, 1, 0] * x + views[i, 1, 1] * y + views[i, 1, 2] * z + views[i, 1, 3] - 0.5
    if col < 1.0 or row < 1.0 or col >= size - 2.0 or row >= size - 2.0:
        return 1.0, False
    key = views[i, 2, 0] * x + views[i, 2, 1] * y + views[i, 2, 2] * z + views[i, 2, 3] + bias
    c, r = int(col), int(row)
    s, t = col - c, row - r
    top = (1.0 - s) * (key >= maps[i, r, c]) + s * (key >= maps[i, r, c + 1])
    bottom = (1.0 - s) * (key >= maps[i, r + 1, c]) + s * (key >= maps[i, r + 1, c + 1])
    return top + t * (bottom - top), True


@njit(cache=True, nogil=True, error_model="numpy", inline="always", fastmath=FAST)
def _nearest_visible(maps, views, i, x, y, z, bias):  # type: ignore[no-untyped-def]
    """Return whether light i reaches a point, by one sample: for foliage, whose light is uneven."""
    size = maps.shape[1]
    col = views[i, 0, 0] * x + views[i, 0, 1] * y + views[i, 0, 2] * z + views[i, 0, 3]
    row = views[i, 1, 0] * x + views[i, 1, 1] * y + views[i, 1, 2] * z + views[i, 1, 3]
    if col < 0.0 or row < 0.0 or col >= size or row >= size:
        return 1.0
    key = views[i, 2, 0] * x + views[i, 2, 1] * y + views[i, 2, 2] * z + views[i, 2, 3] + bias
    return 1.0 if key >= maps[i, int(row), int(col)] else 0.0


@njit(cache=True, nogil=True, error_model="numpy", inline="always", fastmath=FAST)
def sun_share(  # type: ignore[no-untyped-def]
    sun_direction, sun_maps, sun_views, sun_texel_m, x, y, z, nx, ny, nz, leaf
):
    """Return the share of the sun's irradiance that a surface point receives.

    Args:
        sun_direction: this and the next three: arrays of a ``LightField``.
        sun_maps: see there.
        sun_views: see there.
        sun_texel_m: see there.
        x: east, metres.
        y: north, metres.
        z: up, metres.
        nx: the unit normal, east.
        ny: north.
        nz: up.
        leaf: true for thin foliage, which light passes through.
    """
    facing = nx * sun_direction[0] + ny * sun_direction[1] + nz * sun_direction[2]
    if leaf:
        facing = 0.65 * max(facing, 0.0) + 0.25 + 0.2 * max(-facing, 0.0)
    if facing <= 0.0:
        return 0.0
    share = 1.0
    for i in range(len(sun_maps)):
        texel = sun_texel_m[i]
        lift = 1.5 * texel
        share, covered = _visible(
            sun_maps, sun_views, i, x + nx * lift, y + ny * lift, z + nz * lift, 0.5 * texel
        )
        if covered:
            break
    return share * facing


@njit(cache=True, nogil=True, error_model="numpy", inline="always", fastmath=FAST)
def sky_irradiance(  # type: ignore[no-untyped-def]
    sky_directions, sky_rgb, sky_maps, sky_views, bounce_rgb, x, y, z, nx, ny, nz, leaf
):
    """Return the linear RGB light of the sky, and of what hides it, on a surface point.

    Args:
        sky_directions: this and the next four: arrays of a ``LightField``.
        sky_rgb: see there.
        sky_maps: see there.
        sky_views: see there.
        bounce_rgb: see there.
        x: east, metres.
        y: north, metres.
        z: up, metres.
        nx: the unit normal, east.
        ny: north.
        nz: up.
        leaf: true for thin foliage, which light passes through.
    """
    below = 0.5 - 0.5 * nz  # the share of the sphere that the ground fills
    red = bounce_rgb[0] * below
    green = bounce_rgb[1] * below
    blue = bounce_rgb[2] * below
    lift = 0.15
    echo = 2.0 / max(len(sky_maps), 1)
    for i in range(len(sky_maps)):
        facing = nx * sky_directions[i, 0] + ny * sky_directions[i, 1] + nz * sky_directions[i, 2]
        if leaf:
            facing = 0.7 * max(facing, 0.0) + 0.2
        if facing <= 0.0:
            continue
        px, py, pz = x + nx * lift, y + ny * lift, z + nz * lift
        if leaf:
            share = _nearest_visible(sky_maps, sky_views, i, px, py, pz, 0.1)
        else:
            share, _ = _visible(sky_maps, sky_views, i, px, py, pz, 0.1)
        seen = share * facing
        hidden = (facing - seen) * echo
        red += sky_rgb[i, 0] * seen + bounce_rgb[0] * hidden
        green += sky_rgb[i, 1] * seen + bounce_rgb[1] * hidden
        blue += sky_rgb[i, 2] * seen + bounce_rgb[2] * hidden
    return red, green, blue


@njit(cache=True, nogil=True, error_model="numpy", inline="always", fastmath=FAST)
def face_footprint(  # type: ignore[no-untyped-def]
    uv, material, levels, level_count, face, a_dx, b_dx, a_dy, b_dy
):
    """Return :func:`texture_footprint` of a pixel on a triangle.

    Args:
        uv: this and the next three: arrays of a ``PackedMesh``.
        material: see there.
        levels: see there.
        level_count: see there.
        face: index of the triangle.
        a_dx: change of the second corner's weight to the next pixel on the right.
        b_dx: change of the third corner's weight to the right.
        a_dy: change of the second corner's weight to the next pixel below.
        b_dy: change of the third corner's weight downwards.
    """
    u0, v0 = uv[face, 0, 0], uv[face, 0, 1]
    u1, v1 = uv[face, 1, 0] - u0, uv[face, 1, 1] - v0
    u2, v2 = uv[face, 2, 0] - u0, uv[face, 2, 1] - v0
    return texture_footprint(
        levels, level_count, material[face],
        a_dx * u1 + b_dx * u2, a_dx * v1 + b_dx * v2, a_dy * u1 + b_dy * u2, a_dy * v1 + b_dy * v2,
    )  # fmt: skip


@njit(cache=True, nogil=True, error_model="numpy", inline="always", fastmath=FAST)
def surface_albedo(  # type: ignore[no-untyped-def]
    uv, material, color, texels, levels, level_count, face, wa, wb, wc,
    low, part, taps, step_u, step_v,
):  # fmt: skip
    """Return the linear RGB reflectance of a surface point over the footprint of a pixel.

    Args:
        uv: this and the next two: arrays of a ``PackedMesh``.
        material: see there.
        color: see there.
        texels: see :func:`sample_texture`.
        levels: array of a ``PackedMesh``.
        level_count: see there.
        face: index of the triangle.
        wa: barycentric weight of its first corner.
        wb: of the second.
        wc: of the third.
        low: this and the next four: see :func:`face_footprint`.
        part: see there.
        taps: see there.
        step_u: see there.
        step_v: see there.
    """
    red, green, blue = sample_texture(
        texels, levels, level_count, material[face],
        wa * uv[face, 0, 0] + wb * uv[face, 1, 0] + wc * uv[face, 2, 0],
        wa * uv[face, 0, 1] + wb * uv[face, 1, 1] + wc * uv[face, 2, 1],
        low, part, taps, step_u, step_v,
    )  # fmt: skip
    if len(color) > 0:
        red *= wa * color[face, 0, 0] + wb * color[face, 1, 0] + wc * color[face, 2, 0]
        green *= wa * color[face, 0, 1] + wb * color[face, 1, 1] + wc * color[face, 2, 1]
        blue *= wa * color[face, 0, 2] + wb * color[face, 1, 2] + wc * color[face, 2, 2]
    return red, green, blue


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def is_flat(normals, face):  # type: ignore[no-untyped-def]
    """Return whether a triangle has one normal; see :func:`surface_normal`."""
    if len(normals) > 0:
        for axis in range(3):
            first = normals[face, 0, axis]
            if normals[face, 1, axis] != first or normals[face, 2, axis] != first:
                return False
    return True


@njit(cache=True, nogil=True, error_model="numpy", inline="always", fastmath=FAST)
def surface_normal(  # type: ignore[no-untyped-def]
    vertices, faces, normals, face, wa, wb, wc, vx, vy, vz
):
    """Return the unit shading normal of a surface point, towards the viewer unless given.

    Args:
        vertices: this and the next two: arrays of a ``PackedMesh``.
        faces: see there.
        normals: see there.
        face: index of the triangle.
        wa: barycentric weight of its first corner.
        wb: of the second.
        wc: of the third.
        vx: unit direction from the viewer to the point, east.
        vy: north.
        vz: up.
    """
    if len(normals) > 0:
        nx = wa * normals[face, 0, 0] + wb * normals[face, 1, 0] + wc * normals[face, 2, 0]
        ny = wa * normals[face, 0, 1] + wb * normals[face, 1, 1] + wc * normals[face, 2, 1]
        nz = wa * normals[face, 0, 2] + wb * normals[face, 1, 2] + wc * normals[face, 2, 2]
        norm = math.sqrt(nx * nx + ny * ny + nz * nz)
        if norm > 0.1:
            return nx / norm, ny / norm, nz / norm
    i, j, k = faces[face, 0], faces[face, 1], faces[face, 2]
    ax, ay, az = vertices[i, 0], vertices[i, 1], vertices[i, 2]
    bx, by, bz = vertices[j, 0] - ax, vertices[j, 1] - ay, vertices[j, 2] - az
    cx, cy, cz = vertices[k, 0] - ax, vertices[k, 1] - ay, vertices[k, 2] - az
    nx, ny, nz = float(by * cz - bz * cy), float(bz * cx - bx * cz), float(bx * cy - by * cx)
    norm = math.sqrt(nx * nx + ny * ny + nz * nz)
    if norm == 0.0:
        return 0.0, 0.0, 1.0
    if nx * vx + ny * vy + nz * vz > 0.0:  # surfaces have two sides
        norm = -norm
    return nx / norm, ny / norm, nz / norm


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def add_reflection(  # type: ignore[no-untyped-def]
    dome, bounce_rgb, specular, red, green, blue, nx, ny, nz, vx, vy, vz
):
    """Return a surface's linear RGB with the sky mirrored in it (Schlick's approximation).

    Args:
        dome: radiance of the sky, see ``LightField``.
        bounce_rgb: radiance of the ground.
        specular: reflectance at normal incidence.
        red: the surface's own radiance.
        green: the same.
        blue: the same.
        nx: unit normal, east.
        ny: north.
        nz: up.
        vx: unit direction from the viewer to the point, east.
        vy: north.
        vz: up.
    """
    cosine = -(nx * vx + ny * vy + nz * vz)
    grazing = 1.0 - min(max(cosine, 0.0), 1.0)
    share = specular + (1.0 - specular) * grazing**5
    rx, ry, rz = vx + 2 * cosine * nx, vy + 2 * cosine * ny, vz + 2 * cosine * nz
    if rz >= 0.0:
        sr, sg, sb = sample_dome(dome, rx, ry, rz)
    else:
        sr, sg, sb = bounce_rgb[0], bounce_rgb[1], bounce_rgb[2]
    return (
        red + share * (min(sr, 4.0) - red),
        green + share * (min(sg, 4.0) - green),
        blue + share * (min(sb, 4.0) - blue),
    )
