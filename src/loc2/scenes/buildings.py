"""Buildings: houses with pitched roofs, terraces, blocks, warehouses, sheds, from a few prisms.

A building stands in its own frame: x along its front to the right of one who looks at it from the
street, y away from the street, z up; the origin is the middle of its front at ground level.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from loc2.scenes.builder import MeshBuilder, Tint, up
from loc2.scenes.mesh import SemanticClass
from loc2.scenes.textures import Texture, TextureLibrary

Float64 = NDArray[np.float64]
WALL, ROOF = SemanticClass.BUILDING, SemanticClass.ROOF


@dataclass(frozen=True)
class Frame:
    """Where a building stands.

    Attributes:
        origin: (3,) middle of its front, metres.
        angle: direction of its x axis, radians anticlockwise from east.
    """

    origin: Float64
    angle: float

    def points(self, local: NDArray[np.floating]) -> Float64:
        """Return world points of (..., 3) local ones."""
        return np.asarray(local @ self._turn + self.origin)

    @cached_property
    def _turn(self) -> Float64:
        """(3, 3) rotation of local row vectors to world axes."""
        c, s = np.cos(self.angle), np.sin(self.angle)
        return np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])

    def local(self, point: Float64) -> Float64:
        """Return the (2,) plan coordinates of a (2,) world point."""
        c, s = np.cos(self.angle), np.sin(self.angle)
        return np.asarray(np.array([[c, s], [-s, c]]) @ (point - self.origin[:2]))


@dataclass(frozen=True)
class Skin:
    """Materials of a building."""

    wall: Texture
    wall_tint: Tint
    roof: Texture
    roof_tint: Tint
    trim_tint: Tint


@dataclass(frozen=True)
class Box:
    """A part of a building: its floor plan in the building's frame and its heights, metres."""

    x0: float
    x1: float
    y0: float
    y1: float
    eave: float
    roof: str  # gable_x (ridge along x), gable_y, hip, flat, shed
    pitch: float = 0.45
    overhang: float = 0.4


def add_box(out: MeshBuilder, frame: Frame, box: Box, skin: Skin, sunk_m: float = 1.5) -> None:
    """Add walls and roof of one part."""
    x0, x1, y0, y1, e = box.x0, box.x1, box.y0, box.y1, box.eave
    ring = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
    _walls(out, frame, ring, -sunk_m, e, skin)
    if box.roof == "flat":
        _flat_roof(out, frame, ring, e, skin)
        return
    o = box.overhang
    a0, a1, b0, b1 = x0 - o, x1 + o, y0 - o, y1 + o
    drop = e - o * box.pitch
    if box.roof == "gable_y":  # work along x, then swap axes
        _pitched(out, frame, (b0, b1, a0, a1), drop, box, skin, swap=True)
    else:
        _pitched(out, frame, (a0, a1, b0, b1), drop, box, skin, swap=False)


def _pitched(
    out: MeshBuilder,
    frame: Frame,
    plan: tuple[float, float, float, float],
    drop: float,
    box: Box,
    skin: Skin,
    swap: bool,
) -> None:
    """Add a roof whose ridge runs along the first axis of its plan."""
    a0, a1, b0, b1 = plan
    half = (b1 - b0) / 2
    rise = half * box.pitch
    middle = (b0 + b1) / 2
    hip = box.roof == "hip"
    if hip and a1 - a0 < b1 - b0:
        _pitched(out, frame, (b0, b1, a0, a1), drop, box, skin, not swap)
        return
    inset = min(half, (a1 - a0) / 2 - 0.01) if hip else 0.0
    top = drop + rise
    if box.roof == "shed":
        quad = [[a0, b0, drop], [a1, b0, drop], [a1, b1, drop + rise], [a0, b1, drop + rise]]
        _roof_face(out, frame, np.array(quad), skin, swap)
        return
    r0, r1 = [a0 + inset, middle, top], [a1 - inset, middle, top]
    front = np.array([[a0, b0, drop], [a1, b0, drop], r1, r0])
    back = np.array([[a1, b1, drop], [a0, b1, drop], r0, r1])
    _roof_face(out, frame, front, skin, swap)
    _roof_face(out, frame, back, skin, swap)
    ends = [([a0, b1, drop], [a0, b0, drop], r0), ([a1, b0, drop], [a1, b1, drop], r1)]
    for left, right, apex in ends:
        tri = np.array([left, right, apex, apex])
        if hip:
            _roof_face(out, frame, tri, skin, swap)
        else:
            o = box.overhang
            gable = tri.copy()
            gable[:, 0] += o if left[0] == a0 else -o
            gable[0, 1] -= o
            gable[1, 1] += o
            gable[:2, 2] = box.eave
            _wall_face(out, frame, gable, skin, swap)
    under = np.array([[a0, b0, drop], [a1, b0, drop], [a1, b1, drop], [a0, b1, drop]])
    shade = np.array(skin.trim_tint) * 0.6
    out.quads(frame.points(_swap(under, swap)), np.zeros((4, 2)), skin.wall.material, WALL, shade)
    if not hip:
        for edge in (front[[0, 3]], front[[1, 2]], back[[0, 3]], back[[1, 2]]):
            _board(out, frame, edge, skin, swap)
    _board(out, frame, front[:2], skin, swap)
    _board(out, frame, back[:2], skin, swap)


