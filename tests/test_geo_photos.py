"""Priors from EXIF, XMP and sidecars, written by real encoders."""

from __future__ import annotations

import datetime
import io
import itertools
import json
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, features
from PIL.TiffImagePlugin import IFDRational

from loc2.errors import InputError
from loc2.inputs.camera_files import CameraSpec, resolve_camera
from loc2.inputs.exif import magnetic_declination_deg
from loc2.inputs.images import load_image
from loc2.inputs.metadata import PhotoMetadata
from loc2.inputs.photo import pad_panorama, read_photo_metadata
from loc2.inputs.photo_priors import photo_priors

GPS, BASE = ExifTags.GPS, ExifTags.Base
ENCODERS = ["jpg", "png", "webp", "tif", "heic"]


def rational(value: float, limit: int = 1_000_000) -> IFDRational:
    fraction = Fraction(value).limit_denominator(limit)
    return IFDRational(fraction.numerator, fraction.denominator)


def dms(value_deg: float) -> tuple[IFDRational, IFDRational, IFDRational]:
    degrees, rest = divmod(abs(value_deg), 1)
    minutes, rest = divmod(rest * 60, 1)
    return rational(degrees), rational(minutes), rational(round(rest * 60, 4))


def make_exif(
    *,
    position: tuple[float, float] | None = None,
    error_m: float | None = None,
    direction: tuple[float, str | None] | None = None,
    focal35: int | None = None,
    focal_mm: float | None = None,
    extra: dict[int, object] | None = None,
    extra_gps: dict[int, object] | None = None,
    orientation: int | None = None,
    model: str | None = None,
) -> Image.Exif:
    exif = Image.Exif()
    gps: dict[int, object] = {}
    details: dict[int, object] = {BASE.DateTimeOriginal: "2024:07:01 12:00:00"}
    if position is not None:
        gps |= {
            GPS.GPSLatitudeRef: "N" if position[0] >= 0 else "S", GPS.GPSLatitude: dms(position[0]),
            GPS.GPSLongitudeRef: "E" if position[1] >= 0 else "W",
            GPS.GPSLongitude: dms(position[1]),
        }  # fmt: skip
    if error_m is not None:
        gps[GPS.GPSHPositioningError] = rational(error_m)
    if direction is not None:
        gps[GPS.GPSImgDirection] = rational(direction[0])
        if direction[1] is not None:
            gps[GPS.GPSImgDirectionRef] = direction[1]
    if focal35 is not None:
        details[BASE.FocalLengthIn35mmFilm] = focal35
    if focal_mm is not None:
        details[BASE.FocalLength] = rational(focal_mm)
    details |= extra or {}
    gps |= extra_gps or {}
    exif._ifds[ExifTags.IFD.Exif] = details
    exif._ifds[ExifTags.IFD.GPSInfo] = gps
    exif[ExifTags.IFD.Exif] = 0
    exif[ExifTags.IFD.GPSInfo] = 0
    if orientation is not None:
        exif[BASE.Orientation] = orientation
    if model is not None:
        exif[BASE.Model] = model
    return exif


def gpano(element_form: bool = False, **values: object) -> bytes:
    fields = {"ProjectionType": "equirectangular"} | values
    attributes = "" if element_form else " ".join(f'GPano:{k}="{v}"' for k, v in fields.items())
    inside = "".join(f"<GPano:{k}>{v}</GPano:{k}>" for k, v in fields.items()) * element_form
    return (
        '<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
        'xmlns:GPano="http://ns.google.com/photos/1.0/panorama/" '
        'xmlns:exif="http://ns.adobe.com/exif/1.0/" '
        f'rdf:about="" {attributes}>{inside}</rdf:Description></rdf:RDF></x:xmpmeta>'
        '<?xpacket end="w"?>'
    ).encode()


