"""Summaries of localization errors: medians, recalls, flips, bootstrap intervals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

FLIP_DEG = 90.0
"""A heading error above this is a flip."""

_POSITION_RECALLS_M = (1, 3, 5, 10)
_HEADING_RECALLS_DEG = (1, 5, 10)
_JOINT_RECALLS = ((2, 5), (5, 10), (10, 10))
_BOOTSTRAP_ROUNDS = 1000


@dataclass(frozen=True)
class Errors:
    """Errors of one sample.

    Attributes:
        id: the place; samples of one place are resampled together in the bootstrap.
        position_m: distance to the true position, metres; None if the sample failed.
        heading_deg: unsigned heading error, degrees; None if the sample failed.
        position_counts: whether the true position is known well enough for median and mean.
        worst_position_m: stands for a failed sample's position error in medians and means, metres.
    """

    id: str
    position_m: float | None
    heading_deg: float | None
    position_counts: bool = True
    worst_position_m: float = 100.0


def place_of(sample_id: str) -> str:
    """Return the place of a benchmark's sample, which repetitions of it (``#k``) share."""
    return sample_id.split("#", 1)[0]


def summarize(samples: Sequence[Errors], seed: int = 0) -> dict[str, Any]:
    """Summarise errors; a failed sample is a miss everywhere.

    In medians and means a failed sample counts with its worst case, 180 degrees and
    ``worst_position_m``.

    Args:
        samples: at least one sample.
        seed: of the bootstrap.

    Returns:
        ``n``, ``position_median_m``, ``position_mean_m``, ``heading_median_deg``,
        ``heading_mean_deg``, ``recall_<x>m``, ``recall_<x>deg``, ``recall_2m_5deg``,
        ``recall_5m_10deg``, ``recall_10m_10deg``, ``flip_rate``, ``failures``, and
        under ``interval_95`` the bootstrap interval of each over places.
    """
    columns = columns_of(samples)
    figures: dict[str, Any] = {"n": len(samples), **figures_of(columns)}
    figures["failures"] = int(columns.failed.sum())
    figures["interval_95"] = _intervals([s.id for s in samples], columns, seed)
    return figures


@dataclass(frozen=True)
class Columns:
    """Errors of many samples, failures at their worst.

    Attributes:
        position: (N,) metres.
        heading: (N,) degrees.
        counts: (N,) whether the position enters medians and means.
        failed: (N,) whether there was no answer.
    """

    position: npt.NDArray[np.float64]
    heading: npt.NDArray[np.float64]
    counts: npt.NDArray[np.bool_]
    failed: npt.NDArray[np.bool_]

    def take(self, index: npt.NDArray[np.intp]) -> Columns:
        """Return the samples of these indices, which may repeat."""
        return Columns(
            self.position[index], self.heading[index], self.counts[index], self.failed[index]
        )


def columns_of(samples: Sequence[Errors]) -> Columns:
    """Stack the errors of samples."""
    return Columns(
        position=np.array(
            [s.worst_position_m if s.position_m is None else s.position_m for s in samples]
        ),
        heading=np.array([180.0 if s.heading_deg is None else s.heading_deg for s in samples]),
        counts=np.array([s.position_counts for s in samples]),
        failed=np.array([s.position_m is None or s.heading_deg is None for s in samples]),
    )


def figures_of(columns: Columns) -> dict[str, float | None]:
    """Return medians, means, recalls and flips, see :func:`summarize`; None where none counts."""
    ok = ~columns.failed
    position, heading = columns.position, columns.heading
    known = position[columns.counts]
    figures: dict[str, float | None] = {
        "position_median_m": float(np.median(known)) if known.size else None,
        "position_mean_m": float(known.mean()) if known.size else None,
        "heading_median_deg": float(np.median(heading)),
        "heading_mean_deg": float(heading.mean()),
    }
    for limit in _POSITION_RECALLS_M:
        figures[f"recall_{limit}m"] = float(np.mean(ok & (position < limit)))
    for limit in _HEADING_RECALLS_DEG:
        figures[f"recall_{limit}deg"] = float(np.mean(ok & (heading < limit)))
    for limit_m, limit_deg in _JOINT_RECALLS:
        both = ok & (position < limit_m) & (heading < limit_deg)
        figures[f"recall_{limit_m}m_{limit_deg}deg"] = float(np.mean(both))
    figures["flip_rate"] = float(np.mean(heading > FLIP_DEG))
    return figures


def _intervals(ids: Sequence[str], columns: Columns, seed: int) -> dict[str, list[float] | None]:
    draws: dict[str, list[float]] = {}
    for drawn in resamples(ids, seed):
        for name, value in figures_of(columns.take(drawn)).items():
            if value is not None:
                draws.setdefault(name, []).append(value)
    return {
        name: [float(q) for q in np.quantile(values, (0.025, 0.975))]
        for name, values in draws.items()
    }


def resamples(
    ids: Sequence[str], seed: int, rounds: int = _BOOTSTRAP_ROUNDS
) -> Iterator[npt.NDArray[np.intp]]:
    """Draw samples with replacement, place by place: all samples of a drawn place enter together.

    Args:
        ids: the place of each sample.
        seed: of the draws.
        rounds: number of draws.

    Yields:
        Indices of the samples of one draw.
    """
    rng = np.random.default_rng(seed)
    members: dict[str, list[int]] = {}
    for index, name in enumerate(ids):
        members.setdefault(name, []).append(index)
    places = [np.array(indices) for indices in members.values()]
    all_single = len(places) == len(ids)  # spares joining fifty thousand arrays in each round
    for _ in range(rounds):
        chosen = rng.integers(len(places), size=len(places))
        yield chosen if all_single else np.concatenate([places[i] for i in chosen])
