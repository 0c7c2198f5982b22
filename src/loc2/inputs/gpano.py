"""GPano XMP: full and cropped equirectangular panoramas, and their pose."""

from __future__ import annotations

from dataclasses import replace

from loc2.inputs.camera_files import CameraSpec
from loc2.inputs.images import MAX_PIXELS
from loc2.inputs.metadata import PanoramaCrop, PhotoMetadata
from loc2.inputs.xmp import EXIF, GPANO, XmpError, coordinate_deg, number

POSE_HEADING_ERROR_DEG = 10.0
"""Standard deviation assumed for GPano's pose heading, degrees."""

Properties = dict[tuple[str, str], str]


def xmp_metadata(properties: Properties, width: int, height: int) -> PhotoMetadata:
    """Return what XMP says of position, heading and camera.

    Args:
        properties: from :func:`loc2.inputs.xmp.read_properties`.
        width: width of the upright image, pixels.
        height: height of the upright image, pixels.
    """
    found = PhotoMetadata()
    for step in (_position, _camera, _heading):
        try:
            found = step(found, properties, width, height)
        except XmpError as error:
            found = replace(found, warnings=(*found.warnings, f"XMP: {error}; not used"))
    return found


def _with_origin(found: PhotoMetadata, what: str, origin: str) -> tuple[tuple[str, str], ...]:
    return (*found.origins, (what, origin))


def _position(
    found: PhotoMetadata, properties: Properties, width: int, height: int
) -> PhotoMetadata:
    latitude = properties.get((EXIF, "GPSLatitude"))
    longitude = properties.get((EXIF, "GPSLongitude"))
    if latitude is None or longitude is None:
        return found
    latitude_deg, longitude_deg = coordinate_deg(latitude), coordinate_deg(longitude)
    if abs(latitude_deg) > 90 or abs(longitude_deg) > 180 or latitude_deg == longitude_deg == 0:
        raise XmpError("GPS position is out of range or 0, 0")
    return replace(
        found,
        latitude_deg=latitude_deg,
        longitude_deg=longitude_deg,
        origins=_with_origin(found, "position", "XMP"),
    )


def _camera(found: PhotoMetadata, properties: Properties, width: int, height: int) -> PhotoMetadata:
    kind = properties.get((GPANO, "ProjectionType"))
    if kind is None or kind.strip().lower() != "equirectangular":
        if kind is not None:
            raise XmpError(f"GPano projection {kind[:30]!r} is not equirectangular")
        return found
    pitch_deg = number(properties, GPANO, "PosePitchDegrees") or 0.0
    roll_deg = number(properties, GPANO, "PoseRollDegrees") or 0.0
    warnings = found.warnings
    if not (abs(pitch_deg) < 90 and abs(roll_deg) < 90):
        warnings = (*warnings, "XMP: GPano pitch or roll beyond 90 degrees; not used")
        pitch_deg = roll_deg = 0.0
    top_deg, bottom_deg, crop = _extent(properties, width, height)
    spec = CameraSpec(
        projection="equirectangular",
        elevation_top_deg=top_deg,
        elevation_bottom_deg=bottom_deg,
        pitch_deg=pitch_deg,
        roll_deg=roll_deg,
    )
    return replace(
        found,
        camera=spec,
        crop=crop,
        warnings=warnings,
        origins=_with_origin(found, "camera", "XMP GPano"),
    )


def _extent(
    properties: Properties, width: int, height: int
) -> tuple[float, float, PanoramaCrop | None]:
    """Return the elevations of the upper and lower edges, and the crop in azimuth."""
    full_width = number(properties, GPANO, "FullPanoWidthPixels")
    full_height = number(properties, GPANO, "FullPanoHeightPixels")
    if full_width is None or full_height is None:
        if abs(width / height - 2.0) > 0.02:
            raise XmpError(f"GPano size is missing and the image is {width}x{height}, not 2:1")
        return 90.0, -90.0, None
    if min(full_width, full_height) <= 0 or abs(full_width / full_height - 2.0) > 0.02:
        raise XmpError(f"GPano full size {full_width:g}x{full_height:g} is not 2:1")
    crop_width = number(properties, GPANO, "CroppedAreaImageWidthPixels") or full_width
    crop_height = number(properties, GPANO, "CroppedAreaImageHeightPixels") or full_height
    left = number(properties, GPANO, "CroppedAreaLeftPixels") or 0.0
    top = number(properties, GPANO, "CroppedAreaTopPixels") or 0.0
    slack = 1.0  # writers round to whole pixels
    if (
        min(crop_width, crop_height) <= 0
        or min(left, top) < 0
        or left + crop_width > full_width + slack
        or top + crop_height > full_height + slack
    ):
        raise XmpError("GPano cropped area does not lie inside the full panorama")
    if abs((width / height) / (crop_width / crop_height) - 1.0) > 0.02:
        raise XmpError(
            f"GPano cropped area {crop_width:g}x{crop_height:g} has not the shape of the image "
            f"({width}x{height})"
        )
    top_deg = 90.0 - 180.0 * top / full_height
    bottom_deg = max(-90.0, top_deg - 180.0 * crop_height / full_height)
    covered = min(crop_width / full_width, 1.0 - left / full_width)
    if covered <= 0 or bottom_deg >= top_deg:  # for all its slack
        raise XmpError("GPano cropped area does not lie inside the full panorama")
    crop = None
    if full_width - crop_width > slack:
        if width * height > MAX_PIXELS * covered:
            raise XmpError(
                f"GPano cropped area {crop_width:g}x{crop_height:g} is too small a part of the "
                f"full panorama {full_width:g}x{full_height:g}"
            )
        crop = PanoramaCrop(left / full_width, covered)
    return top_deg, bottom_deg, crop


def _heading(
    found: PhotoMetadata, properties: Properties, width: int, height: int
) -> PhotoMetadata:
    heading_deg = number(properties, GPANO, "PoseHeadingDegrees")
    if heading_deg is None:
        return found
    if not 0.0 <= heading_deg <= 360.0:
        raise XmpError(f"GPano heading {heading_deg:g} is not within 0..360")
    return replace(
        found,
        heading_true_deg=heading_deg % 360.0,
        heading_error_deg=POSE_HEADING_ERROR_DEG,
        origins=_with_origin(found, "heading", "XMP GPano"),
    )
