"""From radiance to photographs: what cameras, their software and compression do to an image.

Ground photos and orthophotos pass through the same few operations with different strengths. All
randomness comes from the generator that is passed in; parameters can also be given by hand.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional

from loc2.scenes.texture import linear_to_srgb, srgb_to_linear

Float32 = NDArray[np.float32]
UInt8 = NDArray[np.uint8]
_CURVE_LIMIT = 8.0
_CURVE_SIZE = 2049
_NONE = np.zeros((0, 0), np.float32)
Rgb = tuple[float, float, float]


@dataclass(frozen=True)
class Development:
    """How radiance becomes an sRGB photograph; the defaults change as little as possible.

    Attributes:
        exposure_ev: stops above or below automatic exposure.
        white_balance: factors of red, green and blue, in linear light.
        veil: light scattered into the lens or the air, added to all pixels, in linear light of
            the exposed image.
        veil_rgb: colour of that light.
        vignetting: share of light lost in the corners (not in panoramas).
        blur_px: standard deviation of the lens' softness, pixels.
        resolution: share of the resolution that survives, 1 for all.
        noise: standard deviation of the noise of a mid grey, sRGB units.
        contrast: 1 leaves the tone curve, more steepens its middle.
        saturation: 1 leaves colours, 0 is grey.
        sharpening: strength of an unsharp mask.
        jpeg_quality: 1 to 95; 0 for no compression.
    """

    exposure_ev: float = 0.0
    white_balance: Rgb = (1.0, 1.0, 1.0)
    veil: float = 0.0
    veil_rgb: Rgb = (1.0, 1.0, 1.0)
    vignetting: float = 0.0
    blur_px: float = 0.0
    resolution: float = 1.0
    noise: float = 0.0
    contrast: float = 1.0
    saturation: float = 1.0
    sharpening: float = 0.0
    jpeg_quality: int = 0


def random_ground_development(rng: np.random.Generator, *, panorama: bool) -> Development:
    """Draw the development of a ground photo: from a good camera to a poor one."""
    warmth = rng.normal(0.0, 0.07)
    return Development(
        exposure_ev=float(np.clip(rng.normal(0.0, 0.4), -1.0, 0.9)),
        white_balance=_balance(warmth, rng.normal(0.0, 0.02)),
        veil=float(rng.uniform(0.0, 0.03)),
        vignetting=0.0 if panorama else float(rng.uniform(0.0, 0.45)),
        blur_px=float(rng.uniform(0.2, 0.9)),
        resolution=float(rng.uniform(0.6, 1.0)) if rng.random() < 0.3 else 1.0,
        noise=float(rng.exponential(0.008)),
        contrast=float(rng.uniform(0.85, 1.35)),
        saturation=float(rng.uniform(0.7, 1.25)),
        sharpening=float(rng.uniform(0.0, 0.8)) if rng.random() < 0.6 else 0.0,
        jpeg_quality=int(rng.integers(55, 95)),
    )


def random_aerial_development(rng: np.random.Generator) -> Development:
    """Draw the development of an orthophoto: haze, colour casts, darkness, lost resolution."""
    hazy = rng.random() < 0.4
    return Development(
        exposure_ev=float(np.clip(rng.normal(-0.25, 0.5), -1.6, 0.8)),
        white_balance=_balance(rng.normal(0.0, 0.1), rng.normal(0.0, 0.04)),
        veil=float(rng.uniform(0.02, 0.16) if hazy else rng.uniform(0.0, 0.03)),
        veil_rgb=(0.75, 0.9, 1.1),
        blur_px=float(rng.uniform(0.3, 1.3)),
        resolution=float(rng.uniform(0.45, 1.0)) if rng.random() < 0.5 else 1.0,
        noise=float(rng.exponential(0.008)),
        contrast=float(rng.uniform(0.8, 1.4)),
        saturation=float(rng.uniform(0.5, 1.2)),
        sharpening=float(rng.uniform(0.0, 1.4)) if rng.random() < 0.6 else 0.0,
        jpeg_quality=int(rng.integers(45, 95)),
    )


def develop(
    radiance: Float32,
    development: Development,
    rng: np.random.Generator,
    *,
    panorama: bool = False,
    self_lit: bool = False,
) -> Float32:
    """Turn linear radiance into an sRGB photograph.

    Args:
        radiance: (3, H, W) linear radiance.
        development: what to do.
        rng: source of the noise.
        panorama: true when the left and right edges meet.
        self_lit: true when the radiance is already a developed photograph's (photogrammetry):
            automatic exposure is left out.

    Returns:
        (3, H, W) float32 in [0, 1].
    """
    if development.jpeg_quality == 0:
        return _srgb(radiance, development, rng, panorama, self_lit)
    image = photograph(radiance, development, rng, panorama=panorama, self_lit=self_lit)
    return np.ascontiguousarray(image.transpose(2, 0, 1).astype(np.float32) / np.float32(255))


def photograph(
    radiance: Float32,
    development: Development,
    rng: np.random.Generator,
    *,
    panorama: bool = False,
    self_lit: bool = False,
) -> UInt8:
    """Return what :func:`develop` makes as an (H, W, 3) 8-bit image."""
    image = to_uint8(_srgb(radiance, development, rng, panorama, self_lit))
    return _jpeg(image, development.jpeg_quality) if development.jpeg_quality else image


def _srgb(
    radiance: Float32,
    development: Development,
    rng: np.random.Generator,
    panorama: bool,
    self_lit: bool,
) -> Float32:
    """Return the (3, H, W) photograph before it is compressed."""
    gain = (1.0 if self_lit else _automatic_gain(radiance)) * 2.0**development.exposure_ev
    factors = np.array(development.white_balance) * gain * (1.0 - development.veil)
    veil = np.array(development.veil_rgb) * development.veil
    image = np.empty(radiance.shape, np.float32)
    _expose(radiance, factors, development.vignetting, veil, image)
    image = _blur(image, development.blur_px, panorama)
    image = _lose_resolution(image, development.resolution)
    grain = rng.standard_normal(image.shape[1:], np.float32) if development.noise > 0.0 else _NONE
    curve = _tone_curve(development.contrast, self_lit)
    srgb = np.empty(image.shape, np.float32)
    saturation, noise = np.float32(development.saturation), np.float32(development.noise)
    _tone(image, curve, saturation, grain, noise, srgb)
    if development.sharpening > 0.0:
        _sharpen(srgb, _blur(srgb, 1.0, panorama), np.float32(development.sharpening))
    return srgb


def to_uint8(srgb: Float32) -> UInt8:
    """Return an (H, W, 3) 8-bit image of a (3, H, W) one in [0, 1]."""
    out = np.empty((*srgb.shape[1:], 3), np.uint8)
    _quantise(srgb, out)
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def _quantise(srgb, out):  # type: ignore[no-untyped-def]
    for row in range(out.shape[0]):
        for col in range(out.shape[1]):
            for c in range(3):
                out[row, col, c] = int(srgb[c, row, col] * np.float32(255) + np.float32(0.5))


@njit(cache=True, nogil=True, error_model="numpy")
def _sharpen(srgb, blurred, strength):  # type: ignore[no-untyped-def]
    """Add to an image its difference from a blurred one, in place."""
    for c in range(3):
        for row in range(srgb.shape[1]):
            for col in range(srgb.shape[2]):
                value = srgb[c, row, col]
                value += strength * (value - blurred[c, row, col])
                srgb[c, row, col] = min(max(value, np.float32(0)), np.float32(1))


def _balance(warmth: float, tint: float) -> Rgb:
    """Return channel factors: warmth moves blue to red, tint green against both."""
    return (math.exp(warmth - tint / 2), math.exp(tint), math.exp(-warmth - tint / 2))


def _automatic_gain(radiance: Float32) -> float:
    """Return the factor that brings the image's mean, in a perceptual scale, to a mid grey."""
    weights = np.array([0.2126, 0.7152, 0.0722], np.float32)
    luminance = np.tensordot(weights, radiance[:, ::4, ::4], 1)
    sample = np.minimum(luminance, np.float32(np.quantile(luminance, 0.98)))
    mean = float(np.mean(np.sqrt(np.maximum(sample, 0.0)))) ** 2
    return 0.2 / max(mean, 1e-4)


