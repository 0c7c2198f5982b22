"""Time the solvers at VIGOR size (1681 aerial cells x 5202 ground points).

    python benchmarks/bench_solver.py --device cpu --batch 1 --published
    python benchmarks/bench_solver.py --device cuda --batch 32

Times start from the match matrix on the device. RANSAC includes picking its matches from the
matrix, voting includes pruning it. "published" is the published procedure as a plain loop
(published_ransac.py), with all of its 2000 hypotheses. --f9 compares both on the fixture's
matches instead.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from published_ransac import published_ransac
from torch import Tensor

from loc2.frames import (
    aerial_px_to_m,
    cell_centers_px,
    heading_error_deg,
    local_to_aerial,
    rotation_to_heading_deg,
)
from loc2.matching import dual_softmax
from loc2.pose.evidence import log_likelihood_ratio, strongest
from loc2.pose.ransac import ransac
from loc2.pose.voting import vote

CELLS, WINDOW_M, MATCHES = 41, 70.0, 4096
ROWS, COLS, FAR_M = 51, 102, 35.0


@dataclass(frozen=True)
class Sample:
    scores: Tensor  # (A, G) logits
    bev: Tensor  # (G, 2)
    mask: Tensor  # (G,) whether the point is near enough
    position_m: Tensor
    heading_deg: float


def street(seed: int) -> Sample:
    """A panorama in a street between two rows of houses, matched with half of its points right."""
    generator = torch.Generator().manual_seed(seed)
    azimuth = ((torch.arange(COLS) + 0.5) / COLS - 0.5) * 2 * math.pi
    elevation = (0.5 - (torch.arange(ROWS) + 0.5) / ROWS) * math.pi
    walls = 6 + 8 * torch.rand(COLS, generator=generator)
    wall = (walls / azimuth.sin().abs().clamp(min=1e-3)).expand(ROWS, COLS)
    ground = (2.5 / torch.tan(-elevation).clamp(min=1e-3))[:, None].expand(ROWS, COLS)
    sky = elevation[:, None] > torch.atan(10.0 / wall)
    distance = torch.minimum(wall, ground)
    distance = torch.where(elevation[:, None] > 0, wall, distance)
    mask = (distance < FAR_M) & ~sky
    distance = distance.clamp(max=FAR_M)
    bev = torch.stack((distance * azimuth.sin(), distance * azimuth.cos()), -1).reshape(-1, 2)
    position = (torch.rand(1, 2, generator=generator) - 0.5) * 40
    heading = torch.rand(1, generator=generator) * 360
    target = local_to_aerial(bev, heading, position)[0]
    centres = aerial_px_to_m(
        cell_centers_px(CELLS, CELLS, CELLS, CELLS), CELLS, CELLS, WINDOW_M / CELLS
    ).reshape(-1, 2)
    right = torch.rand(len(bev), generator=generator) < 0.5
    bump = torch.exp(-torch.cdist(centres, target).square() / (2 * 2.0**2)) * right
    noise = torch.randn(len(centres), len(bev), generator=generator)
    return Sample(5 * bump + noise, bev, mask.reshape(-1), position[0], float(heading))


def matches(sample: Sample, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Pick the strongest matches of the dual softmax."""
    probability = dual_softmax(sample.scores[None], 1.0, sample.mask[None])[0]
    return picked(probability, sample.bev)


