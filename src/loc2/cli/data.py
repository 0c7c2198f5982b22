"""``loc2 data``: fetch and check the benchmarks' files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.progress import TaskID

from loc2.cli.options import Quiet
from loc2.cli.progress import download_bar
from loc2.data.check import Finding, check_kitti, check_vigor
from loc2.data.fetch import KITTI_LISTS_URL, fetch_kitti_lists

MISSING_EXIT = 1

app = typer.Typer(help="Fetch and check data sets.", no_args_is_help=True)


@app.command()
def check(
    data: Annotated[Literal["vigor", "kitti"], typer.Argument(help="Which data set.")],
    root: Annotated[Path, typer.Argument(help="Its root folder.")],
    labels: Annotated[
        str | None,
        typer.Option(help="VIGOR: label folder (splits_new, splits__corrected, splits)."),
    ] = None,
    lists: Annotated[
        Path | None, typer.Option(help="KITTI: folder of the split lists, if not ROOT.")
    ] = None,
) -> int:
    """List what is missing and what to do; exit code 1 where something is."""
    findings = check_vigor(root, labels) if data == "vigor" else check_kitti(root, lists)
    for finding in findings:
        for line in _lines(finding):
            typer.echo(line)
    return MISSING_EXIT if any(f.missing for f in findings) else 0


@app.command()
def fetch(
    data: Annotated[Literal["kitti"], typer.Argument(help="Which data set.")],
    root: Annotated[Path, typer.Argument(help="Its root folder.")],
    lists: Annotated[
        Path | None, typer.Option(help="Folder for the split lists, if not ROOT.")
    ] = None,
    base_url: Annotated[
        str, typer.Option(help="Address of the folder that holds them, such as a mirror's.")
    ] = KITTI_LISTS_URL,
    quiet: Quiet = False,
) -> None:
    """Download the benchmark's split lists and check them; images are not fetched."""
    with download_bar(quiet) as bar:
        tasks: dict[str, TaskID] = {}

        def show(name: str, here: int, expected: int | None) -> None:
            if name not in tasks:  # not before something comes: an error is one line
                tasks[name] = bar.add_task(name, total=expected)
            bar.update(tasks[name], completed=here, total=expected)

        paths = fetch_kitti_lists(lists or root, base_url, show)
    if not quiet:
        for path in paths:
            typer.echo(str(path))


def _lines(finding: Finding) -> list[str]:
    if not finding.missing:
        return [f"ok       {finding.what}: {finding.expected}"]
    examples = [f"         for instance {example}" for example in finding.examples]
    return [
        f"MISSING  {finding.what}: {finding.missing} of {finding.expected}",
        *examples,
        f"         to do: {finding.advice}",
    ]
