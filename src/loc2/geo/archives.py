"""Tile pyramids in one file: MBTiles (SQLite) and PMTiles (version 3)."""

from __future__ import annotations

import contextlib
import gzip
import mmap
import sqlite3
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from loc2.errors import InputError
from loc2.geo.extras import import_geo
from loc2.geo.tiles import MAX_ZOOM, decode_tile

Bounds = tuple[float, float, float, float]
"""West, south, east, north, degrees of WGS84."""


class MBTiles:
    """Tiles in an MBTiles file (rows counted from the south, as its specification says)."""

    def __init__(self, path: Path) -> None:
        """Open the file read-only and read its metadata.

        Raises:
            InputError: no MBTiles file, no image tiles, or unusable metadata.
        """
        self.name = str(path)
        if not path.is_file():
            raise InputError(f"{path}: no such file")
        uri = f"{path.absolute().as_uri()}?mode=ro"
        try:
            # Threads take turns, see loc2.geo.many; SQLite itself does not mind which one asks.
            self._database = sqlite3.connect(uri, uri=True, check_same_thread=False)
        except sqlite3.Error as error:
            raise InputError(f"{path}: cannot be opened as MBTiles ({error})") from error
        metadata = {str(key): value for key, value in self._all("SELECT name, value FROM metadata")}
        levels = self._all("SELECT min(zoom_level), max(zoom_level) FROM tiles")[0]
        if levels[0] is None:
            raise InputError(f"{path}: holds no tile")
        if not all(isinstance(z, int) and 0 <= z <= MAX_ZOOM for z in levels):
            raise InputError(f"{path}: zoom levels {levels} are out of range")
        self.min_zoom, self.max_zoom = levels
        attribution = metadata.get("attribution")
        self.attribution = str(attribution) if attribution else None
        self.bounds = _parse_bounds(metadata.get("bounds"))
        first = self._all("SELECT tile_data FROM tiles WHERE zoom_level = ? LIMIT 1", self.max_zoom)
        self.tile_px = decode_tile(_blob(first, self.name), None, self.name).shape[0]

    def _all(self, query: str, *values: int) -> list[Any]:
        try:
            with contextlib.closing(self._database.execute(query, values)) as cursor:
                return cursor.fetchall()
        except (sqlite3.Error, OverflowError) as error:
            raise InputError(f"{self.name}: damaged or no MBTiles file ({error})") from error

    def tile(self, zoom: int, column: int, row: int) -> bytes | None:
        """Return one encoded tile, or None; see :class:`loc2.geo.tiles.TileStore`."""
        found = self._all(
            "SELECT tile_data FROM tiles WHERE zoom_level=? AND tile_column=? AND tile_row=?",
            zoom,
            column,
            (1 << zoom) - 1 - row,
        )
        return _blob(found, self.name) if found else None


class PMTiles:
    """Tiles in a local PMTiles archive."""

    def __init__(self, path: Path) -> None:
        """Map the file and read its header.

        Raises:
            InputError: no PMTiles archive of images.
        """
        reader = import_geo("pmtiles.reader")
        tile = import_geo("pmtiles.tile")
        self.name = str(path)
        self._broken: tuple[type[Exception], ...] = (
            ValueError,  # also json and unicode errors
            KeyError,
            IndexError,
            TypeError,
            EOFError,
            OverflowError,
            OSError,  # also gzip.BadGzipFile
            RecursionError,
            zlib.error,
            tile.MagicNumberNotFound,
            tile.SpecVersionUnsupported,
        )
        try:
            with path.open("rb") as file:
                mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: cannot be read ({error})") from error
        self._reader = reader.Reader(lambda offset, length: mapping[offset : offset + length])
        header = self._guard(self._reader.header)
        kind = header["tile_type"]
        if kind not in (tile.TileType.PNG, tile.TileType.JPEG, tile.TileType.WEBP):
            raise InputError(f"{path}: holds {kind.name} tiles, not PNG, JPEG or WebP images")
        self._gzipped = header["tile_compression"] == tile.Compression.GZIP
        self.min_zoom, self.max_zoom = int(header["min_zoom"]), int(header["max_zoom"])
        if not 0 <= self.min_zoom <= self.max_zoom <= MAX_ZOOM:
            raise InputError(f"{path}: zoom levels {self.min_zoom}..{self.max_zoom} are impossible")
        sides = ("min_lon_e7", "min_lat_e7", "max_lon_e7", "max_lat_e7")
        self.bounds = _parse_bounds(",".join(str(header[side] / 1e7) for side in sides))
        metadata = self._guard(self._reader.metadata)
        attribution = metadata.get("attribution") if isinstance(metadata, dict) else None
        self.attribution = str(attribution) if attribution else None
        _, first = self._guard(lambda: next(reader.all_tiles(self._reader.get_bytes), (None, None)))
        if first is None:
            raise InputError(f"{path}: holds no tile")
        self.tile_px = decode_tile(self._unpack(first), None, self.name).shape[0]

    def _guard(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except self._broken as error:
            raise InputError(
                f"{self.name}: damaged or no PMTiles archive ({type(error).__name__}: {error})"
            ) from error

    def _unpack(self, data: bytes) -> bytes:
        return bytes(self._guard(lambda: gzip.decompress(data))) if self._gzipped else data

    def tile(self, zoom: int, column: int, row: int) -> bytes | None:
        """Return one encoded tile, or None; see :class:`loc2.geo.tiles.TileStore`."""
        data = self._guard(lambda: self._reader.get(zoom, column, row))
        return None if data is None else self._unpack(data)


def _blob(rows: list[Any], name: str) -> bytes:
    if not rows or not isinstance(rows[0][0], bytes):
        raise InputError(f"{name}: a tile is not stored as binary data")
    return rows[0][0]


def _parse_bounds(text: object) -> Bounds | None:
    """Return bounds of a metadata text, or None where they are missing or senseless."""
    try:
        west, south, east, north = (float(part) for part in str(text).split(","))
    except ValueError:
        return None
    if not (-180 <= west < east <= 180 and -90 <= south < north <= 90):
        return None
    return west, south, east, north
