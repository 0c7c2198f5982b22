"""A mesh as plain contiguous arrays, the form that compiled code reads."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from loc2.scenes.mesh import Mesh
from loc2.scenes.texture import MAX_LEVELS

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


def pack(mesh: Mesh) -> PackedMesh:
    """Return the arrays of a mesh, its textures joined into one array of texels."""
    count = len(mesh.materials)
    levels = np.zeros((count, MAX_LEVELS, 3), np.int32)
    level_count = np.zeros(count, np.int32)
    chunks, offset = [np.zeros((0, 4), np.uint8)], 0
    for i, material in enumerate(mesh.materials):
        texels, info = material.pyramid
        level_count[i] = len(info)
        levels[i, : len(info)] = info + np.array([offset, 0, 0], np.int32)
        chunks.append(texels)
        offset += len(texels)
    none = np.zeros((0, 3, 3), np.float32)
    return PackedMesh(
        vertices=np.ascontiguousarray(mesh.vertices, np.float32),
        faces=np.ascontiguousarray(mesh.faces, np.int32),
        uv=np.ascontiguousarray(mesh.uv, np.float32),
        material=np.ascontiguousarray(mesh.material, np.int32),
        class_id=np.ascontiguousarray(mesh.class_id, np.uint8),
        color=none if mesh.color is None else np.ascontiguousarray(mesh.color, np.float32),
        normals=none if mesh.normals is None else np.ascontiguousarray(mesh.normals, np.float32),
        texels=np.concatenate(chunks),
        levels=levels,
        level_count=level_count,
        has_alpha=np.array([m.alpha is not None for m in mesh.materials], np.bool_),
        specular=np.array([m.specular for m in mesh.materials], np.float32),
    )
