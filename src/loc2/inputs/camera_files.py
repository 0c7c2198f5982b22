"""Describing a camera: by options, by a JSON file, or by the shape of a full panorama."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from loc2.cameras import Camera, Equirectangular, Pinhole
from loc2.errors import InputError


class CameraSpec(BaseModel):
    """What is known of a camera; fields left out follow from the image or from defaults.

    Attributes:
        projection: ``equirectangular`` or ``pinhole``; decided by the other fields if left out.
        width: image width the intrinsics refer to, pixels.
        height: image height the intrinsics refer to, pixels.
        fx: focal length in x, pixels.
        fy: focal length in y, pixels.
        cx: principal point, u, pixels.
        cy: principal point, v, pixels.
        hfov_deg: horizontal field of view, in place of intrinsics, degrees.
        elevation_top_deg: elevation of a panorama's upper edge, degrees.
        elevation_bottom_deg: elevation of a panorama's lower edge, degrees.
        roll_deg: positive when the right side is lower, degrees.
        pitch_deg: positive when looking up, degrees.
        camera_height_m: height above the ground, metres.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    projection: Literal["equirectangular", "pinhole"] | None = None
    width: int | None = Field(default=None, ge=1)
    height: int | None = Field(default=None, ge=1)
    fx: float | None = Field(default=None, gt=0)
    fy: float | None = Field(default=None, gt=0)
    cx: float | None = None
    cy: float | None = None
    hfov_deg: float | None = Field(default=None, gt=0, lt=180)
    elevation_top_deg: float | None = Field(default=None, ge=-90, le=90)
    elevation_bottom_deg: float | None = Field(default=None, ge=-90, le=90)
    roll_deg: float = Field(default=0.0, gt=-90, lt=90)
    pitch_deg: float = Field(default=0.0, gt=-90, lt=90)
    camera_height_m: float | None = Field(default=None, gt=0, le=1000)


def validation_line(error: ValidationError) -> str:
    """Return the first problem of a pydantic validation as one line: field and reason."""
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"]) or "content"
    return f"{field}: {first['msg']}"


def read_camera_file(path: str | Path) -> CameraSpec:
    """Read a camera from JSON.

    Args:
        path: file with the fields of :class:`CameraSpec`.

    Raises:
        InputError: the file is missing or not JSON, or a field is unknown or out of range.
    """
    try:
        return CameraSpec.model_validate_json(Path(path).read_bytes())
    except OSError as error:
        raise InputError(f"camera file {path}: cannot be read ({error.strerror})") from error
    except ValidationError as error:
        raise InputError(f"camera file {path}: {validation_line(error)}") from error


_MOUNTING = {"roll_deg", "pitch_deg", "camera_height_m"}
"""Fields that may stand beside a camera file."""


def combined_camera(file: Path | None, fields: dict[str, object]) -> CameraSpec:
    """Return what single fields and a camera file say together.

    Args:
        file: camera file, or None.
        fields: of :class:`CameraSpec`; None for those that are not known.

    Raises:
        InputError: fields contradict each other or the file, or the file cannot be read.
    """
    given = {name: value for name, value in fields.items() if value is not None}
    if given.get("projection") == "equirectangular" and "hfov_deg" in given:
        raise InputError("a panorama and a field of view (hfov) contradict each other; give one")
    if ("elevation_top_deg" in given) != ("elevation_bottom_deg" in given):
        raise InputError("the elevations of top and bottom belong together; give both")
    if file is not None:
        projecting = sorted(given.keys() - _MOUNTING)
        if projecting:
            raise InputError(
                f"the camera file already describes the projection; leave {projecting[0]} out"
            )
        known = read_camera_file(file).model_dump(exclude_unset=True)
        doubled = sorted(known.keys() & given.keys())
        if doubled:
            raise InputError(f"{doubled[0]} is given both by itself and in {file}")
        given = {**known, **given}
    try:
        return CameraSpec.model_validate(given)
    except ValidationError as error:
        raise InputError(f"camera: {validation_line(error)}") from error


def resolve_camera(spec: CameraSpec, width: int, height: int) -> Camera:
    """Build the camera of an image from what is known.

    An image of 2:1 without any projection given is a full panorama.

    Args:
        spec: what is known.
        width: image width, pixels.
        height: image height, pixels.

    Returns:
        The camera at the image's size.

    Raises:
        InputError: the projection is neither given nor evident, or fields contradict each other or
            the image.
    """
    intrinsics = [spec.fx, spec.fy, spec.cx, spec.cy]
    has_pinhole = spec.hfov_deg is not None or any(v is not None for v in intrinsics)
    has_panorama = spec.elevation_top_deg is not None or spec.elevation_bottom_deg is not None
    if has_pinhole and (has_panorama or spec.projection == "equirectangular"):
        raise InputError("camera: a panorama has no focal length or field of view; give one kind")
    if has_panorama and spec.projection == "pinhole":
        raise InputError("camera: elevations belong to panoramas, not to a pinhole camera")
    projection = spec.projection or (
        "pinhole" if has_pinhole
        else "equirectangular" if has_panorama or width == 2 * height
        else None
    )  # fmt: skip
    try:
        if projection == "equirectangular":
            top_deg = 90.0 if spec.elevation_top_deg is None else spec.elevation_top_deg
            bottom_deg = -90.0 if spec.elevation_bottom_deg is None else spec.elevation_bottom_deg
            return Equirectangular(
                width, height, spec.roll_deg, spec.pitch_deg, top_deg, bottom_deg
            )
        if projection == "pinhole":
            return _pinhole(spec, width, height)
    except ValueError as error:
        raise InputError(f"camera: {error}") from error
    raise InputError(
        f"ground image is {width}x{height}, not the 2:1 of a full panorama; give its horizontal "
        "field of view (--hfov), --panorama with its elevations, or a camera file (--camera)"
    )


def _pinhole(spec: CameraSpec, width: int, height: int) -> Pinhole:
    intrinsics = (spec.fx, spec.fy, spec.cx, spec.cy)
    if spec.hfov_deg is not None:
        if any(v is not None for v in intrinsics):
            raise InputError("camera: give either hfov_deg or fx, fy, cx, cy, not both")
        return Pinhole.from_hfov(width, height, spec.hfov_deg, spec.roll_deg, spec.pitch_deg)
    fx, fy, cx, cy = intrinsics
    if fx is None or fy is None or cx is None or cy is None:
        raise InputError("camera: a pinhole needs hfov_deg, or all of fx, fy, cx and cy")
    own_width, own_height = spec.width or width, spec.height or height
    camera = Pinhole(own_width, own_height, spec.roll_deg, spec.pitch_deg, fx, fy, cx, cy)
    if abs(own_width / own_height / (width / height) - 1) > 0.01:
        raise InputError(
            f"camera: intrinsics are for {own_width}x{own_height}, the image is {width}x{height}"
        )
    return camera.resized(width, height)
