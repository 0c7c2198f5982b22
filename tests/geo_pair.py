"""One pair of images stored as GeoTIFFs in several systems, as tiles and as MBTiles."""

from __future__ import annotations

import io
import math
import sqlite3
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from PIL import Image
from rasterio.enums import Resampling
from rasterio.warp import calculate_default_transform, reproject

from loc2.geo.frame import LocalFrame

CRSS = {"utm": "EPSG:32755", "web_mercator": "EPSG:3857", "geographic": "EPSG:4326"}
"""Systems used around Canberra, where the CVACT pairs are from."""

HALF_M = math.pi * 6378137.0


def own_grid(frame: LocalFrame, shape: tuple[int, ...], meters_per_pixel: float):
    """Return (CRS, affine) of a north-up image centred on a frame's origin."""
    rows, columns = shape[-2:]
    affine = Affine(
        meters_per_pixel, 0, -columns / 2 * meters_per_pixel,
        0, -meters_per_pixel, rows / 2 * meters_per_pixel,
    )  # fmt: skip
    return rasterio.crs.CRS.from_wkt(frame.crs.to_wkt()), affine


def write_geotiff_in(
    path: Path, pixels: NDArray[np.uint8], frame: LocalFrame, meters_per_pixel: float, crs: str
) -> Path:
    """Warp (3, H, W) RGB to a coordinate system with GDAL, 1.5 times finer, with an alpha band."""
    source_crs, source = own_grid(frame, pixels.shape, meters_per_pixel)
    rows, columns = pixels.shape[-2:]
    half_e, half_n = columns / 2 * meters_per_pixel, rows / 2 * meters_per_pixel
    bounds = (-half_e, -half_n, half_e, half_n)
    transform, width, height = calculate_default_transform(
        source_crs, crs, columns, rows, *bounds, dst_width=int(columns * 1.5),
        dst_height=int(rows * 1.5),
    )  # fmt: skip
    rgba = np.concatenate((pixels, np.full_like(pixels[:1], 255)))
    warped = np.zeros((4, height, width), np.uint8)
    reproject(
        rgba, warped, src_transform=source, src_crs=source_crs, dst_transform=transform,
        dst_crs=crs, resampling=Resampling.cubic,
    )  # fmt: skip
    profile = {
        "driver": "GTiff", "count": 4, "dtype": "uint8", "height": height, "width": width,
        "crs": crs, "transform": transform, "photometric": "RGB", "alpha": "YES", "tiled": True,
        "blockxsize": 256, "blockysize": 256, "compress": "deflate",
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(warped)
    return path


def make_tiles(
    pixels: NDArray[np.uint8],
    frame: LocalFrame,
    meters_per_pixel: float,
    zoom: int,
    levels: int = 1,
) -> dict[tuple[int, int, int], bytes]:
    """Warp (3, H, W) RGB to PNG tiles of web Mercator with GDAL: {(zoom, column, row): bytes}."""
    source_crs, source = own_grid(frame, pixels.shape, meters_per_pixel)
    rgba = np.concatenate((pixels, np.full_like(pixels[:1], 255)))
    reach_m = math.hypot(*pixels.shape[-2:]) / 2 * meters_per_pixel
    tiles = {}
    for z in range(zoom - levels + 1, zoom + 1):
        span_m = 2 * HALF_M / (1 << z)
        corners = [frame.to_lat_lon(-reach_m, reach_m), frame.to_lat_lon(reach_m, -reach_m)]
        columns = [int((math.radians(lon) * 6378137.0 + HALF_M) // span_m) for _, lon in corners]
        rows = [
            int((HALF_M - math.asinh(math.tan(math.radians(lat))) * 6378137.0) // span_m)
            for lat, _ in corners
        ]
        for column in range(columns[0], columns[1] + 1):
            for row in range(rows[0], rows[1] + 1):
                west, north = column * span_m - HALF_M, HALF_M - row * span_m
                transform = Affine(span_m / 256, 0, west, 0, -span_m / 256, north)
                tile = np.zeros((4, 256, 256), np.uint8)
                reproject(
                    rgba, tile, src_transform=source, src_crs=source_crs,
                    dst_transform=transform, dst_crs="EPSG:3857", resampling=Resampling.cubic,
                )  # fmt: skip
                if tile[3].any():
                    out = io.BytesIO()
                    Image.fromarray(tile.transpose(1, 2, 0)).save(out, "PNG")
                    tiles[z, column, row] = out.getvalue()
    return tiles


def write_mbtiles(path: Path, tiles: dict[tuple[int, int, int], bytes], **metadata: str) -> Path:
    """Write tiles as an MBTiles file."""
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE metadata (name TEXT, value TEXT)")
        database.execute(
            "CREATE TABLE tiles (zoom_level INT, tile_column INT, tile_row INT, tile_data BLOB)"
        )
        database.executemany("INSERT INTO metadata VALUES (?, ?)", metadata.items())
        database.executemany(
            "INSERT INTO tiles VALUES (?, ?, ?, ?)",
            [(z, x, (1 << z) - 1 - y, data) for (z, x, y), data in tiles.items()],
        )
    database.close()
    return path
