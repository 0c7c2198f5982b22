"""The closed-form similarity against singular value decomposition, fixture F2 and gradcheck."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from loc2.frames import heading_error_deg, heading_to_rotation, local_to_aerial
from loc2.pose.similarity import weighted_similarity

F2 = Path(__file__).parent / "fixtures" / "f2_procrustes.npz"


def from_published(points: np.ndarray) -> torch.Tensor:
    """Published (row down, column right) to (east, north); the same turn for (right, forward)."""
    return torch.from_numpy(np.stack((points[..., 1], -points[..., 0]), -1).copy())


def problem(seed: int, *, count: int = 20, dtype: torch.dtype = torch.float64):
    generator = torch.Generator().manual_seed(seed)
    source = torch.randn(3, count, 2, generator=generator, dtype=dtype) * 10
    heading = torch.rand(3, generator=generator, dtype=dtype) * 360
    position = torch.randn(3, 2, generator=generator, dtype=dtype) * 20
    scale = torch.rand(3, generator=generator, dtype=dtype) + 0.5
    weights = torch.rand(3, count, generator=generator, dtype=dtype)
    return source, heading, position, scale, weights


@pytest.mark.parametrize(
    "case", ["clean", "noisy", "outliers_weighted", "mirrored", "one_collinear", "three_points"]
)
@pytest.mark.parametrize("mode", ["w_mask", "w_nomask", "unweighted"])
@pytest.mark.parametrize("free", [True, False])
def test_f2(case: str, mode: str, free: bool) -> None:
    data = np.load(F2)
    source, target = from_published(data[f"{case}/A"]), from_published(data[f"{case}/B"])
    weights = torch.from_numpy(data[f"{case}/w"])
    key = f"{case}/{'scale' if free else 'noscale'}/{mode}"
    if mode == "unweighted":
        weights = torch.ones_like(weights)
    ok = torch.from_numpy(data[f"{key}/ok_rank"])
    found = weighted_similarity(source, target, weights, scale="free" if free else 1.0)
    rotation = torch.from_numpy(data[f"{key}/R"])  # the change of axes is a turn: R is unchanged
    translation = from_published(data[f"{key}/t"][:, 0])
    torch.testing.assert_close(found.rotation[ok], rotation[ok], atol=2e-5, rtol=0)
    torch.testing.assert_close(found.translation[ok], translation[ok], atol=2e-4, rtol=0)
    if free:
        scale = torch.from_numpy(data[f"{key}/s"][:, 0, 0])
        torch.testing.assert_close(found.scale[ok], scale[ok], atol=2e-5, rtol=0)


def test_f2_all_points_equal_is_invalid_and_finite() -> None:
    data = np.load(F2)
    found = weighted_similarity(
        from_published(data["all_degenerate_points/A"]),
        from_published(data["all_degenerate_points/B"]),
        torch.from_numpy(data["all_degenerate_points/w"]),
    )
    assert not found.valid.any()
    assert torch.isfinite(found.translation).all() and torch.isfinite(found.scale).all()


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10**6))
def test_agrees_with_scipy_and_umeyama(seed: int) -> None:
    """scipy's Kabsch in space, restricted to the plane, and Umeyama's scale."""
    source, heading, position, scale, weights = problem(seed)
    noise = torch.randn(source.shape, generator=torch.Generator().manual_seed(seed + 1))
    target = local_to_aerial(source, heading, position, scale) + 0.5 * noise
    found = weighted_similarity(source, target, weights)
    for b in range(3):
        w = (weights[b] / weights[b].sum()).numpy()
        p = source[b].numpy() - w @ source[b].numpy()
        q = target[b].numpy() - w @ target[b].numpy()
        u, singular, vt = np.linalg.svd((q * w[:, None]).T @ p)
        turn = np.diag([1.0, np.sign(np.linalg.det(u @ vt))])
        rotation = u @ turn @ vt
        np.testing.assert_allclose(found.rotation[b], rotation, atol=1e-9)
        factor = (singular * np.diag(turn)).sum() / (w @ (p**2).sum(1))
        assert found.scale[b].item() == pytest.approx(factor, abs=1e-9)
        # scipy is free to leave the plane, but does not where the planar optimum is proper.
        flat = np.zeros((len(w), 1))
        space, _ = Rotation.align_vectors(np.hstack((q, flat)), np.hstack((p, flat)), weights=w)
        np.testing.assert_allclose(space.as_matrix()[:2, :2], rotation, atol=1e-7)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10**6), dtype=st.sampled_from([torch.float32, torch.float64]))
def test_recovers_an_exact_similarity(seed: int, dtype: torch.dtype) -> None:
    source, heading, position, scale, weights = problem(seed, count=2, dtype=dtype)
    if (source[:, 0] - source[:, 1]).norm(dim=-1).min() < 0.1:
        return
    target = local_to_aerial(source, heading, position, scale)
    found = weighted_similarity(source, target, weights + 1e-3)
    assert found.valid.all() and found.scale.dtype == dtype
    tolerance = 1e-8 if dtype == torch.float64 else 5e-2
    torch.testing.assert_close(found.translation, position, atol=tolerance, rtol=0)
    for a, b in zip(found.heading_deg.tolist(), heading.tolist(), strict=True):
        assert heading_error_deg(a, b) < tolerance


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10**6), turn_deg=st.floats(0, 359), shift=st.floats(-50, 50))
def test_equivariance(seed: int, turn_deg: float, shift: float) -> None:
    source, heading, position, scale, weights = problem(seed)
    noise = torch.randn(source.shape, generator=torch.Generator().manual_seed(seed + 1))
    target = local_to_aerial(source, heading, position, scale) + noise
    first = weighted_similarity(source, target, weights)
    turn = heading_to_rotation(torch.tensor(turn_deg, dtype=torch.float64))
    second = weighted_similarity(source, target @ turn.T + shift, weights)
    torch.testing.assert_close(second.scale, first.scale)
    torch.testing.assert_close(second.translation, first.translation @ turn.T + shift)
    for a, b in zip(second.heading_deg.tolist(), first.heading_deg.tolist(), strict=True):
        assert heading_error_deg(a, b + turn_deg) < 1e-6


def test_bounds_are_the_exact_constrained_optimum() -> None:
    source, heading, position, _, weights = problem(3)
    target = local_to_aerial(source, heading, position, 2.0)
    bounded = weighted_similarity(source, target, weights, scale=(0.5, 1.5))
    fixed = weighted_similarity(source, target, weights, scale=1.5)
    torch.testing.assert_close(bounded.scale, torch.full_like(bounded.scale, 1.5))
    torch.testing.assert_close(bounded.translation, fixed.translation)


def test_gradcheck() -> None:
    source, heading, position, scale, weights = problem(1, count=6)
    target = local_to_aerial(source, heading, position, scale)
    target = target + torch.randn(source.shape, generator=torch.Generator().manual_seed(5))

    def transform(*inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        found = weighted_similarity(*inputs)
        return found.rotation, found.translation, found.scale

    inputs = [x.clone().requires_grad_() for x in (source, target, weights)]
    assert torch.autograd.gradcheck(transform, inputs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "kind", ["all equal", "targets equal", "no weight", "one weight", "opposed", "near"]
)
def test_gradients_are_finite_at_degenerate_inputs(kind: str, dtype: torch.dtype) -> None:
    source, heading, position, scale, weights = problem(2, count=8, dtype=dtype)
    target = local_to_aerial(source, heading, position, scale)
    if kind == "all equal":
        source = source[:, :1].expand(-1, 8, -1).clone()
        target = target[:, :1].expand(-1, 8, -1).clone()
    elif kind == "targets equal":
        target = target[:, :1].expand(-1, 8, -1).clone()
    elif kind == "no weight":
        weights = torch.zeros_like(weights)
    elif kind == "one weight":
        weights = torch.zeros_like(weights)
        weights[:, 0] = 1.0
    elif kind == "opposed":  # a mirrored square: the weighted sum cancels exactly
        square = torch.tensor([[1, 0], [0, 1], [-1, 0], [0, -1]], dtype=dtype).expand(3, 4, 2)
        source, target = square.clone(), (square * torch.tensor([1, -1], dtype=dtype)).clone()
        weights = torch.ones(3, 4, dtype=dtype)
    else:
        source = source[:, :1] + 1e-4 * source
    inputs = [x.requires_grad_() for x in (source, target, weights)]
    found = weighted_similarity(*inputs)
    total = found.rotation.sum() + found.translation.sum() + found.scale.sum()
    assert torch.isfinite(total)
    for gradient in torch.autograd.grad(total, inputs):
        assert torch.isfinite(gradient).all()
    assert found.valid.all() == (kind == "near")


def test_tiny_weights_do_not_underflow() -> None:
    source, heading, position, scale, weights = problem(4, dtype=torch.float32)
    target = local_to_aerial(source, heading, position, scale)
    found = weighted_similarity(source, target, weights * 1e-30)
    torch.testing.assert_close(found.translation, position, atol=1e-3, rtol=0)


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="weights must be"):
        weighted_similarity(torch.zeros(1, 4, 2), torch.zeros(1, 4, 2), torch.zeros(1, 3))
    with pytest.raises(ValueError, match="not positive and in order"):
        weighted_similarity(
            torch.zeros(1, 4, 2), torch.zeros(1, 4, 2), torch.zeros(1, 4), scale=(2.0, 1.0)
        )
