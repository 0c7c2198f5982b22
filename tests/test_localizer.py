"""The facade in Python: inputs of every kind, depth scale, caching of aerial features."""

import dataclasses
import math
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from loc2 import Localizer, processor
from loc2.cameras import Equirectangular
from loc2.cli.demo import bundled_pair
from loc2.depth import DepthMap, FlatGround
from loc2.errors import InputError
from loc2.frames import heading_error_deg
from loc2.inputs import CameraSpec
from loc2.localization import Localization
from loc2.query import HEIGHT_SIGMA, Query
from tests.conftest import PairFiles


@pytest.fixture(scope="module")
def localizer() -> Localizer:
    return Localizer.from_pretrained()


def test_three_lines_of_use(localizer: Localizer, pair_files: PairFiles) -> None:
    answer = localizer.localize(pair_files.ground, pair_files.aerial, meters_per_pixel=0.25)
    assert abs(answer.pose.east_m) <= 24
    assert abs(answer.pose.north_m) <= 24
    assert answer.covariance.shape == (3, 3)
    assert torch.linalg.eigvalsh(answer.covariance.double()).min() > 0
    assert answer.hypotheses[0].pose == answer.pose
    matches = answer.matches
    assert len(matches.ground_px) == len(matches.aerial_px) == len(matches.bev)
    assert matches.inlier.dtype == torch.bool
    assert answer.cells.weight.sum() == pytest.approx(1.0, abs=1e-4)
    assert set(answer.timings_s) >= {"ground features", "aerial features", "matching", "pose"}


def test_paths_images_arrays_and_features_agree(
    localizer: Localizer, pair_files: PairFiles
) -> None:
    by_path = localizer.localize(pair_files.ground, pair_files.aerial, meters_per_pixel=0.25)
    ground, aerial = Image.open(pair_files.ground), Image.open(pair_files.aerial)
    by_image = localizer.localize(ground, np.asarray(aerial), meters_per_pixel=0.25)
    features = localizer.aerial_features(aerial, 0.25)
    by_features = localizer.localize(np.asarray(ground), features)
    assert by_path.pose == by_image.pose == by_features.pose
    with pytest.raises(InputError, match="know it already"):
        localizer.localize(ground, features, meters_per_pixel=0.25)


def bumpy_depth(camera: Equirectangular) -> DepthMap:
    flat = FlatGround(2.5, max_range_m=60.0)(torch.zeros(3, camera.height, camera.width), camera)
    u = torch.arange(camera.width) / camera.width
    bumps = 1.0 + 0.1 * torch.sin(u * 12.0)
    return dataclasses.replace(flat, depth=flat.depth * bumps, levelled=False)


@pytest.mark.parametrize("factor", [0.001, 0.1, 10.0, 1000.0])
@pytest.mark.parametrize("metric", [True, False])
def test_the_scale_of_depth_is_recovered(
    localizer: Localizer, pair_files: PairFiles, factor: float, metric: bool
) -> None:
    camera = Equirectangular(320, 160)
    depth = bumpy_depth(camera)
    scaled = dataclasses.replace(depth, depth=depth.depth * factor, metric=metric)
    common = {"camera": camera, "meters_per_pixel": 0.25}
    reference = localizer.localize(pair_files.ground, pair_files.aerial, depth=depth, **common)
    answer = localizer.localize(pair_files.ground, pair_files.aerial, depth=scaled, **common)
    distance = np.hypot(
        answer.pose.east_m - reference.pose.east_m, answer.pose.north_m - reference.pose.north_m
    )
    assert distance < 0.05
    assert heading_error_deg(answer.pose.heading_deg, reference.pose.heading_deg) < 0.1
    assert answer.scale * factor == pytest.approx(reference.scale, rel=1e-3)
    assert answer.settings["camera_height_sigma"] is None


