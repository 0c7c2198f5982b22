"""One scale (and shift) for each tangent view, so that the views agree where they overlap."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from loc2.cameras import DepthKind
from loc2.depth.tangent import TangentView

_DIRECTIONS = 8000
_ROUNDS = 12
_FAR_SHARE = 0.03
"""Relative residuals are counted against at least this share of the mean inverse range, so that
the far distance does not decide alone."""


@dataclass(frozen=True)
class Agreement:
    """How the views' values become inverse range of one common unit.

    ``1 / range = k * (gain * value + shift)``, with k the ratio of the depth's kind to range.

    Attributes:
        gain: (V,) float64, positive.
        shift: (V,) float64.
    """

    gain: Tensor
    shift: Tensor


@dataclass(frozen=True)
class _Samples:
    """What V views say of D directions.

    Attributes:
        value: (V, D) float64.
        seen: (V, D) bool.
        factor: (V, D) 1 / range for unit inverse depth of the kind.
        rays: (D, 3) unit rays.
    """

    value: Tensor
    seen: Tensor
    factor: Tensor
    rays: Tensor


def sphere_directions(count: int) -> Tensor:
    """Return (count, 3) float32 unit vectors spread evenly over the sphere (Fibonacci spiral)."""
    index = torch.arange(count, dtype=torch.float64) + 0.5
    up = 1 - 2 * index / count
    azimuth = index * math.pi * (3 - math.sqrt(5))
    level = torch.sqrt(1 - up * up)
    rays = torch.stack((level * torch.sin(azimuth), level * torch.cos(azimuth), up), -1)
    return rays.float()


def _sample(values: Tensor, valid: Tensor, views: list[TangentView], kind: DepthKind) -> _Samples:
    rays = sphere_directions(_DIRECTIONS)
    value, seen, factor = [], [], []
    for index, view in enumerate(views):
        uv, inside = view.project(rays)
        size = torch.tensor([view.camera.width, view.camera.height], dtype=torch.float32)
        grid = (uv / size * 2 - 1)[None, None]
        maps = torch.stack((values[index], valid[index].float()))[None].float().cpu()
        read = functional.grid_sample(maps, grid, padding_mode="border", align_corners=False)
        value.append(read[0, 0, 0].double())
        seen.append(inside & (read[0, 1, 0] > 0.999))
        factor.append(1 / view.camera.range_per_depth(uv, kind).double().clamp_min(1.0))
    return _Samples(torch.stack(value), torch.stack(seen), torch.stack(factor), rays.double())


def _pairs(samples: _Samples) -> tuple[Tensor, Tensor, Tensor]:
    """Return (first view, second view, direction) of all overlaps."""
    seen = samples.seen
    first, second = torch.triu_indices(len(seen), len(seen), offset=1)
    pair, direction = torch.nonzero(seen[first] & seen[second], as_tuple=True)
    return first[pair], second[pair], direction


def agree_on_scale(
    inverse: Tensor, valid: Tensor, views: list[TangentView], kind: DepthKind
) -> Agreement:
    """Find each view's factor where depth is known up to a scale of its own.

    Minimises a robust sum of ``(log r_v + c_v - log r_w - c_w)^2`` over all directions that two
    views see, with the c summing to zero: views of metric depth keep their common scale.

    Args:
        inverse: (V, h, w) 1 / depth.
        valid: (V, h, w) bool.
        views: the views.
        kind: of the depth.
    """
    samples = _sample(inverse, valid & (inverse > 0), views, kind)
    first, second, direction = _pairs(samples)
    count = len(views)
    rows = torch.arange(len(first))
    design = torch.zeros(len(first), count, dtype=torch.float64)
    design[rows, first] = 1.0
    design[rows, second] = -1.0
    log_inverse = torch.log((samples.value * samples.factor).clamp_min(1e-12))
    target = log_inverse[second, direction] - log_inverse[first, direction]
    weight = torch.ones_like(target)
    # A view without overlap (all sky) and the common factor are held by a faint pull to zero.
    pull = 1e-6 * torch.eye(count, dtype=torch.float64) * max(len(first), 1)
    offset = torch.zeros(count, dtype=torch.float64)
    for _ in range(_ROUNDS):
        normal = design.T @ (weight[:, None] * design)
        offset = torch.linalg.solve(normal + pull, design.T @ (weight * target))
        weight = _robust_weight(design @ offset - target)
    offset = offset - offset.mean()
    return Agreement(torch.exp(offset), torch.zeros_like(offset))


def agree_on_scale_and_shift(
    values: Tensor,
    valid: Tensor,
    views: list[TangentView],
    kind: DepthKind,
) -> Agreement:
    """Find each view's scale and shift where inverse depth is known up to both.

    The inverse range ``f_v = k_v (gain_v q_v + shift_v)`` of two views must agree wherever both
    see: a robust sum of ``((f_v - f_w) / f)^2`` is minimised with the gains (of values of unit
    spread) at mean 1. With z-depth, the overlaps alone decide everything but one common factor,
    since k_v, the cosine to each view's axis, differs between the views; neither level ground nor
    the camera's height is needed.

    Args:
        values: (V, h, w) inverse depth, each view under its own scale and shift.
        valid: (V, h, w) bool.
        views: the views.
        kind: of the depth; for ``range`` one common shift stays unknown.
    """
    samples = _sample(values, valid, views, kind)
    first, second, direction = _pairs(samples)
    count = len(views)
    # Values of each view are brought to comparable size first.
    middle, spread = torch.zeros(count).double(), torch.ones(count).double()
    for v in range(count):
        own = samples.value[v][samples.seen[v]]
        if len(own) > 10:
            middle[v] = own.median()
            spread[v] = (own - middle[v]).abs().mean().clamp_min(1e-12)
    scaled = (samples.value - middle[:, None]) / spread[:, None]
    rows = torch.arange(len(first))
    design = torch.zeros(len(first), 2 * count, dtype=torch.float64)
    k_first, k_second = samples.factor[first, direction], samples.factor[second, direction]
    design[rows, first] = k_first * scaled[first, direction]
    design[rows, count + first] = k_first
    design[rows, second] = -k_second * scaled[second, direction]
    design[rows, count + second] = -k_second
    weight = torch.ones(len(first)).double()
    x = torch.zeros(2 * count).double()
    ones = torch.cat((torch.ones(count), torch.zeros(count))).double()
    for _ in range(_ROUNDS):
        normal = design.T @ (weight[:, None] * design)
        normal = normal + 1e-9 * normal.diagonal().mean() * torch.eye(2 * count).double()
        x = torch.linalg.solve(normal, ones)
        x = x / x[:count].mean()
        f = samples.factor * (x[:count, None] * scaled + x[count:, None])
        mean = 0.5 * (f[first, direction] + f[second, direction])
        floor = _FAR_SHARE * float(mean.abs().mean())
        size = mean.clamp_min(max(floor, 1e-9))
        residual = (design @ x) / size
        weight = _robust_weight(residual) / size**2
    gain = x[:count] / spread
    return Agreement(gain, x[count:] - gain * middle)


def _robust_weight(residual: Tensor) -> Tensor:
    """Return Cauchy weights with the spread of the residuals themselves (median, at least 1 %)."""
    spread = max(1.48 * float(residual.abs().median()) if len(residual) else 0.0, 0.01)
    return 1 / (1 + (residual / (2 * spread)) ** 2)