def _swap(points: Float64, swap: bool) -> Float64:
    return points[..., [1, 0, 2]] if swap else points


def _roof_face(out: MeshBuilder, frame: Frame, quad: Float64, skin: Skin, swap: bool) -> None:
    along = quad[1] - quad[0]
    along = along / max(float(np.linalg.norm(along)), 1e-9)
    offset = quad - quad[0]
    u = offset @ along
    v = np.sqrt(np.maximum((offset**2).sum(1) - u**2, 0.0))
    uv = np.stack((u, v), -1) / skin.roof.extent_m
    out.quads(frame.points(_swap(quad, swap)), uv, skin.roof.material, ROOF, skin.roof_tint)


def _wall_face(out: MeshBuilder, frame: Frame, quad: Float64, skin: Skin, swap: bool) -> None:
    uv = quad[:, 1:] / skin.wall.extent_m
    out.quads(frame.points(_swap(quad, swap)), uv, skin.wall.material, WALL, skin.wall_tint)


def _board(out: MeshBuilder, frame: Frame, edge: Float64, skin: Skin, swap: bool) -> None:
    """Add the fascia below an edge of the roof."""
    low = edge - np.array([0.0, 0.0, 0.2])
    quad = np.stack((edge[0], edge[1], low[1], low[0]))
    out.quads(frame.points(_swap(quad, swap)), np.zeros((4, 2)), skin.wall.material, WALL,
              skin.trim_tint)  # fmt: skip


def _walls(
    out: MeshBuilder, frame: Frame, ring: Float64, low: float, high: float, skin: Skin
) -> None:
    after = np.roll(ring, -1, 0)
    length = np.hypot(*(after - ring).T)
    start = np.concatenate(([0.0], np.cumsum(length)[:-1]))
    n = len(ring)
    base = np.column_stack((ring, np.full(n, low)))
    base2 = np.column_stack((after, np.full(n, low)))
    quads = np.stack((base, base2, base2 + up(high - low), base + up(high - low)), 1)
    u = np.stack((start, start + length, start + length, start), 1)
    v = np.tile([low, low, high, high], (n, 1))
    uv = np.stack((u, v), -1) / skin.wall.extent_m
    out.quads(frame.points(quads), uv, skin.wall.material, WALL, skin.wall_tint)


def _flat_roof(out: MeshBuilder, frame: Frame, ring: Float64, top: float, skin: Skin) -> None:
    """Add a roof behind a parapet."""
    n = len(ring)
    centre = ring.mean(0)
    inner = ring + (centre - ring) / np.linalg.norm(centre - ring, axis=1, keepdims=True) * 0.45
    parapet = 0.35
    deck = np.column_stack((inner, np.full(n, top - parapet)))
    if n == 4:
        uv = (inner - inner[0]) / skin.roof.extent_m
        out.quads(frame.points(deck), uv, skin.roof.material, ROOF, skin.roof_tint)
    o, i = np.column_stack((ring, np.full(n, top))), np.column_stack((inner, np.full(n, top)))
    cap = np.stack((o, np.roll(o, -1, 0), np.roll(i, -1, 0), i), 1)
    down = np.stack((i, np.roll(i, -1, 0), np.roll(deck, -1, 0), deck), 1)
    faces = np.concatenate((cap, down))
    out.quads(frame.points(faces), np.zeros((4, 2)), skin.wall.material, ROOF, skin.trim_tint)