@pytest.mark.parametrize("factor", [0.88, 1.14])
@pytest.mark.parametrize("depth", ["flat", "own"])
def test_a_wrong_camera_height_is_made_up_for(
    localizer: Localizer, depth: str, factor: float
) -> None:
    pair = bundled_pair()
    assert pair.camera_height_m is not None
    aerial = localizer.aerial_features(pair.aerial, pair.meters_per_pixel)
    right, wrong = (
        localizer.localize(
            pair.ground, aerial, camera=pair.camera_spec(), depth=depth, camera_height_m=height_m
        )
        for height_m in (pair.camera_height_m, pair.camera_height_m * factor)
    )
    moved_m = math.dist(
        (right.pose.east_m, right.pose.north_m), (wrong.pose.east_m, wrong.pose.north_m)
    )
    assert moved_m < 0.3
    assert wrong.scale * factor == pytest.approx(right.scale, rel=0.05)
    assert right.settings["camera_height_sigma"] == HEIGHT_SIGMA


def test_least_squares_keep_the_scale_of_level_ground(localizer: Localizer) -> None:
    pair = bundled_pair()
    answer = localizer.localize(
        pair.ground,
        pair.aerial,
        camera=pair.camera_spec(),
        meters_per_pixel=pair.meters_per_pixel,
        solver="procrustes",
    )
    assert answer.scale == 1.0
    assert answer.settings["camera_height_sigma"] is None


def test_relative_depth_without_ground_is_refused(
    localizer: Localizer, pair_files: PairFiles
) -> None:
    camera = Equirectangular(320, 160)
    depth = bumpy_depth(camera)
    sky = depth.valid.clone()
    sky[80:] = False
    sky[:80] = True
    unlevelled = dataclasses.replace(
        depth, depth=torch.full_like(depth.depth, 5.0), valid=sky, metric=False
    )
    with pytest.raises(InputError, match="too little ground"):
        localizer.localize(
            pair_files.ground, pair_files.aerial,
            camera=camera, meters_per_pixel=0.25, depth=unlevelled,
        )  # fmt: skip


def test_priors_narrow_the_search(localizer: Localizer, pair_files: PairFiles) -> None:
    answer = localizer.localize(
        pair_files.ground, pair_files.aerial, meters_per_pixel=0.25,
        heading_prior=(90.0, 10.0), position_prior=(-8.0, 3.0, 2.0),
    )  # fmt: skip
    for hypothesis in answer.hypotheses:
        assert heading_error_deg(hypothesis.pose.heading_deg, 90.0) <= 10.01
        distance = np.hypot(hypothesis.pose.east_m + 8, hypothesis.pose.north_m - 3)
        assert distance <= 2.01
    for bad in [(90.0, 0.0), (90.0, 181.0), (float("nan"), 10.0)]:
        with pytest.raises(InputError, match="heading prior"):
            localizer.localize(
                pair_files.ground, pair_files.aerial, meters_per_pixel=0.25, heading_prior=bad
            )


