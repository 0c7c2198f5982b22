"""Photos a second: one by one against ``Localizer.localize_batch`` and ``loc2 batch``.

Real-size photos and aerial images are invented (smooth noise: what is measured is time, and that
the poses agree). Every ``--sharing`` photos lie in one aerial image, as the photos of a street do.
One by one, ``Localizer.localize`` is called for each photo with its aerial image by path; the
batches have the same cores. Example, on two cores:

    taskset -c 0,1 python benchmarks/bench_batch.py --photos 200 --sharing 10 --output speed.json
    taskset -c 0,1 python benchmarks/bench_batch.py --photos 200 --sharing 1 --output apart.json
    python benchmarks/bench_batch.py --device cuda --workers 4 --output gpu.json
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from loc2.cli import main as loc2
from loc2.frames import heading_error_deg
from loc2.localization import Localization
from loc2.localizer import Localizer
from loc2.query import Query

GROUND_PX, AERIAL_PX, METERS_PER_PIXEL = (2048, 1024), (640, 640), 0.12


def invent(folder: Path, photos: int, sharing: int) -> list[tuple[Path, Path]]:
    """Write JPEG panoramas and aerial images and a manifest; returns (ground, aerial) pairs."""
    rng = np.random.default_rng(0)

    def picture(size: tuple[int, int]) -> Image.Image:
        small = rng.integers(0, 255, (size[1] // 16, size[0] // 16, 3), dtype=np.uint8)
        return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)

    pairs = []
    for i in range(photos):
        ground, aerial = folder / f"g{i:05d}.jpg", folder / f"a{i // sharing:05d}.jpg"
        picture(GROUND_PX).save(ground, quality=92)
        if not aerial.exists():
            picture(AERIAL_PX).save(aerial, quality=92)
        pairs.append((ground, aerial))
    with (folder / "photos.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("ground", "aerial", "meters_per_pixel"))
        writer.writerows((g.name, a.name, METERS_PER_PIXEL) for g, a in pairs)
    return pairs


Poses = list[tuple[float, float, float]]


def one_by_one(localizer: Localizer, pairs: list[tuple[Path, Path]]) -> tuple[float, Poses]:
    poses = []
    start = time.perf_counter()
    for ground, aerial in pairs:
        answer = localizer.localize(ground, aerial, meters_per_pixel=METERS_PER_PIXEL)
        poses.append(_pose(answer))
    return time.perf_counter() - start, poses


def in_python(localizer: Localizer, pairs: list[tuple[Path, Path]]) -> tuple[float, Poses]:
    queries = (Query(g, a, meters_per_pixel=METERS_PER_PIXEL) for g, a in pairs)
    poses = []
    start = time.perf_counter()
    for answer in localizer.localize_batch(queries):
        if isinstance(answer, Exception):
            raise answer
        poses.append(_pose(answer))
    return time.perf_counter() - start, poses


def by_command(folder: Path, arguments: argparse.Namespace) -> tuple[float, Poses]:
    """Time the whole command, the start of its workers and the loading of weights included."""
    output = folder / "results.csv"
    words = ["batch", str(folder / "photos.csv"), "--output", str(output), "--quiet"]
    words += ["--ignore-metadata", "--device", arguments.device]
    words += ["--part-rows", str(arguments.part_rows)]
    if arguments.workers is not None:
        words += ["--workers", str(arguments.workers)]
    start = time.perf_counter()
    if loc2(words) != 0:
        raise SystemExit("the batch failed; see the message above")
    seconds = time.perf_counter() - start
    with output.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return seconds, [
        (float(r["east_m"]), float(r["north_m"]), float(r["heading_deg"])) for r in rows
    ]


def _pose(answer: Localization) -> tuple[float, float, float]:
    return answer.pose.east_m, answer.pose.north_m, answer.pose.heading_deg


def largest_difference(ours: Poses, theirs: Poses) -> dict[str, float]:
    """Return the largest differences of position and heading."""
    return {
        "position_m": max(math.dist(a[:2], b[:2]) for a, b in zip(ours, theirs, strict=True)),
        "heading_deg": max(
            heading_error_deg(a[2], b[2]) for a, b in zip(ours, theirs, strict=True)
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=200)
    parser.add_argument("--sharing", type=int, default=10, help="photos in one aerial image")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--part-rows", type=int, default=25)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    results: dict[str, Any] = {
        "photos": arguments.photos,
        "sharing": arguments.sharing,
        "device": arguments.device,
        "cores": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
    }
    # Workers are processes with a share of the cores each; alone, a photo has all of them.
    torch.set_num_threads(results["cores"])
    localizer = Localizer.from_pretrained(None, arguments.device)
    results["precision"] = localizer.precision
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pairs = invent(folder, arguments.photos, arguments.sharing)
        one_by_one(localizer, pairs[:2])  # first calls are slower
        alone_s, reference = one_by_one(localizer, pairs)
        results["one_by_one"] = {"photos_per_second": len(pairs) / alone_s}
        for way, (seconds, poses) in {
            "localize_batch": in_python(localizer, pairs),
            "loc2_batch": by_command(folder, arguments),
        }.items():
            results[way] = {
                "photos_per_second": len(pairs) / seconds,
                "times_one_by_one": alone_s / seconds,
                "largest_difference": largest_difference(poses, reference),
            }
    text = json.dumps(results, indent=2)
    print(text)
    if arguments.output is not None:
        arguments.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
