"""``loc2 batch``: any number of photos, on one machine or a cluster, nothing lost."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from loc2.batch.join import check_output
from loc2.batch.ledger import Part, Records
from loc2.batch.manifest import Manifest, from_folder, is_address, open_manifest
from loc2.batch.on_ray import run_on_ray
from loc2.batch.processes import run_here, run_processes
from loc2.batch.run import PART_ROWS, Batch, Engine, Summary, run_batch
from loc2.batch.work import Setup
from loc2.cli.geo_options import ImageryOptions, MetersPerPixel
from loc2.cli.options import Device, Quiet, Seed, Weights
from loc2.cli.photo_options import CameraOptions
from loc2.cli.spread import spread
from loc2.errors import InputError
from loc2.geo.opening import open_aerial
from loc2.request import PhotoRequest

SOME_FAILED_EXIT = 3
"""Some photos were localized, some were not."""
NONE_RIGHT_EXIT = 4
"""Every photo failed."""

_RUN = "How it runs"


@spread
def batch(
    *,
    manifest: Annotated[
        Path, typer.Argument(help="CSV file with a column 'ground', or a folder of photos.")
    ],
    output: Annotated[Path, typer.Option(help="Results: .parquet, .csv or .geojson.")],
    aerial: Annotated[
        str | None,
        typer.Option(help="Aerial imagery, as for 'localize', for rows that name none."),
    ] = None,
    meters_per_pixel: MetersPerPixel = None,
    photo: CameraOptions,
    depth: Annotated[str | None, typer.Option(help="Depth model's name.")] = None,
    imagery: ImageryOptions,
    weights: Weights = None,
    device: Device = None,
    seed: Seed = 0,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Worker processes; by default one for each core, or one on a GPU.",
            rich_help_panel=_RUN,
        ),
    ] = None,
    readers: Annotated[
        int,
        typer.Option(min=1, help="Threads that read images, each worker.", rich_help_panel=_RUN),
    ] = 2,
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Images that go through the network together; by default 1 on the CPU, where "
            "more are no faster, and 16 on a GPU.",
            rich_help_panel=_RUN,
        ),
    ] = None,
    cache_mb: Annotated[
        int,
        typer.Option(
            min=0,
            help="Memory for aerial images and their features, each worker, MB.",
            rich_help_panel=_RUN,
        ),
    ] = 1000,
    part_rows: Annotated[
        int,
        typer.Option(
            min=1, help="Photos whose results are written together.", rich_help_panel=_RUN
        ),
    ] = PART_ROWS,
    engine: Annotated[
        Literal["local", "ray"],
        typer.Option(help="Processes of this machine, or a Ray cluster.", rich_help_panel=_RUN),
    ] = "local",
    address: Annotated[
        str | None, typer.Option(help="The Ray cluster's address.", rich_help_panel=_RUN)
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Localize all photos of a manifest or folder; the same command goes on after a kill.

    Exit codes: 0 all photos localized, 3 some failed (their rows say why), 4 all failed, 2 the
    command cannot run as it was given.
    """
    if address is not None and engine != "ray":
        raise InputError("--address belongs to --engine ray")
    check_output(output)
    defaults: dict[str, Any] = {
        "aerial": aerial,
        "meters_per_pixel": meters_per_pixel,
        **photo.fields(),
        "depth": depth,
        **imagery.fields(),
        "seed": seed,
    }
    defaults = {name: value for name, value in defaults.items() if value is not None}
    # The same words in another folder are another job.
    defaults = from_folder(defaults, Path.cwd())
    photos = open_manifest(manifest)
    _check_defaults(photos, defaults)
    if not quiet and photos.unused:
        typer.echo(f"note: columns not used: {', '.join(photos.unused)}", err=True)
    job = Batch(photos, output, defaults, weights, part_rows)
    on_gpu = (device or "cpu") != "cpu"
    count = workers if engine == "ray" else workers or (1 if on_gpu else _cores())
    setup = Setup(
        weights=None if weights is None else weights.resolve(),
        device=device,
        threads=1 if engine == "ray" or count is None else max(1, _cores() // count),
        readers=readers,
        batch_size=batch_size,
        cache_bytes=cache_mb * 1_000_000,
    )
    with _progress_bar(quiet) as bar:

        def show(done: int) -> None:
            if not bar.tasks:  # not before there is something to do, or errors would follow a bar
                bar.add_task("photos", total=photos.rows, completed=done)
            bar.update(bar.tasks[0].id, completed=done)

        summary = run_batch(job, _engine(engine, setup, count, address), show)
    if not quiet:
        _report(summary, output)
    if summary.failed:
        raise typer.Exit(SOME_FAILED_EXIT if summary.ok else NONE_RIGHT_EXIT)


def _check_defaults(photos: Manifest, defaults: dict[str, Any]) -> None:
    """Refuse now what would make every row fail.

    Raises:
        InputError: options contradict each other, or the aerial imagery cannot be opened.
    """
    if photos.path.is_dir() and "aerial" not in defaults:
        raise InputError("a folder of photos needs --aerial")
    request = PhotoRequest.checked({"aerial": "-"} | defaults | {"ground": "-"})
    request.camera_spec()
    options = request.aerial_options()
    aerial = defaults.get("aerial")
    if aerial is None:
        return
    if not is_address(aerial) and not Path(aerial).exists():
        raise InputError(f"--aerial {aerial}: no such file or folder")
    if "meters_per_pixel" in defaults:
        open_aerial(aerial, options)


def _engine(name: str, setup: Setup, workers: int | None, address: str | None) -> Engine:
    if name == "ray":

        def on_ray(
            parts: Iterator[Part], told: Callable[[int], None]
        ) -> Iterator[tuple[int, Records]]:
            return run_on_ray(parts, setup, workers, told, address=address)

        return on_ray
    if workers == 1:
        return lambda parts, told: run_here(parts, setup, told)
    return lambda parts, told: run_processes(parts, setup, workers or 1, told)


def _cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Rate(ProgressColumn):
    """Photos a second."""

    def render(self, task: Task) -> Text:
        """Return the rate, where one is known."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.2f}/s")


def _progress_bar(quiet: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        speed_estimate_period=120.0,
        disable=quiet,
    )


def _report(summary: Summary, output: Path) -> None:
    console = Console()
    done = summary.rows - summary.resumed
    rate = f", {done / summary.seconds:.2f} a second" if done and summary.seconds else ""
    earlier = f", {summary.resumed} of them by earlier runs" if summary.resumed else ""
    console.print(
        f"{summary.rows} photos{earlier}: {summary.ok} localized, {summary.failed} failed{rate}",
        highlight=False,
    )
    console.print(f"wrote {output}", markup=False, highlight=False, soft_wrap=True)
