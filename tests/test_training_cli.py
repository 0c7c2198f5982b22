"""``loc2 train``: every kind of data trains, validates, saves and resumes; bad input is a line."""

import csv
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from loc2.cli import main
from loc2.localizer import Localizer
from loc2.model import ModelConfig, load_model, packaged_weights
from loc2.query import PANORAMA_HEIGHT_M
from loc2.training.benchmark_source import kitti_sources
from loc2.training.cache import FeatureCache
from loc2.training.config import load_config
from loc2.training.data import make_sources
from loc2.training.manifest_source import ManifestSource
from loc2.training.run import make_sets
from loc2.training.start import build_model, build_published
from tests.fake_kitti import DAY, DRIVE, make_fake_kitti

FIXTURES = Path(__file__).parent / "fixtures"
SHARED = Path(__file__).parents[1].parent / "shared"
OTHER_DRIVE = "2011_09_26_drive_0002_sync"
SMALL = [
    "model.panorama_cell_deg=15",
    "model.pinhole_cell_deg=8",
    "model.aerial_cell_m=5",
    "model.head.hidden_dim=16",
    "model.head.num_layers=1",
    "objective.points=40",
    "optim.epochs=2",
    "optim.batch_size=2",
    "optim.micro_batch_size=1",
    "run.validation_pairs=1",
    'run.validation_lifts=["flat"]',
    "run.log_every_steps=1",
]


def _train(kind: str, output: Path, *changes: str, small: list[str] = SMALL) -> int:
    words = ["train", kind, "--output", str(output), "--quiet"]
    for change in (*small, *changes):
        words += ["--set", change]
    return main(words)


def _losses(folder: Path) -> list[float]:
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [r["loss"] for r in records if "loss" in r]


def _validated(folder: Path) -> bool:
    return '"validation": "held_out"' in (folder / "log.jsonl").read_text()


