"""Ground cells lifted to the ground plan and compared with the aerial image; the heat map."""

from __future__ import annotations

from dataclasses import astuple, dataclass, replace

import torch
from torch import Tensor

from loc2.depth import DepthMap, FlatGround, implied_camera_height, lift_cells, lift_pixels
from loc2.errors import InputError
from loc2.localization import GroundCells, Heatmap
from loc2.matching import GroundDescription, evidence_map
from loc2.pose.confidence import SecondOpinion
from loc2.pose.evidence import evidence_under
from loc2.pose.posterior import PosePosterior
from loc2.views import AerialFeatures, GroundView

_HEATMAP_STEP_M = 1.0
_HEATMAP_BINS = 512  # most along a side: a report of a window of kilometres stays small
_HEADING_BINS = 72


def ground_cells(
    ground: GroundView,
    depth_map: DepthMap,
    aerial: AerialFeatures,
    range_m: tuple[float, float],
) -> tuple[GroundCells, float]:
    """Lift the ground cells and compare them with every aerial cell.

    Args:
        ground: the ground image, described.
        depth_map: its depth.
        aerial: the aerial image.
        range_m: nearest and farthest ground that takes part, metres.

    Returns:
        The cells, and the metres per unit of depth that the camera's height implies.

    Raises:
        InputError: no cell has a depth that can be used.
    """
    description, camera, grid = ground.description, ground.camera, ground.grid
    assert description is not None and grid is not None
    uv_px = grid.cell_pixels(camera.width).reshape(-1, 2)
    points, valid = lift_pixels(depth_map, camera, uv_px)
    unit_m = 1.0
    if not depth_map.levelled:
        implied = implied_camera_height(points, valid)
        if implied is not None:
            unit_m = ground.height_m / implied
        elif not depth_map.metric:
            raise InputError(
                "depth: relative, and too little ground is seen to find its scale; "
                "a photo that shows the ground below the horizon is needed"
            )
    cells = _compared(ground, points, valid, unit_m, aerial, range_m)
    if cells is None:
        raise InputError("depth: no part of the ground image has a usable depth")
    return cells, unit_m


def _compared(
    ground: GroundView,
    points: Tensor,
    valid: Tensor,
    unit_m: float,
    aerial: AerialFeatures,
    range_m: tuple[float, float],
) -> GroundCells | None:
    description, grid = ground.description, ground.grid
    assert description is not None and grid is not None
    return compared_cells(
        description,
        grid.cell_pixels(ground.camera.width).reshape(-1, 2),
        points,
        valid,
        aerial.descriptors,
        aerial.cell_size_m,
        range_m,
        unit_m=unit_m,
        seen=aerial.seen,
    )


def compared_cells(
    description: GroundDescription,
    ground_px: Tensor,
    points: Tensor,
    valid: Tensor,
    aerial: Tensor,
    cell_size_m: float,
    range_m: tuple[float, float],
    *,
    unit_m: float = 1.0,
    seen: Tensor | None = None,
) -> GroundCells | None:
    """Compare the lifted cells that are valid and in range with every aerial cell, if any.

    Args:
        description: of one ground image.
        ground_px: (G, 2) pixels (u, v) of its cells' centres.
        points: (G, 3) lifted cells in the local frame, units of depth.
        valid: (G,) bool, which have been lifted.
        aerial: (D, h, w) descriptors of the aerial cells.
        cell_size_m: side of an aerial cell, metres.
        range_m: nearest and farthest ground that takes part, metres.
        unit_m: metres per unit of depth.
        seen: (h, w) bool, the aerial cells that show something; all by default.
    """
    distance_m = points[:, :2].norm(dim=1) * unit_m
    valid = valid & (distance_m >= range_m[0]) & (distance_m <= range_m[1])
    if not valid.any():
        return None
    device = description.descriptors.device
    descriptors = description.descriptors[0].to(aerial.dtype).flatten(1).T[valid.to(device)]
    evidence = evidence_map(descriptors, aerial, None if seen is None else seen.to(device))
    weight = description.weight[0].float().flatten()[valid.to(device)]
    return GroundCells(
        ground_px=ground_px[valid.cpu()],
        bev=points[valid][:, :2].cpu(),
        weight=(weight / weight.sum()).cpu(),
        evidence=evidence.cpu(),
        cell_size_m=cell_size_m,
    )


