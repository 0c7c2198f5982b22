"""Batches over odd file names, from other folders, and after refusals."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loc2.batch.manifest import from_folder
from loc2.batch.work import Worker
from loc2.errors import InputError
from tests.batch_job import write_manifest, write_weights
from tests.conftest import CliResult

Cli = Callable[..., CliResult]
ODD_NAME = os.fsdecode(b"stra\xdfe.png")  # Latin-1
SPELLED_OUT = "stra\\udcdfe.png"


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with weights, a manifest of four photos, and two aerial images."""
    folder = tmp_path_factory.mktemp("job")
    write_weights(folder / "weights.safetensors")
    write_manifest(folder, photos=4, tiles=2)
    return folder


def words(job: Path, *more: object) -> tuple[object, ...]:
    return ("batch", *more, "--weights", job / "weights.safetensors", "--quiet", "--workers", 1)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def odd_photo(job: Path, tmp_path: Path) -> Path:
    """A photo whose name is not UTF-8, alone in a folder."""
    folder = tmp_path / "photos"
    folder.mkdir()
    try:
        (folder / ODD_NAME).write_bytes((job / "photo_00000.png").read_bytes())
    except OSError:
        pytest.skip("this file system holds UTF-8 names alone")
    return folder / ODD_NAME


@pytest.mark.parametrize("kind", ["csv", "geojson", "parquet"])
def test_names_that_are_not_utf8_are_spelled_out(
    cli: Cli, job: Path, tmp_path: Path, odd_photo: Path, kind: str
) -> None:
    (odd_photo.parent / os.fsdecode(b"\xe9.png")).write_bytes(b"no image")
    output = tmp_path / f"r.{kind}"
    result = cli(
        *words(job, odd_photo.parent, "--output", output, "--aerial", job / "aerial_0.png"),
        "--meters-per-pixel", 0.5,
    )  # fmt: skip
    assert result.code == 3, result.err
    if kind == "csv":
        rows = rows_of(output)
    elif kind == "geojson":
        rows = [f["properties"] for f in json.loads(output.read_text("utf-8"))["features"]]
    else:
        rows = pytest.importorskip("pyarrow.parquet").read_table(output).to_pylist()
    by_name = {row["id"]: row for row in rows}
    assert by_name.keys() == {SPELLED_OUT, "\\udce9.png"}
    assert by_name[SPELLED_OUT]["status"] == "ok"
    assert by_name[SPELLED_OUT]["ground"].endswith("/photos/" + SPELLED_OUT)
    assert "\\udce9.png" in by_name["\\udce9.png"]["error"]


def test_localize_writes_all_files_of_a_photo_whose_name_is_not_utf8(
    cli: Cli, job: Path, tmp_path: Path, odd_photo: Path
) -> None:
    pytest.importorskip("pyproj")
    out = tmp_path / "out"
    result = cli(
        "localize", odd_photo, "--aerial", job / "aerial_0.png", "--meters-per-pixel", 0.5,
        "--aerial-center", "48.1,11.5", "--weights", job / "weights.safetensors", "--output", out,
        "--format", "geojson,csv,kml,gpx", "--write-exif", "--report",
    )  # fmt: skip
    assert result.code == 0, result.err
    for name in ("pose.geojson", "pose.csv", "pose.kml", "pose.gpx", "report.html"):
        text = (out / name).read_text("utf-8")
        assert SPELLED_OUT in text or SPELLED_OUT.replace("\\", "\\\\") in text, name
    assert (out / os.fsdecode(b"stra\xdfe_located.png")).is_file()


