"""Splits that keep neighbouring places on one side, so that validation sees unseen places."""

from __future__ import annotations

import csv
import itertools
import math
import re
import zlib
from collections.abc import Sequence
from pathlib import Path

from loc2.data.pairs import Pair
from loc2.errors import InputError

_EARTH_RADIUS_M = 6_371_008.8
_LAT_LON = re.compile(r"(-?\d{1,2}\.\d{3,})[,_](-?\d{1,3}\.\d{3,})")


def split_groups(groups: Sequence[str], share: float, seed: int) -> tuple[list[int], list[int]]:
    """Put whole groups into training or validation.

    The draw depends on a group's name alone, so adding data moves nothing that was there.

    Args:
        groups: group of every sample.
        share: share of the groups that is wanted for validation; if it is positive and there are
            at least two groups, both sides get one. A single group is trained on.
        seed: of the draw.

    Returns:
        Indices for training, indices for validation.
    """
    names = sorted(set(groups))
    rank = {n: (zlib.crc32(f"{seed} {n}".encode()) / 2**32, n) for n in names}
    held_out = {n for n in names if rank[n][0] < share} if len(names) > 1 else set()
    if share > 0 and len(names) > 1:
        ordered = sorted(names, key=lambda n: rank[n])
        held_out = held_out or {ordered[0]}
        held_out = held_out if len(held_out) < len(names) else set(ordered[:-1])
    train = [i for i, g in enumerate(groups) if g not in held_out]
    validation = [i for i, g in enumerate(groups) if g in held_out]
    return train, validation


def group_by_distance(positions_m: Sequence[tuple[float, ...]], distance_m: float) -> list[str]:
    """Group places so that no two places of different groups are nearer than a distance.

    Args:
        positions_m: places in any common frame of two or three axes, metres.
        distance_m: places nearer than this to one another share a group (single linkage).
    """
    parent = list(range(len(positions_m)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    cells: dict[tuple[int, ...], list[int]] = {}
    side = max(distance_m, 1e-3)
    for index, place in enumerate(positions_m):
        around = [range(math.floor(x / side) - 1, math.floor(x / side) + 2) for x in place]
        for cell in itertools.product(*around):
            for other in cells.get(cell, ()):
                if math.dist(place, positions_m[other]) < distance_m:
                    parent[root(index)] = root(other)
        cells.setdefault(tuple(math.floor(x / side) for x in place), []).append(index)
    # Named by its first place, so that the draw does not depend on the order of rows.
    first: dict[int, tuple[float, ...]] = {}
    for index, place in enumerate(positions_m):
        first[root(index)] = min(first.get(root(index), place), place)
    return [" ".join(f"{x:.1f}" for x in first[root(i)]) for i in range(len(positions_m))]


def lat_lon_to_m(lat_deg: float, lon_deg: float) -> tuple[float, float, float]:
    """Return a place on a sphere in metres; neighbours lie as far apart as on the ground."""
    lat, lon = math.radians(lat_deg), math.radians(lon_deg)
    along = math.cos(lat) * _EARTH_RADIUS_M
    return along * math.cos(lon), along * math.sin(lon), math.sin(lat) * _EARTH_RADIUS_M


def lat_lon_in_name(name: str) -> tuple[float, float] | None:
    """Find a latitude and longitude in a file name, as VIGOR's names carry them."""
    found = _LAT_LON.search(name)
    return None if found is None else (float(found[1]), float(found[2]))


def manifest_groups(
    path: Path, pairs: Sequence[Pair], column: str | None, distance_m: float
) -> list[str]:
    """Group the rows of a manifest.

    By a column if one is named; else by distance where the manifest has ``latitude`` and
    ``longitude``; else rows share a group when they share an aerial image.

    Args:
        path: of the manifest.
        pairs: its rows.
        column: name of the column whose values are kept together.
        distance_m: for grouping by position, metres.

    Raises:
        InputError: the column does not exist or is empty in a row, or a latitude or longitude is no
            number.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    if column is not None:
        if column not in rows[0]:
            raise InputError(f"manifest {path}: no column {column!r} to split by")
        for line, row in enumerate(rows, start=2):
            if not row[column]:
                raise InputError(f"manifest {path}, line {line}: no {column!r} to split by")
        return [row[column] for row in rows]
    if {"latitude", "longitude"} <= rows[0].keys():
        try:
            degrees = [(float(r["latitude"]), float(r["longitude"])) for r in rows]
        except (TypeError, ValueError) as error:  # a short row has None
            raise InputError(f"manifest {path}: latitude and longitude must be numbers") from error
        if not all(math.isfinite(lat) and math.isfinite(lon) for lat, lon in degrees):
            raise InputError(f"manifest {path}: latitude and longitude must be finite")
        return group_by_distance([lat_lon_to_m(*d) for d in degrees], distance_m)
    return [str(pair.aerial) for pair in pairs]
