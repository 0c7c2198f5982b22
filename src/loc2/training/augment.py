"""Augmentation of cells: turns, mirrors, crops. Geometry follows exactly; features nearly do.

A vision transformer's features turn with the image but for its position embedding, so these
augmentations serve cached features too. All randomness comes from a generator that is given.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional

from loc2.frames import heading_to_rotation
from loc2.training.cells import Cells


class AugmentConfig(BaseModel):
    """How a batch of cells is varied.

    Attributes:
        roll: turn panoramas by a random number of columns.
        quarter_turns: turn aerial windows by a random multiple of 90 degrees.
        mirror: probability of mirroring both views of a pair.
        window_cells: side of a random crop of the aerial window, cells; 0 keeps the window.
        margin_cells: the camera stays this far inside the crop where it can, cells.
        narrow: probability that a batch of panoramas is cut to a part of its columns.
        narrow_min_deg: least azimuth that is kept by such a cut, degrees.
        narrow_max_deg: greatest azimuth that is kept by such a cut, degrees.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    roll: bool = True
    quarter_turns: bool = True
    mirror: float = Field(default=0.5, ge=0, le=1)
    window_cells: int = Field(default=0, ge=0)
    margin_cells: int = Field(default=6, ge=0)
    narrow: float = Field(default=0.2, ge=0, le=1)
    narrow_min_deg: float = Field(default=70.0, gt=0, le=360)
    narrow_max_deg: float = Field(default=180.0, gt=0, le=360)


