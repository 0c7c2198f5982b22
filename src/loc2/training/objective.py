"""The objective of our own model: cells in, losses per sample out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from loc2.frames import local_to_aerial
from loc2.matching import GroundDescription, evidence_map
from loc2.matching.heads import CellDepth
from loc2.model import Loc2Model, save_model
from loc2.training.augment import AugmentConfig, augment, jitter_attitude
from loc2.training.base import Trainable
from loc2.training.cells import Cells
from loc2.training.losses import (
    cell_coordinates,
    correspondence_loss,
    depth_loss,
    pose_scores,
    validity_loss,
    voting_loss,
)
from loc2.training.poses import PoseSampling, sample_poses
from loc2.training.tuning import plain_state
from loc2.training.validation import ValidationErrors, localize_cells


class ObjectiveConfig(BaseModel):
    """Which losses count how much, and what they look at.

    Attributes:
        correspondence: factor of the contrast of true correspondences.
        voting: factor of the contrast of poses.
        depth: factor of the relative error of range.
        depth_limit_m: farther points do not count in it, metres.
        validity: factor of the cross entropy of "has depth".
        points: ground cells drawn for each loss and sample.
        temperature: at the start; it is learned.
        sharpness: of the posterior at the start; it is learned.
        exclude_cells: nearer points are no negatives of each other, aerial cells.
        bev_flat: share of samples whose points are lifted with level ground in the voting loss.
        bev_exact: share lifted with true depth; the rest uses the model's own depth.
        height_noise: standard deviation of the logarithm of the assumed camera height.
        tilt_noise_deg: standard deviation of the assumed pitch and roll, degrees.
        mined: hardest wrong poses kept from ``mined_from`` random ones.
        mined_from: random poses searched for the hardest ones; 0 for no search.
        poses: wrong poses of the voting loss.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    correspondence: float = Field(default=1.0, ge=0)
    voting: float = Field(default=0.5, ge=0)
    depth: float = Field(default=0.5, ge=0)
    depth_limit_m: float = Field(default=60.0, gt=0)
    validity: float = Field(default=0.1, ge=0)
    points: int = Field(default=320, ge=8)
    temperature: float = Field(default=0.07, gt=0)
    sharpness: float = Field(default=30.0, gt=0)
    exclude_cells: float = Field(default=1.0, ge=0)
    bev_flat: float = Field(default=0.4, ge=0, le=1)
    bev_exact: float = Field(default=0.3, ge=0, le=1)
    height_noise: float = Field(default=0.12, ge=0)
    tilt_noise_deg: float = Field(default=0.7, ge=0)
    mined: int = Field(default=32, ge=0)
    mined_from: int = Field(default=0, ge=0)
    poses: PoseSampling = PoseSampling()

    @property
    def looks_from_above(self) -> bool:
        """Whether any loss looks at the aerial image; depth alone does not."""
        return bool(self.correspondence or self.voting)


