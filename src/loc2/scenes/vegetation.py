"""Trees, shrubs and hedges: trunks, branches and crowns of leafy cut-out cards.

A tree is a prototype of its species, one of a few drawn once, of which many copies stand about,
turned, stretched and tinted. Cards far from the camera are fewer and larger.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from loc2.scenes.builder import MeshBuilder, instances, quad_mesh
from loc2.scenes.leaves import leaf_material
from loc2.scenes.mesh import Material, Mesh, SemanticClass, merge
from loc2.scenes.textures import TextureLibrary

Float64 = NDArray[np.float64]
TREE = SemanticClass.TREE

HEIGHTS_M: dict[str, tuple[float, float]] = {
    "broadleaf": (5, 17), "spreading": (7, 18), "conifer": (6, 18), "eucalypt": (7, 20),
    "poplar": (9, 20), "palm": (5, 13), "bush": (0.8, 3.0), "dead": (5, 12), "tuft": (0.25, 0.8),
    "spruce": (8, 24), "pine": (9, 24), "birch": (6, 16), "ash": (8, 20),
}  # fmt: skip
"""Usual heights of each species, metres."""

EVERGREEN = frozenset({"conifer", "eucalypt", "palm", "bush", "tuft", "spruce", "pine"})
SPIRES = frozenset({"conifer", "spruce"})
_STRAIGHT = SPIRES | {"poplar"}  # one stem from the foot to the tip

LEAF_RGB: dict[str, tuple[float, float, float]] = {
    "broadleaf": (0.083, 0.11, 0.049), "spreading": (0.065, 0.09, 0.041),
    "conifer": (0.034, 0.056, 0.034), "eucalypt": (0.089, 0.101, 0.065),
    "poplar": (0.088, 0.124, 0.056), "palm": (0.082, 0.115, 0.047), "bush": (0.08, 0.106, 0.054),
    "dead": (0.085, 0.077, 0.068), "tuft": (0.142, 0.15, 0.082), "spruce": (0.029, 0.048, 0.032),
    "pine": (0.044, 0.064, 0.04), "birch": (0.092, 0.119, 0.055), "ash": (0.062, 0.09, 0.042),
}  # fmt: skip
"""Linear colours of leaves in summer."""

_RADIUS = {"spreading": 0.42, "eucalypt": 0.3, "bush": 0.5, "dead": 0.3, "pine": 0.15,
           "birch": 0.15, "ash": 0.2}  # fmt: skip
_BASE = {"pine": (0.35, 0.58), "birch": (0.25, 0.48), "ash": (0.2, 0.45)}
_THICK = {"spreading": 0.034, "bush": 0.012, "conifer": 0.02, "spruce": 0.012, "pine": 0.013,
          "birch": 0.009, "ash": 0.013}  # fmt: skip
"""Of a tree one unit high: reach of the crown, where it begins, radius of the trunk."""


@dataclass(frozen=True, eq=False)
class Prototype:
    """One individual of a species, one unit high.

    Attributes:
        species: its kind.
        wood: trunk and branches, by level of detail.
        crowns: leaf cards, fewer and larger with the level of detail; none for dead trees.
        cores: dark masses inside the crown that keep the sky from showing through, by level.
        twigs: what shows in winter in place of leaves; None for evergreens.
    """

    species: str
    wood: tuple[Mesh, ...]
    crowns: tuple[Mesh, ...]
    cores: tuple[Mesh, ...]
    twigs: Mesh | None


CARDS = (110, 48, 20, 9)
"""Cards of a crown by level of detail."""
LEVELS = len(CARDS)


def draw_prototype(rng: np.random.Generator, species: str, library: TextureLibrary) -> Prototype:
    """Draw one individual of a species."""
    bark = library.draw("bark", rng).material
    if species == "palm":
        return _palm(rng, bark, library)
    if species == "tuft":
        return _tuft(rng)
    lobes, trunk_top = _lobes(rng, species)
    wood = _wood(rng, species, lobes, trunk_top, bark)
    centres, outward, size = _cards(rng, species, lobes)
    twigs = None
    if species not in EVERGREEN:
        bare = leaf_material(rng, "twigs")
        twigs = _card_mesh(rng, centres[:45], outward[:45], size[:45] * 1.3, bare, hang=False)
    if species == "dead":
        return Prototype(species, wood, (), (), twigs)
    kind = {"conifer": "needles", "spruce": "needles", "pine": "needles", "eucalypt": "slender"}
    hang = species in SPIRES or species == "eucalypt"
    material = leaf_material(rng, kind.get(species, "broad"))
    crowns = []
    for count in CARDS:
        grow = np.sqrt(CARDS[0] / count) * (0.92 if count < CARDS[0] else 1.0)
        grow = min(grow, 1.9 if species in SPIRES else 2.6)
        cards = centres[:count], outward[:count], size[:count] * grow
        crowns.append(_card_mesh(rng, *cards, material, hang))
    cores: tuple[Mesh, ...] = ()
    if species in SPIRES:
        cores = tuple(_spire(lobes, material, level) for level in range(LEVELS))
    elif species != "eucalypt" or rng.random() < 0.4:
        shrink = 0.5 if species == "eucalypt" else 0.72
        large = lobes[np.argsort(-lobes[:, 3])]
        far = [_whole(lobes)] if species != "poplar" else large[:4:2]
        cores = tuple(
            merge([_blob(lobe, shrink, material, level) for lobe in picked])
            for level, picked in enumerate((large[:6], large[:4], far, far))
        )
    return Prototype(species, wood, tuple(crowns), cores, twigs)


INDIVIDUALS = 8
"""Individuals of each species, from which every world takes some."""


@lru_cache(maxsize=512)
def individual(species: str, index: int, library: TextureLibrary) -> Prototype:
    """Return one of the ``INDIVIDUALS`` of a species, drawn once for all worlds of a process."""
    rng = np.random.default_rng([311, list(HEIGHTS_M).index(species), index])
    return draw_prototype(rng, species, library)


def _whole(lobes: Float64) -> Float64:
    """Return one ellipsoid in place of all lobes."""
    low = (lobes[:, :3] - lobes[:, [3, 3, 4]]).min(0)
    high = (lobes[:, :3] + lobes[:, [3, 3, 4]]).max(0)
    half = (high - low) / 2
    return np.array([*((low + high) / 2), (half[0] + half[1]) / 2, half[2]])


def _lobes(rng: np.random.Generator, species: str) -> tuple[Float64, float]:
    """Return (K, 5) spheres (x, y, z, radius across, radius up) of a crown of unit height."""
    if species in SPIRES:
        wide = species == "conifer"
        low = float(rng.uniform(0.06, 0.16) if wide else rng.uniform(0.04, 0.24))
        z = np.linspace(low, 0.92, 7)
        width = float(rng.uniform(0.14, 0.24) if wide else rng.uniform(0.08, 0.15))
        r = width * ((1.0 - z) / (1.0 - low)) ** rng.uniform(0.75, 1.1)
        r = r * np.exp(rng.normal(size=7) * 0.12) + 0.012
        away = rng.normal(size=(2, 7)) * 0.12 * r
        return np.stack((away[0], away[1], z, r, 0 * z + 0.09), -1), 0.95
    if species == "poplar":
        z = np.linspace(0.18, 0.86, 5)
        r = float(rng.uniform(0.09, 0.14)) * np.sin(np.linspace(0.7, 2.6, 5))
        return np.stack((0 * z, 0 * z, z, r, 0 * z + 0.14), -1), 0.8
    count = {"spreading": 9, "eucalypt": 11, "bush": 4}.get(species, 9)
    radius = _RADIUS.get(species, 0.27) * float(rng.uniform(0.8, 1.25))
    base = float(rng.uniform(*_BASE.get(species, (0.1, 0.34))))  # where the crown begins
    middle = {"spreading": 0.66, "eucalypt": 0.7, "bush": 0.45}.get(species, 0.53 + base / 2)
    angle = rng.uniform(0, 2 * np.pi) + np.arange(count) * 2.4
    away = radius * rng.uniform(0.3, 0.85, count)
    high = {"spreading": 0.16, "eucalypt": 0.26, "pine": 0.24}.get(species, (1.0 - base) / 2 * 0.85)
    z = middle + rng.uniform(-0.9, 0.85, count) * high
    away *= np.sqrt(np.clip(1.0 - ((z - middle) / (1.5 * high)) ** 2, 0.15, 1.0))
    size = radius * rng.uniform(0.38, 0.7, count) * (0.75 if species == "eucalypt" else 1.0)
    up = size * {"spreading": 0.7, "eucalypt": 0.65}.get(species, 1.0)
    up = np.minimum(up, 1.0 - z + 0.02)
    low = {"bush": 0.08, "spreading": 0.3, "eucalypt": 0.3}.get(species, base)
    z = np.maximum(z, low + up * 0.8)
    lobes = np.stack((away * np.cos(angle), away * np.sin(angle), z, size, up), -1)
    lobes[0, :2] *= 0.2
    return lobes, middle


def _wood(
    rng: np.random.Generator, species: str, lobes: Float64, top: float, bark: Material
) -> tuple[Mesh, ...]:
    """Return trunk and branches by level of detail."""
    out, trunk, far = MeshBuilder(), MeshBuilder(), MeshBuilder()
    thick = _THICK.get(species, 0.017) * float(rng.uniform(0.8, 1.3))
    tint = (1.0, 1.0, 1.0)
    if species in ("eucalypt", "birch"):
        pale = float(rng.uniform(1.2, 2.8) if species == "eucalypt" else rng.uniform(2.0, 3.4))
        tint = (pale, pale * 0.96, pale * 0.88)
    lean = np.array([*rng.normal(size=2) * 0.03, 0.0])
    high = 1.0 if species in _STRAIGHT else 0.9 if species in ("pine", "birch", "ash") else 0.45
    fork = np.array([0.0, 0.0, top * high]) + lean
    taper = 0.15 if species in SPIRES else 0.6
    out.tube((0, 0, -0.03), fork, thick, thick * taper, bark, TREE, tint, sides=6, repeat_m=0.15)
    trunk.tube((0, 0, -0.03), fork, thick, thick * taper, bark, TREE, tint, sides=4, repeat_m=0.15)
    far.tube((0, 0, -0.03), fork, thick, thick * taper, bark, TREE, tint, sides=3, repeat_m=0.15)
    if species not in _STRAIGHT and species != "bush":
        for lobe in lobes:
            end = lobe[:3] * np.array([0.9, 0.9, 1.0])
            out.tube(fork, end, thick * 0.4, thick * 0.08, bark, TREE, tint, sides=4, repeat_m=0.15)
            if species == "dead":
                for _ in range(5):
                    tip = end + rng.normal(size=3) * lobe[3] * np.array([0.7, 0.7, 0.5])
                    start = fork + (end - fork) * rng.uniform(0.4, 1.0)
                    out.tube(start, tip, thick * 0.16, thick * 0.03, bark, TREE, tint, 3, 0.15)
    near, coarse = trunk.build(), far.build()
    return out.build(), near, coarse, coarse


def _cards(
    rng: np.random.Generator, species: str, lobes: Float64
) -> tuple[Float64, Float64, Float64]:
    """Return centres (N, 3), outward directions (N, 3) and half sizes (N,) of leaf cards."""
    count = CARDS[0]
    share = lobes[:, 3] ** 2
    pick = rng.choice(len(lobes), count, p=share / share.sum())
    way = rng.normal(size=(count, 3))
    way[:, 2] = np.abs(way[:, 2]) * rng.choice([1.0, 1.0, 1.0, -0.6], count)
    way /= np.linalg.norm(way, axis=1, keepdims=True)
    reach = rng.uniform(0.55, 1.0, count)[:, None] ** 0.5
    across, up = lobes[pick, 3:4], lobes[pick, 4:5]
    centres = lobes[pick, :3] + way * reach * np.concatenate((across, across, up), 1)
    middle = np.average(lobes[:, :3], axis=0, weights=share) - np.array([0, 0, 0.08])
    outward = centres - middle
    outward /= np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1e-6)
    outward = outward * 0.6 + way * 0.5
    outward /= np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1e-6)
    total = np.sqrt((share * np.pi * 3).sum() / count)
    size = np.full(
        count, total * {"conifer": 0.75, "spruce": 0.8, "eucalypt": 0.8}.get(species, 0.85)
    )
    return centres, outward, size * rng.uniform(0.75, 1.3, count)


def _card_mesh(
    rng: np.random.Generator,
    centres: Float64,
    outward: Float64,
    half: Float64,
    material: Material,
    hang: bool,
) -> Mesh:
    count = len(centres)
    facing = outward + rng.normal(size=(count, 3)) * 0.55
    facing /= np.linalg.norm(facing, axis=1, keepdims=True)
    up = np.array([0.0, 0.0, 1.0]) if hang else rng.normal(size=(count, 3))
    side = np.cross(np.broadcast_to(up, (count, 3)), facing)
    side /= np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-3)
    rise = np.cross(facing, side)
    s, r = side * half[:, None], rise * half[:, None]
    corners = np.stack((centres - s - r, centres + s - r, centres + s + r, centres - s + r), 1)
    uv = np.broadcast_to(np.array([[0, 0], [1, 0], [1, 1], [0, 1]]), (count, 4, 2))
    normals = np.broadcast_to(outward[:, None], (count, 4, 3))
    tint = np.exp(rng.normal(size=(count, 1)) * 0.14 + rng.normal(size=(count, 3)) * 0.03)
    depth = 0.62 + 0.38 * np.clip(outward[:, 2:] + 0.6, 0, 1)  # lower leaves see less sky
    return quad_mesh(corners, uv, material, np.full(count, TREE, np.uint8), tint * depth, normals)


def _blob(lobe: Float64, shrink: float, material: Material, level: int) -> Mesh:
    """Return a dark ellipsoid; its texture is the leaves' own without their gaps."""
    normals = _unit_blob(min(level, 1))
    quads = lobe[:3] + normals * shrink * lobe[[3, 3, 4]]
    uv = np.stack((quads[..., 0] + quads[..., 1] * 0.5, quads[..., 2]), -1) * 6.0
    solid = _solid(material)
    shade = np.full((len(quads), 3), 0.58)
    return quad_mesh(quads, uv, solid, np.full(len(quads), TREE, np.uint8), shade, normals)


