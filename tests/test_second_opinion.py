"""The second opinion: modes weighed by points that are lifted in another way."""

import math
from dataclasses import replace

import pytest
import torch

from loc2.cameras import Equirectangular
from loc2.depth import DepthMap, FlatGround
from loc2.frames import Pose
from loc2.lifting import (
    OtherCells,
    ground_cells,
    other_cells,
    second_opinion,
    with_far_cells,
)
from loc2.localization import GroundCells
from loc2.matching import CellDepth, GroundDescription
from loc2.model import Loc2Model, ModelConfig
from loc2.pose.confidence import NAMES, SecondOpinion, statistics
from loc2.pose.evidence import DenseEvidence
from loc2.pose.posterior import PoseMode, PosePosterior
from loc2.views import AerialFeatures, GroundView

HEIGHT_M, TEMPERATURE = 2.0, 0.05
RANGE_M = (2.0, 30.0)
POSES = [(3.0, -2.0, 40.0), (-8.0, 5.0, 200.0), (40.0, 40.0, 10.0)]


def _posterior(poses: list[tuple[float, float, float]]) -> PosePosterior:
    modes = tuple(
        PoseMode(Pose(*p), 1 / (k + 2), 3.0 - k, torch.eye(3)) for k, p in enumerate(poses)
    )
    support = torch.tensor([[*p, 1.0] for p in poses], dtype=torch.float64)
    return PosePosterior(
        modes, support, torch.full((len(poses),), 1 / len(poses)).double(), 0.0, 0.0, 1000,
        chance_mean=0.0, chance_deviation=1.0, rivalry=1.0,
    )  # fmt: skip


@pytest.fixture(scope="module")
def view() -> GroundView:
    with torch.device("meta"):
        model = Loc2Model(
            ModelConfig(panorama_cell_deg=15.0, panorama_top_deg=30.0, panorama_bottom_deg=-60.0)
        )
    camera = Equirectangular(216, 108)  # 9 pixels a cell: one of them lies at the centre
    image = torch.rand(3, 108, 216, generator=torch.Generator().manual_seed(0))
    grid = model.ground_grid(image, camera)
    view = GroundView(image, camera, HEIGHT_M, None, grid)
    rows, cols = grid.camera.height, grid.camera.width
    generator = torch.Generator().manual_seed(1)
    descriptors = torch.nn.functional.normalize(
        torch.randn(1, 8, rows, cols, generator=generator), dim=1
    )
    # The head sees everything twice as near as level ground does.
    ratio = -torch.log((-grid.cell_rays()[None, 2]).clamp_min(0.02)) - math.log(2.0)
    weight = 0.5 + torch.rand(1, rows, cols, generator=generator)
    view.description = GroundDescription(
        descriptors, weight, CellDepth(ratio, torch.ones_like(ratio))
    )
    return view


@pytest.fixture(scope="module")
def aerial() -> AerialFeatures:
    maps = torch.randn(8, 20, 20, generator=torch.Generator().manual_seed(2))
    return AerialFeatures(
        torch.zeros(3, 40, 40), 1.0, torch.nn.functional.normalize(maps, dim=0), 2.0
    )


def _flat(view: GroundView) -> DepthMap:
    return FlatGround(HEIGHT_M)(view.image, view.camera)


def _by_head(view: GroundView) -> DepthMap:
    """Level ground at half its range, which is what the head says."""
    flat = _flat(view)
    return DepthMap(flat.depth / 2, "range", True, flat.valid, "own", levelled=True, from_head=True)


@pytest.mark.parametrize("asked", ["flat", "ground", "own"])
def test_it_is_the_evidence_of_the_other_depth(
    asked: str, view: GroundView, aerial: AerialFeatures
) -> None:
    answered, other = _flat(view), _by_head(view)
    if asked == "own":
        answered, other = other, answered
    elif asked == "ground":  # the head has said where the ground is: its range is another thing
        seen = torch.arange(answered.valid.shape[-1]) % 2 == 0
        answered = replace(answered, valid=answered.valid & seen, source="ground")
    lifted = other_cells(view, answered, aerial, RANGE_M)
    assert lifted is not None
    found = second_opinion(lifted, _posterior(POSES), TEMPERATURE)
    cells, _ = ground_cells(view, other, aerial, RANGE_M)
    distance = cells.bev.norm(dim=1)
    far = distance > 1.001 * distance.median()
    poses = torch.tensor([[*p, 1.0] for p in POSES])
    for part, mine in ((far | ~far, found.whole), (far, found.far), (~far, found.near)):
        weight = cells.weight * part
        dense = DenseEvidence(
            cells.evidence, cells.bev, cell_size_m=2.0, weights=weight / weight.sum(),
            temperature=TEMPERATURE,
        )  # fmt: skip
        torch.testing.assert_close(mine, dense.score(poses), atol=1e-3, rtol=1e-3)
    # The third mode lies outside: nothing speaks for or against it.
    assert float(found.whole[2]) == 0.0
    assert found.whole[:2].abs().min() > 0.1


