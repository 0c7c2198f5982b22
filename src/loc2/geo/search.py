"""Searching a window larger than the model sees at once: overlapping pieces, one posterior.

Neighbouring pieces overlap by half. Each piece answers only for the positions nearest to its own
centre (its core), which it sees with imagery all around; the cores cover the window without
overlap, so that no position is counted twice. Pieces are weighted by their evidence.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from loc2.frames import Pose, heading_error_deg
from loc2.geo.frame import MetricArea
from loc2.localization import Heatmap, Hypothesis, Localization

OVERLAP = 0.5
_BORDER_M = 3.0
"""Modes this far outside their piece's core still stand, unless the neighbour has them as well."""

_SAME_M, _SAME_DEG = 5.0, 15.0
_HEATMAP_STEP_M = 1.0
_MAX_HYPOTHESES = 8


@dataclass(frozen=True)
class Piece:
    """A part of the window that is searched at once.

    Attributes:
        area: what is read.
        core: the positions it answers for.
    """

    area: MetricArea
    core: MetricArea


@dataclass(frozen=True)
class Merged:
    """The posteriors of all pieces as one.

    Attributes:
        best: index of the piece that holds the first hypothesis.
        hypotheses: modes in the metric frame of the window, most massive first.
        confidence: estimated probability that the first hypothesis is right.
        heatmap: marginals over the whole window; centred on it.
        mass: posterior probability of each piece's core; sums to 1.
    """

    best: int
    hypotheses: tuple[Hypothesis, ...]
    confidence: float
    heatmap: Heatmap
    mass: tuple[float, ...]


def plan_pieces(window: MetricArea, piece_m: float) -> list[Piece]:
    """Cover a window with square pieces that overlap by half, rows from the north.

    Args:
        window: what is searched.
        piece_m: side of a piece, metres.

    Returns:
        One piece where the window is no larger than a piece, else a grid of them.
    """
    pieces = []
    for north_m, core_high, height_m in reversed(_intervals(window.height_m, piece_m)):
        for east_m, core_wide, width_m in _intervals(window.width_m, piece_m):
            area = MetricArea(window.east_m + east_m, window.north_m + north_m, width_m, height_m)
            core = MetricArea(
                window.east_m + (core_wide[0] + core_wide[1]) / 2,
                window.north_m + (core_high[0] + core_high[1]) / 2,
                core_wide[1] - core_wide[0],
                core_high[1] - core_high[0],
            )
            pieces.append(Piece(area, core))
    return pieces


def count_pieces(window: MetricArea, piece_m: float) -> int:
    """Return how many pieces :func:`plan_pieces` would make, without making them.

    Args:
        window: what is searched.
        piece_m: side of a piece, metres.
    """
    return _count(window.width_m, piece_m) * _count(window.height_m, piece_m)


def _count(length_m: float, piece_m: float) -> int:
    """Return how many pieces cover one axis."""
    if length_m <= piece_m:
        return 1
    return 1 + math.ceil((length_m - piece_m) / (piece_m * (1 - OVERLAP)) - 1e-9)


def _intervals(length_m: float, piece_m: float) -> list[tuple[float, tuple[float, float], float]]:
    """Return (centre, core, size) along one axis, relative to the middle, ascending."""
    half_m = length_m / 2
    count = _count(length_m, piece_m)
    if count == 1:
        return [(0.0, (-half_m, half_m), length_m)]
    step_m = (length_m - piece_m) / (count - 1)
    centres = [-half_m + piece_m / 2 + i * step_m for i in range(count)]
    borders = [-half_m, *((a + b) / 2 for a, b in itertools.pairwise(centres)), half_m]
    return [(c, (borders[i], borders[i + 1]), piece_m) for i, c in enumerate(centres)]


def merge_pieces(
    window: MetricArea, pieces: Sequence[Piece], answers: Sequence[Localization]
) -> Merged:
    """Merge the posteriors of pieces into one over the window.

    Args:
        window: what was searched.
        pieces: where, from :func:`plan_pieces`.
        answers: what was found in each, poses relative to the piece's centre.
    """
    evidence = torch.tensor([answer.log_evidence for answer in answers], dtype=torch.float64)
    if not bool(torch.isfinite(evidence).all()):
        evidence = torch.zeros(len(answers), dtype=torch.float64)
    heatmap = _Canvas(window)
    core_mass = torch.tensor(
        [_core_mass(p, a) for p, a in zip(pieces, answers, strict=True)], dtype=torch.float64
    )
    total = torch.logsumexp(evidence + core_mass.log(), 0)
    if not bool(torch.isfinite(total)):  # no piece has anything in its core
        core_mass, total = torch.ones_like(core_mass), torch.logsumexp(evidence, 0)
    share = (evidence - total).exp()  # of a piece's whole posterior; its core's part is its own
    found: list[tuple[int, Hypothesis]] = []
    for index, (piece, answer) in enumerate(zip(pieces, answers, strict=True)):
        heatmap.add(piece, answer.heatmap, float(share[index]))
        for hypothesis in answer.hypotheses:
            covariance = hypothesis.covariance
            pose = replace(
                hypothesis.pose,
                east_m=hypothesis.pose.east_m + piece.area.east_m,
                north_m=hypothesis.pose.north_m + piece.area.north_m,
            )
            if _outside_m(pose, piece.core) <= _BORDER_M:
                mass = hypothesis.mass * float(share[index])
                covariance = answer.covariance if covariance is None else covariance
                found.append((index, Hypothesis(pose, mass, covariance)))
    if not found:  # every mode sits in a neighbour's core that does not share it
        index = int((evidence + core_mass.log()).argmax())
        return _alone(index, pieces[index], answers[index], heatmap, share * core_mass)
    found.sort(key=lambda item: -item[1].mass)
    distinct: list[tuple[int, Hypothesis]] = []
    for index, hypothesis in found:
        if not any(_same(hypothesis.pose, other.pose) for _, other in distinct):
            distinct.append((index, hypothesis))
    best, first = distinct[0]
    own = answers[best]
    mass_alone = max(own.hypotheses[0].mass, 1e-12)
    confidence = min(own.confidence * first.mass / mass_alone, 1.0)
    return Merged(
        best,
        tuple(
            Hypothesis(h.pose, min(h.mass, 1.0), h.covariance)
            for _, h in distinct[:_MAX_HYPOTHESES]
        ),
        confidence,
        heatmap.heatmap(),
        tuple(float(v) for v in share * core_mass),
    )


