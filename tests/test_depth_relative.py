"""Inverse depth up to scale and shift, files of every kind, masks."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from loc2.cameras import Camera, Equirectangular, Pinhole
from loc2.depth import DepthMap, inverse_to_depth, load_depth
from loc2.depth.masks import (
    MaskOptions,
    apply_masks,
    below_elevation,
    black_borders,
    sky_by_color,
)
from loc2.depth.record import DepthRecord, camera_spec, read_record
from loc2.depth.relative import fit_ground_line, ground_factor
from loc2.depth.store import convert_kind, resize_depth, to_metric, write_depth
from loc2.errors import InputError
from loc2.inputs import resolve_camera
from tests.depth_scenes import BOX_ROOM, SLOPE, Box, Scene, picture, pixel_rays

STREET = Scene(
    height_m=1.8, boxes=(Box((-9.0, 3.0, -1.8), (-4.0, 30.0, 6.0)), Box((2, 6, -1.8), (4, 10, 0)))
)
PHOTO = Pinhole.from_hfov(160, 120, 75.0, roll_deg=2.0, pitch_deg=-5.0)
PANO = Equirectangular(192, 96, 1.0, -1.0)
CAMERAS: list[Camera] = [PHOTO, PANO]


def true_depth(scene: Scene, camera: Camera) -> Tensor:
    """Depth of the camera's own kind, infinite for sky."""
    uv_px = torch.stack(
        torch.meshgrid(
            torch.arange(camera.width) + 0.5, torch.arange(camera.height) + 0.5, indexing="xy"
        ),
        -1,
    )
    return scene.range_m(pixel_rays(camera)) / camera.range_per_depth(uv_px, camera.depth_kind)


@pytest.mark.parametrize("camera", CAMERAS, ids=["photo", "panorama"])
@settings(max_examples=15, deadline=None)
@given(scale=st.floats(0.01, 100.0), shift=st.floats(-5.0, 5.0))
def test_the_ground_gives_shift_and_scale(camera: Camera, scale: float, shift: float) -> None:
    truth = true_depth(STREET, camera)
    known = torch.isfinite(truth)
    value = scale * (torch.where(known, 1 / truth, 0.0) + shift)
    depth, valid, source = inverse_to_depth(value, known, camera, camera.depth_kind)
    assert source == "ground"
    near = valid & (truth < 30)
    assert float(near.float().sum()) > 0.95 * float((truth < 30).float().sum())
    # in units of the camera's height
    assert torch.allclose(depth[near] * STREET.height_m, truth[near], rtol=0.02)


def test_without_ground_the_far_regions_give_the_shift() -> None:
    camera = Pinhole.from_hfov(160, 80, 60.0, pitch_deg=30.0)  # looks over the ground
    truth = true_depth(Scene(1.8, boxes=(Box((-6, 8, -2), (0, 12, 9)),)), camera)
    value = 3.0 * torch.where(torch.isfinite(truth), 1 / truth, 0.0) + 7.0
    depth, valid, source = inverse_to_depth(value, torch.ones_like(valid_of(truth)), camera, "z")
    assert source == "far"
    assert torch.equal(valid, torch.isfinite(truth))
    ratio = (depth / truth)[valid]
    assert float(ratio.std() / ratio.mean()) < 1e-3


def valid_of(depth: Tensor) -> Tensor:
    return torch.isfinite(depth)


def test_what_is_no_ground_is_not_taken_for_it() -> None:
    noise = torch.rand(4000, generator=torch.Generator().manual_seed(0))
    factor = ground_factor(PHOTO, "z", 120, 160)[60:].flatten()[:4000]
    assert fit_ground_line(noise, factor) is None  # no line
    assert fit_ground_line(1 - factor, factor) is None  # falls towards the camera
    with pytest.raises(InputError, match="equal"):
        inverse_to_depth(torch.ones(120, 160), torch.ones(120, 160).bool(), PHOTO, "z")
    with pytest.raises(InputError, match="no valid"):
        inverse_to_depth(torch.ones(120, 160), torch.zeros(120, 160).bool(), PHOTO, "z")


def test_inverse_depth_files_are_lifted_as_depth(tmp_path: Path) -> None:
    truth = true_depth(STREET, PHOTO)
    value = np.where(np.isfinite(truth.numpy()), 0.3 / truth.numpy() + 1.1, 0.0)
    np.savez(tmp_path / "d.npz", depth=value, unit="inverse", kind="z")
    Image.fromarray((value * 20000).astype(np.uint16)).save(tmp_path / "d.png")
    for found in (
        load_depth(tmp_path / "d.npz", PHOTO),
        load_depth(tmp_path / "d.png", PHOTO, "inverse", "z"),
    ):
        assert not found.metric and found.kind == "z"
        near = found.valid & (truth < 20)
        ratio = (found.depth / truth)[near]
        assert float((ratio / ratio.median() - 1).abs().max()) < 0.02


