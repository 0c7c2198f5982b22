"""Augmentation of pairs before the backbone: appearance of both views, turns, shifts."""

from __future__ import annotations

import io
import math
import zlib
from dataclasses import replace

import numpy as np
import torch
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional

from loc2.evaluation.windows import make_trial
from loc2.training.pairs import TrainingPair


class ImageAugmentConfig(BaseModel):
    """How images are varied before the backbone sees them.

    Attributes:
        appearance: strength of changes of colour, light, sharpness and noise; 0 for none, 1 usual.
        heading_range_deg: half-width of the random turn of panoramas (or of the aerial window for
            other photos), degrees.
        shift_range_m: half-width of the random shift of the aerial window, metres.
        window_m: side of the aerial window, metres; None for all that shifts leave.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    appearance: float = Field(default=1.0, ge=0)
    heading_range_deg: float = Field(default=180.0, ge=0, le=180)
    shift_range_m: float = Field(default=0.0, ge=0)
    window_m: float | None = Field(default=None, gt=0)


def augment_pair(pair: TrainingPair, config: ImageAugmentConfig, seed: int) -> TrainingPair:
    """Vary a pair; the same seed gives the same result.

    Args:
        pair: what is varied.
        config: how.
        seed: of the draw, together with the pair's name.
    """
    trial = make_trial(
        pair.ground,
        pair.camera,
        pair.aerial,
        pair.meters_per_pixel,
        pair.pose,
        name=pair.id,
        seed=seed,
        heading_range_deg=config.heading_range_deg,
        window_m=config.window_m,
        shift_range_m=config.shift_range_m,
    )
    rng = np.random.default_rng([seed, zlib.crc32(pair.id.encode()), 1])
    depth = pair.depth
    if depth is not None:
        depth = replace(
            depth,
            depth=_rolled(depth.depth, trial.roll_px, pair),
            valid=_rolled(depth.valid, trial.roll_px, pair),
        )
    visible = pair.visible_from_above
    return replace(
        pair,
        ground=vary_appearance(trial.ground, config.appearance, rng),
        aerial=vary_appearance(trial.aerial, config.appearance, rng),
        pose=trial.truth,
        depth=depth,
        visible_from_above=None if visible is None else _rolled(visible, trial.roll_px, pair),
    )


def _rolled(values: Tensor, roll_px: int, pair: TrainingPair) -> Tensor:
    return values.roll(round(roll_px * values.shape[-1] / pair.camera.width), dims=-1)


def vary_appearance(image: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    """Change light, colour, sharpness and noise as cameras, seasons and compression do.

    Args:
        image: (3, H, W) float32 RGB in [0, 1].
        strength: 0 for no change, 1 usual.
        rng: source of randomness.
    """
    if strength == 0:
        return image

    def spread(sigma: float) -> float:
        return float(math.exp(rng.normal(0.0, sigma * strength)))

    grey = image.mean(0, keepdim=True)
    image = grey + (image - grey) * spread(0.35)  # saturation
    if rng.random() < 0.08 * strength:
        image = grey.expand(3, -1, -1)
    gains = torch.tensor([[[spread(0.08)]] for _ in range(3)])  # white balance
    image = (image * gains * spread(0.2)).clamp(0.0, 1.0)
    image = image ** spread(0.2)  # gamma
    mean = image.mean()
    image = (mean + (image - mean) * spread(0.2)).clamp(0.0, 1.0)  # contrast
    if rng.random() < 0.5:
        image = _blur_or_sharpen(image, float(rng.uniform(-0.6, 1.2)) * strength)
    if rng.random() < 0.4:
        noise = rng.standard_normal(image.shape, dtype=np.float32)
        image = image + torch.from_numpy(noise) * float(rng.uniform(0.005, 0.03)) * strength
    image = image.clamp(0.0, 1.0)
    return _jpeg(image, int(rng.integers(40, 95))) if rng.random() < 0.5 else image


def _blur_or_sharpen(image: Tensor, amount: float) -> Tensor:
    """Blur by a Gaussian of ``amount`` pixels, or sharpen by minus ``amount``."""
    sigma = max(abs(amount), 0.2)
    steps = torch.arange(-3, 4, dtype=torch.float32)
    kernel = torch.exp(-(steps**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).expand(3, 1, 1, -1)
    padded = functional.pad(image[None], (3, 3, 3, 3), mode="replicate")
    blurred = functional.conv2d(padded, kernel, groups=3)
    blurred = functional.conv2d(blurred, kernel.transpose(2, 3), groups=3)[0]
    return blurred if amount > 0 else image - amount * (image - blurred)


def _jpeg(image: Tensor, quality: int) -> Tensor:
    array = (image.permute(1, 2, 0).numpy() * 255 + 0.5).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "JPEG", quality=quality)
    decoded = np.asarray(Image.open(buffer), dtype=np.float32) / np.float32(255)
    return torch.from_numpy(decoded).permute(2, 0, 1).contiguous()
