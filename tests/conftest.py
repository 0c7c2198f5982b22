"""Shared fixtures: the command line, a small made-up pair, the folder of shared data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from loc2.cli import main

SHARED = Path(__file__).resolve().parents[2] / "shared"


@dataclass(frozen=True)
class CliResult:
    code: int
    out: str
    err: str

    def assert_one_line_error(self, *fragments: str) -> None:
        assert self.code == 2, (self.code, self.out, self.err)
        assert "Traceback" not in self.err
        lines = [line for line in self.err.splitlines() if line.strip()]
        assert len(lines) == 1, self.err
        for fragment in fragments:
            assert fragment in lines[0], lines[0]


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str]) -> Callable[..., CliResult]:
    def run(*words: object) -> CliResult:
        capfd.readouterr()
        code = main([str(word) for word in words])
        captured = capfd.readouterr()
        return CliResult(code, captured.out, captured.err)

    return run


@dataclass(frozen=True)
class PairFiles:
    ground: Path
    aerial: Path


@pytest.fixture(scope="session")
def pair_files(tmp_path_factory: pytest.TempPathFactory) -> PairFiles:
    """Smooth noise: enough to run, nothing in it matches."""
    folder = tmp_path_factory.mktemp("pair")
    rng = np.random.default_rng(3)

    def picture(height: int, width: int) -> Image.Image:
        small = rng.integers(0, 255, (height // 16, width // 16, 3), dtype=np.uint8)
        return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)

    picture(160, 320).save(folder / "ground.png")
    picture(192, 192).save(folder / "aerial.png")
    return PairFiles(folder / "ground.png", folder / "aerial.png")


@pytest.fixture(scope="session")
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip("the shared folder with real images is not beside this checkout")
    return SHARED
