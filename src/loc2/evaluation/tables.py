"""Published figures of the benchmarks, to set our own beside them.

Figures are the papers' or repositories' own unless a note says otherwise. Location errors in
metres, orientation errors in degrees.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class PublishedRow:
    """One line of a published table; None where the source gives no figure.

    Attributes:
        method: name of the method.
        position_mean_m: mean location error.
        position_median_m: median location error.
        heading_mean_deg: mean orientation error.
        heading_median_deg: median orientation error.
        note: where a figure is not the authors' own: "second-hand", "re-evaluated", "unverified".
        recalls: shares in percent where the source gives them: lateral and longitudinal error
            below 1 m and 5 m, heading error below 1 and 5 degrees (:data:`RECALL_NAMES`).
    """

    method: str
    position_mean_m: float | None
    position_median_m: float | None
    heading_mean_deg: float | None = None
    heading_median_deg: float | None = None
    note: str = ""
    recalls: tuple[float | None, ...] = ()


RECALL_NAMES = (
    "lateral_recall_1m",
    "lateral_recall_5m",
    "longitudinal_recall_1m",
    "longitudinal_recall_5m",
    "recall_1deg",
    "recall_5deg",
)
"""What the recalls of a row stand for, named as in our summaries."""

_SECOND_HAND = "second-hand"
_UNVERIFIED = "unverified"
_RE_EVALUATED = "re-evaluated on 3000 Chicago samples"
_NO_DIRECTIONS = (None,) * 4

VIGOR_KNOWN: dict[str, tuple[PublishedRow, ...]] = {
    "samearea": (
        PublishedRow("SliceMatch", 5.18, 2.58, note=_UNVERIFIED),
        PublishedRow("Boosting (GGCVT)", 4.12, 1.34),
        PublishedRow("CCVPE", 3.60, 1.36),
        PublishedRow("DenseFlow", 3.03, 0.97),
        PublishedRow("HC-Net", 2.65, 1.17),
        PublishedRow("BevSplat", 2.87, 1.58),
        PublishedRow("FG2", 1.95, 1.08, note=_SECOND_HAND),
        PublishedRow("Loc2", None, 1.59, note=_SECOND_HAND),
        PublishedRow("Loc2, released weights", 2.93, 1.33, note=_RE_EVALUATED),
        PublishedRow("FG2, released weights", 1.86, 1.06, note=_RE_EVALUATED),
    ),
    "crossarea": (
        PublishedRow("SliceMatch", 5.53, 2.55, note=_UNVERIFIED),
        PublishedRow("Boosting (GGCVT)", 5.16, 1.40),
        PublishedRow("CCVPE", 4.97, 1.68),
        PublishedRow("DenseFlow", 5.01, 2.42),
        PublishedRow("HC-Net", 3.35, 1.59),
        PublishedRow("BevSplat", 2.84, 1.36),
        PublishedRow("FG2", 2.41, 1.37, note=_SECOND_HAND),
    ),
}
"""VIGOR with known heading, by area."""

VIGOR_UNKNOWN: dict[str, tuple[PublishedRow, ...]] = {
    "samearea": (
        PublishedRow("SliceMatch", 6.49, 3.13, 25.46, 4.71),
        PublishedRow("CCVPE", 3.74, 1.42, 12.83, 6.62),
        PublishedRow("DenseFlow", 4.97, 1.90, 11.20, 1.59),
        PublishedRow("FG2, one stage", 8.95, 7.32, 15.02, 2.94),
        PublishedRow("FG2, two stages", 3.78, 1.70, note=_SECOND_HAND),
        PublishedRow("BevSplat", 2.91, 1.60),
        PublishedRow("Loc2", 3.94, 1.78, 9.54, 2.00),
        PublishedRow("ViewBridge", 3.08, 1.57, 6.02, 1.20),
        PublishedRow("GS-ViewBridge", 2.57, 1.57, 3.72, 0.78),
    ),
    "crossarea": (
        PublishedRow("SliceMatch", 7.22, 3.31, 25.97, 4.51),
        PublishedRow("CCVPE", 5.41, 1.89, 27.78, 13.58),
        PublishedRow("DenseFlow", 7.67, 3.67, 17.63, 2.94),
        PublishedRow("FG2, one stage", 10.02, 8.14, 31.41, 5.45),
        PublishedRow("FG2, two stages", 5.95, 2.40, 28.41, 2.20, _SECOND_HAND),
        PublishedRow("BevSplat", 2.89, 1.38),
        PublishedRow("Loc2", 4.23, 2.09, 11.67, 2.21),
        PublishedRow("ViewBridge", 3.79, 2.01, 10.59, 2.04),
        PublishedRow("VIRD", 4.61, 1.55, 16.50, 1.17, _SECOND_HAND),
        PublishedRow("GS-ViewBridge", 3.29, 2.04, 6.66, 0.99),
    ),
}
"""VIGOR with unknown heading, by area."""

KITTI_10: dict[str, tuple[PublishedRow, ...]] = {
    "test1": (
        PublishedRow(
            "CCVPE", 1.22, 0.62, 0.67, 0.54, recalls=(97.4, None, 77.1, None, 77.4, 99.95)
        ),
        PublishedRow(
            "HC-Net", 0.80, 0.50, 0.45, 0.33, recalls=(99.0, None, 92.2, None, 91.4, 99.8)
        ),
        PublishedRow(
            "DenseFlow", 1.48, 0.47, 0.49, 0.30, recalls=(95.5, None, 87.9, None, 89.4, None)
        ),
        PublishedRow(
            "FG2, updated", 0.75, 0.51, 0.93, 0.66, recalls=(95.8, 99.7, 92.5, 99.1, 67.3, 98.9)
        ),
        PublishedRow("Loc2", 1.13, 0.77, 1.97, 1.43, recalls=(*_NO_DIRECTIONS, 36.7, 92.8)),
        PublishedRow("ViewBridge", 0.68, 0.46, 1.10, 0.72, recalls=(*_NO_DIRECTIONS, 61.8, 98.0)),
    ),
    "test2": (
        PublishedRow("CCVPE", 9.16, 3.33, 1.55, 0.84, recalls=(44.1, None, 23.1, None, 57.7, 96.2)),
        PublishedRow(
            "HC-Net", 8.47, 4.57, 3.22, 1.63, recalls=(75.0, None, 58.9, None, 33.6, 83.8)
        ),
        PublishedRow(
            "FG2, updated", 7.31, 4.15, 3.62, 2.37, recalls=(37.9, 85.7, 22.0, 60.8, 23.0, 77.8)
        ),
        PublishedRow("Loc2", 5.60, 3.01, 3.32, 2.12, recalls=(*_NO_DIRECTIONS, 26.0, 80.7)),
        PublishedRow("Loc2, pre-trained on OpenCVL", 5.07, 2.84, 3.30, 2.15),
        PublishedRow(
            "GS-ViewBridge", 5.88, 2.69, 3.64, 1.73, recalls=(*_NO_DIRECTIONS, 30.6, 85.6)
        ),
    ),
}
"""KITTI with the heading known within 10 degrees, by split."""

KITTI_180: dict[str, tuple[PublishedRow, ...]] = {
    "test1": (),
    "test2": (
        PublishedRow("Loc2", 11.71, 9.11, 55.2, 33.4),
        PublishedRow("VIRD", 11.12, 5.41, 22.0, 1.87),
    ),
}
"""KITTI with unknown heading, by split."""


def published_rows(config: Mapping[str, Any], heading_range_deg: float) -> tuple[PublishedRow, ...]:
    """Return the published figures of a setting; settings that nobody published give none.

    Args:
        config: of a results file: ``data`` (``vigor`` or ``kitti``), ``part`` (VIGOR's area or
            KITTI's split), and VIGOR's ``split`` and ``semi_positives``.
        heading_range_deg: half-width of the heading noise.
    """
    if config.get("split", "test") != "test" or config.get("semi_positives"):
        return ()
    tables = {
        ("vigor", 0.0): VIGOR_KNOWN,
        ("vigor", 180.0): VIGOR_UNKNOWN,
        ("kitti", 10.0): KITTI_10,
        ("kitti", 180.0): KITTI_180,
    }
    table = tables.get((str(config.get("data")), float(heading_range_deg)), {})
    return table.get(str(config.get("part")), ())
