"""Figures checked on what they show: positions to the pixel, nothing clipped, legends named."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Ellipse
from matplotlib.text import Text
from PIL import Image

from loc2.errors import InputError, OutputError
from loc2.frames import Pose, aerial_m_to_px, heading_to_rotation
from loc2.localization import Localization
from loc2.report import (
    FIGURES,
    draw_depth,
    draw_matches,
    draw_overlay,
    draw_points,
    draw_posterior,
    save_figures,
)
from loc2.report.figures.matches import match_panels, spread_selection
from loc2.report.layout import layout_on_aerial
from tests.report_scene import (
    METERS_PER_PIXEL,
    SIDE_PX,
    TRUE_POSE,
    make_localization,
    panorama_camera,
    photo_camera,
)


@pytest.fixture(scope="module")
def panorama() -> Localization:
    return make_localization()


@pytest.fixture(scope="module")
def photo() -> Localization:
    return make_localization(camera=photo_camera())


def by_gid(figure: Figure, gid: str) -> Artist:
    found = figure.findobj(lambda artist: artist.get_gid() == gid)
    assert len(found) == 1, f"{len(found)} artists named {gid}"
    return found[0]


def true_uv(pose: Pose = TRUE_POSE) -> tuple[float, float]:
    """The conventions written out, independently of loc2.frames."""
    return (
        SIDE_PX / 2 + pose.east_m / METERS_PER_PIXEL,
        SIDE_PX / 2 - pose.north_m / METERS_PER_PIXEL,
    )


def assert_nothing_clipped(figure: Figure) -> None:
    figure.canvas.draw()
    box = figure.bbox
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    for artist in figure.findobj(Text):
        if not artist.get_visible() or not artist.get_text():
            continue
        extent = artist.get_window_extent(renderer)
        assert extent.x0 >= -0.5 and extent.y0 >= -0.5, artist.get_text()
        assert extent.x1 <= box.x1 + 0.5 and extent.y1 <= box.y1 + 0.5, artist.get_text()


def legend_texts(figure: Figure) -> str:
    return " | ".join(
        text.get_text()
        for axes in figure.axes
        if axes.get_legend() is not None
        for text in axes.get_legend().get_texts()
    )


def test_overlay_camera_is_drawn_at_the_pose(panorama: Localization) -> None:
    figure = draw_overlay(panorama)
    camera = by_gid(figure, "camera")
    assert isinstance(camera, Line2D)
    u, v = true_uv()
    np.testing.assert_allclose(camera.get_xydata(), [[u, v]], atol=1e-3)


def test_overlay_camera_pixel_in_the_written_image(panorama: Localization, tmp_path: Path) -> None:
    """The dot's yellow pixels in the PNG are centred where the pose says, to one image pixel."""
    figure = draw_overlay(panorama)
    axes = figure.axes[0]
    for artist in axes.findobj(lambda a: a.get_gid() in ("heading", "heading-wedge", "ellipse-90")):
        artist.set_visible(False)
    figure.savefig(tmp_path / "o.png", dpi=200)
    pixels = np.asarray(Image.open(tmp_path / "o.png").convert("RGB")).astype(int)
    yellow = np.abs(pixels - np.array([0xF0, 0xE4, 0x42])).max(-1) < 6
    height = pixels.shape[0]
    box = axes.get_position()
    top, bottom = (1 - box.y1) * height, (1 - box.y0) * height
    left, right = box.x0 * pixels.shape[1], box.x1 * pixels.shape[1]
    rows, cols = np.nonzero(yellow)
    inside = (rows > top) & (rows < bottom)
    u = ((cols[inside] + 0.5).mean() - left) / (right - left) * SIDE_PX
    v = ((rows[inside] + 0.5).mean() - top) / (bottom - top) * SIDE_PX
    assert math.hypot(u - true_uv()[0], v - true_uv()[1]) < 1.0


