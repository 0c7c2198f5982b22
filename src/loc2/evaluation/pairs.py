"""Evaluation on a manifest of pairs, protected against leaks of the answer."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from loc2.cameras import Camera
from loc2.data.pairs import Pair
from loc2.depth import DepthMap, DepthUnit, load_depth
from loc2.errors import InputError, Loc2Error
from loc2.evaluation.metrics import Errors, summarize
from loc2.evaluation.windows import Trial, make_trial
from loc2.frames import Pose, heading_error_deg
from loc2.inputs import load_image, resolve_camera
from loc2.localizer import HeadingPrior, Localizer

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
        depth: ``manifest`` (the row's file, else the default), or a depth model's name.
    """

    heading_range_deg: float = 180.0
    window_m: float | None = None
    shift_range_m: float = 0.0
    seeds: tuple[int, ...] = (0,)
    depth: str = "manifest"

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


def evaluate_pairs(
    localizer: Localizer,
    pairs: Sequence[Pair],
    protocol: Protocol,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Localize every pair under every seed and summarise the errors.

    Args:
        localizer: what is measured.
        pairs: rows of a manifest.
        protocol: how they are presented.
        progress: called with the number of finished trials.

    Returns:
        ``{"config", "pairs", "summary"}`` as plain values: one record for each pair and seed, and
        figures for all and for each group, beside those of guessing.
    """
    records: list[dict[str, Any]] = []
    for pair in pairs:
        for seed in protocol.seeds:
            records.append(_evaluate_one(localizer, pair, protocol, seed))
            if progress is not None:
                progress(len(records))
    groups = sorted({pair.group for pair in pairs})
    summary = {"all": _summary(records)}
    if groups != ["all"]:
        by_group = {g: [r for r in records if r["group"] == g] for g in groups}
        summary |= {group: _summary(rows) for group, rows in by_group.items()}
    config = {
        "heading_range_deg": protocol.heading_range_deg,
        "window_m": protocol.window_m,
        "shift_range_m": protocol.shift_range_m,
        "seeds": list(protocol.seeds),
        "depth": protocol.depth,
        "weights": localizer.weights,
    }
    return {"config": config, "pairs": records, "summary": summary}


def _evaluate_one(
    localizer: Localizer, pair: Pair, protocol: Protocol, seed: int
) -> dict[str, Any]:
    record: dict[str, Any] = {
        "id": pair.id,
        "group": pair.group,
        "seed": seed,
        "status": "ok",
        "position_counts": pair.position_sigma_m <= MAX_SIGMA_M,
    }
    figures: dict[str, Any] = dict.fromkeys(
        ("east_m", "north_m", "heading_deg", "position_error_m", "heading_error_deg", "confidence")
    )
    try:
        trial, camera, depth = prepare_trial(pair, protocol, seed)
        record |= _truth_record(trial, pair, protocol, seed)
        prior = None
        if 0 < protocol.heading_range_deg < 180:
            prior = HeadingPrior(trial.expected_heading_deg, protocol.heading_range_deg)
        elif protocol.heading_range_deg == 0:
            prior = HeadingPrior(trial.expected_heading_deg, 0.5)
        answer = localizer.localize(
            trial.ground,
            trial.aerial,
            camera=camera,
            meters_per_pixel=pair.meters_per_pixel,
            heading_prior=prior,
            depth=depth,
            camera_height_m=pair.camera_height_m,
            seed=seed,
        )
        pose, truth = answer.pose, trial.truth
        figures = {
            "east_m": pose.east_m,
            "north_m": pose.north_m,
            "heading_deg": pose.heading_deg,
            "position_error_m": math.hypot(
                pose.east_m - truth.east_m, pose.north_m - truth.north_m
            ),
            "heading_error_deg": heading_error_deg(pose.heading_deg, truth.heading_deg),
            "confidence": answer.confidence,
        }
    except Loc2Error as error:
        record["status"] = f"failed: {error}"
    return record | figures


def prepare_trial(
    pair: Pair, protocol: Protocol, seed: int
) -> tuple[Trial, Camera, str | DepthMap]:
    """Load a pair and hide its answer.

    Returns:
        The trial, the ground image's camera, and the depth to use (rolled with the panorama).

    Raises:
        InputError: a file cannot be used.
    """
    ground = load_image(pair.ground, "ground image")
    aerial = load_image(pair.aerial, "aerial image")
    camera = resolve_camera(pair.camera_spec(), ground.shape[-1], ground.shape[-2])
    trial = make_trial(
        ground,
        camera,
        aerial,
        pair.meters_per_pixel,
        Pose(pair.east_m, pair.north_m, pair.heading_deg % 360.0),
        name=pair.id,
        seed=seed,
        heading_range_deg=protocol.heading_range_deg,
        window_m=protocol.window_m,
        shift_range_m=protocol.shift_range_m,
    )
    if protocol.depth != "manifest":
        return trial, camera, protocol.depth
    if pair.depth is None:
        return trial, camera, "default"
    unit: DepthUnit | None = pair.depth_unit  # type: ignore[assignment]  # checked on loading
    depth = load_depth(pair.depth, camera, unit, pair.depth_kind)
    columns = round(trial.roll_px / camera.width * depth.depth.shape[1])
    rolled = replace(
        depth,
        depth=torch.roll(depth.depth, columns, dims=1),
        valid=torch.roll(depth.valid, columns, dims=1),
    )
    return trial, camera, rolled


def _truth_record(trial: Trial, pair: Pair, protocol: Protocol, seed: int) -> dict[str, Any]:
    """Return the truth, and the errors of guessing the centre and a heading within the prior."""
    truth = trial.truth
    rng = np.random.default_rng([seed, zlib.crc32(pair.id.encode()), 1])
    guess_deg = trial.expected_heading_deg + float(
        rng.uniform(-protocol.heading_range_deg, protocol.heading_range_deg)
    )
    return {
        "window_m": trial.window_m,
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
                worst_position_m=math.sqrt(2) * r.get("window_m", 100.0),
            )
            for r in records
        ]

    return {**summarize(errors("")), "guess": summarize(errors("guess_"))}
