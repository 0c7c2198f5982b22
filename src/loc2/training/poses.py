"""Poses that the voting loss contrasts with the true one."""

from __future__ import annotations

import math

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from loc2.training.cells import Cells


class PoseSampling(BaseModel):
    """How many wrong poses of each kind there are.

    Attributes:
        random: anywhere in the window, any heading.
        near: the right street, ``near_min_m`` to ``near_max_m`` away, turned by up to
            ``near_max_deg``.
        turned: the right place, any heading.
        flipped: turned by 180 degrees, near the right place.
        along: moved along the camera's axis or across it, right heading, also flipped.
        near_min_m: least offset of a near pose, metres.
        near_max_m: greatest offset of a near pose, metres.
        near_min_deg: least turn of a near pose that is not moved, degrees.
        near_max_deg: greatest turn of a near pose, degrees.
        jitter_m: standard deviation of the truth that is contrasted, metres.
        jitter_deg: standard deviation of the truth that is contrasted, degrees.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    random: int = Field(default=128, ge=0)
    near: int = Field(default=64, ge=0)
    turned: int = Field(default=24, ge=0)
    flipped: int = Field(default=24, ge=0)
    along: int = Field(default=32, ge=0)
    near_min_m: float = Field(default=1.0, ge=0)
    near_max_m: float = Field(default=6.0, gt=0)
    near_min_deg: float = Field(default=5.0, ge=0)
    near_max_deg: float = Field(default=30.0, gt=0)
    jitter_m: float = Field(default=0.15, ge=0)
    jitter_deg: float = Field(default=0.5, ge=0)


def sample_poses(
    cells: Cells, config: PoseSampling, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw the true pose, jittered a little, and wrong poses around it.

    Args:
        cells: a batch.
        config: how many of which kind.
        generator: source of randomness, on the CPU.

    Returns:
        (B, P, 2) positions and (B, P) headings; the true pose is the first.
    """
    batch = len(cells.ids)
    position, heading = cells.position_m.cpu(), cells.heading_deg.cpu()
    rows, cols = cells.aerial_shape
    half_m = cells.cell_size_m.cpu()[:, None] * torch.tensor([cols / 2, rows / 2])

    def uniform(count: int, low: float, high: float) -> Tensor:
        return torch.rand(batch, count, generator=generator) * (high - low) + low

    def sign(count: int) -> Tensor:
        return torch.randint(2, (batch, count), generator=generator) * 2.0 - 1.0

    def offset(distance_m: Tensor, bearing_deg: Tensor) -> Tensor:
        angle = torch.deg2rad(bearing_deg)
        steps = torch.stack((torch.sin(angle), torch.cos(angle)), -1) * distance_m[..., None]
        return position[:, None] + steps

    noise = torch.randn(batch, 1, 3, generator=generator)
    positions = [position[:, None] + noise[..., :2] * config.jitter_m]
    headings = [heading[:, None] + noise[..., 2] * config.jitter_deg]

    anywhere = torch.rand(batch, config.random, 2, generator=generator) * 2 - 1
    positions.append(anywhere * half_m[:, None])
    headings.append(uniform(config.random, 0, 360))

    moved = offset(
        uniform(config.near, config.near_min_m, config.near_max_m), uniform(config.near, 0, 360)
    )
    # Half of the near poses only move, a quarter only turn, a quarter do both.
    kind = torch.arange(config.near) % 4
    turn = uniform(config.near, config.near_min_deg, config.near_max_deg) * sign(config.near)
    positions.append(torch.where((kind == 2)[None, :, None], position[:, None], moved))
    headings.append(heading[:, None] + torch.where(kind >= 2, turn, torch.zeros(())))

    positions.append(position[:, None].expand(-1, config.turned, -1))
    headings.append(
        heading[:, None] + uniform(config.turned, config.near_max_deg, 180) * sign(config.turned)
    )

    reach = uniform(config.flipped, 0, config.near_max_m)
    positions.append(offset(reach, uniform(config.flipped, 0, 360)))
    headings.append(heading[:, None] + 180 + uniform(config.flipped, -10, 10))

    axis = heading[:, None] + 90.0 * torch.randint(2, (batch, config.along), generator=generator)
    far_m = float(half_m.max()) * math.sqrt(0.5)
    steps = uniform(config.along, config.near_min_m, max(far_m, config.near_min_m))
    positions.append(offset(steps * sign(config.along), axis))
    flip = 180.0 * torch.randint(2, (batch, config.along), generator=generator)
    headings.append(heading[:, None] + flip)

    device = cells.position_m.device
    return torch.cat(positions, 1).to(device), torch.cat(headings, 1).to(device)
