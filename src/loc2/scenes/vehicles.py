"""Cars, vans, trucks and buses of a few hundred triangles or less."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loc2.scenes.builder import MeshBuilder, instances
from loc2.scenes.mesh import Material, Mesh, SemanticClass

Float64 = NDArray[np.float64]
CAR = SemanticClass.CAR

_PAINTS = (
    ((0.75, 0.75, 0.75), 4.0), ((0.42, 0.43, 0.45), 3.0), ((0.12, 0.125, 0.13), 2.5),
    ((0.015, 0.015, 0.017), 3.0), ((0.3, 0.02, 0.02), 1.2), ((0.02, 0.06, 0.22), 1.3),
    ((0.05, 0.1, 0.16), 0.8), ((0.25, 0.2, 0.12), 0.5), ((0.03, 0.1, 0.05), 0.3),
    ((0.6, 0.35, 0.03), 0.25),
)  # fmt: skip

# side profiles: (x, z) of body and of roof, x from the tail to the nose, metres
_SHAPES: dict[str, tuple[float, list[tuple[float, float]], list[tuple[float, float]]]] = {
    "hatch": (
        1.74,
        [(-2.0, 0.55), (-1.95, 0.95), (0.75, 0.95), (1.85, 0.78), (2.0, 0.5)],
        [(-1.95, 0.95), (-1.5, 1.45), (0.1, 1.48), (0.85, 0.95)],
    ),
    "sedan": (
        1.8,
        [(-2.3, 0.5), (-2.25, 0.95), (0.9, 0.93), (2.15, 0.76), (2.3, 0.45)],
        [(-1.7, 0.97), (-1.0, 1.42), (0.2, 1.44), (1.0, 0.93)],
    ),
    "suv": (
        1.9,
        [(-2.3, 0.55), (-2.3, 1.1), (0.95, 1.1), (2.15, 0.98), (2.3, 0.5)],
        [(-2.28, 1.1), (-2.0, 1.72), (0.3, 1.74), (1.05, 1.1)],
    ),
    "wagon": (
        1.8,
        [(-2.35, 0.5), (-2.3, 0.98), (0.9, 0.95), (2.15, 0.78), (2.3, 0.45)],
        [(-2.28, 0.98), (-1.9, 1.46), (0.2, 1.48), (1.0, 0.95)],
    ),
    "pickup": (
        1.95,
        [(-2.7, 0.6), (-2.7, 1.05), (1.2, 1.05), (2.5, 0.98), (2.65, 0.55)],
        [(-0.75, 1.05), (-0.6, 1.75), (0.7, 1.77), (1.3, 1.05)],
    ),
    "van": (
        2.0,
        [(-2.6, 0.5), (-2.6, 1.3), (1.7, 1.25), (2.5, 1.05), (2.6, 0.5)],
        [(-2.6, 1.3), (-2.55, 2.2), (1.0, 2.25), (1.8, 1.25)],
    ),
}
_SHARES = {"hatch": 3.0, "sedan": 4.0, "suv": 4.0, "wagon": 1.5, "pickup": 1.3, "van": 1.0,
           "bus": 0.12, "truck": 0.35}  # fmt: skip
LENGTH_M = {"hatch": 4.0, "sedan": 4.6, "suv": 4.6, "wagon": 4.7, "pickup": 5.3, "van": 5.2,
            "bus": 11.0, "truck": 8.0}  # fmt: skip


@dataclass(frozen=True)
class Car:
    """One vehicle.

    Attributes:
        kind: its shape.
        position: (2,) middle, metres.
        angle: direction of its nose, radians anticlockwise from east.
        paint: index of its colour.
    """

    kind: str
    position: Float64
    angle: float
    paint: int


def draw_kind(rng: np.random.Generator, heavy: bool = False) -> str:
    """Return a random kind of vehicle; without ``heavy`` no buses and trucks."""
    names = [k for k in _SHARES if heavy or k not in ("bus", "truck")]
    weights = np.array([_SHARES[k] for k in names])
    return names[int(rng.choice(len(names), p=weights / weights.sum()))]


def draw_paint(rng: np.random.Generator) -> int:
    """Return the index of a random colour."""
    weights = np.array([w for _, w in _PAINTS])
    return int(rng.choice(len(_PAINTS), p=weights / weights.sum()))


class Garage:
    """The prototypes of all vehicles; made once, shared by all worlds."""

    def __init__(self) -> None:
        """Build the prototypes: paint and everything else apart, because only paint is tinted."""
        white = np.full((4, 4, 3), 255, np.uint8)
        self._paint = Material(white, specular=0.05)
        self._matt = Material(white)
        self._glass = Material(white, specular=0.08)
        self._made = {kind: self._build(kind) for kind in LENGTH_M}

    def meshes(self, cars: list[Car], heights: Float64) -> list[Mesh]:
        """Return the meshes of cars that stand at (N,) heights, metres."""
        parts = []
        for kind in LENGTH_M:
            picked = [i for i, c in enumerate(cars) if c.kind == kind]
            if not picked:
                continue
            spots = np.array([[*cars[i].position, heights[i]] for i in picked])
            angles = np.array([cars[i].angle for i in picked])
            scales = np.ones((len(picked), 3))
            scales[:, 1] = 0.97 + 0.06 * np.array([(cars[i].paint * 7 % 5) / 5 for i in picked])
            colors = np.array([_PAINTS[cars[i].paint][0] for i in picked])
            body, rest = self._made[kind]
            parts.append(instances(body, spots, angles, scales, colors))
            parts.append(instances(rest, spots, angles, scales, np.ones((len(picked), 3))))
        return parts

    def _build(self, kind: str) -> tuple[Mesh, Mesh]:
        body, rest = MeshBuilder(), MeshBuilder()
        if kind in ("bus", "truck"):
            self._heavy(kind, body, rest)
        else:
            width, lower, upper = _SHAPES[kind]
            self._shell(body, lower, width, width, 0.3)
            self._cabin(body, rest, upper, width * 0.94, width * 0.76)
            self._lights(rest, lower, width)
            wheel = 0.33 if kind not in ("suv", "pickup", "van") else 0.37
            for x in (-0.31 * LENGTH_M[kind], 0.31 * LENGTH_M[kind]):
                self._wheels(rest, x, width / 2, wheel)
        return body.build(), rest.build()

    def _shell(self, out: MeshBuilder, profile: list[tuple[float, float]], low_width: float,
               top_width: float, floor: float) -> None:  # fmt: skip
        """Add the body below the windows."""
        p = np.array(profile)
        h, t = low_width / 2, top_width / 2 * 0.97
        left = np.column_stack((p[:, 0], np.full(len(p), t), p[:, 1]))
        right = left * np.array([1, -1, 1])
        deck = np.stack((right[:-1], right[1:], left[1:], left[:-1]), 1)
        zero = np.zeros((4, 2))
        out.quads(deck, zero, self._paint, CAR)
        base = np.column_stack((p[:, 0] * 0.97, np.full(len(p), h), np.full(len(p), floor)))
        for sign in (1, -1):
            flip = np.array([1, sign, 1])
            side = np.stack((base[:-1], base[1:], left[1:], left[:-1]), 1) * flip
            out.quads(side, zero, self._paint, CAR, (0.85, 0.85, 0.85))
        for i in (0, -1):
            out.quads(np.stack((base[i], base[i] * [1, -1, 1], right[i], left[i])), zero,
                      self._paint, CAR, (0.8, 0.8, 0.8))  # fmt: skip

    def _cabin(self, body: MeshBuilder, rest: MeshBuilder, profile: list[tuple[float, float]],
               low_width: float, top_width: float) -> None:  # fmt: skip
        """Add roof and windows."""
        p = np.array(profile)
        width = np.array([low_width, top_width, top_width, low_width]) / 2
        left = np.column_stack((p[:, 0], width, p[:, 1]))
        right = left * np.array([1, -1, 1])
        zero, dark = np.zeros((4, 2)), (0.012, 0.014, 0.017)
        body.quads(np.stack((right[1], right[2], left[2], left[1])), zero, self._paint, CAR)
        for i, j in ((0, 1), (2, 3)):
            rest.quads(
                np.stack((right[i], right[j], left[j], left[i])), zero, self._glass, CAR, dark
            )
        for side in (left, right):
            rest.quads(side, zero, self._glass, CAR, dark)
            up = side[1:3] + np.array([[0.12, 0, -0.02], [-0.05, 0, -0.02]])
            for k in (0.33, 0.66):  # pillars
                low = side[0] + (side[3] - side[0]) * k
                high = up[0] + (up[1] - up[0]) * k
                out = np.array([0, np.sign(side[0, 1]) * 0.01, 0])
                w = np.array([0.04, 0, 0])
                body.quads(np.stack((low - w + out, low + w + out, high + w + out, high - w + out)),
                           zero, self._paint, CAR, (0.5, 0.5, 0.5))  # fmt: skip

    def _lights(self, rest: MeshBuilder, profile: list[tuple[float, float]], width: float) -> None:
        p = np.array(profile)
        for i, tint in ((0, (0.25, 0.01, 0.01)), (-1, (0.7, 0.7, 0.65))):
            x = p[i, 0] + np.sign(p[i, 0]) * 0.012
            top = p[1 if i == 0 else -2, 1] - (0.2 if i == 0 else 0.05)
            for sign in (1, -1):
                y0, y1 = sign * width * 0.47, sign * width * 0.28
                quad = [[x, y0, top - 0.17], [x, y1, top - 0.17], [x, y1, top], [x, y0, top]]
                if i == -1:
                    quad = [[q[0] - (0.06 if q[2] == top else 0), *q[1:]] for q in quad]
                rest.quads(quad, np.zeros((4, 2)), self._matt, CAR, tint)

    def _wheels(self, rest: MeshBuilder, x: float, y: float, radius: float) -> None:
        angle = np.linspace(0, 2 * np.pi, 9)
        for sign in (1, -1):
            ring = np.stack((x + radius * np.cos(angle), np.full(9, sign * (y + 0.015)),
                             radius + radius * np.sin(angle)), -1)  # fmt: skip
            hub = np.array([x, sign * (y + 0.02), radius])
            for tint, scale in (((0.012, 0.012, 0.012), 1.0), ((0.3, 0.3, 0.31), 0.58)):
                rim = hub + (ring - hub) * scale + [0, sign * 0.01 * (1 - scale), 0]
                quads = np.stack(
                    (np.broadcast_to(hub, (4, 3)), rim[0:8:2], rim[1:9:2], rim[2::2]), 1
                )
                rest.quads(quads, np.zeros((4, 2)), self._matt, CAR, tint)
            inner = ring - [0, sign * 0.2, 0]
            rest.quads(np.stack((ring[:-1], ring[1:], inner[1:], inner[:-1]), 1), np.zeros((4, 2)),
                       self._matt, CAR, (0.012, 0.012, 0.012))  # fmt: skip

    def _heavy(self, kind: str, body: MeshBuilder, rest: MeshBuilder) -> None:
        half = LENGTH_M[kind] / 2
        zero, dark = np.zeros((4, 2)), (0.012, 0.014, 0.017)
        if kind == "bus":
            body.box((0, 0, 0.35), (2 * half, 2.5, 2.7), 0.0, self._paint, CAR)
            for sign in (1, -1):
                y = sign * 1.26
                rest.quads([[-half + 0.3, y, 1.4], [half - 0.2, y, 1.4], [half - 0.2, y, 2.5],
                            [-half + 0.3, y, 2.5]], zero, self._glass, CAR, dark)  # fmt: skip
                x = sign * (half + 0.01)
                rest.quads([[x, -1.15, 1.2], [x, 1.15, 1.2], [x, 1.15, 2.7], [x, -1.15, 2.7]], zero,
                           self._glass, CAR, dark)  # fmt: skip
        else:
            body.box((half - 1.0, 0, 0.5), (2.0, 2.3, 2.0), 0.0, self._paint, CAR)
            rest.box((-1.1, 0, 0.9), (2 * half - 2.3, 2.45, 2.4), 0.0, self._matt, CAR,
                     (0.7, 0.7, 0.7))  # fmt: skip
            x = half + 0.01
            rest.quads([[x, -1.05, 1.5], [x, 1.05, 1.5], [x, 1.05, 2.3], [x, -1.05, 2.3]], zero,
                       self._glass, CAR, dark)  # fmt: skip
        for x in (-0.6 * half, 0.6 * half):
            self._wheels(rest, x, 1.2, 0.48)
