"""The depth head of the weights: what it tells of the ground, in Python and on the command line."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from loc2 import Localizer
from loc2.cameras import Camera, Equirectangular, Pinhole
from loc2.cli.demo import bundled_pair
from loc2.depth import DepthMap, FlatGround, load_depth
from loc2.depth.own import OwnDepth, seen_ground
from loc2.depth.tangent import cut_views, tangent_views
from loc2.errors import InputError
from loc2.features import VisionTransformer, VitConfig
from loc2.inputs import load_image
from loc2.lifting import ground_cells, other_cells, with_far_cells
from loc2.model import Loc2Model, ModelConfig, save_model
from loc2.pose.posterior import PosePrior
from loc2.published.config import CONFIGS
from loc2.published.localizer import PublishedLocalizer
from loc2.published.model import PublishedModel
from loc2.query import place_prior, scale_prior
from loc2.solving import posterior_of
from tests.conftest import CliResult, PairFiles

Cli = Callable[..., CliResult]
PAIR = bundled_pair()
RANGE_M = (2.0, 35.0)


@pytest.fixture(scope="module")
def localizer() -> Localizer:
    return Localizer.from_pretrained()


@pytest.fixture(scope="module")
def panorama() -> tuple[Tensor, Camera]:
    image = load_image(PAIR.ground, "ground image")
    return image, Equirectangular(image.shape[-1], image.shape[-2])


@pytest.fixture(scope="module")
def photo(panorama: tuple[Tensor, Camera]) -> tuple[Tensor, Camera]:
    """A level view of the bundled panorama."""
    view = tangent_views("cube", 256)[0]
    assert isinstance(panorama[1], Equirectangular)
    return cut_views(*panorama, [view])[0][0], view.camera


@given(
    height_m=st.floats(0.5, 3.0),
    factors=st.lists(st.floats(0.2, 3.0), min_size=64, max_size=64),
    known=st.lists(st.booleans(), min_size=64, max_size=64),
)
def test_the_ground_is_where_the_head_agrees_with_level_ground(
    height_m: float, factors: list[float], known: list[bool]
) -> None:
    level = FlatGround(height_m)(torch.zeros(3, 16, 32), Equirectangular(32, 16))
    factor = torch.tensor(factors).repeat(8).reshape(16, 32)
    valid = torch.tensor(known).repeat(8).reshape(16, 32)
    own = DepthMap(
        level.depth.clamp_min(0.01) * factor, "range", True, valid, "own", True, from_head=True
    )
    found = seen_ground(own, level, height_m, (0.0, 100.0))
    assert torch.equal(found.depth, level.depth)
    assert (found.levelled, found.from_head) == (True, False)
    apart = (factor - 1).abs()
    surely = level.valid & valid & (apart < 0.299)
    maybe = level.valid & valid & (apart < 0.301)
    enough = 0.1 * int(level.valid.sum())
    if int(surely.sum()) > enough:
        assert found.source == "ground"
        assert not (found.valid & ~maybe).any()
        assert not (surely & ~found.valid).any()
    if int(maybe.sum()) <= enough:
        assert found is level


@pytest.mark.parametrize(("percent", "asked"), [(5, False), (15, True)])
def test_a_head_that_sees_next_to_no_ground_is_not_asked(percent: int, asked: bool) -> None:
    camera = Pinhole.from_hfov(100, 100, 90.0)
    level = FlatGround(1.6)(torch.zeros(3, 100, 100), camera)
    agrees = (torch.arange(100) < percent).expand(100, 100)
    own = DepthMap(
        torch.where(agrees, level.depth, level.depth / 3), "range", True,
        torch.ones_like(level.valid), "own",
    )  # fmt: skip
    found = seen_ground(own, level, 1.6, RANGE_M)
    assert (found.source == "ground") == asked
    assert torch.equal(found.valid, level.valid & agrees if asked else level.valid)


def test_ground_too_near_to_be_matched_does_not_count() -> None:
    """A wall close by, seen from above: the head agrees on what lies before it alone."""
    camera = Pinhole.from_hfov(120, 120, 50.0, pitch_deg=-30.0)
    level = FlatGround(1.6)(torch.zeros(3, 120, 120), camera)
    distance_m = (level.depth.square() - 1.6**2).clamp_min(0).sqrt()
    wall = distance_m > 1.8
    own = DepthMap(
        torch.where(wall, level.depth / 3, level.depth), "range", True, level.valid, "own"
    )
    assert int((level.valid & ~wall).sum()) > 0.1 * int(level.valid.sum())
    assert seen_ground(own, level, 1.6, RANGE_M) is level
    assert seen_ground(own, level, 1.6, (0.0, 35.0)) is not level


def test_photos_are_lifted_by_the_ground_that_the_head_sees(
    localizer: Localizer, photo: tuple[Tensor, Camera], panorama: tuple[Tensor, Camera]
) -> None:
    (image, camera), height_m = photo, 2.5
    view = localizer.ground_view(image, camera, height_m)
    aerial = localizer.aerial_features(PAIR.aerial, PAIR.meters_per_pixel, photo=True)
    flat, ground, default = (
        localizer.localize(view, aerial, depth=d) for d in ("flat", "ground", "default")
    )
    assert ground.settings["depth"] == ground.depth.source == "ground"
    assert default.settings["depth"] == "ground"
    assert default.pose == ground.pose != flat.pose
    assert default.settings["far_share"] == 0.0
    spots = [{tuple(row) for row in a.cells.ground_px.tolist()} for a in (flat, ground)]
    assert 0.2 * len(spots[0]) < len(spots[1]) < len(spots[0])
    assert spots[1] < spots[0]
    own = OwnDepth(localizer.model, height_m)(image, camera)
    level = FlatGround(height_m)(image, camera)
    assert torch.equal(ground.depth.valid, seen_ground(own, level, height_m, RANGE_M).valid)
    # Panoramas have ground all around.
    whole = localizer.localize(panorama[0], PAIR.aerial, meters_per_pixel=PAIR.meters_per_pixel)
    assert whole.settings["depth"] == "flat"


def test_what_photos_are_lifted_with_may_be_left_out() -> None:
    def default(photo: bool, **settings: str) -> str:
        model = Loc2Model(ModelConfig.model_validate({"head": {"hidden_dim": 8}, **settings}))
        return Localizer(model, "plain", {}).default_depth(photo)

    assert default(True, default_depth="own", photo_depth="ground") == "ground"
    assert default(False, default_depth="own", photo_depth="ground") == "own"
    assert default(True, default_depth="own") == "own"
    plain = Localizer(Loc2Model(ModelConfig(head=None, photo_depth="ground")), "plain", {})
    assert plain.default_depth(photo=True) == "flat"
    config = ModelConfig(head=None, default_depth="flat", far_share=0.5)
    headless = Localizer(Loc2Model(config), "plain", {})
    assert headless.default_far_share() == 0.0  # nothing could lift them
    with pytest.raises(ValueError, match="far_share: own depth is what"):
        ModelConfig(default_depth="own", far_share=0.5)


def test_far_cells_vote_where_nothing_else_is_asked_for(localizer: Localizer) -> None:
    share = localizer.model.config.far_share
    assert share > 0
    ground = localizer.ground_view(PAIR.ground)
    aerial = localizer.aerial_features(PAIR.aerial, PAIR.meters_per_pixel)
    default = localizer.localize(ground, aerial)
    flat = localizer.localize(ground, aerial, depth="flat")
    assert default.settings["far_share"] == share and flat.settings["far_share"] == 0.0
    assert default.settings["depth"] == flat.settings["depth"] == "flat"
    # What is shown is lifted once.
    assert torch.equal(default.cells.ground_px, flat.cells.ground_px)

    cells, unit_m = ground_cells(ground, flat.depth, aerial, RANGE_M)
    other = other_cells(ground, flat.depth, aerial, RANGE_M)
    assert other is not None
    prior, scale = scale_prior(
        place_prior(PosePrior(), aerial, localizer.center_sigma), levelled=True
    )
    for answer, voting in ((flat, cells), (default, with_far_cells(cells, other, share)[0])):
        posterior = posterior_of(
            voting, aerial, unit_m, half_size_m=aerial.half_size_m, solver="voting", scale=scale,
            prior=prior, temperature=localizer.model.config.vote_temperature, seed=0,
        )  # fmt: skip
        assert answer.log_evidence == pytest.approx(posterior.log_evidence, abs=1e-3)
    assert default.log_evidence != pytest.approx(flat.log_evidence, abs=1.0)

    by_voting = localizer.localize(ground, aerial, solver="voting")
    assert by_voting.pose == default.pose
    solved = localizer.localize(ground, aerial, solver="procrustes")
    assert solved.settings["far_share"] == 0.0
    assert solved.pose == localizer.localize(ground, aerial, solver="procrustes", depth="flat").pose


def test_depth_files_of_the_ground(
    cli: Cli, localizer: Localizer, photo: tuple[Tensor, Camera], tmp_path: Path
) -> None:
    image, camera = photo
    pixels = (image * 255).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    made = cli(
        "depth", tmp_path / "photo.png", "--model", "ground", "--output", tmp_path / "depth",
        "--hfov", 110, "--camera-height", 2, "--quiet",
    )  # fmt: skip
    assert made.code == 0, made.err
    found = load_depth(tmp_path / "depth" / "photo.npz", camera)
    expected = OwnDepth(localizer.model, 2.0, "ground")(image, camera)
    assert 0.2 < float(found.valid.float().mean()) < 0.5
    assert float((found.valid == expected.valid).float().mean()) > 0.99  # the PNG rounds
    both = found.valid & expected.valid
    torch.testing.assert_close(found.depth[both], expected.depth[both], rtol=1e-3, atol=1e-3)
    # A second opinion on it is the head's own range.
    assert not found.from_head
    answer = cli(
        "localize", tmp_path / "photo.png", "--aerial", PAIR.aerial, "--meters-per-pixel",
        PAIR.meters_per_pixel, "--hfov", 110, "--depth", "ground", "--json",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    assert '"depth": "ground"' in answer.out


@pytest.mark.parametrize("depth", ["own", "ground"])
def test_weights_without_a_head_tell_no_depth(
    depth: str, cli: Cli, pair_files: PairFiles, tmp_path: Path
) -> None:
    model = Loc2Model(ModelConfig(head=None)).eval()
    line = f"depth '{depth}': these weights have no depth head"
    published = PublishedLocalizer(
        PublishedModel(
            CONFIGS["loc2-vigor"], VisionTransformer(VitConfig(embed_dim=32, depth=1, num_heads=2))
        ),
        "tiny",
        {},
    )
    assert published.default_depth(photo=True) == "flat"
    assert not published.tells_depth
    with pytest.raises(InputError, match=line):
        Localizer(model, "plain", {}).localize(
            pair_files.ground, pair_files.aerial, meters_per_pixel=0.25, depth=depth
        )
    save_model(model, tmp_path / "plain.safetensors", {})
    command = "depth", pair_files.ground, "--weights", tmp_path / "plain.safetensors"
    cli(*command, "--output", tmp_path / "d", "--model", depth).assert_one_line_error(line)
    cli(
        *command, "--output", tmp_path / "d", "--model", "default", "--mask-head"
    ).assert_one_line_error("--mask-head: these weights have no depth head")
    assert not (tmp_path / "d").exists()
