"""Localizing with an imported checkpoint: the published flow through the public facade."""

from pathlib import Path

import numpy as np
import pytest
import torch

from loc2 import Localizer
from loc2.cameras import Equirectangular, Pinhole
from loc2.depth import DepthMap
from loc2.errors import InputError
from loc2.features import VisionTransformer, VitConfig
from loc2.frames import Pose, heading_error_deg
from loc2.pose.similarity import weighted_similarity
from loc2.published.compat import Compatibility, aerial_cells_m
from loc2.published.config import CONFIGS, PublishedConfig
from loc2.published.localizer import PublishedLocalizer
from loc2.published.model import PublishedModel
from loc2.report import render_report, save_figures

TINY = VitConfig(embed_dim=32, depth=1, num_heads=2)


def make(config: PublishedConfig) -> PublishedLocalizer:
    torch.manual_seed(0)
    return PublishedLocalizer(PublishedModel(config, VisionTransformer(TINY)), "tiny", {})


def small(name: str, compat: Compatibility) -> PublishedConfig:
    sizes = {"loc2-vigor": (112, 224), "loc2-kitti": (70, 224)}
    update = {
        "ground_size_px": sizes[name], "aerial_size_px": 112, "aerial_cells": 11,
        "num_matches": 64, "compatibility": compat,
    }  # fmt: skip
    return CONFIGS[name].model_copy(update=update)


@pytest.fixture
def images() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(3, 112, 224, generator=generator), torch.rand(
        3, 120, 120, generator=generator
    )


_ALL = torch.ones(112, 224, dtype=torch.bool)
DEPTH = DepthMap(torch.full((112, 224), 6.0), "range", True, _ALL, "test")


def test_published_sizes() -> None:
    vigor, kitti = CONFIGS["loc2-vigor"], CONFIGS["loc2-kitti"]
    with torch.device("meta"):
        model = PublishedModel(vigor, VisionTransformer(TINY))
        assert model.ground_grid == (51, 102)
        assert PublishedModel(kitti, VisionTransformer(TINY)).ground_grid == (26, 88)
    for config in (vigor, kitti):
        assert config.compatibility == Compatibility()  # off for our own models
        assert (config.aerial_cells, config.temperature, config.num_matches) == (41, 0.1, 1024)


@pytest.mark.parametrize("compat", [Compatibility(), Compatibility.released()])
@pytest.mark.parametrize("solver", [None, "procrustes", "ransac", "voting"])
def test_every_solver_gives_a_whole_answer(images, compat, solver) -> None:  # type: ignore[no-untyped-def]
    localizer = make(small("loc2-vigor", compat))
    ground, aerial = images
    answer = localizer.localize(ground, aerial, meters_per_pixel=0.5, depth=DEPTH, solver=solver)
    assert answer.settings["solver"] == (solver or "procrustes")
    assert np.isfinite([answer.pose.east_m, answer.pose.north_m, answer.pose.scale]).all()
    assert 0.0 <= answer.confidence <= 1.0
    assert answer.cells.evidence.shape[1:] == (11, 11)
    half_cell_px = 120 / 22
    edge = 0.0 if compat.both_ends_grids else half_cell_px
    assert answer.matches.aerial_px.min() >= edge - 1e-3
    assert answer.matches.aerial_px.max() <= 120 - edge + 1e-3


def test_the_default_pose_is_least_squares_over_the_drawn_matches(images) -> None:  # type: ignore[no-untyped-def]
    localizer = make(small("loc2-vigor", Compatibility.released()))
    ground, aerial = images
    answer = localizer.localize(ground, aerial, meters_per_pixel=0.5, depth=DEPTH, seed=3)
    matches = answer.matches
    target = torch.stack((matches.aerial_px[:, 0] - 60, 60 - matches.aerial_px[:, 1]), -1) * 0.5
    expected = weighted_similarity(matches.bev[None], target[None], matches.weight[None])
    assert len(matches.weight) == 64
    again = localizer.localize(ground, aerial, meters_per_pixel=0.5, depth=DEPTH, seed=3)
    assert again.pose == answer.pose
    assert answer.pose.east_m == pytest.approx(float(expected.translation[0, 0]), abs=1e-3)
    assert answer.pose.north_m == pytest.approx(float(expected.translation[0, 1]), abs=1e-3)
    assert answer.pose.scale == pytest.approx(float(expected.scale[0]), abs=1e-4)
    assert heading_error_deg(answer.pose.heading_deg, float(expected.heading_deg[0])) < 1e-2


