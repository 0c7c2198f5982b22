"""Splits keep neighbours on one side, wherever on the earth and in whatever order they are."""

import math
from pathlib import Path

import numpy as np
import pytest
import scipy.spatial
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod

from loc2.data.pairs import read_pairs
from loc2.errors import InputError
from loc2.training.splits import (
    group_by_distance,
    lat_lon_to_m,
    split_groups,
    split_manifest,
    split_places,
)
from tests.test_training_cli import make_manifest

GEOD = Geod(ellps="sphere")


@given(
    lat=st.floats(-80.0, 80.0),
    lon=st.floats(-180.0, 180.0),
    towards=st.floats(0.0, 360.0),
    apart_m=st.floats(1.0, 300.0),
)
def test_neighbours_are_as_far_apart_as_on_the_ground(
    lat: float, lon: float, towards: float, apart_m: float
) -> None:
    other_lon, other_lat, _ = GEOD.fwd(lon, lat, towards, apart_m)
    found = math.dist(lat_lon_to_m(lat, lon), lat_lon_to_m(other_lat, other_lon))
    assert found == pytest.approx(apart_m, rel=1e-3)


def test_places_in_a_row_share_a_group_in_any_order() -> None:
    places = [(0.0, 0.0), (60.0, 0.0), (120.0, 30.0), (1000.0, 0.0), (1000.0, 50.0)]
    groups = group_by_distance(places, 100.0)
    assert groups[0] == groups[1] == groups[2] != groups[3] == groups[4]
    assert group_by_distance(places[::-1], 100.0) == groups[::-1]


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 1000),
    distance_m=st.sampled_from([0.0, 40.0, 100.0]),
    share=st.sampled_from([0.1, 0.2, 0.5]),
)
def test_the_sides_of_a_split_are_apart(seed: int, distance_m: float, share: float) -> None:
    drawn = np.random.default_rng(seed)
    villages = drawn.uniform(-20_000, 20_000, (5, 1, 2)) + drawn.uniform(-100, 100, (5, 8, 2))
    street = np.stack([np.arange(0, 6000, 30.0), drawn.uniform(0, 20, 200)], 1)
    places = [(float(x), float(y)) for x, y in [*villages.reshape(-1, 2), *street]]
    train, held_out = split_places(places, share, distance_m, seed)
    assert train and held_out and not set(train) & set(held_out)
    apart = scipy.spatial.distance.cdist(
        [places[i] for i in train], [places[i] for i in held_out]
    ).min()
    assert apart >= distance_m


def test_the_streets_of_a_city_give_the_share_that_is_asked_for() -> None:
    drawn = np.random.default_rng(0)
    along, across = drawn.uniform(0, 5000, 4000), 100.0 * drawn.integers(0, 50, 4000)
    places = [(float(x), float(y)) for x, y in zip(along, across, strict=True)]
    train, held_out = split_places(places, 0.2, 100.0, 0)
    assert 0.1 < len(held_out) / len(places) < 0.3
    assert len(train) > 0.4 * len(places)  # those beside the other side's are left out


def test_whole_groups_go_to_one_side() -> None:
    groups = [f"g{k // 3}" for k in range(60)]
    train, held_out = split_groups(groups, 0.3, 1)
    assert sorted(train + held_out) == list(range(60))
    assert not {groups[i] for i in train} & {groups[i] for i in held_out}


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("street", ["a", "", "b", "c"], "line 3: no 'street'"),
        (None, ["47.6", "", "47.7", "47.8"], "must be numbers"),
        (None, ["47.6", "nan", "47.7", "47.8"], "must be finite"),
    ],
)
def test_what_cannot_be_grouped_is_a_line(
    tmp_path: Path, column: str | None, values: list[str], message: str
) -> None:
    path = make_manifest(tmp_path)
    lines = path.read_text().splitlines()
    if column is None:
        rows = [f"{line},{v},-122.3" for line, v in zip(lines[1:], values, strict=True)]
        path.write_text("\n".join([lines[0] + ",latitude,longitude", *rows]) + "\n")
    else:
        rows = [line.rsplit(",", 1)[0] + f",{v}" for line, v in zip(lines[1:], values, strict=True)]
        path.write_text("\n".join([lines[0], *rows]) + "\n")
    with pytest.raises(InputError, match=message):
        split_manifest(path, read_pairs(path), column, 100.0, 0.2, 0)
