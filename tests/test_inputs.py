"""Images of every kind are decoded rightly; cameras and depth files are checked."""

import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from loc2.cameras import Equirectangular, Pinhole
from loc2.depth import FlatGround, lift_cells, load_depth
from loc2.errors import InputError
from loc2.inputs import CameraSpec, images, load_image, read_camera_file, resolve_camera
from loc2.inputs.photo import read_photo_metadata

RAMP = np.linspace(0, 255, 20 * 30 * 3).reshape(20, 30, 3).astype(np.uint8)


def test_plain_and_converted_modes_agree(tmp_path: Path) -> None:
    rgb = Image.fromarray(RAMP)
    expected = torch.from_numpy(RAMP.astype(np.float32) / 255).permute(2, 0, 1)
    rgb.save(tmp_path / "rgb.png")
    torch.testing.assert_close(load_image(tmp_path / "rgb.png"), expected)
    torch.testing.assert_close(load_image(rgb), expected)
    torch.testing.assert_close(load_image(RAMP), expected)
    torch.testing.assert_close(load_image(expected), expected)
    rgb.convert("CMYK").save(tmp_path / "cmyk.jpg", quality=100)
    assert (load_image(tmp_path / "cmyk.jpg") - expected).abs().mean() < 0.02


def test_grey_16_bit_and_alpha(tmp_path: Path) -> None:
    grey = np.linspace(0, 65535, 20 * 30).reshape(20, 30).astype(np.uint16)
    Image.fromarray(grey).save(tmp_path / "grey16.png")
    loaded = load_image(tmp_path / "grey16.png")
    assert loaded.shape == (3, 20, 30)
    np.testing.assert_allclose(loaded[1], grey / 65535, atol=1e-6)
    np.testing.assert_allclose(load_image(grey)[0], grey / 65535, atol=1e-6)
    rgba = np.dstack([RAMP, np.zeros((20, 30), np.uint8)])
    rgba[:10, :, 3] = 255
    Image.fromarray(rgba).save(tmp_path / "rgba.png")
    loaded = load_image(tmp_path / "rgba.png").permute(1, 2, 0).numpy()
    np.testing.assert_allclose(loaded[:10], RAMP[:10] / 255, atol=1e-6)
    np.testing.assert_allclose(loaded[10:], 0.5, atol=1e-6)
    Image.fromarray(RAMP).convert("P").save(tmp_path / "palette.gif")
    assert load_image(tmp_path / "palette.gif").shape == (3, 20, 30)
    Image.fromarray(RAMP[..., 0]).convert("1").save(tmp_path / "binary.png")
    assert set(load_image(tmp_path / "binary.png").unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    image = Image.fromarray(RAMP)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / "turned.png", exif=exif)
    width, height = (30, 20) if orientation < 5 else (20, 30)
    loaded = load_image(tmp_path / "turned.png")
    assert loaded.shape == (3, height, width)
    corner = {1: (0, 0), 2: (0, -1), 3: (-1, -1), 4: (-1, 0), 5: (0, 0), 6: (0, -1), 7: (-1, -1)}
    row, col = corner.get(orientation, (-1, 0))  # where the stored first pixel is shown
    np.testing.assert_allclose(loaded[:, row, col], RAMP[0, 0] / 255, atol=1e-6)


@pytest.mark.parametrize("tag", [0x011A, 0x0100])  # resolution as a text, a negative width
def test_other_damage_in_exif_does_not_matter(tmp_path: Path, tag: int) -> None:
    entries = {0x0112: (3, 1, struct.pack("<HH", 6, 0)), 0x0100: (9, 1, struct.pack("<i", -5))}
    if tag == 0x011A:
        entries = {0x0112: entries[0x0112], tag: (2, 4, b"abc\0")}
    body = struct.pack("<H", len(entries))
    for key in sorted(entries):
        kind, count, value = entries[key]
        body += struct.pack("<HHI", key, kind, count) + value
    block = b"Exif\0\0II*\0\x08\0\0\0" + body + b"\0\0\0\0"
    Image.fromarray(RAMP).save(tmp_path / "odd.jpg", exif=block)
    assert load_image(tmp_path / "odd.jpg").shape == (3, 30, 20)


