"""Results files read back: one case for each localization, whatever wrote the file."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loc2.errors import InputError
from loc2.evaluation.metrics import Errors, place_of
from loc2.evaluation.records import along_and_across_m
from loc2.frames import Pose, heading_difference_deg
from loc2.localization import PROBABILITY

RIGHT_M, RIGHT_DEG = 5.0, 10.0
"""An answer is right when both its errors are smaller; confidence is stated for these limits."""
ROUGH_TRUTH_M = 10.0
"""Limit of the position error where the true position is only roughly known."""


def limit_words(cases: Iterable[Case]) -> str:
    """Say below which errors answers count as right."""
    rough = any(not case.position_counts for case in cases)
    also = f", rough truths {ROUGH_TRUTH_M:.0f} m," if rough else ""
    return f"{RIGHT_M:.0f} m{also} and {RIGHT_DEG:.0f}°"


@dataclass(frozen=True)
class Case:
    """One localization of an evaluation beside the truth.

    Attributes:
        id: name of the sample.
        seed: of the trial; None where a file knows one trial a sample.
        group: what results are summarised by.
        truth: true pose; None where not even the sample could be read.
        estimate: estimated pose; None if there was none.
        confidence: what the localizer said of its answer; None where it says nothing.
        position_counts: whether the true position is known well enough for medians and means.
        worst_position_m: stands for a failed sample's position error, metres.
        failure: why there is no answer; None if there is one.
        guess_position_m: error of guessing the middle of the window, metres; None if not known.
        guess_heading_deg: error of guessing a heading at random within what is known, degrees.
        window_m: side of the aerial window that was cut, metres; None where none is noted.
        row: place in the results file, from zero.
    """

    id: str
    seed: int | None
    group: str
    truth: Pose | None
    estimate: Pose | None
    confidence: float | None
    position_counts: bool = True
    worst_position_m: float = 100.0
    failure: str | None = None
    guess_position_m: float | None = None
    guess_heading_deg: float | None = None
    window_m: float | None = None
    row: int = 0

    @property
    def name(self) -> str:
        """The sample, and the seed where there are several."""
        return self.id if self.seed is None else f"{self.id}, seed {self.seed}"

    @property
    def offset_m(self) -> tuple[float, float] | None:
        """Signed error forward and to the right of the true heading, metres."""
        if self.truth is None or self.estimate is None:
            return None
        return along_and_across_m(self.estimate, self.truth)

    @property
    def position_m(self) -> float | None:
        """Distance from the true position, metres; None if the sample failed."""
        return None if self.offset_m is None else math.hypot(*self.offset_m)

    @property
    def turn_deg(self) -> float | None:
        """Signed heading error, clockwise, in [-180, 180); None if the sample failed."""
        if self.truth is None or self.estimate is None:
            return None
        return heading_difference_deg(self.estimate.heading_deg, self.truth.heading_deg)

    @property
    def heading_deg(self) -> float | None:
        """Unsigned heading error, degrees; None if the sample failed."""
        return None if self.turn_deg is None else abs(self.turn_deg)

    @property
    def limit_m(self) -> float:
        """Position error below which the answer counts as right, metres."""
        return RIGHT_M if self.position_counts else ROUGH_TRUTH_M

    @property
    def badness(self) -> float:
        """The larger error in units of its limit: below one is right; infinite for failures."""
        if self.position_m is None or self.heading_deg is None:
            return math.inf
        return max(self.position_m / self.limit_m, self.heading_deg / RIGHT_DEG)

    @property
    def right(self) -> bool:
        """Whether both errors are below their limits."""
        return self.badness < 1.0

    @property
    def stated(self) -> float:
        """The confidence for calibration: zero for failures, held within [0, 1]."""
        if self.estimate is None or self.confidence is None:
            return 0.0
        return min(1.0, max(0.0, self.confidence))

    def errors(self) -> Errors:
        """Return the errors, for :func:`loc2.evaluation.metrics.summarize`."""
        return Errors(
            place_of(self.id),
            self.position_m,
            self.heading_deg,
            self.position_counts,
            self.worst_position_m,
        )


@dataclass(frozen=True)
class Results:
    """A results file.

    Attributes:
        config: how it was made.
        cases: in the order of the file, at least one.
    """

    config: dict[str, Any]
    cases: tuple[Case, ...]

    @property
    def rated(self) -> bool:
        """Whether every answer came with a confidence."""
        return all(c.confidence is not None for c in self.cases if c.estimate is not None)

    @property
    def probable(self) -> bool:
        """Whether the confidence is meant as a probability; else it only ranks the answers."""
        return bool(self.config.get("confidence", PROBABILITY) == PROBABILITY)

    @property
    def title(self) -> str:
        """What was evaluated, in a few words."""
        known = (self.config.get(k) for k in ("data", "manifest", "part", "split"))
        return " ".join(dict.fromkeys(str(v) for v in known if v)) or "pairs"


def read_results(path: Path) -> Results:
    """Read a results file of ``loc2 eval``.

    Raises:
        InputError: the file cannot be read, or is no results file; names the file and the row.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"results {path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise InputError(f"results {path}: not JSON ({error})") from error
    try:
        return results_of(content)
    except InputError as error:
        raise InputError(f"results {path}: {error}") from error


