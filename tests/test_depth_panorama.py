"""Panoramas through perspective models: geometry of the views, agreement, blending, seams."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from loc2.cameras import Equirectangular, Pinhole
from loc2.depth import FlatGround, PerspectiveDepth
from loc2.depth.perspective import DepthModelInfo, Quantity
from loc2.depth.reconcile import agree_on_scale
from loc2.depth.tangent import (
    TangentView,
    ViewLayout,
    blend_views,
    cut_views,
    native_view_size,
    tangent_views,
)
from loc2.errors import InputError
from loc2.frames import cell_centers_px
from tests.depth_scenes import BOX_ROOM, SLOPE, Scene, picture, pixel_rays

SIZE = 160


@dataclass
class ExactModel:
    """Gives each view's true depth under a random scale (and shift) of its own.

    The views come as encoded rays: the picture of the panorama holds each pixel's direction.
    """

    scene: Scene
    quantity: Quantity
    noise: float = 0.0
    bend: float = 0.0
    seed: int = 0
    sky_is_valid: bool = False

    view_px: int = SIZE

    @property
    def info(self) -> DepthModelInfo:
        return DepthModelInfo("exact", "1", self.quantity, "z", "none")

    def predict(self, images: Tensor, camera: Pinhole) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(self.seed)
        values, valid = [], []
        # What the views look at is known from the layout alone, in its order.
        views = tangent_views("cube" if len(images) == 6 else "icosahedron", self.view_px)
        for view in views:
            distance = self.scene.range_m(view.rays())
            uv_px = cell_centers_px(self.view_px, self.view_px, self.view_px, self.view_px)
            inverse_z = view.camera.range_per_depth(uv_px, "z") / distance
            inverse_z *= 1 + self.noise * torch.randn(inverse_z.shape, generator=generator)
            coarse = torch.randn(1, 1, 4, 4, generator=generator)
            bent = torch.nn.functional.interpolate(
                coarse, (self.view_px, self.view_px), mode="bicubic", align_corners=True
            )
            inverse_z *= 1 + self.bend * bent[0, 0]
            draw = torch.rand(2, generator=generator)
            factor = 2 ** float(2 * draw[0] - 1)  # 0.5 to 2
            shift = float(draw[1] - 0.5) if self.quantity == "inverse" else 0.0
            known = torch.isfinite(distance)
            if self.quantity == "inverse":
                values.append(inverse_z * factor + shift)
                known |= self.sky_is_valid
            else:
                values.append(torch.where(known, factor / inverse_z, 0.0))
            valid.append(known)
        return torch.stack(values), torch.stack(valid)


def errors(found: Tensor, valid: Tensor, truth: Tensor) -> Tensor:
    ratio = (found / truth)[valid & torch.isfinite(truth)]
    return (ratio / ratio.median() - 1).abs()


@pytest.mark.parametrize("layout", ["cube", "icosahedron"])
@pytest.mark.parametrize("quantity", ["scale", "inverse"])
@pytest.mark.parametrize("scene", [BOX_ROOM, SLOPE], ids=["room", "slope"])
def test_views_under_their_own_scale_and_shift_become_one_panorama(
    scene: Scene, quantity: Quantity, layout: ViewLayout
) -> None:
    pano = Equirectangular(360, 180, 1.5, -2.0)
    truth = scene.range_m(pixel_rays(pano))
    model = PerspectiveDepth(ExactModel(scene, quantity, noise=0.01), layout)
    found = model(torch.zeros(3, 180, 360), pano)
    assert found.kind == "range" and not found.metric
    assert float(found.valid[torch.isfinite(truth)].float().mean()) > 0.99
    error = errors(found.depth, found.valid, truth)
    assert float(error.mean()) < 0.03
    assert float(error.quantile(0.95)) < 0.05
    assert not bool(found.valid[torch.isinf(truth)].float().mean() > 0.02)


@pytest.mark.parametrize("quantity", ["scale", "inverse"])
@pytest.mark.parametrize("scene", [BOX_ROOM, SLOPE], ids=["room", "slope"])
def test_no_visible_seams(scene: Scene, quantity: Quantity) -> None:
    """The gradient that is not the scene's own is, across seams, within 1.5 times that elsewhere.

    Seams are the borders between the cube's faces and the borders of the views; the views are
    also bent by some per cent each in its own way, as networks bend them. Without blending the
    ratio is 6.
    """
    pano = Equirectangular(512, 256)
    rays = pixel_rays(pano)
    truth = scene.range_m(rays)
    model = ExactModel(scene, quantity, noise=0.002, bend=0.02, seed=3)
    found = PerspectiveDepth(model)(torch.zeros(3, 256, 512), pano)
    usable = found.valid & (truth < 40)
    error = torch.log(found.depth.clamp_min(1e-6) / truth)
    axis = rays.abs().argmax(-1)
    face = axis * 2 + (rays.gather(-1, axis[..., None])[..., 0] > 0).long()
    inside = torch.stack([v.project(rays)[1] for v in tangent_views("cube", SIZE)]).long()
    region = face + 8 * (inside * 2 ** torch.arange(6)[:, None, None]).sum(0)
    steps: dict[bool, list[Tensor]] = {True: [], False: []}
    for axis_dim in (0, 1):
        both = usable & usable.roll(-1, axis_dim)
        both &= (torch.log(truth.roll(-1, axis_dim) / truth)).abs() < 0.05  # within a surface
        if axis_dim == 0:
            both[-1] = False
        step = (error.roll(-1, axis_dim) - error).abs()
        seam = region != region.roll(-1, axis_dim)
        for on_seam in (True, False):
            steps[on_seam].append(step[both & (seam == on_seam)])
    on_seams, elsewhere = (float(torch.cat(steps[k]).mean()) for k in (True, False))
    assert on_seams <= 1.5 * elsewhere


def test_metric_views_keep_their_common_scale() -> None:
    views = tangent_views("cube", 64)
    uv_px = cell_centers_px(64, 64, 64, 64)
    factors = torch.tensor([0.5, 1.0, 2.0, 0.8, 1.25, 1.0])
    inverse = torch.stack(
        [v.camera.range_per_depth(uv_px, "z") / BOX_ROOM.range_m(v.rays()) for v in views]
    )
    found = agree_on_scale(
        inverse / factors[:, None, None], torch.ones(6, 64, 64, dtype=torch.bool), views, "z"
    )
    assert torch.allclose(found.gain.float(), factors / factors.log().mean().exp(), rtol=2e-3)


def test_sky_that_a_relative_model_calls_valid_does_no_harm() -> None:
    pano = Equirectangular(256, 128)
    truth = SLOPE.range_m(pixel_rays(pano))
    model = ExactModel(SLOPE, "inverse", sky_is_valid=True, seed=2)
    found = PerspectiveDepth(model)(torch.zeros(3, 128, 256), pano)
    near = truth < 40
    assert float(errors(found.depth, found.valid & near, truth).mean()) < 0.03


@pytest.mark.parametrize("layout", ["cube", "icosahedron"])
def test_views_cover_the_sphere_with_overlap(layout: ViewLayout) -> None:
    views = tangent_views(layout, 96)
    rays = torch.nn.functional.normalize(
        torch.randn(4000, 3, generator=torch.Generator().manual_seed(0)), dim=1
    )
    seen = torch.stack([v.project(rays)[1] for v in views]).sum(0)
    assert int(seen.min()) >= 1
    assert float((seen >= 2).float().mean()) > 0.25
    for view in views:
        assert torch.allclose(view.rotation @ view.rotation.T, torch.eye(3).double(), atol=1e-12)
        back, inside = view.project(view.rays())
        assert bool(inside.all())
        assert torch.allclose(back, cell_centers_px(96, 96, 96, 96), atol=1e-2)


@pytest.mark.parametrize(("roll_deg", "pitch_deg"), [(0.0, 0.0), (3.0, -4.0)])
def test_the_horizon_is_the_middle_row_of_level_views(roll_deg: float, pitch_deg: float) -> None:
    """Exact: what lies above the horizon is above the middle line, pixel by pixel."""
    pano = Equirectangular(720, 360, roll_deg, pitch_deg)
    up = pixel_rays(pano)[..., 2]
    views = tangent_views("cube", 128)[:4]
    images, covered = cut_views(up[None].expand(3, -1, -1), pano, views)
    assert bool(covered.all())
    assert bool((images[:, 0, :64] > 0).all()) and bool((images[:, 0, 64:] < 0).all())
    expected = torch.stack([v.rays()[..., 2] for v in views])
    assert float((images[:, 0] - expected).abs().max()) < 2e-3


def test_cutting_sees_no_seam_at_the_panoramas_edge() -> None:
    pano = Equirectangular(1024, 512)
    right = pixel_rays(pano)[..., 0]
    back = [tangent_views("cube", 96)[2]]  # looks backwards, across the left and right edge
    images, _ = cut_views(right[None], pano, back)
    assert float((images[0, 0] - back[0].rays()[..., 0]).abs().max()) < 5e-3


def test_cropped_panoramas_leave_out_what_they_do_not_show() -> None:
    pano = Equirectangular(360, 90, elevation_top_deg=30, elevation_bottom_deg=-60)
    truth = BOX_ROOM.range_m(pixel_rays(pano))

    class SixViews(ExactModel):
        def predict(self, images: Tensor, camera: Pinhole) -> tuple[Tensor, Tensor]:
            assert len(images) == 5  # the view upwards shows nothing of it
            values, valid = super().predict(torch.zeros(6, 3, 1, 1), camera)
            keep = [0, 1, 2, 3, 5]
            return values[keep], valid[keep]

    found = PerspectiveDepth(SixViews(BOX_ROOM, "scale"))(torch.zeros(3, 90, 360), pano)
    assert found.depth.shape == (90, 360)
    assert float(found.valid.float().mean()) > 0.99
    assert float(errors(found.depth, found.valid, truth).mean()) < 0.01


def test_depth_edges_are_not_averaged() -> None:
    """Near a box's edge the range is that of the box or of the wall, never between."""
    pano = Equirectangular(512, 256)
    truth, surface = BOX_ROOM.surfaces(pixel_rays(pano))
    views = tangent_views("cube", 256)
    inverse = torch.stack([1 / BOX_ROOM.range_m(v.rays()) for v in views])
    found, valid = blend_views(inverse, torch.ones_like(inverse, dtype=torch.bool), views, pano)
    low = -torch.nn.functional.max_pool2d(-truth[None], 5, 1, 2)[0]
    high = torch.nn.functional.max_pool2d(truth[None], 5, 1, 2)[0]
    edge = (high > 1.5 * low) & valid
    between = edge & (found > 1.1 * low) & (found < 0.9 * high)
    truly = edge & (truth > 1.1 * low) & (truth < 0.9 * high)
    assert int(surface.unique().numel()) > 4
    assert int((between & ~truly).sum()) < 0.15 * int(edge.sum())


