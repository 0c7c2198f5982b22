"""Aerial imagery behind one protocol, whatever it is stored as; and the plainest of them."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

from loc2.errors import InputError
from loc2.geo.frame import LocalFrame, MetricArea
from loc2.geo.warp import AerialWindow, grid_size


class NoImageryError(InputError):
    """A window in which a source has nothing."""


class AerialSource(Protocol):
    """Aerial imagery from which windows are read.

    Attributes:
        name: file, folder or template, for messages and reports.
        attribution: who must be named beside results, or None.
        georeferenced: whether its metric frames lie on the earth.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def attribution(self) -> str | None: ...  # noqa: D102
    @property
    def georeferenced(self) -> bool: ...  # noqa: D102

    def whole(self) -> tuple[LocalFrame | None, MetricArea]:
        """Return the frame at the middle of everything there is, and its extent.

        Raises:
            InputError: the source covers the world; a window must be given.
        """
        ...

    def around(
        self, latitude_deg: float, longitude_deg: float, radius_m: float
    ) -> tuple[LocalFrame, MetricArea]:
        """Return a frame at a position and the square that reaches ``radius_m`` to each side.

        Raises:
            InputError: the source has no georeference, or the position is not on earth.
        """
        ...

    def native_meters_per_pixel(self, frame: LocalFrame | None, area: MetricArea) -> float:
        """Return the source's own resolution at the middle of an area, ground metres per pixel."""
        ...

    def read(
        self, frame: LocalFrame | None, area: MetricArea, meters_per_pixel: float | None = None
    ) -> AerialWindow:
        """Read one window.

        Args:
            frame: metric frame, from :meth:`whole` or :meth:`around`.
            area: rectangle of that frame; the window's grid is rounded to whole pixels.
            meters_per_pixel: wanted resolution; by default the source's own.

        Raises:
            NoImageryError: no imagery there.
            InputError: too large, or unreadable.
        """
        ...


class PlainSource:
    """An image without georeference, with up = north of its metric frame.

    With ``center`` it is an image whose middle and true north (up) are known.
    """

    def __init__(
        self,
        image: Tensor,
        meters_per_pixel: float,
        name: str,
        *,
        center: tuple[float, float] | None = None,
        attribution: str | None = None,
    ) -> None:
        """Describe a decoded image.

        Args:
            image: (3, H, W) float32 RGB in [0, 1].
            meters_per_pixel: ground metres per pixel.
            name: file, for messages.
            center: WGS84 (latitude, longitude), degrees, of the image's centre.
            attribution: who must be named beside results.

        Raises:
            InputError: the resolution is not positive, or the centre is not on earth.
        """
        if not (math.isfinite(meters_per_pixel) and meters_per_pixel > 0):
            raise InputError(
                f"{name}: metres per pixel must be a positive number, got {meters_per_pixel:g}"
            )
        self.name, self.attribution = name, attribution
        self._image, self._meters_per_pixel = image, meters_per_pixel
        self._frame = None if center is None else LocalFrame(*center)

    @property
    def nbytes(self) -> int:
        """Memory that the image takes, bytes."""
        return self._image.nbytes

    @property
    def georeferenced(self) -> bool:
        """Whether the place of its centre is known."""
        return self._frame is not None

    def whole(self) -> tuple[LocalFrame | None, MetricArea]:
        """Return the image's own frame and extent."""
        height, width = self._image.shape[-2:]
        mpp = self._meters_per_pixel
        return self._frame, MetricArea(0.0, 0.0, width * mpp, height * mpp)

    def around(
        self, latitude_deg: float, longitude_deg: float, radius_m: float
    ) -> tuple[LocalFrame, MetricArea]:
        """Return the square around a position, in the image's own frame."""
        if self._frame is None:
            raise InputError(
                f"{self.name}: has no georeference, so no window around a latitude and longitude "
                "can be cut: give the whole image, or a GeoTIFF"
            )
        east_m, north_m = self._frame.from_lat_lon(latitude_deg, longitude_deg)
        return self._frame, MetricArea(east_m, north_m, 2 * radius_m, 2 * radius_m)

    def native_meters_per_pixel(self, frame: LocalFrame | None, area: MetricArea) -> float:
        """Return the image's resolution, metres per pixel."""
        return self._meters_per_pixel

    def read(
        self, frame: LocalFrame | None, area: MetricArea, meters_per_pixel: float | None = None
    ) -> AerialWindow:
        """Cut a window on the image's own pixels, without resampling; parts outside are invalid.

        The window's centre is moved to the nearest one that whole pixels allow; ``area`` of the
        result says where it lies. ``meters_per_pixel`` is not used.
        """
        if frame != self._frame:
            raise InputError(f"{self.name}: windows are read in the image's own frame")
        mpp = self._meters_per_pixel
        height, width = self._image.shape[-2:]
        rows, columns = grid_size(area, mpp)
        left = round(width / 2 + area.east_m / mpp - columns / 2)
        top = round(height / 2 - area.north_m / mpp - rows / 2)
        image = torch.zeros(3, rows, columns)
        valid = torch.zeros(rows, columns, dtype=torch.bool)
        u0, u1 = max(left, 0), min(left + columns, width)
        v0, v1 = max(top, 0), min(top + rows, height)
        if u1 <= u0 or v1 <= v0:
            raise NoImageryError(f"{self.name}: the window lies outside the image")
        inside = (slice(v0 - top, v1 - top), slice(u0 - left, u1 - left))
        image[(slice(None), *inside)] = self._image[:, v0:v1, u0:u1]
        valid[inside] = True
        actual = MetricArea(
            (left + columns / 2 - width / 2) * mpp,
            (height / 2 - top - rows / 2) * mpp,
            columns * mpp,
            rows * mpp,
        )
        return AerialWindow(image, valid, mpp, actual, self._frame, self.attribution)
