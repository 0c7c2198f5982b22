"""Any depth network as an ONNX file, told by a small description (extra ``onnx``).

The description is TOML or JSON::

    file = "network.onnx"        # beside the description
    name = "my-depth"
    version = "1.0"
    licence = "MIT"
    quantity = "inverse"         # metric, scale or inverse
    kind = "z"                   # z or range
    size = [518, 518]            # height and width of the input
"""

from __future__ import annotations

import importlib
import tomllib
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import Tensor
from torch.nn import functional

from loc2.cameras import Camera, DepthKind, Equirectangular, Pinhole
from loc2.depth.base import DepthMap
from loc2.depth.perspective import DepthModelInfo, Quantity
from loc2.errors import InputError, WeightsError
from loc2.inputs.camera_files import validation_line

_BLACK_MEAN = (0.0, 0.0, 0.0)
_UNIT_STD = (1.0, 1.0, 1.0)


class OnnxDescription(BaseModel):
    """What has to be known of an ONNX depth network.

    Attributes:
        file: the ONNX file, relative to the description.
        name: for records.
        version: for records.
        licence: of the weights, for instance an SPDX identifier.
        non_commercial: the licence forbids commercial use.
        quantity: ``metric`` (depth), ``scale`` (depth up to a scale) or ``inverse`` (inverse depth
            up to scale and shift).
        kind: ``z`` along the optical axis or ``range`` along the ray.
        projection: what the network takes: ``perspective`` images (panoramas are cut into views) or
            whole ``equirectangular`` panoramas.
        size: height and width of the input, pixels.
        mean: subtracted from RGB in [0, 1].
        std: divides the result.
        meters_per_unit: of metric output.
        far_m: the largest depth the network returns, metres.
        input: name of the input (B, 3, H, W); the only one by default.
        output: name of the output (B, h, w) or (B, 1, h, w); the first by default.
        valid_output: name of an output of the same shape, positive where depth is valid.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    file: Path
    name: str = Field(min_length=1)
    version: str = "unknown"
    licence: str = Field(min_length=1)
    non_commercial: bool = False
    quantity: Quantity
    kind: DepthKind
    projection: Literal["perspective", "equirectangular"] = "perspective"
    size: tuple[int, int]
    mean: tuple[float, float, float] = _BLACK_MEAN
    std: tuple[float, float, float] = _UNIT_STD
    meters_per_unit: float = Field(default=1.0, gt=0)
    far_m: float | None = Field(default=None, gt=0)
    input: str | None = None
    output: str | None = None
    valid_output: str | None = None

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if min(self.size) < 1 or min(self.std) <= 0:
            raise ValueError("size and std must be positive")
        if self.projection == "equirectangular" and self.kind != "range":
            raise ValueError("a panorama's depth is range; z has no meaning there")
        if self.projection == "equirectangular" and self.quantity == "inverse":
            raise ValueError(
                "inverse depth of whole panoramas cannot be used; give scale or metric"
            )
        if self.quantity == "inverse" and self.kind == "range":
            raise ValueError(
                "inverse depth up to a shift must be of z: of range it has no solution"
            )
        return self

    def info(self) -> DepthModelInfo:
        """Return the facts that records hold."""
        return DepthModelInfo(
            self.name,
            self.version,
            self.quantity,
            self.kind,
            self.licence,
            self.non_commercial,
            self.far_m,
        )


def read_description(path: Path) -> OnnxDescription:
    """Read a description.

    Raises:
        InputError: it cannot be read, or a field is missing, unknown or out of range.
    """
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            found = OnnxDescription.model_validate_json(text)
        else:
            found = OnnxDescription.model_validate(tomllib.loads(text))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"depth model {path}: cannot be read") from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"depth model {path}: not TOML ({error})") from error
    except ValidationError as error:
        raise InputError(f"depth model {path}: {validation_line(error)}") from error
    return found.model_copy(update={"file": path.parent / found.file})


class OnnxDepth:
    """A depth network run by onnxruntime.

    Args:
        description: what it is.
        device: ``cpu``, or ``cuda`` where onnxruntime has its provider.

    Raises:
        InputError: the extra is not installed.
        WeightsError: the file is missing, no ONNX graph, or has not the inputs and outputs that
            the description names.
    """

    def __init__(self, description: OnnxDescription, device: str = "cpu") -> None:
        self.description = description
        runtime = _onnxruntime(description.name)
        self._failures = _failures()
        if not description.file.is_file():
            raise WeightsError(f"depth model {description.name}: no file {description.file}")
        wanted = ["CUDAExecutionProvider"] if device.startswith("cuda") else []
        providers = [p for p in wanted if p in runtime.get_available_providers()]
        try:
            self._session = runtime.InferenceSession(
                str(description.file), providers=[*providers, "CPUExecutionProvider"]
            )
        except self._failures as error:
            reason = str(error).strip().split("\n", 1)[0][:160]
            raise WeightsError(
                f"depth model {description.name}: {description.file} is no ONNX graph that "
                f"can be run ({reason})"
            ) from error
        inputs = {i.name: i for i in self._session.get_inputs()}
        outputs = [o.name for o in self._session.get_outputs()]
        self._input = description.input or next(iter(inputs))
        self._outputs = [description.output or outputs[0]]
        if description.valid_output is not None:
            self._outputs.append(description.valid_output)
        for name, known in ((self._input, list(inputs)), *((o, outputs) for o in self._outputs)):
            if name not in known:
                raise WeightsError(
                    f"depth model {description.name}: no {name!r} in {description.file}; "
                    f"known: {', '.join(known)}"
                )
        self._one_by_one = inputs[self._input].shape[0] == 1

    @property
    def info(self) -> DepthModelInfo:
        """What the model is."""
        return self.description.info()

    @property
    def view_px(self) -> int:
        """Side of the square views it is best given, pixels."""
        return max(self.description.size)

    def predict(self, images: Tensor, camera: Pinhole) -> tuple[Tensor, Tensor]:
        """Estimate depth of a batch, see :class:`loc2.depth.perspective.PerspectiveModel`."""
        return self.run(images)

    def run(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the network's (B, h, w) values and validity of (B, 3, H, W) images.

        Raises:
            WeightsError: the network fails on such images, or returns something else than maps.
        """
        description = self.description
        resized = functional.interpolate(
            images.float().cpu(), size=description.size, mode="bilinear", align_corners=False,
            antialias=True,
        )  # fmt: skip
        mean = torch.tensor(description.mean)[:, None, None]
        std = torch.tensor(description.std)[:, None, None]
        batch = ((resized - mean) / std).numpy().astype(np.float32)
        parts = list(batch[:, None]) if self._one_by_one else [batch]
        try:
            found = [self._session.run(self._outputs, {self._input: part}) for part in parts]
        except self._failures as error:
            reason = str(error).strip().split("\n", 1)[0][:160]
            raise WeightsError(f"depth model {description.name}: failed ({reason})") from error
        maps = [torch.from_numpy(np.concatenate(m)).float() for m in zip(*found, strict=True)]
        maps = [m[:, 0] if m.ndim == 4 and m.shape[1] == 1 else m for m in maps]
        values = maps[0]
        if values.ndim != 3 or len(values) != len(images) or maps[-1].shape != values.shape:
            raise WeightsError(
                f"depth model {description.name}: expected maps of (B, h, w), got "
                f"{tuple(values.shape)}"
            )
        known = maps[1] > 0 if len(maps) > 1 else torch.isfinite(values)
        if description.quantity == "metric":
            values = values * description.meters_per_unit
        return values, known


