"""Georeferenced imagery as a source: one map image, or several that complete each other."""

from __future__ import annotations

import logging
import math

import numpy as np
import torch
from torch import Tensor

from loc2.errors import InputError
from loc2.geo.archives import Bounds
from loc2.geo.extras import import_geo
from loc2.geo.frame import LocalFrame, MetricArea, within_half_turn
from loc2.geo.raster import RasterImage
from loc2.geo.source import NoImageryError
from loc2.geo.tiles import TileImage, TileStore
from loc2.geo.warp import AerialWindow, MapImage, PixelMap, grid_size, warp_window

logger = logging.getLogger(__name__)

_DATUM_WARNING_M = 1.0


class MapSource:
    """Georeferenced imagery: one map image, or several of which the first that has a pixel wins."""

    georeferenced = True

    def __init__(
        self,
        images: list[MapImage],
        name: str,
        *,
        bounds: Bounds | None = None,
        attribution: str | None = None,
    ) -> None:
        """Combine map images.

        Args:
            images: at least one; earlier ones cover later ones.
            name: file, folder or template, for messages.
            bounds: west, south, east, north of everything, degrees; None when unbounded.
            attribution: who must be named; by default what the images say.
        """
        said = list(dict.fromkeys(image.attribution for image in images if image.attribution))
        self.name = name
        self.attribution = attribution or "; ".join(said) or None
        self._images, self._bounds = images, bounds
        self._footprints = [_footprint(image) for image in images] if len(images) > 1 else None
        for image in {image.crs: image for image in reversed(images)}.values():
            _warn_of_datum(image)

    def whole(self) -> tuple[LocalFrame, MetricArea]:
        """Return a frame at the middle of the bounds and the area that holds them."""
        if self._bounds is None:
            raise InputError(
                f"{self.name}: covers the world: say where to look (latitude, longitude, radius)"
            )
        west, south, east, north = self._bounds
        # Bounds that cross the antimeridian reach beyond 180 degrees, to either side.
        frame = LocalFrame((south + north) / 2, within_half_turn((west + east) / 2))
        longitudes_deg = [within_half_turn(lon) for lon in np.linspace(west, east, 9)]
        latitudes_deg = np.linspace(south, north, 9)
        edge = [frame.from_lat_lon(lat, lon) for lat in (south, north) for lon in longitudes_deg]
        sides_deg = longitudes_deg[0], longitudes_deg[-1]
        edge += [frame.from_lat_lon(lat, lon) for lon in sides_deg for lat in latitudes_deg]
        points = np.array(edge)
        (e0, n0), (e1, n1) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
        return frame, MetricArea((e0 + e1) / 2, (n0 + n1) / 2, e1 - e0, n1 - n0)

    def around(
        self, latitude_deg: float, longitude_deg: float, radius_m: float
    ) -> tuple[LocalFrame, MetricArea]:
        """Return a frame at the position and the square around its origin."""
        if not (math.isfinite(radius_m) and radius_m > 0):
            raise InputError(f"the search radius must be positive, got {radius_m:g} m")
        frame = LocalFrame(latitude_deg, longitude_deg)
        return frame, MetricArea(0.0, 0.0, 2 * radius_m, 2 * radius_m)

    def native_meters_per_pixel(self, frame: LocalFrame | None, area: MetricArea) -> float:
        """Return the resolution of the finest imagery near an area, ground metres per pixel."""
        if frame is None:
            raise InputError(f"{self.name}: a window of georeferenced imagery needs a frame")
        images = self._near(frame, area)
        if not images:
            raise self._nothing(frame, area)
        return min(PixelMap(image, frame).ground_m_per_px(area) for image in images)

    def read(
        self, frame: LocalFrame | None, area: MetricArea, meters_per_pixel: float | None = None
    ) -> AerialWindow:
        """Resample a window onto ground metres; see :class:`AerialSource`."""
        if frame is None:
            raise InputError(f"{self.name}: a window of georeferenced imagery needs a frame")
        images = self._near(frame, area)
        if not images:
            raise self._nothing(frame, area)
        if meters_per_pixel is None:
            meters_per_pixel = self.native_meters_per_pixel(frame, area)
        rows, columns = grid_size(area, meters_per_pixel)
        rgba = warp_window(images[0], frame, area, meters_per_pixel)
        for image in images[1:]:
            if bool((rgba[3] >= 1.0 - 1e-4).all()):
                break
            rgba = _over(rgba, warp_window(image, frame, area, meters_per_pixel))
        valid = rgba[3] > 0.5
        if not bool(valid.any()):
            raise self._nothing(frame, area)
        actual = MetricArea(
            area.east_m, area.north_m, columns * meters_per_pixel, rows * meters_per_pixel
        )
        rgb = torch.where(valid, rgba[:3], torch.zeros(()))
        return AerialWindow(rgb, valid, meters_per_pixel, actual, frame, self.attribution)

    def _nothing(self, frame: LocalFrame, area: MetricArea) -> NoImageryError:
        latitude_deg, longitude_deg = frame.to_lat_lon(area.east_m, area.north_m)
        return NoImageryError(
            f"{self.name}: no imagery within {area.width_m:.0f} x {area.height_m:.0f} m around "
            f"{latitude_deg:.6f}, {longitude_deg:.6f}"
        )

    def _near(self, frame: LocalFrame, area: MetricArea) -> list[MapImage]:
        """Return the images whose footprint may touch an area."""
        if self._footprints is None:
            return self._images
        reach_m = math.hypot(area.width_m, area.height_m) / 2
        latitude_deg, longitude_deg = frame.to_lat_lon(area.east_m, area.north_m)
        lat_margin_deg = reach_m / 110_000.0
        lon_margin_deg = lat_margin_deg / max(math.cos(math.radians(latitude_deg)), 0.01)
        near = []
        for image, (west, south, east, north) in zip(self._images, self._footprints, strict=True):
            middle_deg = (west + east) / 2
            longitude_here_deg = middle_deg + math.remainder(longitude_deg - middle_deg, 360.0)
            if (
                south - lat_margin_deg <= latitude_deg <= north + lat_margin_deg
                and west - lon_margin_deg <= longitude_here_deg <= east + lon_margin_deg
            ):
                near.append(image)
        return near