def test_overlay_heading_points_the_right_way(panorama: Localization) -> None:
    ray = by_gid(draw_overlay(panorama), "heading")
    assert isinstance(ray, Line2D)
    (x0, y0), (x1, y1) = ray.get_xydata()
    assert math.degrees(math.atan2(x1 - x0, y0 - y1)) == pytest.approx(40.0, abs=1e-3)


def test_overlay_ellipse_holds_ninety_percent(panorama: Localization) -> None:
    """Points drawn from the covariance lie inside the drawn ellipse nine times in ten."""
    ellipse = by_gid(draw_overlay(panorama), "ellipse-90")
    assert isinstance(ellipse, Ellipse)
    rng = np.random.default_rng(0)
    covariance = panorama.covariance[:2, :2].double().numpy()
    offsets_m = rng.multivariate_normal([0, 0], covariance, 40_000)
    u, v = true_uv()
    px = np.stack((u + offsets_m[:, 0] / METERS_PER_PIXEL, v - offsets_m[:, 1] / METERS_PER_PIXEL))
    path = ellipse.get_path().transformed(ellipse.get_patch_transform())
    assert path.contains_points(px.T).mean() == pytest.approx(0.90, abs=0.01)


def test_overlay_scale_bar_has_the_length_it_says(panorama: Localization) -> None:
    figure = draw_overlay(panorama)
    bar, label = by_gid(figure, "scale-bar"), by_gid(figure, "scale-bar-label")
    assert isinstance(bar, Line2D) and isinstance(label, Text)
    (x0, _), (x1, _) = bar.get_xydata()
    assert label.get_text() == f"{(x1 - x0) * METERS_PER_PIXEL:g} m"


@pytest.mark.parametrize("scale", [1.0, 0.25])
@pytest.mark.parametrize("kind", ["panorama", "photo"])
def test_layout_reproduces_the_aerial_image(kind: str, scale: float) -> None:
    """An exact view of a plane, lifted at the true pose, is the plane again; turned, it is not."""
    camera = panorama_camera() if kind == "panorama" else photo_camera()
    localization = make_localization(camera=camera, evidence_scale=scale)

    def error(pose: Pose) -> float:
        layout = layout_on_aerial(localization, pose)
        v, u = torch.meshgrid(torch.arange(SIDE_PX), torch.arange(SIDE_PX), indexing="ij")
        u0, v0 = true_uv()
        near = torch.hypot(u + 0.5 - u0, v + 0.5 - v0) < 8.0 / METERS_PER_PIXEL
        seen = (layout[3] > 0) & near
        assert seen.float().mean() > 0.01
        return float((layout[:3] - localization.aerial_image).abs().mean(0)[seen].mean())

    right = error(localization.pose)
    assert right < 0.035
    for turn_deg, shift_m in ((30.0, 0.0), (0.0, 1.5)):
        p = localization.pose
        moved = Pose(p.east_m + shift_m, p.north_m, p.heading_deg + turn_deg, p.scale)
        assert error(moved) > 2.0 * right


def test_layout_leaves_no_gaps() -> None:
    opacity = layout_on_aerial(make_localization(camera=panorama_camera(896, 448)))[3]
    v, u = torch.meshgrid(torch.arange(SIDE_PX), torch.arange(SIDE_PX), indexing="ij")
    distance_m = torch.hypot(u + 0.5 - true_uv()[0], v + 0.5 - true_uv()[1]) * METERS_PER_PIXEL
    assert (opacity[(distance_m > 0.5) & (distance_m < 24.0)] == 1).all()
    assert (opacity[distance_m > 29.0] == 0).all()


