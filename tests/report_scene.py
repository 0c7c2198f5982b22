"""A hand-made localization of an analytic scene, for tests of figures and reports.

The ground is a plane with a drawn texture. The ground image is its exact view from a known pose,
the matches are exact projections plus outliers, and the probability maps are Gaussians around the
true places; so the position of everything a figure draws is known in closed form.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from loc2.cameras import Camera, Equirectangular, Pinhole
from loc2.depth.base import DepthMap
from loc2.depth.flat import FlatGround
from loc2.frames import (
    Pose,
    aerial_m_to_px,
    aerial_px_to_m,
    cell_centers_px,
    heading_difference_deg,
    local_to_aerial,
)
from loc2.localization import GroundCells, Heatmap, Hypothesis, Localization, Matches

SIDE_PX = 320
METERS_PER_PIXEL = 0.16
CAMERA_HEIGHT_M = 1.8
TRUE_POSE = Pose(6.4, -3.2, 40.0)


def aerial_texture(side_px: int = SIDE_PX, seed: int = 0) -> Tensor:
    """Return (3, side, side) RGB in [0, 1]: two roads, markings, roofs, trees, paths."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (side_px, side_px), (96, 122, 74))
    draw = ImageDraw.Draw(image)
    k = side_px / 320

    def box(x0: float, y0: float, x1: float, y1: float, fill: tuple[int, int, int]) -> None:
        draw.rectangle([x0 * k, y0 * k, x1 * k, y1 * k], fill=fill)

    box(0, 172, 320, 222, (96, 96, 100))
    box(178, 0, 226, 320, (96, 96, 100))
    box(0, 164, 320, 171, (172, 168, 158))
    box(0, 223, 320, 230, (172, 168, 158))
    box(170, 0, 177, 163, (172, 168, 158))
    box(227, 0, 234, 163, (172, 168, 158))
    for x in range(0, 320, 22):
        if not 165 < x < 230:
            box(x, 196, x + 11, 198, (232, 228, 210))
    for y in range(0, 320, 22):
        if not 150 < y < 225:
            box(201, y, 203, y + 11, (226, 186, 80))
    for x in range(182, 224, 8):
        box(x, 226, x + 4, 242, (236, 236, 232))
    for y in range(176, 220, 8):
        box(150, y, 166, y + 4, (236, 236, 232))
    box(20, 30, 130, 110, (150, 92, 78))
    box(30, 40, 120, 68, (166, 108, 92))
    box(250, 24, 306, 120, (178, 172, 164))
    box(14, 250, 110, 310, (112, 118, 130))
    box(250, 250, 310, 296, (156, 120, 96))
    for _ in range(26):
        x, y = rng.uniform(0, 320, 2)
        if 160 < y < 234 or 166 < x < 238:
            continue
        r = rng.uniform(5, 11)
        shade = int(rng.integers(-14, 14))
        draw.ellipse(
            [(x - r) * k, (y - r) * k, (x + r) * k, (y + r) * k],
            fill=(52 + shade, 84 + shade, 44 + shade),
        )
    pixels = np.asarray(image, dtype=np.float32) / 255
    pixels = pixels + rng.normal(0, 0.018, (*pixels.shape[:2], 1)).astype(np.float32)
    return torch.from_numpy(pixels.clip(0, 1)).permute(2, 0, 1).contiguous()


