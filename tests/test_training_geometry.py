"""Cells and their augmentation: true points stay on their aerial cells whatever is done."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from loc2.cameras import Equirectangular, Pinhole
from loc2.depth import DepthMap, FlatGround
from loc2.errors import InputError
from loc2.frames import Pose, local_to_aerial
from loc2.model import Loc2Model, ModelConfig
from loc2.training.augment import (
    AugmentConfig,
    augment,
    crop_aerial,
    cut_columns,
    jitter_attitude,
    mirror,
    random_crop,
    roll_ground,
    turn_aerial,
)
from loc2.training.cells import Cells, batch_of, join_cells, make_cells
from loc2.training.images import ImageAugmentConfig, augment_pair, vary_appearance
from loc2.training.losses import cell_coordinates, sample_bilinear
from loc2.training.pairs import TrainingPair
from tests.training_run import invented_cells


def _agreement(cells: Cells) -> torch.Tensor:
    """Cosine of ground features and the aerial features at their true places, inside the window."""
    bev_m = cells.points_m[:, :2].flatten(2).transpose(1, 2)
    moved_m = local_to_aerial(bev_m, cells.heading_deg, cells.position_m)
    rows, cols = cells.aerial_shape
    at = cell_coordinates(moved_m, cells.cell_size_m, rows, cols)
    inside = ((at > 0.5) & (at < torch.tensor([cols - 0.5, rows - 0.5]))).all(-1)
    found = sample_bilinear(cells.aerial, at)
    cosine = torch.nn.functional.cosine_similarity(cells.ground.flatten(2), found, dim=1)
    assert inside.sum() > 10
    return cosine[inside]


def _batch() -> Cells:
    return join_cells([batch_of(invented_cells(k)) for k in range(3)])


def test_invented_cells_agree_with_themselves() -> None:
    assert _agreement(_batch()).min() > 0.8
    wrong = _batch()
    wrong.heading_deg[:] += 40
    assert _agreement(wrong).min() < 0.3


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(-40, 40), st.integers(-5, 5))
def test_turns_and_mirrors_keep_the_truth(seed: int, columns: int, quarters: int) -> None:
    batch = _batch()
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.rand(3, generator=generator) < 0.5
    batch = roll_ground(batch, torch.tensor([columns, columns + 1, 0]))
    batch = turn_aerial(batch, torch.tensor([quarters, 0, quarters + 1]))
    batch = mirror(batch, chosen)
    assert _agreement(batch).min() > 0.8
    torch.testing.assert_close(batch.rays.norm(dim=1), torch.ones_like(batch.rays[:, 0]))
    # Level ground, seen along the rays.
    lifted = batch.rays * (2.0 / -batch.rays[:, 2:])
    torch.testing.assert_close(lifted, batch.points_m, atol=1e-4, rtol=1e-4)


def test_crops_and_cuts_keep_the_truth() -> None:
    batch = crop_aerial(_batch(), 10, torch.tensor([[0, 0], [4, 1], [2, 3]]))
    assert batch.aerial_shape == (10, 10)
    assert _agreement(batch).min() > 0.8
    narrow = cut_columns(batch, 3, 9)
    assert narrow.ground_shape == (5, 9)
    assert not narrow.wrap
    assert _agreement(narrow).min() > 0.8


def test_random_crops_hold_the_camera() -> None:
    config = AugmentConfig(window_cells=8, margin_cells=2)
    for seed in range(20):
        batch = random_crop(_batch(), config, torch.Generator().manual_seed(seed))
        assert batch.aerial_shape == (8, 8)
        assert (batch.position_m.abs() <= (8 / 2 - 1) * 2.0).all()


def test_augmentation_is_a_function_of_its_seed() -> None:
    config = AugmentConfig(narrow=1.0, narrow_min_deg=150, narrow_max_deg=200)
    one = augment(_batch(), config, torch.Generator().manual_seed(3))
    two = augment(_batch(), config, torch.Generator().manual_seed(3))
    other = augment(_batch(), config, torch.Generator().manual_seed(4))
    assert all(
        torch.equal(a, b)
        for a, b in zip(one.tensors().values(), two.tensors().values(), strict=True)
    )
    assert not torch.equal(one.heading_deg, other.heading_deg)
    assert _agreement(one).min() > 0.8


def test_images_roll_with_their_cells() -> None:
    batch = _batch()
    images = torch.nn.functional.interpolate(batch.ground[:, :3], scale_factor=14)
    aerial = torch.nn.functional.interpolate(batch.aerial[:, :3], scale_factor=14)
    as_images = Cells(**{**vars(batch), "ground": images, "aerial": aerial})
    assert as_images.aerial_shape == batch.aerial_shape
    rolled = roll_ground(as_images, torch.tensor([2, 0, 5]))
    expected = roll_ground(batch, torch.tensor([2, 0, 5])).ground[:, :3]
    assert torch.equal(rolled.ground[..., ::14, ::14], expected)


def test_tilt_keeps_rays_on_the_sphere_and_small() -> None:
    rays = _batch().rays
    tilted = jitter_attitude(rays, 2.0, torch.Generator().manual_seed(0))
    angle = torch.rad2deg(torch.arccos((rays * tilted).sum(1).clamp(-1, 1)))
    assert 0 < angle.max() < 10


GRIDS = ModelConfig(panorama_cell_deg=15.0, pinhole_cell_deg=5.0, aerial_cell_m=2.0)


@pytest.fixture(scope="module")
def model() -> Loc2Model:
    with torch.device("meta"):
        return Loc2Model(GRIDS)


def _pair(camera: Equirectangular | Pinhole, **changes: object) -> TrainingPair:
    rng = np.random.default_rng(0)
    values: dict[str, object] = {
        "id": "a",
        "ground": torch.from_numpy(rng.random((3, camera.height, camera.width), np.float32)),
        "camera": camera,
        "aerial": torch.from_numpy(rng.random((3, 160, 160), np.float32)),
        "meters_per_pixel": 0.25,
        "pose": Pose(3.0, -2.0, 70.0),
        "camera_height_m": 2.0,
    }
    return TrainingPair(**{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "camera",
    [Equirectangular(192, 96), Pinhole.from_hfov(160, 120, 90, pitch_deg=-10)],
    ids=["panorama", "pinhole"],
)
def test_cells_of_a_pair_lift_exactly(model: Loc2Model, camera: Equirectangular | Pinhole) -> None:
    flat = FlatGround(2.0, 30.0)(torch.zeros(3, camera.height, camera.width), camera)
    fine = camera.resized(camera.width * 15, camera.height * 15)
    exact = FlatGround(2.0, 30.0)(torch.zeros(3, fine.height, fine.width), fine)
    cells = make_cells(model, _pair(camera, depth=exact))
    assert bool(cells.exact) and cells.has_depth.any()
    up = cells.points_m[2][cells.has_depth]
    torch.testing.assert_close(up, torch.full_like(up, -2.0), atol=0.03, rtol=0)
    rays = torch.nn.functional.normalize(cells.points_m, dim=0)[:, cells.has_depth]
    torch.testing.assert_close(rays, cells.rays[:, cells.has_depth], atol=1e-4, rtol=0)
    without = make_cells(model, _pair(camera))
    assert not bool(without.exact)
    assert without.visible.equal(without.has_depth)
    hidden = torch.zeros(camera.height, camera.width, dtype=torch.bool)
    assert not make_cells(model, _pair(camera, depth=flat, visible_from_above=hidden)).visible.any()


def test_relative_depth_is_scaled_by_the_camera_height(model: Loc2Model) -> None:
    camera = Equirectangular(192, 96)
    depth = FlatGround(2.0)(torch.zeros(3, 96, 192), camera)
    relative = DepthMap(depth.depth * 7, "range", False, depth.valid, "file")
    metric = make_cells(model, _pair(camera, depth=depth))
    scaled = make_cells(model, _pair(camera, depth=relative))
    torch.testing.assert_close(scaled.points_m, metric.points_m, atol=0.05, rtol=0.02)
    nothing = DepthMap(depth.depth, "range", False, torch.zeros_like(depth.valid), "file")
    with pytest.raises(InputError, match="too little ground"):
        make_cells(model, _pair(camera, depth=nothing))


def test_augmented_pairs_keep_their_depth_and_truth(model: Loc2Model) -> None:
    camera = Equirectangular(192, 96)
    ramp = torch.linspace(1, 3, 192).expand(96, 192).clone()
    depth = DepthMap(ramp, "range", True, torch.ones(96, 192, dtype=torch.bool), "file")
    pair = _pair(camera, depth=depth, visible_from_above=ramp > 2)
    config = ImageAugmentConfig(shift_range_m=3.0)
    one, two = augment_pair(pair, config, 5), augment_pair(pair, config, 5)
    assert torch.equal(one.ground, two.ground)
    assert one.pose == two.pose != augment_pair(pair, config, 6).pose
    assert one.depth is not None and one.visible_from_above is not None
    shift = int((one.depth.depth[0] - one.depth.depth[0].min()).argmin())
    turn_deg = shift / 192 * 360
    assert math.isclose((70.0 - turn_deg) % 360, one.pose.heading_deg, abs_tol=1e-3)
    assert torch.equal(one.visible_from_above, one.depth.depth > 2)


def test_appearance_changes_pixels_within_bounds() -> None:
    image = torch.rand(3, 40, 60, generator=torch.Generator().manual_seed(0))
    for seed in range(10):
        varied = vary_appearance(image, 1.0, np.random.default_rng(seed))
        assert varied.shape == image.shape
        assert varied.min() >= 0 and varied.max() <= 1
        assert not torch.equal(varied, image)
    assert torch.equal(vary_appearance(image, 0.0, np.random.default_rng(0)), image)
