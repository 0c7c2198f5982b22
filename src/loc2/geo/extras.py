"""Import of the packages of the extra ``geo``, with a message that says how to get them."""

from __future__ import annotations

import importlib
from typing import Any

from loc2.errors import InputError


def import_geo(module: str) -> Any:
    """Return an imported module of the extra ``geo``.

    Args:
        module: for example ``pyproj`` or ``rasterio.windows``.

    Raises:
        InputError: the package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise InputError(
            f"georeferenced imagery needs {package}: pip install 'loc2[geo]' ({error})"
        ) from error
