"""Where a ground point may lie: its evidence over the aerial cells as a probability."""

from __future__ import annotations

import torch
from torch import Tensor

from loc2.frames import Pose, local_to_aerial
from loc2.localization import GroundCells, Localization, Matches
from loc2.matching.explain import explaining_matches
from loc2.report.figures.style import Panel


def cell_probability(cells: GroundCells, index: Tensor) -> Tensor:
    """Turn the evidence of ground cells into probabilities over the aerial cells.

    Args:
        cells: all ground cells.
        index: (K,) which of them.

    Returns:
        (K, h, w) float32 softmax over the aerial cells, each map summing to 1.
    """
    evidence = cells.evidence[index].float().flatten(1) / cells.temperature
    return torch.softmax(evidence, dim=1).reshape(len(index), *cells.evidence.shape[1:])


def cells_panel(localization: Localization, panel: Panel) -> Panel:
    """Return where the grid of aerial cells lies, centred on the aerial image's panel."""
    rows, cols = localization.cells.evidence.shape[1:]
    return centered_panel(localization, panel, rows, cols, localization.cells.cell_size_m)


def centered_panel(
    localization: Localization, panel: Panel, rows: int, cols: int, cell_size_m: float
) -> Panel:
    """Return the panel of a grid of square cells centred on the aerial image's panel."""
    scale = cell_size_m / localization.meters_per_pixel * panel.scale
    x0 = panel.x0 + (panel.scale * panel.width - scale * cols) / 2
    y0 = panel.y0 + (panel.scale * panel.height - scale * rows) / 2
    return Panel(x0, y0, scale, cols, rows)


def nearest_cells(localization: Localization, ground_px: Tensor) -> Tensor:
    """Return the (K,) indices of the ground cells nearest to (K, 2) ground pixels."""
    distance = torch.cdist(ground_px.float(), localization.cells.ground_px.float())
    return distance.argmin(dim=1)


def posed_m(bev: Tensor, pose: Pose) -> Tensor:
    """Return the (N, 2) positions (east_m, north_m) at which a pose puts (N, 2) BEV points."""
    return local_to_aerial(
        bev,
        torch.tensor(pose.heading_deg),
        torch.tensor([pose.east_m, pose.north_m]),
        pose.scale,
    )


def matches_under(localization: Localization, pose: Pose) -> Matches:
    """Return the matches of all ground cells, each looked for near where a pose puts it."""
    height, width = localization.aerial_image.shape[1:]
    return explaining_matches(
        localization.cells, pose, width, height, localization.meters_per_pixel
    )
