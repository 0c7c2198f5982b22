"""Manifests of image pairs: a CSV file, one row for each ground image with its aerial image."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import Tensor

from loc2.cameras import Camera
from loc2.errors import DatasetNotFoundError, InputError
from loc2.inputs.camera_files import (
    CameraSpec,
    read_camera_file,
    resolve_camera,
    validation_line,
)

REQUIRED_COLUMNS = (
    "id",
    "ground",
    "aerial",
    "meters_per_pixel",
    "east_m",
    "north_m",
    "heading_deg",
)


class Pair(BaseModel):
    """One row of a manifest; file names are relative to the manifest's folder.

    Attributes:
        id: unique name; the part before the first underscore is its group.
        ground: ground image file.
        aerial: aerial image file.
        meters_per_pixel: of the aerial image, metres.
        east_m: camera position from the aerial image's centre, metres.
        north_m: camera position from the aerial image's centre, metres.
        heading_deg: heading of the ground image's centre column, clockwise from image up.
        position_sigma_m: how well the position is known, metres (one standard deviation).
        projection: ``equirectangular`` or ``pinhole``; by the image's shape if left out.
        elevation_top_deg: elevation of a panorama's upper edge, degrees.
        elevation_bottom_deg: elevation of a panorama's lower edge, degrees.
        hfov_deg: horizontal field of view of a pinhole, degrees.
        roll_deg: positive when the right side is lower, degrees.
        pitch_deg: positive when looking up, degrees.
        camera_height_m: height above the ground, metres.
        camera: camera file (JSON) in place of the fields above.
        depth: depth file of the ground image.
        depth_unit: unit of the depth file, where the file does not say.
        depth_kind: kind of the depth file, where the file does not say.
        classes: semantic classes of the ground image (8-bit PNG), as generated scenes have them.
        aerial_classes: semantic classes of the aerial image, by the same numbers.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    id: str = Field(min_length=1)
    ground: Path
    aerial: Path
    meters_per_pixel: float = Field(gt=0)
    east_m: float
    north_m: float
    heading_deg: float
    position_sigma_m: float = Field(default=0.0, ge=0)
    projection: Literal["equirectangular", "pinhole"] | None = None
    elevation_top_deg: float | None = None
    elevation_bottom_deg: float | None = None
    hfov_deg: float | None = None
    roll_deg: float = 0.0
    pitch_deg: float = 0.0
    camera_height_m: float | None = Field(default=None, gt=0)
    camera: Path | None = None
    depth: Path | None = None
    depth_unit: str | None = None
    depth_kind: Literal["range", "z"] | None = None
    classes: Path | None = None
    aerial_classes: Path | None = None

    @model_validator(mode="before")
    @classmethod
    def _drop_empty(cls, values: dict[str, Any]) -> dict[str, Any]:
        return {k: v for k, v in values.items() if v not in ("", None)}

    @property
    def group(self) -> str:
        """First part of the id, by which results are summarised."""
        return self.id.split("_", 1)[0]

    def camera_spec(self) -> CameraSpec:
        """Return what the row says of the camera, from its file or its columns."""
        if self.camera is not None:
            return read_camera_file(self.camera)
        names = CameraSpec.model_fields.keys() & type(self).model_fields.keys()
        given = {name: getattr(self, name) for name in names}
        if self.projection == "pinhole":  # manifests fill the panorama's columns for all rows
            given |= {"elevation_top_deg": None, "elevation_bottom_deg": None}
        return CameraSpec.model_validate(given)

    def camera_of(self, image: Tensor) -> tuple[Camera, float | None]:
        """Return the camera of the (3, H, W) ground image and its height, metres, if it is stated.

        Raises:
            InputError: the camera does not fit the image, or its file cannot be read.
        """
        spec = self.camera_spec()
        stated_m = self.camera_height_m
        height_m = stated_m if stated_m is not None else spec.camera_height_m
        return resolve_camera(spec, image.shape[-1], image.shape[-2]), height_m


def read_pairs(path: str | Path) -> list[Pair]:
    """Read a manifest.

    Args:
        path: CSV file with a header; see :class:`Pair` for the columns.

    Returns:
        The rows, with file names resolved against the manifest's folder.

    Raises:
        DatasetNotFoundError: there is no such file.
        InputError: a column is missing, a number is bad (the row and column are named), an id
            occurs twice, or there are no rows.
    """
    path = Path(path)
    if not path.is_file():
        raise DatasetNotFoundError(f"manifest {path}: no such file")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
            columns = reader.fieldnames or []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"manifest {path}: not readable as CSV ({error})") from error
    missing = [name for name in REQUIRED_COLUMNS if name not in columns]
    if missing:
        raise InputError(f"manifest {path}: missing columns: {', '.join(missing)}")
    if not rows:
        raise InputError(f"manifest {path}: no rows")
    pairs = [_pair(path, number, row) for number, row in enumerate(rows, start=2)]
    seen: set[str] = set()
    for pair in pairs:
        if pair.id in seen:
            raise InputError(f"manifest {path}: id {pair.id!r} occurs twice")
        seen.add(pair.id)
    return pairs


def _pair(path: Path, line: int, row: dict[str, Any]) -> Pair:
    try:
        pair = Pair.model_validate({k: v for k, v in row.items() if k is not None})
    except ValidationError as error:
        raise InputError(f"manifest {path}, line {line}: {validation_line(error)}") from error
    files = {
        name: path.parent / value
        for name in ("ground", "aerial", "camera", "depth", "classes", "aerial_classes")
        if (value := getattr(pair, name)) is not None
    }
    pair = pair.model_copy(update=files)
    if pair.camera is None:  # a camera file may not be there until it is needed
        try:
            pair.camera_spec()
        except ValidationError as error:
            raise InputError(f"manifest {path}, line {line}: {validation_line(error)}") from error
    return pair
