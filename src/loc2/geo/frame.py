"""The local metric frame of a georeferenced window, and its way to WGS84.

The frame is an azimuthal equidistant projection of the WGS84 ellipsoid around the window's origin:
distances and bearings from the origin are geodesic, metres are ground metres, and up at the origin
is true north. Away from the origin up and true north differ by the frame's own convergence (about
0.005 degrees at 500 m and 50 degrees of latitude), which :meth:`LocalFrame.heading_to_true`
applies. No other module needs to know which projection this is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from loc2.errors import InputError
from loc2.frames import wrap_heading_deg
from loc2.geo.extras import import_geo

if TYPE_CHECKING:
    import pyproj

FloatArray = NDArray[np.float64]

_BEARING_STEP_M = 10.0
"""Length of the geodesic along which a direction is measured: bends by less than 1e-5 degrees."""


@dataclass(frozen=True)
class MetricArea:
    """A rectangle of a metric frame, its sides along east and north.

    Attributes:
        east_m: centre, metres east of the frame's origin.
        north_m: centre, metres north of the frame's origin.
        width_m: extent from west to east, metres.
        height_m: extent from south to north, metres.
    """

    east_m: float
    north_m: float
    width_m: float
    height_m: float

    def __post_init__(self) -> None:
        """Reject rectangles without an area."""
        values = (self.east_m, self.north_m, self.width_m, self.height_m)
        if not all(math.isfinite(v) for v in values) or self.width_m <= 0 or self.height_m <= 0:
            raise InputError(f"a search area needs a positive width and height, got {values}")


def check_lat_lon(latitude_deg: float, longitude_deg: float, what: str) -> None:
    """Reject coordinates that are no place on earth.

    Args:
        latitude_deg: WGS84 latitude, degrees, within [-90, 90].
        longitude_deg: WGS84 longitude, degrees, within [-180, 360].
        what: the option or field, for the message.

    Raises:
        InputError: either lies outside its range or is not finite.
    """
    if not (math.isfinite(latitude_deg) and -90.0 <= latitude_deg <= 90.0):
        raise InputError(f"{what}: latitude must lie in [-90, 90], got {latitude_deg:g}")
    if not (math.isfinite(longitude_deg) and -180.0 <= longitude_deg <= 360.0):
        raise InputError(f"{what}: longitude must lie in [-180, 180], got {longitude_deg:g}")


def within_half_turn(longitude_deg: float) -> float:
    """Return a longitude as the same one in [-180, 180]."""
    return math.remainder(longitude_deg, 360.0)


@dataclass(frozen=True)
class LocalFrame:
    """Ground metres around a point of the WGS84 ellipsoid; up at the origin is true north.

    Attributes:
        latitude_deg: WGS84 latitude of the origin, degrees.
        longitude_deg: WGS84 longitude of the origin, degrees.
    """

    latitude_deg: float
    longitude_deg: float

    def __post_init__(self) -> None:
        """Reject origins that are no place on earth."""
        check_lat_lon(self.latitude_deg, self.longitude_deg, "window centre")

    @cached_property
    def crs(self) -> pyproj.CRS:
        """The frame as a coordinate reference system (metres, east and north)."""
        crs: pyproj.CRS = import_geo("pyproj").CRS.from_proj4(
            f"+proj=aeqd +lat_0={self.latitude_deg!r} +lon_0={self.longitude_deg!r} "
            "+datum=WGS84 +units=m +no_defs"
        )
        return crs

    @cached_property
    def _to_wgs84(self) -> pyproj.Transformer:
        from_crs = import_geo("pyproj").Transformer.from_crs
        transformer: pyproj.Transformer = from_crs(self.crs, "EPSG:4326", always_xy=True)
        return transformer

    @cached_property
    def _geod(self) -> pyproj.Geod:
        geod: pyproj.Geod = import_geo("pyproj").Geod(ellps="WGS84")
        return geod

    def to_lat_lon_arrays(
        self, east_m: FloatArray, north_m: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Return WGS84 latitudes and longitudes of points of the frame, arrays of one shape."""
        longitude_deg, latitude_deg = self._to_wgs84.transform(east_m, north_m)
        return latitude_deg, longitude_deg

    def to_lat_lon(self, east_m: float, north_m: float) -> tuple[float, float]:
        """Return WGS84 latitude and longitude, degrees, of a point of the frame."""
        longitude_deg, latitude_deg = self._to_wgs84.transform(east_m, north_m)
        return float(latitude_deg), float(longitude_deg)

    def from_lat_lon(self, latitude_deg: float, longitude_deg: float) -> tuple[float, float]:
        """Return (east_m, north_m) of a WGS84 position.

        Raises:
            InputError: the coordinates are no place on earth.
        """
        check_lat_lon(latitude_deg, longitude_deg, "position")
        east_m, north_m = self._to_wgs84.transform(longitude_deg, latitude_deg, direction="INVERSE")
        return float(east_m), float(north_m)

    def heading_to_true(self, east_m: float, north_m: float, heading_deg: float) -> float:
        """Turn a heading of the frame into degrees clockwise from true north.

        Args:
            east_m: where the heading holds, metres from the origin.
            north_m: the same, north.
            heading_deg: degrees clockwise from the frame's up.

        Returns:
            Azimuth of the geodesic that leaves the point along the heading, in [0, 360).
        """
        angle = math.radians(heading_deg)
        latitude_deg, longitude_deg = self.to_lat_lon(east_m, north_m)
        ahead_lat_deg, ahead_lon_deg = self.to_lat_lon(
            east_m + _BEARING_STEP_M * math.sin(angle), north_m + _BEARING_STEP_M * math.cos(angle)
        )
        azimuth_deg, _, _ = self._geod.inv(
            longitude_deg, latitude_deg, ahead_lon_deg, ahead_lat_deg
        )
        return wrap_heading_deg(float(azimuth_deg))

    def heading_from_true(self, east_m: float, north_m: float, heading_true_deg: float) -> float:
        """Turn degrees clockwise from true north into a heading of the frame, in [0, 360).

        Args:
            east_m: where the heading holds, metres from the origin.
            north_m: the same, north.
            heading_true_deg: degrees clockwise from true north.
        """
        latitude_deg, longitude_deg = self.to_lat_lon(east_m, north_m)
        ahead_lon_deg, ahead_lat_deg, _ = self._geod.fwd(
            longitude_deg, latitude_deg, heading_true_deg, _BEARING_STEP_M
        )
        ahead_east_m, ahead_north_m = self._to_wgs84.transform(
            ahead_lon_deg, ahead_lat_deg, direction="INVERSE"
        )
        angle = math.atan2(ahead_east_m - east_m, ahead_north_m - north_m)
        return wrap_heading_deg(math.degrees(angle))
