"""Memorise eight real pairs on purpose: position under 1 m, heading under 2 degrees, on all eight.

    python benchmarks/overfit_real.py --pairs PAIRS.csv --output DIR [--depth-factor 7]

Headings are unknown (panoramas turned by anything), windows of 60 m shifted by up to 6 m. Depth is
level ground at the camera's height; with a factor, depth files of that depth times the factor are
written, with no unit, and training and localization must find the scale themselves. Writes
``overfit.json`` (errors of each pair and draw, and the curve).
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from loc2.data.pairs import Pair, read_pairs
from loc2.depth import FlatGround
from loc2.evaluation.pairs import Protocol, evaluate_pairs
from loc2.inputs import load_image, resolve_camera
from loc2.localizer import Localizer
from loc2.training.config import load_config
from loc2.training.run import train_from_config

CONFIG = Path(__file__).parents[1] / "configs" / "overfit.toml"
GROUP = "cvact"
FIELDS = ("projection", "elevation_top_deg", "elevation_bottom_deg", "camera_height_m")


def write_manifest(pairs: list[Pair], folder: Path, factor: float | None) -> Path:
    """Write a manifest of the pairs, with depth files in no unit where a factor is given."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for pair in pairs:
        row: dict[str, Any] = {
            "id": pair.id,
            "ground": pair.ground.resolve(),
            "aerial": pair.aerial.resolve(),
            "meters_per_pixel": pair.meters_per_pixel,
            "east_m": pair.east_m,
            "north_m": pair.north_m,
            "heading_deg": pair.heading_deg,
            **{name: getattr(pair, name) for name in FIELDS},
        }
        if factor is not None:
            image = load_image(pair.ground)
            camera = resolve_camera(pair.camera_spec(), image.shape[-1], image.shape[-2])
            flat = FlatGround(pair.camera_height_m or 2.0)(image, camera)
            depth = (flat.depth * factor).numpy().astype(np.float32)
            np.savez_compressed(folder / f"{pair.id}.npz", depth=depth, unit="relative")
            row["depth"] = f"{pair.id}.npz"
        rows.append(row)
    path = folder / "pairs.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--depth-factor", type=float)
    parser.add_argument("--set", action="append", default=[], dest="assignments")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    chosen = [p for p in read_pairs(options.pairs) if p.group == GROUP][:8]
    manifest = write_manifest(chosen, options.output / "manifest", options.depth_factor)
    given = options.depth_factor is not None
    config = load_config(
        CONFIG,
        [
            f"data.manifest='{manifest}'",
            f"data.validation_manifest='{manifest}'",
            # "exact" is what the depth file says once its scale is found.
            f"run.validation_lifts=['{'exact' if given else 'flat'}']",
            f"objective.bev_flat={0.0 if given else 1.0}",
            f"objective.bev_exact={1.0 if given else 0.0}",
            *options.assignments,
        ],
    )
    started = time.perf_counter()
    curve: list[dict[str, Any]] = []

    def report(record: dict[str, Any]) -> None:
        if "validation" in record:
            curve.append(record)
            print({k: round(v, 3) if isinstance(v, float) else v for k, v in record.items()})

    train_from_config("pairs", config, options.output / "run", report=report)
    seconds = time.perf_counter() - started
    localizer = Localizer.from_pretrained(options.output / "run" / "model.safetensors")
    depth = "given" if given else "flat"
    protocol = Protocol(180.0, 60.0, 6.0, (0, 1, 2), depth)
    found = evaluate_pairs(localizer, read_pairs(manifest), protocol)
    rows = [
        {name: row.get(name) for name in ("id", "seed", "position_error_m", "heading_error_deg")}
        for row in found["pairs"]
    ]
    figures = {
        "depth_factor": options.depth_factor or 1.0,
        "seconds": round(seconds),
        "curve": curve,
        "drawn_in_training": curve[-1],
        "localizer_on_new_draws": found["summary"]["all"],
        "pairs": rows,
    }
    (options.output / "overfit.json").write_text(json.dumps(figures, indent=1))
    print(json.dumps(found["summary"]["all"], indent=1))
    for row in rows:
        print(row)


if __name__ == "__main__":
    main()
