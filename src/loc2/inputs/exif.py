"""EXIF of a photo: position, direction, and the field of view from the focal length."""

from __future__ import annotations

import datetime
import importlib
import math
import struct
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from PIL import ExifTags, Image

from loc2.inputs.camera_files import CameraSpec
from loc2.inputs.metadata import (
    COMPASS_ERROR_DEG,
    UNCORRECTED_COMPASS_ERROR_DEG,
    PhotoMetadata,
)

FULL_FRAME_DIAGONAL_MM = math.hypot(36.0, 24.0)
"""35 mm equivalence compares diagonals (CIPA DCG-001), so it holds for every aspect ratio."""

SENSOR_WIDTH_MM = {
    "FC300C": 6.17,
    "FC300S": 6.17,
    "FC300X": 6.17,
    "FC330": 6.17,
    "FC220": 6.17,
    "FC6310": 13.2,
    "NIKON D90": 23.6,
    "NIKON D700": 36.0,
    "NIKON D800": 35.9,
    "ILCE-7M3": 35.6,
}
"""Sensor widths, millimetres, of models whose files may state a focal length alone."""

_MM_PER_UNIT = {2: 25.4, 3: 10.0, 4: 1.0, 5: 1e-3}
BAD_METADATA = (
    AttributeError, EOFError, IndexError, KeyError, OSError, OverflowError, RecursionError,
    SyntaxError, TypeError, ValueError, ZeroDivisionError, struct.error,
)  # fmt: skip
"""What Pillow and conversions raise on damaged metadata."""


@dataclass
class _Findings:
    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def exif_metadata(exif: Image.Exif, width: int, height: int) -> PhotoMetadata:
    """Return what EXIF says.

    Args:
        exif: as Pillow parsed it.
        width: width of the upright image, pixels.
        height: height of the upright image, pixels.
    """
    found = _Findings()
    with warnings.catch_warnings(record=True) as remarks:
        warnings.simplefilter("always")
        try:
            gps = dict(exif.get_ifd(ExifTags.IFD.GPSInfo))
            details = dict(exif.get_ifd(ExifTags.IFD.Exif))
            basic = dict(exif)
        except BAD_METADATA as error:
            return PhotoMetadata(warnings=(f"EXIF is damaged and not used ({_short(error)})",))
    if remarks:
        found.warnings.append(
            f"EXIF is damaged in part ({' '.join(str(remarks[0].message).split())})"
        )
    for step in (_position, _heading, _camera):
        try:
            step(found, basic, details, gps, width, height)
        except BAD_METADATA as error:
            found.warnings.append(f"EXIF {step.__name__[1:]} is damaged ({_short(error)})")
    return PhotoMetadata(
        **found.values, origins=tuple(found.origins.items()), warnings=tuple(found.warnings)
    )


def _position(
    found: _Findings, basic: Mapping[int, Any], details: Mapping[int, Any], gps: Mapping[int, Any],
    width: int, height: int,
) -> None:  # fmt: skip
    tags = ExifTags.GPS
    if tags.GPSLatitude not in gps and tags.GPSLongitude not in gps:
        return
    latitude_deg = _angle_deg(gps.get(tags.GPSLatitude), gps.get(tags.GPSLatitudeRef), "NS", 90)
    longitude_deg = _angle_deg(gps.get(tags.GPSLongitude), gps.get(tags.GPSLongitudeRef), "EW", 180)
    if latitude_deg is None or longitude_deg is None:
        found.warnings.append("EXIF position is incomplete or out of range and not used")
        return
    if latitude_deg == 0.0 and longitude_deg == 0.0:
        found.warnings.append("EXIF position is 0, 0 (no fix) and not used")
        return
    if _text(gps.get(tags.GPSStatus)) == "V":
        found.warnings.append("EXIF says that the receiver had no fix: position may be stale")
    datum = _text(gps.get(tags.GPSMapDatum)).replace("-", "").replace(" ", "").upper()
    if datum not in ("", "WGS84"):
        found.warnings.append(f"EXIF position is in {datum[:20]}, taken as WGS84 (up to 500 m off)")
    found.values |= {"latitude_deg": latitude_deg, "longitude_deg": longitude_deg}
    found.origins["position"] = "EXIF"
    error_m = _number(gps.get(tags.GPSHPositioningError))
    if error_m is not None and 0 < error_m < 1e5:
        found.values["position_error_m"] = error_m
    elif tags.GPSHPositioningError in gps:
        found.warnings.append("EXIF position error is no positive number and not used")


