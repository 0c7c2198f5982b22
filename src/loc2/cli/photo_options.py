"""Options that describe a photo and its depth, for one photo or for all of a batch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from loc2.inputs import CameraSpec
from loc2.inputs.camera_files import combined_camera

MetersPerPixel = Annotated[
    float | None, typer.Option(help="Ground sampling distance of the aerial image, metres.")
]
Panorama = Annotated[
    bool, typer.Option("--panorama", help="The ground image is an equirectangular panorama.")
]
ElevationTop = Annotated[
    float | None, typer.Option(help="Elevation of the panorama's upper edge, degrees.")
]
ElevationBottom = Annotated[
    float | None, typer.Option(help="Elevation of the panorama's lower edge, degrees.")
]
Hfov = Annotated[float | None, typer.Option(help="Horizontal field of view of a photo, degrees.")]
CameraFile = Annotated[Path | None, typer.Option("--camera", help="Camera file (JSON).")]
CameraHeight = Annotated[
    float | None, typer.Option(help="Height of the camera above the ground, metres.")
]
Roll = Annotated[float | None, typer.Option(help="Positive: the right side is lower, degrees.")]
Pitch = Annotated[float | None, typer.Option(help="Positive: looks up, degrees.")]


def camera_options(
    camera: Path | None,
    panorama: bool,
    elevation_top: float | None,
    elevation_bottom: float | None,
    hfov: float | None,
    roll: float | None,
    pitch: float | None,
    camera_height: float | None,
) -> CameraSpec:
    """Return what the options say of a camera.

    Raises:
        InputError: options contradict each other or the camera file.
    """
    return combined_camera(
        camera,
        {
            "projection": "equirectangular" if panorama else None,
            "elevation_top_deg": elevation_top,
            "elevation_bottom_deg": elevation_bottom,
            "hfov_deg": hfov,
            "roll_deg": roll,
            "pitch_deg": pitch,
            "camera_height_m": camera_height,
        },
    )
