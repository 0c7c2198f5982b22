"""``loc2 data``: look after the benchmarks' files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from loc2.data.check import Finding, check_kitti, check_vigor

MISSING_EXIT = 1

app = typer.Typer(help="Look after data sets.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keep ``check`` a command of its own."""


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


def _lines(finding: Finding) -> list[str]:
    if not finding.missing:
        return [f"ok       {finding.what}: {finding.expected}"]
    examples = [f"         for instance {example}" for example in finding.examples]
    return [
        f"MISSING  {finding.what}: {finding.missing} of {finding.expected}",
        *examples,
        f"         to do: {finding.advice}",
    ]
