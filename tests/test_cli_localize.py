"""``loc2 localize`` and friends from the command line: outputs, and every kind of bad input."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from loc2.cli.explained import command_line
from tests.conftest import CliResult, PairFiles

Cli = Callable[..., CliResult]

POSE_KEYS = {
    "east_m",
    "north_m",
    "heading_deg",
    "scale",
    "u_px",
    "v_px",
    "meters_per_pixel",
    "covariance",
    "confidence",
    "hypotheses",
    "weights",
    "version",
}


def test_localize_writes_pose_and_figures(cli: Cli, pair_files: PairFiles, tmp_path: Path) -> None:
    out = tmp_path / "new" / "folder"
    result = cli(
        "localize", pair_files.ground, "--aerial", pair_files.aerial,
        "--meters-per-pixel", 0.25, "--output", out,
    )  # fmt: skip
    assert result.code == 0, result.err
    assert "heading" in result.out
    assert sorted(p.name for p in out.iterdir()) == ["matches.png", "overlay.png", "pose.json"]
    pose = json.loads((out / "pose.json").read_text())
    assert pose["settings"]["camera_height_m"] == 2.5
    assert pose.keys() >= POSE_KEYS
    assert pose["u_px"] == pytest.approx(96 + pose["east_m"] / 0.25)
    assert pose["v_px"] == pytest.approx(96 - pose["north_m"] / 0.25)
    assert np.array(pose["covariance"]).shape == (3, 3)
    assert 0 <= pose["heading_deg"] < 360
    assert 0 <= pose["confidence"] <= 1
    masses = [h["mass"] for h in pose["hypotheses"]]
    assert masses == sorted(masses, reverse=True)
    assert sum(masses) <= 1 + 1e-9
    assert set(pose["hypotheses"][0]) == {"east_m", "north_m", "heading_deg", "scale", "mass"}
    for name in ("matches.png", "overlay.png"):
        with Image.open(out / name) as image:
            assert min(image.size) > 200


def test_nothing_matches_means_low_confidence(cli: Cli, pair_files: PairFiles) -> None:
    result = cli(
        "localize", pair_files.ground, "--aerial", pair_files.aerial, "--meters-per-pixel", 0.25
    )
    assert result.code == 0
    assert "Low confidence" in result.out


def test_json_output_is_deterministic_and_priors_hold(cli: Cli, pair_files: PairFiles) -> None:
    words = (
        "localize", pair_files.ground, "--aerial", pair_files.aerial, "--meters-per-pixel", 0.25,
        "--heading-prior", 350, "--heading-range", 20,
        "--position-prior", "5,-4", "--position-radius", 3, "--json",
    )  # fmt: skip
    first, second = cli(*words), cli(*words)
    assert first.out == second.out
    pose = json.loads(first.out)
    assert abs((pose["heading_deg"] - 350 + 180) % 360 - 180) <= 20.01
    assert np.hypot(pose["east_m"] - 5, pose["north_m"] + 4) <= 3.01


def test_quiet_prints_nothing(cli: Cli, pair_files: PairFiles, tmp_path: Path) -> None:
    result = cli(
        "localize", pair_files.ground, "--aerial", pair_files.aerial,
        "--meters-per-pixel", 0.25, "--quiet", "--output", tmp_path,
    )  # fmt: skip
    assert (result.code, result.out, result.err) == (0, "", "")
    assert (tmp_path / "pose.json").exists()


def test_photo_with_field_of_view_and_camera_file(
    cli: Cli, pair_files: PairFiles, tmp_path: Path
) -> None:
    common = ("--aerial", pair_files.aerial, "--meters-per-pixel", 0.25, "--json")
    by_option = cli("localize", pair_files.ground, *common, "--hfov", 90, "--pitch", -5)
    camera = tmp_path / "camera.json"
    camera.write_text(
        json.dumps(
            {"projection": "pinhole", "width": 640, "height": 320, "fx": 320, "fy": 320,
             "cx": 320, "cy": 160, "pitch_deg": -5}
        )
    )  # fmt: skip
    by_file = cli("localize", pair_files.ground, *common, "--camera", camera)
    assert by_option.code == by_file.code == 0
    assert json.loads(by_option.out) == json.loads(by_file.out)
    mixed = cli("localize", pair_files.ground, *common, "--camera", camera, "--hfov", 90)
    mixed.assert_one_line_error("camera file already describes", "hfov_deg")
    twice = cli("localize", pair_files.ground, *common, "--camera", camera, "--pitch", 3)
    twice.assert_one_line_error("pitch_deg", "camera.json")


def test_odd_sizes_and_modes_are_localized(cli: Cli, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    grey16 = rng.integers(0, 65535, (97, 194), dtype=np.uint16)
    Image.fromarray(grey16).save(tmp_path / "ground.png")
    rgba = rng.integers(0, 255, (131, 173, 4), dtype=np.uint8)
    Image.fromarray(rgba).save(tmp_path / "aerial.png")
    result = cli(
        "localize", tmp_path / "ground.png", "--aerial", tmp_path / "aerial.png",
        "--meters-per-pixel", 0.31, "--json",
    )  # fmt: skip
    assert result.code == 0, result.err


BAD_OPTIONS: list[tuple[tuple[object, ...], str]] = [
    ((), "metres per pixel of the aerial image missing"),
    (("--meters-per-pixel", 0), "must be a positive number"),
    (("--meters-per-pixel", -1), "must be a positive number"),
    (("--meters-per-pixel", "nan"), "must be a positive number"),
    (("--meters-per-pixel", "abc"), "--meters-per-pixel"),
    (("--meters-per-pixel", 1e-6), "check metres per pixel"),
    (("--meters-per-pixel", 0.2, "--panorama", "--hfov", 90), "contradict"),
    (("--meters-per-pixel", 0.2, "--hfov", 200), "hfov_deg"),
    (("--meters-per-pixel", 0.2, "--elevation-top", 30), "belong together"),
    (("--meters-per-pixel", 0.2, "--heading-prior", 30), "belong together"),
    (("--meters-per-pixel", 0.2, "--heading-prior", 30, "--heading-range", 0), "half-width"),
    (("--meters-per-pixel", 0.2, "--position-prior", "3;4", "--position-radius", 4), "EAST,NORTH"),
    (("--meters-per-pixel", 0.2, "--position-prior", "3,4"), "belong together"),
    (
        ("--meters-per-pixel", 0.2, "--position-prior", "900,4", "--position-radius", 4),
        "lies outside the aerial image",
    ),
    (("--meters-per-pixel", 0.2, "--camera-height", -2), "camera_height_m"),
    (("--meters-per-pixel", 0.2, "--roll", 95), "roll_deg"),
    (("--meters-per-pixel", 0.2, "--depth", "nonsense"), "neither a file nor a known model"),
    (("--meters-per-pixel", 0.2, "--depth", "none.npy"), "no such file"),
    (("--meters-per-pixel", 0.2, "--depth-unit", "m"), "belong to a depth file"),
    (("--meters-per-pixel", 0.2, "--depth-unit", "furlong"), "--depth-unit"),
    (("--meters-per-pixel", 0.2, "--weights", "none.safetensors"), "no such weights file"),
    (("--meters-per-pixel", 0.2, "--device", "abacus"), "not available"),
    (("--meters-per-pixel", 0.2, "--device", "meta"), "not available"),
    (("--meters-per-pixel", 0.2, "--camera", "none.json"), "cannot be read"),
    (("--meters-per-pixel", 0.2, "--nonsense"), "nonsense"),
    (("--meters-per-pixel", 0.2, "--figures", "matches,heatmap"), "figure 'heatmap': choose from"),
    (("--meters-per-pixel", 0.2, "--figures", ""), "figure '': choose from"),
    (("--meters-per-pixel", 0.2, "--figure-format", "bmp"), "choose from png, svg, pdf"),
]


@pytest.mark.parametrize(("options", "message"), BAD_OPTIONS, ids=lambda v: str(v)[:60])
def test_bad_options_give_one_line(
    cli: Cli, pair_files: PairFiles, tmp_path: Path, options: tuple[object, ...], message: str
) -> None:
    out = tmp_path / "out"
    result = cli(
        "localize", pair_files.ground, "--aerial", pair_files.aerial, *options, "--output", out
    )
    result.assert_one_line_error(message)
    assert not out.exists()


def test_bad_files_give_one_line(cli: Cli, pair_files: PairFiles, tmp_path: Path) -> None:
    text = tmp_path / "text.png"
    text.write_text("no image")
    common = ("--meters-per-pixel", 0.25)
    cli("localize", text, "--aerial", pair_files.aerial, *common).assert_one_line_error(
        "ground image", "text.png", "not an image"
    )
    cli("localize", pair_files.ground, "--aerial", text, *common).assert_one_line_error(
        "aerial image", "text.png"
    )
    Image.new("RGB", (301, 100)).save(tmp_path / "wide.png")
    cli(
        "localize", tmp_path / "wide.png", "--aerial", pair_files.aerial, *common
    ).assert_one_line_error("301x100", "--hfov")
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"nothing")
    cli(
        "localize", pair_files.ground, "--aerial", pair_files.aerial, *common, "--weights", weights
    ).assert_one_line_error("weights.safetensors")
    long = f"{'n' * 300}.png"
    for files in ((long, pair_files.aerial), (pair_files.ground, long)):
        cli("localize", files[0], "--aerial", files[1], *common).assert_one_line_error("too long")
    np.save(tmp_path / "depth.npy", np.full((160, 320), np.nan))
    cli(
        "localize", pair_files.ground, "--aerial", pair_files.aerial, *common,
        "--depth", tmp_path / "depth.npy", "--depth-unit", "m",
    ).assert_one_line_error("no valid depth")  # fmt: skip


def test_unwritable_output_leaves_nothing(cli: Cli, pair_files: PairFiles, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("I am a file")
    for folder in (blocked / "out", tmp_path / ("n" * 300)):
        cli(
            "localize", pair_files.ground, "--aerial", pair_files.aerial,
            "--meters-per-pixel", 0.25, "--output", folder,
        ).assert_one_line_error("output folder", "cannot be made")  # fmt: skip
    assert blocked.read_text() == "I am a file"


def test_help_and_version(cli: Cli) -> None:
    assert cli("--version").out.strip() == "0.1.0"
    listing = cli("--help")
    assert listing.code == 0
    for command in ("localize", "demo", "eval", "bench"):
        assert command in listing.out
        assert cli(command, "--help").code == 0
    cli("nonsense").assert_one_line_error("nonsense")


@pytest.mark.parametrize("options", [("--version",), ("localize", "--help")])
def test_output_that_nobody_reads_is_no_error(options: tuple[str, ...]) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    result = subprocess.run(
        [sys.executable, "-m", "loc2", *options],
        stdout=write_end, stderr=subprocess.PIPE, check=False,
    )  # fmt: skip
    os.close(write_end)
    assert (result.returncode, result.stderr) == (1, b"")


def test_a_program_without_output_does_its_work(tmp_path: Path) -> None:
    command = f"{shlex.quote(sys.executable)} -m loc2 --help >&-"
    result = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, check=False)
    assert (result.returncode, result.stderr) == (0, b"")


def test_a_terminal_without_a_sign_for_degrees_is_no_error(
    pair_files: PairFiles, tmp_path: Path
) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "loc2", "localize", pair_files.ground, "--aerial",
         pair_files.aerial, "--meters-per-pixel", "0.25", "--output", tmp_path],
        env=os.environ | {"PYTHONIOENCODING": "ascii"}, capture_output=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert b"heading" in result.stdout


def test_all_figures_and_the_report(cli: Cli, pair_files: PairFiles, tmp_path: Path) -> None:
    result = cli(
        "localize", pair_files.ground, "--aerial", pair_files.aerial, "--meters-per-pixel", 0.25,
        "--figures", "all", "--figure-format", "svg", "--report", "--output", tmp_path,
    )  # fmt: skip
    assert result.code == 0, result.err
    names = ("depth", "matches", "overlay", "points", "posterior")
    expected = [*(f"{n}.svg" for n in names), "pose.json", "report.html"]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(expected)
    for name in expected:
        assert f"wrote {tmp_path / name}" in result.out
    page = (tmp_path / "report.html").read_text()
    assert "ground.png" in page
    assert f"--aerial {pair_files.aerial}" in page  # the command
    assert "Do not rely on this answer" in page


def test_named_figures_only(cli: Cli, pair_files: PairFiles, tmp_path: Path) -> None:
    common = ("--aerial", pair_files.aerial, "--meters-per-pixel", 0.25, "--output", tmp_path)
    words = ("localize", pair_files.ground, *common, "--figure-format", "pdf")
    assert cli(*words, "--figures", "depth, posterior").code == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["depth.pdf", "pose.json", "posterior.pdf"]
    assert (tmp_path / "depth.pdf").read_bytes().startswith(b"%PDF")
    assert cli(*words[:-2], "--figures", "none").code == 0
    assert len(list(tmp_path.iterdir())) == 3


def test_figures_and_report_need_a_folder(cli: Cli, pair_files: PairFiles) -> None:
    words = ("localize", pair_files.ground, "--aerial", pair_files.aerial, "--meters-per-pixel", 1)
    cli(*words, "--report").assert_one_line_error("--report", "--output")
    cli(*words, "--figures", "all").assert_one_line_error("--figures", "--output")


def test_hostile_file_names_in_the_report(cli: Cli, pair_files: PairFiles, tmp_path: Path) -> None:
    photo = tmp_path / "<img src=x onerror=alert(1)>&'.png"
    Image.open(pair_files.ground).save(photo)
    result = cli(
        "localize", photo, "--aerial", pair_files.aerial, "--meters-per-pixel", 0.25,
        "--report", "--figures", "none", "--quiet", "--output", tmp_path / "out",
    )  # fmt: skip
    assert result.code == 0, result.err
    page = (tmp_path / "out" / "report.html").read_text()
    assert "&lt;img src=x onerror=alert(1)&gt;&amp;" in page
    assert "<img src=x" not in page


def test_a_figure_that_fails_leaves_nothing_half_written(
    cli: Cli, pair_files: PairFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", interrupted)
    result = cli(
        "localize", pair_files.ground, "--aerial", pair_files.aerial, "--meters-per-pixel", 0.25,
        "--output", tmp_path,
    )  # fmt: skip
    assert result.code == 130
    assert list(tmp_path.iterdir()) == []


def test_commands_are_shown_without_keys() -> None:
    words = ("localize", "a b.jpg", "--aerial", "https://me:pass@tiles.example/{z}/{x}?key=SECRET")
    shown = command_line(words)
    assert shown.startswith("loc2 localize 'a b.jpg' --aerial ")
    assert "SECRET" not in shown and "pass" not in shown
    assert command_line(["photo#1?.jpg"]) == "loc2 'photo#1?.jpg'"


def test_demo_writes_the_report_with_the_truth(cli: Cli, tmp_path: Path) -> None:
    assert cli("demo", "--report", "--quiet", "--output", tmp_path).code == 0
    page = (tmp_path / "report.html").read_text()
    assert "error against the truth" in page


def test_a_failing_run_takes_away_only_the_folders_that_it_made(
    cli: Cli, pair_files: PairFiles, tmp_path: Path
) -> None:
    truncated = tmp_path / "truncated.png"
    truncated.write_bytes(pair_files.ground.read_bytes()[:400])
    there, new = tmp_path / "there", tmp_path / "made" / "new"
    there.mkdir()
    for out in (there, new):
        result = cli(
            "localize", truncated, "--aerial", pair_files.aerial, "--meters-per-pixel", 0.25,
            "--output", out,
        )  # fmt: skip
        result.assert_one_line_error("truncated.png")
    assert there.is_dir() and not list(there.iterdir())
    assert not (tmp_path / "made").exists()