@pytest.mark.parametrize("kind", ["panorama", "photo"])
def test_matches_mark_the_same_spots_in_both_images(
    kind: str, panorama: Localization, photo: Localization
) -> None:
    localization = panorama if kind == "panorama" else photo
    figure = draw_matches(localization)
    ground, aerial = match_panels(localization)
    lines = by_gid(figure, "inlier-lines")
    assert isinstance(lines, LineCollection)
    ends = np.stack([path.vertices for path in lines.get_paths()])
    ground_px = (ends[:, 0] - [ground.x0, ground.y0]) / ground.scale
    aerial_px = (ends[:, 1] - [aerial.x0, aerial.y0]) / aerial.scale
    # every drawn end of an inlier is a real projection: ground pixel -> plane -> aerial pixel
    rays = localization.camera.pixels_to_rays(torch.from_numpy(ground_px).double())
    bev = rays[:, :2] * (1.8 / -rays[:, 2:])
    turned = bev @ heading_to_rotation(torch.tensor(40.0).double()).T
    position = turned + torch.tensor([TRUE_POSE.east_m, TRUE_POSE.north_m])
    expected = aerial_m_to_px(position, SIDE_PX, SIDE_PX, METERS_PER_PIXEL)
    error_m = np.linalg.norm(expected.numpy() - aerial_px, axis=1) * METERS_PER_PIXEL
    assert np.all(error_m < 2.0)
    assert np.median(error_m) < 0.3  # depth is read at the nearest pixel, so not quite zero
    camera = by_gid(figure, "camera")
    assert isinstance(camera, Line2D)
    u, v = (camera.get_xydata()[0] - [aerial.x0, aerial.y0]) / aerial.scale
    assert math.hypot(u - true_uv()[0], v - true_uv()[1]) < 1e-3


def test_matches_counts_and_styles(panorama: Localization) -> None:
    figure = draw_matches(panorama, limit=40)
    inliers, outliers = by_gid(figure, "inlier-lines"), by_gid(figure, "outlier-lines")
    assert isinstance(inliers, LineCollection) and isinstance(outliers, LineCollection)
    assert len(inliers.get_paths()) + len(outliers.get_paths()) == 40
    good, total = int(panorama.matches.inlier.sum()), len(panorama.matches.inlier)
    assert figure.axes[0].get_title(loc="left").startswith(f"{good} of {total} matches")
    widths = np.asarray(inliers.get_linewidths())
    assert widths.max() > 1.2 * widths.min()


def test_selection_covers_all_directions(panorama: Localization) -> None:
    chosen = spread_selection(panorama.matches, 16)
    bev = panorama.matches.bev[chosen]
    sector = ((torch.rad2deg(torch.atan2(bev[:, 0], bev[:, 1])) + 180) / 22.5).long()
    assert len(sector.unique()) == 16
    assert len(spread_selection(panorama.matches, 10_000).unique()) == len(panorama.matches.weight)


@pytest.mark.parametrize("name", sorted(FIGURES))
@pytest.mark.parametrize("kind", ["panorama", "photo"])
def test_nothing_is_clipped(
    name: str, kind: str, panorama: Localization, photo: Localization
) -> None:
    assert_nothing_clipped(FIGURES[name](panorama if kind == "panorama" else photo))


def test_legends_name_what_is_shown(panorama: Localization) -> None:
    overlay = legend_texts(draw_overlay(panorama, truth=Pose(1.0, 2.0, 3.0)))
    for words in (
        "camera at +6.4 m E, -3.2 m N",
        "heading 40.0°",
        "90 % region",
        "laid on the ground to 15 m",
        "true",
    ):
        assert words in overlay
    matches = legend_texts(draw_matches(panorama))
    for words in ("agrees", "disagrees", "probable", "camera"):
        assert words in matches


def test_truth_is_drawn_where_it_is(panorama: Localization) -> None:
    truth = Pose(-4.0, 5.0, 100.0)
    cross = by_gid(draw_overlay(panorama, truth=truth), "truth")
    assert isinstance(cross, Line2D)
    np.testing.assert_allclose(cross.get_xydata(), [true_uv(truth)], atol=1e-3)


def test_no_matches_at_all(panorama: Localization) -> None:
    none = {
        name: getattr(panorama.matches, name)[:0]
        for name in ("ground_px", "aerial_px", "bev", "weight", "inlier")
    }
    empty = replace(panorama, matches=replace(panorama.matches, **none))
    assert "0 of 0 matches" in draw_matches(empty).axes[0].get_title(loc="left")


