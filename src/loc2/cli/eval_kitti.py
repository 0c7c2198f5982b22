"""``loc2 eval kitti``: the KITTI benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from loc2.cli.benchmarks import (
    Choices,
    Depth,
    Limit,
    Output,
    Prior,
    SolverOption,
    Workers,
    open_localizer,
    run,
)
from loc2.cli.eval_report import ReportFolder
from loc2.cli.options import Device, Quiet, Seed, Weights
from loc2.data.kitti import LIST_LENGTHS, NOMINAL_HEADING_DEG, KittiDataset
from loc2.evaluation.published import published_kitti_summary
from loc2.evaluation.records import summarize_directions


def eval_kitti(
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
    depth: Depth = None,
    solver: SolverOption = None,
    prior: Prior = None,
    limit: Limit = None,
    weights: Weights = None,
    device: Device = None,
    seed: Seed = 0,
    workers: Workers = 2,
    quiet: Quiet = False,
    output: Output = None,
    report: ReportFolder = None,
) -> None:
    """Measure localization on KITTI, beside the published figures."""
    choices = Choices(weights, device, depth, solver, prior, limit, seed, workers)
    localizer, options = open_localizer(choices, "pinhole", heading_range, NOMINAL_HEADING_DEG)
    source = KittiDataset(
        root,
        split,
        heading_range_deg=heading_range,
        seed=seed,
        lists=lists,
        with_depth=options.depth == "files",
    )
    if len(source) != LIST_LENGTHS[split] and not quiet:
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
        quiet,
        output,
        report,
        context,
    )
