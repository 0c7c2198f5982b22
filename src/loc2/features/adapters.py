"""Low-rank updates of a frozen backbone, and its last blocks run again with them."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional
from torch.nn.utils import parametrize

from loc2.features.dinov2 import VisionTransformer

_TOKEN_DEVIATION = 0.185
"""Standard deviation over channels of a token before the last blocks of ViT-S/14, which the final
LayerNorm of stored features has taken away: 0.18 to 0.22 on photos, nearly alike for all tokens."""


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


class AdaptedBlocks(nn.Module):
    """The last blocks of a frozen backbone with low-rank updates, from stored features on.

    The features before these blocks stay as they are, so caches of them serve any number of
    adaptations. Their tokens are known up to a factor, as the final LayerNorm left them, and
    without the class token. Run like this, the published blocks 9 to 11 of ViT-S/14 give features
    of photos whose mean cosine to the published ones is 0.986 to 0.992; other backbones, and levels
    further apart, are less close (blocks 3 to 11: 0.66 to 0.75).

    Args:
        backbone: whose blocks are adapted; it is not part of this module.
        blocks: the levels of the features, of which the last two count.
        rank: of the updates.
    """

    def __init__(self, backbone: VisionTransformer, blocks: Sequence[int], rank: int) -> None:
        super().__init__()
        self.range = (blocks[-2] + 1, blocks[-1] + 1)
        self.updates = nn.ModuleList()
        for block in backbone.blocks[slice(*self.range)]:
            updates = nn.ModuleDict()
            for name, layer in block.named_modules():
                if isinstance(layer, nn.Linear):
                    rows, cols = layer.weight.shape
                    # A dot has a meaning in the names of modules.
                    updates[name.replace(".", "-")] = LowRankUpdate(rows, cols, rank)
            self.updates.append(updates)

    def forward(self, features: Tensor, backbone: VisionTransformer) -> Tensor:
        """Replace the last level of features.

        Args:
            features: (B, C, h, w) with levels of unit length, before any centring.
            backbone: the one that made them.

        Returns:
            (B, C, h, w), the last level from the adapted blocks.
        """
        dim = backbone.config.embed_dim
        batch, _, rows, cols = features.shape
        x = _tokens(features[:, -2 * dim : -dim].flatten(2).transpose(1, 2).float(), backbone.norm)
        for block, updates in zip(
            backbone.blocks[slice(*self.range)], self.updates.children(), strict=True
        ):
            # The call below changes the module for as long as it lasts, and the backbone may be at
            # work in another thread: it gets a module of its own around the same parameters.
            block = copy.deepcopy(block, {id(p): p for p in block.parameters()})
            weights = {}
            for name, update in updates.named_children():
                path = name.replace("-", ".")
                layer = block.get_submodule(path)
                # The backbone itself may be learning updates of its own.
                tuned = parametrize.is_parametrized(layer, "weight")
                key = "parametrizations.weight.original" if tuned else "weight"
                weights[f"{path}.{key}"] = update(layer.get_parameter(key))
            x = functional_call(block, weights, (x,))
        level = functional.normalize(backbone.norm(x).float(), dim=-1)
        level = level.transpose(1, 2).reshape(batch, dim, rows, cols)
        return torch.cat((features[:, :-dim], level.to(features)), dim=1)


def _tokens(unit: Tensor, norm: nn.LayerNorm) -> Tensor:
    """Return (B, N, C) tokens from what the final LayerNorm and scaling to unit length left."""
    stretched, shift = unit / norm.weight, norm.bias / norm.weight
    a = stretched - stretched.mean(-1, keepdim=True)
    b = shift - shift.mean()
    # The length that LayerNorm's output had: c * unit = weight * z + bias where z has variance 1.
    square, mixed, rest = a.square().mean(-1), (a * b).mean(-1), b.square().mean() - 1
    length = (mixed + (mixed.square() - square * rest).clamp_min(0).sqrt()) / square
    return (length[..., None] * stretched - shift) * _TOKEN_DEVIATION
