"""``loc2 eval vigor`` and ``loc2 eval kitti`` from the command line, end to end."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from loc2 import Localizer
from loc2.cli import main
from loc2.data.vigor import VigorDataset
from loc2.evaluation.benchmarks import RunOptions, chosen, evaluate
from loc2.evaluation.tables import published_rows
from loc2.features import VARIANTS, VisionTransformer, VitConfig
from tests.conftest import SHARED, CliResult
from tests.fake_kitti import make_fake_kitti
from tests.recipe import published_matcher_state

Cli = Callable[..., CliResult]
VIGOR = Path(__file__).parent / "fixtures" / "vigor_mini"
MINI = SHARED / "real" / "kitti_mini"


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """A checkpoint under the published names over a small backbone, imported for both data sets."""
    folder = tmp_path_factory.mktemp("imported")
    torch.save(published_matcher_state(own_names=False, in_channels=384), folder / "model.pt")
    shallow = VitConfig(embed_dim=384, depth=1, num_heads=6)
    torch.save(VisionTransformer(shallow).state_dict(), folder / "shallow.pth")
    files: dict[str, Path] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(VARIANTS, "shallow", shallow)
        for data in ("vigor", "kitti"):
            files[data] = folder / f"{data}.safetensors"
            words = [
                "weights", "import", str(folder / "model.pt"), "--as", data, "--quiet",
                "--output", str(files[data]), "--backbone", str(folder / "shallow.pth"),
            ]  # fmt: skip
            assert main(words) == 0
        yield files


@pytest.fixture(scope="module")
def fake_kitti(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_fake_kitti(tmp_path_factory.mktemp("kitti"), frames=2)


def check(content: dict[str, Any], samples: int) -> None:
    assert content["summary"]["all"]["n"] == len(content["samples"]) == samples
    assert content["summary"]["all"]["failures"] == len(content["failures"])
    assert len(content["config"]["weights"]["sha256"]) == 64
    assert content["versions"].keys() >= {"loc2", "torch", "python"}
    for row in content["samples"]:
        assert (row["status"] == "ok") == (row["id"] not in content["failures"])


def test_kitti_with_default_weights(cli: Cli, fake_kitti: Path, tmp_path: Path) -> None:
    output = tmp_path / "results.json"
    result = cli("eval", "kitti", "--root", fake_kitti, "--output", output)
    assert result.code == 0, result.err
    for part in ("HC-Net", "0.80", "measured now", "failures: 0", "not the benchmark's"):
        assert part in result.out + result.err
    content = json.loads(output.read_text())
    check(content, 2)
    config = content["config"]
    assert (config["part"], config["depth"], config["use_prior"]) == ("test1", "default", True)
    for row in content["samples"]:
        assert 80 <= row["heading_deg"] <= 100  # the prior is 90 degrees, give or take 10
    assert "longitudinal_recall_1m" in content["directions"]
    assert "swapped_longitudinal_recall_1m" in content["published_protocol"]


def test_kitti_with_an_imported_checkpoint(
    cli: Cli, fake_kitti: Path, imported: dict[str, Path], tmp_path: Path
) -> None:
    output = tmp_path / "results.json"
    words = ("eval", "kitti", "--root", fake_kitti, "--split", "test2", "--heading-range", 180)
    result = cli(
        *words, "--weights", imported["kitti"], "--limit", 1, "--quiet", "--output", output
    )
    assert (result.code, result.out) == (0, ""), result.err
    content = json.loads(output.read_text())
    check(content, 1)
    config = content["config"]
    assert (config["depth"], config["use_prior"], config["of"]) == ("files", False, 2)
    assert config["weights"]["licence"] == "AGPL-3.0"


@pytest.mark.skipif(not MINI.is_dir(), reason="no ../shared/real/kitti_mini here")
def test_kitti_on_real_frames(cli: Cli, imported: dict[str, Path], tmp_path: Path) -> None:
    for weights in ([], ["--weights", imported["kitti"]]):
        output = tmp_path / "results.json"
        result = cli("eval", "kitti", "--root", MINI, "--limit", 1, "--output", output, *weights)
        assert result.code == 0, result.err
        check(json.loads(output.read_text()), 1)


def test_vigor_with_an_imported_checkpoint_counts_failures(
    cli: Cli, imported: dict[str, Path], tmp_path: Path
) -> None:
    output = tmp_path / "results.json"
    result = cli(
        "eval", "vigor", "--root", VIGOR, "--area", "crossarea", "--heading-range", 180,
        "--weights", imported["vigor"], "--limit", 3, "--output", output,
    )  # fmt: skip
    assert result.code == 0, result.err
    content = json.loads(output.read_text())
    check(content, 3)
    far, absent = sorted(content["failures"], reverse=True)  # the fixture's faults on purpose
    assert far.startswith("SanFrancisco/rc2Az2") and absent.startswith("Chicago/kgk0y")
    assert "nearer than 35 m" in content["failures"][far]
    assert "no such file" in content["failures"][absent]
    assert content["published_protocol"]["num_samples"] == 1
    assert content["summary"]["all"]["flip_rate"] >= 2 / 3
    assert f"{far}: {content['failures'][far]}" in result.out
    assert content["config"]["labels"] == "splits_new"


def test_vigor_with_default_weights(cli: Cli, tmp_path: Path) -> None:
    output = tmp_path / "results.json"
    result = cli(
        "eval", "vigor", "--root", VIGOR, "--heading-range", 0, "--limit", 2, "--output", output
    )
    assert result.code == 0, result.err
    content = json.loads(output.read_text())
    check(content, 2)
    for row in content["samples"]:
        assert row["true_heading_deg"] == 0.0 and row["heading_error_deg"] <= 0.6


def test_a_result_depends_on_nothing_but_its_sample() -> None:
    localizer = Localizer.from_pretrained()
    every = VigorDataset(VIGOR, heading_range_deg=180, with_depth=False)
    options = RunOptions(180.0, depth="default", limit=4, workers=1)
    few = evaluate(localizer, every, options)
    assert [r.id for r in few] == [every.sample_id(i) for i in (0, 3, 6, 9)]
    two = evaluate(localizer, every, RunOptions(180.0, depth="default", limit=2, workers=3))
    by_id = {r.id: r for r in few}
    shared = [r for r in two if r.id in by_id]
    assert shared
    for record in shared:
        assert (record.truth, record.estimate) == (
            by_id[record.id].truth,
            by_id[record.id].estimate,
        )


def test_limits_are_spread_over_the_list() -> None:
    assert chosen(10, None) == chosen(10, 10) == chosen(10, 99) == list(range(10))
    assert chosen(10, 3) == [0, 3, 6]


def test_published_figures() -> None:
    config = {"data": "vigor", "part": "samearea"}
    (loc2,) = [r for r in published_rows(config, 180.0) if r.method == "Loc2"]
    assert (loc2.position_mean_m, loc2.position_median_m) == (3.94, 1.78)
    assert published_rows({"data": "kitti", "part": "test2"}, 10)[-1].position_median_m == 2.69
    assert published_rows({"data": "kitti", "part": "test1"}, 45) == ()
    for other in ({"split": "train"}, {"semi_positives": True}):
        assert published_rows(config | other, 180.0) == ()


def test_bad_input(cli: Cli, fake_kitti: Path, imported: dict[str, Path], tmp_path: Path) -> None:
    no = tmp_path / "no"
    cli("eval", "vigor", "--root", no).assert_one_line_error("VIGOR", "no such folder")
    cli("eval", "kitti", "--root", no).assert_one_line_error("KITTI", "no such folder")
    cli("eval", "kitti", "--root", tmp_path).assert_one_line_error("test1_files.txt")
    cli("eval", "vigor", "--root", VIGOR, "--limit", 0).assert_one_line_error("limit")
    cli("eval", "vigor", "--root", VIGOR, "--workers", 0).assert_one_line_error("workers")
    cli("eval", "vigor", "--root", VIGOR, "--heading-range", 200).assert_one_line_error("range")
    cli("eval", "vigor", "--root", VIGOR, "--area", "moon").assert_one_line_error("moon")
    cli("eval", "vigor", "--root", VIGOR, "--weights", no).assert_one_line_error("no such")
    wrong = cli("eval", "kitti", "--root", fake_kitti, "--weights", imported["vigor"])
    wrong.assert_one_line_error("vigor.safetensors", "made for equirectangular")
