"""Configuration of a training run: validated, stored beside every checkpoint."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from loc2.errors import InputError
from loc2.matching import HeadConfig
from loc2.model import ModelConfig
from loc2.published.config import CONFIGS, PublishedConfig
from loc2.training.augment import AugmentConfig
from loc2.training.cache import CacheConfig
from loc2.training.objective import ObjectiveConfig
from loc2.training.published_objective import WeakConfig
from loc2.training.tuning import TuningConfig


class OptimConfig(BaseModel):
    """Optimisation.

    Attributes:
        epochs: passes over the training pairs.
        batch_size: pairs in a step, over all processes.
        micro_batch_size: pairs that go through the network at once; ``batch_size`` is a multiple.
            Randomness belongs to the micro-batch, so processes share them without any effect on
            the result.
        learning_rate: peak, of the heads.
        backbone_factor: learning rate of the backbone over that of the heads.
        weight_decay: of matrices.
        decay_vectors: let it count for vectors and scalars too.
        betas: of AdamW.
        warmup_steps: steps to the peak.
        final_factor: learning rate at the end over the peak.
        clip_norm: greatest norm of the gradient.
        average_decay: of the moving average of the weights, which is what is validated and saved.
        bfloat16: run the network in bfloat16; losses and weights stay float32.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: int = Field(default=10, ge=1)
    batch_size: int = Field(default=16, ge=1)
    micro_batch_size: int = Field(default=8, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    backbone_factor: float = Field(default=0.02, gt=0)
    weight_decay: float = Field(default=0.05, ge=0)
    decay_vectors: bool = False
    betas: tuple[float, float] = (0.9, 0.99)
    warmup_steps: int = Field(default=100, ge=0)
    final_factor: float = Field(default=0.02, ge=0, le=1)
    clip_norm: float = Field(default=1.0, gt=0)
    average_decay: float = Field(default=0.998, ge=0, lt=1)
    bfloat16: bool = False


class RunConfig(BaseModel):
    """Logging, validation, checkpoints.

    Attributes:
        seed: of everything drawn at random.
        checkpoint_every_steps: steps between checkpoints; there is one after each epoch too.
        validate_every_epochs: epochs between validations.
        validation_pairs: most pairs of each validation set that are localized.
        validation_lifts: how ground cells are lifted for that, see
            :func:`loc2.training.validation.localize_cells`.
        patience: validations without a better score before the run stops; 0 for never.
        log_every_steps: steps between lines of the log.
        max_failed_share: stop when more than this share of the pairs is missing or broken.
        max_steps: stop after so many steps, for now; 0 to go to the end. It changes nothing else,
            so a run can be done in parts.
        tensorboard: write TensorBoard events too.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = 0
    checkpoint_every_steps: int = Field(default=200, ge=1)
    validate_every_epochs: int = Field(default=1, ge=1)
    validation_pairs: int = Field(default=100, ge=1)
    validation_lifts: tuple[Literal["own", "flat", "exact", "far"], ...] = ("own",)
    patience: int = Field(default=0, ge=0)
    log_every_steps: int = Field(default=10, ge=1)
    max_failed_share: float = Field(default=0.02, ge=0, le=1)
    max_steps: int = Field(default=0, ge=0)
    tensorboard: bool = False


class DataConfig(BaseModel):
    """Where pairs come from; which fields are needed depends on the kind of data.

    Attributes:
        manifest: CSV of pairs (kind ``pairs``), see :func:`loc2.data.pairs.read_pairs`.
        validation_manifest: pairs to validate on; split off the manifest if left out.
        root: folder of VIGOR or KITTI.
        area: of VIGOR.
        heading_range_deg: half-width of the benchmarks' random heading, degrees.
        depth_files: read the benchmarks' depth files; level ground is assumed otherwise.
        scenes: number of generated scenes (kind ``scenes``).
        scene_views: views of each scene to train on, one for each of ``cache.variants`` in turn.
        validation_scenes: number of held-out scenes.
        scenes_seed: first seed of the training scenes.
        validation_seed: first seed of the held-out scenes.
        held_out_styles: styles of scenes that are only validated on.
        pinhole_share: share of the scenes seen through a perspective camera.
        cropped_share: share of the panoramas that are cropped above and below.
        textures: folder of textures for scenes.
        validation_share: share of the places that is kept for validation.
        validation_distance_m: places nearer than this are on one side of the split.
        split_column: column of the manifest whose values are kept together.
        cache: folder of the feature cache; the output folder's ``cache`` by default.
        extra_caches: finished caches that are trained on too.
        validation_caches: finished caches to validate on too, by name.
        use_cache: False reads images in every epoch, as training the backbone needs.
        workers: processes that compute a cache, a core each (for a GPU they read or make pairs
            ahead of it), or threads that read the next step's where images are read in every epoch;
            0 for none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    manifest: Path | None = None
    validation_manifest: Path | None = None
    root: Path | None = None
    area: str = "samearea"
    heading_range_deg: float = Field(default=180.0, ge=0, le=180)
    depth_files: bool = True
    scenes: int = Field(default=1000, ge=0)
    scene_views: int = Field(default=1, ge=1)
    validation_scenes: int = Field(default=64, ge=0)
    scenes_seed: int = Field(default=1_000_000, ge=0)
    validation_seed: int = Field(default=9_000_000, ge=0)
    held_out_styles: tuple[str, ...] = ()
    pinhole_share: float = Field(default=0.0, ge=0, le=1)
    cropped_share: float = Field(default=0.25, ge=0, le=1)
    textures: Path | None = None
    validation_share: float = Field(default=0.2, ge=0, lt=1)
    validation_distance_m: float = Field(default=100.0, ge=0)
    split_column: str | None = None
    cache: Path | None = None
    extra_caches: tuple[Path, ...] = ()
    validation_caches: dict[str, Path] = Field(default_factory=dict)
    use_cache: bool = True
    workers: int = Field(default=0, ge=0)


class TrainConfig(BaseModel):
    """Everything that decides a run.

    Attributes:
        weights: file of backbone weights (DINOv2) or of a model to go on from, or ``default`` for
            the package's model; the package's backbone if left out.
        method: ``loc2`` for our own model, ``published`` for the published network and losses.
        model: grids and heads of our own model; where ``weights`` is such a model, its own hold.
        published: sizes of the published network; a file gives ``base`` (loc2-vigor or loc2-kitti)
            and what differs from it.
        tuning: which parts of the backbone learn.
        data: pairs.
        cache: feature cache.
        augmentation: of cells, in each step.
        objective: losses of our own model.
        weak: the published losses.
        optim: optimisation.
        run: logging, validation, checkpoints.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    weights: Path | None = None
    method: Literal["loc2", "published"] = "loc2"
    model: ModelConfig = ModelConfig(head=HeadConfig())
    published: PublishedConfig = CONFIGS["loc2-vigor"]
    tuning: TuningConfig = TuningConfig()
    data: DataConfig = DataConfig()
    cache: CacheConfig = CacheConfig()
    augmentation: AugmentConfig = AugmentConfig()
    objective: ObjectiveConfig = ObjectiveConfig()
    weak: WeakConfig = WeakConfig()
    optim: OptimConfig = OptimConfig()
    run: RunConfig = RunConfig()


def load_config(path: Path | None, overrides: Sequence[str] = ()) -> TrainConfig:
    """Read a configuration file and change single values.

    Args:
        path: TOML file whose tables are the fields of :class:`TrainConfig`; None for defaults.
        overrides: ``key.key=value`` with the value in TOML's notation; plain words are texts.

    Raises:
        InputError: the file is missing or no TOML, or a field is unknown or out of its bounds.
    """
    values: dict[str, Any] = {}
    label = "configuration" if path is None else str(path)
    if path is not None:
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise InputError(f"configuration {path}: no such file") from error
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise InputError(f"configuration {path}: not readable as TOML ({error})") from error
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator or not key.strip():
            raise InputError(f"--set {override}: expected key=value")
        *tables, last = key.strip().split(".")
        target = values
        for table in tables:
            target = target.setdefault(table, {})
            if not isinstance(target, dict):
                raise InputError(f"--set {override}: {table} is a value, not a table")
        target[last] = _toml_value(text.strip())
    # Over these tables' own defaults, so that one with a single field keeps the others.
    whole = TrainConfig()
    defaults = {
        "model": whole.model.model_dump(mode="json", exclude_unset=True),
        "published": whole.published.model_dump(mode="json"),
    }
    published = values.get("published", {})
    if isinstance(published, dict) and "base" in published:
        base = published.pop("base")
        if base not in CONFIGS:
            raise InputError(f"{label}: published.base: {base!r}; known: {', '.join(CONFIGS)}")
        defaults["published"] = CONFIGS[base].model_dump(mode="json")
    values = _merged(defaults, values)
    try:
        config = TrainConfig.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{label}: {where}: {first['msg']}") from error
    if config.tuning.mode != "frozen" and config.data.use_cache:
        raise InputError(f"{label}: a backbone that learns needs data.use_cache=false")
    if config.optim.batch_size % config.optim.micro_batch_size:
        raise InputError(f"{label}: optim.batch_size must be a multiple of micro_batch_size")
    return config


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        below = merged.get(key)
        nested = isinstance(value, dict) and isinstance(below, dict)
        merged[key] = _merged(below, value) if nested and below is not None else value
    return merged


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
