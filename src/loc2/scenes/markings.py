"""Lines on roads: centre and edge lines, lanes, stop and give-way lines, crossings, arrows.

A marking is a set of strokes (see ``raster2d.draw_strokes``) in a paint channel of the plan.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from loc2.scenes.ground import GroundPlan
from loc2.scenes.polyline import Float64, Polyline, dashes, gaps_removed
from loc2.scenes.roads import Junction, Network, Road
from loc2.scenes.streets import Streets
from loc2.scenes.styles import Style

NEAR_M = 200.0
"""Lines farther from the origin than this are not drawn, except along the main road."""


@dataclass(frozen=True)
class LineRules:
    """How one place paints its roads; drawn once for a world.

    Attributes:
        centre: ``white`` or ``yellow``.
        dash: (on, off) of broken centre lines, metres.
        lane_dash: (on, off) of lane lines.
        line_m: width of a line.
        edges: whether main roads carry edge lines.
        edge_channel: colour of edge lines at the kerb (yellow in Britain).
        double: chance that a centre line is double.
        giveway: ``dashes``, ``line`` or ``triangles`` at minor arms.
        zebra: ``bars`` (across), ``ladder`` or ``pair`` of lines.
    """

    centre: str
    dash: tuple[float, float]
    lane_dash: tuple[float, float]
    line_m: float
    edges: bool
    edge_channel: str
    double: float
    giveway: str
    zebra: str


def draw_rules(rng: np.random.Generator, style: Style) -> LineRules:
    """Draw the rules of a place from its style's country."""
    width = float(rng.uniform(0.09, 0.15))
    if style.markings == "us":
        dash = (3.0, 9.0)
        rural = style.network == "rural"
        return LineRules("yellow" if rng.random() < 0.9 else "white", dash, dash, width,
                         bool(rng.random() < (0.92 if rural else 0.5)), "white",
                         0.6 if rural else 0.65, "line",
                         str(rng.choice(["pair", "ladder", "bars"])))  # fmt: skip
    if style.markings == "au":
        dash = (3.0, 9.0) if rng.random() < 0.6 else (9.0, 3.0)
        return LineRules("white", dash, (3.0, 9.0), width, bool(rng.random() < 0.35), "white", 0.3,
                         "dashes", str(rng.choice(["bars", "pair"])))  # fmt: skip
    if style.markings == "uk":
        dash = (2.0, 4.0) if rng.random() < 0.5 else (4.0, 2.0)
        return LineRules("white", dash, (2.0, 7.0), width, bool(rng.random() < 0.6),
                         "yellow" if rng.random() < 0.6 and style.network != "rural" else "white",
                         0.1, "dashes", "bars")  # fmt: skip
    return LineRules("white", (3.0, 6.0), (3.0, 9.0), width, bool(rng.random() < 0.5), "white", 0.1,
                     str(rng.choice(["triangles", "line"])), "bars")  # fmt: skip


class _Painter:
    def __init__(self, plan: GroundPlan) -> None:
        self.plan = plan

    def line(self, channel: str, line: Polyline, left: float, start: float, end: float,
             width: float, step: float = 4.0) -> None:  # fmt: skip
        """Paint an unbroken line."""
        count = max(2, int((end - start) / step) + 2)
        points = line.side_point(np.linspace(start, end, count), left)
        self.plan.stroke(channel, rows(points[:-1], points[1:], width / 2))

    def broken(self, channel: str, line: Polyline, left: float, start: float, end: float,
               width: float, dash: tuple[float, float], phase: float) -> None:  # fmt: skip
        """Paint a broken line."""
        parts = dashes(start, end, *dash, phase)
        if len(parts) == 0:
            return
        if dash[0] > 5.0:  # long dashes follow bends
            middle = parts.mean(1)
            parts = np.concatenate((np.stack((parts[:, 0], middle), 1),
                                    np.stack((middle, parts[:, 1]), 1)))  # fmt: skip
        a, b = line.side_point(parts[:, 0], left), line.side_point(parts[:, 1], left)
        self.plan.stroke(channel, rows(a, b, width / 2))


def rows(a: Float64, b: Float64, half: float, soft: float = 0.0, alpha: float = 1.0,
         square: float = 1.0) -> Float64:  # fmt: skip
    """Return (K, 8) strokes between the (K, 2) points ``a`` and ``b``."""
    a, b = np.atleast_2d(a), np.atleast_2d(b)
    rest = np.broadcast_to(np.array([half, soft, alpha, square]), (len(a), 4))
    return np.concatenate((a, b, rest), 1)


