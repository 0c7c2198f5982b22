"""``loc2 demo``: localize the example that comes with the package."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from loc2.cli.explained import Explanation, FigureFormat, Figures, Report
from loc2.cli.localize import deliver
from loc2.cli.options import Device, Quiet, Weights
from loc2.data.pairs import Pair, read_pairs
from loc2.frames import Pose, heading_error_deg
from loc2.localizer import Localizer
from loc2.outputs import output_directory


def bundled_pair() -> Pair:
    """Return the example pair of the package: rendered from a generated scene, truth known."""
    return read_pairs(Path(__file__).parents[1] / "demo" / "pair.csv")[0]


def demo(
    context: typer.Context,
    weights: Weights = None,
    device: Device = None,
    figures: Figures = None,
    figure_format: FigureFormat = "png",
    report: Report = False,
    quiet: Quiet = False,
    output: Annotated[Path, typer.Option(help="Folder for the outputs.")] = Path("demo_output"),
) -> None:
    """Localize the bundled example and compare with the known truth."""
    shown = Explanation.checked(
        output,
        figures,
        figure_format,
        report,
        context.find_root().obj or (),
        {"scene": "the generated scene that comes with the package"},
    )
    with output_directory(output):
        pair = bundled_pair()
        localizer = Localizer.from_pretrained(weights, device)
        answer = localizer.localize(
            pair.ground,
            pair.aerial,
            camera=pair.camera_spec(),
            meters_per_pixel=pair.meters_per_pixel,
            camera_height_m=pair.camera_height_m,
        )
        truth = Pose(pair.east_m, pair.north_m, pair.heading_deg % 360.0)
        deliver(answer, output, as_json=False, quiet=quiet, explanation=shown, truth=truth)
    if not quiet:
        error_m = math.hypot(answer.pose.east_m - truth.east_m, answer.pose.north_m - truth.north_m)
        error_deg = heading_error_deg(answer.pose.heading_deg, truth.heading_deg)
        typer.echo(
            f"truth: {pair.east_m:+.2f} m east, {pair.north_m:+.2f} m north, heading "
            f"{pair.heading_deg:.1f}°; error {error_m:.2f} m, {error_deg:.1f}°"
        )
