"""What an evaluation keeps of one sample, and the errors that follow from it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from loc2.evaluation.metrics import Errors, place_of, summarize
from loc2.frames import Pose, heading_error_deg


@dataclass(frozen=True)
class Record:
    """The answer for one sample beside the truth.

    Attributes:
        id: name of the sample.
        group: what it is summarised by: city, drive.
        truth: true pose.
        estimate: estimated pose; None if there was none, or one that is not finite.
        worst_position_m: stands for a failed sample's position error in medians and means: the
            distance from the truth to the farthest corner of the aerial image.
        confidence: what the localizer said of its answer; None where it says nothing.
        radius_90_m: radius that it gave for nine cases of ten; None where it gave none.
        failure: why there is no answer, one line.
        seconds: time it took.
    """

    id: str
    group: str
    truth: Pose
    estimate: Pose | None
    worst_position_m: float
    confidence: float | None = None
    radius_90_m: float | None = None
    failure: str | None = None
    seconds: float = 0.0

    def __post_init__(self) -> None:
        """Keep answer and failure apart: exactly one of them is there."""
        if (self.estimate is None) != (self.failure is not None):
            raise ValueError("a record has either an estimate or a failure")
        if self.estimate is not None and not is_finite(self.estimate):
            raise ValueError("an estimate must be finite; record a failure instead")

    @property
    def along_and_across_m(self) -> tuple[float, float] | None:
        """Signed error forward and to the right of the true heading, metres."""
        return None if self.estimate is None else along_and_across_m(self.estimate, self.truth)

    def errors(self) -> Errors:
        """Return the errors, for :func:`loc2.evaluation.metrics.summarize`."""
        if self.estimate is None:
            return Errors(place_of(self.id), None, None, worst_position_m=self.worst_position_m)
        forward_m, right_m = along_and_across_m(self.estimate, self.truth)
        heading_deg = heading_error_deg(self.estimate.heading_deg, self.truth.heading_deg)
        return Errors(place_of(self.id), math.hypot(forward_m, right_m), heading_deg)

    def row(self) -> dict[str, Any]:
        """Return the record as one flat row of a results file."""
        errors, split = self.errors(), self.along_and_across_m
        estimate = None if self.estimate is None else asdict(self.estimate)
        return {
            "id": self.id,
            "group": self.group,
            "status": "ok" if self.failure is None else "failed",
            **(estimate or dict.fromkeys(("east_m", "north_m", "heading_deg", "scale"))),
            "true_east_m": self.truth.east_m,
            "true_north_m": self.truth.north_m,
            "true_heading_deg": self.truth.heading_deg,
            "position_error_m": errors.position_m,
            "heading_error_deg": errors.heading_deg,
            "longitudinal_error_m": None if split is None else abs(split[0]),
            "lateral_error_m": None if split is None else abs(split[1]),
            "worst_position_m": self.worst_position_m,
            "confidence": self.confidence,
            "radius_90_m": self.radius_90_m,
            "failure": self.failure,
            "seconds": round(self.seconds, 3),
        }


def is_finite(pose: Pose) -> bool:
    """Tell whether every number of a pose is finite."""
    return all(map(math.isfinite, (pose.east_m, pose.north_m, pose.heading_deg, pose.scale)))


def along_and_across_m(estimate: Pose, truth: Pose) -> tuple[float, float]:
    """Split a position error into the parts along and across the true heading.

    Args:
        estimate: estimated pose.
        truth: true pose; its heading defines the axes.

    Returns:
        Signed metres forward and signed metres to the right of the truth.
    """
    east_m, north_m = estimate.east_m - truth.east_m, estimate.north_m - truth.north_m
    heading = math.radians(truth.heading_deg)
    forward_m = east_m * math.sin(heading) + north_m * math.cos(heading)
    right_m = east_m * math.cos(heading) - north_m * math.sin(heading)
    return forward_m, right_m


def worst_position_error_m(truth: Pose, width_m: float, height_m: float) -> float:
    """Return the distance from the true position to the farthest corner of the aerial image."""
    return math.hypot(width_m / 2 + abs(truth.east_m), height_m / 2 + abs(truth.north_m))


def summarize_directions(records: list[Record]) -> dict[str, float]:
    """Summarise the errors along and across the true heading, as KITTI tables do.

    Args:
        records: at least one; failures miss in recalls and count with their worst case elsewhere.

    Returns:
        Medians, means, and recalls at 1 m and 5 m (strictly below) for ``longitudinal`` and
        ``lateral``.
    """
    failed = np.array([r.estimate is None for r in records])
    split = np.abs([r.along_and_across_m or (r.worst_position_m,) * 2 for r in records])
    summary: dict[str, float] = {}
    for name, values in (("longitudinal", split[:, 0]), ("lateral", split[:, 1])):
        summary[f"{name}_median_m"] = float(np.median(values))
        summary[f"{name}_mean_m"] = float(np.mean(values))
        for limit_m in (1, 5):
            recall = float(np.mean((values < limit_m) & ~failed))
            summary[f"{name}_recall_{limit_m}m"] = recall
    return summary


def summarize_records(records: list[Record]) -> dict[str, dict[str, Any]]:
    """Summarise all records and each group, see :func:`loc2.evaluation.metrics.summarize`.

    Args:
        records: at least one.

    Returns:
        Summaries under ``all`` and under each group's name where there are several.
    """
    summary = {"all": summarize([r.errors() for r in records])}
    groups = sorted({r.group for r in records})
    for group in groups if len(groups) > 1 else []:
        summary[group] = summarize([r.errors() for r in records if r.group == group])
    return summary
