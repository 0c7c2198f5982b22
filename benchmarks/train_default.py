"""Make the default weights: generated scenes, cached features, heads over the frozen backbone.

    python benchmarks/train_default.py --textures DIR --output runs/default

Two runs over cached features, at once, each with half of the cores: descriptors, and a network for
depth alone, which learns it better than beside them, and from further scenes in three views each:
it needs no aerial images, which are most of what features cost. A GPU is used where there is one.
Resumable: features are cached in shards, and training goes on from its last checkpoint. The heads
alone (the backbone ships beside them) are written to OUTPUT/default.safetensors.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from loc2.matching import HeadConfig
from loc2.model import ModelConfig, load_model, save_model
from loc2.scenes.pairs import SceneOptions
from loc2.training.augment import AugmentConfig
from loc2.training.cache import CacheConfig, build_cache
from loc2.training.config import DataConfig, OptimConfig, RunConfig, TrainConfig
from loc2.training.images import ImageAugmentConfig
from loc2.training.objective import ObjectiveConfig
from loc2.training.poses import PoseSampling
from loc2.training.run import train
from loc2.training.scene_source import SceneSource
from loc2.training.start import build_model

VALIDATION = (100_000, 40)
NEAR = (400_000, 650)
ANYWHERE = (500_000, 500)
"""First seeds and numbers of scenes. Features know where in an image they are: were the camera
always near the middle of the aerial image, descriptors would learn that and not what is seen."""
FOR_DEPTH = (600_000, 1200)
VIEWS = 3
FURTHER = 1_000_000
"""How much further on the scenes to train on begin for each step of ``--seed``."""
DEPTH_DIM = 128
DEPTH_EPOCHS = 9
TOLD = "ground_head.net.out."

_LOG = logging.getLogger("train_default")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--textures", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0, help="of training, and other scenes for it")
    parser.add_argument(
        "--panoramas",
        type=int,
        help="no training: caches of so many panoramas near the centre and as many anywhere, "
        "which benchmarks/compare_heads.py judges by",
    )
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    if arguments.panoramas is not None and arguments.seed == 0:
        parser.error("--panoramas: give another --seed, seed 0's scenes are learned from")
    _log_times()
    textures = arguments.textures
    near = _scenes(textures, (0.09, 0.18), 0.12), _cache(4.0, 60.0)
    anywhere = _scenes(textures, (0.14, 0.21), 0.1), _cache(14.0, 52.0)
    learned = [
        (first + arguments.seed * FURTHER, count) for first, count in (NEAR, ANYWHERE, FOR_DEPTH)
    ]
    ranges = {
        "validation": (VALIDATION, 1, *anywhere),
        "train_near": (learned[0], 1, *near),
        "train_anywhere": (learned[1], 1, *anywhere),
        "train_depth": (learned[2], VIEWS, *_for_depth(textures)),
    }
    folders = {name: arguments.output / f"cache_{name}" for name in ranges}
    config = TrainConfig(
        model=ModelConfig(
            blocks=(8, 11),
            head=HeadConfig(hidden_dim=160, column_heads=4),
            aerial_turns=4,
            turned_share=0.77,
            photo_aerial_cell_m=1.0,
            center_sigma=0.1,
            default_depth="flat",
            photo_depth="ground",
            far_share=0.5,
        ),
        data=DataConfig(
            scenes=0,
            validation_scenes=0,
            extra_caches=(folders["train_near"], folders["train_anywhere"]),
            validation_caches={"scenes": folders["validation"]},
        ),
        augmentation=AugmentConfig(window_cells=34, margin_cells=2),
        objective=ObjectiveConfig(voting=1.0, poses=PoseSampling(flipped=64, along=64)),
        optim=OptimConfig(
            epochs=6,
            batch_size=8,
            micro_batch_size=8,
            learning_rate=1e-3,
            warmup_steps=100,
            average_decay=0.997,
            bfloat16=True,
        ),
        run=RunConfig(
            seed=arguments.seed,
            validation_lifts=("flat",),
            validation_pairs=40,
            validate_every_epochs=2,
        ),
    )
    if arguments.panoramas is not None:
        ranges = {
            name: (
                (seed, arguments.panoramas),
                1,
                replace(options, pinhole_share=0.0),
                cache.model_copy(update={"variants": 1}),
            )
            for name, ((seed, _), _, options, cache) in ranges.items()
            if name in ("train_near", "train_anywhere")
        }
    model = build_model(config)[0].to(arguments.device)
    for name, ((seed, count), views, options, cache) in ranges.items():
        build_cache(
            model.eval(),
            SceneSource(seed, count, options, views),
            folders[name],
            cache,
            lambda done, total, name=name: _LOG.info("%s: %d of %d", name, done, total),
            arguments.workers,
        )
    if arguments.panoramas is not None:
        return

    threads = max(torch.get_num_threads() // 2, 1)
    with ProcessPoolExecutor(2, get_context("spawn"), _start, (threads,)) as pool:
        runs = [
            pool.submit(learn, "descriptors", config, arguments.output, arguments.device),
            pool.submit(
                learn_depth, config, folders["train_depth"], arguments.output, arguments.device
            ),
        ]
        for run in runs:
            run.result()
    ship(arguments.output, learned)


def learn(name: str, run: TrainConfig, output: Path, device: str) -> Path:
    """Train, or go on training, and return the weights."""

    def report(record: dict[str, Any]) -> None:
        _LOG.info("%s: %s", name, record)

    train(run, None, {}, output / name, device=device, report=report)
    return output / name / "model.safetensors"


def learn_depth(config: TrainConfig, further: Path, output: Path, device: str) -> None:
    """Train a network for depth."""
    learn("depth", for_depth(config, further), output, device)


def _start(threads: int) -> None:
    torch.set_num_threads(threads)
    _log_times()


def _log_times() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")


def _scenes(
    textures: Path | None, meters_per_pixel: tuple[float, float], max_offset: float
) -> SceneOptions:
    return SceneOptions(
        textures=textures,
        pinhole_share=0.3,
        cropped_share=0.3,
        meters_per_pixel=meters_per_pixel,
        max_offset=max_offset,
    )


def _for_depth(textures: Path | None) -> tuple[SceneOptions, CacheConfig]:
    """Return scenes for depth alone, with next to no aerial image."""
    options = SceneOptions(
        textures=textures,
        pinhole_share=0.4,
        cropped_share=0.3,
        aerial_size=64,
        meters_per_pixel=(0.2, 0.2),
        max_offset=0.0,
    )
    augment = ImageAugmentConfig(heading_range_deg=0.0)
    return options, CacheConfig(variants=VIEWS, shard_size=10, augment=augment)


def _cache(shift_range_m: float, window_m: float) -> CacheConfig:
    augment = ImageAugmentConfig(
        heading_range_deg=0.0, shift_range_m=shift_range_m, window_m=window_m
    )
    return CacheConfig(variants=2, shard_size=10, augment=augment)


def for_depth(config: TrainConfig, further: Path) -> TrainConfig:
    """Return a run that learns depth alone, from a further cache too; its last weights count."""
    assert config.model.head is not None
    data = {"extra_caches": (*config.data.extra_caches, further), "validation_caches": {}}
    head = config.model.head.model_copy(update={"depth_dim": DEPTH_DIM})
    return config.model_copy(
        update={
            "model": config.model.model_copy(update={"head": head}),
            "objective": ObjectiveConfig(correspondence=0.0, voting=0.0, depth=1.0),
            "data": config.data.model_copy(update=data),
            "optim": config.optim.model_copy(update={"epochs": DEPTH_EPOCHS}),
        }
    )


def ship(output: Path, learned: Sequence[tuple[int, int]]) -> None:
    """Write the best descriptors with the last run's depth network, as the package ships them."""
    descriptors, metadata = load_model(output / "descriptors" / "model.safetensors")
    joined, of_depth = load_model(output / "depth" / "model.safetensors")
    state = joined.state_dict()
    for name, tensor in descriptors.state_dict().items():
        # The descriptors' network has told depth too, in its last channels: they are left out.
        state[name] = tensor[: len(state[name])] if name.startswith(TOLD) else tensor
    joined.load_state_dict(state)
    ranges = [f"{first}-{first + count - 1}" for first, count in learned]
    scenes = [count for _, count in learned]
    both = metadata | {f"depth_{k}": of_depth[k] for k in ("training_step", "training_config")}
    record = {key: text.replace(f"{output}/", "") for key, text in both.items()} | {
        "name": "default",
        "licence": "Apache-2.0",
        "recipe": "benchmarks/train_default.py",
        "training_data": f"{scenes[0] + scenes[1]} generated scenes in two appearances each "
        f"(seeds {ranges[0]} and {ranges[1]}), depth from {scenes[2]} others too, in {VIEWS} views "
        f"each (seeds {ranges[2]}), photographic textures of open licences; no real images",
    }
    save_model(joined.half(), output / "default.safetensors", record, include_backbone=False)


if __name__ == "__main__":
    main()