def _over(above: Tensor, below: Tensor) -> Tensor:
    """Lay one (4, H, W) image over another, which fills what is left of each pixel.

    Beside a seam either image has a part of the resampling kernel, and both together all of it.
    """
    share = torch.minimum(1.0 - above[3:], below[3:])
    alpha = above[3:] + share
    colour = above[:3] * above[3:] + below[:3] * share
    return torch.cat((colour / alpha.clamp_min(1e-6), alpha))


def _footprint(image: MapImage) -> Bounds:
    """Return west, south, east, north of an image, degrees; east may exceed 180.

    Raises:
        InputError: the image has no way to WGS84.
    """
    pyproj = import_geo("pyproj")
    side = np.linspace(0.0, 1.0, 9)
    u = np.concatenate((side, np.ones(9), side[::-1], np.zeros(9))) * image.width_px
    v = np.concatenate((np.zeros(9), side, np.ones(9), side[::-1])) * image.height_px
    t = image.transform
    try:
        to_wgs84 = pyproj.Transformer.from_crs(image.crs, "EPSG:4326", always_xy=True)
    except pyproj.exceptions.ProjError as error:
        raise InputError(
            f"{image.name}: its coordinate system ({image.crs.name}) has no way to WGS84"
        ) from error
    longitude_deg, latitude_deg = to_wgs84.transform(
        t.a * u + t.b * v + t.c, t.d * u + t.e * v + t.f
    )
    if not (np.isfinite(longitude_deg).all() and np.isfinite(latitude_deg).all()):
        raise InputError(
            f"{image.name}: its corners lie outside its coordinate system ({image.crs.name}): "
            "check the coordinate system and the geotransform"
        )
    longitude_deg = np.unwrap(longitude_deg, period=360.0)
    return (
        float(longitude_deg.min()),
        float(latitude_deg.min()),
        float(longitude_deg.max()),
        float(latitude_deg.max()),
    )


def _warn_of_datum(image: MapImage) -> None:
    """Log when the way from the image's datum to WGS84 is only known to a metre or worse."""
    accuracy_m = _datum_accuracy_m(image)
    if 0.0 <= accuracy_m <= _DATUM_WARNING_M:
        return
    accuracy = f"accurate to {accuracy_m:.0f} m only" if accuracy_m > 0 else "of unknown accuracy"
    logger.warning(
        "%s: the datum shift from %s to WGS84 is %s; PROJ's grid files may do better",
        image.name,
        image.crs.name,
        accuracy,
    )


def _datum_accuracy_m(image: MapImage) -> float:
    """Return how well the way from an image's middle to WGS84 is known, metres; -1 for unknown."""
    pyproj = import_geo("pyproj")
    transformer = pyproj.Transformer.from_crs(image.crs, "EPSG:4326", always_xy=True)
    t, u, v = image.transform, image.width_px / 2, image.height_px / 2
    # Of several operations PROJ chooses one for each point, and tells which only afterwards.
    transformer.transform(t.a * u + t.b * v + t.c, t.d * u + t.e * v + t.f)
    try:
        return float(transformer.get_last_used_operation().accuracy)
    except pyproj.exceptions.ProjError:  # nothing was to be done
        return float(transformer.accuracy)


def raster_source(
    images: list[RasterImage], name: str, attribution: str | None = None
) -> MapSource:
    """Return georeferenced rasters as one source, earlier ones on top.

    Raises:
        InputError: a raster cannot be placed on the earth.
    """
    footprints = [_footprint(image) for image in images]
    first_deg = footprints[0][0]
    # One side of the antimeridian for all of them.
    turns = [round((west - first_deg) / 360.0) * 360.0 for west, _, _, _ in footprints]
    bounds = (
        min(f[0] - turn for f, turn in zip(footprints, turns, strict=True)),
        min(f[1] for f in footprints),
        max(f[2] - turn for f, turn in zip(footprints, turns, strict=True)),
        max(f[3] for f in footprints),
    )
    return MapSource(list(images), name, bounds=bounds, attribution=attribution)


def tile_source(
    store: TileStore,
    *,
    bounds: Bounds | None = None,
    zoom: int | None = None,
    attribution: str | None = None,
) -> MapSource:
    """Return a tile pyramid as a source.

    Args:
        store: where tiles come from.
        bounds: west, south, east, north, degrees, where known.
        zoom: finest level to use; by default the store's finest.
        attribution: who must be named; by default what the store says.
    """
    image = TileImage(store, zoom)
    return MapSource([image], store.name, bounds=bounds, attribution=attribution)
