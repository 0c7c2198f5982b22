"""What ``loc2 eval vigor`` and ``loc2 eval kitti`` share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

from loc2.cli.eval_pairs import calibration_lines
from loc2.cli.eval_report import ReportFolder, write_evaluation
from loc2.cli.options import Device, Quiet, Seed, Weights
from loc2.cli.progress import progress_bar
from loc2.data.samples import SampleSource
from loc2.errors import WeightsError
from loc2.evaluation.benchmarks import (
    RunOptions,
    chosen,
    evaluate,
    localize_again,
    results_content,
    weights_record,
)
from loc2.evaluation.records import Record
from loc2.evaluation.tables import RECALL_NAMES, PublishedRow, published_rows
from loc2.localizer import DEFAULT_WEIGHTS, Localizer
from loc2.model import packaged_weights
from loc2.outputs import output_directory, output_file, write_json
from loc2.pose.solve import Solver
from loc2.published.localizer import PublishedLocalizer

_SHOWN_FAILURES = 10


@dataclass(frozen=True, kw_only=True)
class Choices:
    """Options of a benchmark's run as given on the command line; None where left open.

    Attributes:
        depth: see :class:`loc2.evaluation.benchmarks.RunOptions`.
        solver: likewise.
        prior: likewise.
        limit: likewise.
        weights: weights file; the package's own if None.
        device: where to run.
        seed: see :class:`loc2.evaluation.benchmarks.RunOptions`.
        workers: likewise.
        quiet: print nothing.
        output: results file.
        report: folder of the report.
    """

    depth: Annotated[
        str | None,
        typer.Option(
            help="files (the data set's own), default (what the weights do best with), or another "
            "depth by name. By default files for imported checkpoints and default for our own "
            "weights.",
            show_default=False,
        ),
    ] = None
    solver: Annotated[
        Solver | None,
        typer.Option(help="Pose solver; the weights' own by default.", show_default=False),
    ] = None
    prior: Annotated[
        bool | None,
        typer.Option(
            "--prior/--no-prior",
            help="Tell the localizer the range of headings. By default imported checkpoints are "
            "not told, as published, and our own weights are.",
            show_default=False,
        ),
    ] = None
    limit: Annotated[
        int | None, typer.Option(help="Evaluate this many samples, evenly spread over the list.")
    ] = None
    weights: Weights = None
    device: Device = None
    seed: Seed = 0
    workers: Annotated[int, typer.Option(help="Threads that read samples ahead.")] = 2
    quiet: Quiet = False
    output: Annotated[Path | None, typer.Option(help="Results file (JSON).")] = None
    report: ReportFolder = None


def open_localizer(
    choices: Choices,
    projection: Literal["equirectangular", "pinhole"],
    heading_range_deg: float,
    heading_center_deg: float,
) -> tuple[Localizer, RunOptions]:
    """Load the weights and settle what was left open by their kind.

    Raises:
        WeightsError: the weights cannot be read, or were made for another projection.
    """
    localizer = Localizer.from_pretrained(choices.weights, choices.device)
    published = isinstance(localizer, PublishedLocalizer)
    if isinstance(localizer, PublishedLocalizer) and localizer.projection != projection:
        raise WeightsError(
            f"weights {choices.weights}: made for {localizer.projection} images, "
            f"this data set's are {projection}"
        )
    options = RunOptions(
        heading_range_deg=heading_range_deg,
        heading_center_deg=heading_center_deg,
        use_prior=not published if choices.prior is None else choices.prior,
        depth=("files" if published else "default") if choices.depth is None else choices.depth,
        solver=choices.solver,
        seed=choices.seed,
        limit=choices.limit,
        workers=choices.workers,
    )
    return localizer, options


def run(
    localizer: Localizer,
    source: SampleSource,
    options: RunOptions,
    choices: Choices,
    config: dict[str, Any],
    further_summaries: Callable[[list[Record]], dict[str, Any]],
    context: typer.Context,
) -> None:
    """Evaluate, write the results file, and print the table beside the published figures.

    Args:
        localizer: what is measured.
        source: the benchmark.
        options: how it is run.
        choices: the command line's.
        config: data set and split, for the results file; it chooses the published table.
        further_summaries: summaries special to the data set.
        context: of the command.
    """
    with output_directory(choices.report), output_file(choices.output):
        total = len(source) if options.limit is None else min(options.limit, len(source))
        with progress_bar(choices.quiet) as bar:
            task = bar.add_task(str(config["data"]), total=total)
            records = evaluate(
                localizer, source, options, lambda done: bar.update(task, completed=done)
            )
        path = packaged_weights(DEFAULT_WEIGHTS) if choices.weights is None else choices.weights
        config = {**config, "weights": weights_record(localizer, path),
                  "precision": localizer.precision,
                  "confidence": localizer.confidence_meaning, "samples": total,
                  "of": len(source)}  # fmt: skip
        content = results_content(records, config, options, further_summaries(records))
        if choices.output is not None:
            write_json(choices.output, content)
        if not choices.quiet:
            _print(content, localizer.weights, options)
        indices = chosen(len(source), options.limit)
        write_evaluation(
            context,
            choices.report,
            content,
            lambda case: localize_again(localizer, source, indices[case.row], options),
            choices.quiet,
        )


def _print(content: dict[str, Any], weights: str, options: RunOptions) -> None:
    config, summary = content["config"], content["summary"]["all"]
    console = Console()
    rows = published_rows(config, options.heading_range_deg)
    figures = {**summary, **content.get("directions", {})}
    setting = f"{config['data']} {config['part']}, heading ±{options.heading_range_deg:g}°"
    title = f"{setting}, {config['samples']} of {config['of']} samples"
    console.print(_errors_table(title, rows, f"loc2, {weights}", figures))
    if any(row.recalls for row in rows):
        console.print(_recalls_table(rows, f"loc2, {weights}", figures))
    for name, block in (
        ("recalls", {n: v for n, v in summary.items() if n.startswith("recall_")}),
        ("heading", {"flip_rate": summary["flip_rate"]}),
        ("directions", content.get("directions", {})),
        ("published protocol", content.get("published_protocol", {})),
    ):
        if block:
            typer.echo(f"{name}: " + ", ".join(f"{k} {_plain(v)}" for k, v in block.items()))
    for line in calibration_lines(content["calibration"]):
        typer.echo(line)
    failures = content["failures"]
    typer.echo(f"failures: {len(failures)} of {config['samples']}, counted as misses")
    for name, reason in list(failures.items())[:_SHOWN_FAILURES]:
        typer.echo(f"  {name}: {reason}")
    if len(failures) > _SHOWN_FAILURES:
        typer.echo(f"  and {len(failures) - _SHOWN_FAILURES} more, listed in the results file")


def _errors_table(
    title: str, rows: tuple[PublishedRow, ...], own: str, figures: dict[str, Any]
) -> Table:
    table = Table(title=title)
    table.add_column("method")
    for title_of_column in ("location, m\nmean", "\nmedian", "heading, °\nmean", "\nmedian"):
        table.add_column(title_of_column, justify="right")
    table.add_column("note")
    for row in rows:
        errors = (
            row.position_mean_m,
            row.position_median_m,
            row.heading_mean_deg,
            row.heading_median_deg,
        )
        table.add_row(row.method, *map(_figure, errors), row.note)
    table.add_section()
    names = ("position_mean_m", "position_median_m", "heading_mean_deg", "heading_median_deg")
    table.add_row(own, *(_figure(figures[name]) for name in names), "measured now")
    return table


def _recalls_table(rows: tuple[PublishedRow, ...], own: str, figures: dict[str, Any]) -> Table:
    table = Table(title="share of samples below, % (published directions may be exchanged)")
    table.add_column("method")
    headings = ("lateral\n1 m", "\n5 m", "longitudinal\n1 m", "\n5 m", "heading\n1°", "\n5°")
    for heading in headings:
        table.add_column(heading, justify="right")
    for row in rows:
        if row.recalls:
            table.add_row(row.method, *("-" if r is None else _percent(r) for r in row.recalls))
    table.add_section()
    table.add_row(own, *(f"{100 * figures[name]:.1f}" for name in RECALL_NAMES))
    return table


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _plain(value: float | int) -> str:
    return str(value) if isinstance(value, int) else f"{value:.3f}"


def _percent(value: float) -> str:
    return f"{value:.2f}".removesuffix("0")
