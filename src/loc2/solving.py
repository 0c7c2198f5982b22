"""The poses of ground cells that were compared with an aerial image, by any solver."""

from __future__ import annotations

from dataclasses import replace

from loc2.frames import aerial_px_to_m
from loc2.localization import GroundCells
from loc2.matching.explain import INLIER_M, likeliest_cells
from loc2.pose.posterior import PosePosterior, PosePrior
from loc2.pose.solve import MatchList, Solver, solve
from loc2.pose.voting import vote
from loc2.views import AerialFeatures


def posterior_of(
    cells: GroundCells,
    aerial: AerialFeatures,
    unit_m: float,
    *,
    half_size_m: tuple[float, float],
    solver: Solver,
    scale: tuple[float, float],
    prior: PosePrior,
    temperature: float,
    seed: int,
    parts: int = 1,
) -> PosePosterior:
    """Solve for the pose.

    Args:
        cells: the ground cells and their evidence.
        aerial: the aerial image that they were compared with.
        unit_m: metres per unit of their depth.
        half_size_m: half the aerial image's extent towards east and north, metres.
        solver: ``voting`` looks at all the evidence, the others at each cell's likeliest place.
        scale: smallest and largest scale of depth in metres.
        prior: what is known before matching.
        temperature: divides the evidence of voting.
        seed: of everything drawn at random.
        parts: aerial cells along the side of a square; voting searches squares and scores what
            it finds by their cells, the other solvers look at squares alone.
    """
    cells = replace(cells, bev=cells.bev * unit_m)
    if solver == "voting":
        return vote(
            cells.evidence,
            cells.bev,
            cell_size_m=cells.cell_size_m,
            weights=cells.weight,
            scale=scale,
            prior=prior,
            temperature=temperature,
            parts=parts,
        )
    cells = cells.over_squares(parts)
    height_px, width_px = aerial.image.shape[-2:]
    probability, target_px = likeliest_cells(cells, width_px, height_px, aerial.meters_per_pixel)
    target_m = aerial_px_to_m(target_px, width_px, height_px, aerial.meters_per_pixel)
    return solve(
        MatchList(cells.bev, target_m, probability * cells.weight),
        half_size_m=half_size_m,
        solver=solver,
        scale=scale,
        prior=prior,
        inlier_m=INLIER_M,
        seed=seed,
    ).posterior
