"""The texture library: procedural patterns, and photographs from a folder where there is one."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from loc2.errors import InputError
from loc2.inputs.images import UNREADABLE
from loc2.scenes.facades import FacadeSize, facade
from loc2.scenes.mesh import Material
from loc2.scenes.patterns import EXTENT_M, PATTERNS
from loc2.scenes.texture import srgb_to_linear

Float32 = NDArray[np.float32]
UInt8 = NDArray[np.uint8]

VARIANTS = 8
"""Procedural variants of each pattern."""

PHOTO_SHARE = 0.6
"""How often a photograph is taken where there are any."""

_FOLDERS: dict[str, tuple[tuple[str, float], ...]] = {
    "asphalt": (("asphalt/[!R]*", 2.5),),
    "concrete": (("pavement/*oncrete*", 3.0), ("pavement/godot_cement*", 3.0)),
    "slabs": (("lowres128_pavement/*", 3.0), ("wall_other/concrete_tile*", 3.0)),
    "brick_paving": (("pavement/brick_*", 2.0), ("pavement/sgl_herr*", 1.6)),
    "brick": (("brick/*", 2.0), ("wall_other/Bricks*", 2.0)),
    "plaster": (("plaster/*", 3.0), ("wall_other/concrete_wall*", 3.0)),
    "siding": (("wall_other/WoodSiding*", 2.0), ("wall_other/sgl_wood*", 2.0)),
    "stone": (("wall_other/sgl_block*", 3.0), ("wall_other/broken_wall*", 3.0)),
    "roof_tiles": (("roof/Roofing*", 3.0), ("roof/sgl_roof_tiles*", 4.0),
                   ("lowres128_roof/*", 2.5)),
    "shingles": (("lowres128_roof/RoofingTiles01*", 2.5), ("roof/sgl_roof_eternit*", 4.0)),
    "sheet_metal": (("roof/Corr*", 3.0), ("roof/box_profile*", 3.0), ("roof/sgl_roof_metal*", 4.0)),
    "flat_roof": (("roof/sgl_roof_concrete*", 8.0), ("roof/sgl_roof_tar*", 8.0),
                  ("asphalt/aerial*", 8.0)),
    "grass": (("grass/[!s]*", 3.0), ("grass/sgl_*grass*", 4.0), ("lowres128_grass/*", 2.0)),
    "soil": (("soil/[!s]*", 3.0), ("soil/sgl_s*", 4.0)),
    "gravel": (("gravel/*", 2.0), ("lowres128_gravel/*", 1.5)),
    "litter": (("forest_floor/*", 3.0), ("lowres128_forest_floor/*", 2.0)),
    "bark": (("bark/*", 1.2),),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Texture:
    """A texture and what scenes need to know of it.

    Attributes:
        material: the texture as a material, shared by all that use it.
        extent_m: width and height of one tile, metres.
        mean: (3,) mean colour, linear.
    """

    material: Material
    extent_m: float
    mean: Float32


@dataclass(frozen=True, eq=False)
class Facade:
    """A wall with its windows: the texture and the size of wall that one tile shows."""

    material: Material
    size: FacadeSize


@dataclass(eq=False)
class TextureLibrary:
    """Textures by name of their pattern; each is made or read once.

    Attributes:
        folder: folder of photographs with one sub-folder a class, or None for none.
    """

    folder: Path | None = None
    _made: dict[tuple[str, int], Texture] = field(default_factory=dict)
    _files: dict[str, list[tuple[Path, float]]] = field(default_factory=dict)

    _facades: dict[str, Facade] = field(default_factory=dict)
    _facade_files: list[tuple[Path, FacadeSize]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Reject a folder that is not there or holds no texture of a known class."""
        if self.folder is None:
            return
        if not self.folder.is_dir():
            raise InputError(f"--textures: {self.folder} is not a folder")
        for kind, globs in _FOLDERS.items():
            found = [
                (path, extent) for pattern, extent in globs
                for path in sorted(self.folder.glob(pattern))
            ]  # fmt: skip
            self._files[kind] = found
        self._facade_files = _facade_sizes(self.folder)
        if not any(self._files.values()):
            raise InputError(
                f"--textures: {self.folder} has no class folders such as asphalt/ or grass/"
            )

    def draw(self, kind: str, rng: np.random.Generator) -> Texture:
        """Return a random texture of a kind.

        Args:
            kind: a name in ``PATTERNS``.
            rng: source of the choice; two numbers are used whatever the folder holds.
        """
        photo, pick = rng.random(2)
        files = self._files.get(kind, [])
        if files and photo < PHOTO_SHARE:
            return self._photo(kind, int(pick * len(files)))
        return self._procedural(kind, int(pick * VARIANTS))

    def facade(self, rng: np.random.Generator) -> Facade:
        """Return the wall of a larger building with its windows."""
        photo, pick = rng.random(2)
        if self._facade_files and photo < PHOTO_SHARE:
            path, size = self._facade_files[int(pick * len(self._facade_files))]
            key = str(path)
            if key not in self._facades:
                pixels = _read(path, (512, 512), crop=False)
                self._facades[key] = Facade(Material(pixels, specular=0.01), size)
            return self._facades[key]
        variant = int(pick * 3 * VARIANTS)
        key = f"procedural {variant}"
        if key not in self._facades:
            pixels, size = facade(np.random.default_rng([977, variant]))
            self._facades[key] = Facade(Material(pixels, specular=0.01), size)
        return self._facades[key]

    def plain(self) -> Texture:
        """Return the white texture that only takes tints."""
        return self._procedural("plain", 0)

    def _procedural(self, kind: str, variant: int) -> Texture:
        key = (kind, -1 - variant)
        if key not in self._made:
            seed = [list(PATTERNS).index(kind), variant]
            pixels = PATTERNS[kind](np.random.default_rng(seed))
            self._made[key] = _texture(pixels, EXTENT_M[kind])
        return self._made[key]

    def _photo(self, kind: str, index: int) -> Texture:
        key = (kind, index)
        if key not in self._made:
            path, extent = self._files[kind][index]
            pixels = _read(path, (256, 256), crop=True)
            self._made[key] = _texture(pixels, extent)
        return self._made[key]


def _read(path: Path, size: tuple[int, int], crop: bool) -> UInt8:
    """Return the (H, W, 3) pixels of a file at a size, its largest upper left square if asked."""
    try:
        with Image.open(path) as image:
            side = min(image.width, image.height)
            box = (0, 0, side, side) if crop else (0, 0, image.width, image.height)
            part = image.convert("RGB").crop(box)
            return np.asarray(part.resize(size, Image.Resampling.BOX))
    except UNREADABLE as error:
        raise InputError(f"texture {path} cannot be read: {error}") from error


def _facade_sizes(folder: Path) -> list[tuple[Path, FacadeSize]]:
    """Return the facade photographs whose size in metres ``SOURCES.tsv`` gives."""
    table = folder / "SOURCES.tsv"
    if not table.is_file():
        return []
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    found = []
    for row in rows:
        match = re.match(r"([0-9.]+)x([0-9.]+)", row.get("approx_metres_WxH") or "")
        path = folder / (row.get("file") or "")
        if row.get("class") in ("facade", "glass_facade") and match and path.is_file():
            found.append((path, FacadeSize(float(match[1]), float(match[2]))))
    return found


def _texture(pixels: UInt8, extent_m: float) -> Texture:
    mean = srgb_to_linear(pixels.astype(np.float32) / 255).mean((0, 1))
    return Texture(Material(pixels), extent_m, np.asarray(mean, np.float32))
