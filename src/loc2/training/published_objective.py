"""The published network with its weakly supervised losses, as something to train."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional

from loc2.depth import FlatGround
from loc2.errors import InputError
from loc2.features import VisionTransformer
from loc2.frames import cell_centers_px, heading_error_deg, heading_to_rotation
from loc2.matching import sample_matches
from loc2.pose.similarity import Similarity, weighted_similarity
from loc2.published.compat import aerial_cells_m, lift_cells
from loc2.published.config import PublishedConfig
from loc2.published.model import PublishedModel, resize, save_published, vit_config
from loc2.training.augment import AugmentConfig, augment
from loc2.training.base import Trainable
from loc2.training.cells import Cells, batch_of
from loc2.training.pairs import TrainingPair
from loc2.training.tuning import plain_state
from loc2.training.validation import ValidationErrors
from loc2.training.weak_losses import bev_distance_loss, pose_infonce, virtual_points


class WeakConfig(BaseModel):
    """The published losses.

    Attributes:
        beta: factor of InfoNCE; published: 1 for VIGOR, 0.1 for KITTI.
        virtual_side_m: side of the square of virtual points, metres.
        negative_m: ground points nearer than this are no negatives of each other, metres.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    beta: float = Field(default=1.0, ge=0)
    virtual_side_m: float = Field(default=5.0, gt=0)
    negative_m: float = Field(default=1.0, ge=0)


