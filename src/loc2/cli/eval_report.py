"""``--report DIR`` of all evaluations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from loc2.cli.explained import command_line
from loc2.cli.progress import progress_bar
from loc2.report import write_evaluation_report
from loc2.report.gallery import Explain

ReportFolder = Annotated[
    Path | None,
    typer.Option(
        "--report",
        help="Folder for a report: index.html with charts, and a page for each case of its "
        "gallery. No page needs a network.",
        show_default=False,
    ),
]


def write_evaluation(
    context: typer.Context,
    folder: Path | None,
    content: dict[str, Any],
    explain: Explain,
    quiet: bool,
) -> None:
    """Write the report of an evaluation, if one is asked for.

    Args:
        context: of the command; gives its words.
        folder: where; None for no report.
        content: of the results file.
        explain: repeats the localization of a case.
        quiet: print nothing.

    Raises:
        OutputError: a file cannot be written.
    """
    if folder is None:
        return
    words = context.find_root().obj or ()
    facts = {"command": command_line(words)} if words else {}
    with progress_bar(quiet) as bar:
        task = bar.add_task("report", total=None)
        page = write_evaluation_report(
            content,
            folder,
            explain,
            provenance=facts,
            progress=lambda done: bar.update(task, completed=done),
        )
    if not quiet:
        typer.echo(f"wrote {page}")
