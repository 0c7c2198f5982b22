"""HEIC and HEIF photos, through the extra ``heic``."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from loc2.errors import InputError

_BRANDS = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1", b"avif"}


def is_heif(path: Path) -> bool:
    """Return whether a file starts as HEIF does, whatever its name says."""
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError:
        return False
    return head[4:8] == b"ftyp" and head[8:12] in _BRANDS


def open_heif(path: Path) -> Any:
    """Return a ``pillow_heif`` file: size and metadata are read, pixels are not.

    Raises:
        InputError: the extra is missing, or the file is damaged.
    """
    try:
        library = importlib.import_module("pillow_heif")
    except ImportError as error:
        raise InputError(f"{path}: HEIC needs an extra: pip install 'loc2[heic]'") from error
    try:
        return library.open_heif(path, convert_hdr_to_8bit=True)
    except (OSError, ValueError, RuntimeError, EOFError, SyntaxError, IndexError) as error:
        raise InputError(f"{path}: damaged HEIC file ({str(error)[:80]})") from error