def test_drawing_on_given_axes_leaves_others_alone(panorama: Localization) -> None:
    figure = Figure(figsize=(8, 4))
    left, right = figure.subplots(1, 2)
    assert draw_overlay(panorama, axes=left) is figure
    assert draw_matches(panorama, axes=right) is figure
    assert left.images and right.images
    assert len(figure.axes) == 2


@pytest.mark.parametrize("format", ["png", "svg", "pdf"])
def test_save_figures(panorama: Localization, tmp_path: Path, format: str) -> None:
    paths = save_figures(panorama, tmp_path / "new", format=format, dpi=50)
    assert [p.name for p in paths] == [f"matches.{format}", f"overlay.{format}"]
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == [p.name for p in paths]
    first = [p.read_bytes() for p in paths]
    assert first == [
        p.read_bytes() for p in save_figures(panorama, tmp_path, format=format, dpi=50)
    ]


def test_save_figures_refuses(panorama: Localization, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"figure 'nonsense': choose from matches, overlay"):
        save_figures(panorama, tmp_path, ["nonsense"])
    with pytest.raises(InputError, match=r"figure format 'bmp'"):
        save_figures(panorama, tmp_path, format="bmp")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be made"):
        save_figures(panorama, tmp_path / "file")


def shown_at(image: Artist, value_index: tuple[int, int]) -> tuple[float, float]:
    """Data coordinates of the centre of an array element of a drawn image."""
    assert isinstance(image, AxesImage)
    left, right, bottom, top = image.get_extent()
    rows, cols = np.asarray(image.get_array()).shape[:2]
    row, col = value_index
    return left + (col + 0.5) / cols * (right - left), top + (row + 0.5) / rows * (bottom - top)


def test_posterior_peaks_where_the_modes_are() -> None:
    second = Pose(-9.0, 8.0, 220.0)
    figure = draw_posterior(make_localization(second=second, second_mass=0.3))
    drawn = by_gid(figure, "position-map")
    assert isinstance(drawn, AxesImage)
    density = np.asarray(drawn.get_array())
    half_step_px = 0.25 / METERS_PER_PIXEL * math.sqrt(2) + 1e-6
    peak = np.unravel_index(density.argmax(), density.shape)
    x, y = shown_at(drawn, (int(peak[0]), int(peak[1])))
    assert math.hypot(x - true_uv()[0], y - true_uv()[1]) <= half_step_px
    for number, pose in ((1, TRUE_POSE), (2, second)):
        mark = by_gid(figure, f"mode-{number}")
        assert isinstance(mark, Line2D)
        np.testing.assert_allclose(mark.get_xydata(), [true_uv(pose)], atol=1e-3)
    texts = legend_texts(figure)
    assert "65% at +6.4 m E, -3.2 m N, 40°" in texts and "30% at -9.0 m E, +8.0 m N" in texts
    # the colour bar's unit: densities integrate to the mass over square metres
    assert density.sum() * 0.5**2 == pytest.approx(0.95, abs=0.02)


def test_rose_areas_follow_probability_clockwise_from_up(panorama: Localization) -> None:
    figure = draw_posterior(panorama)
    rose = figure.axes[1]
    bars = [p for p in rose.patches if p.get_gid() == "heading-bar"]
    heights = np.array([bar.get_height() for bar in bars])
    expected = np.sqrt(panorama.heatmap.heading.numpy())
    np.testing.assert_allclose(heights / heights.max(), expected / expected.max(), atol=1e-5)
    # on the page, heading 90 must lie to the right of the middle and heading 0 above it
    east = rose.transData.transform((math.radians(90), 1.0))
    north = rose.transData.transform((0.0, 1.0))
    middle = rose.transData.transform((0.0, 0.0))
    assert east[0] > middle[0] + 10 and abs(east[1] - middle[1]) < 1
    assert north[1] > middle[1] + 10 and abs(north[0] - middle[0]) < 1


