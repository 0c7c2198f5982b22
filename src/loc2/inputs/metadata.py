"""What a photo's own metadata says about where it was taken and with which camera.

Metadata is read defensively: whatever is broken, out of range or contradictory is left out with a
warning that names it, and never stops a localization.
"""

from __future__ import annotations

from dataclasses import dataclass

from loc2.inputs.camera_files import CameraSpec

COMPASS_ERROR_DEG = 15.0
"""Standard deviation assumed for a compass direction whose error is not stated."""

UNCORRECTED_COMPASS_ERROR_DEG = 25.0
"""The same for a magnetic direction whose declination is not known."""


@dataclass(frozen=True)
class PanoramaCrop:
    """Which part of all azimuths an equirectangular image covers.

    Attributes:
        left: fraction of the full width that is missing on the left, in [0, 1).
        width: fraction of the full width that the image covers, in (0, 1].
    """

    left: float
    width: float


@dataclass(frozen=True)
class PhotoMetadata:
    """Position, direction and camera, as far as one source knows them.

    Attributes:
        latitude_deg: WGS84 latitude of the camera.
        longitude_deg: WGS84 longitude of the camera.
        position_error_m: stated horizontal error (about one standard deviation), metres.
        heading_true_deg: direction of the camera's forward axis (for a panorama, of the middle
            of the full panorama), degrees clockwise from true north.
        heading_error_deg: standard deviation of the heading, degrees.
        camera: what is known of the camera, for the upright image.
        crop: for panoramas that do not go all around.
        origins: for each of ``position``, ``heading`` and ``camera`` that is known, what it was
            read from, for example ``EXIF`` or ``EXIF, 35 mm equivalent``.
        warnings: one line for each thing that was left out.
    """

    latitude_deg: float | None = None
    longitude_deg: float | None = None
    position_error_m: float | None = None
    heading_true_deg: float | None = None
    heading_error_deg: float | None = None
    camera: CameraSpec | None = None
    crop: PanoramaCrop | None = None
    origins: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()

    def origin(self, what: str) -> str | None:
        """Return what ``position``, ``heading`` or ``camera`` was read from, or None."""
        return dict(self.origins).get(what)
