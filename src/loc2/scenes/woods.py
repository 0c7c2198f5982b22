"""Woodland: dense stands of a few species with young growth at their edges."""

from __future__ import annotations

import math

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from loc2.scenes.plots import Inventory, Occupancy, Tree
from loc2.scenes.styles import Choice, choose
from loc2.scenes.vegetation import HEIGHTS_M

Float64 = NDArray[np.float64]
REACH_M = 188.0
DEEP_M = 21.0
"""Trees farther inside a wood than this are hidden from outside."""

STANDS: dict[str, tuple[Choice, tuple[float, float]]] = {
    "spruce": ((("spruce", 8.0), ("conifer", 3.0), ("birch", 1.0)), (10, 24)),
    "pine": ((("pine", 8.0), ("spruce", 1.0), ("broadleaf", 1.0)), (11, 24)),
    "hardwood": ((("ash", 6.0), ("broadleaf", 4.0), ("spreading", 1.0), ("birch", 1.0)), (9, 21)),
    "mixed": ((("ash", 4.0), ("spruce", 3.0), ("pine", 2.0), ("birch", 2.0)), (9, 22)),
    "aspen": ((("birch", 8.0), ("spruce", 2.0), ("ash", 1.0)), (7, 17)),
    "eucalypt": ((("eucalypt", 8.0), ("ash", 1.0), ("broadleaf", 1.0)), (8, 19)),
}
"""Species with their shares, and the height of the canopy, of each kind of wood."""


def plant_woods(
    rng: np.random.Generator, shapes: list[BaseGeometry], stands: Choice, clear: BaseGeometry,
    occupied: Occupancy, inventory: Inventory,
) -> None:  # fmt: skip
    """Plant woods, each with its own species and height.

    Args:
        rng: source.
        shapes: their areas, which may touch, metres.
        stands: kinds of woods with weights.
        clear: roads, plots and water, which give the woods edges.
        occupied: where nothing may stand.
        inventory: receives the trees.
    """
    reach = shapely.box(-REACH_M, -REACH_M, REACH_M, REACH_M)
    edge = clear.buffer(float(rng.uniform(0.5, 3.0)), quad_segs=3)
    beyond = shapely.box(-400, -400, 400, 400).difference(reach)
    inner = shapely.union_all([beyond, *shapes]).buffer(0.5).difference(edge).simplify(0.4)
    inner = inner.buffer(-DEEP_M, quad_segs=2)
    shapely.prepare(inner)
    for shape in shapes:
        own = shape.intersection(reach).difference(edge).simplify(0.4)
        if not own.is_empty:
            _plant(rng, own, inner, stands, occupied, inventory)


def _plant(
    rng: np.random.Generator, shape: BaseGeometry, inner: BaseGeometry, stands: Choice,
    occupied: Occupancy, inventory: Inventory,
) -> None:  # fmt: skip
    """Plant one wood; ``inner`` is what lies deep in all of them."""
    species, (low, high) = STANDS[choose(rng, stands)]
    canopy = float(rng.uniform(low, high))
    spacing = max(canopy * float(rng.uniform(0.2, 0.31)), 2.9)
    shapely.prepare(shape)
    spots, wave = _spots(rng, shape, spacing, occupied)
    spots = spots[wave > float(rng.uniform(-3.2, -1.6))]  # clearings
    wave = _waves(rng, spots)
    deep = shapely.contains_xy(inner, spots[:, 0], spots[:, 1])
    names = [name for name, _ in species]
    share = np.cumsum([weight for _, weight in species])
    mixed = (rng.random(len(spots)) * 0.75 + 0.25 * (0.5 + 0.3 * wave)) % 1.0
    kind = np.searchsorted(share / share[-1], np.clip(mixed, 0.0, 0.999), side="right")
    height = canopy * np.exp(rng.normal(size=len(spots)) * 0.16)
    young = rng.random(len(spots)) < 0.14
    height = np.where(young, height * rng.uniform(0.3, 0.75, len(spots)), height)
    for spot, k, h, hidden in zip(spots, kind, height, deep, strict=True):
        tallest = HEIGHTS_M[names[k]][1] * 1.25
        inventory.trees.append(Tree(names[k], spot, min(float(h), tallest), bool(hidden)))
    _undergrowth(rng, shape, names, occupied, inventory)


def _undergrowth(
    rng: np.random.Generator, shape: BaseGeometry, names: list[str], occupied: Occupancy,
    inventory: Inventory,
) -> None:  # fmt: skip
    """Plant shrubs, saplings and rough grass along the edges near the middle."""
    near = shape.intersection(shapely.box(-90, -90, 90, 90))
    rim = near.difference(shape.buffer(-float(rng.uniform(3.0, 8.0)), quad_segs=2))
    if rim.is_empty:
        return
    spots, wave = _spots(rng, rim, float(rng.uniform(2.4, 4.5)), occupied)
    spots = spots[(wave > float(rng.uniform(-1.5, 0.8)))]
    draw = rng.random((len(spots), 2))
    for spot, (pick, size) in zip(spots, draw, strict=True):
        if pick < 0.45:
            tree = Tree("bush", spot, 0.5 + 2.6 * size**2)
        elif pick < 0.7:
            tree = Tree(names[int(pick * 1000) % len(names)], spot, 1.5 + 5.0 * size**2)
        else:
            tree = Tree("tuft", spot, 0.3 + 0.9 * size)
        inventory.trees.append(tree)


def _spots(
    rng: np.random.Generator, shape: BaseGeometry, spacing: float, occupied: Occupancy
) -> tuple[Float64, Float64]:
    """Return (N, 2) free points of a jittered grid inside a shape, and a smooth noise there."""
    west, south, east, north = shape.bounds
    columns = max(int((east - west) / spacing), 1)
    rows = max(int((north - south) / spacing), 1)
    i, j = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    jitter = rng.uniform(-0.48, 0.48, (2, rows, columns))
    x = west + (j + 0.5 * (i % 2) + 0.25 + jitter[0]) * spacing
    y = south + (i + 0.5 + jitter[1]) * spacing
    spots = np.stack((x.reshape(-1), y.reshape(-1)), -1)
    values = occupied.at(spots)
    spots = spots[((values == 0) | (values == 255)) & shapely.contains_xy(shape, *spots.T)]
    return spots, _waves(rng, spots)


def _waves(rng: np.random.Generator, spots: Float64) -> Float64:
    """Return (N,) values of a smooth random field between -3 and 3."""
    k = rng.normal(size=(3, 2)) * 0.07
    return np.asarray(np.sin(spots @ k.T + rng.uniform(0, 2 * math.pi, 3)).sum(1))
