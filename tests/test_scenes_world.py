"""Generated worlds: determinism, variety, consistency of truth, the command line."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

pytest.importorskip("numba")
pytest.importorskip("shapely")

from shapely.geometry import Point

from loc2.cameras import Equirectangular, Pinhole
from loc2.cli import main
from loc2.data.pairs import read_pairs
from loc2.errors import InputError
from loc2.frames import Pose, aerial_m_to_px, local_to_aerial
from loc2.scenes.builder import MeshBuilder
from loc2.scenes.dataset import SceneDataset, make_scenes
from loc2.scenes.light import Light, Sky
from loc2.scenes.mesh import Material, SemanticClass, merge
from loc2.scenes.packed import pack
from loc2.scenes.pairs import SceneOptions, ScenePair, generate_pair
from loc2.scenes.render import render_aerial, render_ground
from loc2.scenes.roads import grow_network
from loc2.scenes.styles import STYLES
from loc2.scenes.textures import TextureLibrary
from loc2.scenes.vehicles import Garage
from loc2.scenes.world import World
from loc2.training.scene_source import SceneSource

SMALL = SceneOptions(ground_width=256, aerial_size=160, meters_per_pixel=(0.4, 0.6))
SHARED_TEXTURES = Path(__file__).parents[1].parent / "shared" / "textures"


@pytest.fixture(scope="module")
def suburb() -> ScenePair:
    return generate_pair(5, replace(SMALL, styles=("au-suburb",), cropped_share=0.0))


def _digest(pair: ScenePair) -> str:
    digest = hashlib.sha256()
    arrays = (pair.ground, pair.depth_m, pair.classes, pair.aerial, pair.aerial_classes,
              pair.visible_from_above)  # fmt: skip
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    digest.update(repr((pair.pose, pair.camera, pair.meters_per_pixel)).encode())
    return digest.hexdigest()


def test_same_seed_same_pair_in_another_process(suburb: ScenePair) -> None:
    code = (
        "from test_scenes_world import SMALL, _digest; from dataclasses import replace;"
        "from loc2.scenes.pairs import generate_pair;"
        "print(_digest(generate_pair(5, replace(SMALL, styles=('au-suburb',), cropped_share=0.0))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        cwd=Path(__file__).parent,
    )  # fmt: skip
    assert done.stdout.strip() == _digest(suburb)


def test_a_pair_does_not_depend_on_those_made_before(suburb: ScenePair) -> None:
    generate_pair(4, replace(SMALL, styles=("city",)))
    again = generate_pair(5, replace(SMALL, styles=("au-suburb",), cropped_share=0.0))
    assert _digest(again) == _digest(suburb)


def _classes_at(pair: ScenePair, points_m: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return the orthophoto's classes at points of the world."""
    assert pair.extras is not None
    above = pair.extras[1]
    offset_px = (points_m - above.center) / above.meters_per_pixel
    middle_px = pair.aerial.shape[0] / 2
    col, row = np.floor(middle_px + offset_px * [1, -1]).astype(int).T
    return pair.aerial_classes[row, col]


def test_views_of_a_scene_show_one_place_from_elsewhere() -> None:
    options = replace(SMALL, styles=("au-suburb",), max_offset=0.0, meters_per_pixel=(0.7, 0.7))
    first, second, third = (generate_pair(5, options, view) for view in range(3))
    assert _digest(first) == _digest(generate_pair(5, options))
    places = [tuple(pair.extras[1].center) for pair in (first, second, third) if pair.extras]
    assert len(set(places)) == 3
    points_m = np.random.default_rng(0).uniform(-20, 20, (2000, 2)) + np.mean(places[:2], 0)
    here = _classes_at(first, points_m)
    # Cars come and go, and roofs and trees lean other ways.
    assert (here == _classes_at(second, points_m)).mean() > 0.7
    elsewhere = generate_pair(6, options)
    assert (here == _classes_at(elsewhere, points_m)).mean() < 0.4


def test_a_view_does_not_depend_on_those_made_before() -> None:
    after = _digest(generate_pair(5, SMALL, 2))
    generate_pair(5, SMALL, 1)
    again = _digest(generate_pair(5, SMALL, 2))
    generate_pair(4, SMALL)  # the place is made anew
    assert after == again == _digest(generate_pair(5, SMALL, 2))


def test_variants_of_a_training_pair_take_its_views_in_turn() -> None:
    source = SceneSource(5, 1, SMALL, views=2)
    first, second, third = (source.read(0, variant) for variant in range(3))
    assert torch.equal(first.ground, third.ground)
    assert first.ground.shape != second.ground.shape or not torch.equal(first.ground, second.ground)
    alone = SceneSource(5, 1, SMALL)
    assert torch.equal(alone.read(0, 1).ground, first.ground)
    assert alone.fingerprint != source.fingerprint


