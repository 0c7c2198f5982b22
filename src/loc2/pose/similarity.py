"""Weighted least-squares similarity in the plane, in closed form.

With points as complex numbers, the best rotation is the phase of one weighted sum, so no singular
value decomposition is needed and the gradient is finite wherever the rotation is defined.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from loc2.frames import rotation_to_heading_deg

ScaleOption = Literal["free"] | float | tuple[float, float]
"""``"free"``, a fixed number, or (smallest, largest): metres per unit of depth."""


@dataclass(frozen=True)
class Similarity:
    """A batch of transforms ``aerial = scale * rotation @ (right, forward) + translation``.

    Attributes:
        rotation: (B, 2, 2) R(heading), see :func:`loc2.frames.heading_to_rotation`.
        translation: (B, 2) camera positions (east_m, north_m).
        scale: (B,) metres per unit of depth.
        valid: (B,) bool; False where the points or weights do not determine a rotation (the
            transform is then the identity rotation, with finite values and zero gradients of it).
    """

    rotation: Tensor
    translation: Tensor
    scale: Tensor
    valid: Tensor

    @property
    def heading_deg(self) -> Tensor:
        """(B,) headings in [0, 360), degrees clockwise from image up."""
        return rotation_to_heading_deg(self.rotation)

    def apply(self, source: Tensor) -> Tensor:
        """Map (B, N, 2) BEV points (right, forward) to (B, N, 2) points (east_m, north_m)."""
        rotated = source @ self.rotation.transpose(-1, -2)
        return self.scale[:, None, None] * rotated + self.translation[:, None, :]


def scale_bounds(scale: ScaleOption) -> tuple[float, float]:
    """Return the smallest and largest scale that the option allows.

    Raises:
        ValueError: a bound is not positive, or the bounds are in the wrong order.
    """
    if isinstance(scale, str):
        if scale != "free":
            raise ValueError(f"scale is {scale!r}; use 'free', a number or (smallest, largest)")
        return 0.0, float("inf")
    low, high = scale if isinstance(scale, tuple) else (scale, scale)
    if not 0.0 < low <= high:
        raise ValueError(f"scale bounds ({low}, {high}) are not positive and in order")
    return float(low), float(high)


def weighted_similarity(
    source: Tensor, target: Tensor, weights: Tensor, *, scale: ScaleOption = "free"
) -> Similarity:
    """Return the similarity that minimises ``sum_i w_i |target_i - (s R source_i + t)|^2``.

    The least-squares rotation does not depend on the scale, and the cost is a parabola in the
    scale, so clamping the free scale to its bounds is the exact bounded solution.

    Args:
        source: (B, N, 2) BEV points (right, forward), in units of depth.
        target: (B, N, 2) points (east_m, north_m), metres.
        weights: (B, N) weights, not negative.
        scale: ``"free"``, a fixed number, or (smallest, largest).

    Returns:
        The transforms, in the dtype and on the device of ``source``. Differentiable in all three
        inputs. Two distinct points are enough; collinear points are no special case.

    Raises:
        ValueError: shapes that do not fit, or impossible scale bounds.
    """
    if source.ndim != 3 or source.shape[-1] != 2 or target.shape != source.shape:
        raise ValueError(
            f"source and target must be (B, N, 2), not {(*source.shape,)} and {(*target.shape,)}"
        )
    if weights.shape != source.shape[:2]:
        raise ValueError(f"weights must be {(*source.shape[:2],)}, not {(*weights.shape,)}")
    low, high = scale_bounds(scale)
    tiny = torch.finfo(source.dtype).tiny ** 0.5

    # Weights of published models go down to 1e-12: normalise first, so that no product of two
    # small numbers underflows.
    total = weights.sum(1, keepdim=True)
    has_weight = total > 0
    share = weights / torch.where(has_weight, total, torch.ones_like(total))
    source_mean = (share[..., None] * source).sum(1)
    target_mean = (share[..., None] * target).sum(1)
    p = source - source_mean[:, None]
    q = target - target_mean[:, None]

    # sum_i w_i conj(p_i) q_i for complex p = right + i forward and q = east + i north.
    real = (share * (p * q).sum(-1)).sum(1)
    imag = (share * (p[..., 0] * q[..., 1] - p[..., 1] * q[..., 0])).sum(1)
    source_spread = (share * p.square().sum(-1)).sum(1)
    target_spread = (share * q.square().sum(-1)).sum(1)

    # Rounding leaves about eps^2 * |mean|^2 in a spread that is truly zero.
    noise = torch.finfo(source.dtype).eps * 8
    extent = source.detach().square().sum(-1).amax(1) * noise**2 + tiny
    extent_target = target.detach().square().sum(-1).amax(1) * noise**2 + tiny
    squared = real.square() + imag.square()
    valid = (
        has_weight[:, 0]
        & (source_spread > extent)
        & (target_spread > extent_target)
        & (squared > noise**2 * source_spread * target_spread)
    )
    # Both branches of torch.where get a gradient, so the unused one must be finite as well.
    length = torch.where(valid, squared, torch.ones_like(squared)).sqrt()
    cos = torch.where(valid, real / length, torch.ones_like(real))
    sin = torch.where(valid, imag / length, torch.zeros_like(imag))
    rotation = torch.stack((torch.stack((cos, -sin), -1), torch.stack((sin, cos), -1)), -2)

    spread = torch.where(valid, source_spread, torch.ones_like(source_spread))
    factor = torch.where(valid, length / spread, torch.ones_like(length)).clamp(low, high)
    moved = (rotation @ source_mean[..., None])[..., 0]
    return Similarity(rotation, target_mean - factor[:, None] * moved, factor, valid)
