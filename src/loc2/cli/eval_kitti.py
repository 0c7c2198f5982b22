"""``loc2 eval kitti``: the KITTI benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from loc2.cli.benchmarks import Choices, open_localizer, run
from loc2.cli.spread import spread
from loc2.data.kitti import LIST_LENGTHS, NOMINAL_HEADING_DEG, KittiDataset
from loc2.evaluation.published import published_kitti_summary
from loc2.evaluation.records import summarize_directions


@spread
def eval_kitti(
    *,
    context: typer.Context,
    root: Annotated[Path, typer.Option(help="Root folder of KITTI.")],
    split: Annotated[
        Literal["train", "test1", "test2"],
        typer.Option(help="test1: drives of the training set; test2: other drives."),
    ] = "test1",
    heading_range: Annotated[
        float, typer.Option(help="Heading noise, half-width, degrees; 10 and 180 are published.")
    ] = 10.0,
    lists: Annotated[
        Path | None, typer.Option(help="Folder of the split lists, if not the root.")
    ] = None,
    choices: Choices,
) -> None:
    """Measure localization on KITTI, beside the published figures."""
    localizer, options = open_localizer(choices, "pinhole", heading_range, NOMINAL_HEADING_DEG)
    source = KittiDataset(
        root,
        split,
        heading_range_deg=heading_range,
        seed=choices.seed,
        lists=lists,
        with_depth=options.depth == "files",
    )
    if len(source) != LIST_LENGTHS[split] and not choices.quiet:
        typer.echo(
            f"note: {source.list} has {len(source)} lines, the benchmark's {LIST_LENGTHS[split]}; "
            "these figures are not the benchmark's",
            err=True,
        )
    run(
        localizer,
        source,
        options,
        choices,
        {"data": "kitti", "part": split, "list_lines": len(source)},
        lambda records: {
            "directions": summarize_directions(records),
            "published_protocol": published_kitti_summary(records),
        },
        context,
    )