def paint_markings(
    rng: np.random.Generator, style: Style, network: Network, streets: Streets, plan: GroundPlan
) -> LineRules:
    """Add every line on the roads to the plan."""
    rules = draw_rules(rng, style)
    painter = _Painter(plan)
    for index, road in enumerate(network.roads):
        if road.marked and road.level < 9:
            _along(rng, rules, style, road, index, streets, painter)
    for junction in network.junctions:
        if np.abs(junction.point).max() < NEAR_M:
            _at_junction(rng, rules, style, network, junction, painter)
    for index, road in enumerate(network.roads):
        if road.level < 9 and road.paved and style.network != "rural":
            _midblock(rng, rules, style, road, streets.gaps[index], painter)
    return rules


def _along(
    rng: np.random.Generator,
    rules: LineRules,
    style: Style,
    road: Road,
    index: int,
    streets: Streets,
    painter: _Painter,
) -> None:
    line, half = road.line, road.width_m / 2
    gaps = list(streets.gaps[index])
    if road.bulb_m > 0:
        gaps.append((line.length - road.bulb_m - 2, line.length + 1))
    parts = gaps_removed(0.0, line.length, gaps)
    width, phase = rules.line_m, float(rng.uniform(0, 12))
    double = rng.random() < rules.double
    solid = double or rng.random() < 0.15
    edges = rules.edges and (road.level == 0 or rng.random() < 0.3)
    centre = rules.centre if road.median_m == 0 else "white"
    inner = road.median_m / 2
    lane_m = road.lane_m
    for start, end in parts:
        if road.median_m >= 1.0:
            for side in (1, -1):
                channel = "yellow" if rules.centre == "yellow" else "white"
                painter.line(channel, line, side * (inner + 0.35), start, end, width)
        elif road.median_m > 0 or double:
            gap = max(road.median_m / 2, 0.13)
            painter.line(centre, line, gap, start, end, width)
            if solid and rng.random() < 0.7:
                painter.line(centre, line, -gap, start, end, width)
            else:
                painter.broken(centre, line, -gap, start, end, width, rules.dash, phase)
        elif solid:
            painter.line(centre, line, 0.0, start, end, width)
        else:
            painter.broken(centre, line, 0.0, start, end, width, rules.dash, phase)
        for lane in range(1, road.lanes):
            for side in (1, -1):
                left = side * (inner + lane * lane_m)
                painter.broken("white", line, left, start, end, width, rules.lane_dash, phase)
        if edges:
            for side in (1, -1):
                inset = 0.3 if rules.edge_channel == "yellow" else 0.45
                left = side * (half - (road.shoulder_m or inset))
                painter.line(rules.edge_channel, line, left, start, end, width * 0.9)
                if rules.edge_channel == "yellow" and rng.random() < 0.5:
                    painter.line("yellow", line, left - side * 0.22, start, end, width * 0.9)
        elif road.parking_m > 1.7 and (road.level == 0 or rng.random() < 0.3):
            for side in (1, -1):
                left = side * (half - road.parking_m)
                if rng.random() < 0.5:
                    painter.broken("white", line, left, start, end, width * 0.8, (1.0, 1.0), 0.0)
                else:
                    _bays(painter, line, half, side, road.parking_m, start, end, width * 0.8)
        if road.lanes > 1 and rng.random() < 0.2 and style.network == "grid":
            _lane_of_colour(rng, painter, line, half - road.parking_m, lane_m, start, end)


def _bays(painter: _Painter, line: Polyline, half: float, side: int, depth: float, start: float,
          end: float, width: float) -> None:  # fmt: skip
    """Paint the T-marks of parking bays along the kerb."""
    stations = np.arange(start + 3, end - 3, 6.0)
    if len(stations) == 0:
        return
    a = line.side_point(stations, side * half)
    b = line.side_point(stations, side * (half - depth))
    painter.plan.stroke("white", rows(a, b, width / 2))
    t = line.side_point(stations - 0.4, side * (half - depth))
    u = line.side_point(stations + 0.4, side * (half - depth))
    painter.plan.stroke("white", rows(t, u, width / 2))


def _lane_of_colour(rng: np.random.Generator, painter: _Painter, line: Polyline, drive: float,
                    lane_m: float, start: float, end: float) -> None:  # fmt: skip
    """Paint a bus or cycle lane."""
    side = int(rng.choice([-1, 1]))
    cycle = rng.random() < 0.6
    width = float(rng.uniform(1.3, 1.9)) if cycle else lane_m * 0.92
    channel = str(rng.choice(["red", "green"]))
    left = side * (drive - width / 2)
    painter.line(channel, line, left, start, end, width, step=2.0)
    painter.line("white", line, side * (drive - width - 0.1), start, end, 0.12)


