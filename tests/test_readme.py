"""Every command and every line of Python in the README runs as written."""

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import CliResult, PairFiles

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands() -> list[str]:
    joined = "\n".join(blocks("console")).replace("\\\n", " ")
    return [line.removeprefix("$ ") for line in joined.splitlines() if line.startswith("$ ")]


@pytest.fixture
def folder(pair_files: PairFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that the README speaks of."""
    Image.open(pair_files.ground).save(tmp_path / "panorama.jpg")
    Image.open(pair_files.ground).crop((0, 40, 160, 140)).save(tmp_path / "photo.jpg")
    shutil.copy(pair_files.aerial, tmp_path / "aerial.png")
    (tmp_path / "pairs.csv").write_text(
        "id,ground,aerial,meters_per_pixel,east_m,north_m,heading_deg\n"
        "a_1,panorama.jpg,aerial.png,0.25,0,0,0\n"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_readme_names_commands_that_work(folder: Path, cli: Callable[..., CliResult]) -> None:
    seen = []
    for command in commands():
        words = shlex.split(command, comments=True)
        if words[0] != ".venv/bin/loc2":
            continue
        result = cli(*words[1:])
        assert result.code == 0, (command, result.err)
        seen.append(words[1])
    assert {"localize", "eval", "bench"} <= set(seen)
    assert (folder / "result" / "pose.json").exists()


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = [c.split()[-1] for c in commands() if "make " in c]
    assert targets
    for target in targets:
        assert f"\n{target}:" in makefile


def test_python_of_the_readme_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), {})
    assert "heading_deg=" in capsys.readouterr().out


def test_pictures_and_pages_exist() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    missing = [link for link in links if "://" not in link and not (ROOT / link).exists()]
    assert missing == []


def test_the_test_command_is_what_ci_runs() -> None:
    assert "make test" in (ROOT / ".ci" / "run").read_text()
    assert "make test" in README
