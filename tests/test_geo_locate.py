"""Searching in pieces with a position prior: which pieces are looked at, and where."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from loc2.errors import InputError
from loc2.geo import plan
from loc2.geo.locate import locate
from loc2.geo.source import PlainSource
from loc2.inputs.photo_priors import photo_priors
from loc2.localizer import Localizer
from loc2.query import PositionPrior
from tests.conftest import PairFiles

METERS_PER_PIXEL = 0.6


@pytest.fixture(scope="module")
def localizer() -> Localizer:
    found = Localizer.from_pretrained()
    # One look at the aerial image in place of four: what is tested lies around the network.
    found.model.config = found.model.config.model_copy(update={"aerial_turns": 1})
    return found


def picture(side_px: int) -> torch.Tensor:
    small = np.random.default_rng(5).integers(0, 255, (20, 20, 3), dtype=np.uint8)
    grown = Image.fromarray(small).resize((side_px, side_px), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(grown)).permute(2, 0, 1).float() / 255


@pytest.mark.parametrize(
    ("east_m", "north_m", "radius_m"),
    [
        (20.0, -30.0, 0.1),
        (-49.15, 94.1, 0.1),
        (-48.85, 94.1, 0.5),  # inside a piece as planned, outside the same as read
    ],
)
def test_the_answer_lies_where_the_prior_says(
    localizer: Localizer, pair_files: PairFiles, east_m: float, north_m: float, radius_m: float
) -> None:
    # Pieces of 89.6 m are read in whole pixels, smaller and moved by up to half a pixel.
    found = locate(
        localizer,
        pair_files.ground,
        PlainSource(picture(463), METERS_PER_PIXEL, "aerial.png"),
        priors=photo_priors(pair_files.ground),
        position_prior=PositionPrior(east_m, north_m, radius_m),
    )
    record = found.record()
    apart_m = math.hypot(record["east_m"] - east_m, record["north_m"] - north_m)
    assert apart_m < radius_m + 0.001


@pytest.mark.parametrize(
    ("at_m", "message"),
    [(140.0, "holds no imagery"), (160.0, "lies outside the aerial image")],
)
def test_it_is_told_why_nothing_was_searched(
    localizer: Localizer, pair_files: PairFiles, at_m: float, message: str
) -> None:
    # Of the piece in the window's corner, which alone holds the first prior, 5 % lie in the image.
    here = (52.0, 13.0)
    with pytest.raises(InputError, match=message):
        locate(
            localizer,
            pair_files.ground,
            PlainSource(picture(267), METERS_PER_PIXEL, "aerial.png", center=here),
            priors=photo_priors(pair_files.ground),
            around=here,
            radius_m=150.0,
            position_prior=PositionPrior(at_m, at_m, 5.0),
        )


@pytest.mark.parametrize("options", [{"radius_m": 5e6}, {"radius_m": 50.0, "snap_m": 1e9}])
def test_a_window_of_a_country_is_refused_before_anything_of_its_size_is_made(
    localizer: Localizer,
    pair_files: PairFiles,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, float],
) -> None:
    monkeypatch.delattr(plan, "plan_pieces")
    monkeypatch.delattr(plan, "load_image")
    here = (52.0, 13.0)
    with pytest.raises(InputError, match="pieces, more than 1000; say where to look") as error:
        locate(
            localizer,
            pair_files.ground,
            PlainSource(picture(64), METERS_PER_PIXEL, "aerial.png", center=here),
            priors=photo_priors(pair_files.ground),
            around=here,
            **options,
        )
    assert "\n" not in str(error.value)
