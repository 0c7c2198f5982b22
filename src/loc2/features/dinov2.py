"""DINOv2 vision transformers in plain PyTorch (Oquab et al. 2023, Darcet et al. 2023).

Parameter names are those of the official checkpoints. Inputs are already normalised images:
normalisation travels with the weights (see :mod:`loc2.model`), not with the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from loc2.processor import has_amx


@dataclass(frozen=True)
class VitConfig:
    """Architecture of a vision transformer.

    Attributes:
        embed_dim: channels of a token.
        depth: number of blocks.
        num_heads: attention heads.
        patch_size: side of a patch, pixels.
        pretrain_size_px: image side whose position embedding is stored, pixels.
        num_registers: register tokens (0 or 4 in the published weights).
        swiglu: gated feed-forward layer (the giant variant) instead of a plain one.
        mlp_ratio: hidden width of the plain feed-forward layer over ``embed_dim``.
    """

    embed_dim: int
    depth: int
    num_heads: int
    patch_size: int = 14
    pretrain_size_px: int = 518
    num_registers: int = 0
    swiglu: bool = False
    mlp_ratio: float = 4.0

    @property
    def hidden_dim(self) -> int:
        """Width of the feed-forward layer; the gated one keeps its parameter count alike."""
        hidden = int(self.embed_dim * self.mlp_ratio)
        return (int(hidden * 2 / 3) + 7) // 8 * 8 if self.swiglu else hidden


VARIANTS: dict[str, VitConfig] = {
    "dinov2_vits14": VitConfig(384, 12, 6),
    "dinov2_vitb14": VitConfig(768, 12, 12),
    "dinov2_vitl14": VitConfig(1024, 24, 16),
    "dinov2_vitg14": VitConfig(1536, 40, 24, swiglu=True),
    "dinov2_vits14_reg": VitConfig(384, 12, 6, num_registers=4),
    "dinov2_vitb14_reg": VitConfig(768, 12, 12, num_registers=4),
    "dinov2_vitl14_reg": VitConfig(1024, 24, 16, num_registers=4),
    "dinov2_vitg14_reg": VitConfig(1536, 40, 24, num_registers=4, swiglu=True),
}
"""The published variants by their official names."""


_TILE = 16
_MANY = 768  # fewer tokens gain nothing from whole tiles
_ROWS = 128


class _PatchEmbed(nn.Module):
    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, config.embed_dim, config.patch_size, config.patch_size)


class _Attention(nn.Module):
    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, dim = x.shape
        qkv = self.qkv(x).reshape(batch, length, 3, self.num_heads, dim // self.num_heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        if query.device.type == "cpu" and query.dtype == torch.bfloat16:
            seen = _attend_in_half(query, key, value)
        else:
            seen = functional.scaled_dot_product_attention(query, key, value)
        projected: Tensor = self.proj(seen.transpose(1, 2).reshape(batch, length, dim))
        return projected


def _attend_in_half(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention of (B, heads, L, d) tokens in bfloat16 on a CPU.

    PyTorch's own attention has fast products in bfloat16 on CPUs with AMX only. On others matrix
    products are several times as fast, with few enough rows at a time that they stay in the cache.
    """
    length = query.shape[2]
    if has_amx():
        # Tiles: attention over 1,376 tokens takes less time than over 1,370, but for its gradient.
        added = -length % _TILE if length >= _MANY else 0
        if not added or query.requires_grad:
            return functional.scaled_dot_product_attention(query, key, value)
        query, key, value = (functional.pad(t, (0, 0, 0, added)) for t in (query, key, value))
        mask = query.new_zeros(length + added)
        mask[length:] = -torch.inf
        mask = mask.expand(1, 1, length + added, -1)
        return functional.scaled_dot_product_attention(query, key, value, mask)[:, :, :length]
    # What all keys share adds the same to all scores of a row, which has no say in the answer and
    # would cost the rest its last bits.
    key = (key - key.mean(2, keepdim=True, dtype=torch.float32)).to(query.dtype)
    scaled = (query * query.shape[-1] ** -0.5).flatten(0, 1)
    key, value = key.flatten(0, 1).transpose(1, 2).contiguous(), value.flatten(0, 1)
    seen = torch.empty_like(scaled)
    for first in range(0, length, _ROWS):
        rows = slice(first, first + _ROWS)
        seen[:, rows] = (scaled[:, rows] @ key).softmax(-1) @ value
    return seen.reshape(query.shape)


class _Mlp(nn.Module):
    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(functional.gelu(self.fc1(x)))
        return out


class _SwiGlu(nn.Module):
    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.w12 = nn.Linear(dim, 2 * hidden)
        self.w3 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.w12(x).chunk(2, dim=-1)
        out: Tensor = self.w3(functional.silu(gate) * value)
        return out


