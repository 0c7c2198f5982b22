"""Photos a second: one by one against ``Localizer.localize_batch`` and ``loc2 batch``.

Real-size panoramas (2048x1024) and aerial images (60 m, 600 px) are made from a few generated
scenes: panoramas turned, aerial images turned by quarters. They are written once, outside the
clock, and kept in ``--inputs``. Every ``--sharing`` photos lie in one aerial image, as the photos
of a street do. One by one, ``Localizer.localize`` is called with both images by path for some
photos, half of them before and half after the batches, in one process with all cores as threads;
the batches have the same cores. Example, on two cores:

    taskset -c 0,1 python benchmarks/bench_batch.py --photos 200 --sharing 10 --output shared.json
    taskset -c 0,1 python benchmarks/bench_batch.py --photos 60 --sharing 1 --output apart.json
    python benchmarks/bench_batch.py --device cuda --workers 4 --output gpu.json
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from loc2.frames import heading_error_deg
from loc2.localization import Localization
from loc2.localizer import Localizer
from loc2.processor import has_amx
from loc2.query import Query
from loc2.scenes.pairs import SceneOptions, generate_pair

SCENE_SEEDS = (910_001, 910_002, 910_003, 910_004)
GROUND_WIDTH_PX, AERIAL_PX, METERS_PER_PIXEL = 2048, 600, 0.1
Poses = dict[int, tuple[float, float, float]]


def prepared(folder: Path, photos: int, sharing: int) -> list[Query]:
    """Write JPEG images and a manifest, unless they are there; returns what is asked."""
    done = folder / "manifest.csv"
    if not done.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        options = SceneOptions(
            cropped_share=0.0,
            ground_width=GROUND_WIDTH_PX,
            aerial_size=AERIAL_PX,
            meters_per_pixel=(METERS_PER_PIXEL, METERS_PER_PIXEL),
        )
        scenes = [generate_pair(seed, options) for seed in SCENE_SEEDS]
        rng = np.random.default_rng(0)
        rows = []
        for i in range(photos):
            place = i // sharing
            scene = scenes[place % len(scenes)]
            ground, aerial = f"g{i:05d}.jpg", f"a{place:05d}.jpg"
            turned = np.roll(scene.ground, int(rng.integers(GROUND_WIDTH_PX)), axis=1)
            Image.fromarray(turned).save(folder / ground, quality=92)
            if i % sharing == 0:
                quarters = place // len(scenes) % 4
                Image.fromarray(np.rot90(scene.aerial, quarters)).save(folder / aerial, quality=92)
            rows.append((ground, aerial, METERS_PER_PIXEL))
        partial = folder / "manifest.partial"
        with partial.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("ground", "aerial", "meters_per_pixel"))
            writer.writerows(rows)
        partial.replace(done)
    with done.open(newline="") as file:
        return [
            Query(
                folder / row["ground"],
                folder / row["aerial"],
                meters_per_pixel=float(row["meters_per_pixel"]),
            )
            for row in csv.DictReader(file)
        ]


class Phase:
    """Wall and processor time of a part of the benchmark, children included.

    Attributes:
        wall_s: seconds.
        cpu_s: processor seconds.
        busy_s: processor seconds of the whole machine (Linux only).
    """

    wall_s = 0.0
    cpu_s = 0.0

    busy_s = 0.0

    def record(self, photos: int) -> dict[str, float]:
        """Return rates, and how many cores this and everything on the machine kept busy."""
        return {
            "photos": photos,
            "photos_per_second": photos / self.wall_s,
            "cpu_seconds_per_photo": self.cpu_s / photos,
            "cores_used": self.cpu_s / self.wall_s,
            "cores_used_by_others": max(self.busy_s - self.cpu_s, 0.0) / self.wall_s,
        }


@contextmanager
def clocked() -> Iterator[Phase]:
    phase = Phase()
    started_s, used_s, busy_s = time.perf_counter(), _cpu_s(), _machine_s()
    yield phase
    phase.wall_s = time.perf_counter() - started_s
    phase.cpu_s, phase.busy_s = _cpu_s() - used_s, _machine_s() - busy_s


def _cpu_s() -> float:
    used = [resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def _machine_s() -> float:
    """Return the processor seconds of everything on the machine: user, nice and system time."""
    try:
        first = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    except OSError:
        return 0.0
    return sum(map(int, first[1:4])) / os.sysconf("SC_CLK_TCK")


def one_by_one(localizer: Localizer, queries: list[Query], chosen: list[int]) -> Poses:
    return {
        i: _pose(
            localizer.localize(
                queries[i].ground, queries[i].aerial, meters_per_pixel=queries[i].meters_per_pixel
            )
        )
        for i in chosen
    }


def in_python(localizer: Localizer, queries: list[Query]) -> Poses:
    poses = {}
    for i, answer in enumerate(localizer.localize_batch(iter(queries))):
        if isinstance(answer, Exception):
            raise answer
        poses[i] = _pose(answer)
    return poses


def by_command(folder: Path, arguments: argparse.Namespace) -> tuple[Poses, list[float]]:
    """Run the whole command, the start of its workers and the loading of weights included.

    Returns:
        The poses, and the memory of all its processes each half second, MB (Linux only).
    """
    words = [sys.executable, "-m", "loc2", "batch", str(folder / "manifest.csv"), "--quiet"]
    words += ["--ignore-metadata", "--device", arguments.device]
    words += ["--part-rows", str(arguments.part_rows), "--cache-mb", str(arguments.cache_mb)]
    if arguments.workers is not None:
        words += ["--workers", str(arguments.workers)]
    memory_mb: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        output = Path(name) / "results.csv"
        running = subprocess.Popen([*words, "--output", str(output)])
        watch = threading.Thread(target=_watch, args=(running, memory_mb), daemon=True)
        watch.start()
        if running.wait() != 0:
            raise SystemExit("the batch failed; see the message above")
        watch.join()
        with output.open(newline="") as file:
            rows = list(csv.DictReader(file))
    poses = {
        i: (float(r["east_m"]), float(r["north_m"]), float(r["heading_deg"]))
        for i, r in enumerate(rows)
    }
    return poses, memory_mb


def _watch(running: subprocess.Popen[bytes], memory_mb: list[float]) -> None:
    while running.poll() is None:
        held_kb = [_memory_kb(pid) for pid in _tree(running.pid)]
        if any(held_kb):
            memory_mb.append(sum(held_kb) * 1024 / 1e6)
        time.sleep(0.5)


def _tree(pid: int) -> list[int]:
    """Return a process and all below it."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    try:
        below = [int(child) for child in children.read_text().split()]
    except OSError:
        return [pid]
    return [pid, *(p for child in below for p in _tree(child))]


