"""What time does to roads: tracks, oil, gutters, patches, sealed cracks, manholes, worn verges."""

from __future__ import annotations

import numpy as np

from loc2.scenes.ground import GroundPlan
from loc2.scenes.markings import rows
from loc2.scenes.polyline import Float64
from loc2.scenes.roads import Network, Road
from loc2.scenes.streets import Streets

REACH_M = 190.0


def paint_wear(
    rng: np.random.Generator, network: Network, streets: Streets, plan: GroundPlan
) -> None:
    """Add the traces of use to the plan."""
    age = float(rng.uniform(0.2, 1.0))
    for road in network.roads:
        _tracks(rng, road, age, plan)
        if road.paved:
            _patches(rng, road, age, plan)
            _cracks(rng, road, age, plan)
            _manholes(rng, road, plan)
        elif road.level < 9 or rng.random() < 0.5:
            _grass_strip(rng, road, plan)
    for ring in streets.kerb_rings:
        keep = np.abs(ring[:-1]).max(1) < REACH_M
        gutter = rows(ring[:-1][keep], ring[1:][keep], 0.25, 0.6, 0.35 * age, 0.0)
        plan.stroke("dark" if rng.random() < 0.6 else "dust", gutter)
    if not streets.kerb_rings:
        for road in network.roads:
            _ragged_edges(rng, road, plan)


def _chain(points: Float64, half: float, soft: float, alpha: float) -> Float64:
    return rows(points[:-1], points[1:], half, soft, alpha, 0.0)


def _near(road: Road, step_m: float) -> Float64:
    """Return the stations of a road within reach of the origin."""
    stations = np.arange(0.0, road.line.length, step_m)
    return np.asarray(stations[np.abs(road.line.at(stations)).max(1) < REACH_M + 60])


def _tracks(rng: np.random.Generator, road: Road, age: float, plan: GroundPlan) -> None:
    stations = _near(road, 4.0)
    if len(stations) < 2:
        return
    inner = road.median_m / 2
    lane_m = (road.width_m / 2 - road.parking_m - inner) / road.lanes
    polished = rng.random() < 0.5 or not road.paved
    strength = float(rng.uniform(0.06, 0.22)) * (0.5 + age) * (1.0 if road.paved else 2.5)
    for side in (1, -1):
        for lane in range(road.lanes):
            middle = side * (inner + (lane + 0.5) * lane_m)
            wander = 0.15 * np.sin(stations / 17.0 + rng.uniform(0, 6))
            for wheel in (-0.78, 0.78):
                line = road.line.side_point(stations, middle + wheel + wander)
                plan.stroke("light" if polished else "dark", _chain(line, 0.22, 0.35, strength))
            if road.paved:
                line = road.line.side_point(stations, middle + wander)
                plan.stroke("dark", _chain(line, 0.2, 0.5, strength * 0.9))
    if road.paved and rng.random() < 0.4:
        line = road.line.side_point(stations, np.zeros(len(stations)))
        plan.stroke("tar", _chain(line, 0.03, 0.0, float(rng.uniform(0.2, 0.7))))


def _patches(rng: np.random.Generator, road: Road, age: float, plan: GroundPlan) -> None:
    stations = _near(road, 1.0)
    if len(stations) < 20:
        return
    for _ in range(rng.poisson(age * len(stations) / 45.0)):
        start = float(rng.choice(stations))
        left = float(rng.uniform(-0.9, 0.9)) * road.width_m / 2
        long = rng.random() < 0.5
        length = float(rng.uniform(2, 25) if long else rng.uniform(0.8, 3))
        half = float(rng.uniform(0.25, 0.7) if long else rng.uniform(0.4, 1.5))
        ends = np.arange(start, start + length + 1.0, min(4.0, length))
        line = road.line.side_point(ends, left)
        channel = "tar" if rng.random() < 0.6 else "light"
        alpha = float(rng.uniform(0.12, 0.5))
        patch = rows(line[:-1], line[1:], half, 0.02, alpha, 1.0)
        plan.stroke(channel, patch)
        if rng.random() < 0.4:
            for edge in (-half, half):
                seam = road.line.side_point(ends, left + edge)
                plan.stroke("tar", _chain(seam, 0.04, 0.0, 0.7))
    for _ in range(rng.poisson(0.5 * age * len(stations) / 60.0)):  # trenches across
        at = float(rng.choice(stations))
        a, b = road.line.side_point(np.array([at, at + rng.normal() * 0.5]),
                                    np.array([-1, 1]) * road.width_m / 2)  # fmt: skip
        plan.stroke("tar", rows(a, b, float(rng.uniform(0.2, 0.6)), 0.02,
                                float(rng.uniform(0.15, 0.5)), 1.0))  # fmt: skip


