"""Splits that keep neighbouring places on one side, so that validation sees unseen places."""

from __future__ import annotations

import csv
import itertools
import math
import re
import zlib
from collections.abc import Iterator, Sequence
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


def split_places(
    positions_m: Sequence[tuple[float, ...]], share: float, distance_m: float, seed: int
) -> tuple[list[int], list[int]]:
    """Put places into training or validation, none of one side near one of the other.

    Places that a chain of neighbours joins stay together. A chain longer than ten times the
    distance, as the streets of a city make one, is cut into tiles half as large; of places on
    both sides of a cut, those to be trained on are left out.

    Args:
        positions_m: places in any common frame of two or three axes, metres.
        share: of the groups that is wanted for validation, see :func:`split_groups`.
        distance_m: how far apart the sides are at least, metres.
        seed: of the draw.

    Returns:
        Indices for training, indices for validation.
    """
    groups = group_by_distance(positions_m, distance_m)
    members: dict[str, list[tuple[float, ...]]] = {}
    for name, place in zip(groups, positions_m, strict=True):
        members.setdefault(name, []).append(place)
    long = {
        name
        for name, places in members.items()
        if max(max(x) - min(x) for x in zip(*places, strict=True)) > 10 * distance_m
    }
    for index, place in enumerate(positions_m):
        if groups[index] in long:
            groups[index] += " " + " ".join(str(math.floor(x / (5 * distance_m))) for x in place)
    train, validation = split_groups(groups, share, seed)
    held_out = _Near(distance_m)
    for index in validation:
        held_out.add(index, positions_m[index])
    return [i for i in train if not any(held_out.near(positions_m[i]))], validation


class _Near:
    """Finds places nearer than a distance."""

    def __init__(self, distance_m: float) -> None:
        self._distance_m, self._side_m = distance_m, max(distance_m, 1e-3)
        self._cells: dict[tuple[int, ...], list[tuple[int, tuple[float, ...]]]] = {}

    def add(self, index: int, place: tuple[float, ...]) -> None:
        cell = tuple(math.floor(x / self._side_m) for x in place)
        self._cells.setdefault(cell, []).append((index, place))

    def near(self, place: tuple[float, ...]) -> Iterator[int]:
        low = [math.floor(x / self._side_m) - 1 for x in place]
        for cell in itertools.product(*(range(x, x + 3) for x in low)):
            for index, other in self._cells.get(cell, ()):
                if math.dist(place, other) < self._distance_m:
                    yield index


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

    seen = _Near(distance_m)
    for index, place in enumerate(positions_m):
        for other in seen.near(place):
            parent[root(index)] = root(other)
        seen.add(index, place)
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


def split_manifest(
    path: Path,
    pairs: Sequence[Pair],
    column: str | None,
    distance_m: float,
    share: float,
    seed: int,
) -> tuple[list[int], list[int]]:
    """Put the rows of a manifest into training or validation.

    By a column if one is named; else by distance where the manifest has ``latitude`` and
    ``longitude``; else rows that share an aerial image stay together.

    Args:
        path: of the manifest.
        pairs: its rows.
        column: name of the column whose values are kept together.
        distance_m: for splitting by position, see :func:`split_places`.
        share: of the groups that is wanted for validation.
        seed: of the draw.

    Returns:
        Indices for training, indices for validation.

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
        return split_groups([row[column] for row in rows], share, seed)
    if {"latitude", "longitude"} <= rows[0].keys():
        try:
            degrees = [(float(r["latitude"]), float(r["longitude"])) for r in rows]
        except (TypeError, ValueError) as error:  # a short row has None
            raise InputError(f"manifest {path}: latitude and longitude must be numbers") from error
        if not all(math.isfinite(lat) and math.isfinite(lon) for lat, lon in degrees):
            raise InputError(f"manifest {path}: latitude and longitude must be finite")
        return split_places([lat_lon_to_m(*d) for d in degrees], share, distance_m, seed)
    return split_groups([str(pair.aerial) for pair in pairs], share, seed)
