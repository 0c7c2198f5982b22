"""Depth while training: told for whole cells or for the parts of cells."""

from dataclasses import replace

import pytest
import torch

from loc2.errors import InputError
from loc2.matching import HeadConfig
from loc2.model import Loc2Model, ModelConfig
from loc2.training.augment import AugmentConfig
from loc2.training.cells import Cells, batch_of, join_cells
from loc2.training.objective import Objective, ObjectiveConfig
from tests.training_run import VARIANT, invented_cells

CONFIG = ObjectiveConfig(correspondence=0, voting=0, depth=1, validity=0)


def _objective(parts: int) -> Objective:
    torch.manual_seed(0)
    head = HeadConfig(hidden_dim=16, descriptor_dim=16, depth_dim=16, depth_parts=parts)
    return Objective(
        Loc2Model(ModelConfig(backbone=VARIANT, head=head)), CONFIG, AugmentConfig(narrow=0.5)
    )


def _batch() -> Cells:
    return join_cells([batch_of(invented_cells(k)) for k in range(4)])


def test_the_parts_of_cells_are_judged_one_by_one() -> None:
    batch = _batch()
    assert batch.fine_range_m is not None
    upper = torch.arange(batch.fine_range_m.shape[1]) % 3 == 0
    factor = torch.where(upper, 1.25, 1.0)[:, None]
    edges = replace(batch, fine_range_m=batch.fine_range_m * factor)
    whole, parts = _objective(1), _objective(3)
    # Untrained heads tell level ground, which the batch is, but for the upper thirds.
    assert whole(batch, 1)["depth"].max() < 1e-4
    assert parts(batch, 1)["depth"].max() < 0.01
    assert whole(edges, 1)["depth"].max() < 1e-4
    torch.testing.assert_close(
        parts(edges, 1)["depth"], torch.full((4,), 0.2 / 3), atol=0.01, rtol=0
    )


def test_parts_of_cells_are_learned() -> None:
    batch = _batch()
    assert batch.fine_range_m is not None
    upper = torch.arange(batch.fine_range_m.shape[1]) % 3 == 0
    factor = torch.where(upper, 1.25, 1.0)[:, None]
    edges = replace(batch, fine_range_m=batch.fine_range_m * factor)
    objective = _objective(3)
    optimizer = torch.optim.AdamW(objective.parameters(), lr=1e-2)
    for step in range(30):
        optimizer.zero_grad()
        loss = objective(edges, step)["depth"].mean()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.035


def test_a_cache_of_whole_cells_cannot_teach_parts() -> None:
    with pytest.raises(InputError, match="whole cells"):
        _objective(3)(replace(_batch(), fine_range_m=None), 1)