def _cracks(rng: np.random.Generator, road: Road, age: float, plan: GroundPlan) -> None:
    stations = _near(road, 1.0)
    if len(stations) < 20:
        return
    sealed = float(rng.uniform(0.3, 0.85))
    for _ in range(min(rng.poisson(age**2 * len(stations) / 16.0), 90)):
        start, left = (
            float(rng.choice(stations)),
            float(rng.uniform(-0.95, 0.95)) * road.width_m / 2,
        )
        across = rng.random() < 0.45
        count = int(rng.integers(4, 10))
        if across:
            lefts = np.linspace(-1, 1, count) * road.width_m / 2 * float(rng.uniform(0.4, 1))
            along = start + np.cumsum(rng.normal(size=count)) * 0.25
        else:
            along = start + np.linspace(0, float(rng.uniform(4, 22)), count)
            lefts = left + np.cumsum(rng.normal(size=count)) * 0.2
        lefts = np.clip(lefts, -road.width_m / 2, road.width_m / 2)
        line = road.line.side_point(along, lefts)
        plan.stroke("tar", _chain(line, float(rng.uniform(0.015, 0.05)), 0.0, sealed))


def _manholes(rng: np.random.Generator, road: Road, plan: GroundPlan) -> None:
    stations = _near(road, 1.0)
    if road.level == 9 or len(stations) < 20:
        return
    for _ in range(rng.poisson(len(stations) / 55.0)):
        at = road.line.side_point(float(rng.choice(stations)), float(rng.uniform(-0.8, 0.8)) *
                                  road.width_m / 2)  # fmt: skip
        plan.stroke("dark", rows(at, at, 0.34, 0.0, float(rng.uniform(0.4, 0.8)), 0.0))
    for _ in range(rng.poisson(len(stations) / 25.0)):  # oil, spilt paint, repairs
        at = road.line.side_point(float(rng.choice(stations)), float(rng.uniform(-1, 1)) *
                                  road.width_m / 2)  # fmt: skip
        plan.stroke("dark" if rng.random() < 0.7 else "light",
                    rows(at, at + rng.normal(size=2) * 0.4, float(rng.uniform(0.1, 0.5)), 0.5,
                         float(rng.uniform(0.15, 0.5)), 0.0))  # fmt: skip


def _grass_strip(rng: np.random.Generator, road: Road, plan: GroundPlan) -> None:
    stations = _near(road, 4.0)
    if len(stations) > 1 and rng.random() < 0.6 and road.width_m < 5.5:
        line = road.line.side_point(stations, 0.0 * stations)
        plan.stroke("weed", _chain(line, 0.25, 0.5, float(rng.uniform(0.3, 0.8))))


def _ragged_edges(rng: np.random.Generator, road: Road, plan: GroundPlan) -> None:
    stations = _near(road, 5.0)
    if len(stations) < 2:
        return
    for side in (1, -1):
        wander = rng.normal(size=len(stations)) * 0.2
        line = road.line.side_point(stations, side * (road.width_m / 2 + 0.1) + wander)
        plan.stroke("soil", _chain(line, 0.3, 0.5, float(rng.uniform(0.3, 0.8))))
