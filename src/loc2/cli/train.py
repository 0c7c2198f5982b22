"""``loc2 train``: learn weights from generated scenes, your own pairs, VIGOR or KITTI."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from loc2.cli.options import Device, Quiet


def train(
    kind: Annotated[str, typer.Argument(help="What to learn from: scenes, pairs, vigor or kitti.")],
    output: Annotated[
        Path, typer.Option(help="Folder of the run; a run that stopped there goes on.")
    ],
    config: Annotated[
        Path | None, typer.Option(help="Configuration (TOML); the defaults if left out.")
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a value: optim.epochs=20. May be repeated."),
    ] = None,
    prepare: Annotated[
        bool, typer.Option("--prepare", help="Only compute the feature caches.")
    ] = False,
    device: Device = None,
    quiet: Quiet = False,
) -> None:
    """Train on pairs with known poses, and keep the best weights."""
    # Imported here: `loc2 --help` should not wait for it.
    from loc2.training.config import load_config
    from loc2.training.run import prepare_caches, train_from_config

    settings = load_config(config, assignments or [])
    console = Console(stderr=True)
    with _bar(console, quiet) as bar:
        view = _View(bar, console, quiet)
        if prepare:
            prepare_caches(kind, settings, output, device or "cpu", view.progress)
            return
        trainer = train_from_config(
            kind, settings, output, device or "cpu", view.report, view.progress
        )
    if not quiet:
        state = trainer.state
        console.print(
            f"{state.step} steps, {state.samples} samples; best validation score "
            f"{state.best_score:.3f} at step {state.best_step}; weights in {trainer.best_path}",
            markup=False,
        )
        for name, reason in list(state.failed.items())[:10]:
            console.print(f"left out: {name}: {reason}", markup=False)


def _bar(console: Console, quiet: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=quiet,
    )


class _View:
    """Turns records of the log into a progress bar and lines."""

    def __init__(self, bar: Progress, console: Console, quiet: bool) -> None:
        self.bar = bar
        self.console = console
        self.quiet = quiet
        self.tasks: dict[str, Any] = {}

    def progress(self, what: str, done: int, total: int) -> None:
        """Show how far a stage is."""
        if what not in self.tasks:
            self.tasks[what] = self.bar.add_task(what, total=total)
        self.bar.update(self.tasks[what], completed=done)

    def report(self, record: dict[str, Any]) -> None:
        """Show a step or a validation."""
        if self.quiet:
            return
        if "validation" in record:
            depth = record.get("depth_log_error")
            self.console.print(
                f"step {record['step']:6d}  {record['validation']} ({record['lift']} depth): "
                f"score {record['score']:.3f}, within 2 m and 5 deg {record['share_2m_5deg']:.2f}, "
                f"median {record['position_median_m']:.2f} m {record['heading_median_deg']:.1f} "
                f"deg, flips {record['flip_rate']:.2f}"
                + ("" if depth is None else f", log depth error {depth:.3f}"),
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
            return
        names = ("loss", "correspondence", "voting", "depth", "pose_accuracy")
        shown = "  ".join(f"{n} {record[n]:.3f}" for n in names if n in record)
        self.progress("training", record["step"], record["total_steps"])
        self.console.print(
            f"step {record['step']:6d}  {shown}  left {record['seconds_left'] / 60:.1f} min",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
