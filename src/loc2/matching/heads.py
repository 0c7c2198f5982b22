"""Descriptor heads: small convolutional networks over frozen backbone features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.nn import functional


class HeadConfig(BaseModel):
    """Size of a descriptor head.

    Attributes:
        hidden_dim: channels of the residual layers.
        num_layers: residual 3x3 layers.
        descriptor_dim: channels of a descriptor.
        dropout: share of feature channels dropped while training; the network of its own for depth
            drops none.
        column_heads: heads of an attention along the columns of the ground image before the last
            residual layer, 0 for none. What stands on the ground is as far away as its foot, which
            lies further down the same column than 3x3 layers see.
        depth_dim: channels of a network of its own for depth, with such an attention before every
            layer; 0 lets the network of the ground descriptors tell depth too.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    hidden_dim: int = Field(default=192, ge=8)
    num_layers: int = Field(default=3, ge=0)
    descriptor_dim: int = Field(default=64, ge=4)
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0)
    column_heads: int = Field(default=0, ge=0)
    depth_dim: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        for name in ("hidden_dim", "depth_dim"):
            if self.column_heads and getattr(self, name) % self.column_heads:
                raise ValueError(f"{name} must be a multiple of column_heads")
        return self


@dataclass(frozen=True)
class CellDepth:
    """The model's own depth of the cells of a ground image.

    Attributes:
        log_range_ratio: (B, h, w) natural logarithm of range over camera height.
        valid_logit: (B, h, w) logit of "has depth: neither sky nor the own vehicle".
    """

    log_range_ratio: Tensor
    valid_logit: Tensor


@dataclass(frozen=True)
class GroundDescription:
    """What the ground head says of each cell of a ground image.

    Attributes:
        descriptors: (B, D, h, w) unit descriptors.
        weight: (B, h, w) positive weight of a cell in the alignment.
        depth: of each cell, or None where the model has no depth of its own.
    """

    descriptors: Tensor
    weight: Tensor
    depth: CellDepth | None


class _ResidualLayer(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, dim)
        self.conv = nn.Conv2d(dim, dim, 3)

    def forward(self, x: Tensor, wrap: bool) -> Tensor:
        out: Tensor = x + self.conv(_pad(functional.gelu(self.norm(x)), wrap))
        return out