def _memory_kb(pid: int) -> int:
    """Return a process's share of memory: pages that several use are divided between them."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def _pose(answer: Localization) -> tuple[float, float, float]:
    return answer.pose.east_m, answer.pose.north_m, answer.pose.heading_deg


def differences(ours: Poses, reference: Poses) -> dict[str, float]:
    """Return how far the poses of the photos in both are apart."""
    apart_m = [math.dist(ours[i][:2], pose[:2]) for i, pose in reference.items()]
    apart_deg = [heading_error_deg(ours[i][2], pose[2]) for i, pose in reference.items()]
    return {
        "position_m_largest": max(apart_m),
        "position_m_median": statistics.median(apart_m),
        "heading_deg_largest": max(apart_deg),
        "heading_deg_median": statistics.median(apart_deg),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    name = next((line.split(":")[1].strip() for line in lines if "model name" in line), "")
    return name + (" (AMX)" if has_amx() else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=200)
    parser.add_argument("--sharing", type=int, default=10, help="photos in one aerial image")
    parser.add_argument("--alone", type=int, default=40, help="photos localized one by one")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--part-rows", type=int, default=25)
    parser.add_argument("--cache-mb", type=int, default=1000)
    parser.add_argument("--inputs", type=Path, help="where the images are kept")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    photos, sharing = arguments.photos, arguments.sharing
    folder = (arguments.inputs or Path(tempfile.gettempdir()) / "loc2-bench-batch") / (
        f"{photos}-photos-sharing-{sharing}"
    )
    queries = prepared(folder, photos, sharing)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    # Workers are processes with a share of the cores each; alone, a photo has all of them.
    torch.set_num_threads(cores or 1)
    localizer = Localizer.from_pretrained(None, arguments.device)
    results: dict[str, Any] = {
        "machine": f"{_processor()}, {cores} cores, torch {torch.__version__}",
        "device": arguments.device,
        "precision": localizer.precision,
        "photos": photos,
        "sharing": sharing,
        "load_before": os.getloadavg(),
    }
    chosen = np.linspace(0, photos - 1, min(arguments.alone, photos)).round().astype(int).tolist()
    one_by_one(localizer, queries, chosen[:2])  # first calls are slower
    with clocked() as phase:
        reference = one_by_one(localizer, queries, chosen[::2])
    results["one_by_one"] = phase.record(len(chosen[::2]))
    save(results, arguments.output)
    with clocked() as phase:
        poses = in_python(localizer, queries)
    results["localize_batch"] = phase.record(photos) | differences(poses, reference)
    save(results, arguments.output)
    with clocked() as phase:
        poses, memory_mb = by_command(folder, arguments)
    results["loc2_batch"] = phase.record(photos) | differences(poses, reference)
    if memory_mb:
        tenths = [max(part.tolist(), default=0.0) for part in np.array_split(memory_mb, 10)]
        results["loc2_batch"]["peak_memory_mb"] = round(max(memory_mb))
        results["loc2_batch"]["peak_memory_mb_of_each_tenth"] = [round(mb) for mb in tenths]
    save(results, arguments.output)
    with clocked() as phase:
        one_by_one(localizer, queries, chosen[1::2])
    results["one_by_one_again"] = phase.record(len(chosen[1::2]))
    save(results, arguments.output)
    print(json.dumps(results, indent=2))


def save(results: dict[str, Any], output: Path | None) -> None:
    """Write what there is so far, with rates beside those of one by one."""
    alone = [results[way] for way in ("one_by_one", "one_by_one_again") if way in results]
    seconds = sum(way["photos"] / way["photos_per_second"] for way in alone)
    rate = sum(way["photos"] for way in alone) / seconds
    for name in ("localize_batch", "loc2_batch"):
        if name in results:
            way = results[name]
            way["times_one_by_one"] = way["photos_per_second"] / rate
            way["machine_hours_per_million"] = 1e6 / way["photos_per_second"] / 3600
    results["load_after"] = os.getloadavg()
    if output is not None:
        output.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