def _at_junction(
    rng: np.random.Generator,
    rules: LineRules,
    style: Style,
    network: Network,
    junction: Junction,
    painter: _Painter,
) -> None:
    through = network.roads[junction.through]
    signals = style.network == "grid" and len(junction.arms) > 1 and rng.random() < 0.5
    zebra = style.network == "grid" and (signals or rng.random() < 0.3)
    mouths: list[tuple[Road, float, int]] = []  # road, station of the mouth, sign leading away
    for arm, starts in junction.arms:
        road = network.roads[arm]
        reach = max(through.width_m / 2, junction.roundabout_m) + 0.5
        mouths.append((road, reach if starts else road.line.length - reach, 1 if starts else -1))
    if signals or junction.roundabout_m > 0:
        widest = max(network.roads[a].width_m for a, _ in junction.arms)
        reach = max(widest / 2, junction.roundabout_m) + 0.5
        for sign in (1, -1):
            mouths.append((through, junction.station + sign * reach, sign))
    for road, station, sign in mouths:
        if not road.paved or (not road.marked and rng.random() < 0.45):
            continue
        back = 0.0
        if zebra and rng.random() < 0.8:
            _crossing(rng, rules, painter, road, station + sign * 2.5)
            back = 5.0
        else:
            back = float(rng.uniform(0.2, 2.5))
        _stop_line(rng, rules, style, painter, road, station + sign * back, sign, signals)
        if road.lanes > 1 or rng.random() < 0.12:
            _arrows(rng, painter, style, road, station + sign * (back + rng.uniform(4, 9)), sign)
    if junction.roundabout_m > 0 and through.marked:
        _ring(painter, junction.point, junction.roundabout_m, rules)


def _ring(painter: _Painter, centre: Float64, radius: float, rules: LineRules) -> None:
    angle = np.linspace(0, 2 * np.pi, 49)
    circle = Polyline(centre + radius * 0.98 * np.stack((np.cos(angle), np.sin(angle)), -1))
    painter.broken("white", circle, 0.0, 0.0, circle.length, 0.25, (1.0, 1.0), 0.0)


def _stop_line(
    rng: np.random.Generator,
    rules: LineRules,
    style: Style,
    painter: _Painter,
    road: Road,
    station: float,
    sign: int,
    signals: bool,
) -> None:
    """Paint where traffic towards the junction must wait, on its own half of the road."""
    # seen along increasing stations, traffic moving towards decreasing ones (sign +1) keeps to the
    # left of the line where it drives on the right, and the other way round
    side = sign * (-1 if style.drives_on_left else 1)
    near, far = road.median_m / 2 + 0.1, road.width_m / 2 - 0.25
    kind = "line" if signals else rules.giveway
    ends = np.array([near, far]) * side
    a, b = road.line.side_point(np.array([station, station]), ends)
    if kind == "line":
        painter.plan.stroke("white", rows(a, b, float(rng.uniform(0.15, 0.3))))
        return
    count = max(3, int(np.hypot(*(b - a)) / (1.0 if kind == "dashes" else 0.9)))
    t = (np.arange(count)[:, None] + np.array([0.2, 0.75])) / count
    p, q = a + (b - a) * t[:, :1], a + (b - a) * t[:, 1:]
    if kind == "dashes":
        painter.plan.stroke("white", rows(p, q, 0.14))
        if rng.random() < 0.5:
            shift = road.line.direction(station) * sign * 0.45
            painter.plan.stroke("white", rows(p + shift, q + shift, 0.1))
    else:
        tip = road.line.direction(station) * sign * 0.6
        middle = (p + q) / 2
        for share in (0.0, 0.33, 0.66):
            painter.plan.stroke(
                "white",
                rows(middle + (p - middle) * (1 - share) + tip * share,
                     middle + (q - middle) * (1 - share) + tip * share, 0.1),
            )  # fmt: skip


