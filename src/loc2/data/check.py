"""What is missing of a benchmark's files, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from loc2.data.kitti import DEPTH_FOLDER as KITTI_DEPTH
from loc2.data.kitti import LIST_LENGTHS, KittiItem, KittiSplit, find_list, read_list
from loc2.data.vigor import (
    METERS_PER_PIXEL,
    Split,
    VigorItem,
    cities_of,
    find_labels,
    label_file,
    label_name,
    read_labels,
)
from loc2.errors import DatasetNotFoundError, InputError

_EXAMPLES = 3


@dataclass(frozen=True)
class Finding:
    """One kind of file, and how much of it is there.

    Attributes:
        what: kind of file.
        expected: how many the lists name; 0 where the lists themselves are missing.
        missing: how many are not there.
        examples: the first missing ones.
        advice: what to do; empty where nothing is missing.
    """

    what: str
    expected: int
    missing: int
    examples: tuple[str, ...]
    advice: str


def check_vigor(root: Path, labels: str | None = None) -> list[Finding]:
    """Look for every file that VIGOR's label files name.

    Args:
        root: root of the data set.
        labels: label folder; None for the best one that is there.

    Returns:
        One finding for each kind of file and each city, label files first.

    Raises:
        DatasetNotFoundError: there is no root, or no label folder.
    """
    folder = find_labels(root, labels)
    findings: list[Finding] = []
    for city in METERS_PER_PIXEL:
        items: dict[str, VigorItem] = {}
        stems = {
            label_name(area, split)
            for area in ("samearea", "crossarea")
            for split in get_args(Split)
            if city in cities_of(area, split)
        }
        absent: list[str] = []
        for stem in sorted(stems):
            try:
                path = label_file(folder, city, stem)
                items |= {i.id: i for i in read_labels(path, root, city, semi_positives=True)}
            except (DatasetNotFoundError, InputError) as error:
                absent.append(str(error))
        findings.append(
            Finding(
                f"{city} label files ({folder.name})",
                len(stems),
                len(absent),
                tuple(absent[:_EXAMPLES]),
                "get the label folder again" if absent else "",
            )
        )
        advice = f"unpack {city} of the official VIGOR release into {root / city}"
        findings += [
            _files(f"{city} panoramas", (i.panorama for i in items.values()), advice),
            _files(f"{city} aerial images", (i.satellite for i in items.values()), advice),
            _files(
                f"{city} depth maps",
                (i.depth for i in items.values()),
                "make them with a panorama depth model (16-bit PNG, millimetres), or evaluate "
                "with --depth default",
            ),
        ]
    return findings


def check_kitti(root: Path, lists: Path | None = None) -> list[Finding]:
    """Look for every file that KITTI's lists name.

    Args:
        root: root of the data set.
        lists: folder of the lists; the root if None.

    Returns:
        One finding for each list and each kind of file.

    Raises:
        DatasetNotFoundError: there is no root, or none of the lists.
    """
    findings: list[Finding] = []
    items: dict[tuple[str, str, str], KittiItem] = {}
    problems: list[str] = []
    for split in get_args(KittiSplit):
        try:
            path = find_list(root, split, lists)
            listed = read_list(path, split)
        except (DatasetNotFoundError, InputError) as error:
            if not root.is_dir():
                raise
            problems.append(str(error))
            findings.append(Finding(f"list {split}", LIST_LENGTHS[split], LIST_LENGTHS[split],
                                    (str(error),), "fetch it, or place it there"))  # fmt: skip
            continue
        items |= {(i.day, i.drive, i.frame): i for i in listed}
        short = max(LIST_LENGTHS[split] - len(listed), 0)
        findings.append(
            Finding(
                f"list {split}",
                LIST_LENGTHS[split],
                short,
                (f"{path} has {len(listed)} lines",) if short else (),
                "an excerpt: figures from it are not the benchmark's" if short else "",
            )
        )
    if len(problems) == len(get_args(KittiSplit)):
        raise DatasetNotFoundError(problems[0])
    raw = root / "raw_data"
    frames = [(raw / i.day / i.drive, i) for i in items.values()]
    raw_advice = f"get KITTI raw (synced and rectified) into {raw}"
    findings += [
        _files(
            "ground images",
            (drive / "image_02" / "data" / f"{i.frame}.png" for drive, i in frames),
            raw_advice,
        ),
        _files(
            "oxts files", (d / "oxts" / "data" / f"{i.frame}.txt" for d, i in frames), raw_advice
        ),
        _files(
            "calibrations",
            (raw / i.day / "calib_cam_to_cam.txt" for _, i in frames),
            raw_advice,
        ),
        _files(
            "aerial images",
            (root / "satmap" / i.day / i.drive / f"{i.frame}.png" for _, i in frames),
            f"get the benchmark's aerial images into {root / 'satmap'}",
        ),
        _files(
            "depth maps",
            (root / KITTI_DEPTH / i.day / i.drive / "depth" / f"{i.frame}.png" for _, i in frames),
            "make them with a metric depth model (16-bit PNG, metres times 256), or evaluate with "
            "--depth default",
        ),
    ]
    return findings


def _files(what: str, paths: Iterable[Path], advice: str) -> Finding:
    wanted = sorted(set(paths))
    # One listing of each folder: asking for a hundred thousand files one by one takes minutes on
    # network storage.
    present = {
        folder: {p.name for p in folder.iterdir()} if folder.is_dir() else set()
        for folder in {p.parent for p in wanted}
    }
    missing = [p for p in wanted if p.name not in present[p.parent]]
    examples = tuple(str(p) for p in missing[:_EXAMPLES])
    return Finding(what, len(wanted), len(missing), examples, advice if missing else "")