def test_a_refused_batch_leaves_nothing_behind(cli: Cli, job: Path, tmp_path: Path) -> None:
    damaged, output = tmp_path / "damaged.safetensors", tmp_path / "new" / "deep" / "r.csv"
    damaged.write_bytes((job / "weights.safetensors").read_bytes()[:2000])
    run = ("batch", job / "photos.csv", "--output", output, "--quiet", "--workers", 1)
    for weights in (damaged, tmp_path / "missing.safetensors"):
        cli(*run, "--weights", weights).assert_one_line_error(weights.name)
        assert not (tmp_path / "new").exists()
    # A run that was killed before its first part stands in no other's way either.
    left = output.with_name("r.csv.job")
    left.mkdir(parents=True)
    (left / "job.json").write_text(json.dumps({"weights": "other"}))
    (left / "joined.csv.partial").write_text("half")
    assert cli(*words(job, job / "photos.csv", "--output", output)).code == 0
    assert not left.exists() and len(rows_of(output)) == 4
    # With an output there, it is not another job that may overwrite it.
    left.mkdir()
    (left / "job.json").write_text(json.dumps({"weights": "other"}))
    before = output.read_bytes()
    cli(
        *words(job, job / "photos.csv", "--output", output), "--seed", 1
    ).assert_one_line_error("exists already")  # fmt: skip
    assert output.read_bytes() == before


def test_a_batch_that_fails_after_its_first_part_goes_on(
    cli: Cli, job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, done = Worker.run, 0

    def fails(worker: Worker, *given: Any) -> list[Any]:
        nonlocal done
        done += 1
        if done == 2:
            raise InputError("the second part fails")
        return run(worker, *given)

    monkeypatch.setattr(Worker, "run", fails)
    command = words(job, job / "photos.csv", "--output", tmp_path / "r.csv", "--part-rows", 1)
    cli(*command).assert_one_line_error("second part")
    assert len(list((tmp_path / "r.csv.job").rglob("part-*.jsonl"))) == 1
    assert cli(*command).code == 0
    summary = json.loads((tmp_path / "r.csv.summary.json").read_text())
    assert (summary["resumed"], summary["ok"]) == (1, 4)


def test_files_named_on_the_command_line_are_those_of_the_folder_it_runs_in(
    cli: Cli, job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, output = tmp_path / "m.csv", tmp_path / "r.csv"
    manifest.write_text(f"ground\n{job / 'photo_00000.png'}\n")
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "ortho.png").write_bytes((job / "aerial_0.png").read_bytes())
    command = words(
        job, manifest, "--output", output, "--aerial", "ortho.png", "--meters-per-pixel", 0.5
    )
    monkeypatch.chdir(tmp_path / "one")
    assert cli(*command).code == cli(*command).code == 0
    assert rows_of(output)[0]["aerial"] == str(tmp_path / "one" / "ortho.png")
    monkeypatch.chdir(tmp_path / "two")
    cli(*command).assert_one_line_error("exists already")


def test_an_aerial_file_that_is_missing_is_refused_before_the_rows(
    cli: Cli, job: Path, tmp_path: Path
) -> None:
    manifest = tmp_path / "m.csv"
    manifest.write_text(f"ground\n{job / 'photo_00000.png'}\n")
    command = words(job, manifest, "--output", tmp_path / "r.csv", "--aerial", "nosuch.tif")
    cli(*command).assert_one_line_error("nosuch.tif", "no such file")
    cli(*command, "--aerial", "").assert_one_line_error("aerial")
    assert sorted(tmp_path.iterdir()) == [manifest]


def test_only_file_names_are_taken_from_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    said = {"camera": "c.json", "tile_cache": Path("tiles"), "aerial": "o.tif", "depth": "d.npy"}
    assert from_folder(said, folder) == {
        "camera": folder / "c.json", "tile_cache": folder / "tiles",
        "aerial": str(folder / "o.tif"), "depth": str(folder / "d.npy"),
    }  # fmt: skip
    assert from_folder({"aerial": str(tmp_path / "o.tif")}, folder)["aerial"] == str(
        tmp_path / "o.tif"
    )
    for name, value in (
        ("aerial", "HTTPS://host/{z}/{x}/{y}.png"),
        ("aerial", "http://host/o.tif"),
        ("depth", "flat"),
        ("depth", "depth-anything-v2-small"),
        ("attribution", "me.txt"),
    ):
        assert from_folder({name: value}, folder) == {name: value}
    local = from_folder({"depth": "depth-anything-v2:models/v2.1"}, folder)
    assert local == {"depth": f"depth-anything-v2:{folder / 'models' / 'v2.1'}"}