class OnnxPanoramaDepth:
    """An ONNX network that takes whole panoramas, as a :class:`loc2.depth.DepthModel`.

    Args:
        network: with an equirectangular description.
    """

    def __init__(self, network: OnnxDepth) -> None:
        self._network = network

    def __call__(self, image: Tensor, camera: Camera) -> DepthMap:
        """Estimate range, see :class:`loc2.depth.DepthModel`.

        Raises:
            InputError: the image is not a full panorama, or nothing in it has depth.
        """
        info = self._network.info
        full = isinstance(camera, Equirectangular) and (
            camera.elevation_top_deg - camera.elevation_bottom_deg == 180.0
        )
        if not full:
            raise InputError(f"depth model {info.name} takes full panoramas (180 degrees high)")
        values, known = self._network.run(image[None])
        valid = known[0] & torch.isfinite(values[0]) & (values[0] > 0)
        if info.far_m is not None and info.quantity == "metric":
            valid &= values[0] < 0.99 * info.far_m
        if not bool(valid.any()):
            raise InputError("depth: nothing in the panorama has a usable depth")
        depth = torch.where(valid, values[0], torch.zeros_like(values[0]))
        return DepthMap(depth, "range", info.quantity == "metric", valid, info.name)


def _onnxruntime(name: str) -> Any:
    try:
        return importlib.import_module("onnxruntime")
    except ImportError as error:
        raise InputError(
            f"depth model {name} needs the extra 'onnx' (pip install 'loc2[onnx]')"
        ) from error


def _failures() -> tuple[type[Exception], ...]:
    """Return onnxruntime's errors, which share no base of their own."""
    state = vars(importlib.import_module("onnxruntime.capi.onnxruntime_pybind11_state"))
    own = [v for v in state.values() if isinstance(v, type) and issubclass(v, Exception)]
    return (*own, RuntimeError, ValueError)
