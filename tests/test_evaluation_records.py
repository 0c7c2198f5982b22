"""Errors and summaries: parity with the published definitions (fixture F8), our own properties."""

import json
import math
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from loc2.evaluation.metrics import summarize
from loc2.evaluation.published import (
    published_kitti_summary,
    published_longitudinal_lateral_m,
    published_vigor_summary,
)
from loc2.evaluation.records import (
    Record,
    along_and_across_m,
    is_finite,
    summarize_directions,
    summarize_records,
    worst_position_error_m,
)
from loc2.frames import Pose
from loc2.published.compat import published_xy_to_frames, published_yaw_to_heading_deg

FIXTURES = Path(__file__).parent / "fixtures"


def poses(rotation: np.ndarray, position_m: np.ndarray) -> list[Pose]:
    sin, cos = (torch.from_numpy(rotation[:, i, 0]).double() for i in (1, 0))
    headings = published_yaw_to_heading_deg(torch.rad2deg(torch.atan2(sin, cos)))
    east_north = published_xy_to_frames(torch.from_numpy(position_m.astype(np.float64)[:, 0]))
    return [
        Pose(float(e), float(n), float(h)) for (e, n), h in zip(east_north, headings, strict=True)
    ]


def record(estimate: Pose | None, truth: Pose, name: str = "a", worst_m: float = 100.0) -> Record:
    if estimate is not None and not is_finite(estimate):
        estimate = None
    return Record(
        name, "g", truth, estimate, worst_m, failure=None if estimate is not None else "nothing"
    )


def column(records: list[Record], name: str) -> np.ndarray:
    return np.array([r.row()[name] for r in records if r.estimate is not None])


def test_vigor_figures_equal_the_reference() -> None:
    f8 = np.load(FIXTURES / "f8_metrics_vigor.npz")
    truths = poses(f8["R_gt"], f8["tgt_px"] * f8["resolution_m_per_px"][:, None, None])
    estimates = poses(f8["R_pred"], f8["t_pred_m"])
    scales = f8["scale_pred"].ravel()
    records = [
        record(Pose(e.east_m, e.north_m, e.heading_deg, float(s)), t)
        for e, t, s in zip(estimates, truths, scales, strict=True)
    ]
    assert sum(r.estimate is None for r in records) == 4
    position_m, heading_deg = (
        column(records, f"{name}") for name in ("position_error_m", "heading_error_deg")
    )
    np.testing.assert_allclose(position_m, f8["translation_error_m"], atol=1e-4)
    np.testing.assert_allclose(heading_deg, f8["yaw_error_deg"], atol=1e-3)
    expected = json.loads(str(f8["summary_json"]))
    assert published_vigor_summary(records) == pytest.approx(expected, abs=1e-3)


def test_kitti_figures_equal_the_reference_and_the_truth() -> None:
    f8 = np.load(FIXTURES / "f8_metrics_kitti.npz")
    # The published code goes through pixels of an image taken to span grid_size_h metres.
    factor = float(f8["sat_size"] / f8["grid_size_h"] * f8["meter_per_pixel"])
    estimates = poses(f8["R_pred"], f8["t_pred_m"] * factor)
    truths = poses(f8["R_gt"], f8["tgt_px"] * float(f8["meter_per_pixel"]))
    records = [record(e, t) for e, t in zip(estimates, truths, strict=True)]
    for name, key, tolerance in (
        ("position_error_m", "translation_error_m", 1e-4),
        ("heading_error_deg", "yaw_error_deg", 1e-3),
        ("longitudinal_error_m", "true_longitudinal_error_m", 1e-4),
        ("lateral_error_m", "true_lateral_error_m", 1e-4),
    ):
        np.testing.assert_allclose(column(records, name), f8[key], atol=tolerance)
    swapped = np.array(
        [published_longitudinal_lateral_m(e, t) for e, t in zip(estimates, truths, strict=True)]
    )
    np.testing.assert_allclose(swapped[:, 0], f8["reference_longitudinal_error_m"], atol=1e-4)
    np.testing.assert_allclose(swapped[:, 1], f8["reference_lateral_error_m"], atol=1e-4)
    expected = {
        f"swapped_{k}" if k.startswith(("lateral", "longitudinal")) else k: v
        for k, v in json.loads(str(f8["summary_json"])).items()
    }
    assert published_kitti_summary(records) == pytest.approx(expected, abs=1e-3)


