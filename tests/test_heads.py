"""Heads: what a cell of the ground image can know of the others."""

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.nn.functional import normalize

from loc2.matching import HeadConfig
from loc2.matching.heads import ColumnAttention, GroundHead
from loc2.model import Loc2Model, ModelConfig

ROWS, COLS, DIM = 17, 12, 8


def _range_of(head: GroundHead, features: Tensor) -> Tensor:
    rays = torch.nn.functional.normalize(torch.ones(1, 3, ROWS, COLS), dim=1)
    told = head.eval()(features, rays, wrap=True).depth
    assert told is not None
    return told.log_range_ratio[0]


def _head(column_heads: int, depth_dim: int = 0, seed: int = 3) -> GroundHead:
    torch.manual_seed(seed)
    config = HeadConfig(
        hidden_dim=16, num_layers=2, descriptor_dim=4, column_heads=column_heads,
        depth_dim=depth_dim,
    )  # fmt: skip
    head = GroundHead(DIM, config)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    for attention in (m for m in head.modules() if isinstance(m, ColumnAttention)):
        for parameter in attention.parameters():
            torch.nn.init.normal_(parameter, std=1.0)
    return head


@pytest.mark.parametrize("depth_dim", [0, 8])
@pytest.mark.parametrize("column_heads", [0, 4])
def test_attention_along_columns_lets_the_foot_of_a_wall_tell_its_top(
    column_heads: int, depth_dim: int
) -> None:
    features = torch.randn(1, DIM, ROWS, COLS, generator=torch.Generator().manual_seed(0))
    changed = features.clone()
    changed[..., 14, 5] += 3.0 * torch.randn(DIM, generator=torch.Generator().manual_seed(1))
    ratios = []
    for seed in range(8):
        head = _head(column_heads, depth_dim, seed)
        with torch.no_grad():
            moved = (_range_of(head, changed) - _range_of(head, features)).abs()
        # GroupNorm spreads a trace of any change everywhere: what counts is the ratio.
        ratios.append(float(moved[:12, 5].mean() / moved[:12, 10].mean()))
    assert (sum(ratios) / len(ratios) > 5) == bool(column_heads), ratios


@pytest.mark.parametrize("depth_dim", [0, 8])
def test_untrained_attention_changes_nothing(depth_dim: int) -> None:
    features = torch.randn(1, DIM, ROWS, COLS)
    plain, attending = _head(0, depth_dim), _head(4, depth_dim)
    kept = iter(plain.parameters())
    attended = {id(p) for m in attending.modules() if isinstance(m, ColumnAttention)
                for p in m.parameters()}  # fmt: skip
    with torch.no_grad():
        for parameter in attending.parameters():
            if id(parameter) not in attended:
                parameter.copy_(next(kept))
        for module in attending.modules():
            if isinstance(module, ColumnAttention):
                fresh = ColumnAttention(module.norm.num_channels, module.heads)
                module.load_state_dict(fresh.state_dict())
        assert next(kept, None) is None
        torch.testing.assert_close(_range_of(plain, features), _range_of(attending, features))


@pytest.mark.parametrize("depth_dim", [0, 8])
def test_the_untrained_depth_is_level_ground(depth_dim: int) -> None:
    config = HeadConfig(hidden_dim=16, descriptor_dim=4, column_heads=4, depth_dim=depth_dim)
    rays = normalize(torch.tensor([0.3, 1.0, -0.5])[None, :, None, None].expand(1, 3, ROWS, COLS))
    told = GroundHead(DIM, config).eval()(torch.randn(1, DIM, ROWS, COLS), rays, wrap=True)
    range_m = 2.0 * told.depth.log_range_ratio.exp()
    torch.testing.assert_close(range_m * -rays[:, 2], torch.full((1, ROWS, COLS), 2.0))


def test_the_untrained_depth_ends_before_the_horizon() -> None:
    """What a base near the horizon says has to be taken back by every wall there."""
    config = HeadConfig(hidden_dim=16, descriptor_dim=4, column_heads=4, depth_dim=8)
    elevation = torch.deg2rad(torch.tensor([-9.0, -6.0, -5.0, -0.5, 0.5, 20.0]))
    rays = torch.stack((torch.zeros(6), elevation.cos(), elevation.sin()))[None, :, :, None]
    told = GroundHead(DIM, config).eval()(torch.randn(1, DIM, 6, 1), rays, wrap=False)
    ratio = told.depth.log_range_ratio.exp().flatten()
    torch.testing.assert_close(ratio[:2], -1 / elevation[:2].sin())
    torch.testing.assert_close(ratio[2:], torch.full((4,), 10.0))


def test_dropout_leaves_the_network_for_depth_alone() -> None:
    config = HeadConfig(hidden_dim=16, descriptor_dim=4, column_heads=4, depth_dim=8, dropout=0.5)
    head = GroundHead(DIM, config).train()
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.normal_()
    features, rays = torch.randn(1, DIM, ROWS, COLS), torch.randn(1, 3, ROWS, COLS)
    first, second = (head(features, rays, wrap=True) for _ in range(2))
    torch.testing.assert_close(first.depth.log_range_ratio, second.depth.log_range_ratio)
    assert not torch.allclose(first.descriptors, second.descriptors)


def test_channels_must_split_into_the_heads() -> None:
    with pytest.raises(ValidationError, match="multiple of column_heads"):
        HeadConfig(hidden_dim=16, column_heads=3)


@pytest.mark.parametrize("depth_dim", [0, 8])
@torch.no_grad()
def test_depth_told_alone_is_that_told_with_descriptors(depth_dim: int) -> None:
    torch.manual_seed(0)
    head = HeadConfig(hidden_dim=16, descriptor_dim=4, column_heads=4, depth_dim=depth_dim)
    model = Loc2Model(ModelConfig(head=head)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    features = torch.randn(1, model.feature_dim, 4, 6)
    rays = normalize(torch.randn(1, 3, 4, 6), dim=1)
    told = model.describe_ground(features, rays, wrap=False).depth
    alone = model.tell_depth(features, rays, wrap=False)
    assert told is not None and alone is not None
    assert torch.equal(told.log_range_ratio, alone.log_range_ratio)
    assert torch.equal(told.valid_logit, alone.valid_logit)


def test_half_cells_need_copies_to_be_moved() -> None:
    with pytest.raises(ValidationError, match="half_cells"):
        ModelConfig(half_cells=True)
    assert ModelConfig(half_cells=True, aerial_turns=2).half_cells


@pytest.mark.parametrize("blocks", [(11, 8), (11, 11), (8, 12), (-1, 11), ()])
def test_blocks_ascend_and_exist(blocks: tuple[int, ...]) -> None:
    with pytest.raises(ValidationError, match="blocks"):
        ModelConfig(blocks=blocks)
