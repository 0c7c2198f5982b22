"""Mip pyramids of textures, averaged in linear light."""

from __future__ import annotations

import numpy as np
from numba import njit
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


def pyramid_levels(height: int, width: int) -> Int32:
    """Return (L, 3) offset, height and width of the mip levels of a texture, down to one texel."""
    sizes = [(height, width)]
    while sizes[-1] != (1, 1) and len(sizes) < MAX_LEVELS:
        sizes.append((max(1, sizes[-1][0] // 2), max(1, sizes[-1][1] // 2)))
    offsets = np.concatenate([[0], np.cumsum([h * w for h, w in sizes[:-1]])])
    return np.array([(o, h, w) for o, (h, w) in zip(offsets, sizes, strict=True)], np.int32)


def texel_count(levels: Int32) -> int:
    """Return the number of texels of all mip levels."""
    return int((levels[:, 1] * levels[:, 2]).sum())


def build_pyramid(texture: UInt8, alpha: UInt8 | None) -> tuple[UInt8, Int32]:
    """Return all mip levels of a texture, one after another.

    Args:
        texture: (H, W, 3) sRGB colours.
        alpha: (H, W) cut-out mask or None for opaque.

    Returns:
        (N, 4) RGBA texels (sRGB) of all levels, and (L, 3) offset, height and width per level.
        Levels halve down to one texel; masks become the share that is present.
    """
    levels = pyramid_levels(*texture.shape[:2])
    texels = np.empty((texel_count(levels), 4), np.uint8)
    fill_pyramid(texture, alpha, levels, texels)
    return texels, levels


def fill_pyramid(texture: UInt8, alpha: UInt8 | None, levels: Int32, texels: UInt8) -> None:
    """Write all mip levels of a texture; see :func:`build_pyramid`."""
    views = [texels[o : o + h * w].reshape(h, w, 4) for o, h, w in levels.tolist()]
    if alpha is None:
        _opaque(texture, views[0])
        level = np.empty((0, 0, 3), np.float32)
        for view in views[1:]:
            smaller = np.empty((*view.shape[:2], 3), np.float32)
            if len(level) == 0:
                _halve_first(texture, _LINEAR, _SRGB, smaller, view)
            else:
                _halve_opaque(level, _SRGB, smaller, view)
            level = smaller
        return
    views[0][..., :3] = texture
    views[0][..., 3] = np.where(alpha > 127, 255, 0)
    # premultiplied by the mask (a trace of it where absent), so that what is cut away does not
    # bleed into the leaves
    level = np.empty(views[0].shape, np.float32)
    _decode(views[0], _LINEAR, level)
    for view in views[1:]:
        smaller = np.empty(view.shape, np.float32)
        _halve(level, smaller)
        _encode(smaller, _SRGB, view)
        level = smaller


_SRGB_STEPS = 4095
_TRACE = 1e-3  # weight of texels that the mask cuts away
_LINEAR: Float32 = srgb_to_linear(np.arange(256) / 255)
_SRGB: UInt8 = np.rint(
    255 * linear_to_srgb((np.arange(_SRGB_STEPS + 1) / _SRGB_STEPS) ** 2)
).astype(np.uint8)  # over the square root of linear light


@njit(cache=True, nogil=True, error_model="numpy")
def _decode(texels, linear, out):  # type: ignore[no-untyped-def]
    """Write premultiplied linear colour and weight of 8-bit RGBA texels."""
    for row in range(out.shape[0]):
        for col in range(out.shape[1]):
            weight = np.float32(1.0) if texels[row, col, 3] > 127 else np.float32(_TRACE)
            for c in range(3):
                out[row, col, c] = linear[texels[row, col, c]] * weight
            out[row, col, 3] = weight


@njit(cache=True, nogil=True, error_model="numpy")
def _halve(source, out):  # type: ignore[no-untyped-def]
    """Average blocks of 2x2; one row or column stays, an odd last one is left out."""
    down = 1 if source.shape[0] > 1 else 0
    across = 1 if source.shape[1] > 1 else 0
    for row in range(out.shape[0]):
        for col in range(out.shape[1]):
            r, c = row * (1 + down), col * (1 + across)
            for i in range(4):
                total = source[r, c, i] + source[r, c + across, i]
                total += source[r + down, c, i] + source[r + down, c + across, i]
                out[row, col, i] = np.float32(0.25) * total


@njit(cache=True, nogil=True, error_model="numpy")
def _encode(level, srgb, out):  # type: ignore[no-untyped-def]
    """Write 8-bit RGBA texels of premultiplied linear colour and weight."""
    for row in range(out.shape[0]):
        for col in range(out.shape[1]):
            weight = level[row, col, 3]
            for c in range(3):
                root = np.sqrt(min(level[row, col, c] / weight, np.float32(1.0)))
                out[row, col, c] = srgb[int(root * np.float32(_SRGB_STEPS) + np.float32(0.5))]
            out[row, col, 3] = int((weight - _TRACE) / (1.0 - _TRACE) * 255.0 + 0.5)


@njit(cache=True, nogil=True, error_model="numpy")
def _opaque(texture, out):  # type: ignore[no-untyped-def]
    """Write RGBA texels of an opaque texture."""
    for row in range(out.shape[0]):
        for col in range(out.shape[1]):
            for c in range(3):
                out[row, col, c] = texture[row, col, c]
            out[row, col, 3] = 255


@njit(cache=True, nogil=True, error_model="numpy")
def _halve_first(texture, linear, srgb, out, texels):  # type: ignore[no-untyped-def]
    """Average blocks of 2x2 of an opaque 8-bit texture, as linear colour and as texels."""
    down = 1 if texture.shape[0] > 1 else 0
    across = 1 if texture.shape[1] > 1 else 0
    for row in range(out.shape[0]):
        for col in range(out.shape[1]):
            r, c = row * (1 + down), col * (1 + across)
            for i in range(3):
                total = linear[texture[r, c, i]] + linear[texture[r, c + across, i]]
                total += linear[texture[r + down, c, i]] + linear[texture[r + down, c + across, i]]
                mean = np.float32(0.25) * total
                out[row, col, i] = mean
                root = np.sqrt(min(mean, np.float32(1.0)))
                texels[row, col, i] = srgb[int(root * np.float32(_SRGB_STEPS) + np.float32(0.5))]
            texels[row, col, 3] = 255


@njit(cache=True, nogil=True, error_model="numpy")
def _halve_opaque(source, srgb, out, texels):  # type: ignore[no-untyped-def]
    """Average blocks of 2x2 of linear colour, kept and written as texels."""
    down = 1 if source.shape[0] > 1 else 0
    across = 1 if source.shape[1] > 1 else 0
    for row in range(out.shape[0]):
        for col in range(out.shape[1]):
            r, c = row * (1 + down), col * (1 + across)
            for i in range(3):
                total = source[r, c, i] + source[r, c + across, i]
                total += source[r + down, c, i] + source[r + down, c + across, i]
                mean = np.float32(0.25) * total
                out[row, col, i] = mean
                root = np.sqrt(min(mean, np.float32(1.0)))
                texels[row, col, i] = srgb[int(root * np.float32(_SRGB_STEPS) + np.float32(0.5))]
            texels[row, col, 3] = 255
