"""``loc2 compare``: two results files of the same samples, pair by pair."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from loc2.cli.explained import command_line
from loc2.cli.options import Quiet
from loc2.evaluation.cases import read_results
from loc2.evaluation.compare import Comparison, compare
from loc2.outputs import write_json
from loc2.report.comparison import (
    change_words,
    headline,
    ordered,
    warning_lines,
    write_comparison_report,
)
from loc2.report.gallery import case_words

_SHOWN = 5
_COLORS = {"better": "green", "worse": "red", "open": "dim"}


def compare_results(
    context: typer.Context,
    first: Annotated[Path, typer.Argument(help="Results file of loc2 eval (JSON).")],
    second: Annotated[Path, typer.Argument(help="Results file to judge against the first.")],
    output: Annotated[Path | None, typer.Option(help="Comparison as JSON.")] = None,
    report: Annotated[Path | None, typer.Option(help="Comparison as one HTML page.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the bootstrap.")] = 0,
    quiet: Quiet = False,
) -> None:
    """Compare two evaluations of the same samples, pair by pair."""
    comparison = compare(read_results(first), read_results(second), seed)
    names = (first.name, second.name) if first.name != second.name else (str(first), str(second))
    if output is not None:
        write_json(output, {"first": str(first), "second": str(second), **comparison.content()})
    if report is not None:
        words = context.find_root().obj or ()
        facts = {"command": command_line(words)} if words else {}
        write_comparison_report(comparison, report, names, provenance=facts)
    if not quiet:
        _print(comparison, names)
        for file in (output, report):
            if file is not None:
                typer.echo(f"wrote {file}")


def _print(comparison: Comparison, names: tuple[str, str]) -> None:
    console = Console()
    console.print(escape(f"first: {names[0]}, second: {names[1]}"), highlight=False, soft_wrap=True)
    console.print(escape(headline(comparison)), highlight=False, soft_wrap=True)
    for line in warning_lines(comparison, names):
        console.print(f"[yellow]{escape(line)}[/yellow]", highlight=False, soft_wrap=True)
    table = Table(title=f"{len(comparison.pairings)} trials in both")
    table.add_column("")
    for name in ("first", "second", "difference (95 %)", "the second is"):
        table.add_column(name, justify="right")
    for change in ordered(comparison.changes):
        color = _COLORS[change.verdict]
        *cells, verdict = change_words(change)
        table.add_row(*cells, f"[{color}]{verdict}[/{color}]")
    console.print(table)
    for title, pairings in (
        ("became right", comparison.fixed),
        ("became wrong", comparison.broken),
    ):
        if not pairings:
            continue
        console.print(f"[bold]{title}[/bold] ({len(pairings)})")
        for p in pairings[:_SHOWN]:
            words = f"  {p.first.name}: {case_words(p.first)} → {case_words(p.second)}"
            console.print(escape(words), highlight=False, soft_wrap=True)
        if len(pairings) > _SHOWN:
            console.print(f"  and {len(pairings) - _SHOWN} more", highlight=False)
