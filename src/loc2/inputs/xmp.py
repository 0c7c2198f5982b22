"""Reading the few XMP properties that say where a photo looks: GPano, and EXIF positions."""

from __future__ import annotations

import math
import re
from xml.parsers import expat

from loc2.errors import InputError

GPANO = "http://ns.google.com/photos/1.0/panorama/"
EXIF = "http://ns.adobe.com/exif/1.0/"

MAX_XMP_BYTES = 1_000_000
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"


class XmpError(InputError):
    """An XMP packet that cannot be used."""


def read_properties(packet: bytes) -> dict[tuple[str, str], str]:
    """Return the simple properties of an XMP packet.

    Both spellings are read: attributes of ``rdf:Description`` and elements inside it.

    Args:
        packet: XML, as stored in an image or an ``.xmp`` file.

    Returns:
        {(namespace, name): text}; structured properties are left out.

    Raises:
        XmpError: it is too long, no XML, or declares a document type (entities are never read).
    """
    if len(packet) > MAX_XMP_BYTES:
        raise XmpError(f"XMP of {len(packet)} bytes is too long (limit {MAX_XMP_BYTES})")
    found: dict[tuple[str, str], str] = {}
    path: list[str] = []
    text: list[str] = []

    def refuse_doctype(*_: object) -> None:
        raise XmpError("XMP with a document type is refused")

    def start(name: str, attributes: dict[str, str]) -> None:
        path.append(name)
        text.clear()
        if name == f"{_RDF} Description":
            for key, value in attributes.items():
                namespace, _, local = key.rpartition(" ")
                found.setdefault((namespace, local), value)

    def end(name: str) -> None:
        if len(path) >= 2 and path[-2] == f"{_RDF} Description":
            namespace, _, local = name.rpartition(" ")
            found.setdefault((namespace, local), "".join(text).strip())
        path.pop()
        text.clear()

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartDoctypeDeclHandler = refuse_doctype
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text.append
    try:
        parser.Parse(packet.strip(b"\0 \t\r\n"), True)
    except (expat.ExpatError, ValueError, LookupError) as error:  # also odd encodings
        raise XmpError(f"XMP is no well-formed XML ({error})") from error
    return found


def number(properties: dict[tuple[str, str], str], namespace: str, name: str) -> float | None:
    """Return a property as a finite number, or None where it is missing.

    Raises:
        XmpError: it is there but is no finite number.
    """
    text = properties.get((namespace, name))
    if text is None:
        return None
    ratio = re.fullmatch(r"\s*([-+]?\d{1,15})\s*/\s*(\d{1,15})\s*", text)
    try:
        value = float(ratio[1]) / float(ratio[2]) if ratio else float(text)
    except (ValueError, ZeroDivisionError) as error:
        raise XmpError(f"{name} is no number: {text[:40]!r}") from error
    if not math.isfinite(value):
        raise XmpError(f"{name} is not finite: {text[:40]!r}")
    return value


def coordinate_deg(text: str) -> float:
    """Return the degrees of an XMP position such as ``51,30.25N`` or ``51,30,15W``.

    Raises:
        XmpError: it is written otherwise.
    """
    match = re.fullmatch(
        r"\s*(\d{1,3}),(\d{1,2}(?:\.\d*)?)(?:,(\d{1,2}(?:\.\d*)?))?\s*([NSEW])\s*", text
    )
    if match is None:
        raise XmpError(f"position {text[:40]!r} is not written as degrees,minutes and N, S, E or W")
    degrees = float(match[1]) + float(match[2]) / 60 + float(match[3] or 0) / 3600
    return -degrees if match[4] in "SW" else degrees
