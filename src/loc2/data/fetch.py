"""Fetching the published lists of a benchmark's split; images are fetched by their own means."""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import get_args

from loc2.data.kitti import LIST_LENGTHS, KittiSplit, list_path, read_list
from loc2.errors import InputError, OutputError
from loc2.hub.fetch import DownloadError, download

KITTI_LISTS_URL = "https://raw.githubusercontent.com/YujiaoShi/HighlyAccurate/HEAD/dataLoader"
"""Where the authors of the benchmark publish its lists (Shi and Li 2022)."""


def fetch_kitti_lists(
    folder: Path,
    base_url: str = KITTI_LISTS_URL,
    progress: Callable[[str, int, int | None], None] | None = None,
) -> list[Path]:
    """Download KITTI's three lists; all are put in place, or none.

    Complete lists that are there are kept. What came of a broken download is kept beside them,
    and the next call goes on with it.

    Args:
        folder: where they are looked for: the data set's root, or a folder of lists; made if it
            is not there.
        base_url: http or https address of the folder that holds them.
        progress: told (file name, bytes that are here, bytes expected or None).

    Returns:
        The lists.

    Raises:
        InputError: a list cannot be had, what came is not it, or another file is in its place.
        OutputError: the folder cannot be written.
    """
    parts = urllib.parse.urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise InputError(f"--base-url {base_url}: an http or https address expected")
    paths = {split: list_path(folder, split) for split in get_args(KittiSplit)}
    wanted = {split: path for split, path in paths.items() if not _is_there(path, split)}
    came = {}
    for split, path in wanted.items():
        partial = path.with_name(path.name + ".part")
        url = f"{base_url.rstrip('/')}/{path.name}"

        def told(here: int, expected: int | None, name: str = path.name) -> None:
            if progress is not None:
                progress(name, here, expected)

        try:
            download(url, partial, progress=told)
        except DownloadError as error:
            raise InputError(
                f"{url}: {error}; run the command again to go on, or place the benchmark's lists "
                f"in {folder} yourself"
            ) from error
        _check(url, partial, split)
        came[path] = partial
    try:
        for path, partial in came.items():
            partial.replace(path)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror})") from error
    return list(paths.values())


def _is_there(path: Path, split: KittiSplit) -> bool:
    if not path.is_file():
        return False
    lines = len(read_list(path, split))
    if lines != LIST_LENGTHS[split]:
        raise InputError(
            f"{path}: in the way, with {lines} lines where the benchmark's list has "
            f"{LIST_LENGTHS[split]}; remove it, or name another folder with --lists"
        )
    return True


def _check(url: str, partial: Path, split: KittiSplit) -> None:
    try:
        lines = len(read_list(partial, split))
        problem = f"{lines} lines, not {LIST_LENGTHS[split]}"
        if lines == LIST_LENGTHS[split]:
            return
    except InputError as error:
        problem = str(error).removeprefix(str(partial)).lstrip(",: ")
    partial.unlink()
    raise InputError(f"{url}: not the benchmark's list ({problem}); it was deleted")
