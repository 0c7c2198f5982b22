"""The gallery of an evaluation: typical and instructive cases, each with its own report."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from loc2.errors import Loc2Error
from loc2.evaluation.cases import Case, Results
from loc2.frames import Pose
from loc2.localization import Localization
from loc2.report.figures.camera import aerial_panel, draw_camera, draw_truth
from loc2.report.figures.style import dimmed, figure_of, fit, image_array, new_figure
from loc2.report.html import write_report
from loc2.report.layout import layout_on_aerial, layout_radius_m
from loc2.report.page import Markup, fill
from loc2.report.payload import jpeg_uri

EACH = 3
"""Cases of each kind."""
CASES_FOLDER = "cases"
THUMBNAIL_PX = 320

Explain = Callable[[Case], tuple[Localization, Pose]]
"""Repeats the localization of a case; returns the answer and the truth. May raise Loc2Error."""

KINDS = {
    "best": "Best",
    "median": "In the middle",
    "worst": "Worst",
    "overconfident": "Most over-confident",
}
_WORDS = {
    "best": "The smallest errors, in units of their limits.",
    "median": "As many samples did better as did worse.",
    "worst": "The largest errors among the samples that were answered.",
    "overconfident": "Wrong answers that were claimed with the highest confidence.",
}


@dataclass(frozen=True)
class Shown:
    """A case as the gallery shows it.

    Attributes:
        case: the case.
        link: address of its report relative to the page; None if there is none.
        ground: data address of the ground image.
        aerial: data address of the answer on the aerial image.
        failure: why it could not be shown.
    """

    case: Case
    link: str | None = None
    ground: str = ""
    aerial: str = ""
    failure: str = ""


def choose_cases(results: Results, each: int = EACH) -> dict[str, list[Case]]:
    """Choose best, median, worst and most over-confident cases.

    Args:
        results: what was measured.
        each: how many of a kind.

    Returns:
        Cases by the keys of :data:`KINDS`; a case can be of several kinds. Samples without an
        answer cannot be shown and are none of them.
    """
    ranked = sorted((c for c in results.cases if c.estimate is not None), key=lambda c: c.badness)
    middle = max(0, (len(ranked) - each) // 2)
    chosen = {
        "best": ranked[:each],
        "median": ranked[middle : middle + each],
        "worst": ranked[::-1][:each],
        "overconfident": [],
    }
    if results.rated:
        wrong = [c for c in ranked if not c.right]
        chosen["overconfident"] = sorted(wrong, key=lambda c: -c.stated)[:each]
    return chosen


def write_cases(
    cases: Sequence[Case],
    folder: Path,
    explain: Explain,
    progress: Callable[[int], None] | None = None,
) -> dict[int, Shown]:
    """Localize cases again and write the report of each.

    Args:
        cases: which; repeated ones are written once.
        folder: of the evaluation report; the files go to a folder in it.
        explain: repeats a localization.
        progress: called with the number of finished cases.

    Returns:
        What to show of each case, by its row.

    Raises:
        OutputError: a file cannot be written.
    """
    shown: dict[int, Shown] = {}
    for case in cases:
        if case.row in shown:
            continue
        number = len(shown) + 1
        # Numbers, not names: a name may hold anything.
        link = f"{CASES_FOLDER}/case-{number:02d}.html"
        try:
            answer, truth = explain(case)
            shown[case.row] = Shown(
                case,
                link,
                jpeg_uri(answer.ground_image, 2 * THUMBNAIL_PX),
                thumbnail(answer, truth),
            )
        except Loc2Error as error:
            shown[case.row] = Shown(case, failure=str(error))
        else:
            write_report(
                answer,
                folder / link,
                title=case.name,
                truth=truth,
                provenance={"sample": case.id, "seed": case.seed, "group": case.group},
            )
        if progress is not None:
            progress(len(shown))
    return shown


def thumbnail(localization: Localization, truth: Pose, side_px: int = THUMBNAIL_PX) -> str:
    """Draw an answer on its aerial image, with the truth, as a JPEG data address."""
    panel = aerial_panel(localization)
    height_px = max(1, round(side_px * panel.height / panel.width))
    figure = new_figure(side_px / 100, height_px / 100)
    axes = figure.add_axes((0, 0, 1, 1))
    panel.show(axes, image_array(dimmed(localization.aerial_image)))
    layout = layout_on_aerial(localization, radius_m=layout_radius_m(localization))
    panel.show(axes, (layout.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8))
    draw_camera(axes, localization, panel)
    draw_truth(axes, localization, panel, truth)
    fit(axes, panel)
    buffer = io.BytesIO()
    figure_of(axes).savefig(buffer, format="png", dpi=100)
    return jpeg_uri(_tensor(Image.open(buffer).convert("RGB")), side_px)


def _tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255


def gallery_html(chosen: dict[str, list[Case]], shown: dict[int, Shown]) -> Markup:
    """Return the sections of the gallery, one for each kind that has cases."""
    sections = []
    for kind, cases in chosen.items():
        if not cases:
            continue
        cards = "".join(_card(shown[c.row]) for c in cases if c.row in shown)
        sections.append(
            fill(
                '<section class="kind" id="{{kind}}"><h3>{{title}}</h3>'
                '<p class="small">{{words}}</p><div class="cards">{{cards}}</div></section>',
                {
                    "kind": kind,
                    "title": KINDS[kind],
                    "words": _WORDS[kind],
                    "cards": Markup(cards),
                },
            )
        )
    return Markup("".join(sections))


def case_words(case: Case) -> str:
    """Return errors and confidence of a case in a line."""
    if case.position_m is None or case.heading_deg is None:
        return f"no answer: {case.failure}"
    rough = "" if case.position_counts else " (the true place is only roughly known)"
    words = f"{case.position_m:.1f} m{rough} and {case.heading_deg:.0f}° off"
    if case.confidence is not None:
        words += f", confidence {case.stated:.0%}"
    return words


def _card(shown: Shown) -> str:
    case = shown.case
    values: dict[str, object] = {
        "name": case.name,
        "words": case_words(case),
        "level": "right" if case.right else "wrong",
        "verdict": "right" if case.right else "wrong",
        "failure": shown.failure,
    }
    if shown.link is None:
        return fill(
            '<article class="card {{level}}"><p><b>{{name}}</b></p><p class="small">{{words}}</p>'
            '<p class="small">Could not be shown: {{failure}}</p></article>',
            values,
        )
    values |= {
        "link": shown.link,
        "ground": Markup(shown.ground),
        "aerial": Markup(shown.aerial),
    }
    return fill(
        '<article class="card {{level}}"><a href="{{link}}">'
        '<img class="from-above" alt="Answer on the aerial image: {{words}}" src="{{aerial}}">'
        '<img class="from-ground" alt="Ground image of {{name}}" src="{{ground}}">'
        '<span class="name">{{name}}</span></a>'
        '<p class="small"><b class="mark">{{verdict}}</b>: {{words}}</p></article>',
        values,
    )
