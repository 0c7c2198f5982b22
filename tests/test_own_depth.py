"""The depth head of the weights: what it tells of the ground, in Python and on the command line."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from loc2 import Localizer
from loc2.cameras import Equirectangular
from loc2.depth import DepthMap, FlatGround, load_depth
from loc2.depth.own import seen_ground
from loc2.errors import InputError
from loc2.inputs import CameraSpec
from loc2.model import Loc2Model, ModelConfig
from tests.conftest import CliResult, PairFiles

Cli = Callable[..., CliResult]

PHOTO = CameraSpec(hfov_deg=90.0)


@pytest.fixture(scope="module")
def localizer() -> Localizer:
    return Localizer.from_pretrained()


@given(
    height_m=st.floats(0.5, 5.0),
    factors=st.lists(st.floats(0.2, 3.0), min_size=64, max_size=64),
    known=st.lists(st.booleans(), min_size=64, max_size=64),
)
def test_the_ground_is_where_the_head_agrees_with_level_ground(
    height_m: float, factors: list[float], known: list[bool]
) -> None:
    level = FlatGround(height_m)(torch.zeros(3, 8, 16), Equirectangular(16, 8))
    factor = torch.tensor(factors).repeat(2).reshape(8, 16)
    valid = torch.tensor(known).repeat(2).reshape(8, 16)
    own = DepthMap(level.depth * factor, "range", True, valid, "own", True, from_head=True)
    found = seen_ground(own, level)
    assert torch.equal(found.depth, level.depth)
    assert (found.source, found.levelled, found.from_head) == ("ground", True, False)
    clear = (factor - 1).abs()
    agrees = level.valid & valid
    if int((agrees & (clear < 0.29)).sum()) > 0.1 * int(level.valid.sum()):
        assert not (found.valid & ~agrees).any()
        assert not (found.valid & (clear > 0.31)).any()
        assert found.valid[agrees & (clear < 0.29)].all()
    if not (agrees & (clear < 0.31)).any():  # nothing to go by: all of level ground
        assert torch.equal(found.valid, level.valid)


def test_ground_lifts_a_part_of_level_ground(localizer: Localizer, pair_files: PairFiles) -> None:
    aerial = localizer.aerial_features(pair_files.aerial, 0.25, photo=True)
    view = localizer.ground_view(pair_files.ground, PHOTO)
    flat, ground = (localizer.localize(view, aerial, depth=d) for d in ("flat", "ground"))
    assert ground.settings["depth"] == ground.depth.source == "ground"
    spots = [{tuple(row) for row in a.cells.ground_px.tolist()} for a in (flat, ground)]
    assert 0 < len(spots[1]) <= len(spots[0])
    assert spots[1] <= spots[0]


def test_photos_may_be_lifted_in_another_way(localizer: Localizer, pair_files: PairFiles) -> None:
    config = localizer.model.config
    assert localizer.default_depth() == config.default_depth
    assert localizer.default_depth(photo=True) == config.photo_depth != config.default_depth
    for camera, expected in ((None, config.default_depth), (PHOTO, config.photo_depth)):
        answer = localizer.localize(
            pair_files.ground, pair_files.aerial, meters_per_pixel=0.25, camera=camera
        )
        assert answer.settings["depth"] == expected


def test_depth_files_of_the_ground(cli: Cli, pair_files: PairFiles, tmp_path: Path) -> None:
    for model in ("ground", "flat"):
        made = cli(
            "depth", pair_files.ground, "--model", model, "--output", tmp_path / model,
            "--camera-height", 2, "--quiet",
        )  # fmt: skip
        assert made.code == 0, made.err
    camera = Equirectangular(320, 160)
    ground, flat = (load_depth(tmp_path / m / "ground.npz", camera) for m in ("ground", "flat"))
    assert ground.valid.any()
    assert not (ground.valid & ~flat.valid).any()
    np.testing.assert_allclose(ground.depth[ground.valid], flat.depth[ground.valid], rtol=1e-4)
    # A second opinion on it is the head's own range.
    assert not ground.from_head


@pytest.mark.parametrize("depth", ["own", "ground"])
def test_weights_without_a_head_tell_no_depth(depth: str, pair_files: PairFiles) -> None:
    plain = Localizer(Loc2Model(ModelConfig(head=None)).eval(), "plain", {})
    with pytest.raises(InputError, match=f"depth '{depth}': these weights have no depth head"):
        plain.localize(pair_files.ground, pair_files.aerial, meters_per_pixel=0.25, depth=depth)
