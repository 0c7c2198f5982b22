"""The facade: images in, pose with uncertainty and reasons out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal, get_args

import torch

from loc2.cameras import Camera, DepthKind
from loc2.depth import DepthMap, DepthModel, DepthUnit
from loc2.depth.own import head_depth
from loc2.describing import Describer
from loc2.errors import InputError
from loc2.found import Found, hypotheses_of, timed
from loc2.inputs import CameraSpec, ImageLike
from loc2.lifting import (
    ground_cells,
    heatmap_of,
    other_cells,
    second_opinion,
    with_far_cells,
)
from loc2.localization import PROBABILITY, Localization
from loc2.many import localize_many
from loc2.matching.explain import explaining_matches
from loc2.model import Loc2Model, load_model, named_device, packaged_weights, runs_bfloat16_fast
from loc2.pose.confidence import UNCALIBRATED, ConfidenceModel, statistics
from loc2.pose.posterior import PosePrior
from loc2.pose.solve import Solver
from loc2.published.model import FORMAT as PUBLISHED_FORMAT
from loc2.published.model import read_metadata
from loc2.query import (
    HeadingPrior,
    PositionPrior,
    Query,
    place_prior,
    pose_prior,
    prior_settings,
    resolve_depth,
    scale_prior,
)
from loc2.solving import posterior_of
from loc2.views import (
    AerialFeatures,
    AerialView,
    GroundView,
)

DEFAULT_WEIGHTS = "default"
Precision = Literal["auto", "float32", "bfloat16"]


class Localizer(Describer):
    """Finds ground images in aerial images.

    Args:
        model: the network.
        weights: its name, for results.
        metadata: what its file says of it.
    """

    confidence_meaning = PROBABILITY
    """What the confidence of answers is: a probability, or something that only ranks them."""

    def __init__(self, model: Loc2Model, weights: str, metadata: dict[str, str]) -> None:
        super().__init__(model)
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
            InputError: there is no such device or precision.
        """
        if precision not in get_args(Precision):
            raise InputError(f"precision {precision!r}: use {', '.join(get_args(Precision))}")
        path = packaged_weights(DEFAULT_WEIGHTS) if weights is None else Path(weights)
        if read_metadata(path).get("format") == PUBLISHED_FORMAT:
            from loc2.published.localizer import PublishedLocalizer  # it builds on this module

            return PublishedLocalizer.load(path, named_device(device))
        model, metadata = load_model(path, named_device(device))
        fast = precision == "auto" and runs_bfloat16_fast(model.device)
        model.reduced_precision = precision == "bfloat16" or fast
        return cls(model, DEFAULT_WEIGHTS if weights is None else path.name, metadata)

    @property
    def precision(self) -> str:
        """Precision that the backbone runs in."""
        return "bfloat16" if self.model.reduced_precision else "float32"

    @property
    def tells_depth(self) -> bool:
        """Whether the weights have a depth head."""
        return self.model.config.head is not None

    @property
    def center_sigma(self) -> float | None:
        """Where the camera is expected without a position prior; see :class:`ModelConfig`."""
        return self.model.config.center_sigma

    def default_depth(self, photo: bool = False) -> str:
        """Return what lifts ground cells where nothing else is asked for.

        Args:
            photo: whether a perspective photo is lifted.

        Returns:
            ``own``, ``ground`` or ``flat``, as :attr:`ModelConfig.default_depth` says.
        """
        config = self.model.config
        if not self.tells_depth:
            return "flat"
        return (config.photo_depth if photo else None) or config.default_depth

    def default_far_share(self, photo: bool = False) -> float:
        """Return how much far cells weigh in the vote where nothing else is asked for.

        They are lifted by the depth head, besides what :meth:`default_depth` lifts.

        Args:
            photo: whether a perspective photo is lifted.

        Returns:
            Their weight beside that of all others, as :attr:`ModelConfig.far_share` says.
        """
        return 0.0 if photo or not self.tells_depth else self.model.config.far_share

    def localize(
        self,
        ground: ImageLike | GroundView,
        aerial: ImageLike | AerialFeatures | AerialView,
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
            ground: panorama or perspective photo, or a view of it.
            aerial: north-up aerial image that shows the place, or a view or features of it.
            camera: camera of the ground image, what is known of it, or a JSON file of that; None
                for a full panorama (an image of 2:1).
            meters_per_pixel: of the aerial image, metres (features and views know it already).
            heading_prior: (degrees, half-width in degrees); the heading is searched only there.
            position_prior: (east_m, north_m, radius_m); the position is searched only there. By
                default see :attr:`center_sigma`; a radius of ``math.inf`` says "anywhere".
            depth: ``default`` (what the weights do best with), ``own`` (their depth head),
                ``ground`` (level ground where that head sees ground), ``flat`` or another
                model's name, a depth file, a map or a model.
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
        if solver not in (None, *get_args(Solver)):
            raise InputError(f"solver {solver!r}: use {', '.join(get_args(Solver))}")
        prior = pose_prior(heading_prior, position_prior)
        if not isinstance(ground, GroundView):
            ground = self.ground_view(ground, camera, camera_height_m)
        elif camera is not None or camera_height_m is not None:
            raise InputError("camera: a ground view knows it already; leave it out")
        timings = {"decode": ground.decode_s}
        with timed(timings, "aerial features"):
            if not isinstance(aerial, (AerialFeatures, AerialView)):
                aerial = self.aerial_view(aerial, meters_per_pixel, photo=ground.is_photo)
            elif meters_per_pixel is not None:
                raise InputError("meters_per_pixel: aerial features know it already; leave it out")
            if isinstance(aerial, AerialView):
                aerial = self._features(aerial)
            prior = place_prior(prior, aerial, self.center_sigma)
        self.describe((ground,), ())
        timings["ground features"] = ground.network_s
        asked, view, far_share = depth, ground, 0.0
        if depth == "default":
            asked = self.default_depth(ground.is_photo)
            if solver in (None, "voting"):
                far_share = self.default_far_share(ground.is_photo)
        with torch.inference_mode():
            found = self._find(
                ground,
                aerial,
                prior,
                lambda head: resolve_depth(
                    asked, depth_unit, depth_kind, view, head, str(self.model.device)
                ),
                far_share,
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
            heatmap=heatmap_of(posterior, found.cells),
            depth=found.depth,
            camera=ground.camera,
            ground_image=ground.image,
            aerial_image=aerial.image,
            meters_per_pixel=aerial.meters_per_pixel,
            timings_s=timings,
            weights=self.weights,
            settings={
                **prior_settings(found.prior),
                "depth": found.depth.source,
                "far_share": found.far_share,
                "camera_height_m": ground.height_m,
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

    def localize_batch(
        self,
        queries: Iterable[Query],
        *,
        batch_size: int | None = None,
        readers: int = 2,
        solvers: int | None = None,
        aerial_cache_bytes: int = 1 << 30,
    ) -> Iterator[Localization | Exception]:
        """Localize many ground images; while some are solved, the next are read and described.

        The answers come in the order of the queries, and are those of :meth:`localize` to
        rounding (with a batch size of one and as many threads: bit for bit). Queries are read as
        they are needed, so there may be any number of them; about
        ``2 * batch_size + readers + solvers`` are in memory.

        Args:
            queries: what :meth:`localize` would be asked.
            batch_size: most images that go through the network together; by default 1 on the CPU,
                where images are large enough to keep it busy, and 16 elsewhere.
            readers: threads that read and resample images.
            solvers: threads that match and solve. By default one; on the CPU, where they run the
                network too, as many as PyTorch has threads, among which those are divided.
            aerial_cache_bytes: memory for aerial images given by path, which are read and
                described once while they are kept.

        Yields:
            The answer to each query, or the error for which it has none (an
            :class:`loc2.errors.Loc2Error` for what the user can mend).
        """
        return localize_many(
            self,
            queries,
            batch_size=batch_size or self.default_batch_size,
            readers=readers,
            solvers=solvers,
            aerial_cache_bytes=aerial_cache_bytes,
        )

    @property
    def default_batch_size(self) -> int:
        """Images that go through the network together where nothing else is asked for."""
        return 1 if self.model.device.type == "cpu" else 16

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
        """Lift, match and solve: what depends on the kind of network.

        Args:
            ground: the ground image, described.
            aerial: what :meth:`aerial_features` made.
            prior: what is known before matching.
            resolve_depth: gives the depth that was asked for; it is told how to get the network's
                own by name.
            far_share: see :meth:`default_far_share`.
            solver: what was asked for; None for voting.
            seed: of everything drawn at random.
            timings: seconds for each stage, filled in.
        """
        description, grid = ground.description, ground.grid
        assert description is not None and grid is not None
        config = self.model.config
        with timed(timings, "depth"):
            depth_map = resolve_depth(
                lambda name: head_depth(
                    name, description.depth, grid, ground.camera, ground.height_m, config.range_m
                )
            )
        with timed(timings, "matching"):
            cells, unit_m = ground_cells(ground, depth_map, aerial, config.range_m)
            other = other_cells(ground, depth_map, aerial, config.range_m)
            voting, joined_share = cells, 0.0
            if far_share and other is not None:
                voting, joined_share = with_far_cells(cells, other, far_share)
        height_px, width_px = aerial.image.shape[-2:]
        half_m = (width_px * aerial.meters_per_pixel / 2, height_px * aerial.meters_per_pixel / 2)
        with timed(timings, "pose"):
            prior, scale = scale_prior(prior, depth_map.levelled, solver)
            posterior = posterior_of(
                voting,
                aerial,
                unit_m,
                half_size_m=half_m,
                solver=solver or "voting",
                scale=scale,
                prior=prior,
                temperature=config.vote_temperature,
                seed=seed,
                parts=self.model.aerial_parts,
            )
        hypotheses = hypotheses_of(posterior.modes, unit_m)
        # Single matches are no finer than what one look at the aerial image tells apart.
        cells = cells.over_squares(self.model.aerial_parts)
        matches = explaining_matches(
            cells, hypotheses[0].pose, width_px, height_px, aerial.meters_per_pixel
        )
        with timed(timings, "second opinion"):
            opinion = None
            if other is not None:
                opinion = second_opinion(other, posterior, config.vote_temperature)
        judged_by = statistics(
            posterior,
            source=cells.bev * unit_m,
            weights=matches.weight,
            inlier=matches.inlier,
            half_size_m=half_m,
            other=opinion,
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
            prior,
            joined_share,
        )
