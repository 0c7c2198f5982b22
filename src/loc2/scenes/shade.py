"""Texture sampling and lighting of single surface points, compiled."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from loc2.scenes.texture import srgb_to_linear

MAX_TAPS = 8
"""Texture samples along the long axis of a pixel's footprint."""

_LUT_STEPS = 4
_LINEAR = srgb_to_linear(np.arange(255 * _LUT_STEPS + 2) / (255.0 * _LUT_STEPS))


@njit(cache=True, nogil=True, error_model="numpy")
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
    i, j, k, m = a + x0, a + x1, b + x0, b + x1
    red = texels[i, 0] * w00 + texels[j, 0] * w01 + texels[k, 0] * w10 + texels[m, 0] * w11
    green = texels[i, 1] * w00 + texels[j, 1] * w01 + texels[k, 1] * w10 + texels[m, 1] * w11
    blue = texels[i, 2] * w00 + texels[j, 2] * w01 + texels[k, 2] * w10 + texels[m, 2] * w11
    return red, green, blue


@njit(cache=True, nogil=True, error_model="numpy")
def sample_texture(  # type: ignore[no-untyped-def]
    texels, levels, level_count, u, v, du_dx, dv_dx, du_dy, dv_dy
):
    """Return the linear RGB colour of a texture over the footprint of one pixel.

    Anisotropic: the mip level follows the short axis of the footprint, and up to ``MAX_TAPS``
    trilinear samples lie along the long one, so that markings stay sharp along a road.

    Args:
        texels: (N, 4) texels.
        levels: (L, 3) offset, height and width per level.
        level_count: number of levels.
        u: texture coordinate, repeats.
        v: texture coordinate, repeats, up.
        du_dx: change of u from one pixel to the next on the right.
        dv_dx: change of v to the right.
        du_dy: change of u to the next pixel below.
        dv_dy: change of v downwards.
    """
    rows, cols = levels[0, 1], levels[0, 2]
    x_len = math.hypot(du_dx * cols, dv_dx * rows)
    y_len = math.hypot(du_dy * cols, dv_dy * rows)
    if x_len >= y_len:
        long_axis, short_axis, step_u, step_v = x_len, y_len, du_dx, dv_dx
    else:
        long_axis, short_axis, step_u, step_v = y_len, x_len, du_dy, dv_dy
    short_axis = max(short_axis, long_axis / MAX_TAPS, 1.0)
    taps = max(1, min(MAX_TAPS, int(long_axis / short_axis + 0.5)))
    level = min(math.log2(short_axis), level_count - 1.0)
    low = int(level)
    part = level - low
    high = min(low + 1, level_count - 1)
    red = green = blue = 0.0
    for tap in range(taps):
        along = (tap + 0.5) / taps - 0.5
        tap_u = u + along * step_u
        tap_v = v + along * step_v
        r, g, b = _bilinear(texels, levels[low, 0], levels[low, 1], levels[low, 2], tap_u, tap_v)
        if part > 0.03:
            r1, g1, b1 = _bilinear(
                texels, levels[high, 0], levels[high, 1], levels[high, 2], tap_u, tap_v
            )
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


@njit(cache=True, nogil=True, error_model="numpy")
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


@njit(cache=True, nogil=True, error_model="numpy")
def _visible(depths, view, x, y, z, bias):  # type: ignore[no-untyped-def]
    """Return the share of light that reaches a point, and whether the map covers it."""
    size = depths.shape[0]
    col = view[0, 0] * x + view[0, 1] * y + view[0, 2] * z + view[0, 3] - 0.5
    row = view[1, 0] * x + view[1, 1] * y + view[1, 2] * z + view[1, 3] - 0.5
    if col < 1.0 or row < 1.0 or col >= size - 2.0 or row >= size - 2.0:
        return 1.0, False
    key = view[2, 0] * x + view[2, 1] * y + view[2, 2] * z + view[2, 3] + bias
    c, r = int(col), int(row)
    s, t = col - c, row - r
    top = (1.0 - s) * (key >= depths[r, c]) + s * (key >= depths[r, c + 1])
    bottom = (1.0 - s) * (key >= depths[r + 1, c]) + s * (key >= depths[r + 1, c + 1])
    return top + t * (bottom - top), True


