"""Textured meshes from Wavefront OBJ files with their MTL material libraries."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from loc2.errors import DatasetNotFoundError, InputError
from loc2.inputs.images import UNREADABLE
from loc2.scenes.mesh import Material, Mesh, SemanticClass, merge

Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]


def read_obj_folder(path: str | Path) -> Mesh:
    """Read one OBJ file, or all those of a folder, as one mesh.

    Args:
        path: an .obj file, or a folder of tiles in one coordinate frame (metres, z up, y north).

    Raises:
        DatasetNotFoundError: there is no such file, or no .obj in the folder.
        InputError: a file cannot be read, see :func:`read_obj`.
    """
    path = Path(path)
    if path.is_file():
        return read_obj(path)
    files = sorted(path.glob("*.obj"))
    if not files:
        raise DatasetNotFoundError(f"mesh {path}: no .obj file there")
    return merge([read_obj(file) for file in files])


def read_obj(path: str | Path) -> Mesh:
    """Read an OBJ file: vertices, texture coordinates, polygons (cut into fans), materials.

    Args:
        path: .obj file; its MTL library and textures are looked up beside it.

    Returns:
        The mesh, all faces of class ``UNLABELLED``.

    Raises:
        InputError: the file, its library or a texture is missing or damaged, or it has no faces.
    """
    path = Path(path)
    groups: dict[str, list[str]] = {"v": [], "vt": [], "f": []}
    read: list[tuple[int, int]] = []  # vertices and texture coordinates before each face
    starts: list[tuple[int, str]] = []
    libraries: list[str] = []
    for line in _read_text(path).splitlines():
        word, _, rest = line.strip().partition(" ")
        if word in groups:
            groups[word].append(rest)
            if word == "f":
                read.append((len(groups["v"]), len(groups["vt"])))
        elif word == "usemtl":
            starts.append((len(groups["f"]), rest.strip()))
        elif word == "mtllib":
            libraries.append(rest.strip())
    try:
        vertices = _numbers(groups["v"], 3)
        coordinates = _numbers(groups["vt"], 2)
        corners, line_of_face = _faces(groups["f"], read)
    except ValueError as error:
        raise InputError(f"mesh {path}: not a readable OBJ file ({error})") from error
    if len(corners) == 0:
        raise InputError(f"mesh {path}: it has no faces")
    indices = corners[..., 0]
    if indices.min() < 0 or indices.max() >= len(vertices):
        raise InputError(f"mesh {path}: a face names a vertex that does not exist")
    if corners[..., 1].max() >= len(coordinates):
        raise InputError(f"mesh {path}: a face names a texture coordinate that does not exist")
    uv = np.zeros((len(corners), 3, 2), np.float32)
    has_uv = corners[..., 1] >= 0
    uv[has_uv] = coordinates[corners[..., 1][has_uv]]
    library = {k: v for name in libraries for k, v in _read_mtl(path.parent / name).items()}
    materials, material = _assign(path, library, starts, line_of_face)
    return Mesh(
        vertices=vertices,
        faces=np.ascontiguousarray(indices),
        uv=uv,
        material=material,
        materials=materials,
        class_id=np.full(len(corners), SemanticClass.UNLABELLED, np.uint8),
    )


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"mesh {path}: cannot be read ({error.strerror})") from error


def _numbers(lines: list[str], count: int) -> Float32:
    """Return the first ``count`` numbers of each line; OBJ allows more (weights, colours)."""
    if not lines:
        return np.zeros((0, count), np.float32)
    width = len(lines[0].split())
    values = np.array(" ".join(lines).split(), np.float64)
    if width < count or values.size != width * len(lines):
        raise ValueError("lines of coordinates differ in length")
    return np.ascontiguousarray(values.reshape(-1, width)[:, :count], np.float32)


def _faces(lines: list[str], read: list[tuple[int, int]]) -> tuple[Int32, Int32]:
    """Return (F, 3, 2) indices of vertices and texture coordinates, and the line of each face.

    Indices count from 0; a missing texture coordinate is -1. ``read`` holds how many vertices and
    texture coordinates come before each line.
    """
    corners: list[tuple[tuple[int, int], ...]] = []
    line_of_face: list[int] = []
    for number, (line, (vertices, coordinates)) in enumerate(zip(lines, read, strict=True)):
        polygon = []
        for word in line.split():
            parts = word.split("/")
            vertex = int(parts[0])
            coordinate = int(parts[1]) if len(parts) > 1 and parts[1] else 0
            # OBJ counts from 1, or with negative numbers back from this line; 0 is none here
            polygon.append(
                (
                    vertex - 1 if vertex > 0 else vertices + vertex,
                    coordinate - 1 if coordinate >= 0 else coordinates + coordinate,
                )
            )
        if len(polygon) < 3:
            raise ValueError(f"face {number + 1} has fewer than three corners")
        for second in range(1, len(polygon) - 1):
            corners.append((polygon[0], polygon[second], polygon[second + 1]))
            line_of_face.append(number)
    return np.array(corners, np.int32).reshape(-1, 3, 2), np.array(line_of_face, np.int32)


def _read_mtl(path: Path) -> dict[str, Material]:
    """Return the materials of a library by name: texture (``map_Kd``) or plain colour (``Kd``)."""
    textures: dict[str, str] = {}
    colors: dict[str, list[float]] = {}
    name = ""
    for line in _read_text(path).splitlines():
        word, _, rest = line.strip().partition(" ")
        if word == "newmtl":
            name = rest.strip()
            colors.setdefault(name, [0.8, 0.8, 0.8])
        elif word == "Kd":
            try:
                colors[name] = [float(part) for part in rest.split()[:3]]
            except ValueError as error:
                raise InputError(f"materials {path}: Kd of {name!r} is not a colour") from error
        elif word == "map_Kd":
            textures[name] = rest.strip()
    return {
        name: Material(
            _read_texture(path.parent / textures[name]) if name in textures else _plain(color)
        )
        for name, color in colors.items()
    }


def _read_texture(path: Path) -> NDArray[np.uint8]:
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except UNREADABLE as error:
        raise InputError(f"texture {path}: cannot be read as an image") from error


def _plain(color: list[float]) -> NDArray[np.uint8]:
    value = np.clip(np.array((color + [0.8] * 3)[:3]), 0.0, 1.0)
    texture: NDArray[np.uint8] = np.rint(value * 255.0).astype(np.uint8).reshape(1, 1, 3)
    return texture


def _assign(
    path: Path, library: dict[str, Material], starts: list[tuple[int, str]], line_of_face: Int32
) -> tuple[list[Material], Int32]:
    """Return the materials in use and the index of each face's."""
    materials = [Material(_plain([]))] if not starts or starts[0][0] > 0 else []
    index = np.zeros(len(line_of_face), np.int32)
    for first_line, name in starts:
        if name not in library:
            raise InputError(f"mesh {path}: material {name!r} is in none of its libraries")
        if not any(m is library[name] for m in materials):
            materials.append(library[name])
        position = next(i for i, m in enumerate(materials) if m is library[name])
        index[line_of_face >= first_line] = position
    return materials, index
