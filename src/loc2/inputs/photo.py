"""Everything a photo file says about itself: EXIF and XMP, of JPEG, PNG, WebP, TIFF and HEIC."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import torch
from PIL import ExifTags, Image, UnidentifiedImageError
from torch import Tensor

from loc2.errors import InputError
from loc2.inputs.exif import BAD_METADATA, exif_metadata
from loc2.inputs.gpano import xmp_metadata
from loc2.inputs.heic import is_heif, open_heif
from loc2.inputs.images import TOO_MANY_PIXELS
from loc2.inputs.metadata import PanoramaCrop, PhotoMetadata
from loc2.inputs.priors import merge
from loc2.inputs.xmp import GPANO, XmpError, read_properties

_TURNED = {5, 6, 7, 8}
"""EXIF orientations that swap width and height."""


_DAMAGED = PhotoMetadata(warnings=("EXIF is damaged and not used",))


def read_photo_metadata(path: Path) -> PhotoMetadata:
    """Return what a photo's own EXIF and XMP say; pixels are not decoded.

    GPano (XMP) is believed before EXIF for the camera and the heading, EXIF before XMP for the
    position. A field of view from EXIF is not used for a panorama.

    Args:
        path: an image file.

    Raises:
        InputError: the file is no image (damaged metadata only gives warnings).
    """
    (width, height), from_exif, xmp = _read(path)
    from_xmp = PhotoMetadata()
    if xmp:
        try:
            properties = read_properties(xmp)
            from_xmp = xmp_metadata(properties, width, height)
            if any(namespace == GPANO for namespace, _ in properties):
                from_exif = replace(from_exif, camera=None)
        except XmpError as error:
            from_xmp = PhotoMetadata(warnings=(f"{error}; not used",))
    without_position = replace(from_xmp, latitude_deg=None, longitude_deg=None)
    merged = merge(merge(without_position, from_exif), replace(from_xmp, warnings=()))
    lines = tuple(f"{path.name}: {line}" for line in merged.warnings)
    return replace(merged, warnings=lines)


def upright_size(path: Path) -> tuple[int, int]:
    """Return (width, height) of an image as it is shown, pixels; it is not decoded.

    Raises:
        InputError: the file is no image.
    """
    return _read(path)[0]


def _read(path: Path) -> tuple[tuple[int, int], PhotoMetadata, bytes]:
    """Return the size of the upright image, what EXIF says, and the XMP packet."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's remarks; ours follow from the values
            if is_heif(path):
                return _read_heif(path)
            with Image.open(path) as image:
                size = image.size
                xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
                try:
                    exif = image.getexif()
                    # Of a TIFF, Pillow already gives the upright size.
                    turned = exif.get(ExifTags.Base.Orientation) in _TURNED
                    if turned and image.format != "TIFF":
                        size = size[::-1]
                    # Read while the file is open: TIFF holds its metadata all over the file.
                    return size, exif_metadata(exif, *size), _packet(xmp)
                except BAD_METADATA:
                    return size, _DAMAGED, _packet(xmp)
    except Image.DecompressionBombError as error:
        raise InputError(f"ground image {path}: {TOO_MANY_PIXELS}") from error
    except UnidentifiedImageError as error:
        raise InputError(f"ground image {path}: not an image that can be read") from error
    except BAD_METADATA as error:
        raise InputError(f"ground image {path}: cannot be read ({str(error)[:80]})") from error


def _read_heif(path: Path) -> tuple[tuple[int, int], PhotoMetadata, bytes]:
    heif = open_heif(path)  # turned upright by its own transformation
    size = (int(heif.size[0]), int(heif.size[1]))
    exif = Image.Exif()
    try:
        exif.load(heif.info.get("exif") or b"")
        return size, exif_metadata(exif, *size), _packet(heif.info.get("xmp"))
    except BAD_METADATA:
        return size, _DAMAGED, _packet(heif.info.get("xmp"))


def _packet(value: object) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", errors="replace")
    return value if isinstance(value, bytes) else b""


def pad_panorama(image: Tensor, crop: PanoramaCrop) -> Tensor:
    """Return a panorama of all azimuths, black where the image does not reach.

    Args:
        image: (3, H, W) RGB, covering the crop.
        crop: which part it covers.

    Returns:
        (3, H, round(W / crop.width)) RGB.
    """
    height, width = image.shape[-2:]
    full = max(width, round(width / crop.width))
    left = min(round(crop.left * full), full - width)
    padded = torch.zeros(3, height, full, dtype=image.dtype)
    padded[:, :, left : left + width] = image
    return padded
