"""Figures by the definitions behind the published tables, for comparison with them only.

Two of these definitions mislead: samples without an answer are left out, and KITTI's lateral and
longitudinal errors are projected on a direction that is not the heading. Our own figures are those
of :mod:`loc2.evaluation.metrics` and :mod:`loc2.evaluation.records`.
"""

from __future__ import annotations

import math

import numpy as np

from loc2.evaluation.records import Record
from loc2.frames import Pose


def published_longitudinal_lateral_m(estimate: Pose, truth: Pose) -> tuple[float, float]:
    """Return KITTI's "longitudinal" and "lateral" errors as published code computes them.

    With delta = (row, column) offset and yaw counter-clockwise from image up, the code projects on
    (sin yaw, cos yaw), while the camera looks along (-cos yaw, -sin yaw): at the benchmark's usual
    heading (image right) the two errors are exchanged, elsewhere mixed.

    Args:
        estimate: estimated pose.
        truth: true pose.

    Returns:
        Unsigned metres called longitudinal, and unsigned metres called lateral.
    """
    row_m, col_m = truth.north_m - estimate.north_m, estimate.east_m - truth.east_m
    yaw = math.radians(-truth.heading_deg)
    longitudinal_m = abs(row_m * math.sin(yaw) + col_m * math.cos(yaw))
    lateral_m = abs(col_m * math.sin(yaw) - row_m * math.cos(yaw))
    return longitudinal_m, lateral_m


def published_vigor_summary(records: list[Record]) -> dict[str, float | int]:
    """Return the published VIGOR figures: samples without an answer do not count."""
    errors = [r.errors() for r in records if r.estimate is not None]
    position_m = [e.position_m for e in errors if e.position_m is not None]
    heading_deg = [e.heading_deg for e in errors if e.heading_deg is not None]
    if not errors:
        return {"num_samples": 0}
    return {
        "num_samples": len(errors),
        "translation_mean_m": float(np.mean(position_m)),
        "translation_median_m": float(np.median(position_m)),
        "yaw_mean_deg": float(np.mean(heading_deg)),
        "yaw_median_deg": float(np.median(heading_deg)),
    }


def published_kitti_summary(records: list[Record]) -> dict[str, float | int]:
    """Return the published KITTI figures, with their exchanged directions (named so)."""
    summary = published_vigor_summary(records)
    answered = [(r, r.estimate) for r in records if r.estimate is not None]
    if not answered:
        return summary
    swapped_m = np.array([published_longitudinal_lateral_m(e, r.truth) for r, e in answered])
    heading_deg = np.array([r.errors().heading_deg for r, _ in answered], dtype=float)
    for limit_m in (1, 5):
        below = (swapped_m < limit_m).mean(axis=0)
        summary[f"swapped_longitudinal_recall_{limit_m}m"] = float(below[0])
        summary[f"swapped_lateral_recall_{limit_m}m"] = float(below[1])
    for limit_deg in (1, 5):
        summary[f"yaw_recall_{limit_deg}deg"] = float(np.mean(heading_deg < limit_deg))
    return summary
