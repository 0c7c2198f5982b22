"""Decoding images of any common kind to float32 RGB."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import ExifTags, Image, UnidentifiedImageError
from torch import Tensor

from loc2.errors import InputError
from loc2.inputs.exif import BAD_METADATA
from loc2.inputs.heic import decode_heif, is_heif

ImageLike = str | Path | Image.Image | npt.NDArray[np.generic] | Tensor
"""A path, a PIL image, an array (H, W) or (H, W, 1, 3 or 4), or a (3, H, W) tensor."""

MIN_SIDE_PX = 14
"""Smaller images hold less than one patch of the backbone."""

MAX_PIXELS = 178_956_970
"""Larger files are refused before they are decoded (0.5 GB as 8-bit RGB): what Pillow opens."""

TOO_MANY_PIXELS = f"more than the {MAX_PIXELS / 1e6:.0f} million pixels allowed"
"""Why they are refused, for messages."""

_TRANSPARENT = 0.5
"""Grey put behind transparent pixels: neutral for the network, unlike black or white."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes an image of each EXIF orientation upright."""

UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)
"""What Pillow raises for files that are no image, damaged, or suspiciously large."""


def load_image(image: ImageLike, role: str = "image") -> Tensor:
    """Decode an image to RGB, upright, whatever its mode.

    Greyscale, palette, alpha, CMYK and 16-bit images are converted, EXIF orientation is applied.
    Floating-point arrays are taken to lie in [0, 1], integers to span their type.

    Args:
        image: path, PIL image, array or tensor.
        role: what the image is, for error messages ("ground image", "aerial image").

    Returns:
        (3, H, W) float32 in [0, 1].

    Raises:
        InputError: the file is missing, empty, truncated, no image, too large or too small, or the
            array has a shape or values that no image has.
    """
    if isinstance(image, (str, Path)):
        name = f"{role} {image}"
        array = _decode_file(Path(image), name)
    elif isinstance(image, Image.Image):
        name = role
        array = _decode(image, name)
    else:
        name = role
        array = _from_array(image, name)
    height, width = array.shape[:2]
    if min(height, width) < MIN_SIDE_PX:
        raise InputError(
            f"{name}: {width}x{height} pixels; at least {MIN_SIDE_PX}x{MIN_SIDE_PX} are needed"
        )
    return torch.from_numpy(np.ascontiguousarray(array)).permute(2, 0, 1).contiguous()


def _decode_file(path: Path, name: str) -> npt.NDArray[np.float32]:
    if not path.exists():
        raise InputError(f"{name}: no such file")
    if not path.is_file():
        raise InputError(f"{name}: not a file")
    try:
        with warnings.catch_warnings():
            # Pillow warns at half of the size it refuses; our own limit follows.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            if is_heif(path):
                return _decode(decode_heif(path), name)
            with Image.open(path) as opened:
                return _decode(opened, name)
    except UnidentifiedImageError as error:
        raise InputError(f"{name}: not an image file") from error
    except Image.DecompressionBombError as error:
        raise InputError(f"{name}: {TOO_MANY_PIXELS}; cut out the part that matters") from error
    except UNREADABLE as error:
        reason = str(error).split("\n", 1)[0]
        raise InputError(f"{name}: cannot be read, damaged or truncated ({reason})") from error


def _decode(image: Image.Image, name: str) -> npt.NDArray[np.float32]:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise InputError(
            f"{name}: {width}x{height}, {TOO_MANY_PIXELS}; cut out the part that matters"
        )
    image = _upright(image)
    if image.mode.startswith("I;16"):
        return _grey(np.asarray(image, dtype=np.float32) / 65535.0)
    if image.mode in ("I", "F"):
        values = np.asarray(image, dtype=np.float32)
        if not np.isfinite(values).all():
            raise InputError(f"{name}: holds values that are not finite")
        top = float(values.max(initial=0.0))
        span = 1.0 if top <= 1.0 else 255.0 if top <= 255.0 else 65535.0
        return _grey(np.clip(values / span, 0.0, 1.0))
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        rgba: npt.NDArray[np.float32] = np.asarray(image.convert("RGBA"), np.float32) / 255.0
        return _flatten_alpha(rgba)
    rgb: npt.NDArray[np.float32] = np.asarray(image.convert("RGB"), dtype=np.float32) / 255.0
    return rgb


def _upright(image: Image.Image) -> Image.Image:
    """Turn an image as its EXIF says, if that can be read; Pillow's own would rewrite all of it."""
    image.load()  # turns a TIFF already, and then says so
    try:
        turn = _TURNS.get(int(image.getexif().get(ExifTags.Base.Orientation, 1)))
    except BAD_METADATA:
        return image
    return image if turn is None else image.transpose(turn)


def _flatten_alpha(rgba: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    alpha = rgba[..., 3:]
    flat: npt.NDArray[np.float32] = rgba[..., :3] * alpha + np.float32(_TRANSPARENT) * (1 - alpha)
    return flat


def _grey(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    rgb: npt.NDArray[np.float32] = np.repeat(values[..., None], 3, axis=2)
    return rgb


def _from_array(image: npt.NDArray[np.generic] | Tensor, name: str) -> npt.NDArray[np.float32]:
    if isinstance(image, Tensor):
        if image.ndim != 3 or image.shape[0] != 3:
            raise InputError(f"{name}: a tensor must be (3, H, W), got {tuple(image.shape)}")
        raw = image.detach().cpu().permute(1, 2, 0).numpy()
    else:
        raw = image[..., None] if image.ndim == 2 else image
    if raw.ndim != 3 or raw.shape[2] not in (1, 3, 4):
        raise InputError(f"{name}: an array must be (H, W) or (H, W, 1, 3 or 4), got {raw.shape}")
    if raw.dtype.kind in "ui":
        values = raw.astype(np.float32) / np.float32(np.iinfo(raw.dtype).max)
    elif raw.dtype.kind == "b":
        values = raw.astype(np.float32)
    elif raw.dtype.kind == "f":
        values = raw.astype(np.float32)
        if not np.isfinite(values).all():
            raise InputError(f"{name}: holds values that are not finite")
        if values.size and (values.min() < -1e-3 or values.max() > 1.0 + 1e-3):
            raise InputError(f"{name}: floating-point values must lie in [0, 1]")
        values = np.clip(values, 0.0, 1.0)
    else:
        raise InputError(f"{name}: arrays of type {raw.dtype} are no image")
    if values.shape[2] == 4:
        values = _flatten_alpha(values)
    return np.repeat(values, 3, axis=2) if values.shape[2] == 1 else values
