"""Samples of the benchmarks: a ground image, an aerial image, and the truth, in our conventions."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from loc2.cameras import Camera
from loc2.depth import DepthMap
from loc2.errors import InputError
from loc2.frames import Pose
from loc2.inputs.images import UNREADABLE


@dataclass(frozen=True)
class Sample:
    """One ground image with its aerial image.

    Attributes:
        id: unique name within the data set.
        group: what results are summarised by: city, drive.
        ground: (3, H, W) float32 RGB in [0, 1].
        camera: camera of the ground image.
        aerial: (3, h, w) float32 RGB in [0, 1].
        meters_per_pixel: of the aerial image as given here, metres.
        truth: true pose in the aerial metric frame.
        depth: depth of the ground image; None where no depth files are used.
        camera_height_m: height of the camera above the ground, metres; None where unknown.
    """

    id: str
    group: str
    ground: Tensor
    camera: Camera
    aerial: Tensor
    meters_per_pixel: float
    truth: Pose
    depth: DepthMap | None
    camera_height_m: float | None = None


class SampleSource(Protocol):
    """A data set that loads samples by index and knows their truth without reading images."""

    def __len__(self) -> int:
        """Return the number of samples."""
        ...

    def sample_id(self, index: int) -> str:
        """Return the unique name of a sample."""
        ...

    def group(self, index: int) -> str:
        """Return what the sample's results are summarised by."""
        ...

    def truth(self, index: int) -> Pose:
        """Return the true pose of a sample."""
        ...

    def aerial_side_m(self, index: int) -> float:
        """Return the nominal side of the (square) aerial image, metres."""
        ...

    def load(self, index: int) -> Sample:
        """Read a sample.

        Raises:
            InputError: one of its files is missing or damaged.
        """
        ...


def draw(seed: int, name: str, count: int) -> list[float]:
    """Draw numbers for a sample that depend on its name and the seed alone.

    Nothing else (workers, batch, what was loaded before) can change them.

    Args:
        seed: seed of the whole data set.
        name: name of the sample.
        count: how many numbers.

    Returns:
        Uniform numbers in [-1, 1).
    """
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    return [float(x) for x in rng.uniform(-1.0, 1.0, size=count)]


def open_image(path: Path, role: str) -> Image.Image:
    """Decode an image file to 8-bit RGB.

    Args:
        path: image file.
        role: what the image is, for the message.

    Raises:
        InputError: the file is missing, damaged or no image.
    """
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except FileNotFoundError as error:
        raise InputError(f"{role} {path}: no such file") from error
    except UnidentifiedImageError as error:
        raise InputError(f"{role} {path}: not an image file") from error
    except UNREADABLE as error:
        raise InputError(f"{role} {path}: cannot be read, damaged or truncated") from error


def to_tensor(image: Image.Image) -> Tensor:
    """Turn an 8-bit RGB image into a (3, H, W) float32 tensor in [0, 1]."""
    pixels = torch.from_numpy(np.array(image, dtype=np.uint8))
    return pixels.permute(2, 0, 1).float() / 255.0


def resize_nearest(depth_map: DepthMap, height: int, width: int) -> DepthMap:
    """Resample a depth map by taking the pixel at floor(i * in / out), as benchmarks do.

    Args:
        depth_map: depth of any size.
        height: wanted height, pixels.
        width: wanted width, pixels.
    """
    rows = torch.arange(height) * depth_map.depth.shape[0] // height
    cols = torch.arange(width) * depth_map.depth.shape[1] // width
    index = rows[:, None], cols
    return replace(depth_map, depth=depth_map.depth[index], valid=depth_map.valid[index])
