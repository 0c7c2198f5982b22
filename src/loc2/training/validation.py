"""Localization of held-out cells by the voting solver: what training is judged by."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from loc2.frames import cell_centers_px, heading_error_deg
from loc2.lifting import OtherCells, compared_cells, with_far_cells
from loc2.localization import GroundCells
from loc2.matching import GroundDescription
from loc2.model import Loc2Model
from loc2.pose.posterior import PosePrior
from loc2.pose.voting import vote
from loc2.query import scale_prior
from loc2.training.cells import Cells, batch_of


@dataclass(frozen=True)
class ValidationErrors:
    """Errors of one sample.

    Attributes:
        id: name of the pair.
        position_m: distance to the true position, metres; None if nothing could be lifted.
        heading_deg: unsigned heading error, degrees; None likewise.
        depth: mean absolute difference of the logarithm of range after the best scale; None
            without true depth or without a depth head.
    """

    id: str
    position_m: float | None
    heading_deg: float | None
    depth: float | None


@torch.inference_mode()
def localize_cells(
    model: Loc2Model, cells: Cells, lift: str, camera_height_m: float | None = None
) -> ValidationErrors:
    """Localize one pair from its cells, without any prior on its place, and compare with the truth.

    Args:
        model: the network.
        cells: of one pair, features or images.
        lift: ``own`` depth, ``flat`` ground, ``exact`` depth, or ``far``: level ground beside the
            far cells of own depth, as panoramas are looked for (:attr:`ModelConfig.far_share`).
        camera_height_m: assumed height; the true one by default.
    """
    batch = batch_of(cells).to(model.device)
    ground, aerial_features = batch.ground, batch.aerial
    if batch.ground_pixels_per_cell > 1:
        ground, aerial_features = model.features(ground), model.features(aerial_features)
    description = model.describe_ground(ground, batch.rays, batch.wrap)
    aerial = model.describe_aerial(aerial_features)[0].float()
    if camera_height_m is not None:
        batch = replace(
            batch, camera_height_m=torch.full_like(batch.camera_height_m, camera_height_m)
        )
    depth = _depth_error(batch, description)
    compared = _compared(model, batch, description, aerial, "flat" if lift == "far" else lift)
    if compared is None:
        return ValidationErrors(cells.ids[0], None, None, depth)
    if lift == "far" and description.depth is not None:
        other = _compared(model, batch, description, aerial, "own")
        if other is not None:
            share = model.config.far_share
            compared, _ = with_far_cells(compared, OtherCells.of(other), share)
    prior, scale = PosePrior(), (1.0, 1.0)
    if lift != "exact":
        prior, scale = scale_prior(prior, levelled=True)
    posterior = vote(
        compared.evidence,
        compared.bev,
        cell_size_m=compared.cell_size_m,
        weights=compared.weight,
        scale=scale,
        prior=prior,
        temperature=model.config.vote_temperature,
    )
    pose = posterior.pose
    east, north = cells.position_m.tolist()
    position_error = ((pose.east_m - east) ** 2 + (pose.north_m - north) ** 2) ** 0.5
    heading_error = heading_error_deg(pose.heading_deg, float(cells.heading_deg))
    return ValidationErrors(cells.ids[0], position_error, heading_error, depth)


def _compared(
    model: Loc2Model, cells: Cells, description: GroundDescription, aerial: Tensor, lift: str
) -> GroundCells | None:
    """Lift the ground cells of a batch of one and compare them with every aerial cell, if any."""
    points, valid = _lift(cells, description, lift)
    rows, cols = cells.ground_shape
    return compared_cells(
        description,
        cell_centers_px(rows, cols, rows, cols).reshape(-1, 2),
        points[0].flatten(1).T,
        valid[0].flatten(),
        aerial,
        float(cells.cell_size_m[0]),
        model.config.range_m,
    )


def _lift(cells: Cells, description: GroundDescription, lift: str) -> tuple[Tensor, Tensor]:
    """Return (B, 3, h, w) points in metres and their (B, h, w) validity."""
    if lift == "exact":
        return cells.points_m, cells.has_depth
    height = cells.camera_height_m[:, None, None]
    if lift == "own" and description.depth is not None:
        range_m = height * description.depth.log_range_ratio.float().exp()
        return cells.rays * range_m[:, None], description.depth.valid_logit > 0
    down = -cells.rays[:, 2]
    return cells.rays * (height / down.clamp_min(1e-3))[:, None], down > 0


def _depth_error(cells: Cells, description: GroundDescription) -> float | None:
    if description.depth is None or not bool(cells.exact[0]):
        return None
    known = cells.has_depth[0]
    truth = cells.points_m[0].norm(dim=0)[known] / cells.camera_height_m[0]
    difference = description.depth.log_range_ratio[0].float()[known] - truth.clamp_min(0.05).log()
    return float((difference - difference.median()).abs().mean()) if len(difference) else None


def summarize_validation(errors: Iterable[ValidationErrors]) -> dict[str, float]:
    """Summarise errors of a validation set; a failed sample is a miss.

    ``score`` halves with every 2 m and every 5 degrees of error, averaged over samples: a smooth
    form of ``share_2m_5deg``, by which the best weights are chosen.
    """
    rows = list(errors)
    position = torch.tensor([100.0 if e.position_m is None else e.position_m for e in rows])
    heading = torch.tensor([180.0 if e.heading_deg is None else e.heading_deg for e in rows])
    depths = [e.depth for e in rows if e.depth is not None]
    figures = {
        "n": float(len(rows)),
        "score": float((0.5 ** (position / 2) * 0.5 ** (heading / 5)).mean()),
        "share_2m_5deg": float(((position < 2) & (heading < 5)).float().mean()),
        "recall_5m_10deg": float(((position < 5) & (heading < 10)).float().mean()),
        "position_median_m": float(position.median()),
        "heading_median_deg": float(heading.median()),
        "flip_rate": float((heading > 90).float().mean()),
    }
    if depths:
        figures["depth_log_error"] = sum(depths) / len(depths)
    return figures
