"""What runs along rural roads, each side on its own: fences, hedgerows, rows of trees, ditches."""

from __future__ import annotations

import itertools

import numpy as np

from loc2.scenes.ground import GroundPlan
from loc2.scenes.markings import rows
from loc2.scenes.plots import PlotPlanner, Tree
from loc2.scenes.polyline import gaps_removed
from loc2.scenes.roads import Network, Road
from loc2.scenes.streets import Streets
from loc2.scenes.styles import Style, choose
from loc2.scenes.vegetation import HEIGHTS_M

REACH_M = 150.0
_NEAR_M = 105.0
Gaps = list[tuple[float, float]]


def add_roadsides(
    rng: np.random.Generator, style: Style, network: Network, streets: Streets,
    planner: PlotPlanner, plan: GroundPlan,
) -> None:  # fmt: skip
    """Furnish the sides of rural roads; each side and each road is drawn apart.

    Args:
        rng: source.
        style: the style; places that are not rural stay as they are.
        network: the roads.
        streets: their areas.
        planner: knows what ground is free, and receives fences and trees.
        plan: receives the ditches.
    """
    if style.network != "rural":
        return
    for index, road in enumerate(network.roads):
        for side in (1, -1):
            away = road.width_m / 2 + float(rng.uniform(2.0, 9.0))
            kind = rng.random()
            gaps = streets.gaps[index]
            if kind < 0.24:
                _fence(rng, road, gaps, side * away, planner)
            elif kind < 0.38:
                _tree_row(rng, style, road, gaps, side * (away + 1.5), planner)
            elif kind < 0.46 and style.markings in ("uk", "eu", "us"):
                _hedgerow(rng, road, gaps, side * away, planner)
            elif kind < 0.52 and road.level == 0 and road.paved:
                _fence(rng, road, gaps, side * (road.width_m / 2 + 0.9), planner, "guard")
            if rng.random() < 0.45:
                _ditch(rng, road, gaps, side, plan)


def _stretches(road: Road, gaps: Gaps, reach_m: float) -> list[tuple[float, float]]:
    """Return the stations between junctions that lie near the origin."""
    nearest, _ = road.line.nearest(np.zeros(2))
    parts = gaps_removed(0.0, road.line.length, [(a - 3.0, b + 3.0) for a, b in gaps])
    cut = [(max(a, nearest - reach_m), min(b, nearest + reach_m)) for a, b in parts]
    return [(a, b) for a, b in cut if b - a > 8.0]


def _fence(rng: np.random.Generator, road: Road, gaps: Gaps, left: float,
           planner: PlotPlanner, kind: str | None = None) -> None:  # fmt: skip
    kind = kind or str(rng.choice(["wire", "wire", "rails", "boards", "wall"]))
    for start, end in _stretches(road, gaps, _NEAR_M):
        if rng.random() < 0.25:
            continue
        stations = np.arange(start, end, 8.0)
        line = road.line.side_point(stations, left)
        free = planner.occupied.at(line) < 2
        for a, b, one, two in zip(line[:-1], line[1:], free[:-1], free[1:], strict=True):
            if one and two:
                planner.inventory.fences.append((a, b, kind))


def _hedgerow(rng: np.random.Generator, road: Road, gaps: Gaps, left: float,
              planner: PlotPlanner) -> None:  # fmt: skip
    for start, end in _stretches(road, gaps, 80.0):
        stations = np.arange(start, end, 6.0)
        line = road.line.side_point(stations, left + rng.normal(size=len(stations)) * 0.3)
        for a, b in itertools.pairwise(line):
            if planner.occupied.at(a[None])[0] == 0 and rng.random() < 0.9:
                planner.inventory.fences.append((a, b, "hedge"))


def _tree_row(rng: np.random.Generator, style: Style, road: Road, gaps: Gaps, left: float,
              planner: PlotPlanner) -> None:  # fmt: skip
    """Plant a row of one species: a wind break, an avenue, or a ragged line along a fence."""
    species = choose(rng, (*style.species, ("poplar", 1.0), ("pine", 1.0)))
    low, high = HEIGHTS_M[species]
    size = float(rng.uniform(low, high))
    step = max(size * float(rng.uniform(0.25, 0.9)), 1.5)
    wander = float(rng.uniform(0.0, 1.2))
    for start, end in _stretches(road, gaps, REACH_M):
        if rng.random() < 0.3:
            continue
        stations = np.arange(start, end, step) + rng.normal(size=len(np.arange(start, end, step)))
        line = road.line.side_point(stations, left + rng.normal(size=len(stations)) * wander)
        for spot, free in zip(line, planner.occupied.at(line) == 0, strict=True):
            if free and rng.random() < 0.88:
                height = float(np.clip(size * np.exp(rng.normal() * 0.18), low * 0.5, high * 1.2))
                planner.inventory.trees.append(Tree(species, spot, height))


def _ditch(rng: np.random.Generator, road: Road, gaps: Gaps, side: int,
           plan: GroundPlan) -> None:  # fmt: skip
    """Paint the rank or bare strip of a ditch beside the shoulder."""
    channel = str(rng.choice(["weed", "weed", "soil", "dust"]))
    off = road.width_m / 2 + float(rng.uniform(1.2, 4.0))
    half, alpha = float(rng.uniform(0.3, 1.4)), float(rng.uniform(0.2, 0.6))
    for start, end in _stretches(road, gaps, 170.0):
        count = max(2, int((end - start) / 6.0))
        stations = np.linspace(start, end, count)
        wander = rng.normal(size=count) * 0.25
        line = road.line.side_point(stations, side * off + wander)
        plan.stroke(channel, rows(line[:-1], line[1:], half, half, alpha))
