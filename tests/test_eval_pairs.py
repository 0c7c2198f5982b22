"""Manifests, protection against leaks, metrics, and ``loc2 eval pairs``."""

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from loc2.cameras import Camera, Equirectangular, Pinhole
from loc2.data.pairs import Pair, read_pairs
from loc2.errors import DatasetNotFoundError, InputError
from loc2.evaluation.metrics import Errors, summarize
from loc2.evaluation.pairs import Protocol, Sample, evaluate_pairs, prepare_trial
from loc2.evaluation.windows import make_trial
from loc2.frames import Pose, heading_difference_deg
from loc2.localizer import Localizer
from tests.conftest import CliResult, PairFiles

Cli = Callable[..., CliResult]


def manifest(folder: Path, rows: list[dict[str, object]]) -> Path:
    path = folder / "pairs.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(k for row in rows for k in row)))
        writer.writeheader()
        writer.writerows(rows)
    return path


def row(**changes: object) -> dict[str, object]:
    base: dict[str, object] = {
        "id": "a_1",
        "ground": "ground.png",
        "aerial": "aerial.png",
        "meters_per_pixel": 0.25,
        "east_m": 1,
        "north_m": 2,
        "heading_deg": 30,
    }
    return base | changes


def test_manifest_is_read_and_paths_resolved(tmp_path: Path) -> None:
    path = manifest(tmp_path, [row(), row(id="b_2", hfov_deg=80, projection="pinhole", depth="")])
    first, second = read_pairs(path)
    assert first.ground == tmp_path / "ground.png"
    assert (first.group, second.group) == ("a", "b")
    assert second.hfov_deg == 80
    assert second.depth is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"meters_per_pixel": "x"}, "line 2: meters_per_pixel"),
        ({"meters_per_pixel": 0}, "line 2: meters_per_pixel"),
        ({"meters_per_pixel": ""}, "line 2: meters_per_pixel"),
        ({"east_m": "nan"}, "line 2: east_m"),
        ({"projection": "fisheye"}, "line 2: projection"),
        ({"position_sigma_m": -1}, "line 2: position_sigma_m"),
        ({"id": ""}, "line 2: id"),
        ({"projection": "pinhole", "hfov_deg": 200}, "line 2: hfov_deg"),
        ({"roll_deg": 95}, "line 2: roll_deg"),
        ({"camera_height_m": 2000}, "line 2: camera_height_m"),
    ],
)
def test_bad_manifest_rows_are_named(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read_pairs(manifest(tmp_path, [row(**changes)]))


def test_bad_manifests(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match="no such file"):
        read_pairs(tmp_path / "none.csv")
    with pytest.raises(InputError, match="missing columns: heading_deg"):
        read_pairs(manifest(tmp_path, [{k: v for k, v in row().items() if k != "heading_deg"}]))
    with pytest.raises(InputError, match="occurs twice"):
        read_pairs(manifest(tmp_path, [row(), row()]))
    (tmp_path / "pairs.csv").write_text(",".join(row()) + "\n")
    with pytest.raises(InputError, match="no rows"):
        read_pairs(tmp_path / "pairs.csv")
    (tmp_path / "pairs.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(InputError, match="not readable"):
        read_pairs(tmp_path / "pairs.csv")


def painted_aerial(east_m: float, north_m: float, mpp: float, size: int) -> torch.Tensor:
    """Black with one soft white blob at a position."""
    v, u = torch.meshgrid(torch.arange(size) + 0.5, torch.arange(size) + 0.5, indexing="ij")
    blob_u, blob_v = size / 2 + east_m / mpp, size / 2 - north_m / mpp
    blob = torch.exp(-((u - blob_u) ** 2 + (v - blob_v) ** 2) / 8)
    return blob.expand(3, -1, -1).float()


cameras = st.sampled_from(
    [Equirectangular(72, 36), Equirectangular(72, 20, 0, 0, 30, -20), Pinhole.from_hfov(40, 30, 80)]
)


@settings(max_examples=40, deadline=None)
@given(cameras, st.floats(-8, 8), st.floats(-8, 8), st.integers(0, 10**6), st.floats(0, 360))
def test_the_truth_moves_with_the_window(
    camera: Camera, east_m: float, north_m: float, seed: int, heading_deg: float
) -> None:
    aerial = painted_aerial(east_m, north_m, 0.25, 320)
    ground = torch.zeros(3, camera.height, camera.width)
    ground[:, :, 0] = 1.0  # a marked column: azimuth of the left edge
    trial = make_trial(
        ground, camera, aerial, 0.25, Pose(east_m, north_m, heading_deg),
        name="x", seed=seed, heading_range_deg=180, window_m=40, shift_range_m=6,
    )  # fmt: skip
    # The blob, painted at the camera, is found where the trial says that the camera is.
    weight = trial.aerial[0].double()
    size = weight.shape[0]
    grid = torch.arange(size, dtype=torch.float64) + 0.5 - size / 2
    found_east = float((weight.sum(0) * grid).sum() / weight.sum() * 0.25)
    found_north = float(-(weight.sum(1) * grid).sum() / weight.sum() * 0.25)
    assert found_east == pytest.approx(trial.truth.east_m, abs=0.03)
    assert found_north == pytest.approx(trial.truth.north_m, abs=0.03)
    turn = heading_difference_deg(trial.truth.heading_deg, heading_deg)
    if isinstance(camera, Equirectangular):
        # The marked column's absolute bearing has not changed.
        column = int(trial.ground[0, 0].argmax())
        moved_deg = column / camera.width * 360
        assert heading_difference_deg(moved_deg + turn, 0) == pytest.approx(0, abs=1e-3)
    else:
        assert torch.equal(trial.ground, ground)


def test_draws_depend_on_name_and_seed_only() -> None:
    camera = Equirectangular(72, 36)
    ground, aerial = torch.zeros(3, 36, 72), torch.zeros(3, 200, 200)

    def truth(name: str, seed: int) -> Pose:
        return make_trial(
            ground, camera, aerial, 0.25, Pose(0, 0, 0), name=name, seed=seed,
            heading_range_deg=180, window_m=None, shift_range_m=5,
        ).truth  # fmt: skip

    assert truth("a", 0) == truth("a", 0)
    assert len({truth("a", 0), truth("a", 1), truth("b", 0)}) == 3


def test_window_shrinks_and_too_small_is_refused() -> None:
    camera = Equirectangular(72, 36)
    common = {"name": "x", "seed": 0, "heading_range_deg": 180.0}
    trial = make_trial(
        torch.zeros(3, 36, 72), camera, torch.zeros(3, 200, 200), 0.25, Pose(0, 0, 0),
        window_m=60, shift_range_m=6, **common,
    )  # fmt: skip
    assert trial.window_m == pytest.approx(38)
    with pytest.raises(InputError, match="too small"):
        make_trial(
            torch.zeros(3, 36, 72), camera, torch.zeros(3, 20, 20), 0.25, Pose(0, 0, 0),
            window_m=60, shift_range_m=6, **common,
        )  # fmt: skip


@pytest.mark.parametrize(("east_m", "north_m"), [(1, 0), (-1, 0), (0, 1), (0, -1), (0.9, -1)])
def test_a_camera_outside_the_window_is_no_trial(east_m: float, north_m: float) -> None:
    def sample(distance_m: float) -> Sample:
        return Sample(
            ground=torch.zeros(3, 36, 72),
            camera=Equirectangular(72, 36),
            aerial=torch.zeros(3, 200, 200),
            meters_per_pixel=0.25,
            truth=Pose(east_m * distance_m, north_m * distance_m, 0),
            depth=None,
            camera_height_m=2.0,
        )

    protocol = Protocol(180.0, 20.0, 0.0)
    assert prepare_trial(sample(9.8), "x", protocol, 0)[0].window_m == pytest.approx(20)
    line = "the camera of x lies outside the window of 20.0 m"
    with pytest.raises(InputError, match=line):
        prepare_trial(sample(10.2), "x", protocol, 0)


def test_summary_by_hand() -> None:
    samples = [
        Errors("a", 0.5, 0.5),
        Errors("b", 2.0, 8.0),
        Errors("c", 4.0, 170.0),
        Errors("d", 7.0, 3.0, position_counts=False),
        Errors("e", None, None, worst_position_m=50.0),
    ]
    figures = summarize(samples)
    assert figures["n"] == 5
    assert figures["failures"] == 1
    assert figures["position_median_m"] == pytest.approx(3.0)  # 0.5, 2, 4, 50
    assert figures["position_mean_m"] == pytest.approx(56.5 / 4)
    assert figures["heading_median_deg"] == pytest.approx(8.0)
    assert figures["recall_1m"] == pytest.approx(0.2)
    assert figures["recall_5m"] == pytest.approx(0.6)
    assert figures["recall_10m"] == pytest.approx(0.8)
    assert figures["recall_10deg"] == pytest.approx(0.6)
    assert figures["recall_5m_10deg"] == pytest.approx(0.4)
    assert figures["recall_10m_10deg"] == pytest.approx(0.6)
    assert figures["flip_rate"] == pytest.approx(0.4)
    low, high = figures["interval_95"]["recall_5m"]
    assert 0 <= low < 0.6 < high <= 1


def test_failed_samples_never_help() -> None:
    good = [Errors(str(i), 1.0, 1.0) for i in range(4)]
    figures = summarize([*good, Errors("x", None, None, worst_position_m=1.0)])
    assert figures["recall_10m"] == pytest.approx(0.8)
    assert figures["recall_10m_10deg"] == pytest.approx(0.8)


@pytest.fixture(scope="module")
def results(pair_files: PairFiles) -> dict[str, object]:
    pairs = [
        Pair(
            id=name, ground=pair_files.ground, aerial=pair_files.aerial, meters_per_pixel=0.25,
            east_m=0, north_m=0, heading_deg=0, hfov_deg=hfov, position_sigma_m=sigma,
        )
        for name, hfov, sigma in (("a_pano", None, 0), ("b_photo", 90, 4))
    ]  # fmt: skip
    pairs.append(pairs[0].model_copy(update={"id": "b_lost", "ground": Path("none.png")}))
    localizer = Localizer.from_pretrained()
    protocol = Protocol(heading_range_deg=30, window_m=40, shift_range_m=4, seeds=(0, 1))
    return evaluate_pairs(localizer, pairs, protocol)


def test_results_hold_every_trial_and_count_failures(results: dict[str, object]) -> None:
    records, summary = results["pairs"], results["summary"]
    assert isinstance(records, list)
    assert isinstance(summary, dict)
    assert [(r["id"], r["seed"]) for r in records[:3]] == [
        ("a_pano", 0),
        ("a_pano", 1),
        ("b_photo", 0),
    ]
    assert len(records) == 6
    assert summary.keys() == {"all", "a", "b"}
    assert summary["all"]["failures"] == summary["b"]["failures"] == 2
    assert summary["b"]["position_median_m"] == pytest.approx(math.sqrt(2) * 40)  # lost ones only
    lost = [r for r in records if r["id"] == "b_lost"]
    assert [r["worst_position_m"] for r in lost] == [pytest.approx(math.sqrt(2) * 40)] * 2
    assert all("no such file" in r["status"] and r["position_error_m"] is None for r in lost)
    for record in records[:4]:
        assert record["heading_error_deg"] <= 60.01  # the prior of 30 degrees holds
        assert record["guess_position_error_m"] <= math.hypot(4, 4) + 0.2
    json.dumps(results, allow_nan=False)


def test_the_height_in_a_camera_file_counts(
    pair_files: PairFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera = tmp_path / "camera.json"
    camera.write_text(json.dumps({"hfov_deg": 90, "camera_height_m": 3.7}))
    files = {"ground": pair_files.ground, "aerial": pair_files.aerial}
    rows = [row(**files, camera=camera), row(**files, id="a_2", camera=camera, camera_height_m=2)]
    pairs = read_pairs(manifest(tmp_path, rows))
    heights = []
    localizer = Localizer.from_pretrained()
    localize = localizer.localize

    def watched(*images: object, **options: object) -> object:
        answer = localize(*images, **options)  # type: ignore[arg-type]
        heights.append(answer.settings["camera_height_m"])
        return answer

    monkeypatch.setattr(localizer, "localize", watched)
    found = evaluate_pairs(localizer, pairs, Protocol(window_m=40))
    assert heights == [3.7, 2.0]
    assert found["config"]["precision"] == localizer.precision


def test_command_writes_results(cli: Cli, pair_files: PairFiles, tmp_path: Path) -> None:
    path = manifest(tmp_path, [row(ground=pair_files.ground, aerial=pair_files.aerial)])
    out = tmp_path / "results.json"
    result = cli("eval", "pairs", path, "--shift-range", 3, "--seeds", "0,1", "--output", out)
    assert result.code == 0, result.err
    assert "recall_5m_10deg" in result.out
    written = json.loads(out.read_text())
    assert written["config"]["seeds"] == [0, 1]
    assert written["config"]["shift_range_m"] == 3
    assert len(written["pairs"]) == 2
    again = cli("eval", "pairs", path, "--shift-range", 3, "--seeds", "1", "--output", out)
    assert again.code == 0
    assert json.loads(out.read_text())["pairs"][0] == written["pairs"][1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--seeds", "a"), "--seeds"),
        (("--heading-range", "200"), "heading range"),
        (("--window", "-3"), "window"),
        (("--shift-range", "-3"), "shift range"),
        (("--seeds", "1,2,1"), "seeds must differ"),
        (("--depth", "nope"), "nope"),
        (("--output", "/proc/none/results.json"), "/proc/none"),
        (("--output", "."), "is a folder"),
        (("--output", f"{'x' * 300}.json"), "too long"),
    ],
)
def test_bad_protocols(
    cli: Cli, pair_files: PairFiles, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    path = manifest(tmp_path, [row(ground=pair_files.ground, aerial=pair_files.aerial)])
    cli("eval", "pairs", path, *options).assert_one_line_error(message)
    cli("eval", "pairs", tmp_path / "no.csv").assert_one_line_error("no.csv", "no such file")


def test_real_pairs_run(shared: Path) -> None:
    pairs = read_pairs(shared / "real" / "pairs.csv")
    assert len(pairs) == 27
    chosen = [p for p in pairs if p.id in ("cvusa_0000020", "london_01")]
    results = evaluate_pairs(Localizer.from_pretrained(), chosen, Protocol(20, 60, 6, (0,)))
    assert results["summary"]["all"]["failures"] == 0
    assert np.isfinite([r["position_error_m"] for r in results["pairs"]]).all()