def _crossing(
    rng: np.random.Generator, rules: LineRules, painter: _Painter, road: Road, station: float
) -> None:
    """Paint a pedestrian crossing."""
    half, depth = road.width_m / 2 - 0.2, float(rng.uniform(2.2, 3.6))
    low, high = station - depth / 2, station + depth / 2
    if rules.zebra in ("bars", "ladder"):
        pitch = float(rng.uniform(0.9, 1.3))
        across = np.arange(-half + 0.3, half - 0.2, pitch)
        a = road.line.side_point(np.full(len(across), low), across)
        b = road.line.side_point(np.full(len(across), high), across)
        painter.plan.stroke("white", rows(a, b, float(rng.uniform(0.2, 0.28))))
    if rules.zebra in ("pair", "ladder"):
        for s in (low, high):
            a, b = road.line.side_point(np.array([s, s]), np.array([-half, half]))
            painter.plan.stroke("white", rows(a, b, float(rng.uniform(0.08, 0.15))))


def _arrows(
    rng: np.random.Generator, painter: _Painter, style: Style, road: Road, station: float, sign: int
) -> None:
    """Paint a turn arrow in each lane of the traffic towards the junction."""
    side = sign * (-1 if style.drives_on_left else 1)
    inner = road.median_m / 2
    lane_m = (road.width_m / 2 - road.parking_m - inner) / road.lanes
    ahead = -sign * road.line.direction(station)
    right = np.array([ahead[1], -ahead[0]])
    for lane in range(road.lanes):
        tail = road.line.side_point(station + sign * 2.0, side * (inner + (lane + 0.5) * lane_m))
        kind = int(rng.integers(3))
        tip = tail + ahead * 2.6
        painter.plan.stroke("white", rows(tail, tip, 0.09))
        heads = [(tip, ahead)] if kind == 0 or rng.random() < 0.4 else []
        if kind:
            way = right if kind == 1 else -right
            bend = tail + ahead * 1.3
            painter.plan.stroke("white", rows(bend, bend + ahead * 0.4 + way * 0.7, 0.1))
            heads.append((bend + ahead * 0.4 + way * 0.6, way))
        for point, way in heads:
            normal = np.array([-way[1], way[0]])
            for share in np.linspace(0, 1, 7):
                reach = normal * 0.34 * (1 - share)
                at = point + way * share * 0.9
                painter.plan.stroke("white", rows(at - reach, at + reach, 0.08))


def _midblock(
    rng: np.random.Generator,
    rules: LineRules,
    style: Style,
    road: Road,
    gaps: list[tuple[float, float]],
    painter: _Painter,
) -> None:
    """Paint crossings, humps, hatching and large letters between junctions."""
    for start, end in gaps_removed(0.0, road.line.length, gaps):
        if end - start < 40 or np.abs(road.line.at((start + end) / 2)).max() > 150:
            continue
        station = float(rng.uniform(start + 12, end - 12))
        kind = rng.random()
        if kind < (0.22 if style.network == "grid" else 0.06):
            _crossing(rng, rules, painter, road, station)
        elif kind < (0.26 if style.markings in ("uk", "eu") else 0.07):
            _hump(painter, road, station)
        elif kind < 0.36 and road.marked and style.network == "grid":
            _letters(rng, painter, style, road, station)


def _hump(painter: _Painter, road: Road, station: float) -> None:
    half = road.width_m / 2 - 0.3
    across = np.arange(-half + 0.5, half, 1.1)
    for sign in (1, -1):
        a = road.line.side_point(np.full(len(across), station + sign * 1.2), across - 0.3)
        b = road.line.side_point(np.full(len(across), station + sign * 0.4), across)
        c = road.line.side_point(np.full(len(across), station + sign * 1.2), across + 0.3)
        painter.plan.stroke("white", np.concatenate((rows(a, b, 0.1), rows(c, b, 0.1))))


def _letters(
    rng: np.random.Generator, painter: _Painter, style: Style, road: Road, station: float
) -> None:
    """Paint a few tall glyphs across a lane, as SLOW, BUS or a speed limit are."""
    side = 1 if style.drives_on_left else -1
    inner = road.median_m / 2
    lane_m = (road.width_m / 2 - road.parking_m - inner) / road.lanes
    middle = inner + lane_m / 2
    count = int(rng.integers(2, 5))
    width = min(0.7, lane_m * 0.75 / count)
    for k in range(count):
        left = side * middle + (k - (count - 1) / 2) * width
        box = [(0.0, -0.35), (0.0, 0.35), (1.0, -0.35), (1.0, 0.35), (2.0, -0.35), (2.0, 0.35)]
        points = np.array([road.line.side_point(station + s, left + w * width) for s, w in box])
        for i, j in ((0, 1), (2, 3), (4, 5), (0, 2), (2, 4), (1, 3), (3, 5)):
            if rng.random() < 0.6:
                painter.plan.stroke("white", rows(points[i], points[j], 0.06))