def _tone_curve(contrast: float, self_lit: bool) -> Float32:
    """Return sRGB values over the square root of linear light from 0 to ``_CURVE_LIMIT``.

    Highlights above 0.7 roll off instead of clipping (not in self-lit images), and a power steepens
    or flattens the curve around mid grey with its ends fixed.
    """
    root = np.linspace(0.0, math.sqrt(_CURVE_LIMIT), _CURVE_SIZE)
    linear = root**2
    if not self_lit:
        over = np.maximum(linear - 0.7, 0.0)
        linear = np.minimum(linear, 0.7) + 0.3 * (1.0 - np.exp(-over / 0.3))
    srgb = linear_to_srgb(linear)
    low = srgb < 0.5
    curved = 0.5 * (np.where(low, srgb, 1.0 - srgb) * 2.0) ** contrast
    return np.where(low, curved, 1.0 - curved).astype(np.float32)


@njit(cache=True, nogil=True, error_model="numpy")
def _tone(image, curve, saturation, grain, noise, out):  # type: ignore[no-untyped-def]
    """Apply the tone curve, saturation and noise (stronger in the dark, mostly luminance)."""
    _, height, width = image.shape
    zero, one, last = np.float32(0), np.float32(1), np.float32(len(curve) - 1.001)
    scale = np.float32((len(curve) - 1) / math.sqrt(_CURVE_LIMIT))
    noisy = grain.shape[0] > 0
    value = np.empty(3, np.float32)
    for row in range(height):
        for col in range(width):
            for c in range(3):
                at = min(np.sqrt(max(image[c, row, col], zero)) * scale, last)
                i = np.int32(at)
                value[c] = curve[i] + (at - np.float32(i)) * (curve[i + 1] - curve[i])
            grey = (
                np.float32(0.299) * value[0]
                + np.float32(0.587) * value[1]
                + np.float32(0.114) * value[2]
            )
            for c in range(3):
                out[c, row, col] = grey + saturation * (value[c] - grey)
        if noisy:
            for c in range(3):  # the colour part comes from elsewhere in the same field
                other = grain[(row + 37 * c + 11) % height]
                shift = (101 * c + 29) % width
                for col in range(width):
                    color = other[col + shift if col + shift < width else col + shift - width]
                    v = out[c, row, col]
                    speck = np.float32(0.8) * grain[row, col] + np.float32(0.4) * color
                    out[c, row, col] = v + noise * (np.float32(1.4) - v) * speck
        for c in range(3):
            for col in range(width):
                out[c, row, col] = min(max(out[c, row, col], zero), one)


