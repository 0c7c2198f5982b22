"""Plots along the streets: buildings, drives, gardens, fences, car parks, and their trees."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from loc2.scenes.buildings import Frame
from loc2.scenes.farms import add_farm
from loc2.scenes.ground import GroundPlan
from loc2.scenes.houses import FloorPlan, draw_plan
from loc2.scenes.markings import rows
from loc2.scenes.raster2d import Grid, edges_of, fill, rings_of, touches
from loc2.scenes.roads import Network, Road
from loc2.scenes.streets import Streets
from loc2.scenes.styles import Choice, Range, Style, choose
from loc2.scenes.surfaces import Palette
from loc2.scenes.terrain import Hills
from loc2.scenes.vehicles import Car, draw_kind, draw_paint

Float64 = NDArray[np.float64]
REACH_M = 165.0
JOINED = frozenset({"terrace", "block", "office", "lowrise"})
LOT, YARD, DRIVE = 10, 20, 35
"""Order of painting: plots lie under verges, drives over verges but under pavements."""


class Tree(NamedTuple):
    """A tree.

    Attributes:
        species: its kind.
        position: (2,) where it stands, metres.
        height_m: its height.
        deep: true when other trees hide it from every road.
    """

    species: str
    position: Float64
    height_m: float
    deep: bool = False


@dataclass(eq=False)
class Inventory:
    """Everything that stands on the ground of a world, before it becomes triangles.

    Attributes:
        buildings: where and what.
        trees: where and what.
        parked: cars that stand in drives and at kerbs, with the chance that each is there.
        moving: cars on the road.
        fences: (start, end, kind or None).
        boxes: (position, angle) of bins, cabinets and letter boxes.
        lights: (position, unit vector towards the road).
        poles: chains of (position, direction along the road) joined by wires.
        signs: (position, direction they face, radians).
        signals: (position, unit vector towards the road).
        mouths: (M, 3) rows: where drives meet the kerb, and half their width.
        lots: (4, 2) corners of plots that woods keep clear of.
    """

    buildings: list[tuple[Frame, FloorPlan]] = field(default_factory=list)
    trees: list[Tree] = field(default_factory=list)
    parked: list[Car] = field(default_factory=list)
    moving: list[Car] = field(default_factory=list)
    fences: list[tuple[Float64, Float64, str | None]] = field(default_factory=list)
    boxes: list[tuple[Float64, float]] = field(default_factory=list)
    lights: list[tuple[Float64, Float64]] = field(default_factory=list)
    poles: list[list[tuple[Float64, Float64]]] = field(default_factory=list)
    signs: list[tuple[Float64, float]] = field(default_factory=list)
    signals: list[tuple[Float64, Float64]] = field(default_factory=list)
    mouths: list[tuple[float, float, float]] = field(default_factory=list)
    lots: list[Float64] = field(default_factory=list)


class Occupancy:
    """Which ground is taken, on a half-metre grid."""

    def __init__(self, streets: Streets) -> None:
        """Start with the streets taken."""
        self.grid = Grid.around(np.zeros(2), REACH_M + 65.0, 0.5)
        self.taken = np.zeros((self.grid.height, self.grid.width), np.uint8)
        fill(self.taken, self.grid, edges_of(rings_of(streets.corridor)), 1)

    def free(self, ring: Float64) -> bool:
        """Return whether a ring lies inside the grid and covers nothing that is taken."""
        if np.abs(ring).max() > REACH_M + 60.0:
            return False
        g = self.grid
        return not touches(self.taken, g.west_m, g.north_m, g.cell_m, edges_of([ring]))

    def take(self, ring: Float64, value: int = 2) -> None:
        """Mark the cells inside a ring."""
        fill(self.taken, self.grid, edges_of([ring]), value)

    def at(self, points: Float64) -> NDArray[np.uint8]:
        """Return the values at (N, 2) points, 255 outside."""
        row, col, inside = self.grid.cells(points)
        values = self.taken[np.where(inside, row, 0), np.where(inside, col, 0)]
        return np.where(inside, values, 255).astype(np.uint8)


class PlotPlanner:
    """Divides the roadsides into plots and furnishes them."""

    def __init__(
        self, rng: np.random.Generator, style: Style, network: Network, streets: Streets,
        hills: Hills, palette: Palette, plan: GroundPlan, inventory: Inventory,
    ) -> None:  # fmt: skip
        """Keep what plots need; surfaces shared by the neighbourhood are drawn here."""
        self.rng, self.style, self.network, self.streets = rng, style, network, streets
        self.hills, self.plan, self.inventory = hills, plan, inventory
        self.occupied = Occupancy(streets)
        self._lawns = [plan.surface(palette.lawn()) for _ in range(7)]
        self._drives = [plan.surface(palette.drive()) for _ in range(5)]
        self._yards = [plan.surface(s) for s in (palette.bare(), palette.meadow(), palette.mulch())]
        self._paved = [plan.surface(s) for s in (palette.asphalt(), palette.concrete())]
        self.gravel = plan.surface(palette.gravel())
        self._mulch = plan.surface(palette.mulch())
        self._pool = plan.surface(palette.pool())
        self._setback = float(rng.uniform(*style.setback_m))
        self._setback_spread = float(rng.uniform(0.0, 2.5))
        self._fences = float(rng.uniform(0.1, 0.95))
        self._front_fences = float(rng.random() ** 2) * (0.9 if style.markings != "us" else 0.3)
        self._hedges = float(rng.random() ** 2)

    def fill(self) -> Occupancy:
        """Lay out plots along every road; return what ground is taken."""
        order = sorted(range(len(self.network.roads)), key=lambda i: self.network.roads[i].level)
        for index in order:
            road = self.network.roads[index]
            if road.level == 9:
                continue
            for side in (1, -1):
                self._roadside(road, side, self.style.lot_m, self.style.buildings)
        joined = tuple((k, w) for k, w in self.style.buildings if k in JOINED)
        if self.style.network == "grid" and joined and self.style.lots > 0.9:
            for index in order:  # narrow fronts close the gaps that are left
                road = self.network.roads[index]
                for side in (1, -1) if road.level != 9 else ():
                    self._roadside(road, side, (8.0, 13.0), joined)
        return self.occupied

    def _roadside(self, road: Road, side: int, lot_m: Range, buildings: Choice) -> None:
        rng, style = self.rng, self.style
        edge = road.width_m / 2 + road.verge_m + road.pavement_m
        station = float(rng.uniform(0, 8))
        while station < road.line.length:
            width = float(rng.uniform(*lot_m))
            at = road.line.at(station + width / 2)
            if np.abs(at).max() > REACH_M:
                station += width
                continue
            kind = choose(rng, buildings)
            if rng.random() < style.lots:
                self._plot(road, side, station, width, kind, edge)
            together = 0.97 if kind in JOINED else 0.85
            station += width + (0.0 if rng.random() < together else float(rng.uniform(2, 20)))

    def _plot(self, road: Road, side: int, station: float, width: float, kind: str,
              edge: float) -> None:  # fmt: skip
        rng = self.rng
        middle = station + width / 2
        tangent = road.line.direction(middle)
        # in a building's frame the street lies at negative y: x runs so that y points outwards
        x_axis = tangent * (1.0 if side > 0 else -1.0)
        angle = float(np.arctan2(x_axis[1], x_axis[0]))
        joined = kind in JOINED
        wander = 0.0 if joined and rng.random() < 0.8 else float(rng.normal())
        setback = max(self._setback + wander * self._setback_spread, 2.0)
        room = width if joined else width - 2.0
        if kind == "carpark":
            self._car_park(road, side, middle, width, edge, angle)
            return
        if kind == "farm":
            add_farm(self, road, side, middle, angle)
            return
        shares = (1.0, 0.75, 0.5, 0.32) if joined else (1.0, 0.75, 0.5)
        for share in shares:  # what does not fit is tried again, smaller
            floor = draw_plan(rng, kind, max(room * share, 7.0))
            if self._build(road, side, middle, width, kind, edge, angle, setback, floor):
                return

    def _build(self, road: Road, side: int, middle: float, width: float, kind: str, edge: float,
               angle: float, setback: float, floor: FloorPlan) -> bool:  # fmt: skip
        """Put a building on a plot if there is room; return whether there was."""
        rng = self.rng
        front = edge - road.verge_m - road.pavement_m + max(setback, edge - road.width_m / 2 + 0.5)
        if kind in ("house", "bungalow"):
            front += max(0.0, -float(floor.ring[:, 1].min()))
        spot = road.line.side_point(middle, side * front)
        frame = Frame(np.array([*spot, 0.0]), angle + float(rng.normal() * 0.01))
        joined = kind in JOINED
        outline = self.outline(frame, floor, -0.6 if joined else 1.0)
        if not self.occupied.free(outline):
            return False
        depth = floor.depth + float(rng.uniform(8, 22))
        lot = self.quad(frame, -width / 2, width / 2, -front + edge, depth)
        self._lot_ground(lot, kind, frame, width, front - edge)
        self.occupied.take(self.outline(frame, floor, 0.0 if joined else 0.6))
        frame = self.stand(frame, floor)
        if kind not in JOINED:
            self.inventory.lots.append(lot)
        if floor.drive_x is not None:
            self._drive(road, frame, floor, front)
        self._garden(frame, floor, width, front - edge, depth, kind)
        return True

    def stand(self, frame: Frame, floor: FloorPlan) -> Frame:
        """Put a building on the ground and return where it stands."""
        heights = self.hills.at(self.outline(frame, floor, 0.0))
        base = float(heights.max()) * 0.6 + float(heights.min()) * 0.4
        frame = Frame(np.array([*frame.origin[:2], base]), frame.angle)
        self.inventory.buildings.append((frame, floor))
        return frame

    def outline(self, frame: Frame, floor: FloorPlan, margin: float) -> Float64:
        """Return the (4, 2) rectangle around a building, larger by a margin."""
        low, high = floor.ring.min(0) - margin, floor.ring.max(0) + margin
        return self.quad(frame, low[0], high[0], low[1], high[1])

    def quad(self, frame: Frame, x0: float, x1: float, y0: float, y1: float) -> Float64:
        """Return the (4, 2) world corners of a rectangle in a building's frame."""
        local = np.array([[x0, y0, 0], [x1, y0, 0], [x1, y1, 0], [x0, y1, 0]], np.float64)
        return frame.points(local)[:, :2]

    def area(self, ring: Float64, surface: int, order: int) -> None:
        """Cover a ring with a surface."""
        self.plan.add(edges_of([ring]), surface, order)

    def lawn(self) -> int:
        """Return one of the neighbourhood's lawns."""
        return self._pick(self._lawns)

    def _pick(self, surfaces: list[int]) -> int:
        return surfaces[int(self.rng.integers(len(surfaces)))]

    def _lot_ground(self, lot: Float64, kind: str, frame: Frame, width: float, yard: float) -> None:
        rng = self.rng
        paved = kind in ("shop", "warehouse", "office", "block")
        if paved and rng.random() < 0.8:
            self.area(lot, self._pick(self._paved), LOT)
            return
        self.area(lot, self._pick(self._lawns), LOT)
        if rng.random() < 0.6:  # the back garden is kept otherwise
            back = np.stack((lot[3] + (lot[0] - lot[3]) * 0.5, lot[2] + (lot[1] - lot[2]) * 0.5,
                             lot[2], lot[3]))  # fmt: skip
            self.area(back, self._pick(self._lawns + self._yards), LOT + 1)
        for _ in range(rng.poisson(1.5)):  # beds along the house and the borders
            x = float(rng.uniform(-0.5, 0.4)) * width
            y = float(rng.uniform(-yard, 2))
            w, d = rng.uniform(1.5, 7), rng.uniform(0.8, 2.2)
            self.area(self.quad(frame, x, x + w, y, y + d), self._mulch, YARD)

    def _drive(self, road: Road, frame: Frame, floor: FloorPlan, front: float) -> None:
        rng = self.rng
        assert floor.drive_x is not None
        half = floor.drive_width / 2
        reach = front - road.width_m / 2
        far = 3.0 if abs(floor.drive_x) > floor.width / 2 - 2 else 0.0
        start, end = self.quad(frame, floor.drive_x, floor.drive_x, -reach, far)[[0, 2]]
        skew = float(rng.normal() * 0.4)
        x, flare = floor.drive_x, half + 0.5
        ring = np.array([[x - flare + skew, -reach - 0.2, 0], [x + flare + skew, -reach - 0.2, 0],
                         [x + half, far, 0], [x - half, far, 0]])  # fmt: skip
        points = frame.points(ring)[:, :2]
        surface = self._pick(self._drives)
        self.area(points, surface, DRIVE)
        self.occupied.take(points, 3)
        mouth = (points[0] + points[1]) / 2
        self.inventory.mouths.append((float(mouth[0]), float(mouth[1]), half + 0.5))
        for wheel in (-0.7, 0.7):
            a, b = self.quad(frame, floor.drive_x + wheel, floor.drive_x + wheel, -reach, far)[
                [0, 2]
            ]
            self.plan.stroke("dark", rows(a, b, 0.2, 0.3, float(rng.uniform(0.05, 0.3)), 0.0))
        if rng.random() < 0.45 and reach > 9.0:
            along = float(rng.uniform(0.3, 0.62))
            spot = start + (end - start) * along
            turn = 0.0 if rng.random() < 0.5 else np.pi
            lane = float(rng.uniform(-1, 1)) * max(half - 1.3, 0.0)
            side = np.array([np.cos(frame.angle), np.sin(frame.angle)]) * lane
            self.inventory.parked.append(
                Car(draw_kind(rng), spot + side, frame.angle + np.pi / 2 + turn, draw_paint(rng))
            )
        if rng.random() < 0.5:  # path from the drive to the door
            x = float(rng.uniform(-1.5, 1.5))
            low, high = sorted((x, floor.drive_x))
            self.area(self.quad(frame, low, high, -2.2, -1.1), surface, YARD + 1)
            self.area(self.quad(frame, x - 0.6, x + 0.6, -2.2, 0.0), surface, YARD + 1)

    def _garden(self, frame: Frame, floor: FloorPlan, width: float, yard: float, depth: float,
                kind: str) -> None:  # fmt: skip
        rng, style = self.rng, self.style
        corners = self.quad(frame, -width / 2, width / 2, -yard + 0.3, depth)
        dwelling = kind in ("house", "bungalow", "cottage", "terrace")
        hedge = rng.random() < self._hedges
        if dwelling and rng.random() < self._fences:
            own = "hedge" if hedge else None
            flank = self.quad(frame, -width / 2, width / 2, floor.depth * 0.3, depth)
            for a, b in ((flank[0], flank[3]), (flank[3], flank[2])):
                self.inventory.fences.append((a, b, own))
        if dwelling and rng.random() < self._front_fences and yard > 1.5:
            own = (
                "hedge"
                if rng.random() < 0.4 + 0.5 * hedge
                else str(rng.choice(["wall", "rails", "boards"]))
            )
            low = -width / 2
            if floor.drive_x is not None:
                gap0, gap1 = floor.drive_x - floor.drive_width, floor.drive_x + floor.drive_width
            else:
                gap0, gap1 = -0.7, 0.7
            for x0, x1 in ((low, gap0), (gap1, width / 2)):
                if x1 - x0 > 1.5:
                    line = self.quad(frame, x0, x1, -yard + 0.35, 0)
                    self.inventory.fences.append((line[0], line[1], own))
        if dwelling and rng.random() < 0.12 and depth - floor.depth > 9:
            x, y = float(rng.uniform(-0.25, 0.25)) * width, floor.depth + 4.5
            self.area(self.quad(frame, x - 3.4, x + 3.4, y - 2.2, y + 2.2), self._paved[1], YARD)
            self.area(self.quad(frame, x - 2.6, x + 2.6, y - 1.4, y + 1.4), self._pool, YARD + 1)
        if dwelling and rng.random() < 0.3:
            shed = FloorPlan("barn", (), np.zeros((0, 2)), 0, 0, 0)
            self._shed(frame, width, depth, shed)
        for _ in range(rng.poisson(style.yard_trees)):
            spot = corners[0] + (corners[1] - corners[0]) * rng.random()
            spot = spot + (corners[3] - corners[0]) * rng.random()
            self.tree(spot, 0.45)
        if rng.random() < 0.5:  # shrubs against the front
            for x in np.arange(-floor.width / 2, floor.width / 2, float(rng.uniform(1.2, 3.0))):
                if rng.random() < 0.55:
                    self.bush(self.quad(frame, x, x, -0.9, 0)[0])
        if dwelling and rng.random() < 0.35:
            spot = self.quad(frame, width * 0.3, 0, -yard + 0.8, 0)[0]
            self.inventory.boxes.append((spot, frame.angle))

    def _shed(self, frame: Frame, width: float, depth: float, _: FloorPlan) -> None:
        from loc2.scenes.buildings import Box

        rng = self.rng
        w, d = float(rng.uniform(2.2, 5.0)), float(rng.uniform(2.0, 4.0))
        x = float(rng.choice([-1, 1])) * (width / 2 - w / 2 - 0.6)
        ring = self.quad(frame, x - w / 2, x + w / 2, depth - d - 0.8, depth - 0.8)
        if not self.occupied.free(ring):
            return
        self.occupied.take(ring)
        z = float(self.hills.at(ring.mean(0)))
        box = Box(-w / 2, w / 2, 0, d, 2.1, str(rng.choice(["gable_x", "shed", "flat"])), 0.3, 0.15)
        centre = self.quad(frame, x, x, depth - d - 0.8, 0)[0]
        plan = FloorPlan("barn", (box,), ring, w, d, 2.1)
        self.inventory.buildings.append((Frame(np.array([*centre, z]), frame.angle), plan))

    def _car_park(self, road: Road, side: int, middle: float, width: float, edge: float,
                  angle: float) -> None:  # fmt: skip
        """Lay out a car park with rows of bays."""
        rng = self.rng
        depth = float(rng.choice([17.0, 33.0]))
        spot = road.line.side_point(middle, side * (edge + 0.6))
        frame = Frame(np.array([*spot, 0.0]), angle)
        ring = self.quad(frame, -width / 2, width / 2, 0.5, depth)
        if not self.occupied.free(ring):
            return
        self.occupied.take(ring, 3)
        self.area(ring, self._paved[0], LOT + 2)
        mouth = self.quad(frame, -3, 3, -edge, 0.6)
        self.area(mouth, self._paved[0], DRIVE)
        at = road.line.side_point(middle, side * road.width_m / 2)
        self.inventory.mouths.append((float(at[0]), float(at[1]), 3.2))
        for y in (0.5, 11.5, 17.0, 28.0):
            if y + 5 > depth + 0.6:
                continue
            for x in np.arange(-width / 2 + 0.3, width / 2 - 2.6, 2.6):
                if y < 1 and abs(x + 1.3) < 4.0:
                    continue
                a, b = self.quad(frame, x, x, y, y + 5.0)[[0, 2]]
                self.plan.stroke("white", rows(a, b, 0.05))
                if rng.random() < 0.42:
                    place = self.quad(frame, x + 1.3, 0, y + 2.5, 0)[0]
                    turn = frame.angle + np.pi / 2 * float(rng.choice([-1, 1]))
                    self.inventory.parked.append(Car(draw_kind(rng), place, turn, draw_paint(rng)))

    def tree(self, spot: Float64, bush_share: float = 0.0, species: str | None = None) -> None:
        """Plant a tree where the ground is free."""
        rng = self.rng
        if self.occupied.at(spot[None])[0] != 0:
            return
        from loc2.scenes.vegetation import HEIGHTS_M

        kind = species or ("bush" if rng.random() < bush_share else choose(rng, self.style.species))
        low, high = HEIGHTS_M[kind]
        size = float(low + (high - low) * rng.beta(1.6, 2.0))
        self.inventory.trees.append(Tree(kind, spot, size))

    def bush(self, spot: Float64) -> None:
        """Plant a shrub."""
        self.inventory.trees.append(Tree("bush", spot, float(self.rng.uniform(0.6, 1.6))))
