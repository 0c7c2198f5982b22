"""What the pose makes of depth of every kind, on renders with exact depth.

    python benchmarks/depth_poses.py --pairs MANIFEST.csv [--limit 8] [--output RESULTS.json]

The manifest's rows name exact depth (``loc2 scenes render MESH`` writes such). Each pair is
localized with

- the default depth of the weights,
- its exact depth,
- the same times 0.001 and times 1000, not said to be metric,
- its exact inverse depth times an unknown factor (0.5 to 2) plus an unknown shift,
- panoramas: exact inverse z-depth of six views, each under its own factor and shift, reconciled,

and the table says how often the pose is right. Prints Markdown.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from loc2.cameras import Pinhole
from loc2.data.pairs import Pair, read_pairs
from loc2.depth import DepthMap, DepthModelInfo, PerspectiveDepth, inverse_to_depth
from loc2.errors import InputError
from loc2.evaluation.pairs import Protocol, Sample, SampleSource, evaluate_samples, load_pair
from loc2.frames import cell_centers_px
from loc2.localizer import Localizer
from loc2.outputs import write_json

Change = Callable[[Sample, np.random.Generator], DepthMap | None]
FIGURES = (
    ("position_median_m", "position median, m"),
    ("heading_median_deg", "heading median, deg"),
    ("recall_1m", "within 1 m"),
    ("recall_3m", "3 m"),
    ("recall_5deg", "5 deg"),
    ("recall_5m_10deg", "5 m and 10 deg"),
)


def given(sample: Sample) -> DepthMap:
    if sample.depth is None:
        raise InputError("depth_poses: every row of the manifest must name its exact depth")
    return sample.depth


def scaled(factor: float, sample: Sample, rng: np.random.Generator) -> DepthMap:
    depth = given(sample)
    return replace(depth, depth=depth.depth * factor, metric=factor == 1.0)


def inverse(sample: Sample, rng: np.random.Generator) -> DepthMap:
    depth = given(sample)
    safe = torch.where(depth.valid, depth.depth, 1.0)
    value = float(rng.uniform(0.5, 2.0)) / safe + float(rng.uniform(-1.0, 1.0))
    found, valid, _ = inverse_to_depth(value, depth.valid, sample.camera, depth.kind)
    return DepthMap(found, depth.kind, False, valid, "inverse")


class _ExactViews:
    """A network that is right up to each view's factor and shift; its image is 1 / range."""

    view_px = 256
    info = DepthModelInfo("views", "1", "inverse", "z", "none")

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def predict(self, images: Tensor, camera: Pinhole) -> tuple[Tensor, Tensor]:
        height, width = images.shape[-2:]
        length = camera.range_per_depth(cell_centers_px(height, width, height, width), "z")
        draw = torch.from_numpy(self._rng.uniform(-1.0, 1.0, (2, len(images), 1, 1))).float()
        return 2 ** draw[0] * images[:, 0] * length + draw[1], images[:, 1] > 0.999


def views(sample: Sample, rng: np.random.Generator) -> DepthMap:
    depth = given(sample)
    if isinstance(sample.camera, Pinhole):
        return inverse(sample, rng)
    safe = torch.where(depth.valid, depth.depth, 1.0)
    near = torch.where(depth.valid, 1 / safe, 0.0)
    rows, cols = near.shape
    camera = sample.camera.resized(cols, rows)
    picture = torch.stack((near, depth.valid.float(), near))
    return PerspectiveDepth(_ExactViews(rng))(picture, camera)


VARIANTS: dict[str, Change] = {
    "default": lambda sample, rng: None,
    "exact": partial(scaled, 1.0),
    "exact x 0.001": partial(scaled, 0.001),
    "exact x 1000": partial(scaled, 1000.0),
    "exact inverse, scale and shift unknown": inverse,
    "six views, scale and shift of each unknown": views,
}


def load(pair: Pair, change: Change) -> Sample:
    sample = load_pair(pair)
    rng = np.random.default_rng(zlib.crc32(pair.id.encode()))
    return replace(sample, depth=change(sample, rng))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--heading-range", type=float, default=180.0)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--device")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    pairs = read_pairs(options.pairs)[: options.limit]
    localizer = Localizer.from_pretrained(options.weights, options.device)
    protocol = Protocol(heading_range_deg=options.heading_range)
    results: dict[str, Any] = {}
    print(f"| depth ({len(pairs)} pairs) | " + " | ".join(title for _, title in FIGURES) + " |")
    print("|---|" + "---|" * len(FIGURES))
    for name, change in VARIANTS.items():
        sources = [SampleSource(p.id, p.group, True, partial(load, p, change)) for p in pairs]
        results[name] = evaluate_samples(localizer, sources, protocol)
        figures = results[name]["summary"]["all"]
        cells = " | ".join(f"{figures[key]:.2f}" for key, _ in FIGURES)
        print(f"| {name} | {cells} |", flush=True)
    if options.output is not None:
        write_json(options.output, results)


if __name__ == "__main__":
    main()
