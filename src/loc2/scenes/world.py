"""A world: the layout of a place, and its meshes as they look on one day.

``World`` holds what does not change: ground plan, terrain, buildings, trees, furniture. A ``Day``
holds what does: which cars are there, leaves, dryness, worn paint. A mesh is built for a day and a
region of the ground that is painted finely.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import shapely
from numpy.typing import NDArray

from loc2.scenes.builder import MeshBuilder
from loc2.scenes.furniture import Furniture
from loc2.scenes.ground import PAINTS, GroundPainter, GroundPlan, Wear
from loc2.scenes.houses import Raiser
from loc2.scenes.land import Land
from loc2.scenes.markings import paint_markings
from loc2.scenes.mesh import Material, Mesh, SemanticClass, merge
from loc2.scenes.plots import Inventory, PlotPlanner
from loc2.scenes.raster2d import Grid, look_up
from loc2.scenes.roads import grow_network
from loc2.scenes.roadside import add_roadsides
from loc2.scenes.scenery import add_streetside
from loc2.scenes.streets import build_streets
from loc2.scenes.styles import Style
from loc2.scenes.surfaces import Palette
from loc2.scenes.terrain import Hills, kerbs, sheet
from loc2.scenes.textures import TextureLibrary
from loc2.scenes.vegetation import (
    EVERGREEN,
    HEIGHTS_M,
    INDIVIDUALS,
    LEAF_RGB,
    LEVELS,
    Prototype,
    individual,
    plant,
)
from loc2.scenes.vehicles import Car, Garage
from loc2.scenes.wear import paint_wear

Float64 = NDArray[np.float64]
UInt8 = NDArray[np.uint8]


_INDIVIDUALS = {"bush": 2, "tuft": 2}
"""Prototypes of each species; three where nothing is said."""

_SMALL = 0.02
"""Plants lower than this share of their distance, about three pixels, are left out."""


@dataclass(frozen=True)
class Day:
    """What a place looks like on one day.

    Attributes:
        wear: the state of the ground.
        cars: the cars that are there.
        autumn: how far leaves have turned, 0 to 1.
        bare: whether deciduous trees have lost their leaves.
        leaf_light: lightness of leaves, about 1.
        seed: seed of the small random differences of the day.
    """

    wear: Wear
    cars: tuple[Car, ...]
    autumn: float
    bare: bool
    leaf_light: float
    seed: int


class World:
    """A generated place.

    Attributes:
        style: its style.
        network: its roads.
        streets: their areas.
        hills: heights of the ground.
        plan: what covers the ground.
        inventory: what stands on it.
    """

    def __init__(self, seed: int, style: Style, library: TextureLibrary, garage: Garage) -> None:
        """Generate a place.

        Args:
            seed: everything follows from it and the style (and the textures' choice from the
                library's folder).
            style: distributions to draw from.
            library: textures.
            garage: prototypes of vehicles.
        """
        self.style = style
        rngs = [np.random.default_rng([seed, k]) for k in range(7)]
        self._seed, self._library, self._garage = seed, library, garage
        self.network = grow_network(rngs[0], style)
        relief = float(rngs[1].gamma(1.5, 1.6)) * (1.6 if style.network == "rural" else 1.0)
        far = float(rngs[1].choice([0.0, 6.0, 25.0, 60.0], p=[0.3, 0.35, 0.25, 0.1]))
        self.hills = Hills(rngs[1], relief, far)
        if style.network == "rural" and rngs[1].random() < style.banks:
            self.hills.add_banks(rngs[1], self.network)
        palette = Palette(rngs[2], style)
        self._dry = palette.dry
        self.plan = GroundPlan(soil_rgb=palette.soil_rgb)
        self.inventory = Inventory()
        land = Land(rngs[2], style, self.network, palette, self.plan, self.hills)
        self.streets = build_streets(rngs[3], self.network, palette, self.plan)
        paint_markings(rngs[3], style, self.network, self.streets, self.plan)
        planner = PlotPlanner(
            rngs[4], style, self.network, self.streets, self.hills, palette, self.plan,
            self.inventory,
        )  # fmt: skip
        occupied = planner.fill()
        add_streetside(rngs[5], style, self.network, self.streets, planner, self.inventory)
        add_roadsides(rngs[5], style, self.network, self.streets, planner, self.plan)
        land.plant(occupied, self.streets, self.inventory)
        self._clear_roads()
        paint_wear(rngs[3], self.network, self.streets, self.plan)
        textures = [library.draw(s.pattern, rngs[6]) for s in self.plan.surfaces]
        self._painter = GroundPainter(self.plan, textures, seed)
        self._static: Mesh | None = None
        self._coarse: UInt8 | None = None
        self._individuals: dict[str, list[Prototype]] = {}
        self.kerb_m = float(rngs[6].uniform(0.08, 0.16))

    def _clear_roads(self) -> None:
        """Fell the trees that stand on carriageways."""
        trees = self.inventory.trees
        spots = np.array([t.position for t in trees]).reshape(-1, 2)
        shapely.prepare(self.streets.carriageway)
        on_road = shapely.contains_xy(self.streets.carriageway, spots[:, 0], spots[:, 1])
        self.inventory.trees = [t for t, on in zip(trees, on_road, strict=True) if not on]

    def draw_day(self, rng: np.random.Generator) -> Day:
        """Draw a day: season, weathering, and which of the cars are there."""
        inventory = self.inventory
        autumn = float(np.clip(rng.normal(-0.3, 0.5), 0, 1))
        bare = bool(rng.random() < 0.1)
        wear = Wear(
            dryness=float(rng.normal() * 0.22), paint=float(rng.beta(1.3, 2.2)) * 0.9,
            wet=float(rng.uniform(0.3, 1.0)) if rng.random() < 0.08 else 0.0,
            grey=float(np.exp(rng.normal() * 0.12)), green=float(np.exp(rng.normal() * 0.12)),
        )  # fmt: skip
        here = float(rng.uniform(0.4, 0.95))
        busy = float(rng.uniform(0.0, 1.0))
        cars = [c for c in inventory.parked if rng.random() < here]
        cars += [c for c in inventory.moving if rng.random() < busy]
        return Day(wear, tuple(cars), autumn, bare, float(np.exp(rng.normal() * 0.15)),
                   int(rng.integers(2**31)))  # fmt: skip

    def ground_classes(self, points: NDArray[np.floating], grids: Sequence[Grid]) -> UInt8:
        """Return the classes of the ground, lines on roads included.

        Args:
            points: (N, 2 or 3) world points, metres.
            grids: where classes are wanted finely, the finest first: those that a view's ground
                is painted on (:meth:`grids`); elsewhere the resolution is 1 m, without lines.

        Returns:
            (N,) semantic classes.
        """
        table = np.array([s.semantic for s in self.plan.surfaces], np.uint8)
        classes = np.full(len(points), SemanticClass.TERRAIN, np.uint8)
        thick = np.arange(256, dtype=np.uint8)
        thick[SemanticClass.ROAD] = SemanticClass.MARKING
        done = np.zeros(len(points), np.bool_)
        for grid in [g for g in grids if g.cell_m < 0.5]:
            plan = self.plan.rasters(grid)
            paint = np.array([name in PAINTS for name in plan.channels], np.bool_)
            look_up(points, grid.west_m, grid.north_m, grid.cell_m, plan.index, table, plan.cover,
                    thick, paint, classes, done)  # fmt: skip
        if not done.all():
            coarse = Grid.around(np.zeros(2), 400.0, 1.0)
            if self._coarse is None:
                self._coarse = self.plan.index_raster(coarse)
            none = np.zeros((0, 1, 1), np.uint8)
            look_up(points, coarse.west_m, coarse.north_m, coarse.cell_m, self._coarse, table,
                    none, thick, np.zeros(0, np.bool_), classes, done)  # fmt: skip
        return classes

    def grids(self, center: NDArray[np.floating], aerial: tuple[float, float] | None) -> list[Grid]:
        """Return the squares on which the ground of a view is painted, finest first.

        Args:
            center: see :meth:`mesh`.
            aerial: see :meth:`mesh`.
        """
        middle = np.asarray(center, np.float64)
        if aerial is None:
            around = [(10.0, 0.05), (26.0, 0.1), (96.0, 0.3)]
            near = [Grid.around(middle, half_m, cell_m) for half_m, cell_m in around]
            return [*near, Grid.around(np.zeros(2), 700.0, 2.5)]
        side_m, meters_per_pixel = aerial
        half = min(side_m / 2 + 3.0, 150.0)
        cell = max(0.06, meters_per_pixel)
        return [Grid.around(middle, half, cell), Grid.around(middle, half + 120.0, 2.0)]

    def mesh(
        self, day: Day, center: NDArray[np.floating], aerial: tuple[float, float] | None
    ) -> Mesh:
        """Return the place on a day.

        Args:
            day: the day.
            center: (2,) middle of the finely painted ground, metres.
            aerial: side in metres and metres per pixel of the orthophoto that is to show it, or
                None for a ground view.

        Returns:
            The mesh; its ground has class ``TERRAIN`` throughout, see :meth:`ground_classes`.
        """
        middle = np.asarray(center, np.float64)
        if self._static is None:
            self._static = self._built()
        parts = [*self._ground(day, middle, aerial), self._static]
        cars = [c for c in day.cars if np.abs(c.position - middle).max() < 200]
        heights = self.hills.at(np.array([c.position for c in cars]).reshape(-1, 2))
        parts += self._garage.meshes(cars, heights)
        plants = self._plants(day, middle, aerial)
        # what is cut out by masks comes last: most of what it hides behind is then drawn before
        plants.sort(key=lambda mesh: mesh.materials[0].alpha is not None)
        return merge([*parts, *plants])

    def _ground(self, day: Day, middle: Float64, aerial: tuple[float, float] | None) -> list[Mesh]:
        """Paint and shape the ground around a point: squares that grow coarser outwards."""
        grids = self.grids(middle, aerial)
        steps = [2.0, 2.0, 4.0, 50.0] if aerial is None else [3.0, 20.0]
        if self.hills.banked:
            steps = [1.5, 1.5, 2.5, 50.0] if aerial is None else [2.0, 20.0]
        parts, hole = [], None
        for level, (grid, step) in enumerate(zip(grids, steps, strict=True)):
            blank = np.broadcast_to(np.zeros(3, np.uint8), (grid.height, grid.width, 3))
            material = Material(blank, paint=partial(self._painter.paint, grid, day.wear))
            parts.append(sheet(grid, step, hole, self.hills, material))
            if level == (2 if aerial is None else 0):
                mouths = np.array(self.inventory.mouths).reshape(-1, 3)
                kerb = kerbs(self.streets.kerb_rings, mouths, self.kerb_m, grid, 75.0, self.hills,
                             material)  # fmt: skip
                if kerb is not None:
                    parts.append(kerb)
            hole = grid
        return parts

    def _plants(self, day: Day, middle: Float64, aerial: tuple[float, float] | None) -> list[Mesh]:
        """Return the trees that a view shows; see :meth:`mesh`.

        The more trees stand near, and the coarser the orthophoto, the sooner they lose detail.
        """
        if not self.inventory.trees:
            return []
        species, which, spots, height, deep, z = self._trees
        prototypes = [self._prototypes(name) for name in species]
        rng = np.random.default_rng([self._seed, 11])  # the same trees on every day
        count = len(spots)
        which_one = rng.integers(0, 6, count)
        angle = rng.uniform(0, 2 * np.pi, count)
        width = np.exp(rng.normal(size=count) * 0.14)
        light = np.exp(rng.normal(size=(count, 1)) * 0.26 + rng.normal(size=(count, 3)) * 0.08)
        turning = rng.random(count)
        growth = 1.0 + 0.05 * np.random.default_rng(day.seed).normal(size=count)
        distance = np.hypot(*(spots - middle).T)
        if aerial is None:
            limits, fine = (26.0, 60.0, 110.0), 1.0
            seen = ~deep & (height > _SMALL * distance)
        else:
            limits, fine = (45.0, 70.0, 110.0), min(1.0, 0.12 / aerial[1])
            seen = np.abs(spots - middle).max(1) < aerial[0] / 2 + 22.0
        crowd = int((seen & (distance < 80.0) & (height > 3.0)).sum())
        scale = min(1.0, max(140.0 / max(crowd, 1), 0.1) ** 0.5) * fine
        coarser = np.searchsorted(np.array(limits) * scale, distance, side="right")
        detail = np.minimum(coarser + (height < 3.5), LEVELS - 1)
        which_one %= np.array([len(own) for own in prototypes])[which]
        alike = np.stack((which, which_one, detail))[:, seen]
        order = np.lexsort(alike[::-1])
        firsts = np.flatnonzero(np.diff(alike[:, order], prepend=-1).any(0))
        gold = np.array([0.22, 0.13, 0.03]) / 0.4
        parts = []
        for group in np.split(order, firsts[1:]) if len(order) else []:
            s, p, level = alike[:, group[0]].tolist()
            mine = np.flatnonzero(seen)[group]
            name = species[s]
            leaf = np.array(LEAF_RGB[name]) / 0.4 * day.leaf_light
            if name == "tuft":
                dry = float(np.clip(self._dry + day.wear.dryness, 0, 1))
                leaf = leaf * (1 - dry) + np.array([0.36, 0.28, 0.14]) / 0.4 * dry
            tint = leaf * light[mine]
            bare = False
            if name not in EVERGREEN:
                share = np.clip(day.autumn * 1.6 - turning[mine], 0, 1)[:, None]
                tint = tint * (1 - share) + gold * light[mine] * share
                bare = day.bare
            feet = np.column_stack((spots[mine], z[mine]))
            parts += plant(prototypes[s][p], feet, height[mine] * growth[mine], width[mine],
                           angle[mine], tint, level, bare)  # fmt: skip
        return parts

    @cached_property
    def _trees(
        self,
    ) -> tuple[list[str], NDArray[np.int64], Float64, Float64, NDArray[np.bool_], Float64]:
        """Species of the trees, and of each its index, position, height, depth in woods, ground."""
        trees = self.inventory.trees
        names, which = np.unique([t.species for t in trees], return_inverse=True)
        spots = np.array([t.position for t in trees])
        height, deep = np.array([t.height_m for t in trees]), np.array([t.deep for t in trees])
        return names.tolist(), which, spots, height, deep, self.hills.at(spots)

    def _prototypes(self, species: str) -> list[Prototype]:
        """Return the individuals of a species that stand in this world."""
        if species not in self._individuals:
            rng = np.random.default_rng([self._seed, 10, list(HEIGHTS_M).index(species)])
            count = _INDIVIDUALS.get(species, 3)
            self._individuals[species] = [
                individual(species, int(k), self._library)
                for k in rng.choice(INDIVIDUALS, count, replace=False)
            ]
        return self._individuals[species]

    def _built(self) -> Mesh:
        """Raise buildings and street furniture; the same on every day."""
        out = MeshBuilder()
        rng = np.random.default_rng([self._seed, 12])
        country = self.style.markings
        raiser = Raiser(rng, self._library, country)
        for index, (frame, floor) in enumerate(self.inventory.buildings):
            raiser.reseed(np.random.default_rng([self._seed, 13, index]))
            distance = float(np.hypot(*frame.origin[:2]))
            raiser.raise_plan(out, frame, floor, detail=distance < 115)
        furniture = Furniture(
            np.random.default_rng([self._seed, 14]), self._library, self.hills, out
        )
        inventory = self.inventory
        for index, (a, b, kind) in enumerate(inventory.fences):
            furniture.reseed(np.random.default_rng([self._seed, 15, index]))
            if np.hypot(*((a + b) / 2)) < 105:
                furniture.fence(a, b, kind)
        furniture.reseed(np.random.default_rng([self._seed, 16]))
        for point, towards in inventory.lights:
            furniture.street_light(point, towards)
        for point, towards in inventory.signals:
            furniture.traffic_light(point, towards)
        for point, facing in inventory.signs:
            furniture.sign(point, facing)
        for point, angle in inventory.boxes:
            furniture.small_box(point, angle)
        for chain in inventory.poles:
            tops = [furniture.utility_pole(point, along) for point, along in chain]
            for one, two in itertools.pairwise(tops):
                furniture.wires(one, two)
        return out.build()
