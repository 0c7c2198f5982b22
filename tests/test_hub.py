"""Weights by name: downloads that resume and check, and backbones found by file, name or id."""

import hashlib
import importlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from loc2.errors import OutputError, WeightsError
from loc2.hub import REGISTRY, WeightsEntry, fetch, find_backbone, find_entry
from loc2.hub.registry import cache_folder
from tests.file_server import FileServer

CONTENT = bytes(range(256)) * 4096


@pytest.fixture
def server() -> Iterator[FileServer]:
    running = FileServer({"weights.pth": CONTENT})
    yield running
    running.close()


@pytest.fixture
def entry(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WeightsEntry:
    monkeypatch.setenv("LOC2_WEIGHTS", str(tmp_path / "cache"))
    return WeightsEntry(
        "tiny", "backbone", "tiny.pth", f"{server.url}/weights.pth", len(CONTENT),
        hashlib.sha256(CONTENT).hexdigest(), "MIT", "nothing",
    )  # fmt: skip


def test_fetch_checks_and_keeps(server: FileServer, entry: WeightsEntry) -> None:
    seen: list[tuple[int, int | None]] = []
    path = fetch(entry, lambda here, total: seen.append((here, total)))
    assert path == cache_folder() / "tiny.pth" and path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    fetch(entry)
    assert len(server.requested) == 1  # what is there is not fetched again
    path.write_bytes(b"damaged")
    assert fetch(entry).read_bytes() == CONTENT


def test_a_broken_download_goes_on(server: FileServer, entry: WeightsEntry) -> None:
    server.break_after = 300_000
    with pytest.raises(WeightsError, match="go on") as caught:
        fetch(entry)
    message = str(caught.value)
    assert str(entry.path) in message and entry.file in message and "\n" not in message
    assert not entry.path.exists()
    server.break_after = None
    assert fetch(entry).read_bytes() == CONTENT
    asked = server.requested[-1]
    assert asked is not None and asked.startswith("bytes=") and asked != "bytes=0-"


def test_a_server_without_ranges_starts_again(server: FileServer, entry: WeightsEntry) -> None:
    server.break_after = 300_000
    with pytest.raises(WeightsError):
        fetch(entry)
    server.break_after, server.ranges = None, False
    assert fetch(entry).read_bytes() == CONTENT


def test_what_is_not_it_is_deleted(server: FileServer, entry: WeightsEntry) -> None:
    server.files["weights.pth"] = CONTENT[:-1] + b"x"
    with pytest.raises(WeightsError, match="sha256"):
        fetch(entry)
    assert list(entry.path.parent.iterdir()) == []


def test_offline_says_what_to_place_where(entry: WeightsEntry) -> None:
    offline = replace(entry, url="http://127.0.0.1:9/weights.pth")
    with pytest.raises(WeightsError, match=r"place tiny\.pth \(sha256 .*\) at .*tiny\.pth"):
        fetch(offline)
    with pytest.raises(WeightsError, match="import"):
        fetch(REGISTRY["released-kitti-ori_noise10"])


def test_a_cache_that_cannot_be_written(
    entry: WeightsEntry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LOC2_WEIGHTS", str(tmp_path / "file" / "cache"))
    with pytest.raises(OutputError, match="cannot be written"):
        fetch(entry)


def test_the_registry_says_all_it_must() -> None:
    for entry in REGISTRY.values():
        assert entry.licence and entry.training_data
        if entry.url is not None:
            assert entry.size_bytes and entry.sha256 and len(entry.sha256) == 64
        elif not entry.packaged:
            assert entry.note
    with pytest.raises(WeightsError, match="known: default"):
        find_entry("nothing")


def test_backbones_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOC2_WEIGHTS", str(tmp_path))
    own = tmp_path / "own.safetensors"
    own.write_bytes(b"")
    assert find_backbone(own) == own
    assert find_backbone("dinov2_vits14").name == "dinov2_vits14.safetensors"  # in the package
    with pytest.raises(WeightsError, match=r"fetch dinov2_vitl14.*dinov2_vitl14_pretrain\.pth"):
        find_backbone("dinov2_vitl14")
    placed = tmp_path / "dinov2_vitl14_pretrain.pth"
    placed.write_bytes(b"")
    assert find_backbone("dinov2_vitl14") == placed
    with pytest.raises(WeightsError, match="neither a file"):
        find_backbone("default")


def test_hugging_face_ids_need_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(WeightsError, match=r"loc2\[hub\]"):
        find_backbone("facebook/dinov2-small")


def test_hugging_face_ids_resolve_in_its_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("huggingface_hub", reason="the extra 'hub' is not installed")
    constants = importlib.import_module("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    folder = tmp_path / "models--facebook--dinov2-small"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("abc")
    (folder / "snapshots" / "abc").mkdir(parents=True)
    file = folder / "snapshots" / "abc" / "model.safetensors"
    file.write_bytes(b"")
    assert find_backbone("facebook/dinov2-small").resolve() == file.resolve()
    with pytest.raises(WeightsError, match="facebook/dinov2-base: not available"):
        find_backbone("facebook/dinov2-base")
