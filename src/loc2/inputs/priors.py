"""Which prior counts: what was given, then a sidecar, then the photo's EXIF and XMP, then none.

Position, heading and camera are resolved each on its own, so that a given heading goes together
with the photo's own position. Where each came from is kept and belongs into every report.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pydantic import Field, ValidationError

from loc2.errors import InputError
from loc2.inputs.camera_files import CameraSpec, validation_line
from loc2.inputs.metadata import COMPASS_ERROR_DEG, PanoramaCrop, PhotoMetadata

SIDECAR_SUFFIX = ".loc2.json"

_GEOMETRY = {
    "projection", "width", "height", "fx", "fy", "cx", "cy", "hfov_deg", "elevation_top_deg",
    "elevation_bottom_deg",
}  # fmt: skip
"""Fields of a camera that only make sense together."""


class PhotoSidecar(CameraSpec):
    """Content of a sidecar ``<photo name>.loc2.json``: a camera, and where it stood.

    Attributes:
        latitude_deg: WGS84 latitude.
        longitude_deg: WGS84 longitude.
        position_error_m: horizontal standard deviation, metres.
        heading_true_deg: degrees clockwise from true north.
        heading_error_deg: standard deviation, degrees.
    """

    latitude_deg: float | None = Field(default=None, ge=-90, le=90)
    longitude_deg: float | None = Field(default=None, ge=-180, le=180)
    position_error_m: float | None = Field(default=None, gt=0)
    heading_true_deg: float | None = Field(default=None, ge=0, le=360)
    heading_error_deg: float | None = Field(default=None, gt=0, le=180)


def read_sidecar(path: Path) -> PhotoMetadata:
    """Read a sidecar.

    Raises:
        InputError: it cannot be read, is not JSON, or a field is unknown or out of range.
    """
    try:
        content = PhotoSidecar.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"sidecar {path}: cannot be read ({error.strerror})") from error
    except ValidationError as error:
        raise InputError(f"sidecar {path}: {validation_line(error)}") from error
    if (content.latitude_deg is None) != (content.longitude_deg is None):
        raise InputError(f"sidecar {path}: give both latitude_deg and longitude_deg, or neither")
    given = content.model_dump(exclude_unset=True)
    camera = CameraSpec(**{k: v for k, v in given.items() if k in CameraSpec.model_fields})
    heading_deg = content.heading_true_deg
    origins = {
        "position": content.latitude_deg is not None,
        "heading": heading_deg is not None,
        "camera": bool(camera.model_fields_set),
    }
    return PhotoMetadata(
        latitude_deg=content.latitude_deg,
        longitude_deg=content.longitude_deg,
        position_error_m=content.position_error_m,
        heading_true_deg=None if heading_deg is None else heading_deg % 360.0,
        heading_error_deg=content.heading_error_deg
        or (None if heading_deg is None else COMPASS_ERROR_DEG),
        camera=camera if camera.model_fields_set else None,
        origins=tuple((what, f"sidecar {path.name}") for what, known in origins.items() if known),
    )


def merge(first: PhotoMetadata, second: PhotoMetadata) -> PhotoMetadata:
    """Return metadata that takes position, heading and camera each from the first that knows it.

    Args:
        first: believed where it says something.
        second: fills what is missing.
    """
    origins: dict[str, str | None] = {}
    result = replace(first, warnings=(*first.warnings, *second.warnings))
    origins["position"] = first.origin("position")
    if first.latitude_deg is None or first.longitude_deg is None:
        origins["position"] = second.origin("position")
        result = replace(
            result,
            latitude_deg=second.latitude_deg,
            longitude_deg=second.longitude_deg,
            position_error_m=first.position_error_m or second.position_error_m,
        )
    origins["heading"] = first.origin("heading")
    if first.heading_true_deg is None:
        origins["heading"] = second.origin("heading")
        result = replace(
            result,
            heading_true_deg=second.heading_true_deg,
            heading_error_deg=first.heading_error_deg or second.heading_error_deg,
        )
    camera, crop = _merge_camera(first, second)
    from_both = [o for o in (first.origin("camera"), second.origin("camera")) if o is not None]
    replaced = first.camera is not None and bool(first.camera.model_fields_set & _GEOMETRY)
    origins["camera"] = (
        None if not from_both else from_both[0] if replaced else ", ".join(from_both)
    )
    known = tuple((what, origin) for what, origin in origins.items() if origin is not None)
    return replace(result, camera=camera, crop=crop, origins=known)


def _merge_camera(
    first: PhotoMetadata, second: PhotoMetadata
) -> tuple[CameraSpec | None, PanoramaCrop | None]:
    """Return the camera with fields of both; projection and intrinsics stay together."""
    if first.camera is None:
        return second.camera, second.crop
    if second.camera is None:
        return first.camera, first.crop
    upper = first.camera.model_dump(exclude_unset=True)
    lower = second.camera.model_dump(exclude_unset=True)
    crop = second.crop
    if upper.keys() & _GEOMETRY:
        lower = {name: value for name, value in lower.items() if name not in _GEOMETRY}
        crop = first.crop
    return CameraSpec(**(lower | upper)), crop
