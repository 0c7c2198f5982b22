"""Heads: what a cell of the ground image can know of the others."""

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from loc2.cameras import Equirectangular
from loc2.frames import cell_centers_px
from loc2.matching import HeadConfig
from loc2.matching.heads import ColumnAttention, GroundHead

ROWS, COLS, DIM = 17, 12, 8


def _range_of(head: GroundHead, features: Tensor) -> Tensor:
    rays = torch.nn.functional.normalize(torch.ones(1, 3, ROWS, COLS), dim=1)
    found = head.eval()(features, rays, wrap=True).log_range_ratio
    assert found is not None
    return found[0]


def _head(column_heads: int, depth_dim: int = 0, seed: int = 3, parts: int = 1) -> GroundHead:
    torch.manual_seed(seed)
    config = HeadConfig(
        hidden_dim=16, num_layers=2, descriptor_dim=4, column_heads=column_heads,
        depth_dim=depth_dim, depth_parts=parts,
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


@pytest.mark.parametrize(("depth_dim", "parts"), [(0, 1), (8, 1), (8, 3)])
def test_the_untrained_depth_is_level_ground(depth_dim: int, parts: int) -> None:
    config = HeadConfig(
        hidden_dim=16, descriptor_dim=4, column_heads=4, depth_dim=depth_dim, depth_parts=parts
    )
    camera = Equirectangular(COLS, ROWS, 0.0, 0.0, -5.0, -65.0)

    def rays(k: int) -> Tensor:
        centres = cell_centers_px(k * ROWS, k * COLS, ROWS, COLS)
        return camera.pixels_to_rays(centres).permute(2, 0, 1)[None]

    told = GroundHead(DIM, config).eval()(torch.randn(1, DIM, ROWS, COLS), rays(1), wrap=True)
    up_m = 2.0 * told.log_range_ratio.exp() * rays(parts)[:, 2]
    # Rays between the centres are taken as linear, which bends by a hundredth of a cell.
    torch.testing.assert_close(up_m, torch.full_like(up_m, -2.0), rtol=0.01, atol=0)
    at_cells = told.cell_depth()[0]
    torch.testing.assert_close(
        2.0 * at_cells.exp() * -rays(1)[:, 2], torch.full((1, ROWS, COLS), 2.0)
    )


def test_parts_of_cells_have_depths_of_their_own() -> None:
    head = _head(4, 8, parts=3)
    told = _range_of(head, torch.randn(1, DIM, ROWS, COLS))
    assert told.shape == (3 * ROWS, 3 * COLS)
    blocks = told.unfold(0, 3, 3).unfold(1, 3, 3).flatten(2)
    assert (blocks.std(-1) > 0.1).float().mean() > 0.9


def test_parts_need_a_network_for_depth() -> None:
    with pytest.raises(ValidationError, match="depth_dim"):
        HeadConfig(depth_parts=3)


def test_channels_must_split_into_the_heads() -> None:
    with pytest.raises(ValidationError, match="multiple of column_heads"):
        HeadConfig(hidden_dim=16, column_heads=3)