def save(
    path: Path, size: tuple[int, int] = (64, 48), exif: Image.Exif | None = None,
    xmp: bytes | None = None,
) -> Path:  # fmt: skip
    image = Image.fromarray(np.full((size[1], size[0], 3), 90, np.uint8))
    options: dict[str, object] = {} if exif is None else {"exif": exif.tobytes()}
    if path.suffix == ".heic":
        heif = pytest.importorskip("pillow_heif")
        heif.from_pillow(image).save(path, **options, **({"xmp": xmp} if xmp else {}))
        return path
    if xmp and path.suffix == ".png":
        from PIL.PngImagePlugin import PngInfo

        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp.decode())
    elif xmp and path.suffix == ".tif":
        from PIL.TiffImagePlugin import ImageFileDirectory_v2

        tags = ImageFileDirectory_v2()
        tags[700] = xmp
        options["tiffinfo"] = tags
        assert exif is None, "Pillow writes one of the two"
    elif xmp:
        options["xmp"] = xmp
    image.save(path, **options)
    return path


COMBINATIONS = list(
    itertools.product(
        [None, (48.85661, 2.35222), (-33.85678, 151.21529), (40.68925, -74.04447)],  # position
        [None, (123.5, "T"), (123.5, "M"), (123.5, None)],  # direction
        [None, "35mm", "plane"],  # focal length
        [None, 1, 3, 6, 8],  # orientation
    )
)


@pytest.mark.parametrize("kind", ENCODERS)
def test_every_exif_combination(tmp_path: Path, kind: str) -> None:
    steps = 1 if kind in ("jpg", "heic") else 7  # the same tags in other containers
    for number, (position, direction, focal, orientation) in enumerate(COMBINATIONS[::steps]):
        exif = make_exif(
            position=position,
            error_m=4.5 if position else None,
            direction=direction,
            orientation=orientation,
            focal35=28 if focal == "35mm" else None,
            focal_mm=5.0 if focal == "plane" else None,
            extra={
                BASE.FocalPlaneXResolution: rational(640.0), BASE.FocalPlaneResolutionUnit: 3,
                BASE.ExifImageWidth: 640, BASE.ExifImageHeight: 480,
            } if focal == "plane" else None,
        )  # fmt: skip
        path = save(tmp_path / f"{number}.{kind}", (64, 48), exif)
        found = read_photo_metadata(path)
        if position is None:
            assert found.latitude_deg is None and found.origin("position") is None
        else:
            assert found.latitude_deg == pytest.approx(position[0], abs=1e-6)
            assert found.longitude_deg == pytest.approx(position[1], abs=1e-6)
            assert found.position_error_m == pytest.approx(4.5)
            assert found.origin("position") == "EXIF"
        if direction is None:
            assert found.heading_true_deg is None
        elif direction[1] == "M" and position is not None:
            declination_deg, _ = magnetic_declination_deg(*position, 2024.5)
            expected_deg = (123.5 + declination_deg) % 360
            assert found.heading_true_deg == pytest.approx(expected_deg, abs=0.1)
        else:
            assert found.heading_true_deg == pytest.approx(123.5)
            uncertain = direction[1] != "T"
            assert bool(found.warnings) == uncertain
            assert (found.heading_error_deg > 20) == uncertain
        width, height = load_image(path).shape[:0:-1]
        upright = orientation in (None, 1, 3)
        assert (width, height) == ((64, 48) if upright else (48, 64))
        if focal is None:
            assert found.camera is None
        else:
            camera = resolve_camera(found.camera, width, height)
            diagonal_px = math.hypot(64, 48)
            # 28 mm of 43.27 mm; 5 mm on a sensor of 640 px / (640 px / cm) = 10 mm
            focal_px = 28 / 43.2666 * diagonal_px if focal == "35mm" else 5.0 / 10.0 * 64
            assert camera.fx == pytest.approx(focal_px, rel=1e-4)


@pytest.mark.parametrize(("lat", "lon", "year", "declination_deg"), [
    (80.0, 0.0, 2025.0, 1.28), (0.0, 120.0, 2025.0, -0.16), (-80.0, 240.0, 2025.0, 68.78),
    (80.0, 0.0, 2020.0, -1.28), (-80.0, 240.0, 2020.0, 69.36),
])  # fmt: skip
def test_declination_agrees_with_published_test_values(lat, lon, year, declination_deg) -> None:
    """Values published with the World Magnetic Models 2025 and 2020, height 0."""
    lon = lon - 360 if lon > 180 else lon
    found_deg, _ = magnetic_declination_deg(lat, lon, year)
    assert found_deg == pytest.approx(declination_deg, abs=0.02)


