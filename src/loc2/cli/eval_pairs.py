"""``loc2 eval pairs``: measure localization on a manifest of pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from loc2.cli.eval_report import ReportFolder, write_evaluation
from loc2.cli.options import Device, Quiet, Weights
from loc2.cli.progress import run_with_progress
from loc2.data.pairs import read_pairs
from loc2.errors import InputError
from loc2.evaluation.pairs import Protocol, evaluate_samples, localize_again, pair_sources
from loc2.localizer import Localizer
from loc2.outputs import output_directory, output_file, write_json


def eval_pairs(
    context: typer.Context,
    pairs: Annotated[Path, typer.Argument(help="Manifest of pairs (CSV).")],
    heading_range: Annotated[
        float, typer.Option(help="Random turn and prior, half-width, degrees; 180: no prior.")
    ] = 180.0,
    window: Annotated[
        float | None, typer.Option(help="Side of the aerial window, metres; all by default.")
    ] = None,
    shift_range: Annotated[
        float, typer.Option(help="Random offset of the window, half-width on each axis, metres.")
    ] = 0.0,
    seeds: Annotated[str, typer.Option(help="Comma-separated; a trial for each.")] = "0",
    depth: Annotated[
        str, typer.Option(help="given (the rows' files, else the default), or a model's name.")
    ] = "given",
    weights: Weights = None,
    device: Device = None,
    quiet: Quiet = False,
    output: Annotated[Path | None, typer.Option(help="Results file (JSON).")] = None,
    report: ReportFolder = None,
) -> None:
    """Measure localization on pairs with known poses."""
    rows = read_pairs(pairs)
    protocol = Protocol(heading_range, window, shift_range, parse_seeds(seeds), depth)
    with output_directory(report), output_file(output):
        localizer = Localizer.from_pretrained(weights, device)
        sources = {source.id: source for source in pair_sources(rows)}
        results = run_with_progress(
            "pairs",
            len(rows) * len(protocol.seeds),
            quiet,
            lambda told: evaluate_samples(localizer, list(sources.values()), protocol, told),
        )
        results["config"]["manifest"] = pairs.name
        report_results(results, output, quiet)
        write_evaluation(
            context,
            report,
            results,
            lambda case: localize_again(localizer, sources[case.id], protocol, case.seed or 0),
            quiet,
        )


def report_results(results: dict[str, Any], output: Path | None, quiet: bool) -> None:
    """Write a results file and print its summary and failures.

    Raises:
        OutputError: the file cannot be written.
    """
    if output is not None:
        write_json(output, results)
    if quiet:
        return
    console = Console()
    console.print(summary_table(results["summary"]))
    for line in calibration_lines(results["calibration"]):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    for record in results["pairs"]:
        if record["status"] != "ok":
            words = f"{record['id']} seed {record['seed']}: {record['status']}"
            console.print(words, markup=False)


def calibration_lines(calibration: dict[str, dict[str, Any]]) -> list[str]:
    """Say in a line for each group how far the confidence can be trusted."""

    def plain(value: float | None) -> str:
        return "-" if value is None else f"{value:.2f}"

    return [
        f"confidence, {group}: AUROC {plain(c['auroc'])}, expected calibration error "
        f"{plain(c.get('expected_calibration_error'))}, wrong among the surest half "
        f"{plain(c['risk_at_coverage']['50'])} and among all {plain(c['risk_at_coverage']['100'])}"
        f"; truth inside the 90 % radius {plain(c.get('radius_coverage'))}"
        for group, c in calibration.items()
    ]


def parse_seeds(text: str) -> tuple[int, ...]:
    """Parse comma-separated seeds.

    Raises:
        InputError: not numbers.
    """
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"--seeds: comma-separated numbers expected, got {text!r}") from error


def summary_table(summary: dict[str, Any]) -> Table:
    """Build a table of figures, one column for each group."""
    table = Table(title=escape("share within limits, medians; [guess: centre, random heading]"))
    table.add_column("", no_wrap=True)
    for group in summary:
        table.add_column(escape(group), justify="right")
    names = [n for n in summary["all"] if n not in ("guess", "interval_95")]
    for name in names:
        cells = []
        for figures in summary.values():
            value, guess = figures[name], figures["guess"][name]
            if value is None:
                cells.append("-")
            elif name in ("n", "failures"):
                cells.append(str(value))
            else:
                cells.append(f"{value:.2f} [dim]\\[{guess:.2f}][/dim]")
        table.add_row(name, *cells)
    return table
