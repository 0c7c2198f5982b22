"""The interactive report in a real browser: what it shows, and that it stays by itself."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from loc2.errors import OutputError
from loc2.frames import Pose
from loc2.localization import Localization
from loc2.report import render_report, write_report
from loc2.report.html import MAX_BYTES
from loc2.report.page import Markup, fill, json_block
from loc2.report.probability import matches_under
from tests.browser import chromium, console_messages, open_page, requested
from tests.report_scene import (
    METERS_PER_PIXEL,
    SIDE_PX,
    TRUE_POSE,
    make_localization,
    photo_camera,
)

SECOND = Pose(-9.0, 8.0, 220.0)
HOSTILE = (
    "</script><script>window.hacked=1</script>"
    "<img src=x onerror='window.hacked=1'>\"&{{data}}' \u2028.jpg"
)
SHARED = Path(__file__).parents[1].parent / "shared"


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def localization() -> Localization:
    return make_localization(second=SECOND, second_mass=0.35, confidence=0.61)


@pytest.fixture(scope="module")
def page(localization: Localization, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(
        localization,
        tmp_path_factory.mktemp("report") / "report.html",
        truth=TRUE_POSE,
        title=HOSTILE,
        provenance={HOSTILE: HOSTILE},
    )


@pytest.fixture
def opened(driver: Any, page: Path) -> Any:
    open_page(driver, page)
    return driver


def test_settings_are_told_once_and_in_words(localization: Localization) -> None:
    settings = {
        "depth": "flat", "far_share": 0.5, "center_sigma_m": 4.864000000000001,
        "prior_origins": {"camera": "given", "heading": "EXIF"}, "aerial_source": "a.tif",
    }  # fmt: skip
    given = {"aerial source": "b.tif"}
    text = render_report(replace(localization, settings=settings), provenance=given)
    assert "far cells that the depth head lifted, beside all others</th><td>0.5<" in text
    assert "<td>4.864<" in text
    assert "<td>camera: given, heading: EXIF<" in text
    assert "b.tif" in text and "a.tif" not in text
    without = render_report(replace(localization, settings={**settings, "far_share": 0.0}))
    assert "far cells" not in without


def one(driver: Any, css: str) -> Any:
    return driver.find_element("css selector", css)


def count(driver: Any, css: str) -> int:
    return len(driver.find_elements("css selector", css))


def point_at(driver: Any, panel: str, u_px: float, v_px: float, size_px: tuple[int, int]) -> None:
    """Move the mouse to an image pixel of a panel."""
    from selenium.webdriver.common.action_chains import ActionChains

    element = one(driver, f"#{panel}")
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
    box = driver.execute_script(
        "const b = arguments[0].getBoundingClientRect(); return [b.width, b.height]", element
    )
    x, y = u_px / size_px[0] * box[0] - box[0] / 2, v_px / size_px[1] * box[1] - box[1] / 2
    ActionChains(driver, duration=0).move_to_element_with_offset(element, x, y).perform()


def peak_px(driver: Any, canvas: str, panel: str) -> tuple[float, float]:
    """Return where, in a panel's CSS pixels as a share of its size, a canvas is brightest."""
    script = """
    const canvas = document.getElementById(arguments[0]);
    const panel = document.getElementById(arguments[1]).getBoundingClientRect();
    const d = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    let top = 0;
    for (let i = 0; i < d.length; i += 4) top = Math.max(top, d[i + 3] * d[i + 1]);
    let x = 0, y = 0, n = 0;
    for (let i = 0; i < d.length; i += 4) if (d[i + 3] * d[i + 1] === top) {
      x += (i / 4) % canvas.width + 0.5; y += Math.floor(i / 4 / canvas.width) + 0.5; n += 1;
    }
    const box = canvas.getBoundingClientRect();
    return [(box.left - panel.left + x / n / canvas.width * box.width) / panel.width,
            (box.top - panel.top + y / n / canvas.height * box.height) / panel.height];
    """
    return tuple(driver.execute_script(script, canvas, panel))


