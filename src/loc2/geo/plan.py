"""Where a photo is looked for, and the imagery of it, which photos near each other may share."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from loc2.errors import InputError
from loc2.geo.frame import LocalFrame, MetricArea, check_lat_lon, within_half_turn
from loc2.geo.search import Piece, count_pieces, plan_pieces
from loc2.geo.source import AerialSource
from loc2.geo.warp import AerialWindow
from loc2.inputs import load_image
from loc2.inputs.metadata import PhotoMetadata
from loc2.inputs.photo import pad_panorama
from loc2.localizer import Localizer
from loc2.query import HeadingPrior, PositionPrior
from loc2.sharing import SharedCache
from loc2.views import AerialView, GroundView

DEFAULT_RADIUS_M = 50.0
"""Half side of the window around a position whose error is not known, metres."""

MAX_PIECES = 1000
"""Larger windows, about 1.4 km wide, are refused: they would take an hour, and hold many places
that look alike."""

AT_ONCE = 2.0
"""A window up to this many times the model's own is searched at once, with larger cells."""

_RADIUS_PER_ERROR, _MIN_RADIUS_M, _MAX_RADIUS_M = 3.0, 45.0, 300.0
_HEADING_RANGE_PER_SIGMA = 3.0
_DEGREE_M = 111_320.0
"""Length of a degree of latitude, metres."""

_NO_IMAGERY = 0.5
"""Grey shown to the network where there is no imagery; such cells are neutral in the search."""


@dataclass(frozen=True)
class SearchWindow:
    """Where to look.

    Attributes:
        frame: metric frame on the earth, or None for a plain image.
        area: the window in that frame.
        origin: why there: ``given``, the origin of the photo's position, or ``whole image``.
        asked_m: (east, north) of the position that was asked for, from the window's centre, which
            a lattice has moved away from it.
    """

    frame: LocalFrame | None
    area: MetricArea
    origin: str
    asked_m: tuple[float, float] = (0.0, 0.0)


def search_window(
    source: AerialSource,
    priors: PhotoMetadata,
    around: tuple[float, float] | None,
    radius_m: float | None,
    snap_m: float | None = None,
) -> SearchWindow:
    """Decide where to look.

    Args:
        source: aerial imagery.
        priors: what is known of the photo.
        around: given WGS84 (latitude, longitude), degrees.
        radius_m: given half side of the window, metres; by default three times the position's
            error, within 45 to 300 m, or 50 m where the error is not known.
        snap_m: move the window's centre to the nearest point of a lattice of this spacing, metres,
            and widen it to a multiple of that, so that photos near each other share a window.

    Raises:
        InputError: a radius without a position, or no position for imagery without bounds.
    """
    origin = "given"
    position = around
    if position is None and source.georeferenced:
        latitude_deg, longitude_deg = priors.latitude_deg, priors.longitude_deg
        if latitude_deg is not None and longitude_deg is not None:
            position, origin = (latitude_deg, longitude_deg), str(priors.origin("position"))
    if position is None:
        if radius_m is not None:
            raise InputError(
                "--radius needs a position: give --around LAT,LON (the photo has none)"
            )
        return SearchWindow(*source.whole(), "whole image")
    if radius_m is None:
        error_m = priors.position_error_m if around is None else None
        radius_m = DEFAULT_RADIUS_M
        if error_m is not None:
            radius_m = min(max(_RADIUS_PER_ERROR * error_m, _MIN_RADIUS_M), _MAX_RADIUS_M)
    if not (math.isfinite(radius_m) and radius_m > 0):
        raise InputError(f"radius must be positive and finite, got {radius_m:g} m")
    middle = position
    if snap_m is not None:
        check_lat_lon(*position, "position")
        middle, radius_m = _snapped(*position, radius_m, snap_m)
    frame, area = source.around(*middle, radius_m)
    if frame is None or snap_m is None:
        return SearchWindow(frame, area, origin)
    east_m, north_m = frame.from_lat_lon(*position)
    return SearchWindow(frame, area, origin, (east_m - area.east_m, north_m - area.north_m))


def _snapped(
    latitude_deg: float, longitude_deg: float, radius_m: float, snap_m: float
) -> tuple[tuple[float, float], float]:
    """Return a lattice point and a radius around it that holds the given square."""
    if not (math.isfinite(snap_m) and snap_m > 0):
        raise InputError(f"snap must be a positive number of metres, got {snap_m:g}")
    step_deg = snap_m / _DEGREE_M
    latitude = min(max(round(latitude_deg / step_deg) * step_deg, -89.9), 89.9)
    step_deg /= math.cos(math.radians(latitude))
    longitude = within_half_turn(round(longitude_deg / step_deg) * step_deg)
    # Degrees are not everywhere of one length: half a percent for the difference.
    reach_m = radius_m + 0.5025 * snap_m
    return (latitude, longitude), math.ceil(reach_m / snap_m) * snap_m