def _alone(
    index: int, piece: Piece, answer: Localization, canvas: _Canvas, mass: torch.Tensor
) -> Merged:
    pose = replace(
        answer.pose,
        east_m=answer.pose.east_m + piece.area.east_m,
        north_m=answer.pose.north_m + piece.area.north_m,
    )
    first = Hypothesis(pose, float(mass[index]), answer.covariance)
    confidence = answer.confidence * float(mass[index])
    return Merged(index, (first,), confidence, canvas.heatmap(), tuple(float(v) for v in mass))


def _outside_m(pose: Pose, area: MetricArea) -> float:
    """Return how far a pose lies outside an area, metres; 0 inside."""
    return max(
        abs(pose.east_m - area.east_m) - area.width_m / 2,
        abs(pose.north_m - area.north_m) - area.height_m / 2,
        0.0,
    )


def _same(a: Pose, b: Pose) -> bool:
    near = math.hypot(a.east_m - b.east_m, a.north_m - b.north_m) <= _SAME_M
    return near and heading_error_deg(a.heading_deg, b.heading_deg) <= _SAME_DEG


def _cell_centers_m(piece: Piece, heatmap: Heatmap) -> tuple[torch.Tensor, torch.Tensor]:
    """Return east of each column and north of each row of a piece's heat map, metres."""
    rows, cols = heatmap.position.shape
    east_m = piece.area.east_m + (torch.arange(cols) + 0.5 - cols / 2) * heatmap.step_m
    north_m = piece.area.north_m - (torch.arange(rows) + 0.5 - rows / 2) * heatmap.step_m
    return east_m.double(), north_m.double()


def _inside(piece: Piece, heatmap: Heatmap) -> tuple[torch.Tensor, torch.Tensor]:
    """Return which columns and rows of a piece's heat map lie in its core."""
    east_m, north_m = _cell_centers_m(piece, heatmap)
    core = piece.core
    return (
        (east_m - core.east_m).abs() <= core.width_m / 2 + 1e-6,
        (north_m - core.north_m).abs() <= core.height_m / 2 + 1e-6,
    )


def _core_mass(piece: Piece, answer: Localization) -> float:
    columns, rows = _inside(piece, answer.heatmap)
    return float(answer.heatmap.position[rows][:, columns].sum())


class _Canvas:
    """The heat map of the whole window, filled piece by piece."""

    def __init__(self, window: MetricArea) -> None:
        self._window = window
        self._rows = max(1, round(window.height_m / _HEATMAP_STEP_M))
        self._cols = max(1, round(window.width_m / _HEATMAP_STEP_M))
        self._position = torch.zeros(self._rows * self._cols, dtype=torch.float64)
        self._heading: torch.Tensor | None = None

    def add(self, piece: Piece, heatmap: Heatmap, share: float) -> None:
        """Add the core of a piece, weighted; headings count as a whole."""
        east_m, north_m = _cell_centers_m(piece, heatmap)
        columns, rows = _inside(piece, heatmap)
        window, step_m = self._window, _HEATMAP_STEP_M
        col = ((east_m[columns] - window.east_m) / step_m + self._cols / 2).floor().long()
        row = ((window.north_m - north_m[rows]) / step_m + self._rows / 2).floor().long()
        col, row = col.clamp(0, self._cols - 1), row.clamp(0, self._rows - 1)
        index = (row[:, None] * self._cols + col[None]).flatten()
        part = heatmap.position[rows][:, columns].flatten().double()
        self._position.index_add_(0, index, part * share)
        heading = heatmap.heading.double() * float(part.sum()) * share
        self._heading = heading if self._heading is None else self._heading + heading

    def heatmap(self) -> Heatmap:
        """Return what was added."""
        heading = self._heading if self._heading is not None else torch.zeros(1)
        return Heatmap(
            self._position.reshape(self._rows, self._cols).float(), _HEATMAP_STEP_M, heading.float()
        )