def _spire(lobes: Float64, material: Material, level: int) -> Mesh:
    """Return the dark heart of a spire: a star-shaped cone, of two stages when seen from near."""
    sides = 8 if level < 2 else 6
    angle = np.linspace(0, 2 * np.pi, sides + 1) + lobes[0, 3] * 40
    star = np.where(np.arange(sides + 1) % 2, 0.62, 1.0)
    way = np.stack((np.cos(angle), np.sin(angle)), -1)
    low = float(lobes[0, 2]) - 0.03
    stages = [(low, 0.78 * lobes[:3, 3].max()), (0.99, 0.0)]
    if level < 2:
        stages.insert(1, (0.55, 0.62 * float(np.interp(0.55, lobes[:, 2], lobes[:, 3]))))
    rings = [np.concatenate((way * (star * r)[:, None], np.full((sides + 1, 1), z)), 1)
             for z, r in stages]  # fmt: skip
    quads = np.concatenate([
        np.stack((a[:-1], a[1:], b[1:], b[:-1]), 1) for a, b in itertools.pairwise(rings)
    ])  # fmt: skip
    normals = np.concatenate((quads[..., :2] * 6.0, np.full((*quads.shape[:2], 1), 0.35)), -1)
    uv = np.stack((quads[..., 0] + quads[..., 1] * 0.5, quads[..., 2]), -1) * 6.0
    shade = np.full((len(quads), 3), 0.62 if level < 2 else 0.75)
    kinds = np.full(len(quads), TREE, np.uint8)
    return quad_mesh(quads, uv, _solid(material), kinds, shade, normals)