def results_of(content: Any) -> Results:
    """Read the content of a results file: of pairs and scenes, or of a benchmark.

    Raises:
        InputError: the content is not that of a results file.
    """
    if not isinstance(content, dict):
        raise InputError("not a results file of loc2 eval (an object is expected)")
    rows = content.get("pairs", content.get("samples"))
    if not isinstance(rows, list) or not rows:
        raise InputError("not a results file of loc2 eval (no list 'pairs' or 'samples')")
    config = content.get("config")
    cases = []
    for number, row in enumerate(rows):
        try:
            cases.append(_case(row, number))
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise InputError(f"row {number + 1}: {_fault(error)}") from error
    return Results(config if isinstance(config, dict) else {}, tuple(cases))


def _fault(error: Exception) -> str:
    return f"field {error} missing" if isinstance(error, KeyError) else str(error)


def _case(row: Mapping[str, Any], number: int) -> Case:
    status = str(row["status"])
    ok = status == "ok"
    known = row.get("true_east_m") is not None
    truth = _pose(row, "true_") if known else None
    if ok and truth is None:
        raise KeyError("true_east_m")
    seed = row.get("seed")
    return Case(
        id=str(row["id"]),
        seed=None if seed is None else int(seed),
        group=str(row.get("group", "all")),
        truth=truth,
        estimate=_pose(row, "") if ok else None,
        confidence=_number(row, "confidence"),
        position_counts=bool(row.get("position_counts", True)),
        worst_position_m=_worst_position_m(row),
        window_m=_number(row, "window_m"),
        failure=None if ok else str(row.get("failure") or status.removeprefix("failed: ")),
        guess_position_m=_number(row, "guess_position_error_m"),
        guess_heading_deg=_number(row, "guess_heading_error_deg"),
        row=number,
    )


def _pose(row: Mapping[str, Any], prefix: str) -> Pose:
    numbers = []
    for name in ("east_m", "north_m", "heading_deg"):
        value = row[prefix + name]
        if value is None:
            raise KeyError(prefix + name)
        numbers.append(_finite(prefix + name, value))
    return Pose(*numbers)


def _number(row: Mapping[str, Any], name: str) -> float | None:
    value = row.get(name)
    return None if value is None else _finite(name, value)


def _finite(name: str, value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{name} is not finite")
    return number


def _worst_position_m(row: Mapping[str, Any]) -> float:
    """Return what a failure counts for: as the row says, else the diagonal of its window."""
    given = _number(row, "worst_position_m")
    return math.sqrt(2) * (_number(row, "window_m") or 100.0) if given is None else given
