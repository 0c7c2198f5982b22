"""What the released checkpoints expect and our own models do not do, in one place.

The released weights were trained with grids whose first and last cells sit on the image's edges,
with images that were not normalised for the backbone, and with invalid (zero) depth kept. A model
imported from them carries :class:`Compatibility` with all of it switched on; the default is off.
This module is also where the published coordinates are turned into those of :mod:`loc2.frames`.
"""

from __future__ import annotations

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from loc2.cameras import Camera
from loc2.depth import DepthMap
from loc2.frames import cell_centers_px


class Compatibility(BaseModel):
    """Deviations from our conventions that trained weights may depend on.

    Attributes:
        unnormalized_input: the backbone sees RGB in [0, 1] instead of normalised images.
        both_ends_grids: n cells are placed at n equally spaced positions from edge to edge of an
            image, both edges included, instead of at the centres of n tiles. It stretches a grid
            by n / (n - 1), and the first and last column of a panorama coincide.
        corner_depth: a cell reads the depth at its upper left pixel instead of at its centre.
        zero_depth_is_valid: depth 0 (unknown) or less is matched and lifted to the camera.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    unnormalized_input: bool = False
    both_ends_grids: bool = False
    corner_depth: bool = False
    zero_depth_is_valid: bool = False

    @classmethod
    def released(cls) -> Compatibility:
        """Return what the released checkpoints need: everything switched on."""
        return cls(
            unnormalized_input=True,
            both_ends_grids=True,
            corner_depth=True,
            zero_depth_is_valid=True,
        )


def published_xy_to_frames(xy_m: Tensor) -> Tensor:
    """Turn published coordinates into ours.

    Published x runs down the aerial image and y to its right, for ground points as if the camera
    looked up the image. The same turn serves both of our frames: aerial (east, north) and local
    (right, forward).

    Args:
        xy_m: (..., 2) published (x down, y right).

    Returns:
        (..., 2) coordinates (east, north), or (right, forward) for ground points.
    """
    return torch.stack((xy_m[..., 1], -xy_m[..., 0]), dim=-1)


def published_yaw_to_heading_deg(yaw_deg: Tensor) -> Tensor:
    """Turn the published yaw (counter-clockwise from image up, degrees) into a heading."""
    return torch.remainder(-yaw_deg, 360.0)


def cell_positions_px(
    rows: int, cols: int, height_px: float, width_px: float, compat: Compatibility
) -> Tensor:
    """Return where the cells of a grid sit on an image.

    Args:
        rows: number of cells along the height.
        cols: number of cells along the width.
        height_px: image height, pixels.
        width_px: image width, pixels.
        compat: decides between cell centres and positions from edge to edge.

    Returns:
        (rows, cols, 2) float32 pixel coordinates (u, v).
    """
    if not compat.both_ends_grids:
        return cell_centers_px(rows, cols, height_px, width_px)
    v_grid, u_grid = torch.meshgrid(
        torch.linspace(0.0, height_px, rows), torch.linspace(0.0, width_px, cols), indexing="ij"
    )
    return torch.stack((u_grid, v_grid), dim=-1)


def aerial_cells_m(cells: int, side_m: float, compat: Compatibility) -> Tensor:
    """Return the positions of the aerial cells of a square image.

    Args:
        cells: cells along a side.
        side_m: side of the aerial image, metres.
        compat: decides between cell centres and positions from edge to edge.

    Returns:
        (cells * cells, 2) float32 (east_m, north_m), row-major from the upper left.
    """
    uv = cell_positions_px(cells, cells, side_m, side_m, compat).reshape(-1, 2)
    return torch.stack((uv[:, 0] - side_m / 2, side_m / 2 - uv[:, 1]), dim=-1)


def lift_cells(
    depth_map: DepthMap,
    camera: Camera,
    rows: int,
    cols: int,
    max_depth_m: float,
    compat: Compatibility,
) -> tuple[Tensor, Tensor]:
    """Lift the cells of a ground image to bird's-eye-view points.

    Args:
        depth_map: depth of the image, at any resolution.
        camera: camera of the image.
        rows: rows of cells.
        cols: columns of cells.
        max_depth_m: depth at or beyond this limit cannot be matched; metres, or units of the
            depth where that is relative.
        compat: grid, depth pixel and validity rules.

    Returns:
        (rows * cols, 2) points (right, forward), row-major, and a (rows * cols,) bool mask of the
        points that can be matched.
    """
    height, width = depth_map.depth.shape
    if compat.corner_depth:
        row = torch.arange(rows) * height // rows
        col = torch.arange(cols) * width // cols
    else:
        at_px = cell_centers_px(rows, cols, height, width).long()
        row, col = at_px[:, 0, 1], at_px[0, :, 0]
    depth = depth_map.depth[row[:, None], col]
    valid = depth_map.valid[row[:, None], col] & torch.isfinite(depth)
    zero_rule = depth <= 0 if compat.zero_depth_is_valid else torch.zeros_like(valid)
    valid = (valid & (depth > 0)) | zero_rule
    depth = torch.where(torch.isfinite(depth), depth.clamp(0.0, max_depth_m), 0.0)
    valid = valid & (depth < max_depth_m)
    uv_px = cell_positions_px(rows, cols, camera.height, camera.width, compat)
    points = camera.lift(uv_px, depth, depth_map.kind)[..., :2]
    return points.reshape(-1, 2), valid.reshape(-1)
