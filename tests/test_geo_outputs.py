"""Answers on the earth and the files they are written to."""

from __future__ import annotations

import csv
import errno
import io
import json
import struct
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pyproj
import pytest
import rasterio
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from loc2.errors import InputError, OutputError
from loc2.frames import heading_error_deg
from loc2.geo.answer import Ellipse, GeoAnswer, geo_answer
from loc2.geo.exif_copy import write_exif_copy
from loc2.geo.formats import (
    COLUMNS,
    parse_formats,
    to_csv,
    to_geojson,
    to_gpx,
    to_kml,
    write_answers,
)
from loc2.geo.frame import LocalFrame, MetricArea
from loc2.geo.geotiff import utm_crs_name, write_geotiff
from loc2.geo.opening import open_aerial
from loc2.inputs.photo import read_photo_metadata
from tests.geo_scenes import centroid_px, spot_image
from tests.test_geo_photos import gpano, make_exif, save

GEOD = pyproj.Geod(ellps="WGS84")
FRAME = LocalFrame(61.2, 10.3)
COVARIANCE = np.array([[4.0, 3.0, 0.1], [3.0, 9.0, 0.2], [0.1, 0.2, 2.25]])


def make_answer(**changes: object) -> GeoAnswer:
    options: dict[str, object] = {
        "east_m": 900.0, "north_m": -700.0, "heading_deg": 123.0, "covariance": COVARIANCE,
        "name": "a & <b>.jpg", "confidence": 0.81, "attribution": "© Someone",
    }  # fmt: skip
    return geo_answer(FRAME, **(options | changes))  # type: ignore[arg-type]


def test_answer_agrees_with_geodesics() -> None:
    answer = make_answer()
    bearing_deg, _, distance_m = GEOD.inv(10.3, 61.2, answer.longitude_deg, answer.latitude_deg)
    assert distance_m == pytest.approx(np.hypot(900, 700), abs=1e-3)
    assert heading_error_deg(bearing_deg, np.degrees(np.arctan2(900, -700))) < 1e-4
    lean_deg = (answer.longitude_deg - 10.3) * np.sin(np.radians(61.2))
    assert heading_error_deg(answer.heading_true_deg, 123.0 + lean_deg) < 1e-3
    assert answer.heading_sigma_deg == pytest.approx(1.5)


def test_ellipse_holds_95_percent_of_samples() -> None:
    answer = make_answer()
    rng = np.random.default_rng(0)
    points = rng.multivariate_normal((900.0, -700.0), COVARIANCE[:2, :2], 20_000)
    ring = np.array([FRAME.from_lat_lon(lat, lon) for lon, lat in answer.outline()])
    from matplotlib.path import Path as Outline

    assert Outline(ring).contains_points(points).mean() == pytest.approx(0.95, abs=0.01)
    area_m2 = 0.5 * np.sum(ring[:-1, 0] * ring[1:, 1] - ring[1:, 0] * ring[:-1, 1])
    assert area_m2 > 0, "the ring runs counter-clockwise, as GeoJSON asks"
    major_m = np.sqrt(np.linalg.eigvalsh(COVARIANCE[:2, :2])[1] * 5.991)
    assert answer.ellipse.semi_major_m == pytest.approx(major_m, rel=1e-3)


def test_geojson() -> None:
    text = to_geojson([make_answer(), make_answer(name="two")])
    content = json.loads(text)
    assert content["type"] == "FeatureCollection" and len(content["features"]) == 6
    camera, accuracy, heading = content["features"][:3]
    answer = make_answer()
    longitude_deg, latitude_deg = camera["geometry"]["coordinates"]
    assert (latitude_deg, longitude_deg) == pytest.approx(
        (answer.latitude_deg, answer.longitude_deg), abs=1e-8
    )
    assert camera["properties"]["heading_true_deg"] == pytest.approx(answer.heading_true_deg, 1e-6)
    ring = accuracy["geometry"]["coordinates"][0]
    assert ring[0] == ring[-1] and len(ring) >= 4
    start, end = heading["geometry"]["coordinates"]
    azimuth_deg, _, length_m = GEOD.inv(*start, *end)
    assert heading_error_deg(azimuth_deg, answer.heading_true_deg) < 0.01
    assert length_m == pytest.approx(15.0, abs=0.01)


