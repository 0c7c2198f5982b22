"""Writing a picture that lies on a window (the overlay, for example) as a GeoTIFF."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from loc2.errors import InputError, OutputError
from loc2.geo.extras import import_geo
from loc2.geo.frame import LocalFrame, MetricArea
from loc2.outputs import atomic_path


def utm_crs_name(latitude_deg: float, longitude_deg: float) -> str:
    """Return the EPSG name of the UTM zone (or polar stereographic grid) of a place."""
    if latitude_deg > 84.0:
        return "EPSG:32661"
    if latitude_deg < -80.0:
        return "EPSG:32761"
    zone = int(((longitude_deg + 180.0) % 360.0) // 6.0) + 1
    return f"EPSG:{(32600 if latitude_deg >= 0 else 32700) + zone}"


def write_geotiff(
    path: Path,
    image: Tensor,
    frame: LocalFrame,
    area: MetricArea,
    *,
    attribution: str | None = None,
    description: str = "Loc2 overlay",
) -> None:
    """Write a picture of a window as an RGBA GeoTIFF in the UTM zone of the place, north up.

    Every geographic information system opens UTM and north-up rasters; the picture is resampled
    from the window's own metric frame.

    Args:
        path: the file to write.
        image: (3, H, W) RGB or (4, H, W) RGBA in [0, 1], covering ``area`` edge to edge.
        frame: metric frame of the window.
        area: rectangle of that frame that the picture covers.
        attribution: who must be named for the imagery; kept in the file.
        description: what the picture is; kept in the file.

    Raises:
        InputError: the picture has neither three nor four bands.
        OutputError: the file cannot be written.
    """
    if image.ndim != 3 or image.shape[0] not in (3, 4):
        raise InputError(f"{path}: a picture of shape {tuple(image.shape)} is no RGB or RGBA image")
    rasterio = import_geo("rasterio")
    warp, affine = import_geo("rasterio.warp"), import_geo("affine")
    height, width = image.shape[-2:]
    rgba = np.empty((4, height, width), dtype=np.uint8)
    rgba[3] = 255
    rgba[: image.shape[0]] = (image.detach().cpu().clamp(0, 1) * 255).round().byte().numpy()
    west_m, north_m = area.east_m - area.width_m / 2, area.north_m + area.height_m / 2
    own = affine.Affine(area.width_m / width, 0, west_m, 0, -area.height_m / height, north_m)
    source_crs = rasterio.crs.CRS.from_wkt(frame.crs.to_wkt())
    target_crs = rasterio.crs.CRS.from_string(
        utm_crs_name(*frame.to_lat_lon(area.east_m, area.north_m))
    )
    bounds = (west_m, north_m - area.height_m, west_m + area.width_m, north_m)
    transform, columns, rows = warp.calculate_default_transform(
        source_crs, target_crs, width, height, *bounds
    )
    target = np.zeros((4, rows, columns), dtype=np.uint8)
    # Colour is resampled multiplied by alpha so that edges stay clean.
    alpha = rgba[3:].astype(np.float32) / 255.0
    premultiplied = np.concatenate((rgba[:3] * alpha, alpha * 255.0)).astype(np.float32)
    resampled = np.zeros((4, rows, columns), dtype=np.float32)
    warp.reproject(
        premultiplied,
        resampled,
        src_transform=own,
        src_crs=source_crs,
        dst_transform=transform,
        dst_crs=target_crs,
        resampling=rasterio.enums.Resampling.bilinear,
    )
    cover = resampled[3:] / 255.0
    colour = np.divide(resampled[:3], cover, out=np.zeros_like(resampled[:3]), where=cover > 1e-3)
    target[:3] = np.clip(np.round(colour), 0, 255)
    target[3] = np.clip(np.round(resampled[3]), 0, 255)
    profile: dict[str, Any] = {
        "driver": "GTiff", "count": 4, "dtype": "uint8", "height": rows, "width": columns,
        "crs": target_crs, "transform": transform, "photometric": "RGB", "alpha": "YES",
        "compress": "deflate", "predictor": 2, "tiled": True,
    }  # fmt: skip
    tags = {"TIFFTAG_IMAGEDESCRIPTION": description, "TIFFTAG_SOFTWARE": "loc2"}
    if attribution:
        tags |= {"TIFFTAG_COPYRIGHT": attribution, "ATTRIBUTION": attribution}
    try:
        with atomic_path(path) as temporary, rasterio.open(temporary, "w", **profile) as dataset:
            dataset.write(target)
            dataset.update_tags(**tags)
    except (rasterio.errors.RasterioError, OSError) as error:
        raise OutputError(f"{path}: cannot be written ({' '.join(str(error).split())})") from error
