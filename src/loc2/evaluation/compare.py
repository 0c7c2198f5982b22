"""Two evaluations of the same samples, pair by pair: what changed, and whether by chance."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from loc2.errors import InputError
from loc2.evaluation.calibration import auroc, expected_calibration_error
from loc2.evaluation.cases import Case, Results
from loc2.evaluation.metrics import columns_of, figures_of, place_of, resamples
from loc2.frames import heading_error_deg

SAME_TRUTH_M, SAME_TRUTH_DEG = 0.05, 0.1
"""Truths farther apart belong to other trials, although name and seed are the same."""
LOWER_IS_BETTER = (
    "position_median_m",
    "position_mean_m",
    "heading_median_deg",
    "heading_mean_deg",
    "flip_rate",
    "expected_calibration_error",
)
_IGNORED = ("weights", "seed", "seeds", "manifest", "of", "samples")
"""Settings that may differ without making the comparison unfair."""


@dataclass(frozen=True)
class Change:
    """How one figure of the summary changed from the first file to the second.

    Attributes:
        name: of the figure.
        first: its value in the first file.
        second: in the second.
        low: lower end of the 95 % interval of the difference, second minus first.
        high: upper end.
    """

    name: str
    first: float
    second: float
    low: float
    high: float

    @property
    def difference(self) -> float:
        """Second minus first."""
        return self.second - self.first

    @property
    def verdict(self) -> str:
        """``better``, ``worse``, or ``open`` where the interval holds zero."""
        if self.low <= 0.0 <= self.high:
            return "open"
        return "better" if (self.difference < 0) == (self.name in LOWER_IS_BETTER) else "worse"


@dataclass(frozen=True)
class Pairing:
    """The same trial in both files.

    Attributes:
        first: in the first file.
        second: in the second.
    """

    first: Case
    second: Case

    @property
    def gain(self) -> float:
        """By how much the second is better, in limits of the error; infinite for new answers."""
        if math.isinf(self.first.badness) and math.isinf(self.second.badness):
            return 0.0
        return self.first.badness - self.second.badness


@dataclass(frozen=True)
class Comparison:
    """Two results files side by side.

    Attributes:
        changes: of the figures of the summary.
        pairings: the trials that both files have.
        only_first: trials that only the first file has.
        only_second: trials that only the second has.
        other_truth: trials of one name and seed, but with different truths.
        other_settings: settings that both files name and that differ: the name, the value in the
            first, the value in the second.
    """

    changes: tuple[Change, ...]
    pairings: tuple[Pairing, ...]
    only_first: tuple[Case, ...]
    only_second: tuple[Case, ...]
    other_truth: tuple[Pairing, ...]
    other_settings: tuple[tuple[str, Any, Any], ...]

    @property
    def fixed(self) -> list[Pairing]:
        """Trials that became right, the most improved first."""
        pairs = [p for p in self.pairings if p.second.right and not p.first.right]
        return sorted(pairs, key=lambda p: -p.gain)

    @property
    def broken(self) -> list[Pairing]:
        """Trials that became wrong, the worst first."""
        pairs = [p for p in self.pairings if p.first.right and not p.second.right]
        return sorted(pairs, key=lambda p: p.gain)

    def content(self) -> dict[str, Any]:
        """Return the comparison as plain values for a file."""
        return {
            "matched": len(self.pairings),
            "changes": [
                {
                    "name": c.name,
                    "first": c.first,
                    "second": c.second,
                    "difference": c.difference,
                    "interval_95": [c.low, c.high],
                    "verdict": c.verdict,
                }
                for c in self.changes
            ],
            "became_right": [_pairing_row(p) for p in self.fixed],
            "became_wrong": [_pairing_row(p) for p in self.broken],
            "only_first": [_key_row(c) for c in self.only_first],
            "only_second": [_key_row(c) for c in self.only_second],
            "other_truth": [_key_row(p.first) for p in self.other_truth],
            "other_settings": [
                {"name": name, "first": a, "second": b} for name, a, b in self.other_settings
            ],
            "pairs": [_pairing_row(p) for p in self.pairings],
        }


def compare(first: Results, second: Results, seed: int = 0) -> Comparison:
    """Compare two evaluations pair by pair.

    The interval of each difference comes from a paired bootstrap over places: both files are
    resampled alike, so what makes a sample hard counts on both sides.

    Args:
        first: the one to start from.
        second: the one to judge.
        seed: of the bootstrap.

    Raises:
        InputError: a file holds a trial twice, or the files have no trial in common.
    """
    ours, theirs = _by_key(first, "first"), _by_key(second, "second")
    both = [Pairing(ours[key], theirs[key]) for key in ours if key in theirs]
    pairings = [p for p in both if _same_truth(p.first, p.second)]
    if not any(p.first.truth is not None and p.second.truth is not None for p in pairings):
        why = "the truths of all common ones differ" if both else "no name and seed are in both"
        raise InputError(f"the two results files have no trial in common: {why}")
    return Comparison(
        changes=tuple(
            _changes(
                pairings,
                first.rated and second.rated,
                first.probable and second.probable,
                seed,
            )
        ),
        pairings=tuple(pairings),
        only_first=tuple(c for key, c in ours.items() if key not in theirs),
        only_second=tuple(c for key, c in theirs.items() if key not in ours),
        other_truth=tuple(p for p in both if not _same_truth(p.first, p.second)),
        other_settings=tuple(_other_settings(first.config, second.config)),
    )


def _by_key(results: Results, which: str) -> dict[tuple[str, int | None], Case]:
    keys = Counter((c.id, c.seed) for c in results.cases)
    ((name, seed), count), *_ = keys.most_common(1)
    if count > 1:
        raise InputError(f"the {which} results file holds {name!r} with seed {seed} twice")
    return {(c.id, c.seed): c for c in results.cases}


def _same_truth(a: Case, b: Case) -> bool:
    if a.truth is None or b.truth is None:
        return True  # a sample that could not be read: the failure counts
    away_m = math.hypot(a.truth.east_m - b.truth.east_m, a.truth.north_m - b.truth.north_m)
    turn_deg = heading_error_deg(a.truth.heading_deg, b.truth.heading_deg)
    return away_m <= SAME_TRUTH_M and turn_deg <= SAME_TRUTH_DEG


def _changes(
    pairings: Sequence[Pairing], rated: bool, probable: bool, seed: int
) -> Iterable[Change]:
    sides = [[p.first for p in pairings], [p.second for p in pairings]]
    columns = [columns_of([c.errors() for c in side]) for side in sides]
    confidence = [np.array([c.stated for c in side]) for side in sides]
    right = [np.array([c.right for c in side], bool) for side in sides]

    def figures(side: int, index: npt.NDArray[np.intp]) -> dict[str, float]:
        values = figures_of(columns[side].take(index))
        values["recall_right"] = float(right[side][index].mean())
        if rated:
            claimed, truth = confidence[side][index], right[side][index]
            values["auroc"] = auroc(claimed, truth)
        if rated and probable:
            values["expected_calibration_error"] = expected_calibration_error(claimed, truth)
        return {k: v for k, v in values.items() if v is not None and not math.isnan(v)}

    everything = np.arange(len(pairings))
    measured = [figures(side, everything) for side in (0, 1)]
    draws: dict[str, list[float]] = {}
    for index in resamples([place_of(p.first.id) for p in pairings], seed):
        drawn = [figures(side, index) for side in (0, 1)]
        for name in drawn[0].keys() & drawn[1].keys():
            draws.setdefault(name, []).append(drawn[1][name] - drawn[0][name])
    for name in measured[0]:
        if name in measured[1] and name in draws:
            low, high = (float(q) for q in np.quantile(draws[name], (0.025, 0.975)))
            yield Change(name, measured[0][name], measured[1][name], low, high)


def _other_settings(
    first: dict[str, Any], second: dict[str, Any]
) -> Iterable[tuple[str, Any, Any]]:
    """Settings that both files name; what an older file does not know cannot be compared."""
    for name in first:
        if name not in _IGNORED and name in second and first[name] != second[name]:
            yield name, first[name], second[name]


def _key_row(case: Case) -> dict[str, Any]:
    return {"id": case.id, "seed": case.seed}


def _pairing_row(pairing: Pairing) -> dict[str, Any]:
    row = _key_row(pairing.first)
    for name, case in (("first", pairing.first), ("second", pairing.second)):
        row[name] = {
            "position_error_m": case.position_m,
            "heading_error_deg": case.heading_deg,
            "confidence": case.confidence,
            "right": case.right,
            "failure": case.failure,
        }
    return row