def test_a_perfect_matcher_finds_the_pose() -> None:
    """With probabilities that mark the right cells, every solver returns the true pose."""
    config = small("loc2-vigor", Compatibility.released()).model_copy(update={"aerial_cells": 41})
    localizer = make(config)
    truth = Pose(3.0, -4.0, 30.0, 1.0)
    aerial_m = aerial_cells_m(41, 60.0, config.compatibility)
    rng = torch.Generator().manual_seed(0)
    depth = torch.rand(112, 224, generator=rng) * 14 + 4
    depth_map = DepthMap(depth, "range", True, torch.ones_like(depth, dtype=torch.bool), "test")

    def scores(ground: torch.Tensor, aerial: torch.Tensor, valid: object = None) -> torch.Tensor:
        from loc2.frames import local_to_aerial
        from loc2.published.compat import lift_cells

        bev, _ = lift_cells(depth_map, Equirectangular(224, 112), 8, 16, 35.0, config.compatibility)
        seen = local_to_aerial(
            bev, torch.tensor(truth.heading_deg), torch.tensor([truth.east_m, truth.north_m])
        )
        distance = torch.cdist(aerial_m, seen)
        return (10.0 - 20.0 * distance)[None]

    localizer.model.matcher.scores = scores  # type: ignore[method-assign, assignment]
    for solver in (None, "ransac", "voting"):
        answer = localizer.localize(
            torch.rand(3, 112, 224, generator=rng), torch.rand(3, 120, 120, generator=rng),
            meters_per_pixel=0.5, depth=depth_map, solver=solver,
        )  # fmt: skip
        error_m = np.hypot(answer.pose.east_m - 3.0, answer.pose.north_m + 4.0)
        assert error_m < 0.5, solver
        assert heading_error_deg(answer.pose.heading_deg, 30.0) < 3.0, solver
        assert answer.pose.scale == pytest.approx(1.0, abs=0.06), solver


def test_relative_depth_gives_the_same_pose(images) -> None:  # type: ignore[no-untyped-def]
    localizer = make(small("loc2-vigor", Compatibility.released()))
    ground, aerial = images
    poses = []
    for factor in (1.0, 0.001, 1000.0):
        generator = torch.Generator().manual_seed(2)
        depth = (torch.rand(112, 224, generator=generator) * 20 + 1) * factor
        relative = DepthMap(depth, "range", False, torch.ones_like(depth, dtype=torch.bool), "test")
        answer = localizer.localize(ground, aerial, meters_per_pixel=0.5, depth=relative)
        poses.append((answer.pose.east_m, answer.pose.north_m, answer.pose.scale * factor))
    np.testing.assert_allclose(poses[1:], [poses[0]] * 2, rtol=1e-3, atol=1e-3)


def test_a_batch_never_changes_a_sample(images) -> None:  # type: ignore[no-untyped-def]
    model = make(small("loc2-vigor", Compatibility.released())).model
    ground, _ = images
    with torch.inference_mode():
        alone = model.ground_descriptors(ground[None])
        batch = model.ground_descriptors(torch.stack((ground, ground.flip(1), ground * 0.5)))
    torch.testing.assert_close(batch[:1], alone, atol=1e-5, rtol=0)


def test_what_the_network_cannot_do_is_said(images) -> None:  # type: ignore[no-untyped-def]
    ground, aerial = images
    vigor = make(small("loc2-vigor", Compatibility()))
    with pytest.raises(InputError, match="panoramas only"):
        vigor.localize(ground, aerial, camera=Pinhole.from_hfov(224, 112, 90), meters_per_pixel=0.5)
    kitti = make(small("loc2-kitti", Compatibility()))
    with pytest.raises(InputError, match="perspective photos only"):
        kitti.localize(ground, aerial, meters_per_pixel=0.5)
    with pytest.raises(InputError, match="square"):
        vigor.localize(ground, aerial[:, :60], meters_per_pixel=0.5, depth=DEPTH)
    far = DepthMap(torch.full((112, 224), 50.0), "range", True, DEPTH.valid, "test")
    with pytest.raises(InputError, match="nearer than 35 m"):
        vigor.localize(ground, aerial, meters_per_pixel=0.5, depth=far)


def test_the_facade_knows_an_imported_file(tmp_path: Path, images) -> None:  # type: ignore[no-untyped-def]
    from loc2.features import VARIANTS
    from loc2.published.model import save_published

    config = small("loc2-kitti", Compatibility.released()).model_copy(
        update={"backbone": "dinov2_vits14"}
    )
    model = PublishedModel(config, VisionTransformer(VARIANTS["dinov2_vits14"]))
    path = tmp_path / "kitti.safetensors"
    save_published(model, path, {"licence": "test"}, with_backbone=False)
    localizer = Localizer.from_pretrained(path)
    assert isinstance(localizer, PublishedLocalizer)
    assert localizer.weights == "kitti.safetensors"
    ground, aerial = images
    camera = Pinhole.from_hfov(224, 112, 80)
    answer = localizer.localize(
        ground, aerial, camera=camera, meters_per_pixel=0.5, depth="flat", camera_height_m=1.7
    )
    assert answer.weights == "kitti.safetensors"


def test_default_weights_take_every_solver(pair_files) -> None:  # type: ignore[no-untyped-def]
    localizer = Localizer.from_pretrained()
    for solver in ("voting", "ransac", "procrustes"):
        answer = localizer.localize(
            pair_files.ground, pair_files.aerial, meters_per_pixel=0.25, solver=solver
        )
        assert answer.settings["solver"] == solver


def test_figures_and_report_of_a_published_answer(
    images: tuple[torch.Tensor, torch.Tensor], tmp_path: Path
) -> None:
    """Its confidence is no probability, and the report must not call the answer likely right."""
    localizer = make(small("loc2-vigor", Compatibility()))
    answer = localizer.localize(*images, meters_per_pixel=0.5, depth=DEPTH)
    assert len(save_figures(answer, tmp_path, ["all"], dpi=50)) == 5
    page = render_report(answer)
    before = page[: page.index("<script")]
    assert "Agreeing matches" in before
    assert "That is no probability" in before
    assert "estimated chance" not in before
    assert "Likely right" not in before
