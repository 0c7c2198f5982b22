"""Batches over odd file names, from other folders, and after refusals."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

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