def test_seeds_give_different_road_layouts() -> None:
    layouts = set()
    names = list(STYLES)
    for seed in range(1000):
        network = grow_network(np.random.default_rng([seed, 0]), STYLES[names[seed % len(names)]])
        points = np.concatenate([r.line.points for r in network.roads])
        layouts.add(hashlib.sha256(np.round(points, 1).tobytes()).hexdigest())
    assert len(layouts) == 1000


def _layout(seed: int, style: str) -> str:
    """Return a checksum of what stands where, to the decimetre."""
    world = World(seed, STYLES[style], TextureLibrary(None), Garage())
    inventory = world.inventory
    digest = hashlib.sha256()
    for rows in (
        [p for road in world.network.roads for p in road.line.points],
        [(*frame.origin, floor.width, floor.depth) for frame, floor in inventory.buildings],
        [(*tree.position, tree.height_m) for tree in inventory.trees],
        [(*car.position, car.angle) for car in (*inventory.parked, *inventory.moving)],
        [world.hills.at(np.array([[40.0, -25.0], [500.0, 310.0]]))],
    ):
        digest.update((np.round(np.array(rows), 1) + 0.0).tobytes())  # + 0.0: no negative zeros
    return digest.hexdigest()[:16]


@pytest.mark.parametrize(
    ("seed", "style", "expected"),
    [
        (21, "us-suburb", "c1a2a7a447114c5e"),
        (22, "city", "6eeaa2257f0022e0"),
        (23, "countryside", "03c5e5f295702b2f"),
    ],
)
def test_geometry_is_the_same_on_every_machine(seed: int, style: str, expected: str) -> None:
    """Checksums taken once, on x86-64; a change of the generator must state new ones."""
    assert _layout(seed, style) == expected


def test_networks_have_junctions_dead_ends_and_roundabouts() -> None:
    junctions = dead_ends = roundabouts = crossings = medians = 0
    for seed in range(80):
        network = grow_network(np.random.default_rng([seed, 0]), STYLES["au-suburb"])
        junctions += len(network.junctions)
        crossings += sum(len(j.arms) > 1 for j in network.junctions)
        roundabouts += sum(j.roundabout_m > 0 for j in network.junctions)
        dead_ends += sum(r.bulb_m > 0 for r in network.roads)
        medians += sum(r.median_m > 0 for r in network.roads)
        for junction in network.junctions:
            for arm, starts in junction.arms:
                end = network.roads[arm].line.points[0 if starts else -1]
                assert np.hypot(*(end - junction.point)) < 1e-6
            _, gap = network.roads[junction.through].line.nearest(junction.point)
            assert gap < 0.01
    assert min(junctions, dead_ends, roundabouts, crossings, medians) > 3


def test_cars_differ_between_days_and_nothing_else_does() -> None:
    world = World(1, STYLES["london"], TextureLibrary(None), Garage())
    rng = np.random.default_rng(0)
    one, two = world.draw_day(rng), world.draw_day(rng)
    spots = [{tuple(c.position) for c in day.cars} for day in (one, two)]
    assert spots[0] - spots[1] and spots[1] - spots[0] and spots[0] & spots[1]
    still = replace(one, cars=())
    changed = replace(two, cars=(), autumn=one.autumn, bare=one.bare, seed=one.seed)
    first = world.mesh(still, np.zeros(2), (80.0, 0.5))
    second = world.mesh(changed, np.zeros(2), (80.0, 0.5))
    assert np.array_equal(first.vertices, second.vertices)
    assert np.array_equal(first.class_id, second.class_id)


def test_truth_of_both_views_agrees(suburb: ScenePair) -> None:
    """Ground classes of points that both views show are the orthophoto's own at those points."""
    pair = suburb
    assert pair.extras is not None
    ground, above = pair.extras
    still = np.isin(
        pair.classes,
        [SemanticClass.ROAD, SemanticClass.PAVEMENT, SemanticClass.TERRAIN, SemanticClass.ROOF],
    )
    seen = pair.visible_from_above & still
    uv = above.to_pixels(ground.points_m[seen])
    rows = np.clip(uv[:, 1].astype(int), 0, pair.aerial.shape[0] - 1)
    cols = np.clip(uv[:, 0].astype(int), 0, pair.aerial.shape[1] - 1)
    same = pair.aerial_classes[rows, cols] == pair.classes[seen]
    assert seen.sum() > 1000
    assert same.mean() > 0.93


