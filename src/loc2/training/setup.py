"""From a configuration to a run: model, sources, caches, sets."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from loc2.errors import InputError
from loc2.features import load_state_dict, load_vit
from loc2.model import Loc2Model, load_model
from loc2.training.cache import FeatureCache, build_cache
from loc2.training.config import TrainConfig
from loc2.training.loop import Report, Trainer
from loc2.training.objective import Objective
from loc2.training.pairs import PairSource
from loc2.training.sets import CachedSet, CellSet, ImageSet

logger = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


def build_model(config: TrainConfig, backbone: Path) -> Loc2Model:
    """Build the model that is trained, from backbone weights or from a model of ours.

    Args:
        config: the run's.
        backbone: file of DINOv2 weights, or of a model saved by :func:`loc2.model.save_model`.

    Raises:
        WeightsError: the file cannot be read or is of another architecture.
    """
    state = load_state_dict(backbone)
    if any(name.startswith("backbone.") for name in state):
        model, _ = load_model(backbone)
        if model.config.head is not None:
            return model
        vit = model.backbone
    else:
        vit = load_vit(state)
    torch.manual_seed(config.run.seed)
    model = Loc2Model(config.model)
    model.backbone.load_state_dict({k: v.float() for k, v in vit.state_dict().items()})
    return model


@torch.no_grad()
def start_from_features(model: Loc2Model, samples: CellSet, count: int = 48) -> None:
    """Give both heads the same projection on the features' principal components.

    Untrained heads then match as the frozen features do.

    Args:
        model: with heads.
        samples: cached features.
        count: samples that are looked at.
    """
    if model.ground_head is None or model.aerial_head is None or model.config.head is None:
        return
    dim = model.feature_dim
    covariance = torch.zeros(dim, dim, dtype=torch.float64)
    for k in range(min(count, len(samples))):
        cells = samples.read(k * len(samples) // min(count, len(samples)), 0)
        for view in (cells.ground, cells.aerial):
            maps = view if view.shape[0] == dim else model.features(view[None].float())[0].cpu()
            flat = maps.float().flatten(1)
            centred = functional.normalize(flat - flat.mean(1, keepdim=True), dim=0).double()
            covariance += centred @ centred.T / centred.shape[1]
    vectors: Tensor = torch.linalg.eigh(covariance).eigenvectors
    projection = vectors[:, -model.config.head.descriptor_dim :].T.float()
    model.ground_head.net.set_projection(projection.to(model.device))
    model.aerial_head.set_projection(projection.to(model.device))


def make_sets(
    config: TrainConfig,
    model: Loc2Model,
    train: PairSource | None,
    validation: PairSource | None,
    output: Path,
    progress: Progress | None = None,
) -> tuple[CellSet, dict[str, CellSet]]:
    """Build or find the caches of a run, or read images where no cache is wanted.

    Args:
        config: the run's.
        model: backbone and grids.
        train: pairs to learn from; None when finished caches are all there is.
        validation: pairs to judge by.
        output: folder of the run, which holds the caches unless the configuration says otherwise.
        progress: told how far the caches are.

    Raises:
        InputError: a cache was made with other grids, or there is nothing to train on.
    """
    folder = config.data.cache or output / "cache"
    sets: dict[str, CellSet] = {}
    caches: list[FeatureCache] = []
    image_set: CellSet | None = None

    def cached(source: PairSource, name: str, variants: int) -> FeatureCache:
        settings = config.cache.model_copy(update={"variants": variants})

        def told(done: int, total: int) -> None:
            if progress is not None:
                progress(f"features of {name} pairs", done, total)

        return build_cache(model, source, folder / name, settings, told, config.data.workers)

    if train is not None and len(train.ids):
        if config.data.use_cache:
            caches.append(cached(train, "train", config.cache.variants))
        else:
            image_set = ImageSet(model, train, config.cache)
    if validation is not None and len(validation.ids):
        if config.data.use_cache:
            sets["held_out"] = CachedSet([cached(validation, "validation", 1)])
        else:
            sets["held_out"] = ImageSet(model, validation, config.cache)
    caches += [_same_grids(FeatureCache(path), model) for path in config.data.extra_caches]
    for name, path in config.data.validation_caches.items():
        sets[name] = CachedSet([_same_grids(FeatureCache(path), model)])
    if image_set is not None:
        return image_set, sets
    if not caches:
        raise InputError("data: no training pairs; give a source or data.extra_caches")
    return CachedSet(caches), sets


def _same_grids(cache: FeatureCache, model: Loc2Model) -> FeatureCache:
    theirs, ours = cache.model_config, model.config
    for name in ("backbone", "blocks"):
        if getattr(theirs, name) != getattr(ours, name):
            raise InputError(
                f"feature cache {cache.folder}: made with {name} {getattr(theirs, name)}, the "
                f"model has {getattr(ours, name)}"
            )
    return cache


def train(
    config: TrainConfig,
    train_source: PairSource | None,
    validation_source: PairSource | None,
    output: Path,
    *,
    backbone: Path,
    device: str = "cpu",
    report: Report | None = None,
    progress: Progress | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Trainer:
    """Train from a configuration; go on where an earlier run in the same folder stopped.

    Args:
        config: everything that decides the run.
        train_source: pairs to learn from; None for finished caches alone.
        validation_source: pairs to judge by.
        output: folder of the run: ``config.json``, ``log.jsonl``, ``last.pt``,
            ``model.safetensors`` (the best averaged weights, half precision).
        backbone: weights to start from.
        device: where to train.
        report: called with every record of the log.
        progress: told how far the feature caches are.
        metadata: goes into the saved model.

    Returns:
        The trainer, after its run.
    """
    model = build_model(config, backbone)
    model.backbone.requires_grad_(False)
    model.to(torch.device(device))
    train_set, validation_sets = make_sets(
        config, model.eval(), train_source, validation_source, output, progress
    )
    if config.weights is None or not _is_ours(backbone):
        start_from_features(model, train_set)
    objective = Objective(
        model, config.objective, config.augmentation, bfloat16=config.optim.bfloat16
    ).to(torch.device(device))
    trainer = Trainer(objective, train_set, validation_sets, config, output, report, metadata)
    trainer.run()
    return trainer


def _is_ours(path: Path) -> bool:
    return any(name.startswith("ground_head.") for name in load_state_dict(path))
