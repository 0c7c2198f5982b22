"""A mesh as plain contiguous arrays, the form that compiled code reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from loc2.scenes.mesh import Material, Mesh
from loc2.scenes.texture import MAX_LEVELS, fill_pyramid, pyramid_levels, texel_count

Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]
UInt8 = NDArray[np.uint8]


class PackedMesh(NamedTuple):
    """The arrays of a mesh and its materials.

    Attributes:
        vertices: (V, 3) metres.
        faces: (F, 3) vertex indices.
        uv: (F, 3, 2) texture coordinates, repeats.
        material: (F,) material indices.
        class_id: (F,) semantic classes.
        color: (F, 3, 3) factors, or (0, 3, 3) for none.
        normals: (F, 3, 3) corner normals, or (0, 3, 3) for none.
        texels: (N, 4) RGBA texels of all mip levels of all materials.
        levels: (M, MAX_LEVELS, 3) offset, height and width of each level.
        level_count: (M,) number of levels.
        has_alpha: (M,) whether the material is cut out by a mask.
        specular: (M,) reflectance at normal incidence.
        casts_shadow: (M,) false for painted ground, on which shadows only fall.
    """

    vertices: Float32
    faces: Int32
    uv: Float32
    material: Int32
    class_id: UInt8
    color: Float32
    normals: Float32
    texels: UInt8
    levels: Int32
    level_count: Int32
    has_alpha: NDArray[np.bool_]
    specular: Float32
    casts_shadow: NDArray[np.bool_]


def pack(mesh: Mesh, *, fill: bool = True) -> PackedMesh:
    """Return the arrays of a mesh, its textures joined into one array of texels.

    Args:
        mesh: the mesh.
        fill: false leaves opaque textures blank, which drawing does not need, until it is known
            which are seen; see :func:`fill_seen`.
    """
    count = len(mesh.materials)
    levels = np.zeros((count, MAX_LEVELS, 3), np.int32)
    level_count = np.zeros(count, np.int32)
    chunks: list[UInt8 | None] = []
    offset = 0
    for i, material in enumerate(mesh.materials):
        blank = material.alpha is None and not fill
        texels, info = (
            (None, pyramid_levels(*material.texture.shape[:2])) if blank else material.pyramid
        )
        level_count[i] = len(info)
        levels[i, : len(info)] = info + np.array([offset, 0, 0], np.int32)
        chunks.append(texels)
        offset += texel_count(info)
    joined = np.empty((offset, 4), np.uint8)
    for i, texels in enumerate(chunks):
        if texels is not None:
            joined[levels[i, 0, 0] : levels[i, 0, 0] + len(texels)] = texels
    none = np.zeros((0, 3, 3), np.float32)
    return PackedMesh(
        vertices=np.ascontiguousarray(mesh.vertices, np.float32),
        faces=np.ascontiguousarray(mesh.faces, np.int32),
        uv=np.ascontiguousarray(mesh.uv, np.float32),
        material=np.ascontiguousarray(mesh.material, np.int32),
        class_id=np.ascontiguousarray(mesh.class_id, np.uint8),
        color=none if mesh.color is None else np.ascontiguousarray(mesh.color, np.float32),
        normals=none if mesh.normals is None else np.ascontiguousarray(mesh.normals, np.float32),
        texels=joined,
        levels=levels,
        level_count=level_count,
        has_alpha=np.array([m.alpha is not None for m in mesh.materials], np.bool_),
        specular=np.array([m.specular for m in mesh.materials], np.float32),
        casts_shadow=np.array([m.paint is None for m in mesh.materials], np.bool_),
    )


def fill_seen(packed: PackedMesh, materials: Sequence[Material], samples: Int32) -> None:
    """Fill in the textures that were left blank, those that are seen.

    Args:
        packed: the mesh, packed without them; its texels are written.
        materials: the mesh's materials.
        samples: indices of the faces that are seen, -1 for none; any shape.
    """
    seen = np.zeros(len(packed.faces) + 1, np.bool_)
    _mark(samples.reshape(-1), seen)  # the last for -1
    faces = np.flatnonzero(seen[:-1])
    owner = packed.material[faces]
    for i in np.unique(owner):
        material = materials[i]
        levels = packed.levels[i, : packed.level_count[i]]
        start = int(levels[0, 0])
        if material.paint is not None:
            levels = levels - np.array([start, 0, 0], np.int32)
            texture = material.paint(packed.uv[faces[owner == i]])
            fill_pyramid(texture, None, levels, packed.texels[start:])
        elif material.alpha is None:
            texels = material.pyramid[0]
            packed.texels[start : start + len(texels)] = texels


@njit(cache=True, nogil=True)
def _mark(indices, marked):  # type: ignore[no-untyped-def]
    for i in indices:
        marked[i] = True
