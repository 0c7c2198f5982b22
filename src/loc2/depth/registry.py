"""Depth models by name."""

from __future__ import annotations

from collections.abc import Callable

from loc2.depth.base import DepthModel
from loc2.depth.flat import FlatGround
from loc2.errors import InputError

DepthFactory = Callable[[float], DepthModel]
"""Builds a model for a camera height in metres."""

_FACTORIES: dict[str, DepthFactory] = {"flat": FlatGround}


def depth_model_names() -> list[str]:
    """Return the names that :func:`make_depth_model` knows."""
    return sorted(_FACTORIES)


def make_depth_model(name: str, camera_height_m: float) -> DepthModel:
    """Build a depth model by name.

    Args:
        name: one of :func:`depth_model_names`.
        camera_height_m: height of the camera above the ground, metres.

    Raises:
        InputError: no model has that name.
    """
    if name not in _FACTORIES:
        raise InputError(
            f"depth {name!r}: neither a file nor a known model; known: "
            f"{', '.join(['default', 'own', *depth_model_names()])}"
        )
    return _FACTORIES[name](camera_height_m)
