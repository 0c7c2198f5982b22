"""What stands along streets: trees, parked and moving cars, lights, wires, signs."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from loc2.scenes.plots import Inventory, PlotPlanner, Tree
from loc2.scenes.polyline import gaps_removed
from loc2.scenes.roads import Network, Road
from loc2.scenes.streets import Streets
from loc2.scenes.styles import Style, choose
from loc2.scenes.vegetation import HEIGHTS_M
from loc2.scenes.vehicles import Car, draw_kind, draw_paint

Float64 = NDArray[np.float64]
REACH_M = 170.0
_STREET_SHARE = {"conifer": 0.15, "bush": 0.1}
"""How much rarer some species are along streets than in gardens."""


def add_streetside(
    rng: np.random.Generator, style: Style, network: Network, streets: Streets,
    planner: PlotPlanner, inventory: Inventory,
) -> None:  # fmt: skip
    """Add street trees, parked and moving cars, lights, poles and signs along all roads."""
    spacing = float(rng.uniform(*style.street_trees_m))
    species = choose(rng, tuple((s, w * _STREET_SHARE.get(s, 1.0)) for s, w in style.species))
    wires = rng.random() < style.wires
    lit = rng.random() < (0.9 if style.network != "rural" else 0.1)
    mouths = np.array(inventory.mouths).reshape(-1, 3)
    for index, road in enumerate(network.roads):
        if road.level == 9:
            continue
        gaps = streets.gaps[index]
        if spacing > 5.0:
            _street_trees(rng, road, gaps, spacing, species, planner)
        _parked(rng, style, road, gaps, mouths, inventory)
        _moving(rng, style, road, inventory)
        if lit and (road.level == 0 or rng.random() < 0.6):
            _lights(rng, road, gaps, inventory)
        if wires and (road.level == 0 or rng.random() < 0.3):
            _poles(rng, road, inventory)
        for start, end in gaps_removed(0, road.line.length, gaps):
            for _ in range(rng.poisson((end - start) / 70.0)):
                s = float(rng.uniform(start, end))
                side = int(rng.choice([-1, 1]))
                at = road.line.side_point(s, side * (road.width_m / 2 + rng.uniform(0.5, 1.2)))
                way = road.line.direction(s) * float(rng.choice([-1, 1]))
                if np.abs(at).max() < REACH_M:
                    inventory.signs.append((at, math.atan2(way[1], way[0])))
            for _ in range(rng.poisson((end - start) / 45.0 * (style.network != "rural"))):
                s = float(rng.uniform(start, end))
                side = int(rng.choice([-1, 1]))
                at = road.line.side_point(s, side * (road.width_m / 2 + rng.uniform(0.6, 2.5)))
                if np.abs(at).max() < 110:
                    inventory.boxes.append((at, float(rng.uniform(0, 3.1))))
    for junction in network.junctions:
        road = network.roads[junction.through]
        if style.network != "grid" or np.abs(junction.point).max() > 120 or rng.random() < 0.5:
            continue
        for side in (1, -1):
            for ahead in (1, -1):
                s = junction.station + ahead * 9.0
                at = road.line.side_point(s, side * (road.width_m / 2 + 0.7))
                towards = road.line.at(s) - at
                if planner.occupied.at(at[None])[0] != 2:
                    inventory.signals.append((at, towards / max(float(np.hypot(*towards)), 1e-9)))


def _street_trees(rng: np.random.Generator, road: Road, gaps: list[tuple[float, float]],
                  spacing: float, species: str, planner: PlotPlanner) -> None:  # fmt: skip
    half = road.width_m / 2
    beyond = 0.8 if road.pavement_m > 2.2 else road.pavement_m + 0.9
    left = half + (road.verge_m / 2 if road.verge_m > 1.2 else road.verge_m + beyond)
    low, high = HEIGHTS_M[species]
    size = float(rng.uniform(low, high))
    lines = [side * left for side in (1, -1) if rng.random() < 0.85]
    if road.median_m > 2.0 and rng.random() < 0.7:
        lines.append(0.0)
    mouths = np.array(planner.inventory.mouths).reshape(-1, 3)
    for start, end in gaps_removed(0.0, road.line.length, gaps):
        for offset in lines:
            station = start + float(rng.uniform(2, spacing))
            while station < end - 3:
                at = road.line.side_point(station, offset)
                if (
                    _within(at, REACH_M)
                    and planner.occupied.at(at[None])[0] not in (2, 3)
                    and _clear(mouths, at, 1.0)
                ):
                    height = float(
                        np.clip(size * math.exp(rng.normal() * 0.2), low * 0.6, high * 1.2)
                    )
                    planner.inventory.trees.append(Tree(species, at, height))
                station += spacing * float(rng.uniform(0.7, 1.5))


def _parked(rng: np.random.Generator, style: Style, road: Road, gaps: list[tuple[float, float]],
            mouths: Float64, inventory: Inventory) -> None:  # fmt: skip
    if not road.paved or road.width_m < 5.2 or style.parked <= 0:
        return
    density = style.parked * float(rng.uniform(0.2, 1.9))
    depth = road.parking_m if road.parking_m > 1.5 else 1.9
    for side in (1, -1):
        forward = (side < 0) != style.drives_on_left
        for start, end in gaps_removed(0.0, road.line.length, gaps):
            station = start + float(rng.uniform(4, 9))
            while station < end - 5:
                sense = 1 if forward or rng.random() < 0.1 else -1
                there = rng.random() < density
                at = road.line.side_point(station, side * (road.width_m / 2 - depth / 2 - 0.1))
                if there and _within(at, REACH_M) and _clear(mouths, at, 3.2):
                    way = road.line.direction(station) * sense
                    angle = math.atan2(way[1], way[0]) + float(rng.normal() * 0.02)
                    inventory.parked.append(Car(draw_kind(rng), at, angle, draw_paint(rng)))
                station += float(rng.uniform(5.6, 7.0))


def _within(point: Float64, reach_m: float) -> bool:
    """Return whether a (2,) point lies in the square around the origin."""
    return bool(abs(point[0]) < reach_m and abs(point[1]) < reach_m)


def _clear(mouths: Float64, point: Float64, room_m: float) -> bool:
    """Return whether a (2,) point keeps away from all drives."""
    if len(mouths) == 0:
        return True
    gap = np.hypot(mouths[:, 0] - point[0], mouths[:, 1] - point[1])
    return bool((gap > mouths[:, 2] + room_m).all())


def _moving(rng: np.random.Generator, style: Style, road: Road, inventory: Inventory) -> None:
    inner = road.median_m / 2
    lane_m = road.lane_m
    for side in (1, -1):
        forward = (side < 0) != style.drives_on_left
        for lane in range(road.lanes):
            mean = style.moving * road.line.length / 100.0 * (1.0 if road.level == 0 else 0.35)
            for station in rng.uniform(0, road.line.length, rng.poisson(mean)):
                at = road.line.side_point(float(station), side * (inner + (lane + 0.5) * lane_m))
                if np.abs(at).max() > 240:
                    continue
                way = road.line.direction(float(station)) * (1 if forward else -1)
                kind = draw_kind(rng, heavy=lane_m > 2.9)
                angle = math.atan2(way[1], way[0])
                inventory.moving.append(Car(kind, at, angle, draw_paint(rng)))


def _lights(rng: np.random.Generator, road: Road, gaps: list[tuple[float, float]],
            inventory: Inventory) -> None:  # fmt: skip
    step = float(rng.uniform(26, 45))
    side = int(rng.choice([-1, 1]))
    both = road.width_m > 13 and rng.random() < 0.6
    for k, station in enumerate(np.arange(float(rng.uniform(3, step)), road.line.length, step)):
        if both:
            side = -side if k else side
        at = road.line.side_point(float(station), side * (road.width_m / 2 + 0.6))
        if np.abs(at).max() < REACH_M and not any(a < station < b for a, b in gaps):
            towards = road.line.at(float(station)) - at
            inventory.lights.append((at, towards / max(float(np.hypot(*towards)), 1e-9)))


def _poles(rng: np.random.Generator, road: Road, inventory: Inventory) -> None:
    side = int(rng.choice([-1, 1]))
    step = float(rng.uniform(32, 50))
    off = road.width_m / 2 + max(0.7, road.verge_m * 0.6)
    chain: list[tuple[Float64, Float64]] = []
    for station in np.arange(float(rng.uniform(0, step)), road.line.length, step):
        at = road.line.side_point(float(station), side * off)
        if np.abs(at).max() < 230:
            chain.append((at, road.line.direction(float(station))))
    if len(chain) > 1:
        inventory.poles.append(chain)
