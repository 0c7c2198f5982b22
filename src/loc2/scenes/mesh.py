"""Textured triangle meshes: what the scene generator makes and the renderer draws.

World frame: metres, x east, y north, z up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]
UInt8 = NDArray[np.uint8]


class SemanticClass(IntEnum):
    """What a surface is; the value is what class images hold."""

    UNLABELLED = 0  # sky, and everything outside the mesh
    ROAD = 1
    MARKING = 2
    PAVEMENT = 3
    KERB = 4
    TERRAIN = 5  # grass, soil, gravel, fields
    BUILDING = 6  # facades
    ROOF = 7
    TREE = 8
    HEDGE = 9
    CAR = 10
    POLE = 11
    FENCE = 12
    WALL = 13
    WATER = 14
    OWN_VEHICLE = 15  # the capture vehicle at the bottom of a panorama


@dataclass(frozen=True, eq=False)
class Material:
    """A texture that repeats over a surface.

    Make a material once and share the object between meshes: its mip pyramid is kept with it.

    Attributes:
        texture: (H, W, 3) sRGB colours, row 0 at the top (texture coordinate v = 1).
        alpha: (H, W) cut-out mask, surfaces are absent where it is below 128; marks foliage,
            which light also passes through.
        specular: reflectance at normal incidence (0 matt, 0.04 glass and paint, 0.5 metal); the
            surface mirrors the sky.
        paint: for textures that are painted when it is known what is seen of them: given the
            (K, 3, 2) texture coordinates of the faces that are seen (None for all), returns the
            texture; ``texture`` then only tells its size. Not for cut-outs.
    """

    texture: UInt8
    alpha: UInt8 | None = None
    specular: float = 0.0
    paint: Callable[[Float32 | None], UInt8] | None = None

    def __post_init__(self) -> None:
        """Reject arrays of another shape or type."""
        if self.texture.dtype != np.uint8 or self.texture.ndim != 3 or self.texture.shape[2] != 3:
            raise ValueError("texture must be a (H, W, 3) uint8 array")
        if self.alpha is not None and (
            self.alpha.dtype != np.uint8 or self.alpha.shape != self.texture.shape[:2]
        ):
            raise ValueError("alpha must be a uint8 array of the texture's height and width")

    @cached_property
    def pyramid(self) -> tuple[UInt8, Int32]:
        """All mip levels: (N, 4) RGBA texels, and (L, 3) offset, height and width per level."""
        from loc2.scenes.texture import build_pyramid

        texture = self.texture if self.paint is None else self.paint(None)
        return build_pyramid(texture, self.alpha)


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles with texture, seen from both sides.

    Attributes:
        vertices: (V, 3) positions (east, north, up), metres.
        faces: (F, 3) vertex indices.
        uv: (F, 3, 2) texture coordinates of the corners, in repeats, v up.
        material: (F,) indices into ``materials``.
        materials: the materials.
        class_id: (F,) values of :class:`SemanticClass`.
        color: (F, 3, 3) linear RGB factors at the corners (shade, moss, dirt), or None for 1.
        normals: (F, 3, 3) shading normals at the corners (tree crowns, car bodies), or None for
            the faces' own. A corner normal of zero length means the face's own.
    """

    vertices: Float32
    faces: Int32
    uv: Float32
    material: Int32
    materials: Sequence[Material]
    class_id: UInt8
    color: Float32 | None = field(default=None)
    normals: Float32 | None = field(default=None)

    def __post_init__(self) -> None:
        """Reject arrays whose shapes do not belong together."""
        count = len(self.faces)
        expected = {
            "vertices": (len(self.vertices), 3),
            "faces": (count, 3),
            "uv": (count, 3, 2),
            "material": (count,),
            "class_id": (count,),
            "color": (count, 3, 3),
            "normals": (count, 3, 3),
        }
        for name, shape in expected.items():
            value = getattr(self, name)
            if value is not None and value.shape != shape:
                raise ValueError(f"{name} must have shape {shape}, got {value.shape}")
        if count and (self.faces.min() < 0 or self.faces.max() >= len(self.vertices)):
            raise ValueError("faces name vertices that do not exist")
        if count and (self.material.min() < 0 or self.material.max() >= len(self.materials)):
            raise ValueError("material names materials that do not exist")


def merge(meshes: Sequence[Mesh]) -> Mesh:
    """Return one mesh of all triangles; materials that are the same object are kept once.

    Raises:
        ValueError: no mesh was given.
    """
    if not meshes:
        raise ValueError("nothing to merge")
    materials: list[Material] = []
    index_of: dict[int, int] = {}
    material_ids = []
    faces = []
    vertex_count = 0
    for mesh in meshes:
        lookup = np.empty(len(mesh.materials), np.int32)
        for i, material in enumerate(mesh.materials):
            if id(material) not in index_of:
                index_of[id(material)] = len(materials)
                materials.append(material)
            lookup[i] = index_of[id(material)]
        material_ids.append(lookup[mesh.material])
        faces.append(mesh.faces + np.int32(vertex_count))
        vertex_count += len(mesh.vertices)
    return Mesh(
        vertices=np.concatenate([m.vertices for m in meshes]),
        faces=np.concatenate(faces),
        uv=np.concatenate([m.uv for m in meshes]),
        material=np.concatenate(material_ids),
        materials=materials,
        class_id=np.concatenate([m.class_id for m in meshes]),
        color=_concatenate_optional([m.color for m in meshes], [len(m.faces) for m in meshes], 1.0),
        normals=_concatenate_optional(
            [m.normals for m in meshes], [len(m.faces) for m in meshes], 0.0
        ),
    )


def _concatenate_optional(
    arrays: Sequence[Float32 | None], counts: Sequence[int], fill: float
) -> Float32 | None:
    if all(a is None for a in arrays):
        return None
    return np.concatenate(
        [
            np.full((n, 3, 3), fill, np.float32) if a is None else a
            for a, n in zip(arrays, counts, strict=True)
        ]
    )
