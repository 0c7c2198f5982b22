"""OBJ meshes, the pairs made from them, and their manifest."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("numba")

import typer
from typer.testing import CliRunner

from loc2.cameras import Equirectangular, Pinhole
from loc2.cli.scenes_render import render
from loc2.data.pairs import read_pairs
from loc2.depth.files import load_depth
from loc2.errors import DatasetNotFoundError, InputError
from loc2.frames import Pose
from loc2.scenes.manifest import RenderedPair, finished_ids, write_pair
from loc2.scenes.meshpairs import MeshPairOptions, MeshPairs
from loc2.scenes.obj import read_obj, read_obj_folder

STREET = Path(__file__).parents[1].parent / "shared" / "mesh" / "street"


def write_town(folder: Path) -> None:
    """Write an OBJ tile: 200 x 300 m of grey ground with coloured patches and two blocks."""
    rng = np.random.default_rng(4)
    texture = np.full((64, 64, 3), 128, np.uint8)
    texture += rng.integers(0, 60, (64, 64, 1), np.uint8)
    Image.fromarray(texture).save(folder / "ground.png")
    (folder / "town.mtl").write_text("newmtl ground\nmap_Kd ground.png\nnewmtl wall\nKd .7 .4 .3\n")
    lines = ["mtllib town.mtl", "usemtl ground"]
    lines += [f"v {x} {y} 2" for y in (0, 300) for x in (0, 200)]
    lines += ["vt 0 0", "vt 1 0", "vt 1 1", "vt 0 1", "f 1/1 2/2 4/3 3/4", "usemtl wall"]
    for block, (x, y) in enumerate([(90, 60), (110, 220)]):
        first = 5 + 8 * block
        for z in (2, 14):
            lines += [f"v {x + dx} {y + dy} {z}" for dx, dy in ((0, 0), (20, 0), (20, 20), (0, 20))]
        for k in range(4):
            a, b = first + k, first + (k + 1) % 4
            lines.append(f"f {a} {b} {b + 4} {a + 4}")
        lines.append(f"f {first + 4} {first + 5} {first + 6} {first + 7}")
    (folder / "town.obj").write_text("\n".join(lines) + "\n")


def test_obj_with_polygons_colours_and_textures(tmp_path: Path) -> None:
    write_town(tmp_path)
    mesh = read_obj(tmp_path / "town.obj")
    assert mesh.faces.shape == (22, 3)
    assert mesh.vertices[3].tolist() == [200, 300, 2]
    assert mesh.uv[1].tolist() == [[0, 0], [1, 1], [0, 1]]
    assert mesh.material.tolist() == [0] * 2 + [1] * 20
    assert mesh.materials[1].texture[0, 0].tolist() == [178, 102, 76]
    assert mesh.vertices[mesh.faces[-1]][:, 2].tolist() == [14, 14, 14]


def test_obj_with_relative_indices(tmp_path: Path) -> None:
    text = "v 0 0 0\nv 1 0 0\nv 0 1 0\nvt .1 .2\nvt .3 .4\nvt .5 .6\nf -3/-3/1 -2/-2/1 -1/-1/1\n"
    # They count back from where they stand, not from the file's end.
    (tmp_path / "a.obj").write_text(text + text.replace("v 0 0 0", "v 0 0 5"))
    mesh = read_obj_folder(tmp_path)
    assert mesh.faces.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert mesh.uv[0].ravel().tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("v 0 0 0\n", "no faces"),
        ("v 0 0 0\nv 1 0 0\nf 1 2\n", "fewer than three"),
        ("v 0 0 0\nv 1 0 0\nv 1 1 0\nf 1 2 9\n", "vertex that does not exist"),
        ("v 0 0 0\nv 1 0 0\nv 1 1 0\nf 1/1 2/1 3/1\n", "texture coordinate that does not exist"),
        ("v 0 0 x\nv 1 0 0\nv 1 1 0\nf 1 2 3\n", "not a readable OBJ"),
        ("v 0 0 0\nv 1 0 0\nv 1 1 0\nusemtl brick\nf 1 2 3\n", "material 'brick'"),
        ("mtllib no.mtl\nv 0 0 0\nv 1 0 0\nv 1 1 0\nf 1 2 3\n", "no.mtl: cannot be read"),
    ],
)
def test_damaged_obj_is_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.obj").write_text(text)
    with pytest.raises(InputError, match=message):
        read_obj_folder(tmp_path / "a.obj")


def test_missing_mesh_and_texture(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"no \.obj"):
        read_obj_folder(tmp_path)
    write_town(tmp_path)
    (tmp_path / "ground.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"ground\.png: cannot be read as an image"):
        read_obj_folder(tmp_path)


def small(part: str, **other: object) -> MeshPairOptions:
    return MeshPairOptions(
        part=part, split_north_m=150.0, panorama_width=128, aerial_size=120, **other
    )  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("town")
    write_town(folder)
    return folder / "town.obj"


def test_parts_share_no_aerial_pixel_and_cameras_stand_in_the_open(town: Path) -> None:
    mesh = read_obj(town)
    for part, south, north in (("low", 0.0, 149.0), ("high", 151.0, 300.0)):
        pairs = MeshPairs(mesh, "town", small(part))
        assert pairs.ids(3, 9) == [f"town-{part}_s9_00003"]
        for index in range(200):
            rng = np.random.default_rng(index)
            place = pairs._places[int(rng.integers(len(pairs._places)))]
            center, width_m = pairs.window(rng, place[:2])
            assert south <= center[1] - width_m / 2 and center[1] + width_m / 2 <= north
            assert center[0] - width_m / 2 >= 0 and center[0] + width_m / 2 <= 200
            assert (np.abs(place[:2] - center) < width_m / 2 - 5).all()
            assert place[2] == pytest.approx(2.0)
            for x, y in ((90, 60), (110, 220)):
                outside = np.maximum([x, y] - place[:2], place[:2] - [x + 20, y + 20]).max()
                assert outside > 1.4


def test_a_pair_is_deterministic_and_its_depth_is_that_of_the_ground(town: Path) -> None:
    mesh = read_obj(town)
    options = small("all", pinhole_hfov_deg=(70.0,), pinhole_size=(96, 64))
    first = list(MeshPairs(mesh, "town", options).make(5, 1))
    again = list(MeshPairs(mesh, "town", options).make(5, 1))
    other = list(MeshPairs(mesh, "town", options).make(6, 1))
    assert [p.id for p in first] == ["town_s1_00005", "town_s1_00005_h70"]
    for a, b, c in zip(first, again, other, strict=True):
        assert a.ground.tobytes() == b.ground.tobytes() != c.ground.tobytes()
        assert a.aerial.tobytes() == b.aerial.tobytes()
        assert a.pose == b.pose != c.pose
    for pair in first:
        height, width = pair.depth_m.shape
        uv_px = torch.tensor([width / 2, height * 0.8])
        row, col = int(uv_px[1]), int(uv_px[0])
        if not np.isfinite(pair.depth_m[row, col]):
            continue  # covered by the nadir
        centre = torch.tensor([col + 0.5, row + 0.5])
        point = pair.camera.lift(
            centre, torch.tensor(pair.depth_m[row, col]), pair.camera.depth_kind
        )
        assert -float(point[2]) == pytest.approx(pair.camera_height_m, rel=0.01)
    assert abs(first[0].pose.east_m) < 0.36 * 75


def test_bad_options_and_small_meshes(town: Path) -> None:
    with pytest.raises(InputError, match="nothing to render"):
        MeshPairOptions(panorama=False)
    with pytest.raises(InputError, match="field of view"):
        MeshPairOptions(pinhole_hfov_deg=(200.0,))
    with pytest.raises(InputError, match="from south to north"):
        MeshPairs(read_obj(town), "town", MeshPairOptions(part="high", split_north_m=290.0))


def test_command_writes_a_manifest_that_reads_back_and_resumes(town: Path, tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(render)
    command = [str(town), "--output", str(tmp_path), "--count", "1", "--pinhole", "60"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0 and "2 pairs written" in result.output
    pairs = read_pairs(tmp_path / "pairs.csv")
    assert [p.projection for p in pairs] == ["equirectangular", "pinhole"]
    with Image.open(pairs[0].aerial) as image:
        assert image.size == (640, 640)
    depth = load_depth(pairs[0].depth, Equirectangular(896, 448))  # type: ignore[arg-type]
    assert depth.metric and depth.kind == "range" and depth.depth.shape == (448, 896)
    depth = load_depth(pairs[1].depth, Pinhole.from_hfov(640, 480, 60.0))  # type: ignore[arg-type]
    assert depth.kind == "z"
    again = CliRunner().invoke(app, [*command[:-2], "--count", "2"])
    assert "1 pairs written" in again.output
    assert len(read_pairs(tmp_path / "pairs.csv")) == 3


def test_manifest_keeps_pose_and_camera(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    camera = Equirectangular(64, 20, 1.5, -2.0, 40.0, -30.0)
    pair = RenderedPair(
        id="x_1",
        ground=rng.random((3, 20, 64), np.float32),
        camera=camera,
        depth_m=np.where(rng.random((20, 64)) < 0.2, np.inf, 7.5).astype(np.float32),
        classes=rng.integers(0, 15, (20, 64), np.uint8),
        camera_height_m=1.75,
        aerial=rng.random((3, 30, 30), np.float32),
        aerial_classes=rng.integers(0, 15, (30, 30), np.uint8),
        meters_per_pixel=0.21,
        pose=Pose(3.25, -1.125, 271.5),
    )
    write_pair(tmp_path, pair)
    assert finished_ids(tmp_path) == {"x_1"}
    (row,) = read_pairs(tmp_path / "pairs.csv")
    assert (row.east_m, row.north_m, row.heading_deg) == (3.25, -1.125, 271.5)
    assert (row.roll_deg, row.pitch_deg, row.camera_height_m) == (1.5, -2.0, 1.75)
    assert (row.elevation_top_deg, row.elevation_bottom_deg) == (40.0, -30.0)
    depth = load_depth(row.depth, camera)  # type: ignore[arg-type]
    assert np.array_equal(depth.valid.numpy(), np.isfinite(pair.depth_m))
    with Image.open(tmp_path / "truth" / "x_1_classes.png") as image:
        assert np.array_equal(np.asarray(image), pair.classes)


@pytest.mark.skipif(not STREET.is_dir(), reason=f"the photogrammetry sample is not at {STREET}")
def test_a_tile_of_the_real_street_is_read() -> None:
    tiles = sorted(STREET.glob("*.obj"))[:2]
    mesh = read_obj(tiles[0])
    assert len(mesh.faces) > 1000 and len(mesh.materials) > 1
    assert mesh.vertices[:, 2].min() + 10 >= 0 and mesh.vertices[:, 2].max() < 80
    assert math.isclose(float(mesh.vertices[:, 0].min()), 0.0, abs_tol=60.0)
