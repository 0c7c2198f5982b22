"""Depth models by name; what a name needs is imported when it is used."""

from __future__ import annotations

import functools
import logging
from pathlib import Path

from loc2.depth.base import DepthModel
from loc2.depth.depth_anything import DEPTH_ANYTHING, LOCAL_PREFIX, load_depth_anything
from loc2.depth.flat import FlatGround
from loc2.depth.onnx import OnnxDepth, OnnxPanoramaDepth, read_description
from loc2.depth.perspective import DepthModelInfo, PerspectiveDepth
from loc2.depth.tangent import ViewLayout
from loc2.errors import InputError

_LOGGER = logging.getLogger(__name__)
_OURS = "Apache-2.0"
_DESCRIPTIONS = (".toml", ".json")

HEAD_DEPTHS = ("own", "ground")
"""Names of what the weights' own depth head tells; :func:`make_depth_model` has no weights."""


def depth_model_names() -> list[str]:
    """Return the names that :func:`make_depth_model` knows."""
    return sorted(["flat", *DEPTH_ANYTHING])


def is_depth_model(name: str) -> bool:
    """Tell a model's name, or the description of an ONNX network, from a depth file."""
    return name in depth_model_names() or name.startswith(LOCAL_PREFIX) or _is_description(name)


def _is_description(name: str) -> bool:
    return Path(name).suffix in _DESCRIPTIONS and not name.startswith(LOCAL_PREFIX)


def depth_model_info(name: str) -> DepthModelInfo:
    """Return what a model is without loading it.

    Args:
        name: see :func:`make_depth_model`.

    Raises:
        InputError: no model has that name, or its description cannot be used.
    """
    if name == "flat":
        return DepthModelInfo("flat", "1", "metric", "range", _OURS)
    if name in DEPTH_ANYTHING:
        return DEPTH_ANYTHING[name][1]
    if name.startswith(LOCAL_PREFIX):
        return DepthModelInfo(name, "local", "inverse", "z", "unknown (local folder)")
    if _is_description(name):
        return read_description(Path(name)).info()
    known = ", ".join(["default", *HEAD_DEPTHS, *depth_model_names()])
    raise InputError(
        f"depth {name!r}: neither a file nor a known model; known: {known}, and the description "
        "of an ONNX network (.toml)"
    )


def make_depth_model(
    name: str, camera_height_m: float, device: str = "cpu", layout: ViewLayout = "cube"
) -> DepthModel:
    """Build a depth model by name.

    A non-commercial licence is named (a warning of the logger ``loc2``) before anything is
    loaded or fetched.

    Args:
        name: one of :func:`depth_model_names`, ``depth-anything-v2:FOLDER``, or the description of
            an ONNX network (see :mod:`loc2.depth.onnx`).
        camera_height_m: height of the camera above the ground, metres.
        device: where networks run.
        layout: how panoramas are cut for models of perspective images.

    Raises:
        InputError: no model has that name, or its extra is not installed.
        WeightsError: its weights cannot be had.
    """
    info = depth_model_info(name)
    if info.non_commercial:
        _LOGGER.warning(
            "depth model %s: licence %s, non-commercial use only", info.name, info.licence
        )
    if name == "flat":
        return FlatGround(camera_height_m)
    files = [Path(name), read_description(Path(name)).file] if _is_description(name) else []
    return _network(name, device, layout, tuple(f.stat().st_mtime_ns for f in files if f.is_file()))


@functools.lru_cache(maxsize=1)
def _network(name: str, device: str, layout: ViewLayout, changed_ns: tuple[int, ...]) -> DepthModel:
    """Load a network, which is kept for the next image; ``changed_ns`` tells its versions apart."""
    del changed_ns
    if _is_description(name):
        description = read_description(Path(name))
        network = OnnxDepth(description, device)
        if description.projection == "equirectangular":
            return OnnxPanoramaDepth(network)
        return PerspectiveDepth(network, layout, device)
    return PerspectiveDepth(load_depth_anything(name, device), layout, device)
