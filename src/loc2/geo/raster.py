"""Georeferenced raster files: GeoTIFF, cloud-optimised GeoTIFF, VRT and whatever GDAL reads.

Files are read by block, with overviews where they have them; nothing here reads a whole file. Any
band count, sample type, palette, nodata value, mask or alpha band becomes RGBA in [0, 1].
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from loc2.errors import InputError
from loc2.geo.extras import import_geo
from loc2.geo.fetch import public_name

if TYPE_CHECKING:
    import pyproj
    from affine import Affine

LOCAL_OPTIONS: dict[str, str | int] = {"GDAL_CACHEMAX": 128}  # megabytes
REMOTE_OPTIONS: dict[str, str | int] = {
    **LOCAL_OPTIONS,
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_CONNECTTIMEOUT": 10,
    "GDAL_HTTP_TIMEOUT": 30,
    "GDAL_HTTP_MAX_RETRY": 3,
    "GDAL_HTTP_RETRY_DELAY": 1,
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".tif,.tiff,.vrt,.ovr,.msk",
}
"""GDAL settings for bounded memory, and for files behind http(s)."""

_SAMPLE_PX = 256
_SAMPLES_PER_SIDE = 4
_STRETCH_PERCENTILES = (1.0, 99.0)


def location_name(location: str) -> str:
    """Return a file name as it is, and an address as messages show it: without its secrets."""
    return public_name(location) if "://" in location else location


def is_placed(path: Path) -> bool:
    """Return whether GDAL knows where on earth a file lies, from itself or files beside it.

    Without the extra, or for a file that GDAL does not read, nothing is known.
    """
    try:
        rasterio = import_geo("rasterio")
    except InputError:
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            with rasterio.open(path) as dataset:
                crs = dataset.crs
                on_earth = crs is not None and (crs.is_projected or crs.is_geographic)
                return on_earth and not dataset.transform.is_identity
    except rasterio.errors.RasterioError:
        return False


class RasterImage:
    """One georeferenced raster; implements :class:`loc2.geo.warp.MapImage`."""

    def __init__(
        self, location: str | Path, *, crs: str | None = None, bands: tuple[int, ...] | None = None
    ) -> None:
        """Open a raster's header.

        Args:
            location: a path, or an http(s) address of a cloud-optimised GeoTIFF.
            crs: coordinate system where the file has none, for example ``EPSG:25832``; it also
                replaces a wrong one.
            bands: 1-based bands to show as red, green and blue (or one for grey); by default the
                file's own colours, else its first three bands.

        Raises:
            InputError: not a raster, no coordinate system, no affine, or no such band.
        """
        self._location, self._options = str(location), LOCAL_OPTIONS
        if re.match(r"(?i)https?://", self._location):
            self._location, self._options = "/vsicurl/" + self._location, REMOTE_OPTIONS
        self.name = location_name(str(location))
        self._stretch_range: tuple[float, float] | None = None
        with self._open() as dataset:
            self.width_px, self.height_px = int(dataset.width), int(dataset.height)
            self.transform: Affine = dataset.transform
            if dataset.transform.is_identity:
                georeferenced_otherwise = bool(dataset.gcps[0]) or dataset.rpcs is not None
                raise InputError(
                    f"{self.name}: "
                    + (
                        "georeferenced by control points or RPCs: warp it first (gdalwarp)"
                        if georeferenced_otherwise
                        else "has no georeference: give metres per pixel or a world file"
                    )
                )
            if abs(self.transform.determinant) == 0:
                raise InputError(f"{self.name}: its geotransform has no area")
            self.crs: pyproj.CRS = self._parse_crs(crs if crs is not None else dataset.crs)
            self._bands = self._choose_bands(dataset, bands)
            dtypes = {dataset.dtypes[band - 1] for band in self._bands}
            self._is_byte = dtypes == {"uint8"}
            if any(dtype.startswith("complex") for dtype in dtypes):
                raise InputError(f"{self.name}: complex samples are no image")
            self._palette = self._read_palette(dataset)
            tags = dataset.tags()
            self.attribution: str | None = tags.get("ATTRIBUTION") or tags.get("TIFFTAG_COPYRIGHT")

    @cached_property
    def wrap_px(self) -> float | None:
        """Pixels around the earth when coordinates are longitudes along the rows, else None."""
        if not self.crs.is_geographic or self.transform.a == 0:
            return None
        return 360.0 / abs(self.transform.a)

    def corners(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return CRS coordinates (x, y) of the corners of the image, clockwise from top left."""
        u_px = np.array([0.0, self.width_px, self.width_px, 0.0])
        v_px = np.array([0.0, 0.0, self.height_px, self.height_px])
        t = self.transform
        return t.a * u_px + t.b * v_px + t.c, t.d * u_px + t.e * v_px + t.f

    def read_block(
        self, left_px: int, top_px: int, columns: int, rows: int, decimation: int
    ) -> NDArray[np.float32]:
        """Return (4, rows, columns) RGBA in [0, 1]; transparent outside the file.

        Raises:
            InputError: the file cannot be read.
        """
        result = np.zeros((4, rows, columns), dtype=np.float32)
        # Whole output pixels only: a fraction of one at the right or lower edge is left out.
        first_column = max(0, math.ceil(-left_px / decimation))
        first_row = max(0, math.ceil(-top_px / decimation))
        last_column = min(columns, (self.width_px - left_px) // decimation)
        last_row = min(rows, (self.height_px - top_px) // decimation)
        if last_column <= first_column or last_row <= first_row:
            return result
        with self._open() as dataset:
            rgba = self._read_rgba(
                dataset,
                left_px + first_column * decimation,
                top_px + first_row * decimation,
                last_column - first_column,
                last_row - first_row,
                decimation,
            )
        result[:, first_row:last_row, first_column:last_column] = rgba
        return result

    @contextmanager
    def _open(self) -> Iterator[Any]:
        """Open the data set; reading errors inside become one line."""
        rasterio = import_geo("rasterio")
        try:
            with rasterio.Env(**self._options), warnings.catch_warnings():
                # A missing georeference is reported as an error, with what to do.
                warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
                dataset = rasterio.open(self._location)
            with dataset, rasterio.Env(**self._options):
                yield dataset
        except rasterio.errors.RasterioError as error:
            reason = " ".join((str(error.__cause__ or "") or str(error)).split())
            for address in (self._location, self._location.removeprefix("/vsicurl/")):
                reason = reason.replace(address, self.name)
            raise InputError(f"{self.name}: cannot be read as a raster: {reason}") from error

    def _parse_crs(self, given: Any) -> pyproj.CRS:
        if not given:
            raise InputError(
                f"{self.name}: has no coordinate system: name it (for example EPSG:25832)"
            )
        text = given if isinstance(given, str) else given.to_wkt()
        library = import_geo("pyproj")
        try:
            flat: pyproj.CRS = library.CRS.from_user_input(text).to_2d()
        except library.exceptions.CRSError as error:
            raise InputError(
                f"{self.name}: unknown coordinate system {str(given)[:80]!r}"
            ) from error
        return flat

    def _choose_bands(self, dataset: Any, wanted: tuple[int, ...] | None) -> tuple[int, ...]:
        rasterio = import_geo("rasterio")
        role = rasterio.enums.ColorInterp
        if wanted is not None:
            if len(wanted) not in (1, 3) or not all(1 <= b <= dataset.count for b in wanted):
                raise InputError(
                    f"{self.name}: bands must be one or three of 1..{dataset.count}, got {wanted}"
                )
            return wanted
        roles = list(dataset.colorinterp)
        if all(colour in roles for colour in (role.red, role.green, role.blue)):
            return tuple(roles.index(c) + 1 for c in (role.red, role.green, role.blue))
        colours = [band for band, r in enumerate(roles, start=1) if r != role.alpha]
        if not colours:
            raise InputError(f"{self.name}: has no colour band")
        return tuple(colours[:3]) if len(colours) >= 3 else (colours[0],)

    def _read_palette(self, dataset: Any) -> NDArray[np.float32] | None:
        rasterio = import_geo("rasterio")
        band = self._bands[0]
        if len(self._bands) > 1 or (
            dataset.colorinterp[band - 1] != rasterio.enums.ColorInterp.palette
        ):
            return None
        table = np.zeros((256, 4), dtype=np.float32)
        for index, rgba in dataset.colormap(band).items():
            if 0 <= index < 256:
                table[index] = np.asarray(rgba, dtype=np.float32) / 255.0
        return table

    def _read_rgba(
        self, dataset: Any, left: int, top: int, columns: int, rows: int, decimation: int
    ) -> NDArray[np.float32]:
        windows = import_geo("rasterio.windows")
        resampling = import_geo("rasterio.enums").Resampling
        window = windows.Window(left, top, columns * decimation, rows * decimation)
        values = dataset.read(
            list(self._bands),
            window=window,
            out_shape=(len(self._bands), rows, columns),
            resampling=resampling.nearest if self._palette is not None else resampling.average,
        )
        mask = dataset.dataset_mask(window=window, out_shape=(rows, columns))
        valid = mask.astype(np.float32) / 255.0
        if values.dtype.kind == "f":
            finite = np.isfinite(values).all(axis=0)
            valid = np.where(finite, valid, np.float32(0.0))
            values = np.where(np.isfinite(values), values, 0.0)
        if self._palette is not None:
            colours = self._palette[np.clip(values[0], 0, 255).astype(np.intp)]
            rgb, valid = colours[..., :3].transpose(2, 0, 1), valid * colours[..., 3]
        elif self._is_byte:
            rgb = values.astype(np.float32) / 255.0
        else:
            low, high = self._stretch(dataset, values, valid)
            rgb = np.clip((values.astype(np.float64) - low) / (high - low), 0.0, 1.0)
        if rgb.shape[0] == 1:
            rgb = np.repeat(rgb, 3, axis=0)
        return np.concatenate((rgb, valid[None])).astype(np.float32)

    def _stretch(
        self, dataset: Any, values: NDArray[Any], valid: NDArray[np.float32]
    ) -> tuple[float, float]:
        """Return the values shown as black and white, the same for every window of the file.

        They are percentiles over all colour bands of a few blocks spread over the file, so that
        colour balance is kept, neighbouring windows agree, and a huge file is not read.
        """
        if self._stretch_range is None:
            seen = self._sample_values(dataset)
            if seen.size == 0:  # every sampled block was empty: this window alone decides
                seen = values[:, valid > 0.5].ravel()
                if seen.size == 0:
                    return 0.0, 1.0
            low, high = np.percentile(seen.astype(np.float64), _STRETCH_PERCENTILES)
            if not high > low:
                low, high = low - 0.5, low + 0.5
            self._stretch_range = (float(low), float(high))
        return self._stretch_range

    def _sample_values(self, dataset: Any) -> NDArray[Any]:
        windows = import_geo("rasterio.windows")
        width, height = min(_SAMPLE_PX, self.width_px), min(_SAMPLE_PX, self.height_px)
        found: list[NDArray[Any]] = []
        places = [(i + 0.5) / _SAMPLES_PER_SIDE for i in range(_SAMPLES_PER_SIDE)]
        for row in places:
            for column in places:
                left = round(column * self.width_px - width / 2)
                top = round(row * self.height_px - height / 2)
                window = windows.Window(
                    min(max(left, 0), self.width_px - width),
                    min(max(top, 0), self.height_px - height),
                    width,
                    height,
                )
                mask = dataset.dataset_mask(window=window) > 0
                values = dataset.read(list(self._bands), window=window)[:, mask].ravel()
                if values.dtype.kind == "f":
                    values = values[np.isfinite(values)]
                found.append(values)
        return np.concatenate(found)