def test_csv() -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv([make_answer(), make_answer(name="=cmd()")]))))
    assert list(rows[0]) == list(COLUMNS)
    assert float(rows[0]["latitude_deg"]) == pytest.approx(make_answer().latitude_deg, abs=1e-8)
    assert rows[0]["name"] == "a & <b>.jpg" and rows[1]["name"] == "'=cmd()"
    unsure = csv.DictReader(io.StringIO(to_csv([make_answer(confidence=None)])))
    assert [row["confidence"] for row in unsure] == [""]


def test_kml_and_gpx_are_well_formed() -> None:
    answer = make_answer(name="a & <b>\x07.jpg")
    kml = ET.fromstring(to_kml([answer]))
    name = {"k": "http://www.opengis.net/kml/2.2"}
    point = kml.find(".//k:Point/k:coordinates", name)
    assert point is not None and point.text is not None
    assert [float(v) for v in point.text.split(",")] == pytest.approx(
        [answer.longitude_deg, answer.latitude_deg], abs=1e-8
    )
    assert kml.findtext(".//k:IconStyle/k:heading", namespaces=name) == (
        f"{answer.heading_true_deg:.3f}"
    )
    assert kml.findtext(".//k:Folder/k:name", namespaces=name) == "a & <b>.jpg"
    gpx = ET.fromstring(to_gpx([answer]))
    waypoint = gpx.find("g:wpt", {"g": "http://www.topografix.com/GPX/1/1"})
    assert waypoint is not None
    assert float(waypoint.attrib["lat"]) == pytest.approx(answer.latitude_deg, abs=1e-8)
    own = waypoint.find(".//{urn:loc2:answer}heading_true_deg")
    assert own is not None and float(own.text or "") == pytest.approx(
        answer.heading_true_deg, abs=1e-3
    )


def test_formats_option(tmp_path: Path) -> None:
    assert parse_formats(" GeoJSON, kml,,geojson ") == ("geojson", "kml")
    with pytest.raises(InputError, match="unknown format 'shp'"):
        parse_formats("kml,shp")
    files = write_answers([make_answer()], tmp_path / "pose.v1", ("geojson", "csv", "kml", "gpx"))
    assert [f.name for f in files] == [
        "pose.v1.geojson",
        "pose.v1.csv",
        "pose.v1.kml",
        "pose.v1.gpx",
    ]
    (tmp_path / "taken.csv").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        write_answers([make_answer()], tmp_path / "taken", ("csv",))


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo = save(tmp_path / "a.jpg")
    there = [tmp_path / "pose.kml", tmp_path / "b.jpg", tmp_path / "overlay.tif"]
    for path in there:
        path.write_bytes(b"before")

    def full(path: Path, data: bytes | str, *_: object, **__: object) -> int:
        with path.open("wb") as file:
            file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    def full_raster(*_: object, **__: object) -> None:
        raise rasterio.errors.RasterioIOError("no space")

    monkeypatch.setattr(Path, "write_text", full)
    monkeypatch.setattr(Path, "write_bytes", full)
    monkeypatch.setattr(rasterio, "open", full_raster)
    area = MetricArea(0.0, 0.0, 10.0, 10.0)
    for write in (
        lambda: write_answers([make_answer()], tmp_path / "pose", ("kml",)),
        lambda: write_exif_copy(photo, there[1], make_answer()),
        lambda: write_geotiff(there[2], torch.zeros(4, 8, 8), LocalFrame(48, 11), area),
    ):
        with pytest.raises(OutputError, match=r"(?i)no space"):
            write()
    assert [path.read_bytes() for path in there] == [b"before"] * 3
    assert sorted(tmp_path.iterdir()) == sorted([photo, *there])


def test_answers_beside_the_antimeridian() -> None:
    frame = LocalFrame(-16.8, 179.99999)
    answer = geo_answer(
        frame, east_m=30.0, north_m=0.0, heading_deg=0.0, covariance=COVARIANCE, name="fiji"
    )
    assert -180.0 <= answer.longitude_deg < -179.9
    longitudes = [lon for lon, _ in answer.outline()]
    assert max(longitudes) - min(longitudes) < 0.001


