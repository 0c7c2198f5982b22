"""The package as users get it: the wheel outside the checkout, and what importing costs."""

import os
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from loc2.model import packaged_weights
from loc2.published.model import read_metadata
from loc2.training.config import TrainConfig

ROOT = Path(__file__).resolve().parents[1]
LIMIT_MB = 48


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # A copy, so that building leaves nothing in the checkout.
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=True, text=True,
    ).stdout.split("\0")  # fmt: skip
    source = folder / "source"
    for name in filter(None, tracked):
        if not (ROOT / name).is_file() or name.startswith(("tests/", "docs/", "benchmarks/")):
            continue
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(ROOT / name, target)
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, source],
        check=True, capture_output=True,
    )  # fmt: skip
    return next(folder.glob("*.whl"))


def test_wheel_holds_weights_within_the_limit(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
    weights = {name: size for name, size in sizes.items() if name.endswith(".safetensors")}
    assert "loc2/weights/default.safetensors" in weights
    assert "loc2/weights/dinov2_vits14.safetensors" in weights
    assert sum(weights.values()) / 1e6 < LIMIT_MB
    for name in ("loc2/demo/pair.csv", "loc2/py.typed"):
        assert name in sizes
    assert any(name.endswith("licenses/NOTICE") for name in sizes)


def test_weights_say_how_they_were_made_and_not_where() -> None:
    metadata = read_metadata(packaged_weights("default"))
    for key in ("licence", "recipe", "training_data", "training_config", "depth_training_config"):
        assert metadata[key]
    for key in ("training_config", "depth_training_config"):
        TrainConfig.model_validate_json(metadata[key])
    for key, text in metadata.items():
        assert not re.search(r"(?:^|[\"'\s])/\w", text), f"{key} names a place on a machine"


def test_wheel_works_in_a_clean_environment(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "venv"
    venv.create(environment, with_pip=False)
    python = environment / "bin" / "python"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site = environment / "lib" / version / "site-packages"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    # Dependencies are borrowed; a path listed here does not bring the checkout's own loc2 along,
    # since .pth files of a listed folder are not read.
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    script = "from loc2.cli import run; import loc2; print(loc2.__file__); run()"
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    result = subprocess.run(
        [python, "-c", script, "demo", "--output", "out"],
        cwd=tmp_path, env=clean, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert str(site) in result.stdout.splitlines()[0]
    assert "error" in result.stdout  # against the known truth
    assert (tmp_path / "out" / "pose.json").exists()


def test_importing_is_light() -> None:
    script = "import sys, loc2; print('torch' in sys.modules, loc2.__version__)"
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == ["False", "0.1.0"]
