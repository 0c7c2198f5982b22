"""Charts, gallery and page of an evaluation, checked on what they show."""

from __future__ import annotations

import copy
import json
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from loc2.cli import main
from loc2.errors import InputError
from loc2.evaluation.cases import Case, Results, results_of
from loc2.evaluation.tables import KITTI_10, VIGOR_UNKNOWN
from loc2.frames import Pose
from loc2.localization import INLIER_SHARE, Localization
from loc2.report import write_evaluation_report
from loc2.report.charts import DARK, LIGHT, Chart
from loc2.report.evaluation import (
    SUMMARY_NAMES,
    headline,
    render_evaluation,
    setting_words,
)
from loc2.report.evaluation_charts import evaluation_charts
from loc2.report.evaluation_confidence import wilson
from loc2.report.gallery import choose_cases
from loc2.report.page import Markup
from tests.browser import chromium, console_messages, open_page, requested
from tests.conftest import CliResult, PairFiles
from tests.evaluation_results import content_of, mixed_rows, pair_row
from tests.fake_kitti import make_fake_kitti
from tests.report_scene import TRUE_POSE, make_localization
from tests.test_report_figures import assert_nothing_clipped, by_gid, legend_texts
from tests.test_report_html import HOSTILE, count, luminance, one

Cli = Callable[..., CliResult]


@pytest.fixture(scope="module")
def results() -> Results:
    return results_of(content_of(mixed_rows()))


@pytest.fixture(scope="module")
def charts(results: Results) -> dict[str, Chart]:
    return {chart.name: chart for chart in evaluation_charts(results)}


def line(figure: Figure, gid: str) -> np.ndarray[Any, Any]:
    artist: Artist = by_gid(figure, gid)
    assert isinstance(artist, Line2D)
    return np.asarray(artist.get_xydata())


