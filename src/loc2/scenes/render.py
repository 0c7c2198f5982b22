"""The two views of a place: what a camera in the street sees, and the orthophoto.

World frame: metres, x east, y north, z up. Images are (3, H, W) float32 linear radiance; the
camera's development into sRGB is in :mod:`loc2.scenes.sensor`. The same input gives the same
output bit for bit on one machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numba import njit
from numpy.typing import ArrayLike, NDArray

from loc2.cameras import Camera, Equirectangular, Pinhole
from loc2.frames import heading_to_rotation
from loc2.scenes.light import Light, build_light_field
from loc2.scenes.mesh import Mesh
from loc2.scenes.packed import PackedMesh, fill_seen, pack
from loc2.scenes.raster import draw_cube, draw_parallel, draw_perspective
from loc2.scenes.resolve import resolve_aerial, resolve_ground

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
UInt8 = NDArray[np.uint8]
Terrain = Callable[[Float32, Float32], Float32]
"""Height of the ground, metres, at (east, north) arrays, metres."""

GROUND_SHADOW_RADII_M = (16.0, 90.0)
"""Half the widths of the sun's shadow maps around a ground camera, metres."""


@dataclass(frozen=True, eq=False)
class GroundRender:
    """A ground view with its truth.

    Attributes:
        rgb: (3, H, W) linear radiance.
        range_m: (H, W) distance along the ray of each pixel's centre, metres; inf is sky.
        classes: (H, W) values of ``SemanticClass``.
        camera: the camera.
        position: (3,) camera position (east, north, up), metres.
        heading_deg: degrees clockwise from north to the camera's forward axis.
        rays: (H, W, 3) unit rays of the pixels in world axes; None to derive them again.
    """

    rgb: Float32
    range_m: Float32
    classes: UInt8
    camera: Camera
    position: Float64
    heading_deg: float
    rays: Float32 | None = field(default=None, repr=False)

    @property
    def depth_m(self) -> Float32:
        """(H, W) depth of the camera's own kind: z for a pinhole, range for a panorama."""
        if self.camera.depth_kind == "range":
            return self.range_m
        factor = self.camera.range_per_depth(_pixel_centers(self.camera, 0), "z").numpy()
        depth: Float32 = (self.range_m / factor).astype(np.float32)
        return depth

    @property
    def points_m(self) -> Float32:
        """(H, W, 3) world points (east, north, up) of the pixels, inf or nan in the sky."""
        with np.errstate(invalid="ignore"):
            points = self.points_at(np.ones(self.range_m.shape, np.bool_))
        return points.reshape(*self.range_m.shape, 3)

    def points_at(self, mask: NDArray[np.bool_]) -> Float32:
        """Return (N, 3) world points (east, north, up) of the pixels of an (H, W) mask, metres."""
        rays = self.rays
        if rays is None:
            rays = _world_rays(self.camera, self.heading_deg, 0)
        points: Float32 = rays[mask] * self.range_m[mask][:, None]
        points += self.position.astype(np.float32)
        return points


@dataclass(frozen=True, eq=False)
class AerialRender:
    """A view from above with its truth.

    Attributes:
        rgb: (3, H, W) linear radiance.
        height_m: (H, W) height z of the topmost surface, metres; -inf outside the mesh.
        classes: (H, W) values of ``SemanticClass``.
        center: (2,) world position (east, north) of the image's centre, metres.
        meters_per_pixel: ground sampling distance.
        rotation_deg: compass direction of image up, degrees clockwise from north.
        lean: shift to image (right, up), metres, of what stands one metre above the ground.
        terrain: the ground that stays in place when the rest leans; None is z = 0.
    """

    rgb: Float32
    height_m: Float32
    classes: UInt8
    center: Float64
    meters_per_pixel: float
    rotation_deg: float
    lean: tuple[float, float]
    terrain: Terrain | None

    def to_pixels(self, points: NDArray[np.floating]) -> Float32:
        """Return (..., 2) pixels (u, v) where world points (..., 3) appear, lean included."""
        height, width = self.height_m.shape
        flat = _aerial_screen(
            points.reshape(-1, 3), self.center, width, height, self.meters_per_pixel,
            self.rotation_deg, self.lean, self.terrain,
        )  # fmt: skip
        return np.ascontiguousarray(flat[:, :2]).reshape((*points.shape[:-1], 2))


