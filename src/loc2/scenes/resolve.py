"""From face indices to images: colour, distance and class of every pixel, compiled.

Each pixel holds 2x2 samples. Every face among them is shaded once, over the pixel's footprint,
and weighted by its samples; distance and class belong to one face, the one that the ray through
the pixel's centre meets, so that they never mix across an edge.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from loc2.scenes.shade import (
    FAST,
    add_reflection,
    face_footprint,
    is_flat,
    sample_dome,
    sky_irradiance,
    sun_share,
    surface_albedo,
    surface_normal,
)

NO_FACE = -1
_LEAVES = -2  # in place of a face: any cut-out card
_OUTSIDE = 1e-4  # barycentric tolerance of "the ray meets the face"


@njit(cache=True, nogil=True, error_model="numpy")
def _cube_face(cube, x, y, z):  # type: ignore[no-untyped-def]
    """Return the face index that a cube of views holds in direction (east, north, up).

    Views 0 to 5 look east, west, north, south, up and down; see ``raster.CUBE_AXES``.
    """
    ax, ay, az = abs(x), abs(y), abs(z)
    if az >= ax and az >= ay:
        side = 4 if z > 0 else 5
        forward, right, down = az, x, (y if z > 0 else -y)
    elif ax >= ay:
        side = 0 if x > 0 else 1
        forward, right, down = ax, (-y if x > 0 else y), -z
    else:
        side = 2 if y > 0 else 3
        forward, right, down = ay, (x if y > 0 else -x), -z
    size = cube.shape[1]
    half = 0.5 * size
    scale = half / forward
    col = min(int(right * scale + half), size - 1)
    row = min(int(down * scale + half), size - 1)
    return cube[side, row, col]


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _group(seen, ids, hits, mean):  # type: ignore[no-untyped-def]
    """Group a pixel's samples by face: write faces, numbers and sums of places; return how many."""
    count = 0
    for s in range(4):
        slot = 0
        while slot < count and ids[slot] != seen[s]:
            slot += 1
        if slot == count:
            ids[slot] = seen[s]
            hits[slot] = 0
            mean[slot, 0] = mean[slot, 1] = 0.0
            count += 1
        hits[slot] += 1
        mean[slot, 0] += (s % 2) * 0.5 - 0.25
        mean[slot, 1] += (s // 2) * 0.5 - 0.25
    return count


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def resolve_ground(  # type: ignore[no-untyped-def]
    mesh, light, offset, origin, rays, samples, is_cube, rgb, distance, classes
):
    """Shade a ground view.

    Args:
        mesh: a ``PackedMesh``.
        light: a ``LightField``.
        offset: (V, 3) vertices from the camera, metres.
        origin: (3,) camera position, metres.
        rays: (H + 1, W + 1, 3) unit rays of the pixel centres, world axes, with one more row and
            column than the image for footprints.
        samples: face indices: (6, S, S) of a cube of views, or (1, 2 H, 2 W) of the image itself.
        is_cube: which of the two.
        rgb: (H, W, 3) output, linear radiance.
        distance: (H, W) output, metres along the ray, inf where there is no surface.
        classes: (H, W) output.
    """
    # taken out of the tuples once: compiled code counts a reference each time
    vertices = mesh.vertices
    faces = mesh.faces
    uv = mesh.uv
    material = mesh.material
    color = mesh.color
    normals = mesh.normals
    texels = mesh.texels.reshape(-1).view(np.uint32)  # whole texels
    levels = mesh.levels
    level_count = mesh.level_count
    has_alpha = mesh.has_alpha
    specular = mesh.specular
    class_id = mesh.class_id
    sun_direction = light.sun_direction
    sun_rgb = light.sun_rgb
    sun_maps = light.sun_maps
    sun_views = light.sun_views
    sun_texel_m = light.sun_texel_m
    sky_directions = light.sky_directions
    sky_rgb = light.sky_rgb
    sky_maps = light.sky_maps
    sky_views = light.sky_views
    bounce_rgb = light.bounce_rgb
    dome = light.dome
    self_lit = light.self_lit
    haze_rgb = light.haze_rgb
    haze_per_m = light.haze_per_m
    height, width = distance.shape
    seen = np.empty(4, np.int32)
    ids = np.empty(4, np.int32)
    hits = np.empty(4, np.int32)
    mean = np.empty((4, 2))
    # the sky's light is smooth: it is kept for blocks of 2x2 pixels, once for leaves, once for the
    # last other face
    block_face = np.full((width // 2 + 1, 2), NO_FACE, np.int32)
    block_light = np.empty((width // 2 + 1, 2, 3))
    held = NO_FACE  # what is the same for all of a face is kept while it is the last one
    for row in range(height):
        for col in range(width):
            d0, d1, d2 = rays[row, col, 0], rays[row, col, 1], rays[row, col, 2]
            x0 = rays[row, col + 1, 0] - d0
            x1 = rays[row, col + 1, 1] - d1
            x2 = rays[row, col + 1, 2] - d2
            y0 = rays[row + 1, col, 0] - d0
            y1 = rays[row + 1, col, 1] - d1
            y2 = rays[row + 1, col, 2] - d2
            block = col // 2
            if row % 2 == 0 and col % 2 == 0:
                block_face[block] = NO_FACE
            for s in range(4):
                if is_cube:
                    sx, sy = (s % 2) * 0.5 - 0.25, (s // 2) * 0.5 - 0.25
                    seen[s] = _cube_face(
                        samples, d0 + sx * x0 + sy * y0, d1 + sx * x1 + sy * y1,
                        d2 + sx * x2 + sy * y2,
                    )  # fmt: skip
                else:
                    seen[s] = samples[0, 2 * row + s // 2, 2 * col + s % 2]
            count = _group(seen, ids, hits, mean)
            red = green = blue = 0.0
            best = -1
            best_t = math.inf
            major = -1
            major_t = math.inf
            major_hits = 0
            for slot in range(count):
                face = ids[slot]
                share = hits[slot] * 0.25
                if face < 0:
                    r, g, b = sample_dome(dome, d0, d1, d2)
                    red, green, blue = red + share * r, green + share * g, blue + share * b
                    if hits[slot] > major_hits:
                        major, major_t, major_hits = -1, math.inf, hits[slot]
                    continue
                if face != held:
                    held = face
                    i, j, k = faces[face, 0], faces[face, 1], faces[face, 2]
                    a0, a1, a2 = float(offset[i, 0]), float(offset[i, 1]), float(offset[i, 2])
                    b0, b1, b2 = float(offset[j, 0]), float(offset[j, 1]), float(offset[j, 2])
                    c0, c1, c2 = float(offset[k, 0]), float(offset[k, 1]), float(offset[k, 2])
                    # the weights of the corners at direction d are proportional to d . (b x c), ...
                    pa0, pa1, pa2 = b1 * c2 - b2 * c1, b2 * c0 - b0 * c2, b0 * c1 - b1 * c0
                    pb0, pb1, pb2 = c1 * a2 - c2 * a1, c2 * a0 - c0 * a2, c0 * a1 - c1 * a0
                    pc0, pc1, pc2 = a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0
                    volume = a0 * pa0 + a1 * pa1 + a2 * pa2
                    m = material[face]
                    leaf, mirror = has_alpha[m], specular[m]
                    flat = is_flat(normals, face)
                    fx, fy, fz = surface_normal(
                        vertices, faces, normals, face, 1 / 3, 1 / 3, 1 / 3, a0, a1, a2
                    )
                # the ray of the centre: does it meet the face, and how far away?
                wa = d0 * pa0 + d1 * pa1 + d2 * pa2
                wb = d0 * pb0 + d1 * pb1 + d2 * pb2
                wc = d0 * pc0 + d1 * pc1 + d2 * pc2
                total = wa + wb + wc
                t = volume / total
                inmost = min(wa / total, wb / total, wc / total)
                met = total != 0.0 and inmost >= -_OUTSIDE
                holed = leaf and hits[slot] < 2
                if met and not holed and 0.0 < t < best_t:
                    best, best_t = face, t
                # shading: the mean ray of the samples that see the face
                if hits[slot] < 4:
                    mx, my = mean[slot, 0] / hits[slot], mean[slot, 1] / hits[slot]
                    e0 = d0 + mx * x0 + my * y0
                    e1 = d1 + mx * x1 + my * y1
                    e2 = d2 + mx * x2 + my * y2
                    wa = e0 * pa0 + e1 * pa1 + e2 * pa2
                    wb = e0 * pb0 + e1 * pb1 + e2 * pb2
                    wc = e0 * pc0 + e1 * pc1 + e2 * pc2
                    total = wa + wb + wc
                if total == 0.0 or volume / total <= 0.0:
                    wa = wb = wc = 1.0  # seen edge-on
                    total = 3.0
                fa = min(max(wa / total, 0.0), 1.0)
                fb = min(max(wb / total, 0.0), 1.0)
                fc = min(max(wc / total, 0.0), 1.0)
                norm = fa + fb + fc
                fa, fb, fc = fa / norm, fb / norm, fc / norm
                p0 = fa * a0 + fb * b0 + fc * c0
                p1 = fa * a1 + fb * b1 + fc * c1
                p2 = fa * a2 + fb * b2 + fc * c2
                depth = math.sqrt(p0 * p0 + p1 * p1 + p2 * p2)
                ta = x0 * pa0 + x1 * pa1 + x2 * pa2
                tb = x0 * pb0 + x1 * pb1 + x2 * pb2
                tc = x0 * pc0 + x1 * pc1 + x2 * pc2
                # derivative of the normalised weights: d(w / total)
                t_all = (ta + tb + tc) / total
                xb, xc = (tb - t_all * wb) / total, (tc - t_all * wc) / total
                ta = y0 * pa0 + y1 * pa1 + y2 * pa2
                tb = y0 * pb0 + y1 * pb1 + y2 * pb2
                tc = y0 * pc0 + y1 * pc1 + y2 * pc2
                t_all = (ta + tb + tc) / total
                yb, yc = (tb - t_all * wb) / total, (tc - t_all * wc) / total
                if hits[slot] > major_hits:
                    # the centre's ray just misses the face: its plane, if within a pixel or two
                    reach = abs(xb) + abs(xc) + abs(yb) + abs(yc)
                    if not (t > 0.0 and inmost >= -2.0 * reach):
                        t = depth
                    major, major_t, major_hits = face, t, hits[slot]
                inverse = 1.0 / max(depth, 1e-9)
                vx, vy, vz = p0 * inverse, p1 * inverse, p2 * inverse
                low, part, taps, step_u, step_v = face_footprint(
                    uv, material, levels, level_count, face, xb, xc, yb, yc
                )
                r, g, b = surface_albedo(
                    uv, material, color, texels, levels, level_count, face, fa, fb, fc,
                    low, part, taps, step_u, step_v,
                )  # fmt: skip
                if not self_lit:
                    nx, ny, nz = fx, fy, fz
                    if not flat:
                        nx, ny, nz = surface_normal(
                            vertices, faces, normals, face, fa, fb, fc, vx, vy, vz
                        )
                    side = 1 if leaf else 0
                    if block_face[block, side] != (_LEAVES if leaf else face):
                        block_face[block, side] = _LEAVES if leaf else face
                        kept = sky_irradiance(
                            sky_directions, sky_rgb, sky_maps, sky_views, bounce_rgb,
                            origin[0] + p0, origin[1] + p1, origin[2] + p2, nx, ny, nz, leaf,
                        )  # fmt: skip
                        for c in range(3):
                            block_light[block, side, c] = kept[c]
                    lr, lg = block_light[block, side, 0], block_light[block, side, 1]
                    lb = block_light[block, side, 2]
                    sun = sun_share(
                        sun_direction, sun_maps, sun_views, sun_texel_m,
                        origin[0] + p0, origin[1] + p1, origin[2] + p2, nx, ny, nz, leaf,
                    )  # fmt: skip
                    r *= lr + sun * sun_rgb[0]
                    g *= lg + sun * sun_rgb[1]
                    b *= lb + sun * sun_rgb[2]
                    if mirror > 0.0:
                        r, g, b = add_reflection(
                            dome, bounce_rgb, mirror, r, g, b, nx, ny, nz, vx, vy, vz
                        )
                if haze_per_m > 0.0:
                    fade = 1.0 - math.exp(-haze_per_m * depth)
                    r += fade * (haze_rgb[0] - r)
                    g += fade * (haze_rgb[1] - g)
                    b += fade * (haze_rgb[2] - b)
                red, green, blue = red + share * r, green + share * g, blue + share * b
            if best < 0:
                best, best_t = major, major_t
            rgb[row, col, 0], rgb[row, col, 1], rgb[row, col, 2] = red, green, blue
            distance[row, col] = best_t
            classes[row, col] = class_id[best] if best >= 0 else 0


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def resolve_aerial(  # type: ignore[no-untyped-def]
    mesh, light, screen, samples, view, rgb, top, classes
):
    """Shade a view from above.

    Args:
        mesh: a ``PackedMesh``.
        light: a ``LightField``.
        screen: (V, 3) vertices as (column, row, height) in pixels, pixels and metres.
        samples: (2 H, 2 W) face indices.
        view: (3,) unit direction of sight, world axes (down).
        rgb: (H, W, 3) output, linear radiance; black where there is no surface.
        top: (H, W) output, height of the topmost surface, metres, -inf where there is none.
        classes: (H, W) output.
    """
    # as above
    vertices = mesh.vertices
    faces = mesh.faces
    uv = mesh.uv
    material = mesh.material
    color = mesh.color
    normals = mesh.normals
    texels = mesh.texels.reshape(-1).view(np.uint32)  # whole texels
    levels = mesh.levels
    level_count = mesh.level_count
    has_alpha = mesh.has_alpha
    specular = mesh.specular
    class_id = mesh.class_id
    sun_direction = light.sun_direction
    sun_rgb = light.sun_rgb
    sun_maps = light.sun_maps
    sun_views = light.sun_views
    sun_texel_m = light.sun_texel_m
    sky_directions = light.sky_directions
    sky_rgb = light.sky_rgb
    sky_maps = light.sky_maps
    sky_views = light.sky_views
    bounce_rgb = light.bounce_rgb
    dome = light.dome
    self_lit = light.self_lit
    height, width = top.shape
    seen = np.empty(4, np.int32)
    ids = np.empty(4, np.int32)
    hits = np.empty(4, np.int32)
    mean = np.empty((4, 2))
    # the sky's light is smooth: it is kept for blocks of 2x2 pixels, once for leaves, once for the
    # last other face
    block_face = np.full((width // 2 + 1, 2), NO_FACE, np.int32)
    block_light = np.empty((width // 2 + 1, 2, 3))
    held = NO_FACE  # what is the same for all of a face is kept while it is the last one
    for row in range(height):
        for col in range(width):
            block = col // 2
            if row % 2 == 0 and col % 2 == 0:
                block_face[block] = NO_FACE
            for s in range(4):
                seen[s] = samples[2 * row + s // 2, 2 * col + s % 2]
            count = _group(seen, ids, hits, mean)
            red = green = blue = 0.0
            best = major = -1
            best_z = major_z = -math.inf
            major_hits = 0
            for slot in range(count):
                face = ids[slot]
                if face < 0:
                    if hits[slot] > major_hits:
                        major, major_z, major_hits = -1, -math.inf, hits[slot]
                    continue
                if face != held:
                    held = face
                    i, j, k = faces[face, 0], faces[face, 1], faces[face, 2]
                    ax, ay, az = float(screen[i, 0]), float(screen[i, 1]), float(screen[i, 2])
                    bx, by, bz = screen[j, 0] - ax, screen[j, 1] - ay, screen[j, 2] - az
                    cx, cy, cz = screen[k, 0] - ax, screen[k, 1] - ay, screen[k, 2] - az
                    area = bx * cy - by * cx
                    inverse = 1.0 / (area if area != 0.0 else 1e-12)
                    bx, by, cx, cy = bx * inverse, by * inverse, cx * inverse, cy * inverse
                    m = material[face]
                    leaf, mirror = has_alpha[m], specular[m]
                    low, part, taps, step_u, step_v = face_footprint(
                        uv, material, levels, level_count, face, cy, -by, -cx, bx
                    )
                    flat = is_flat(normals, face)
                    fx, fy, fz = surface_normal(
                        vertices, faces, normals, face, 1 / 3, 1 / 3, 1 / 3,
                        view[0], view[1], view[2],
                    )  # fmt: skip
                px, py = col + 0.5 - ax, row + 0.5 - ay
                wb = px * cy - py * cx
                wc = bx * py - by * px
                if min(wb, wc, 1.0 - wb - wc) >= -_OUTSIDE:
                    z = az + wb * bz + wc * cz
                    if z > best_z and not (leaf and hits[slot] < 2):
                        best, best_z = face, z
                if hits[slot] < 4:
                    px += mean[slot, 0] / hits[slot]
                    py += mean[slot, 1] / hits[slot]
                    wb = px * cy - py * cx
                    wc = bx * py - by * px
                wb = min(max(wb, 0.0), 1.0)
                wc = min(max(wc, 0.0), 1.0 - wb)
                wa = 1.0 - wb - wc
                if hits[slot] > major_hits:
                    major, major_z, major_hits = face, az + wb * bz + wc * cz, hits[slot]
                x = wa * vertices[i, 0] + wb * vertices[j, 0] + wc * vertices[k, 0]
                y = wa * vertices[i, 1] + wb * vertices[j, 1] + wc * vertices[k, 1]
                z = wa * vertices[i, 2] + wb * vertices[j, 2] + wc * vertices[k, 2]
                r, g, b = surface_albedo(
                    uv, material, color, texels, levels, level_count, face, wa, wb, wc,
                    low, part, taps, step_u, step_v,
                )  # fmt: skip
                if not self_lit:
                    nx, ny, nz = fx, fy, fz
                    if not flat:
                        nx, ny, nz = surface_normal(
                            vertices, faces, normals, face, wa, wb, wc, view[0], view[1], view[2]
                        )
                    side = 1 if leaf else 0
                    if block_face[block, side] != (_LEAVES if leaf else face):
                        block_face[block, side] = _LEAVES if leaf else face
                        kept = sky_irradiance(
                            sky_directions, sky_rgb, sky_maps, sky_views, bounce_rgb,
                            x, y, z, nx, ny, nz, leaf,
                        )  # fmt: skip
                        for c in range(3):
                            block_light[block, side, c] = kept[c]
                    lr, lg = block_light[block, side, 0], block_light[block, side, 1]
                    lb = block_light[block, side, 2]
                    sun = sun_share(
                        sun_direction, sun_maps, sun_views, sun_texel_m,
                        x, y, z, nx, ny, nz, leaf,
                    )  # fmt: skip
                    r *= lr + sun * sun_rgb[0]
                    g *= lg + sun * sun_rgb[1]
                    b *= lb + sun * sun_rgb[2]
                    if mirror > 0.0:
                        r, g, b = add_reflection(
                            dome, bounce_rgb, mirror, r, g, b, nx, ny, nz, view[0], view[1], view[2]
                        )
                share = hits[slot] * 0.25
                red, green, blue = red + share * r, green + share * g, blue + share * b
            if best < 0:
                best, best_z = major, major_z
            rgb[row, col, 0], rgb[row, col, 1], rgb[row, col, 2] = red, green, blue
            top[row, col] = best_z
            classes[row, col] = class_id[best] if best >= 0 else 0
