"""``loc2 data check``: what is missing, and what to do."""

import shutil
from collections.abc import Callable
from pathlib import Path

from loc2.data.check import check_kitti, check_vigor
from tests.conftest import CliResult
from tests.fake_kitti import DAY, DRIVE, make_fake_kitti

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
