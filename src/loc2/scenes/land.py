"""What lies beyond the plots: fields, woods, ponds, paths, scattered trees and the horizon."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import shapely
from shapely.geometry import LineString, Point, Polygon
from shapely.geometry.base import BaseGeometry

from loc2.scenes.buildings import Frame
from loc2.scenes.ground import GroundPlan
from loc2.scenes.houses import draw_plan
from loc2.scenes.markings import rows
from loc2.scenes.plots import Inventory, Occupancy, Tree
from loc2.scenes.raster2d import edges_of, rings_of
from loc2.scenes.roads import Network
from loc2.scenes.streets import Streets
from loc2.scenes.styles import Style, choose
from loc2.scenes.surfaces import Palette, Surface
from loc2.scenes.terrain import Hills
from loc2.scenes.vegetation import HEIGHTS_M
from loc2.scenes.woods import plant_woods

REACH_M = 170.0
PATCH, PATH = 2, 6
"""Order of painting of fields, woods and paths: under everything else."""


class Land:
    """What lies beyond the plots: the ground's base surface, patches of fields and woods."""

    def __init__(
        self, rng: np.random.Generator, style: Style, network: Network, palette: Palette,
        plan: GroundPlan, hills: Hills,
    ) -> None:  # fmt: skip
        """Draw the patches; the base surface must be the first of the plan."""
        self._rng, self._style = rng, style
        self._main, self._hills = network.roads[0].line, hills
        self._patches: list[tuple[str, BaseGeometry]] = []
        self._water: BaseGeometry = Polygon()
        self._plan, self._palette = plan, palette
        base = choose(rng, style.open_land)
        plan.surface(self._surface(base))
        wooded = base in ("woods", "bush") and rng.random() < 0.5
        if style.network == "rural" or wooded:
            self._patches.append((base, shapely.box(-200, -200, 200, 200)))
        if style.network == "rural":
            self._patchwork(network)
        elif rng.random() < 0.3:
            self._blob(choose(rng, style.open_land), float(rng.uniform(25, 70)))
        if rng.random() < 0.7:
            self._slopes(hills)
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
        """Divide the land by the main road and lines across it into fields and woods.

        Each side has a kind of land that prevails, often another than across the road.
        """
        rng, style = self._rng, self._style
        main = network.roads[0].line
        usual = {side: choose(rng, style.open_land) for side in (1, -1)}
        if rng.random() < 0.35:
            usual[-1] = usual[1]
        cuts = np.sort(rng.uniform(0, main.length, int(rng.integers(3, 9))))
        edges = np.concatenate(([0.0], cuts, [main.length]))
        margins = {side: float(rng.uniform(1.5, 9)) for side in (1, -1)}
        for side in (1, -1):
            for a, b in itertools.pairwise(edges):
                if b - a < 15 or rng.random() < 0.08:
                    continue
                kind = usual[side] if rng.random() < 0.68 else choose(rng, style.open_land)
                stations = np.linspace(a, b, max(3, int((b - a) / 15)))
                margin = network.roads[0].width_m / 2 + margins[side] + float(rng.uniform(0, 2))
                near = main.side_point(stations, side * margin)
                deep = float(rng.choice([60.0, 150.0, 400.0]))
                far = main.side_point(stations, side * (margin + deep))
                ring = np.concatenate((near, far[::-1]))
                way = main.direction((a + b) / 2)
                self._place(kind, Polygon(ring).buffer(0), math.atan2(way[0], -way[1]))

    def _blob(self, kind: str, radius: float) -> None:
        rng = self._rng
        centre = rng.uniform(-110, 110, 2)
        angle = np.linspace(0, 2 * np.pi, 17)[:-1]
        reach = radius * np.exp(rng.normal(size=16) * 0.25)
        ring = centre + reach[:, None] * np.stack((np.cos(angle), np.sin(angle)), -1)
        self._place(kind, Polygon(ring).buffer(0))

    def _place(self, kind: str, shape: BaseGeometry, across: float | None = None) -> None:
        """Cover a shape; rows of crops run along the road or across it, whose normal is given."""
        if shape.is_empty:
            return
        surface = self._surface(kind)
        if across is not None and surface.rows_m > 0 and self._rng.random() < 0.8:
            turn = 90.0 * float(self._rng.random() < 0.4)
            surface = replace(surface, rows_deg=math.degrees(across) + turn)
        index = self._plan.surface(surface)
        self._plan.add(edges_of(rings_of(shape)), index, PATCH)
        self._patches.append((kind, shape))

    def _slopes(self, hills: Hills) -> None:
        """Lay the earth or rock of cuts bare."""
        for ring in hills.slopes:
            surface = self._palette.bare() if self._rng.random() < 0.7 else self._palette.gravel()
            self._plan.add(edges_of(rings_of(Polygon(ring).buffer(0))),
                           self._plan.surface(surface), PATCH + 2)  # fmt: skip

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
        self._water = shape

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

    def plant(self, occupied: Occupancy, streets: Streets, inventory: Inventory) -> None:
        """Plant woods, scattered trees on open land, and lines of trees far away."""
        rng, style = self._rng, self._style
        base_wooded = style.network != "rural" and rng.random() < style.woods * 0.8
        lots = [Polygon(ring) for ring in inventory.lots]
        clear = shapely.union_all([streets.corridor, self._water, *lots])
        taken: BaseGeometry = Polygon()
        woods: list[BaseGeometry] = []
        for kind, patch in self._patches[::-1]:  # later patches cover earlier ones
            shape = patch.difference(taken)
            taken = taken.union(patch)
            if kind in ("woods", "bush"):
                woods.append(shape)
            elif kind in ("scrub", "meadow") and rng.random() < 0.5:
                self._fill(shape, float(rng.uniform(60, 400)), occupied, inventory, 60, True)
        plant_woods(rng, woods, style.stands, clear, occupied, inventory)
        self._blotches(occupied)
        everywhere = shapely.box(-REACH_M, -REACH_M, REACH_M, REACH_M)
        low, high = (4.1, 5.2) if base_wooded else (4.7, 7.2)
        if style.network == "rural":
            low, high = 6.0, 9.0
        spread = float(np.exp(rng.uniform(low, high)))
        self._fill(everywhere, spread, occupied, inventory, 260, True)
        self._horizon(inventory)
        self._tufts(occupied, inventory)

    def _blotches(self, occupied: Occupancy) -> None:
        """Stain the open ground: bare spots, rank growth, dead grass, in soft patches."""
        rng = self._rng
        count = int(rng.uniform(60, 500))
        spots = rng.uniform(-150, 150, (count, 2))
        spots = spots[occupied.at(spots) == 0]
        channels = rng.choice(
            ["soil", "weed", "dust", "dark"], len(spots), p=[0.4, 0.25, 0.3, 0.05]
        )
        size = np.exp(rng.normal(size=len(spots)) * 0.8 + 0.3)
        reach = rng.normal(size=spots.shape) * size[:, None]
        strength = float(rng.uniform(0.08, 0.4))
        for spot, way, half, channel in zip(spots, reach, size, channels, strict=True):
            room = max(float(half), 0.4)
            alpha = strength * float(rng.uniform(0.3, 1.0))
            self._plan.stroke(str(channel), rows(spot, spot + way, room * 0.4, room, alpha, 0.0))

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
        keep &= ~shapely.contains_xy(self._water, spots[:, 0], spots[:, 1])
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
