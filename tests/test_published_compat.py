"""Compatibility with the released checkpoints: lifting and grids (fixture F4)."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from loc2.cameras import Camera, Equirectangular, Pinhole
from loc2.depth import DepthMap, lift_cells
from loc2.published.compat import (
    Compatibility,
    aerial_cells_m,
    published_xy_to_frames,
    published_yaw_to_heading_deg,
)
from loc2.published.compat import lift_cells as lift_published_cells

FIXTURES = Path(__file__).parent / "fixtures"
RELEASED = Compatibility.released()
CITY_SIDE_M = {"NewYork": 72.479, "Seattle": 64.523, "SanFrancisco": 75.610, "Chicago": 71.208}


def depth_map(depth: np.ndarray, kind: str) -> DepthMap:
    tensor = torch.from_numpy(depth.astype(np.float32))
    return DepthMap(tensor, kind, True, torch.ones_like(tensor, dtype=torch.bool), "test")  # type: ignore[arg-type]


def unit_grid(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    return (np.arange(height)[:, None] + 0.5) / height, (np.arange(width) + 0.5) / width


def vigor_case() -> tuple[DepthMap, Camera, float, str]:
    i, j = unit_grid(714, 1428)
    depth = (
        18 + 14 * np.sin(6 * np.pi * j) * np.cos(np.pi * i) + 10 * np.cos(2 * np.pi * (j - 2 * i))
    )
    return depth_map(depth, "range"), Equirectangular(1428, 714), 35.0, "f4a_vigor_lifting.npz"


def kitti_case() -> tuple[DepthMap, Camera, float, str]:
    i, j = unit_grid(364, 1232)
    depth = (
        22 + 20 * np.cos(2 * np.pi * j) * np.sin(np.pi * i) + 6 * np.sin(2 * np.pi * (2 * j + i))
    )
    k = np.load(FIXTURES / "f4b_kitti_lifting.npz")["K"]
    camera = Pinhole(
        1232, 364, 0, 0, float(k[0, 0]), float(k[1, 1]), float(k[0, 2]), float(k[1, 2])
    )
    return depth_map(depth, "z"), camera, 40.0, "f4b_kitti_lifting.npz"


@pytest.mark.parametrize("case", [vigor_case, kitti_case])
def test_lifting_equals_the_reference(case) -> None:  # type: ignore[no-untyped-def]
    depth, camera, limit_m, name = case()
    fixture = np.load(FIXTURES / name)
    subsample = torch.from_numpy(fixture["depth_full_subsample_7"])
    torch.testing.assert_close(depth.depth[::7, ::7], subsample, atol=1e-5, rtol=0)
    rows, cols = fixture["depth_downsampled"].shape
    points, valid = lift_published_cells(depth, camera, rows, cols, limit_m, RELEASED)
    expected = published_xy_to_frames(torch.from_numpy(fixture["bev_coord_grd"]))
    torch.testing.assert_close(points, expected, atol=1e-4, rtol=0)
    assert torch.equal(valid, torch.from_numpy(fixture["mask_eval"]))


def test_aerial_grids_equal_the_reference() -> None:
    vigor = np.load(FIXTURES / "f4a_vigor_lifting.npz")
    grids = [(vigor[f"sat_grid_{city}"], side_m) for city, side_m in CITY_SIDE_M.items()]
    grids.append((np.load(FIXTURES / "f4b_kitti_lifting.npz")["sat_grid_41"], 100.26))
    for grid, side_m in grids:
        expected = published_xy_to_frames(torch.from_numpy(grid))
        # Sides are known to three decimals; the fixture holds the exact products.
        torch.testing.assert_close(
            aerial_cells_m(41, side_m, RELEASED), expected, atol=5e-4, rtol=0
        )
        exact_side_m = float(expected[:, 0].max() - expected[:, 0].min())
        torch.testing.assert_close(
            aerial_cells_m(41, exact_side_m, RELEASED), expected, atol=1e-4, rtol=0
        )


def test_our_own_models_use_cell_centres() -> None:
    depth, camera, limit_m, _ = vigor_case()
    points, valid = lift_published_cells(depth, camera, 51, 102, limit_m, Compatibility())
    expected, expected_valid = lift_cells(depth, camera, 51, 102)
    keep = valid & expected_valid.reshape(-1)
    assert keep.sum() > 0.9 * keep.numel()
    torch.testing.assert_close(points[keep], expected.reshape(-1, 3)[keep][:, :2])
    centres = aerial_cells_m(4, 8.0, Compatibility())
    assert centres[0].tolist() == [-3.0, 3.0] and centres[-1].tolist() == [3.0, -3.0]


@pytest.mark.parametrize("compat", [Compatibility(), RELEASED])
def test_depth_that_cannot_be_matched(compat: Compatibility) -> None:
    depth = torch.tensor([[5.0, 0.0, 35.0, 60.0, float("nan"), float("inf")]])
    full = DepthMap(depth, "range", True, torch.isfinite(depth) & (depth > 0), "test")
    points, valid = lift_published_cells(full, Equirectangular(6, 1), 1, 6, 35.0, compat)
    assert torch.isfinite(points).all()
    zero_valid = compat.zero_depth_is_valid
    assert valid.tolist() == [True, zero_valid, False, False, False, False]


def test_axes_and_yaw() -> None:
    down, right = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    assert published_xy_to_frames(down).tolist() == [0.0, -1.0]  # down the image is south
    assert published_xy_to_frames(right).tolist() == [1.0, 0.0]
    yaw: Tensor = torch.tensor([0.0, 90.0, -90.0])  # a turn to the left looks west
    assert published_yaw_to_heading_deg(yaw).tolist() == [0.0, 270.0, 90.0]
