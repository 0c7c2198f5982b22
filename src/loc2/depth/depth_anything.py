"""Depth Anything V2 through the library transformers (extra ``depth``), no torchvision needed."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from loc2.cameras import Pinhole
from loc2.depth.perspective import DepthModelInfo
from loc2.errors import InputError, WeightsError

_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)
_SHORT_SIDE_PX = 518
_FREE, _RESTRICTED = "Apache-2.0", "CC-BY-NC-4.0"


def _entry(name: str, repository: str, far_m: float | None) -> tuple[str, str, DepthModelInfo]:
    free = name.endswith("small")
    info = DepthModelInfo(
        name=name,
        version="",
        quantity="inverse" if far_m is None else "metric",
        kind="z",
        licence=_FREE if free else _RESTRICTED,
        non_commercial=not free,
        far_m=far_m,
    )
    return name, repository, info


def _entries() -> dict[str, tuple[str, DepthModelInfo]]:
    prefix, owner = "depth-anything-v2", "depth-anything/Depth-Anything-V2"
    entries = []
    for size in ("small", "base", "large"):
        title = size.capitalize()
        entries.append(_entry(f"{prefix}-{size}", f"{owner}-{title}-hf", None))
        for place, far_m in (("outdoor", 80.0), ("indoor", 20.0)):
            name = f"{prefix}-metric-{place}-{size}"
            repository = f"{owner}-Metric-{place.capitalize()}-{title}-hf"
            entries.append(_entry(name, repository, far_m))
    return {name: (repository, info) for name, repository, info in entries}


DEPTH_ANYTHING: dict[str, tuple[str, DepthModelInfo]] = _entries()
"""Hugging Face repository and facts of each published model, by our name."""

LOCAL_PREFIX = "depth-anything-v2:"
"""``depth-anything-v2:FOLDER`` is a model saved by transformers in a folder."""


class DepthAnything:
    """A Depth Anything V2 network, relative (inverse depth) or metric.

    Args:
        network: a ``DepthAnythingForDepthEstimation``.
        info: what it is.
        view_px: side of the square views it is given.
    """

    def __init__(self, network: Any, info: DepthModelInfo, view_px: int = _SHORT_SIDE_PX) -> None:
        self._network = network.eval()
        self._info = info
        self._patch_px = int(network.config.backbone_config.patch_size)
        self._view_px = max(view_px // self._patch_px, 1) * self._patch_px

    @property
    def info(self) -> DepthModelInfo:
        """What the model is."""
        return self._info

    @property
    def view_px(self) -> int:
        """Side of the square views it is best given, pixels."""
        return self._view_px

    def predict(self, images: Tensor, camera: Pinhole) -> tuple[Tensor, Tensor]:
        """Estimate depth of a batch, see :class:`loc2.depth.perspective.PerspectiveModel`."""
        height, width = images.shape[-2:]
        scale = self._view_px / min(height, width)
        size = [max(round(side * scale / self._patch_px), 1) * self._patch_px
                for side in (height, width)]  # fmt: skip
        if [height, width] != size:
            images = functional.interpolate(
                images, size=size, mode="bicubic", align_corners=False, antialias=True
            ).clamp(0, 1)
        like = next(self._network.parameters())
        mean = torch.tensor(_MEAN, device=like.device)[:, None, None]
        std = torch.tensor(_STD, device=like.device)[:, None, None]
        normalised = ((images.to(like.device) - mean) / std).to(like.dtype)
        values = self._network(pixel_values=normalised).predicted_depth.float()
        # The network ends in a ReLU: zero inverse depth is sky, far beyond any use.
        known = values > 0 if self._info.quantity == "inverse" else torch.isfinite(values)
        return values, known


def load_depth_anything(name: str, device: str = "cpu") -> DepthAnything:
    """Load a model; published ones are fetched by transformers on first use.

    Args:
        name: a name of :data:`DEPTH_ANYTHING`, or ``depth-anything-v2:FOLDER``.
        device: where it runs.

    Raises:
        InputError: the extra is not installed, or the name is unknown.
        WeightsError: the weights are not on this machine and cannot be fetched, or are no
            Depth Anything.
    """
    transformers = _transformers(name)
    if name.startswith(LOCAL_PREFIX):
        source, info = name.removeprefix(LOCAL_PREFIX), None
        if not Path(source, "config.json").is_file():
            raise WeightsError(f"depth model {name}: no folder with a config.json at {source}")
    elif name in DEPTH_ANYTHING:
        source, info = DEPTH_ANYTHING[name]
    else:
        raise InputError(f"depth model {name!r} is no Depth Anything V2")
    try:
        network = transformers.DepthAnythingForDepthEstimation.from_pretrained(source)
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip().split("\n", 1)[0][:160]
        raise WeightsError(f"depth model {name}: {source} cannot be loaded ({reason})") from error
    config = network.config
    version = str(getattr(config, "_commit_hash", None) or "local")
    metric = config.depth_estimation_type == "metric"
    if info is None:
        info = DepthModelInfo(
            name=LOCAL_PREFIX + Path(source).name,
            version=version,
            quantity="metric" if metric else "inverse",
            kind="z",
            licence="unknown (local folder)",
            far_m=float(config.max_depth) if metric else None,
        )
    elif metric != (info.quantity == "metric"):
        raise WeightsError(f"depth model {name}: {source} is of another kind than its name says")
    image_px = int(getattr(config.backbone_config, "image_size", _SHORT_SIDE_PX) or _SHORT_SIDE_PX)
    return DepthAnything(
        network.to(device), _with_version(info, version), min(image_px, _SHORT_SIDE_PX)
    )


def _with_version(info: DepthModelInfo, version: str) -> DepthModelInfo:
    return DepthModelInfo(**{**info.__dict__, "version": version})


def _transformers(name: str) -> Any:
    try:
        return importlib.import_module("transformers")
    except ImportError as error:
        raise InputError(
            f"depth model {name} needs the extra 'depth' (pip install 'loc2[depth]')"
        ) from error
