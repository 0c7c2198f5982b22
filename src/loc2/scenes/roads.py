"""Road networks: a main road through the middle, others that grow from it until they meet.

Roads are centre lines with a cross-section. Side roads start at junctions of roads that exist
already and are traced outwards until they reach another road (a new junction), a dead end, or the
edge of the world; so blocks, T-, X- and Y-junctions, crescents and dead ends appear by themselves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numba import njit

from loc2.scenes.polyline import Float64, Polyline
from loc2.scenes.styles import Style

STEP_M = 2.0
MAX_ROADS = 26


@dataclass(eq=False)
class Road:
    """A road: centre line and cross-section.

    Attributes:
        line: centre line.
        width_m: carriageway from edge to edge, with the median.
        level: 0 the main road, 1 its side roads, ...; 9 alleys.
        median_m: width of the central reservation, 0 for none.
        paved: false for gravel and dirt.
        marked: whether it carries lines.
        lanes: lanes in each direction.
        parking_m: width of the parking lane on each side, 0 for none.
        kerb: whether it has kerbs.
        pavements: (left, right) whether there are pavements.
        verge_m: strip between carriageway and pavement.
        pavement_m: width of the pavements.
        bulb_m: radius of the turning head at the end, 0 for none.
        shoulder_m: paved strip outside the edge lines of rural roads.
    """

    line: Polyline
    width_m: float
    level: int
    median_m: float = 0.0
    paved: bool = True
    marked: bool = True
    lanes: int = 1
    parking_m: float = 0.0
    kerb: bool = True
    pavements: tuple[bool, bool] = (True, True)
    verge_m: float = 0.0
    pavement_m: float = 1.5
    bulb_m: float = 0.0
    shoulder_m: float = 0.0

    @property
    def lane_m(self) -> float:
        """Width of a lane."""
        outside = self.parking_m + self.shoulder_m + self.median_m / 2
        return (self.width_m / 2 - outside) / self.lanes


@dataclass(eq=False)
class Junction:
    """Where one road meets another.

    Attributes:
        point: (2,) position.
        through: index of the road that goes through.
        station: its arc length there.
        arms: (road index, True when the road starts here, False when it ends here).
        roundabout_m: radius of the outer edge of a roundabout, 0 for none.
    """

    point: Float64
    through: int
    station: float
    arms: list[tuple[int, bool]] = field(default_factory=list)
    roundabout_m: float = 0.0


@dataclass(eq=False)
class Network:
    """Roads and junctions.

    Attributes:
        roads: the roads, the main road first.
        junctions: the junctions.
        reach_m: half the width of the square within which side roads grow.
    """

    roads: list[Road]
    junctions: list[Junction]
    reach_m: float


def grow_network(rng: np.random.Generator, style: Style) -> Network:
    """Draw the road network of a world around the origin."""
    return _Grower(rng, style).grow()


class _Grower:
    def __init__(self, rng: np.random.Generator, style: Style) -> None:
        self.rng = rng
        self.style = style
        self.roads: list[Road] = []
        self.junctions: list[Junction] = []
        self.reach_m = float(rng.uniform(170, 230))
        rural = style.network == "rural"
        self.bend = {"grid": 0.0008, "organic": 0.004, "rural": 0.003}[style.network]
        self.bend *= float(rng.gamma(1.5, 0.7))
        self.kerb = bool(rng.random() < style.kerb)
        self.pavement = bool(rng.random() < style.pavement)
        self.pavement_m = float(rng.uniform(*style.pavement_width_m))
        self.verge_m = float(rng.uniform(*style.verge_m))
        if not self.kerb and not rural:
            self.verge_m = max(self.verge_m, 1.0)

    def grow(self) -> Network:
        """Trace the main road, then its side roads, then theirs."""
        rng, style = self.rng, self.style
        heading = float(rng.uniform(0, 2 * math.pi))
        start = rng.uniform(-6, 6, 2)
        out = self._walk(start, heading, 700.0, self.bend)
        back = self._walk(start, heading + math.pi, 700.0, self.bend)
        line = Polyline(np.concatenate((back[::-1], out[1:])))
        main = self._cross_section(line, 0)
        self.roads.append(main)
        middle = float(line.nearest(np.zeros(2))[0])
        self._sprout(0, middle, rng.random() < (0.35 if style.network == "rural" else 0.6))
        for level in (1, 2):
            for index in [i for i, r in enumerate(self.roads) if r.level == level]:
                if style.network != "rural" or rng.random() < 0.3:
                    self._sprout(index, None, False)
        self._alleys()
        self._roundabout()
        return Network(self.roads, self.junctions, self.reach_m)

    def _cross_section(self, line: Polyline, level: int) -> Road:
        rng, style = self.rng, self.style
        main = level == 0
        width = float(rng.uniform(*(style.main_width_m if main else style.side_width_m)))
        median = 0.0
        rural = style.network == "rural"
        divided = main and rng.random() < style.median
        if divided and rural:
            median = float(rng.choice([4.0, 8.0, 12.0, 18.0]))
            width = 2 * float(rng.uniform(8.0, 11.5)) + median
        elif divided:
            median = float(rng.choice([0.6, 1.5, 3.0, 6.0, 9.0]))
            width = max(width, 9.0) * float(rng.uniform(1.2, 1.8)) + median
        rough = 0.0 if divided else style.unpaved * (0.2 if main else 1.0)
        paved = not rng.random() < rough
        if not main and not rural and rng.random() < 0.02:
            paved = False
        marked = paved and (main or rng.random() > style.unmarked)
        if main and not divided and rng.random() < style.unmarked * (0.3 if rural else 0.5):
            marked = False
        half = (width - median) / 2
        lanes, parking = 1, 0.0
        if rural:
            lanes = 2 if divided else 1
        elif half > 9.0 or (half > 6.2 and rng.random() < 0.7):
            lanes = min(int((half - 0.5) // 3.1), 3)
        shoulder = 0.0
        if rural and main and paved:
            shoulder = float(np.clip(half - lanes * rng.uniform(3.1, 3.8), 0.12, 3.2))
        spare = half - lanes * 3.2
        if spare > 1.9 and not rural:
            parking = min(spare, 2.4)
        if not main and self.style.parked > 0 and half > 3.4:
            parking = min(max(half - 2.6, 0.0), 2.2)
        if self.pavement:
            both = rng.random() < 0.75 or main
            pavements = (True, True) if both else ((True, False) if rng.random() < 0.5 else
                                                   (False, True))  # fmt: skip
        else:
            pavements = (False, False)
        return Road(
            line, width, level, median, paved, marked, lanes, parking,
            kerb=self.kerb and paved, pavements=pavements if paved else (False, False),
            verge_m=self.verge_m, pavement_m=self.pavement_m,
            shoulder_m=shoulder,
        )  # fmt: skip

    def _walk(self, start: Float64, heading: float, length: float, bend: float) -> Float64:
        """Return (N, 2) points of a line whose curvature wanders."""
        count = max(2, int(length / STEP_M))
        s = np.arange(count) * STEP_M
        rng = self.rng
        curvature = np.zeros(count)
        for wavelength in (90.0, 210.0, 500.0):
            k = 2 * math.pi / (wavelength * float(rng.uniform(0.7, 1.4)))
            curvature += float(rng.normal()) * np.sin(k * s + float(rng.uniform(0, 6.28)))
        curvature = np.clip(curvature * bend, -0.028, 0.028)
        curvature *= np.clip(s / 24.0, 0, 1) * np.clip((420.0 - s) / 150.0, 0, 1)
        angle = heading + np.cumsum(curvature) * STEP_M
        steps = np.stack((np.cos(angle), np.sin(angle)), -1) * STEP_M
        return np.asarray(start + np.concatenate((np.zeros((1, 2)), np.cumsum(steps, 0)[:-1])))

    def _sprout(self, index: int, near: float | None, force: bool) -> None:
        """Start side roads along a road; ``force`` puts a junction close to station ``near``."""
        rng, style, road = self.rng, self.style, self.roads[index]
        low, high = 45.0, road.line.length - 45.0
        stations = []
        if near is not None:
            at = (
                near + float(rng.uniform(-22, 22))
                if force
                else near + float(rng.uniform(0.45, 0.9) * rng.uniform(*style.block_m))
            )
            reach = self.reach_m if style.network == "rural" else self.reach_m - 20
            stations.append(at)
            for sign in (1, -1):
                station = at
                while abs(station - near) < reach:
                    station += sign * float(rng.uniform(*style.block_m))
                    stations.append(station)
        else:
            station = float(rng.uniform(*style.block_m))
            while station < high:
                stations.append(station)
                station += float(rng.uniform(*style.block_m))
        cross = {"grid": 0.6, "organic": 0.3, "rural": 0.2}[style.network]
        for station in stations:
            if not low < station < high or len(self.roads) >= MAX_ROADS:
                continue
            point = road.line.at(station)
            if np.abs(point).max() > self.reach_m or self._near_junction(point, 30.0):
                continue
            sides = (1, -1) if rng.random() < cross else (int(rng.choice([-1, 1])),)
            if road.level > 0 and rng.random() < 0.25:
                continue
            junction = Junction(point, index, float(station))
            slant = float(rng.normal() * (4 if style.network == "grid" else 11))
            if style.network != "grid" and rng.random() < 0.12:
                slant = float(rng.choice([-1, 1]) * rng.uniform(25, 42))
            tangent = road.line.direction(station)
            for side in sides:
                heading = math.atan2(tangent[1], tangent[0]) + side * math.radians(
                    90 + side * slant
                )
                self._branch(junction, heading, road)
            if junction.arms:
                self.junctions.append(junction)

    def _branch(self, junction: Junction, heading: float, parent: Road) -> None:
        rng, style = self.rng, self.style
        dead_end = rng.random() < style.dead_end
        length = float(rng.uniform(45, 110)) if dead_end else 520.0
        points = self._walk(junction.point, heading, length, self.bend * 1.3)
        keep, hit = self._trace(points, junction, parent)
        if keep * STEP_M < 34.0:
            return
        index = len(self.roads)
        road = self._cross_section(Polyline(points[:keep]), parent.level + 1)
        if hit is not None:
            other, station, point = hit
            line = np.concatenate((points[: keep - 1], point[None]))
            road.line = Polyline(line)
            self.junctions.append(Junction(point, other, station, [(index, False)]))
        elif dead_end and rng.random() < 0.8:
            road.bulb_m = max(road.width_m / 2 + 1.5, float(rng.uniform(7, 12)))
        self.roads.append(road)
        junction.arms.append((index, True))

    def _trace(
        self, points: Float64, junction: Junction, parent: Road
    ) -> tuple[int, tuple[int, float, Float64] | None]:
        """Return how many points of a new road may stay, and the road that it runs into."""
        keep = len(points)
        hit = None
        for i, road in enumerate(self.roads):
            base = road.line.points
            near = _come_near(points[:keep], base, 5.1)
            near = near[near * STEP_M >= 30.0]
            gap = np.hypot(
                points[near, None, 0] - base[None, ::2, 0],
                points[near, None, 1] - base[None, ::2, 1],
            ).min(1)
            close = near[gap < 5.0]
            if len(close) == 0:
                continue
            first = int(close[0])
            station, _ = road.line.nearest(points[first])
            tangent = road.line.direction(station)
            way = points[first] - points[max(first - 6, 0)]
            sine = abs(tangent[0] * way[1] - tangent[1] * way[0]) / max(np.hypot(*way), 1e-6)
            at = road.line.at(station)
            ends = station < 25.0 or station > road.line.length - 25.0
            if sine < 0.6 or road is parent or ends or self._near_junction(at, 28.0):
                keep, hit = max(first - 14, 0), None  # stop short of it
            else:
                keep, hit = first, (i, station, at)
        return keep, hit

    def _near_junction(self, point: Float64, distance_m: float) -> bool:
        return any(np.hypot(*(j.point - point)) < distance_m for j in self.junctions)

    def _alleys(self) -> None:
        """Add lanes behind the plots, parallel to the main road."""
        rng = self.rng
        if rng.random() >= self.style.alley:
            return
        main = self.roads[0]
        side = int(rng.choice([-1, 1])) * float(rng.uniform(36, 48))
        middle, _ = main.line.nearest(np.zeros(2))
        line = main.line.piece(middle - 110, middle + 110).offset(side)
        road = Road(line, float(rng.uniform(3.2, 4.5)), 9, paved=bool(rng.random() < 0.6),
                    marked=False, kerb=False, pavements=(False, False))  # fmt: skip
        self.roads.append(road)

    def _roundabout(self) -> None:
        near = [j for j in self.junctions if np.hypot(*j.point) < 60]
        if not near or self.rng.random() >= self.style.roundabout * 1.6:
            return
        junction = near[int(self.rng.integers(len(near)))]
        if self.roads[junction.through].level == 9:
            return
        widest = max(
            self.roads[i].width_m for i in [junction.through, *(a for a, _ in junction.arms)]
        )
        junction.roundabout_m = widest * 0.62 + float(self.rng.uniform(4.5, 12))


@njit(cache=True, nogil=True)
def _come_near(points, line, distance_m):  # type: ignore[no-untyped-def]
    """Return the indices of points within a distance of any vertex of a line."""
    found = np.empty(len(points), np.int64)
    count = 0
    for i in range(len(points)):
        for k in range(len(line)):
            dx, dy = points[i, 0] - line[k, 0], points[i, 1] - line[k, 1]
            if dx * dx + dy * dy < distance_m * distance_m:
                found[count] = i
                count += 1
                break
    return found[:count]
