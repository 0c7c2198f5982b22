"""A photo and a map in, latitude, longitude and true heading out.

The window to search is cut around a given position, else around the photo's own, else it is all
there is. A window larger than the model sees at once is searched piece by piece.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from loc2.errors import InputError
from loc2.frames import Pose
from loc2.geo.answer import GeoAnswer, geo_answer
from loc2.geo.frame import LocalFrame, MetricArea
from loc2.geo.search import Merged, Piece, merge_pieces, plan_pieces
from loc2.geo.source import AerialSource, NoImageryError
from loc2.geo.warp import AerialWindow
from loc2.inputs import load_image
from loc2.inputs.metadata import PhotoMetadata
from loc2.inputs.photo import pad_panorama
from loc2.localization import Hypothesis, Localization
from loc2.localizer import HeadingPrior, Localizer, PositionPrior
from loc2.outputs import pose_record

logger = logging.getLogger(__name__)

DEFAULT_RADIUS_M = 50.0
"""Half side of the window around a position whose error is not known, metres."""

AT_ONCE = 2.0
"""A window up to this many times the model's own is searched at once, with larger cells."""

_RADIUS_PER_ERROR, _MIN_RADIUS_M, _MAX_RADIUS_M = 3.0, 45.0, 300.0
_HEADING_RANGE_PER_SIGMA = 3.0
_NO_IMAGERY = 0.5
"""Grey shown to the network where there is no imagery; such cells are neutral in the search."""

_LEAST_COVER = 0.1
"""A piece with less imagery than this share is not searched."""


@dataclass(frozen=True)
class SearchWindow:
    """Where to look.

    Attributes:
        frame: metric frame on the earth, or None for a plain image.
        area: the window in that frame.
        origin: why there: ``given``, the origin of the photo's position, or ``whole image``.
    """

    frame: LocalFrame | None
    area: MetricArea
    origin: str


@dataclass(frozen=True)
class Located:
    """A photo located in aerial imagery.

    Attributes:
        localization: the answer in the piece that holds it; poses are relative to the centre of
            its aerial image.
        window: that aerial image, and which part of the search window it is.
        search: where was looked.
        merged: the posterior over the whole search window.
        answer: latitude, longitude, true heading; None for an image without georeference.
        priors: what was known of the photo.
        pieces: number of pieces that were searched.
        source: name of the imagery.
    """

    localization: Localization
    window: AerialWindow
    search: SearchWindow
    merged: Merged
    answer: GeoAnswer | None
    priors: PhotoMetadata
    pieces: int
    source: str

    def record(self) -> dict[str, Any]:
        """Return the content of ``pose.json``.

        East, north, and the pixel are relative to the whole search window (of a plain image: the
        image); with georeference, latitude, longitude and true heading are added.
        """
        record = pose_record(self.localization)
        area, window, mpp = self.search.area, self.window.area, self.window.meters_per_pixel
        east_m, north_m = window.east_m - area.east_m, window.north_m - area.north_m
        for place in (record, *record["hypotheses"]):
            place["east_m"] += east_m
            place["north_m"] += north_m
        record["u_px"] = (record["east_m"] + area.width_m / 2) / mpp
        record["v_px"] = (area.height_m / 2 - record["north_m"]) / mpp
        record["priors"] = {
            what: self.priors.origin(what) or "none" for what in ("position", "heading", "camera")
        }
        if self.search.frame is None and self.priors.origin("position"):
            record["priors"]["position"] += " (not used: the aerial image has no georeference)"
        record["search"] = {
            "aerial": self.source,
            "around": self.search.origin,
            "width_m": round(area.width_m, 3),
            "height_m": round(area.height_m, 3),
            "pieces": self.pieces,
        }
        if self.priors.warnings:
            record["warnings"] = list(self.priors.warnings)
        if self.answer is not None and self.search.frame is not None:
            frame = self.search.frame
            record |= self.answer.to_json()
            center_deg = frame.to_lat_lon(area.east_m, area.north_m)
            record["search"] |= {"latitude_deg": center_deg[0], "longitude_deg": center_deg[1]}
            for place in record["hypotheses"]:
                at_m = place["east_m"] + area.east_m, place["north_m"] + area.north_m
                place["latitude_deg"], place["longitude_deg"] = frame.to_lat_lon(*at_m)
                place["heading_true_deg"] = frame.heading_to_true(*at_m, place["heading_deg"])
        return record