def augment(cells: Cells, config: AugmentConfig, generator: torch.Generator) -> Cells:
    """Vary a batch at random.

    Args:
        cells: a batch.
        config: what is varied.
        generator: source of randomness, on the CPU; the same state gives the same batch.
    """
    batch = len(cells.ids)
    cols = cells.ground_shape[1]
    if config.roll and cells.wrap:
        cells = roll_ground(cells, torch.randint(cols, (batch,), generator=generator))
    if config.quarter_turns and cells.aerial.shape[-1] == cells.aerial.shape[-2]:
        cells = turn_aerial(cells, torch.randint(4, (batch,), generator=generator))
    cells = mirror(cells, torch.rand(batch, generator=generator) < config.mirror)
    if cells.wrap and float(torch.rand(1, generator=generator)) < config.narrow:
        low, high = (round(d / 360 * cols) for d in (config.narrow_min_deg, config.narrow_max_deg))
        count = int(torch.randint(low, max(high, low) + 1, (1,), generator=generator))
        cells = cut_columns(cells, (cols - count) // 2, min(count, cols))
    return cells


def roll_ground(cells: Cells, columns: Tensor) -> Cells:
    """Turn cameras of panoramas: content moves right, so forward is what lay further left.

    Args:
        cells: a batch of panoramas.
        columns: (B,) whole columns by which the content moves right.
    """
    turn_deg = columns.to(cells.heading_deg) * (360.0 / cells.ground_shape[1])
    rotation = heading_to_rotation(turn_deg)  # a direction at azimuth a is now at a + turn

    def turned(vectors: Tensor) -> Tensor:
        rolled = _roll(vectors, columns, 1)
        level = torch.einsum("bij,bjhw->bihw", rotation, rolled[:, :2])
        return torch.cat((level, rolled[:, 2:]), dim=1)

    return replace(
        cells,
        ground=_roll(cells.ground, columns, cells.ground_pixels_per_cell),
        rays=turned(cells.rays),
        points_m=turned(cells.points_m),
        has_depth=_roll(cells.has_depth, columns, 1),
        visible=_roll(cells.visible, columns, 1),
        heading_deg=torch.remainder(cells.heading_deg - turn_deg, 360.0),
    )


def _roll(maps: Tensor, columns: Tensor, per_cell: int) -> Tensor:
    shifts = [int(k) * per_cell for k in columns]
    return torch.stack([m.roll(k, dims=-1) for m, k in zip(maps, shifts, strict=True)])


def turn_aerial(cells: Cells, quarter_turns: Tensor) -> Cells:
    """Turn aerial windows clockwise by multiples of 90 degrees, and the truth with them.

    Args:
        cells: a batch with square aerial windows.
        quarter_turns: (B,) whole numbers.
    """
    aerial = torch.stack(
        [
            torch.rot90(a, -int(k), dims=(-2, -1))
            for a, k in zip(cells.aerial, quarter_turns, strict=True)
        ]
    )
    turn_deg = quarter_turns.to(cells.heading_deg) * 90.0
    position = (heading_to_rotation(turn_deg) @ cells.position_m[..., None])[..., 0]
    heading = torch.remainder(cells.heading_deg + turn_deg, 360.0)
    return replace(cells, aerial=aerial, position_m=position, heading_deg=heading)


def mirror(cells: Cells, chosen: Tensor) -> Cells:
    """Mirror both views of the chosen pairs: right becomes left, east becomes west.

    Args:
        cells: a batch.
        chosen: (B,) bool.
    """

    def flipped(maps: Tensor) -> Tensor:
        shape = (-1,) + (1,) * (maps.ndim - 1)
        return torch.where(chosen.reshape(shape).to(maps.device), maps.flip(-1), maps)

    sign = torch.where(chosen, -1.0, 1.0).to(cells.rays)
    across = torch.stack((sign, torch.ones_like(sign), torch.ones_like(sign)), -1)[..., None, None]
    return replace(
        cells,
        ground=flipped(cells.ground),
        aerial=flipped(cells.aerial),
        rays=flipped(cells.rays) * across,
        points_m=flipped(cells.points_m) * across,
        has_depth=flipped(cells.has_depth),
        visible=flipped(cells.visible),
        position_m=cells.position_m * across[:, :2, 0, 0],
        heading_deg=torch.remainder(cells.heading_deg * sign, 360.0),
    )


def crop_aerial(cells: Cells, size: int, corners: Tensor) -> Cells:
    """Cut a square window out of every aerial map.

    Args:
        cells: a batch.
        size: side of the window, cells; windows that are smaller already stay as they are.
        corners: (B, 2) row and column of the window's first cell.
    """
    rows, cols = cells.aerial_shape
    height, width = min(size, rows), min(size, cols)
    per_cell = cells.aerial.shape[-1] // cols
    parts = []
    for aerial, (row, col) in zip(cells.aerial, corners.tolist(), strict=True):
        top, left = row * per_cell, col * per_cell
        parts.append(aerial[:, top : top + height * per_cell, left : left + width * per_cell])
    corners = corners.to(cells.position_m)
    east = (corners[:, 1] + width / 2 - cols / 2) * cells.cell_size_m
    north = (rows / 2 - corners[:, 0] - height / 2) * cells.cell_size_m
    position = cells.position_m - torch.stack((east, north), -1)
    return replace(cells, aerial=torch.stack(parts), position_m=position)


def random_crop(cells: Cells, config: AugmentConfig, generator: torch.Generator) -> Cells:
    """Cut a random window out of every aerial map, so that windows of any size can share a batch.

    The camera stays inside, with a margin where the window allows it.

    Args:
        cells: a batch.
        config: size and margin; nothing happens if the size is 0.
        generator: source of randomness, on the CPU.
    """
    if not config.window_cells:
        return cells
    corners = []
    for axis, count in enumerate(cells.aerial_shape):
        size = min(config.window_cells, count)
        along = cells.position_m[:, 1 - axis].cpu() / cells.cell_size_m.cpu()
        camera = count / 2 + (along if axis == 1 else -along)
        margin = min(config.margin_cells, (size - 1) // 2)
        low = (camera + margin - size).ceil().clamp(0, count - size)
        high = (camera - margin).floor().clamp(0, count - size)
        high = torch.maximum(low, high)
        draw = torch.rand(len(cells.ids), generator=generator)
        corners.append(torch.minimum(low + (draw * (high - low + 1)).floor(), high))
    return crop_aerial(cells, config.window_cells, torch.stack(corners, -1).long())


def cut_columns(cells: Cells, first: int, count: int) -> Cells:
    """Keep some columns of panoramas, which then have edges like other photos.

    Args:
        cells: a batch of panoramas.
        first: first column that is kept.
        count: columns that are kept.
    """
    kept = slice(first, first + count)
    per_cell = cells.ground_pixels_per_cell
    return replace(
        cells,
        wrap=False,
        ground=cells.ground[..., first * per_cell : (first + count) * per_cell],
        rays=cells.rays[..., kept],
        points_m=cells.points_m[..., kept],
        has_depth=cells.has_depth[..., kept],
        visible=cells.visible[..., kept],
    )


def jitter_attitude(rays: Tensor, tilt_deg: float, generator: torch.Generator) -> Tensor:
    """Tilt rays by small random pitch and roll, as a camera that is not quite level has them.

    Args:
        rays: (B, 3, h, w) unit rays.
        tilt_deg: standard deviation of pitch and of roll, degrees.
        generator: source of randomness, on the CPU.
    """
    angles = torch.randn(2, len(rays), generator=generator).to(rays) * math.radians(tilt_deg)
    pitch, roll = angles[:, :, None, None]
    right, forward, up = rays.unbind(1)
    # First order in the angles: a rotation by them to within 0.05 degrees at 3 degrees.
    tilted = torch.stack(
        (right + roll * up, forward - pitch * up, up + pitch * forward - roll * right), 1
    )
    return functional.normalize(tilted, dim=1)
