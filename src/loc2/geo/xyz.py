"""Tiles of a server named by a template, with a cache on disk and an offline mode.

No server is built in: the user gives the template and is bound by that server's terms. Only
answers that decode as a tile enter the cache, and those that there is none. They are written to a
temporary file and renamed, so that a fault never poisons it; a cached file that does not decode is
dropped and fetched again.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import tempfile
import time
from pathlib import Path

from loc2.errors import InputError
from loc2.geo.fetch import Fetcher, FetchError, public_name
from loc2.geo.tiles import MAX_ZOOM, TILE_SIZES_PX, TileError, decode_tile

logger = logging.getLogger(__name__)

DEFAULT_MAX_ZOOM = 19
_CACHE_DAYS = 30.0
_BAD_BODY_TRIES = 2
_ABSENT = b"the server has no such tile\n"
"""Stored for a tile that a server answered not to have, so that offline mode knows it as well."""


def default_cache_dir() -> Path:
    """Return where tiles are cached: ``$XDG_CACHE_HOME/loc2/tiles`` or ``~/.cache/loc2/tiles``."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "loc2" / "tiles"


class TileCache:
    """Encoded tiles on disk, one folder per template."""

    def __init__(self, folder: Path, template: str, max_age_days: float = _CACHE_DAYS) -> None:
        """Name the cache of a template; nothing is written yet.

        Args:
            folder: where all caches lie.
            template: the address template; only its hash is stored, for it may hold a key.
            max_age_days: tiles older than this are fetched again (unless offline).
        """
        digest = hashlib.sha256(template.encode()).hexdigest()[:20]
        self._folder = folder / digest
        self._max_age_s = max_age_days * 86400.0

    def path(self, zoom: int, column: int, row: int) -> Path:
        """Return where a tile is or would be stored."""
        return self._folder / str(zoom) / str(column) / f"{row}.tile"

    def read(self, zoom: int, column: int, row: int, *, any_age: bool) -> bytes | None:
        """Return what is stored, if it is young enough, or None."""
        path = self.path(zoom, column, row)
        try:
            if not any_age and time.time() - path.stat().st_mtime > self._max_age_s:
                return None
            return path.read_bytes()
        except OSError:
            return None

    def write(self, zoom: int, column: int, row: int, data: bytes) -> None:
        """Store a tile, or :data:`_ABSENT`, whole or not at all; a full disk is only logged."""
        path = self.path(zoom, column, row)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                Path(name).replace(path)
            except OSError:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError as error:
            logger.warning("tile cache %s cannot be written: %s", self._folder, error)

    def drop(self, zoom: int, column: int, row: int) -> None:
        """Remove a stored tile."""
        with contextlib.suppress(OSError):
            self.path(zoom, column, row).unlink()


class XYZTiles:
    """A tile server given by a template; implements :class:`loc2.geo.tiles.TileStore`."""

    def __init__(
        self,
        template: str,
        *,
        attribution: str | None = None,
        min_zoom: int = 0,
        max_zoom: int = DEFAULT_MAX_ZOOM,
        tile_px: int = 256,
        cache_dir: Path | None = None,
        offline: bool = False,
        fetcher: Fetcher | None = None,
    ) -> None:
        """Describe a server; no connection is made.

        Args:
            template: address with ``{z}``, ``{x}`` and ``{y}`` (or ``{-y}``, rows from the south).
            attribution: who the server asks to name beside results.
            min_zoom: coarsest level it serves.
            max_zoom: finest level it serves.
            tile_px: side of its tiles, pixels.
            cache_dir: where tiles are kept; by default :func:`default_cache_dir`.
            offline: use the cache alone.
            fetcher: how tiles are fetched.

        Raises:
            InputError: the template lacks a placeholder or is no http(s) address, or there are no
                such zoom levels or tiles.
        """
        self.name = public_name(template)
        holders = set(re.findall(r"\{([^{}]*)\}", template))
        if not re.match(r"(?i)https?://", template):
            raise InputError(f"{self.name}: a tile template starts with http:// or https://")
        if not ({"z", "x"} <= holders and holders & {"y", "-y"}) or holders - {"z", "x", "y", "-y"}:
            raise InputError(f"{self.name}: a tile template needs {{z}}, {{x}} and {{y}} or {{-y}}")
        if not 0 <= min_zoom <= max_zoom <= MAX_ZOOM:
            raise InputError(f"zoom levels must lie in 0..{MAX_ZOOM}, got {min_zoom}..{max_zoom}")
        if tile_px not in TILE_SIZES_PX:
            sizes = ", ".join(map(str, TILE_SIZES_PX))
            raise InputError(f"tiles have a side of {sizes} pixels, not {tile_px}")
        self.attribution, self.tile_px = attribution, tile_px
        self.min_zoom, self.max_zoom = min_zoom, max_zoom
        self._template, self._offline = template, offline
        self._cache = TileCache(cache_dir or default_cache_dir(), template)
        self._fetcher = fetcher if fetcher is not None else Fetcher()

    def tile(self, zoom: int, column: int, row: int) -> bytes | None:
        """Return one encoded, checked tile; see :class:`loc2.geo.tiles.TileStore`.

        Raises:
            InputError: it cannot be had, is no image, or is not in the cache when offline.
        """
        what = f"{self.name}: tile {zoom}/{column}/{row}"
        stored = self._cache.read(zoom, column, row, any_age=self._offline)
        if stored == _ABSENT:
            if self._offline:
                return None
        elif stored is not None:
            try:
                decode_tile(stored, self.tile_px, what)
            except TileError as error:
                logger.warning("%s (dropped from the cache)", error)
                self._cache.drop(zoom, column, row)
            else:
                return stored
        if self._offline:
            raise InputError(f"{what} is not in the cache, and offline mode fetches nothing")
        return self._fetch(zoom, column, row, what)

    def _fetch(self, zoom: int, column: int, row: int, what: str) -> bytes | None:
        url = self._template.replace("{z}", str(zoom)).replace("{x}", str(column))
        url = url.replace("{-y}", str((1 << zoom) - 1 - row)).replace("{y}", str(row))
        for attempt in range(_BAD_BODY_TRIES):
            try:
                fetched = self._fetcher.get(url)
            except FetchError as error:
                stale = self._cache.read(zoom, column, row, any_age=True)
                if stale is None:
                    raise
                logger.warning("%s; an older copy from the cache is used", error)
                return None if stale == _ABSENT else stale
            if fetched is None:
                self._cache.write(zoom, column, row, _ABSENT)
                return None
            if not fetched.body:
                return None
            try:
                decode_tile(fetched.body, self.tile_px, what)
            except TileError:
                if attempt + 1 == _BAD_BODY_TRIES:
                    raise
            else:
                if fetched.may_store:
                    self._cache.write(zoom, column, row, fetched.body)
                return fetched.body
        raise AssertionError("unreachable: the last attempt returns or raises")
