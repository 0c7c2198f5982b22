"""Options for photos with metadata and for aerial imagery."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from loc2.errors import InputError

_MAP = "Georeferenced imagery"
_FILES = "Further outputs"

MetersPerPixel = Annotated[
    float | None, typer.Option(help="Ground sampling distance of the aerial image, metres.")
]
Around = Annotated[
    str | None,
    typer.Option(
        help="LAT,LON (WGS84) around which to search; by default the photo's own position.",
        rich_help_panel=_MAP,
    ),
]
Formats = Annotated[
    str | None,
    typer.Option(
        "--format", help="Of geojson,csv,kml,gpx; needs --output.", rich_help_panel=_FILES
    ),
]
WriteExif = Annotated[
    bool,
    typer.Option(
        "--write-exif",
        help="Write a copy of the photo with the answer in its EXIF; needs --output.",
        rich_help_panel=_FILES,
    ),
]
OverlayGeotiff = Annotated[
    bool,
    typer.Option(
        "--overlay-geotiff",
        help="Write the photo laid on the ground as a GeoTIFF; needs --output.",
        rich_help_panel=_FILES,
    ),
]


@dataclass(frozen=True, kw_only=True)
class ImageryOptions:
    """What the command line says of aerial imagery, and of where to look in it.

    Attributes:
        radius: half side of the window that is searched, metres.
        snap: spacing of a lattice that windows are moved to, metres.
        aerial_crs: coordinate system of a raster that does not name its own.
        aerial_center: LAT,LON of the centre of a plain aerial image.
        bands: bands shown as red, green and blue, comma-separated.
        zoom: finest zoom level of tiles.
        tile_size: side of a server's tiles, pixels.
        attribution: whom to name for the imagery.
        tile_cache: folder for tiles.
        offline: fetch nothing.
        ignore_metadata: do not read the photo's EXIF, XMP and sidecar files.
    """

    radius: Annotated[
        float | None,
        typer.Option(
            help="Half side of the window that is searched, metres; by default three times the "
            "position's error, or 50.",
            rich_help_panel=_MAP,
        ),
    ] = None
    snap: Annotated[
        float | None,
        typer.Option(
            help="Move the window to a lattice of this spacing, metres: photos near each other "
            "then share one, whose features a batch computes once.",
            rich_help_panel=_MAP,
        ),
    ] = None
    aerial_crs: Annotated[
        str | None,
        typer.Option(
            help="Coordinate system of a raster that does not name its own, e.g. EPSG:25832.",
            rich_help_panel=_MAP,
        ),
    ] = None
    aerial_center: Annotated[
        str | None,
        typer.Option(
            help="LAT,LON of the centre of a plain aerial image (up = true north).",
            rich_help_panel=_MAP,
        ),
    ] = None
    bands: Annotated[
        str | None,
        typer.Option(help="Bands shown as red,green,blue, e.g. 4,3,2.", rich_help_panel=_MAP),
    ] = None
    zoom: Annotated[
        int | None, typer.Option(help="Finest zoom level of tiles.", rich_help_panel=_MAP)
    ] = None
    tile_size: Annotated[
        int, typer.Option(help="Side of a server's tiles, pixels.", rich_help_panel=_MAP)
    ] = 256
    attribution: Annotated[
        str | None,
        typer.Option(help="Whom to name for the imagery, kept in outputs.", rich_help_panel=_MAP),
    ] = None
    tile_cache: Annotated[
        Path | None, typer.Option("--tile-cache", help="Folder for tiles.", rich_help_panel=_MAP)
    ] = None
    offline: Annotated[
        bool,
        typer.Option("--offline", help="Fetch nothing: cached tiles only.", rich_help_panel=_MAP),
    ] = False
    ignore_metadata: Annotated[
        bool,
        typer.Option(
            "--ignore-metadata", help="Do not read the photo's EXIF, XMP and sidecar files."
        ),
    ] = False

    def fields(self) -> dict[str, Any]:
        """Return the fields of :class:`loc2.request.PhotoRequest` that this says.

        Raises:
            InputError: a centre or bands that are not numbers.
        """
        center = parse_lat_lon("--aerial-center", self.aerial_center) or (None, None)
        return {
            "radius_m": self.radius,
            "snap_m": self.snap,
            "aerial_latitude_deg": center[0],
            "aerial_longitude_deg": center[1],
            "aerial_crs": self.aerial_crs,
            "bands": parse_bands(self.bands),
            "zoom": self.zoom,
            "tile_px": self.tile_size,
            "attribution": self.attribution,
            "tile_cache": self.tile_cache,
            "offline": self.offline,
            "ignore_metadata": self.ignore_metadata,
        }


def parse_lat_lon(option: str, text: str | None) -> tuple[float, float] | None:
    """Parse ``LAT,LON``.

    Raises:
        InputError: not two numbers.
    """
    if text is None:
        return None
    try:
        latitude_deg, longitude_deg = (float(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"{option}: LAT,LON expected, got {text!r}") from error
    return latitude_deg, longitude_deg


def parse_bands(text: str | None) -> tuple[int, ...] | None:
    """Parse ``4,3,2``.

    Raises:
        InputError: not whole numbers.
    """
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"--bands: numbers such as 4,3,2 expected, got {text!r}") from error
