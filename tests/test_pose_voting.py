"""Voting against brute force, known poses, priors and symmetric scenes."""

import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

from loc2.frames import (
    aerial_px_to_m,
    cell_centers_px,
    heading_difference_deg,
    heading_error_deg,
    local_to_aerial,
)
from loc2.pose.evidence import DenseEvidence, log_likelihood_ratio
from loc2.pose.posterior import PosePrior
from loc2.pose.voting import PoseGrid, vote

CELLS, CELL_M = 36, 2.0
WINDOW_M = CELLS * CELL_M


def scene(
    seed: int, *, points: int = 250, outliers: float = 0.5, spread: float = 0.6
) -> tuple[Tensor, Tensor, float, Tensor]:
    """Return scores, ground points, and the heading and position behind them."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    distance, azimuth = 30 * uniform(points).sqrt(), 2 * math.pi * uniform(points)
    bev = torch.stack((distance * azimuth.sin(), distance * azimuth.cos()), -1)
    heading = 360 * uniform(1)
    position = (uniform(1, 2) - 0.5) * WINDOW_M * spread
    target = local_to_aerial(bev, heading, position)[0]
    target = target + 0.5 * torch.randn(points, 2, generator=generator)
    wrong = uniform(points) < outliers
    target = torch.where(wrong[:, None], (uniform(points, 2) - 0.5) * WINDOW_M, target)
    centres = aerial_px_to_m(cell_centers_px(CELLS, CELLS, CELLS, CELLS), CELLS, CELLS, CELL_M)
    squared = (centres - target[:, None, None]).square().sum(-1)
    logits = 4 * torch.exp(-squared / (2 * CELL_M**2))
    logits = logits + 0.7 * torch.randn(logits.shape, generator=generator)
    share = 0.7 * logits.flatten(1).softmax(1).reshape(logits.shape)
    scores = log_likelihood_ratio(share, torch.full((points,), 0.3))
    return scores, bev, float(heading), position[0]


def brute_force(scores: Tensor, bev: Tensor, poses: Tensor) -> list[float]:
    """The definition, one interpolation after the other."""
    rows, cols = scores.shape[1:]
    result = []
    for pose in poses:
        total = 0.0
        points = local_to_aerial(bev, pose[2], pose[:2], pose[3])
        for g, (east, north) in enumerate(points.tolist()):
            col = (east + cols * CELL_M / 2) / CELL_M - 0.5
            row = (rows * CELL_M / 2 - north) / CELL_M - 0.5
            for r in (math.floor(row), math.floor(row) + 1):
                for c in (math.floor(col), math.floor(col) + 1):
                    if 0 <= r < rows and 0 <= c < cols:
                        share = (1 - abs(r - row)) * (1 - abs(c - col))
                        total += share * float(scores[g, r, c])
        result.append(total)
    return result


def test_evidence_and_votes_equal_the_definition() -> None:
    scores, bev, _, _ = scene(0, points=20)
    bev[0] *= 10  # a point outside the window
    evidence = DenseEvidence(scores, bev, cell_size_m=CELL_M, max_votes=10**6)
    grid = PoseGrid.over(evidence.half_size_m, PosePrior(), 90.0, CELL_M)
    index = torch.randperm(grid.size, generator=torch.Generator().manual_seed(1))[:40]
    poses = grid.poses(index, 1.0)
    expected = torch.tensor(brute_force(scores, bev, poses))
    torch.testing.assert_close(evidence.score(poses), expected, atol=1e-3, rtol=1e-4)
    positive = DenseEvidence(scores.clamp(min=0), bev, cell_size_m=CELL_M, max_votes=10**6)
    counted = grid.count(positive.votes, 1.0).reshape(-1)[index]
    torch.testing.assert_close(counted, positive.score(poses), atol=1e-3, rtol=1e-4)
    assert positive.dropped == pytest.approx(0.0, abs=1e-6)


def test_squares_of_cells_vote_and_cells_score() -> None:
    scores, bev, _, _ = scene(1, points=60)
    evidence = DenseEvidence(scores, bev, cell_size_m=CELL_M, parts=3, max_votes=900)
    squares = scores.reshape(60, CELLS // 3, 3, CELLS // 3, 3).mean(dim=(2, 4))
    coarse = DenseEvidence(squares, bev, cell_size_m=3 * CELL_M, max_votes=900)
    assert evidence.resolution_m == coarse.resolution_m == 3 * CELL_M
    assert evidence.half_size_m == coarse.half_size_m
    assert evidence.dropped == pytest.approx(coarse.dropped)
    assert len(evidence.votes.value) == 900
    torch.testing.assert_close(vars(evidence.votes), vars(coarse.votes))
    generator = torch.Generator().manual_seed(2)
    poses = torch.rand(30, 4, generator=generator) * torch.tensor([40.0, 40.0, 360.0, 0.0])
    poses += torch.tensor([-20.0, -20.0, 0.0, 1.0])
    exact = DenseEvidence(scores, bev, cell_size_m=CELL_M)
    torch.testing.assert_close(evidence.score(poses), exact.score(poses))
    torch.testing.assert_close(evidence.background(poses), coarse.background(poses))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("outliers", "parts"), [(0.5, 1), (0.8, 1), (0.5, 2)])
def test_finds_the_pose(seed: int, outliers: float, parts: int) -> None:
    scores, bev, heading, position = scene(seed, outliers=outliers)
    found = vote(scores, bev, cell_size_m=CELL_M, parts=parts)
    assert math.dist((found.pose.east_m, found.pose.north_m), position.tolist()) < 1.0
    assert heading_error_deg(found.pose.heading_deg, heading) < 2.0
    assert found.modes[0].mass > 0.9
    kept = float(found.probability.sum())
    assert kept + found.dropped_mass == pytest.approx(1.0, abs=1e-6)
    assert torch.linalg.eigvalsh(found.covariance).min() > 0
    assert found.heatmap(36, 36, (36.0, 36.0)).sum() == pytest.approx(kept)
    assert found.mass_within(found.pose, 5.0, 10.0) > 0.9


@pytest.mark.parametrize("scale", ["free", (0.3, 1.2)])
def test_finds_an_unknown_scale(scale: object) -> None:
    scores, bev, heading, position = scene(5)
    found = vote(scores, bev * 2.0, cell_size_m=CELL_M, scale=scale)  # type: ignore[arg-type]
    assert found.pose.scale == pytest.approx(0.5, rel=0.03)
    assert math.dist((found.pose.east_m, found.pose.north_m), position.tolist()) < 1.0
    assert heading_error_deg(found.pose.heading_deg, heading) < 2.0


def test_same_inputs_same_answer() -> None:
    scores, bev, _, _ = scene(1)
    first, second = (vote(scores, bev, cell_size_m=CELL_M) for _ in range(2))
    assert first.modes[0].pose == second.modes[0].pose
    assert torch.equal(first.probability, second.probability)


def test_a_symmetric_scene_has_two_modes() -> None:
    """Two copies of the street 14 m apart: both are found, with honest masses."""
    scores, bev, heading, position = scene(2, outliers=0.0, spread=0.05)
    both = torch.zeros_like(scores)
    both[:, :, 4:] = scores[:, :, :-4]
    both[:, :, :-3] = torch.maximum(both[:, :, :-3], scores[:, :, 3:])
    found = vote(both, bev, cell_size_m=CELL_M, temperature=20.0)
    places = [(m.pose.east_m - float(position[0]), m.pose.heading_deg) for m in found.modes[:2]]
    assert sorted(round(east / CELL_M) for east, _ in places) == [-3, 4]
    assert all(heading_error_deg(turn, heading) < 2 for _, turn in places)
    assert all(mode.mass > 0.05 for mode in found.modes[:2])


def test_priors_narrow_the_search() -> None:
    scores, bev, heading, position = scene(3)
    centre = (float(position[0]) + 3.0, float(position[1]) - 2.0)
    prior = PosePrior(heading + 7.0, 10.0, centre, 6.0)
    found = vote(scores, bev, cell_size_m=CELL_M, prior=prior)
    everywhere = vote(scores, bev, cell_size_m=CELL_M)
    assert found.searched < everywhere.searched / 20
    assert math.dist((found.pose.east_m, found.pose.north_m), position.tolist()) < 0.7
    away = vote(scores, bev, cell_size_m=CELL_M, prior=PosePrior(heading + 90.0, 20.0))
    for mode in away.modes:
        turn = heading_difference_deg(mode.pose.heading_deg, heading + 90.0)
        assert abs(turn) <= 20.1
    with pytest.raises(ValueError, match="outside the aerial image"):
        vote(
            scores,
            bev,
            cell_size_m=CELL_M,
            prior=PosePrior(position_m=(500.0, 0.0), position_radius_m=5.0),
        )


@given(
    half_m=st.tuples(st.floats(5.0, 50.0), st.floats(5.0, 50.0)),
    radius_m=st.floats(0.01, 200.0),
    towards=st.floats(0.0, 2 * math.pi),
    share=st.floats(0.0, 1.5),
    step_m=st.sampled_from([0.7, 1.4, 3.2]),
)
def test_a_circle_that_meets_the_window_leaves_a_position_in_both(
    half_m: tuple[float, float], radius_m: float, towards: float, share: float, step_m: float
) -> None:
    """However little of the circle reaches into the window, and over a corner too."""
    centre = tuple(
        share * (half + radius_m) * turn
        for half, turn in zip(half_m, (math.sin(towards), math.cos(towards)), strict=True)
    )
    prior = PosePrior(position_m=(centre[0], centre[1]), position_radius_m=radius_m)
    nearest = [min(max(c, -half), half) for c, half in zip(centre, half_m, strict=True)]
    gap_m = math.dist(centre, nearest) - radius_m
    assume(abs(gap_m) > 1e-3)
    if gap_m > 0:
        with pytest.raises(ValueError, match="outside the aerial image"):
            PoseGrid.over(half_m, prior, 90.0, step_m)
        return
    grid = PoseGrid.over(half_m, prior, 90.0, step_m)
    poses = grid.poses(torch.arange(grid.size), 1.0)
    allowed = torch.isfinite(prior.log_factor(poses))
    assert allowed.any()
    volume = torch.zeros(len(grid.headings_deg), grid.rows, grid.cols) + grid.log_prior(
        prior, torch.device("cpu")
    )
    peaks, scores = grid.maxima(volume, 1.0, count=8)
    assert len(peaks) >= 1 and torch.isfinite(scores).all()
    assert torch.isfinite(prior.log_factor(peaks)).all()
    assert (poses[:, :2].abs() <= torch.tensor(half_m) + 1e-3).all()


def test_a_prior_over_a_corner_of_the_window_is_searched_there() -> None:
    scores, bev, _, _ = scene(3)
    prior = PosePrior(position_m=(50.0, 50.0), position_radius_m=21.0)
    found = vote(scores, bev, cell_size_m=CELL_M, prior=prior)
    assert math.dist((found.pose.east_m, found.pose.north_m), (50.0, 50.0)) <= 21.01
    assert 34 < found.pose.east_m < 36.01 and 34 < found.pose.north_m < 36.01


def test_a_prior_on_the_scale_weighs_it_against_the_evidence() -> None:
    scores, bev, _, _ = scene(5)

    def found_scale(sigma: float | None) -> float:
        prior = PosePrior(log_scale_sigma=sigma)
        found = vote(scores, bev / 1.15, cell_size_m=CELL_M, scale=(0.8, 1.25), prior=prior)
        return found.pose.scale

    assert found_scale(None) == pytest.approx(1.15, rel=0.02)
    assert found_scale(0.3) == pytest.approx(1.15, rel=0.02)
    assert found_scale(0.001) == pytest.approx(1.0, rel=0.01)


@pytest.mark.parametrize("wanted", [1.0, 1.18, 1.25, 1.4, 0.65])
def test_a_place_that_wants_a_scale_near_or_beyond_the_bounds_has_its_true_mass(
    wanted: float,
) -> None:
    bounds, prior = (0.8, 1.25), PosePrior(log_scale_sigma=0.1)
    bev = (torch.rand(40, 2, generator=torch.Generator().manual_seed(0)) - 0.5) * 24
    centres = aerial_px_to_m(cell_centers_px(CELLS, CELLS, CELLS, CELLS), CELLS, CELLS, CELL_M)
    places = [(-14.0, 3.0, 40.0, 1.0), (13.0, -6.0, 200.0, wanted)]
    scores = torch.zeros(len(bev), CELLS, CELLS)
    for east_m, north_m, heading_deg, scale in places:
        target = local_to_aerial(
            bev, torch.tensor(heading_deg), torch.tensor([east_m, north_m]), torch.tensor(scale)
        )
        squared = (centres - target[:, None, None]).square().sum(-1)
        scores = torch.maximum(scores, torch.exp(-squared / 18.0))
    found = vote(scores, bev, cell_size_m=CELL_M, scale=bounds, prior=prior)

    def log_mass(east_m: float, north_m: float) -> float:
        near = (found.poses[:, :2] - torch.tensor([east_m, north_m])).norm(dim=1) < 7
        return math.log(float(found.probability[near].sum()))

    def summed(east_m: float, north_m: float, heading_deg: float) -> float:
        shift_m, turn_deg = torch.linspace(-6, 6, 13), torch.linspace(-24, 24, 17)
        log_scale = torch.linspace(math.log(bounds[0]), math.log(bounds[1]), 17)
        ends = torch.where(torch.arange(17) % 16 == 0, 0.5, 1.0).log()
        poses = torch.cartesian_prod(
            shift_m + east_m, shift_m + north_m, turn_deg + heading_deg, log_scale.exp()
        )
        value = evidence.score(poses) + prior.log_factor(poses) + ends.repeat(13 * 13 * 17)
        return float(value.double().logsumexp(0))

    evidence = DenseEvidence(scores, bev, cell_size_m=CELL_M)
    first, second = places
    expected = summed(*second[:3]) - summed(*first[:3])
    assert log_mass(*second[:2]) - log_mass(*first[:2]) == pytest.approx(
        expected, abs=0.1 + 0.05 * abs(expected)
    )


@pytest.mark.parametrize("name", ["heading_sigma_deg", "position_sigma_m", "log_scale_sigma"])
def test_a_prior_without_width_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        PosePrior(**{name: 0.0})  # type: ignore[arg-type]


def test_no_evidence_gives_a_wide_posterior() -> None:
    bev = scene(0)[1]
    found = vote(torch.zeros(len(bev), CELLS, CELLS), bev, cell_size_m=CELL_M)
    assert found.modes[0].mass < 0.05
    assert found.dropped_mass > 0.5
