"""VIGOR: ground truth and pixels equal to the reference (fixture F5), layouts, bad data."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from loc2.data.vigor import VigorDataset, find_labels, read_labels
from loc2.errors import DatasetNotFoundError, InputError
from loc2.frames import heading_error_deg
from loc2.published.compat import published_xy_to_frames, published_yaw_to_heading_deg

FIXTURES = Path(__file__).parent / "fixtures"
ROOT = FIXTURES / "vigor_mini"
SETS = json.loads((FIXTURES / "f5_vigor_items.json").read_text())["sets"]
COLUMN_DEG = 360 / 1428


def dataset(spec: dict[str, Any], **options: Any) -> VigorDataset:
    split = "train" if spec["train"] else "test"
    return VigorDataset(
        ROOT, spec["split"], split, heading_range_deg=spec["random_orientation"], **options
    )


def name(spec: dict[str, Any]) -> str:
    split = "train" if spec["train"] else "test"
    return f"{spec['split']}_{split}_{spec['random_orientation']}"


@pytest.mark.parametrize("spec", SETS, ids=name)
def test_items_equal_the_reference(spec: dict[str, Any]) -> None:
    vigor = dataset(spec)
    assert len(vigor) == spec["length"]
    samples = np.load(FIXTURES / "f5_vigor_samples.npz")
    stored = {0, spec["length"] - 1} | ({3} if spec["random_orientation"] else set())
    for item in spec["items"]:
        index = item["index"]
        labelled = vigor.items[index]
        assert str(labelled.panorama.relative_to(ROOT)) == item["panorama"]
        if "drop_reason" in item:
            continue
        assert str(labelled.satellite.relative_to(ROOT)) == item["satellites"][0]
        heading_deg = -360.0 * item["drawn_rotation_fraction"]
        truth = vigor.truth(index, heading_deg)
        resolution = item["resolution_m_per_px"]
        position = published_xy_to_frames(torch.tensor(item["gt_loc_px"][0])) * resolution
        tolerance_m = 1e-4 * resolution
        assert truth.east_m == pytest.approx(float(position[0]), abs=tolerance_m)
        assert truth.north_m == pytest.approx(float(position[1]), abs=tolerance_m)
        # The reference labels the drawn angle, we label the image, which shows whole columns.
        labelled_deg = float(published_yaw_to_heading_deg(torch.tensor(item["R_yaw_deg"])))
        assert heading_error_deg(labelled_deg, heading_deg) < 1e-4
        shown_deg = -item["roll_px"] * COLUMN_DEG
        assert heading_error_deg(truth.heading_deg, shown_deg) < 1e-9
        assert heading_error_deg(truth.heading_deg, labelled_deg) <= COLUMN_DEG / 2 + 1e-9
        if index not in stored:
            continue  # one item of each set end to end is enough for the pixels
        sample = vigor.load(index, heading_deg)
        assert (sample.group, sample.truth) == (item["city"], truth)
        assert sample.meters_per_pixel == pytest.approx(resolution, rel=1e-9)
        assert sample.depth is not None
        depth = sample.depth.depth.clamp(0, 35)[None]
        for key, image in (
            ("ground", sample.ground), ("satellite", sample.aerial), ("depth", depth)
        ):  # fmt: skip
            expected = item[key]
            assert list(image.shape) == expected["shape"]
            values = image.numpy()
            assert values.mean(dtype=np.float64) == pytest.approx(expected["mean"], abs=1e-5)
            weights = np.cos(0.001 * np.arange(values.size))
            weighted = float((values.ravel() * weights).sum(dtype=np.float64))
            assert weighted == pytest.approx(expected["weighted_sum"], rel=1e-4, abs=0.5)
            stored_key = f"{name(spec)}_{index}/{key}_every17"
            if stored_key in samples:
                tolerance = 1e-6 if key == "depth" else 1 / 255 + 1e-6
                np.testing.assert_allclose(
                    values[..., ::17, ::17], samples[stored_key], atol=tolerance
                )


@pytest.mark.parametrize("spec", SETS, ids=name)
def test_dropped_items_are_named_instead(spec: dict[str, Any]) -> None:
    vigor = dataset(spec)
    for item in spec["items"]:
        if "drop_reason" not in item:
            continue
        if "all depth" in item["drop_reason"]:
            depth = vigor.load(item["index"]).depth
            assert depth is not None and not (depth.depth < 35).any()
            continue
        with pytest.raises(InputError, match=r"\.(jpg|png): "):
            vigor.load(item["index"])


def test_headings_depend_on_seed_and_name_alone() -> None:
    every = VigorDataset(ROOT, heading_range_deg=180)
    cross = VigorDataset(ROOT, "crossarea", heading_range_deg=180)
    again = VigorDataset(ROOT, heading_range_deg=180, seed=1)
    by_id = {every.sample_id(i): every.truth(i).heading_deg for i in range(len(every))}
    shared = [i for i in range(len(cross)) if cross.sample_id(i) in by_id]
    assert shared
    for i in shared:
        assert cross.truth(i).heading_deg == by_id[cross.sample_id(i)]
    assert [again.truth(i).heading_deg for i in range(12)] != list(by_id.values())
    assert len(set(by_id.values())) == 12
    small = VigorDataset(ROOT, heading_range_deg=10)
    for i in range(len(small)):
        assert heading_error_deg(small.truth(i).heading_deg, 0.0) <= 10 + COLUMN_DEG
    assert {VigorDataset(ROOT).truth(i).heading_deg for i in range(12)} == {0.0}


def test_a_turned_panorama_shows_its_heading() -> None:
    vigor = VigorDataset(ROOT)
    north, east = vigor.load(0, 0.0), vigor.load(0, 90.0)
    # Looking east, the centre column shows what was a quarter to the right.
    assert torch.equal(east.ground[..., 714], north.ground[..., 714 + 357])
    assert east.depth is not None and north.depth is not None
    assert torch.equal(east.depth.depth[:, 714], north.depth.depth[:, 714 + 357])
    assert east.truth.heading_deg == 90.0


def test_semi_positives_show_the_same_panorama() -> None:
    vigor = VigorDataset(ROOT, semi_positives=True)
    assert len(vigor) == 4 * 12
    first, second = vigor.items[:2]
    assert (first.panorama, second.id) == (second.panorama, f"{first.id}#1")
    assert first.satellite != second.satellite
    assert vigor.load(1).truth != vigor.load(0).truth


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    shutil.copytree(ROOT, tmp_path / "vigor")
    return tmp_path / "vigor"


def test_label_folders(tree: Path) -> None:
    shutil.copytree(tree / "splits_new", tree / "splits")
    corrected = tree / "splits__corrected"
    shutil.copytree(tree / "splits_new", corrected)
    assert find_labels(tree, None).name == "splits_new"
    shutil.rmtree(tree / "splits_new")
    assert VigorDataset(tree).labels == corrected
    assert VigorDataset(tree, labels="splits").labels.name == "splits"
    for path in corrected.glob("*/*balanced*.txt"):
        path.rename(path.with_name(f"{path.stem}__corrected.txt"))
    assert len(VigorDataset(tree)) == 12
    with pytest.raises(DatasetNotFoundError, match="splits_new"):
        VigorDataset(tree, labels="splits_new")


def test_a_city_is_its_folder_not_a_part_of_the_path(tmp_path: Path) -> None:
    shutil.copytree(ROOT, tmp_path / "NewYork_disk" / "panorama")
    vigor = VigorDataset(tmp_path / "NewYork_disk" / "panorama", "crossarea")
    assert {vigor.group(i) for i in range(len(vigor))} == {"SanFrancisco", "Chicago"}
    sample = vigor.load(0)
    assert sample.meters_per_pixel == pytest.approx(0.118141 * 80 / 630)


def test_missing_parts_are_named(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match="nowhere"):
        VigorDataset(tmp_path / "nowhere")
    (tree / "splits_new" / "Seattle" / "same_area_balanced_test.txt").unlink()
    with pytest.raises(DatasetNotFoundError, match="same_area_balanced_test"):
        VigorDataset(tree)
    shutil.rmtree(tree / "splits_new")
    with pytest.raises(DatasetNotFoundError, match="label folder"):
        VigorDataset(tree)


def test_bad_labels_name_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("a.jpg b.png 1 2\n")
    with pytest.raises(InputError, match="line 1: 4 columns"):
        read_labels(path, tmp_path, "Seattle", False)
    path.write_text("\na.jpg" + " b.png 1 x" * 4 + "\n")
    with pytest.raises(InputError, match="line 2: offset"):
        read_labels(path, tmp_path, "Seattle", False)


def test_damaged_files_are_named(tree: Path) -> None:
    vigor = VigorDataset(tree)
    vigor.items[0].panorama.write_bytes(b"not an image")
    with pytest.raises(InputError, match=r"\.jpg: not an image"):
        vigor.load(0)
    vigor.items[1].depth.write_bytes(b"not an image")
    with pytest.raises(InputError, match=r"\.png: cannot be read"):
        vigor.load(1)
    assert VigorDataset(tree, with_depth=False).load(1).depth is None
    whole = vigor.items[2].satellite.read_bytes()
    vigor.items[2].satellite.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="damaged"):
        vigor.load(2)


def test_options_are_checked() -> None:
    with pytest.raises(InputError, match="areas"):
        VigorDataset(ROOT, "elsewhere")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="heading range"):
        VigorDataset(ROOT, heading_range_deg=200)
