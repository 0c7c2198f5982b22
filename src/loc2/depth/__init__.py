"""Depth of ground images: the protocol, flat ground, files, and models by name."""

from loc2.depth.base import DepthMap, DepthModel, lift_cells
from loc2.depth.flat import FlatGround

__all__ = ["DepthMap", "DepthModel", "FlatGround", "lift_cells"]