@settings(max_examples=25, deadline=None)
@given(st.floats(-90, 90), st.floats(-180, 179.999), st.floats(0, 359.99))
def test_exif_copy_round_trip(tmp_path_factory, latitude_deg, longitude_deg, heading_deg) -> None:
    folder = tmp_path_factory.mktemp("exif")
    answer = GeoAnswer("a", latitude_deg, longitude_deg, heading_deg, Ellipse(3.2, 1.0, 0.0), 1.0)
    photo = save(folder / "a.jpg", exif=make_exif(position=(1.0, 2.0), direction=(5.0, "M")))
    write_exif_copy(photo, folder / "b.jpg", answer)
    found = read_photo_metadata(folder / "b.jpg")
    if (abs(latitude_deg), abs(longitude_deg)) > (1e-6, 1e-6):
        assert (found.latitude_deg, found.longitude_deg) == pytest.approx(
            (latitude_deg, longitude_deg), abs=1e-9
        )
        # The file states one standard deviation, the ellipse holds 95 %.
        assert found.position_error_m == pytest.approx(3.2 / 2.4477, rel=1e-3)
    assert heading_error_deg(found.heading_true_deg, heading_deg) < 0.001


@pytest.mark.parametrize("kind", ["jpg", "png"])
@pytest.mark.parametrize("before", ["full", "none", "damaged"])
def test_exif_copy_keeps_everything_else(tmp_path: Path, kind: str, before: str) -> None:
    exif = make_exif(focal35=28, direction=(1.0, "T"), model="Some 1", orientation=3)
    xmp = gpano(PoseHeadingDegrees=7) if before == "full" else None
    photo = save(tmp_path / f"a.{kind}", (96, 48), None if before == "none" else exif, xmp)
    if before == "damaged":
        if kind == "png":
            pytest.skip("a PNG with a damaged chunk is no PNG (checksum)")
        data = photo.read_bytes()
        at = data.index(b"Some 1") - 60
        photo.write_bytes(data[:at] + b"\xff" * 40 + data[at + 40 :])
    copy = tmp_path / f"copy.{kind}"
    write_exif_copy(photo, copy, make_answer())
    with Image.open(photo) as one, Image.open(copy) as two:
        assert np.array_equal(np.asarray(one), np.asarray(two))
    if kind == "jpg":
        start = photo.read_bytes().index(b"\xff\xdb")
        assert copy.read_bytes().endswith(photo.read_bytes()[start:])
    found = read_photo_metadata(copy)
    assert found.latitude_deg == pytest.approx(make_answer().latitude_deg, abs=1e-9)
    assert found.origin("position") == "EXIF"
    if before == "full":
        assert found.camera is not None and found.camera.projection == "equirectangular"
        with Image.open(copy) as image:
            assert image.getexif()[0x0110] == "Some 1" and image.getexif()[0x0112] == 3
    with pytest.raises(InputError, match="overwrite"):
        write_exif_copy(photo, photo, make_answer())


def test_exif_copy_keeps_what_the_answer_does_not_contradict(tmp_path: Path) -> None:
    gps = ExifTags.GPS
    kept = {
        gps.GPSAltitudeRef: b"\0", gps.GPSAltitude: 519.5, gps.GPSTimeStamp: (8.0, 5.0, 30.0),
        gps.GPSDateStamp: "2024:05:01", gps.GPSSpeedRef: "K", gps.GPSSpeed: 5.0,
    }  # fmt: skip
    former = {gps.GPSDOP: 2.0, gps.GPSStatus: "V", gps.GPSDestBearing: 77.0}
    exif = make_exif(position=(1.0, 2.0), direction=(5.0, "M"), extra_gps=kept | former)
    photo = save(tmp_path / "a.jpg", exif=exif)
    write_exif_copy(photo, tmp_path / "b.jpg", make_answer())
    with Image.open(tmp_path / "b.jpg") as image:
        found = image.getexif().get_ifd(ExifTags.IFD.GPSInfo)
    assert {tag: found.get(tag) for tag in kept} == kept
    assert not found.keys() & former.keys()
    assert found[gps.GPSMapDatum] == "WGS-84" and found[gps.GPSImgDirectionRef] == "T"