@pytest.mark.parametrize("unit", [2, 3, 4, 5])
def test_sensor_size_in_every_unit(tmp_path: Path, unit: int) -> None:
    mm_per_unit = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}[unit]
    exif = make_exif(
        focal_mm=35.0,
        extra={
            BASE.FocalPlaneXResolution: rational(6000 / 36.0 * mm_per_unit, 10**7),
            BASE.FocalPlaneResolutionUnit: unit,
            BASE.ExifImageWidth: 6000,
            BASE.ExifImageHeight: 4000,
        },
    )
    found = read_photo_metadata(save(tmp_path / "a.jpg", (600, 400), exif))
    assert found.camera.hfov_deg == pytest.approx(2 * math.degrees(math.atan(18 / 35)), abs=0.01)


def test_sensor_of_a_known_model_and_of_none(tmp_path: Path) -> None:
    known = make_exif(focal_mm=8.8, model="FC6310")
    found = read_photo_metadata(save(tmp_path / "a.jpg", (600, 400), known))
    assert found.camera.hfov_deg == pytest.approx(2 * math.degrees(math.atan(6.6 / 8.8)), abs=0.01)
    unknown = make_exif(focal_mm=8.8, model="Nothing 1")
    found = read_photo_metadata(save(tmp_path / "b.jpg", (600, 400), unknown))
    assert found.camera is None and "no sensor size" in found.warnings[0]


@pytest.mark.parametrize("kind", ENCODERS)
@pytest.mark.parametrize("element_form", [False, True])
def test_full_panorama(tmp_path: Path, kind: str, element_form: bool) -> None:
    xmp = gpano(
        element_form, FullPanoWidthPixels=8192, FullPanoHeightPixels=4096,
        CroppedAreaImageWidthPixels=8192, CroppedAreaImageHeightPixels=4096,
        CroppedAreaLeftPixels=0, CroppedAreaTopPixels=0, PoseHeadingDegrees=350.1,
        PosePitchDegrees=-2.5, PoseRollDegrees="1.25",
    )  # fmt: skip
    found = read_photo_metadata(save(tmp_path / f"p.{kind}", (128, 64), xmp=xmp))
    camera = resolve_camera(found.camera, 128, 64)
    assert (camera.elevation_top_deg, camera.elevation_bottom_deg) == (90, -90)
    assert (camera.pitch_deg, camera.roll_deg) == (-2.5, 1.25)
    assert found.heading_true_deg == pytest.approx(350.1)
    assert found.crop is None and not found.warnings
    assert dict(found.origins) == {"heading": "XMP GPano", "camera": "XMP GPano"}


def test_cropped_panorama_and_its_padding(tmp_path: Path) -> None:
    xmp = gpano(
        FullPanoWidthPixels=1000, FullPanoHeightPixels=500, CroppedAreaImageWidthPixels=600,
        CroppedAreaImageHeightPixels=200, CroppedAreaLeftPixels=100, CroppedAreaTopPixels=150,
    )  # fmt: skip
    path = save(tmp_path / "p.jpg", (300, 100), xmp=xmp)
    found = read_photo_metadata(path)
    assert found.camera.elevation_top_deg == pytest.approx(90 - 180 * 150 / 500)
    assert found.camera.elevation_bottom_deg == pytest.approx(90 - 180 * 350 / 500)
    assert (found.crop.left, found.crop.width) == (0.1, 0.6)
    padded = pad_panorama(load_image(path), found.crop)
    assert padded.shape == (3, 100, 500)
    covered = (padded.sum(dim=(0, 1)) > 0).nonzero().flatten()
    assert (covered.min(), covered.max() + 1) == (50, 350)


