"""Losses over cells: against plain references, per sample, with safe gradients."""

import math

import numpy as np
import pytest
import torch

from loc2.frames import heading_to_rotation
from loc2.training.cells import batch_of, join_cells
from loc2.training.losses import (
    cell_coordinates,
    correspondence_loss,
    depth_loss,
    masked_mean,
    pose_scores,
    validity_loss,
    voting_loss,
)
from loc2.training.poses import PoseSampling, sample_poses
from tests.training_run import invented_cells


def _unit(*shape: int, seed: int = 0, dim: int) -> torch.Tensor:
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(values, dim=dim)


def test_cell_coordinates_have_half_cells() -> None:
    corner = torch.tensor([[[-10.0, 6.0]]])  # upper left corner of a 4 x 2.4 m window of 5 x 3
    at = cell_coordinates(corner, torch.tensor([4.0]), 3, 5)
    assert torch.equal(at, torch.tensor([[[0.0, 0.0]]]))


def test_correspondence_loss_at_cell_centres_is_plain_infonce() -> None:
    ground, aerial = _unit(1, 3, 8, dim=2), _unit(1, 8, 4, 5, seed=1, dim=1)
    target = torch.tensor([[[0.5, 0.5], [3.5, 2.5], [4.5, 0.5]]])
    mask = torch.tensor([[True, True, True]])
    found = correspondence_loss(ground, aerial, target, mask, 0.1)
    g, a = ground[0].double().numpy(), aerial[0].double().numpy()
    expected = []
    spots = [(0, 0), (2, 3), (0, 4)]
    for k, (row, col) in enumerate(spots):
        over_cells = np.einsum("d,dhw->hw", g[k], a) / 0.1
        over_points = g @ a[:, row, col] / 0.1
        expected.append(np.log(np.exp(over_cells).sum()) - over_cells[row, col])
        expected.append(np.log(np.exp(over_points).sum()) - over_points[k])
    assert found.item() == pytest.approx(np.mean(expected), rel=1e-5)


def test_points_outside_or_masked_or_too_near_do_not_count() -> None:
    ground, aerial = _unit(1, 4, 8, dim=2), _unit(1, 8, 4, 5, seed=1, dim=1)
    target = torch.tensor([[[1.0, 1.0], [3.0, 3.0], [40.0, 1.0], [2.0, 2.0]]])
    mask = torch.tensor([[True, True, True, False]])
    alone = correspondence_loss(ground[:, :2], aerial, target[:, :2], mask[:, :2], 0.1)
    torch.testing.assert_close(correspondence_loss(ground, aerial, target, mask, 0.1), alone)
    same = target.clone()
    same[:, 1] = target[:, 0] + 0.3
    near = correspondence_loss(ground[:, :2], aerial, same[:, :2], mask[:, :2], 0.1)
    single = [
        correspondence_loss(ground[:, k : k + 1], aerial, same[:, k : k + 1], mask[:, :1], 0.1)
        for k in range(2)
    ]
    torch.testing.assert_close(near, sum(single) / 2)
    nothing = correspondence_loss(ground, aerial, target, torch.zeros_like(mask), 0.1)
    assert nothing.item() == 0


def test_correspondence_gradient_is_finite_with_nothing_to_learn() -> None:
    ground = _unit(2, 4, 8, dim=2).requires_grad_()
    aerial = _unit(2, 8, 4, 5, seed=1, dim=1)
    mask = torch.tensor([[False] * 4, [True] * 4])
    loss = correspondence_loss(ground, aerial, torch.full((2, 4, 2), 2.0), mask, 0.07)
    loss.sum().backward()
    assert ground.grad is not None and torch.isfinite(ground.grad).all()
    assert (ground.grad[0] == 0).all() and (ground.grad[1] != 0).any()


