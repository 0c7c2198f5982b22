"""Heads: what a cell of the ground image can know of the others."""

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from loc2.matching import HeadConfig
from loc2.matching.heads import GroundHead

ROWS, COLS, DIM = 17, 12, 8


def _range_of(head: GroundHead, features: Tensor) -> Tensor:
    rays = torch.nn.functional.normalize(torch.ones(1, 3, ROWS, COLS), dim=1)
    found = head.eval()(features, rays, wrap=True).log_range_ratio
    assert found is not None
    return found[0]


def _head(column_heads: int) -> GroundHead:
    torch.manual_seed(3)
    config = HeadConfig(hidden_dim=16, num_layers=2, descriptor_dim=4, column_heads=column_heads)
    head = GroundHead(DIM, config)
    for name, parameter in head.named_parameters():
        torch.nn.init.normal_(parameter, std=1.0 if "column" in name else 0.3)
    return head


@pytest.mark.parametrize("column_heads", [0, 4])
def test_attention_along_columns_lets_the_foot_of_a_wall_tell_its_top(column_heads: int) -> None:
    head = _head(column_heads)
    features = torch.randn(1, DIM, ROWS, COLS, generator=torch.Generator().manual_seed(0))
    changed = features.clone()
    changed[..., 14, 5] += 3.0 * torch.randn(DIM, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        moved = (_range_of(head, changed) - _range_of(head, features)).abs()
    # GroupNorm spreads a trace of any change everywhere: what counts is the ratio.
    above, beside = float(moved[:12, 5].mean()), float(moved[:12, 10].mean())
    assert (above > 5 * beside) == bool(column_heads)


def test_untrained_attention_changes_nothing() -> None:
    features = torch.randn(1, DIM, ROWS, COLS)
    plain, attending = _head(0), _head(4)
    attending.load_state_dict(plain.state_dict(), strict=False)
    for name, parameter in attending.named_parameters():
        if name.startswith("net.column.out"):
            torch.nn.init.zeros_(parameter)
    with torch.no_grad():
        torch.testing.assert_close(_range_of(plain, features), _range_of(attending, features))


def test_channels_must_split_into_the_heads() -> None:
    with pytest.raises(ValidationError, match="multiple of column_heads"):
        HeadConfig(hidden_dim=16, column_heads=3)
