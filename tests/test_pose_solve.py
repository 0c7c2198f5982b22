"""RANSAC and the common call: fixture F9, synthetic lists, batches, priors."""

import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from loc2.errors import InputError
from loc2.frames import heading_difference_deg, heading_error_deg, heading_to_rotation
from loc2.pose.posterior import PosePrior
from loc2.pose.ransac import ransac, residuals_m, soft_inliers
from loc2.pose.similarity import weighted_similarity
from loc2.pose.solve import MatchList, Solver, solve
from loc2.pose.voting import vote
from tests.test_pose_similarity import from_published
from tests.test_pose_voting import CELL_M, scene

F9 = Path(__file__).parent / "fixtures" / "f9_ransac.npz"


def load_benchmark(name: str) -> ModuleType:
    path = Path(__file__).parents[1] / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


synthetic = load_benchmark("solver_synthetic")


def test_f9_inlier_scores() -> None:
    data = np.load(F9)
    # The fixture's rotation is by the published yaw, counter-clockwise: minus the heading.
    yaw = np.degrees(np.arctan2(data["score/R"][:, 1, 0], data["score/R"][:, 0, 0]))
    for threshold in (2.5, 5.0):
        for b in range(3):
            east_north = from_published(data["score/t"][b])[0]
            scale = float(data["score/scale"][b, 0, 0])
            pose = torch.tensor([[*east_north.tolist(), -float(yaw[b]), scale]])
            source = from_published(data["score/X0"][b])
            target = from_published(data["score/X1"][b])
            residual = residuals_m(source, target, pose)[0]
            soft = float(soft_inliers(residual, threshold).sum())
            assert soft == pytest.approx(data[f"score/soft_th{threshold}"][b, 0], abs=1e-3)
            hard = torch.from_numpy(data[f"score/hard_th{threshold}"][b]) > 0
            clear = (residual - threshold).abs() > 1e-4
            assert torch.equal((residual <= threshold)[clear], hard[clear])


def f9_matches(b: int, count: int = 2000) -> MatchList:
    data = np.load(F9)
    probability = torch.from_numpy(data["ransac/matching_score_f16"][b].astype(np.float32))
    weights, index = probability.reshape(-1).topk(count)
    ground = index % probability.shape[1]
    source = from_published(data["ransac/grd_coord"][b])[ground]
    target = from_published(data["ransac/sat_coord"][0])[index // probability.shape[1]]
    return MatchList(source, target, weights)


@pytest.mark.parametrize("solver", ["ransac", "voting"])
@pytest.mark.parametrize("b", [0, 1])
def test_f9_accuracy(solver: Solver, b: int) -> None:
    data = np.load(F9)
    matches = f9_matches(b)
    found = solve(matches, half_size_m=(35.0, 35.0), solver=solver, scale=(0.5, 2.0))
    true = from_published(data["ransac/t_true"][b])[0]
    rotation = data["ransac/R_true"][b]
    heading = -math.degrees(math.atan2(rotation[1, 0], rotation[0, 0]))
    reference = from_published(data["ransac/t"][:, b, 0]) - true
    assert math.dist((found.pose.east_m, found.pose.north_m), true.tolist()) <= float(
        reference.norm(dim=1).max()
    )
    assert heading_error_deg(found.pose.heading_deg, heading) < 3.0
    assert found.pose.scale == pytest.approx(data["ransac/s_true"][b, 0, 0], rel=0.05)


@pytest.mark.parametrize("solver", ["ransac", "voting"])
@pytest.mark.parametrize("outliers", [0.5, 0.9])
def test_synthetic_lists(solver: Solver, outliers: float) -> None:
    trials = 6 if solver == "ransac" else 2
    result = synthetic.run(solver, trials, outliers=outliers, first_seed=1000)
    assert result["success"] == 1.0
    assert 0.5 < result["nees"] < 9.0  # the benchmark holds the tight bounds, on many trials


@pytest.mark.parametrize("solver", ["ransac", "voting"])
def test_a_repeated_street_is_among_the_hypotheses(solver: Solver) -> None:
    result = synthetic.run(solver, 2, outliers=0.55, structured=True, first_seed=2000)
    assert result["success"] == 1.0 and result["other found"] == 1.0


def test_ransac_does_not_depend_on_the_batch() -> None:
    trials = [synthetic.make_trial(seed, outliers=0.8).matches for seed in range(3)]
    stacked = [
        torch.stack([getattr(t, k) for t in trials]) for k in ("source", "target", "weights")
    ]
    options = {"half_size_m": (35.0, 35.0), "scale": (0.2, 5.0), "seed": 3}
    together = ransac(*stacked, **options)
    for b in range(3):
        alone = ransac(*(x[b : b + 1] for x in stacked), **options)[0]
        assert alone.pose == together[b].pose
        assert torch.equal(alone.probability, together[b].probability)


@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 10**6), turn_deg=st.floats(0, 359))
def test_equivariance_under_turns_of_the_aerial_side(seed: int, turn_deg: float) -> None:
    """Turn the targets about the window's centre: position and heading turn with them."""
    matches = synthetic.make_trial(seed, outliers=0.5).matches
    turn = heading_to_rotation(torch.tensor(turn_deg))
    turned = MatchList(matches.source, matches.target @ turn.T, matches.weights)
    options = {"half_size_m": (60.0, 60.0), "solver": "ransac", "scale": (0.2, 5.0)}
    first, second = solve(matches, **options), solve(turned, **options)
    moved = turn @ torch.tensor((first.pose.east_m, first.pose.north_m))
    assert math.dist(moved.tolist(), (second.pose.east_m, second.pose.north_m)) < 0.1
    assert (
        abs(heading_difference_deg(second.pose.heading_deg, first.pose.heading_deg + turn_deg))
        < 0.3
    )


