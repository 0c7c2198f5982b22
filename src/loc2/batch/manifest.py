"""The rows of a batch: a CSV file or a folder of photos, read as they are needed."""

from __future__ import annotations

import csv
import hashlib
import itertools
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loc2.data.pairs import Pair
from loc2.depth.depth_anything import LOCAL_PREFIX
from loc2.errors import DatasetNotFoundError, InputError
from loc2.request import PhotoRequest

PHOTO_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".heic", ".heif", ".bmp"}
"""Files of a folder that are taken for photos."""

_CHUNK_BYTES = 1 << 20
_PANORAMAS_ONLY = ("elevation_top_deg", "elevation_bottom_deg")
_FILES = ("ground", "camera", "tile_cache")


@dataclass(frozen=True)
class Row:
    """One photo of a batch, not yet checked.

    Attributes:
        number: its place in the manifest, from 1.
        id: its name in the results.
        fields: fields of :class:`loc2.request.PhotoRequest`, as text or values.
        problem: why there is no telling what it asks, or None.
    """

    number: int
    id: str
    fields: dict[str, Any]
    problem: str | None = None

    def request(self) -> PhotoRequest:
        """Return what the row asks.

        Raises:
            InputError: a field is missing or of the wrong kind.
        """
        if self.problem is not None:
            raise InputError(self.problem)
        return PhotoRequest.checked(self.fields)


@dataclass(frozen=True)
class Manifest:
    """A file or folder, looked through once.

    Attributes:
        path: CSV file, or folder of photos.
        rows: how many photos there are.
        digest: SHA-256 of the file's content, or of the folder's names, sizes and times.
        unused: columns that say nothing about how to localize.
    """

    path: Path
    rows: int
    digest: str
    unused: tuple[str, ...] = ()

    def read(self, defaults: dict[str, Any]) -> Iterator[Row]:
        """Yield the rows in order; memory does not grow with their number.

        Args:
            defaults: fields of :class:`loc2.request.PhotoRequest` for rows that leave them out.
        """
        if self.path.is_dir():
            for number, photo in enumerate(_photos(self.path), start=1):
                name = str(photo.relative_to(self.path))
                yield Row(number, name, defaults | {"ground": photo})
            return
        known = PhotoRequest.model_fields.keys()
        for number, values in enumerate(_records(self.path), start=1):
            if None in values:
                yield Row(number, _name(values, number), {}, "the row has more fields than columns")
                continue
            given = {k: v.strip() for k, v in values.items() if k in known and v and v.strip()}
            yield Row(number, _name(values, number), _joined(defaults, given, self.path.parent))


def open_manifest(path: Path) -> Manifest:
    """Look through a manifest: count, digest, and whether it can be read to its end.

    Raises:
        DatasetNotFoundError: there is no such file or folder.
        InputError: it cannot be read, has no ``ground`` column, or no rows.
    """
    if path.is_dir():
        return _open_folder(path)
    if not path.is_file():
        raise DatasetNotFoundError(f"manifest {path}: no such file or folder")
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
        with path.open(newline="", encoding="utf-8-sig") as file:
            columns = csv.DictReader(file).fieldnames or []
        if "ground" not in columns:
            raise InputError(f"manifest {path}: missing column: ground")
        count = sum(1 for _ in _records(path))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"manifest {path}: not readable as CSV ({error})") from error
    if count == 0:
        raise InputError(f"manifest {path}: no rows")
    said = PhotoRequest.model_fields.keys() | Pair.model_fields.keys()
    unused = tuple(name for name in columns if name not in said)
    return Manifest(path, count, digest.hexdigest(), unused)


def _open_folder(path: Path) -> Manifest:
    digest, count = hashlib.sha256(), 0
    for photo in _photos(path):
        status = photo.stat()
        digest.update(os.fsencode(photo.relative_to(path)))  # it need not be UTF-8
        digest.update(f"\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
        count += 1
    if count == 0:
        raise InputError(f"folder {path}: holds no photos ({', '.join(sorted(PHOTO_SUFFIXES))})")
    return Manifest(path, count, digest.hexdigest())


def _photos(folder: Path) -> Iterator[Path]:
    """Yield the photos in a folder and its folders, sorted; one folder's names are in memory."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"folder {folder}: cannot be read ({error.strerror})") from error
    for entry in entries:
        if entry.is_dir() and not entry.is_symlink():
            yield from _photos(entry)
        elif entry.suffix.lower() in PHOTO_SUFFIXES and not entry.name.startswith("."):
            yield entry


def _records(path: Path) -> Iterator[dict[str | None, Any]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        yield from csv.DictReader(file)


def _name(values: dict[str | None, Any], number: int) -> str:
    return str(values.get("id") or values.get("ground") or f"row {number}").strip()


def _joined(defaults: dict[str, Any], given: dict[str, str], folder: Path) -> dict[str, Any]:
    """Return a row's fields over the defaults, its file names taken from the manifest's folder."""
    fields = from_folder(given, folder)
    if given.get("projection") == "pinhole":  # manifests fill the panorama's columns for all rows
        for name in _PANORAMAS_ONLY:
            fields.pop(name, None)
    return defaults | fields


def from_folder(fields: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the fields of a request with their file names taken from a folder.

    Args:
        fields: those that are given; addresses and names of depth models stay as they are.
        folder: what names are relative to that are not absolute.
    """
    placed = dict(fields)
    for name in _FILES:
        if name in placed:
            placed[name] = folder / placed[name]
    depth = placed.get("depth", "")
    if depth.startswith(LOCAL_PREFIX):
        placed["depth"] = LOCAL_PREFIX + str(folder / depth.removeprefix(LOCAL_PREFIX))
    elif Path(depth).suffix:
        placed["depth"] = str(folder / depth)
    if placed.get("aerial") and not is_address(placed["aerial"]):
        placed["aerial"] = str(folder / placed["aerial"])
    return placed


def is_address(aerial: str) -> bool:
    """Return whether aerial imagery is named by an address rather than a file."""
    return "://" in aerial


def blocks(rows: Iterator[Row], size: int) -> Iterator[list[Row]]:
    """Yield rows in lists of ``size``, the last perhaps shorter."""
    while block := list(itertools.islice(rows, size)):
        yield block
