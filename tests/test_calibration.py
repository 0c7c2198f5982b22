"""Calibration metrics against plain definitions; the confidence model against known truths."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from loc2.errors import WeightsError
from loc2.evaluation.calibration import (
    auroc,
    calibrate_rows,
    calibration_summary,
    expected_calibration_error,
    radius_coverage,
    reliability,
    risk_coverage,
)
from loc2.pose.confidence import (
    NAMES,
    UNCALIBRATED,
    ConfidenceModel,
    Statistics,
    fit_confidence,
    statistics,
)
from loc2.pose.voting import vote
from tests.test_pose_voting import CELL_M, CELLS, scene

samples = st.lists(st.tuples(st.integers(0, 10), st.booleans()), min_size=2, max_size=40)


@settings(deadline=None)
@given(samples)
def test_auroc_is_the_share_of_ordered_pairs(rows: list[tuple[int, bool]]) -> None:
    confidence, correct = [c / 10 for c, _ in rows], [r for _, r in rows]
    pairs = [
        1.0 if a > b else 0.5 if a == b else 0.0
        for (a, x), (b, y) in itertools.product(zip(confidence, correct, strict=True), repeat=2)
        if x and not y
    ]
    if pairs:
        assert auroc(confidence, correct) == pytest.approx(sum(pairs) / len(pairs))
    else:
        assert math.isnan(auroc(confidence, correct))


def test_calibration_error_of_known_tables() -> None:
    confidence = [0.85] * 10 + [0.25] * 10
    assert expected_calibration_error(confidence, [True] * 8 + [False] * 2 + [False] * 10) == (
        pytest.approx((0.05 + 0.25) / 2)
    )
    rows = reliability([0.0, 1.0, 1.0], [False, True, False])
    assert [(row.count, row.accuracy) for row in rows] == [(1, 0.0), (2, 0.5)]


@settings(deadline=None)
@given(samples)
def test_risk_coverage_is_what_a_threshold_gives(rows: list[tuple[int, bool]]) -> None:
    confidence, correct = np.array([c / 10 for c, _ in rows]), np.array([r for _, r in rows])
    curve = risk_coverage(confidence, correct)
    order = np.argsort(-confidence, kind="stable")
    for k, threshold in enumerate(confidence[order]):
        assert curve.risk[k] == pytest.approx(1 - correct[confidence >= threshold].mean())
    assert curve.coverage[-1] == 1.0


def test_summary_and_refusals() -> None:
    summary = calibration_summary(
        [0.9, 0.8, 0.2], [True, True, False], radius_m=[1, 2, 3], position_error_m=[0.5, 3, 3]
    )
    assert summary["auroc"] == 1.0 and summary["wrong"] == 1
    assert summary["radius_coverage"] == pytest.approx(2 / 3)
    assert summary["risk_at_coverage"]["50"] == 0.0
    with pytest.raises(ValueError, match=r"not in \[0, 1\]"):
        auroc([1.5], [True])
    with pytest.raises(ValueError, match="as many"):
        radius_coverage([1.0], [])


def drawn(count: int, seed: int) -> tuple[list[Statistics], list[bool], list[float]]:
    """Statistics with a known law: the logit of being right and the error's size are linear."""
    rng = np.random.default_rng(seed)
    raw = rng.standard_normal((count, len(NAMES)))
    logit = 0.8 + 1.5 * raw[:, 0] - 1.0 * raw[:, 2]
    right = rng.random(count) < 1 / (1 + np.exp(-logit))
    error = np.exp(0.5 * raw[:, 2] + 0.4 * rng.standard_normal(count))
    return [Statistics(*row) for row in raw.tolist()], right.tolist(), error.tolist()


def test_the_fit_is_calibrated_on_new_data() -> None:
    model = fit_confidence(*drawn(800, 0), fitted_on="synthetic")
    found, correct, error = drawn(2000, 1)
    confidence = [model.confidence(row) for row in found]
    assert expected_calibration_error(confidence, correct) < 0.05
    assert auroc(confidence, correct) > 0.8
    assert 0.87 < radius_coverage([model.radius_m(row) for row in found], error) < 0.93
    assert model.calibrated and not UNCALIBRATED.calibrated
    assert ConfidenceModel.from_json(model.to_json()) == model
    assert model.abstains(0.4) and not model.abstains(0.6)


def test_statistics_that_tell_nothing_are_left_out() -> None:
    model = fit_confidence(*drawn(800, 3), fitted_on="synthetic")
    assert {NAMES[0], NAMES[2]} <= set(model.names)
    assert len(model.names) <= len(NAMES) // 2
    assert len(model.names) == len(model.coefficients) == len(model.radius_coefficients)


