"""The answer in words: whether to trust it, and why, for a reader who knows no method."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch

from loc2.frames import aerial_m_to_px, heading_error_deg
from loc2.localization import Hypothesis, Localization
from loc2.matching.explain import INLIER_M
from loc2.report.figures.camera import ellipse_90, heading_half_width_deg, pose_px
from loc2.report.probability import posed_m

TRUST_CONFIDENCE = 0.8
"""From here on the answer is called likely right."""
LOW_CONFIDENCE = 0.5
"""Below this it is called unreliable."""
SAME_PLACE_M, SAME_HEADING_DEG = 5.0, 10.0
"""Hypotheses nearer than this in both are one answer; confidence is stated for these limits."""
RIVAL_SHARE = 0.5
"""A rival with at least this share of the best hypothesis' mass makes the answer ambiguous."""

Level = Literal["trust", "check", "reject"]


@dataclass(frozen=True)
class Verdict:
    """What a reader is told first.

    Attributes:
        level: ``trust``, ``check`` or ``reject``.
        headline: a few words.
        advice: one sentence that says what to do with the answer.
        reasons: sentences, the most important first.
    """

    level: Level
    headline: str
    advice: str
    reasons: tuple[str, ...]


def judge(localization: Localization) -> Verdict:
    """Put a localization into words."""
    confidence = localization.confidence
    rival = strongest_rival(localization)
    first = localization.hypotheses[0].mass if localization.hypotheses else 0.0
    doubtful = confidence < TRUST_CONFIDENCE
    reasons = (
        _confidence_sentence(confidence),
        _rival_sentence(localization, rival),
        _spread_sentence(localization),
        *_match_sentences(localization),
        *_warnings(localization),
    )
    if not doubtful:
        return Verdict("trust", "Likely right", "This position and heading can be used.", reasons)
    if rival is not None and rival.mass >= RIVAL_SHARE * first and first + rival.mass >= 0.5:
        advice = "Compare the two places below, or give a rough position or heading to decide."
        return Verdict("check", "Ambiguous: two answers fit", advice, reasons)
    if confidence >= LOW_CONFIDENCE:
        advice = "Compare the photo's layout with the map below before using it."
        return Verdict("check", "Plausible, but check it", advice, reasons)
    advice = (
        "A rough position or heading, another photo, or a sharper or more recent aerial image may "
        "help."
    )
    return Verdict("reject", "Do not rely on this answer", advice, reasons)


def strongest_rival(localization: Localization) -> Hypothesis | None:
    """Return the most massive hypothesis that is another place or another heading."""
    others = [h for h in localization.hypotheses[1:] if not _same(h, localization)]
    return max(others, key=lambda h: h.mass, default=None)


def chance_agreement(localization: Localization, radius_m: float) -> float:
    """Return the share of matches that would agree if matches were strewn over the image.

    The share of the aerial image within ``radius_m`` of a point, on average over the points that
    the pose puts inside it; points outside cannot agree.
    """
    bev = localization.matches.bev
    if not len(bev):
        return 0.0
    height, width = localization.aerial_image.shape[1:]
    mpp = localization.meters_per_pixel
    uv_px = aerial_m_to_px(posed_m(bev, localization.pose), width, height, mpp)
    inside = (uv_px >= 0).all(-1) & (uv_px <= torch.tensor([width, height])).all(-1)
    share = math.pi * radius_m**2 / (width * height * mpp**2)
    return min(1.0, share) * float(inside.float().mean())


def _same(hypothesis: Hypothesis, localization: Localization) -> bool:
    a, b = hypothesis.pose, localization.pose
    near = math.hypot(a.east_m - b.east_m, a.north_m - b.north_m) < SAME_PLACE_M
    return near and heading_error_deg(a.heading_deg, b.heading_deg) < SAME_HEADING_DEG


def _confidence_sentence(confidence: float) -> str:
    return (
        f"The estimated chance that it is right, within {SAME_PLACE_M:.0f} m and "
        f"{SAME_HEADING_DEG:.0f}°, is {_percent(confidence)}."
    )


def _rival_sentence(localization: Localization, rival: Hypothesis | None) -> str:
    if not localization.hypotheses:
        return "No hypotheses were kept."
    first = localization.hypotheses[0].mass
    if rival is None:
        return f"No rival remains: the answer holds {_percent(first)} of the probability."
    here, there = localization.pose, rival.pose
    away_m = math.hypot(there.east_m - here.east_m, there.north_m - here.north_m)
    turn_deg = heading_error_deg(there.heading_deg, here.heading_deg)
    if turn_deg > 150:
        facing = "facing the opposite way"
    elif turn_deg > SAME_HEADING_DEG:
        facing = f"turned by {turn_deg:.0f}°"
    else:
        facing = "facing the same way"
    where = f"{away_m:.0f} m away, {facing}" if away_m >= 1 else f"on the spot but {facing}"
    if rival.mass >= RIVAL_SHARE * first:
        return (
            f"Another answer fits nearly as well: {where} "
            f"({_percent(rival.mass)} against {_percent(first)})."
        )
    return (
        f"The next best answer is much weaker: {where} "
        f"({_percent(rival.mass)} against {_percent(first)})."
    )


def _spread_sentence(localization: Localization) -> str:
    long_m, short_m, _ = ellipse_90(localization.covariance)
    half_deg = heading_half_width_deg(localization.covariance)
    return (
        f"If it is right, it is known to ± {long_m:.1f} m by ± {short_m:.1f} m and "
        f"± {half_deg:.0f}° (90 % of cases)."
    )


def _match_sentences(localization: Localization) -> tuple[str, ...]:
    matches = localization.matches
    total, good = len(matches.weight), int(matches.inlier.sum())
    if not total:
        return ("No spot of the photo could be matched.",)
    chance = chance_agreement(localization, INLIER_M)
    return (
        f"{good} of {total} spots of the photo ({_percent(good / total)}) were found from above "
        f"within {INLIER_M:g} m of where this answer puts them; chance alone would give "
        f"{_percent(chance)}.",
    )


def _warnings(localization: Localization) -> tuple[str, ...]:
    warnings = []
    height, width = localization.aerial_image.shape[1:]
    u, v = pose_px(localization, localization.pose).tolist()
    margin = min(u, v, width - u, height - v) / min(width, height)
    if margin < 0.05:
        warnings.append(
            "The answer lies at the edge of the aerial image: the true place may be outside it."
        )
    seen = float(localization.depth.valid.float().mean())
    if seen < 0.1:
        warnings.append(f"Only {_percent(seen)} of the photo shows ground that could be used.")
    return tuple(warnings)


def _percent(share: float) -> str:
    if 0 < share < 0.01:
        return "under 1\u00a0%"
    if 0.99 < share < 1:
        return "over 99\u00a0%"
    return f"{share * 100:.0f}\u00a0%"
