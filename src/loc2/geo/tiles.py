"""Pyramids of square web tiles (XYZ scheme, EPSG:3857) as one map image."""

from __future__ import annotations

import io
import math
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from loc2.errors import InputError
from loc2.geo.extras import import_geo

if TYPE_CHECKING:
    import pyproj
    from affine import Affine

EARTH_RADIUS_M = 6378137.0
"""Radius of the sphere of EPSG:3857; its world square has the side 2 pi radius."""

MAX_LATITUDE_DEG = 85.0511287798066
MAX_ZOOM = 24
MAX_TILES = 1024
"""Most tiles one window may ask for: a larger window should be given at a coarser resolution."""

TILE_FORMATS = ("PNG", "JPEG", "WEBP")
TILE_SIZES_PX = (128, 256, 512, 1024)


class TileError(InputError):
    """A tile that is no usable image."""


class TileStore(Protocol):
    """Where encoded tiles come from.

    Attributes:
        name: template or file, for messages.
        attribution: who must be named beside results, or None.
        min_zoom: coarsest level held.
        max_zoom: finest level held.
        tile_px: side of a tile, pixels.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def attribution(self) -> str | None: ...  # noqa: D102
    @property
    def min_zoom(self) -> int: ...  # noqa: D102
    @property
    def max_zoom(self) -> int: ...  # noqa: D102
    @property
    def tile_px(self) -> int: ...  # noqa: D102

    def tile(self, zoom: int, column: int, row: int) -> bytes | None:
        """Return an encoded image, or None where the pyramid has no tile.

        Args:
            zoom: level, 0 is the whole world.
            column: x, from the antimeridian eastwards.
            row: y, from the north southwards.

        Raises:
            InputError: the tile exists or may exist but cannot be had.
        """
        ...


def decode_tile(data: bytes, expected_px: int | None, what: str) -> NDArray[np.uint8]:
    """Decode one tile completely.

    Args:
        data: an encoded PNG, JPEG or WebP image.
        expected_px: required side, pixels, or None for any usual one.
        what: the tile, for messages.

    Returns:
        (side, side, 4) RGBA.

    Raises:
        TileError: another type of data, a damaged or truncated image, or another size.
    """
    try:
        with Image.open(io.BytesIO(data), formats=TILE_FORMATS) as image:
            side = image.width
            if image.height != side or side not in TILE_SIZES_PX:
                raise TileError(f"{what}: a tile of {image.width} x {image.height} px is no tile")
            if expected_px is not None and side != expected_px:
                raise TileError(
                    f"{what}: the tile is {side} px wide, not {expected_px}: set the tile size"
                )
            return np.asarray(image.convert("RGBA"))
    except UnidentifiedImageError as error:
        if data[:2] == b"\x1f\x8b":
            hint = "compressed data, perhaps a vector tile"
        elif data.lstrip()[:1] in (b"<", b"{"):
            hint = "text, perhaps an error page"
        else:
            hint = "not PNG, JPEG or WebP"
        raise TileError(f"{what}: no image ({hint})") from error
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise TileError(f"{what}: damaged image ({' '.join(str(error).split())})") from error


class TileImage:
    """A tile pyramid as one image at its finest level; implements ``MapImage``."""

    def __init__(self, store: TileStore, zoom: int | None = None) -> None:
        """Wrap a store of tiles.

        Args:
            store: where tiles come from.
            zoom: finest level to use; by default the store's finest.

        Raises:
            InputError: the store does not hold that level.
        """
        self._store = store
        self.zoom = store.max_zoom if zoom is None else zoom
        if not store.min_zoom <= self.zoom <= store.max_zoom:
            raise InputError(
                f"{store.name}: zoom {self.zoom} is not among its levels "
                f"{store.min_zoom} to {store.max_zoom}"
            )
        self.name = store.name
        self.attribution = store.attribution
        self.width_px = self.height_px = store.tile_px << self.zoom
        self.wrap_px: float | None = float(self.width_px)

    @cached_property
    def crs(self) -> pyproj.CRS:
        """Web Mercator."""
        crs: pyproj.CRS = import_geo("pyproj").CRS.from_epsg(3857)
        return crs

    @cached_property
    def transform(self) -> Affine:
        """Affine from pixels of the finest level to EPSG:3857."""
        half_m = math.pi * EARTH_RADIUS_M
        pixel_m = 2 * half_m / self.width_px
        transform: Affine = import_geo("affine").Affine(pixel_m, 0, -half_m, 0, -pixel_m, half_m)
        return transform

    def read_block(
        self, left_px: int, top_px: int, columns: int, rows: int, decimation: int
    ) -> NDArray[np.float32]:
        """Return (4, rows, columns) RGBA in [0, 1]; transparent where there is no tile.

        Coarser blocks come from a coarser level where the store holds it.

        Raises:
            InputError: a tile cannot be had, or the block needs too many of them.
        """
        levels = min(decimation.bit_length() - 1, self.zoom - self._store.min_zoom)
        zoom, reduce = self.zoom - levels, decimation >> levels
        side = self._store.tile_px
        # Pixel units of that level; the block starts on one because left_px % decimation == 0.
        left, top = left_px >> levels, top_px >> levels
        wide, high = columns * reduce, rows * reduce
        first_column, last_column = left // side, (left + wide - 1) // side
        first_row, last_row = max(0, top // side), (top + high - 1) // side
        last_row = min(last_row, (1 << zoom) - 1)
        wanted = (last_column - first_column + 1) * (last_row - first_row + 1)
        if wanted > MAX_TILES:
            raise InputError(
                f"{self.name}: the window needs {wanted} tiles of zoom {zoom} (limit {MAX_TILES}): "
                "give a smaller radius, a lower zoom or more metres per pixel"
            )
        canvas = np.zeros((high, wide, 4), dtype=np.uint8)
        for row in range(first_row, last_row + 1):
            for column in range(first_column, last_column + 1):
                data = self._store.tile(zoom, column % (1 << zoom), row)
                if data is None:
                    continue
                what = f"{self.name}: tile {zoom}/{column % (1 << zoom)}/{row}"
                pixels = decode_tile(data, side, what)
                x, y = column * side - left, row * side - top
                x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + side, wide), min(y + side, high)
                canvas[y0:y1, x0:x1] = pixels[y0 - y : y1 - y, x0 - x : x1 - x]
        rgba = canvas.astype(np.float32).transpose(2, 0, 1) / np.float32(255.0)
        if reduce > 1:
            rgba = _average(rgba, reduce)
        return rgba


def _average(rgba: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """Return RGBA averaged over squares of pixels, colour weighted by alpha."""
    rows, columns = rgba.shape[1] // factor, rgba.shape[2] // factor
    weighted = np.concatenate((rgba[:3] * rgba[3:], rgba[3:]))
    mean = weighted.reshape(4, rows, factor, columns, factor).mean(axis=(2, 4))
    alpha = mean[3:]
    colour = np.divide(mean[:3], alpha, out=np.zeros_like(mean[:3]), where=alpha > 0)
    return np.concatenate((colour, alpha)).astype(np.float32)
