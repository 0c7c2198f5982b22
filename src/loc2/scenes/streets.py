"""From road network to areas: carriageways, kerbs, medians, islands, verges and pavements."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import shapely
from shapely.geometry import LineString, Point, box
from shapely.geometry.base import BaseGeometry

from loc2.scenes.ground import GroundPlan
from loc2.scenes.mesh import SemanticClass
from loc2.scenes.polyline import Float64
from loc2.scenes.raster2d import edges_of, rings_of
from loc2.scenes.roads import Network, Road
from loc2.scenes.surfaces import Palette

KERB_M = 0.16
FAR_M = 690.0
VERGE, PAVEMENT, CARRIAGEWAY, KERB = 30, 40, 50, 60
"""Order of painting."""


@dataclass(eq=False)
class Streets:
    """The areas of the streets, in world metres.

    Attributes:
        carriageway: where vehicles drive, without medians and islands.
        kerb_rings: (N, 2) edges of kerbed carriageway and islands.
        corridor: everything between the backs of the pavements, for keeping buildings out.
        islands: medians, roundabouts, turning heads' middles.
        islands_green: true when the islands are planted.
        gaps: for each road, (low, high) stations that junctions occupy.
        islands_lines: (road index) -> the line along which trees on the median may stand.
    """

    carriageway: BaseGeometry
    kerb_rings: list[Float64]
    corridor: BaseGeometry
    islands: BaseGeometry
    islands_green: bool
    gaps: list[list[tuple[float, float]]] = field(default_factory=list)


def build_streets(
    rng: np.random.Generator, network: Network, palette: Palette, plan: GroundPlan
) -> Streets:
    """Lay out the streets and add their surfaces to the plan."""
    roads = network.roads
    shapes = [_ribbon(r, r.width_m / 2) for r in roads]
    fillet = float(rng.uniform(3.5, 8.5)) if roads[0].kerb else float(rng.uniform(5, 9))
    carriage = shapely.union_all(shapes)
    carriage = shapely.union_all([carriage, *_fillets(network, carriage, fillet)])
    discs, centres = [], []
    for junction in network.junctions:
        if junction.roundabout_m > 0:
            disc = Point(junction.point).buffer(junction.roundabout_m, quad_segs=12)
            discs.append(disc.union(carriage).buffer(4).buffer(-4).intersection(disc.buffer(9)))
            centres.append(
                Point(junction.point).buffer(max(junction.roundabout_m * 0.42, 2.0), quad_segs=12)
            )
    heads = [r for r in roads if r.bulb_m > 0]
    for road in heads:
        end = Point(road.line.points[-1])
        if rng.random() < 0.25 and road.bulb_m > 8.5:
            centres.append(end.buffer(road.bulb_m * 0.35, quad_segs=8))
    carriage = shapely.union_all([carriage, *discs])
    islands = shapely.union_all([*centres, *_medians(network)])
    window = box(-FAR_M, -FAR_M, FAR_M, FAR_M)
    carriage = carriage.difference(islands).intersection(window)

    pavement, verge = _pavements(roads, network)
    pavement = pavement.difference(carriage).difference(islands)
    verge = verge.difference(carriage)
    green = bool(rng.random() < 0.6)
    _paint_areas(rng, roads, shapes, carriage, pavement, verge, islands, green, palette, plan)
    kerbed = [s for s, r in zip(shapes, roads, strict=True) if r.kerb]
    rings = [
        r for r in rings_of(carriage) if shapely.dwithin(kerbed, Point(r[len(r) // 2]), 9.0).any()
    ]
    _paint_kerbs(rings, palette, plan)
    corridor = shapely.union_all([carriage, pavement, islands, verge]).buffer(0.3, quad_segs=2)
    return Streets(carriage, rings, corridor, islands, green, _gaps(network))


def _ribbon(road: Road, half_m: float) -> BaseGeometry:
    line = LineString(road.line.points).simplify(0.03)
    shape = line.buffer(half_m, quad_segs=6, cap_style="flat")
    if road.bulb_m > 0:
        grow = half_m - road.width_m / 2
        shape = shape.union(Point(road.line.points[-1]).buffer(road.bulb_m + grow, quad_segs=12))
        shape = shape.buffer(5, quad_segs=6).buffer(-5, quad_segs=6)
    return shape


def _fillets(network: Network, carriage: BaseGeometry, radius_m: float) -> list[BaseGeometry]:
    """Return the rounded corners at junctions."""
    parts = []
    for junction in network.junctions:
        if network.roads[junction.through].level == 9:
            continue
        spot = Point(junction.point).buffer(34, quad_segs=8)
        local = carriage.intersection(spot)
        closed = local.buffer(radius_m, quad_segs=6).buffer(-radius_m, quad_segs=6)
        parts.append(closed.intersection(Point(junction.point).buffer(28, quad_segs=8)))
    return parts


def _medians(network: Network) -> list[BaseGeometry]:
    parts = []
    for index, road in enumerate(network.roads):
        if road.median_m < 1.0:
            continue
        strip = LineString(road.line.points).buffer(road.median_m / 2, cap_style="flat")
        for junction in network.junctions:
            if junction.through == index or any(a == index for a, _ in junction.arms):
                widths = [network.roads[a].width_m for a, _ in junction.arms]
                gap = max(junction.roundabout_m + 4.0, max(widths, default=8.0) / 2 + 5.0)
                strip = strip.difference(Point(junction.point).buffer(gap))
        inset = min(road.median_m * 0.45, 2.5)
        parts.append(strip.buffer(-inset).buffer(inset, quad_segs=6))
    return parts


def _pavements(roads: list[Road], network: Network) -> tuple[BaseGeometry, BaseGeometry]:
    """Return the pavements and the strips between them and the carriageway."""
    walks, verges = [], []
    for road in roads:
        if not any(road.pavements) or road.level == 9:
            continue
        half = road.width_m / 2
        inner = _ribbon(road, half + road.verge_m)
        outer = _ribbon(road, half + road.verge_m + road.pavement_m)
        walk = outer.difference(inner) if road.verge_m > 0.3 else outer
        for side, present in zip((1, -1), road.pavements, strict=True):
            if not present:
                reach = half + road.verge_m + road.pavement_m + 1.0
                line = LineString(road.line.points).simplify(0.1)
                walk = walk.difference(line.buffer(side * reach, single_sided=True))
        walks.append(walk)
        verges.append(inner)
    if not walks:
        return shapely.union_all([]), shapely.union_all([])
    walk = shapely.union_all(walks)
    if roads[0].verge_m > 0.3:  # pavements do not run across the verge at corners
        mouths = shapely.union_all([v.buffer(-0.01) for v in verges])
        crossing = shapely.union_all([_ribbon(r, r.width_m / 2 + 0.2) for r in roads])
        walk = walk.difference(crossing).difference(mouths).union(_corner_walks(walk, network))
    return walk, shapely.union_all(verges)


def _corner_walks(walk: BaseGeometry, network: Network) -> BaseGeometry:
    """Return the links of pavements to the carriageway at junctions."""
    spots = [Point(j.point).buffer(16) for j in network.junctions]
    return walk.intersection(shapely.union_all(spots)) if spots else shapely.union_all([])


def _paint_areas(
    rng: np.random.Generator,
    roads: list[Road],
    shapes: list[BaseGeometry],
    carriage: BaseGeometry,
    pavement: BaseGeometry,
    verge: BaseGeometry,
    islands: BaseGeometry,
    green: bool,
    palette: Palette,
    plan: GroundPlan,
) -> None:
    if not verge.is_empty:
        plan.add(edges_of(rings_of(verge)), plan.surface(palette.lawn()), VERGE)
    if not roads[0].kerb:
        for road in roads:
            if road.paved and road.level < 9:
                shoulder = _ribbon(road, road.width_m / 2 + float(rng.uniform(0.3, 2.6)))
                surface = palette.gravel() if rng.random() < 0.6 else palette.bare()
                plan.add(edges_of(rings_of(shoulder)), plan.surface(surface), VERGE)
    plan.add(edges_of(rings_of(pavement)), plan.surface(palette.paving()), PAVEMENT)
    base = palette.asphalt()
    plan.add(edges_of(rings_of(carriage)), plan.surface(base), CARRIAGEWAY)
    for road, shape in list(zip(roads, shapes, strict=True))[::-1]:
        if not road.paved:
            surface = palette.dirt_road()
        elif road.median_m > 3.0 and not road.kerb and rng.random() < 0.4:
            surface = palette.concrete(SemanticClass.ROAD)
        elif rng.random() < 0.35 or road.level == 0:
            surface = palette.asphalt()
        elif rng.random() < 0.04:
            surface = palette.concrete(SemanticClass.ROAD)
        else:
            continue
        own = shape.intersection(carriage)
        plan.add(edges_of(rings_of(own)), plan.surface(surface), CARRIAGEWAY)
    island = palette.lawn() if green else palette.paving()
    if max(r.median_m for r in roads) > 3.0 and not roads[0].kerb:
        island = palette.meadow() if rng.random() < 0.7 else palette.bare()
    plan.add(edges_of(rings_of(islands)), plan.surface(island), CARRIAGEWAY)


def _paint_kerbs(rings: list[Float64], palette: Palette, plan: GroundPlan) -> None:
    if not rings:
        return
    lines = shapely.union_all([LineString(r) for r in rings])
    width = KERB_M * (1.0 + float(palette.dry > 0.5))
    area = lines.buffer(width, quad_segs=2, join_style="mitre")
    plan.add(edges_of(rings_of(area)), plan.surface(palette.kerb()), KERB)


def _gaps(network: Network) -> list[list[tuple[float, float]]]:
    """Return for each road the stations that junctions occupy."""
    gaps: list[list[tuple[float, float]]] = [[] for _ in network.roads]
    for junction in network.junctions:
        through = network.roads[junction.through]
        widest = max((network.roads[a].width_m for a, _ in junction.arms), default=6.0)
        half = max(widest / 2 + 2.5, junction.roundabout_m + 3.0)
        gaps[junction.through].append((junction.station - half, junction.station + half))
        reach = max(through.width_m / 2, junction.roundabout_m) + 1.0
        for arm, starts in junction.arms:
            length = network.roads[arm].line.length
            gaps[arm].append((-1.0, reach) if starts else (length - reach, length + 1.0))
    return gaps
