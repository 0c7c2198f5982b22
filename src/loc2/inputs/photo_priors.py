"""The priors of one photo: given, sidecar, EXIF and XMP, in this order."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from loc2.inputs.gpano import xmp_metadata
from loc2.inputs.metadata import PhotoMetadata
from loc2.inputs.photo import read_photo_metadata, upright_size
from loc2.inputs.priors import SIDECAR_SUFFIX, merge, read_sidecar
from loc2.inputs.xmp import MAX_XMP_BYTES, XmpError, read_properties


def photo_priors(path: Path, given: PhotoMetadata | None = None) -> PhotoMetadata:
    """Resolve what is known of a photo before it is looked at.

    The order, for each of position, heading and camera:

    1. what was ``given`` (options of the command line or arguments),
    2. a sidecar ``<photo name>.loc2.json``, then ``<photo name>.xmp`` or ``<stem>.xmp``,
    3. the photo's own EXIF and XMP (see :func:`loc2.inputs.photo.read_photo_metadata`),
    4. none: the field stays None.

    Args:
        path: an image file.
        given: what the user said, with its origins.

    Raises:
        InputError: the file is no image, or the JSON sidecar is damaged.
    """
    found = given if given is not None else PhotoMetadata()
    sidecar = path.with_name(path.name + SIDECAR_SUFFIX)
    if sidecar.is_file():
        found = merge(found, read_sidecar(sidecar))
    for xmp in (path.with_name(path.name + ".xmp"), path.with_suffix(".xmp")):
        if xmp.is_file():
            found = merge(found, _xmp_sidecar(xmp, path))
            break
    return merge(found, read_photo_metadata(path))


def _xmp_sidecar(xmp: Path, photo: Path) -> PhotoMetadata:
    try:
        with xmp.open("rb") as file:
            packet = file.read(MAX_XMP_BYTES + 1)
        said = xmp_metadata(read_properties(packet), *upright_size(photo))
    except (OSError, XmpError) as error:
        return PhotoMetadata(warnings=(f"{xmp.name}: {error}; not used",))
    return replace(
        said,
        origins=tuple((what, f"sidecar {xmp.name}") for what, _ in said.origins),
        warnings=tuple(f"{xmp.name}: {line}" for line in said.warnings),
    )
