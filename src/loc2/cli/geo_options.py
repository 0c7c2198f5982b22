"""Options of ``loc2 localize`` for photos with metadata and georeferenced imagery."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from loc2.errors import InputError

_MAP = "Georeferenced imagery"
_FILES = "Further outputs"

Around = Annotated[
    str | None,
    typer.Option(
        help="LAT,LON (WGS84) around which to search; by default the photo's own position.",
        rich_help_panel=_MAP,
    ),
]
Radius = Annotated[
    float | None,
    typer.Option(
        help="Half side of the window that is searched, metres; by default three times the "
        "position's error, or 50.",
        rich_help_panel=_MAP,
    ),
]
Snap = Annotated[
    float | None,
    typer.Option(
        help="Move the window to a lattice of this spacing, metres: photos near each other then "
        "share one, whose features a batch computes once.",
        rich_help_panel=_MAP,
    ),
]
AerialCrs = Annotated[
    str | None,
    typer.Option(
        help="Coordinate system of a raster that does not name its own, e.g. EPSG:25832.",
        rich_help_panel=_MAP,
    ),
]
AerialCenter = Annotated[
    str | None,
    typer.Option(
        help="LAT,LON of the centre of a plain aerial image (up = true north).",
        rich_help_panel=_MAP,
    ),
]
Bands = Annotated[
    str | None,
    typer.Option(help="Bands shown as red,green,blue, e.g. 4,3,2.", rich_help_panel=_MAP),
]
Zoom = Annotated[int | None, typer.Option(help="Finest zoom level of tiles.", rich_help_panel=_MAP)]
TileSize = Annotated[
    int, typer.Option(help="Side of a server's tiles, pixels.", rich_help_panel=_MAP)
]
Attribution = Annotated[
    str | None,
    typer.Option(help="Whom to name for the imagery, kept in outputs.", rich_help_panel=_MAP),
]
TileCacheFolder = Annotated[
    Path | None, typer.Option("--tile-cache", help="Folder for tiles.", rich_help_panel=_MAP)
]
Offline = Annotated[
    bool,
    typer.Option("--offline", help="Fetch nothing: cached tiles only.", rich_help_panel=_MAP),
]
IgnoreMetadata = Annotated[
    bool,
    typer.Option("--ignore-metadata", help="Do not read the photo's EXIF, XMP and sidecar files."),
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
