"""Options that describe the camera of a photo, of all photos of a batch, or of images for depth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from loc2.inputs import CameraSpec
from loc2.inputs.camera_files import combined_camera


@dataclass(frozen=True, kw_only=True)
class CameraOptions:
    """What the command line says of a camera; None and False where it says nothing.

    Attributes:
        panorama: the image is an equirectangular panorama.
        elevation_top: elevation of a panorama's upper edge, degrees.
        elevation_bottom: elevation of a panorama's lower edge, degrees.
        hfov: horizontal field of view of a photo, degrees.
        camera: camera file (JSON).
        camera_height: height of the camera above the ground, metres.
        roll: positive when the right side is lower, degrees.
        pitch: positive when looking up, degrees.
    """

    panorama: Annotated[
        bool, typer.Option("--panorama", help="The ground image is an equirectangular panorama.")
    ] = False
    elevation_top: Annotated[
        float | None, typer.Option(help="Elevation of the panorama's upper edge, degrees.")
    ] = None
    elevation_bottom: Annotated[
        float | None, typer.Option(help="Elevation of the panorama's lower edge, degrees.")
    ] = None
    hfov: Annotated[
        float | None, typer.Option(help="Horizontal field of view of a photo, degrees.")
    ] = None
    camera: Annotated[Path | None, typer.Option("--camera", help="Camera file (JSON).")] = None
    camera_height: Annotated[
        float | None,
        typer.Option(
            help="Height of the camera above the ground, metres, to within a tenth or so; it gives "
            "depth its scale."
        ),
    ] = None
    roll: Annotated[
        float | None, typer.Option(help="Positive: the right side is lower, degrees.")
    ] = None
    pitch: Annotated[float | None, typer.Option(help="Positive: looks up, degrees.")] = None

    def fields(self) -> dict[str, Any]:
        """Return the fields of :class:`loc2.request.PhotoRequest` that this says."""
        return {
            "projection": "equirectangular" if self.panorama else None,
            "elevation_top_deg": self.elevation_top,
            "elevation_bottom_deg": self.elevation_bottom,
            "hfov_deg": self.hfov,
            "roll_deg": self.roll,
            "pitch_deg": self.pitch,
            "camera_height_m": self.camera_height,
            "camera": self.camera,
        }

    def spec(self) -> CameraSpec:
        """Return this and what the camera file says.

        Raises:
            InputError: options contradict each other or the camera file.
        """
        said = self.fields()
        return combined_camera(said.pop("camera"), said)
