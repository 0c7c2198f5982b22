"""Hiding the answer: random roll of panoramas, shifted and rotated windows of aerial images."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from loc2.cameras import Camera, Equirectangular
from loc2.errors import InputError
from loc2.frames import Pose, heading_to_rotation, wrap_heading_deg


@dataclass(frozen=True)
class Trial:
    """One test: what the localizer is given, and the truth it is not given.

    Attributes:
        ground: (3, H, W) ground image, a panorama rolled.
        aerial: (3, h, w) window of the aerial image.
        truth: pose in the window's metric frame.
        expected_heading_deg: what the manifest lets one expect of the heading: the prior's centre.
        roll_px: columns by which a panorama was rolled to the right (its depth must follow).
        window_m: side of the window, metres.
    """

    ground: Tensor
    aerial: Tensor
    truth: Pose
    expected_heading_deg: float
    roll_px: int
    window_m: float


def make_trial(
    ground: Tensor,
    camera: Camera,
    aerial: Tensor,
    meters_per_pixel: float,
    truth: Pose,
    *,
    name: str,
    seed: int,
    heading_range_deg: float,
    window_m: float | None,
    shift_range_m: float,
) -> Trial:
    """Turn and shift a pair at random so that nothing about the answer can leak.

    A level panorama is rolled by a random angle within the range; for other cameras the aerial
    window is rotated instead. The window is moved from the image's centre by a random offset within
    the range along each axis, and shrinks where the image is too small for it.

    Args:
        ground: (3, H, W) ground image.
        camera: its camera.
        aerial: (3, h, w) aerial image.
        meters_per_pixel: of the aerial image, metres.
        truth: true pose in the aerial image's metric frame.
        name: of the pair; with the seed it decides the draw, whatever else is evaluated.
        seed: of the draw.
        heading_range_deg: half-width of the random turn, degrees, at most 180.
        window_m: side of the window, metres; None for all of the image.
        shift_range_m: half-width of the random offset along each axis, metres.

    Raises:
        InputError: the aerial image is too small for the offsets.
    """
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    turn_deg = float(rng.uniform(-heading_range_deg, heading_range_deg))
    shift_m = rng.uniform(-shift_range_m, shift_range_m, size=2)
    rolls = isinstance(camera, Equirectangular) and camera.roll_deg == camera.pitch_deg == 0.0
    roll_px = round(turn_deg / 360.0 * camera.width) if rolls else 0
    rotation_deg = 0.0 if rolls else turn_deg
    ground = torch.roll(ground, roll_px, dims=-1)
    # Content rolled to the right: the centre column now shows what lay further left.
    heading_deg = truth.heading_deg - roll_px / camera.width * 360.0 - rotation_deg
    height_px, width_px = aerial.shape[-2:]
    room_m = min(height_px, width_px) * meters_per_pixel - 2 * shift_range_m
    if rotation_deg:  # a rotated square must stay inside whatever the angle
        room_m /= math.sqrt(2)
    side_m = room_m if window_m is None else min(window_m, room_m)
    side_px = int(side_m / meters_per_pixel)
    if side_px < 14:
        raise InputError(f"aerial image of {name}: too small for shifts of {shift_range_m:g} m")
    # Whole pixels: the window is then cut out, not resampled, and the truth is still exact.
    left_px = round((width_px - side_px) / 2 + shift_m[0] / meters_per_pixel)
    top_px = round((height_px - side_px) / 2 - shift_m[1] / meters_per_pixel)
    east_m = (left_px + side_px / 2 - width_px / 2) * meters_per_pixel
    north_m = (height_px / 2 - top_px - side_px / 2) * meters_per_pixel
    if rotation_deg:
        window = _rotated_window(aerial, left_px, top_px, side_px, rotation_deg)
    else:
        window = aerial[:, top_px : top_px + side_px, left_px : left_px + side_px]
    offset = torch.tensor([truth.east_m - east_m, truth.north_m - north_m], dtype=torch.float64)
    turn = heading_to_rotation(torch.tensor(rotation_deg, dtype=torch.float64))
    east, north = (turn.T @ offset).tolist()
    return Trial(
        ground=ground,
        aerial=window.contiguous(),
        truth=Pose(east, north, wrap_heading_deg(heading_deg), truth.scale),
        expected_heading_deg=wrap_heading_deg(truth.heading_deg),
        roll_px=roll_px,
        window_m=side_px * meters_per_pixel,
    )


def _rotated_window(
    aerial: Tensor, left_px: int, top_px: int, side_px: int, rotation_deg: float
) -> Tensor:
    """Cut a square whose up direction has the given bearing (clockwise) in the source image."""
    height_px, width_px = aerial.shape[-2:]
    steps = torch.arange(side_px, dtype=torch.float32) + 0.5 - side_px / 2
    north, east = torch.meshgrid(-steps, steps, indexing="ij")
    turned = torch.stack((east, north), -1) @ heading_to_rotation(torch.tensor(rotation_deg)).T
    u_px = left_px + side_px / 2 + turned[..., 0]
    v_px = top_px + side_px / 2 - turned[..., 1]
    grid = torch.stack((u_px / width_px * 2 - 1, v_px / height_px * 2 - 1), -1)
    return functional.grid_sample(
        aerial[None], grid[None], mode="bilinear", padding_mode="zeros", align_corners=False
    )[0]
