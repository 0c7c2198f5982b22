"""The record beside a depth file, so that nothing is guessed when it is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from loc2.cameras import Camera, DepthKind, Equirectangular, Pinhole
from loc2.errors import InputError
from loc2.inputs.camera_files import CameraSpec, validation_line


def head_name(weights: str, depth: str = "own") -> str:
    """Return the name of depth by the head of weights, as records state it.

    Args:
        weights: their name.
        depth: one of :data:`loc2.depth.HEAD_DEPTHS`.
    """
    return f"{depth} ({weights})"


class DepthRecord(BaseModel):
    """What is known of a depth file; written as JSON beside it.

    Attributes:
        format: of the record.
        image: name of the ground image.
        model: name of the depth model.
        version: revision of its weights.
        licence: of its weights.
        kind: ``range`` or ``z``.
        unit: of the stored numbers, see :data:`loc2.depth.files.DepthUnit`.
        scaled_by: ``camera height`` where depth up to scale became metric by it.
        far_limit_m: larger depth was masked or cannot be stored, metres.
        camera: of the image.
        camera_height_m: height above the ground, metres, where it is known.
        masks: what was masked.
        valid_percent: share of pixels with depth.
        software: what wrote it.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    format: Literal["loc2-depth-1"] = "loc2-depth-1"
    image: str
    model: str
    version: str
    licence: str
    kind: DepthKind
    unit: str
    scaled_by: str | None = None
    far_limit_m: float | None = None
    camera: CameraSpec
    camera_height_m: float | None = None
    masks: list[str] = []
    valid_percent: float
    software: str

    @property
    def from_head(self) -> bool:
        """Whether a depth head of ours estimated the range."""
        return self.model.startswith("own (")  # as head_name writes it


def record_path(depth_path: Path) -> Path:
    """Return where the record of a depth file lies."""
    return depth_path.with_suffix(".json")


def read_record(depth_path: Path) -> DepthRecord | None:
    """Return the record beside a depth file; None where there is none of ours.

    Raises:
        InputError: the record is damaged.
    """
    path = record_path(depth_path)
    try:
        content: Any = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(content, dict) or content.get("format") != "loc2-depth-1":
        return None
    try:
        return DepthRecord.model_validate(content)
    except ValidationError as error:
        raise InputError(f"depth record {path}: {validation_line(error)}") from error


def camera_spec(camera: Camera, camera_height_m: float | None) -> CameraSpec:
    """Describe a camera so that :func:`loc2.inputs.resolve_camera` builds it again."""
    common: dict[str, Any] = {
        "width": camera.width,
        "height": camera.height,
        "roll_deg": camera.roll_deg,
        "pitch_deg": camera.pitch_deg,
        "camera_height_m": camera_height_m,
    }
    if isinstance(camera, Equirectangular):
        return CameraSpec(
            projection="equirectangular",
            elevation_top_deg=camera.elevation_top_deg,
            elevation_bottom_deg=camera.elevation_bottom_deg,
            **common,
        )
    if not isinstance(camera, Pinhole):
        raise TypeError(f"unknown camera {type(camera).__name__}")
    return CameraSpec(
        projection="pinhole", fx=camera.fx, fy=camera.fy, cx=camera.cx, cy=camera.cy, **common
    )