def _bad_files(folder: Path) -> dict[str, str]:
    Image.fromarray(RAMP).resize((300, 200)).save(folder / "whole.png")
    whole = (folder / "whole.png").read_bytes()
    (folder / "truncated.png").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("I am no image")
    Image.new("RGB", (1, 1)).save(folder / "one.png")
    # A PNG header that claims 60000 x 60000 pixels.
    bomb = bytearray(whole)
    bomb[16:24] = (60000).to_bytes(4, "big") * 2
    import zlib

    bomb[29:33] = zlib.crc32(bytes(bomb[12:29])).to_bytes(4, "big")
    (folder / "bomb.png").write_bytes(bomb)
    return {
        "truncated.png": "damaged or truncated",
        "empty.png": "not an image",
        "text.png": "not an image",
        "one.png": "1x1 pixels; at least 14x14",
        "bomb.png": "more than the 179 million pixels allowed; cut out",
        "missing.png": "no such file",
        ".": "not a file",
    }


def test_bad_files_are_named_in_one_line(tmp_path: Path) -> None:
    for name, message in _bad_files(tmp_path).items():
        with pytest.raises(InputError, match=message) as caught:
            load_image(tmp_path / name, "ground image")
        assert "\n" not in str(caught.value)
        assert name == "." or name in str(caught.value)


def test_the_stated_limit_of_pixels_is_the_one_that_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert 2 * (Image.MAX_IMAGE_PIXELS or 0) == images.MAX_PIXELS
    _bad_files(tmp_path)
    with pytest.raises(InputError, match="more than the 179 million pixels allowed") as caught:
        read_photo_metadata(tmp_path / "bomb.png")
    assert "\n" not in str(caught.value)
    monkeypatch.setattr(images, "MAX_PIXELS", 30 * 20 - 1)
    with pytest.raises(InputError, match="30x20, more than the"):
        load_image(Image.new("RGB", (30, 20)))


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((20, 30, 2)),
        np.zeros((20,)),
        np.full((20, 30), np.nan),
        np.full((20, 30), 7.0),
        np.full((20, 30), "a"),
        torch.zeros(20, 30, 3),
    ],
)
def test_bad_arrays_are_refused(array: np.ndarray | torch.Tensor) -> None:
    with pytest.raises(InputError):
        load_image(array)


def test_camera_resolution_and_contradictions(tmp_path: Path) -> None:
    assert resolve_camera(CameraSpec(), 200, 100) == Equirectangular(200, 100)
    cropped = resolve_camera(CameraSpec(elevation_top_deg=30, elevation_bottom_deg=-20), 300, 70)
    assert cropped == Equirectangular(300, 70, 0, 0, 30, -20)
    assert isinstance(resolve_camera(CameraSpec(hfov_deg=90), 200, 100), Pinhole)
    half = CameraSpec(fx=100, fy=100, cx=50, cy=40, width=100, height=80)
    assert resolve_camera(half, 200, 160) == Pinhole(200, 160, 0, 0, 200, 200, 100, 80)
    for spec, message in [
        (CameraSpec(), "not the 2:1"),
        (CameraSpec(projection="pinhole"), "needs hfov_deg"),
        (CameraSpec(hfov_deg=90, projection="equirectangular"), "no focal length"),
        (CameraSpec(hfov_deg=90, fx=10), "not both"),
        (CameraSpec(fx=10, fy=10), "all of fx"),
        (CameraSpec(projection="pinhole", elevation_top_deg=10), "elevations belong"),
        (CameraSpec(elevation_top_deg=-30, elevation_bottom_deg=30), "elevations must satisfy"),
        (CameraSpec(fx=1, fy=1, cx=1, cy=1, width=100, height=10), "intrinsics are for"),
    ]:
        with pytest.raises(InputError, match=message):
            resolve_camera(spec, 300, 100)
    path = tmp_path / "camera.json"
    for content, message in [
        ("{", "Invalid JSON"),
        ('{"projection": "fisheye"}', "projection"),
        ('{"fx": -3}', "fx"),
        ('{"focal": 3}', "focal"),
        ('{"camera_height_m": "NaN"}', "camera_height_m"),
    ]:
        path.write_text(content)
        with pytest.raises(InputError, match=message):
            read_camera_file(path)
    path.write_text(json.dumps({"projection": "pinhole", "hfov_deg": 60, "roll_deg": 2}))
    assert read_camera_file(path).roll_deg == 2
    with pytest.raises(InputError, match="cannot be read"):
        read_camera_file(tmp_path / "none.json")


def test_flat_ground_by_hand() -> None:
    camera = Equirectangular(72, 36)
    flat = FlatGround(camera_height_m=2.0, max_range_m=30.0)(torch.zeros(3, 36, 72), camera)
    # The row centred at -42.5 degrees meets the ground at 2 / sin(42.5 degrees).
    row = 26
    assert flat.depth[row, 0] == pytest.approx(2.0 / np.sin(np.radians(42.5)), rel=1e-5)
    assert not flat.valid[:18].any()
    assert not flat.valid[18].any()  # 2.5 degrees below the horizon: 46 m
    assert flat.valid[19:].all()
    points, valid = lift_cells(flat, camera, 36, 72)
    np.testing.assert_allclose(points[valid][:, 2], -2.0, atol=1e-4)


