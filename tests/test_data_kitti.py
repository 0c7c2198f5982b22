"""KITTI: the chain of turns, shifts and crops; parity with fixture F6 where it is at hand."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from loc2.data.kitti import METERS_PER_PIXEL, KittiDataset, Noise, true_pose
from loc2.errors import DatasetNotFoundError, InputError
from loc2.frames import aerial_m_to_px, heading_error_deg
from loc2.published.compat import published_xy_to_frames, published_yaw_to_heading_deg
from tests.fake_kitti import DAY, DRIVE, make_fake_kitti

SHARED = Path(__file__).parents[1].parent / "shared"
MINI = SHARED / "real" / "kitti_mini"
REFERENCE = SHARED / "reference"
needs_shared = pytest.mark.skipif(
    not (REFERENCE / "f6_kitti_items.json").is_file(),
    reason="KITTI frames carry KITTI's licence and are not in the repository: no ../shared here",
)


def f6_items() -> list[dict[str, Any]]:
    path = REFERENCE / "f6_kitti_items.json"
    return list(json.loads(path.read_text())["items"]) if path.is_file() else []


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_fake_kitti(tmp_path_factory.mktemp("kitti"))


@needs_shared
@pytest.mark.parametrize("item", f6_items(), ids=lambda item: item["name"])
def test_items_equal_the_reference(item: dict[str, Any]) -> None:
    kitti = KittiDataset(MINI, item["kind"], heading_range_deg=item["rotation_range_deg"])
    index = item["index"]
    noise = None
    if item["kind"] == "train":
        d = item["drawn"]
        noise = Noise(d["gt_shift_x"], d["gt_shift_y"], d["orientation_fraction"])
    truth = kitti.truth(index, noise)
    resized = 504 / 512
    expected = published_xy_to_frames(torch.tensor(item["gt_loc_px"][0], dtype=torch.float64))
    shown_px = np.array([truth.east_m, truth.north_m]) / METERS_PER_PIXEL
    if item["kind"] == "train":
        # The published training label cuts the crop's pixels to integers; ours does not.
        np.testing.assert_allclose(np.trunc(shown_px) * resized, expected, atol=1e-3)
    else:
        np.testing.assert_allclose(shown_px * resized, expected, atol=1e-3)
    labelled_deg = float(published_yaw_to_heading_deg(torch.tensor(item["R_yaw_deg"])))
    assert heading_error_deg(truth.heading_deg, labelled_deg) < 1e-4
    if item["sat_png"] is None:
        return
    sample = kitti.load(index, noise)
    assert sample.truth == truth
    assert sample.meters_per_pixel == pytest.approx(0.1989368976792364, rel=1e-12)
    with Image.open(REFERENCE / item["sat_png"]) as png:
        reference = np.asarray(png.convert("RGB")).astype(int)
    pixels = (sample.aerial * 255).round().permute(1, 2, 0).numpy().astype(int)
    assert (np.abs(pixels - reference).max(axis=2) <= 1).mean() >= 0.999
    k = item["K"]
    camera = sample.camera
    np.testing.assert_allclose(
        [camera.fx, camera.fy, camera.cx, camera.cy],  # type: ignore[attr-defined]
        [k[0][0], k[1][1], k[0][2], k[1][2]],
        atol=1e-4,
    )
    assert sample.depth is not None
    depth = sample.depth.depth.clamp(0, 40)
    assert [1, *depth.shape] == item["depth_shape"]
    assert list(sample.ground.shape) == item["ground_shape"]
    assert float(depth.double().mean()) == pytest.approx(item["depth_mean"], abs=1e-4)
    assert float(sample.ground.double().mean()) == pytest.approx(item["ground_mean"], abs=1e-4)
    stored = np.load(REFERENCE / "f6_kitti_samples.npz")
    if f"{item['name']}/depth_every11" in stored:
        np.testing.assert_array_equal(depth[::11, ::11], stored[f"{item['name']}/depth_every11"][0])
        np.testing.assert_allclose(
            sample.ground[:, ::11, ::11], stored[f"{item['name']}/ground_every11"], atol=1.01 / 255
        )


def centroid_px(image: torch.Tensor, channel: int) -> torch.Tensor:
    others = image.sum(0) - image[channel]
    weight = (image[channel] - others).clamp_min(0)
    rows, cols = torch.meshgrid(*(torch.arange(n) + 0.5 for n in weight.shape), indexing="ij")
    return torch.stack(((weight * cols).sum(), (weight * rows).sum())) / weight.sum()


@pytest.mark.parametrize("noise", [Noise(0, 0, 0), Noise(0.5, -0.3, 0.8), Noise(-0.6, 0.7, -1.0)])
def test_the_truth_points_at_the_painted_camera(fake: Path, noise: Noise) -> None:
    kitti = KittiDataset(fake, "train", heading_range_deg=40)
    sample = kitti.load(0, noise)
    position = torch.tensor([sample.truth.east_m, sample.truth.north_m])
    expected = aerial_m_to_px(position, 504, 504, sample.meters_per_pixel)
    camera_px = centroid_px(sample.aerial, 0)
    assert torch.linalg.vector_norm(camera_px - expected) < 1.0
    right, down = (centroid_px(sample.aerial, 2) - camera_px).tolist()
    seen_deg = math.degrees(math.atan2(right, -down))
    assert heading_error_deg(seen_deg, sample.truth.heading_deg) < 1.0


def test_noise_moves_the_camera_against_the_image() -> None:
    assert true_pose(Noise(0, 0, 0), 0.0).heading_deg == 90.0
    ahead = true_pose(Noise(0.5, 0, 0), 0.0)  # the image moved 10 m ahead of the camera
    assert (ahead.east_m, ahead.north_m) == pytest.approx((-10.0, 0.0))
    left = true_pose(Noise(0, 0.5, 0), 0.0)
    assert (left.east_m, left.north_m) == pytest.approx((0.0, -10.0))
    turned = true_pose(Noise(0.5, 0, 0), 90.0)  # counter-clockwise: east becomes north
    assert (turned.east_m, turned.north_m) == pytest.approx((0.0, -10.0))
    assert turned.heading_deg == pytest.approx(0.0)


def test_training_noise_depends_on_seed_and_name_alone(fake: Path) -> None:
    first, again = KittiDataset(fake, "train"), KittiDataset(fake, "train")
    other = KittiDataset(fake, "train", seed=1)
    assert [first.noise(i) for i in (2, 0)] == [again.noise(i) for i in (2, 0)]
    assert first.noise(0) != other.noise(0) and first.noise(0) != first.noise(1)
    test = KittiDataset(fake, "test1", seed=1)
    assert test.noise(0) == KittiDataset(fake, "test1").noise(0)


def test_ids_are_unique_where_frames_repeat(fake: Path, tmp_path: Path) -> None:
    line = f"{DAY}/{DRIVE}/0000000000.png 0.1 0.2 0.3\n"
    (tmp_path / "test1_files.txt").write_text(line * 2)
    kitti = KittiDataset(fake, lists=tmp_path)
    assert kitti.sample_id(1) == f"{kitti.sample_id(0)}#1"
    assert kitti.noise(0) == Noise(-0.1, -0.2, 0.3)


def test_missing_and_bad_lists_are_named(fake: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match="nowhere"):
        KittiDataset(tmp_path / "nowhere")
    with pytest.raises(DatasetNotFoundError, match=r"test2_files\.txt.*7542 lines"):
        KittiDataset(fake, "test2", lists=tmp_path)
    path = tmp_path / "test1_files.txt"
    for content, message in (
        ("", "empty"),
        ("frame.png 1 2 3", "line 1: expected day/drive/frame.png"),
        (f"{DAY}/{DRIVE}/0.png 1 2", "line 1: expected three numbers"),
        (f"{DAY}/{DRIVE}/0.png 1 2 x", "line 1: expected three numbers"),
    ):
        path.write_text(content)
        with pytest.raises(InputError, match=message):
            KittiDataset(fake, "test1", lists=tmp_path)
    with pytest.raises(InputError, match="splits: train, test1, test2"):
        KittiDataset(fake, "test3")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="heading range"):
        KittiDataset(fake, heading_range_deg=-1)


def test_missing_and_bad_files_are_named(tmp_path: Path) -> None:
    root = make_fake_kitti(tmp_path / "k", frames=1)
    name = "0000000000"
    kitti = KittiDataset(root)
    kitti.load(0)
    drive = root / "raw_data" / DAY / DRIVE
    small = Image.new("RGB", (100, 100))
    small.save(root / "satmap" / DAY / DRIVE / f"{name}.png")
    for path, message in (
        (root / "satmap" / DAY / DRIVE / f"{name}.png", "aerial image .*: smaller"),
        (drive / "oxts" / "data" / f"{name}.txt", "oxts .*: no readable yaw"),
        (root / "depth_anythingv2_depth" / DAY / DRIVE / "depth" / f"{name}.png", "depth .*"),
        (root / "raw_data" / DAY / "calib_cam_to_cam.txt", "calibration .*: no readable P_rect_02"),
        (drive / "image_02" / "data" / f"{name}.png", "ground image .*: not an image"),
    ):
        if path.suffix == ".txt" or "smaller" not in message:
            path.write_text("nothing")
        with pytest.raises(InputError, match=message):
            kitti.load(0)
        path.unlink()
        with pytest.raises(InputError, match="no such file"):
            kitti.load(0)
    assert len(KittiDataset(root, with_depth=False)) == 1
