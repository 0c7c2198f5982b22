"""Mip pyramids of textures, averaged in linear light."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]
UInt8 = NDArray[np.uint8]

MAX_LEVELS = 13
"""Levels of the longest pyramid (4096 pixels down to 1)."""


def srgb_to_linear(srgb: NDArray[np.floating]) -> Float32:
    """Return linear light of sRGB values in [0, 1] (IEC 61966-2-1)."""
    srgb = srgb.astype(np.float32)
    return np.where(
        srgb <= 0.04045, srgb / 12.92, ((np.maximum(srgb, 0.0) + 0.055) / 1.055) ** 2.4
    ).astype(np.float32)


def linear_to_srgb(linear: NDArray[np.floating]) -> Float32:
    """Return sRGB values in [0, 1] of linear light, clipped to [0, 1] (IEC 61966-2-1)."""
    linear = np.clip(linear, 0.0, 1.0).astype(np.float32)
    return np.where(
        linear <= 0.0031308, linear * 12.92, 1.055 * np.power(linear, 1 / 2.4) - 0.055
    ).astype(np.float32)


def build_pyramid(texture: UInt8, alpha: UInt8 | None) -> tuple[UInt8, Int32]:
    """Return all mip levels of a texture, one after another.

    Args:
        texture: (H, W, 3) sRGB colours.
        alpha: (H, W) cut-out mask or None for opaque.

    Returns:
        (N, 4) RGBA texels (sRGB) of all levels, and (L, 3) offset, height and width per level.
        Levels halve down to one texel; masks become the share that is present.
    """
    linear = srgb_to_linear(_U8_TO_UNIT[texture])
    mask = None if alpha is None else np.where(alpha > 127, 255, 0).astype(np.float32)
    levels: list[UInt8] = []
    info: list[tuple[int, int, int]] = []
    offset = 0
    while True:
        height, width = linear.shape[:2]
        texels = np.empty((height, width, 4), np.uint8)
        texels[..., :3] = texture if not levels else np.rint(linear_to_srgb(linear) * 255)
        texels[..., 3] = 255 if mask is None else np.rint(mask)
        levels.append(texels.reshape(-1, 4))
        info.append((offset, height, width))
        offset += height * width
        if height == width == 1 or len(levels) == MAX_LEVELS:
            break
        if mask is None:
            linear = _halve(linear)
        else:  # colours of absent texels must not bleed into the leaves
            weight = mask[..., None] + 1e-3
            linear = _halve(linear * weight) / _halve(weight)
            mask = _halve(mask[..., None])[..., 0]
    return np.concatenate(levels), np.array(info, np.int32)


_U8_TO_UNIT: Float32 = (np.arange(256) / 255).astype(np.float32)


def _halve(image: Float32) -> Float32:
    """Average pairs of rows and columns; an odd last row or column is joined to its pair."""
    height, width = image.shape[:2]
    if height > 1:
        image = image[: height // 2 * 2].reshape(height // 2, 2, width, -1).mean(axis=1)
    if width > 1:
        even = image[:, : width // 2 * 2]
        image = even.reshape(len(image), width // 2, 2, -1).mean(axis=2)
    return image
