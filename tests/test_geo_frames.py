"""Round trips between windows and the earth, judged by pyproj's geodesics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyproj
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from loc2.errors import InputError
from loc2.frames import heading_error_deg
from loc2.geo.frame import LocalFrame, MetricArea
from loc2.geo.opening import AerialOptions, open_aerial
from loc2.geo.plan import search_window
from loc2.inputs.metadata import PhotoMetadata
from tests.geo_scenes import (
    CRS_CASES,
    centroid_px,
    crs_pixels_affine,
    pixel_to_lat_lon,
    spot_image,
    write_raster,
)

GEOD = pyproj.Geod(ellps="WGS84")
SIZE_PX, PIXEL_M = 800, 0.25


def window_lat_lon(window, u, v):
    height, width = window.image.shape[-2:]
    mpp = window.meters_per_pixel
    east_m = window.area.east_m + (u - width / 2) * mpp
    north_m = window.area.north_m + (height / 2 - v) * mpp
    return east_m, north_m, *window.frame.to_lat_lon(east_m, north_m)


@pytest.mark.parametrize("case", CRS_CASES)
def test_position_and_heading_round_trip(tmp_path: Path, case: str) -> None:
    """Two spots painted at known pixels are found at their place, and their bearing is true."""
    crs, latitude_deg, longitude_deg, rotation_deg = CRS_CASES[case]
    transform = crs_pixels_affine(
        crs, latitude_deg, longitude_deg, rotation_deg, PIXEL_M, SIZE_PX, SIZE_PX
    )
    rng = np.random.default_rng(4)
    found, truth, headings = [], [], []
    for index, (u, v) in enumerate(rng.uniform(0.35, 0.65, (2, 2)) * SIZE_PX):
        pixels = spot_image(SIZE_PX, SIZE_PX, u, v, sigma=8.0)
        source = open_aerial(write_raster(tmp_path / f"{index}.tif", pixels, crs, transform))
        frame, area = source.around(latitude_deg, longitude_deg, 60.0)
        window = source.read(frame, area)
        at = centroid_px(np.square(window.image[0].double().numpy()))
        east_m, north_m, lat_deg, lon_deg = window_lat_lon(window, *at)
        true_lat_deg, true_lon_deg = pixel_to_lat_lon(crs, transform, u, v)
        _, _, error_m = GEOD.inv(lon_deg, lat_deg, true_lon_deg, true_lat_deg)
        assert error_m < 0.05
        found.append((east_m, north_m))
        truth.append((true_lat_deg, true_lon_deg))
        headings.append(frame)
    (e0, n0), (e1, n1) = found
    heading_deg = np.degrees(np.arctan2(e1 - e0, n1 - n0)) % 360
    true_deg, _, true_m = GEOD.inv(truth[0][1], truth[0][0], truth[1][1], truth[1][0])
    assert heading_error_deg(headings[0].heading_to_true(e0, n0, heading_deg), true_deg) < 0.05
    assert np.hypot(e1 - e0, n1 - n0) == pytest.approx(true_m, abs=0.05)


@settings(max_examples=60, deadline=None)
@given(
    latitude_deg=st.floats(-89.0, 89.0),
    longitude_deg=st.floats(-180.0, 180.0),
    east_m=st.floats(-5000.0, 5000.0),
    north_m=st.floats(-5000.0, 5000.0),
    heading_deg=st.floats(0.0, 359.99),
)
def test_frame_agrees_with_geodesics(latitude_deg, longitude_deg, east_m, north_m, heading_deg):
    frame = LocalFrame(latitude_deg, longitude_deg)
    lat_deg, lon_deg = frame.to_lat_lon(east_m, north_m)
    azimuth_deg, _, distance_m = GEOD.inv(longitude_deg, latitude_deg, lon_deg, lat_deg)
    assert distance_m == pytest.approx(np.hypot(east_m, north_m), abs=1e-3)
    if distance_m > 1.0:
        bearing_deg = np.degrees(np.arctan2(east_m, north_m))
        assert heading_error_deg(azimuth_deg, bearing_deg) < 1e-3
    assert frame.from_lat_lon(lat_deg, lon_deg) == pytest.approx((east_m, north_m), abs=1e-3)
    true_deg = frame.heading_to_true(east_m, north_m, heading_deg)
    back_deg = frame.heading_from_true(east_m, north_m, true_deg)
    assert heading_error_deg(back_deg, heading_deg) < 1e-3


def test_heading_off_centre_is_turned_by_the_convergence() -> None:
    """At 60 degrees north, 5 km east, meridians lean by about longitude difference * sin(lat)."""
    frame = LocalFrame(60.0, 10.0)
    latitude_deg, longitude_deg = frame.to_lat_lon(5000.0, 0.0)
    lean_deg = (longitude_deg - 10.0) * np.sin(np.radians(latitude_deg))
    assert lean_deg > 0.07
    assert heading_error_deg(frame.heading_to_true(5000.0, 0.0, 0.0), lean_deg) < 1e-3


@pytest.mark.parametrize(("lat", "lon"), [(91.0, 0.0), (0.0, 400.0), (float("nan"), 0.0)])
def test_no_place_on_earth_is_refused(lat: float, lon: float) -> None:
    with pytest.raises(InputError, match="must lie in"):
        LocalFrame(lat, lon)


def test_window_across_the_antimeridian(tmp_path: Path) -> None:
    transform = crs_pixels_affine("EPSG:4326", -16.8, 180.0, 0.0, 0.5, 800, 800)
    pixels = spot_image(800, 800, 480.0, 400.0, sigma=10.0)
    source = open_aerial(write_raster(tmp_path / "fiji.tif", pixels, "EPSG:4326", transform))
    frame, area = source.around(-16.8, -179.9999, 80.0)
    window = source.read(frame, area)
    assert bool(window.valid.all())
    at = centroid_px(np.square(window.image[0].double().numpy()))
    *_, lat_deg, lon_deg = window_lat_lon(window, *at)
    true_lat_deg, true_lon_deg = pixel_to_lat_lon("EPSG:4326", transform, 480.0, 400.0)
    assert GEOD.inv(lon_deg, lat_deg, true_lon_deg, true_lat_deg)[2] < 0.05


@pytest.mark.parametrize("eastern_first", [True, False])
def test_a_folder_on_both_sides_of_the_antimeridian(tmp_path: Path, eastern_first: bool) -> None:
    size_deg = 0.5 / 111_320.0 * 200
    pixels = np.full((3, 200, 200), 90, "u1")
    for name, west_deg in (("a", -180.0), ("b", 180.0 - size_deg)):
        name = name if eastern_first else {"a": "b", "b": "a"}[name]
        transform = Affine(size_deg / 200, 0, west_deg, 0, -size_deg / 200, -16.8)
        write_raster(tmp_path / f"{name}.tif", pixels, "EPSG:4326", transform)
    source = open_aerial(tmp_path)
    frame, area = source.whole()
    assert abs(abs(frame.longitude_deg) - 180.0) < 1e-9
    assert area.width_m / area.height_m == pytest.approx(1.93, abs=0.05)
    assert bool(source.read(frame, MetricArea(0.1, 0.0, 60.0, 60.0)).valid.all())


@pytest.mark.parametrize("longitude_deg", [-180.0, -179.9999, 179.9999, 180.0, 360.0, 9.0])
def test_windows_on_a_lattice_beside_the_antimeridian(tmp_path: Path, longitude_deg: float) -> None:
    transform = crs_pixels_affine("EPSG:4326", -17.0, longitude_deg, 0.0, 0.5, 80, 80)
    path = write_raster(tmp_path / "a.tif", np.zeros((3, 80, 80), "u1"), "EPSG:4326", transform)
    here = (-17.0, longitude_deg)
    window = search_window(open_aerial(path), PhotoMetadata(), here, 50.0, 25.0)
    assert window.frame is not None and -180.0 <= window.frame.longitude_deg <= 180.0
    apart_m = GEOD.inv(longitude_deg, -17.0, window.frame.longitude_deg, window.frame.latitude_deg)
    assert apart_m[2] == pytest.approx(np.hypot(*window.asked_m), abs=1e-3) and apart_m[2] < 18.0


def test_a_raster_of_the_earth_may_begin_half_a_pixel_west_of_it(tmp_path: Path) -> None:
    transform = Affine(1.0, 0, -180.5, 0, -1.0, 60.0)
    path = write_raster(tmp_path / "a.tif", np.zeros((3, 120, 360), "u1"), "EPSG:4326", transform)
    assert open_aerial(path).whole()[0] == LocalFrame(0.0, -0.5)


@pytest.mark.parametrize(
    ("crs", "middle", "message"),
    [
        ("EPSG:32632", (48.1, 9.0), ""),
        ("EPSG:3857", (48.1, 9.0), ""),
        ("EPSG:4326", (48.1, 9.0), ""),
        ("EPSG:25832", (48.1, 9.0), ""),
        ("EPSG:28356", (-33.9, 151.2), "accurate to 3 m only"),  # PROJ: one of several
        ("+proj=tmerc +lon_0=9 +ellps=GRS80", (48.1, 9.0), "of unknown accuracy"),
    ],
)
def test_a_datum_that_is_known_badly_gives_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, crs: str, middle, message: str
) -> None:
    # Two of each, under one of a datum that is known well.
    pixels = np.zeros((3, 20, 20), "u1")
    for name, system in (("0", "EPSG:4326"), ("1", crs), ("2", crs)):
        transform = crs_pixels_affine(system, *middle, 0.0, 1.0, 20, 20)
        write_raster(tmp_path / f"{name}.tif", pixels, system, transform)
    open_aerial(tmp_path)
    said = [r.getMessage() for r in caplog.records if "datum shift" in r.getMessage()]
    assert len(said) == bool(message)
    assert all(message in line and "1.tif" in line for line in said)


def test_plain_image_with_a_known_centre(tmp_path: Path) -> None:
    from PIL import Image

    path = tmp_path / "plain.png"
    Image.fromarray(spot_image(300, 200, 150, 100, 9.0).transpose(1, 2, 0)).save(path)
    source = open_aerial(path, AerialOptions(meters_per_pixel=0.5, center=(48.0, 11.0)))
    frame, area = source.whole()
    window = source.read(frame, area)
    assert window.image.shape == (3, 200, 300)
    assert (area.width_m, area.height_m) == (150.0, 100.0)
    assert window.frame == LocalFrame(48.0, 11.0)
    with pytest.raises(InputError, match="no georeference"):
        open_aerial(path, AerialOptions(meters_per_pixel=0.5)).around(48.0, 11.0, 50.0)
