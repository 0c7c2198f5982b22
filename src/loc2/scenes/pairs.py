"""Pairs from generated worlds: a ground photo and an orthophoto with exact truth.

``generate_pair(seed, options, view)`` is a pure function: the same arguments and textures give the
same pair, bit for bit, in any process on one machine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import box

from loc2.cameras import Camera, Equirectangular, Pinhole
from loc2.errors import InputError
from loc2.frames import Pose, wrap_heading_deg
from loc2.scenes.illumination import Skies, draw_light
from loc2.scenes.looks import draw_aerial_look, draw_ground_look
from loc2.scenes.manifest import RenderedPair
from loc2.scenes.mesh import SemanticClass
from loc2.scenes.nadir import add_nadir, random_nadir_kind
from loc2.scenes.render import (
    AerialRender,
    GroundRender,
    render_aerial,
    render_ground,
    visible_from_above,
)
from loc2.scenes.sensor import photograph
from loc2.scenes.styles import STYLES
from loc2.scenes.textures import TextureLibrary
from loc2.scenes.vehicles import Garage
from loc2.scenes.world import Day, World

Float64 = NDArray[np.float64]
UInt8 = NDArray[np.uint8]


@dataclass(frozen=True)
class SceneOptions:
    """What to make.

    Attributes:
        styles: names of the styles to draw from.
        textures: folder of photographic textures, or None for procedural ones alone.
        pinhole_share: share of ground photos from perspective cameras.
        cropped_share: share of panoramas that are cropped above and below.
        ground_width: width of panoramas, pixels; full ones are half as high.
        pinhole_size: (width, height) of perspective photos, pixels.
        aerial_size: width and height of orthophotos, pixels.
        meters_per_pixel: range of ground sampling distances, drawn evenly in the logarithm.
        max_offset: largest offset of the camera from the orthophoto's centre along each axis, as a
            share of its side.
    """

    styles: tuple[str, ...] = tuple(STYLES)
    textures: Path | None = None
    pinhole_share: float = 0.0
    cropped_share: float = 0.25
    ground_width: int = 896
    pinhole_size: tuple[int, int] = (640, 448)
    aerial_size: int = 672
    meters_per_pixel: tuple[float, float] = (0.07, 0.24)
    max_offset: float = 0.3

    def __post_init__(self) -> None:
        """Reject styles that do not exist and shares outside [0, 1]."""
        unknown = [s for s in self.styles if s not in STYLES]
        if unknown or not self.styles:
            raise InputError(
                f"style {unknown[0] if unknown else '(none)'} unknown; known: {', '.join(STYLES)}"
            )
        for name in ("pinhole_share", "cropped_share"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InputError(f"{name} must lie between 0 and 1")


@dataclass(frozen=True, eq=False)
class ScenePair:
    """A generated pair.

    Attributes:
        seed: its seed.
        style: name of the world's style.
        ground: (H, W, 3) uint8 sRGB photo.
        camera: the ground camera.
        depth_m: (H, W) float32 depth of the camera's kind (range or z), inf where there is none.
        valid: (H, W) where depth is finite.
        classes: (H, W) ``SemanticClass`` of the ground photo.
        camera_height_m: height above the ground.
        aerial: (h, w, 3) uint8 sRGB orthophoto.
        meters_per_pixel: of the orthophoto.
        aerial_classes: (h, w) ``SemanticClass`` of the orthophoto.
        visible_from_above: (H, W) ground pixels whose point the orthophoto shows too.
        pose: of the camera in the orthophoto's frame.
        extras: what tests look at: the renders.
    """

    seed: int
    style: str
    ground: UInt8
    camera: Camera
    depth_m: NDArray[np.float32]
    valid: NDArray[np.bool_]
    classes: UInt8
    camera_height_m: float
    aerial: UInt8
    meters_per_pixel: float
    aerial_classes: UInt8
    visible_from_above: NDArray[np.bool_]
    pose: Pose
    extras: tuple[GroundRender, AerialRender] | None = field(default=None, repr=False)

    @property
    def id(self) -> str:
        """Unique name: style and seed."""
        return f"{self.style}_{self.seed:08d}"

    def rendered(self) -> RenderedPair:
        """Return the pair in the form that manifests are written from."""

        def chw(image: UInt8) -> NDArray[np.float32]:
            return np.asarray((image / 255).transpose(2, 0, 1), np.float32)

        return RenderedPair(
            self.id, chw(self.ground), self.camera, self.depth_m, self.classes,
            self.camera_height_m, chw(self.aerial), self.aerial_classes, self.meters_per_pixel,
            self.pose,
        )  # fmt: skip


@dataclass(frozen=True)
class Viewpoint:
    """Where a ground camera stands: (2,) position, heading in degrees, height in metres."""

    position: Float64
    heading_deg: float
    height_m: float


def generate_pair(seed: int, options: SceneOptions | None = None, view: int = 0) -> ScenePair:
    """Generate a pair.

    Args:
        seed: everything follows from it, the options and the view.
        options: what to make.
        view: number of the view of this place: others have other cameras, days and orthophotos.

    Raises:
        InputError: the texture folder cannot be used.
    """
    options = options or SceneOptions()
    _, _, skies = _shared(options.textures)
    rng, below_rng, above_rng = (
        np.random.default_rng([seed, k, view] if view else [seed, k]) for k in (100, 101, 102)
    )
    of_place = rng if view == 0 else np.random.default_rng([seed, 100])
    style = options.styles[int(of_place.integers(len(options.styles)))]
    world = _world(seed, style, options.textures)
    viewpoint = draw_viewpoint(rng, world)
    camera = _draw_camera(rng, options, viewpoint)

    size = options.aerial_size
    low, high = options.meters_per_pixel
    meters_per_pixel = float(np.exp(rng.uniform(math.log(low), math.log(high))))
    reach = options.max_offset * size * meters_per_pixel
    offset = rng.uniform(-reach, reach, 2)
    center = viewpoint.position - offset
    lean_east, lean_north = (rng.normal(size=2) * 0.12).tolist()

    day = world.draw_day(below_rng)
    z = float(world.hills.at(viewpoint.position))
    ground = render_ground(
        world.mesh(_without_blockers(day, viewpoint), viewpoint.position, None),
        camera,
        [*viewpoint.position, z + viewpoint.height_m],
        viewpoint.heading_deg,
        light=draw_light(below_rng, skies, from_above=False),
    )
    ground = _with_ground_classes(ground, world)
    ground = add_nadir(ground, random_nadir_kind(below_rng, viewpoint.height_m), below_rng)

    above = render_aerial(
        world.mesh(world.draw_day(above_rng), center, (size * meters_per_pixel, meters_per_pixel)),
        center,
        size,
        size,
        meters_per_pixel,
        light=draw_light(above_rng, skies, from_above=True),
        lean=(lean_east, lean_north),
        terrain=world.hills,
    )
    visible = visible_from_above(ground, above)
    pano = isinstance(camera, Equirectangular)
    ground_look = draw_ground_look(below_rng, pano)
    ground_rgb = photograph(ground.rgb, ground_look, below_rng, panorama=pano)
    above_look = draw_aerial_look(above_rng)
    wooded = float((above.classes == SemanticClass.TREE).mean())  # exposed for open land
    above_look = replace(above_look, exposure_ev=above_look.exposure_ev - 1.5 * wooded)
    aerial_rgb = photograph(above.rgb, above_look, above_rng)
    return ScenePair(
        seed=seed,
        style=style,
        ground=ground_rgb,
        camera=camera,
        depth_m=ground.depth_m,
        valid=np.isfinite(ground.range_m),
        classes=ground.classes,
        camera_height_m=viewpoint.height_m,
        aerial=aerial_rgb,
        meters_per_pixel=meters_per_pixel,
        aerial_classes=_aerial_classes(above, world),
        visible_from_above=visible,
        pose=Pose(float(offset[0]), float(offset[1]), wrap_heading_deg(viewpoint.heading_deg)),
        extras=(ground, above),
    )


@lru_cache(maxsize=1)
def _world(seed: int, style: str, textures: Path | None) -> World:
    """Return a place; the one made last is kept, since its views are asked for in a row."""
    library, garage, _ = _shared(textures)
    return World(seed, STYLES[style], library, garage)


@cache
def _shared(textures: Path | None) -> tuple[TextureLibrary, Garage, Skies]:
    """Return what all worlds of a process share; textures are read when first used."""
    return TextureLibrary(textures), Garage(), Skies(textures)


def draw_viewpoint(rng: np.random.Generator, world: World) -> Viewpoint:
    """Draw where a camera stands: in a lane near the origin mostly, sometimes beside the road."""
    network = world.network
    road_room = world.streets.carriageway.intersection(box(-64, -64, 64, 64)).buffer(-0.6)
    trees = world.inventory.trees
    trunks = np.array([t.position for t in trees]).reshape(-1, 2)
    room_m = 1.2 + 0.06 * np.array([t.height_m for t in trees])
    best = None
    for _ in range(40):
        walking = rng.random() < 0.1
        if rng.random() < 0.7:
            road = network.roads[0]
        else:
            road = network.roads[int(rng.integers(len(network.roads)))]
        near, gap = road.line.nearest(np.zeros(2))
        station = near + float(rng.uniform(-32, 32))
        side = 1 if world.style.drives_on_left else -1
        if rng.random() < 0.12:
            side = -side
        inner, lane_m = road.median_m / 2, road.lane_m
        lane = int(rng.integers(road.lanes))
        left = side * (inner + (lane + 0.5) * lane_m) + float(rng.normal() * 0.35)
        if walking:
            left = side * (road.width_m / 2 + road.verge_m + float(rng.uniform(0.4, 1.4)))
        position = road.line.side_point(station, left)
        # left of the line, traffic that keeps left moves along it, traffic that keeps right against
        way = road.line.direction(station) * (side if world.style.drives_on_left else -side)
        heading = math.degrees(math.atan2(way[0], way[1])) + float(rng.normal() * 3.0)
        if rng.random() < 0.45:
            heading = float(rng.uniform(0, 360))
        height = float(rng.uniform(1.4, 1.8)) if walking else float(rng.uniform(1.7, 3.0))
        best = Viewpoint(position, wrap_heading_deg(heading), height)
        if gap > 45 or not 0 < station < road.line.length:
            continue
        inside = shapely.contains_xy(road_room, *position)
        if np.abs(position).max() < 60 and (walking or inside):
            clear = (np.hypot(*(trunks - position).T) > room_m).all()
            if clear and _outdoors(world, position):
                return best
    assert best is not None
    return best


def _outdoors(world: World, position: Float64) -> bool:
    """Return whether no building stands too close to a camera."""
    for frame, floor in world.inventory.buildings:
        if np.hypot(*(frame.origin[:2] - position)) < 1.5 + floor.width / 2 + 4:
            local = frame.local(position)
            low, high = floor.ring.min(0) - 1.5, floor.ring.max(0) + 1.5
            if (local > low).all() and (local < high).all():
                return False
    return True


def _without_blockers(day: Day, view: Viewpoint) -> Day:
    """Return the day without the cars that the camera would stand in."""
    clear = tuple(c for c in day.cars if np.hypot(*(c.position - view.position)) > 4.5)
    return replace(day, cars=clear)


def _draw_camera(rng: np.random.Generator, options: SceneOptions, view: Viewpoint) -> Camera:
    if rng.random() < options.pinhole_share:
        width, height = options.pinhole_size
        return Pinhole.from_hfov(
            width, height, float(rng.uniform(50, 110)), roll_deg=float(rng.normal() * 1.2),
            pitch_deg=float(rng.normal() * 2.5),
        )  # fmt: skip
    roll, pitch = (rng.normal(size=2) * float(rng.choice([0.2, 1.0, 2.0]))).tolist()
    width = options.ground_width
    if rng.random() < options.cropped_share:
        top, bottom = float(rng.uniform(25, 50)), -float(rng.uniform(25, 50))
        height = round(width * (top - bottom) / 360)
        return Equirectangular(width, height, roll, pitch, top, bottom)
    return Equirectangular(width, width // 2, roll, pitch)


def _with_ground_classes(ground: GroundRender, world: World) -> GroundRender:
    """Return the render with the classes of the painted ground."""
    classes = ground.classes.copy()
    mine = (classes == SemanticClass.TERRAIN) & np.isfinite(ground.range_m)
    if mine.any():
        grids = world.grids(ground.position[:2], None)
        classes[mine] = world.ground_classes(ground.points_at(mine), grids)
    return replace(ground, classes=classes)


def _aerial_classes(above: AerialRender, world: World) -> UInt8:
    classes = above.classes.copy()
    height, width = classes.shape
    mine = classes == SemanticClass.TERRAIN
    row, col = np.nonzero(mine)
    step = above.meters_per_pixel
    points = np.stack((above.center[0] + (col + 0.5 - width / 2) * step,
                       above.center[1] + (height / 2 - row - 0.5) * step), -1)  # fmt: skip
    if len(points):
        grids = world.grids(above.center, (width * step, step))
        classes[mine] = world.ground_classes(points, grids)
    return classes
