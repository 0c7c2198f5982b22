"""``loc2 data``: what is missing, and what to do; the lists are fetched all together or not."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from loc2.data.check import check_kitti, check_vigor
from loc2.data.kitti import LIST_LENGTHS, read_list
from tests.conftest import CliResult
from tests.fake_kitti import DAY, DRIVE, make_fake_kitti
from tests.file_server import FileServer

Cli = Callable[..., CliResult]
VIGOR = Path(__file__).parent / "fixtures" / "vigor_mini"


def test_vigor_faults_are_found(cli: Cli) -> None:
    missing = {f.what: f for f in check_vigor(VIGOR) if f.missing}
    assert set(missing) == {"Seattle panoramas", "Chicago depth maps"}
    assert missing["Seattle panoramas"].missing == 1
    assert "05jsaD5sq4AG7wh5ek4AGs" in missing["Seattle panoramas"].examples[0]
    assert all(f.advice for f in missing.values())
    result = cli("data", "check", "vigor", VIGOR)
    assert result.code == 1 and "Seattle panoramas" in result.out and "--depth" in result.out


def test_a_whole_tree_passes(cli: Cli, tmp_path: Path) -> None:
    root = tmp_path / "vigor"
    shutil.copytree(VIGOR, root)
    for city, folder, suffix in (
        ("Seattle", "panorama", ".jpg"),
        ("Chicago", "unik3d_depth", ".png"),
    ):
        findings = [f for f in check_vigor(root) if f.missing and f.what.startswith(city)]
        for name in findings[0].examples:
            donor = next((root / city / folder).glob(f"*{suffix}"))
            shutil.copy(donor, name)
    assert cli("data", "check", "vigor", root).code == 0


def test_missing_label_files_are_found(tmp_path: Path) -> None:
    root = tmp_path / "vigor"
    shutil.copytree(VIGOR, root)
    (root / "splits_new" / "Seattle" / "pano_label_balanced.txt").unlink()
    finding = next(f for f in check_vigor(root) if f.missing)
    assert (finding.what, finding.missing) == ("Seattle label files (splits_new)", 1)


def test_kitti_excerpts_and_missing_files(cli: Cli, tmp_path: Path) -> None:
    root = make_fake_kitti(tmp_path, frames=1)
    found = {f.what: f for f in check_kitti(root)}
    assert found["list test1"].missing == 3772 and "excerpt" in found["list test1"].advice
    assert not any(f.missing for what, f in found.items() if not what.startswith("list"))
    (root / "satmap" / DAY / DRIVE / "0000000000.png").unlink()
    (root / "test2_files.txt").unlink()
    found = {f.what: f for f in check_kitti(root)}
    assert found["aerial images"].missing == 1
    assert "test2_files.txt" in found["list test2"].examples[0]
    result = cli("data", "check", "kitti", root)
    assert result.code == 1 and "satmap" in result.out


def test_nothing_there_is_one_line(cli: Cli, tmp_path: Path) -> None:
    cli("data", "check", "vigor", tmp_path / "no").assert_one_line_error("no such folder")
    cli("data", "check", "vigor", tmp_path).assert_one_line_error("label folder")
    cli("data", "check", "kitti", tmp_path / "no").assert_one_line_error("no such folder")
    cli("data", "check", "kitti", tmp_path).assert_one_line_error("train_files.txt", "19655")
    cli("data", "check", "kitti").assert_one_line_error("root")
    cli("eval", "kitti", "--root", tmp_path).assert_one_line_error(
        "test1_files.txt", f"'loc2 data fetch kitti {tmp_path}'"
    )


def whole_list(split: str, lines: int) -> bytes:
    noise = "" if split == "train" else " 0.25 -0.5 0.75"
    return "".join(f"{DAY}/{DRIVE}/{i:010d}.png{noise}\n" for i in range(lines)).encode()


@pytest.fixture
def lists() -> Iterator[FileServer]:
    """A server of lists of the published lengths."""
    names = {f"{split}_files.txt": (split, lines) for split, lines in LIST_LENGTHS.items()}
    server = FileServer({name: whole_list(*of) for name, of in names.items()})
    yield server
    server.close()


def test_lists_are_fetched_checked_and_kept(cli: Cli, lists: FileServer, tmp_path: Path) -> None:
    root = tmp_path / "kitti"
    result = cli("data", "fetch", "kitti", root, "--base-url", lists.url)
    assert result.code == 0, result.err
    assert [Path(line) for line in result.out.splitlines()] == [
        root / name for name in ("train_files.txt", "test1_files.txt", "test2_files.txt")
    ]
    assert {path.name: path.read_bytes() for path in root.iterdir()} == lists.files
    found = {f.what: f for f in check_kitti(root)}
    assert not any(found[f"list {split}"].missing for split in LIST_LENGTHS)
    assert cli("data", "fetch", "kitti", root, "--base-url", lists.url, "--quiet").out == ""
    assert len(lists.requested) == 3  # what is there is not fetched again
    elsewhere = tmp_path / "lists"
    assert (
        cli("data", "fetch", "kitti", root, "--lists", elsewhere, "--base-url", lists.url).code == 0
    )
    assert len(read_list(elsewhere / "test2_files.txt", "test2")) == 7542


def test_all_lists_or_none_and_a_broken_download_goes_on(
    cli: Cli, lists: FileServer, tmp_path: Path
) -> None:
    words = ("data", "fetch", "kitti", tmp_path, "--base-url", lists.url, "--quiet")
    lists.break_after = 300_000
    cli(*words).assert_one_line_error("train_files.txt", "run the command again")
    assert [path.name for path in tmp_path.iterdir()] == ["train_files.txt.part"]
    lists.break_after = None
    missing = lists.files.pop("test2_files.txt")
    cli(*words).assert_one_line_error("test2_files.txt", "404", str(tmp_path))
    assert lists.requested[1] == "bytes=300000-"
    assert not list(tmp_path.glob("*.txt"))
    lists.files["test2_files.txt"] = missing
    assert cli(*words).code == 0  # what had come whole is not sent again
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == lists.files


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"<!DOCTYPE html>\n<html></html>\n", "line 1: expected day/drive/frame.png"),
        (whole_list("train", 7542), "line 1: expected three numbers"),
        (whole_list("test2", 7541), "7541 lines, not 7542"),
        (b"\xff\xfe\x00" * 9, "cannot be read as text"),
        (b"", "empty"),
    ],
)
def test_what_is_no_list_is_refused(
    cli: Cli, lists: FileServer, tmp_path: Path, content: bytes, why: str
) -> None:
    lists.files["test2_files.txt"] = content
    words = ("data", "fetch", "kitti", tmp_path, "--base-url", lists.url, "--quiet")
    cli(*words).assert_one_line_error(f"{lists.url}/test2_files.txt", why)
    assert not list(tmp_path.glob("*.txt")) and not list(tmp_path.glob("test2*"))


def test_nothing_is_overwritten_and_addresses_are_checked(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "test1_files.txt").write_bytes(whole_list("test1", 2))
    fetch = ("data", "fetch", "kitti", tmp_path, "--quiet")
    cli(*fetch, "--base-url", "http://127.0.0.1:9").assert_one_line_error("2 lines", "--lists")
    cli(*fetch, "--base-url", "file:///etc").assert_one_line_error("http")
    cli(
        *fetch, "--lists", tmp_path / "new", "--base-url", "http://127.0.0.1:9"
    ).assert_one_line_error("could not start")
    cli("data", "fetch", "vigor", tmp_path).assert_one_line_error("kitti")
    assert (tmp_path / "test1_files.txt").read_bytes() == whole_list("test1", 2)
