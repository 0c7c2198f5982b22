"""From a kind of data and a configuration to sources for training and validation."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, cast, get_args

from loc2.data.pairs import read_pairs
from loc2.data.vigor import Area
from loc2.errors import InputError
from loc2.training.benchmark_source import kitti_sources, vigor_sources
from loc2.training.config import DataConfig
from loc2.training.manifest_source import ManifestSource
from loc2.training.pairs import PairSource
from loc2.training.splits import split_manifest

Kind = Literal["scenes", "pairs", "vigor", "kitti"]

Sources = tuple[PairSource | None, dict[str, PairSource]]
"""Pairs to learn from (None: finished caches alone), and pairs to judge by, by name."""


def make_sources(kind: str, config: DataConfig, seed: int) -> Sources:
    """Open a kind of data.

    Args:
        kind: ``scenes``, ``pairs``, ``vigor`` or ``kitti``.
        config: where the data are and how they are split.
        seed: of splits and of the benchmarks' noise.

    Raises:
        InputError: the kind is unknown, or a field that it needs is missing.
        DatasetNotFoundError: the data are not there.
    """
    if kind not in get_args(Kind):
        raise InputError(f"no data of kind {kind!r}; kinds: {', '.join(get_args(Kind))}")
    if kind == "scenes":
        return _scenes(config)
    if kind == "pairs":
        return _pairs(config, seed)
    root = _needed(config.root, "data.root", kind)
    share, turn_deg = config.validation_share, config.heading_range_deg
    if kind == "vigor":
        if config.area not in get_args(Area):
            raise InputError(f"data.area: {config.area!r}; areas: {', '.join(get_args(Area))}")
        train, held_out = vigor_sources(
            root,
            cast(Area, config.area),
            turn_deg,
            config.depth_files,
            share,
            config.validation_distance_m,
            seed,
        )
    else:
        train, held_out = kitti_sources(root, turn_deg, config.depth_files, share, seed)
    return train, {"held_out": held_out} if len(held_out.ids) else {}


def _needed(path: Path | None, field: str, kind: str) -> Path:
    if path is None:
        raise InputError(f"{field}: missing; training on {kind} needs it")
    return path


def _pairs(config: DataConfig, seed: int) -> Sources:
    path = _needed(config.manifest, "data.manifest", "pairs")
    pairs = read_pairs(path)
    if config.validation_manifest is not None:
        held_out = ManifestSource(read_pairs(config.validation_manifest))
        return ManifestSource(pairs), {"held_out": held_out}
    distance_m, share = config.validation_distance_m, config.validation_share
    train, validation = split_manifest(path, pairs, config.split_column, distance_m, share, seed)
    source = ManifestSource([pairs[i] for i in train])
    if not validation:
        return source, {}
    return source, {"held_out": ManifestSource([pairs[i] for i in validation])}


def _scenes(config: DataConfig) -> Sources:
    # Imported here: the generator compiles its renderer, which no other kind of data needs.
    from loc2.scenes.pairs import SceneOptions
    from loc2.scenes.styles import STYLES
    from loc2.training.scene_source import SceneSource

    unknown = [name for name in config.held_out_styles if name not in STYLES]
    if unknown:
        raise InputError(f"data.held_out_styles: {unknown[0]!r}; styles: {', '.join(STYLES)}")

    def options(styles: tuple[str, ...]) -> SceneOptions:
        return SceneOptions(
            styles=styles,
            textures=config.textures,
            pinhole_share=config.pinhole_share,
            cropped_share=config.cropped_share,
        )

    seen = tuple(name for name in STYLES if name not in config.held_out_styles)
    train = SceneSource(config.scenes_seed, config.scenes, options(seen), config.scene_views)
    held_out: dict[str, PairSource] = {}
    if config.validation_scenes:
        first, count = config.validation_seed, config.validation_scenes
        held_out["held_out"] = SceneSource(first, count, options(seen))
        if config.held_out_styles:
            held_out["held_out_styles"] = SceneSource(
                first + count, count, options(config.held_out_styles)
            )
    return train if config.scenes else None, held_out
