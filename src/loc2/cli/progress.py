"""Progress bars of long commands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)


def run_with_progress(
    name: str, total: int, quiet: bool, work: Callable[[Callable[[int], None]], dict[str, Any]]
) -> dict[str, Any]:
    """Run an evaluation under a progress bar.

    Args:
        name: what is counted.
        total: how many there are.
        quiet: show nothing.
        work: the evaluation; it is given a function to call with the number done.
    """
    with progress_bar(quiet) as bar:
        task = bar.add_task(name, total=total)
        return work(lambda done: bar.update(task, completed=done))


def progress_bar(quiet: bool) -> Progress:
    """Build the progress bar of evaluations."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=quiet,
    )


def download_bar(quiet: bool) -> Progress:
    """Build the progress bar of downloads."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=Console(stderr=True),
        disable=quiet,
    )
