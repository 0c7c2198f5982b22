"""HEIC and HEIF photos, through the extra ``heic``."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from PIL import Image

from loc2.errors import InputError

_HEIC = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis"}
_ANY_CODEC = {b"mif1", b"msf1"}
_AVIF = {b"avif", b"avis"}
_MOST_BRANDS_BYTES = 256
_DAMAGED = (OSError, ValueError, RuntimeError, EOFError, SyntaxError, IndexError)


def is_heif(path: Path) -> bool:
    """Return whether a file starts as HEIF does, whatever its name says.

    AVIF is built alike, but Pillow reads it itself.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_MOST_BRANDS_BYTES)
    except OSError:
        return False
    if head[4:8] != b"ftyp":
        return False
    brand, end = head[8:12], int.from_bytes(head[:4], "big")
    compatible = {head[at : at + 4] for at in range(16, min(end, len(head)), 4)}
    return brand in _HEIC or (brand in _ANY_CODEC and not compatible & _AVIF)


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
    except _DAMAGED as error:
        raise InputError(f"{path}: damaged HEIC file ({_short(error)})") from error


def decode_heif(path: Path) -> Image.Image:
    """Return the picture of a HEIF file.

    Raises:
        InputError: the extra is missing, the file is damaged, or of a codec that is not there.
    """
    file = open_heif(path)
    try:
        picture: Image.Image = file.to_pillow()
    except _DAMAGED as error:
        raise InputError(
            f"{path}: HEIC file that is damaged or of an unknown codec ({_short(error)})"
        ) from error
    return picture


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:80]
