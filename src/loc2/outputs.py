"""Writing results: whole or not at all."""

from __future__ import annotations

import json
import math
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from loc2 import __version__
from loc2.errors import OutputError
from loc2.localization import Localization


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path`` and rename it into place on success.

    Args:
        path: final file; its folder is created.

    Raises:
        OutputError: the folder cannot be made or written.
    """
    ensure_directory(path.parent)
    _check_file(path)
    try:
        handle, name = tempfile.mkstemp(
            prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent
        )
        os.close(handle)
    except OSError as error:
        raise OutputError(f"output {path}: cannot be written ({error.strerror})") from error
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"output {path}: cannot be written ({reason})") from error
    finally:
        temporary.unlink(missing_ok=True)


def _check_file(path: Path) -> None:
    """Refuse what cannot become a file: a folder, a name that is too long, a place below a file."""
    try:
        is_folder = stat.S_ISDIR(path.stat().st_mode)
    except FileNotFoundError:
        return
    except OSError as error:
        raise OutputError(f"output {path}: cannot be written ({error.strerror})") from error
    if is_folder:
        raise OutputError(f"output {path}: is a folder")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def ensure_directory(path: Path) -> None:
    """Create a folder and its parents.

    Raises:
        OutputError: it cannot be made, or cannot be written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"output folder {path}: cannot be made ({error.strerror})") from error
    if not os.access(path, os.W_OK):
        raise OutputError(f"output folder {path}: cannot be written")


@contextmanager
def output_directory(path: Path | None) -> Iterator[None]:
    """Create a folder before long work; where the work fails, nothing new and empty stays behind.

    Args:
        path: the folder; None for no output.

    Raises:
        OutputError: it cannot be made, or cannot be written.
    """
    # Path.exists raises where a name is too long or a parent is barred; that is told below.
    above = () if path is None else (path, *path.parents)
    made = [folder for folder in above if not os.path.exists(folder)]  # noqa: PTH110
    try:
        if path is not None:
            ensure_directory(path)
        yield
    except BaseException:
        for folder in made:
            with suppress(OSError):  # not there, or not empty
                folder.rmdir()
        raise


@contextmanager
def output_file(path: Path | None) -> Iterator[None]:
    """Make a file's folder before long work, as :func:`output_directory` does.

    Args:
        path: the file; None for no output.

    Raises:
        OutputError: it cannot be written, as far as can be told before.
    """
    if path is not None:
        _check_file(path)
    with output_directory(None if path is None else path.parent):
        yield


def readable(text: str) -> str:
    """Return text that every output can hold.

    Where a file's name is not UTF-8, Python keeps its bytes as half characters that no encoding
    holds; they are spelled out, so that different names stay different.
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically; numbers must be finite.

    Raises:
        OutputError: the file cannot be written.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(
            json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8"
        )


def pose_record(localization: Localization) -> dict[str, Any]:
    """Return the content of ``pose.json``.

    ``u_px, v_px`` is the camera in the aerial image; ``covariance`` is in the order east, north,
    heading (m, m, degrees); ``confidence`` is the estimated probability that the position error is
    under 5 m and the heading error under 10 degrees; ``radius_90_m`` about the position holds the
    truth in nine cases of ten; ``abstains`` says that the answer is too doubtful to be used;
    ``settings`` are those of the answer, the camera's height and what was known before among them.
    """
    pose = localization.pose
    height_px, width_px = localization.aerial_image.shape[-2:]
    mpp = localization.meters_per_pixel
    return {
        "east_m": pose.east_m,
        "north_m": pose.north_m,
        "heading_deg": pose.heading_deg,
        "scale": pose.scale,
        "u_px": width_px / 2 + pose.east_m / mpp,
        "v_px": height_px / 2 - pose.north_m / mpp,
        "meters_per_pixel": mpp,
        "covariance": localization.covariance.tolist(),
        "confidence": localization.confidence,
        "radius_90_m": localization.radius_90_m,
        "abstains": localization.abstains,
        "hypotheses": [
            {
                "east_m": h.pose.east_m,
                "north_m": h.pose.north_m,
                "heading_deg": h.pose.heading_deg,
                "scale": h.pose.scale,
                "mass": h.mass,
            }
            for h in localization.hypotheses
        ],
        "settings": localization.settings,
        "weights": localization.weights,
        "version": __version__,
    }


def position_sigma_m(localization: Localization) -> float:
    """Return the standard deviation of the position along its worst direction, metres."""
    block = localization.covariance[:2, :2].double()
    largest = float(block.trace()) / 2 + math.sqrt(
        max(float(((block[0, 0] - block[1, 1]) / 2) ** 2 + block[0, 1] ** 2), 0.0)
    )
    return math.sqrt(max(largest, 0.0))
