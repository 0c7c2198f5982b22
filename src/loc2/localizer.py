"""The facade: images in, pose with uncertainty and reasons out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from loc2.cameras import Camera, DepthKind, Equirectangular
from loc2.depth import (
    DepthMap,
    DepthModel,
    DepthUnit,
    implied_camera_height,
    is_depth_model,
    lift_pixels,
    load_depth,
    make_depth_model,
)
from loc2.depth.own import spread_head
from loc2.errors import InputError
from loc2.frames import (
    aerial_px_to_m,
)
from loc2.inputs import CameraSpec, ImageLike, load_image, read_camera_file, resolve_camera
from loc2.localization import (
    PROBABILITY,
    GroundCells,
    Heatmap,
    Hypothesis,
    Localization,
    Matches,
)
from loc2.matching import GroundDescription, evidence_map
from loc2.matching.explain import INLIER_M, explaining_matches, likeliest_cells
from loc2.model import (
    AerialGrid,
    GroundGrid,
    Loc2Model,
    load_model,
    packaged_weights,
    runs_bfloat16_fast,
)
from loc2.pose.confidence import UNCALIBRATED, ConfidenceModel, Statistics, statistics
from loc2.pose.posterior import PosePosterior, PosePrior
from loc2.pose.similarity import ScaleOption
from loc2.pose.solve import MatchList, Solver, solve
from loc2.pose.voting import vote
from loc2.published.model import FORMAT as PUBLISHED_FORMAT
from loc2.published.model import read_metadata

DEFAULT_WEIGHTS = "default"
Precision = Literal["auto", "float32", "bfloat16"]
PANORAMA_HEIGHT_M = 2.5
"""Camera height assumed for panoramas, which mostly come from vehicles, metres."""
PINHOLE_HEIGHT_M = 1.6
"""Camera height assumed for photos, which mostly come from hands, metres."""
SCALE_BOUNDS = (0.7, 1.4)
"""How far a depth's scale may lie from what the camera's height implies."""
_HEATMAP_STEP_M = 1.0
_HEADING_BINS = 72


@dataclass(frozen=True)
class HeadingPrior:
    """The heading is known to lie within ``center_deg`` plus or minus ``range_deg``."""

    center_deg: float
    range_deg: float


@dataclass(frozen=True)
class PositionPrior:
    """The position is known to lie within ``radius_m`` of (``east_m``, ``north_m``)."""

    east_m: float
    north_m: float
    radius_m: float


@dataclass(frozen=True)
class AerialFeatures:
    """An aerial image as the matching sees it; can be kept for many ground images.

    Attributes:
        image: (3, H, W) RGB in [0, 1].
        meters_per_pixel: of the image, metres.
        descriptors: (D, h, w) unit descriptors of cells.
        cell_size_m: side of a cell, metres.
        seen: (h, w) bool, the cells with imagery; None where there is imagery everywhere.
    """

    image: Tensor
    meters_per_pixel: float
    descriptors: Tensor
    cell_size_m: float
    seen: Tensor | None = None


@dataclass(frozen=True)
class Found:
    """What a network and a solver make of a pair of images.

    Attributes:
        posterior: of the solver.
        hypotheses: modes, most massive first, scales in metres per unit of the depth that was used.
        cells: ground cells that took part.
        matches: point matches with inlier flags.
        depth: depth map used for lifting.
        solver: name of the solver.
        confidence: see :class:`loc2.localization.Localization`.
        statistics: of the posterior and the matches, by which answers are judged.
    """

    posterior: PosePosterior
    hypotheses: tuple[Hypothesis, ...]
    cells: GroundCells
    matches: Matches
    depth: DepthMap
    solver: str
    confidence: float
    statistics: Statistics


class Localizer:
    """Finds ground images in aerial images.

    Args:
        model: the network.
        weights: its name, for results.
        metadata: what its file says of it.
    """

    confidence_meaning = PROBABILITY
    """What the confidence of answers is: a probability, or something that only ranks them."""

    def __init__(self, model: Loc2Model, weights: str, metadata: dict[str, str]) -> None:
        self.model = model.eval()
        self.weights = weights
        self.metadata = metadata
        fitted = metadata.get("confidence")
        self.confidence_model = (
            UNCALIBRATED if fitted is None else ConfidenceModel.from_json(fitted)
        )

    @classmethod
    def from_pretrained(
        cls,
        weights: str | Path | None = None,
        device: str | None = None,
        precision: Precision = "auto",
    ) -> Localizer:
        """Load weights.

        Args:
            weights: file, or None for the default weights that come with the package.
            device: ``cpu``, ``cuda``, ``cuda:1``, ...; the CPU by default.
            precision: of the backbone of our own models; ``auto`` takes ``bfloat16`` where the
                device is much faster with it. Poses then differ between machines by centimetres.

        Raises:
            WeightsError: the weights cannot be read or are of another kind.
            InputError: there is no such device.
        """
        path = packaged_weights(DEFAULT_WEIGHTS) if weights is None else Path(weights)
        if read_metadata(path).get("format") == PUBLISHED_FORMAT:
            from loc2.published.localizer import PublishedLocalizer  # it builds on this module

            return PublishedLocalizer.load(path, _device(device))
        model, metadata = load_model(path, _device(device))
        fast = precision == "auto" and runs_bfloat16_fast(model.device)
        model.reduced_precision = precision == "bfloat16" or fast
        return cls(model, DEFAULT_WEIGHTS if weights is None else path.name, metadata)

    @property
    def precision(self) -> str:
        """Precision that the backbone runs in."""
        return "bfloat16" if self.model.reduced_precision else "float32"

    @property
    def default_depth(self) -> str:
        """What lifts ground cells where nothing else is asked for: ``own`` or ``flat``."""
        config = self.model.config
        return config.default_depth if config.head is not None else "flat"

    def aerial_input(self, longest_m: float) -> tuple[float, float]:
        """Return how a window is best shown to the network.

        Args:
            longest_m: longer side of the window, metres.

        Returns:
            The side of a window that is seen at full detail, metres, and the metres per pixel at
            which the network looks at this one.
        """
        config = self.model.config
        cells = min(max(round(longest_m / config.aerial_cell_m), 1), config.max_aerial_cells)
        patch_px = self.model.backbone.config.patch_size
        return config.aerial_cell_m * config.max_aerial_cells, longest_m / cells / patch_px

    def aerial_features(
        self, aerial: ImageLike, meters_per_pixel: float | None, valid: Tensor | None = None
    ) -> AerialFeatures:
        """Compute what localization needs of an aerial image.

        Args:
            aerial: north-up aerial image.
            meters_per_pixel: its ground sampling distance, metres.
            valid: (H, W) bool, where there is imagery; everywhere by default. Cells that are
                mostly without are neutral in the search.

        Raises:
            InputError: the image or the ground sampling distance cannot be used.
        """
        mpp = check_meters_per_pixel(meters_per_pixel)
        image = load_image(aerial, "aerial image")
        side_m = max(image.shape[-2:]) * mpp
        if not 4.0 <= side_m <= 20000.0:
            raise InputError(
                f"aerial image: {side_m:.3g} m wide at {mpp:g} metres per pixel; "
                "check metres per pixel (4 m to 20 km can be used)"
            )
        with torch.inference_mode():
            grid: AerialGrid = self.model.aerial_grid(image, mpp)
            descriptors = self.model.aerial_descriptors(grid.image)
            seen = None
            if valid is not None and not bool(valid.all()):
                cover = self.model.aerial_grid(valid.float().expand(3, -1, -1), mpp).image[:1]
                size = (descriptors.shape[-2], descriptors.shape[-1])
                seen = functional.adaptive_avg_pool2d(cover, size)[0] > 0.5
        return AerialFeatures(image, mpp, descriptors, grid.cell_size_m, seen)

    def localize(
        self,
        ground: ImageLike,
        aerial: ImageLike | AerialFeatures,
        *,
        camera: Camera | CameraSpec | str | Path | None = None,
        meters_per_pixel: float | None = None,
        heading_prior: HeadingPrior | tuple[float, float] | None = None,
        position_prior: PositionPrior | tuple[float, float, float] | None = None,
        depth: str | Path | DepthMap | DepthModel = "default",
        depth_unit: DepthUnit | None = None,
        depth_kind: DepthKind | None = None,
        camera_height_m: float | None = None,
        solver: Solver | None = None,
        seed: int = 0,
    ) -> Localization:
        """Find where a ground image was taken in an aerial image, and its heading.

        Args:
            ground: panorama or perspective photo.
            aerial: north-up aerial image that shows the place, or its features.
            camera: camera of the ground image, what is known of it, or a JSON file of that; None
                for a full panorama (an image of 2:1).
            meters_per_pixel: of the aerial image, metres (not with features, which know it).
            heading_prior: (degrees, half-width in degrees); the heading is searched only there.
            position_prior: (east_m, north_m, radius_m); the position is searched only there.
            depth: ``default`` (what the weights do best with), ``own`` (their depth head),
                ``flat`` or another model's name, a depth file, a map or a model.
            depth_unit: unit of a depth file.
            depth_kind: kind of a depth file.
            camera_height_m: height of the camera above the ground, metres; 2.5 for panoramas and
                1.6 for photos by default.
            solver: ``voting``, ``ransac`` or ``procrustes``; the weights' own by default.
            seed: of everything drawn at random.

        Returns:
            The pose with its uncertainty and what it rests on.

        Raises:
            InputError: something given cannot be used; the message says what and why.
        """
        timings: dict[str, float] = {}
        prior = _prior(heading_prior, position_prior)
        with timed(timings, "decode"):
            ground_image = load_image(ground, "ground image")
            camera, height_m = _camera(camera, ground_image, camera_height_m)
        with timed(timings, "aerial features"):
            if not isinstance(aerial, AerialFeatures):
                aerial = self.aerial_features(aerial, meters_per_pixel)
            elif meters_per_pixel is not None:
                raise InputError("meters_per_pixel: aerial features know it already; leave it out")
        _check_position(prior, aerial)
        with torch.inference_mode():
            found = self._find(
                ground_image,
                camera,
                height_m,
                aerial,
                prior,
                lambda own: _resolve_depth(
                    self.default_depth if depth == "default" else depth,
                    depth_unit,
                    depth_kind,
                    ground_image,
                    camera,
                    height_m,
                    own,
                ),
                solver,
                seed,
                timings,
            )
        posterior = found.posterior
        return Localization(
            pose=found.hypotheses[0].pose,
            covariance=posterior.covariance,
            confidence=found.confidence,
            hypotheses=found.hypotheses,
            matches=found.matches,
            cells=found.cells,
            heatmap=_heatmap(posterior, found.cells),
            depth=found.depth,
            camera=camera,
            ground_image=ground_image,
            aerial_image=aerial.image,
            meters_per_pixel=aerial.meters_per_pixel,
            timings_s=timings,
            weights=self.weights,
            settings={
                "heading_prior_deg": None if prior.heading_deg is None else prior.heading_deg,
                "heading_range_deg": prior.heading_range_deg,
                "position_prior_m": prior.position_m,
                "position_radius_m": (
                    prior.position_radius_m if math.isfinite(prior.position_radius_m) else None
                ),
                "depth": found.depth.source,
                "camera_height_m": height_m,
                "solver": found.solver,
                "seed": seed,
                "precision": self.precision,
                "confidence": self.confidence_meaning,
            },
            log_evidence=posterior.log_evidence,
            statistics=found.statistics,
            radius_90_m=self.confidence_model.radius_m(found.statistics),
            abstain_below=self.confidence_model.abstain_below,
        )

    def _find(
        self,
        image: Tensor,
        camera: Camera,
        height_m: float,
        aerial: AerialFeatures,
        prior: PosePrior,
        resolve_depth: Callable[[Callable[[], DepthMap | None]], DepthMap],
        solver: Solver | None,
        seed: int,
        timings: dict[str, float],
    ) -> Found:
        """Describe, lift, match and solve: what depends on the kind of network.

        Args:
            image: (3, H, W) ground image.
            camera: its camera.
            height_m: its height above the ground, metres.
            aerial: what :meth:`aerial_features` made.
            prior: what is known before matching.
            resolve_depth: gives the depth that was asked for; it is told how to get the network's
                own, which may be None.
            solver: what was asked for; None for voting.
            seed: of everything drawn at random.
            timings: seconds for each stage, filled in.
        """
        with timed(timings, "ground features"):
            grid = self.model.ground_grid(image, camera)
            features = self.model.features(grid.image[None])
            rays = grid.cell_rays()[None].to(features)
            description = self.model.describe_ground(features, rays, grid.wrap)
        with timed(timings, "depth"):
            depth_map = resolve_depth(lambda: spread_head(description, grid, camera, height_m))
        with timed(timings, "matching"):
            cells, unit_m = self._match(description, grid, depth_map, camera, height_m, aerial)
        with timed(timings, "pose"):
            scale: ScaleOption = 1.0 if depth_map.levelled else SCALE_BOUNDS
            if solver in (None, "voting"):
                posterior = vote(
                    cells.evidence,
                    cells.bev * unit_m,
                    cell_size_m=cells.cell_size_m,
                    weights=cells.weight,
                    scale=scale,
                    prior=prior,
                    temperature=self.model.config.vote_temperature,
                )
            else:
                height_px, width_px = aerial.image.shape[-2:]
                probability, target_px = likeliest_cells(
                    cells, width_px, height_px, aerial.meters_per_pixel
                )
                half_m = (
                    width_px * aerial.meters_per_pixel / 2,
                    height_px * aerial.meters_per_pixel / 2,
                )
                target_m = aerial_px_to_m(target_px, width_px, height_px, aerial.meters_per_pixel)
                posterior = solve(
                    MatchList(cells.bev * unit_m, target_m, probability * cells.weight),
                    half_size_m=half_m,
                    solver=solver,
                    scale=scale,
                    prior=prior,
                    inlier_m=INLIER_M,
                    seed=seed,
                ).posterior
        hypotheses = tuple(
            Hypothesis(
                replace(mode.pose, scale=mode.pose.scale * unit_m), mode.mass, mode.covariance
            )
            for mode in posterior.modes
        )
        height_px, width_px = aerial.image.shape[-2:]
        matches = explaining_matches(
            cells, hypotheses[0].pose, width_px, height_px, aerial.meters_per_pixel
        )
        judged_by = statistics(
            posterior,
            source=cells.bev * unit_m,
            weights=matches.weight,
            inlier=matches.inlier,
            half_size_m=(
                width_px * aerial.meters_per_pixel / 2,
                height_px * aerial.meters_per_pixel / 2,
            ),
        )
        return Found(
            posterior,
            hypotheses,
            cells,
            matches,
            depth_map,
            solver or "voting",
            self.confidence_model.confidence(judged_by),
            judged_by,
        )

    def _match(
        self,
        description: GroundDescription,
        grid: GroundGrid,
        depth_map: DepthMap,
        camera: Camera,
        height_m: float,
        aerial: AerialFeatures,
    ) -> tuple[GroundCells, float]:
        """Lift the ground cells and compare them with every aerial cell.

        Returns:
            The cells, and the metres per unit of depth that the camera's height implies.
        """
        config = self.model.config
        uv_px = grid.cell_pixels(camera.width).reshape(-1, 2)
        points, valid = lift_pixels(depth_map, camera, uv_px)
        unit_m = 1.0
        if not depth_map.levelled:
            implied = implied_camera_height(points, valid)
            if implied is not None:
                unit_m = height_m / implied
            elif not depth_map.metric:
                raise InputError(
                    "depth: relative, and too little ground is seen to find its scale; "
                    "a photo that shows the ground below the horizon is needed"
                )
        distance_m = points[:, :2].norm(dim=1) * unit_m
        valid &= (distance_m >= config.min_range_m) & (distance_m <= config.max_range_m)
        if not valid.any():
            raise InputError("depth: no part of the ground image has a usable depth")
        descriptors = description.descriptors[0].flatten(1).T[valid.to(self.model.device)]
        seen = None if aerial.seen is None else aerial.seen.to(descriptors.device)
        evidence = evidence_map(descriptors, aerial.descriptors, seen)
        weight = description.weight[0].flatten()[valid.to(self.model.device)]
        cells = GroundCells(
            ground_px=uv_px[valid],
            bev=points[valid][:, :2],
            weight=(weight / weight.sum()).cpu(),
            evidence=evidence.cpu(),
            cell_size_m=aerial.cell_size_m,
        )
        return cells, unit_m


def _device(name: str | None) -> torch.device:
    try:
        device = torch.device(name or "cpu")
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device {name}: not available on this machine") from error
    return device


@contextmanager
def timed(timings: dict[str, float], stage: str) -> Iterator[None]:
    """Add the seconds that the block takes to the timings of a stage."""
    start = time.perf_counter()
    yield
    timings[stage] = time.perf_counter() - start


def check_meters_per_pixel(value: float | None) -> float:
    """Return a ground sampling distance that can be used.

    Raises:
        InputError: it is missing, or not a positive number.
    """
    if value is None:
        raise InputError("metres per pixel of the aerial image missing; give --meters-per-pixel")
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"metres per pixel must be a positive number, got {value}")
    return float(value)


def _prior(
    heading: HeadingPrior | tuple[float, float] | None,
    position: PositionPrior | tuple[float, float, float] | None,
) -> PosePrior:
    if heading is not None and not isinstance(heading, HeadingPrior):
        heading = HeadingPrior(*heading)
    if position is not None and not isinstance(position, PositionPrior):
        position = PositionPrior(*position)
    if heading is not None and not (
        math.isfinite(heading.center_deg) and 0 < heading.range_deg <= 180
    ):
        raise InputError("heading prior: needs a heading and a half-width in (0, 180] degrees")
    if position is not None and not (
        math.isfinite(position.east_m + position.north_m) and position.radius_m > 0
    ):
        raise InputError("position prior: needs finite east and north and a positive radius")
    return PosePrior(
        heading_deg=None if heading is None else heading.center_deg % 360.0,
        heading_range_deg=180.0 if heading is None else heading.range_deg,
        position_m=None if position is None else (position.east_m, position.north_m),
        position_radius_m=math.inf if position is None else position.radius_m,
    )


def _check_position(prior: PosePrior, aerial: AerialFeatures) -> None:
    if prior.position_m is None:
        return
    height_px, width_px = aerial.image.shape[-2:]
    for center_m, side_px in zip(prior.position_m, (width_px, height_px), strict=True):
        if abs(center_m) - prior.position_radius_m > side_px * aerial.meters_per_pixel / 2:
            raise InputError("position prior: lies outside the aerial image")


def _camera(
    camera: Camera | CameraSpec | str | Path | None, image: Tensor, height_m: float | None
) -> tuple[Camera, float]:
    height_px, width_px = image.shape[-2:]
    if isinstance(camera, (str, Path)):
        camera = read_camera_file(camera)
    if camera is None:
        camera = CameraSpec()
    if isinstance(camera, CameraSpec):
        height_m = height_m if height_m is not None else camera.camera_height_m
        camera = resolve_camera(camera, width_px, height_px)
    if (camera.width, camera.height) != (width_px, height_px):
        raise InputError(
            f"camera: made for {camera.width}x{camera.height}, the image is {width_px}x{height_px}"
        )
    if height_m is None:
        height_m = PANORAMA_HEIGHT_M if isinstance(camera, Equirectangular) else PINHOLE_HEIGHT_M
    if not (math.isfinite(height_m) and height_m > 0):
        raise InputError(f"camera height must be a positive number of metres, got {height_m}")
    return camera, float(height_m)


def _resolve_depth(
    depth: str | Path | DepthMap | DepthModel,
    unit: DepthUnit | None,
    kind: DepthKind | None,
    image: Tensor,
    camera: Camera,
    height_m: float,
    own: Callable[[], DepthMap | None],
) -> DepthMap:
    is_file = isinstance(depth, Path) or (
        isinstance(depth, str) and Path(depth).suffix != "" and not is_depth_model(depth)
    )
    if not is_file and (unit is not None or kind is not None):
        raise InputError("depth unit and kind belong to a depth file; none was given")
    if isinstance(depth, DepthMap):
        return depth
    if is_file:
        return load_depth(str(depth), camera, unit, kind)
    if isinstance(depth, str):
        if depth == "own":
            estimated = own()
            if estimated is None:
                raise InputError("depth 'own': these weights have no depth head; use 'flat'")
            return estimated
        return make_depth_model(depth, height_m)(image, camera)
    if isinstance(depth, Path):  # unreachable, but it narrows the type
        return load_depth(depth, camera, unit, kind)
    return depth(image, camera)


def _heatmap(posterior: PosePosterior, cells: GroundCells) -> Heatmap:
    _, rows, cols = cells.evidence.shape
    half_m = (cols * cells.cell_size_m / 2, rows * cells.cell_size_m / 2)
    bins = (round(2 * half_m[1] / _HEATMAP_STEP_M), round(2 * half_m[0] / _HEATMAP_STEP_M))
    position = posterior.heatmap(max(bins[0], 1), max(bins[1], 1), half_m)
    step_deg = 360.0 / _HEADING_BINS
    index = torch.round(posterior.poses[:, 2] / step_deg).long() % _HEADING_BINS
    heading = posterior.probability.new_zeros(_HEADING_BINS)
    heading.index_add_(0, index, posterior.probability)
    return Heatmap(position, 2 * half_m[1] / max(bins[0], 1), heading)