def drawn_camera_px(driver: Any) -> tuple[float, float]:
    """Return the drawn camera in pixels of the aerial image."""
    scale = driver.execute_script("return document.getElementById('aerial').clientWidth") / SIDE_PX
    dot = one(driver, "#aerial-marks .camera")
    return float(dot.get_attribute("cx")) / scale, float(dot.get_attribute("cy")) / scale


def expected_px(pose: Pose) -> tuple[float, float]:
    return (
        SIDE_PX / 2 + pose.east_m / METERS_PER_PIXEL,
        SIDE_PX / 2 - pose.north_m / METERS_PER_PIXEL,
    )


def distance(a: tuple[float, float], b: tuple[float, float]) -> float:
    return math.hypot(a[0] - b[0], a[1] - b[1])


def test_page_is_quiet_alone_and_small(driver: Any, page: Path) -> None:
    open_page(driver, page)
    assert driver.execute_script("return document.documentElement.dataset.ready") == "yes"
    assert console_messages(driver) == []
    assert requested(driver) == [page.resolve().as_uri()]
    assert page.stat().st_size < MAX_BYTES
    links = re.findall(rb"https?://[^\s\"'<>)]+", page.read_bytes())
    assert set(links) <= {b"http://www.w3.org/2000/svg"}  # a name space, never fetched


def test_hostile_names_are_shown_and_not_run(opened: Any) -> None:
    assert opened.execute_script("return window.hacked === undefined")
    assert count(opened, "img[src='x']") == 0
    shown = one(opened, "h1").get_attribute("textContent")
    assert shown == HOSTILE
    assert HOSTILE in one(opened, "main").get_attribute("textContent")


def test_verdict_and_table_stand_without_script(localization: Localization) -> None:
    place = [("on earth", "48.1371079, 11.5753822 (WGS84)"), ("<b>", "</td>")]
    text = render_report(localization, truth=TRUE_POSE, pose_rows=place)
    before = text[: text.index("<script")]
    for words in ("Ambiguous: two answers fit", "61%", "+6.40 m", "−3.20 m", "40.0°", "0.00 m"):
        assert words in before
    assert "48.1371079, 11.5753822 (WGS84)" in before and "&lt;b&gt;" in before


def test_camera_is_drawn_at_the_pose(opened: Any) -> None:
    assert distance(drawn_camera_px(opened), expected_px(TRUE_POSE)) < 1.0
    ray = one(opened, "#aerial-marks line.heading")
    x1, y1, x2, y2 = (float(ray.get_attribute(name)) for name in ("x1", "y1", "x2", "y2"))
    assert math.degrees(math.atan2(x2 - x1, y1 - y2)) == pytest.approx(40.0, abs=0.1)


