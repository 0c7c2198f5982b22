"""``loc2 eval scenes``: generated scenes that are evaluated as asked for."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import CliResult

pytest.importorskip("numba")
pytest.importorskip("shapely")

Cli = Callable[..., CliResult]


def test_by_default_the_camera_is_somewhere_about_the_middle_of_a_window(
    cli: Cli, tmp_path: Path
) -> None:
    results = tmp_path / "results.json"
    ran = cli("eval", "scenes", "--count", 1, "--output", results, "--quiet")
    assert ran.code == 0, ran.err
    config = json.loads(results.read_text())["config"]
    assert (config["window_m"], config["shift_range_m"]) == (60, 10)
    (pair,) = json.loads(results.read_text())["pairs"]
    assert pair["status"] == "ok"
    assert pair["window_m"] == pytest.approx(60, abs=0.4)
    assert 0.1 < max(abs(pair["true_east_m"]), abs(pair["true_north_m"])) < 10 * 2**0.5 + 0.4


@pytest.mark.parametrize(("options", "line"), [
    (("--window", 28, "--shift-range", 10), "--shift-range 10: at most 9.9 m in windows of 28 m"),
    (("--window", "nan"), "window must be a positive number of metres"),
    (("--shift-range", -1), "shift range must not be negative"),
])  # fmt: skip
def test_windows_that_cannot_hold_the_camera_are_refused(
    cli: Cli, tmp_path: Path, options: tuple[object, ...], line: str
) -> None:
    ran = cli("eval", "scenes", "--count", 1, *options, "--output", tmp_path / "r.json")
    assert ran.code == 2 and line in ran.err
    assert not (tmp_path / "r.json").exists()


@pytest.mark.parametrize("kind", [(), ("--pinhole",)])
def test_windows_are_as_large_as_asked_for_however_the_camera_is_tilted(
    cli: Cli, tmp_path: Path, kind: tuple[str, ...]
) -> None:
    results = tmp_path / "results.json"
    ran = cli(
        "eval", "scenes", "--count", 2, "--window", 30, "--shift-range", 4, "--styles",
        "countryside", *kind, "--output", results, "--quiet",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    pairs = json.loads(results.read_text())["pairs"]
    assert len(pairs) == 2
    for pair in pairs:
        assert pair["window_m"] == pytest.approx(30, abs=0.4)
        assert max(abs(pair["true_east_m"]), abs(pair["true_north_m"])) < 4 * 2**0.5 + 0.4