def _heading_prior(
    priors: PhotoMetadata, frame: LocalFrame | None, area: MetricArea
) -> HeadingPrior | None:
    """Return the photo's heading as a limit of the search; a plain image's up is north."""
    if priors.heading_true_deg is None or priors.heading_error_deg is None:
        return None
    heading_deg = priors.heading_true_deg
    if frame is not None:
        heading_deg = frame.heading_from_true(area.east_m, area.north_m, heading_deg)
    range_deg = min(_HEADING_RANGE_PER_SIGMA * priors.heading_error_deg, 180.0)
    return None if range_deg >= 180.0 else HeadingPrior(heading_deg, range_deg)


@dataclass(frozen=True)
class SearchPlan:
    """A photo and the windows it is looked for in; made without the network.

    Attributes:
        ground: the photo's file.
        source: aerial imagery.
        priors: what was known of the photo.
        search: where is looked.
        view: the photo.
        pieces: parts of the window that are searched one by one.
        heading_prior: limits the search.
        position_prior: limits the search; metres from the window's centre, where a lattice put it.
        input_m: metres per pixel at which windows are read.
        windows: windows that are kept for other photos.
        source_key: tells the source from others there.
    """

    ground: Path
    source: AerialSource
    priors: PhotoMetadata
    search: SearchWindow
    view: GroundView
    pieces: list[Piece]
    heading_prior: HeadingPrior | None
    position_prior: PositionPrior | None
    input_m: float
    windows: Windows
    source_key: Hashable

    def window(self, localizer: Localizer, piece: Piece) -> tuple[AerialWindow, AerialView]:
        """Return a piece's imagery, read now unless another photo needed it.

        Raises:
            NoImageryError: there is none.
        """
        frame = self.search.frame
        origin = None if frame is None else (frame.latitude_deg, frame.longitude_deg)

        def read() -> tuple[AerialWindow, AerialView]:
            # Resampled once, straight to the network's input: the result depends on what is on
            # the ground, not on the pixels of the file.
            window = self.source.read(frame, piece.area, self.input_m)
            image = window.image
            if not bool(window.valid.all()):
                image = torch.where(window.valid, image, torch.tensor(_NO_IMAGERY))
            return window, localizer.aerial_view(
                image, window.meters_per_pixel, window.valid, self.view.is_photo
            )

        return self.windows.get((self.source_key, origin, piece.area, self.input_m), read)


Windows = SharedCache[tuple[AerialWindow, AerialView]]
"""Imagery that several photos may share."""


def windows_cache(limit_bytes: int) -> Windows:
    """Make a cache of windows, see :class:`loc2.sharing.SharedCache`."""

    def size(entry: tuple[AerialWindow, AerialView]) -> int:
        window, view = entry
        own = 0 if window.image is view.image else window.image.nbytes
        return view.nbytes + own + window.valid.nbytes

    return SharedCache(limit_bytes, size)


def plan_search(
    localizer: Localizer,
    ground: Path,
    source: AerialSource,
    *,
    priors: PhotoMetadata,
    around: tuple[float, float] | None = None,
    radius_m: float | None = None,
    snap_m: float | None = None,
    heading_prior: HeadingPrior | None = None,
    position_prior: PositionPrior | None = None,
    windows: Windows | None = None,
    source_key: Hashable = None,
) -> SearchPlan:
    """Read a photo and decide where to look for it; see :func:`locate` for the arguments.

    Args:
        localizer: the model.
        ground: photo or panorama.
        source: aerial imagery.
        priors: what is known of the photo.
        around: where to look instead.
        radius_m: half side of the window.
        snap_m: spacing of a lattice that windows are moved to.
        heading_prior: limits the search.
        position_prior: limits the search.
        windows: imagery shared with other photos.
        source_key: tells the source from others there.

    Raises:
        InputError: something given cannot be used.
    """
    search = search_window(source, priors, around, radius_m, snap_m)
    whole = search.area
    longest_m = max(whole.width_m, whole.height_m)
    own_m, _ = localizer.aerial_input(longest_m)
    piece_m = longest_m if longest_m <= AT_ONCE * own_m else own_m
    # Counted before any is made: those of a whole country would fill the memory.
    count = count_pieces(whole, piece_m)
    if count > MAX_PIECES:
        raise InputError(
            f"{source.name}: {whole.width_m:.0f} m x {whole.height_m:.0f} m would be searched in "
            f"{count} pieces, more than {MAX_PIECES}; say where to look (--around, --radius)"
        )
    image = load_image(ground, "ground image")
    if priors.crop is not None:
        image = pad_panorama(image, priors.crop)
    if heading_prior is None:
        heading_prior = _heading_prior(priors, search.frame, whole)
    if position_prior is not None:
        east_m, north_m = search.asked_m
        position_prior = replace(
            position_prior,
            east_m=position_prior.east_m + east_m,
            north_m=position_prior.north_m + north_m,
        )
    view = localizer.ground_view(image, priors.camera)
    pieces = plan_pieces(whole, piece_m)
    first = pieces[0].area
    _, input_m = localizer.aerial_input(max(first.width_m, first.height_m), view.is_photo)
    return SearchPlan(
        ground, source, priors, search, view, pieces, heading_prior, position_prior, input_m,
        windows if windows is not None else windows_cache(0), source_key,
    )  # fmt: skip
