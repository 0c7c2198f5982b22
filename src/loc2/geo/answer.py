"""Answers on the earth: latitude, longitude, true heading, accuracy ellipse."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from loc2.geo.extras import import_geo
from loc2.geo.frame import LocalFrame

ELLIPSE_PROBABILITY = 0.95


@dataclass(frozen=True)
class Ellipse:
    """Where the camera lies with a stated probability, if the error is Gaussian.

    Attributes:
        semi_major_m: longer half axis, metres.
        semi_minor_m: shorter half axis, metres.
        azimuth_true_deg: direction of the longer axis, degrees clockwise from true north, in
            [0, 180).
        probability: probability of the inside.
    """

    semi_major_m: float
    semi_minor_m: float
    azimuth_true_deg: float
    probability: float = ELLIPSE_PROBABILITY


@dataclass(frozen=True)
class GeoAnswer:
    """One located photo.

    Attributes:
        name: file name of the photo.
        latitude_deg: WGS84 latitude.
        longitude_deg: WGS84 longitude, in [-180, 180).
        heading_true_deg: degrees clockwise from true north to the camera's forward axis.
        ellipse: accuracy of the position.
        heading_sigma_deg: standard deviation of the heading, degrees.
        confidence: estimated probability that the answer is right, or None.
        attribution: who must be named for the imagery, or None.
        origins: where the priors came from, by name.
    """

    name: str
    latitude_deg: float
    longitude_deg: float
    heading_true_deg: float
    ellipse: Ellipse
    heading_sigma_deg: float
    confidence: float | None = None
    attribution: str | None = None
    origins: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """Return the fields that are added to ``pose.json``."""
        return {
            "latitude_deg": round(self.latitude_deg, 9),
            "longitude_deg": round(self.longitude_deg, 9),
            "heading_true_deg": round(self.heading_true_deg, 4),
            "ellipse": {
                "semi_major_m": round(self.ellipse.semi_major_m, 3),
                "semi_minor_m": round(self.ellipse.semi_minor_m, 3),
                "azimuth_true_deg": round(self.ellipse.azimuth_true_deg, 2),
                "probability": self.ellipse.probability,
            },
            "attribution": self.attribution,
        }

    def outline(self, corners: int = 48) -> list[tuple[float, float]]:
        """Return the ellipse as a closed ring of (longitude, latitude), counter-clockwise."""
        geod = import_geo("pyproj").Geod(ellps="WGS84")
        angle = np.linspace(0.0, 2 * math.pi, corners, endpoint=False)
        along = self.ellipse.semi_major_m * np.cos(angle)
        across = self.ellipse.semi_minor_m * np.sin(angle)
        # Angles grow counter-clockwise, azimuths clockwise.
        azimuth_deg = self.ellipse.azimuth_true_deg - np.degrees(np.arctan2(across, along))
        start = np.full_like(angle, self.longitude_deg), np.full_like(angle, self.latitude_deg)
        longitude_deg, latitude_deg, _ = geod.fwd(*start, azimuth_deg, np.hypot(along, across))
        ring = [
            (self._near(float(lon)), float(lat))
            for lon, lat in zip(longitude_deg, latitude_deg, strict=True)
        ]
        return [*ring, ring[0]]

    def ahead(self, distance_m: float) -> tuple[float, float]:
        """Return (longitude, latitude) of the point this far along the heading."""
        geod = import_geo("pyproj").Geod(ellps="WGS84")
        longitude_deg, latitude_deg, _ = geod.fwd(
            self.longitude_deg, self.latitude_deg, self.heading_true_deg, distance_m
        )
        return self._near(float(longitude_deg)), float(latitude_deg)

    def _near(self, longitude_deg: float) -> float:
        """Return a longitude on the answer's side of the antimeridian, perhaps beyond 180."""
        return self.longitude_deg + math.remainder(longitude_deg - self.longitude_deg, 360.0)


def geo_answer(
    frame: LocalFrame,
    *,
    east_m: float,
    north_m: float,
    heading_deg: float,
    covariance: NDArray[np.float64],
    name: str,
    confidence: float | None = None,
    attribution: str | None = None,
    origins: dict[str, str] | None = None,
) -> GeoAnswer:
    """Bring a pose of a metric frame to the earth; convergence is applied here.

    Args:
        frame: the metric frame.
        east_m: metres east of the frame's origin (of a window: its centre's offset included).
        north_m: metres north of the frame's origin.
        heading_deg: degrees clockwise from the frame's up.
        covariance: (3, 3) of (east_m, north_m, heading_deg).
        name: file name of the photo.
        confidence: estimated probability that the answer is right.
        attribution: who must be named for the imagery.
        origins: where the priors came from.
    """
    latitude_deg, longitude_deg = frame.to_lat_lon(east_m, north_m)
    variances, axes = np.linalg.eigh(np.asarray(covariance, dtype=np.float64)[:2, :2])
    # A Gaussian in the plane lies within r standard deviations with probability 1 - exp(-r^2/2).
    reach = math.sqrt(-2.0 * math.log(1.0 - ELLIPSE_PROBABILITY))
    minor_m, major_m = (reach * math.sqrt(max(float(v), 0.0)) for v in variances)
    axis_deg = math.degrees(math.atan2(axes[0, 1], axes[1, 1]))
    ellipse = Ellipse(major_m, minor_m, frame.heading_to_true(east_m, north_m, axis_deg) % 180.0)
    return GeoAnswer(
        name=name,
        latitude_deg=latitude_deg,
        longitude_deg=(longitude_deg + 180.0) % 360.0 - 180.0,
        heading_true_deg=frame.heading_to_true(east_m, north_m, heading_deg),
        ellipse=ellipse,
        heading_sigma_deg=math.sqrt(max(float(covariance[2, 2]), 0.0)),
        confidence=confidence,
        attribution=attribution,
        origins=origins or {},
    )
