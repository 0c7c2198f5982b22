"""Which parts of the backbone learn: none, the last blocks, low-rank adapters, or all."""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn.utils import parametrize

from loc2.features import VisionTransformer


class TuningConfig(BaseModel):
    """What of the backbone is trained; anything but ``frozen`` needs images, not a cache.

    Attributes:
        mode: ``frozen``, ``last_blocks``, ``adapters`` (low-rank updates of the attention and
            feed-forward matrices, Hu et al. 2021) or ``full``.
        blocks: number of last blocks that learn or carry adapters.
        rank: of the adapters.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: Literal["frozen", "last_blocks", "adapters", "full"] = "frozen"
    blocks: int = Field(default=2, ge=1)
    rank: int = Field(default=8, ge=1)


class LowRankUpdate(nn.Module):
    """Adds ``up @ down`` to a matrix (Hu et al. 2021); zero to start with.

    Args:
        rows: of the matrix.
        cols: of the matrix.
        rank: of the update.
    """

    def __init__(self, rows: int, cols: int, rank: int) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.randn(rank, cols) / math.sqrt(cols))
        self.up = nn.Parameter(torch.zeros(rows, rank))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the updated matrix."""
        return weight + self.up @ self.down


def apply_tuning(backbone: VisionTransformer, config: TuningConfig, seed: int) -> None:
    """Choose the backbone's parameters that learn, adding adapters where they are wanted.

    Args:
        backbone: changed in place.
        config: what learns.
        seed: of the adapters' start.
    """
    backbone.requires_grad_(config.mode == "full")
    last = list(backbone.blocks)[-config.blocks :]
    if config.mode == "last_blocks":
        for part in (*last, backbone.norm):
            part.requires_grad_(True)
    elif config.mode == "adapters":
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            for layer in _matrices(last):
                rows, cols = layer.weight.shape
                update = LowRankUpdate(rows, cols, config.rank).to(layer.weight)
                parametrize.register_parametrization(layer, "weight", update)
    backbone.mask_token.requires_grad_(False)  # not part of the forward pass


def plain_state(model: nn.Module) -> dict[str, Tensor]:
    """Return a model's state with adapters put into their matrices, under the plain names."""
    state: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        layer, parametrized, rest = name.partition(".parametrizations.")
        if not parametrized:
            state[name] = tensor
        elif rest == "weight.original":
            merged = model.get_submodule(layer).weight
            assert isinstance(merged, Tensor)
            state[f"{layer}.weight"] = merged.detach()
    return state


def _matrices(blocks: list[nn.Module]) -> list[nn.Linear]:
    return [m for block in blocks for m in block.modules() if isinstance(m, nn.Linear)]