class Objective(Trainable):
    """Model and learned temperatures; its forward pass is one micro-batch of training.

    Args:
        model: what is trained.
        config: losses.
        augmentation: what varies the cells.
        train_backbone: True when cells hold images and the backbone gets gradients.
        bfloat16: run the network in bfloat16; losses stay float32.
        own_backbone: write the backbone with the heads; False where it is the package's.
    """

    def __init__(
        self,
        model: Loc2Model,
        config: ObjectiveConfig,
        augmentation: AugmentConfig,
        train_backbone: bool = False,
        bfloat16: bool = False,
        own_backbone: bool = True,
    ) -> None:
        super().__init__()
        self.model = model
        self.config = config
        self.augmentation = augmentation
        self.train_backbone = train_backbone
        self.reduced_precision = bfloat16
        self.own_backbone = own_backbone
        self.log_temperature = nn.Parameter(torch.tensor(math.log(config.temperature)))
        self.log_sharpness = nn.Parameter(torch.tensor(math.log(config.sharpness)))

    @property
    def temperature(self) -> Tensor:
        """Divides cosines in the contrast of correspondences."""
        return self.log_temperature.exp().clamp(0.02, 0.5)

    @property
    def sharpness(self) -> Tensor:
        """Turns the mean evidence of a pose into a logarithm of its probability."""
        return self.log_sharpness.exp().clamp(1.0, 1000.0)

    def forward(self, cells: Cells, seed: int) -> dict[str, Tensor]:
        """Compute the losses of a micro-batch.

        Args:
            cells: a batch as read.
            seed: of everything drawn at random here.

        Returns:
            ``loss`` (B,), its parts by name, and ``pose_accuracy`` (B,), 1 where the true pose
            scores best.
        """
        generator = torch.Generator().manual_seed(seed)
        matched = self.config.looks_from_above
        if not matched:  # depth alone: none of the channels from above is looked at
            cells = replace(cells, aerial=cells.aerial[:, :0])
        if self.reduced_precision:  # from here on: features are most of what is moved about
            cells = replace(cells, ground=cells.ground.bfloat16(), aerial=cells.aerial.bfloat16())
        cells = augment(cells, self.augmentation, generator)
        ground_features, aerial_features = cells.ground, cells.aerial
        with torch.autocast(cells.rays.device.type, torch.bfloat16, enabled=self.reduced_precision):
            if cells.ground_pixels_per_cell > 1:
                with torch.set_grad_enabled(self.train_backbone and torch.is_grad_enabled()):
                    ground_features = self.model.features(cells.ground)
                    if matched:
                        aerial_features = self.model.features(cells.aerial)
            # Convolutions in bfloat16 are several times faster with channels last.
            layout = torch.channels_last
            ground_features = ground_features.contiguous(memory_format=layout)
            seen = None
            if matched:
                aerial_features = aerial_features.contiguous(memory_format=layout)
                description = self.model.describe_ground(ground_features, cells.rays, cells.wrap)
                depth = description.depth
                seen = description, self.model.describe_aerial(aerial_features).float(), generator
            else:
                depth = self.model.tell_depth(ground_features, cells.rays, cells.wrap)
        return self._losses(cells, depth, seen)

    def localize(self, cells: Cells, lift: str) -> ValidationErrors:
        """Localize one pair by voting, see :func:`loc2.training.validation.localize_cells`."""
        return localize_cells(self.model, cells, lift)

    def save(self, path: Path, metadata: Mapping[str, str]) -> None:
        """Write the model in half precision, without the backbone if it is the package's own."""
        with torch.device("meta"):
            model = Loc2Model(self.model.config)
        model.load_state_dict(plain_state(self.model), assign=True)
        record = {**metadata, **{k: f"{v:.4f}" for k, v in self.scalars().items()}}
        save_model(model.half(), path, record, include_backbone=self.own_backbone)

    def scalars(self) -> dict[str, float]:
        """Return the learned temperature and sharpness."""
        return {
            "temperature": float(self.temperature.detach()),
            "sharpness": float(self.sharpness.detach()),
        }

    def _losses(
        self,
        cells: Cells,
        depth: CellDepth | None,
        seen: tuple[GroundDescription, Tensor, torch.Generator] | None,
    ) -> dict[str, Tensor]:
        config = self.config
        total = torch.zeros(len(cells.ids), device=cells.rays.device)
        parts: dict[str, Tensor] = {}

        def add(name: str, factor: float, values: Tensor) -> None:
            nonlocal total
            parts[name] = values
            total = total + factor * values

        if seen is not None and config.correspondence:
            add("correspondence", config.correspondence, self._correspondence(cells, *seen))
        if seen is not None and config.voting:
            scores = self._pose_scores(cells, *seen)
            add("voting", config.voting, voting_loss(scores, self.sharpness))
            parts["pose_accuracy"] = (scores.argmax(1) == 0).float()
        if depth is not None:
            distance = cells.points_m.norm(dim=1)
            known = cells.has_depth & cells.exact[:, None, None]
            known = known & (distance < config.depth_limit_m)
            truth = torch.log(distance.clamp_min(0.1) / cells.camera_height_m[:, None, None])
            predicted = depth.log_range_ratio.float()
            add("depth", config.depth, depth_loss(predicted, truth, known))
            entropy = validity_loss(depth.valid_logit.float(), cells.has_depth)
            add("validity", config.validity, entropy * cells.exact)
        return {"loss": total, **parts}

    def _correspondence(
        self,
        cells: Cells,
        description: GroundDescription,
        aerial: Tensor,
        generator: torch.Generator,
    ) -> Tensor:
        limits = self.model.config
        bev_m = cells.points_m[:, :2].flatten(2).transpose(1, 2)
        distance = bev_m.norm(dim=-1)
        mask = cells.visible.flatten(1) & (distance <= limits.max_range_m)
        mask = mask & (distance >= limits.min_range_m)
        index = _draw(mask, self.config.points, generator)
        moved_m = local_to_aerial(_take(bev_m, index), cells.heading_deg, cells.position_m)
        target = cell_coordinates(moved_m, cells.cell_size_m, *aerial.shape[-2:])
        descriptors = description.descriptors.float().flatten(2).transpose(1, 2)
        return correspondence_loss(
            _take(descriptors, index),
            aerial,
            target,
            mask.gather(1, index),
            self.temperature,
            self.config.exclude_cells,
        )

    def _pose_scores(
        self,
        cells: Cells,
        description: GroundDescription,
        aerial: Tensor,
        generator: torch.Generator,
    ) -> Tensor:
        config = self.config
        bev_m, valid = self._lift(cells, description, generator)
        index = _draw(valid, config.points, generator)
        bev_m, valid = _take(bev_m, index), valid.gather(1, index)
        weight = description.weight.float().flatten(1).gather(1, index) * valid
        weight = weight / weight.sum(1, keepdim=True).clamp_min(1e-6)
        descriptors = description.descriptors.float().flatten(2).transpose(1, 2)
        evidence = evidence_map(_take(descriptors, index), aerial)
        position_m, heading_deg = sample_poses(cells, config.poses, generator)
        size = cells.cell_size_m
        if config.mined and config.mined_from:
            mined = self._mine(cells, evidence.detach(), weight.detach(), bev_m, generator)
            position_m = torch.cat((position_m, mined[0]), 1)
            heading_deg = torch.cat((heading_deg, mined[1]), 1)
        return pose_scores(evidence, weight, bev_m, position_m, heading_deg, size)

    @torch.no_grad()
    def _mine(
        self,
        cells: Cells,
        evidence: Tensor,
        weight: Tensor,
        bev_m: Tensor,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor]:
        """Search random poses for those that score best and yet are wrong."""
        config = self.config
        sampling = PoseSampling(random=config.mined_from, near=0, turned=0, flipped=0, along=0)
        position_m, heading_deg = sample_poses(cells, sampling, generator)
        position_m, heading_deg = position_m[:, 1:], heading_deg[:, 1:]
        scores = pose_scores(evidence, weight, bev_m, position_m, heading_deg, cells.cell_size_m)
        away_m = (position_m - cells.position_m[:, None]).norm(dim=-1)
        turn = torch.remainder(heading_deg - cells.heading_deg[:, None] + 180, 360) - 180
        wrong = (away_m > config.poses.near_min_m) | (turn.abs() > config.poses.near_min_deg)
        index = scores.masked_fill(~wrong, -torch.inf).topk(config.mined, dim=1).indices
        return _take(position_m, index), heading_deg.gather(1, index)

    def _lift(
        self, cells: Cells, description: GroundDescription, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Lift each sample's cells in one of three ways, drawn at random; (B, G, 2) and (B, G)."""
        config, limits = self.config, self.model.config
        draw = torch.rand(len(cells.ids), generator=generator)
        height = cells.camera_height_m * torch.exp(
            torch.randn(len(cells.ids), generator=generator).to(cells.camera_height_m)
            * config.height_noise
        )
        rays = jitter_attitude(cells.rays, config.tilt_noise_deg, generator)
        down = (-rays[:, 2:]).clamp_min(1e-3)
        points = rays * (height[:, None, None, None] / down)
        valid = rays[:, 2] < 0
        device = cells.rays.device
        exact = ((draw >= config.bev_flat) & (draw < config.bev_flat + config.bev_exact)).to(device)
        exact = (exact & cells.exact)[:, None, None]
        points = torch.where(exact[:, None], cells.points_m, points)
        valid = torch.where(exact, cells.has_depth, valid)
        own = (draw >= config.bev_flat + config.bev_exact).to(device)[:, None, None]
        if description.depth is not None:
            ratio = description.depth.log_range_ratio.detach().float().clamp(-2.0, 6.0).exp()
            by_model = cells.rays * (height[:, None, None] * ratio)[:, None]
            points = torch.where(own[:, None], by_model, points)
            valid = torch.where(own, description.depth.valid_logit.detach() > 0, valid)
        bev_m = points[:, :2].flatten(2).transpose(1, 2)
        distance = bev_m.norm(dim=-1)
        in_range = (distance >= limits.min_range_m) & (distance <= limits.max_range_m)
        return bev_m, valid.flatten(1) & in_range


def _draw(mask: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draw indices (B, K) of entries, those inside the mask first."""
    noise = torch.rand(mask.shape, generator=generator).to(mask.device) + mask
    return noise.topk(min(count, mask.shape[1]), dim=1).indices


def _take(values: Tensor, index: Tensor) -> Tensor:
    """Gather (B, G, D) rows by (B, K) indices."""
    return values.gather(1, index[..., None].expand(-1, -1, values.shape[-1]))
