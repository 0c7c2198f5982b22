"""A small run on invented cells, for tests; as a program it can be killed and started again."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import torch

from loc2.cameras import Equirectangular
from loc2.errors import InputError
from loc2.features import VARIANTS, VitConfig
from loc2.frames import aerial_m_to_px, cell_centers_px, local_to_aerial
from loc2.matching import HeadConfig
from loc2.model import Loc2Model, ModelConfig
from loc2.training.augment import AugmentConfig
from loc2.training.cells import Cells
from loc2.training.config import OptimConfig, RunConfig, TrainConfig
from loc2.training.loop import Trainer
from loc2.training.losses import sample_bilinear
from loc2.training.objective import Objective, ObjectiveConfig
from loc2.training.poses import PoseSampling

DIM, ROWS, COLS, SIDE, CELL_M = 24, 5, 16, 14, 2.0
VARIANT = "test_tiny"
VARIANTS[VARIANT] = VitConfig(embed_dim=DIM, depth=1, num_heads=2)  # for saving and loading too


def invented_cells(index: int) -> Cells:
    """Return cells whose ground features are those of the aerial cells at the true places."""
    generator = torch.Generator().manual_seed(index)
    coarse = torch.randn(1, DIM, 7, 7, generator=generator)
    aerial = torch.nn.functional.interpolate(coarse, size=(SIDE, SIDE), mode="bilinear")[0]
    aerial = torch.nn.functional.normalize(aerial, dim=0)
    camera = Equirectangular(COLS, ROWS, elevation_top_deg=-10.0, elevation_bottom_deg=-60.0)
    rays = camera.pixels_to_rays(cell_centers_px(ROWS, COLS, ROWS, COLS)).permute(2, 0, 1)
    points_m = rays * (2.0 / -rays[2])
    position = (torch.rand(2, generator=generator) - 0.5) * 8
    heading = torch.rand((), generator=generator) * 360
    moved = local_to_aerial(points_m[:2].flatten(1).T, heading, position)
    at = aerial_m_to_px(moved, SIDE, SIDE, CELL_M)
    ground = sample_bilinear(aerial[None], at[None])[0].reshape(DIM, ROWS, COLS)
    ground = ground + 0.02 * torch.randn(ground.shape, generator=generator)
    everywhere = torch.ones(ROWS, COLS, dtype=torch.bool)
    return Cells(
        ids=(f"invented_{index}",),
        wrap=True,
        ground=ground,
        aerial=aerial,
        rays=rays,
        points_m=points_m,
        has_depth=everywhere,
        visible=everywhere,
        exact=torch.tensor(True),
        cell_size_m=torch.tensor(CELL_M),
        camera_height_m=torch.tensor(2.0),
        position_m=position,
        heading_deg=heading,
    )


class InventedSet:
    """Invented cells; some can be broken or poisoned on purpose."""

    def __init__(
        self,
        count: int,
        broken: tuple[int, ...] = (),
        nan: tuple[int, ...] = (),
        pause_s: float = 0,
    ) -> None:
        self.count = count
        self.broken = broken
        self.nan = nan
        self.pause_s = pause_s

    def __len__(self) -> int:
        return self.count

    def shape(self, index: int) -> tuple[int, ...]:
        return ()

    def name(self, index: int) -> str:
        return f"invented_{index}"

    def read(self, index: int, epoch: int) -> Cells:
        time.sleep(self.pause_s)
        if index in self.broken:
            raise InputError(f"ground image of invented_{index}: damaged")
        cells = invented_cells(index)
        if index in self.nan:
            cells.ground[:] = float("nan")
        return cells


def small_config(**changes: Any) -> TrainConfig:
    """Return the configuration of a run of seconds; changes are of ``optim`` and ``run``."""
    optim = {"epochs": 3, "batch_size": 4, "micro_batch_size": 2, "warmup_steps": 2}
    run = {"checkpoint_every_steps": 2, "log_every_steps": 1, "validation_pairs": 2}
    for key, value in changes.items():
        (optim if key in OptimConfig.model_fields else run)[key] = value
    return TrainConfig(
        model=ModelConfig(
            head=HeadConfig(hidden_dim=16, num_layers=1, descriptor_dim=16, dropout=0.1)
        ),
        augmentation=AugmentConfig(narrow=0.3, narrow_min_deg=200.0, narrow_max_deg=300.0),
        objective=ObjectiveConfig(
            points=40, poses=PoseSampling(random=16, near=8, turned=4, flipped=4, along=4)
        ),
        optim=OptimConfig(**optim),
        run=RunConfig(**run),
    )


def make_trainer(
    config: TrainConfig,
    output: Path,
    train_set: InventedSet | None = None,
    validation: bool = False,
    **options: Any,
) -> Trainer:
    """Build a trainer over a tiny network."""
    torch.manual_seed(7)
    model = Loc2Model(config.model.model_copy(update={"backbone": VARIANT}))
    model.backbone.requires_grad_(False)
    projection = torch.eye(DIM)[:16]
    assert model.ground_head is not None and model.aerial_head is not None
    model.ground_head.net.set_projection(projection)
    model.aerial_head.set_projection(projection)
    objective = Objective(model, config.objective, config.augmentation)
    sets = {"held_out": InventedSet(4)} if validation else {}
    return Trainer(objective, train_set or InventedSet(13), sets, config, output, **options)


if __name__ == "__main__":
    torch.set_num_threads(1)
    out, micro, pause = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    make_trainer(small_config(micro_batch_size=micro), out, InventedSet(13, pause_s=pause)).run()
