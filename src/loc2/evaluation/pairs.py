"""Evaluation on a manifest of pairs, protected against leaks of the answer."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from loc2.cameras import Camera
from loc2.data.pairs import Pair
from loc2.depth import HEAD_DEPTHS, DepthMap, DepthUnit, depth_model_info, load_depth
from loc2.errors import InputError, Loc2Error
from loc2.evaluation.calibration import calibrate_rows
from loc2.evaluation.metrics import Errors, summarize
from loc2.evaluation.windows import Trial, make_trial
from loc2.frames import Pose, heading_error_deg
from loc2.inputs import load_image
from loc2.localization import PROBABILITY, Localization
from loc2.localizer import Localizer
from loc2.query import HeadingPrior

UNKNOWN_WINDOW_M = 100.0
"""Side of the window of a sample that cannot be read, where none is asked for."""

MAX_SIGMA_M = 1.5
"""Positions known less well than this do not enter the position median and mean."""


@dataclass(frozen=True)
class Protocol:
    """How pairs are presented.

    Attributes:
        heading_range_deg: half-width of the random turn and of the prior; 180 gives no prior.
        window_m: side of the aerial window, metres; None for all of the image.
        shift_range_m: half-width of the window's random offset along each axis, metres.
        seeds: one trial for each seed and pair.
        depth: ``given`` (the sample's own, else the default), or a depth model's name.
    """

    heading_range_deg: float = 180.0
    window_m: float | None = None
    shift_range_m: float = 0.0
    seeds: tuple[int, ...] = (0,)
    depth: str = "given"

    def __post_init__(self) -> None:
        """Reject ranges that make no sense."""
        if not 0 <= self.heading_range_deg <= 180:
            raise InputError(f"heading range must lie in [0, 180], got {self.heading_range_deg:g}")
        if self.window_m is not None and not (math.isfinite(self.window_m) and self.window_m > 0):
            raise InputError(f"window must be a positive number of metres, got {self.window_m:g}")
        if not (math.isfinite(self.shift_range_m) and self.shift_range_m >= 0):
            raise InputError(f"shift range must not be negative, got {self.shift_range_m:g}")
        if not self.seeds or min(self.seeds) < 0:
            raise InputError("seeds must be one or more numbers that are not negative")
        if len(set(self.seeds)) < len(self.seeds):
            raise InputError("seeds must differ: the same trial would count twice")
        if self.depth not in ("given", "default", *HEAD_DEPTHS):
            depth_model_info(self.depth)


@dataclass(frozen=True)
class Sample:
    """A pair in memory.

    Attributes:
        ground: (3, H, W) ground image.
        camera: its camera.
        aerial: (3, h, w) aerial image.
        meters_per_pixel: of the aerial image, metres.
        truth: true pose in the aerial image's metric frame.
        depth: depth of the ground image, or None for the default depth.
        camera_height_m: height above the ground, metres, if known.
    """

    ground: Tensor
    camera: Camera
    aerial: Tensor
    meters_per_pixel: float
    truth: Pose
    depth: DepthMap | None
    camera_height_m: float | None


@dataclass(frozen=True)
class SampleSource:
    """Something to evaluate on, loaded when its turn comes.

    Attributes:
        id: unique name; with the seed it decides the random draw.
        group: by which results are summarised.
        position_counts: whether the true position is known well enough for median and mean.
        load: reads or makes the sample; may raise :class:`Loc2Error`, which counts as a failure.
    """

    id: str
    group: str
    position_counts: bool
    load: Callable[[], Sample]


def evaluate_pairs(
    localizer: Localizer,
    pairs: Sequence[Pair],
    protocol: Protocol,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Localize every pair of a manifest under every seed, see :func:`evaluate_samples`."""
    return evaluate_samples(localizer, pair_sources(pairs), protocol, progress)


def pair_sources(pairs: Sequence[Pair]) -> list[SampleSource]:
    """Return the rows of a manifest as samples."""
    return [
        SampleSource(
            pair.id, pair.group, pair.position_sigma_m <= MAX_SIGMA_M, partial(load_pair, pair)
        )
        for pair in pairs
    ]


def evaluate_samples(
    localizer: Localizer,
    sources: Sequence[SampleSource],
    protocol: Protocol,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Localize every sample under every seed and summarise the errors.

    Args:
        localizer: what is measured.
        sources: what it is measured on.
        protocol: how the samples are presented.
        progress: called with the number of finished trials.

    Returns:
        ``{"config", "pairs", "summary", "calibration"}`` as plain values: one record for each
        sample and seed, figures for all and for each group beside those of guessing, and how far
        the confidence can be trusted.
    """
    records: list[dict[str, Any]] = []
    for source in sources:
        for seed in protocol.seeds:
            records.append(_evaluate_one(localizer, source, protocol, seed))
            if progress is not None:
                progress(len(records))
    groups = sorted({source.group for source in sources})
    summary = {"all": _summary(records)}
    summary |= {g: _summary([r for r in records if r["group"] == g]) for g in groups if g != "all"}
    config = {
        "heading_range_deg": protocol.heading_range_deg,
        "window_m": protocol.window_m,
        "shift_range_m": protocol.shift_range_m,
        "seeds": list(protocol.seeds),
        "depth": protocol.depth,
        "weights": localizer.weights,
        "precision": localizer.precision,
        "confidence": localizer.confidence_meaning,
    }
    return {
        "config": config,
        "pairs": records,
        "summary": summary,
        "calibration": calibrate_rows(records, localizer.confidence_meaning == PROBABILITY),
    }


def _evaluate_one(
    localizer: Localizer, source: SampleSource, protocol: Protocol, seed: int
) -> dict[str, Any]:
    record: dict[str, Any] = {
        "id": source.id,
        "group": source.group,
        "seed": seed,
        "status": "ok",
        "position_counts": source.position_counts,
        "worst_position_m": math.sqrt(2) * (protocol.window_m or UNKNOWN_WINDOW_M),
    }
    figures: dict[str, Any] = dict.fromkeys(
        (
            "east_m", "north_m", "heading_deg", "position_error_m", "heading_error_deg",
            "confidence", "radius_90_m",
        )
    )  # fmt: skip
    try:
        sample = source.load()
        trial, depth = prepare_trial(sample, source.id, protocol, seed)
        record |= _truth_record(trial, source.id, protocol, seed)
        answer = _localize(localizer, sample, trial, depth, protocol, seed)
        pose, truth = answer.pose, trial.truth
        offset_m = (pose.east_m - truth.east_m, pose.north_m - truth.north_m)
        figures = {
            "east_m": pose.east_m,
            "north_m": pose.north_m,
            "heading_deg": pose.heading_deg,
            "position_error_m": math.hypot(*offset_m),
            "heading_error_deg": heading_error_deg(pose.heading_deg, truth.heading_deg),
            "confidence": answer.confidence,
            "radius_90_m": answer.radius_90_m,
        }
    except Loc2Error as error:
        record["status"] = f"failed: {error}"
    return record | figures


def _localize(
    localizer: Localizer,
    sample: Sample,
    trial: Trial,
    depth: str | DepthMap,
    protocol: Protocol,
    seed: int,
) -> Localization:
    return localizer.localize(
        trial.ground,
        trial.aerial,
        camera=sample.camera,
        meters_per_pixel=sample.meters_per_pixel,
        heading_prior=_heading_prior(trial, protocol),
        depth=depth,
        camera_height_m=sample.camera_height_m,
        seed=seed,
    )


def localize_again(
    localizer: Localizer, source: SampleSource, protocol: Protocol, seed: int
) -> tuple[Localization, Pose]:
    """Repeat one trial of an evaluation, to look at it.

    Returns:
        The answer, and the true pose in its aerial image.

    Raises:
        Loc2Error: the sample cannot be read or localized.
    """
    sample = source.load()
    trial, depth = prepare_trial(sample, source.id, protocol, seed)
    return _localize(localizer, sample, trial, depth, protocol, seed), trial.truth


def _heading_prior(trial: Trial, protocol: Protocol) -> HeadingPrior | None:
    if protocol.heading_range_deg >= 180:
        return None
    # Known exactly still means to within the half degree that a roll by whole pixels may cost.
    return HeadingPrior(trial.expected_heading_deg, max(protocol.heading_range_deg, 0.5))


def load_pair(pair: Pair) -> Sample:
    """Read the files of a manifest's row.

    Raises:
        InputError: a file cannot be used.
    """
    ground = load_image(pair.ground, "ground image")
    camera, height_m = pair.camera_of(ground)
    depth = None
    if pair.depth is not None:
        unit: DepthUnit | None = pair.depth_unit  # type: ignore[assignment]  # checked on loading
        depth = load_depth(pair.depth, camera, unit, pair.depth_kind)
    return Sample(
        ground=ground,
        camera=camera,
        aerial=load_image(pair.aerial, "aerial image"),
        meters_per_pixel=pair.meters_per_pixel,
        truth=Pose(pair.east_m, pair.north_m, pair.heading_deg % 360.0),
        depth=depth,
        camera_height_m=height_m,
    )


def prepare_trial(
    sample: Sample, name: str, protocol: Protocol, seed: int
) -> tuple[Trial, str | DepthMap]:
    """Hide the answer of a sample.

    Returns:
        The trial, and the depth to use (rolled with the panorama).

    Raises:
        InputError: the aerial image is too small for the offsets, or the camera lies outside the
            window, where nothing could find it.
    """
    trial = make_trial(
        sample.ground,
        sample.camera,
        sample.aerial,
        sample.meters_per_pixel,
        sample.truth,
        name=name,
        seed=seed,
        heading_range_deg=protocol.heading_range_deg,
        window_m=protocol.window_m,
        shift_range_m=protocol.shift_range_m,
    )
    if max(abs(trial.truth.east_m), abs(trial.truth.north_m)) > trial.window_m / 2:
        raise InputError(f"the camera of {name} lies outside the window of {trial.window_m:.1f} m")
    if protocol.depth != "given":
        return trial, protocol.depth
    if sample.depth is None:
        return trial, "default"
    columns = round(trial.roll_px / sample.camera.width * sample.depth.depth.shape[1])
    rolled = replace(
        sample.depth,
        depth=torch.roll(sample.depth.depth, columns, dims=1),
        valid=torch.roll(sample.depth.valid, columns, dims=1),
    )
    return trial, rolled


def _truth_record(trial: Trial, name: str, protocol: Protocol, seed: int) -> dict[str, Any]:
    """Return the truth, and the errors of guessing the centre and a heading within the prior."""
    truth = trial.truth
    rng = np.random.default_rng([seed, zlib.crc32(name.encode()), 1])
    guess_deg = trial.expected_heading_deg + float(
        rng.uniform(-protocol.heading_range_deg, protocol.heading_range_deg)
    )
    return {
        "window_m": trial.window_m,
        "worst_position_m": math.sqrt(2) * trial.window_m,
        "true_east_m": truth.east_m,
        "true_north_m": truth.north_m,
        "true_heading_deg": truth.heading_deg,
        "guess_position_error_m": math.hypot(truth.east_m, truth.north_m),
        "guess_heading_error_deg": heading_error_deg(guess_deg, truth.heading_deg),
    }


def _summary(records: list[dict[str, Any]]) -> dict[str, Any]:
    def errors(prefix: str) -> list[Errors]:
        return [
            Errors(
                id=r["id"],
                position_m=r.get(f"{prefix}position_error_m"),
                heading_deg=r.get(f"{prefix}heading_error_deg"),
                position_counts=r["position_counts"],
                worst_position_m=r["worst_position_m"],
            )
            for r in records
        ]

    return {**summarize(errors("")), "guess": summarize(errors("guess_"))}
