"""Answers as GeoJSON, CSV, KML and GPX."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from loc2.errors import InputError
from loc2.geo.answer import GeoAnswer
from loc2.outputs import atomic_path

HEADING_LINE_M = 15.0
"""Length of the line that shows the heading on a map."""

COLUMNS = (
    "name", "latitude_deg", "longitude_deg", "heading_true_deg", "semi_major_m", "semi_minor_m",
    "azimuth_true_deg", "ellipse_probability", "heading_sigma_deg", "confidence", "attribution",
)  # fmt: skip
"""Columns of the CSV file."""

_KML = "http://www.opengis.net/kml/2.2"
_GPX = "http://www.topografix.com/GPX/1/1"
_LOC2 = "urn:loc2:answer"


def _row(answer: GeoAnswer) -> dict[str, str | float]:
    """Return an answer as flat values, numbers rounded well below their accuracy."""
    ellipse = answer.ellipse
    values: dict[str, str | float | None] = {
        "name": answer.name,
        "latitude_deg": round(answer.latitude_deg, 9),
        "longitude_deg": round(answer.longitude_deg, 9),
        "heading_true_deg": round(answer.heading_true_deg, 4),
        "semi_major_m": round(ellipse.semi_major_m, 3),
        "semi_minor_m": round(ellipse.semi_minor_m, 3),
        "azimuth_true_deg": round(ellipse.azimuth_true_deg, 2),
        "ellipse_probability": ellipse.probability,
        "heading_sigma_deg": round(answer.heading_sigma_deg, 3),
        "confidence": None if answer.confidence is None else round(answer.confidence, 4),
        "attribution": answer.attribution,
    }
    return {key: value for key, value in values.items() if value is not None}


def to_geojson(answers: Sequence[GeoAnswer]) -> str:
    """Return RFC 7946 GeoJSON: for each answer a point, its ellipse and a heading line."""
    features: list[dict[str, Any]] = []
    for answer in answers:
        here = [round(answer.longitude_deg, 9), round(answer.latitude_deg, 9)]
        row = _row(answer)
        shapes: list[tuple[str, str, object]] = [("camera", "Point", here)]
        ring = [[round(lon, 9), round(lat, 9)] for lon, lat in answer.outline()]
        shapes.append(("accuracy", "Polygon", [ring]))
        ahead = [round(value, 9) for value in answer.ahead(HEADING_LINE_M)]
        shapes.append(("heading", "LineString", [here, ahead]))
        for kind, geometry, coordinates in shapes:
            properties = row if kind == "camera" else {"name": answer.name}
            features.append(
                {
                    "type": "Feature",
                    "properties": {"kind": kind, **properties},
                    "geometry": {"type": geometry, "coordinates": coordinates},
                }
            )
    return json.dumps({"type": "FeatureCollection", "features": features}, indent=1) + "\n"


def to_csv(answers: Sequence[GeoAnswer]) -> str:
    """Return a table with the columns :data:`COLUMNS`, one row for each answer."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for answer in answers:
        row = _row(answer)
        # A spreadsheet takes a name that starts like a formula for one.
        writer.writerow(
            {k: f"'{v}" if isinstance(v, str) and v[:1] in "=+-@" else v for k, v in row.items()}
        )
    return out.getvalue()


def to_kml(answers: Sequence[GeoAnswer]) -> str:
    """Return KML 2.2: for each answer a folder with point, ellipse and heading line."""
    root = ET.Element("kml", xmlns=_KML)
    document = ET.SubElement(root, "Document")
    for answer in answers:
        folder = ET.SubElement(document, "Folder")
        _add(folder, "name", answer.name)
        point = ET.SubElement(folder, "Placemark")
        _add(point, "name", answer.name)
        style = ET.SubElement(ET.SubElement(point, "Style"), "IconStyle")
        _add(style, "heading", f"{answer.heading_true_deg:.3f}")
        data = ET.SubElement(point, "ExtendedData")
        for key, value in _row(answer).items():
            _add(ET.SubElement(data, "Data", name=key), "value", str(value))
        here = f"{answer.longitude_deg:.9f},{answer.latitude_deg:.9f}"
        _add(ET.SubElement(point, "Point"), "coordinates", here)
        area = ET.SubElement(folder, "Placemark")
        _add(area, "name", f"accuracy {answer.ellipse.probability:.0%}")
        ring = ET.SubElement(
            ET.SubElement(ET.SubElement(area, "Polygon"), "outerBoundaryIs"), "LinearRing"
        )
        _add(ring, "coordinates", " ".join(f"{x:.9f},{y:.9f}" for x, y in answer.outline()))
        line = ET.SubElement(folder, "Placemark")
        _add(line, "name", "heading")
        x, y = answer.ahead(HEADING_LINE_M)
        _add(ET.SubElement(line, "LineString"), "coordinates", f"{here} {x:.9f},{y:.9f}")
    return _document(root)


def to_gpx(answers: Sequence[GeoAnswer]) -> str:
    """Return GPX 1.1: a waypoint for each answer; what GPX has no field for is an extension."""
    root = ET.Element("gpx", xmlns=_GPX, version="1.1", creator="loc2")
    for answer in answers:
        point = ET.SubElement(
            root, "wpt", lat=f"{answer.latitude_deg:.9f}", lon=f"{answer.longitude_deg:.9f}"
        )
        _add(point, "name", answer.name)
        ellipse = answer.ellipse
        _add(
            point,
            "desc",
            f"heading {answer.heading_true_deg:.1f} deg true, {ellipse.probability:.0%} within "
            f"{ellipse.semi_major_m:.1f} x {ellipse.semi_minor_m:.1f} m",
        )
        extensions = ET.SubElement(point, "extensions")
        for key, value in _row(answer).items():
            if key not in ("name", "latitude_deg", "longitude_deg"):
                element = ET.SubElement(extensions, f"{{{_LOC2}}}{key}")
                element.text = _clean(str(value))
    return _document(root)


FORMATS: dict[str, Callable[[Sequence[GeoAnswer]], str]] = {
    "geojson": to_geojson,
    "csv": to_csv,
    "kml": to_kml,
    "gpx": to_gpx,
}
"""Name and file suffix of each format."""


def parse_formats(text: str) -> tuple[str, ...]:
    """Return the formats of a list such as ``geojson,kml``.

    Raises:
        InputError: a name is unknown.
    """
    names = tuple(dict.fromkeys(part.strip().lower() for part in text.split(",") if part.strip()))
    for name in names:
        if name not in FORMATS:
            raise InputError(f"--format: unknown format {name!r}; known: {', '.join(FORMATS)}")
    return names


def write_answers(
    answers: Sequence[GeoAnswer], stem: Path, formats: Sequence[str]
) -> tuple[Path, ...]:
    """Write answers beside each other, ``stem`` plus the suffix of each format.

    Returns:
        The files written.

    Raises:
        OutputError: a file cannot be written.
    """
    written = []
    for name in formats:
        path = stem.with_name(f"{stem.name}.{name}")
        with atomic_path(path) as temporary:
            temporary.write_text(FORMATS[name](answers), encoding="utf-8")
        written.append(path)
    return tuple(written)


def _add(parent: ET.Element, tag: str, text: str) -> None:
    ET.SubElement(parent, tag).text = _clean(text)


def _clean(text: str) -> str:
    """Return text without the control characters that XML 1.0 cannot hold."""
    return "".join(c for c in text if c >= " " and c not in "\ufffe\uffff")


def _document(root: ET.Element) -> str:
    ET.register_namespace("loc2", _LOC2)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"
