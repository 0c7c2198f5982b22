"""Synthetic georeferenced imagery with a known answer: an analytic picture over ground metres."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyproj
import rasterio
from affine import Affine
from numpy.typing import NDArray

CRS_CASES = {
    # name: (CRS, latitude, longitude, geotransform rotation in degrees)
    "web_mercator": ("EPSG:3857", 52.37, 4.9, 0.0),
    "geographic": ("EPSG:4326", 61.5, 23.8, 0.0),
    "utm": ("EPSG:32632", 48.1, 6.2, 0.0),
    "utm_south": ("EPSG:32756", -33.86, 151.2, 0.0),
    "strong_convergence": ("EPSG:31370", 50.9, 2.6, 0.0),  # Belgian Lambert 72, own datum
    "polar": ("EPSG:3413", 69.2, -51.0, 0.0),  # convergence 6 degrees
    "antarctic": ("EPSG:3031", -77.85, 166.67, 0.0),  # convergence 167 degrees
    "rotated": ("EPSG:25833", 52.5, 13.4, 27.0),
    "rotated_geographic": ("EPSG:4326", 46.9, 7.4, -14.0),
}


def crs_pixels_affine(
    crs: str, latitude_deg: float, longitude_deg: float, rotation_deg: float, pixel_m: float,
    width_px: int, height_px: int,
) -> Affine:  # fmt: skip
    """Return an affine whose middle pixel corner is near a place, pixels about ``pixel_m`` wide."""
    to_crs = pyproj.Transformer.from_crs("EPSG:4326", crs, always_xy=True)
    x, y = to_crs.transform(longitude_deg, latitude_deg)
    size = pixel_m / 111_320.0 if pyproj.CRS.from_user_input(crs).is_geographic else pixel_m
    cos, sin = np.cos(np.radians(rotation_deg)) * size, np.sin(np.radians(rotation_deg)) * size
    return Affine(
        cos, sin, x - cos * width_px / 2 - sin * height_px / 2,
        sin, -cos, y - sin * width_px / 2 + cos * height_px / 2,
    )  # fmt: skip


def pixel_to_lat_lon(crs: str, transform: Affine, u: float, v: float) -> tuple[float, float]:
    """Return latitude and longitude of a continuous pixel, by pyproj alone."""
    t = transform
    x, y = t.a * u + t.b * v + t.c, t.d * u + t.e * v + t.f
    to_wgs84 = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    longitude_deg, latitude_deg = to_wgs84.transform(x, y)
    return float(latitude_deg), float(longitude_deg)


def spot_image(
    width_px: int, height_px: int, u: float, v: float, sigma: float
) -> NDArray[np.uint8]:
    """Return (3, H, W): a Gaussian spot centred on a continuous pixel, over a smooth ramp."""
    columns, rows = np.meshgrid(np.arange(width_px) + 0.5, np.arange(height_px) + 0.5)
    spot = np.exp(-((columns - u) ** 2 + (rows - v) ** 2) / (2 * sigma**2))
    return np.stack([spot * 255, 255 - spot * 255, np.full_like(spot, 128.0)]).round().astype("u1")


def write_raster(
    path: Path, pixels: NDArray[np.generic], crs: str | None, transform: Affine, **options: object
) -> Path:
    """Write (bands, H, W) as a GeoTIFF (or another driver given in the options)."""
    profile = {
        "driver": "GTiff",
        "count": pixels.shape[0],
        "height": pixels.shape[1],
        "width": pixels.shape[2],
        "dtype": pixels.dtype.name,
        "crs": crs,
        "transform": transform,
    } | options
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(pixels)
    return path


def centroid_px(weight: NDArray[np.floating]) -> tuple[float, float]:
    """Return the continuous pixel (u, v) of the weighted centre of a picture."""
    columns, rows = np.meshgrid(np.arange(weight.shape[1]) + 0.5, np.arange(weight.shape[0]) + 0.5)
    total = weight.sum()
    return float((columns * weight).sum() / total), float((rows * weight).sum() / total)