@cache
def _unit_blob(level: int) -> Float64:
    """Return the (N, 4, 3) quadrilaterals of a ball around the origin, also their normals."""
    lat = np.array([-0.9, -0.3, 0.4, 1.0] if level == 0 else [-0.9, 0.2, 1.0]) * 1.2
    lon = np.linspace(0, 2 * np.pi, 7 if level == 0 else 6)
    ring = np.stack(
        (np.cos(lat)[:, None] * np.cos(lon), np.cos(lat)[:, None] * np.sin(lon),
         np.sin(lat)[:, None] + 0 * lon), -1
    )  # fmt: skip
    quads = np.stack((ring[:-1, :-1], ring[:-1, 1:], ring[1:, 1:], ring[1:, :-1]), 2)
    return quads.reshape(-1, 4, 3)


def _solid(material: Material) -> Material:
    """Return the leaf texture as an opaque one, one object for each leaf material."""
    known = material.__dict__.get("_solid")
    if known is None:
        known = Material(material.texture)
        material.__dict__["_solid"] = known
    assert isinstance(known, Material)
    return known


def _palm(rng: np.random.Generator, bark: Material, library: TextureLibrary) -> Prototype:
    out = MeshBuilder()
    lean = rng.normal(size=2) * 0.06
    top = np.array([lean[0], lean[1], 0.82])
    out.tube((0, 0, -0.03), top, 0.022, 0.015, bark, TREE, (1.1, 1.05, 0.95), 6, 0.15)
    material = leaf_material(rng, "frond")
    count = 18
    angle = np.arange(count) * 2.4
    lift = rng.uniform(-0.5, 1.1, count)
    reach = float(rng.uniform(0.2, 0.32))
    way = np.stack((np.cos(angle), np.sin(angle), 0 * angle), -1)
    across = np.stack((-np.sin(angle), np.cos(angle), 0 * angle), -1) * 0.05
    middle = top + way * reach * 0.55 + np.stack((0 * lift, 0 * lift, lift * 0.14), -1)
    tip = top + way * reach + np.stack((0 * lift, 0 * lift, lift * 0.14 - 0.12), -1)
    start = np.broadcast_to(top, tip.shape)
    quads = np.concatenate((
        np.stack((start - across, start + across, middle + across, middle - across), 1),
        np.stack((middle - across, middle + across, tip + across, tip - across), 1),
    ))  # fmt: skip
    first = np.array([[0, 0], [1, 0], [1, 0.5], [0, 0.5]])
    uv = np.concatenate(
        (np.tile(first, (count, 1, 1)), np.tile(first + np.array([0, 0.5]), (count, 1, 1)))
    )
    normals = np.tile((way * 0.3 + np.array([0, 0, 1.0]))[:, None], (2, 4, 1))
    crown = quad_mesh(quads, uv, material, np.full(2 * count, TREE, np.uint8),
                      np.ones((2 * count, 3)), normals)  # fmt: skip
    wood = out.build()
    return Prototype("palm", (wood,) * LEVELS, (crown,) * LEVELS, (), None)


