"""From what a user names (a file, a folder, a template) to an aerial source."""

from __future__ import annotations

import logging
import math
import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from loc2.errors import InputError
from loc2.geo.archives import MBTiles, PMTiles
from loc2.geo.fetch import Fetcher, FetchLimits
from loc2.geo.mosaic import raster_source, tile_source
from loc2.geo.raster import RasterImage, is_placed, location_name
from loc2.geo.source import AerialSource, PlainSource
from loc2.geo.xyz import DEFAULT_MAX_ZOOM, XYZTiles
from loc2.inputs.images import load_image

logger = logging.getLogger(__name__)

_MAX_WORLD_FILE_BYTES = 4096
_NORTH_UP = 1e-3
"""Rotation up to which a world file's image counts as north up, radians."""

_ORDINARY = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
"""Formats of pictures that rarely carry georeference themselves."""


class AerialOptions(BaseModel):
    """What a user may say about an aerial source; most sources need none of it.

    Attributes:
        meters_per_pixel: for an image without georeference.
        center: WGS84 (latitude, longitude), degrees, of the centre of such an image, up = north.
        crs: coordinate system of a raster that has none or a wrong one, e.g. ``EPSG:25832``.
        bands: 1-based bands shown as red, green and blue, or one for grey.
        zoom: finest level of a tile pyramid to use.
        tile_px: side of a server's tiles, pixels.
        attribution: who must be named beside results.
        cache_dir: where a server's tiles are kept.
        offline: never fetch; use cached tiles alone.
        timeout_s: longest silence of a server, seconds.
        requests_per_second: most requests to a server per second.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    meters_per_pixel: float | None = None
    center: tuple[float, float] | None = None
    crs: str | None = None
    bands: tuple[int, ...] | None = None
    zoom: int | None = None
    tile_px: int = 256
    attribution: str | None = None
    cache_dir: Path | None = None
    offline: bool = False
    timeout_s: float = Field(default=10.0, gt=0)
    requests_per_second: float = Field(default=8.0, gt=0)


def open_aerial(location: str | Path, options: AerialOptions | None = None) -> AerialSource:
    """Open aerial imagery; headers and metadata are read, pixels are not.

    Args:
        location: one of

            - a tile template ``https://host/{z}/{x}/{y}.png``;
            - an http(s) address of a cloud-optimised GeoTIFF;
            - an ``.mbtiles`` or ``.pmtiles`` file;
            - a folder of georeferenced rasters, or a VRT;
            - a georeferenced raster that GDAL reads (any coordinate system);
            - an image with ``meters_per_pixel`` or with a world file beside it.
        options: what is not in the file.

    Raises:
        InputError: it is none of these, or cannot be read; one line that says what to do.
    """
    options = options if options is not None else AerialOptions()
    text = str(location)
    if re.search(r"\{-?[xyz]\}", text):
        limits = FetchLimits(
            timeout_s=options.timeout_s, requests_per_second=options.requests_per_second
        )
        tiles = XYZTiles(
            text,
            attribution=options.attribution,
            max_zoom=DEFAULT_MAX_ZOOM if options.zoom is None else options.zoom,
            tile_px=options.tile_px,
            cache_dir=options.cache_dir,
            offline=options.offline,
            fetcher=Fetcher(limits),
        )
        return tile_source(tiles)
    if re.match(r"(?i)https?://", text):
        name = location_name(text)
        if options.offline:
            raise InputError(f"{name}: offline mode fetches nothing; give a local file")
        return raster_source([_raster(text, options)], name, options.attribution)
    path = Path(location)
    if path.is_dir():
        files = raster_files(path)
        if not files:
            raise InputError(f"{path}: holds no raster (.tif, .jp2, .vrt, ...)")
        return raster_source([_raster(f, options) for f in files], text, options.attribution)
    if not path.is_file():
        raise InputError(f"{location_name(text)}: no such file or folder")
    if path.suffix.lower() in (".mbtiles", ".pmtiles"):
        archive = MBTiles(path) if path.suffix.lower() == ".mbtiles" else PMTiles(path)
        return tile_source(
            archive,
            bounds=archive.bounds,
            zoom=options.zoom,
            attribution=options.attribution,
        )
    return _open_file(path, options)


def _raster(location: str | Path, options: AerialOptions) -> RasterImage:
    return RasterImage(location, crs=options.crs, bands=options.bands)


def _open_file(path: Path, options: AerialOptions) -> AerialSource:
    """Open one file as what it is: an image of known resolution, or a georeferenced raster."""
    meters_per_pixel = options.meters_per_pixel
    if meters_per_pixel is None and options.crs is None:
        meters_per_pixel = _world_file_resolution(path)
    if meters_per_pixel is None:
        try:
            return raster_source([_raster(path, options)], str(path), options.attribution)
        except InputError as error:
            if path.suffix.lower() in _ORDINARY and options.crs is None:
                raise InputError(
                    f"{path}: metres per pixel of the aerial image missing, and it has no "
                    "georeference; give --meters-per-pixel"
                ) from error
            raise
    if options.meters_per_pixel is not None and _is_georeferenced(path, options):
        logger.warning("%s: is georeferenced; the given metres per pixel are not used", path)
        return raster_source([_raster(path, options)], str(path), options.attribution)
    return PlainSource(
        load_image(path, "aerial image"),
        meters_per_pixel,
        str(path),
        center=options.center,
        attribution=options.attribution,
    )


def _is_georeferenced(path: Path, options: AerialOptions) -> bool:
    """Return whether a file of a format that carries georeference does so."""
    if path.suffix.lower() not in (".tif", ".tiff", ".jp2", ".vrt", ".img"):
        return False
    try:
        _raster(path, options)
    except InputError:  # also without the extra: the file is then an image like any other
        return False
    return True


def _world_file_resolution(path: Path) -> float | None:
    """Return metres per pixel of a world file beside an ordinary image.

    None without one, and where GDAL knows the coordinate system that the file is in: its metres
    may not be those on the ground.

    Raises:
        InputError: the file is damaged, its pixels are not square, it is in degrees, or the
            image is not north up.
    """
    suffix = path.suffix.lower()
    if suffix not in _ORDINARY:
        return None  # GDAL reads the others' world files, and their coordinate systems
    short = suffix[1] + suffix[-1] + "w"
    candidates = [path.with_suffix(f".{end}") for end in (short, suffix[1:] + "w", "wld")]
    world = next((candidate for candidate in candidates if candidate.is_file()), None)
    if world is None or is_placed(path):
        return None
    try:
        with world.open("rb") as file:
            text = file.read(_MAX_WORLD_FILE_BYTES).decode("ascii")
        a, d, b, e, _, _ = (float(part) for part in text.split())
    except (OSError, ValueError) as error:
        raise InputError(f"{world}: a world file holds six numbers ({error})") from error
    across, down = math.hypot(a, d), math.hypot(b, e)
    if not (math.isfinite(across) and across > 0 and abs(across - down) <= 0.01 * across):
        raise InputError(f"{world}: pixels of {across:g} x {down:g} are not square metres")
    if across < 1e-3:
        raise InputError(f"{world}: seems to be in degrees; name its coordinate system")
    if not (a > 0 > e and max(abs(b), abs(d)) <= _NORTH_UP * across):
        raise InputError(
            f"{world}: the image is rotated or mirrored; name its coordinate system (--aerial-crs)"
        )
    return across


def raster_files(folder: Path) -> list[Path]:
    """Return the georeferenced rasters directly inside a folder, sorted; a VRT alone if present."""
    known = {".tif", ".tiff", ".vrt", ".jp2", ".img", ".png", ".jpg", ".jpeg", ".webp"}
    files = sorted(p for p in folder.iterdir() if p.is_file() and p.suffix.lower() in known)
    mosaics = [p for p in files if p.suffix.lower() == ".vrt"]
    return mosaics or files
