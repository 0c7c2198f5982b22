"""The answer in words: whether to trust it, and why, for a reader who knows no method."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch

from loc2.frames import Pose, heading_error_deg
from loc2.localization import PROBABILITY, Hypothesis, Localization
from loc2.report.figures.camera import ellipse_90, heading_half_width_deg, pose_px
from loc2.report.probability import matches_under

TRUST_CONFIDENCE = 0.8
"""From here on the answer is called likely right."""
SAME_PLACE_M, SAME_HEADING_DEG = 5.0, 10.0
"""Hypotheses nearer than this in both are one answer; confidence is stated for these limits."""
RIVAL_SHARE = 0.5
"""A rival with at least this share of the best hypothesis' mass makes the answer ambiguous."""
FAR_WEAKER = 0.2
"""A rival with less than this share of the best hypothesis' mass hardly counts."""
TURNED_SHARE = 0.1
"""From this share on, probability of headings turned by more than 90 degrees is told of."""
CLEARLY_MORE = 0.9
"""An answer that more spots agree with than at this share of random places stands out."""

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
    rated = is_probability(localization)
    rival = strongest_rival(localization)
    first = localization.hypotheses[0].mass if localization.hypotheses else 0.0
    doubtful = confidence < TRUST_CONFIDENCE or localization.abstains or not rated
    reasons = (
        _confidence_sentence(confidence) if rated else _agreement_sentence(confidence),
        _rival_sentence(localization, rival),
        *_facing_sentence(localization),
        _spread_sentence(localization),
        *_radius_sentence(localization),
        *_match_sentences(localization),
        *_warnings(localization),
    )
    if not doubtful:
        return Verdict("trust", "Likely right", "This position and heading can be used.", reasons)
    close = rival is not None and rival.mass >= RIVAL_SHARE * first
    # That one of the two is right must be as likely as what is called so: noise has two best
    # places as well.
    both = first + rival.mass if rival is not None else first
    likely = max(TRUST_CONFIDENCE, localization.abstain_below)
    believed = not rated or confidence * both >= likely * first
    if close and both >= 0.5 and believed:
        advice = "Compare the two places below, or give a rough position or heading to decide."
        return Verdict("check", "Ambiguous: two answers fit", advice, reasons)
    if not rated:
        advice = (
            "These weights do not say how likely they are right. Compare the photo's layout with "
            "the map below before using the answer."
        )
        return Verdict("check", "Not rated: check it", advice, reasons)
    if not localization.abstains:
        advice = "Compare the photo's layout with the map below before using it."
        return Verdict("check", "Plausible, but check it", advice, reasons)
    advice = (
        "A rough position or heading, another photo, or a sharper or more recent aerial image may "
        "help."
    )
    headline = "Do not rely on this answer"
    if close:
        headline += ": others fit about as well"
    return Verdict("reject", headline, advice, reasons)


def is_probability(localization: Localization) -> bool:
    """Tell whether the confidence is meant as a probability of being right."""
    return localization.settings.get("confidence", PROBABILITY) == PROBABILITY


def strongest_rival(localization: Localization) -> Hypothesis | None:
    """Return the most massive hypothesis that is another place or another heading."""
    others = [h for h in localization.hypotheses[1:] if not _same(h, localization)]
    return max(others, key=lambda h: h.mass, default=None)


@dataclass(frozen=True)
class Agreement:
    """How many spots of the photo look like what a pose puts under them.

    Attributes:
        agreeing: spots that were found within reach of where the answer puts them.
        total: all spots.
        elsewhere: shares under poses drawn at random in the aerial image, sorted.
    """

    agreeing: int
    total: int
    elsewhere: tuple[float, ...]

    @property
    def share(self) -> float:
        """Share of spots that agree."""
        return self.agreeing / max(1, self.total)