@njit(cache=True, nogil=True, error_model="numpy")
def _expose(radiance, factors, loss, veil, out):  # type: ignore[no-untyped-def]
    """Scale the channels, darken towards the corners by ``loss`` there, and add the veil."""
    channels, height, width = radiance.shape
    corner = loss * 4.0 / (width**2 + height**2)
    for c in range(channels):
        for row in range(height):
            y_sq = (row + 0.5 - 0.5 * height) ** 2
            for col in range(width):
                gain = factors[c] * (1.0 - corner * (y_sq + (col + 0.5 - 0.5 * width) ** 2))
                out[c, row, col] = gain * radiance[c, row, col] + veil[c]


def _blur(image: Float32, sigma_px: float, wrap: bool) -> Float32:
    """Blur with a Gaussian, columns first; edges wrap around or repeat."""
    if sigma_px < 0.15:
        return image
    radius = max(1, math.ceil(2.5 * sigma_px))
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma_px) ** 2)
    taps = (taps / taps.sum()).astype(np.float32)
    blurred = np.empty(image.shape, np.float32)
    _convolve(np.ascontiguousarray(image, np.float32), taps, wrap, blurred)
    return blurred


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc"})
def _convolve(image, taps, wrap, out):  # type: ignore[no-untyped-def]
    """Convolve rows and columns of (C, H, W) with the same taps."""
    channels, height, width = image.shape
    radius = len(taps) // 2
    lines = np.empty((height, width), np.float32)
    padded = np.empty(width + 2 * radius, np.float32)
    total = np.empty(width, np.float32)
    for c in range(channels):
        for row in range(height):
            padded[radius : radius + width] = image[c, row]
            for i in range(radius):
                padded[i] = image[c, row, (i - radius) % width if wrap else 0]
                padded[width + radius + i] = image[c, row, i % width if wrap else width - 1]
            total[:] = 0.0
            for t in range(len(taps)):
                weight = taps[t]
                for col in range(width):
                    total[col] += weight * padded[t + col]
            lines[row] = total
        for row in range(height):
            total[:] = 0.0
            for t in range(len(taps)):
                weight = taps[t]
                source = min(max(row + t - radius, 0), height - 1)
                for col in range(width):
                    total[col] += weight * lines[source, col]
            out[c, row] = total


def _lose_resolution(image: Float32, share: float) -> Float32:
    if share >= 0.99:
        return image
    height, width = image.shape[1:]
    small = (max(1, round(height * share)), max(1, round(width * share)))
    tensor = torch.from_numpy(np.ascontiguousarray(image, np.float32))[None]
    tensor = functional.interpolate(tensor, small, mode="bilinear", antialias=True)
    tensor = functional.interpolate(tensor, (height, width), mode="bicubic")
    restored: Float32 = tensor[0].numpy()
    return np.maximum(restored, 0.0)


def _jpeg(image: UInt8, quality: int) -> UInt8:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return np.array(Image.open(buffer))


def linear_rgb(rng: np.random.Generator, low: float, high: float) -> Rgb:
    """Return a random greyish linear colour between two sRGB brightnesses."""
    value = np.clip(rng.uniform(low, high) + rng.normal(0.0, 0.02, 3), 0.0, 1.0)
    red, green, blue = (float(c) for c in srgb_to_linear(value))
    return red, green, blue