def search_window(
    source: AerialSource,
    priors: PhotoMetadata,
    around: tuple[float, float] | None,
    radius_m: float | None,
) -> SearchWindow:
    """Decide where to look.

    Args:
        source: aerial imagery.
        priors: what is known of the photo.
        around: given WGS84 (latitude, longitude), degrees.
        radius_m: given half side of the window, metres; by default three times the position's
            error, within 45 to 300 m, or 50 m where the error is not known.

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
    frame, area = source.around(*position, radius_m)
    return SearchWindow(frame, area, origin)


def locate(
    localizer: Localizer,
    ground: Path,
    source: AerialSource,
    *,
    priors: PhotoMetadata,
    around: tuple[float, float] | None = None,
    radius_m: float | None = None,
    heading_prior: HeadingPrior | None = None,
    position_prior: PositionPrior | None = None,
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> Located:
    """Locate a photo in aerial imagery of any kind.

    Args:
        localizer: the model.
        ground: photo or panorama.
        source: aerial imagery, from :func:`loc2.geo.opening.open_aerial`.
        priors: from :func:`loc2.inputs.photo_priors.photo_priors`. Its heading limits the search
            to three standard deviations to each side, its camera is used, and its position says
            where to look.
        around: where to look instead, WGS84 (latitude, longitude), degrees.
        radius_m: half side of the window that is searched, metres.
        heading_prior: limits the search instead of the photo's heading; degrees from the window's
            up, which is true north for georeferenced imagery.
        position_prior: limits the search; metres from the window's centre.
        progress: told (pieces done, pieces in all).
        **options: depth and its kin, handed to :meth:`loc2.localizer.Localizer.localize`.

    Raises:
        InputError: something given cannot be used, or there is no imagery.
    """
    search = search_window(source, priors, around, radius_m)
    frame, whole = search.frame, search.area
    image = load_image(ground, "ground image")
    if priors.crop is not None:
        image = pad_panorama(image, priors.crop)
    if heading_prior is None:
        heading_prior = _heading_prior(priors, frame, whole)
    longest_m = max(whole.width_m, whole.height_m)
    own_m, _ = localizer.aerial_input(longest_m)
    pieces = plan_pieces(whole, longest_m if longest_m <= AT_ONCE * own_m else own_m)
    first = pieces[0].area
    # Resampled once, straight to the network's input: the result depends on what is on the
    # ground, not on the pixels of the file.
    _, input_m = localizer.aerial_input(max(first.width_m, first.height_m))
    searched: list[Piece] = []
    answers: list[Localization] = []
    windows: list[AerialWindow] = []
    nothing: NoImageryError | None = None
    for done, piece in enumerate(pieces):
        if progress is not None:
            progress(done, len(pieces))
        prior = _shifted(position_prior, whole, piece.area)
        if position_prior is not None and prior is None:
            continue
        try:
            window = source.read(frame, piece.area, input_m)
        except NoImageryError as error:
            nothing = error
            continue
        if float(window.valid.float().mean()) < _LEAST_COVER and len(pieces) > 1:
            continue
        filled = torch.where(window.valid, window.image, torch.tensor(_NO_IMAGERY))
        started_s = time.perf_counter()
        features = localizer.aerial_features(filled, window.meters_per_pixel, window.valid)
        aerial_s = time.perf_counter() - started_s
        answer = localizer.localize(
            image,
            features,
            camera=priors.camera,
            heading_prior=heading_prior,
            position_prior=prior,
            **options,
        )
        answer.timings_s["aerial features"] = aerial_s
        searched.append(Piece(window.area, piece.core))
        answers.append(answer)
        windows.append(window)
    if progress is not None:
        progress(len(pieces), len(pieces))
    if not answers:
        raise nothing or InputError(f"{source.name}: the window holds no imagery to search")
    merged = merge_pieces(whole, searched, answers)
    best = merged.best
    localization = _in_piece(answers[best], windows[best].area, merged, priors, source)
    answer_on_earth = None
    if frame is not None:
        answer_on_earth = _on_earth(frame, merged, localization, ground, priors, source)
    return Located(
        localization, windows[best], search, merged, answer_on_earth, priors, len(answers),
        source.name,
    )  # fmt: skip


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


def _shifted(
    prior: PositionPrior | None, whole: MetricArea, area: MetricArea
) -> PositionPrior | None:
    """Return a prior of the whole window relative to a piece's centre; None where it misses it."""
    if prior is None:
        return None
    east_m = prior.east_m + whole.east_m - area.east_m
    north_m = prior.north_m + whole.north_m - area.north_m
    reach_m = prior.radius_m
    whole_window = area == whole  # there, the facade says so if the prior misses it
    if not whole_window and (
        abs(east_m) - reach_m > area.width_m / 2 or abs(north_m) - reach_m > area.height_m / 2
    ):
        return None
    return PositionPrior(east_m, north_m, reach_m)


def _in_piece(
    answer: Localization, area: MetricArea, merged: Merged, priors: PhotoMetadata,
    source: AerialSource,
) -> Localization:  # fmt: skip
    """Return a piece's answer with the merged hypotheses, relative to the piece's centre."""
    hypotheses = tuple(
        Hypothesis(
            replace(
                h.pose, east_m=h.pose.east_m - area.east_m, north_m=h.pose.north_m - area.north_m
            ),
            h.mass,
            h.covariance,
        )
        for h in merged.hypotheses
    )
    first = hypotheses[0]
    return replace(
        answer,
        pose=first.pose,
        covariance=answer.covariance if first.covariance is None else first.covariance,
        confidence=merged.confidence,
        hypotheses=hypotheses,
        settings={
            **answer.settings,
            "prior_origins": dict(priors.origins),
            "aerial_source": source.name,
            "attribution": source.attribution,
        },
    )


def _on_earth(
    frame: LocalFrame, merged: Merged, localization: Localization, ground: Path,
    priors: PhotoMetadata, source: AerialSource,
) -> GeoAnswer:  # fmt: skip
    pose: Pose = merged.hypotheses[0].pose
    return geo_answer(
        frame,
        east_m=pose.east_m,
        north_m=pose.north_m,
        heading_deg=pose.heading_deg,
        covariance=np.asarray(localization.covariance.tolist(), dtype=np.float64),
        name=ground.name,
        confidence=merged.confidence,
        attribution=source.attribution,
        origins=dict(priors.origins),
    )