def render_ground(aerial: Tensor, camera: Camera, pose: Pose) -> Tensor:
    """Return the (3, H, W) view of the textured plane from a pose; sky above the horizon."""
    uv_px = cell_centers_px(camera.height, camera.width, camera.height, camera.width)
    rays = camera.pixels_to_rays(uv_px)
    down = -rays[..., 2]
    distance = CAMERA_HEIGHT_M / down.clamp_min(1e-4)
    position = torch.tensor([pose.east_m, pose.north_m])
    on_ground = local_to_aerial(
        (rays[..., :2] * distance[..., None]).reshape(-1, 2),
        torch.tensor(pose.heading_deg),
        position,
    )
    height, width = aerial.shape[1:]
    px = aerial_m_to_px(on_ground, width, height, METERS_PER_PIXEL)
    grid = (px / torch.tensor([width, height]) * 2 - 1).reshape(1, camera.height, camera.width, 2)
    seen = torch.nn.functional.grid_sample(
        aerial[None], grid, align_corners=False, padding_mode="border"
    )[0]
    haze = torch.tensor([0.78, 0.82, 0.86])[:, None, None]
    fade = (distance / 90).clamp(0, 1)
    ground = seen * (1 - fade) + haze * fade
    elevation = torch.asin(rays[..., 2].clamp(-1, 1)).clamp_min(0) / (math.pi / 2)
    sky = haze * (1 - elevation) + torch.tensor([0.36, 0.55, 0.80])[:, None, None] * elevation
    return torch.where(down > 0, ground, sky).clamp(0, 1)


def panorama_camera(width: int = 512, height: int = 256) -> Equirectangular:
    return Equirectangular(width, height)


def photo_camera(width: int = 400, height: int = 300) -> Pinhole:
    return Pinhole.from_hfov(width, height, 70.0, pitch_deg=-6.0)


