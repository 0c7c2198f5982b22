"""The renderer's truth: landmarks, depth, visibility, lifting, half pixels, determinism."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

pytest.importorskip("numba")

from loc2.cameras import Camera, Equirectangular, Pinhole
from loc2.frames import aerial_m_to_px, local_to_aerial
from loc2.scenes.light import Light, Sky, procedural_sky
from loc2.scenes.mesh import Material, Mesh, SemanticClass, merge
from loc2.scenes.packed import pack
from loc2.scenes.render import (
    render_aerial,
    render_ground,
    visible_from_above,
    world_to_aerial_m,
)

GREY_SKY = Sky(np.full((8, 16, 3), 0.5, np.float32))
FLAT = Light(GREY_SKY, self_lit=True)


def plain(rgb: tuple[int, int, int], size: int = 4) -> Material:
    return Material(np.full((size, size, 3), rgb, np.uint8))


def quad(corners: list[list[float]], material: Material, class_id: int) -> Mesh:
    return Mesh(
        vertices=np.array(corners, np.float32),
        faces=np.array([[0, 1, 2], [0, 2, 3]], np.int32),
        uv=np.array([[[0, 0], [1, 0], [1, 1]], [[0, 0], [1, 1], [0, 1]]], np.float32),
        material=np.zeros(2, np.int32),
        materials=[material],
        class_id=np.full(2, class_id, np.uint8),
    )


def ground_plane(material: Material, half_m: float = 60.0, cell_m: float = 10.0) -> Mesh:
    cells = []
    steps = np.arange(-half_m, half_m, cell_m)
    for x in steps:
        for y in steps:
            corners = [
                [x, y, 0], [x + cell_m, y, 0], [x + cell_m, y + cell_m, 0], [x, y + cell_m, 0],
            ]  # fmt: skip
            cells.append(quad(corners, material, SemanticClass.TERRAIN))
    return merge(cells)


def box(center: tuple[float, float, float], half_m: float, material: Material, cls: int) -> Mesh:
    x, y, z = center
    corner = {
        (i, j, k): [x + i * half_m, y + j * half_m, z + k * half_m]
        for i in (-1, 1)
        for j in (-1, 1)
        for k in (-1, 1)
    }
    sides = []
    for axis in range(3):
        for sign in (-1, 1):
            around = [(-1, -1), (1, -1), (1, 1), (-1, 1)]
            keys = []
            for a, b in around:
                key = [a, b]
                key.insert(axis, sign)
                keys.append(tuple(key))
            sides.append(quad([corner[k] for k in keys], material, cls))
    return merge(sides)


CAMERAS: list[Camera] = [
    Equirectangular(896, 448),
    Equirectangular(896, 448, roll_deg=3.0, pitch_deg=-4.0),
    Equirectangular(800, 240, elevation_top_deg=36.0, elevation_bottom_deg=-29.0),
    Pinhole.from_hfov(640, 480, 75.0),
    Pinhole.from_hfov(640, 480, 60.0, roll_deg=-5.0, pitch_deg=6.0),
]


@pytest.mark.parametrize("camera", CAMERAS, ids=lambda c: f"{type(c).__name__}{c.roll_deg:g}")
@pytest.mark.parametrize("heading_deg", [0.0, 137.0])
def test_landmark_is_where_the_camera_says_and_as_far(camera: Camera, heading_deg: float) -> None:
    """A small box, seen from the ground: centre within 0.5 px, depth within 1 %."""
    position = np.array([3.0, -2.0, 1.8])
    local = torch.tensor([[2.0, 14.0]], dtype=torch.float64)  # right, forward
    landmark = local_to_aerial(
        local, torch.tensor(heading_deg, dtype=torch.float64), torch.from_numpy(position[:2])
    )[0]
    target = (float(landmark[0]), float(landmark[1]), 2.6)
    mesh = merge(
        [
            ground_plane(plain((90, 90, 90))),
            box(target, 0.2, plain((255, 0, 0)), SemanticClass.POLE),
        ]
    )
    view = render_ground(mesh, camera, position, heading_deg, light=FLAT)
    rows, cols = np.nonzero(view.classes == SemanticClass.POLE)
    assert len(rows) > 4
    seen = torch.tensor([cols.mean() + 0.5, rows.mean() + 0.5])
    point = torch.tensor([2.0, 14.0, 2.6 - 1.8], dtype=torch.float64)
    expected, inside = camera.points_to_pixels(point)
    assert inside
    assert float((seen - expected).abs().max()) < 0.5
    row, col = int(expected[1]), int(expected[0])
    # the front of the box is up to sqrt(2) * 0.2 m nearer than its centre: compare with the ray
    ray = camera.pixels_to_rays(torch.tensor([col + 0.5, row + 0.5], dtype=torch.float64))
    distance = _first_hit(position, _to_world(ray.numpy(), heading_deg), np.array(target), 0.2)
    assert view.range_m[row, col] == pytest.approx(distance, rel=0.002)
    if isinstance(camera, Pinhole):
        factor = float(camera.range_per_depth(torch.tensor([col + 0.5, row + 0.5]), "z"))
        assert view.depth_m[row, col] * factor == pytest.approx(distance, rel=0.002)


def _to_world(local: np.ndarray, heading_deg: float) -> np.ndarray:
    angle = math.radians(heading_deg)
    right, forward, up = local
    return np.array(
        [
            math.cos(angle) * right + math.sin(angle) * forward,
            -math.sin(angle) * right + math.cos(angle) * forward,
            up,
        ]
    )


def _first_hit(origin: np.ndarray, ray: np.ndarray, center: np.ndarray, half_m: float) -> float:
    """Return the distance to an axis-aligned box (slab method)."""
    near = (center - half_m - origin) / ray
    far = (center + half_m - origin) / ray
    entry = float(np.minimum(near, far).max())
    assert entry <= float(np.maximum(near, far).min())
    return entry


@pytest.mark.parametrize("rotation_deg", [0.0, 72.0, 200.0])
def test_landmark_is_at_its_pixel_from_above(rotation_deg: float) -> None:
    mesh = merge(
        [
            ground_plane(plain((90, 90, 90))),
            box((7.3, -11.2, 0.0), 0.5, plain((0, 255, 0)), SemanticClass.CAR),
        ]
    )
    center = np.array([2.0, 1.0])
    view = render_aerial(mesh, center, 300, 260, 0.15, light=FLAT, rotation_deg=rotation_deg)
    rows, cols = np.nonzero(view.classes == SemanticClass.CAR)
    position = torch.from_numpy(world_to_aerial_m([7.3, -11.2], center, rotation_deg))
    # independent of the renderer: image up is the compass direction rotation_deg
    angle = math.radians(rotation_deg)
    east = math.cos(angle) * 5.3 - math.sin(angle) * -12.2
    north = math.sin(angle) * 5.3 + math.cos(angle) * -12.2
    assert position.tolist() == pytest.approx([east, north])
    expected = aerial_m_to_px(position, 300, 260, 0.15)
    assert abs(cols.mean() + 0.5 - float(expected[0])) < 0.5
    assert abs(rows.mean() + 0.5 - float(expected[1])) < 0.5
    assert view.height_m[int(expected[1]), int(expected[0])] == pytest.approx(0.5, abs=1e-4)
    assert view.rgb[1, int(expected[1]), int(expected[0])] == pytest.approx(1.0, abs=0.01)


def test_half_pixel_of_the_orthophoto() -> None:
    """An edge at an image column's boundary leaves no mixed pixels; half-way, it mixes by half."""
    dark, bright = plain((0, 0, 0)), plain((255, 255, 255))
    left = quad([[-9, -9, 0], [0, -9, 0], [0, 9, 0], [-9, 9, 0]], dark, 1)
    right = quad([[0, -9, 0], [9, -9, 0], [9, 9, 0], [0, 9, 0]], bright, 2)
    view = render_aerial(merge([left, right]), [0.0, 0.0], 8, 8, 1.0, light=FLAT)
    assert np.array_equal(view.classes[4], [1, 1, 1, 1, 2, 2, 2, 2])
    assert view.rgb[0, 4].tolist() == pytest.approx([0, 0, 0, 0, 1, 1, 1, 1], abs=1e-3)
    view = render_aerial(merge([left, right]), [0.5, 0.0], 8, 8, 1.0, light=FLAT)
    assert view.rgb[0, 4].tolist() == pytest.approx([0, 0, 0, 0.5, 1, 1, 1, 1], abs=1e-3)


