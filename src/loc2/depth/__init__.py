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
from loc2.depth.registry import depth_model_names, make_depth_model

__all__ = [
    "DepthMap",
    "DepthModel",
    "DepthUnit",
    "FlatGround",
    "depth_model_names",
    "implied_camera_height",
    "lift_cells",
    "lift_pixels",
    "load_depth",
    "make_depth_model",
]