def _heading(
    found: _Findings, basic: Mapping[int, Any], details: Mapping[int, Any], gps: Mapping[int, Any],
    width: int, height: int,
) -> None:  # fmt: skip
    tags = ExifTags.GPS
    if tags.GPSImgDirection not in gps:
        return
    direction_deg = _number(gps[tags.GPSImgDirection])
    if direction_deg is None or not 0.0 <= direction_deg <= 360.0:
        found.warnings.append("EXIF direction is not within 0..360 degrees and not used")
        return
    reference = _text(gps.get(tags.GPSImgDirectionRef)).upper()
    origin, error_deg = "EXIF, true north", COMPASS_ERROR_DEG
    if reference == "M":
        turn_deg, origin = magnetic_declination_deg(
            found.values.get("latitude_deg"), found.values.get("longitude_deg"), _year(details, gps)
        )
        if turn_deg is None:
            found.warnings.append(f"EXIF direction is magnetic and not corrected: {origin}")
            turn_deg, error_deg = 0.0, UNCORRECTED_COMPASS_ERROR_DEG
            origin = "magnetic north, not corrected"
        direction_deg, origin = direction_deg + turn_deg, f"EXIF, {origin}"
    elif reference != "T":
        found.warnings.append("EXIF direction does not say which north; taken as true north")
        origin, error_deg = "EXIF, north not stated", UNCORRECTED_COMPASS_ERROR_DEG
    found.values |= {"heading_true_deg": direction_deg % 360.0, "heading_error_deg": error_deg}
    found.origins["heading"] = origin


def magnetic_declination_deg(
    latitude_deg: float | None, longitude_deg: float | None, year: float
) -> tuple[float | None, str]:
    """Return the angle from true to magnetic north, and how it was found or why not.

    Args:
        latitude_deg: WGS84, or None where unknown.
        longitude_deg: WGS84, or None where unknown.
        year: decimal year.

    Returns:
        (degrees, positive when magnetic north lies east of true north; the model's name), or
        (None, the reason). The model is the World Magnetic Model of the year, at sea level.
    """
    if latitude_deg is None or longitude_deg is None:
        return None, "the declination needs a position"
    try:
        pygeomag = importlib.import_module("pygeomag")
    except ImportError:
        return None, "pip install 'loc2[geo]' for the magnetic model"
    year = min(max(year, 2010.0), 2029.99)  # the models known; drift outside is below 0.2 deg/year
    model = pygeomag.GeoMag(base_year=int(year))
    field_here = model.calculate(glat=latitude_deg, glon=longitude_deg, alt=0.0, time=year)
    if field_here.in_blackout_zone:
        return None, "too near a magnetic pole"
    return float(field_here.d), f"magnetic north corrected by {field_here.d:+.1f} deg"