def test_depth_of_level_ground_is_exact_at_every_pixel_centre() -> None:
    mesh = ground_plane(plain((90, 90, 90)))
    for camera in (CAMERAS[1], CAMERAS[4]):
        view = render_ground(mesh, camera, [0.4, 0.3, 2.0], 33.0, light=FLAT)
        v, u = torch.meshgrid(
            torch.arange(camera.height) + 0.5, torch.arange(camera.width) + 0.5, indexing="ij"
        )
        down = -camera.pixels_to_rays(torch.stack((u, v), -1).double())[..., 2].numpy()
        seen = down > 2.0 / 40.0
        error = np.abs(view.range_m[seen] * down[seen] / 2.0 - 1.0)
        assert error.max() < 2e-3
        assert np.isinf(view.range_m[down < -0.01]).all()
        assert (view.classes[down < -0.01] == SemanticClass.UNLABELLED).all()


def test_texture_is_not_mirrored() -> None:
    """A wall with a texture whose left is red and top is bright shows it so from both views."""
    texture = np.zeros((8, 8, 3), np.uint8)
    texture[:, :4, 0] = 255
    texture[:4, :, 2] = 255
    wall = quad([[-4, 5, 0], [4, 5, 0], [4, 5, 8], [-4, 5, 8]], Material(texture), 6)
    camera = Pinhole.from_hfov(64, 64, 70.0)
    view = render_ground(wall, camera, [0, 0, 4.0], 0.0, light=FLAT).rgb
    assert view[0, 32, 16] > 0.9 > 0.1 > view[0, 32, 48]
    assert view[2, 16, 32] > 0.9 > 0.1 > view[2, 48, 32]
    floor = quad([[-4, -4, 0], [4, -4, 0], [4, 4, 0], [-4, 4, 0]], Material(texture), 1)
    above = render_aerial(floor, [0, 0], 64, 64, 0.125, light=FLAT).rgb
    assert above[0, 32, 16] > 0.9 > 0.1 > above[0, 32, 48]
    assert above[2, 16, 32] > 0.9 > 0.1 > above[2, 48, 32]


