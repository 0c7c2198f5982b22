"""A photo and a map in, latitude, longitude and true heading out.

The window to search is cut around a given position, else around the photo's own, else it is all
there is. A window larger than the model sees at once is searched piece by piece.
"""

from __future__ import annotations

import logging
import math
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
from loc2.geo.plan import SearchPlan, SearchWindow, plan_search
from loc2.geo.search import Merged, Piece, merge_pieces
from loc2.geo.source import AerialSource, NoImageryError
from loc2.geo.warp import AerialWindow
from loc2.inputs.metadata import PhotoMetadata
from loc2.localization import Hypothesis, Localization
from loc2.localizer import Localizer
from loc2.outputs import pose_record, readable
from loc2.query import HeadingPrior, PositionPrior, pose_prior
from loc2.views import AerialView

logger = logging.getLogger(__name__)

_LEAST_COVER = 0.1
"""A piece with less imagery than this share is not searched."""


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


def locate(
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
        snap_m: spacing of a lattice that windows are moved to, so that photos near each other
            share one, metres.
        heading_prior: limits the search instead of the photo's heading; degrees from the window's
            up, which is true north for georeferenced imagery.
        position_prior: limits the search; metres from the window's centre.
        progress: told (pieces done, pieces in all).
        **options: depth and its kin, handed to :meth:`loc2.localizer.Localizer.localize`.

    Raises:
        InputError: something given cannot be used, or there is no imagery.
    """
    plan = plan_search(
        localizer, ground, source, priors=priors, around=around, radius_m=radius_m, snap_m=snap_m,
        heading_prior=heading_prior, position_prior=position_prior,
    )  # fmt: skip
    return carry_out(localizer, plan, progress, **options)


def carry_out(
    localizer: Localizer,
    plan: SearchPlan,
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> Located:
    """Search the pieces of a plan and merge what is found; see :func:`locate`.

    Args:
        localizer: the model.
        plan: from :func:`plan_search`.
        progress: told (pieces done, pieces in all).
        **options: depth and its kin.

    Raises:
        InputError: something given cannot be used, or there is no imagery.
    """
    search, pieces, source = plan.search, plan.pieces, plan.source
    whole = search.area
    planned: list[Piece] = []
    searched: list[Piece] = []  # the same, as imagery could be read for them
    answers: list[Localization] = []
    nothing: InputError | None = None
    asked = plan.position_prior
    if asked is None and len(pieces) > 1:
        asked = PositionPrior(0.0, 0.0, math.inf)  # a piece's centre is nobody's guess

    def look(view: AerialView, prior: PositionPrior | None) -> Localization:
        return localizer.localize(
            plan.view, view, heading_prior=plan.heading_prior, position_prior=prior, **options
        )

    for done, piece in enumerate(pieces):
        if progress is not None:
            progress(done, len(pieces))
        outside = InputError("position prior: lies outside the aerial image")
        if asked is not None and _shifted(asked, whole, piece.area) is None:
            nothing = nothing or outside
            continue
        try:
            window, view = plan.window(localizer, piece)
        except NoImageryError as error:
            nothing = error
            continue
        if float(window.valid.float().mean()) < _LEAST_COVER and len(pieces) > 1:
            nothing = InputError(f"{source.name}: the window holds no imagery to search")
            continue
        prior = _shifted(asked, whole, window.area)  # whole pixels move and shrink what is read
        if asked is not None and prior is None:
            nothing = nothing or outside
            continue
        answer = look(view, prior)
        planned.append(piece)
        searched.append(Piece(window.area, piece.core))
        answers.append(answer if len(pieces) == 1 else _without_images(answer))
    if progress is not None:
        progress(len(pieces), len(pieces))
    if not answers:
        assert nothing is not None
        raise nothing
    merged = merge_pieces(whole, searched, answers)
    answer, best = answers[merged.best], planned[merged.best]
    if len(pieces) > 1:
        window, view = plan.window(localizer, best)
        answer = look(view, _shifted(asked, whole, window.area))
    localization = _in_piece(answer, window.area, merged, plan.priors, source)
    answer_on_earth = None
    if search.frame is not None:
        answer_on_earth = _on_earth(
            search.frame, merged, localization, plan.ground, plan.priors, source
        )
    return Located(
        localization, window, search, merged, answer_on_earth, plan.priors, len(answers),
        source.name,
    )  # fmt: skip


def _without_images(answer: Localization) -> Localization:
    """Return what merging reads; the evidence and images of hundreds of pieces fill a memory."""
    cells = replace(answer.cells, evidence=torch.empty(0, 1, 1))
    return replace(answer, cells=cells, aerial_image=torch.empty(3, 0, 0))


def _shifted(
    prior: PositionPrior | None, whole: MetricArea, area: MetricArea
) -> PositionPrior | None:
    """Return a prior of the whole window relative to a piece's centre; None where it misses it."""
    if prior is None:
        return None
    east_m = prior.east_m + whole.east_m - area.east_m
    north_m = prior.north_m + whole.north_m - area.north_m
    moved = PositionPrior(east_m, north_m, prior.radius_m)
    missed = pose_prior(None, moved).misses((area.width_m / 2, area.height_m / 2))
    return None if missed else moved


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
        # The radius was fitted on windows seen at once, and knows nothing of rivals elsewhere.
        radius_90_m=answer.radius_90_m if len(merged.mass) == 1 else None,
        statistics=answer.statistics if len(merged.mass) == 1 else None,
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
        name=readable(ground.name),
        confidence=merged.confidence,
        attribution=source.attribution,
        origins=dict(priors.origins),
    )