def test_pose_scores_equal_a_loop_over_points() -> None:
    rng = np.random.default_rng(3)
    evidence = torch.from_numpy(rng.standard_normal((2, 6, 8, 9)).astype(np.float32))
    weight = torch.from_numpy(rng.random((2, 6)).astype(np.float32))
    bev = torch.from_numpy(rng.uniform(-4, 4, (2, 6, 2)).astype(np.float32))
    position = torch.from_numpy(rng.uniform(-8, 8, (2, 5, 2)).astype(np.float32))
    heading = torch.from_numpy(rng.uniform(0, 360, (2, 5)).astype(np.float32))
    size = torch.tensor([2.0, 1.5])
    found = pose_scores(evidence, weight, bev, position, heading, size)
    for b in range(2):
        for p in range(5):
            total = 0.0
            for g in range(6):
                east, north = heading_to_rotation(heading[b, p]) @ bev[b, g] + position[b, p]
                col = float(east / size[b]) + 4.5 - 0.5
                row = 4.0 - float(north / size[b]) - 0.5
                value = 0.0
                for i in (math.floor(row), math.floor(row) + 1):
                    for j in (math.floor(col), math.floor(col) + 1):
                        if 0 <= i < 8 and 0 <= j < 9:
                            share = (1 - abs(row - i)) * (1 - abs(col - j))
                            value += share * float(evidence[b, g, i, j])
                total += float(weight[b, g]) * value
            assert float(found[b, p]) == pytest.approx(total, abs=2e-4)


def test_the_true_pose_scores_best_on_true_evidence() -> None:
    cells = join_cells([batch_of(invented_cells(k)) for k in range(4)])
    generator = torch.Generator().manual_seed(0)
    positions, headings = sample_poses(cells, PoseSampling(jitter_m=0, jitter_deg=0), generator)
    assert torch.equal(positions[:, 0], cells.position_m)
    ground = torch.nn.functional.normalize(cells.ground, dim=1)
    aerial = torch.nn.functional.normalize(cells.aerial, dim=1)
    evidence = torch.einsum("bdg,bdhw->bghw", ground.flatten(2), aerial)
    evidence = evidence - evidence.mean((-2, -1), keepdim=True)
    weight = torch.full((4, evidence.shape[1]), 1 / evidence.shape[1])
    bev = cells.points_m[:, :2].flatten(2).transpose(1, 2)
    scores = pose_scores(evidence, weight, bev, positions, headings, cells.cell_size_m)
    assert (scores.argmax(1) == 0).all()
    assert (voting_loss(scores, 1000.0) < 0.1).all()
    assert (voting_loss(scores, 1000.0) >= 0).all()


def test_wrong_poses_are_wrong() -> None:
    cells = join_cells([batch_of(invented_cells(k)) for k in range(4)])
    config = PoseSampling(jitter_m=0, jitter_deg=0, random=0)
    positions, headings = sample_poses(cells, config, torch.Generator().manual_seed(1))
    away = (positions[:, 1:] - cells.position_m[:, None]).norm(dim=-1)
    turn = torch.remainder(headings[:, 1:] - cells.heading_deg[:, None] + 180, 360) - 180
    assert ((away >= config.near_min_m - 1e-4) | (turn.abs() >= config.near_min_deg - 1e-3)).all()


def test_depth_loss_is_the_mean_of_both_relative_errors_within_the_mask() -> None:
    truth = torch.rand(2, 3, 4, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(2, 3, 4, dtype=torch.bool)
    mask[:, 0] = False
    for ratio, expected in (
        (1.5, 0.5),
        (0.8, (0.25 + 0.2) / 2),
        (0.4, (1.0 + 0.6) / 2 + math.log(1.25)),
        (2.0, 1.0),
        (8.0, 1.0 + 2 * math.log(4)),
    ):
        predicted = truth + math.log(ratio)
        predicted[:, 0] = float("nan")
        loss = depth_loss(predicted, truth, mask)
        torch.testing.assert_close(loss, torch.full((2,), expected))
    assert torch.equal(depth_loss(predicted, truth, torch.zeros_like(mask)), torch.zeros(2))


def test_depth_loss_pulls_far_too_great_ranges_back() -> None:
    predicted = torch.full((1, 2, 2), 5.0, requires_grad=True)
    mask = torch.ones(1, 2, 2, dtype=torch.bool)
    (gradient,) = torch.autograd.grad(
        depth_loss(predicted, torch.zeros(1, 2, 2), mask).sum(), predicted
    )
    assert (gradient > 0).all()


def test_validity_loss_and_masked_mean() -> None:
    logit = torch.tensor([[[20.0, -20.0]], [[0.0, 0.0]]])
    valid = torch.tensor([[[True, False]], [[True, False]]])
    torch.testing.assert_close(validity_loss(logit, valid), torch.tensor([0.0, math.log(2)]))
    values = torch.tensor([[1.0, float("nan")], [2.0, 4.0]])
    mask = torch.tensor([[True, False], [True, True]])
    assert torch.equal(masked_mean(values, mask), torch.tensor([1.0, 3.0]))
