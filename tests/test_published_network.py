"""The published matcher: numeric parity, and what parity alone does not show."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from loc2.matching import dual_softmax
from loc2.published.network import Matcher, sine_position_encoding
from tests.recipe import published_matcher_state

FIXTURES = Path(__file__).parent / "fixtures"
F1 = np.load(FIXTURES / "f1_matcher.npz")


def f1(name: str) -> Tensor:
    return torch.from_numpy(F1[name])


@pytest.fixture(scope="module")
def matcher() -> Matcher:
    model = Matcher(aerial_cells=int(F1["sat_bev_res"]), temperature=float(F1["temperature"]))
    model.load_state_dict(published_matcher_state(own_names=True))
    return model.eval().requires_grad_(False)


def test_published_names_and_sizes() -> None:
    listed = json.loads((FIXTURES / "f1_state_dict_keys.json").read_text())
    state = published_matcher_state(own_names=False)
    assert {e["name"]: tuple(e["shape"]) for e in listed["keys"]} == {
        k: tuple(v.shape) for k, v in state.items()
    }
    with torch.device("meta"):
        assert sum(p.numel() for p in Matcher().parameters()) == listed["total_parameters"]
    first = state["grd_projector.resblocks.0.conv1.weight"].flatten()[:8]
    check = f1("recipe_check_grd_projector_resblocks_0_conv1_weight_first8")
    torch.testing.assert_close(first, check, atol=0, rtol=0)


@pytest.mark.parametrize(("side", "own"), [("grd", "ground"), ("sat", "aerial")])
def test_intermediate_values(matcher: Matcher, side: str, own: str) -> None:
    features = f1(side).float()
    if side == "sat":
        features = torch.nn.functional.interpolate(features, size=(9, 9), mode="bilinear")
        expected = f1("sat_feature_resized_first8ch")
        torch.testing.assert_close(features[:, :8], expected, atol=1e-6, rtol=0)
    projector = getattr(matcher, f"{own}_projector")
    seen: dict[str, Tensor] = {}
    for name in ("resblocks", "att_layer"):
        getattr(projector, name).register_forward_hook(
            lambda _m, _i, out, name=name: seen.__setitem__(name, out)
        )
    projector(features)
    attended = seen["att_layer"].transpose(1, 2).reshape(seen["resblocks"].shape)
    for value, key in ((seen["resblocks"], "resblocks_out"), (attended, "att_out")):
        expected = f1(f"{side}_{key}")
        torch.testing.assert_close(value, expected, atol=1e-4 * expected.abs().max().item(), rtol=0)


def test_position_encoding() -> None:
    expected = f1("posenc_first_6x12")[0]
    torch.testing.assert_close(sine_position_encoding(128, 6, 12), expected, atol=1e-5, rtol=0)


def test_descriptors_and_scores(matcher: Matcher) -> None:
    ground = matcher.ground_descriptors(f1("grd").float())
    aerial = matcher.aerial_descriptors(f1("sat").float())
    torch.testing.assert_close(ground, f1("grd_desc"), atol=1e-5, rtol=0)
    torch.testing.assert_close(aerial, f1("sat_desc"), atol=1e-5, rtol=0)
    scores = matcher.scores(ground, aerial, f1("mask"))
    torch.testing.assert_close(scores, f1("matching_score_original"), atol=5e-5, rtol=0)
    probabilities = matcher.probabilities(scores)
    torch.testing.assert_close(probabilities, f1("matching_score"), atol=1e-6, rtol=1e-4)


def test_a_batch_never_changes_a_sample(matcher: Matcher) -> None:
    generator = torch.Generator().manual_seed(0)
    batch = torch.cat((f1("grd").float(), torch.randn(2, 1024, 6, 12, generator=generator)))
    alone = matcher.ground_descriptors(batch[:1])
    torch.testing.assert_close(matcher.ground_descriptors(batch)[:1], alone, atol=1e-5, rtol=0)


def test_dual_softmax_equals_the_definition() -> None:
    generator = torch.Generator().manual_seed(1)
    scores = torch.randn(2, 5, 7, generator=generator, dtype=torch.float64) * 4
    scores[:, :, 2] = -math.inf
    padded = torch.full((2, 6, 8), 0.7, dtype=torch.float64)
    padded[:, :5, :7] = scores
    expected = (padded.softmax(1) * padded.softmax(2))[:, :5, :7]
    torch.testing.assert_close(dual_softmax(scores, 0.7), expected)


def test_dual_softmax_has_a_gradient_where_nothing_can_match() -> None:
    scores = torch.zeros(1, 3, 4, requires_grad=True)
    masked = scores.masked_fill(torch.tensor([False, True, True, True]), -math.inf)
    dustbin = torch.tensor(1.0, requires_grad=True)
    probabilities = dual_softmax(masked, dustbin)
    probabilities.sum().backward()
    assert torch.equal(probabilities[..., 1:], torch.zeros(1, 3, 3))
    assert scores.grad is not None and torch.isfinite(scores.grad).all()
    assert dustbin.grad is not None and dustbin.grad < 0
    nothing = torch.zeros(1, 3, 4, requires_grad=True)
    probabilities = dual_softmax(nothing, 1.0, torch.zeros(1, 4, dtype=torch.bool))
    probabilities.sum().backward()
    assert torch.equal(probabilities, torch.zeros(1, 3, 4))
    assert nothing.grad is not None and torch.isfinite(nothing.grad).all()
