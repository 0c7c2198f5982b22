"""From parts to one file: Parquet, CSV or GeoJSON, written part by part."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from loc2.batch.rows import COLUMNS
from loc2.errors import InputError

Records = list[dict[str, Any]]


def write_csv(path: Path, parts: Iterable[Records]) -> None:
    """Write a header and one line for each record; what is not known is empty."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(COLUMNS))
        writer.writeheader()
        for records in parts:
            writer.writerows(records)


def write_geojson(path: Path, parts: Iterable[Records]) -> None:
    """Write RFC 7946 GeoJSON: a point for each record, without geometry where none is known."""
    with path.open("w", encoding="utf-8") as file:
        file.write('{"type": "FeatureCollection", "features": [')
        separator = "\n"
        for records in parts:
            for record in records:
                place = record["longitude_deg"], record["latitude_deg"]
                feature = {
                    "type": "Feature",
                    "geometry": None
                    if place[0] is None
                    else {"type": "Point", "coordinates": list(place)},
                    "properties": {k: v for k, v in record.items() if v is not None},
                }
                file.write(separator + json.dumps(feature, allow_nan=False, ensure_ascii=False))
                separator = ",\n"
        file.write("\n]}\n")


def write_parquet(path: Path, parts: Iterable[Records]) -> None:
    """Write one Parquet file; parts become row groups."""
    pyarrow, parquet = _pyarrow()
    kinds = {int: pyarrow.int64(), float: pyarrow.float64(), bool: pyarrow.bool_()}
    schema = pyarrow.schema(
        [(name, kinds.get(kind, pyarrow.string())) for name, kind in COLUMNS.items()]
    )
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for records in parts:
            writer.write_table(pyarrow.Table.from_pylist(records, schema=schema))


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise InputError(
            "Parquet output needs pyarrow: pip install 'loc2[batch]', or name a .csv or .geojson"
        ) from error
    return pyarrow, pyarrow.parquet


WRITERS: dict[str, Callable[[Path, Iterable[Records]], None]] = {
    ".csv": write_csv,
    ".geojson": write_geojson,
    ".parquet": write_parquet,
}
"""How to write an output of each kind."""


def check_output(path: Path) -> None:
    """Refuse an output of a kind that cannot be written here.

    Raises:
        InputError: an unknown ending, a folder, or a missing extra.
    """
    if path.suffix.lower() not in WRITERS:
        raise InputError(f"output {path}: must end in {', '.join(WRITERS)}")
    if path.is_dir():
        raise InputError(f"output {path}: is a folder")
    if path.suffix.lower() == ".parquet":
        _pyarrow()