def test_flat_ground_follows_pitch() -> None:
    level = Pinhole.from_hfov(40, 40, 90)
    down = Pinhole.from_hfov(40, 40, 90, pitch_deg=-30)
    image = torch.zeros(3, 40, 40)
    assert FlatGround(1.6)(image, down).valid.sum() > FlatGround(1.6)(image, level).valid.sum()
    points, valid = lift_cells(FlatGround(1.6)(image, down), down, 40, 40)
    np.testing.assert_allclose(points[valid][:, 2], -1.6, atol=1e-4)


def test_depth_files_of_every_kind(tmp_path: Path) -> None:
    camera = Pinhole.from_hfov(40, 20, 90)
    metres = np.linspace(1, 30, 20 * 40).reshape(20, 40)
    np.save(tmp_path / "d.npy", metres)
    np.savez(tmp_path / "d.npz", depth=metres * 100, unit="cm", kind="range")
    Image.fromarray((metres * 1000).astype(np.uint16)).save(tmp_path / "mm.png")
    Image.fromarray((metres * 256).astype(np.uint16)).save(tmp_path / "kitti.png")
    Image.fromarray(metres.astype(np.float32)).save(tmp_path / "float.tiff")
    for name, unit, kind, tolerance in [
        ("d.npy", "m", "z", 1e-5),
        ("d.npz", None, "range", 1e-5),
        ("mm.png", "mm", "z", 1e-3),
        ("kitti.png", "m/256", "z", 4e-3),
        ("float.tiff", "m", "z", 1e-5),
    ]:
        loaded = load_depth(tmp_path / name, camera, unit)
        assert loaded.kind == kind
        assert loaded.metric
        np.testing.assert_allclose(loaded.depth, metres, atol=tolerance)
    assert not load_depth(tmp_path / "d.npy", camera, "relative").metric


def test_invalid_depth_is_masked_and_all_invalid_refused(tmp_path: Path) -> None:
    camera = Pinhole.from_hfov(40, 20, 90)
    depth = np.full((20, 40), 5.0)
    depth[0, 0], depth[1, 1], depth[2, 2], depth[3, 3] = np.nan, -1, 0, np.inf
    np.save(tmp_path / "some.npy", depth)
    loaded = load_depth(tmp_path / "some.npy", camera, "m")
    assert int((~loaded.valid).sum()) == 4
    points, valid = lift_cells(loaded, camera, 20, 40)
    assert torch.isfinite(points).all()
    assert int((~valid).sum()) == 4
    bad: list[tuple[str, np.ndarray, str]] = [
        ("nan.npy", np.full((20, 40), np.nan), "no valid depth"),
        ("negative.npy", np.full((20, 40), -1.0), "no valid depth"),
        ("size.npy", np.ones((20, 20)), "another shape"),
        ("cube.npy", np.ones((2, 20, 40)), "one map"),
        ("words.npy", np.full((20, 40), "a"), "one map"),
    ]
    for name, array, message in bad:
        np.save(tmp_path / name, array)
        with pytest.raises(InputError, match=message):
            load_depth(tmp_path / name, camera, "m")
    Image.new("L", (40, 20)).save(tmp_path / "eight.png")
    (tmp_path / "broken.npz").write_bytes(b"PK broken")
    np.savez(tmp_path / "other.npz", depths=depth)
    for name, message in [
        ("eight.png", "8-bit"),
        ("broken.npz", "cannot be read"),
        ("other.npz", "no array named"),
        ("none.npy", "no such file"),
    ]:
        with pytest.raises(InputError, match=message):
            load_depth(tmp_path / name, camera, "m")
    with pytest.raises(InputError, match="--depth-unit"):
        load_depth(tmp_path / "some.npy", camera)
    with pytest.raises(InputError, match="no meaning for a panorama"):
        load_depth(tmp_path / "some.npy", Equirectangular(40, 20), "m", "z")
    np.savez(tmp_path / "cm.npz", depth=np.ones((20, 40)), unit="cm")
    with pytest.raises(InputError, match="the file says 'cm'"):
        load_depth(tmp_path / "cm.npz", camera, "m")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_unreadable_file(tmp_path: Path) -> None:
    path = tmp_path / "locked.png"
    Image.fromarray(RAMP).save(path)
    path.chmod(0)
    with pytest.raises(InputError):
        load_image(path)
