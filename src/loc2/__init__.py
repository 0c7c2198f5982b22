"""Fine-grained cross-view localization: where a ground photo was taken, and why.

>>> import loc2
>>> localizer = loc2.Localizer.from_pretrained()  # doctest: +SKIP
>>> answer = localizer.localize("pano.jpg", "aerial.png", meters_per_pixel=0.2)  # doctest: +SKIP
>>> answer.pose  # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from loc2.cameras import Equirectangular, Pinhole
    from loc2.depth import DepthMap
    from loc2.errors import InputError, Loc2Error
    from loc2.frames import Pose
    from loc2.localization import Localization
    from loc2.localizer import Localizer

_PUBLIC = {
    "DepthMap": "loc2.depth",
    "Equirectangular": "loc2.cameras",
    "InputError": "loc2.errors",
    "Localization": "loc2.localization",
    "Localizer": "loc2.localizer",
    "Loc2Error": "loc2.errors",
    "Pinhole": "loc2.cameras",
    "Pose": "loc2.frames",
}

__all__ = [
    "DepthMap",
    "Equirectangular",
    "InputError",
    "Loc2Error",
    "Localization",
    "Localizer",
    "Pinhole",
    "Pose",
    "__version__",
]


def __getattr__(name: str) -> Any:
    """Load public names when first used: importing loc2 alone must not import torch."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'loc2' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)
