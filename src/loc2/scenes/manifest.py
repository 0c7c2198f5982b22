"""Rendered pairs on disk: images, depth, classes, and one manifest row for each.

The folder holds ``pairs.csv`` in the format that :mod:`loc2.data.pairs` reads, and the files that
its rows name. A row is written after its files, so an interrupted run resumes where it stopped.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from loc2.cameras import Camera, Equirectangular, Pinhole
from loc2.errors import OutputError
from loc2.frames import Pose
from loc2.scenes.sensor import to_uint8

MANIFEST_NAME = "pairs.csv"

COLUMNS = (
    "id",
    "ground",
    "aerial",
    "meters_per_pixel",
    "east_m",
    "north_m",
    "position_sigma_m",
    "heading_deg",
    "projection",
    "elevation_top_deg",
    "elevation_bottom_deg",
    "camera_height_m",
    "hfov_deg",
    "roll_deg",
    "pitch_deg",
    "depth",
    "classes",
    "aerial_classes",
)


@dataclass(frozen=True, eq=False)
class RenderedPair:
    """A developed ground image and orthophoto with their truth.

    Attributes:
        id: unique name, usable in a file name; the part before the first underscore is its group.
        ground: (3, H, W) sRGB in [0, 1].
        camera: the ground camera; a pinhole has square pixels and a central principal point.
        depth_m: (H, W) depth of the camera's kind (``GroundRender.depth_m``), metres; inf or 0
            where there is none.
        classes: (H, W) semantic classes of the ground image.
        camera_height_m: height of the camera above the ground, metres.
        aerial: (3, H, W) sRGB in [0, 1].
        aerial_classes: (H, W) semantic classes of the orthophoto.
        meters_per_pixel: of the orthophoto.
        pose: of the camera in the orthophoto's frame.
    """

    id: str
    ground: NDArray[np.float32]
    camera: Camera
    depth_m: NDArray[np.float32]
    classes: NDArray[np.uint8]
    camera_height_m: float
    aerial: NDArray[np.float32]
    aerial_classes: NDArray[np.uint8]
    meters_per_pixel: float
    pose: Pose


def finished_ids(folder: Path) -> set[str]:
    """Return the ids that the folder's manifest already holds; empty without a manifest."""
    manifest = folder / MANIFEST_NAME
    if not manifest.is_file():
        return set()
    with manifest.open(newline="", encoding="utf-8") as file:
        return {row["id"] for row in csv.DictReader(file) if row.get("aerial_classes")}


def write_pair(folder: Path, pair: RenderedPair) -> None:
    """Write a pair's files and append its row to the manifest.

    Images are JPEG (quality 95), depth is float16 in an npz with its unit and kind, classes are
    8-bit PNG.

    Args:
        folder: output folder; made where missing.
        pair: the pair.

    Raises:
        OutputError: the folder or a file cannot be written.
    """
    files = {
        "ground": f"images/{pair.id}_ground.jpg",
        "aerial": f"images/{pair.id}_aerial.jpg",
        "depth": f"truth/{pair.id}_depth.npz",
        "classes": f"truth/{pair.id}_classes.png",
        "aerial_classes": f"truth/{pair.id}_aerial_classes.png",
    }
    try:
        (folder / "images").mkdir(parents=True, exist_ok=True)
        (folder / "truth").mkdir(exist_ok=True)
        for name, image in (("ground", pair.ground), ("aerial", pair.aerial)):
            Image.fromarray(to_uint8(image)).save(folder / files[name], quality=95)
        depth = np.where(np.isfinite(pair.depth_m), pair.depth_m, 0.0).astype(np.float16)
        np.savez_compressed(
            folder / files["depth"], depth=depth, unit="m", kind=pair.camera.depth_kind
        )
        Image.fromarray(pair.classes).save(folder / files["classes"])
        Image.fromarray(pair.aerial_classes).save(folder / files["aerial_classes"])
        _append_row(folder / MANIFEST_NAME, _row(pair) | files)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror or error})") from error


def _append_row(manifest: Path, row: dict[str, str]) -> None:
    is_new = not manifest.is_file() or manifest.stat().st_size == 0
    with manifest.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if is_new:
            writer.writeheader()
        writer.writerow(row)


def _row(pair: RenderedPair) -> dict[str, str]:
    camera = pair.camera
    row = {
        "id": pair.id,
        "meters_per_pixel": f"{pair.meters_per_pixel:.6g}",
        "east_m": f"{pair.pose.east_m:.4f}",
        "north_m": f"{pair.pose.north_m:.4f}",
        "position_sigma_m": "0",
        "heading_deg": f"{pair.pose.heading_deg:.4f}",
        "camera_height_m": f"{pair.camera_height_m:.3f}",
        "roll_deg": f"{camera.roll_deg:.4f}",
        "pitch_deg": f"{camera.pitch_deg:.4f}",
    }
    if isinstance(camera, Equirectangular):
        row["projection"] = "equirectangular"
        row["elevation_top_deg"] = f"{camera.elevation_top_deg:.6g}"
        row["elevation_bottom_deg"] = f"{camera.elevation_bottom_deg:.6g}"
    elif isinstance(camera, Pinhole):
        row["projection"] = "pinhole"
        hfov = 2 * np.degrees(np.arctan(camera.width / 2 / camera.fx))
        row["hfov_deg"] = f"{hfov:.6f}"
    return row
