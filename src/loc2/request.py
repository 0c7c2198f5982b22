"""Everything that can be asked about one photo, by options of a command or a manifest's row."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from loc2.cameras import DepthKind
from loc2.depth import DepthUnit
from loc2.errors import InputError
from loc2.geo.opening import AerialOptions
from loc2.inputs import CameraSpec
from loc2.inputs.camera_files import combined_camera, validation_line
from loc2.inputs.metadata import PhotoMetadata
from loc2.inputs.photo_priors import photo_priors
from loc2.query import HeadingPrior, PositionPrior


class PhotoRequest(BaseModel):
    """A photo, the aerial imagery that shows its place, and what is known of both.

    Attributes:
        ground: photo or panorama.
        aerial: anything that :func:`loc2.geo.opening.open_aerial` opens.
        meters_per_pixel: of an aerial image without georeference, metres.
        projection: ``equirectangular`` or ``pinhole``.
        elevation_top_deg: elevation of a panorama's upper edge, degrees.
        elevation_bottom_deg: elevation of a panorama's lower edge, degrees.
        hfov_deg: horizontal field of view of a photo, degrees.
        roll_deg: positive when the right side is lower, degrees.
        pitch_deg: positive when looking up, degrees.
        camera_height_m: height of the camera above the ground, metres.
        camera: camera file (JSON).
        heading_prior_deg: expected heading, degrees clockwise from the aerial image's up.
        heading_range_deg: half-width of the heading prior, degrees.
        prior_east_m: expected position from the window's centre, metres.
        prior_north_m: expected position from the window's centre, metres.
        prior_radius_m: radius of the position prior, metres.
        depth: depth model's name, or a depth file.
        depth_unit: unit of a depth file.
        depth_kind: kind of a depth file.
        latitude_deg: WGS84 position around which to search, in place of the photo's own.
        longitude_deg: likewise.
        radius_m: half side of the window that is searched, metres.
        snap_m: spacing of a lattice that windows are moved to, so that photos near each other
            share one, metres.
        aerial_latitude_deg: WGS84 latitude of the centre of an aerial image without georeference.
        aerial_longitude_deg: its longitude.
        aerial_crs: coordinate system of a raster that does not name its own.
        bands: bands shown as red, green and blue.
        zoom: finest zoom level of tiles.
        tile_px: side of a server's tiles, pixels.
        attribution: whom to name for the imagery.
        tile_cache: folder for tiles.
        offline: fetch nothing.
        ignore_metadata: do not read the photo's EXIF, XMP and sidecar files.
        seed: of everything drawn at random.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    ground: Path
    aerial: str = Field(min_length=1)
    meters_per_pixel: float | None = None
    projection: Literal["equirectangular", "pinhole"] | None = None
    elevation_top_deg: float | None = None
    elevation_bottom_deg: float | None = None
    hfov_deg: float | None = None
    roll_deg: float | None = None
    pitch_deg: float | None = None
    camera_height_m: float | None = None
    camera: Path | None = None
    heading_prior_deg: float | None = None
    heading_range_deg: float | None = None
    prior_east_m: float | None = None
    prior_north_m: float | None = None
    prior_radius_m: float | None = None
    depth: str = "default"
    depth_unit: DepthUnit | None = None
    depth_kind: DepthKind | None = None
    latitude_deg: float | None = None
    longitude_deg: float | None = None
    radius_m: float | None = None
    snap_m: float | None = None
    aerial_latitude_deg: float | None = None
    aerial_longitude_deg: float | None = None
    aerial_crs: str | None = None
    bands: tuple[int, ...] | None = None
    zoom: int | None = None
    tile_px: int = 256
    attribution: str | None = None
    tile_cache: Path | None = None
    offline: bool = False
    ignore_metadata: bool = False
    seed: int = 0

    @field_validator("bands", mode="before")
    @classmethod
    def _split_bands(cls, value: object) -> object:
        return value.split(",") if isinstance(value, str) else value

    @classmethod
    def checked(cls, fields: dict[str, Any]) -> PhotoRequest:
        """Build a request; fields that are None count as not given.

        Raises:
            InputError: a field is missing, unknown, or of the wrong kind.
        """
        try:
            return cls.model_validate({k: v for k, v in fields.items() if v is not None})
        except ValidationError as error:
            raise InputError(validation_line(error)) from error

    def camera_spec(self) -> CameraSpec:
        """Return what was said of the camera, by fields and by file.

        Raises:
            InputError: fields contradict each other or the file, or the file cannot be read.
        """
        names = {
            "projection", "elevation_top_deg", "elevation_bottom_deg", "hfov_deg", "roll_deg",
            "pitch_deg", "camera_height_m",
        }  # fmt: skip
        return combined_camera(self.camera, self.model_dump(include=names))

    def heading_prior(self) -> HeadingPrior | None:
        """Return the heading prior, if any.

        Raises:
            InputError: one of its two numbers is missing.
        """
        if self.heading_prior_deg is None and self.heading_range_deg is None:
            return None
        if self.heading_prior_deg is None or self.heading_range_deg is None:
            raise InputError("heading prior and heading range belong together; give both")
        return HeadingPrior(self.heading_prior_deg, self.heading_range_deg)

    def position_prior(self) -> PositionPrior | None:
        """Return the position prior, if any.

        Raises:
            InputError: one of its three numbers is missing.
        """
        east_m, north_m, radius_m = self.prior_east_m, self.prior_north_m, self.prior_radius_m
        if east_m is None and north_m is None and radius_m is None:
            return None
        if east_m is None or north_m is None or radius_m is None:
            raise InputError("position prior (east, north) and its radius belong together")
        return PositionPrior(east_m, north_m, radius_m)

    def around(self) -> tuple[float, float] | None:
        """Return WGS84 (latitude, longitude) around which to search, if given.

        Raises:
            InputError: one of the two is missing.
        """
        return _both("latitude_deg", self.latitude_deg, "longitude_deg", self.longitude_deg)

    def aerial_options(self) -> AerialOptions:
        """Return what was said of the aerial imagery.

        Raises:
            InputError: one coordinate of its centre is missing.
        """
        named_alike = {"meters_per_pixel", "bands", "zoom", "tile_px", "attribution", "offline"}
        return AerialOptions(
            center=_both(
                "aerial_latitude_deg", self.aerial_latitude_deg,
                "aerial_longitude_deg", self.aerial_longitude_deg,
            ),
            crs=self.aerial_crs,
            cache_dir=self.tile_cache,
            **self.model_dump(include=named_alike),
        )  # fmt: skip

    def priors(self) -> PhotoMetadata:
        """Resolve what is known of the photo: what is given here, then its own metadata.

        Raises:
            InputError: see :meth:`camera_spec`; or the file is no image.
        """
        camera, heading, place = self.camera_spec(), self.heading_prior(), self.around()
        known = {"camera": camera.model_fields_set, "heading": heading, "position": place}
        given = PhotoMetadata(
            latitude_deg=None if place is None else place[0],
            longitude_deg=None if place is None else place[1],
            heading_true_deg=None if heading is None else heading.center_deg % 360.0,
            heading_error_deg=None if heading is None else heading.range_deg,
            camera=camera if camera.model_fields_set else None,
            origins=tuple((what, "given") for what, value in known.items() if value),
        )
        return given if self.ignore_metadata else photo_priors(self.ground, given)

    def search_options(self) -> dict[str, Any]:
        """Return the arguments of :func:`loc2.geo.plan.plan_search` that say where to look.

        Raises:
            InputError: see :meth:`priors`, :meth:`around`, :meth:`position_prior`.
        """
        return {
            "priors": self.priors(),
            "around": self.around(),
            "radius_m": self.radius_m,
            "snap_m": self.snap_m,
            "heading_prior": self.heading_prior(),
            "position_prior": self.position_prior(),
        }

    def depth_options(self) -> dict[str, Any]:
        """Return the arguments of :meth:`loc2.localizer.Localizer.localize` besides."""
        return self.model_dump(include={"depth", "depth_unit", "depth_kind", "seed"})


def _both(first: str, a: float | None, second: str, b: float | None) -> tuple[float, float] | None:
    if a is None and b is None:
        return None
    if a is None or b is None:
        raise InputError(f"{first} and {second} belong together; give both")
    return a, b