def add_panel(
    out: MeshBuilder, frame: Frame, texture: Texture, face: str, box: Box, u: float, sill: float,
    width: float, height: float, tint: Tint = (1.0, 1.0, 1.0),
) -> None:  # fmt: skip
    """Hang a window or door on a wall.

    Args:
        out: receives it.
        frame: the building's frame.
        texture: what to hang.
        face: ``front``, ``back``, ``left`` or ``right``.
        box: the part of the building.
        u: middle of the panel from the middle of the wall, metres.
        sill: its lower edge above the ground.
        width: metres.
        height: metres.
        tint: linear factors.
    """
    gap = 0.04
    cx, cy = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
    spots = {
        "front": ([cx + u, box.y0 - gap], [1.0, 0.0]),
        "back": ([cx - u, box.y1 + gap], [-1.0, 0.0]),
        "left": ([box.x0 - gap, cy - u], [0.0, -1.0]),
        "right": ([box.x1 + gap, cy + u], [0.0, 1.0]),
    }
    middle, way = (np.array(v) for v in spots[face])
    a, b = middle - way * width / 2, middle + way * width / 2
    quad = np.array([[*a, sill], [*b, sill], [*b, sill + height], [*a, sill + height]])
    uv = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    out.quads(frame.points(quad), uv, texture.material, WALL, tint)


def add_facade_block(
    out: MeshBuilder, frame: Frame, ring: Float64, height: float, library: TextureLibrary,
    rng: np.random.Generator, skin: Skin, ground_floor: bool,
) -> None:  # fmt: skip
    """Add a larger building whose walls are facade textures, with a flat or hipped roof.

    Args:
        out: receives it.
        frame: the building's frame.
        ring: (N, 2) anticlockwise floor plan in its frame.
        height: metres.
        library: textures.
        rng: source.
        skin: materials of roof and trim.
        ground_floor: whether the lowest storey is shops or plain wall.
    """
    facade = library.facade(rng)
    low = 4.0 if ground_floor else 0.0
    size = facade.size
    storeys = max(1, round((height - low) / (size.height_m / 4)))
    after = np.roll(ring, -1, 0)
    for a, b in zip(ring, after, strict=True):
        length = float(np.hypot(*(b - a)))
        quad = np.array([[*a, low], [*b, low], [*b, height], [*a, height]])
        repeats = max(1, round(length / size.width_m * 4)) / 4
        top = storeys / 4
        uv = np.array([[0, 0], [repeats, 0], [repeats, top], [0, top]])
        out.quads(frame.points(quad), uv, facade.material, WALL)
    _walls(out, frame, ring, -1.5, low + 0.01, skin)
    if ground_floor:
        shop = library.draw("shopfront", rng)
        for a, b in zip(ring, after, strict=True):
            length = float(np.hypot(*(b - a)))
            normal = np.array([b[1] - a[1], a[0] - b[0]]) / max(length, 1e-9) * 0.05
            p, q = a + normal + (b - a) * 0.03, b + normal - (b - a) * 0.03
            quad = np.array([[*p, 0.1], [*q, 0.1], [*q, 3.8], [*p, 3.8]])
            repeats = max(1, round(length / 8.0))
            uv = np.array([[0, 0], [repeats, 0], [repeats, 1], [0, 1]])
            out.quads(frame.points(quad), uv, shop.material, WALL)
    _flat_roof(out, frame, ring, height + 0.4, skin)
    _walls_trim(out, frame, ring, height, skin)


def _walls_trim(out: MeshBuilder, frame: Frame, ring: Float64, height: float, skin: Skin) -> None:
    after = np.roll(ring, -1, 0)
    n = len(ring)
    low, low2 = (
        np.column_stack((ring, np.full(n, height))),
        np.column_stack((after, np.full(n, height))),
    )
    up = np.array([0, 0, 0.4])
    out.quads(frame.points(np.stack((low, low2, low2 + up, low + up), 1)), np.zeros((4, 2)),
              skin.wall.material, WALL, skin.trim_tint)  # fmt: skip


def add_roof_clutter(
    out: MeshBuilder, frame: Frame, plan: tuple[float, float, float, float], top: float,
    rng: np.random.Generator, library: TextureLibrary, count: int,
) -> None:  # fmt: skip
    """Add plant rooms, air conditioners and skylights to a flat roof within a rectangle."""
    x0, x1, y0, y1 = plan
    plain = library.plain().material
    for _ in range(count):
        w, d = rng.uniform(0.8, 4.0, 2)
        if x1 - x0 < w + 2 or y1 - y0 < d + 2:
            continue
        x, y = (
            rng.uniform(x0 + 1 + w / 2, x1 - 1 - w / 2),
            rng.uniform(y0 + 1 + d / 2, y1 - 1 - d / 2),
        )
        spot = frame.points(np.array([x, y, top - 0.35]))
        grey = float(rng.uniform(0.12, 0.75))
        out.box(spot, (w, d, float(rng.uniform(0.3, 2.4))), frame.angle, plain, ROOF,
                (grey, grey, grey * 1.02))  # fmt: skip