def _record(camera: Camera) -> DepthRecord:
    return DepthRecord(
        image="a.jpg", model="m", version="1", licence="MIT", kind="z", unit="m",
        camera=camera_spec(camera, 1.8), camera_height_m=1.8, valid_percent=0, software="test",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("form", "camera", "step"),
    [("png-mm", PANO, 0.0005), ("png-mm", PHOTO, 0.001), ("png-256", PHOTO, 0.5 / 256),
     ("npz", PHOTO, 1e-6), ("npz", PANO, 1e-6)],
)  # fmt: skip
def test_files_are_read_back_without_a_word(
    form: str, camera: Camera, step: float, tmp_path: Path
) -> None:
    truth = true_depth(SLOPE, camera)
    given = DepthMap(
        torch.where(torch.isfinite(truth), truth, 0.0), camera.depth_kind, True, truth < 80, "m"
    )
    path = tmp_path / ("d.npz" if form == "npz" else "d.png")
    written = write_depth(path, given, camera, form, _record(camera))  # type: ignore[arg-type]
    assert read_record(path) == written
    found = load_depth(path, camera)
    assert found.metric and found.kind == ("range" if form == "png-mm" else camera.depth_kind)
    expected = convert_kind(given, camera, found.kind)
    limit = written.far_limit_m or math.inf
    assert torch.equal(found.valid, given.valid & (expected.depth < limit))
    assert torch.allclose(found.depth[found.valid], expected.depth[found.valid], atol=step * 1.01)
    again = resolve_camera(written.camera, camera.width, camera.height)
    assert again == camera
    assert written.valid_percent == pytest.approx(100 * float(found.valid.float().mean()), abs=0.01)
    with pytest.raises(InputError, match="the file says"):
        load_depth(path, camera, unit="cm")


def test_formats_refuse_what_they_cannot_hold(tmp_path: Path) -> None:
    depth = torch.ones(96, 192)
    relative = DepthMap(depth, "range", False, depth > 0, "m")
    with pytest.raises(InputError, match="camera-height"):
        write_depth(tmp_path / "a.png", relative, PANO, "png-mm", _record(PANO))
    metric = DepthMap(depth, "range", True, depth > 0, "m")
    with pytest.raises(InputError, match="panorama"):
        write_depth(tmp_path / "a.png", metric, PANO, "png-256", _record(PANO))
    assert not list(tmp_path.iterdir())


def test_camera_height_makes_relative_depth_metric() -> None:
    truth = true_depth(STREET, PHOTO)
    relative = DepthMap(
        torch.where(torch.isfinite(truth), truth * 0.013, 0.0), "z", False, truth < 50, "m"
    )
    found = to_metric(relative, PHOTO, STREET.height_m)
    ratio = (found.depth / truth)[found.valid].median()
    assert found.metric and float(ratio) == pytest.approx(1.0, abs=0.03)


def test_another_size_takes_the_nearest() -> None:
    depth = torch.arange(12.0).reshape(3, 4) + 1
    found = resize_depth(DepthMap(depth, "z", True, depth > 0, "m"), 6, 8)
    assert torch.equal(found.depth, depth.repeat_interleave(2, 0).repeat_interleave(2, 1))


def test_masks_by_rule() -> None:
    image = picture(STREET, PANO)
    sky = sky_by_color(image, PANO)
    truly = torch.isinf(true_depth(STREET, PANO)) & (pixel_rays(PANO)[..., 2] > 0)
    assert float((sky == truly).float().mean()) > 0.97
    bordered = image.clone()
    bordered[:, :7] = 0
    bordered[:, :, -5:] = 0.01
    bordered[:, 40:50, 60:80] = 0  # black inside stays
    borders = black_borders(bordered)
    assert bool(borders[:7].all()) and bool(borders[:, -5:].all())
    assert int(borders.sum()) == 7 * 192 + 5 * 96 - 35
    below = below_elevation(Equirectangular(8, 180), -60.0)
    assert int(below.any(1).sum()) == 30


def test_masks_are_applied_at_any_size(tmp_path: Path) -> None:
    depth = torch.full((48, 96), 20.0)
    depth[:, 48:] = 60.0
    full = DepthMap(depth, "range", True, depth > 0, "m")
    image = torch.full((3, 96, 192), 0.5)
    far = apply_masks(full, PANO, image, MaskOptions(far_m=50.0))
    assert torch.equal(far.valid, depth < 50)
    mask = np.full((96, 192), 255, np.uint8)
    mask[:, :48] = 0
    Image.fromarray(mask).save(tmp_path / "m.png")
    given = apply_masks(full, PANO, image, MaskOptions(), tmp_path / "m.png")
    assert not given.valid[:, :24].any() and bool(given.valid[:, 24:].all())
    left = MaskOptions(head=lambda image, camera: below_elevation(camera, 0.0))
    assert not apply_masks(full, PANO, image, left).valid[-20:].any()
    with pytest.raises(InputError, match="nothing"):
        apply_masks(full, PANO, torch.zeros(3, 96, 192), MaskOptions())
    with pytest.raises(InputError, match="another shape"):
        Image.fromarray(mask[:, :100]).save(tmp_path / "n.png")
        apply_masks(full, PANO, image, MaskOptions(), tmp_path / "n.png")
    with pytest.raises(InputError, match="no such file"):
        apply_masks(full, PANO, image, MaskOptions(), tmp_path / "none.png")
    with pytest.raises(InputError, match="far limit"):
        MaskOptions(far_m=0.0)


def test_box_room_has_no_far_ground_but_a_floor() -> None:
    """Indoors the floor gives the shift too, if enough of it is seen."""
    truth = true_depth(BOX_ROOM, PANO)
    depth, valid, source = inverse_to_depth(
        2.0 / truth - 0.4, torch.ones_like(truth).bool(), PANO, "range"
    )
    assert source == "ground"
    assert torch.allclose(depth[valid] * BOX_ROOM.height_m, truth[valid], rtol=0.02)