def _tuft(rng: np.random.Generator) -> Prototype:
    """Return rough grass: three upright cards that cross."""
    material = leaf_material(rng, "grass")
    angle = np.arange(3) * np.pi / 3 + rng.uniform(0, 1, 3)
    way = np.stack((np.cos(angle), np.sin(angle), 0 * angle), -1) * 0.75
    top = np.array([0.0, 0.0, 1.0])
    foot = np.array([0.0, 0.0, -0.1])
    quads = np.stack((foot - way, foot + way, top + way, top - way), 1)
    uv = np.broadcast_to(np.array([[0, 0], [1, 0], [1, 1], [0, 1]]), (3, 4, 2))
    normals = np.broadcast_to(np.array([0.0, 0.0, 1.0]), (3, 4, 3))
    crown = quad_mesh(quads, uv, material, np.full(3, SemanticClass.TERRAIN, np.uint8),
                      np.ones((3, 3)), normals)  # fmt: skip
    return Prototype("tuft", (crown,) * LEVELS, (crown,) * LEVELS, (), None)


def plant(
    prototype: Prototype,
    positions: Float64,
    heights: Float64,
    widths: Float64,
    angles: Float64,
    tints: Float64,
    detail: int,
    bare: bool,
) -> list[Mesh]:
    """Return copies of a tree.

    Args:
        prototype: the individual.
        positions: (N, 3) feet, metres.
        heights: (N,) metres.
        widths: (N,) factors of the crown's width.
        angles: (N,) turns, radians.
        tints: (N, 3) linear colours of the leaves.
        detail: level of detail, 0 the finest.
        bare: true when the leaves have fallen.
    """
    scales = heights[:, None] * np.stack((widths, widths, np.ones(len(widths))), -1)
    parts = []
    if prototype.species != "tuft":
        level = detail if not bare else 0
        white = np.ones((len(positions), 3))
        parts.append(instances(prototype.wood[level], positions, angles, scales, white))
    if bare or not prototype.crowns:
        if prototype.twigs is not None:
            brown = np.broadcast_to(np.array([0.5, 0.42, 0.36]), (len(positions), 3))
            parts.append(instances(prototype.twigs, positions, angles, scales, brown))
        return parts
    parts.append(instances(prototype.crowns[detail], positions, angles, scales, tints))
    if prototype.cores:
        parts.append(instances(prototype.cores[detail], positions, angles, scales, tints))
    return parts