def test_forward_error_is_longitudinal() -> None:
    truth, ahead, right = Pose(1, 2, 90), Pose(4, 2, 90), Pose(1, 1.5, 90)
    assert along_and_across_m(ahead, truth) == pytest.approx((3.0, 0.0), abs=1e-12)
    assert along_and_across_m(right, truth) == pytest.approx((0.0, 0.5), abs=1e-12)
    assert published_longitudinal_lateral_m(ahead, truth) == pytest.approx((0.0, 3.0), abs=1e-12)


finite = st.floats(-50, 50)


@given(finite, finite, finite, finite, st.floats(0, 359), st.floats(0, 359))
def test_directions_make_up_the_position_error(
    e1: float, n1: float, e2: float, n2: float, h1: float, h2: float
) -> None:
    row = record(Pose(e1, n1, h1), Pose(e2, n2, h2)).row()
    both = math.hypot(row["longitudinal_error_m"], row["lateral_error_m"])
    assert row["position_error_m"] == pytest.approx(both)
    assert row["position_error_m"] == pytest.approx(math.hypot(e1 - e2, n1 - n2), abs=1e-9)


def test_failures_are_misses_and_charged_with_the_worst() -> None:
    truth = Pose(10.0, -5.0, 0.0)
    estimates = [Pose(10.0, -5.0, 1.5), None, Pose(math.nan, 0.0, 0.0), Pose(10.5, -5.0, 0.0)]
    worst_m = worst_position_error_m(truth, 60.0, 40.0)
    assert worst_m == pytest.approx(math.hypot(40.0, 25.0))
    records = [record(e, truth, f"{i}", worst_m) for i, e in enumerate(estimates)]
    summary = summarize_records(records)["all"]
    assert (summary["n"], summary["failures"], summary["flip_rate"]) == (4, 2, 0.5)
    assert summary["recall_1m"] == summary["recall_10m"] == 0.5
    assert (summary["recall_1deg"], summary["recall_5deg"]) == (0.25, 0.5)
    assert summary["position_mean_m"] == pytest.approx((0.5 + 2 * worst_m) / 4)
    assert summarize_directions(records)["lateral_recall_5m"] == 0.5
    # Not even a tiny aerial image makes a failure a hit.
    tiny = [record(None, Pose(0, 0, 0), worst_m=0.1)]
    assert summarize_directions(tiny)["lateral_recall_1m"] == 0.0
    assert summarize_records(tiny)["all"]["recall_1m"] == 0.0
    assert published_vigor_summary(tiny) == {"num_samples": 0}
    assert published_kitti_summary(tiny) == {"num_samples": 0}


def test_recall_is_strict() -> None:
    records = [record(Pose(1, 0, 0), Pose(0, 0, 5))]
    summary = summarize_records(records)["all"]
    assert summary["recall_1m"] == summary["recall_5deg"] == 0.0
    assert summarize_directions(records)["lateral_recall_5m"] == 1.0


def test_groups_are_summarised_apart() -> None:
    truth = Pose(0, 0, 0)
    near = Record("a", "Chicago", truth, Pose(0.5, 0, 0), 9.0)
    far = Record("b", "Seattle", truth, Pose(7, 0, 0), 9.0)
    summary = summarize_records([near, far])
    assert (summary["all"]["recall_1m"], summary["Chicago"]["recall_1m"]) == (0.5, 1.0)
    assert summary["Seattle"]["recall_1m"] == 0.0
    assert list(summarize_records([near])) == ["all"]


def test_a_record_is_an_answer_or_a_failure() -> None:
    truth = Pose(0, 0, 0)
    with pytest.raises(ValueError, match="either"):
        Record("a", "g", truth, None, 1.0)
    with pytest.raises(ValueError, match="either"):
        Record("a", "g", truth, truth, 1.0, failure="but why")
    with pytest.raises(ValueError, match="finite"):
        Record("a", "g", truth, Pose(math.inf, 0, 0), 1.0)


def test_the_bootstrap_does_not_slow_down_with_the_square_of_the_set() -> None:
    errors = [record(Pose(i % 7, 0, 0), Pose(0, 0, 0), f"{i}").errors() for i in range(20_000)]
    start = time.process_time()
    low, high = summarize(errors)["interval_95"]["position_mean_m"]
    assert low < 3.0 < high
    assert time.process_time() - start < 15.0