def _painted_roads(pair: ScenePair, pose: Pose) -> tuple[np.ndarray, np.ndarray]:
    """Lift the ground view to the orthophoto; return whether its and the latter's are roads."""
    seen = pair.visible_from_above & (pair.depth_m < 40.0)
    v, u = np.nonzero(seen)
    uv_px = torch.from_numpy(np.stack((u + 0.5, v + 0.5), -1).astype(np.float32))
    local = pair.camera.lift(uv_px, torch.from_numpy(pair.depth_m[seen]), pair.camera.depth_kind)
    camera_m = torch.tensor([pose.east_m, pose.north_m])
    aerial_m = local_to_aerial(local[:, :2], torch.tensor(pose.heading_deg), camera_m)
    height, width = pair.aerial_classes.shape
    px = aerial_m_to_px(aerial_m, width, height, pair.meters_per_pixel).numpy().astype(int)
    inside = ((px >= 0) & (px < (width, height))).all(1)
    roads = [SemanticClass.ROAD, SemanticClass.MARKING]
    below = np.isin(pair.classes[seen][inside], roads)
    return below, np.isin(pair.aerial_classes[px[inside, 1], px[inside, 0]], roads)


def test_lifting_a_pair_with_its_depth_and_pose_paints_its_orthophoto(suburb: ScenePair) -> None:
    """What is public of a pair is enough, and a pose that is off paints the roads elsewhere."""
    pose = suburb.pose
    below, above = _painted_roads(suburb, pose)
    assert len(below) > 2000 and 0.1 < below.mean() < 0.9
    exact = np.corrcoef(below, above)[0, 1]
    assert exact > 0.9
    for wrong in (
        replace(pose, east_m=pose.east_m + 4.0, north_m=pose.north_m + 4.0),
        replace(pose, heading_deg=(pose.heading_deg + 40.0) % 360),
    ):
        assert np.corrcoef(*_painted_roads(suburb, wrong))[0, 1] < exact - 0.1


def test_landmark_in_a_world_is_where_both_views_should_see_it() -> None:
    """A post put beside the camera of a whole world: 0.5 px in both views, depth within 1 %."""
    world = World(3, STYLES["countryside"], TextureLibrary(None), Garage())
    world.inventory.trees.clear()  # they would hide the post
    spot, heading_deg, half_m = np.array([4.0, -3.0]), 200.0, 0.15
    z = float(world.hills.at(spot)) + 6.0  # above cars and hedges
    local = torch.tensor([[0.6, 5.0]], dtype=torch.float64)
    heading = torch.tensor(heading_deg, dtype=torch.float64)
    at = local_to_aerial(local, heading, torch.from_numpy(spot))[0].numpy()
    facing = float(np.arctan2(*(at - spot)[::-1]))
    post = MeshBuilder()
    red = Material(np.full((4, 4, 3), (255, 0, 0), np.uint8))
    post.box((*at, z - half_m), (2 * half_m,) * 3, facing, red, SemanticClass.POLE)
    day = replace(world.draw_day(np.random.default_rng(0)), cars=())
    center, step = np.array([1.0, 2.0]), 0.15
    mesh = world.mesh(day, center, (24.0, step))
    mesh = pack(merge([mesh, post.build()]))
    light = Light(Sky(np.full((8, 16, 3), 0.5, np.float32)), self_lit=True)

    point = torch.tensor([*local[0].tolist(), 0.0], dtype=torch.float64)
    front = float(torch.linalg.norm(point)) - half_m  # the near side is what is seen
    for camera in (
        Equirectangular(448, 224, 1.5, -2.0),
        Pinhole.from_hfov(320, 240, 80.0, roll_deg=2.0, pitch_deg=-3.0),
    ):
        ground = render_ground(mesh, camera, [*spot, z], heading_deg, light=light)
        red_rgb = (ground.rgb[0] > 0.5) & (ground.rgb[1] < 0.1)
        rows, cols = np.nonzero(red_rgb)
        assert len(rows) > 8  # pixels that the post covers whole
        expected, inside = camera.points_to_pixels(point)
        assert inside
        assert np.abs([cols.mean() + 0.5, rows.mean() + 0.5] - expected.numpy()).max() < 0.5
        col, row = int(expected[0]), int(expected[1])
        assert ground.classes[row, col] == SemanticClass.POLE
        assert ground.range_m[row, col] == pytest.approx(front, rel=0.01)

    above = render_aerial(mesh, center, 160, 160, step, light=light, terrain=world.hills)
    rows, cols = np.nonzero((above.rgb[0] > 0.5) & (above.rgb[1] < 0.1))
    u, v = aerial_m_to_px(torch.from_numpy(at - center), 160, 160, step).tolist()
    assert abs(cols.mean() + 0.5 - u) < 0.5 and abs(rows.mean() + 0.5 - v) < 0.5
    assert above.height_m[int(v), int(u)] == pytest.approx(z + half_m, abs=0.01)


