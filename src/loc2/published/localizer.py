"""Localization with the published network."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from loc2.cameras import Camera, Equirectangular
from loc2.depth import DepthMap
from loc2.depth.own import no_head
from loc2.errors import InputError
from loc2.found import Found, hypotheses_of, timed
from loc2.frames import aerial_m_to_px
from loc2.inputs import ImageLike, load_image
from loc2.localization import INLIER_SHARE, GroundCells, Matches
from loc2.localizer import Localizer
from loc2.matching import GroundDescription, sample_matches
from loc2.matching.explain import INLIER_M
from loc2.pose.confidence import statistics
from loc2.pose.evidence import DenseEvidence, log_likelihood_ratio
from loc2.pose.posterior import PosePrior
from loc2.pose.similarity import weighted_similarity
from loc2.pose.solve import MatchList, Solver, solve
from loc2.pose.voting import FREE_SCALE
from loc2.published.compat import aerial_cells_m, cell_positions_px, lift_cells
from loc2.published.model import PublishedModel, load_published, resize
from loc2.views import (
    AerialFeatures,
    AerialView,
    GroundView,
    check_meters_per_pixel,
    stacked,
)

RANSAC_MATCHES = 2048
"""Matches drawn for RANSAC: fewer than the published 8192, because every one of them is scored."""

_WINDOW_M = 71.0  # side of the aerial images it was trained on (VIGOR), metres
_SQUARE = 0.01  # relative difference of the sides that is taken for a square
_TYPICAL_RANGE_M = 8.0  # median range of what a street image shows within the depth limit


def _likely_unit_m(bev: Tensor) -> float:
    """Return metres per unit of relative depth, from how far things usually are."""
    return _TYPICAL_RANGE_M / max(float(bev.norm(dim=1).median()), 1e-12)


class PublishedLocalizer(Localizer):
    """Finds ground images in square aerial images with the published network.

    The pose is by default the published one: weighted least squares over 1024 drawn matches, the
    scale free, no prior. Such a pose has no calibrated confidence; what is given is the share of
    the matches' weight that agrees with the pose.

    Args:
        model: the network.
        weights: its name, for results.
        metadata: what its file says of it.
    """

    model: PublishedModel  # type: ignore[assignment]

    confidence_meaning = INLIER_SHARE

    @property
    def precision(self) -> str:
        """Precision that the backbone runs in."""
        return str(self.model.backbone.cls_token.dtype).removeprefix("torch.")

    @property
    def tells_depth(self) -> bool:
        """The published networks tell no depth."""
        return False

    @property
    def center_sigma(self) -> None:
        """The method expects the camera anywhere."""
        return None

    def default_depth(self, photo: bool = False) -> str:
        """Return level ground: the published networks bring no depth of their own."""
        del photo
        return "flat"

    def __init__(self, model: PublishedModel, weights: str, metadata: dict[str, str]) -> None:
        super().__init__(model, weights, metadata)  # type: ignore[arg-type]

    @classmethod
    def load(
        cls,
        path: Path,
        device: torch.device | str = "cpu",
        backbone_dtype: torch.dtype | None = None,
        backbone: str | Path | None = None,
    ) -> PublishedLocalizer:
        """Load an imported checkpoint, see :func:`loc2.published.model.load_published`.

        The backbone runs in half precision on a GPU, as published, and in float32 on the CPU.
        """
        if backbone_dtype is None:
            on_gpu = torch.device(device).type == "cuda"
            backbone_dtype = torch.float16 if on_gpu else torch.float32
        model, metadata = load_published(path, device, backbone_dtype, backbone)
        return cls(model, path.name, metadata)

    @property
    def projection(self) -> Literal["equirectangular", "pinhole"]:
        """Camera that the network was made for."""
        return self.model.config.projection

    def aerial_input(self, longest_m: float, photo: bool = False) -> tuple[float, float]:
        """Return how a window is best shown to the network, see the base class."""
        return _WINDOW_M, longest_m / self.model.config.aerial_size_px

    def aerial_view(
        self,
        aerial: ImageLike,
        meters_per_pixel: float | None,
        valid: Tensor | None = None,
        photo: bool = False,
    ) -> AerialView:
        """Prepare an aerial image for the network.

        Args:
            aerial: square, north-up aerial image.
            meters_per_pixel: its ground sampling distance, metres.
            valid: not used; the published network knows no missing imagery.
            photo: not used; the published network sees all windows alike.

        Raises:
            InputError: the image or the ground sampling distance cannot be used.
        """
        mpp = check_meters_per_pixel(meters_per_pixel)
        image = load_image(aerial, "aerial image")
        height_px, width_px = image.shape[-2:]
        if abs(width_px / height_px - 1) > _SQUARE:
            raise InputError(
                f"aerial image: {width_px}x{height_px}; the published network needs a square one"
            )
        config = self.model.config
        # Cells from edge to edge stand as far apart as centred cells of this size.
        cells = config.aerial_cells
        spacing = cells - 1 if config.compatibility.both_ends_grids else cells
        with torch.inference_mode():
            shown = resize(image[None], config.aerial_size_px, config.aerial_size_px)[0]
        return AerialView(image, mpp, shown, width_px * mpp / spacing)

    def _ground_view(self, image: Tensor, camera: Camera, height_m: float) -> GroundView:
        config = self.model.config
        if isinstance(camera, Equirectangular) != (config.projection == "equirectangular"):
            wanted = "panoramas" if config.projection == "equirectangular" else "perspective photos"
            raise InputError(f"weights {self.weights}: made for {wanted} only")
        shown = resize(image[None], *config.ground_size_px)[0]
        return GroundView(image, camera, height_m, shown, None)

    def _describe_ground(self, views: Sequence[GroundView]) -> GroundDescription:
        descriptors = self.model.ground_descriptors(stacked(views))
        return GroundDescription(descriptors, torch.ones_like(descriptors[:, 0]), None)

    def _describe_aerial(self, views: Sequence[AerialView]) -> list[AerialFeatures]:
        descriptors = self.model.aerial_descriptors(stacked(views))
        return [
            AerialFeatures(view.image, view.meters_per_pixel, own, view.cell_size_m)
            for view, own in zip(views, descriptors, strict=True)
        ]

    def _find(
        self,
        ground: GroundView,
        aerial: AerialFeatures,
        prior: PosePrior,
        resolve_depth: Callable[[Callable[[str], DepthMap]], DepthMap],
        far_share: float,
        solver: Solver | None,
        seed: int,
        timings: dict[str, float],
    ) -> Found:
        """Lift, match and solve, see :meth:`loc2.localizer.Localizer._find`."""
        config, camera = self.model.config, ground.camera
        assert ground.description is not None
        described = ground.description.descriptors
        with timed(timings, "depth"):
            depth_map = resolve_depth(no_head)
        with timed(timings, "matching"):
            rows, cols = self.model.ground_grid
            limit_m = config.max_depth_m if depth_map.metric else math.inf
            bev, valid = lift_cells(depth_map, camera, rows, cols, limit_m, config.compatibility)
            # Searches look for scales about one, so relative depth is brought near metres first.
            unit_m = 1.0 if depth_map.metric else _likely_unit_m(bev[valid])
            if not valid.any():
                raise InputError(f"depth: no part of the ground image is nearer than {limit_m:g} m")
            scores = self.model.matcher.scores(described, aerial.descriptors[None])[0]
            scores = scores.masked_fill(~valid.to(scores.device), -math.inf)
            probability = self.model.matcher.probabilities(scores[None])
            count = RANSAC_MATCHES if solver == "ransac" else config.num_matches
            generator = torch.Generator().manual_seed(seed)
            drawn = sample_matches(probability, count, generator)
            aerial_index, ground_index, weight = (x[0].cpu() for x in drawn)
            cells_m = aerial_cells_m(
                config.aerial_cells,
                aerial.image.shape[-1] * aerial.meters_per_pixel,
                config.compatibility,
            )
            matches = MatchList(bev[ground_index] * unit_m, cells_m[aerial_index], weight)
            uv_px = cell_positions_px(
                rows, cols, camera.height, camera.width, config.compatibility
            ).reshape(-1, 2)
            cells = self._cells(scores, probability[0], uv_px, bev, valid, aerial)
        with timed(timings, "pose"):
            determined = weighted_similarity(
                matches.source[None], matches.target[None], matches.weights[None]
            ).valid
            if not determined[0]:
                raise InputError("matches: they all fall on one point, so no pose follows")
            dense = None
            if solver == "voting":
                dense = DenseEvidence(
                    cells.evidence.float(), cells.bev * unit_m, cell_size_m=cells.cell_size_m
                )
            chosen: Solver = solver or "procrustes"
            half_m = config.aerial_cells * aerial.cell_size_m / 2
            solution = solve(
                matches,
                half_size_m=(half_m, half_m),
                dense=dense,
                solver=chosen,
                scale="free" if chosen == "procrustes" else FREE_SCALE,
                prior=prior,
                inlier_m=INLIER_M,
                seed=seed,
            )
        agreeing = weight[solution.inlier].sum() / weight.sum().clamp_min(1e-30)
        return Found(
            posterior=solution.posterior,
            hypotheses=hypotheses_of(solution.modes, unit_m),
            cells=cells,
            matches=Matches(
                ground_px=uv_px[ground_index],
                aerial_px=aerial_m_to_px(
                    matches.target,
                    aerial.image.shape[-1],
                    aerial.image.shape[-2],
                    aerial.meters_per_pixel,
                ),
                bev=bev[ground_index],
                weight=weight,
                inlier=solution.inlier,
            ),
            depth=depth_map,
            solver=solution.solver,
            confidence=min(float(agreeing), 1.0),  # rounding can take it beyond
            statistics=statistics(
                solution.posterior,
                source=matches.source,
                weights=weight,
                inlier=solution.inlier,
                half_size_m=(half_m, half_m),
            ),
            prior=prior,
        )

    def _cells(
        self,
        scores: Tensor,
        probability: Tensor,
        uv_px: Tensor,
        bev: Tensor,
        valid: Tensor,
        aerial: AerialFeatures,
    ) -> GroundCells:
        """Say of each valid ground cell where the network sees it, for voting and for figures.

        Args:
            scores: (A, G) scores.
            probability: (A, G) match probabilities.
            uv_px: (G, 2) pixels of the cells.
            bev: (G, 2) lifted cells.
            valid: (G,) bool.
            aerial: the aerial image.
        """
        side = self.model.config.aerial_cells
        kept = valid.to(scores.device)
        columns = scores[:, kept].T  # (valid, A)
        dustbin = self.model.matcher.dustbin_score.expand(len(columns), 1)
        over_aerial = torch.cat((columns, dustbin), dim=1).softmax(dim=1)
        evidence = log_likelihood_ratio(
            over_aerial[:, :-1].reshape(-1, side, side), over_aerial[:, -1]
        )
        weight = probability[:, kept].sum(dim=0)
        return GroundCells(
            ground_px=uv_px[valid],
            bev=bev[valid],
            weight=(weight / weight.sum().clamp_min(1e-30)).cpu(),
            evidence=evidence.half().cpu(),
            cell_size_m=aerial.cell_size_m,
            temperature=1.0,  # the evidence is a log-likelihood ratio
        )