def test_minified_texture_does_not_alias() -> None:
    """A fine chequerboard seen from above is its mean grey, in linear light."""
    texture = np.zeros((64, 64, 3), np.uint8)
    texture[(np.add.outer(np.arange(64), np.arange(64)) % 2) == 0] = 255
    floor = ground_plane(Material(texture), cell_m=4.0)
    view = render_aerial(floor, [0.3, 0.2], 100, 100, 0.37, light=FLAT)
    assert view.rgb.mean() == pytest.approx(0.5, abs=0.02)
    assert view.rgb.std() < 0.02


def test_cut_out_mask_lets_see_through_and_keeps_its_coverage_far_away() -> None:
    mask = np.zeros((64, 64), np.uint8)
    mask[16:48, 16:48] = 255  # a quarter of the area
    leaf = Material(np.full((64, 64, 3), 200, np.uint8), mask)
    camera = Pinhole.from_hfov(128, 128, 60.0)
    cards = [
        quad([[x, 5, z], [x + 0.5, 5, z], [x + 0.5, 5, z + 0.5], [x, 5, z + 0.5]], leaf, 8)
        for x in np.arange(-5, 5, 0.5)
        for z in np.arange(-5, 5, 0.5)
    ]
    mesh = merge(cards)
    light = Light(Sky(np.zeros((8, 16, 3), np.float32)), self_lit=True)
    for distance in (0.0, -60.0):
        view = render_ground(mesh, camera, [0, distance, 0.0], 0.0, light=light)
        seen = view.rgb[0, 58:70, 58:70] if distance else view.rgb[0]
        assert seen.mean() == pytest.approx(0.25 * 0.577, rel=0.2)  # sRGB 200 is 0.577