def render_ground(
    mesh: Mesh | PackedMesh,
    camera: Camera,
    position: ArrayLike,
    heading_deg: float,
    *,
    light: Light,
    shadow_radii_m: tuple[float, ...] = GROUND_SHADOW_RADII_M,
) -> GroundRender:
    """Render what a ground camera sees.

    Panoramas are looked up in six square views around the camera, drawn twice as dense as the
    panorama; pinhole views are drawn directly. Four samples a pixel.

    Args:
        mesh: the scene; pack it once with :func:`loc2.scenes.packed.pack` for several views.
        camera: the camera with its roll and pitch.
        position: (3,) its position (east, north, up), metres.
        heading_deg: degrees clockwise from north to its forward axis.
        light: the illumination.
        shadow_radii_m: half the widths of the sun's shadow maps, finest first, metres.
    """
    packed = pack(mesh, fill=False) if isinstance(mesh, Mesh) else mesh
    origin = np.asarray(position, np.float64)
    lit = build_light_field(packed, light, origin, shadow_radii_m)
    offset = packed.vertices - origin.astype(np.float32)
    rays = _world_rays(camera, heading_deg, 1)
    if isinstance(camera, Pinhole):
        samples = _pinhole_samples(packed, offset, camera, heading_deg)[None]
    else:
        samples = _cube_samples(packed, offset, camera, rays)
    if isinstance(mesh, Mesh):
        fill_seen(packed, mesh.materials, samples)
    rgb = np.empty((camera.height, camera.width, 3), np.float32)
    distance = np.empty((camera.height, camera.width), np.float32)
    classes = np.empty((camera.height, camera.width), np.uint8)
    resolve_ground(
        packed, lit, offset, origin, rays, samples, not isinstance(camera, Pinhole),
        rgb, distance, classes,
    )  # fmt: skip
    return GroundRender(
        rgb=np.ascontiguousarray(rgb.transpose(2, 0, 1)),
        range_m=distance,
        classes=classes,
        camera=camera,
        position=origin,
        heading_deg=float(heading_deg),
        rays=rays[:-1, :-1],
    )


def render_aerial(
    mesh: Mesh | PackedMesh,
    center: ArrayLike,
    width: int,
    height: int,
    meters_per_pixel: float,
    *,
    light: Light,
    rotation_deg: float = 0.0,
    lean: tuple[float, float] = (0.0, 0.0),
    terrain: Terrain | None = None,
) -> AerialRender:
    """Render an orthophoto.

    Args:
        mesh: the scene; pack it once with :func:`loc2.scenes.packed.pack` for several views.
        center: (2,) world position (east, north) of the image's centre, metres.
        width: pixels.
        height: pixels.
        meters_per_pixel: ground sampling distance, metres per pixel.
        light: the illumination.
        rotation_deg: compass direction of image up, degrees clockwise from north.
        lean: shift to image (right, up), metres, of what stands one metre above the ground, as
            orthophotos made with a terrain model show buildings.
        terrain: heights of the ground that stays in place when the rest leans; None is z = 0.
    """
    packed = pack(mesh, fill=False) if isinstance(mesh, Mesh) else mesh
    middle = np.asarray(center, np.float64)
    screen = _aerial_screen(
        packed.vertices, middle, width, height, meters_per_pixel, rotation_deg, lean, terrain
    )
    fine = screen * np.array([2.0, 2.0, 1.0], np.float32)
    samples = draw_parallel(packed, fine, 2 * width, 2 * height)
    if isinstance(mesh, Mesh):
        fill_seen(packed, mesh.materials, samples)
    inside = (
        (screen[:, 0] > 0) & (screen[:, 0] < width) & (screen[:, 1] > 0) & (screen[:, 1] < height)
    )
    level = float(np.median(packed.vertices[inside, 2])) if inside.any() else 0.0
    radius_m = 0.5 * math.hypot(width, height) * meters_per_pixel + 5.0
    lit = build_light_field(packed, light, np.append(middle, level), (radius_m,))
    # a line of sight is what the lean maps to one point: one metre down, lean to image left, down
    sight = _image_to_world(rotation_deg) @ np.array([lean[0], lean[1]])
    view = np.array([sight[0], sight[1], -1.0])
    view /= np.linalg.norm(view)
    rgb = np.empty((height, width, 3), np.float32)
    top = np.empty((height, width), np.float32)
    classes = np.empty((height, width), np.uint8)
    resolve_aerial(packed, lit, screen, samples, view, rgb, top, classes)
    return AerialRender(
        rgb=np.ascontiguousarray(rgb.transpose(2, 0, 1)),
        height_m=top,
        classes=classes,
        center=middle,
        meters_per_pixel=float(meters_per_pixel),
        rotation_deg=float(rotation_deg),
        lean=(float(lean[0]), float(lean[1])),
        terrain=terrain,
    )


