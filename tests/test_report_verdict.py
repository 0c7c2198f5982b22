"""The answer in words: what a reader is told for right, doubtful, ambiguous and unrated answers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loc2.frames import Pose
from loc2.localization import INLIER_SHARE, Localization
from loc2.report.verdict import judge
from tests.report_scene import make_localization

OPPOSITE = Pose(6.4, -3.2, 220.0)
ELSEWHERE = Pose(-9.0, 8.0, 40.0)


@pytest.fixture(scope="module")
def sure() -> Localization:
    return make_localization(confidence=0.93)


def words(localization: Localization) -> str:
    return " ".join(judge(localization).reasons)


def test_a_confident_answer_can_be_used(sure: Localization) -> None:
    verdict = judge(sure)
    assert (verdict.level, verdict.headline) == ("trust", "Likely right")
    assert "93\u00a0%" in verdict.reasons[0]
    assert "No rival remains" in words(sure)
    assert "more than at any of 40 places" in words(sure)
    assert "doubtful" not in words(sure)


@pytest.mark.parametrize(
    ("confidence", "below", "level", "headline"),
    [
        (0.79, 0.5, "check", "Plausible, but check it"),
        (0.5, 0.5, "check", "Plausible, but check it"),
        (0.49, 0.5, "reject", "Do not rely on this answer"),
        (0.6, 0.7, "reject", "Do not rely on this answer"),
        (0.85, 0.9, "reject", "Do not rely on this answer"),
        (0.3, 0.2, "check", "Plausible, but check it"),
    ],
)
def test_the_weights_say_when_to_abstain(
    sure: Localization, confidence: float, below: float, level: str, headline: str
) -> None:
    verdict = judge(replace(sure, confidence=confidence, abstain_below=below))
    assert (verdict.level, verdict.headline) == (level, headline)


def test_two_places_that_fit_are_ambiguous() -> None:
    answer = make_localization(second=ELSEWHERE, second_mass=0.4, confidence=0.52)
    verdict = judge(answer)
    assert (verdict.level, verdict.headline) == ("check", "Ambiguous: two answers fit")
    others = "Do not rely on this answer: others fit about as well"
    for confidence in (0.02, 0.45):  # either of the two is right in four, or in 78, of 100 cases
        verdict = judge(replace(answer, confidence=confidence))
        assert (verdict.level, verdict.headline) == ("reject", others)
    assert "19 m away, facing the same way (40\u00a0% against 55\u00a0%)" in verdict.reasons[1]


def test_opposite_headings_are_told_of() -> None:
    answer = make_localization(second=OPPOSITE, second_mass=0.4, confidence=0.4)
    assert "on the spot but facing the opposite way" in words(answer)
    assert "40\u00a0% of the probability looks another way" in words(answer)


def test_many_small_rivals_are_no_answer() -> None:
    answer = make_localization(second=ELSEWHERE, second_mass=0.4, confidence=0.3)
    few = tuple(replace(h, mass=h.mass / 3) for h in answer.hypotheses)
    verdict = judge(replace(answer, hypotheses=few))
    assert verdict.level == "reject"
    assert verdict.headline == "Do not rely on this answer: others fit about as well"


@pytest.mark.parametrize(("mass", "how"), [(0.05, "much weaker"), (0.25, "is weaker")])
def test_weaker_rivals(mass: float, how: str) -> None:
    assert how in words(make_localization(second=ELSEWHERE, second_mass=mass))


def test_radius_is_told_where_it_is_known(sure: Localization) -> None:
    assert "nine in ten" not in words(sure)
    known = replace(sure, radius_90_m=6.4)
    assert "nine in ten answers like this one lie within 6 m" in words(known)


def test_shares_of_inliers_are_no_probability(sure: Localization) -> None:
    unrated = replace(sure, settings={**sure.settings, "confidence": INLIER_SHARE})
    verdict = judge(unrated)
    assert (verdict.level, verdict.headline) == ("check", "Not rated: check it")
    assert "93\u00a0% of the matches' weight agrees" in verdict.reasons[0]
    assert "chance" not in verdict.reasons[0]


def test_an_answer_at_the_edge_is_warned_of() -> None:
    answer = make_localization(estimate=Pose(25.0, 0.0, 0.0))
    assert "the true place may be outside it" in words(answer)
