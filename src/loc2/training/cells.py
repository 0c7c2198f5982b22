"""Cells: what the heads see of a pair, with the geometry that the losses need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import torch
from torch import Tensor

from loc2.depth import DepthMap, FlatGround, lift_cells
from loc2.depth.base import implied_camera_height
from loc2.errors import InputError
from loc2.frames import cell_centers_px
from loc2.model import GroundGrid, Loc2Model
from loc2.training.pairs import TrainingPair


@dataclass(frozen=True)
class Cells:
    """Cells of one pair, or of a batch of pairs with the same grids (then with a leading B).

    ``ground`` and ``aerial`` hold backbone features, or images when the backbone is trained; an
    image has 14 pixels a cell.

    Attributes:
        ids: names of the pairs.
        wrap: True for panoramas that are whole, whose left and right edges meet.
        ground: (C, gh, gw) features or (3, 14 gh, 14 gw) image.
        aerial: (C, h, w) features or (3, 14 h, 14 w) image.
        rays: (3, gh, gw) unit rays of the ground cells in the local frame.
        points_m: (3, gh, gw) exact points of the cell centres in the local frame, metres; those of
            level ground where depth is not known; zero where ``has_depth`` is False.
        has_depth: (gh, gw) bool, the cell's centre has a point.
        visible: (gh, gw) bool, the point can be seen from above.
        exact: () bool, the points come from true depth.
        cell_size_m: () side of an aerial cell, metres.
        camera_height_m: () height of the camera above the ground, metres.
        position_m: (2,) true position (east_m, north_m).
        heading_deg: () true heading.
    """

    ids: tuple[str, ...]
    wrap: bool
    ground: Tensor
    aerial: Tensor
    rays: Tensor
    points_m: Tensor
    has_depth: Tensor
    visible: Tensor
    exact: Tensor
    cell_size_m: Tensor
    camera_height_m: Tensor
    position_m: Tensor
    heading_deg: Tensor

    @property
    def ground_shape(self) -> tuple[int, int]:
        """Rows and columns of ground cells."""
        return self.rays.shape[-2], self.rays.shape[-1]

    @property
    def ground_pixels_per_cell(self) -> int:
        """1 for features, the patch size for images."""
        return self.ground.shape[-1] // self.rays.shape[-1]

    @property
    def aerial_shape(self) -> tuple[int, int]:
        """Rows and columns of aerial cells."""
        per_cell = self.ground_pixels_per_cell
        return self.aerial.shape[-2] // per_cell, self.aerial.shape[-1] // per_cell

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors by field name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Tensor)}

    def to(self, device: torch.device) -> Self:
        """Move to a device; features become float32."""
        moved = {
            name: value.to(device, torch.float32 if value.is_floating_point() else value.dtype)
            for name, value in self.tensors().items()
        }
        return replace(self, **moved)  # type: ignore[arg-type]  # only tensor fields


def batch_of(cells: Cells) -> Cells:
    """Turn cells of one pair into a batch of one."""
    batched = {name: tensor[None] for name, tensor in cells.tensors().items()}
    return replace(cells, **batched)  # type: ignore[arg-type]  # only tensor fields


def join_cells(batches: Sequence[Cells]) -> Cells:
    """Join batches to one; all grids must have the same size."""
    names = batches[0].tensors()
    joined = {name: torch.cat([getattr(b, name) for b in batches]) for name in names}
    ids = tuple(name for batch in batches for name in batch.ids)
    return Cells(ids=ids, wrap=batches[0].wrap, **joined)


def make_cells(model: Loc2Model, pair: TrainingPair) -> Cells:
    """Resample both images of a pair to the model's cells, with exact geometry of their centres.

    Args:
        model: decides the grids; its parameters are not used.
        pair: images and truth.

    Returns:
        Cells of one pair that hold images.
    """
    grid = model.ground_grid(pair.ground, pair.camera)
    aerial = model.aerial_grid(pair.aerial, pair.meters_per_pixel)
    rows, cols = grid.camera.height, grid.camera.width
    depth_map = pair.depth
    if depth_map is None:
        flat = FlatGround(pair.camera_height_m, model.config.max_range_m)
        depth_map = flat(pair.ground, grid.camera)
    else:
        depth_map = _crop_depth(depth_map, pair, grid)
    points_m, has_depth = lift_cells(depth_map, grid.camera, rows, cols)
    if not depth_map.metric:
        implied = implied_camera_height(points_m.reshape(-1, 3), has_depth.flatten())
        if implied is None:
            raise InputError(
                f"depth of {pair.id}: relative, and too little ground is seen to find its scale"
            )
        points_m = points_m * (pair.camera_height_m / implied)
    visible = torch.ones_like(has_depth)
    if pair.visible_from_above is not None:
        shown = _crop_rows(pair.visible_from_above, pair.ground.shape[-2], grid)
        centers = cell_centers_px(rows, cols, *shown.shape).long()
        visible = shown[centers[..., 1], centers[..., 0]]
    return Cells(
        ids=(pair.id,),
        wrap=grid.wrap,
        ground=grid.image,
        aerial=aerial.image,
        rays=grid.cell_rays(),
        points_m=points_m.permute(2, 0, 1).contiguous(),
        has_depth=has_depth,
        visible=visible & has_depth,
        exact=torch.tensor(pair.depth is not None),
        cell_size_m=torch.tensor(aerial.cell_size_m),
        camera_height_m=torch.tensor(pair.camera_height_m),
        position_m=torch.tensor([pair.pose.east_m, pair.pose.north_m]),
        heading_deg=torch.tensor(pair.pose.heading_deg),
    )


def _crop_rows(full: Tensor, image_height_px: int, grid: GroundGrid) -> Tensor:
    """Cut the rows that the grid covers out of a map of the whole image, of any resolution."""
    factor = full.shape[0] / image_height_px
    top = min(round(grid.top_px * factor), full.shape[0] - 1)
    return full[top : max(round(grid.bottom_px * factor), top + 1)]


def _crop_depth(depth_map: DepthMap, pair: TrainingPair, grid: GroundGrid) -> DepthMap:
    height_px = pair.ground.shape[-2]
    depth = _crop_rows(depth_map.depth, height_px, grid)
    valid = _crop_rows(depth_map.valid, height_px, grid)
    return replace(depth_map, depth=depth, valid=valid)