def visible_from_above(
    ground: GroundRender, aerial: AerialRender, tolerance_m: float = 0.3
) -> NDArray[np.bool_]:
    """Return which ground pixels show a point that the orthophoto shows too.

    A point counts when the topmost surface at its pixel of the orthophoto is as high as the point,
    within the tolerance and half a pixel of slope; or, on leaning facades where one pixel spans
    metres of height, when that surface is of the point's class and within a pixel's span.

    Args:
        ground: the ground view.
        aerial: the orthophoto of the same place.
        tolerance_m: difference of height that is allowed, metres.

    Returns:
        (H, W) bool; false in the sky, outside the orthophoto, and under what covers the point.
    """
    seen = np.isfinite(ground.range_m)
    points = ground.points_at(seen)
    slack_m = tolerance_m + 0.5 * aerial.meters_per_pixel
    lean = math.hypot(*aerial.lean)
    span_m = aerial.meters_per_pixel / lean if lean > 0.0 else 0.0
    within = np.zeros(len(points), np.bool_)
    _on_top(points, ground.classes[seen], aerial.to_pixels(points), aerial.height_m, aerial.classes,
            slack_m, span_m, within)  # fmt: skip
    visible = np.zeros(seen.shape, np.bool_)
    visible[seen] = within
    return visible


def world_to_aerial_m(
    points_xy: ArrayLike, center: ArrayLike, rotation_deg: float = 0.0
) -> Float64:
    """Return (..., 2) positions (east_m, north_m) in the frame of an aerial image.

    Args:
        points_xy: (..., 2) world positions (east, north), metres.
        center: (2,) world position of the image's centre, metres.
        rotation_deg: compass direction of image up, degrees clockwise from north.
    """
    return (np.asarray(points_xy, np.float64) - np.asarray(center, np.float64)) @ _image_to_world(
        rotation_deg
    )


def _image_to_world(rotation_deg: float) -> Float64:
    """Return the (2, 2) rotation from image (right, up) to world (east, north)."""
    angle = torch.tensor(rotation_deg, dtype=torch.float64)
    matrix: Float64 = heading_to_rotation(angle).numpy()
    return matrix


def _aerial_screen(
    points: NDArray[np.floating],
    center: Float64,
    width: int,
    height: int,
    meters_per_pixel: float,
    rotation_deg: float,
    lean: tuple[float, float],
    terrain: Terrain | None,
) -> Float32:
    """Return (N, 3) pixel columns, rows, and heights of world points."""
    level = np.zeros(len(points), np.float32)
    if terrain is not None and lean != (0.0, 0.0):
        level = terrain(points[:, 0].astype(np.float32), points[:, 1].astype(np.float32))
    screen = np.empty((len(points), 3), np.float32)
    _project(points, level, center, _image_to_world(rotation_deg) / meters_per_pixel,
             np.array(lean) / meters_per_pixel, width, height, screen)  # fmt: skip
    return screen


