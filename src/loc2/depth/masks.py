"""What of an image has no depth: sky, the own vehicle, black borders, the far limit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from loc2.cameras import Camera
from loc2.depth.base import DepthMap
from loc2.errors import InputError
from loc2.frames import cell_centers_px
from loc2.inputs.images import UNREADABLE

_BLACK = 0.03
_SKY_STEP = 0.04
"""Sky is smooth: neighbouring rows differ by less than this in each channel."""

Unusable = Callable[[Tensor, Camera], Tensor]
"""Returns the (H, W) mask of what in a (3, H, W) image has no depth."""


@dataclass(frozen=True)
class MaskOptions:
    """What is masked.

    Attributes:
        borders: mask black borders.
        sky: mask sky by its colour and smoothness.
        own_vehicle_deg: mask all below this elevation, degrees.
        far_m: mask metric range beyond this, metres.
        head: mask by a network, see :meth:`loc2.depth.own.OwnDepth.unusable`.
    """

    borders: bool = True
    sky: bool = False
    own_vehicle_deg: float | None = None
    far_m: float | None = None
    head: Unusable | None = None

    def __post_init__(self) -> None:
        """Reject limits that mask everything or nothing."""
        if self.far_m is not None and not self.far_m > 0:
            raise InputError(f"far limit must be a positive number of metres, got {self.far_m:g}")
        if self.own_vehicle_deg is not None and not -90 <= self.own_vehicle_deg < 0:
            raise InputError("own vehicle: give an elevation below the horizon, -90 to 0 degrees")

    def names(self) -> list[str]:
        """Return the masks by name, for records."""
        named = {
            "black borders": self.borders,
            "sky by colour": self.sky,
            f"below {self.own_vehicle_deg} deg": self.own_vehicle_deg is not None,
            f"beyond {self.far_m} m": self.far_m is not None,
            "validity head": self.head is not None,
        }
        return [name for name, used in named.items() if used]


def black_borders(image: Tensor) -> Tensor:
    """Return a (H, W) mask of black that reaches in from an edge of the image, straight.

    Args:
        image: (3, H, W) RGB in [0, 1].
    """
    black = (image.amax(0) <= _BLACK).cpu().numpy()
    reached = np.zeros_like(black)
    for axis in (0, 1):
        reached |= np.logical_and.accumulate(black, axis)
        reached |= np.flip(np.logical_and.accumulate(np.flip(black, axis), axis), axis)
    return torch.from_numpy(reached)


def sky_by_color(image: Tensor, camera: Camera) -> Tensor:
    """Return a (H, W) mask of what looks like sky: a rule, wrong on white walls.

    Column by column from the uppermost row down: smooth, above the horizon, and bright or more
    blue than red.

    Args:
        image: (3, H, W) RGB in [0, 1].
        camera: its camera.
    """
    height, width = image.shape[-2:]
    up = camera.pixels_to_rays(cell_centers_px(height, width, height, width))[..., 2]
    red, green, blue = image.cpu()
    bright = (image.cpu().amin(0) > 0.6) | ((blue > red + 0.03) & (blue > 0.95 * green))
    step = torch.zeros(height, width)
    step[1:] = (image[:, 1:] - image[:, :-1]).abs().amax(0).cpu()
    sky = (bright & (step < _SKY_STEP) & (up > 0)).numpy()
    return torch.from_numpy(np.logical_and.accumulate(sky, 0))


def below_elevation(camera: Camera, elevation_deg: float) -> Tensor:
    """Return a (H, W) mask of what lies below an elevation, for instance the own vehicle."""
    uv_px = cell_centers_px(camera.height, camera.width, camera.height, camera.width)
    up = camera.pixels_to_rays(uv_px)[..., 2]
    return torch.rad2deg(torch.asin(up.clamp(-1, 1))) < elevation_deg


def read_mask(path: Path, camera: Camera) -> Tensor:
    """Read a mask file: white (128 or more) is used, black is not.

    Returns:
        (H, W) bool at the image's size, True where there is no depth.

    Raises:
        InputError: the file is no image, or of another shape than the ground image.
    """
    try:
        with Image.open(path) as opened:
            mask = opened.convert("L")
    except FileNotFoundError as error:
        raise InputError(f"mask {path}: no such file") from error
    except UNREADABLE as error:
        raise InputError(f"mask {path}: not an image that can be read") from error
    if abs(mask.width / mask.height / (camera.width / camera.height) - 1) > 0.02:
        raise InputError(
            f"mask {path}: {mask.width}x{mask.height} has another shape than the image's "
            f"{camera.width}x{camera.height}"
        )
    resized = mask.resize((camera.width, camera.height), Image.Resampling.NEAREST)
    return torch.from_numpy(np.asarray(resized) < 128)


def apply_masks(
    depth_map: DepthMap,
    camera: Camera,
    image: Tensor,
    options: MaskOptions,
    file: Path | None = None,
) -> DepthMap:
    """Mark as invalid what is masked.

    Args:
        depth_map: depth of the image, any size.
        camera: camera of the image.
        image: (3, H, W) ground image.
        options: what is masked.
        file: mask file of this image.

    Raises:
        InputError: the mask file cannot be used, or nothing is left.
    """
    bad = torch.zeros(camera.height, camera.width, dtype=torch.bool)
    if options.borders:
        bad |= black_borders(image)
    if options.sky:
        bad |= sky_by_color(image, camera)
    if options.own_vehicle_deg is not None:
        bad |= below_elevation(camera, options.own_vehicle_deg)
    if options.head is not None:
        bad |= options.head(image, camera)
    if file is not None:
        bad |= read_mask(file, camera)
    rows, cols = depth_map.depth.shape
    uv_px = cell_centers_px(rows, cols, camera.height, camera.width)
    valid = depth_map.valid & ~bad[uv_px[..., 1].long(), uv_px[..., 0].long()]
    if options.far_m is not None:
        if not depth_map.metric:
            raise InputError("depth: known up to scale only, so nothing is too far; no --far-limit")
        distance = depth_map.depth * camera.range_per_depth(uv_px, depth_map.kind)
        valid &= distance <= options.far_m
    if not bool(valid.any()):
        raise InputError("depth: masks leave nothing of the image")
    return replace(depth_map, valid=valid)