def agreement(localization: Localization, tries: int = 40, seed: int = 0) -> Agreement:
    """Count the spots that agree with the answer, and with poses drawn at random.

    Spots are looked for near where a pose puts them, so some agree with any pose; what chance
    gives is therefore measured on the same images, not assumed.

    Args:
        localization: the answer.
        tries: number of random poses.
        seed: of the random poses.
    """
    cells = localization.cells
    found = matches_under(localization, localization.pose)
    step = max(1, len(cells.bev) // 300)  # a sample of the spots is enough for random poses
    few = replace(
        localization,
        cells=replace(
            cells,
            ground_px=cells.ground_px[::step],
            bev=cells.bev[::step],
            weight=cells.weight[::step],
            evidence=cells.evidence[::step],
        ),
    )
    height, width = localization.aerial_image.shape[1:]
    generator = torch.Generator().manual_seed(seed)
    draws = torch.rand(tries, 3, generator=generator)
    shares = []
    for east, north, turn in draws.tolist():
        pose = Pose(
            (east - 0.5) * width * localization.meters_per_pixel,
            (north - 0.5) * height * localization.meters_per_pixel,
            360.0 * turn,
            localization.pose.scale,
        )
        inlier = matches_under(few, pose).inlier
        shares.append(float(inlier.float().mean()) if len(inlier) else 0.0)
    return Agreement(int(found.inlier.sum()), len(found.inlier), tuple(sorted(shares)))


def _same(hypothesis: Hypothesis, localization: Localization) -> bool:
    a, b = hypothesis.pose, localization.pose
    near = math.hypot(a.east_m - b.east_m, a.north_m - b.north_m) < SAME_PLACE_M
    return near and heading_error_deg(a.heading_deg, b.heading_deg) < SAME_HEADING_DEG


def _confidence_sentence(confidence: float) -> str:
    return (
        f"The estimated chance that it is right, within {SAME_PLACE_M:.0f} m and "
        f"{SAME_HEADING_DEG:.0f}°, is {_percent(confidence)}."
    )


def _agreement_sentence(share: float) -> str:
    return (
        f"{_percent(share)} of the matches' weight agrees with it. That is no probability: wrong "
        "answers can agree with themselves just as well."
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
    how = "much weaker" if rival.mass < FAR_WEAKER * first else "weaker"
    return (
        f"The next best answer is {how}: {where} "
        f"({_percent(rival.mass)} against {_percent(first)})."
    )


def _facing_sentence(localization: Localization) -> tuple[str, ...]:
    """Tell of answers that look elsewhere, which may be many small ones."""
    probability = localization.heatmap.heading
    step_deg = 360.0 / max(1, len(probability))
    turned = [
        heading_error_deg(k * step_deg, localization.pose.heading_deg) > 90.0
        for k in range(len(probability))
    ]
    share = sum(float(p) for p, far in zip(probability, turned, strict=True) if far)
    if share < TURNED_SHARE:
        return ()
    return (
        f"{_percent(share)} of the probability looks another way, turned by more than 90°: the "
        "heading is doubtful.",
    )


def _spread_sentence(localization: Localization) -> str:
    long_m, short_m, _ = ellipse_90(localization.covariance)
    half_deg = heading_half_width_deg(localization.covariance)
    return (
        f"If it is right, it is known to ± {long_m:.1f} m by ± {short_m:.1f} m and "
        f"± {half_deg:.0f}° (90 % of cases)."
    )


def _radius_sentence(localization: Localization) -> tuple[str, ...]:
    radius_m = localization.radius_90_m
    if radius_m is None or not is_probability(localization):
        return ()
    return (
        "Right or wrong, nine in ten answers like this one lie within "
        f"{radius_m:.0f} m of the true place.",
    )


def _match_sentences(localization: Localization) -> tuple[str, ...]:
    found = agreement(localization)
    if not found.total:
        return ("No spot of the photo could be matched.",)
    usual, most = found.elsewhere[len(found.elsewhere) // 2], found.elsewhere[-1]
    tried = len(found.elsewhere)
    beaten = sum(share < found.share for share in found.elsewhere)
    if beaten == tried:
        standing = f"more than at any of {tried} places drawn at random"
    elif beaten >= CLEARLY_MORE * tried:
        standing = f"more than at {beaten} of {tried} places drawn at random"
    else:
        standing = f"not clearly more than at {tried} places drawn at random"
    return (
        f"{found.agreeing} of {found.total} spots of the photo ({_percent(found.share)}) look like "
        f"what this answer puts under them: {standing} (there {_percent(usual)} as a rule, "
        f"{_percent(most)} at most).",
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
