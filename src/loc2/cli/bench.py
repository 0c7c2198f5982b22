"""``loc2 bench``: time and peak memory of each stage."""

from __future__ import annotations

import statistics
import sys
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table

from loc2.cli.demo import bundled_pair
from loc2.cli.options import Device, Weights
from loc2.errors import InputError
from loc2.inputs.camera_files import combined_camera
from loc2.localizer import Localizer
from loc2.outputs import output_file, write_json
from loc2.processor import processor_name


def bench(
    ground: Annotated[
        Path | None, typer.Argument(help="Ground image; the bundled pair by default.")
    ] = None,
    aerial: Annotated[Path | None, typer.Option(help="Aerial image.")] = None,
    meters_per_pixel: Annotated[float | None, typer.Option(help="Of the aerial image.")] = None,
    hfov: Annotated[float | None, typer.Option(help="Field of view of a photo, degrees.")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Timed runs after a first one.")] = 5,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of PyTorch.")] = None,
    weights: Weights = None,
    device: Device = None,
    output: Annotated[Path | None, typer.Option(help="Results file (JSON).")] = None,
) -> None:
    """Measure the time and the peak memory of each stage."""
    if threads is not None:
        torch.set_num_threads(threads)
    spec, height_m = combined_camera(None, {"hfov_deg": hfov}), None
    if ground is None:
        if aerial is not None or meters_per_pixel is not None or hfov is not None:
            raise InputError("give the ground image too, or nothing for the bundled pair")
        pair = bundled_pair()
        ground, aerial, meters_per_pixel = pair.ground, pair.aerial, pair.meters_per_pixel
        spec, height_m = pair.camera_spec(), pair.camera_height_m
    if aerial is None:
        raise InputError("--aerial is missing")
    with output_file(output):
        localizer = Localizer.from_pretrained(weights, device)
        runs: list[dict[str, float]] = []
        for _ in range(repeats + 1):
            answer = localizer.localize(
                ground,
                aerial,
                camera=spec,
                meters_per_pixel=meters_per_pixel,
                camera_height_m=height_m,
            )
            runs.append({**answer.timings_s, "total": sum(answer.timings_s.values())})
        stages = {name: statistics.median(run[name] for run in runs[1:]) for name in runs[0]}
        peak_mb = _peak_mb()
        used = torch.get_num_threads()
        machine = f"{processor_name()}, {used} threads, torch {torch.__version__}"
        table = Table(title=f"median of {repeats} runs; {machine}")
        table.add_column("stage")
        table.add_column("seconds", justify="right")
        for name, seconds in stages.items():
            table.add_row(name, f"{seconds:.3f}")
        table.add_row("peak memory", "unknown" if peak_mb is None else f"{peak_mb:.0f} MB")
        Console().print(table)
        if output is not None:
            peak = None if peak_mb is None else round(peak_mb)
            write_json(output, {"machine": machine, "median_s": stages, "peak_memory_mb": peak})


def _peak_mb() -> float | None:
    """Return the most memory that this process has held; None where the system does not say."""
    if sys.platform == "win32":
        return None
    import resource

    # In kilobytes on Linux and in bytes on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