@njit(cache=True, nogil=True, error_model="numpy")
def irradiance(light, x, y, z, nx, ny, nz, leaf):  # type: ignore[no-untyped-def]
    """Return the linear RGB light that falls on a surface point.

    Args:
        light: a ``LightField``.
        x: east, metres.
        y: north, metres.
        z: up, metres.
        nx: the unit normal, east.
        ny: north.
        nz: up.
        leaf: true for thin foliage, which light passes through.
    """
    red = green = blue = 0.0
    sun = light.sun_direction
    facing = nx * sun[0] + ny * sun[1] + nz * sun[2]
    if leaf:
        facing = 0.65 * max(facing, 0.0) + 0.25 + 0.2 * max(-facing, 0.0)
    if facing > 0.0:
        share = 1.0
        for i in range(len(light.sun_maps)):
            view = light.sun_views[i]
            texel = 1.0 / math.sqrt(view[0, 0] ** 2 + view[0, 1] ** 2 + view[0, 2] ** 2)
            lift = 1.5 * texel
            share, covered = _visible(
                light.sun_maps[i], view, x + nx * lift, y + ny * lift, z + nz * lift, 0.5 * texel
            )
            if covered:
                break
        share *= facing
        red += light.sun_rgb[0] * share
        green += light.sun_rgb[1] * share
        blue += light.sun_rgb[2] * share
    lift = 0.15
    for i in range(len(light.sky_maps)):
        d = light.sky_directions[i]
        facing = nx * d[0] + ny * d[1] + nz * d[2]
        if leaf:
            facing = 0.7 * max(facing, 0.0) + 0.2
        if facing <= 0.0:
            continue
        share, _ = _visible(
            light.sky_maps[i],
            light.sky_views[i],
            x + nx * lift,
            y + ny * lift,
            z + nz * lift,
            0.1,
        )
        seen = share * facing
        hidden = (facing - seen) * 2.0 / len(light.sky_maps)
        red += light.sky_rgb[i, 0] * seen + light.bounce_rgb[0] * hidden
        green += light.sky_rgb[i, 1] * seen + light.bounce_rgb[1] * hidden
        blue += light.sky_rgb[i, 2] * seen + light.bounce_rgb[2] * hidden
    below = 0.5 - 0.5 * nz  # the share of the sphere that the ground fills
    return (
        red + light.bounce_rgb[0] * below,
        green + light.bounce_rgb[1] * below,
        blue + light.bounce_rgb[2] * below,
    )


@njit(cache=True, nogil=True, error_model="numpy")
def surface_color(  # type: ignore[no-untyped-def]
    mesh, light, face, wa, wb, wc, x, y, z, vx, vy, vz, du_dx, dv_dx, du_dy, dv_dy
):
    """Return the linear RGB radiance that a surface point sends to the viewer.

    Args:
        mesh: a ``PackedMesh``.
        light: a ``LightField``.
        face: index of the triangle.
        wa: barycentric weight of its first corner.
        wb: of the second.
        wc: of the third.
        x: position, east, metres.
        y: north.
        z: up.
        vx: unit direction from the viewer to the point, east.
        vy: north.
        vz: up.
        du_dx: footprint, see :func:`sample_texture`.
        dv_dx: footprint.
        du_dy: footprint.
        dv_dy: footprint.
    """
    uv = mesh.uv[face]
    u = wa * uv[0, 0] + wb * uv[1, 0] + wc * uv[2, 0]
    v = wa * uv[0, 1] + wb * uv[1, 1] + wc * uv[2, 1]
    m = mesh.material[face]
    red, green, blue = sample_texture(
        mesh.texels, mesh.levels[m], mesh.level_count[m], u, v, du_dx, dv_dx, du_dy, dv_dy
    )
    if len(mesh.color) > 0:
        tint = mesh.color[face]
        red *= wa * tint[0, 0] + wb * tint[1, 0] + wc * tint[2, 0]
        green *= wa * tint[0, 1] + wb * tint[1, 1] + wc * tint[2, 1]
        blue *= wa * tint[0, 2] + wb * tint[1, 2] + wc * tint[2, 2]
    if light.self_lit:
        return red, green, blue
    i, j, k = mesh.faces[face, 0], mesh.faces[face, 1], mesh.faces[face, 2]
    p = mesh.vertices
    ax, ay, az = p[j, 0] - p[i, 0], p[j, 1] - p[i, 1], p[j, 2] - p[i, 2]
    bx, by, bz = p[k, 0] - p[i, 0], p[k, 1] - p[i, 1], p[k, 2] - p[i, 2]
    nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
    norm = math.sqrt(nx * nx + ny * ny + nz * nz)
    if norm > 0.0:
        nx, ny, nz = nx / norm, ny / norm, nz / norm
    if nx * vx + ny * vy + nz * vz > 0.0:  # surfaces have two sides
        nx, ny, nz = -nx, -ny, -nz
    if len(mesh.normals) > 0:
        corner = mesh.normals[face]
        sx = wa * corner[0, 0] + wb * corner[1, 0] + wc * corner[2, 0]
        sy = wa * corner[0, 1] + wb * corner[1, 1] + wc * corner[2, 1]
        sz = wa * corner[0, 2] + wb * corner[1, 2] + wc * corner[2, 2]
        norm = math.sqrt(sx * sx + sy * sy + sz * sz)
        if norm > 0.1:
            nx, ny, nz = sx / norm, sy / norm, sz / norm
    lr, lg, lb = irradiance(light, x, y, z, nx, ny, nz, mesh.has_alpha[m])
    red, green, blue = red * lr, green * lg, blue * lb
    specular = mesh.specular[m]
    if specular > 0.0:
        cosine = -(nx * vx + ny * vy + nz * vz)
        grazing = 1.0 - min(max(cosine, 0.0), 1.0)
        share = specular + (1.0 - specular) * grazing**5
        rx, ry, rz = vx + 2 * cosine * nx, vy + 2 * cosine * ny, vz + 2 * cosine * nz
        sr, sg, sb = sample_dome(light.dome, rx, ry, rz)
        if rz < 0.0:
            sr, sg, sb = light.bounce_rgb[0], light.bounce_rgb[1], light.bounce_rgb[2]
        red += share * (min(sr, 4.0) - red)
        green += share * (min(sg, 4.0) - green)
        blue += share * (min(sb, 4.0) - blue)
    return red, green, blue
