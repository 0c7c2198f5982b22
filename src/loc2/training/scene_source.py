"""Generated scenes as a source of training pairs."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from loc2.depth import DepthMap
from loc2.scenes.pairs import SceneOptions, ScenePair, generate_pair
from loc2.training.pairs import TrainingPair

GENERATOR_VERSION = 6
"""Raised whenever the same seed gives another scene, so that caches are made again."""


@functools.lru_cache(maxsize=1)
def _generated(seed: int, options: SceneOptions, view: int) -> ScenePair:
    return generate_pair(seed, options, view)


class SceneSource:
    """Scenes of consecutive seeds, made when asked for.

    Args:
        first_seed: of the first scene.
        count: number of scenes.
        options: what the scenes are like.
        views: number of views of each scene; its variants are taken from them in turn.
    """

    def __init__(self, first_seed: int, count: int, options: SceneOptions, views: int = 1) -> None:
        self.first_seed = first_seed
        self.views = views
        self.options = options
        self.ids = [f"scene_{first_seed + k:08d}" for k in range(count)]

    @property
    def fingerprint(self) -> str:
        """Seeds, options and views."""
        views = f" views {self.views}" if self.views > 1 else ""
        count = len(self.ids)
        return f"scenes {GENERATOR_VERSION} {self.first_seed} {count} {self.options}{views}"

    def read(self, index: int, variant: int) -> TrainingPair:
        """Generate a view of a scene; variants that share it have it made once."""
        pair = _generated(self.first_seed + index, self.options, variant % self.views)
        depth = torch.from_numpy(pair.depth_m)
        valid = torch.from_numpy(pair.valid)
        depth = torch.where(valid, depth, torch.zeros_like(depth))

        def image(array: object) -> Tensor:
            return (torch.as_tensor(array).permute(2, 0, 1).float() / 255).contiguous()

        return TrainingPair(
            id=self.ids[index],
            ground=image(pair.ground),
            camera=pair.camera,
            aerial=image(pair.aerial),
            meters_per_pixel=pair.meters_per_pixel,
            pose=pair.pose,
            camera_height_m=pair.camera_height_m,
            depth=DepthMap(depth, pair.camera.depth_kind, True, valid, "scene"),
            visible_from_above=torch.from_numpy(pair.visible_from_above),
        )
