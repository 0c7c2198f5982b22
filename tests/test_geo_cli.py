"""The command line on real photos and real maps."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest
import rasterio
from PIL import Image

from loc2.frames import heading_error_deg
from loc2.geo.frame import LocalFrame
from loc2.inputs.photo import read_photo_metadata
from loc2.localizer import Localizer
from loc2.model import Loc2Model, load_model, packaged_weights, save_model
from tests.conftest import CliResult, PairFiles
from tests.geo_pair import CRSS, make_tiles, write_geotiff_in, write_mbtiles
from tests.test_geo_photos import make_exif
from tests.test_geo_tiles import Server, send

Cli = Callable[..., CliResult]
GEOD = pyproj.Geod(ellps="WGS84")
PLACE = (-35.2812, 149.1287)
PAIR, PAIR_M = "cvact_pPfo7qQ1fPu2", 0.19


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    running = Server()
    yield running
    running.close()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[object, ...]:
    """Options for weights whose aerial window is 20 cells (28 m) wide: quick, soon in pieces."""
    model, metadata = load_model(packaged_weights("default"))
    config = model.config.model_copy(
        update={"max_aerial_cells": 20, "panorama_cell_deg": 12.0, "head": None, "blocks": (11,)}
    )
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_model(Loc2Model(config), path, metadata, include_backbone=False)
    return ("--weights", path)


def located(cli: Cli, ground: Path, aerial: object, *words: object) -> dict[str, Any]:
    result = cli("localize", ground, "--aerial", aerial, "--json", *words)
    assert result.code == 0, result.err
    return json.loads(result.out)


def apart(a: dict[str, Any], b: dict[str, Any]) -> tuple[float, float]:
    """Return the distance in metres and the difference of headings in degrees of two answers."""
    _, _, distance_m = GEOD.inv(
        a["longitude_deg"], a["latitude_deg"], b["longitude_deg"], b["latitude_deg"]
    )
    return distance_m, heading_error_deg(a["heading_true_deg"], b["heading_true_deg"])


def test_a_real_pair_gives_the_same_pose_however_it_is_stored(
    cli: Cli, shared: Path, tmp_path: Path, server: Server
) -> None:
    images = shared / "real" / "images"
    ground, aerial = images / f"{PAIR}_ground.jpg", images / f"{PAIR}_aerial.jpg"
    with Image.open(aerial) as image:
        pixels = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    frame = LocalFrame(*PLACE)
    around = f"{PLACE[0]},{PLACE[1]}"
    window = ("--around", around, "--radius", 36)
    plain = located(
        cli, ground, aerial, "--meters-per-pixel", PAIR_M, "--aerial-center", around, *window
    )
    answers = {}
    for name, crs in CRSS.items():
        path = write_geotiff_in(tmp_path / f"{name}.tif", pixels, frame, PAIR_M, crs)
        answers[name] = located(cli, ground, path, *window)
    tiles = make_tiles(pixels, frame, PAIR_M, zoom=21, levels=2)
    path = write_mbtiles(tmp_path / "a.mbtiles", tiles, attribution="© Survey")
    answers["mbtiles"] = located(cli, ground, path, *window)
    assert answers["mbtiles"]["attribution"] == "© Survey"

    def answer(handler, before: int) -> None:
        z, x, y = map(int, handler.path.removesuffix(".png").split("/")[1:])
        data = tiles.get((z, x, y))
        (send(b"", 404) if data is None else send(data))(handler, before)

    server.answer = answer
    answers["server"] = located(
        cli, ground, server.template, *window, "--zoom", 21, "--tile-cache", tmp_path / "cache",
        "--attribution", "© Survey",
    )  # fmt: skip
    reference = answers["utm"]
    for name, found in answers.items():
        distance_m, turn_deg = apart(found, reference)
        assert distance_m < (0.3 if name in ("mbtiles", "server") else 0.1), name
        assert turn_deg < 0.5, name
    assert apart(reference, plain)[0] < 0.3


@pytest.fixture(scope="module")
def small_map(tmp_path_factory: pytest.TempPathFactory, pair_files: PairFiles) -> Path:
    """Return the made-up aerial image, 0.25 m per pixel, as a GeoTIFF in UTM."""
    folder = tmp_path_factory.mktemp("map")
    with Image.open(pair_files.aerial) as image:
        pixels = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    return write_geotiff_in(folder / "map.tif", pixels, LocalFrame(*PLACE), 0.25, CRSS["utm"])


@pytest.fixture
def photo(pair_files: PairFiles, tmp_path: Path) -> Path:
    """Return the made-up panorama as a JPEG that knows where it was taken."""
    exif = make_exif(position=PLACE, error_m=4.0, direction=(120.0, "T"))
    path = tmp_path / "photo.jpg"
    with Image.open(pair_files.ground) as image:
        image.convert("RGB").save(path, exif=exif.tobytes(), quality=95)
    return path


def test_outputs_around_the_photos_own_position(
    cli: Cli, photo: Path, small_map: Path, tmp_path: Path, small: tuple[object, ...]
) -> None:
    out = tmp_path / "out"
    result = cli(
        "localize", photo, "--aerial", small_map, "--radius", 20, "--output", out,
        "--format", "geojson,csv,kml,gpx", "--write-exif", "--overlay-geotiff",
        "--attribution", "© Me", *small,
    )  # fmt: skip
    assert result.code == 0, result.err
    for text in ("on earth", "true heading", "EXIF", "© Me"):
        assert text in result.out
    pose = json.loads((out / "pose.json").read_text())
    assert pose["priors"] == {"position": "EXIF", "heading": "EXIF, true north", "camera": "none"}
    assert pose["search"]["around"] == "EXIF" and pose["search"]["width_m"] == 40.0
    assert heading_error_deg(pose["heading_true_deg"], 120.0) <= 45.1
    assert set(pose["ellipse"]) == {
        "semi_major_m", "semi_minor_m", "azimuth_true_deg", "probability",
    }  # fmt: skip
    centre = pose["search"]["longitude_deg"], pose["search"]["latitude_deg"]
    _, _, distance_m = GEOD.inv(*centre, pose["longitude_deg"], pose["latitude_deg"])
    expected_m = np.hypot(pose["east_m"], pose["north_m"])
    assert distance_m == pytest.approx(expected_m, abs=0.01)
    assert pose["u_px"] * pose["meters_per_pixel"] - 20 == pytest.approx(pose["east_m"], abs=0.01)
    row = next(csv.DictReader((out / "pose.csv").open()))
    point = json.loads((out / "pose.geojson").read_text())["features"][0]["geometry"]
    for found in (
        (float(row["longitude_deg"]), float(row["latitude_deg"])), tuple(point["coordinates"]),
    ):  # fmt: skip
        assert found == pytest.approx((pose["longitude_deg"], pose["latitude_deg"]), abs=1e-8)
    assert (out / "pose.kml").exists() and (out / "pose.gpx").exists()
    copy = read_photo_metadata(out / "photo_located.jpg")
    assert copy.latitude_deg == pytest.approx(pose["latitude_deg"], abs=1e-8)
    assert heading_error_deg(copy.heading_true_deg, pose["heading_true_deg"]) < 0.01
    with rasterio.open(out / "overlay.tif") as dataset:
        to_map = pyproj.Transformer.from_crs("EPSG:4326", dataset.crs, always_xy=True)
        x, y = to_map.transform(pose["longitude_deg"], pose["latitude_deg"])
        bounds = dataset.bounds
        assert bounds.left < x < bounds.right and bounds.bottom < y < bounds.top
        assert dataset.tags()["ATTRIBUTION"] == "© Me"


def test_ignoring_metadata_searches_the_whole_map(
    cli: Cli, photo: Path, small_map: Path, small: tuple[object, ...]
) -> None:
    pose = located(cli, photo, small_map, "--ignore-metadata", *small)
    assert pose["priors"] == {"position": "none", "heading": "none", "camera": "none"}
    assert pose["search"]["around"] == "whole image"
    assert pose["search"]["width_m"] == pytest.approx(48.0, abs=2.5)


def test_given_priors_beat_metadata(
    cli: Cli, photo: Path, small_map: Path, small: tuple[object, ...]
) -> None:
    near = f"{PLACE[0] + 5e-5},{PLACE[1]}"
    pose = located(
        cli, photo, small_map, "--around", near, "--radius", 15, "--heading-prior", 300,
        "--heading-range", 10, *small,
    )  # fmt: skip
    assert pose["priors"]["position"] == pose["priors"]["heading"] == "given"
    assert pose["search"]["latitude_deg"] == pytest.approx(PLACE[0] + 5e-5, abs=1e-9)
    assert heading_error_deg(pose["heading_true_deg"], 300.0) <= 10.1


def test_plain_images_use_the_photos_heading_but_not_its_position(
    cli: Cli, photo: Path, pair_files: PairFiles, small: tuple[object, ...]
) -> None:
    pose = located(cli, photo, pair_files.aerial, "--meters-per-pixel", 0.25, *small)
    assert "latitude_deg" not in pose
    assert "not used" in pose["priors"]["position"]
    assert heading_error_deg(pose["heading_deg"], 120.0) <= 45.1


def test_a_large_window_is_searched_in_pieces(
    cli: Cli, pair_files: PairFiles, tmp_path: Path, small: tuple[object, ...]
) -> None:
    """A made-up map of 60 x 48 m: pieces cover it, the posterior is one, outputs agree."""
    rng = np.random.default_rng(8)
    noise = rng.integers(0, 255, (30, 38, 3), dtype=np.uint8)
    big = Image.fromarray(noise).resize((600, 480), Image.Resampling.BICUBIC)
    big.save(tmp_path / "big.png")
    pixels = np.asarray(big).transpose(2, 0, 1)
    path = write_geotiff_in(tmp_path / "big.tif", pixels, LocalFrame(*PLACE), 0.1, CRSS["utm"])
    result = cli(
        "localize", pair_files.ground, "--aerial", path, "--json", "--output", tmp_path / "out",
        "--format", "geojson", "--overlay-geotiff", *small,
    )  # fmt: skip
    assert result.code == 0, result.err
    pose = json.loads(result.out)
    assert pose["search"]["pieces"] > 8
    assert pose["radius_90_m"] is None  # it is of windows seen at once
    assert sum(h["mass"] for h in pose["hypotheses"]) <= 1 + 1e-6
    centre = pose["search"]["longitude_deg"], pose["search"]["latitude_deg"]
    for place in (pose, *pose["hypotheses"]):
        _, _, distance_m = GEOD.inv(*centre, place["longitude_deg"], place["latitude_deg"])
        assert distance_m == pytest.approx(np.hypot(place["east_m"], place["north_m"]), abs=0.01)
    with rasterio.open(tmp_path / "out" / "overlay.tif") as dataset:
        to_map = pyproj.Transformer.from_crs("EPSG:4326", dataset.crs, always_xy=True)
        x, _ = to_map.transform(pose["longitude_deg"], pose["latitude_deg"])
        assert dataset.bounds.left < x < dataset.bounds.right
    only = located(
        cli,
        pair_files.ground,
        path,
        "--position-prior",
        "20,-12",
        "--position-radius",
        2,
        *small,
    )
    assert np.hypot(only["east_m"] - 20, only["north_m"] + 12) <= 2.01
    assert only["search"]["pieces"] < pose["search"]["pieces"]
    for radius_m in (4.0, 5.5, 7.0, 8.5, 10.0, 14.0):  # circles over the corners of pieces
        found = located(
            cli, pair_files.ground, path,
            "--position-prior", "0,0", "--position-radius", radius_m, *small,
        )  # fmt: skip
        assert np.hypot(found["east_m"], found["north_m"]) <= radius_m + 0.01
    flat = located(
        cli, pair_files.ground, tmp_path / "big.png", "--meters-per-pixel", 0.1,
        "--position-prior", "20,-12", "--position-radius", 2, *small,
    )  # fmt: skip
    assert flat["u_px"] == pytest.approx(300 + flat["east_m"] / 0.1)
    assert flat["v_px"] == pytest.approx(240 - flat["north_m"] / 0.1)


BAD = [
    (("--around", "48"), "LAT,LON expected"),
    (("--around", "99,9"), "latitude must lie in"),
    (("--around", "48,9"), "no imagery within"),
    (("--radius", "-3"), "radius must be positive"),
    (("--radius", "nan", "--snap", "25"), "radius must be positive"),
    (("--radius", "inf", "--snap", "25"), "radius must be positive"),
    (("--radius", "3000"), "say where to look"),
    (("--format", "shp"), "unknown format"),
    (("--format", "kml"), "--format needs a folder"),
    (("--write-exif",), "--write-exif needs a folder"),
    (("--overlay-geotiff",), "--overlay-geotiff needs a folder"),
    (("--bands", "1,x"), "--bands"),
    (("--bands", "1,2,9"), "bands must be one or three"),
    (("--aerial-crs", "EPSG:0"), "unknown coordinate system"),
]


@pytest.mark.parametrize(("words", "message"), BAD)
def test_bad_options_end_in_one_line(
    cli: Cli, photo: Path, small_map: Path, words: tuple[str, ...], message: str
) -> None:
    cli("localize", photo, "--aerial", small_map, *words).assert_one_line_error(message)


def test_a_photo_without_room_for_exif_is_refused_at_once_by_its_content(
    cli: Cli, photo: Path, small_map: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disguised = tmp_path / "webp.jpg"
    with Image.open(photo) as image:
        image.save(disguised, "WEBP", exif=image.getexif().tobytes())
    monkeypatch.setattr(Localizer, "from_pretrained", lambda *_: pytest.fail("too late"))
    out = tmp_path / "out"
    words = ("--aerial", small_map, "--radius", 20, "--output", out, "--write-exif")
    cli("localize", disguised, *words).assert_one_line_error("webp.jpg", "JPEG and PNG")
    (tmp_path / "photo_located.jpg").hardlink_to(photo)
    cli("localize", photo, *words[:-3], "--output", tmp_path, "--write-exif").assert_one_line_error(
        "must not overwrite"
    )
    assert not out.exists()


def test_exif_that_cannot_be_written_leaves_no_file(
    cli: Cli, photo: Path, small_map: Path, tmp_path: Path, small: tuple[object, ...]
) -> None:
    def exif(comment_bytes: int) -> bytes:
        comment = {0x9286: b"x" * comment_bytes}
        return make_exif(position=PLACE, error_m=4.0, extra=comment).tobytes()

    with Image.open(photo) as image:
        image.save(photo, exif=exif(65_500 + 100 - len(exif(100))))  # full but for a few bytes
    out = tmp_path / "out"
    cli(
        "localize", photo, "--aerial", small_map, "--radius", 20, "--output", out,
        "--write-exif", "--format", "geojson", "--quiet", *small,
    ).assert_one_line_error("too long")  # fmt: skip
    assert not out.exists()


def test_what_needs_a_georeference_says_so(
    cli: Cli, photo: Path, pair_files: PairFiles, tmp_path: Path
) -> None:
    plain = ("localize", photo, "--aerial", pair_files.aerial, "--meters-per-pixel", 0.25)
    cli(*plain, "--around", "48,9").assert_one_line_error("no georeference")
    cli(*plain, "--output", tmp_path, "--format", "kml").assert_one_line_error("--aerial-center")
    template = "http://127.0.0.1:9/{z}/{x}/{y}.png"
    cli("localize", photo, "--aerial", template, "--tile-size", 0).assert_one_line_error("128, 256")
    cli("localize", pair_files.ground, "--aerial", template).assert_one_line_error(
        "covers the world"
    )
    cli(
        "localize", photo, "--aerial", template, "--offline", "--tile-cache", tmp_path
    ).assert_one_line_error("offline")