def test_panorama_with_exif_uses_gpano_for_the_camera(tmp_path: Path) -> None:
    exif = make_exif(position=(48.1, 11.5), direction=(10.0, "T"), focal35=28)
    xmp = gpano(PoseHeadingDegrees=200)
    found = read_photo_metadata(save(tmp_path / "p.jpg", (128, 64), exif, xmp))
    assert found.camera.projection == "equirectangular" and found.heading_true_deg == 200
    assert found.origin("position") == "EXIF"


@pytest.mark.parametrize("fields", [
    {"ProjectionType": "cylindrical"},
    {"FullPanoWidthPixels": 0, "FullPanoHeightPixels": 0},
    {"FullPanoWidthPixels": -8, "FullPanoHeightPixels": -4},
    {"FullPanoWidthPixels": "nan", "FullPanoHeightPixels": "nan"},
    {"FullPanoWidthPixels": "1e999", "FullPanoHeightPixels": 4},
    {"FullPanoWidthPixels": "abc", "FullPanoHeightPixels": 4},
    {"FullPanoWidthPixels": 800, "FullPanoHeightPixels": 800},
    {"FullPanoWidthPixels": 128, "FullPanoHeightPixels": 64, "CroppedAreaLeftPixels": 9},
    {"FullPanoWidthPixels": 128, "FullPanoHeightPixels": 64, "CroppedAreaTopPixels": -3},
    {"FullPanoWidthPixels": 128, "FullPanoHeightPixels": 64, "CroppedAreaImageWidthPixels": 20},
    {
        "FullPanoWidthPixels": 4, "FullPanoHeightPixels": 2, "CroppedAreaImageWidthPixels": 1,
        "CroppedAreaImageHeightPixels": 0.5, "CroppedAreaTopPixels": 2.5,
    },
    {
        "FullPanoWidthPixels": 4, "FullPanoHeightPixels": 2, "CroppedAreaImageWidthPixels": 1,
        "CroppedAreaImageHeightPixels": 0.5, "CroppedAreaLeftPixels": 4,
    },
    {
        "FullPanoWidthPixels": 2e9, "FullPanoHeightPixels": 1e9,
        "CroppedAreaImageWidthPixels": 20, "CroppedAreaImageHeightPixels": 10,
    },
    {"PosePitchDegrees": 1e9},
    {"PoseHeadingDegrees": 720},
    {"PoseHeadingDegrees": "1/0"},
])  # fmt: skip
def test_senseless_gpano_warns(tmp_path: Path, fields: dict[str, object]) -> None:
    found = read_photo_metadata(save(tmp_path / "p.jpg", (128, 64), xmp=gpano(**fields)))
    assert len(found.warnings) == 1 and "\n" not in found.warnings[0]
    assert found.warnings[0].startswith("p.jpg: XMP")


@pytest.mark.parametrize("packet", [
    b"", b"no xml", b"<a><b></a>", b"\xff\xfe\x00<", gpano()[:-60],
    b'<!DOCTYPE a [<!ENTITY x "y"><!ENTITY z "&x;&x;&x;&x;">]><a>&z;</a>',
    b'<?xml version="1.0"?><!DOCTYPE r [<!ENTITY f SYSTEM "file:///etc/passwd">]><r>&f;</r>',
    '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE a []><a/>'.encode("utf-16"),
    b'<?xml version="1.0" encoding="shift_jis"?>' + gpano(),
    b'<?xml version="1.0" encoding="bogus"?>' + gpano(),
    b"<a>" * 60_000, b"<a/>" + b" " * 2_000_000 + b"<b/>",
])  # fmt: skip
def test_broken_xmp_warns(tmp_path: Path, packet: bytes) -> None:
    path = save(tmp_path / "p.png", (128, 64))
    (tmp_path / "p.xmp").write_bytes(packet)
    found = photo_priors(path)
    assert found.camera is None and len(found.warnings) == 1
    assert found.warnings[0].startswith("p.xmp: ") and "\n" not in found.warnings[0]
    if 0 < len(packet) < 60_000:
        found = read_photo_metadata(save(tmp_path / "q.jpg", (128, 64), xmp=packet))
        assert found.camera is None and len(found.warnings) == 1


