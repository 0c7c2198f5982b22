"""Camera effects: each does what it says, and nothing else; the nadir hides what it covers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("numba")

from loc2.cameras import Equirectangular, Pinhole
from loc2.scenes.mesh import SemanticClass
from loc2.scenes.nadir import NadirKind, add_nadir, random_nadir_kind
from loc2.scenes.render import GroundRender
from loc2.scenes.sensor import (
    Development,
    develop,
    random_aerial_development,
    random_ground_development,
    to_uint8,
)
from loc2.scenes.texture import build_pyramid, linear_to_srgb, srgb_to_linear


def scene(seed: int = 0, height: int = 48, width: int = 96) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.random((3, height // 8, width // 8))
    return np.kron(coarse, np.ones((1, 8, 8))).astype(np.float32) * 0.6


def shot(development: Development, image: np.ndarray | None = None, **options: bool) -> np.ndarray:
    image = scene() if image is None else image
    return develop(image, development, np.random.default_rng(1), **options)


def test_without_effects_a_self_lit_image_keeps_its_colours() -> None:
    image = scene()
    assert shot(Development(), image, self_lit=True) == pytest.approx(
        linear_to_srgb(image), abs=2e-3
    )


@given(st.floats(0.0, 1.0))
@settings(max_examples=30, deadline=None)
def test_srgb_round_trip(value: float) -> None:
    there = linear_to_srgb(srgb_to_linear(np.array([value])))
    assert there[0] == pytest.approx(value, abs=1e-5)


def test_automatic_exposure_does_not_depend_on_the_strength_of_the_light() -> None:
    image = scene()
    assert shot(Development(), image) == pytest.approx(shot(Development(), image * 7), abs=3e-3)
    assert shot(Development(exposure_ev=1.0)).mean() > shot(Development()).mean() + 0.05


def test_white_balance_and_saturation() -> None:
    warm = shot(Development(white_balance=(1.3, 1.0, 0.7)))
    plain = shot(Development())
    assert warm[0].mean() > plain[0].mean() and warm[2].mean() < plain[2].mean()
    grey = shot(Development(saturation=0.0))
    assert np.ptp(grey, axis=0).max() < 1e-5


def test_blur_keeps_the_mean_and_wraps_only_in_panoramas() -> None:
    image = np.full((3, 16, 32), 0.1, np.float32)
    image[:, :, 0] = 0.5
    wrapped = shot(Development(blur_px=1.5), image, panorama=True, self_lit=True)
    plain = shot(Development(blur_px=1.5), image, self_lit=True)
    assert wrapped[0, 8, -1] > 0.05 + linear_to_srgb(np.array([0.1]))[0]
    assert plain[0, 8, -1] == pytest.approx(float(linear_to_srgb(np.array([0.1]))[0]), abs=2e-3)
    assert srgb_to_linear(wrapped).mean() == pytest.approx(image.mean(), rel=0.01)


def test_vignetting_darkens_corners_and_leaves_the_centre() -> None:
    image = np.full((3, 40, 60), 0.3, np.float32)
    seen = srgb_to_linear(shot(Development(vignetting=0.5), image, self_lit=True))
    assert seen[0, 20, 30] == pytest.approx(0.3, rel=0.01)
    assert seen[0, 0, 0] == pytest.approx(0.15, rel=0.06)


def test_veil_lifts_the_dark_and_sharpening_steepens_edges() -> None:
    dark = np.zeros((3, 16, 16), np.float32)
    assert shot(Development(veil=0.1), dark, self_lit=True).min() > 0.3
    edge = np.full((3, 8, 16), 0.1, np.float32)
    edge[:, :, 8:] = 0.3
    plain, sharp = (shot(Development(sharpening=s), edge, self_lit=True) for s in (0.0, 1.0))
    assert np.ptp(sharp) > np.ptp(plain) + 0.05


def test_noise_has_the_strength_it_says() -> None:
    image = np.full((3, 200, 200), float(srgb_to_linear(np.array([0.4]))[0]), np.float32)
    noisy = shot(Development(noise=0.02), image, self_lit=True)
    assert noisy.std() == pytest.approx(0.02 * np.hypot(0.8, 0.4), rel=0.05)
    assert noisy.mean() == pytest.approx(0.4, abs=2e-3)


def test_jpeg_and_resolution_lose_detail() -> None:
    image = np.random.default_rng(0).random((3, 64, 64), np.float32) * 0.5
    for development in (Development(jpeg_quality=30), Development(resolution=0.5)):
        assert np.abs(shot(development, image) - shot(Development(), image)).mean() > 0.01


def test_random_developments_are_seeded_differ_and_stay_in_range() -> None:
    seen = set()
    for seed in range(40):
        for draw in (
            lambda r: random_ground_development(r, panorama=False),
            random_aerial_development,
        ):
            first, second = (draw(np.random.default_rng(seed)) for _ in range(2))
            assert first == second
            a = develop(scene(), first, np.random.default_rng(seed))
            b = develop(scene(), second, np.random.default_rng(seed))
            assert a.tobytes() == b.tobytes()
            assert a.dtype == np.float32 and a.min() >= 0.0 and a.max() <= 1.0
            assert a.std() > 0.02  # neither black nor white
            seen.add(first)
    assert len(seen) == 80


def panorama_render() -> GroundRender:
    camera = Equirectangular(128, 64)
    rng = np.random.default_rng(2)
    return GroundRender(
        rgb=rng.random((3, 64, 128), np.float32),
        range_m=np.full((64, 128), 5.0, np.float32),
        classes=np.full((64, 128), SemanticClass.ROAD, np.uint8),
        camera=camera,
        position=np.zeros(3),
        heading_deg=0.0,
    )


@pytest.mark.parametrize("kind", ["vehicle", "blur", "cap"])
def test_nadir_hides_what_it_covers_and_leaves_the_rest(kind: NadirKind) -> None:
    before = panorama_render()
    for seed in range(20):
        after = add_nadir(before, kind, np.random.default_rng(seed))
        hidden = after.classes == SemanticClass.OWN_VEHICLE
        assert hidden[-1].all() and not hidden[: 64 * 5 // 8].any()
        assert np.isinf(after.range_m[hidden]).all()
        assert (after.range_m[~hidden] == 5.0).all()
        upper = slice(0, 64 * 5 // 8)
        assert np.array_equal(after.rgb[:, upper], before.rgb[:, upper])
        assert np.isfinite(after.rgb).all() and after.rgb.min() >= 0.0


def test_nadir_of_other_views_is_left_alone() -> None:
    view = panorama_render()
    assert add_nadir(view, "none", np.random.default_rng(0)) is view
    crop = GroundRender(
        view.rgb, view.range_m, view.classes, Pinhole.from_hfov(128, 64, 80.0), view.position, 0.0
    )
    assert add_nadir(crop, "vehicle", np.random.default_rng(0)) is crop
    kinds = {random_nadir_kind(np.random.default_rng(s), 1.6) for s in range(60)}
    assert kinds == {"none", "blur", "cap"}  # no car carries a camera at eye height


def test_pyramid_averages_in_linear_light_and_keeps_leaf_colours() -> None:
    texture = np.zeros((6, 4, 3), np.uint8)
    texture[:, ::2] = 255
    texels, levels = build_pyramid(texture, None)
    assert levels[:, 1:].tolist() == [[6, 4], [3, 2], [1, 1]]
    assert texels[int(levels[1, 0])].tolist() == [188, 188, 188, 255]  # linear 0.5
    green = np.zeros((4, 4, 3), np.uint8)
    mask = np.zeros((4, 4), np.uint8)
    green[0, 0], mask[0, 0] = (0, 200, 0), 255
    texels, levels = build_pyramid(green, mask)
    red, grass, _, share = texels[int(levels[1, 0])].tolist()
    assert (red, share) == (0, 64) and grass > 190
    assert to_uint8(np.ones((3, 2, 2), np.float32)).max() == 255