def test_pointing_at_the_photo_lights_up_the_map(opened: Any, localization: Localization) -> None:
    matches, cells = matches_under(localization, TRUE_POSE), localization.cells
    size = (localization.camera.width, localization.camera.height)
    cell_px = SIDE_PX / cells.evidence.shape[1]
    top = cells.evidence.float().flatten(1).topk(2, dim=1).values
    clear = matches.inlier & (top[:, 0] - top[:, 1] > 0.01)  # bytes do not tell closer ones apart
    for match in clear.nonzero()[:200:50, 0].tolist():
        u, v = matches.ground_px[match].tolist()
        point_at(opened, "ground", u, v, size)
        assert one(opened, "#point-map").is_displayed()
        x, y = peak_px(opened, "point-map", "aerial")
        best = int(cells.evidence[match].flatten().argmax())
        side = cells.evidence.shape[1]
        best_px = ((best % side + 0.5) * cell_px, (best // side + 0.5) * cell_px)
        assert distance((x * SIDE_PX, y * SIDE_PX), best_px) < 1.0
        assert count(opened, "#ground-marks .spot-cell") == 2  # outline: dark edge, light line
        assert count(opened, "#aerial-marks .spot-match") == 1
        assert count(opened, "#lines .spot") == 2
        assert "agrees" in one(opened, "#spot").text
    point_at(opened, "ground", size[0] / 2, 4, size)  # the sky has no cells
    assert not one(opened, "#point-map").is_displayed()
    assert count(opened, "#lines .spot") == 0


def test_pointing_at_the_map_lights_up_the_photo(opened: Any, localization: Localization) -> None:
    cells = localization.cells
    side = cells.evidence.shape[1]
    row, col = 20, 22
    place = ((col + 0.5) / side * SIDE_PX, (row + 0.5) / side * SIDE_PX)
    point_at(opened, "aerial", *place, (SIDE_PX, SIDE_PX))
    assert one(opened, "#ground-map").is_displayed()
    probability = torch.softmax(cells.evidence.float().flatten(1) / 0.1, 1)[:, row * side + col]
    best = cells.ground_px[int(probability.argmax())]
    x, y = peak_px(opened, "ground-map", "ground")
    found_px = (x * localization.camera.width, y * localization.camera.height)
    assert distance(found_px, tuple(best.tolist())) < 8  # a cell; one byte may make ties
    assert "spots of the photo may lie here" in one(opened, "#spot").text
    assert count(opened, "#aerial-marks .spot-cell") == 2


def test_slider_changes_what_is_shown(opened: Any, localization: Localization) -> None:
    weight = matches_under(localization, TRUE_POSE).weight
    total = len(weight)

    def shown_at(value: int) -> int:
        opened.execute_script(
            "const s = document.getElementById('threshold'); s.value = arguments[0];"
            "s.dispatchEvent(new Event('input'))",
            value,
        )
        marks = count(opened, "#ground-marks .match")
        assert one(opened, "#shown").text.startswith(f"{marks} of {total} matches shown")
        return marks

    assert shown_at(0) == total
    middle = shown_at(500)
    assert total * 0.4 < middle < total * 0.6
    assert shown_at(1000) == 1
    threshold = float(one(opened, "#threshold-value").text.removeprefix("≥ "))
    assert threshold == pytest.approx(float(weight.max()), rel=0.05)


def test_slider_works_by_keyboard(opened: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    before = count(opened, "#ground-marks .match")
    one(opened, "#threshold").send_keys(Keys.HOME)
    assert count(opened, "#ground-marks .match") > before


@pytest.mark.parametrize(
    ("box", "css"),
    [
        ("show-inliers", "#ground-marks .inlier"),
        ("show-lines", "#lines .link"),
        ("show-camera", "#aerial-marks .camera"),
    ],
)
def test_toggles_hide_layers(opened: Any, box: str, css: str) -> None:
    assert count(opened, css) > 0
    one(opened, f"#{box}").click()
    assert count(opened, css) == 0
    one(opened, f"#{box}").click()
    assert count(opened, css) > 0


def test_outliers_toggle(opened: Any, localization: Localization) -> None:
    opened.execute_script(
        "const s = document.getElementById('threshold'); s.value = 0;"
        "s.dispatchEvent(new Event('input'))"
    )
    assert count(opened, "#ground-marks .outlier") == int(
        (~matches_under(localization, TRUE_POSE).inlier).sum()
    )
    one(opened, "#show-outliers").click()
    assert count(opened, "#ground-marks .outlier") == 0


def test_posterior_layer_peaks_at_the_pose(opened: Any) -> None:
    canvas = one(opened, "#posterior-map")
    assert not canvas.is_displayed()
    one(opened, "#show-posterior").click()
    assert canvas.is_displayed()
    x, y = peak_px(opened, "posterior-map", "aerial")
    step_px = 0.5 / METERS_PER_PIXEL
    assert distance((x * SIDE_PX, y * SIDE_PX), expected_px(TRUE_POSE)) < step_px


def test_layout_lies_at_the_pose_with_opacity(opened: Any) -> None:
    image = one(opened, "#layout-image")
    assert not image.is_displayed()
    one(opened, "#show-layout").click()
    assert image.is_displayed()
    middle = opened.execute_script(
        "const a = document.getElementById('aerial').getBoundingClientRect();"
        "const b = document.getElementById('layout-image').getBoundingClientRect();"
        "return [(b.left + b.width / 2 - a.left) / a.width, (b.top + b.height / 2 - a.top)"
        " / a.height, document.getElementById('layout-image').naturalWidth]"
    )
    assert distance((middle[0] * SIDE_PX, middle[1] * SIDE_PX), expected_px(TRUE_POSE)) < 1.0
    assert middle[2] > 100
    opened.execute_script(
        "const s = document.getElementById('opacity'); s.value = 30;"
        "s.dispatchEvent(new Event('input'))"
    )
    assert float(image.value_of_css_property("opacity")) == pytest.approx(0.3)


def test_answers_can_be_flipped_through(opened: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    assert count(opened, "#choices button") == 2
    agreeing = one(opened, "#shown").text
    one(opened, "#next").click()
    assert one(opened, "#which").text == "Answer 2 of 2"
    assert distance(drawn_camera_px(opened), expected_px(SECOND)) < 1.0
    assert one(opened, "#choices button[aria-checked='true']").text.startswith("2")
    assert one(opened, "#shown").text != agreeing  # other matches agree with another answer
    one(opened, "body").send_keys("1")
    assert one(opened, "#which").text == "Answer 1 of 2"
    assert distance(drawn_camera_px(opened), expected_px(TRUE_POSE)) < 1.0
    one(opened, "#choices button[aria-checked='true']").send_keys(Keys.ARROW_DOWN)
    assert one(opened, "#which").text == "Answer 2 of 2"


def test_rival_answers_are_laid_side_by_side(opened: Any) -> None:
    captions = [e.text for e in opened.find_elements("css selector", "#answers figcaption")]
    assert captions == ["Answer 1: 60 % of the probability", "Answer 2: 35 % of the probability"]
    assert opened.execute_script(
        "return [...document.querySelectorAll('#answers img')].every(i => i.naturalWidth > 100)"
    )


def test_keyboard_alone(opened: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    panel = one(opened, "#ground")
    panel.send_keys(Keys.ARROW_RIGHT)
    first = one(opened, "#spot").text
    assert first.startswith("Spot in the photo")
    panel.send_keys(Keys.ARROW_RIGHT)
    second = one(opened, "#spot").text
    assert second != first
    panel.send_keys(Keys.ARROW_LEFT)
    assert one(opened, "#spot").text == first
    panel.send_keys(Keys.ESCAPE)
    assert one(opened, "#spot").text.startswith("Point at")
    one(opened, "#aerial").send_keys(Keys.ARROW_UP)
    assert one(opened, "#spot").text.startswith("Place on the map")


def test_everything_can_be_reached_by_tab(opened: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    reached = set()
    one(opened, "#theme").send_keys("")
    for _ in range(20):
        active = opened.switch_to.active_element
        reached.add(active.get_attribute("id") or active.get_attribute("role"))
        active.send_keys(Keys.TAB)
    assert {"theme", "threshold", "show-layout", "opacity", "ground", "aerial", "next"} <= reached
    assert "radio" in reached


def luminance(color: str) -> float:
    r, g, b = (int(c) / 255 for c in re.findall(r"\d+", color)[:3])
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (r, g, b)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark_are_readable(driver: Any, page: Path, scheme: str) -> None:
    open_page(driver, page, prefers_color_scheme=scheme)
    paper = luminance(one(driver, "body").value_of_css_property("background-color"))
    assert (paper > 0.5) == (scheme == "light")
    for css in ("body", "#headline", "th", ".muted"):
        ink = luminance(one(driver, css).value_of_css_property("color"))
        ratio = (max(ink, paper) + 0.05) / (min(ink, paper) + 0.05)
        assert ratio >= 4.5, f"{css}: contrast {ratio:.2f}"
    one(driver, "#theme").click()
    assert one(driver, "#theme").text == "Theme: dark"
    assert luminance(one(driver, "body").value_of_css_property("background-color")) < 0.5


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_no_sideways_scrolling(driver: Any, page: Path, width: int) -> None:
    open_page(driver, page, width=width, height=844)
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width
    panel = one(driver, "#aerial")
    assert panel.size["width"] >= 0.3 * width


def tap(driver: Any, panel: str, x_share: float, y_share: float) -> None:
    element = one(driver, f"#{panel}")
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
    left, top, width, height = driver.execute_script(
        "const b = arguments[0].getBoundingClientRect(); return [b.left, b.top, b.width, b.height]",
        element,
    )
    point = {"x": left + x_share * width, "y": top + y_share * height}
    for kind, points in (("touchStart", [point]), ("touchEnd", [])):
        driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})


def test_tapping_holds_a_spot_until_it_is_tapped_again(driver: Any, page: Path) -> None:
    open_page(driver, page, width=390, height=844)
    driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    try:
        for expected in ("Spot in the photo", "Point at"):
            tap(driver, "ground", 0.4, 0.7)
            assert one(driver, "#spot").get_attribute("textContent").startswith(expected)
        tap(driver, "aerial", 0.6, 0.5)
        assert one(driver, "#spot").get_attribute("textContent").startswith("Place on the map")
    finally:
        driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})


def test_photo_report(driver: Any, tmp_path: Path) -> None:
    photo = make_localization(camera=photo_camera(), evidence_scale=0.25)
    open_page(driver, write_report(photo, tmp_path / "photo.html"))
    assert console_messages(driver) == []
    assert distance(drawn_camera_px(driver), expected_px(TRUE_POSE)) < 1.0
    assert count(driver, "#ground-marks .match") > 0
    assert one(driver, "#headline").text == "Likely right"
    assert count(driver, ".truth") == 0


def test_report_without_matches(driver: Any, localization: Localization, tmp_path: Path) -> None:
    cells = localization.cells
    none = replace(
        cells,
        ground_px=cells.ground_px[:0],
        bev=cells.bev[:0],
        weight=cells.weight[:0],
        evidence=cells.evidence[:0],
    )
    empty = replace(localization, cells=none, confidence=0.02)
    open_page(driver, write_report(empty, tmp_path / "empty.html"))
    assert console_messages(driver) == []
    assert "No spot of the photo could be matched" in one(driver, "#verdict").text


def test_large_input_stays_small(localization: Localization, tmp_path: Path) -> None:
    """Noise, which compresses worst, at several thousand pixels and many cells."""
    generator = torch.Generator().manual_seed(0)
    cells = localization.cells
    many = 4000
    index = torch.arange(many) % len(cells.ground_px)
    large = replace(
        localization,
        aerial_image=torch.rand(3, 1600, 1600, generator=generator),
        meters_per_pixel=localization.meters_per_pixel * SIDE_PX / 1600,
        ground_image=torch.rand(3, 1000, 2000, generator=generator),
        camera=localization.camera.resized(2000, 1000),
        cells=replace(
            cells,
            ground_px=cells.ground_px[index],
            bev=cells.bev[index],
            weight=cells.weight[index],
            evidence=torch.rand(many, 64, 64, generator=generator).half(),
            cell_size_m=cells.cell_size_m / 2,
        ),
    )
    path = write_report(large, tmp_path / "large.html")
    assert path.stat().st_size < MAX_BYTES


def test_unwritable(localization: Localization, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError):
        write_report(localization, tmp_path / "file" / "report.html")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_filling_is_one_pass_and_escapes() -> None:
    values = {"a": "{{b}}<", "b": Markup("<i>")}
    assert fill("{{a}}{{b}}", values) == "{{b}}&lt;<i>"
    assert "<" not in json_block({"k": "</script><!--"})
