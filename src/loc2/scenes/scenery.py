"""What stands along streets and beyond the plots: trees, cars, lights, wires, woods and fields."""

from __future__ import annotations

import itertools
import math

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import LineString, Point, Polygon

from loc2.scenes.buildings import Frame
from loc2.scenes.ground import GroundPlan
from loc2.scenes.houses import draw_plan
from loc2.scenes.plots import Inventory, Occupancy, PlotPlanner, Tree
from loc2.scenes.polyline import gaps_removed
from loc2.scenes.raster2d import edges_of, rings_of
from loc2.scenes.roads import Network, Road
from loc2.scenes.streets import Streets
from loc2.scenes.styles import Style, choose
from loc2.scenes.surfaces import Palette, Surface
from loc2.scenes.terrain import Hills
from loc2.scenes.vegetation import HEIGHTS_M
from loc2.scenes.vehicles import Car, draw_kind, draw_paint

Float64 = NDArray[np.float64]
REACH_M = 170.0
_STREET_SHARE = {"conifer": 0.15, "bush": 0.1}
"""How much rarer some species are along streets than in gardens."""
PATCH, PATH = 2, 6
"""Order of painting of fields, woods and paths: under everything else."""


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
    lane_m = (road.width_m / 2 - road.parking_m - inner) / road.lanes
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


