"""Compare heads on cached pairs that neither has learned from, pair by pair.

    python benchmarks/compare_heads.py A.safetensors B.safetensors --cache DIR --count 300

A cache is what training makes of scenes; ``benchmarks/train_default.py --textures DIR --output DIR
--seed 7 --panoramas 180`` makes two, of scenes that no other seed of the recipe learns from. Whole
panoramas alone, one of each scene, one look at the aerial image, the true height and attitude of
the camera. Differences of the score (which halves with every 2 m and every 5 degrees of error) are
of pairs, so a few hundred tell heads apart that the share of right answers does not.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from loc2.localizer import Localizer
from loc2.model import Loc2Model
from loc2.training.cache import FeatureCache
from loc2.training.cells import Cells
from loc2.training.validation import ValidationErrors, localize_cells, summarize_validation


def compare(models: Sequence[Loc2Model], pairs: Sequence[Cells], lift: str) -> list[dict[str, Any]]:
    """Return a summary for each network, from the second on with its difference from the first.

    Args:
        models: the networks.
        pairs: what they localize.
        lift: see :func:`loc2.training.validation.localize_cells`.
    """
    rows = [[localize_cells(model, cells, lift) for cells in pairs] for model in models]
    result: list[dict[str, Any]] = []
    first = _scores(rows[0])
    for row in rows:
        summary: dict[str, Any] = dict(summarize_validation(row))
        if result:
            difference = _scores(row) - first
            summary["score_difference"] = float(difference.mean())
            error = difference.std() / len(difference) ** 0.5
            summary["score_difference_standard_error"] = float(error)
        result.append(summary)
    return result


def _scores(rows: Sequence[ValidationErrors]) -> torch.Tensor:
    return torch.tensor([summarize_validation([row])["score"] for row in rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", nargs="+", help="files; 'default' for the package's own")
    parser.add_argument("--cache", type=Path, required=True, nargs="+")
    parser.add_argument("--count", type=int, default=300, help="pairs of each cache")
    parser.add_argument("--lift", default="far", choices=["far", "flat", "own", "exact"])
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    models = [
        Localizer.from_pretrained(None if name == "default" else name).model
        for name in arguments.weights
    ]
    pairs: list[Cells] = []
    for folder in arguments.cache:
        cache = FeatureCache(folder)
        for name, model in zip(arguments.weights, models, strict=True):
            if cache.backbone != (model.config.backbone, model.config.blocks):
                parser.error(f"{folder}: holds other features than {name} reads")
        seen = {e.id: i for i, e in reversed(list(enumerate(cache.entries))) if e.wrap}
        pairs += [cache[i] for i in sorted(seen.values())[: arguments.count]]
    summaries = compare(models, pairs, arguments.lift)
    for name, summary in zip(arguments.weights, summaries, strict=True):
        print(Path(name).name, json.dumps({k: round(v, 4) for k, v in summary.items()}))
    if arguments.output is not None:
        record = {
            "lift": arguments.lift,
            "caches": [folder.name for folder in arguments.cache],
            # A list: what the recipe makes has the same name in every folder.
            "weights": [
                {"name": Path(name).stem, **summary}
                for name, summary in zip(arguments.weights, summaries, strict=True)
            ],
        }
        arguments.output.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
