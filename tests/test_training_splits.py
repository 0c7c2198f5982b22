"""Splits keep neighbours on one side, wherever on the earth and in whatever order they are."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Geod

from loc2.data.pairs import read_pairs
from loc2.errors import InputError
from loc2.training.splits import group_by_distance, lat_lon_to_m, manifest_groups, split_groups
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
        manifest_groups(path, read_pairs(path), column, 100.0)
