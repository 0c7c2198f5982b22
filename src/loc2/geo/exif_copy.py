"""Writing an answer into the EXIF of a copy of the photo; its pixels stay as they are."""

from __future__ import annotations

import io
import math
import struct
import zlib
from fractions import Fraction
from pathlib import Path

from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational

from loc2.errors import InputError
from loc2.geo.answer import ELLIPSE_PROBABILITY, GeoAnswer
from loc2.inputs.exif import BAD_METADATA
from loc2.outputs import atomic_path

_HEADER = b"Exif\0\0"
_MAX_SEGMENT = 65533


def write_exif_copy(photo: Path, target: Path, answer: GeoAnswer) -> None:
    """Write a copy of a JPEG or PNG whose EXIF holds the position and direction of the answer.

    Everything else (pixels, other EXIF fields, XMP, profiles) is copied; a JPEG is not encoded
    again. GPano's own heading, where there is one, is not changed.

    Args:
        photo: the photo.
        target: the copy; must be another file.
        answer: where the photo was taken.

    Raises:
        InputError: neither JPEG nor PNG, damaged, or the copy would overwrite the photo.
        OutputError: the copy cannot be written.
    """
    if target.exists() and target.samefile(photo):
        raise InputError(f"{target}: the copy with EXIF must not overwrite the photo")
    try:
        data = photo.read_bytes()
    except OSError as error:
        raise InputError(f"{photo}: cannot be read ({error.strerror})") from error
    if data[:2] == b"\xff\xd8":
        result = _with_jpeg_exif(data, _updated(photo, answer), photo)
    elif data[:8] == b"\x89PNG\r\n\x1a\n":
        result = _with_png_exif(data, _updated(photo, answer), photo)
    else:
        raise InputError(f"{photo}: EXIF can be written to copies of JPEG and PNG files only")
    with atomic_path(target) as temporary:
        temporary.write_bytes(result)


def _updated(photo: Path, answer: GeoAnswer) -> bytes:
    """Return the photo's EXIF with the position and direction replaced, as a TIFF structure."""
    exif = Image.Exif()
    try:
        with Image.open(photo) as image:
            exif = image.getexif()
            exif.get_ifd(ExifTags.IFD.Exif)  # read while the file is open
            gps = exif.get_ifd(ExifTags.IFD.GPSInfo)
        gps.clear()
        gps.update(_gps_fields(answer))
        return exif.tobytes().removeprefix(_HEADER)
    except BAD_METADATA:
        fresh = Image.Exif()  # what is damaged cannot be kept
        fresh.get_ifd(ExifTags.IFD.GPSInfo).update(_gps_fields(answer))
        return fresh.tobytes().removeprefix(_HEADER)


def _gps_fields(answer: GeoAnswer) -> dict[int, object]:
    tags = ExifTags.GPS
    # One standard deviation, as photos' own errors are read.
    error_m = answer.ellipse.semi_major_m / math.sqrt(-2 * math.log(1 - ELLIPSE_PROBABILITY))
    return {
        tags.GPSVersionID: b"\x02\x03\x00\x00",
        tags.GPSLatitudeRef: "N" if answer.latitude_deg >= 0 else "S",
        tags.GPSLatitude: _degrees_minutes_seconds(abs(answer.latitude_deg)),
        tags.GPSLongitudeRef: "E" if answer.longitude_deg >= 0 else "W",
        tags.GPSLongitude: _degrees_minutes_seconds(abs(answer.longitude_deg)),
        tags.GPSImgDirectionRef: "T",
        tags.GPSImgDirection: IFDRational(round(answer.heading_true_deg * 1000) % 360_000, 1000),
        tags.GPSHPositioningError: _rational(max(error_m, 0.01)),
        tags.GPSMapDatum: "WGS-84",
    }


def _rational(value: float) -> IFDRational:
    fraction = Fraction(value).limit_denominator(1000)
    return IFDRational(fraction.numerator, fraction.denominator)


def _degrees_minutes_seconds(value_deg: float) -> tuple[IFDRational, IFDRational, IFDRational]:
    """Return whole degrees and minutes, and seconds to 1e-6 (0.03 mm)."""
    micro_seconds = round(value_deg * 3600 * 1_000_000)
    minutes, micro_seconds = divmod(micro_seconds, 60_000_000)
    degrees, minutes = divmod(minutes, 60)
    return IFDRational(degrees, 1), IFDRational(minutes, 1), IFDRational(micro_seconds, 1_000_000)


def _with_jpeg_exif(data: bytes, tiff: bytes, photo: Path) -> bytes:
    """Replace the EXIF segment of a JPEG; all other bytes are copied."""
    payload = _HEADER + tiff
    if len(payload) > _MAX_SEGMENT:
        raise InputError(f"{photo}: its EXIF is too long to be written again")
    out = io.BytesIO()
    out.write(data[:2])
    segment = b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload
    position, written = 2, False
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        if marker == 0xDA:  # the picture starts
            break
        (length,) = struct.unpack(">H", data[position + 2 : position + 4])
        end = position + 2 + length
        is_exif = marker == 0xE1 and data[position + 4 : position + 10] == _HEADER
        if not written and marker != 0xE0:  # after JFIF, before everything else
            out.write(segment)
            written = True
        if not is_exif:
            out.write(data[position:end])
        position = end
    if not written or data[position : position + 2] != b"\xff\xda":
        raise InputError(f"{photo}: damaged JPEG")
    out.write(data[position:])
    return out.getvalue()


def _with_png_exif(data: bytes, tiff: bytes, photo: Path) -> bytes:
    """Replace the eXIf chunk of a PNG; all other chunks are copied."""
    out = io.BytesIO()
    out.write(data[:8])
    position, written = 8, False
    while position + 12 <= len(data):
        (length,) = struct.unpack(">I", data[position : position + 4])
        kind, end = data[position + 4 : position + 8], position + 12 + length
        if kind != b"eXIf":
            out.write(data[position:end])
        if kind == b"IHDR":
            body = b"eXIf" + tiff
            out.write(struct.pack(">I", len(tiff)) + body + struct.pack(">I", zlib.crc32(body)))
            written = True
        position = end
    if not written or position != len(data):
        raise InputError(f"{photo}: damaged PNG")
    return out.getvalue()
