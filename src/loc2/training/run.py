"""From a configuration to a run: model, sources, caches, sets, trainer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from loc2.errors import InputError
from loc2.published.model import PublishedModel
from loc2.training.base import Trainable
from loc2.training.cache import CellModel, FeatureCache, build_cache
from loc2.training.config import TrainConfig
from loc2.training.data import make_sources
from loc2.training.distributed import Processes
from loc2.training.loop import Report, Trainer
from loc2.training.objective import Objective
from loc2.training.pairs import PairSource
from loc2.training.published_objective import PublishedObjective
from loc2.training.sets import CachedSet, CellSet, ImageSet
from loc2.training.start import build_model, build_published, start_from_features
from loc2.training.tuning import apply_tuning

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


def prepare_caches(
    kind: str,
    config: TrainConfig,
    output: Path,
    device: str = "cpu",
    progress: Progress | None = None,
) -> None:
    """Compute the feature caches of a run, and nothing else.

    Args:
        kind: ``scenes``, ``pairs``, ``vigor`` or ``kitti``.
        config: the run's.
        output: folder of the run, which holds the caches unless the configuration says otherwise.
        device: where the backbone runs.
        progress: told how far the caches are.
    """
    processes = Processes(device)
    model = build_published(config) if config.method == "published" else build_model(config)[0]
    model.to(processes.device).eval()
    source, held_out = make_sources(kind, config.data, config.run.seed)
    make_sets(config, model, source, held_out, output, progress, processes)
    processes.close()


def train_from_config(
    kind: str,
    config: TrainConfig,
    output: Path,
    device: str = "cpu",
    report: Report | None = None,
    progress: Progress | None = None,
) -> Trainer:
    """Train on a kind of data; go on where an earlier run in the same folder stopped.

    Args:
        kind: ``scenes``, ``pairs``, ``vigor`` or ``kitti``.
        config: everything that decides the run.
        output: folder of the run, see :func:`train`.
        device: where to train.
        report: called with every record of the log.
        progress: told how far the feature caches are.

    Returns:
        The trainer, after its run.
    """
    source, held_out = make_sources(kind, config.data, config.run.seed)
    metadata = {"training_data": kind}
    return train(
        config, source, held_out, output, device=device, report=report, progress=progress,
        metadata=metadata,
    )  # fmt: skip


def train(
    config: TrainConfig,
    train_source: PairSource | None,
    validation_sources: Mapping[str, PairSource],
    output: Path,
    *,
    device: str = "cpu",
    report: Report | None = None,
    progress: Progress | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Trainer:
    """Train on any source of pairs; go on where an earlier run in the same folder stopped.

    Args:
        config: everything that decides the run.
        train_source: pairs to learn from; None for the configuration's finished caches alone.
        validation_sources: pairs to judge by, by name.
        output: folder of the run: ``config.json``, ``log.jsonl``, ``last.pt`` (to go on from) and
            ``model.safetensors`` (the best averaged weights, half precision).
        device: where to train.
        report: called with every record of the log.
        progress: told how far the feature caches are.
        metadata: goes into the saved model.

    Returns:
        The trainer, after its run.
    """
    processes = Processes(device)
    model: CellModel
    if config.method == "published":
        model, trained = build_published(config), True
    else:
        model, trained = build_model(config)
        config = config.model_copy(update={"model": model.config})
    apply_tuning(model.backbone, config.tuning, config.run.seed)
    model.to(processes.device).eval()
    train_set, validation_sets = make_sets(
        config, model, train_source, validation_sources, output, progress, processes
    )
    learns = config.tuning.mode != "frozen"
    objective: Trainable
    if isinstance(model, PublishedModel):
        objective = PublishedObjective(model, config.weak, config.augmentation, learns, learns)
    else:
        if not trained:
            start_from_features(model, train_set)
        objective = Objective(
            model,
            config.objective,
            config.augmentation,
            train_backbone=learns,
            bfloat16=config.optim.bfloat16,
            own_backbone=learns or config.weights is not None,
        )
    objective.to(processes.device)
    trainer = Trainer(
        objective, train_set, validation_sets, config, output, report, metadata, processes
    )
    trainer.run()
    return trainer


def make_sets(
    config: TrainConfig,
    model: CellModel,
    source: PairSource | None,
    held_out: Mapping[str, PairSource],
    output: Path,
    progress: Progress | None = None,
    processes: Processes | None = None,
) -> tuple[CellSet, dict[str, CellSet]]:
    """Build or find the caches of a run, or read images where no cache is wanted.

    Args:
        config: the run's.
        model: backbone and grids.
        source: pairs to learn from; None when finished caches are all there is.
        held_out: pairs to judge by, by name.
        output: folder of the run, which holds the caches unless the configuration says otherwise.
        progress: told how far the caches are.
        processes: those of the run, which share the work.

    Raises:
        InputError: a cache was made with another backbone, or there is nothing to train on.
    """
    folder = config.data.cache or output / "cache"
    aerial = config.method == "published" or config.objective.looks_from_above

    def opened(pairs: PairSource, name: str, variants: int) -> CellSet:
        settings = config.cache.model_copy(update={"variants": max(variants, 1)})
        if variants == 0 and settings.augment is not None:
            # What is judged is turned and shifted too, but keeps its looks.
            plain = settings.augment.model_copy(update={"appearance": 0.0})
            settings = settings.model_copy(update={"augment": plain})
        if not config.data.use_cache:
            return ImageSet(model, pairs, settings)

        def told(done: int, total: int) -> None:
            if progress is not None:
                progress(f"features: {name}", done, total)

        workers = config.data.workers
        return CachedSet(
            [build_cache(model, pairs, folder / name, settings, told, workers, processes)]
        )

    sets = {name: opened(pairs, name, 0) for name, pairs in held_out.items()}
    for name, path in config.data.validation_caches.items():
        sets[name] = CachedSet([_same_backbone(FeatureCache(path), model)])
    extra = [_same_backbone(FeatureCache(path), model) for path in config.data.extra_caches]
    if source is None:
        if not extra:
            raise InputError("data: no training pairs; give a source or data.extra_caches")
        return CachedSet(extra, aerial), sets
    main = opened(source, "train", config.cache.variants)
    if isinstance(main, CachedSet):
        return CachedSet([*main.caches, *extra], aerial), sets
    if extra:
        raise InputError("data.extra_caches: cannot be mixed with images (data.use_cache=false)")
    return main, sets


def _same_backbone(cache: FeatureCache, model: CellModel) -> FeatureCache:
    ours = (model.config.backbone, getattr(model.config, "blocks", ()))
    if cache.backbone != ours:
        raise InputError(
            f"feature cache {cache.folder}: made with {cache.backbone[0]}, blocks "
            f"{cache.backbone[1]}; the model has {ours[0]}, blocks {ours[1]}"
        )
    return cache
