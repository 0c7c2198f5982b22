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
_JPEG, _PNG = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"

_OLD_FIX = {
    ExifTags.GPS.GPSSatellites,
    ExifTags.GPS.GPSStatus,
    ExifTags.GPS.GPSMeasureMode,
    ExifTags.GPS.GPSDOP,
    ExifTags.GPS.GPSDestBearingRef,
    ExifTags.GPS.GPSDestBearing,
    ExifTags.GPS.GPSDestDistanceRef,
    ExifTags.GPS.GPSDestDistance,
    ExifTags.GPS.GPSProcessingMethod,
    ExifTags.GPS.GPSAreaInformation,
    ExifTags.GPS.GPSDifferential,
}
"""Fields that say how, or from where, the photo's former position was found."""


def check_exif_copy(photo: Path, target: Path) -> None:
    """Refuse what no copy can be made of, as far as the file's beginning tells.

    Args:
        photo: the photo.
        target: the copy.

    Raises:
        InputError: neither JPEG nor PNG, or the copy would overwrite the photo.
    """
    try:
        with photo.open("rb") as file:
            start = file.read(len(_PNG))
        overwrites = target.exists() and target.samefile(photo)
    except OSError as error:
        raise InputError(f"{photo}: cannot be read ({error.strerror})") from error
    if not start.startswith((_JPEG, _PNG)):
        raise _of_another_kind(photo)
    if overwrites:
        raise InputError(f"{target}: the copy with EXIF must not overwrite the photo")


def write_exif_copy(photo: Path, target: Path, answer: GeoAnswer) -> None:
    """Write what :func:`exif_copy` returns.

    Args:
        photo: the photo.
        target: the copy; must be another file.
        answer: where the photo was taken.

    Raises:
        InputError: neither JPEG nor PNG, damaged, or the copy would overwrite the photo.
        OutputError: the copy cannot be written.
    """
    check_exif_copy(photo, target)
    data = exif_copy(photo, answer)
    with atomic_path(target) as temporary:
        temporary.write_bytes(data)


def exif_copy(photo: Path, answer: GeoAnswer) -> bytes:
    """Return a JPEG or PNG with the position and direction of the answer in its EXIF.

    Everything else (pixels, other EXIF fields, altitude and time among them, XMP, profiles) is
    kept, but for EXIF's own small preview and what it says of how the former position was found;
    a JPEG is not encoded again. GPano's own heading, where there is one, is not changed.

    Args:
        photo: the photo.
        answer: where it was taken.

    Raises:
        InputError: neither JPEG nor PNG, damaged, or its EXIF is too long.
    """
    try:
        data = photo.read_bytes()
    except OSError as error:
        raise InputError(f"{photo}: cannot be read ({error.strerror})") from error
    if data.startswith(_JPEG):
        return _with_jpeg_exif(data, _updated(photo, answer), photo)
    if data.startswith(_PNG):
        return _with_png_exif(data, _updated(photo, answer), photo)
    raise _of_another_kind(photo)


def _of_another_kind(photo: Path) -> InputError:
    return InputError(f"{photo}: EXIF can be written to copies of JPEG and PNG files only")


def _updated(photo: Path, answer: GeoAnswer) -> bytes:
    """Return the photo's EXIF with the position and direction replaced, as a TIFF structure."""
    exif = Image.Exif()
    try:
        with Image.open(photo) as image:
            exif = image.getexif()
            exif.get_ifd(ExifTags.IFD.Exif)  # read while the file is open
            gps = exif.get_ifd(ExifTags.IFD.GPSInfo)
    except BAD_METADATA:
        exif, gps = Image.Exif(), {}
    found = _gps_fields(answer)
    kept = {tag: value for tag, value in gps.items() if tag not in _OLD_FIX}
    # What is damaged cannot be kept: first the other fields of GPS go, then all of EXIF.
    for fields in (kept | found, found):
        try:
            return _tiff(exif, fields)
        except BAD_METADATA:
            continue
    return _tiff(Image.Exif(), found)


def _tiff(exif: Image.Exif, gps: dict[int, object]) -> bytes:
    fields = exif.get_ifd(ExifTags.IFD.GPSInfo)
    fields.clear()
    fields.update(gps)
    return exif.tobytes().removeprefix(_HEADER)


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