@pytest.mark.parametrize("kind", ["panorama", "photo"])
def test_point_maps_peak_where_the_pose_puts_the_point(
    kind: str, panorama: Localization, photo: Localization
) -> None:
    localization = panorama if kind == "panorama" else photo
    figure = draw_points(localization, count=3)
    assert len(figure.axes) == 4
    for number in (1, 2, 3):
        drawn, ring = by_gid(figure, f"point-map-{number}"), by_gid(figure, f"point-posed-{number}")
        assert isinstance(drawn, AxesImage) and isinstance(ring, Line2D)
        probability = np.asarray(drawn.get_array())
        assert probability.sum() == pytest.approx(1.0, abs=1e-4)
        row, col = np.unravel_index(probability.argmax(), probability.shape)
        x, y = shown_at(drawn, (int(row), int(col)))
        cell_px = SIDE_PX / probability.shape[0]
        ((u, v),) = ring.get_xydata()
        assert math.hypot(x - u, y - v) < cell_px


def test_points_can_be_chosen(panorama: Localization) -> None:
    wanted = [(100.0, 180.0), (300.0, 200.0)]
    figure = draw_points(panorama, points_px=wanted)
    spots = figure.axes[0].findobj(lambda a: str(a.get_gid()).startswith("spot-"))
    at = [spot.get_position() for spot in spots]  # type: ignore[attr-defined]
    for (u, v), (x, y) in zip(wanted, at, strict=True):
        assert math.hypot(u - x, v - y) <= 8 / math.sqrt(2) + 1e-6  # half a cell's diagonal


def test_depth_marks_what_is_invalid(panorama: Localization) -> None:
    figure = draw_depth(panorama)
    depth, veil = by_gid(figure, "depth"), by_gid(figure, "invalid")
    assert isinstance(depth, AxesImage) and isinstance(veil, AxesImage)
    valid = panorama.depth.valid.numpy()
    assert ((np.asarray(depth.get_array())[..., 3] > 0) == valid).all()
    assert ((np.asarray(veil.get_array())[..., 3] > 0) == ~valid).all()
    share = valid.mean()
    assert f"{share:.0%}" in figure.axes[0].get_title(loc="left")
    assert "takes no part" in legend_texts(figure)


def test_depth_without_any(panorama: Localization) -> None:
    none = replace(panorama.depth, valid=torch.zeros_like(panorama.depth.valid))
    figure = draw_depth(replace(panorama, depth=none))
    assert "0% of the photo" in figure.axes[0].get_title(loc="left")
    assert_nothing_clipped(draw_overlay(replace(panorama, depth=none)))


def test_numbers_stand_on_the_same_spot_in_both_images(panorama: Localization) -> None:
    figure = draw_matches(panorama, numbered=6)
    ground, aerial = match_panels(panorama)
    matches = panorama.matches
    for number in range(1, 7):
        labels = figure.findobj(lambda a, n=number: a.get_gid() == f"number-{n}")
        assert len(labels) == 2
        at = np.array([label.get_position() for label in labels])  # type: ignore[attr-defined]
        ground_px = (at[0] - [ground.x0, ground.y0]) / ground.scale
        aerial_px = (at[1] - [aerial.x0, aerial.y0]) / aerial.scale
        item = int(np.abs(matches.ground_px.numpy() - ground_px).sum(1).argmin())
        np.testing.assert_allclose(matches.ground_px[item], ground_px, atol=1e-3)
        np.testing.assert_allclose(matches.aerial_px[item], aerial_px, atol=1e-3)


def test_right_and_wrong_differ_in_more_than_colour(panorama: Localization) -> None:
    figure = draw_matches(panorama)
    inliers, outliers = by_gid(figure, "inlier-lines"), by_gid(figure, "outlier-lines")
    assert isinstance(inliers, LineCollection) and isinstance(outliers, LineCollection)
    assert inliers.get_linestyle()[0][1] is None  # solid
    assert outliers.get_linestyle()[0][1] is not None  # dashed