def make_manifest(folder: Path, count: int = 4, size_px: int = 160) -> Path:
    """Write a manifest of noise images."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for k in range(count):
        for name, shape in (("ground", (96, 192, 3)), ("aerial", (size_px, size_px, 3))):
            pixels = rng.integers(0, 255, shape, dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{k}_{name}.png")
        rows.append(
            {
                "id": f"town_{k}",
                "ground": f"{k}_ground.png",
                "aerial": f"{k}_aerial.png",
                "meters_per_pixel": 0.25,
                "east_m": k,
                "north_m": -k,
                "heading_deg": 30 * k,
                "street": f"street {k // 2}",
            }
        )
    path = folder / "pairs.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_manifest(tmp_path_factory.mktemp("pairs"))


@dataclass(frozen=True)
class Trained:
    """What came of training at once and in two parts."""

    codes: list[int]
    whole: list[float]
    first_part: list[float]
    parts: list[float]
    validated: bool
    has_head: bool
    training_data: str


def _in_parts(kind: str, folder: Path, *changes: str) -> Trained:
    """Train at once, and in two parts."""
    codes = [_train(kind, folder / "whole", *changes)]
    codes.append(_train(kind, folder / "parts", *changes, "run.max_steps=1"))
    first_part = _losses(folder / "parts")
    codes.append(_train(kind, folder / "parts", *changes))
    model, metadata = load_model(folder / "whole" / "model.safetensors")
    return Trained(
        codes=codes,
        whole=_losses(folder / "whole"),
        first_part=first_part,
        parts=_losses(folder / "parts"),
        validated=_validated(folder / "whole"),
        has_head=model.config.head is not None,
        training_data=metadata["training_data"],
    )


def test_pairs(manifest: Path, tmp_path: Path) -> None:
    changes = (f"data.manifest={manifest}", "data.validation_share=0.4")
    trained = _in_parts("pairs", tmp_path, *changes)
    assert trained.codes == [0, 0, 0]
    assert len(trained.first_part) == 1 and len(trained.whole) >= 2
    assert trained.parts == trained.whole
    assert trained.validated and trained.has_head and trained.training_data == "pairs"
    Localizer.from_pretrained(tmp_path / "whole" / "model.safetensors")


def test_pairs_are_lifted_as_they_are_localized(manifest: Path) -> None:
    """A height that the manifest leaves out is the same to training and to localization."""
    assert ManifestSource.from_file(manifest).read(0, 0).camera_height_m == PANORAMA_HEIGHT_M


def test_a_models_own_settings_hold(manifest: Path, tmp_path: Path) -> None:
    """What goes on from a model cannot have other sizes, and says truly which it has."""
    small = ["weights=default", "optim.epochs=1", "objective.points=40", "run.validation_pairs=1"]
    changes = (f"data.manifest={manifest}", "data.validation_share=0.4")
    for change in ("model.max_range_m=50", "model.head.hidden_dim=16", "model.blocks=[11]"):
        assert _train("pairs", tmp_path / "refused", *changes, change, small=small) == 2
    assert not (tmp_path / "refused").exists()
    same = "model.head.hidden_dim=160"
    assert _train("pairs", tmp_path / "run", *changes, same, small=small) == 0
    own = load_model(packaged_weights("default"))[0].config
    recorded = json.loads((tmp_path / "run" / "config.json").read_text())["model"]
    assert ModelConfig.model_validate(recorded) == own


def test_pairs_without_a_cache_and_with_adapters(manifest: Path, tmp_path: Path) -> None:
    changes = (
        f"data.manifest={manifest}",
        "data.use_cache=false",
        "data.validation_share=0",  # so that the last weights are kept, not the best
        "tuning.mode=adapters",
        "tuning.blocks=1",
        "optim.epochs=1",
    )
    assert _train("pairs", tmp_path, *changes) == 0
    model, _ = load_model(tmp_path / "model.safetensors")
    start, _ = build_model(load_config(None))
    changed = [
        name
        for name, tensor in model.backbone.state_dict().items()
        if not torch.equal(tensor, start.backbone.state_dict()[name].half().float())
    ]
    assert changed and all(name.startswith("blocks.11.") for name in changed)


def test_kitti(tmp_path: Path) -> None:
    root = make_fake_kitti(tmp_path / "kitti")
    for part in ("raw_data", "satmap", "depth_anythingv2_depth"):
        shutil.copytree(root / part / DAY / DRIVE, root / part / DAY / OTHER_DRIVE)
    frames = (root / "train_files.txt").read_text()
    (root / "train_files.txt").write_text(frames + "\n" + frames.replace(DRIVE, OTHER_DRIVE))
    trained = _in_parts("kitti", tmp_path, f"data.root={root}", "data.validation_share=0.5")
    assert trained.codes == [0, 0, 0]
    assert len(trained.first_part) == 1 and len(trained.whole) >= 2
    assert trained.parts == trained.whole
    assert trained.validated and trained.has_head and trained.training_data == "kitti"


@pytest.mark.parametrize("file", ["vigor", "kitti"])
def test_the_published_configurations_draw_noise_anew_in_every_epoch(
    tmp_path: Path, file: str
) -> None:
    root = FIXTURES / "vigor_mini" if file == "vigor" else make_fake_kitti(tmp_path / "kitti")
    config = load_config(
        Path(__file__).parents[1] / "configs" / f"{file}.toml",
        [
            f"data.root={root}",
            "data.validation_share=0",
            "published.backbone=dinov2_vits14",
            "published.ground_size_px=[56, 112]",
            "published.aerial_size_px=70",
            "published.aerial_cells=5",
            f"weights={packaged_weights('dinov2_vits14')}",
        ],
    )
    source, _ = make_sources(file, config.data, 0)
    model = build_published(config)
    pairs, _ = make_sets(config, model, source, {}, tmp_path)
    first, again, other = (pairs.read(1, epoch).heading_deg for epoch in (0, 0, 1))
    assert first == again != other


def test_what_a_sample_of_kitti_is_made_of_decides_its_fingerprint(tmp_path: Path) -> None:
    root = make_fake_kitti(tmp_path)

    def fingerprint() -> str:
        return kitti_sources(root, 10.0, True, 0.0, 0)[0].fingerprint

    seen = [fingerprint()]
    assert fingerprint() == seen[0]
    for part in ("satmap", "depth_anythingv2_depth", "raw_data"):
        for path in sorted((root / part).rglob("*.*")):
            if path.is_file():
                os.utime(path, ns=(1, len(seen)))
                seen.append(fingerprint())
                break
    assert len(set(seen)) == 4


@pytest.mark.skipif(not (SHARED / "real" / "kitti_mini").is_dir(), reason="no ../shared/real")
def test_kitti_mini(tmp_path: Path) -> None:
    root = SHARED / "real" / "kitti_mini"
    assert _train("kitti", tmp_path, f"data.root={root}", "data.validation_share=0") == 0
    assert len(_losses(tmp_path)) == 4


def test_vigor(tmp_path: Path) -> None:
    root = FIXTURES / "vigor_mini"
    trained = _in_parts(
        "vigor",
        tmp_path,
        f"data.root={root}",
        "data.validation_share=0.3",
        "cache.max_failed_share=0.3",
        "optim.batch_size=10",
        "optim.micro_batch_size=5",
    )
    assert trained.codes == [0, 0, 0]
    assert len(trained.first_part) == 1 and len(trained.whole) >= 2
    assert trained.parts == trained.whole
    assert trained.validated and trained.has_head and trained.training_data == "vigor"


@pytest.mark.parametrize("use_cache", [True, False])
def test_the_published_network(tmp_path: Path, use_cache: bool) -> None:
    root = FIXTURES / "vigor_mini"
    changes = (
        "method=published",
        "published.base=loc2-vigor",
        "published.backbone=dinov2_vits14",
        "published.ground_size_px=[56, 112]",
        "published.aerial_size_px=70",
        "published.aerial_cells=5",
        "published.num_matches=64",
        f"weights={Path(__file__).parents[1] / 'src/loc2/weights/dinov2_vits14.safetensors'}",
        f"data.root={root}",
        f"data.use_cache={str(use_cache).lower()}",
        "run.max_failed_share=0.3",
        "data.validation_share=0.3",
        "cache.max_failed_share=0.3",
        "optim.epochs=2",
        "optim.batch_size=8",
        "optim.micro_batch_size=4",
        "run.validation_pairs=2",
        "run.log_every_steps=1",
        "run.validation_lifts=['exact']",
    )
    assert _train("vigor", tmp_path / "whole", *changes, small=[]) == 0
    ahead = (*changes, "data.workers=2")
    assert _train("vigor", tmp_path / "parts", *ahead, "run.max_steps=1", small=[]) == 0
    assert _train("vigor", tmp_path / "parts", *ahead, small=[]) == 0
    assert _losses(tmp_path / "parts") == _losses(tmp_path / "whole")
    assert _validated(tmp_path / "whole")


def test_scenes(tmp_path: Path) -> None:
    changes = ("data.scenes=2", "data.validation_scenes=1", "optim.batch_size=1")
    assert _train("scenes", tmp_path / "whole", *changes) == 0
    cache = tmp_path / "whole" / "cache"
    held_out = FeatureCache(cache / "held_out")
    assert len(held_out) == 1
    finished = (
        "data.scenes=0",
        "data.validation_scenes=0",
        f"data.extra_caches=['{cache / 'train'}']",
        f"data.validation_caches={{held_out='{cache / 'held_out'}'}}",
        "optim.batch_size=1",
    )
    assert _train("scenes", tmp_path / "cached", *finished) == 0
    assert _losses(tmp_path / "cached") == _losses(tmp_path / "whole")
    assert _validated(tmp_path / "cached")
    depth_alone = ("objective.correspondence=0", "objective.voting=0", "run.validation_pairs=1")
    assert _train("scenes", tmp_path / "depth", *finished, *depth_alone) == 0
    assert len(_losses(tmp_path / "depth")) == len(_losses(tmp_path / "whole"))
    assert _validated(tmp_path / "depth")
    whole, part = held_out.read(0).tensors(), held_out.read(0, aerial=False).tensors()
    assert part.pop("aerial").shape == (0, *whole.pop("aerial").shape[1:])
    assert all(torch.equal(whole[name], part[name]) for name in whole)


def test_scenes_in_several_views(tmp_path: Path) -> None:
    words = ["train", "scenes", "--prepare", "--quiet", "--output", str(tmp_path)]
    for change in (*SMALL, "data.scenes=1", "data.validation_scenes=0"):
        words += ["--set", change]
    assert main([*words, "--set", "cache.variants=2", "--set", "data.scene_views=2"]) == 0
    first, second = FeatureCache(tmp_path / "cache" / "train")
    assert first.ids == second.ids
    # Where the camera stands in its aerial image is drawn anew, and how high it is.
    assert not torch.equal(first.camera_height_m, second.camera_height_m)


def test_preparing_only_makes_caches(manifest: Path, tmp_path: Path) -> None:
    words = ["train", "pairs", "--prepare", "--quiet", "--output", str(tmp_path)]
    for change in (*SMALL, f"data.manifest={manifest}", "cache.variants=2"):
        words += ["--set", change]
    assert main(words) == 0
    assert not (tmp_path / "log.jsonl").exists()
    assert len(FeatureCache(tmp_path / "cache" / "train")) in (4, 6)


def test_a_row_with_a_missing_image_is_left_out(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(manifest.parent, tmp_path / "pairs")
    (tmp_path / "pairs" / "1_ground.png").unlink()
    changes = (f"data.manifest={tmp_path / 'pairs' / 'pairs.csv'}", "data.validation_share=0")
    assert _train("pairs", tmp_path / "strict", *changes) == 2
    assert "town_1" in capsys.readouterr().err
    assert _train("pairs", tmp_path / "lenient", *changes, "cache.max_failed_share=0.3") == 0
    assert "town_1" in FeatureCache(tmp_path / "lenient" / "cache" / "train").failed[0]


def test_processes_make_the_cache_that_one_makes(
    manifest: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copytree(manifest.parent, tmp_path / "pairs")
    (tmp_path / "pairs" / "1_ground.png").unlink()

    def made(folder: str, workers: int) -> tuple[dict[str, bytes], list[str]]:
        caplog.clear()
        words = ["train", "pairs", "--prepare", "--quiet", "--output", str(tmp_path / folder)]
        for change in (
            *SMALL, f"data.manifest={tmp_path / 'pairs' / 'pairs.csv'}", "cache.shard_size=2",
            "data.validation_share=0", "cache.max_failed_share=0.3", f"data.workers={workers}",
        ):  # fmt: skip
            words += ["--set", change]
        assert main(words) == 0
        files = sorted((tmp_path / folder / "cache" / "train").iterdir())
        contents = {file.name: file.read_bytes() for file in files}
        return contents, [record.getMessage() for record in caplog.records]

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the processes will have: sums differ with their number
    try:
        here, told = made("here", 0)
        monkeypatch.setattr("loc2.training.cache.cell_features", None)  # not in this process
        assert made("apart", 2) == (here, told)
        assert len(here) > 2 and any("left out: town_1: " in line for line in told)
        shards = sorted((tmp_path / "apart" / "cache" / "train").glob("*.safetensors"))
        shards[1].unlink()
        assert made("apart", 2)[0] == here
    finally:
        torch.set_num_threads(threads)


def _end(_: object) -> None:
    os._exit(1)


def test_a_process_that_ends_is_a_line(
    manifest: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("loc2.training.cache._write_in_process", _end)
    assert _train("pairs", tmp_path / "x", f"data.manifest={manifest}", "data.workers=1") == 2
    assert "a process that computes features ended (no memory?)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("boats", [], "kinds: scenes, pairs, vigor, kitti"),
        ("pairs", [], "data.manifest: missing"),
        ("pairs", ["optim.epochs=0"], "optim.epochs"),
        ("pairs", ["optim.speed=1"], "optim.speed"),
        ("pairs", ["nonsense"], "expected key=value"),
        ("pairs", ["optim.batch_size=3", "optim.micro_batch_size=2"], "multiple"),
        ("pairs", ["tuning.mode=full"], "use_cache=false"),
        ("kitti", ["data.root=/nowhere"], "no such folder"),
        ("scenes", ["data.held_out_styles=['moon']"], "moon"),
        ("pairs", ["data.manifest=/nowhere.csv"], "no such file"),
        ("pairs", ["published.base=loc3"], "loc2-vigor"),
    ],
)
def test_bad_input_is_one_line(
    kind: str,
    changes: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert _train(kind, tmp_path, *changes, small=[]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_missing_configuration_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "pairs", "--output", str(tmp_path), "--config", str(tmp_path / "a.toml")]
    assert main(words) == 2
    (tmp_path / "a.toml").write_text("[optim\n")
    assert main(words) == 2
    assert "not readable as TOML" in capsys.readouterr().err