def test_without_a_depth_head_there_is_no_other_way(
    view: GroundView, aerial: AerialFeatures
) -> None:
    assert view.description is not None
    headless = GroundView(view.image, view.camera, HEIGHT_M, None, view.grid)
    headless.description = GroundDescription(
        view.description.descriptors, view.description.weight, None
    )
    assert other_cells(headless, _flat(view), aerial, RANGE_M) is None


def test_nothing_lifted_is_no_opinion(view: GroundView, aerial: AerialFeatures) -> None:
    assert other_cells(view, _flat(view), aerial, (500.0, 600.0)) is None


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_far_cells_vote_with_their_share(
    share: float, view: GroundView, aerial: AerialFeatures
) -> None:
    cells, _ = ground_cells(view, _flat(view), aerial, RANGE_M)
    other = other_cells(view, _flat(view), aerial, RANGE_M)
    assert other is not None
    joined, used = with_far_cells(cells, other, share)
    assert used == share
    count = len(cells.weight)
    far_m = joined.bev[count:].norm(dim=1)
    by_head, _ = ground_cells(view, _by_head(view), aerial, RANGE_M)
    distances_m = by_head.bev.norm(dim=1).sort().values
    torch.testing.assert_close(far_m.sort().values, distances_m[-len(far_m) :])
    assert 0.2 < len(far_m) / len(distances_m) <= 0.5
    poses = torch.tensor([[*p, 1.0] for p in POSES])

    def score(cells: GroundCells, weight: torch.Tensor) -> torch.Tensor:
        return DenseEvidence(
            cells.evidence, cells.bev, cell_size_m=2.0, weights=weight, temperature=TEMPERATURE
        ).score(poses)

    far = other.cells.weight * other.far
    expected = score(cells, cells.weight) + share * score(other.cells, far / far.sum())
    torch.testing.assert_close(
        score(joined, joined.weight), expected / (1 + share), atol=1e-3, rtol=1e-3
    )


@pytest.mark.parametrize("left", [0, 1, 3])
def test_no_few_far_cells_decide(left: int, view: GroundView, aerial: AerialFeatures) -> None:
    cells, _ = ground_cells(view, _flat(view), aerial, RANGE_M)
    other = other_cells(view, _flat(view), aerial, RANGE_M)
    assert other is not None
    few = OtherCells(other.cells, other.far & (other.far.cumsum(0) <= left))
    joined, share = with_far_cells(cells, few, 0.5)
    count = len(cells.weight)
    assert len(joined.weight) == count + left
    assert joined.weight.sum() == pytest.approx(1.0, abs=1e-5)
    assert share == pytest.approx(2 * left / count)
    assert joined.weight[count:].sum() == pytest.approx(share / (1 + share), abs=1e-5)
    torch.testing.assert_close(joined.weight[:count], cells.weight / (1 + share))


def test_its_numbers_are_leads_of_the_first_mode() -> None:
    def told(other: SecondOpinion | None) -> list[float]:
        found = statistics(
            _posterior(POSES), source=torch.rand(20, 2) + 3, weights=torch.ones(20),
            inlier=torch.ones(20, dtype=torch.bool), half_size_m=(20.0, 20.0), other=other,
        )  # fmt: skip
        return found.vector()[NAMES.index("other_lead") :].tolist()

    whole, far, near = torch.tensor([[5.0, 2.0, 1.0], [0.0, 30.0, 0.0], [4.0, -3.0, 3.5]])
    assert told(SecondOpinion(whole, far, near)) == pytest.approx([3.0, math.log(6), -10.0, 0.5])
    assert told(None) == [0.0] * 4
