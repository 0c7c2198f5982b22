"""One row of results for each photo, whether it was localized or not."""

from __future__ import annotations

import math
from typing import Any

from loc2 import __version__
from loc2.batch.manifest import Row
from loc2.errors import Loc2Error
from loc2.geo.locate import Located
from loc2.geo.raster import location_name
from loc2.outputs import position_sigma_m, readable

COLUMNS: dict[str, type] = {
    "row": int,
    "id": str,
    "ground": str,
    "status": str,
    "error": str,
    "latitude_deg": float,
    "longitude_deg": float,
    "heading_true_deg": float,
    "east_m": float,
    "north_m": float,
    "heading_deg": float,
    "scale": float,
    "u_px": float,
    "v_px": float,
    "meters_per_pixel": float,
    "position_sigma_m": float,
    "heading_sigma_deg": float,
    "semi_major_m": float,
    "semi_minor_m": float,
    "azimuth_true_deg": float,
    "confidence": float,
    "radius_90_m": float,
    "abstains": bool,
    "prior_position": str,
    "prior_heading": str,
    "prior_camera": str,
    "aerial": str,
    "attribution": str,
    "warnings": str,
    "weights": str,
    "version": str,
}
"""Columns of the results, and what they hold; what is not known is empty."""

OK, FAILED = "ok", "failed"
"""Values of the column ``status``."""

_DIGITS = {"latitude_deg": 9, "longitude_deg": 9}
_OTHER_DIGITS = 5


def result_row(row: Row, outcome: Located | Exception) -> dict[str, Any]:
    """Return what came of a photo as a flat record with all of :data:`COLUMNS`.

    Numbers are rounded far below their accuracy: to a tenth of a millimetre on the earth, and
    five decimals elsewhere.

    Args:
        row: the photo.
        outcome: the answer, or why there is none.
    """
    values: dict[str, Any] = dict.fromkeys(COLUMNS)
    values |= {"row": row.number, "id": row.id, "version": __version__}
    values["ground"] = str(row.fields.get("ground", ""))
    values["aerial"] = location_name(str(row.fields.get("aerial", "")))
    if isinstance(outcome, Exception):
        kind = (
            "" if isinstance(outcome, Loc2Error) else f"internal error, {type(outcome).__name__}: "
        )
        line = " ".join(str(outcome).split())
        values |= {"status": FAILED, "error": kind + line}
        return {name: _plain(name, value) for name, value in values.items()}
    record = outcome.record()
    values |= {name: value for name, value in record.items() if name in COLUMNS}
    if "ellipse" in record:
        for name in ("semi_major_m", "semi_minor_m", "azimuth_true_deg"):
            values[name] = record["ellipse"][name]
    for what in ("position", "heading", "camera"):
        values[f"prior_{what}"] = record["priors"][what]
    values["warnings"] = "; ".join(record.get("warnings", ())) or None
    values["position_sigma_m"] = position_sigma_m(outcome.localization)
    variance = float(outcome.localization.covariance[2, 2])
    values["heading_sigma_deg"] = math.sqrt(max(variance, 0.0))
    values["status"] = OK
    return {name: _plain(name, value) for name, value in values.items()}


def _plain(name: str, value: Any) -> Any:
    """Return a value as every kind of output can hold it."""
    if isinstance(value, str):
        return readable(value)
    if not isinstance(value, float):
        return value
    if not math.isfinite(value):
        return None
    return round(value, _DIGITS.get(name, _OTHER_DIGITS))