def test_sun_casts_a_shadow_where_it_should() -> None:
    """A 10 m wall, the sun in the south at 45 degrees: the shadow reaches 10 m north."""
    tower = quad([[-1, 0, 0], [1, 0, 0], [1, 0, 10], [-1, 0, 10]], plain((200, 200, 200)), 6)
    mesh = merge([ground_plane(plain((180, 180, 180))), tower])
    light = Light(GREY_SKY, sun_azimuth_deg=180.0, sun_elevation_deg=45.0, sun_rgb=(2, 2, 2))
    view = render_aerial(mesh, [0, 0], 200, 200, 0.2, light=light)
    column = view.rgb[0, :, 100]  # x = 0.1 m, north up
    north_m = (100 - np.arange(200) - 0.5) * 0.2
    lit = column[(north_m < -3) | (north_m > 12)].mean()
    shaded = column[(north_m > 2) & (north_m < 9)].mean()
    assert shaded < 0.5 * lit
    edge = north_m[(column < 0.5 * (lit + shaded)) & (north_m > 0.3)].max()
    assert edge == pytest.approx(10.0, abs=0.5)
    assert view.rgb[0, 60, 120] == pytest.approx(lit, rel=0.2)  # beside the shadow


def test_lean_moves_roofs_and_keeps_the_ground() -> None:
    marker = quad([[5, 5, 0.01], [6, 5, 0.01], [6, 6, 0.01], [5, 6, 0.01]], plain((0, 0, 255)), 2)
    roof = quad([[-6, -6, 10], [-4, -6, 10], [-4, -4, 10], [-6, -4, 10]], plain((255, 0, 0)), 7)
    mesh = merge([ground_plane(plain((90, 90, 90))), marker, roof])
    straight = render_aerial(mesh, [0, 0], 200, 200, 0.1, light=FLAT)
    leaning = render_aerial(mesh, [0, 0], 200, 200, 0.1, light=FLAT, lean=(0.2, -0.1))
    assert np.array_equal(straight.classes == 2, leaning.classes == 2)
    rows, cols = (np.mean(i) for i in np.nonzero(straight.classes == 7))
    rows2, cols2 = (np.mean(i) for i in np.nonzero(leaning.classes == 7))
    assert (cols2 - cols, rows2 - rows) == pytest.approx((20.0, 10.0), abs=0.3)
    pixel = leaning.to_pixels(np.array([[-5.0, -5.0, 10.0]], np.float32))[0]
    assert pixel.tolist() == pytest.approx([cols2 + 0.5, rows2 + 0.5], abs=0.3)


def street(rng: np.random.Generator) -> Mesh:
    """Return ground with a random chequer of colours, a house, and a roof over part of it."""
    cells = []
    for x in range(-30, 30, 2):
        for y in range(-30, 30, 2):
            color = tuple(int(c) for c in rng.integers(30, 225, 3))
            corners = [[x, y, 0], [x + 2, y, 0], [x + 2, y + 2, 0], [x, y + 2, 0]]
            cells.append(quad(corners, plain(color, 1), SemanticClass.TERRAIN))  # type: ignore[arg-type]
    house = box((12.0, 8.0, 4.0), 4.0, plain((150, 90, 60)), SemanticClass.BUILDING)
    canopy = quad([[-8, 2, 3], [-4, 2, 3], [-4, 8, 3], [-8, 8, 3]], plain((40, 120, 40)), 8)
    return merge([*cells, house, canopy])


