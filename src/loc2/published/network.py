"""The published matching network: two projectors over frozen DINOv2 features.

Each projector is three residual blocks, three layers of linear attention (Katharopoulos et al.
2020) and a final residual block; its output is L2-normalised. Names inside a projector are those
of the published checkpoints.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from loc2.matching.correlation import dual_softmax

DESCRIPTOR_DIM = 128
"""Channels of a descriptor."""

_ATTENTION_LAYERS = 3
_ATTENTION_HEADS = 8


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch normalisation and a shortcut.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output; where they differ the shortcut is a 1x1 convolution.
        activate: apply the last ReLU.
    """

    def __init__(self, in_channels: int, out_channels: int, activate: bool = True) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.shortcut = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.activate = activate

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, H, W)."""
        out = functional.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out)) + self.shortcut(x)
        return functional.relu(out) if self.activate else out


class LinearAttentionLayer(nn.Module):
    """Self-attention with the feature map elu + 1, linear in the number of tokens.

    Args:
        dim: channels of a token.
        heads: attention heads.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(dim, dim, bias=False)
        self.k_proj = nn.Linear(dim, dim, bias=False)
        self.v_proj = nn.Linear(dim, dim, bias=False)
        self.merge = nn.Linear(dim, dim, bias=False)
        self.mlp = nn.Sequential(
            nn.Linear(2 * dim, 2 * dim, bias=False),
            nn.ReLU(),
            nn.Linear(2 * dim, dim, bias=False),
        )
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, L, dim) tokens to (B, L, dim)."""
        batch, length, dim = x.shape
        shape = (batch, length, self.heads, dim // self.heads)
        query = functional.elu(self.q_proj(x).view(shape)) + 1
        key = functional.elu(self.k_proj(x).view(shape)) + 1
        # The values are divided by the length and the result multiplied, so that sums over many
        # tokens stay in range in half precision.
        value = self.v_proj(x).view(shape) / length
        memory = torch.einsum("blhd,blhe->bhde", key, value)
        normaliser = torch.einsum("blhd,bhd->blh", query, key.sum(dim=1)) + 1e-6
        message = torch.einsum("blhd,bhde->blhe", query, memory) / normaliser[..., None] * length
        message = self.norm1(self.merge(message.reshape(batch, length, dim)))
        message = self.norm2(self.mlp(torch.cat((x, message), dim=-1)))
        updated: Tensor = x + message
        return updated


class _AttentionStack(nn.Module):
    def __init__(self, dim: int, heads: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(LinearAttentionLayer(dim, heads) for _ in range(layers))
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


def sine_position_encoding(dim: int, rows: int, cols: int) -> Tensor:
    """Return the sine encoding of a token grid.

    Channels come in groups of four: sin and cos of the column, sin and cos of the row, each times
    a frequency 10000^(-2k / (dim / 2)) of group k; columns and rows count from 1.

    Args:
        dim: channels, a multiple of four.
        rows: token rows.
        cols: token columns.

    Returns:
        (dim, rows, cols) float32.
    """
    group = torch.arange(dim // 4, dtype=torch.float32)
    frequency = torch.exp(group * (-2 * math.log(10000.0) / (dim // 2)))[:, None, None]
    x = torch.arange(1, cols + 1, dtype=torch.float32).expand(rows, cols) * frequency
    y = torch.arange(1, rows + 1, dtype=torch.float32)[:, None].expand(rows, cols) * frequency
    return torch.stack((x.sin(), x.cos(), y.sin(), y.cos()), dim=1).flatten(0, 1)


class Projector(nn.Module):
    """Backbone features to descriptors.

    Args:
        in_channels: channels of the backbone's features.
        encode_position: add the sine position encoding before the attention layers.
    """

    def __init__(self, in_channels: int, encode_position: bool) -> None:
        super().__init__()
        dim = DESCRIPTOR_DIM
        self.encode_position = encode_position
        self.resblocks = nn.Sequential(
            ResidualBlock(in_channels, 4 * dim),
            ResidualBlock(4 * dim, 2 * dim),
            ResidualBlock(2 * dim, dim),
        )
        self.att_layer = _AttentionStack(dim, _ATTENTION_HEADS, _ATTENTION_LAYERS)
        self.final_block = ResidualBlock(dim, dim, activate=False)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) features to (B, 128, H, W) unit descriptors."""
        x = self.resblocks(features)
        if self.encode_position:
            x = x + sine_position_encoding(x.shape[1], *x.shape[2:]).to(x)
        tokens = self.att_layer(x.flatten(2).transpose(1, 2))
        projected: Tensor = self.final_block(tokens.transpose(1, 2).reshape_as(x))
        return functional.normalize(projected, dim=1, eps=1e-10)


class Matcher(nn.Module):
    """Ground and aerial features to match probabilities.

    Args:
        in_channels: channels of the backbone's features.
        temperature: divisor of the cosine similarities.
        aerial_cells: side of the aerial token grid that is matched.
    """

    def __init__(
        self, in_channels: int = 1024, temperature: float = 0.1, aerial_cells: int = 41
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.aerial_cells = aerial_cells
        self.ground_projector = Projector(in_channels, encode_position=True)
        self.aerial_projector = Projector(in_channels, encode_position=False)
        self.dustbin_score = nn.Parameter(torch.tensor(1.0))

    def ground_descriptors(self, features: Tensor) -> Tensor:
        """Map (B, C, h, w) backbone features to (B, 128, h, w) unit descriptors."""
        descriptors: Tensor = self.ground_projector(features)
        return descriptors

    def aerial_descriptors(self, features: Tensor) -> Tensor:
        """Map (B, C, h, w) backbone features to (B, 128, n, n) unit descriptors.

        The features are resampled (bilinear, half-pixel centres) to the aerial grid of n cells
        a side before they are projected.
        """
        size = (self.aerial_cells, self.aerial_cells)
        resized = functional.interpolate(features, size=size, mode="bilinear", align_corners=False)
        descriptors: Tensor = self.aerial_projector(resized)
        return descriptors

    def scores(self, ground: Tensor, aerial: Tensor, valid: Tensor | None = None) -> Tensor:
        """Compare descriptors.

        Args:
            ground: (B, 128, h, w) ground descriptors.
            aerial: (B, 128, n, n) aerial descriptors.
            valid: (B, h * w) bool, False for ground points that cannot match; default all valid.

        Returns:
            (B, n * n, h * w) cosine similarity over temperature, -inf at invalid ground points.
        """
        scores = aerial.flatten(2).transpose(1, 2) @ ground.flatten(2) / self.temperature
        return scores if valid is None else scores.masked_fill(~valid[:, None], -math.inf)

    def probabilities(self, scores: Tensor) -> Tensor:
        """Return the match probabilities (B, n * n, h * w) of :meth:`scores`."""
        return dual_softmax(scores, self.dustbin_score)
