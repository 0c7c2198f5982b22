"""Woods, slopes and roadsides of generated worlds."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba")
pytest.importorskip("shapely")

import shapely

from loc2.scenes.banks import draw_banks, sample_heights
from loc2.scenes.mesh import SemanticClass
from loc2.scenes.roads import grow_network
from loc2.scenes.styles import STYLES
from loc2.scenes.textures import TextureLibrary
from loc2.scenes.vegetation import HEIGHTS_M, LEVELS, individual
from loc2.scenes.vehicles import Garage
from loc2.scenes.woods import DEEP_M, STANDS
from loc2.scenes.world import World

RURAL = [name for name, style in STYLES.items() if style.network == "rural"]


@pytest.fixture(scope="module")
def forests() -> list[World]:
    return [World(s, STYLES["us-forest"], TextureLibrary(None), Garage()) for s in (40, 41, 42)]


def test_roads_in_forests_are_lined_with_trees_that_keep_off_them(forests: list[World]) -> None:
    near = []
    for world in forests:
        trees = [t for t in world.inventory.trees if np.abs(t.position).max() < 150.0]
        spots = shapely.points([t.position for t in trees])
        gap = shapely.distance(world.streets.carriageway, spots)
        assert (gap > 0.0).mean() > 0.995
        deep = np.array([t.deep for t in trees])
        assert (gap[deep] > DEEP_M - 2.0).all()
        tall = np.array([t.height_m for t in trees]) > 4.0
        middle = shapely.distance(spots, shapely.Point(0, 0)) < 80.0
        near.append(int((tall & middle & (gap < 20.0)).sum()))
    assert max(near) > 60


def test_trees_hidden_in_woods_are_seen_from_above_alone(forests: list[World]) -> None:
    world = max(forests, key=lambda w: sum(t.deep for t in w.inventory.trees))
    day = world.draw_day(np.random.default_rng(0))
    hidden = np.array([t.position for t in world.inventory.trees if t.deep])
    spot = hidden[np.argmin(np.hypot(*hidden.T))]
    for aerial, expected in ((None, 0), ((40.0, 0.2), 1)):
        mesh = world.mesh(day, spot, aerial)
        tree = mesh.vertices[np.unique(mesh.faces[mesh.class_id == SemanticClass.TREE])]
        trunk = np.hypot(*(tree[:, :2] - spot).T) < 0.15
        assert int(trunk.sum() > 2) == expected


@pytest.mark.parametrize("style", RURAL)
def test_slopes_leave_roads_level(style: str) -> None:
    rng = np.random.default_rng(5)
    steepest = 0.0
    for seed in range(6):
        network = grow_network(np.random.default_rng([seed, 0]), STYLES[style])
        banks = draw_banks(rng, network)
        steepest = max(steepest, float(np.abs(banks.heights).max()))
        for road in network.roads:
            height = np.zeros(len(road.line.points))
            sample_heights(banks.heights, *road.line.points.T, height)
            assert np.abs(height).max() < 0.02
        for edge in (banks.heights[[0, -1]], banks.heights[:, [0, -1]]):
            assert np.abs(edge).max() < 0.02
    assert steepest > 1.0


@pytest.mark.parametrize("style", list(STYLES))
def test_lanes_shoulders_and_median_fill_the_road(style: str) -> None:
    for seed in range(40):
        for road in grow_network(np.random.default_rng([seed, 0]), STYLES[style]).roads:
            half = road.lanes * road.lane_m + road.parking_m + road.shoulder_m + road.median_m / 2
            assert half == pytest.approx(road.width_m / 2)
            assert road.lane_m > 1.2


def test_individuals_are_drawn_once_and_have_every_level_of_detail() -> None:
    library = TextureLibrary(None)
    for species in HEIGHTS_M:
        tree = individual(species, 3, library)
        assert tree is individual(species, 3, library)
        assert len(tree.wood) == LEVELS
        faces = [len(crown.faces) for crown in tree.crowns]
        assert faces == sorted(faces, reverse=True)
        assert len(tree.crowns) in (0, LEVELS) and len(tree.cores) in (0, LEVELS)
        for mesh in (*tree.wood, *tree.crowns, *tree.cores):
            assert np.isfinite(mesh.vertices).all() and mesh.vertices[:, 2].max() < 1.6
    for species_of_stand, (low, high) in STANDS.values():
        assert all(name in HEIGHTS_M for name, _ in species_of_stand) and low < high