def test_only_candidates_are_chosen() -> None:
    chosen = (NAMES[2], NAMES[5], NAMES[7])
    model = fit_confidence(*drawn(800, 3), fitted_on="synthetic", candidates=chosen)
    assert set(model.names) <= set(chosen) and NAMES[2] in model.names
    with pytest.raises(ValueError, match="candidates: nonsense"):
        fit_confidence(*drawn(30, 0), fitted_on="", candidates=("peak_mass", "nonsense"))
    with pytest.raises(ValueError, match="candidates: none"):
        fit_confidence(*drawn(30, 0), fitted_on="", candidates=())


def test_what_is_no_probability_only_ranks() -> None:
    rows = [
        {"group": "a", "position_error_m": m, "heading_error_deg": 1.0, "confidence": 0.5}
        for m in (1.0, 20.0)
    ]
    assert "expected_calibration_error" in calibrate_rows(rows)["all"]
    ranked = calibrate_rows(rows, probable=False)["all"]
    assert ranked.keys().isdisjoint({"expected_calibration_error", "reliability"})
    assert ranked["auroc"] == 0.5


def test_places_stay_in_one_fold() -> None:
    """The same sample fifty times is one place: the penalty cannot profit from copies."""
    found, correct, error = drawn(40, 2)
    groups = list(range(40)) * 50
    copies = (found * 50, correct * 50, error * 50)
    apart = fit_confidence(*copies, fitted_on="", groups=groups)
    leaking = fit_confidence(*copies, fitted_on="")
    assert apart.samples == leaking.samples == 2000
    # Copies in all folds make everything look as if it helped.
    assert len(apart.names) < len(leaking.names)


def test_bad_models_and_data_are_refused() -> None:
    with pytest.raises(WeightsError, match="confidence model"):
        ConfidenceModel.from_json("{")
    with pytest.raises(WeightsError, match="as many means"):
        ConfidenceModel.from_json(UNCALIBRATED.to_json().replace('"mean":[0.0,0.0]', '"mean":[]'))
    found, _, error = drawn(30, 0)
    with pytest.raises(ValueError, match="right and wrong"):
        fit_confidence(found, [True] * 30, error, fitted_on="")


def test_statistics_tell_a_found_pose_from_chance() -> None:
    scores, bev, _, _ = scene(0)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(scores.shape, generator=generator) * 0.3
    half = (CELLS * CELL_M / 2,) * 2
    results = []
    for evidence in (scores, noise):
        found = vote(evidence, bev, cell_size_m=CELL_M, temperature=5.0)
        inlier = torch.arange(len(bev)) % 2 == 0
        results.append(
            statistics(
                found,
                source=bev,
                weights=torch.full((len(bev),), 0.4),
                inlier=inlier,
                half_size_m=half,
            )
        )
    good, bad = results
    assert good.peak_mass > bad.peak_mass and good.peak_height > bad.peak_height
    assert good.evidence > bad.evidence
    assert good.spread_m < bad.spread_m and good.second_mode < bad.second_mode
    assert good.inlier_share == pytest.approx(0.5, abs=0.01)
    assert good.azimuth_spread > 0.7 and 0 < good.inside <= 1
    assert UNCALIBRATED.confidence(good) > 0.9 > UNCALIBRATED.confidence(bad)
    assert UNCALIBRATED.radius_m(good) < UNCALIBRATED.radius_m(bad)
    assert all(math.isfinite(v) for v in (*good.vector().tolist(), *bad.vector().tolist()))


def test_rows_of_results_are_judged_by_what_is_known_of_them() -> None:
    def row(group: str, position_m: float | None, counts: bool = True) -> dict[str, object]:
        return {
            "group": group,
            "position_error_m": position_m,
            "heading_error_deg": None if position_m is None else 3.0,
            "confidence": None if position_m is None else 1.0 / (1.0 + position_m),
            "radius_90_m": None if position_m is None else 4.0,
            "position_counts": counts,
        }

    rows = [row("a", 1.0), row("a", 7.0), row("a", None), row("b", 7.0, False), row("b", 2.0)]
    found = calibrate_rows(rows)
    # Nominal positions count as right within 10 m, and their radius is not judged.
    assert [found[g]["wrong"] for g in ("all", "a", "b")] == [2, 2, 0]
    assert found["all"]["radius_coverage"] == pytest.approx(2 / 3)
    assert found["b"]["radius_coverage"] == 1.0
    assert found["b"]["auroc"] is None  # none is wrong
    assert calibrate_rows([row("a", None)]) == {}