def test_lifting_the_ground_view_paints_the_orthophoto() -> None:
    """Depth and pose put every visible ground pixel's colour where the orthophoto has it."""
    mesh = pack(street(np.random.default_rng(3)))
    center, rotation_deg, heading_deg = np.array([1.0, -2.0]), 25.0, 110.0
    above = render_aerial(
        mesh, center, 400, 400, 0.1, light=FLAT, rotation_deg=rotation_deg, lean=(0.1, 0.05)
    )
    for camera in (CAMERAS[1], CAMERAS[4]):
        view = render_ground(mesh, camera, [-1.0, 1.5, 2.2], heading_deg, light=FLAT)
        visible = visible_from_above(view, above)
        near = visible & (view.range_m < 15.0) & (view.classes == SemanticClass.TERRAIN)
        v, u = np.nonzero(near)
        uv_px = torch.from_numpy(np.stack((u + 0.5, v + 0.5), -1).astype(np.float32))
        local = camera.lift(uv_px, torch.from_numpy(view.depth_m[near]), camera.depth_kind)
        camera_m = torch.from_numpy(world_to_aerial_m([-1.0, 1.5], center, rotation_deg)).float()
        aerial_m = local_to_aerial(local[:, :2], torch.tensor(heading_deg - rotation_deg), camera_m)
        at = aerial_m_to_px(aerial_m, 400, 400, 0.1).numpy().astype(int)
        painted = above.rgb[:, at[:, 1], at[:, 0]]
        seen = view.rgb[:, near]
        assert np.corrcoef(painted.ravel(), seen.ravel())[0, 1] > 0.95


def test_visibility_from_above_is_false_under_a_roof_and_on_walls() -> None:
    mesh = pack(street(np.random.default_rng(3)))
    above = render_aerial(mesh, [0, 0], 400, 400, 0.12, light=FLAT)
    view = render_ground(mesh, CAMERAS[0], [0.0, 0.0, 1.8], 0.0, light=FLAT)
    visible = visible_from_above(view, above)
    points = view.points_m
    x, y, z = points[..., 0], points[..., 1], points[..., 2]
    on_ground = np.abs(z) < 0.01
    covered = on_ground & (x > -7.8) & (x < -4.2) & (y > 2.2) & (y < 7.8)
    assert covered.sum() > 50 and not visible[covered].any()
    walls = (view.classes == SemanticClass.BUILDING) & (z > 0.5) & (z < 7.0)
    assert walls.sum() > 500 and visible[walls].mean() < 0.02
    free = on_ground & (np.hypot(x, y) < 4.0)
    assert free.sum() > 500 and visible[free].all()
    assert not visible[np.isinf(view.range_m)].any()


def test_same_input_gives_the_same_bits() -> None:
    mesh = street(np.random.default_rng(5))

    def once() -> list[np.ndarray]:
        sky = procedural_sky(
            np.random.default_rng(1), clouds=0.4, sun_azimuth_deg=100, sun_elevation_deg=40
        )
        light = Light(sky, 100.0, 40.0, haze_per_m=0.002)
        ground = render_ground(mesh, Equirectangular(256, 128), [0, 0, 2], 50.0, light=light)
        above = render_aerial(mesh, [0, 0], 128, 128, 0.3, light=light, lean=(0.1, 0.0))
        return [ground.rgb, ground.range_m, ground.classes, above.rgb, above.height_m]

    for a, b in zip(once(), once(), strict=True):
        assert a.tobytes() == b.tobytes()


def test_views_of_an_empty_place() -> None:
    far = quad([[500, 500, 0], [501, 500, 0], [501, 501, 0], [500, 501, 0]], plain((9, 9, 9)), 1)
    above = render_aerial(far, [0, 0], 16, 16, 0.5, light=FLAT)
    assert np.isneginf(above.height_m).all() and not above.classes.any()
    view = render_ground(far, Equirectangular(64, 32), [0, 0, 2], 0.0, light=FLAT)
    assert not visible_from_above(view, above).any()
    assert np.isfinite(view.rgb).all()


def test_mesh_and_material_reject_what_does_not_belong_together() -> None:
    good = quad([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], plain((1, 2, 3)), 1)
    with pytest.raises(ValueError, match="uv must have shape"):
        Mesh(good.vertices, good.faces, good.uv[:1], good.material, good.materials, good.class_id)
    with pytest.raises(ValueError, match="vertices that do not exist"):
        Mesh(good.vertices[:2], good.faces, good.uv, good.material, good.materials, good.class_id)
    with pytest.raises(ValueError, match="uint8"):
        Material(np.zeros((4, 4, 3), np.float32))  # type: ignore[arg-type]
