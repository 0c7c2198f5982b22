"""What is built where: floor plans of each kind of building, and raising them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loc2.scenes.builder import MeshBuilder, Tint
from loc2.scenes.buildings import (
    Box,
    Frame,
    Skin,
    add_box,
    add_facade_block,
    add_panel,
    add_roof_clutter,
)
from loc2.scenes.mesh import SemanticClass
from loc2.scenes.textures import Texture, TextureLibrary

Float64 = NDArray[np.float64]

_WALL_PAINTS: tuple[Tint, ...] = (
    (0.95, 0.93, 0.88), (0.85, 0.8, 0.68), (0.6, 0.62, 0.62), (0.45, 0.52, 0.6), (0.75, 0.6, 0.45),
    (0.5, 0.42, 0.35), (0.9, 0.85, 0.6), (0.55, 0.6, 0.5), (0.8, 0.55, 0.45), (0.3, 0.32, 0.35),
)  # fmt: skip
_ROOF_PAINTS: tuple[Tint, ...] = (
    (0.9, 0.9, 0.9), (0.5, 0.5, 0.52), (0.28, 0.29, 0.32), (0.5, 0.32, 0.27), (0.34, 0.41, 0.36),
    (0.75, 0.68, 0.55), (0.38, 0.4, 0.46), (0.62, 0.61, 0.58), (0.42, 0.4, 0.37),
)  # fmt: skip


_FLAT_ROOFED = frozenset(
    {"terrace_flat", "shop", "apartment", "block", "office", "lowrise", "warehouse_flat"}
)


@dataclass(frozen=True)
class FloorPlan:
    """A building before it is raised.

    Attributes:
        kind: kind of building.
        boxes: parts with pitched or flat roofs; empty for buildings with facade textures.
        ring: (N, 2) outline in the building's frame for those.
        width: extent along the front, metres.
        depth: extent away from the street, metres.
        height: of the walls, metres.
        drive_x: where a drive meets the front, None without one.
        drive_width: metres.
    """

    kind: str
    boxes: tuple[Box, ...]
    ring: Float64
    width: float
    depth: float
    height: float
    drive_x: float | None = None
    drive_width: float = 3.0


def draw_plan(rng: np.random.Generator, kind: str, room_m: float) -> FloorPlan:
    """Draw the floor plan of a building of a kind on a plot ``room_m`` wide."""
    if kind in ("house", "bungalow", "cottage"):
        return _house(rng, kind, room_m)
    if kind == "terrace":
        return _terrace(rng, room_m)
    if kind in ("barn", "warehouse"):
        return _shed(rng, kind, room_m)
    return _block(rng, kind, room_m)


def _rectangle(boxes: tuple[Box, ...]) -> tuple[Float64, float, float]:
    x0, x1 = min(b.x0 for b in boxes), max(b.x1 for b in boxes)
    y0, y1 = min(b.y0 for b in boxes), max(b.y1 for b in boxes)
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]), x1 - x0, y1 - y0


def _house(rng: np.random.Generator, kind: str, room_m: float) -> FloorPlan:
    width = float(np.clip(room_m - rng.uniform(1.5, 6), 7.5, 20))
    depth = float(rng.uniform(7.5, 12.5))
    storeys = 1 if kind == "bungalow" and rng.random() < 0.8 else int(rng.choice([1, 2]))
    eave = 2.6 * storeys + float(rng.uniform(0.1, 0.6))
    roof = str(rng.choice(["gable_x", "gable_y", "hip"], p=[0.4, 0.15, 0.45]))
    if kind == "bungalow":
        roof = str(rng.choice(["gable_x", "hip", "gable_y"], p=[0.3, 0.6, 0.1]))
    pitch = float(rng.uniform(0.3, 0.75 if kind != "bungalow" else 0.48))
    over = float(rng.uniform(0.25, 0.75))
    boxes = [Box(-width / 2, width / 2, 0, depth, eave, roof, pitch, over)]
    side = int(rng.choice([-1, 1]))
    if rng.random() < 0.65:  # a wing towards the street or the garden
        w = float(rng.uniform(0.3, 0.5)) * width
        d = float(rng.uniform(1.5, 5.0))
        x0 = side * width / 2 - (w if side > 0 else 0.0)
        front = rng.random() < 0.6
        y = (-d, depth * 0.6) if front else (depth * 0.4, depth + d)
        wing_eave = eave if rng.random() < 0.7 else min(eave, 2.8)
        wing_roof = "hip" if roof == "hip" and rng.random() < 0.6 else "gable_y"
        boxes.append(Box(x0, x0 + w, y[0], y[1], wing_eave, wing_roof, pitch, over))
    drive_x: float | None = None
    drive_width = float(rng.choice([2.8, 3.2, 5.2]))
    kind_of_garage = rng.random()
    if kind_of_garage < 0.5:  # garage beside the house
        w = 6.2 if rng.random() < 0.5 else 3.6
        x0 = -side * width / 2 - (w if side > 0 else 0.0) + side * min(1.0, w / 2)
        y0 = float(rng.uniform(-1.5, 3.5))
        low = str(rng.choice(["gable_x", "hip", "gable_y", "flat"]))
        boxes.append(Box(x0, x0 + w, y0, y0 + 6.5, 2.5, low, min(pitch, 0.5), over * 0.7))
        drive_x, drive_width = x0 + w / 2, max(w - 0.8, 2.8)
    elif kind_of_garage < 0.85:
        drive_x = -side * (width / 2 + 1.7) if rng.random() < 0.6 else side * width * 0.25
    ring, total, deep = _rectangle(tuple(boxes))
    return FloorPlan(kind, tuple(boxes), ring, total, deep, eave, drive_x, drive_width)


def _terrace(rng: np.random.Generator, room_m: float) -> FloorPlan:
    width, depth = room_m, float(rng.uniform(8, 13))
    storeys = int(rng.integers(2, 5))
    eave = storeys * float(rng.uniform(2.7, 3.3))
    roof = str(rng.choice(["gable_x", "gable_x", "flat"]))
    boxes = [Box(-width / 2, width / 2, 0, depth, eave, roof, float(rng.uniform(0.5, 0.9)), 0.15)]
    unit = float(rng.uniform(4.5, 7.0))
    for k in range(int(width // unit)):
        x = -width / 2 + k * unit
        if rng.random() < 0.8:
            reach = float(rng.uniform(2.5, 5.5))
            boxes.append(Box(x + 0.3, x + unit * 0.55, depth, depth + reach, eave * 0.6,
                             str(rng.choice(["shed", "flat", "gable_y"])), 0.4, 0.1))  # fmt: skip
    ring, total, deep = _rectangle(tuple(boxes))
    return FloorPlan("terrace", tuple(boxes), ring, total, deep, eave)


def _shed(rng: np.random.Generator, kind: str, room_m: float) -> FloorPlan:
    large = kind == "warehouse"
    width = (
        float(np.clip(room_m - rng.uniform(6, 14), 9, 60)) if large else float(rng.uniform(8, 22))
    )
    depth = float(rng.uniform(18, 45) if large else rng.uniform(7, 14))
    eave = float(rng.uniform(5, 10) if large else rng.uniform(3, 5.5))
    roof = str(
        rng.choice(["flat", "gable_x", "gable_y"], p=[0.5, 0.25, 0.25] if large else [0, 0.7, 0.3])
    )
    pitch = float(rng.uniform(0.12, 0.3) if large else rng.uniform(0.35, 0.8))
    boxes = [Box(-width / 2, width / 2, 0, depth, eave, roof, pitch, 0.3)]
    if rng.random() < 0.5:
        side = int(rng.choice([-1, 1]))
        x0 = side * width / 2 - (0 if side > 0 else width * 0.35)
        boxes.append(Box(x0, x0 + width * 0.35, depth * 0.15, depth * 0.6, eave * 0.6,
                         "flat" if large else "gable_x", pitch, 0.3))  # fmt: skip
    ring, total, deep = _rectangle(tuple(boxes))
    return FloorPlan(kind, tuple(boxes), ring, total, deep, eave, 0.0, 5.5 if large else 3.5)


def _block(rng: np.random.Generator, kind: str, room_m: float) -> FloorPlan:
    gap = 0.0 if kind in ("block", "office") and rng.random() < 0.7 else float(rng.uniform(0, 3))
    width = max(room_m - gap, 8.0)
    depth = float(rng.uniform(12, 30))
    height = {
        "shop": float(rng.uniform(4.5, 7.5)), "apartment": float(rng.uniform(8, 18)),
        "block": float(rng.uniform(11, 26)), "lowrise": float(rng.uniform(7, 16)),
    }.get(kind, float(np.exp(rng.uniform(np.log(10), np.log(42)))))  # fmt: skip
    w = width / 2
    ring = np.array([[-w, 0], [w, 0], [w, depth], [-w, depth]], np.float64)
    shape = rng.random()
    if kind != "shop" and shape < 0.25:  # chamfered corner
        c = float(rng.uniform(2, min(6, w)))
        ring = np.array([[-w, 0], [w - c, 0], [w, c], [w, depth], [-w, depth]])
    elif kind != "shop" and shape < 0.4:  # rounded front
        angle = np.linspace(-np.pi / 2, 0, 7)
        r = min(w, depth) * float(rng.uniform(0.5, 0.95))
        bend = np.stack((w - r + r * np.cos(angle), r + r * np.sin(angle)), -1)
        ring = np.concatenate(([[-w, 0]], bend, [[w, depth], [-w, depth]]))
    elif shape < 0.6:  # L-shape, the yard behind
        a, b = width * float(rng.uniform(0.35, 0.6)), depth * float(rng.uniform(0.4, 0.6))
        ring = np.array([[-w, 0], [w, 0], [w, depth], [w - a, depth], [w - a, b], [-w, b]])
    drive = 0.0 if kind in ("shop", "apartment") and rng.random() < 0.6 else None
    return FloorPlan(kind, (), ring, width, depth, height, drive, 5.0)


class Raiser:
    """Raises floor plans with materials that belong together; one for a world."""

    def __init__(self, rng: np.random.Generator, library: TextureLibrary, country: str) -> None:
        """Draw the few walls and roofs that a neighbourhood is built of.

        Args:
            rng: source.
            library: textures.
            country: ``us``, ``au``, ``uk`` or ``eu``.
        """
        self._rng = rng
        self._library = library
        walls = {
            "us": ["siding", "siding", "brick", "plaster", "stone"],
            "au": ["brick", "brick", "plaster", "siding"],
            "uk": ["brick", "brick", "brick", "plaster", "stone"],
            "eu": ["plaster", "plaster", "brick", "stone"],
        }[country]
        roofs = {
            "us": ["shingles", "shingles", "shingles", "sheet_metal"],
            "au": ["roof_tiles", "roof_tiles", "sheet_metal"],
            "uk": ["shingles", "roof_tiles"],
            "eu": ["roof_tiles", "roof_tiles", "shingles"],
        }[country]
        self._walls = [library.draw(str(rng.choice(walls)), rng) for _ in range(4)]
        self._wall_kinds = walls
        self._roofs = [library.draw(str(rng.choice(roofs)), rng) for _ in range(3)]
        self._metal = [library.draw("sheet_metal", rng) for _ in range(2)]
        self._flat = [library.draw("flat_roof", rng) for _ in range(3)]
        self._panels = [library.draw(k, rng) for k in ("panels", "sheet_metal", "plaster", "brick")]
        self._windows = [library.draw("window", rng) for _ in range(3)]
        self._doors = [library.draw("door", rng) for _ in range(3)]
        self._garages = [library.draw("garage", rng) for _ in range(2)]

    def reseed(self, rng: np.random.Generator) -> None:
        """Draw from another generator from now on, so that each building has its own."""
        self._rng = rng

    def _pick(self, textures: list[Texture]) -> Texture:
        return textures[int(self._rng.integers(len(textures)))]

    def _tint(self, paints: tuple[Tint, ...], strength: float) -> Tint:
        paint = np.array(paints[int(self._rng.integers(len(paints)))])
        color = (1 - strength) + strength * paint
        color = color * np.exp(self._rng.normal(size=3) * 0.03) * np.exp(self._rng.normal() * 0.12)
        return float(color[0]), float(color[1]), float(color[2])

    def _weathered(self, roof: Texture, tint: Tint) -> Tint:
        """Return the tint that takes a share of the colour out of a roof, as sun and dirt do."""
        fade = float(self._rng.uniform(0.1, 0.9))
        grey = (float(roof.mean.mean()) / np.maximum(roof.mean, 0.01)) ** fade
        color = np.array(tint) * grey
        return float(color[0]), float(color[1]), float(color[2])

    def _skin(self, kind: str) -> Skin:
        rng = self._rng
        wall = self._pick(self._panels if kind in ("warehouse", "barn") else self._walls)
        light = float(wall.mean.mean()) > 0.35
        roof, roof_tint = self._pick(self._roofs), self._tint(_ROOF_PAINTS, 0.25)
        roof_tint = self._weathered(roof, roof_tint)
        if kind in ("warehouse", "barn"):
            roof, roof_tint = self._pick(self._metal), self._tint(_ROOF_PAINTS, 0.6)
        if kind in _FLAT_ROOFED:
            roof, roof_tint = self._pick(self._flat), self._tint(((1.0, 1.0, 1.0), (0.5,) * 3), 0.6)
        trim = float(rng.uniform(0.1, 0.85))
        return Skin(wall, self._tint(_WALL_PAINTS, 0.8 if light else 0.25), roof, roof_tint,
                    (trim, trim, trim * 0.97))  # fmt: skip

    def raise_plan(self, out: MeshBuilder, frame: Frame, plan: FloorPlan, detail: bool) -> None:
        """Add a building to a mesh; ``detail`` adds windows, chimneys and roof clutter."""
        rng = self._rng
        if plan.boxes:
            flat = plan.boxes[0].roof == "flat"
            skin = self._skin(plan.kind + ("_flat" if flat else ""))
            window = self._pick(self._windows)
            for index, box in enumerate(plan.boxes):
                add_box(out, frame, box, skin)
                if detail and plan.kind not in ("barn", "warehouse"):
                    self._openings(out, frame, plan, box, index, window)
            if plan.kind in ("barn", "warehouse"):
                self._gates(out, frame, plan)
            elif detail:
                self._extras(out, frame, plan, skin)
            if flat and detail:
                b = plan.boxes[0]
                add_roof_clutter(out, frame, (b.x0, b.x1, b.y0, b.y1), b.eave, rng,
                                 self._library, int(rng.integers(0, 9)))  # fmt: skip
            return
        skin = self._skin(plan.kind)
        shops = plan.kind == "shop" or (plan.kind in ("block", "office") and rng.random() < 0.45)
        add_facade_block(out, frame, plan.ring, plan.height, self._library, rng, skin, shops)
        if len(plan.ring) != 4:
            self._lid(out, frame, plan, skin)
        low, high = plan.ring.min(0), plan.ring.max(0)
        front = low[1], (low[1] + high[1]) / 2 * (0.9 if len(plan.ring) == 6 else 1.6)
        add_roof_clutter(out, frame, (low[0] + 1, high[0] - 1, *front), plan.height + 0.4, rng,
                         self._library, int(rng.integers(1, 12)) if detail else 3)  # fmt: skip

    def _lid(self, out: MeshBuilder, frame: Frame, plan: FloorPlan, skin: Skin) -> None:
        """Roof a plan that is not a rectangle, by a fan from a point that sees all corners."""
        ring = plan.ring
        hub = ring[4] if len(ring) == 6 else ring.mean(0)
        z = plan.height + 0.05
        for a, b in zip(ring, np.roll(ring, -1, 0), strict=True):
            corners = np.array([[*hub, z], [*a, z], [*b, z]])
            uv = (corners[:, :2] - ring[0]) / skin.roof.extent_m
            out.triangle(frame.points(corners), uv, skin.roof.material, SemanticClass.ROOF,
                         skin.roof_tint)  # fmt: skip

    def _openings(
        self, out: MeshBuilder, frame: Frame, plan: FloorPlan, box: Box, index: int, window: Texture
    ) -> None:
        """Hang windows, a door and a garage door on the walls of one part."""
        rng = self._rng
        w, h = float(rng.uniform(0.9, 2.0)), float(rng.uniform(1.1, 1.7))
        garage = index > 0 and abs(box.eave - 2.5) < 1e-9 and plan.kind != "terrace"
        storey = 2.8
        pitch = (
            float(rng.uniform(2.4, 4.0)) if plan.kind != "terrace" else float(rng.uniform(2.0, 3))
        )
        for face in ("front", "back", "left", "right"):
            length = box.x1 - box.x0 if face in ("front", "back") else box.y1 - box.y0
            if garage and face == "front":
                wide = min(length - 0.8, 5.2)
                add_panel(out, frame, self._pick(self._garages), face, box, 0.0, 0.02, wide, 2.2)
                continue
            if index > 0 and plan.kind == "terrace" and face == "front":
                continue
            count = max(0, int((length - 0.8) / pitch))
            for level in range(max(1, int(box.eave / storey + 0.2))):
                sill = 0.9 + level * storey
                if sill + h > box.eave - 0.1:
                    continue
                for k in range(count):
                    u = (k - (count - 1) / 2) * pitch
                    is_door = level == 0 and face == "front" and index == 0 and (
                        k == count // 2 if plan.kind != "terrace" else k % 2 == 1)  # fmt: skip
                    if is_door:
                        add_panel(out, frame, self._pick(self._doors), face, box, u, 0.05, 1.0, 2.1)
                    elif rng.random() < 0.88:
                        add_panel(out, frame, window, face, box, u, sill, w, h)

    def _gates(self, out: MeshBuilder, frame: Frame, plan: FloorPlan) -> None:
        box = plan.boxes[0]
        count = max(1, int((box.x1 - box.x0) / 9))
        for k in range(count):
            u = (k - (count - 1) / 2) * 9.0
            high = min(4.2, box.eave - 0.4)
            add_panel(out, frame, self._pick(self._garages), "front", box, u, 0.02, 4.0, high)

    def _extras(self, out: MeshBuilder, frame: Frame, plan: FloorPlan, skin: Skin) -> None:
        """Add chimneys, solar panels, and a porch."""
        rng, box = self._rng, plan.boxes[0]
        plain = self._library.plain().material
        ridge = box.eave + (box.y1 - box.y0) / 2 * box.pitch * (box.roof != "flat")
        if rng.random() < 0.55 or plan.kind == "terrace":
            for _ in range(1 if plan.kind != "terrace" else int((box.x1 - box.x0) / 6) + 1):
                x = float(rng.uniform(box.x0 + 0.5, box.x1 - 0.5))
                spot = frame.points(np.array([x, (box.y0 + box.y1) / 2 + 0.6, box.eave]))
                out.box(spot, (0.9, 0.6, ridge - box.eave + 0.7), frame.angle, skin.wall.material,
                        SemanticClass.BUILDING, skin.wall_tint, skin.wall.extent_m)  # fmt: skip
        if box.roof in ("gable_x", "hip") and rng.random() < 0.2:  # solar panels
            face = 1 if rng.random() < 0.5 else -1
            w, middle = float(rng.uniform(2, 5)), (box.y0 + box.y1) / 2
            t0, t1 = 0.25, 0.75
            half = (box.y1 - box.y0) / 2
            x = float(rng.uniform(-1, 1)) * max((box.x1 - box.x0) / 2 - half - w / 2, 0.0)

            def at(t: float) -> tuple[float, float]:
                return middle + face * half * (1 - t), box.eave + half * box.pitch * t + 0.12

            (ya, za), (yb, zb) = at(t0), at(t1)
            quad = np.array([[x - w / 2, ya, za], [x + w / 2, ya, za], [x + w / 2, yb, zb],
                             [x - w / 2, yb, zb]])  # fmt: skip
            out.quads(frame.points(quad), np.zeros((4, 2)), plain, SemanticClass.ROOF,
                      (0.015, 0.02, 0.05))  # fmt: skip
        if plan.kind != "terrace" and rng.random() < 0.35:  # porch
            w, d = float(rng.uniform(2.5, 6)), float(rng.uniform(1.2, 2.2))
            roof = np.array(
                [[-w / 2, -d, 2.4], [w / 2, -d, 2.4], [w / 2, 0, 2.75], [-w / 2, 0, 2.75]]
            )
            out.quads(frame.points(roof), roof[:, :2] / skin.roof.extent_m, skin.roof.material,
                      SemanticClass.ROOF, skin.roof_tint)  # fmt: skip
            for x in (-w / 2 + 0.1, w / 2 - 0.1):
                out.box(frame.points(np.array([x, -d + 0.1, 0.0])), (0.15, 0.15, 2.4), frame.angle,
                        plain, SemanticClass.BUILDING, skin.trim_tint)  # fmt: skip