def test_native_size_is_as_fine_as_the_panorama() -> None:
    pano = Equirectangular(1024, 512)
    size = native_view_size(pano, 90.0)
    view = TangentView(Pinhole.from_hfov(size, size, 90.0), torch.eye(3).double())
    middle = torch.tensor([[size / 2, size / 2], [size / 2 + 1, size / 2]])
    first, second = view.camera.pixels_to_rays(middle)
    step_deg = math.degrees(math.acos(min(1.0, float(first @ second))))
    assert step_deg == pytest.approx(360 / 1024, rel=0.02)


def test_nothing_usable_is_one_clear_error() -> None:
    class Blind(ExactModel):
        def predict(self, images: Tensor, camera: Pinhole) -> tuple[Tensor, Tensor]:
            values, valid = super().predict(images, camera)
            return values, valid & False

    with pytest.raises(InputError, match="usable depth"):
        PerspectiveDepth(Blind(BOX_ROOM, "scale"))(
            picture(BOX_ROOM, Equirectangular(64, 32)), Equirectangular(64, 32)
        )


@pytest.mark.parametrize("tilt_deg", [0.0, 3.0])
def test_level_ground_lies_at_the_cameras_height(tilt_deg: float) -> None:
    camera = Equirectangular(96, 32, tilt_deg, -tilt_deg, 20.0, -70.0)
    found = FlatGround(2.5, 30.0)(torch.zeros(3, 32, 96), camera)
    assert found.depth.shape == found.valid.shape == (32, 96)
    uv_px = cell_centers_px(32, 96, 32, 96)
    points = camera.lift(uv_px, found.depth, found.kind)
    assert points[found.valid][:, 2].numpy() == pytest.approx(-2.5, abs=1e-4)
    down = -camera.pixels_to_rays(uv_px)[..., 2]
    assert bool((found.valid == (down * 30.0 >= 2.5)).float().mean() > 0.99)
    assert bool((found.depth[~found.valid] == 0).all()) and bool(found.valid.any())
