"""Pairs from a photogrammetry mesh: street cameras and orthophotos of a real place.

The textures of such meshes hold the light they were photographed in, so the mesh is drawn as it
is, without sun or shadows. Cameras stand on the street surface: level ground at the height that
level ground mostly has, with nothing above or within 1.5 m, and not green (water, grass).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from loc2.cameras import Camera, Equirectangular, Pinhole
from loc2.errors import InputError
from loc2.frames import Pose, wrap_heading_deg
from loc2.scenes.light import Light, Sky, procedural_sky
from loc2.scenes.manifest import RenderedPair
from loc2.scenes.mesh import Mesh, SemanticClass
from loc2.scenes.nadir import add_nadir, random_nadir_kind
from loc2.scenes.packed import PackedMesh, pack
from loc2.scenes.render import (
    AerialRender,
    GroundRender,
    render_aerial,
    render_ground,
    world_to_aerial_m,
)
from loc2.scenes.sensor import (
    Development,
    develop,
    random_aerial_development,
    random_ground_development,
)
from loc2.scenes.texture import linear_to_srgb

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Part = Literal["all", "low", "high"]

SPLIT_MARGIN_M = 1.0
"""Aerial windows of both parts stay this far from the line between them, metres."""

_SURVEY_M = 0.25  # cell of the height map in which places are looked for
_CLEAR_M = 1.5  # radius without anything above or beside the ground
_MAX_STEP_M = 0.3  # roughness of level ground within that radius
_STREET_BAND_M = 1.3  # difference from the street level
_EDGE_M = 15.0  # cameras keep this far from the edge of the mesh or its part
_MAX_GREEN = 0.12  # excess of green over red, as a share of the brightest channel


@dataclass(frozen=True)
class MeshPairOptions:
    """What to make from a mesh.

    Attributes:
        part: ``low`` and ``high`` are the sides of the line ``split_north_m``; their aerial images
            share no pixel. ``all`` is the whole mesh.
        split_north_m: north coordinate of that line, metres.
        panorama: whether to make a panorama at each place.
        pinhole_hfov_deg: horizontal fields of view of the pinhole views at each place, degrees.
        panorama_width: pixels, twice the height.
        pinhole_size: width and height, pixels.
        aerial_size: width and height of the orthophoto, pixels.
        window_m: smallest and largest width of the orthophoto, metres.
        max_offset_m: farthest that the camera is off the orthophoto's centre along each axis;
            places so near the mesh's edge that it would be farther are not used.
        camera_height_m: lowest and highest camera, metres above the ground.
    """

    part: Part = "all"
    split_north_m: float = 1640.0
    panorama: bool = True
    pinhole_hfov_deg: tuple[float, ...] = ()
    panorama_width: int = 896
    pinhole_size: tuple[int, int] = (640, 480)
    aerial_size: int = 640
    window_m: tuple[float, float] = (60.0, 75.0)
    max_offset_m: float = 22.0
    camera_height_m: tuple[float, float] = (1.6, 2.6)

    def __post_init__(self) -> None:
        """Reject options that make nothing."""
        if not self.panorama and not self.pinhole_hfov_deg:
            raise InputError("nothing to render: no panorama and no pinhole view was asked for")
        if not 0.0 <= self.max_offset_m < self.window_m[0] / 2:
            raise InputError("the camera's offset must be less than half the orthophoto's width")
        if any(not 5.0 <= angle <= 150.0 for angle in self.pinhole_hfov_deg):
            raise InputError("the field of view of a pinhole view must lie between 5 and 150 deg")


class MeshPairs:
    """A seeded list of pairs from one mesh.

    Args:
        mesh: the mesh, metres, z up, y north.
        name: first part of the pairs' ids.
        options: what to make.

    Raises:
        InputError: the part of the mesh is smaller than the orthophotos, or has no open street.
    """

    def __init__(self, mesh: Mesh, name: str, options: MeshPairOptions) -> None:
        """Survey the mesh for places where a camera can stand."""
        self.name = name if options.part == "all" else f"{name}-{options.part}"
        self.options = options
        self._low = mesh.vertices[:, :2].min(0).astype(np.float64)
        self._high = mesh.vertices[:, :2].max(0).astype(np.float64)
        if options.part == "low":
            self._high[1] = min(self._high[1], options.split_north_m - SPLIT_MARGIN_M)
        elif options.part == "high":
            self._low[1] = max(self._low[1], options.split_north_m + SPLIT_MARGIN_M)
        if self._high[1] - self._low[1] < options.window_m[1]:
            raise InputError(
                f"mesh {name}, part {options.part}: {max(self._high[1] - self._low[1], 0.0):.0f} m "
                f"from south to north, less than an orthophoto's {options.window_m[1]:g} m"
            )
        packed = pack(mesh)
        survey = _survey(packed, mesh)
        street, level_m = _street(survey)
        self._places = _cell_points(survey, street)
        edge_m = max(_EDGE_M, options.window_m[1] / 2 - options.max_offset_m)
        low, high = self._low + edge_m, self._high - edge_m
        keep = ((self._places[:, :2] > low) & (self._places[:, :2] < high)).all(1)
        self._places = self._places[keep]
        if len(self._places) == 0:
            raise InputError(f"mesh {name}, part {options.part}: no open level ground found")
        self._packed = packed._replace(class_id=_geometric_classes(mesh, level_m))

    def window(self, rng: np.random.Generator, place: Float64) -> tuple[Float64, float]:
        """Draw an orthophoto's centre (2,) and width in metres that shows a place (2,)."""
        width_m = float(rng.uniform(*self.options.window_m))
        center = place + rng.uniform(-1.0, 1.0, 2) * self.options.max_offset_m
        low, high = self._low + width_m / 2, self._high - width_m / 2
        middle = (self._low + self._high) / 2  # where the mesh is narrower than the window
        return np.where(low < high, np.clip(center, low, high), middle), width_m

    def ids(self, index: int, seed: int) -> list[str]:
        """Return the ids of the pairs of one place."""
        stem = f"{self.name}_s{seed}_{index:05d}"
        panorama = [stem] if self.options.panorama else []
        return panorama + [f"{stem}_h{angle:g}" for angle in self.options.pinhole_hfov_deg]

    def make(self, index: int, seed: int) -> Iterator[RenderedPair]:
        """Render the pairs of one place of the seeded list.

        Args:
            index: number in the list.
            seed: names the list.
        """
        rng = np.random.default_rng([seed, index, 7])
        options = self.options
        place = self._places[int(rng.integers(len(self._places)))]
        height_m = float(rng.uniform(*options.camera_height_m))
        position = place + np.array([0.0, 0.0, height_m])
        center, width_m = self.window(rng, place[:2])
        rotation_deg = 90.0 * int(rng.integers(4))
        size = options.aerial_size
        light = _daylight(rng)
        above = render_aerial(
            self._packed, center, size, size, width_m / size, light=light, rotation_deg=rotation_deg
        )
        aerial = develop(above.rgb, _mild(random_aerial_development(rng)), rng, self_lit=True)
        for id_, camera in zip(self.ids(index, seed), self._cameras(rng), strict=True):
            heading_deg = float(rng.uniform(0.0, 360.0))
            view = render_ground(self._packed, camera, position, heading_deg, light=light)
            yield _pair(id_, view, height_m, above, aerial, rng)

    def _cameras(self, rng: np.random.Generator) -> list[Camera]:
        options = self.options
        cameras: list[Camera] = []
        if options.panorama:
            roll, pitch = rng.normal(0.0, 0.7, 2)
            width = options.panorama_width
            cameras.append(Equirectangular(width, width // 2, float(roll), float(pitch)))
        for angle in options.pinhole_hfov_deg:
            roll, pitch = rng.normal(0.0, 1.0, 2)
            cameras.append(
                Pinhole.from_hfov(*options.pinhole_size, angle, float(roll), float(pitch))
            )
        return cameras


def _pair(
    id_: str,
    view: GroundRender,
    height_m: float,
    above: AerialRender,
    aerial: Float32,
    rng: np.random.Generator,
) -> RenderedPair:
    panorama = isinstance(view.camera, Equirectangular)
    view = add_nadir(view, random_nadir_kind(rng, height_m), rng)
    development = _mild(random_ground_development(rng, panorama=panorama))
    ground = develop(view.rgb, development, rng, panorama=panorama, self_lit=True)
    east_m, north_m = world_to_aerial_m(view.position[:2], above.center, above.rotation_deg)
    heading_deg = wrap_heading_deg(view.heading_deg - above.rotation_deg)
    return RenderedPair(
        id=id_,
        ground=ground,
        camera=view.camera,
        depth_m=view.depth_m,
        classes=view.classes,
        camera_height_m=height_m,
        aerial=aerial,
        aerial_classes=above.classes,
        meters_per_pixel=above.meters_per_pixel,
        pose=Pose(float(east_m), float(north_m), heading_deg),
    )


def _daylight(rng: np.random.Generator) -> Light:
    azimuth, elevation = float(rng.uniform(0, 360)), float(rng.uniform(20, 60))
    clouds = float(rng.beta(0.7, 0.7))
    sky = procedural_sky(
        rng, clouds=clouds, sun_azimuth_deg=azimuth, sun_elevation_deg=elevation, width=384
    )
    return Light(sky, azimuth, elevation, self_lit=True)


def _mild(development: Development) -> Development:
    """Return a development with less change of exposure: the textures are photographs already."""
    return replace(development, exposure_ev=0.4 * development.exposure_ev)


def _survey(packed: PackedMesh, mesh: Mesh) -> AerialRender:
    low, high = mesh.vertices[:, :2].min(0), mesh.vertices[:, :2].max(0)
    width, height = (int(n) for n in np.ceil((high - low) / _SURVEY_M))
    light = Light(Sky(np.full((2, 4, 3), 0.5, np.float32)), self_lit=True)
    return render_aerial(packed, (low + high) / 2, width, height, _SURVEY_M, light=light)


def _street(survey: AerialRender) -> tuple[NDArray[np.bool_], float]:
    """Return the (H, W) cells of open street, and the height that level ground mostly has."""
    radius = round(_CLEAR_M / _SURVEY_M)
    top = np.where(np.isfinite(survey.height_m), survey.height_m, 1e4)
    rough = _extreme(top, radius) + _extreme(-top, radius)
    level = (rough < _MAX_STEP_M) & np.isfinite(survey.height_m)
    if not level.any():
        return level, 0.0
    heights = survey.height_m[level]
    low = heights[heights <= np.quantile(heights, 0.7)]  # roofs are level too
    counts, edges = np.histogram(low, np.arange(low.min() - 0.25, low.max() + 0.5, 0.25))
    level_m = float(edges[int(np.argmax(counts))]) + 0.125
    street = level & (np.abs(survey.height_m - level_m) < _STREET_BAND_M)
    color = linear_to_srgb(survey.rgb)
    mean = functional.avg_pool2d(
        torch.from_numpy(color), 2 * radius + 1, 1, radius, count_include_pad=False
    ).numpy()
    green = (mean[1] - mean[0]) / np.maximum(mean.max(0), 1e-3)
    return street & (green < _MAX_GREEN), level_m


def _extreme(values: NDArray[np.floating], radius: int) -> Float32:
    """Return the largest value within a square of the given radius."""
    tensor = torch.from_numpy(np.ascontiguousarray(values, np.float32))[None, None]
    pooled: Float32 = functional.max_pool2d(tensor, 2 * radius + 1, 1, radius)[0, 0].numpy()
    return pooled


def _cell_points(survey: AerialRender, cells: NDArray[np.bool_]) -> Float64:
    """Return (N, 3) world points of the centres of cells."""
    row, col = np.nonzero(cells)
    height, width = cells.shape
    east = survey.center[0] + (col + 0.5 - width / 2) * survey.meters_per_pixel
    north = survey.center[1] + (height / 2 - row - 0.5) * survey.meters_per_pixel
    return np.stack((east, north, survey.height_m[row, col].astype(np.float64)), axis=-1)


def _geometric_classes(mesh: Mesh, level_m: float) -> NDArray[np.uint8]:
    """Return coarse classes from slope and height alone: street, roof, or facade (with trees)."""
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    up = np.abs(normal[:, 2]) / np.maximum(np.linalg.norm(normal, axis=1), 1e-12)
    height = corners[..., 2].mean(1)
    classes = np.full(len(corners), SemanticClass.BUILDING, np.uint8)
    classes[up > 0.7] = SemanticClass.ROOF
    classes[(up > 0.8) & (height < level_m + _STREET_BAND_M)] = SemanticClass.ROAD
    return classes
