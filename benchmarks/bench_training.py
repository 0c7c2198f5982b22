"""Throughput and peak memory of training, cached and not.

    python benchmarks/bench_training.py [--device cuda] [--network default|published-vigor]

Random weights and images serve for speed. "cached" times steps of the heads over features in
memory, "images" whole steps with the frozen backbone in the loop; both at the sizes of the
configuration. Reading and decoding files is not part of it. Prints one JSON line for each.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from loc2.cameras import Equirectangular
from loc2.features import VisionTransformer
from loc2.frames import Pose
from loc2.model import Loc2Model
from loc2.published.model import PublishedModel, vit_config
from loc2.training.base import Trainable
from loc2.training.cells import Cells, batch_of, join_cells, make_cells
from loc2.training.config import TrainConfig, load_config
from loc2.training.loop import Trainer
from loc2.training.objective import Objective
from loc2.training.pairs import TrainingPair
from loc2.training.published_objective import PublishedObjective, make_published_cells
from loc2.training.tuning import apply_tuning

CONFIGS = Path(__file__).parents[1] / "configs"


class OnePair:
    """The same cells again and again."""

    def __init__(self, cells: Cells, count: int) -> None:
        self.cells, self.count = cells, count

    def __len__(self) -> int:
        return self.count

    def shape(self, index: int) -> tuple[int, ...]:
        return ()

    def name(self, index: int) -> str:
        return str(index)

    def read(self, index: int, epoch: int) -> Cells:
        return self.cells


def build(config: TrainConfig, device: str) -> Trainable:
    torch.manual_seed(0)
    if config.method == "published":
        vit = VisionTransformer(vit_config(config.published))
        model = PublishedModel(config.published, vit)
        if device != "cpu":
            model.backbone.half()
        apply_tuning(model.backbone, config.tuning, 0)
        return PublishedObjective(model, config.weak, config.augmentation).to(device)
    own = Loc2Model(config.model)
    apply_tuning(own.backbone, config.tuning, 0)
    return Objective(own, config.objective, config.augmentation, bfloat16=config.optim.bfloat16).to(
        device
    )


def images(config: TrainConfig, objective: Trainable) -> Cells:
    """Return cells of one pair of noise that hold images."""
    camera = Equirectangular(1428, 714)
    pair = TrainingPair(
        id="noise",
        ground=torch.rand(3, 714, 1428),
        camera=camera,
        aerial=torch.rand(3, 640, 640),
        meters_per_pixel=0.11,
        pose=Pose(5.0, -3.0, 40.0),
        camera_height_m=2.5,
    )
    if isinstance(objective, PublishedObjective):
        return make_published_cells(config.published, pair)
    assert isinstance(objective, Objective)
    return make_cells(objective.model, pair)


def measure(
    config: TrainConfig, objective: Trainable, cells: Cells, device: str, steps: int
) -> None:
    per_step = config.optim.batch_size
    with TemporaryDirectory() as folder:
        trainer = Trainer(objective, OnePair(cells, per_step * (steps + 2)), {}, config,
                          Path(folder))  # fmt: skip
        for step in range(steps + 2):
            if step == 2:  # the first steps allocate
                if device != "cpu":
                    torch.cuda.synchronize()
                started = time.perf_counter()
            trainer.step()
        if device != "cpu":
            torch.cuda.synchronize()
        seconds = (time.perf_counter() - started) / steps
    memory = (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        if device == "cpu"
        else torch.cuda.max_memory_allocated() / 1e9
    )
    mode = "images" if cells.ground_pixels_per_cell > 1 else "cached"
    figures = {
        "mode": mode,
        "batch": per_step,
        "samples_per_second": round(per_step / seconds, 2),
        "peak_memory_gb": round(memory, 2),
        "device": device,
        "threads": torch.get_num_threads(),
    }
    print(json.dumps(figures), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", default="default", choices=["default", "published-vigor"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--set", action="append", default=[], dest="assignments")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    name = "scenes.toml" if options.network == "default" else "vigor.toml"
    config = load_config(CONFIGS / name, options.assignments)
    objective = build(config, options.device)
    pair = images(config, objective)
    batch = join_cells([batch_of(pair)]).to(torch.device(options.device))
    with torch.inference_mode():
        model = objective.model
        assert isinstance(model, (Loc2Model, PublishedModel))
        maps = [model.features(view)[0].half().cpu() for view in (batch.ground, batch.aerial)]
    features = Cells(**{**vars(pair), "ground": maps[0], "aerial": maps[1]})
    measure(config, objective, features, options.device, options.steps)
    measure(config, objective, pair, options.device, options.steps)


if __name__ == "__main__":
    main()
