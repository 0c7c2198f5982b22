"""``loc2 eval vigor``: the VIGOR benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from loc2.cli.benchmarks import Choices, open_localizer, run
from loc2.cli.spread import spread
from loc2.data.vigor import VigorDataset
from loc2.evaluation.published import published_vigor_summary


@spread
def eval_vigor(
    *,
    context: typer.Context,
    root: Annotated[Path, typer.Option(help="Root folder of VIGOR.")],
    area: Annotated[
        Literal["samearea", "crossarea"], typer.Option(help="Same cities as in training, or not.")
    ] = "samearea",
    heading_range: Annotated[
        float, typer.Option(help="Random heading, half-width, degrees; 180: unknown, 0: known.")
    ] = 180.0,
    split: Annotated[Literal["train", "test"], typer.Option(help="Which list.")] = "test",
    labels: Annotated[
        str | None,
        typer.Option(help="Label folder; the corrected ones by default.", show_default=False),
    ] = None,
    semi_positives: Annotated[
        bool, typer.Option("--semi-positives", help="Use the semi-positive aerial images too.")
    ] = False,
    choices: Choices,
) -> None:
    """Measure localization on VIGOR, beside the published figures."""
    localizer, options = open_localizer(
        choices, "equirectangular", heading_range, heading_center_deg=0.0
    )
    source = VigorDataset(
        root,
        area,
        split,
        labels=labels,
        heading_range_deg=heading_range,
        seed=choices.seed,
        semi_positives=semi_positives,
        with_depth=options.depth == "files",
    )
    config = {
        "data": "vigor",
        "part": area,
        "split": split,
        "labels": source.labels.name,
        "semi_positives": semi_positives,
    }
    run(
        localizer,
        source,
        options,
        choices,
        config,
        lambda records: {"published_protocol": published_vigor_summary(records)},
        context,
    )