@dataclass(frozen=True)
class OtherCells:
    """Ground cells lifted in another way than the answer asks for.

    Attributes:
        cells: the cells, in metres.
        far: (G,) bool, the farther half of them.
    """

    cells: GroundCells
    far: Tensor

    @staticmethod
    def of(cells: GroundCells) -> OtherCells:
        """Tell which of the cells, in metres, are the farther half."""
        distance_m = cells.bev.norm(dim=1)
        # A row of level ground lies at one distance, up to rounding: it is not split by that.
        return OtherCells(cells, distance_m > 1.001 * distance_m.median())


def other_cells(
    ground: GroundView,
    depth_map: DepthMap,
    aerial: AerialFeatures,
    range_m: tuple[float, float],
) -> OtherCells | None:
    """Lift the ground cells by the depth head's range, or by level ground where it was asked for.

    Args:
        ground: the ground image, described.
        depth_map: the depth that was asked for.
        aerial: the aerial image.
        range_m: nearest and farthest ground that takes part, metres.

    Returns:
        The cells; None where there is no other way, or it lifts none.
    """
    description, grid = ground.description, ground.grid
    assert description is not None and grid is not None
    # At the cells' resolution: a map of the whole image would be made for these few reads.
    if depth_map.from_head:
        other = FlatGround(ground.height_m)(ground.image, grid.camera)
    elif description.depth is not None:
        depth = ground.height_m * description.depth.log_range_ratio[0].float().cpu().exp()
        valid = description.depth.valid_logit[0].cpu() > 0
        other = DepthMap(depth, "range", True, valid, "own", levelled=True)
    else:
        return None
    points, valid = lift_cells(other, grid.camera, grid.camera.height, grid.camera.width)
    cells = _compared(ground, points.reshape(-1, 3), valid.flatten(), 1.0, aerial, range_m)
    return None if cells is None else OtherCells.of(cells)


def with_far_cells(
    cells: GroundCells, other: OtherCells, share: float
) -> tuple[GroundCells, float]:
    """Let the far cells of another way of lifting vote too.

    Args:
        cells: lifted as was asked for, in metres.
        other: lifted in another way.
        share: what the far ones weigh together, beside ``cells``, which weigh 1.

    Returns:
        All of them, whose weights sum to 1, and the share that was used: less where the far ones
        are so few that one would count for more than two of the others on average, 0 for none.
    """
    far = other.far
    weight = other.cells.weight[far]
    share = min(share, 2.0 * len(weight) / len(cells.weight))
    weight = share * weight / weight.sum().clamp_min(1e-9)
    joined = replace(
        cells,
        ground_px=torch.cat((cells.ground_px, other.cells.ground_px[far])),
        bev=torch.cat((cells.bev, other.cells.bev[far])),
        weight=torch.cat((cells.weight, weight)) / (1.0 + weight.sum()),
        evidence=torch.cat((cells.evidence, other.cells.evidence[far])),
    )
    return joined, share


def second_opinion(
    other: OtherCells, posterior: PosePosterior, temperature: float
) -> SecondOpinion:
    """Weigh a posterior's modes by cells that are lifted in another way.

    Args:
        other: these cells.
        posterior: whose modes are weighed.
        temperature: divides the evidence.
    """
    cells = other.cells
    poses = torch.tensor([astuple(mode.pose) for mode in posterior.modes])
    found = evidence_under(cells.evidence, cells.bev, poses, cells.half_size_m) / temperature

    def mean(weight: Tensor) -> Tensor:
        return (weight / weight.sum().clamp_min(1e-9)) @ found

    far, weight = other.far, cells.weight
    return SecondOpinion(mean(weight), mean(weight * far), mean(weight * ~far))


def heatmap_of(posterior: PosePosterior, cells: GroundCells) -> Heatmap:
    """Return the marginals of a posterior over the window of the cells."""
    half_m = cells.half_size_m
    step_m = max(_HEATMAP_STEP_M, 2 * max(half_m) / _HEATMAP_BINS)
    rows, cols = (max(round(2 * half / step_m), 1) for half in reversed(half_m))
    position = posterior.heatmap(rows, cols, half_m)
    return Heatmap(position, 2 * half_m[1] / rows, posterior.heading_histogram(_HEADING_BINS))
