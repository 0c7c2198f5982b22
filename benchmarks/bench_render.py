"""Time of a pair: panorama 448x896 and orthophoto 672x672, with shadows.

    OMP_NUM_THREADS=1 python benchmarks/bench_render.py [--faces 80000] [--repeats 5]
    OMP_NUM_THREADS=1 python benchmarks/bench_render.py --pairs 24 [--textures DIR] [--seed 9000]

The first form prints the best and the mean of processor and wall-clock time of each step of the
renderer on one core. Its scene is a street of boxes with trees of textured leaves, as heavy as
generated scenes are.

The second form times whole pairs from seed to images (``generate_pair``: world, both renders,
depth, classes, visibility, sensor effects and JPEG in memory; writing files is not included), in
one process and in two, without photographic textures and, where a folder is given, with them.
Every process first makes ``--warm`` pairs of other seeds untimed, so that what is compiled once is
not counted; then its pairs are timed twice. The first time includes textures and trees that a
process draws once and keeps, the second is what a long run costs. ``--output`` writes JSON.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from loc2.cameras import Equirectangular
from loc2.scenes.light import Light, build_light_field, procedural_sky
from loc2.scenes.mesh import Material, Mesh
from loc2.scenes.packed import pack
from loc2.scenes.pairs import SceneOptions, generate_pair
from loc2.scenes.render import GROUND_SHADOW_RADII_M, render_aerial, render_ground
from loc2.scenes.sensor import develop, random_aerial_development, random_ground_development

WARM_SEED = 4_000_000
"""First seed of the pairs that are made before the clock starts."""


def texture(rng: np.random.Generator, size: int, grey: int) -> np.ndarray:
    noise = rng.normal(grey, 20.0, (size, size, 3))
    return np.clip(noise, 0, 255).astype(np.uint8)


def quads(corners: np.ndarray, repeats: np.ndarray, material: np.ndarray) -> dict[str, Any]:
    """Return mesh arrays of (N, 4, 3) corners with (N, 2) repeats of the texture."""
    count = len(corners)
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    uv = square[None] * repeats[:, None]
    corner = np.array([[0, 1, 2], [0, 2, 3]])
    faces = (np.arange(count)[:, None, None] * 4 + corner).reshape(-1, 3)
    return {
        "vertices": corners.reshape(-1, 3).astype(np.float32),
        "faces": faces.astype(np.int32),
        "uv": np.stack([uv[:, [0, 1, 2]], uv[:, [0, 2, 3]]], 1).reshape(-1, 3, 2),
        "material": np.repeat(material, 2).astype(np.int32),
        "class_id": np.repeat(material + 1, 2).astype(np.uint8),
    }


def street(faces: int) -> Mesh:
    rng = np.random.default_rng(0)
    leaf_mask = np.zeros((64, 64), np.uint8)
    y, x = np.mgrid[:64, :64]
    leaf_mask[np.hypot(x - 32, y - 32) < 26] = 255
    materials = [
        Material(texture(rng, 512, 120)),
        Material(texture(rng, 512, 150), specular=0.04),
        Material(texture(rng, 64, 90), leaf_mask),
    ]
    corners, repeats, kinds = [], [], []

    def add(quad: list[list[float]], repeat: tuple[float, float], kind: int) -> None:
        corners.append(quad)
        repeats.append(repeat)
        kinds.append(kind)

    for i in np.arange(-80, 80, 4.0):
        for j in np.arange(-80, 80, 4.0):
            add([[i, j, 0], [i + 4, j, 0], [i + 4, j + 4, 0], [i, j + 4, 0]], (1, 1), 0)
    for side in (-1, 1):
        for y0 in np.arange(-70, 70, 14.0):
            x0, x1 = sorted((side * 9.0, side * 20.0))
            ring = [(x0, y0), (x1, y0), (x1, y0 + 11), (x0, y0 + 11)]
            for k in range(4):
                (ax, ay), (bx, by) = ring[k], ring[(k + 1) % 4]
                add([[ax, ay, 0], [bx, by, 0], [bx, by, 8], [ax, ay, 8]], (3, 2), 1)
            add([[*p, 8.0] for p in ring], (3, 3), 0)
    trees = rng.uniform(-60, 60, (16, 2)) * [0.1, 1.0] + rng.choice([-6, 6], (16, 1)) * [1, 0]
    leaves = max(0, faces // 2 - len(corners)) // len(trees)
    for tree in trees:
        direction = rng.normal(size=(leaves, 3))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        center = np.array([*tree, 6.0]) + direction * 2.5 * rng.random((leaves, 1)) ** 0.3
        edges = rng.normal(size=(leaves, 2, 3))
        edges *= 0.2 / np.linalg.norm(edges, axis=2, keepdims=True)
        for c, (a, b) in zip(center, edges, strict=True):
            add([list(c - a - b), list(c + a - b), list(c + a + b), list(c - a + b)], (1, 1), 2)
    arrays = quads(np.array(corners), np.array(repeats, np.float32), np.array(kinds))
    return Mesh(materials=materials, **arrays)


def measure(name: str, step: Callable[[], Any], repeats: int) -> tuple[float, float]:
    step()  # compiled and warm
    processor, wall = [], []
    for _ in range(repeats):
        p, w = time.process_time(), time.perf_counter()
        step()
        processor.append(time.process_time() - p)
        wall.append(time.perf_counter() - w)
    print(
        f"{name:<28}{min(processor) * 1e3:9.0f}{np.mean(processor) * 1e3:9.0f}"
        f"{min(wall) * 1e3:9.0f}{np.mean(wall) * 1e3:9.0f}"
    )
    return min(processor), min(wall)


def time_pairs(
    seed: int, count: int, warm: int, textures: Path | None, start: Any, results: Any
) -> None:
    """Make other pairs untimed, then pairs twice, both times together with the other processes."""
    torch.set_num_threads(1)
    options = SceneOptions(textures=textures)
    for i in range(warm):
        generate_pair(WARM_SEED + i, options)
    for turn in range(2):
        start.wait()
        begun, processor = time.time(), time.process_time()
        for i in range(count):
            generate_pair(seed + i, options)
        results.put((turn, begun, time.time(), time.process_time() - processor))


def measure_pairs(arguments: argparse.Namespace) -> None:
    """Print pairs a second and processor time a pair, in one process and in two."""
    count, textures = arguments.pairs, arguments.textures
    print("seed to images in memory: world, both renders, depth, classes, sensor effects, JPEG")
    print(f"{'':<40}{'pairs/s':>9}{'cpu s':>9}")
    context = multiprocessing.get_context("spawn")
    rows: list[dict[str, Any]] = []
    for folder in [None] if textures is None else [None, textures]:
        for processes in (1, 2):
            each = max(1, count // processes)
            start, results = context.Barrier(processes), context.Queue()
            workers = [
                context.Process(
                    target=time_pairs,
                    args=(
                        arguments.seed + i * each, each, arguments.warm, folder, start, results,
                    ),
                )
                for i in range(processes)
            ]  # fmt: skip
            for worker in workers:
                worker.start()
            done = np.array([results.get() for _ in range(2 * processes)])
            for worker in workers:
                worker.join()
            for turn, name in enumerate(("first time", "again")):
                mine = done[done[:, 0] == turn]
                row = {
                    "textures": "photographic" if folder else "procedural",
                    "processes": processes,
                    "turn": name,
                    "pairs": each * processes,
                    "pairs_per_second": each * processes / (mine[:, 2].max() - mine[:, 1].min()),
                    "processor_seconds_per_pair": mine[:, 3].sum() / (each * processes),
                }
                rows.append(row)
                label = f"{row['textures']}, {processes} processes, {name}"
                print(
                    f"{label:<40}{row['pairs_per_second']:9.2f}"
                    f"{row['processor_seconds_per_pair']:9.2f}"
                )
    if arguments.output is not None:
        options = SceneOptions()
        record = {
            "included": "seed to images in memory: world, both renders, depth, classes, "
            "visibility, sensor effects, JPEG; no files written",
            "not_included": "compilation; in turn 'again' textures and trees kept by the process",
            "panorama_px": [options.ground_width, options.ground_width // 2],
            "aerial_px": options.aerial_size,
            "cores": os.cpu_count(),
            "load_before": arguments.load,
            "warm_pairs": arguments.warm,
            "first_seed": arguments.seed,
            "rows": rows,
        }
        arguments.output.write_text(json.dumps(record, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faces", type=int, default=80_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--pairs", type=int, default=0, help="time so many whole pairs instead")
    parser.add_argument("--seed", type=int, default=9000)
    parser.add_argument("--warm", type=int, default=12, help="untimed pairs of other seeds")
    parser.add_argument("--textures", type=Path)
    parser.add_argument("--output", type=Path, help="JSON file for the figures of pairs")
    arguments = parser.parse_args()
    if arguments.pairs > 0:
        arguments.load = os.getloadavg()[0]
        measure_pairs(arguments)
        return
    mesh = street(arguments.faces)
    packed = pack(mesh)
    rng = np.random.default_rng(1)
    sky = procedural_sky(rng, clouds=0.4, sun_azimuth_deg=120, sun_elevation_deg=40)
    light = Light(sky, 120.0, 40.0, haze_per_m=0.001)
    camera = Equirectangular(896, 448, 1.0, -1.0)
    position = np.array([0.0, 0.0, 2.0])

    def ground() -> Any:
        return render_ground(packed, camera, position, 30.0, light=light)

    def aerial() -> Any:
        return render_aerial(packed, [3, 2], 672, 672, 0.12, light=light, lean=(0.1, 0.05))

    ground_rgb, aerial_rgb = ground().rgb, aerial().rgb

    def develop_both() -> None:
        develop(ground_rgb, random_ground_development(rng, panorama=True), rng, panorama=True)
        develop(aerial_rgb, random_aerial_development(rng), rng)

    print(f"{len(mesh.faces)} triangles; milliseconds")
    print(f"{'':<28}{'cpu best':>9}{'mean':>9}{'wall best':>9}{'mean':>9}")
    steps: list[tuple[str, Callable[[], Any]]] = [
        ("pack", lambda: pack(mesh)),
        (
            "sky",
            lambda: procedural_sky(rng, clouds=0.4, sun_azimuth_deg=120, sun_elevation_deg=40),
        ),
        (
            "(shadow maps of the ground)",
            lambda: build_light_field(packed, light, position, GROUND_SHADOW_RADII_M),
        ),
        ("ground, with shadow maps", ground),
        ("aerial, with shadow maps", aerial),
        ("development of both", develop_both),
    ]
    total = [0.0, 0.0]
    for name, step in steps:
        processor, wall = measure(name, step, arguments.repeats)
        if not name.startswith("("):
            total = [total[0] + processor, total[1] + wall]
    print(f"{'pair':<28}{total[0] * 1e3:9.0f}{'':9}{total[1] * 1e3:9.0f}")


if __name__ == "__main__":
    main()