def test_the_camera_is_expected_about_the_centre(
    localizer: Localizer, pair_files: PairFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = localizer.aerial_features(Image.open(pair_files.aerial), 0.25)

    def answer(
        sigma: float | None, prior: tuple[float, float, float] | None = None
    ) -> Localization:
        config = localizer.model.config.model_copy(update={"center_sigma": sigma})
        monkeypatch.setattr(localizer.model, "config", config)
        return localizer.localize(pair_files.ground, features, position_prior=prior)

    def distance_m(found: Localization) -> float:
        """Nothing matches in noise, so that the posterior follows the prior."""
        share = found.heatmap.position
        rows, cols = share.shape
        north, east = torch.meshgrid(
            torch.arange(rows) - (rows - 1) / 2, torch.arange(cols) - (cols - 1) / 2, indexing="ij"
        )
        return float((share * torch.hypot(east, north)).sum() / share.sum())

    anywhere, weak, strong = answer(None), answer(0.3), answer(0.03)
    assert distance_m(strong) < distance_m(weak) < distance_m(anywhere)
    assert distance_m(strong) < 3 * 0.03 * 48
    side_m = features.image.shape[-1] * features.meters_per_pixel
    assert strong.settings["center_sigma_m"] == pytest.approx(0.03 * side_m)
    told = answer(0.03, (0.0, 0.0, math.inf))
    assert told.pose == anywhere.pose
    assert told.settings["center_sigma_m"] is told.settings["position_prior_m"] is None


def test_aerial_images_need_not_be_square(localizer: Localizer) -> None:
    rng = np.random.default_rng(1)
    ground = rng.integers(0, 255, (100, 200, 3), dtype=np.uint8)
    aerial = rng.integers(0, 255, (150, 237, 3), dtype=np.uint8)
    answer = localizer.localize(ground, aerial, meters_per_pixel=0.3)
    _, rows, cols = answer.cells.evidence.shape
    cell = answer.cells.cell_size_m
    # Square cells, less than one of them lost at each border.
    assert cols * cell == pytest.approx(237 * 0.3, abs=1e-4)
    assert 0 <= 150 * 0.3 - rows * cell < cell


def test_a_prior_in_the_cropped_border_is_searched_beside_it(localizer: Localizer) -> None:
    rng = np.random.default_rng(1)
    ground = rng.integers(0, 255, (100, 200, 3), dtype=np.uint8)
    aerial = rng.integers(0, 255, (150, 237, 3), dtype=np.uint8)
    features = localizer.aerial_features(aerial, 0.3)
    edge_m = features.half_size_m[1]
    assert 22.5 - edge_m > 0.05  # something is cropped
    for radius_m in (0.02, 0.1):
        prior = (3.0, edge_m + 0.04, radius_m)
        answer = localizer.localize(ground, features, position_prior=prior)
        assert answer.pose.north_m == pytest.approx(edge_m, abs=0.15)
        assert answer.pose.east_m == pytest.approx(3.0, abs=0.15)
    for corner in ((36.0, 23.0, 0.6), (-36.0, 23.0, 0.6)):  # nearer on each axis, not in both
        with pytest.raises(InputError, match="position prior: lies outside"):
            localizer.localize(ground, features, position_prior=corner)


def test_what_cannot_be_solved_is_a_line(localizer: Localizer, pair_files: PairFiles) -> None:
    def ask(solver: object, depth: DepthMap | str = "flat") -> None:
        localizer.localize(
            pair_files.ground, pair_files.aerial,
            meters_per_pixel=0.25, solver=solver, depth=depth,
        )  # fmt: skip

    with pytest.raises(InputError, match="solver 'vote': use voting, ransac, procrustes"):
        ask("vote")
    height, width = localizer.ground_view(pair_files.ground).image.shape[-2:]
    camera = Equirectangular(width, height)
    flat = FlatGround(2.5)(torch.zeros(3, height, width), camera)
    grid = localizer.model.ground_grid(torch.zeros(3, height, width), camera)
    cell_px = width // grid.camera.width
    one_cell = torch.zeros_like(flat.valid)
    row = grid.top_px + (grid.bottom_px - grid.top_px) * 3 // 4
    one_cell[row : row + cell_px, cell_px : 2 * cell_px] = True
    with pytest.raises(InputError, match="a pose needs at least two"):
        ask("ransac", dataclasses.replace(flat, valid=flat.valid & one_cell))


@pytest.mark.parametrize(("sides", "quarters"), [(2, 2), (4, 1)])
def test_descriptors_turn_with_the_aerial_image(sides: int, quarters: int) -> None:
    exact = Localizer.from_pretrained(precision="float32").model
    assert exact.config.aerial_turns == 4
    exact.config = exact.config.model_copy(
        update={"aerial_turns": sides, "turned_share": 1.0, "half_cells": False}
    )
    image = torch.rand(1, 3, 70, 56, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        straight = exact.aerial_descriptors(image)
        turned = exact.aerial_descriptors(torch.rot90(image, quarters, (-2, -1)))
        one_side = exact.describe_aerial(exact.features(image))
    torch.testing.assert_close(turned, torch.rot90(straight, quarters, (-2, -1)), atol=1e-4, rtol=0)
    assert not torch.allclose(straight, one_side, atol=1e-2)
    assert (straight.norm(dim=1) <= 1 + 1e-5).all()


def test_turned_copies_may_show_the_centre_alone() -> None:
    exact = Localizer.from_pretrained(precision="float32").model
    exact.config = exact.config.model_copy(
        update={"aerial_turns": 2, "turned_share": 0.6, "half_cells": False}
    )
    image = torch.rand(1, 3, 140, 70, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found = exact.aerial_descriptors(image)
        expected = exact.describe_aerial(exact.features(image))
        again = exact.describe_aerial(exact.features(image[..., 28:112, 14:56].flip(-2, -1)))
        expected[..., 2:8, 1:4] = (expected[..., 2:8, 1:4] + again.flip(-2, -1)) / 2
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("share", "margin"), [(1.0, 1), (0.6, 5)])
def test_half_cells_are_the_mean_of_cells_about_their_centres(share: float, margin: int) -> None:
    """Were a descriptor the place of its cell, that of a half cell would be the place of it."""
    model = Localizer.from_pretrained(precision="float32").model
    model.config = model.config.model_copy(update={"turned_share": share, "half_cells": True})
    model.features = partial(functional.avg_pool2d, kernel_size=14)  # type: ignore[method-assign]
    model.describe_aerial = lambda features: features  # type: ignore[method-assign]
    rows, cols = torch.arange(112.0) + 0.5, torch.arange(84.0) + 0.5
    places = torch.stack(torch.meshgrid(rows, cols, indexing="ij"))[None]
    found = model.aerial_descriptors(places)
    exact = functional.avg_pool2d(places, 7)
    assert found.shape == exact.shape
    inner = ..., slice(margin, -margin), slice(margin, -margin)
    factor = found[inner] / exact[inner]
    torch.testing.assert_close(factor, factor.mean().expand_as(factor))
    torch.testing.assert_close(found.norm(dim=1).mean(), torch.tensor(1.0))
    # Beyond what copies show, the first look's whole cells are all there is.
    corner = found[0, :, 0, 0]
    torch.testing.assert_close(corner / corner.norm(), torch.tensor([0.5**0.5, 0.5**0.5]))


def test_half_cells_vote_and_whole_ones_are_shown() -> None:
    pair = bundled_pair()
    whole, half = Localizer.from_pretrained(), Localizer.from_pretrained()
    for localizer, cells in ((whole, False), (half, True)):
        model = localizer.model
        model.config = model.config.model_copy(update={"half_cells": cells})
    answers = [
        one.localize(pair.ground, pair.aerial, meters_per_pixel=pair.meters_per_pixel)
        for one in (whole, half)
    ]
    shapes = [(a.cells.evidence.shape, a.cells.cell_size_m) for a in answers]
    assert shapes[0] == shapes[1]
    features = half.aerial_features(pair.aerial, pair.meters_per_pixel)
    rows, cols = shapes[0][0][1:]
    assert features.descriptors.shape[1:] == (2 * rows, 2 * cols)
    assert features.cell_size_m == shapes[0][1] / 2
    assert answers[0].pose != answers[1].pose
    assert math.dist(*((a.pose.east_m, a.pose.north_m) for a in answers)) < 1.0
    assert heading_error_deg(*(a.pose.heading_deg for a in answers)) < 3.0


def test_an_aerial_image_of_one_cell_has_half_cells() -> None:
    model = Localizer.from_pretrained(precision="float32").model
    model.config = model.config.model_copy(update={"half_cells": True})
    with torch.inference_mode():
        found = model.aerial_descriptors(torch.rand(1, 3, 14, 14))
    assert found.shape[-2:] == (2, 2) and bool(found.isfinite().all())


def test_precision_can_be_chosen() -> None:
    exact = Localizer.from_pretrained(precision="float32")
    reduced = Localizer.from_pretrained(precision="bfloat16")
    assert (exact.precision, reduced.precision) == ("float32", "bfloat16")
    image = torch.rand(1, 3, 28, 42, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        a, b = exact.model.features(image), reduced.model.features(image)
    assert not torch.equal(a, b)
    torch.testing.assert_close(a, b, atol=0.02, rtol=0)  # of unit length: bfloat16 has 8 bits
    with pytest.raises(InputError, match="'float16': use auto, float32, bfloat16"):
        Localizer.from_pretrained(precision="float16")  # type: ignore[arg-type]


def test_an_older_pytorch_that_does_not_know_the_processor_will_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    processor._capabilities.cache_clear()
    try:
        assert Localizer.from_pretrained().precision == "float32"
        assert processor.processor_name()
    finally:
        monkeypatch.undo()
        processor._capabilities.cache_clear()


def test_the_confidence_of_the_default_weights_is_fitted(localizer: Localizer) -> None:
    model = localizer.confidence_model
    assert model.calibrated and "generated scenes" in model.fitted_on
    pair = bundled_pair()
    answer = localizer.localize(pair.ground, pair.aerial, meters_per_pixel=pair.meters_per_pixel)
    assert answer.statistics is not None
    assert answer.statistics.other_evidence > 0  # the depth head was asked, too
    assert answer.timings_s["second opinion"] > 0
    assert answer.confidence == pytest.approx(model.confidence(answer.statistics))
    assert answer.radius_90_m == pytest.approx(model.radius_m(answer.statistics))
    assert answer.abstains == (answer.confidence < model.abstain_below)


def test_photos_are_looked_for_in_finer_aerial_cells(
    localizer: Localizer, pair_files: PairFiles
) -> None:
    config = localizer.model.config
    assert config.photo_aerial_cell_m is not None
    assert config.photo_aerial_cell_m < config.aerial_cell_m
    photo = localizer.ground_view(pair_files.ground, CameraSpec(hfov_deg=90.0))
    queries = [
        Query(ground, pair_files.aerial, meters_per_pixel=0.25)
        for ground in (pair_files.ground, photo)
    ]
    # One aerial image, two kinds of ground images: neither may get the other's cells.
    panorama_answer, photo_answer = localizer.localize_batch(queries)
    assert isinstance(panorama_answer, Localization)
    assert isinstance(photo_answer, Localization)
    rounded = 0.02  # cells divide the window evenly
    assert panorama_answer.cells.cell_size_m == pytest.approx(config.aerial_cell_m, rel=rounded)
    assert photo_answer.cells.cell_size_m == pytest.approx(config.photo_aerial_cell_m, rel=rounded)
    alone = localizer.localize(
        pair_files.ground,
        pair_files.aerial,
        camera=CameraSpec(hfov_deg=90.0),
        meters_per_pixel=0.25,
    )
    assert alone.cells.cell_size_m == photo_answer.cells.cell_size_m
    prepared = localizer.aerial_features(pair_files.aerial, 0.25, photo=True)
    assert prepared.cell_size_m == photo_answer.cells.cell_size_m
    assert localizer.localize(photo, prepared).pose == alone.pose


@pytest.mark.parametrize(("longest_m", "panorama_cells", "photo_cells"), [
    (56.0, 40, 56), (2.0, 1, 2), (500.0, 64, 64),
])  # fmt: skip
def test_windows_are_read_as_their_cells_need_it(
    localizer: Localizer, longest_m: float, panorama_cells: int, photo_cells: int
) -> None:
    own_m, panorama_m = localizer.aerial_input(longest_m)
    photo_own_m, photo_m = localizer.aerial_input(longest_m, photo=True)
    assert own_m == photo_own_m == pytest.approx(64 * 1.4)  # pieces of a search stay as large
    assert panorama_m == pytest.approx(longest_m / panorama_cells / 14)
    assert photo_m == pytest.approx(longest_m / photo_cells / 14)