def make_published_cells(config: PublishedConfig, pair: TrainingPair) -> Cells:
    """Resample a pair to the published sizes, with the lifted points of the ground cells.

    Relative depth stays relative: the method finds its scale.

    Args:
        config: sizes and conventions.
        pair: images and truth.

    Returns:
        Cells of one pair that hold images; ``exact`` says that depth is metric.

    Raises:
        InputError: the aerial image is not square.
    """
    height_px, width_px = pair.aerial.shape[-2:]
    if abs(width_px / height_px - 1) > 0.01:
        raise InputError(f"aerial image of {pair.id}: {width_px}x{height_px}, must be square")
    rows, cols = config.ground_size_px[0] // 14, config.ground_size_px[1] // 14
    depth_map = pair.depth
    if depth_map is None:
        depth_map = FlatGround(pair.camera_height_m, config.max_depth_m)(pair.ground, pair.camera)
    limit_m = config.max_depth_m if depth_map.metric else float("inf")
    bev, valid = lift_cells(depth_map, pair.camera, rows, cols, limit_m, config.compatibility)
    uv_px = cell_centers_px(rows, cols, pair.camera.height, pair.camera.width)
    points = functional.pad(bev.reshape(rows, cols, 2), (0, 1)).permute(2, 0, 1).contiguous()
    valid = valid.reshape(rows, cols)
    side_m = pair.meters_per_pixel * width_px
    side_px = config.aerial_size_px
    return Cells(
        ids=(pair.id,),
        wrap=config.projection == "equirectangular",
        ground=resize(pair.ground[None], *config.ground_size_px)[0],
        aerial=resize(pair.aerial[None], side_px, side_px)[0],
        rays=pair.camera.pixels_to_rays(uv_px).permute(2, 0, 1),
        points_m=points,
        has_depth=valid,
        visible=valid.clone(),
        exact=torch.tensor(depth_map.metric),
        cell_size_m=torch.tensor(side_m / (side_px // 14)),
        camera_height_m=torch.tensor(pair.camera_height_m),
        position_m=torch.tensor([pair.pose.east_m, pair.pose.north_m]),
        heading_deg=torch.tensor(pair.pose.heading_deg),
    )


class PublishedObjective(Trainable):
    """The published network and losses.

    Args:
        model: what is trained.
        config: losses.
        augmentation: what varies the cells; the published training has none but the turns of the
            data set.
        train_backbone: True when the backbone gets gradients.
        own_backbone: write the backbone with the matcher.
    """

    def __init__(
        self,
        model: PublishedModel,
        config: WeakConfig,
        augmentation: AugmentConfig,
        train_backbone: bool = False,
        own_backbone: bool = False,
    ) -> None:
        super().__init__()
        self.model = model
        self.config = config
        self.augmentation = augmentation
        self.train_backbone = train_backbone
        self.own_backbone = own_backbone

    def forward(self, cells: Cells, seed: int) -> dict[str, Tensor]:
        """Compute the losses of a micro-batch, see :class:`loc2.training.base.Trainable`."""
        generator = torch.Generator().manual_seed(seed)
        cells = augment(cells, self.augmentation, generator)
        scores, ground, aerial_m = self._match(cells)
        rows, cols, found = self._solve(scores, ground, aerial_m, generator)
        rotation = heading_to_rotation(cells.heading_deg)
        points_m = virtual_points(self.config.virtual_side_m).to(ground)
        distance = bev_distance_loss(
            found.rotation, found.translation, rotation, cells.position_m, points_m
        )
        distance = torch.where(found.valid, distance, torch.zeros_like(distance))
        scale = torch.where(cells.exact, torch.ones_like(found.scale), found.scale.detach())
        contrast = pose_infonce(
            scores,
            aerial_m,
            ground,
            (rows, cols),
            rotation,
            cells.position_m,
            scale.clamp_min(1e-6),
            keep_m=cells.cell_size_m * cells.aerial_shape[1] / self.model.config.aerial_cells,
            negative_m=self.config.negative_m,
        )
        return {
            "loss": distance + self.config.beta * contrast,
            "bev_distance": distance,
            "infonce": contrast,
        }

    def _match(self, cells: Cells) -> tuple[Tensor, Tensor, Tensor]:
        """Return scores (B, A, G), ground points (B, G, 2) and aerial cells (B, A, 2)."""
        ground, aerial = cells.ground, cells.aerial
        if cells.ground_pixels_per_cell > 1:
            with torch.set_grad_enabled(self.train_backbone and torch.is_grad_enabled()):
                ground, aerial = self.model.features(ground), self.model.features(aerial)
        matcher, config = self.model.matcher, self.model.config
        valid = cells.has_depth.flatten(1)
        scores = matcher.scores(
            matcher.ground_descriptors(ground), matcher.aerial_descriptors(aerial), valid
        )
        unit = aerial_cells_m(config.aerial_cells, 1.0, config.compatibility).to(scores)
        side_m = cells.cell_size_m * cells.aerial_shape[1]
        points = cells.points_m[:, :2].flatten(2).transpose(1, 2)
        return scores, points, unit * side_m[:, None, None]

    def _solve(
        self, scores: Tensor, ground: Tensor, aerial_m: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Similarity]:
        probability = self.model.matcher.probabilities(scores)
        rows, cols, _ = sample_matches(
            probability.detach(), self.model.config.num_matches, generator
        )
        # Drawn by value, weighted with gradient.
        flat = rows * scores.shape[2] + cols
        weight = probability.flatten(1).gather(1, flat)
        source = ground.gather(1, cols[..., None].expand(-1, -1, 2))
        target = aerial_m.gather(1, rows[..., None].expand(-1, -1, 2))
        return rows, cols, weighted_similarity(source, target, weight)

    @torch.inference_mode()
    def localize(self, cells: Cells, lift: str) -> ValidationErrors:
        """Localize one pair as published: weighted least squares over drawn matches."""
        batch = batch_of(cells).to(next(self.parameters()).device)
        scores, ground, aerial_m = self._match(batch)
        generator = torch.Generator().manual_seed(0)
        _, _, found = self._solve(scores, ground, aerial_m, generator)
        if not bool(found.valid[0]):
            return ValidationErrors(cells.ids[0], None, None, None)
        position_m = float((found.translation[0] - batch.position_m[0]).norm())
        heading = heading_error_deg(float(found.heading_deg[0]), float(cells.heading_deg))
        return ValidationErrors(cells.ids[0], position_m, heading, None)

    def save(self, path: Path, metadata: Mapping[str, str]) -> None:
        """Write the model, the backbone only where it was changed."""
        config = self.model.config
        with torch.device("meta"):
            model = PublishedModel(config, VisionTransformer(vit_config(config)))
        model.load_state_dict(plain_state(self.model), assign=True)
        save_published(model, path, dict(metadata), self.own_backbone)