def test_exif_copy_with_gps_that_cannot_be_written_keeps_the_rest(tmp_path: Path) -> None:
    exif = make_exif(position=(1.0, 2.0), model="Some 1", extra_gps={200: "high"})
    photo = save(tmp_path / "a.jpg", exif=exif)
    text, altitude = struct.pack("<HHI", 200, 2, 5), struct.pack("<HHI", 6, 2, 5)
    before = photo.read_bytes()
    if text not in before:
        text, altitude = (struct.pack(">HHI", tag, 2, 5) for tag in (200, 6))
    photo.write_bytes(before.replace(text, altitude))  # an altitude that is text
    with Image.open(photo) as image:
        assert image.getexif().get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSAltitude] == "high"
    write_exif_copy(photo, tmp_path / "b.jpg", make_answer())
    with Image.open(tmp_path / "b.jpg") as image:
        assert image.getexif()[0x0110] == "Some 1"
        assert ExifTags.GPS.GPSAltitude not in image.getexif().get_ifd(ExifTags.IFD.GPSInfo)
    assert read_photo_metadata(tmp_path / "b.jpg").latitude_deg == pytest.approx(
        make_answer().latitude_deg, abs=1e-9
    )


def test_exif_copy_of_other_formats_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="JPEG and PNG"):
        write_exif_copy(save(tmp_path / "a.webp"), tmp_path / "b.webp", make_answer())
    good = save(tmp_path / "a.jpg").read_bytes()
    for number, data in enumerate((good[:2], good[:30], good[:2] + b"\xff\xe1\0\0" * 4)):
        bad = tmp_path / f"bad{number}.jpg"
        bad.write_bytes(data)
        with pytest.raises(InputError):
            write_exif_copy(bad, tmp_path / "c.jpg", make_answer())


@pytest.mark.parametrize("place", [(48.1, 11.6), (-33.9, 151.2), (61.2, 10.3), (86.0, 20.0)])
def test_overlay_geotiff_opens_at_the_right_place(tmp_path: Path, place) -> None:
    frame, area = LocalFrame(*place), MetricArea(60.0, -40.0, 100.0, 80.0)
    pixels = torch.from_numpy(spot_image(500, 400, 333.0, 111.0, 6.0) / 255.0).float()
    rgba = torch.cat((pixels, torch.ones(1, 400, 500)))
    rgba[3, :, :100] = 0.0
    path = tmp_path / "overlay.tif"
    write_geotiff(path, rgba, frame, area, attribution="© Someone")
    with rasterio.open(path) as dataset:
        assert dataset.crs.to_string() == utm_crs_name(*place)
        assert dataset.transform.b == dataset.transform.d == 0
        assert dataset.tags()["ATTRIBUTION"] == "© Someone"
        bands, transform = dataset.read(), dataset.transform
    u, v = centroid_px(np.square(bands[0].astype(float)) * (bands[3] > 250))
    to_wgs84 = pyproj.Transformer.from_crs(utm_crs_name(*place), "EPSG:4326", always_xy=True)
    found = to_wgs84.transform(transform.c + transform.a * u, transform.f + transform.e * v)
    east_m, north_m = 60.0 + (333.0 - 250) * 0.2, -40.0 + (200 - 111.0) * 0.2
    latitude_deg, longitude_deg = frame.to_lat_lon(east_m, north_m)
    assert GEOD.inv(*found, longitude_deg, latitude_deg)[2] < 0.05
    assert 0.15 < (bands[3] < 5).mean() < 0.6
    source = open_aerial(path)
    assert source.attribution == "© Someone"
    window = source.read(frame, area)
    assert 0.75 < float(window.valid.float().mean()) < 0.85


def test_utm_zones() -> None:
    assert utm_crs_name(0.0, -180.0) == "EPSG:32601" and utm_crs_name(-0.1, 179.9) == "EPSG:32760"
    assert utm_crs_name(52.0, 13.0) == "EPSG:32633" and utm_crs_name(-85.0, 0.0) == "EPSG:32761"