def test_cases_know_their_errors(results: Results) -> None:
    by_name = {c.id: c for c in results.cases}
    assert by_name["far"].position_m == pytest.approx(15.0)
    assert by_name["far"].offset_m == pytest.approx((12.0, -9.0))
    assert by_name["sideways"].turn_deg == pytest.approx(-92.0)
    assert by_name["flipped"].badness == pytest.approx(17.8)
    assert [c.right for c in results.cases] == [True] * 8 + [False] * 4
    assert by_name["lost"].failure == "lost.jpg: no such file"
    assert by_name["lost"].badness == math.inf and by_name["lost"].stated == 0.0
    rough = results_of({"pairs": [pair_row("a", 7.0, position_counts=False)]}).cases[0]
    assert rough.right  # within 10 m of a position that is only roughly known


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "object"),
        ({}, "no list"),
        ({"pairs": []}, "no list"),
        ({"pairs": [7]}, "row 1"),
        ({"pairs": [{"id": "a"}]}, "row 1: field 'status' missing"),
        ({"pairs": [pair_row("a"), pair_row("b") | {"east_m": "x"}]}, "row 2"),
        ({"pairs": [pair_row("a") | {"confidence": float("nan")}]}, "confidence is not finite"),
        ({"pairs": [pair_row("a") | {"true_east_m": None}]}, "true_east_m"),
        ({"pairs": [pair_row("a") | {"seed": math.inf}]}, "row 1"),
    ],
)
def test_bad_results_are_refused(content: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        results_of(content)


def test_every_figure_of_a_summary_has_words() -> None:
    figures = content_of(mixed_rows())["summary"]["all"]
    assert figures.keys() - {"interval_95", "guess"} <= SUMMARY_NAMES.keys()


def test_the_setting_tells_the_windows_that_were_cut() -> None:
    def words(asked: float | None, *cut_m: float) -> str:
        rows = [pair_row(f"{m}") | {"window_m": m} for m in cut_m]
        return setting_words(results_of(content_of(rows, window_m=asked)))

    assert "window was 36 to 60 m wide (60 m asked for)" in words(60.0, 36.48, 60.0)
    assert "window was 60 m wide." in words(60.0, 60.0, 60.0)
    assert "window was 48 m wide." in words(None, 48.2)


def test_charts_name_the_limit_of_rough_truths() -> None:
    known = [pair_row("near", 1.0), pair_row("far", 20.0)]
    rough = pair_row("rough", 7.0, position_counts=False)
    for rows, limits in (
        (known, "right (within 5 m and 10°)"),
        ([*known, rough], "right (within 5 m, rough truths 10 m, and 10°)"),
    ):
        shown = {c.name: c for c in evaluation_charts(results_of(content_of(rows)))}
        figure = shown["confidence"].draw(LIGHT)
        assert limits in legend_texts(figure)
        lines = [line for line in figure.axes[0].lines if line.get_linestyle() == "--"]
        assert [line.get_ydata()[0] for line in lines] == ([5.0, 10.0] if rough in rows else [5.0])


def test_position_curve_steps_at_the_errors(charts: dict[str, Chart], results: Results) -> None:
    curve = line(charts["position-curve"].draw(LIGHT), "curve-all")
    errors = sorted(c.position_m for c in results.cases if c.position_m is not None)
    for x in (0.5, 1.1, 2.5, 14.9, 15.1):
        share = sum(e < x for e in errors) / 12
        drawn = curve[curve[:, 0] <= x][-1, 1]
        assert drawn == pytest.approx(share)
    assert curve[-1, 1] == pytest.approx(11 / 12)  # the failure is never reached
    words = legend_texts(charts["position-curve"].draw(LIGHT))
    for name in ("all", "town", "field", "guessing"):
        assert name in words
    assert "67 % below 3 m" not in charts["position-curve"].alt  # 10 of 12
    assert "83 % below 3 m" in charts["position-curve"].alt


def test_published_figures_stand_where_they_belong(results: Results) -> None:
    rows = VIGOR_UNKNOWN["samearea"]
    charts = {c.name: c for c in evaluation_charts(results, rows)}
    np.testing.assert_allclose(
        line(charts["position-curve"].draw(LIGHT), "published-loc2"), [[1.78, 0.5]]
    )
    others = line(charts["heading-curve"].draw(LIGHT), "published")
    assert [1.59, 0.5] in others.tolist()  # DenseFlow
    assert "published" in legend_texts(charts["position-curve"].draw(LIGHT))
    assert "directions" not in charts
    kitti = {c.name: c for c in evaluation_charts(results, KITTI_10["test1"])}
    figure = kitti["directions"].draw(LIGHT)
    lateral = line(figure, "lateral")
    assert lateral[lateral[:, 0] <= 1.9][-1, 1] == pytest.approx(9 / 12)
    drawn = figure.findobj(lambda a: a.get_gid() == "published")
    first = drawn[0].get_xydata()[0]  # type: ignore[attr-defined]
    np.testing.assert_allclose(first, [1.0, 0.974])  # CCVPE
    heading = line(kitti["heading-curve"].draw(LIGHT), "published-loc2")
    np.testing.assert_allclose(heading, [[1.43, 0.5], [1.0, 0.367], [5.0, 0.928]])


def test_heading_bars_count_turns(charts: dict[str, Chart]) -> None:
    chart = charts["heading-confusion"]
    axes = chart.draw(LIGHT).axes[0]
    bars = {round(b.get_x() + b.get_width() / 2): b.get_height() for b in axes.patches}
    assert bars[-5] == pytest.approx(4 / 12)  # -4 to -1
    assert bars[5] == pytest.approx(5 / 12)  # 0 to 3, and 2
    assert bars[175] == bars[-95] == pytest.approx(1 / 12)
    assert sum(bars.values()) == pytest.approx(11 / 12)
    assert "75 % within 10°" in chart.alt and "8 % turned sideways" in chart.alt
    assert "17 % are flips" in chart.alt
    colors = {round(b.get_x() + b.get_width() / 2): b.get_facecolor() for b in axes.patches}
    assert colors[175] == colors[-95] != colors[5]
    assert "flips, over 90°" in legend_texts(chart.draw(LIGHT))


def test_error_map_puts_ahead_up_and_right_to_the_right(charts: dict[str, Chart]) -> None:
    figure = charts["error-map"].draw(LIGHT)
    right = line(figure, "right")
    np.testing.assert_allclose(right, [[-0.1 * i, 0.3 * i] for i in range(8)], atol=1e-9)
    wrong = line(figure, "wrong").tolist()
    assert [pytest.approx(v, abs=1e-9) for v in (0.0, 1.0)] == wrong[0]
    (far,) = line(figure, "far")
    limit = figure.axes[0].get_xlim()[1]
    assert limit < 12 and max(abs(far)) == pytest.approx(0.97 * limit)
    assert far[1] / far[0] == pytest.approx(12 / -9)  # still in its direction
    np.testing.assert_allclose(line(figure, "truth"), [[0, 0]])
    # on the page: ahead is up
    up = figure.axes[0].transData.transform((0, 1)) - figure.axes[0].transData.transform((0, 0))
    assert up[1] > 0 and abs(up[0]) < 1e-9
    assert "1 are more than" in charts["error-map"].alt


def test_confidence_charts(charts: dict[str, Chart], results: Results) -> None:
    cloud = charts["confidence"].draw(LIGHT)
    wrong = line(cloud, "wrong")
    assert [0.3, 15.0] in [[pytest.approx(a), pytest.approx(b)] for a, b in wrong.tolist()]
    assert len(line(cloud, "right")) == 8
    assert "1 are wrong" in charts["confidence"].alt  # the flipped one claims 85 %
    bins = line(charts["reliability"].draw(LIGHT), "reliability")
    top = [b for b in bins if b[0] > 0.9]
    assert top[0][1] == 1.0
    risk = line(charts["risk-coverage"].draw(LIGHT), "risk")
    assert risk[-1].tolist() == [1.0, pytest.approx(4 / 12)]
    star = line(charts["risk-coverage"].draw(LIGHT), "trusted")[0]
    assert star.tolist() == [pytest.approx(5 / 12), pytest.approx(1 / 5)]


def test_wilson_against_the_textbook() -> None:
    assert wilson(0.0, 10) == (0.0, pytest.approx(0.2775, abs=1e-4))
    assert wilson(0.5, 20) == (pytest.approx(0.2993, abs=1e-4), pytest.approx(0.7007, abs=1e-4))


def test_what_is_not_a_probability_is_not_checked_as_one() -> None:
    content = content_of(mixed_rows(), confidence=INLIER_SHARE)
    names = [c.name for c in evaluation_charts(results_of(content))]
    assert "reliability" not in names and "risk-coverage" in names
    unrated = [row | {"confidence": None} for row in mixed_rows()]
    names = [c.name for c in evaluation_charts(results_of(content_of(unrated)))]
    assert "confidence" not in names and "error-map" in names


HARD: dict[str, list[dict[str, Any]]] = {
    "one right": [pair_row("a", 0.1)],
    "one wrong": [pair_row("a", 40.0, 3.0, 170.0, 1.0)],
    "all failed": [pair_row(n, failed="unreadable") for n in "ab"],
    "many": [pair_row(f"{i}", i % 50, 0, i % 180, (i % 100) / 99) for i in range(2500)],
    "dollar names": [pair_row("$x$", group="$a_b$"), pair_row("y", group="\\frac")],
    "other scripts": [pair_row("a", group="_東京\nx"), pair_row("b", group="_" * 40)],
    "mixed": mixed_rows(),
    "rough": [pair_row("a", 1.0), pair_row("b", 7.0, position_counts=False)],
}


@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("name", HARD)
def test_nothing_is_clipped_in_any_chart(name: str) -> None:
    published = (*VIGOR_UNKNOWN["samearea"], *KITTI_10["test1"])
    for chart in evaluation_charts(results_of(content_of(HARD[name])), published):
        assert_nothing_clipped(chart.draw(LIGHT))


def test_legends_name_groups_of_any_spelling(recwarn: pytest.WarningsRecorder) -> None:
    results = results_of(content_of(HARD["other scripts"]))
    chart = evaluation_charts(results)[0]
    assert "_東京 x" in legend_texts(chart.draw(LIGHT))
    assert "data:image/svg+xml" in chart.html()
    assert [str(w.message) for w in recwarn] == []


def test_gallery_chooses_by_error_and_confidence(results: Results) -> None:
    chosen = choose_cases(results)
    names = {kind: [c.id for c in cases] for kind, cases in chosen.items()}
    assert names["worst"] == ["flipped", "sideways", "far"]
    assert names["overconfident"] == ["flipped", "far", "sideways"]
    assert names["best"][0] == "good_3"  # 0.95 m and 1 degree: the smallest in limits
    everything = sorted((c for c in results.cases if c.estimate), key=lambda c: c.badness)
    assert names["median"] == [c.id for c in everything[4:7]]
    none = results_of(content_of(HARD["all failed"]))
    assert all(not cases for cases in choose_cases(none).values())


def test_headline_says_what_failed(results: Results) -> None:
    words = headline(results, content_of(mixed_rows())["summary"]["all"])
    assert words.startswith("8 of 12 answers are right, within 5 m and 10°.")
    assert "1 samples had no answer" in words


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def answer() -> Localization:
    return make_localization()


@pytest.fixture(scope="module")
def page(answer: Localization, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report in which every name is hostile."""
    rows = copy.deepcopy(mixed_rows())
    for row in rows:
        row["id"] = f"{HOSTILE} {row['id']}"
        row["group"] = HOSTILE
    rows[-1]["status"] = f"failed: {HOSTILE}"
    content = content_of(rows, manifest=HOSTILE, data="vigor", part="samearea")

    def explain(case: Case) -> tuple[Localization, Pose]:
        return answer, TRUE_POSE

    folder = tmp_path_factory.mktemp("evaluation")
    return write_evaluation_report(content, folder, explain, provenance={HOSTILE: HOSTILE})


def test_page_is_quiet_and_alone(driver: Any, page: Path) -> None:
    open_page(driver, page)
    assert driver.execute_script("return document.documentElement.dataset.ready") == "yes"
    assert console_messages(driver) == []
    assert requested(driver) == [page.resolve().as_uri()]
    assert driver.execute_script("return window.hacked === undefined")
    assert HOSTILE in one(driver, "h1").get_attribute("textContent")
    assert HOSTILE in one(driver, "#failures").get_attribute("textContent")
    text = page.read_text()
    assert "<img src=x" not in text
    assert set(re.findall(r"https?://[^\s\"'<>)]+", text)) == set()


def test_every_picture_is_loaded_and_described(driver: Any, page: Path) -> None:
    open_page(driver, page)
    assert driver.execute_script(
        "return [...document.images].every(i => i.complete && i.naturalWidth > 50)"
    )
    alts = driver.execute_script("return [...document.images].map(i => i.alt)")
    assert len(alts) > 20 and all(len(alt) > 10 for alt in alts)
    assert count(driver, ".chart") == 7


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_charts_follow_the_theme(driver: Any, page: Path, scheme: str) -> None:
    open_page(driver, page, prefers_color_scheme=scheme)
    assert one(driver, f"#error-map .on-{scheme}").is_displayed()
    other = {"light": "dark", "dark": "light"}[scheme]
    assert not one(driver, f"#error-map .on-{other}").is_displayed()
    paper = luminance(one(driver, "body").value_of_css_property("background-color"))
    assert (paper > 0.5) == (scheme == "light")
    one(driver, "#theme").click()  # dark
    assert one(driver, "#error-map .on-dark").is_displayed()


def test_chart_inks_are_readable() -> None:
    def ratio(a: str, b: str) -> float:
        def rgb(color: str) -> str:
            return ",".join(str(int(color[i : i + 2], 16)) for i in (1, 3, 5))

        first, second = luminance(rgb(a)), luminance(rgb(b))
        return (max(first, second) + 0.05) / (min(first, second) + 0.05)

    for theme in (LIGHT, DARK):
        assert ratio(theme.ink, theme.paper) > 7
        for color in (theme.muted, theme.main, theme.right, theme.wrong, *theme.groups):
            assert ratio(color, theme.paper) > 3, color


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_no_sideways_scrolling(driver: Any, page: Path, width: int) -> None:
    open_page(driver, page, width=width, height=844)
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width
    assert one(driver, "#error-map").size["width"] >= min(300, 0.85 * width)


def test_cases_open_their_own_report(driver: Any, page: Path) -> None:
    open_page(driver, page)
    links = driver.find_elements("css selector", "#worst a")
    assert len(links) == 3
    links[0].click()
    assert "cases/case-" in driver.current_url
    assert driver.execute_script("return document.documentElement.dataset.ready") == "yes"
    assert one(driver, "h1").get_attribute("textContent").startswith(HOSTILE)
    assert count(driver, ".truth") > 0


def test_page_stands_without_cases() -> None:
    content = content_of(HARD["all failed"])
    text = render_evaluation(content, results_of(content), Markup(""), provenance={})
    assert "0 of 2 answers are right" in text and "unreadable" in text


def test_eval_pairs_writes_the_report(cli: Cli, pair_files: PairFiles, tmp_path: Path) -> None:
    manifest = tmp_path / "pairs.csv"
    manifest.write_text(
        "id,ground,aerial,meters_per_pixel,east_m,north_m,heading_deg\n"
        f"a_1,{pair_files.ground},{pair_files.aerial},0.25,1,2,30\n"
        f"<b>_2,{tmp_path / 'lost.png'},{pair_files.aerial},0.25,1,2,30\n"
    )
    results = tmp_path / "results.json"
    words = ("eval", "pairs", manifest, "--quiet", "--output", results)
    result = cli(*words, "--report", tmp_path / "report")
    assert (result.code, result.out) == (0, ""), result.err
    files = sorted(p.relative_to(tmp_path / "report") for p in (tmp_path / "report").rglob("*.*"))
    assert [str(f) for f in files] == ["cases/case-01.html", "index.html"]
    text = (tmp_path / "report" / "index.html").read_text()
    assert "a_1, seed 0" in text and "&lt;b&gt;_2, seed 0" in text
    # the case is the very answer that was measured
    row = json.loads(results.read_text())["pairs"][0]
    case = (tmp_path / "report" / "cases" / "case-01.html").read_text()
    assert f"{row['position_error_m']:.2f} m, {row['heading_error_deg']:.1f}°" in case


def test_report_folder_is_checked_before_measuring(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    manifest = tmp_path / "pairs.csv"
    manifest.write_text(
        "id,ground,aerial,meters_per_pixel,east_m,north_m,heading_deg\na_1,g,a,0.25,1,2,30\n"
    )
    words = ("eval", "pairs", manifest, "--report", tmp_path / "file" / "x")
    cli(*words).assert_one_line_error("output folder")


def test_all_kinds_of_evaluations_take_the_option(capfd: pytest.CaptureFixture[str]) -> None:
    for kind in ("pairs", "scenes", "vigor", "kitti"):
        assert main(["eval", kind, "--help"]) == 0
        assert "--report" in capfd.readouterr().out


def test_eval_kitti_writes_the_report_beside_published_figures(cli: Cli, tmp_path: Path) -> None:
    root = make_fake_kitti(tmp_path / "kitti", frames=2)
    words = ("eval", "kitti", "--root", root, "--limit", 1, "--quiet")
    result = cli(*words, "--report", tmp_path / "report")
    assert result.code == 0, result.err
    text = (tmp_path / "report" / "index.html").read_text()
    for part in ("Beside published figures", "HC-Net", "measured now", 'id="directions"'):
        assert part in text
    assert (tmp_path / "report" / "cases" / "case-01.html").exists()