@pytest.mark.parametrize("kind", ["panorama", "photo"])
def test_contours_of_depth_lie_at_their_depth(
    kind: str, panorama: Localization, photo: Localization
) -> None:
    """On the plane the depth of a pixel is known: camera height over the ray's descent."""
    localization = panorama if kind == "panorama" else photo
    (lines,) = draw_depth(localization).axes[0].findobj(ContourSet)
    assert isinstance(lines, ContourSet)
    seen = 0
    for level, path in zip(lines.levels, lines.get_paths(), strict=True):
        if not len(path.vertices):
            continue
        rays = localization.camera.pixels_to_rays(torch.tensor(path.vertices)).numpy()
        distance_m = 1.8 / -rays[:, 2]
        if localization.depth.kind == "z":
            _, forward, up = rays.T
            pitch = math.radians(-6.0)
            distance_m *= forward * math.cos(pitch) + up * math.sin(pitch)
        assert np.median(np.abs(distance_m / level - 1)) < 0.03
        seen += 1
    assert seen >= 2


def test_depth_says_what_its_colours_mean(panorama: Localization) -> None:
    bar = draw_depth(panorama).axes[0].child_axes[0]
    assert bar.get_xlabel() == "range along the ray, m"
    low, high = bar.get_xlim()
    values = np.quantile(panorama.depth.depth[panorama.depth.valid].numpy(), (0.01, 0.99))
    assert (low, high) == (pytest.approx(values[0], rel=0.02), pytest.approx(values[1], rel=0.02))
    relative = draw_depth(make_localization(evidence_scale=0.25)).axes[0].child_axes[0]
    assert relative.get_xlabel() == "range along the ray, m"
    assert relative.get_xlim() == (pytest.approx(low, rel=0.02), pytest.approx(high, rel=0.02))
    scaled = replace(panorama, pose=replace(panorama.pose, scale=1.25 * panorama.pose.scale))
    farther = draw_depth(scaled).axes[0].child_axes[0].get_xlim()
    assert farther == (pytest.approx(1.25 * low, rel=1e-3), pytest.approx(1.25 * high, rel=1e-3))


def test_points_legend_names_what_is_shown(panorama: Localization) -> None:
    words = legend_texts(draw_points(panorama))
    for name in ("probability of the spot's place", "where the estimated pose puts it", "camera"):
        assert name in words


@pytest.mark.parametrize("name", sorted(FIGURES))
@pytest.mark.parametrize("format", ["png", "svg", "pdf"])
def test_every_figure_in_every_format(
    panorama: Localization, tmp_path: Path, name: str, format: str
) -> None:
    (path,) = save_figures(panorama, tmp_path, [name], format, dpi=60)
    start = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[format]
    assert path.read_bytes().startswith(start)


@pytest.mark.parametrize("name", sorted(FIGURES))
@pytest.mark.parametrize("inches", [2.5, 12.0])
def test_sensible_at_any_size(panorama: Localization, name: str, inches: float) -> None:
    """On axes of the caller, with room around for titles and legends, nothing is cut off."""
    figure = Figure(figsize=(inches, inches))
    axes: object = figure.add_axes((0.2, 0.5, 0.6, 0.4))
    if name == "posterior":
        axes = (axes, figure.add_axes((0.3, 0.1, 0.2, 0.2), projection="polar"))
    elif name == "points":
        axes = (axes, *(figure.add_axes((x, 0.1, 0.25, 0.25)) for x in (0.05, 0.35, 0.65)))
    FIGURES[name](panorama, axes)  # type: ignore[call-arg]
    FigureCanvasAgg(figure)
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    sizes = [t.get_fontsize() for t in figure.findobj(Text) if t.get_text() and t.get_visible()]
    assert min(sizes) >= 4 and max(sizes) <= 16
    for text in figure.findobj(Text):
        if text.get_text() and text.get_visible() and text.get_gid():
            extent = text.get_window_extent(renderer)
            assert extent.y0 >= -1 and extent.y1 <= figure.bbox.y1 + 1