def picked(probability: Tensor, bev: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    cell, point = strongest(probability, MATCHES)
    size = WINDOW_M / CELLS
    east = (cell % CELLS + 0.5) * size - WINDOW_M / 2
    north = WINDOW_M / 2 - (cell // CELLS + 0.5) * size
    return bev[point], torch.stack((east, north), -1), probability[cell, point]


def timed(run: Callable[[], object], repeats: int, device: torch.device) -> float:
    times = []
    for _ in range(repeats):
        if device.type == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def f9() -> None:
    """Compare the plain loop with the fixture's results and with this package's RANSAC."""
    path = Path(__file__).parents[1] / "tests" / "fixtures" / "f9_ransac.npz"
    data = np.load(path)
    probability = torch.from_numpy(data["ransac/matching_score_f16"].astype(np.float32))
    aerial = torch.from_numpy(data["ransac/sat_coord"][0])
    ground = torch.from_numpy(data["ransac/grd_coord"])
    true = torch.from_numpy(data["ransac/t_true"][:, 0])
    yaw = rotation_to_heading_deg(torch.from_numpy(data["ransac/R_true"]))
    rows: dict[str, list[tuple[float, float]]] = {"fixture": [], "plain loop": [], "RANSAC": []}
    for seed in range(8):
        loop = published_ransac(
            probability, aerial, ground, rounds=5, hypotheses=25, samples=2000, seed=seed
        )
        for b in range(2):
            rotation = torch.from_numpy(data["ransac/R"][seed, b])
            for name, turn, place in (
                ("fixture", rotation, torch.from_numpy(data["ransac/t"][seed, b, 0])),
                ("plain loop", loop.rotation[b], loop.translation[b]),
            ):
                error = heading_error_deg(float(rotation_to_heading_deg(turn)), float(yaw[b]))
                rows[name].append((float((place - true[b]).norm()), error))
            cell, point = strongest(probability[b], 2000)
            # The fixture's axes (down, right) are right-handed like (right, forward): a turn apart.
            found = ransac(
                ground[b][point][None],
                aerial[cell][None],
                probability[b][cell, point][None],
                half_size_m=(35.0, 35.0),
                scale=(0.5, 2.0),
                seed=seed,
            )[0].pose
            place = torch.tensor((found.east_m, found.north_m))
            error = heading_error_deg(found.heading_deg, float(yaw[b]))
            rows["RANSAC"].append((float((place - true[b]).norm()), error))
    for name, values in rows.items():
        metres, degrees = zip(*values, strict=True)
        print(
            f"{name:12s} position median {statistics.median(metres):.3f} m, largest "
            f"{max(metres):.3f} m; heading median {statistics.median(degrees):.2f}, largest "
            f"{max(degrees):.2f} deg"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--published", action="store_true")
    parser.add_argument("--f9", action="store_true")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    if arguments.f9:
        f9()
        return
    device = torch.device(arguments.device)
    samples = [street(seed) for seed in range(arguments.batch)]
    half = (WINDOW_M / 2, WINDOW_M / 2)
    probability = [dual_softmax(s.scores[None], 1.0, s.mask[None])[0].to(device) for s in samples]
    bev = [s.bev.to(device) for s in samples]
    weights = [s.mask.float().to(device) for s in samples]
    # Voting reads each point's distribution over cells, dustbin included.
    padded = [torch.cat((s.scores, torch.ones(1, s.scores.shape[1]))).softmax(0) for s in samples]
    evidence = [
        log_likelihood_ratio(
            p[:-1].T.reshape(-1, CELLS, CELLS).contiguous().to(device), p[-1].to(device)
        )
        for p in padded
    ]

    def run_ransac(scale: tuple[float, float] | float) -> list[object]:
        lists = [picked(p, b) for p, b in zip(probability, bev, strict=True)]
        size = min(len(row[0]) for row in lists)
        stacked = [torch.stack([row[i][:size] for row in lists]) for i in range(3)]
        return list(ransac(*stacked, half_size_m=half, scale=scale, noise_m=1.0))

    def run_vote(scale: tuple[float, float] | float) -> list[object]:
        return [
            vote(e, b, weights=w, cell_size_m=WINDOW_M / CELLS, scale=scale)
            for e, b, w in zip(evidence, bev, weights, strict=True)
        ]

    results: dict[str, dict[str, float]] = {}
    for name, run in (
        ("RANSAC, fixed scale", lambda: run_ransac(1.0)),
        ("RANSAC, free scale", lambda: run_ransac((0.2, 5.0))),
        ("voting, fixed scale", lambda: run_vote(1.0)),
        ("voting, free scale", lambda: run_vote((0.2, 5.0))),
    ):
        found = run()
        seconds = timed(run, arguments.repeats, device) / arguments.batch
        errors = [
            math.dist((f.pose.east_m, f.pose.north_m), s.position_m.tolist())
            for f, s in zip(found, samples, strict=True)
        ]
        results[name] = {"seconds": round(seconds, 4), "largest_error_m": round(max(errors), 3)}
        print(f"{name}: {seconds:.3f} s a sample, position error {max(errors):.2f} m at most")
    if arguments.published:
        start = time.perf_counter()
        centres = aerial_px_to_m(
            cell_centers_px(CELLS, CELLS, CELLS, CELLS), CELLS, CELLS, WINDOW_M / CELLS
        ).reshape(-1, 2)
        found = published_ransac(
            torch.stack([p.cpu() for p in probability]),
            centres,
            torch.stack([b.cpu() for b in bev]),
        )
        seconds = (time.perf_counter() - start) / arguments.batch
        errors = [
            float((t - s.position_m).norm())
            for t, s in zip(found.translation, samples, strict=True)
        ]
        name = "published loop"
        results[name] = {"seconds": round(seconds, 4), "largest_error_m": round(max(errors), 3)}
        print(f"{name}: {seconds:.2f} s a sample, position error {max(errors):.2f} m at most")
    if arguments.output is not None:
        machine = f"{platform.machine()}, {torch.get_num_threads()} threads, {device}"
        record = {"machine": machine, "batch": arguments.batch, "results": results}
        arguments.output.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
