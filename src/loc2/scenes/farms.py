"""Farmsteads: a house, barns and sheds around a gravel yard, with a lane to the road."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from loc2.scenes.buildings import Frame
from loc2.scenes.houses import draw_plan
from loc2.scenes.roads import Road

if TYPE_CHECKING:
    from loc2.scenes.plots import PlotPlanner

LAWN, YARD, LANE = 10, 20, 35
"""Order of painting, as of plots and drives."""


def add_farm(planner: PlotPlanner, road: Road, side: int, middle: float, angle: float) -> None:
    """Lay out a farm beside a road where the ground is free.

    Args:
        planner: the plots, whose ground and inventory it joins.
        road: the road that it lies on.
        side: 1 left of the road, -1 right.
        middle: station of its middle, metres.
        angle: direction along the road to the right of one who looks at the farm, radians.
    """
    rng = planner.rng
    back = road.width_m / 2 + float(rng.uniform(12, 38))
    origin = road.line.side_point(middle, side * back)
    frame = Frame(np.array([*origin, 0.0]), angle + float(rng.normal() * 0.12))
    wide, deep = float(rng.uniform(30, 52)), float(rng.uniform(28, 50))
    yard = planner.quad(frame, -wide / 2, wide / 2, -3.0, deep)
    if not planner.occupied.free(yard):
        return
    garden = planner.quad(frame, -wide / 2 - 7, wide / 2 + 7, -back * 0.6, deep + 7)
    planner.inventory.lots.append(garden)
    if rng.random() < 0.6:
        planner.area(garden, planner.lawn(), LAWN)
    planner.area(planner.quad(frame, -wide * 0.3, wide * 0.42, 4.0, deep - 4), planner.gravel, YARD)
    lane = float(rng.uniform(-0.2, 0.2)) * wide
    half = float(rng.uniform(1.6, 3.0))
    drive = planner.quad(frame, lane - half, lane + half, 0.5 - back, deep * 0.5)
    planner.area(drive, planner.gravel, LANE)
    mouth = road.line.side_point(middle, side * road.width_m / 2)
    planner.inventory.mouths.append((float(mouth[0]), float(mouth[1]), half + 1.0))
    slots = [(-0.36, 0.0), (0.36, 0.1), (-0.36, 0.62), (0.34, 0.66), (0.0, 0.85)]
    for index in range(int(rng.integers(3, 6))):
        x, y = slots[index][0] * wide, slots[index][1] * deep
        room = wide * 0.36
        floor = draw_plan(rng, "house" if index == 0 else "barn", room)
        turn = 0.0 if index == 0 or rng.random() < 0.5 else float(rng.choice([-1, 1])) * np.pi / 2
        own = Frame(frame.points(np.array([x, y, 0.0])), frame.angle + turn)
        ring = planner.outline(own, floor, 0.8)
        if planner.occupied.free(ring) and planner.occupied.at(ring.mean(0)[None])[0] == 0:
            planner.occupied.take(planner.outline(own, floor, 0.5))
            planner.stand(own, floor)
    planner.occupied.take(drive, 3)
    if rng.random() < 0.6:  # a shelter belt behind
        for at in np.arange(-wide / 2, wide / 2, float(rng.uniform(3, 8))):
            planner.tree(planner.quad(frame, at, at, deep + 4, deep + 4)[0])
    for _ in range(rng.poisson(5.0)):
        x = float(rng.uniform(-0.6, 0.6)) * wide
        spot = planner.quad(frame, x, x, 0, 0)[0]
        planner.tree(spot + rng.normal(size=2) * 6.0, 0.3)