@njit(cache=True, nogil=True, error_model="numpy")
def _project(points, level, center, turn, lean, width, height, screen):  # type: ignore[no-untyped-def]
    """Write pixel columns, rows and heights of points whose ground lies at heights ``level``."""
    for i in range(len(points)):
        x, y, above = points[i, 0] - center[0], points[i, 1] - center[1], points[i, 2] - level[i]
        screen[i, 0] = 0.5 * width + (x * turn[0, 0] + y * turn[1, 0] + above * lean[0])
        screen[i, 1] = 0.5 * height - (x * turn[0, 1] + y * turn[1, 1] + above * lean[1])
        screen[i, 2] = points[i, 2]


@njit(cache=True, nogil=True, error_model="numpy")
def _on_top(points, kinds, uv_px, top_m, classes, slack_m, span_m, out):  # type: ignore[no-untyped-def]
    """Set which points are the topmost at their pixels; see :func:`visible_from_above`."""
    height, width = top_m.shape
    for i in range(len(points)):
        col, row = math.floor(uv_px[i, 0]), math.floor(uv_px[i, 1])
        if 0 <= col < width and 0 <= row < height:
            allowed_m = slack_m + (span_m if kinds[i] == classes[row, col] else 0.0)
            out[i] = abs(points[i, 2] - top_m[row, col]) <= allowed_m


def _pixel_centers(camera: Camera, extra: int) -> torch.Tensor:
    """Return (H + extra, W + extra, 2) pixel centres (u, v)."""
    v, u = torch.meshgrid(
        torch.arange(camera.height + extra, dtype=torch.float32) + 0.5,
        torch.arange(camera.width + extra, dtype=torch.float32) + 0.5,
        indexing="ij",
    )
    return torch.stack((u, v), dim=-1)


def _heading_matrix(heading_deg: float) -> Float64:
    """Return the (3, 3) rotation from local (right, forward, up) to world (east, north, up)."""
    matrix = np.eye(3)
    matrix[:2, :2] = _image_to_world(heading_deg)
    return matrix


def _world_rays(camera: Camera, heading_deg: float, extra: int) -> Float32:
    rays = camera.pixels_to_rays(_pixel_centers(camera, extra)).numpy()
    return np.ascontiguousarray(rays @ _heading_matrix(heading_deg).T.astype(np.float32))


def _pinhole_samples(
    packed: PackedMesh, offset: Float32, camera: Pinhole, heading_deg: float
) -> NDArray[np.int32]:
    """Draw the camera's own view with 2x2 samples a pixel."""
    # the axes of the camera in the world are the rays of its right, down and forward
    fine = camera.resized(2 * camera.width, 2 * camera.height)
    axis_px = torch.tensor(
        [[fine.cx, fine.cy], [fine.cx + fine.fx, fine.cy], [fine.cx, fine.cy + fine.fy]],
        dtype=torch.float64,
    )
    local = fine.pixels_to_rays(axis_px).numpy()
    forward = local[0]
    right = local[1] * math.sqrt(2.0) - forward
    down = local[2] * math.sqrt(2.0) - forward
    axes = np.stack((right, down, forward)) @ _heading_matrix(heading_deg).T
    points = np.ascontiguousarray(offset @ axes.T.astype(np.float32))
    return draw_perspective(
        packed, points, (fine.fx, fine.fy), (fine.cx, fine.cy), fine.width, fine.height
    )


def _cube_samples(
    packed: PackedMesh, offset: Float32, camera: Camera, rays: Float32
) -> NDArray[np.int32]:
    """Draw the views around the camera that its rays need, twice as dense as the image."""
    per_radian = camera.width / (2.0 * math.pi)
    if isinstance(camera, Equirectangular):
        span = math.radians(camera.elevation_top_deg - camera.elevation_bottom_deg)
        per_radian = max(per_radian, camera.height / span)
    size = 2 * math.ceil(2.0 * per_radian)
    reach = np.maximum(np.abs(rays[..., 0]), np.abs(rays[..., 1]))
    needed = np.ones(6, np.bool_)
    needed[4] = (rays[..., 2] >= reach).any()
    needed[5] = (-rays[..., 2] >= reach).any()
    return draw_cube(packed, offset, size, needed)
