"""Made-up results files whose figures are known, for tests of reports and comparisons."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from loc2.evaluation.cases import results_of
from loc2.evaluation.metrics import summarize


def pair_row(
    name: str,
    ahead_m: float = 0.0,
    right_m: float = 0.0,
    turn_deg: float = 0.0,
    confidence: float = 0.5,
    *,
    seed: int = 0,
    group: str = "town",
    true_heading_deg: float = 30.0,
    failed: str | None = None,
    position_counts: bool = True,
) -> dict[str, Any]:
    """One row as ``loc2 eval pairs`` writes it; the true camera stands at (2, -3)."""
    angle = math.radians(true_heading_deg)
    east = ahead_m * math.sin(angle) + right_m * math.cos(angle)
    north = ahead_m * math.cos(angle) - right_m * math.sin(angle)
    row: dict[str, Any] = {
        "id": name,
        "group": group,
        "seed": seed,
        "status": "ok" if failed is None else f"failed: {failed}",
        "position_counts": position_counts,
        "window_m": 60.0,
        "true_east_m": 2.0,
        "true_north_m": -3.0,
        "true_heading_deg": true_heading_deg,
        "guess_position_error_m": math.hypot(2, 3),
        "guess_heading_error_deg": 90.0,
    }
    answer: dict[str, Any] = {
        "east_m": 2.0 + east,
        "north_m": -3.0 + north,
        "heading_deg": (true_heading_deg + turn_deg) % 360,
        "position_error_m": math.hypot(ahead_m, right_m),
        "heading_error_deg": abs(turn_deg),
        "confidence": confidence,
    }
    return row | (answer if failed is None else dict.fromkeys(answer))


def content_of(rows: list[dict[str, Any]], **config: Any) -> dict[str, Any]:
    """A results file of these rows, with its summary."""
    cases = results_of({"pairs": rows}).cases
    summary = {"all": summarize([c.errors() for c in cases])}
    settings = {"heading_range_deg": 180.0, "seeds": [0], "weights": "made up", **config}
    return {"config": settings, "pairs": rows, "summary": summary}


def mixed_rows() -> list[dict[str, Any]]:
    """Twelve samples: eight right, one far, one flipped, one turned sideways, one failed."""
    rows = [
        pair_row(f"good_{i}", 0.3 * i, -0.1 * i, i - 4.0, 0.96 - 0.05 * i, group="town")
        for i in range(8)
    ]
    rows.append(pair_row("far", 12.0, -9.0, 2.0, 0.3, group="field"))
    rows.append(pair_row("flipped", 1.0, 0.0, 178.0, 0.85, group="field"))
    rows.append(pair_row("sideways", 0.0, 2.0, -92.0, 0.2, group="field"))
    rows.append(pair_row("lost", group="field", failed="lost.jpg: no such file"))
    return rows


def write(path: Path, content: dict[str, Any]) -> Path:
    path.write_text(json.dumps(content))
    return path