def test_priors_bind_ransac() -> None:
    trial = synthetic.make_trial(7, outliers=0.5)
    prior = PosePrior(trial.heading_deg + 8.0, 10.0, trial.position_m, 5.0)
    found = solve(
        trial.matches, half_size_m=(35, 35), solver="ransac", scale=trial.scale, prior=prior
    )
    assert synthetic.hits(found.modes[0], trial.position_m, trial.heading_deg)
    opposite = PosePrior(trial.heading_deg + 180.0, 20.0)
    found = solve(
        trial.matches, half_size_m=(35, 35), solver="ransac", scale=trial.scale, prior=opposite
    )
    assert heading_error_deg(found.pose.heading_deg, trial.heading_deg + 180.0) <= 20.1


def test_procrustes_is_weighted_least_squares() -> None:
    trial = synthetic.make_trial(3, outliers=0.0)
    found = solve(trial.matches, half_size_m=(35, 35), solver="procrustes", scale="free")
    m = trial.matches
    direct = weighted_similarity(m.source[None], m.target[None], m.weights[None])
    assert found.pose.east_m == pytest.approx(float(direct.translation[0, 0]), abs=1e-4)
    assert found.pose.heading_deg == pytest.approx(float(direct.heading_deg[0]), abs=1e-3)
    assert synthetic.hits(found.modes[0], trial.position_m, trial.heading_deg)
    assert found.inlier.float().mean() > 0.95
    assert synthetic.nees(found.modes[0], trial) < 20


def test_bad_input_is_refused() -> None:
    matches = synthetic.make_trial(0, outliers=0.0).matches
    with pytest.raises(ValueError, match="unknown solver"):
        solve(matches, half_size_m=(35, 35), solver="magic")  # type: ignore[arg-type]
    empty = MatchList(matches.source, matches.target, torch.zeros_like(matches.weights))
    with pytest.raises(InputError, match="at least two"):
        solve(empty, half_size_m=(35, 35), solver="ransac")


def test_nothing_is_created_away_from_the_inputs() -> None:
    """Every tensor made on the way names its device: on "meta" nothing could be computed."""
    trial = synthetic.make_trial(0, outliers=0.5)
    scores, bev, _, _ = scene(0, points=40)
    prior = PosePrior(30.0, 20.0, (0.0, 0.0), 10.0)
    with torch.device("meta"):
        for solver in ("ransac", "voting", "procrustes"):
            found = solve(trial.matches, half_size_m=(35, 35), solver=solver, scale=(0.5, 2.0))
            assert found.posterior.probability.device.type == "cpu"
        voted = vote(scores, bev, cell_size_m=CELL_M, scale=(0.8, 1.2), prior=prior)
        assert voted.heatmap(4, 4, (36.0, 36.0)).device.type == "cpu"
        assert voted.heading_histogram(8).device.type == "cpu"
