"""The published losses: parity with fixture F3, and their properties."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from loc2.training.weak_losses import bev_distance_loss, pose_infonce, virtual_points

F3 = np.load(Path(__file__).parent / "fixtures" / "f3_losses.npz")


def _tensor(name: str) -> Tensor:
    return torch.from_numpy(F3[name])


def _infonce(
    scores: Tensor, scale: Tensor | float, translation: Tensor, **changes: object
) -> Tensor:
    arguments: dict[str, object] = {
        "aerial_m": _tensor("sat_coord"),
        "ground": _tensor("grd_coord"),
        "sampled": (_tensor("sampled_row"), _tensor("sampled_col")),
        "true_rotation": _tensor("R_gt"),
        "true_translation": translation[:, 0],
        "scale": scale,
        "keep_m": float(F3["grid_size"]) / int(F3["sat_bev_res"]),
        "mask": _tensor("mask"),
    }
    return pose_infonce(scores, **{**arguments, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("case", ["ones", "varied", "far"])
def test_infonce_equals_the_reference(case: str) -> None:
    scores = _tensor("matching_score_original").requires_grad_()
    scale = _tensor("infonce/ones/scale" if case == "far" else f"infonce/{case}/scale")[:, 0, 0]
    translation = _tensor("infonce/far/t_gt" if case == "far" else "t_gt")
    values = _infonce(scores, scale, translation)
    values.mean().backward()
    np.testing.assert_allclose(values.detach(), F3[f"infonce/{case}/value_per_sample"], atol=2e-5)
    assert scores.grad is not None
    np.testing.assert_allclose(scores.grad, F3[f"infonce/{case}/grad_of_mean"], atol=1e-6)


def test_a_batch_never_changes_a_sample() -> None:
    scores, scale = _tensor("matching_score_original"), _tensor("infonce/varied/scale")[:, 0, 0]
    together = _infonce(scores, scale, _tensor("t_gt"))
    for k in range(2):
        alone = pose_infonce(
            scores[k : k + 1],
            _tensor("sat_coord")[k : k + 1],
            _tensor("grd_coord")[k : k + 1],
            (_tensor("sampled_row")[k : k + 1], _tensor("sampled_col")[k : k + 1]),
            _tensor("R_gt")[k : k + 1],
            _tensor("t_gt")[k : k + 1, 0],
            scale[k : k + 1],
            keep_m=30 / 9,
        )
        torch.testing.assert_close(alone[0], together[k])


def test_relative_depth_changes_nothing_when_its_scale_is_known() -> None:
    scores = _tensor("matching_score_original")
    metric = _infonce(scores, 1.0, _tensor("t_gt"))
    relative = _infonce(scores, 7.0, _tensor("t_gt"), ground=_tensor("grd_coord") / 7)
    torch.testing.assert_close(metric, relative, atol=1e-4, rtol=1e-4)


def test_bev_distance_equals_the_reference() -> None:
    rotation = _tensor("bev/R_pred").requires_grad_()
    translation = _tensor("bev/t_pred").requires_grad_()
    points = _tensor("bev/virtual_points")[0]
    values = bev_distance_loss(
        rotation, translation[:, 0], _tensor("R_gt"), _tensor("t_gt")[:, 0], points
    )
    values.mean().backward()
    assert rotation.grad is not None and translation.grad is not None
    np.testing.assert_allclose(values.detach(), F3["bev/value_per_sample"], atol=2e-5)
    np.testing.assert_allclose(rotation.grad, F3["bev/grad_R_of_mean"], atol=1e-6)
    np.testing.assert_allclose(translation.grad, F3["bev/grad_t_of_mean"], atol=1e-6)
    own = {tuple(p) for p in virtual_points().round(decimals=4).tolist()}
    assert own == {tuple(p) for p in points.round(decimals=4).tolist()}


def test_equal_poses_have_no_distance_and_a_finite_gradient() -> None:
    rotation, translation = _tensor("R_gt").requires_grad_(), _tensor("t_gt")[:, 0].clone()
    translation.requires_grad_()
    values = bev_distance_loss(
        rotation, translation, _tensor("R_gt"), _tensor("t_gt")[:, 0], virtual_points()
    )
    values.sum().backward()
    assert torch.equal(values, torch.zeros(2))
    assert rotation.grad is not None and torch.equal(rotation.grad, torch.zeros(2, 2, 2))
    assert translation.grad is not None and torch.equal(translation.grad, torch.zeros(2, 2))
