"""Both images as the network is shown them, and what it has said of them.

Views are made without the network (decoding, resampling: work for reading threads), described by
it once, alone or many together, and may serve several localizations.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor

from loc2.cameras import Camera, Pinhole
from loc2.errors import InputError
from loc2.matching import CellDepth, GroundDescription
from loc2.model import GroundGrid


@dataclass(frozen=True)
class AerialFeatures:
    """An aerial image as the matching sees it; can be kept for many ground images.

    Attributes:
        image: (3, H, W) RGB in [0, 1].
        meters_per_pixel: of the image, metres.
        descriptors: (D, h, w) descriptors of cells, of unit length or shorter.
        cell_size_m: side of one of these cells, metres.
        seen: (h, w) bool, the cells with imagery; None where there is imagery everywhere.
    """

    image: Tensor
    meters_per_pixel: float
    descriptors: Tensor
    cell_size_m: float
    seen: Tensor | None = None

    @property
    def half_size_m(self) -> tuple[float, float]:
        """Half of what is searched towards east and north, metres: the image in whole cells."""
        (height, width), (rows, cols) = self.image.shape[-2:], self.descriptors.shape[-2:]
        half_px, half_cell_m = self.meters_per_pixel / 2, self.cell_size_m / 2
        return (
            min(width * half_px, cols * half_cell_m),
            min(height * half_px, rows * half_cell_m),
        )


@dataclass
class AerialView:
    """An aerial image before, and after, the network has seen it.

    Attributes:
        image: (3, H, W) RGB in [0, 1].
        meters_per_pixel: of the image, metres.
        shown: (3, h, w) what the network is shown; None once it has seen it.
        cell_size_m: side of a cell, metres.
        cover: (1, h, w) share of imagery in what is shown; None where there is imagery everywhere.
        features: what the network said.
        network_s: seconds that took.
        lock: held while the network looks at it.
    """

    image: Tensor
    meters_per_pixel: float
    shown: Tensor | None
    cell_size_m: float
    cover: Tensor | None = None
    features: AerialFeatures | None = None
    network_s: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def nbytes(self) -> int:
        """Memory that it holds, bytes."""
        held = [self.image, self.shown, self.cover]
        if self.features is not None:
            held += [self.features.descriptors, self.features.seen]
        return sum(tensor.nbytes for tensor in held if tensor is not None)


@dataclass
class GroundView:
    """A ground image before, and after, the network has seen it.

    Attributes:
        image: (3, H, W) RGB in [0, 1].
        camera: its camera.
        height_m: of the camera above the ground, metres.
        shown: (3, h, w) what the network is shown; None once it has seen it.
        grid: the cells of what is shown; None for networks that choose them by themselves.
        description: what the network said, a batch of one.
        decode_s: seconds for reading the image.
        network_s: seconds for the network.
        lock: held while the network looks at it.
    """

    image: Tensor
    camera: Camera
    height_m: float
    shown: Tensor | None
    grid: GroundGrid | None
    description: GroundDescription | None = None
    decode_s: float = 0.0
    network_s: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def is_photo(self) -> bool:
        """Whether it is a perspective photo, not a panorama."""
        return isinstance(self.camera, Pinhole)


_View = TypeVar("_View", GroundView, AerialView)


def check_meters_per_pixel(value: float | None) -> float:
    """Return a ground sampling distance that can be used.

    Raises:
        InputError: it is missing, or not a positive number.
    """
    if value is None:
        raise InputError("metres per pixel of the aerial image missing; give --meters-per-pixel")
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"metres per pixel must be a positive number, got {value}")
    return float(value)


def describe_views(
    grounds: Sequence[GroundView],
    aerials: Sequence[AerialView],
    describe_ground: Callable[[Sequence[GroundView]], GroundDescription],
    describe_aerial: Callable[[Sequence[AerialView]], list[AerialFeatures]],
    batch_size: int,
) -> None:
    """Have the network describe every view that it has not seen yet.

    Views of one shape go through it together. May be called from several threads: each view is
    described once.

    Args:
        grounds: ground views; the same one may be listed several times.
        aerials: aerial views, likewise.
        describe_ground: the network, for ground views of one shape and kind.
        describe_aerial: the network, for aerial views of one shape.
        batch_size: most views at a time.
    """
    with ExitStack() as held:
        # Always in the same order, or two threads could wait for each other.
        locks = {id(v.lock): v.lock for v in grounds} | {id(v.lock): v.lock for v in aerials}
        for _, lock in sorted(locks.items()):
            held.enter_context(lock)
        for ground_group in _groups(grounds, batch_size):
            started_s = time.perf_counter()
            described = describe_ground(ground_group)
            share_s = (time.perf_counter() - started_s) / len(ground_group)
            for i, ground in enumerate(ground_group):
                ground.description = _one(described, i)
                ground.shown, ground.network_s = None, share_s
        for aerial_group in _groups(aerials, batch_size):
            started_s = time.perf_counter()
            features = describe_aerial(aerial_group)
            share_s = (time.perf_counter() - started_s) / len(aerial_group)
            for aerial, said in zip(aerial_group, features, strict=True):
                aerial.features = said
                aerial.shown, aerial.cover, aerial.network_s = None, None, share_s


def _groups(views: Sequence[_View], batch_size: int) -> list[list[_View]]:
    """Return the views that the network has not seen, by shape, in groups of a batch at most."""
    by_shape: dict[object, list[_View]] = {}
    for view in {id(v): v for v in views}.values():
        if view.shown is not None:
            wrap = isinstance(view, GroundView) and view.grid is not None and view.grid.wrap
            by_shape.setdefault((view.shown.shape, wrap), []).append(view)
    return [
        group[first : first + batch_size]
        for group in by_shape.values()
        for first in range(0, len(group), batch_size)
    ]


def _one(described: GroundDescription, i: int) -> GroundDescription:
    """Return one image of a batch, as a batch of one."""
    one, depth = slice(i, i + 1), described.depth
    if depth is not None:
        depth = CellDepth(depth.log_range_ratio[one], depth.valid_logit[one])
    return GroundDescription(described.descriptors[one], described.weight[one], depth)


def stacked(views: Sequence[GroundView] | Sequence[AerialView]) -> Tensor:
    """Return (B, 3, h, w) what the network is shown of views of one shape."""
    shown = [view.shown for view in views]
    return torch.stack([image for image in shown if image is not None])