class ColumnAttention(nn.Module):
    """Every cell looks at all cells above and below it.

    Args:
        dim: channels.
        heads: heads of the attention, a divisor of ``dim``.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(8, dim)
        self.qkv = nn.Conv2d(dim, 3 * dim, 1)
        self.out = nn.Conv2d(dim, dim, 1)
        # Zero to start with: the layer is then the identity.
        nn.init.zeros_(self.out.weight)
        if self.out.bias is not None:
            nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor, wrap: bool) -> Tensor:
        """Map (B, dim, h, w) to the same shape; ``wrap`` does not matter within a column."""
        del wrap
        batch, dim, rows, cols = x.shape
        split = self.qkv(self.norm(x)).reshape(batch, 3, self.heads, -1, rows, cols)
        query, key, value = split.permute(1, 0, 5, 2, 4, 3).unbind(0)  # (B, cols, heads, rows, d)
        seen = functional.scaled_dot_product_attention(query, key, value)
        gathered = seen.permute(0, 2, 4, 3, 1).reshape(batch, dim, rows, cols)
        out: Tensor = x + self.out(gathered)
        return out


def _pad(x: Tensor, wrap: bool) -> Tensor:
    """Pad one cell on each side; a full panorama wraps around left and right."""
    x = functional.pad(x, (1, 1, 0, 0), mode="circular" if wrap else "replicate")
    return functional.pad(x, (0, 0, 1, 1), mode="replicate")


class ResidualConvHead(nn.Module):
    """Features to descriptors: residual 3x3 layers beside a linear skip from the features.

    Args:
        feature_dim: channels of the backbone features (all levels together).
        out_dim: output channels.
        config: sizes.
        skip_dim: leading output channels that also get the linear skip.
        hidden_dim: channels of the residual layers.
        columns: last layers that an attention along columns goes before.
    """

    def __init__(
        self,
        feature_dim: int,
        out_dim: int,
        config: HeadConfig,
        skip_dim: int,
        hidden_dim: int,
        columns: int = 0,
    ) -> None:
        super().__init__()
        self.skip_dim = skip_dim
        self.drop = nn.Dropout2d(config.dropout)
        self.skip = nn.Conv2d(feature_dim, skip_dim, 1, bias=False)
        self.reduce = nn.Conv2d(feature_dim, hidden_dim, 1)
        layers: list[nn.Module] = []
        for left in range(config.num_layers, 0, -1):
            if config.column_heads and left <= columns:
                layers.append(ColumnAttention(hidden_dim, config.column_heads))
            layers.append(_ResidualLayer(hidden_dim))
        self.layers = nn.ModuleList(layers)
        self.norm = nn.GroupNorm(8, hidden_dim)
        self.out = nn.Conv2d(hidden_dim, out_dim, 1)
        # A zero residual makes the untrained head a projection of the features, so training
        # starts from what frozen features can do.
        nn.init.zeros_(self.out.weight)
        if self.out.bias is not None:
            nn.init.zeros_(self.out.bias)

    @torch.no_grad()
    def set_projection(self, projection: Tensor) -> None:
        """Set the linear skip, which ground and aerial heads must share to start with.

        Args:
            projection: (skip_dim, C) with C at most ``feature_dim``; further inputs get zeros.
        """
        self.skip.weight.zero_()
        self.skip.weight[:, : projection.shape[1], 0, 0] = projection

    def forward(self, features: Tensor, wrap: bool = False) -> Tensor:
        """Map (B, C, h, w) features to (B, out_dim, h, w); ``wrap`` joins left and right edges."""
        features = self.drop(features)
        hidden = self.reduce(features)
        for layer in self.layers:
            hidden = layer(hidden, wrap)
        out: Tensor = self.out(functional.gelu(self.norm(hidden)))
        skipped: Tensor = self.skip(features)
        return torch.cat((out[:, : self.skip_dim] + skipped, out[:, self.skip_dim :]), dim=1)


_LEVEL_LIMIT = 10.0
"""The base of depth ends at this many camera heights. Where it went on to the horizon, walls near
the horizon were too near or too far by half in photos, whose rows lie at any elevation."""


class GroundHead(nn.Module):
    """Descriptors, weights and the model's own depth from ground features.

    Args:
        feature_dim: channels of the backbone features.
        config: sizes.
    """

    def __init__(self, feature_dim: int, config: HeadConfig) -> None:
        super().__init__()
        self.descriptor_dim = config.descriptor_dim
        # Rays enter the networks because elevation says most about range and weight. After the
        # descriptor there is a weight logit, then log range ratio and validity logit.
        told = config.descriptor_dim + (1 if config.depth_dim else 3)
        self.net = ResidualConvHead(
            feature_dim + 3, told, config, config.descriptor_dim, config.hidden_dim, columns=1
        )
        self.depth_net: ResidualConvHead | None = None
        if config.depth_dim:
            # Without its rays depth could not know where level ground is.
            steady = config.model_copy(update={"dropout": 0.0})
            self.depth_net = ResidualConvHead(
                feature_dim + 3, 2, steady, 2, config.depth_dim, columns=config.num_layers
            )
            self.depth_net.set_projection(torch.zeros(2, 0))

    def forward(self, features: Tensor, rays: Tensor, wrap: bool) -> GroundDescription:
        """Describe the cells of a ground image.

        Args:
            features: (B, C, h, w) backbone features, unit length.
            rays: (B, 3, h, w) unit rays of the cell centres in the local frame.
            wrap: True for a full panorama, whose left and right edges meet.
        """
        out = self.net(torch.cat((features, rays.to(features)), dim=1), wrap)
        dim = self.descriptor_dim
        if self.depth_net is None:
            depth = _beside_level_ground(out[:, dim + 1 :], rays)
        else:
            depth = self.tell_depth(features, rays, wrap)
        return GroundDescription(
            descriptors=functional.normalize(out[:, :dim], dim=1),
            weight=functional.softplus(out[:, dim] + 0.5413),  # softplus(0.5413) = 1
            depth=depth,
        )

    def tell_depth(self, features: Tensor, rays: Tensor, wrap: bool) -> CellDepth:
        """Tell depth alone, for heads with a network of its own for it.

        Args:
            features: (B, C, h, w) backbone features, unit length.
            rays: (B, 3, h, w) unit rays of the cell centres in the local frame.
            wrap: True for a full panorama.
        """
        assert self.depth_net is not None
        told = self.depth_net(torch.cat((features, rays.to(features)), dim=1), wrap)
        return _beside_level_ground(told, rays)


def _beside_level_ground(told: Tensor, rays: Tensor) -> CellDepth:
    """Read (B, 2, h, w) outputs: how far range deviates from level ground's, and validity."""
    level = -torch.log((-rays[:, 2]).clamp_min(1 / _LEVEL_LIMIT))
    # Valid to start with: the untrained depth is level ground, not nothing.
    return CellDepth(level + told[:, 0], told[:, 1] + 1.0)