BAD_GPS = {
    "zero denominators": {GPS.GPSLatitude: (IFDRational(1, 0),) * 3},
    "out of range": {GPS.GPSLatitude: (rational(91), rational(0), rational(0))},
    "no letter": {GPS.GPSLatitudeRef: ""},
    "wrong letter": {GPS.GPSLatitudeRef: "E"},
    "too many": {GPS.GPSLatitude: (rational(1),) * 9},
    "null island": {GPS.GPSLatitude: (rational(0),) * 3, GPS.GPSLongitude: (rational(0),) * 3},
}


@pytest.mark.parametrize("case", BAD_GPS)
def test_senseless_gps_warns(tmp_path: Path, case: str) -> None:
    exif = make_exif(position=(48.0, 11.0), direction=(90.0, "T"), extra_gps=BAD_GPS[case])
    found = read_photo_metadata(save(tmp_path / "p.jpg", exif=exif))
    assert found.latitude_deg is None and found.longitude_deg is None
    assert len(found.warnings) == 1 and found.heading_true_deg == 90.0


def test_doubtful_values_warn(tmp_path: Path) -> None:
    exif = make_exif(
        position=(48.0, 11.0), direction=(361.0, "T"), focal35=1, extra_gps={
            GPS.GPSHPositioningError: IFDRational(0, 0), GPS.GPSMapDatum: "TOKYO",
            GPS.GPSStatus: "V",
        },
    )  # fmt: skip
    found = read_photo_metadata(save(tmp_path / "p.jpg", exif=exif))
    assert found.latitude_deg == pytest.approx(48.0) and found.position_error_m is None
    assert found.camera is None and found.heading_true_deg is None
    text = " ".join(found.warnings)
    assert all(word in text for word in ("TOKYO", "fix", "direction", "focal", "position error"))


def base_jpeg() -> bytes:
    exif = make_exif(position=(48.0, 11.0), error_m=3, direction=(90.0, "M"), focal35=28)
    out = io.BytesIO()
    Image.new("RGB", (64, 32)).save(out, "JPEG", exif=exif.tobytes(), xmp=gpano())
    return out.getvalue()


JPEG = base_jpeg()
METADATA_END = JPEG.index(b"\xff\xdb")


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    edits=st.lists(
        st.tuples(st.integers(20, METADATA_END - 1), st.integers(0, 255)), min_size=1, max_size=12
    )
)
def test_fuzzed_metadata_never_crashes(tmp_path_factory: pytest.TempPathFactory, edits) -> None:
    data = bytearray(JPEG)
    for where, value in edits:
        data[where] = value
    path = tmp_path_factory.mktemp("fuzz") / "p.jpg"
    path.write_bytes(bytes(data))
    try:
        found = read_photo_metadata(path)
    except InputError as error:  # the image itself is broken
        assert "\n" not in str(error)
        return
    assert all("\n" not in line for line in found.warnings)
    if found.latitude_deg is not None:
        assert abs(found.latitude_deg) <= 90 and abs(found.longitude_deg) <= 180
    if found.heading_true_deg is not None:
        assert 0 <= found.heading_true_deg < 360
    if found.camera is not None and found.camera.hfov_deg is not None:
        assert 0 < found.camera.hfov_deg < 180


