"""What training is judged by: one pair localized from its cells."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from benchmarks.compare_heads import compare
from loc2.matching import GroundDescription
from loc2.matching.heads import CellDepth
from loc2.model import Loc2Model
from loc2.training.validation import ValidationErrors, localize_cells
from tests.training_run import DIM, VARIANT, invented_cells, small_config

HEIGHT_M = 6.0  # assumed; the invented cameras are 2 m high, which no search of the scale mends


def _model(far_share: float, told: bool = True) -> Loc2Model:
    """Return a network whose own depth is true for an assumed height that is wrong."""
    torch.manual_seed(0)
    config = small_config().model.model_copy(update={"backbone": VARIANT, "far_share": far_share})
    model = Loc2Model(config).eval()
    assert model.ground_head is not None and model.aerial_head is not None
    for head in (model.ground_head.net, model.aerial_head):
        head.set_projection(torch.eye(DIM)[:16])
    describe = model.describe_ground

    def describe_ground(*arguments: Any) -> GroundDescription:
        # All invented cameras see the same ground.
        truth = torch.log(invented_cells(0).points_m.norm(dim=0) / HEIGHT_M)[None]
        depth = CellDepth(truth, torch.full_like(truth, math.inf if told else -math.inf))
        return replace(describe(*arguments), depth=depth)

    model.describe_ground = describe_ground  # type: ignore[method-assign]
    return model


def _errors(lift: str, far_share: float, told: bool = True) -> list[ValidationErrors]:
    model = _model(far_share, told)
    return [localize_cells(model, invented_cells(k), lift, HEIGHT_M) for k in range(6)]


def _score(rows: list[ValidationErrors]) -> float:
    return sum(0.5 ** (row.position_m or 0.0) for row in rows) / len(rows)


def test_far_cells_of_true_depth_mend_level_ground_of_a_wrong_height() -> None:
    flat, own = _errors("flat", 3.0), _errors("own", 3.0)
    assert _score(_errors("far", 3.0)) > _score(flat) + 0.1
    assert _score(own) > _score(flat) + 0.1


@pytest.mark.parametrize(("share", "told"), [(0.0, True), (3.0, False)])
def test_without_far_cells_it_is_level_ground(share: float, told: bool) -> None:
    for mine, flat in zip(_errors("far", share, told), _errors("flat", share, told), strict=True):
        assert mine.position_m == pytest.approx(flat.position_m, abs=1e-4)
        assert mine.heading_deg == pytest.approx(flat.heading_deg, abs=1e-3)


def test_networks_are_compared_pair_by_pair() -> None:
    pairs = [invented_cells(k) for k in range(6)]
    model = _model(0.0)
    first, same, other = compare([model, model, _model(3.0, told=False)], pairs, "exact")
    assert "score_difference" not in first
    assert same["score_difference"] == same["score_difference_standard_error"] == 0.0
    scores = []
    for cells in pairs:
        found = localize_cells(model, cells, "own")
        assert found.position_m is not None and found.heading_deg is not None
        scores.append(0.5 ** (found.position_m / 2) * 0.5 ** (found.heading_deg / 5))
    own, again = compare([model, model], pairs, "own")
    assert own["score"] == pytest.approx(sum(scores) / len(scores))
    assert own["n"] == again["n"] == 6
    assert other["score"] == pytest.approx(first["score"])