class _LayerScale(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class _Block(nn.Module):
    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        dim = config.embed_dim
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = _Attention(dim, config.num_heads)
        self.ls1 = _LayerScale(dim)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        feed_forward = _SwiGlu if config.swiglu else _Mlp
        self.mlp = feed_forward(dim, config.hidden_dim)
        self.ls2 = _LayerScale(dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x)))
        out: Tensor = x + self.ls2(self.mlp(self.norm2(x)))
        return out


class VisionTransformer(nn.Module):
    """A DINOv2 backbone that returns maps of patch features.

    Args:
        config: the architecture, for instance ``VARIANTS["dinov2_vits14"]``.
    """

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        self.config = config
        grid = config.pretrain_size_px // config.patch_size
        dim = config.embed_dim
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + grid * grid, dim))
        self.mask_token = nn.Parameter(torch.zeros(1, dim))
        if config.num_registers:
            self.register_tokens = nn.Parameter(torch.zeros(1, config.num_registers, dim))
        self.patch_embed = _PatchEmbed(config)
        self.blocks = nn.ModuleList(_Block(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6)

    def position_embedding(self, rows: int, cols: int) -> Tensor:
        """Return the position embedding for a token grid, as the published weights expect it.

        The stored grid is resampled bicubically. Weights without registers were used with scale
        factors of (tokens + 0.1) / stored side handed to the kernel, those with registers with the
        target size and antialiasing.

        Args:
            rows: token rows.
            cols: token columns.

        Returns:
            (1, 1 + rows * cols, C), the class token's first.
        """
        stored = self.pos_embed
        side = round((stored.shape[1] - 1) ** 0.5)
        if rows == cols == side:
            return stored
        grid = stored[:, 1:].float().reshape(1, side, side, -1).permute(0, 3, 1, 2)
        if self.config.num_registers:
            resized = functional.interpolate(
                grid, size=(rows, cols), mode="bicubic", align_corners=False, antialias=True
            )
        else:
            factors = ((rows + 0.1) / side, (cols + 0.1) / side)
            resized = functional.interpolate(
                grid, scale_factor=factors, mode="bicubic", align_corners=False
            )
        flat = resized.permute(0, 2, 3, 1).reshape(1, rows * cols, -1).to(stored.dtype)
        return torch.cat((stored[:, :1], flat), dim=1)

    def forward(self, images: Tensor, blocks: Sequence[int] | None = None) -> list[Tensor]:
        """Compute normalised patch features after chosen blocks.

        Args:
            images: (B, 3, H, W) normalised images; H and W are cropped (top left kept) to whole
                patches.
            blocks: indices of blocks whose output is wanted, ascending; the last one by default.

        Returns:
            One (B, C, H // 14, W // 14) map for each wanted block, after the final LayerNorm.

        Raises:
            ValueError: the image is smaller than one patch, or a block does not exist.
        """
        maps, _ = self.forward_with_class_token(images, blocks)
        return maps

    def forward_with_class_token(
        self, images: Tensor, blocks: Sequence[int] | None = None
    ) -> tuple[list[Tensor], Tensor]:
        """Compute what :meth:`forward` does, and the (B, C) class token of the last wanted block.

        Args:
            images: (B, 3, H, W) normalised images.
            blocks: indices of wanted blocks, ascending; the last one by default.

        Raises:
            ValueError: the image is smaller than one patch, or a block does not exist.
        """
        wanted = list(blocks) if blocks is not None else [self.config.depth - 1]
        if not wanted or min(wanted) < 0 or max(wanted) >= self.config.depth:
            raise ValueError(f"blocks must lie in 0..{self.config.depth - 1}, got {wanted}")
        patch = self.config.patch_size
        rows, cols = images.shape[-2] // patch, images.shape[-1] // patch
        if rows < 1 or cols < 1:
            raise ValueError(f"image is smaller than one {patch}-pixel patch")
        tokens = self.patch_embed.proj(images[..., : rows * patch, : cols * patch])
        tokens = tokens.flatten(2).transpose(1, 2)
        batch = tokens.shape[0]
        x = torch.cat((self.cls_token.expand(batch, -1, -1), tokens), dim=1)
        x = x + self.position_embedding(rows, cols)
        skip = 1 + self.config.num_registers
        if self.config.num_registers:
            x = torch.cat((x[:, :1], self.register_tokens.expand(batch, -1, -1), x[:, 1:]), dim=1)
        maps: list[Tensor] = []
        for index, block in enumerate(self.blocks[: max(wanted) + 1]):
            x = block(x)
            if index in wanted:
                normalised = self.norm(x)
                patches = normalised[:, skip:].transpose(1, 2)
                maps.append(patches.reshape(batch, -1, rows, cols))
        return maps, normalised[:, 0]