class Land:
    """What lies beyond the plots: the ground's base surface, patches of fields and woods."""

    def __init__(
        self, rng: np.random.Generator, style: Style, network: Network, palette: Palette,
        plan: GroundPlan, hills: Hills,
    ) -> None:  # fmt: skip
        """Draw the patches; the base surface must be the first of the plan."""
        self._rng, self._style = rng, style
        self._main, self._hills = network.roads[0].line, hills
        self.woods: list[Polygon] = []
        self.scrub: list[Polygon] = []
        self._plan, self._palette = plan, palette
        plan.surface(self._surface(choose(rng, style.open_land)))
        if style.network == "rural":
            self._patchwork(network)
        elif rng.random() < 0.3:
            self._blob(choose(rng, style.open_land), float(rng.uniform(25, 70)))
        if rng.random() < 0.12:
            self._pond()
        if style.network != "rural" and rng.random() < 0.45:
            self._paths()

    def _surface(self, kind: str) -> Surface:
        p = self._palette
        return {
            "lawn": p.lawn, "meadow": p.meadow, "field": p.field, "bare": p.bare,
            "woods": p.forest_floor, "bush": p.forest_floor, "scrub": p.bare, "paved": p.paving,
        }[kind]()  # fmt: skip

    def _patchwork(self, network: Network) -> None:
        """Divide the land by the main road and lines across it into fields and woods."""
        rng = self._rng
        main = network.roads[0].line
        cuts = np.sort(rng.uniform(0, main.length, int(rng.integers(3, 9))))
        edges = np.concatenate(([0.0], cuts, [main.length]))
        for side in (1, -1):
            for a, b in itertools.pairwise(edges):
                if b - a < 15 or rng.random() < 0.15:
                    continue
                stations = np.linspace(a, b, max(3, int((b - a) / 15)))
                margin = network.roads[0].width_m / 2 + float(rng.uniform(2, 9))
                near = main.side_point(stations, side * margin)
                deep = float(rng.choice([60.0, 150.0, 400.0]))
                far = main.side_point(stations, side * (margin + deep))
                ring = np.concatenate((near, far[::-1]))
                shape = Polygon(ring).buffer(0)
                kind = choose(rng, self._style.open_land)
                self._place(kind, shape)

    def _blob(self, kind: str, radius: float) -> None:
        rng = self._rng
        centre = rng.uniform(-110, 110, 2)
        angle = np.linspace(0, 2 * np.pi, 17)[:-1]
        reach = radius * np.exp(rng.normal(size=16) * 0.25)
        ring = centre + reach[:, None] * np.stack((np.cos(angle), np.sin(angle)), -1)
        self._place(kind, Polygon(ring).buffer(0))

    def _place(self, kind: str, shape: shapely.Geometry) -> None:
        if shape.is_empty:
            return
        index = self._plan.surface(self._surface(kind))
        self._plan.add(edges_of(rings_of(shape)), index, PATCH)
        if kind in ("woods", "bush"):
            self.woods.append(shape)
        elif kind in ("scrub", "meadow"):
            self.scrub.append(shape)

    def _pond(self) -> None:
        rng = self._rng
        centre = rng.uniform(-90, 90, 2)
        shape = Point(centre).buffer(float(rng.uniform(8, 30)), quad_segs=8)
        shape = shapely.affinity.scale(shape, 1.0, float(rng.uniform(0.4, 1.0)))
        shape = shapely.affinity.rotate(shape, float(rng.uniform(0, 180)))
        index = self._plan.surface(self._palette.water())
        self._plan.add(edges_of(rings_of(shape.buffer(2.0))),
                       self._plan.surface(self._palette.bare()), PATCH)  # fmt: skip
        self._plan.add(edges_of(rings_of(shape)), index, PATCH + 1)
        self.water = shape

    def _paths(self) -> None:
        """Lay a path or two across the land, as through parks and between streets."""
        rng = self._rng
        surface = self._plan.surface(self._palette.concrete())
        for _ in range(int(rng.integers(1, 3))):
            start = rng.uniform(-60, 60, 2)
            heading = float(rng.uniform(0, 6.28))
            turn = np.cumsum(rng.normal(size=60) * 0.07) + heading
            steps = np.stack((np.cos(turn), np.sin(turn)), -1) * 3.0
            line = LineString(start + np.cumsum(steps, 0) - steps.sum(0) / 2)
            shape = line.buffer(float(rng.uniform(0.6, 1.6)), cap_style="flat")
            self._plan.add(edges_of(rings_of(shape)), surface, PATH)

    def plant(self, occupied: Occupancy, inventory: Inventory) -> None:
        """Plant woods, scattered trees on open land, and lines of trees far away."""
        rng, style = self._rng, self._style
        base_wooded = style.network != "rural" and rng.random() < style.woods * 0.8
        for shape in self.woods:
            self._fill(shape, float(rng.uniform(16, 50)), occupied, inventory, 300, False)
            self._fill(shape, 40.0, occupied, inventory, 90, True)
        for shape in self.scrub:
            if rng.random() < 0.5:
                self._fill(shape, float(rng.uniform(60, 400)), occupied, inventory, 60, True)
        everywhere = shapely.box(-REACH_M, -REACH_M, REACH_M, REACH_M)
        low, high = (4.1, 5.2) if base_wooded else (4.7, 7.2)
        spread = float(np.exp(rng.uniform(low, high)))
        self._fill(everywhere, spread, occupied, inventory, 260, True)
        self._horizon(inventory)
        self._tufts(occupied, inventory)

    def _tufts(self, occupied: Occupancy, inventory: Inventory) -> None:
        """Scatter rough grass near the middle, in clumps, where nobody mows."""
        rng = self._rng
        wild = 0.85 if self._style.network == "rural" else 0.3
        if rng.random() > wild:
            return
        count = int(rng.uniform(100, 900))
        spots = rng.uniform(-55, 55, (count, 2))
        clump = np.sin(spots @ (rng.normal(size=(3, 2)) * 0.12).T + rng.uniform(0, 6, 3)).sum(1)
        free = (occupied.at(spots) == 0) & (clump > float(rng.uniform(-1.5, 0.6)))
        low, high = HEIGHTS_M["tuft"]
        size = low + (high - low) * float(rng.beta(1.5, 2.0))
        for spot in spots[free]:
            inventory.trees.append(Tree("tuft", spot, size * float(rng.uniform(0.6, 1.5))))

    def _fill(self, shape: shapely.Geometry, per_tree_m2: float, occupied: Occupancy,
              inventory: Inventory, most: int, bushes: bool) -> None:  # fmt: skip
        """Scatter trees over an area, clumped by a smooth random field."""
        rng, style = self._rng, self._style
        shape = shape.intersection(shapely.box(-230, -230, 230, 230))
        if shape.is_empty:
            return
        west, south, east, north = shape.bounds
        count = min(int((east - west) * (north - south) / per_tree_m2), 4 * most)
        spots = np.stack((rng.uniform(west, east, count), rng.uniform(south, north, count)), -1)
        k = rng.normal(size=(3, 2)) * 0.06
        clump = np.sin(spots @ k.T + rng.uniform(0, 6, 3)).sum(1)
        keep = (clump > -0.8) & shapely.contains_xy(shape, spots[:, 0], spots[:, 1])
        taken = occupied.at(spots)
        keep &= (taken == 0) | (taken == 255)
        if hasattr(self, "water"):
            keep &= ~shapely.contains_xy(self.water, spots[:, 0], spots[:, 1])
        kinds = [choose(rng, style.species) for _ in range(2)]
        for spot in spots[keep][:most]:
            kind = kinds[int(rng.random() < 0.25)]
            if bushes and rng.random() < 0.35:
                kind = "bush"
            low, high = HEIGHTS_M[kind]
            height = float(low + (high - low) * rng.beta(2.0, 2.0))
            inventory.trees.append(Tree(kind, spot, height))

    def _horizon(self, inventory: Inventory) -> None:
        """Plant belts of trees between 180 and 600 metres away, which close the view."""
        rng = self._rng
        species = choose(rng, self._style.species)
        if species in ("bush", "palm"):
            species = "broadleaf"
        if self._style.network == "grid":
            self._skyline(inventory)
        rural = self._style.network == "rural"
        cover = float(rng.uniform(0.25, 1.1) if rural else rng.uniform(0.7, 1.4))
        bearing = np.arange(0, 2 * np.pi, 0.028)
        wave = np.sin(bearing * 2 + rng.uniform(0, 6)) + np.sin(bearing * 5 + rng.uniform(0, 6))
        distance = float(rng.uniform(200, 420)) * np.exp(
            0.25 * wave + rng.normal(size=len(bearing)) * 0.1
        )
        present = np.sin(bearing * 3 + rng.uniform(0, 6)) + rng.normal(size=len(bearing)) * 0.3
        low, high = HEIGHTS_M[species]
        for b, d, p in zip(bearing, np.clip(distance, 180, 640), present, strict=True):
            if p < 2.2 * cover - 1.1:
                spot = d * np.array([math.cos(b), math.sin(b)])
                inventory.trees.append(Tree(species, spot, float(rng.uniform(low + 3, high + 4))))

    def _skyline(self, inventory: Inventory) -> None:
        """Raise blocks farther away than the plots, clear of the main road."""
        rng = self._rng
        for _ in range(int(rng.integers(10, 70))):
            bearing, away = float(rng.uniform(0, 2 * np.pi)), float(rng.uniform(190, 480))
            spot = away * np.array([math.cos(bearing), math.sin(bearing)])
            if self._main.nearest(spot)[1] < 28:
                continue
            kind = "warehouse" if self._style.name == "industrial" else "block"
            floor = draw_plan(rng, kind, float(rng.uniform(15, 45)))
            z = float(self._hills.at(spot))
            frame = Frame(np.array([*spot, z]), bearing + float(rng.uniform(0, 6.28)))
            inventory.buildings.append((frame, floor))