def test_pose_is_where_the_camera_stands(suburb: ScenePair) -> None:
    pair = suburb
    assert pair.extras is not None
    ground, above = pair.extras
    offset = ground.position[:2] - above.center
    assert np.allclose(offset, [pair.pose.east_m, pair.pose.north_m])
    assert pair.pose.heading_deg == pytest.approx(ground.heading_deg % 360)


def test_images_and_classes_have_the_sizes_asked_for(suburb: ScenePair) -> None:
    pair = suburb
    assert isinstance(pair.camera, Equirectangular)
    assert pair.ground.shape == (128, 256, 3) and pair.ground.dtype == np.uint8
    assert pair.depth_m.shape == pair.classes.shape == (128, 256)
    assert pair.aerial.shape == (160, 160, 3)
    assert (pair.classes[:20] != SemanticClass.ROAD).all()
    assert {SemanticClass.ROAD, SemanticClass.TERRAIN} <= set(np.unique(pair.aerial_classes))
    sky = ~pair.valid
    assert np.isinf(pair.depth_m[sky]).all() and np.isfinite(pair.depth_m[~sky]).all()


def test_pinhole_and_cropped_panoramas() -> None:
    options = replace(SMALL, pinhole_share=1.0, pinhole_size=(160, 112), styles=("eu-town",))
    pinhole = generate_pair(5, options)
    assert isinstance(pinhole.camera, Pinhole)
    assert pinhole.ground.shape == (112, 160, 3)
    assert pinhole.camera.depth_kind == "z"
    cropped = generate_pair(6, replace(SMALL, cropped_share=1.0))
    assert isinstance(cropped.camera, Equirectangular)
    assert cropped.camera.elevation_top_deg < 90
    assert cropped.ground.shape[0] == cropped.camera.height < 128


@pytest.mark.parametrize("style", list(STYLES))
def test_every_style_generates(style: str) -> None:
    world = World(11, STYLES[style], TextureLibrary(None), Garage())
    assert world.streets.carriageway.area > 500
    spots = [Point(tree.position) for tree in world.inventory.trees]
    assert not any(world.streets.carriageway.contains(spot) for spot in spots)
    mesh = world.mesh(world.draw_day(np.random.default_rng(0)), np.zeros(2), (80.0, 0.5))
    assert np.isfinite(mesh.vertices).all()
    assert np.isfinite(mesh.uv).all()
    assert mesh.color is not None and (mesh.color >= 0).all()


def test_make_resumes_and_refuses_other_options(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    first = list(make_scenes(SceneDataset(20, 2, SMALL), folder, 1))
    assert first[0] == (0, 2) and first[-1] == (2, 2)
    stamps = {p: p.stat().st_mtime_ns for p in (folder / "images").iterdir()}
    again = list(make_scenes(SceneDataset(20, 3, SMALL), folder, 1))
    assert again == [(2, 3), (3, 3)]
    assert all(p.stat().st_mtime_ns == t for p, t in stamps.items())
    pairs = read_pairs(folder / "pairs.csv")
    assert len(pairs) == 3
    assert all(p.ground.is_file() and p.aerial.is_file() for p in pairs)
    with pytest.raises(InputError, match="other options"):
        list(make_scenes(SceneDataset(20, 3, replace(SMALL, aerial_size=96)), folder, 1))


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--styles", "moon"], "moon"),
        (["--textures", "nowhere-to-be-found"], "nowhere-to-be-found"),
    ],
)
def test_bad_options_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], word: str
) -> None:
    assert main(["scenes", "make", "1", "--output", str(tmp_path / "x"), *arguments]) == 2
    message = capsys.readouterr().err.strip()
    assert word in message and "\n" not in message


def test_textures_from_a_folder_change_the_look_and_not_the_layout() -> None:
    if not SHARED_TEXTURES.is_dir():
        pytest.skip("shared/textures is not here")
    plain = generate_pair(8, SMALL)
    photo = generate_pair(8, replace(SMALL, textures=SHARED_TEXTURES))
    assert plain.pose == photo.pose
    assert not np.array_equal(plain.aerial, photo.aerial)
    assert (plain.aerial_classes == photo.aerial_classes).mean() > 0.95
