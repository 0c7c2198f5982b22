"""Street furniture: poles, lights, wires, signs, bins, boxes, fences, walls and hedges."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from loc2.scenes.builder import MeshBuilder, Tint, up
from loc2.scenes.leaves import leaf_material
from loc2.scenes.mesh import SemanticClass
from loc2.scenes.terrain import Hills
from loc2.scenes.textures import TextureLibrary

Float64 = NDArray[np.float64]
POLE = SemanticClass.POLE


class Furniture:
    """Adds furniture to a mesh; heights come from the terrain."""

    def __init__(
        self, rng: np.random.Generator, library: TextureLibrary, hills: Hills, out: MeshBuilder
    ) -> None:
        """Draw the materials and shapes that a whole neighbourhood shares."""
        self._rng, self._hills, self._out = rng, hills, out
        self._plain = library.plain().material
        self._wood = library.draw("bark", rng).material
        self._fence = library.draw("siding", rng)
        self._wall = library.draw(str(rng.choice(["brick", "plaster", "stone"])), rng)
        self._hedge = [leaf_material(rng, "broad") for _ in range(2)]
        self._light_height = float(rng.uniform(5.5, 11))
        self._light_reach = float(rng.uniform(0.6, 3.0))
        self._metal: Tint = (0.3, 0.31, 0.32) if rng.random() < 0.6 else (0.03, 0.035, 0.035)
        self._fence_kind = str(rng.choice(["boards", "boards", "rails", "wall"]))

    def reseed(self, rng: np.random.Generator) -> None:
        """Draw from another generator from now on."""
        self._rng = rng

    def _ground(self, point: Float64) -> float:
        return float(self._hills.at(np.asarray(point)))

    def street_light(self, point: Float64, towards: Float64) -> None:
        """Add a street light whose arm points along the unit vector ``towards``."""
        z, h = self._ground(point), self._light_height
        foot = np.array([*point, z])
        top = foot + up(h)
        self._out.tube(foot, top, 0.09, 0.05, self._plain, POLE, self._metal, 5)
        tip = top + np.array([*(towards * self._light_reach), 0.35])
        self._out.tube(top, tip, 0.05, 0.04, self._plain, POLE, self._metal, 4)
        angle = float(np.arctan2(towards[1], towards[0]))
        self._out.box(tip - up(0.06), (0.7, 0.25, 0.12), angle, self._plain, POLE,
                      (0.4, 0.4, 0.4))  # fmt: skip

    def utility_pole(self, point: Float64, along: Float64) -> Float64:
        """Add a wooden pole with a crossarm; return the (3, 3) points where wires hang."""
        z = self._ground(point)
        foot = np.array([*point, z])
        h = 9.0
        self._out.tube(foot, foot + up(h), 0.15, 0.11, self._wood, POLE, (0.8, 0.75, 0.7), 6)
        side = np.array([-along[1], along[0], 0.0])
        arm = foot + up(h - 0.5)
        self._out.tube(arm - side * 1.1, arm + side * 1.1, 0.06, 0.06, self._wood, POLE,
                       (0.6, 0.55, 0.5), 4)  # fmt: skip
        if self._rng.random() < 0.25:
            self._out.tube(arm + side * 0.35 - up(1.4), arm + side * 0.35 - up(0.5), 0.22,
                           0.22, self._plain, POLE, (0.35, 0.36, 0.37), 6)  # fmt: skip
        return np.stack((arm - side, arm + side, arm + side * 0.4 - up(1.6)))

    def wires(self, a: Float64, b: Float64) -> None:
        """Hang wires between the ends of two poles."""
        for start, end in zip(a, b, strict=True):
            t = np.linspace(0, 1, 7)[:, None]
            sag = 0.028 * float(np.linalg.norm(end - start))
            line = start + (end - start) * t - np.array([0, 0, 4 * sag]) * t * (1 - t)
            low, up = line[:-1], line[1:]
            half = np.array([0, 0, 0.018])
            quads = np.stack((low - half, up - half, up + half, low + half), 1)
            self._out.quads(quads, np.zeros((4, 2)), self._plain, POLE, (0.03, 0.03, 0.03))

    def sign(self, point: Float64, facing: float) -> None:
        """Add a traffic sign."""
        rng, z = self._rng, self._ground(point)
        foot = np.array([*point, z])
        h = float(rng.uniform(2.0, 2.8))
        self._out.tube(foot, foot + up(h), 0.035, 0.035, self._plain, POLE, (0.4, 0.4, 0.4), 4)
        colors: tuple[Tint, ...] = ((0.5, 0.02, 0.02), (0.7, 0.7, 0.7), (0.6, 0.4, 0.02),
                                    (0.02, 0.1, 0.4), (0.02, 0.2, 0.08))  # fmt: skip
        tint = colors[int(rng.integers(5))]
        r = float(rng.uniform(0.25, 0.45))
        side = np.array([-np.sin(facing), np.cos(facing), 0.0])
        front = np.array([np.cos(facing), np.sin(facing), 0.0]) * 0.05
        angle = np.linspace(0, 2 * np.pi, 9)[:-1] + np.pi / 8
        corners = int(rng.choice([3, 4, 8]))
        angle = np.linspace(0, 2 * np.pi, corners + 1)[:-1] + np.pi * (
            0.5 if corners == 3 else 0.25
        )
        circle = np.cos(angle)[:, None] * side + np.sin(angle)[:, None] * up(1.0)
        rim = foot + up(h - r) + front + r * circle
        hub = rim.mean(0)
        for scale, color in ((1.0, tint), (0.72, (0.7, 0.7, 0.7))):
            ring = hub + (rim - hub) * scale + front * (1 - scale)
            for a, b in zip(ring, np.roll(ring, -1, 0), strict=True):
                self._out.triangle(np.stack((hub + front * (1 - scale), a, b)), np.zeros((3, 2)),
                                   self._plain, POLE, color)  # fmt: skip

    def small_box(self, point: Float64, angle: float) -> None:
        """Add a bin, a cabinet, a letter box, a bench or a bollard."""
        rng, z = self._rng, self._ground(point)
        w, d, h = rng.uniform(0.3, 0.8), rng.uniform(0.3, 0.6), rng.uniform(0.6, 1.4)
        tints = ((0.03, 0.12, 0.06), (0.3, 0.3, 0.3), (0.02, 0.02, 0.02), (0.35, 0.03, 0.03),
                 (0.02, 0.06, 0.2), (0.45, 0.42, 0.3))  # fmt: skip
        tint = tints[int(rng.integers(len(tints)))]
        self._out.box((*point, z - 0.05), (w, d, h), angle, self._plain, POLE, tint)

    def traffic_light(self, point: Float64, towards: Float64) -> None:
        """Add signals on a pole, sometimes with an arm over the road."""
        z = self._ground(point)
        foot = np.array([*point, z])
        dark = (0.02, 0.02, 0.02)
        self._out.tube(foot, foot + up(3.6), 0.08, 0.07, self._plain, POLE, self._metal, 5)
        angle = float(np.arctan2(towards[1], towards[0]))
        self._out.box(foot + up(2.6), (0.3, 0.3, 0.95), angle, self._plain, POLE, dark)
        if self._rng.random() < 0.4:
            tip = foot + up(5.8) + np.array([*(towards * 5.0), 0.0])
            self._out.tube(foot, foot + up(5.8), 0.1, 0.09, self._plain, POLE, self._metal, 5)
            self._out.tube(foot + up(5.8), tip, 0.08, 0.05, self._plain, POLE, self._metal, 4)
            self._out.box(tip - up(1.0), (0.3, 0.3, 0.95), angle, self._plain, POLE, dark)

    def fence(self, a: Float64, b: Float64, kind: str | None = None) -> None:
        """Add a fence, wall or hedge between two points.

        Args:
            a: (2,) start.
            b: (2,) end.
            kind: ``boards``, ``rails``, ``wall``, ``hedge``, ``wire`` (posts and wires), ``guard``
                (a steel guard rail), or None for the neighbourhood's own.
        """
        kind = kind or self._fence_kind
        length = float(np.hypot(*(b - a)))
        if length < 1.0:
            return
        count = max(1, int(length / 4))
        points = a + (b - a) * np.linspace(0, 1, count + 1)[:, None]
        z = self._hills.at(points)
        height = {"boards": 1.7, "rails": 1.1, "wall": 1.2, "hedge": 1.4, "wire": 1.2,
                  "guard": 0.7}[kind]  # fmt: skip
        height *= float(self._rng.uniform(0.75, 1.2))
        if kind == "hedge":
            self._hedge_row(points, z, height)
            return
        if kind in ("rails", "wire", "guard"):
            levels, half, tint = {
                "rails": ((0.45, 0.95), 0.06, (0.35, 0.3, 0.25)),
                "wire": ((0.35, 0.65, 0.95), 0.012, (0.2, 0.19, 0.18)),
                "guard": ((0.8,), 0.15, (0.45, 0.46, 0.47)),
            }[kind]
            for level in levels:
                low, high = z + height * level - half, z + height * level + half
                self._strip(points, low, high, 0.02, SemanticClass.FENCE, tint)
            for point, foot in zip(points, z, strict=True):
                self._out.box((*point, foot), (0.1, 0.1, height), 0.0, self._plain,
                              SemanticClass.FENCE, tint)  # fmt: skip
            return
        semantic = SemanticClass.WALL if kind == "wall" else SemanticClass.FENCE
        thick = 0.22 if kind == "wall" else 0.05
        tone = float(self._rng.uniform(0.35, 0.9))
        self._strip(points, z - 0.2, z + height, thick, semantic, (tone, tone * 0.93, tone * 0.85))

    def _strip(
        self, points: Float64, low: Float64, high: Float64, thick: float, semantic: SemanticClass,
        tint: Tint,
    ) -> None:  # fmt: skip
        """Add an upright band of some thickness along points."""
        texture = self._wall if semantic == SemanticClass.WALL else self._fence
        way = points[-1] - points[0]
        normal = np.array([-way[1], way[0]]) / max(float(np.hypot(*way)), 1e-9) * thick / 2
        s = np.concatenate(([0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))))
        sides = []
        for sign in (1, -1):
            p = points + sign * normal
            bottom, top = np.column_stack((p, low)), np.column_stack((p, high))
            sides.append(top)
            quads = np.stack((bottom[:-1], bottom[1:], top[1:], top[:-1]), 1)
            u = np.stack((s[:-1], s[1:], s[1:], s[:-1]), 1)
            v = np.stack((0 * s[1:], 0 * s[1:], (high - low)[1:], (high - low)[:-1]), 1)
            if texture is self._fence:
                u, v = v, u  # boards stand upright
            self._out.quads(quads, np.stack((u, v), -1) / texture.extent_m, texture.material,
                            semantic, tint)  # fmt: skip
        left, right = sides
        lid = np.stack((left[:-1], left[1:], right[1:], right[:-1]), 1)
        self._out.quads(lid, np.zeros((4, 2)), self._plain, semantic,
                        np.array(tint) * 0.4)  # fmt: skip

    def _hedge_row(self, points: Float64, z: Float64, height: float) -> None:
        """Add a hedge: a solid heart and ragged leaf cards around it."""
        rng = self._rng
        material = self._hedge[int(rng.integers(2))]
        green = np.array([0.16, 0.24, 0.08]) * np.exp(rng.normal(size=3) * 0.15)
        thick = float(rng.uniform(0.6, 1.3))
        way = points[-1] - points[0]
        length = float(np.hypot(*way))
        way = way / length
        normal = np.array([-way[1], way[0]])
        angle = float(np.arctan2(way[1], way[0]))
        for a, b, za in zip(points[:-1], points[1:], z[:-1], strict=True):
            size = (float(np.hypot(*(b - a))) + 0.05, thick * 0.7, height * 0.9 + 0.2)
            self._out.box((*((a + b) / 2), za - 0.2), size, angle, self._plain,
                          SemanticClass.HEDGE, green * 0.25)  # fmt: skip
        count = int(length * 3.5)
        t, across = rng.uniform(0, length, count), rng.choice([-1.0, 1.0, 0.0], count)
        middle = points[0] + way * t[:, None] + normal * (across * thick * 0.42)[:, None]
        top = np.interp(t, np.linspace(0, length, len(z)), z)
        rise = np.where(across == 0, height * 0.92, rng.uniform(0.15, 0.9, count) * height)
        half = rng.uniform(0.35, 0.6, (count, 1)) * min(1.0, height)
        centre = np.column_stack((middle, top + rise))
        flat = (across == 0)[:, None]
        spin = rng.normal(size=(count, 3)) * 0.35
        u = np.where(flat, np.array([*way, 0.0]), np.array([*way, 0.0])) + spin
        v = np.where(flat, np.array([*normal, 0.0]), np.array([0.0, 0.0, 1.0])) + spin[:, ::-1]
        u /= np.linalg.norm(u, axis=1, keepdims=True)
        v /= np.linalg.norm(v, axis=1, keepdims=True)
        quads = np.stack((centre - (u + v) * half, centre + (u - v) * half, centre + (u + v) * half,
                          centre - (u - v) * half), 1)  # fmt: skip
        tint = green * np.exp(rng.normal(size=(count, 1)) * 0.2)
        self._out.quads(quads, np.array([[0, 0], [1, 0], [1, 1], [0, 1]]), material,
                        SemanticClass.HEDGE, tint)  # fmt: skip
