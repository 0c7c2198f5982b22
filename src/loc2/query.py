"""What is asked about one ground image, and how what is asked becomes camera, prior and depth."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from loc2.cameras import Camera, DepthKind, Equirectangular
from loc2.depth import (
    HEAD_DEPTHS,
    DepthMap,
    DepthModel,
    DepthUnit,
    is_depth_model,
    load_depth,
    make_depth_model,
)
from loc2.errors import InputError
from loc2.inputs import CameraSpec, ImageLike, read_camera_file, resolve_camera
from loc2.pose.posterior import PosePrior
from loc2.pose.solve import Solver
from loc2.views import AerialFeatures, AerialView, GroundView

PANORAMA_HEIGHT_M = 2.5
"""Camera height assumed for panoramas, which mostly come from vehicles, metres."""
PINHOLE_HEIGHT_M = 1.6
"""Camera height assumed for photos, which mostly come from hands, metres."""
HEIGHT_SIGMA = 0.1
HEIGHT_BOUNDS = (0.8, 1.25)
"""How wrong a camera's height may be where depth rests on it, as the standard deviation of its
logarithm and at most, as a factor: it is a guess mostly, and the ground is seldom level."""
SCALE_BOUNDS = (0.7, 1.4)
"""How far the scale of other depth may lie from what the camera's height implies."""


@dataclass(frozen=True)
class HeadingPrior:
    """The heading is known to lie within ``center_deg`` plus or minus ``range_deg``."""

    center_deg: float
    range_deg: float


@dataclass(frozen=True)
class PositionPrior:
    """The position is known to lie within ``radius_m`` of (``east_m``, ``north_m``).

    All positions within are equally likely; an infinite radius says that nothing is known, not
    even that the window was laid around a guess.
    """

    east_m: float
    north_m: float
    radius_m: float


@dataclass(frozen=True)
class Query:
    """The arguments of :meth:`loc2.localizer.Localizer.localize`, for localizing many.

    Attributes:
        ground: panorama or perspective photo.
        aerial: north-up aerial image that shows the place, or its features; an image given by
            path is read, and described, once for all queries that name it one after another.
        camera: of the ground image.
        meters_per_pixel: of the aerial image, metres.
        heading_prior: (degrees, half-width in degrees).
        position_prior: (east_m, north_m, radius_m).
        depth: ``default``, a depth model's name, a file, a map or a model.
        depth_unit: unit of a depth file.
        depth_kind: kind of a depth file.
        camera_height_m: height of the camera above the ground, metres.
        solver: ``voting``, ``ransac`` or ``procrustes``.
        seed: of everything drawn at random.
    """

    ground: ImageLike | GroundView
    aerial: ImageLike | AerialFeatures | AerialView
    camera: Camera | CameraSpec | str | Path | None = None
    meters_per_pixel: float | None = None
    heading_prior: HeadingPrior | tuple[float, float] | None = None
    position_prior: PositionPrior | tuple[float, float, float] | None = None
    depth: str | Path | DepthMap | DepthModel = "default"
    depth_unit: DepthUnit | None = None
    depth_kind: DepthKind | None = None
    camera_height_m: float | None = None
    solver: Solver | None = None
    seed: int = 0


def pose_prior(
    heading: HeadingPrior | tuple[float, float] | None,
    position: PositionPrior | tuple[float, float, float] | None,
) -> PosePrior:
    """Return what is known before matching.

    Raises:
        InputError: a number is not finite or out of range.
    """
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


def scale_prior(
    prior: PosePrior, levelled: bool, solver: Solver | None = None
) -> tuple[PosePrior, tuple[float, float]]:
    """Add what is known of the depth's scale.

    Args:
        prior: what else is known before matching.
        levelled: whether depth rests on the camera's height, see :class:`loc2.depth.DepthMap`.
        solver: what searches; voting by default.

    Returns:
        The prior with that, and the smallest and largest scale to search, both over what the
        camera's height implies.
    """
    if not levelled:
        return prior, SCALE_BOUNDS
    if solver == "procrustes":
        return prior, (1.0, 1.0)  # a wrong match makes the scale of least squares smaller
    return replace(prior, log_scale_sigma=HEIGHT_SIGMA), HEIGHT_BOUNDS


def prior_settings(prior: PosePrior) -> dict[str, object]:
    """Return what was known before matching as an answer's settings state it; None for nothing."""
    radius_m = prior.position_radius_m if math.isfinite(prior.position_radius_m) else None
    return {
        "heading_prior_deg": prior.heading_deg,
        "heading_range_deg": prior.heading_range_deg,
        "position_prior_m": None if radius_m is None else prior.position_m,
        "position_radius_m": radius_m,
        "center_sigma_m": prior.position_sigma_m,
        "camera_height_sigma": prior.log_scale_sigma,
    }


def place_prior(prior: PosePrior, aerial: AerialFeatures, center_sigma: float | None) -> PosePrior:
    """Expect the camera about the window's centre where nothing is known of its position.

    Args:
        prior: what is known.
        aerial: the window.
        center_sigma: standard deviation along each axis as a share of the window's longer side;
            None expects the camera anywhere alike.

    Raises:
        InputError: what is known of the position misses the window.
    """
    height_m, width_m = (side * aerial.meters_per_pixel for side in aerial.image.shape[-2:])
    if prior.position_m is None:
        if center_sigma is None:
            return prior
        sigma_m = center_sigma * max(height_m, width_m)
        return replace(prior, position_m=(0.0, 0.0), position_sigma_m=sigma_m)
    if prior.misses((width_m / 2, height_m / 2)):
        raise InputError("position prior: lies outside the aerial image")
    # Less than a cell is cropped at the border; what lies only there is searched at the nearest.
    reach_m = prior.beyond_m(aerial.half_size_m) * (1 + 1e-6)
    return replace(prior, position_radius_m=max(prior.position_radius_m, reach_m))


def camera_of(
    camera: Camera | CameraSpec | str | Path | None, image: Tensor, height_m: float | None
) -> tuple[Camera, float]:
    """Return the camera of a (3, H, W) image and its height above the ground, metres.

    Raises:
        InputError: the camera does not fit the image, cannot be read, or the height is no height.
    """
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


def resolve_depth(
    depth: str | Path | DepthMap | DepthModel,
    unit: DepthUnit | None,
    kind: DepthKind | None,
    ground: GroundView,
    head: Callable[[str], DepthMap],
    device: str = "cpu",
) -> DepthMap:
    """Return the depth that was asked for.

    Args:
        depth: a file, a model's name, a map or a model.
        unit: of a depth file.
        kind: of a depth file.
        ground: the ground image.
        head: gives the network's own depth, see :func:`loc2.depth.own.head_depth`.
        device: where a depth model that is asked for by name runs.

    Raises:
        InputError: the file or name cannot be used, or the network has no depth of its own.
    """
    if isinstance(depth, Path) or (
        isinstance(depth, str) and Path(depth).suffix != "" and not is_depth_model(depth)
    ):
        return load_depth(str(depth), ground.camera, unit, kind)
    if unit is not None or kind is not None:
        raise InputError("depth unit and kind belong to a depth file; none was given")
    if isinstance(depth, DepthMap):
        return depth
    if isinstance(depth, str):
        if depth in HEAD_DEPTHS:
            return head(depth)
        return make_depth_model(depth, ground.height_m, device)(ground.image, ground.camera)
    return depth(ground.image, ground.camera)
