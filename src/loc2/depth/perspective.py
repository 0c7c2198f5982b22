"""Models for perspective images, and how they serve photos and panoramas alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from loc2.cameras import Camera, DepthKind, Equirectangular, Pinhole
from loc2.depth.base import DepthMap
from loc2.depth.reconcile import agree_on_scale, agree_on_scale_and_shift
from loc2.depth.relative import inverse_to_depth
from loc2.depth.tangent import TangentView, ViewLayout, blend_views, cut_views, tangent_views
from loc2.errors import InputError
from loc2.frames import cell_centers_px

Quantity = Literal["metric", "scale", "inverse"]
"""What a model returns: depth in metres, depth up to a scale, or inverse depth up to scale and
shift."""

_MIN_COVERED = 0.1
"""A view of which a cropped panorama covers less than this is left out."""
_SATURATED = 0.99
"""Metric depth beyond this share of the model's limit is the limit, not a measurement."""


@dataclass(frozen=True)
class DepthModelInfo:
    """What is to be known of a depth model before it is used.

    Attributes:
        name: as it is asked for.
        version: revision of its weights.
        quantity: what it returns.
        kind: ``z`` along the optical axis or ``range`` along the ray.
        licence: of the weights.
        non_commercial: the licence forbids commercial use.
        far_m: the largest depth it can return, metres, if it has one.
    """

    name: str
    version: str
    quantity: Quantity
    kind: DepthKind
    licence: str
    non_commercial: bool = False
    far_m: float | None = None


class PerspectiveModel(Protocol):
    """A depth model for perspective images.

    Attributes:
        info: what it is.
        view_px: side of the square views it is best given.
    """

    @property
    def info(self) -> DepthModelInfo:
        """What the model is."""
        ...

    @property
    def view_px(self) -> int:
        """Side of the square views it is best given, pixels."""
        ...

    def predict(self, images: Tensor, camera: Pinhole) -> tuple[Tensor, Tensor]:
        """Estimate depth of a batch.

        Args:
            images: (B, 3, H, W) float32 RGB in [0, 1], all of one camera.
            camera: their camera.

        Returns:
            (B, h, w) float32 values as ``info`` says, at the model's own resolution, and a
            (B, h, w) bool mask.
        """
        ...


@dataclass(frozen=True)
class PerspectiveDepth:
    """A perspective model as a :class:`loc2.depth.DepthModel` for photos and panoramas.

    Attributes:
        model: the perspective model.
        layout: how panoramas are cut.
        device: where views are cut and put together.
    """

    model: PerspectiveModel
    layout: ViewLayout = "cube"
    device: str = "cpu"

    def __call__(self, image: Tensor, camera: Camera) -> DepthMap:
        """Estimate depth, see :class:`loc2.depth.DepthModel`.

        Inverse depth becomes depth up to scale. A panorama is cut into overlapping views, which go
        through the model in one batch; their scales (and shifts) are made to agree, and they are
        blended into range.

        Raises:
            InputError: nothing in the image has a usable depth.
        """
        if isinstance(camera, Equirectangular):
            return self._panorama(image, camera)
        if not isinstance(camera, Pinhole):
            raise TypeError(f"unknown camera {type(camera).__name__}")
        info = self.model.info
        with torch.inference_mode():
            values, known = self.model.predict(image[None].to(self.device), camera)
        value, valid = values[0].float().cpu(), self._usable(values, known)[0].cpu()
        if info.quantity == "inverse":
            depth, valid, _ = inverse_to_depth(value, valid, camera, info.kind)
        else:
            depth = torch.where(valid, value, torch.zeros_like(value))
        return DepthMap(depth, info.kind, info.quantity == "metric", valid, info.name)

    def _panorama(self, image: Tensor, camera: Equirectangular) -> DepthMap:
        info = self.model.info
        views = tangent_views(self.layout, self.model.view_px)
        with torch.inference_mode():
            images, covered = cut_views(image.to(self.device), camera, views)
            share = covered.float().mean(dim=(1, 2))
            keep = [i for i in range(len(views)) if float(share[i]) >= _MIN_COVERED]
            views = [views[i] for i in keep]
            images, covered = images[keep], covered[keep]
            values, known = self.model.predict(images, views[0].camera)
            # An ONNX network answers on the CPU.
            values, known = values.to(self.device), known.to(self.device)
            height, width = values.shape[-2:]
            views = [TangentView(v.camera.resized(width, height), v.rotation) for v in views]
            reached = _resize_mask(covered, height, width)
            inverse_range, usable = self._common(
                values.float(), self._usable(values, known) & reached, views
            )
            distance, valid = blend_views(inverse_range, usable, views, camera)
        if not bool(valid.any()):
            raise InputError("depth: nothing in the panorama has a usable depth")
        return DepthMap(distance.cpu(), "range", info.quantity == "metric", valid.cpu(), info.name)

    def _usable(self, values: Tensor, known: Tensor) -> Tensor:
        info = self.model.info
        usable = known & torch.isfinite(values)
        if info.quantity != "inverse":
            usable &= values > 0
        if info.far_m is not None and info.quantity == "metric":
            usable &= values < _SATURATED * info.far_m
        return usable

    def _common(
        self, values: Tensor, usable: Tensor, views: list[TangentView]
    ) -> tuple[Tensor, Tensor]:
        """Return (V, h, w) inverse range of one common unit and its validity."""
        info = self.model.info
        height, width = values.shape[-2:]
        values = torch.where(usable, values, torch.ones_like(values))
        if info.quantity == "inverse":
            found = agree_on_scale_and_shift(values.cpu(), usable.cpu(), views, info.kind)
        else:
            values = 1 / values
            found = agree_on_scale(values.cpu(), usable.cpu(), views, info.kind)
        uv_px = cell_centers_px(height, width, height, width)
        per_range = 1 / views[0].camera.range_per_depth(uv_px, info.kind)
        gain, shift = (t.to(values)[:, None, None] for t in (found.gain, found.shift))
        return per_range.to(values) * (gain * values + shift), usable


def _resize_mask(mask: Tensor, height: int, width: int) -> Tensor:
    rows = ((torch.arange(height) + 0.5) * (mask.shape[-2] / height)).long()
    cols = ((torch.arange(width) + 0.5) * (mask.shape[-1] / width)).long()
    return mask[:, rows][:, :, cols]
