"""The conventions: frames, headings, cameras. Known cases by hand, properties by hypothesis."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from loc2.cameras import Camera, Equirectangular, Pinhole
from loc2.frames import (
    aerial_m_to_px,
    aerial_px_to_m,
    aerial_to_local,
    cell_centers_px,
    heading_difference_deg,
    heading_error_deg,
    heading_to_rotation,
    local_to_aerial,
    rotation_to_heading_deg,
    wrap_heading_deg,
)

angles = st.floats(-1000, 1000)
metres = st.floats(-100, 100)


def vector(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@given(angles, angles)
def test_heading_errors_are_wrapped_and_symmetric(a: float, b: float) -> None:
    error = heading_error_deg(a, b)
    assert 0.0 <= error <= 180.0
    assert error == pytest.approx(heading_error_deg(b, a), abs=1e-9)
    reference = abs(np.angle(np.exp(1j * np.radians(a - b)), deg=True))
    assert error == pytest.approx(reference, abs=1e-6)
    assert 0.0 <= wrap_heading_deg(a) < 360.0
    assert -180.0 <= heading_difference_deg(a, b) < 180.0


def test_wrapping_at_the_edges() -> None:
    assert wrap_heading_deg(-1e-18) == 0.0
    assert wrap_heading_deg(360.0) == 0.0
    assert heading_error_deg(359.0, 1.0) == pytest.approx(2.0)
    assert heading_difference_deg(1.0, 359.0) == pytest.approx(2.0)


def test_forward_turns_clockwise_from_north() -> None:
    forward = vector(0, 1)
    for heading_deg, expected in [(0, (0, 1)), (90, (1, 0)), (180, (0, -1)), (270, (-1, 0))]:
        turned = heading_to_rotation(vector(heading_deg))[0] @ forward
        torch.testing.assert_close(turned, vector(*expected))
    # The camera's right is east when it looks north and south when it looks east.
    torch.testing.assert_close(heading_to_rotation(vector(0))[0] @ vector(1, 0), vector(1, 0))
    torch.testing.assert_close(heading_to_rotation(vector(90))[0] @ vector(1, 0), vector(0, -1))


@given(angles)
def test_rotation_round_trip(heading_deg: float) -> None:
    back = rotation_to_heading_deg(heading_to_rotation(vector(heading_deg)))
    assert heading_error_deg(float(back), heading_deg) < 1e-6
    assert 0.0 <= float(back) < 360.0


@given(metres, metres, angles, metres, metres, st.floats(0.01, 100))
def test_similarity_round_trip(
    right: float, forward: float, heading: float, east: float, north: float, scale: float
) -> None:
    points = vector(right, forward)[None]
    moved = local_to_aerial(points, vector(heading)[0], vector(east, north), scale)
    back = aerial_to_local(moved, vector(heading)[0], vector(east, north), scale)
    torch.testing.assert_close(back, points, atol=1e-6 * (1 + 100 / scale), rtol=1e-9)


def test_aerial_pixels_by_hand() -> None:
    # 100 x 50 pixels of 0.5 m: the image spans 50 m x 25 m around the origin.
    corners = torch.tensor([[0.0, 0.0], [100.0, 50.0], [50.0, 25.0], [0.5, 0.5]])
    expected = torch.tensor([[-25.0, 12.5], [25.0, -12.5], [0.0, 0.0], [-24.75, 12.25]])
    torch.testing.assert_close(aerial_px_to_m(corners, 100, 50, 0.5), expected)
    torch.testing.assert_close(aerial_m_to_px(expected, 100, 50, 0.5), corners)


def test_cell_centres_are_half_a_cell_from_the_border() -> None:
    centers = cell_centers_px(2, 4, height_px=28, width_px=56)
    torch.testing.assert_close(centers[0, 0], torch.tensor([7.0, 7.0]))
    torch.testing.assert_close(centers[1, 3], torch.tensor([49.0, 21.0]))


attitudes = st.tuples(st.floats(-60, 60), st.floats(-60, 60))


@given(attitudes, st.floats(0, 1), st.floats(0, 1), st.booleans(), st.floats(0.5, 50))
def test_lifting_and_projecting_are_inverse(
    attitude: tuple[float, float], x: float, y: float, panorama: bool, distance: float
) -> None:
    roll, pitch = attitude
    camera: Camera = (
        Equirectangular(200, 70, roll, pitch, 30, -40)
        if panorama
        else Pinhole(200, 100, roll, pitch, 120, 110, 90, 55)
    )
    uv = vector(0.01 + x * (camera.width - 0.02), 0.01 + y * (camera.height - 0.02))
    point = camera.lift(uv, vector(distance)[0], camera.depth_kind)
    back, inside = camera.points_to_pixels(point)
    assert bool(inside)
    torch.testing.assert_close(back, uv, atol=1e-6, rtol=0)


def test_panorama_directions() -> None:
    camera = Equirectangular(360, 180)
    cases = {
        (180, 90): (0, 1, 0),  # centre: forward, level
        (270, 90): (1, 0, 0),  # three quarters: right
        (90, 90): (-1, 0, 0),
        (0, 90): (0, -1, 0),  # both edges: backward
        (360, 90): (0, -1, 0),
        (180, 0): (0, 0, 1),
        (180, 180): (0, 0, -1),
    }
    for uv, expected in cases.items():
        torch.testing.assert_close(
            camera.pixels_to_rays(vector(*uv)), vector(*expected), atol=1e-9, rtol=0
        )
    # The centre of the first pixel is half a pixel from the edge: azimuth -179.5, elevation 89.5.
    ray = camera.pixels_to_rays(vector(0.5, 0.5))
    assert math.degrees(math.asin(ray[2])) == pytest.approx(89.5)
    assert math.degrees(math.atan2(ray[0], ray[1])) == pytest.approx(-179.5)


def test_cropped_panorama_elevations() -> None:
    camera = Equirectangular(400, 65, elevation_top_deg=36.5, elevation_bottom_deg=-28.5)
    top = camera.pixels_to_rays(vector(200, 0))
    bottom = camera.pixels_to_rays(vector(200, 65))
    level = camera.pixels_to_rays(vector(200, 36.5))
    assert math.degrees(math.asin(top[2])) == pytest.approx(36.5)
    assert math.degrees(math.asin(bottom[2])) == pytest.approx(-28.5)
    torch.testing.assert_close(level, vector(0, 1, 0), atol=1e-9, rtol=0)
    _, inside = camera.points_to_pixels(vector(0, 1, 2))
    assert not bool(inside)


def test_pinhole_directions_and_z_depth() -> None:
    camera = Pinhole.from_hfov(100, 80, 90)
    assert camera.fx == pytest.approx(50)
    torch.testing.assert_close(camera.pixels_to_rays(vector(50, 40)), vector(0, 1, 0))
    edge = camera.lift(vector(100, 40), vector(10)[0], "z")
    torch.testing.assert_close(edge, vector(10, 10, 0))
    edge = camera.lift(vector(100, 40), vector(10)[0], "range")
    torch.testing.assert_close(edge, vector(1, 1, 0) * 10 / math.sqrt(2))
    below = camera.lift(vector(50, 80), vector(5)[0], "z")
    torch.testing.assert_close(below, vector(0, 5, -4))
    _, inside = camera.points_to_pixels(vector(0, -1, 0))
    assert not bool(inside)


def test_pitch_up_raises_the_optical_axis() -> None:
    camera = Pinhole.from_hfov(100, 100, 90, pitch_deg=30)
    ray = camera.pixels_to_rays(vector(50, 50))
    torch.testing.assert_close(ray, vector(0, math.cos(math.pi / 6), 0.5))


def test_roll_lowers_the_right_side() -> None:
    camera = Pinhole.from_hfov(100, 100, 90, roll_deg=20)
    right = camera.pixels_to_rays(vector(100, 50))
    left = camera.pixels_to_rays(vector(0, 50))
    assert right[2] < 0 < left[2]
    # A level horizon point on the right is seen above the centre row of the lowered side.
    uv, _ = camera.points_to_pixels(vector(0.5, 1, 0))
    assert uv[1] < 50


def test_order_is_yaw_pitch_roll() -> None:
    # Camera axes of a ray = roll(pitch(ray)). Straight up, pitched up by 90 - e, lands near the
    # optical axis; roll about that axis then only turns the image, so the axis itself stays.
    camera = Pinhole.from_hfov(100, 100, 90, roll_deg=40, pitch_deg=60)
    axis = camera.pixels_to_rays(vector(50, 50))
    torch.testing.assert_close(axis, vector(0, 0.5, math.sqrt(3) / 2))
    # The camera's right axis: rolled by 40 degrees in the pitched frame, whose up axis is
    # (0, -sin 60, cos 60); right = cos 40 right - sin 40 up.
    edge = camera.pixels_to_rays(vector(100, 50)) * math.sqrt(2) - axis
    up = vector(0, -math.sqrt(3) / 2, 0.5)
    expected = math.cos(math.radians(40)) * vector(1, 0, 0) - math.sin(math.radians(40)) * up
    torch.testing.assert_close(edge, expected)


def test_rolled_panorama_by_hand() -> None:
    camera = Equirectangular(360, 180, roll_deg=10)
    right = camera.pixels_to_rays(vector(270, 90))
    torch.testing.assert_close(
        right, vector(math.cos(math.radians(10)), 0, -math.sin(math.radians(10)))
    )


@pytest.mark.parametrize("camera", [Equirectangular(10, 5), Pinhole.from_hfov(10, 5, 60)])
def test_resizing_keeps_directions(camera: Camera) -> None:
    double = camera.resized(20, 10)
    uv = vector(3.3, 1.7)
    torch.testing.assert_close(double.pixels_to_rays(uv * 2), camera.pixels_to_rays(uv))


def test_impossible_cameras_are_refused() -> None:
    with pytest.raises(ValueError, match="elevations"):
        Equirectangular(10, 5, elevation_top_deg=-10, elevation_bottom_deg=10)
    with pytest.raises(ValueError, match="field of view"):
        Pinhole.from_hfov(10, 10, 180)
    with pytest.raises(ValueError, match="fx and fy"):
        Pinhole(10, 10)
    with pytest.raises(ValueError, match="positive"):
        Equirectangular(0, 5)
    with pytest.raises(ValueError, match="panorama"):
        Equirectangular(10, 5).lift(vector(1, 1), vector(1)[0], "z")
