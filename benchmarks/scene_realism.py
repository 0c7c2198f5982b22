"""How generated images differ from real ones, in the eyes of a frozen backbone.

Usage:
    python benchmarks/scene_realism.py --weights BACKBONE.safetensors --real REAL/pairs.csv
        --generated first=FIRST/pairs.csv --generated last=LAST/pairs.csv
        --output benchmarks/results/scene_realism.json

Each ``--generated`` is a name and the ``pairs.csv`` that ``loc2 scenes make`` wrote.

Images are brought to common ground (panoramas cut to 25 degrees above and below the horizon,
orthophotos to the middle 48 metres), their DINOv2 ViT-S/14 patch features averaged. Reported, for
ground photos and orthophotos apart:

- accuracy and area under the ROC curve of a linear classifier (ridge regression on the features,
  both sets weighted alike) that tells generated from real: 0.5 is indistinguishable. It is
  cross-validated by place: leave one out, where the few real pairs of a source that shows one
  neighbourhood are left out together;
- median cosine distance of a real image to its nearest generated one, beside that to the nearest
  real one of another source, and of a generated image to its nearest real one.

With two or three dozen real images the classifier has far more features than examples, so that
distances say more than accuracy where it nears 1.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from loc2.data.pairs import Pair, read_pairs
from loc2.features import load_vit

Float = NDArray[np.float64]
BAND_DEG, SIDE_M = 25.0, 48.0
GROUND_PX, AERIAL_PX = (896, 126), (336, 336)


def ground_view(pair: Pair) -> Image.Image | None:
    """Return the band around the horizon of a panorama, None for perspective photos."""
    spec = pair.camera_spec()
    if spec.projection == "pinhole":
        return None
    with Image.open(pair.ground) as file:
        image = file.convert("RGB")
    top = 90.0 if spec.elevation_top_deg is None else spec.elevation_top_deg
    bottom = -90.0 if spec.elevation_bottom_deg is None else spec.elevation_bottom_deg
    rows = [(top - e) / (top - bottom) * image.height for e in (BAND_DEG, -BAND_DEG)]
    box = (0, max(rows[0], 0), image.width, min(rows[1], image.height))
    return image.resize(GROUND_PX, Image.Resampling.BICUBIC, box=box)


def aerial_view(pair: Pair) -> Image.Image:
    """Return the middle of an orthophoto."""
    with Image.open(pair.aerial) as file:
        image = file.convert("RGB")
    half = min(SIDE_M / pair.meters_per_pixel, image.width, image.height) / 2
    u, v = image.width / 2, image.height / 2
    box = (u - half, v - half, u + half, v + half)
    return image.resize(AERIAL_PX, Image.Resampling.BICUBIC, box=box)


@torch.inference_mode()
def describe(images: list[Image.Image], weights: Path) -> Float:
    """Return (N, C) normalised mean patch features."""
    vit = load_vit(weights).eval()
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    rows = []
    for image in images:
        pixels = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float() / 255
        features = vit(((pixels - mean) / std)[None])[-1]
        rows.append(features.flatten(2).mean(2)[0])
    stacked = torch.stack(rows).double()
    return (stacked / stacked.norm(dim=1, keepdim=True)).numpy()


def places(pairs: list[Pair]) -> list[str]:
    """Return the place of each real pair: its own, or its source's where that has but a few."""
    size = Counter(p.group for p in pairs)
    return [p.id if size[p.group] > 5 else p.group for p in pairs]


def classify(
    real: Float, generated: Float, places: list[str], ridge: float = 0.3
) -> dict[str, float]:
    """Return accuracy (both sets weighted alike) and area under the ROC curve, by place."""
    x = np.concatenate((real, generated))
    x = (x - x.mean(0)) / (x.std(0) + 1e-9) / np.sqrt(x.shape[1])
    y = np.concatenate((np.ones(len(real)), -np.ones(len(generated))))
    weight = np.where(y > 0, 1 / len(real), 1 / len(generated)) * len(y) / 2
    names = sorted(set(places))
    fold = np.array([names.index(p) for p in places] + list(range(-len(generated), 0)))
    scores = np.zeros(len(y))
    for value in np.unique(fold):
        test = fold == value
        a = np.column_stack((x[~test], np.ones((~test).sum())))
        w = weight[~test][:, None]
        gram = (a * w) @ a.T / w.mean() + ridge * np.eye(len(a))
        coefficients = a.T @ np.linalg.solve(gram, y[~test] * w[:, 0] / w.mean())
        scores[test] = np.column_stack((x[test], np.ones(test.sum()))) @ coefficients
    hits = np.sign(scores) == y
    accuracy = (hits[y > 0].mean() + hits[y < 0].mean()) / 2
    auc = (scores[y > 0][:, None] > scores[y < 0][None]).mean()
    return {"accuracy": float(accuracy), "auc": float(auc)}


def distances(real: Float, generated: Float, groups: list[str]) -> dict[str, float]:
    """Return median cosine distances to nearest neighbours."""
    to_generated = 1 - (real @ generated.T).max(1)
    to_real = 1 - (generated @ real.T).max(1)
    same = np.array(groups)[:, None] == np.array(groups)[None]
    among = np.where(same, -1.0, real @ real.T)
    return {
        "real_to_nearest_generated": float(np.median(to_generated)),
        "generated_to_nearest_real": float(np.median(to_real)),
        "real_to_nearest_other_real": float(np.median(1 - among.max(1))),
        "centroid_distance": float(np.linalg.norm(real.mean(0) - generated.mean(0))),
    }


def described(pairs: list[Pair], name: str, weights: Path) -> tuple[Float, list[Pair]]:
    """Return features of the ground photos or orthophotos of pairs, and the pairs that have one."""
    view = ground_view if name == "ground" else aerial_view
    shown = [(image, p) for p in pairs if (image := view(p)) is not None]
    return describe([image for image, _ in shown], weights), [p for _, p in shown]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real", type=Path, required=True)
    parser.add_argument(
        "--generated", action="append", required=True, metavar="NAME=pairs.csv", help="may repeat"
    )
    parser.add_argument("--weights", type=Path, required=True, help="DINOv2 ViT-S/14 weights")
    parser.add_argument("--limit", type=int, default=72, help="pairs of each generated set")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    real = read_pairs(arguments.real)
    machine = f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    report: dict[str, Any] = {"machine": machine}
    for name in ("ground", "aerial"):
        r, kept = described(real, name, arguments.weights)
        sources = [p.group for p in kept]
        for item in arguments.generated:
            label, _, path = item.partition("=")
            pairs = read_pairs(Path(path))[: arguments.limit]
            g, _ = described(pairs, name, arguments.weights)
            figures = classify(r, g, places(kept)) | distances(r, g, sources)
            figures |= {"real": float(len(r)), "generated": float(len(g))}
            report.setdefault(label, {})[name] = figures
    text = json.dumps(report, indent=1)
    print(text)
    if arguments.output:
        arguments.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
