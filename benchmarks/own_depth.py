"""How good the model's own depth is, after one scale for each image.

    python benchmarks/own_depth.py --mesh mesh/pairs.csv --kitti KITTI_ROOT --output RESULTS.json

Absolute relative error of the model's range (z-depth for LiDAR), both scaled by the median ratio,
up to 40 m, where the model says that there is depth. On renders of a mesh separately for level
ground and for everything else, by the exact depth and the classes that the manifest names; on
KITTI's LiDAR (``KITTI_ROOT/lidar_depth``: 16-bit PNG, metres times 256, 0 for none) over all
points.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from loc2.cameras import Camera, DepthKind, Pinhole
from loc2.data.kitti import read_camera
from loc2.data.pairs import read_pairs
from loc2.depth.own import OwnDepth
from loc2.evaluation.pairs import load_pair
from loc2.frames import cell_centers_px
from loc2.inputs import load_image
from loc2.localizer import Localizer
from loc2.scenes.mesh import SemanticClass

LIMIT_M = 40.0
CAR_HEIGHT_M = 1.65
GROUND = [
    int(c)
    for c in (
        SemanticClass.ROAD,
        SemanticClass.MARKING,
        SemanticClass.PAVEMENT,
        SemanticClass.KERB,
        SemanticClass.TERRAIN,
    )
]


def errors(found: Tensor, truth: Tensor, valid: Tensor) -> Tensor | None:
    """Return the (N,) relative errors of the valid pixels after one scale, NaN elsewhere."""
    near = valid & (truth > 0.5) & (truth < LIMIT_M) & torch.isfinite(truth) & (found > 0)
    if int(near.sum()) < 50:
        return None
    scale = (truth[near] / found[near]).median()
    relative = torch.full_like(truth, torch.nan)
    relative[near] = (found[near] * scale - truth[near]).abs() / truth[near]
    return relative


def mean(values: Tensor) -> float | None:
    """Return the mean of what is not NaN."""
    known = values[~values.isnan()]
    return float(known.mean()) if len(known) else None


def mesh_errors(localizer: Localizer, manifest: Path, limit: int) -> dict[str, list[float]]:
    """Mean errors of every image, by kind of photo and surface."""
    kept: dict[str, list[float]] = {}
    for pair in read_pairs(manifest)[:limit]:
        sample = load_pair(pair)
        assert sample.depth is not None and pair.classes is not None
        kind = "pinhole" if isinstance(sample.camera, Pinhole) else "panorama"
        own = OwnDepth(localizer.model, sample.camera_height_m or 2.0)
        found = own(sample.ground, sample.camera)
        truth = _as_range(sample.depth.depth, sample.depth.kind, sample.camera)
        relative = errors(found.depth, truth, found.valid & sample.depth.valid)
        if relative is None:
            continue
        classes: NDArray[np.uint8] = np.asarray(Image.open(pair.classes))
        ground = torch.from_numpy(np.isin(classes, GROUND))
        for name, where in (("ground", ground), ("elsewhere", ~ground)):
            value = mean(relative[where])
            if value is not None:
                kept.setdefault(f"{kind}, {name}", []).append(value)
    return kept


def _as_range(depth: Tensor, kind: DepthKind, camera: Camera) -> Tensor:
    return depth * _range_per_depth(camera, kind)


def _range_per_depth(camera: Camera, kind: DepthKind) -> Tensor:
    size = camera.height, camera.width
    return camera.range_per_depth(cell_centers_px(*size, *size), kind)


def kitti_errors(localizer: Localizer, root: Path) -> list[float]:
    """Mean error of every frame that has LiDAR depth."""
    kept = []
    for path in sorted((root / "lidar_depth").rglob("*.png")):
        day, drive, frame = path.relative_to(root / "lidar_depth").parts[-3:]
        folder = root / "raw_data" / day
        images = sorted((folder / drive / "image_02" / "data").glob(f"{Path(frame).stem}.*"))
        if not images:
            continue
        image = load_image(images[0], "ground image")
        height, width = image.shape[-2:]
        camera = read_camera(folder / "calib_cam_to_cam.txt", width, height)
        found = OwnDepth(localizer.model, CAR_HEIGHT_M)(image, camera)
        lidar = np.asarray(Image.open(path), dtype=np.float32) / 256
        truth = torch.from_numpy(lidar)
        if truth.shape != found.depth.shape:
            raise SystemExit(f"{path}: not as large as {images[0]}")
        z_depth = found.depth / _range_per_depth(camera, "z")
        relative = errors(z_depth, truth, found.valid & (truth > 0))
        value = None if relative is None else mean(relative)
        if value is not None:
            kept.append(value)
    return kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mesh", type=Path)
    parser.add_argument("--kitti", type=Path)
    parser.add_argument("--limit", type=int, default=200)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    localizer = Localizer.from_pretrained(arguments.weights)
    kept: dict[str, list[float]] = {}
    if arguments.mesh is not None:
        kept |= mesh_errors(localizer, arguments.mesh, arguments.limit)
    if arguments.kitti is not None:
        kept["lidar"] = kitti_errors(localizer, arguments.kitti)
    results = {
        name: {"images": len(values), "abs_rel": round(statistics.fmean(values), 4)}
        for name, values in kept.items()
    }
    print(json.dumps(results, indent=1))
    if arguments.output is not None:
        arguments.output.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
