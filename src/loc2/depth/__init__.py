"""Depth of ground images: the protocol, flat ground, files, and models by name."""

from loc2.depth.base import (
    DepthMap,
    DepthModel,
    implied_camera_height,
    lift_cells,
    lift_pixels,
)
from loc2.depth.files import DepthUnit, load_depth
from loc2.depth.flat import FlatGround
from loc2.depth.perspective import DepthModelInfo, PerspectiveDepth, PerspectiveModel
from loc2.depth.registry import (
    HEAD_DEPTHS,
    depth_model_info,
    depth_model_names,
    is_depth_model,
    make_depth_model,
)
from loc2.depth.relative import inverse_to_depth

__all__ = [
    "HEAD_DEPTHS",
    "DepthMap",
    "DepthModel",
    "DepthModelInfo",
    "DepthUnit",
    "FlatGround",
    "PerspectiveDepth",
    "PerspectiveModel",
    "depth_model_info",
    "depth_model_names",
    "implied_camera_height",
    "inverse_to_depth",
    "is_depth_model",
    "lift_cells",
    "lift_pixels",
    "load_depth",
    "make_depth_model",
]