def test_order_of_priors(tmp_path: Path) -> None:
    exif = make_exif(position=(48.0, 11.0), error_m=5, direction=(90.0, "T"), focal35=28)
    path = save(tmp_path / "p.jpg", exif=exif)
    plain = photo_priors(path)
    assert plain.origin("position") == "EXIF" and plain.latitude_deg == pytest.approx(48.0)
    xmp = (
        b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
        b'xmlns:exif="http://ns.adobe.com/exif/1.0/" exif:GPSLatitude="47,30.6S" '
        b'exif:GPSLongitude="8,15,36W"/></rdf:RDF>'
    )
    (tmp_path / "p.xmp").write_bytes(xmp)
    found = photo_priors(path)
    assert (found.latitude_deg, found.longitude_deg) == pytest.approx((-47.51, -8.26))
    assert found.origin("position") == "sidecar p.xmp" and found.heading_true_deg == 90.0
    sidecar = {"latitude_deg": 46.0, "longitude_deg": 7.0, "roll_deg": 3.0, "heading_true_deg": 360}
    (tmp_path / "p.jpg.loc2.json").write_text(json.dumps(sidecar))
    found = photo_priors(path)
    assert found.latitude_deg == 46.0 and found.heading_true_deg == 0.0
    assert found.origin("position") == found.origin("heading") == "sidecar p.jpg.loc2.json"
    assert found.camera.roll_deg == 3.0 and found.camera.hfov_deg == plain.camera.hfov_deg
    given = PhotoMetadata(
        heading_true_deg=12.0,
        heading_error_deg=2.0,
        camera=CameraSpec(hfov_deg=50.0),
        origins=(("heading", "given"), ("camera", "given")),
    )
    found = photo_priors(path, given)
    assert (found.heading_true_deg, found.heading_error_deg) == (12.0, 2.0)
    assert found.camera.hfov_deg == 50.0 and found.camera.roll_deg == 3.0
    assert dict(found.origins) == {
        "position": "sidecar p.jpg.loc2.json", "heading": "given", "camera": "given",
    }  # fmt: skip
    nothing = photo_priors(save(tmp_path / "none.png"))
    assert nothing == PhotoMetadata()


BAD_SIDECARS = [
    "{", "[]", '{"latitude_deg": 99, "longitude_deg": 1}', '{"latitude_deg": 9}', '{"lat": 1}',
    '{"hfov_deg": NaN}',
]  # fmt: skip


@pytest.mark.parametrize("text", BAD_SIDECARS)
def test_a_damaged_sidecar_is_an_error_with_its_name(tmp_path: Path, text: str) -> None:
    path = save(tmp_path / "p.jpg")
    (tmp_path / "p.jpg.loc2.json").write_text(text)
    with pytest.raises(InputError, match=r"p\.jpg\.loc2\.json") as error:
        photo_priors(path)
    assert "\n" not in str(error.value)


def test_no_image_and_damaged_heic_are_errors(tmp_path: Path) -> None:
    pytest.importorskip("pillow_heif")
    (tmp_path / "a.jpg").write_bytes(b"nothing")
    good = save(tmp_path / "good.heic").read_bytes()
    (tmp_path / "b.heic").write_bytes(good[:200])
    (tmp_path / "c.heic").write_bytes(good[: len(good) // 2] + b"\0" * 40)
    for name in ("a.jpg", "b.heic"):
        with pytest.raises(InputError) as error:
            read_photo_metadata(tmp_path / name)
        assert "\n" not in str(error.value)
    with pytest.raises(InputError):
        load_image(tmp_path / "c.heic")


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow reads no AVIF")
def test_avif_is_not_taken_for_heic(tmp_path: Path) -> None:
    exif = make_exif(position=(48.0, 11.0))
    avif = save(tmp_path / "a.avif", exif=exif).read_bytes()
    assert avif[8:12] == avif[16:20] == b"avif"
    (tmp_path / "b.avif").write_bytes(avif[:8] + b"mif1" + avif[12:])
    for name in ("a.avif", "b.avif"):
        assert load_image(tmp_path / name).shape == (3, 48, 64)
        assert read_photo_metadata(tmp_path / name).latitude_deg == pytest.approx(48.0)
    pytest.importorskip("pillow_heif")
    (tmp_path / "c.heic").write_bytes(avif[:8] + b"mif1" + avif[12:16] + b"mif1" + avif[20:])
    with pytest.raises(InputError, match=r"c\.heic: .*HEIC") as error:
        load_image(tmp_path / "c.heic")
    assert "\n" not in str(error.value)


def test_year_matters_for_the_declination() -> None:
    now, _ = magnetic_declination_deg(60.0, -100.0, datetime.date(2026, 1, 1).year)
    then, _ = magnetic_declination_deg(60.0, -100.0, 2011.0)
    assert abs(now - then) > 0.3
    assert magnetic_declination_deg(None, None, 2025.0)[0] is None
    assert magnetic_declination_deg(86.5, 164.0, 2021.0)[0] is None  # beside the magnetic pole