def _camera(
    found: _Findings, basic: Mapping[int, Any], details: Mapping[int, Any], gps: Mapping[int, Any],
    width: int, height: int,
) -> None:  # fmt: skip
    tags = ExifTags.Base
    diagonal_px = math.hypot(width, height)
    equivalent_mm = _number(details.get(tags.FocalLengthIn35mmFilm))
    focal_mm = _number(details.get(tags.FocalLength))
    if equivalent_mm is not None and equivalent_mm > 0:
        focal_px = equivalent_mm / FULL_FRAME_DIAGONAL_MM * diagonal_px
        origin = f"EXIF, {equivalent_mm:g} mm (35 mm equivalent)"
    elif focal_mm is not None and focal_mm > 0:
        sensor = _sensor_width_mm(basic, details, max(width, height))
        if sensor is None:
            found.warnings.append(
                f"EXIF has a focal length of {focal_mm:g} mm but no sensor size: give the field of "
                "view"
            )
            return
        sensor_mm, how = sensor
        zoom = _number(details.get(tags.DigitalZoomRatio)) or 1.0
        focal_px = focal_mm / sensor_mm * max(width, height) * max(zoom, 1.0)
        origin = f"EXIF, {focal_mm:g} mm on {sensor_mm:.4g} mm {how}"
    else:
        return
    hfov_deg = math.degrees(2 * math.atan(width / 2 / focal_px))
    if not 3.0 <= hfov_deg <= 160.0:
        found.warnings.append(f"EXIF focal length gives {hfov_deg:.3g} degrees and is not used")
        return
    if width == 2 * height and hfov_deg > 110.0:
        found.warnings.append("EXIF focal length is not used: 2:1 and very wide, so a panorama")
        return
    found.values["camera"] = CameraSpec(projection="pinhole", hfov_deg=hfov_deg)
    found.origins["camera"] = origin


def _sensor_width_mm(
    basic: Mapping[int, Any], details: Mapping[int, Any], long_side_px: int
) -> tuple[float, str] | None:
    """Return the length of the sensor's long side, millimetres, and where it is from."""
    tags = ExifTags.Base
    per_unit = _number(details.get(tags.FocalPlaneXResolution))
    unit_mm = _MM_PER_UNIT.get(details.get(tags.FocalPlaneResolutionUnit, 2))
    sides = [_number(details.get(tag)) for tag in (tags.ExifImageWidth, tags.ExifImageHeight)]
    # The resolution refers to the size that the camera wrote, not to a copy made smaller since.
    recorded_px = max([side for side in sides if side is not None and side > 0] or [long_side_px])
    if per_unit is not None and per_unit > 0 and unit_mm is not None:
        sensor_mm = recorded_px / per_unit * unit_mm
        if 1.0 <= sensor_mm <= 120.0:
            return sensor_mm, "(focal plane resolution)"
    model = _text(basic.get(tags.Model))
    known_mm = SENSOR_WIDTH_MM.get(model)
    return None if known_mm is None else (known_mm, f"(sensor of {model})")


def _angle_deg(value: Any, reference: Any, letters: str, limit_deg: float) -> float | None:
    """Return signed degrees of (degrees, minutes, seconds) with a hemisphere letter, or None."""
    side = _text(reference).upper()
    parts = [_number(part) for part in value] if isinstance(value, (tuple, list)) else []
    if not 1 <= len(parts) <= 3 or len(side) != 1 or side not in letters:
        return None
    total_deg = 0.0
    for part, unit in zip(parts, (1.0, 60.0, 3600.0), strict=False):
        if part is None or part < 0:
            return None
        total_deg += part / unit
    if total_deg > limit_deg:
        return None
    return -total_deg if side == letters[1] else total_deg


def _number(value: Any) -> float | None:
    """Return a finite float, or None for anything else (a zero denominator among them)."""
    if isinstance(value, (bool, str, bytes)) or value is None:
        return None
    if isinstance(value, (tuple, list)):
        return _number(value[0]) if len(value) == 1 else None
    try:
        result = float(value)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return result if math.isfinite(result) else None


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        value = value.decode("ascii", errors="replace")
    return value.strip("\0 \t") if isinstance(value, str) else ""


def _year(details: Mapping[int, Any], gps: Mapping[int, Any]) -> float:
    """Return the decimal year the photo was taken, or now where it is not said."""
    for text in (
        _text(details.get(ExifTags.Base.DateTimeOriginal)),
        _text(gps.get(ExifTags.GPS.GPSDateStamp)),
    ):
        try:
            day = datetime.date(*(int(part) for part in text[:10].split(":")))
        except (ValueError, TypeError, OverflowError):
            continue
        return day.year + (day.timetuple().tm_yday - 1) / 365.25
    return time.gmtime().tm_year + 0.5


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:80]}"
