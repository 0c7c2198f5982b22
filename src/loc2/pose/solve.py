"""One call for every solver, with one result."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass
from typing import Literal

import torch
from torch import Tensor

from loc2.errors import InputError
from loc2.frames import Pose
from loc2.pose.evidence import DenseEvidence, MatchEvidence
from loc2.pose.posterior import PoseMode, PosePosterior, PosePrior
from loc2.pose.ransac import posterior_of_matches, ransac, residuals_m
from loc2.pose.refine import SearchSteps, integrate, local_shape
from loc2.pose.similarity import ScaleOption, scale_bounds, weighted_similarity
from loc2.pose.voting import scan, search, search_bounds

Solver = Literal["voting", "ransac", "procrustes"]


@dataclass(frozen=True)
class MatchList:
    """Single matches of one image.

    Attributes:
        source: (N, 2) BEV points (right, forward), units of depth.
        target: (N, 2) matched points (east_m, north_m), metres.
        weights: (N,) match probabilities, not negative.
    """

    source: Tensor
    target: Tensor
    weights: Tensor


@dataclass(frozen=True)
class Solution:
    """What a solver found.

    Attributes:
        posterior: modes with masses and covariances, and weighted poses.
        residual_m: (N,) distance of each match under the first mode's pose, metres.
        inlier: (N,) bool, the residual is at most the inlier threshold.
        solver: which solver it was.
    """

    posterior: PosePosterior
    residual_m: Tensor
    inlier: Tensor
    solver: Solver

    @property
    def pose(self) -> Pose:
        """The pose of the first mode."""
        return self.posterior.pose

    @property
    def covariance(self) -> Tensor:
        """(3, 3) covariance of the first mode: (east_m, north_m, heading_deg)."""
        return self.posterior.covariance

    @property
    def modes(self) -> tuple[PoseMode, ...]:
        """Hypotheses, largest mass first."""
        return self.posterior.modes


def solve(
    matches: MatchList,
    *,
    half_size_m: tuple[float, float],
    dense: DenseEvidence | None = None,
    solver: Solver = "voting",
    scale: ScaleOption = 1.0,
    prior: PosePrior | None = None,
    noise_m: float = 1.0,
    inlier_m: float = 2.5,
    max_modes: int = 8,
    nms_m: float | None = None,
    nms_deg: float = 15.0,
    seed: int = 0,
) -> Solution:
    """Find the camera's pose from matches.

    Args:
        matches: single matches. They are what RANSAC and Procrustes use; voting uses them where
            no dense evidence is given. Inlier flags are theirs in any case.
        half_size_m: half the window's extent towards east and north, metres.
        dense: evidence of every ground point in every aerial cell, for voting.
        solver: ``"voting"``, ``"ransac"`` or ``"procrustes"`` (weighted least squares, which has
            no defence against outliers).
        scale: metres per unit of depth: a number, bounds or ``"free"``.
        prior: what is known before matching.
        noise_m: expected standard deviation of a right match in each axis; where matches are
            used it is then estimated from them.
        inlier_m: residual up to which a match is called an inlier.
        max_modes: number of hypotheses to keep.
        nms_m: hypotheses nearer than this and ...
        nms_deg: ... than this are one; default 3 m, or two cells where these are larger.
        seed: of RANSAC's draws; the others have no randomness.

    Raises:
        ValueError: an unknown solver.
        InputError: fewer than two matches where matches are used.
    """
    prior = prior or PosePrior()
    if solver not in ("voting", "ransac", "procrustes"):
        raise ValueError(f"unknown solver {solver!r}; use voting, ransac or procrustes")
    count = int((matches.weights > 0).sum())
    if count < 2 and not (solver == "voting" and dense is not None):
        raise InputError(f"ground image: {count} points can be matched; a pose needs at least two")
    if solver == "voting" and dense is not None:
        nms = (nms_m or max(3.0, 2.0 * dense.resolution_m), nms_deg)
        posterior = search(
            dense,
            scale=search_bounds(scale),
            prior=prior,
            heading_step_deg=5.0,
            position_step_m=dense.resolution_m,
            max_modes=max_modes,
            nms=nms,
        )
    elif solver == "ransac":
        posterior = ransac(
            matches.source[None],
            matches.target[None],
            matches.weights[None],
            half_size_m=half_size_m,
            scale=scale,
            prior=prior,
            noise_m=noise_m,
            inlier_m=inlier_m,
            max_modes=max_modes,
            nms_m=nms_m or 3.0,
            nms_deg=nms_deg,
            seed=seed,
        )[0]
    else:
        evidence = MatchEvidence(
            matches.source,
            matches.target,
            matches.weights,
            half_size_m=half_size_m,
            noise_m=noise_m,
        )
        if solver == "procrustes":
            posterior = _procrustes(evidence, scale, prior)
        else:
            posterior = _vote_matches(
                evidence, scale, prior, max_modes=max_modes, nms=(nms_m or 3.0, nms_deg)
            )
    pose = posterior.pose
    row = matches.source.new_tensor(astuple(pose))
    residual = residuals_m(matches.source, matches.target, row[None])[0]
    return Solution(posterior, residual, residual <= inlier_m, solver)


def _vote_matches(
    evidence: MatchEvidence,
    scale: ScaleOption,
    prior: PosePrior,
    *,
    max_modes: int,
    nms: tuple[float, float],
) -> PosePosterior:
    """Let single matches vote, then refine the modes on the matches' own likelihood."""
    found = scan(
        evidence,
        scale=search_bounds(scale),
        prior=prior,
        heading_step_deg=5.0,
        position_step_m=max(evidence.noise_m, max(evidence.half_size_m) / 24),
        nms=nms,
    )
    return posterior_of_matches(
        evidence,
        found.peaks,
        scale=scale_bounds(scale),
        prior=prior,
        max_modes=max_modes,
        nms=nms,
        searched=found.searched,
    )


def _procrustes(evidence: MatchEvidence, scale: ScaleOption, prior: PosePrior) -> PosePosterior:
    """Weighted least squares over all matches; its covariance takes every match for an inlier."""
    found = weighted_similarity(
        evidence.source[None], evidence.target[None], evidence.weights[None], scale=scale
    )
    pose = torch.cat((found.translation, found.heading_deg[:, None], found.scale[:, None]), 1)
    pose = prior.clamp(pose)
    fitted = evidence.fitted(pose[0], parameters=4)
    steps = SearchSteps(fitted.noise_m, 5.0, 0.05, scale_bounds(scale), prior)
    _, shape = local_shape(fitted, pose, steps, step=0.5)
    return integrate(
        fitted,
        pose,
        fitted.score(pose) + prior.log_factor(pose),
        shape,
        steps,
        rest=(pose[:0], pose[:0, 0]),
        log_tail=torch.tensor(-math.inf, dtype=torch.float64, device=pose.device),
        nms=(math.inf, math.inf),
        searched=1,
    )