def make_localization(
    *,
    pose: Pose = TRUE_POSE,
    estimate: Pose | None = None,
    camera: Camera | None = None,
    outliers: float = 0.2,
    count: int = 160,
    second: Pose | None = None,
    second_mass: float = 0.3,
    sigma_m: tuple[float, float] = (0.9, 0.5),
    sigma_deg: float = 3.0,
    confidence: float = 0.9,
    evidence_scale: float = 1.0,
    seed: int = 0,
) -> Localization:
    """Build a localization of the analytic scene.

    Args:
        pose: where the ground image is really taken.
        estimate: what is claimed; the true pose when not given.
        camera: a panorama by default.
        outliers: share of matches whose aerial end is random.
        count: number of matches.
        second: a second mode of the posterior.
        second_mass: its mass.
        sigma_m: standard deviations along the principal axes of the position, metres.
        sigma_deg: standard deviation of the heading, degrees.
        confidence: as it is to be shown.
        evidence_scale: metres that a depth unit is short of: depth is divided by it.
        seed: of everything random.
    """
    estimate = estimate or pose
    camera = camera or panorama_camera()
    generator = torch.Generator().manual_seed(seed)
    aerial = aerial_texture(seed=seed)
    ground = render_ground(aerial, camera, pose)
    scale = evidence_scale
    flat = FlatGround(CAMERA_HEIGHT_M, max_range_m=28.0)(ground, camera)
    depth = DepthMap(flat.depth / scale, flat.kind, scale == 1.0, flat.valid, "flat")
    estimate = Pose(estimate.east_m, estimate.north_m, estimate.heading_deg, scale)

    cell_px = max(8, camera.width // (64 if isinstance(camera, Equirectangular) else 32))
    rows, cols = camera.height // cell_px, camera.width // cell_px
    cell_uv = cell_centers_px(rows, cols, camera.height, camera.width).reshape(-1, 2)
    index = cell_uv.long()
    cell_depth = depth.depth[index[:, 1], index[:, 0]]
    valid = depth.valid[index[:, 1], index[:, 0]]
    cell_uv, cell_depth = cell_uv[valid], cell_depth[valid]
    bev = camera.lift(cell_uv, cell_depth, depth.kind)[:, :2]
    here = torch.tensor([pose.east_m, pose.north_m])
    true_m = local_to_aerial(bev, torch.tensor(pose.heading_deg), here, scale)
    half_m = SIDE_PX * METERS_PER_PIXEL / 2
    inside = (true_m.abs() < half_m - 0.5).all(-1)
    cell_uv, bev, true_m = cell_uv[inside], bev[inside], true_m[inside]

    side = 32
    cell_size_m = 2 * half_m / side
    centers_m = aerial_px_to_m(cell_centers_px(side, side, side, side), side, side, cell_size_m)
    squared = (centers_m[None] - true_m[:, None, None]).square().sum(-1)
    noise = torch.rand(squared.shape, generator=generator) * 0.08 - 0.05
    evidence = torch.exp(-squared / (2 * 2.2**2)) * 0.5 + noise
    if second is not None:
        other = torch.tensor([second.east_m, second.north_m])
        other_m = local_to_aerial(bev, torch.tensor(second.heading_deg), other, scale)
        squared = (centers_m[None] - other_m[:, None, None]).square().sum(-1)
        evidence = torch.maximum(evidence, torch.exp(-squared / (2 * 2.2**2)) * 0.45)
    weight = torch.ones(len(bev)) / len(bev)

    chosen = torch.randperm(len(bev), generator=generator)[:count]
    to_m = true_m[chosen].clone()
    wrong = torch.rand(len(chosen), generator=generator) < outliers
    random_m = (torch.rand(len(chosen), 2, generator=generator) * 2 - 1) * (half_m - 1)
    to_m[wrong] = random_m[wrong]
    matched = local_to_aerial(
        bev[chosen],
        torch.tensor(estimate.heading_deg),
        torch.tensor([estimate.east_m, estimate.north_m]),
        scale,
    )
    inlier = (matched - to_m).norm(dim=-1) < 2.0
    strength = 0.2 + 0.8 * torch.rand(len(chosen), generator=generator)
    strength[wrong] *= 0.5

    turn = math.radians(25.0)
    axes = torch.tensor([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    covariance = torch.zeros(3, 3)
    covariance[:2, :2] = axes @ torch.diag(torch.tensor(sigma_m).square()) @ axes.T
    covariance[2, 2] = sigma_deg**2

    first_mass = 0.92 if second is None else 0.95 - second_mass
    hypotheses = [Hypothesis(estimate, first_mass)]
    if second is not None:
        hypotheses.append(Hypothesis(second, second_mass))
    return Localization(
        pose=estimate,
        covariance=covariance,
        confidence=confidence,
        hypotheses=tuple(hypotheses),
        matches=Matches(
            ground_px=cell_uv[chosen],
            aerial_px=aerial_m_to_px(to_m, SIDE_PX, SIDE_PX, METERS_PER_PIXEL),
            bev=bev[chosen],
            weight=strength,
            inlier=inlier,
        ),
        cells=GroundCells(cell_uv, bev, weight, evidence.to(torch.float16), cell_size_m),
        heatmap=_heatmap(hypotheses, covariance, half_m),
        depth=depth,
        camera=camera,
        ground_image=ground,
        aerial_image=aerial,
        meters_per_pixel=METERS_PER_PIXEL,
        timings_s={"features": 0.41, "matching": 0.08, "pose": 0.12},
        weights="analytic scene",
        settings={"heading_prior": None, "depth": "flat"},
    )


def _heatmap(hypotheses: list[Hypothesis], covariance: Tensor, half_m: float) -> Heatmap:
    step_m, count = 0.5, 72
    side = int(2 * half_m / step_m)
    centers_m = aerial_px_to_m(cell_centers_px(side, side, side, side), side, side, step_m)
    precision = torch.linalg.inv(covariance[:2, :2])
    position, heading = torch.zeros(side, side), torch.zeros(count)
    angles = torch.arange(count) * (360.0 / count)
    for hypothesis in hypotheses:
        pose = hypothesis.pose
        offset = centers_m - torch.tensor([pose.east_m, pose.north_m])
        bump = torch.exp(-0.5 * torch.einsum("...i,ij,...j->...", offset, precision, offset))
        position += hypothesis.mass * bump / bump.sum()
        turn = torch.tensor([heading_difference_deg(float(a), pose.heading_deg) for a in angles])
        bump = torch.exp(-0.5 * turn.square() / covariance[2, 2])
        heading += hypothesis.mass * bump / bump.sum()
    return Heatmap(position, step_m, heading)
