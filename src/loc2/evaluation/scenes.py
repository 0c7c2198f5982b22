"""Evaluation on generated scenes, made as they are needed."""

from __future__ import annotations

from functools import partial

import torch

from loc2.depth import DepthMap
from loc2.evaluation.pairs import Sample, SampleSource
from loc2.scenes.pairs import SceneOptions, generate_pair


def scene_sources(
    first_seed: int, count: int, options: SceneOptions, exact_depth: bool = False
) -> list[SampleSource]:
    """Return generated scenes of consecutive seeds, grouped by style.

    Args:
        first_seed: of the first scene; held-out seeds are those that training did not use.
        count: number of scenes.
        options: what the scenes are like; each style gets the same share.
        exact_depth: give the scenes' exact depth instead of leaving depth to the model.
    """
    styles = options.styles
    sources = []
    for k in range(count):
        style = styles[k % len(styles)]
        chosen = SceneOptions(**{**vars(options), "styles": (style,)})
        seed = first_seed + k
        load = partial(_load, seed, chosen, exact_depth)
        sources.append(SampleSource(f"{style}_{seed:08d}", style, True, load))
    return sources


def _load(seed: int, options: SceneOptions, exact_depth: bool) -> Sample:
    pair = generate_pair(seed, options)
    depth = None
    if exact_depth:
        valid = torch.from_numpy(pair.valid)
        values = torch.from_numpy(pair.depth_m)
        depth = DepthMap(
            torch.where(valid, values, torch.zeros_like(values)),
            pair.camera.depth_kind,
            True,
            valid,
            "exact",
        )
    return Sample(
        ground=torch.from_numpy(pair.ground).permute(2, 0, 1).float() / 255,
        camera=pair.camera,
        aerial=torch.from_numpy(pair.aerial).permute(2, 0, 1).float() / 255,
        meters_per_pixel=pair.meters_per_pixel,
        truth=pair.pose,
        depth=depth,
        camera_height_m=pair.camera_height_m,
    )
