"""Comparing two evaluations: pairing, bootstrap, output, and bad input."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loc2.errors import InputError
from loc2.evaluation.cases import results_of
from loc2.evaluation.compare import Comparison, compare
from loc2.evaluation.metrics import summarize
from loc2.localization import INLIER_SHARE, PROBABILITY
from loc2.report.charts import LIGHT
from loc2.report.comparison import scatter_chart, warning_lines, write_comparison_report
from tests.browser import chromium, console_messages, open_page, requested
from tests.conftest import CliResult
from tests.evaluation_results import content_of, mixed_rows, pair_row, write
from tests.test_report_figures import assert_nothing_clipped, by_gid, legend_texts
from tests.test_report_html import HOSTILE, one

Cli = Callable[..., CliResult]


def compared(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> Comparison:
    return compare(results_of(content_of(first)), results_of(content_of(second)))


def mended() -> list[dict[str, Any]]:
    """The mixed rows with the flip mended and a good one broken."""
    rows = copy.deepcopy(mixed_rows())
    rows[9] = pair_row("flipped", 1.0, 0.0, 2.0, 0.85, group="field")
    rows[0] = pair_row("good_0", 30.0, 0.0, 100.0, 0.9)
    return rows


def change(comparison: Comparison, name: str) -> Any:
    (found,) = [c for c in comparison.changes if c.name == name]
    return found


def test_nothing_changed() -> None:
    comparison = compared(mixed_rows(), mixed_rows())
    assert len(comparison.pairings) == 12
    assert not comparison.fixed and not comparison.broken
    for c in comparison.changes:
        assert c.difference == c.low == c.high == 0.0 and c.verdict == "open"


def test_figures_are_those_of_the_summaries() -> None:
    comparison = compared(mixed_rows(), mended())
    for side, rows in (("first", mixed_rows()), ("second", mended())):
        summary = summarize([c.errors() for c in results_of(content_of(rows)).cases])
        for name in ("recall_5m_10deg", "position_median_m", "heading_mean_deg", "flip_rate"):
            assert getattr(change(comparison, name), side) == pytest.approx(summary[name])
    assert [p.first.id for p in comparison.fixed] == ["flipped"]
    assert [p.first.id for p in comparison.broken] == ["good_0"]


def test_pairing_makes_intervals_narrow() -> None:
    """A small gain on every sample is certain, however much samples differ from each other."""
    rng = np.random.default_rng(0)
    hard = rng.uniform(1, 30, 60)
    first = [pair_row(f"{i}", h, 0.0, 1.0, 0.5) for i, h in enumerate(hard)]
    second = [pair_row(f"{i}", h - 0.5, 0.0, 1.0, 0.5) for i, h in enumerate(hard)]
    mean = change(compared(first, second), "position_mean_m")
    assert mean.difference == pytest.approx(-0.5)
    assert (mean.low, mean.high) == (pytest.approx(-0.5), pytest.approx(-0.5))
    assert mean.verdict == "better"
    assert change(compared(second, first), "position_mean_m").verdict == "worse"


def test_interval_against_an_independent_bootstrap() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.uniform(0, 10, 200), rng.uniform(0, 10, 200)
    comparison = compared(
        [pair_row(f"{i}", x) for i, x in enumerate(a)],
        [pair_row(f"{i}", x) for i, x in enumerate(b)],
    )
    found = change(comparison, "recall_5m")
    index = rng.integers(200, size=(4000, 200))
    draws = (b[index] < 5).mean(1) - (a[index] < 5).mean(1)
    low, high = np.quantile(draws, (0.025, 0.975))
    assert (found.low, found.high) == (pytest.approx(low, abs=0.02), pytest.approx(high, abs=0.02))


def test_seeds_of_one_place_are_drawn_together() -> None:
    """Ten trials of two places say no more than two places do."""
    first = [pair_row("ab"[i % 2], 1.0, seed=i // 2) for i in range(20)]
    second = [pair_row("ab"[i % 2], 1.0 if i % 2 else 20.0, seed=i // 2) for i in range(20)]
    recall = change(compared(first, second), "recall_5m")
    assert (recall.low, recall.high) == (-1.0, 0.0)
    assert recall.verdict == "open"


def test_what_does_not_match_is_reported() -> None:
    second = [*mended()[2:], pair_row("new")]
    second[0] = second[0] | {"true_east_m": 9.0}
    a = content_of(mixed_rows(), window_m=60.0)
    b = content_of(second, window_m=40.0, confidence="new")
    comparison = compare(results_of(a), results_of(b))
    assert [c.id for c in comparison.only_first] == ["good_0", "good_1"]
    assert [c.id for c in comparison.only_second] == ["new"]
    assert [p.first.id for p in comparison.other_truth] == ["good_2"]
    assert comparison.other_settings == (("window_m", 60.0, 40.0),)
    assert len(comparison.pairings) == 9
    lines = " ".join(warning_lines(comparison, ("a.json", "b.json")))
    for words in ("window m is 60.0 and 40.0", "2 trials are only in a.json", "new", "good_2"):
        assert words in lines


def test_samples_that_nobody_could_read_are_nothing_to_compare() -> None:
    lost = pair_row("lost", failed="gone") | dict.fromkeys(
        ("true_east_m", "true_north_m", "true_heading_deg")
    )
    moved = pair_row("a") | {"true_east_m": 9.0}
    with pytest.raises(InputError, match="truths of all common ones differ"):
        compared([pair_row("a"), lost], [moved, lost])


def test_what_is_no_probability_has_no_calibration_error() -> None:
    for meaning, known in ((PROBABILITY, True), (INLIER_SHARE, False)):
        content = content_of(mixed_rows(), confidence=meaning)
        comparison = compare(results_of(content), results_of(content))
        names = {c.name for c in comparison.changes}
        assert "auroc" in names
        assert ("expected_calibration_error" in names) == known


def test_chart_has_every_trial_in_its_place() -> None:
    comparison = compared(mixed_rows(), mended())
    figure = scatter_chart(comparison).draw(LIGHT)
    fixed = by_gid(figure, "became right").get_xydata()  # type: ignore[attr-defined]
    broken = by_gid(figure, "became wrong").get_xydata()  # type: ignore[attr-defined]
    np.testing.assert_allclose(fixed, [[17.8, 0.2]])
    np.testing.assert_allclose(broken, [[0.4, 10.0]])
    assert_nothing_clipped(figure)
    for words in ("became right", "became wrong", "as before", "equal"):
        assert words in legend_texts(figure)


def test_command_prints_and_writes(cli: Cli, tmp_path: Path) -> None:
    first = write(tmp_path / "first.json", content_of(mixed_rows()))
    second = write(tmp_path / "second.json", content_of(mended()))
    out, report = tmp_path / "out.json", tmp_path / "compare.html"
    result = cli("compare", first, second, "--output", out, "--report", report)
    assert result.code == 0, result.err
    for words in ("within 5 m", "became right", "flipped, seed 0", "became wrong", "may be"):
        assert words in result.out
    content = json.loads(out.read_text())
    assert content["matched"] == len(content["pairs"]) == 12
    assert [p["id"] for p in content["became_right"]] == ["flipped"]
    again = cli("compare", first, second, "--output", tmp_path / "again.json", "--quiet")
    assert again.out == ""
    assert (tmp_path / "again.json").read_text() == out.read_text()  # the same seed


def test_two_evaluations_of_the_command_line_can_be_compared(cli: Cli, tmp_path: Path) -> None:
    """Rows of benchmarks know no seed."""
    rows = [
        {k: v for k, v in row.items() if k not in ("seed", "window_m")} | {"worst_position_m": 50.0}
        for row in mixed_rows()
    ]
    content = content_of(mixed_rows()) | {"samples": rows}
    del content["pairs"]
    first = write(tmp_path / "a.json", content)
    assert cli("compare", first, first).code == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read"),
        ("nonsense", "not JSON"),
        ("[1, 2]", "not a results file"),
        ('{"pairs": [{}]}', "row 1: field 'status' missing"),
        (json.dumps(content_of([pair_row("other")])), "no trial in common"),
        (json.dumps(content_of(mixed_rows()) | {"pairs": mixed_rows()[:1] * 2}), "twice"),
    ],
    ids=["missing", "text", "list", "row", "others", "double"],
)
def test_bad_files_give_one_line(cli: Cli, tmp_path: Path, text: str | None, message: str) -> None:
    good = write(tmp_path / "good.json", content_of(mixed_rows()))
    bad = tmp_path / "bad.json"
    if text is not None:
        bad.write_text(text)
    for words in ((good, bad), (bad, good)):
        cli("compare", *words, "--output", tmp_path / "out.json").assert_one_line_error(message)
    assert not (tmp_path / "out.json").exists()


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


def test_report_is_quiet_alone_and_safe(driver: Any, tmp_path: Path) -> None:
    def hostile(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [row | {"id": f"{HOSTILE}{row['id']}"} for row in rows]

    comparison = compared(hostile(mixed_rows()), hostile(mended()[1:]))
    page = write_comparison_report(
        comparison, tmp_path / "c.html", (HOSTILE, "b"), provenance={"command": HOSTILE}
    )
    for width in (390, 1280):
        open_page(driver, page, width=width, height=844)
        assert console_messages(driver) == []
        assert requested(driver) == [page.resolve().as_uri()]
        assert driver.execute_script("return document.documentElement.scrollWidth") <= width
    assert driver.execute_script("return window.hacked === undefined")
    assert HOSTILE in one(driver, "#warnings").get_attribute("textContent")
    assert (
        "is right more often" in one(driver, "#headline").text
        or "cannot be told" in one(driver, "#headline").text
    )
    assert "<img src=x" not in page.read_text()
