"""``loc2 eval scenes``: measure localization on generated scenes."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from loc2.cli.eval_pairs import report_results
from loc2.cli.eval_report import ReportFolder, write_evaluation
from loc2.cli.options import Device, Quiet, Weights
from loc2.cli.progress import run_with_progress
from loc2.cli.scenes import Styles, Textures, scene_options
from loc2.errors import InputError
from loc2.evaluation.pairs import Protocol, evaluate_samples, localize_again
from loc2.localizer import Localizer
from loc2.outputs import output_directory, output_file

HELD_OUT_SEED = 900_000_000
"""Seeds from here on are kept for evaluation; training uses lower ones."""
_MARGIN = 0.02  # of images over what windows need


def eval_scenes(
    context: typer.Context,
    count: Annotated[int, typer.Option(min=1, help="Number of scenes.")] = 64,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first scene.")] = HELD_OUT_SEED,
    heading_range: Annotated[
        float, typer.Option(help="Random turn and prior, half-width, degrees; 180: no prior.")
    ] = 180.0,
    window: Annotated[float, typer.Option(help="Side of the aerial window, metres.")] = 60.0,
    shift_range: Annotated[
        float, typer.Option(help="Random offset of the window, half-width on each axis, metres.")
    ] = 10.0,
    pinhole: Annotated[bool, typer.Option("--pinhole", help="Perspective photos only.")] = False,
    exact_depth: Annotated[
        bool, typer.Option("--exact-depth", help="Give the scenes' exact depth.")
    ] = False,
    textures: Textures = None,
    styles: Styles = None,
    weights: Weights = None,
    device: Device = None,
    quiet: Quiet = False,
    output: Annotated[Path | None, typer.Option(help="Results file (JSON).")] = None,
    report: ReportFolder = None,
) -> None:
    """Measure localization on generated scenes that training has not seen."""
    from loc2.evaluation.scenes import scene_sources

    protocol = Protocol(heading_range, window, shift_range)
    if shift_range > window / math.sqrt(8):  # turned windows have the offset along a diagonal
        raise InputError(
            f"--shift-range {shift_range:g}: at most {window / math.sqrt(8):.1f} m in windows of "
            f"{window:g} m; otherwise the camera may lie outside"
        )
    options = scene_options(textures, styles, 1.0 if pinhole else 0.0)
    # The camera stands in the middle, so that the window's offset is all that is unknown; the image
    # must hold the window wherever and however turned it is cut.
    least = (math.sqrt(2) * window + 2 * shift_range) * (1 + _MARGIN) / options.aerial_size
    options = replace(options, meters_per_pixel=(least, 1.25 * least), max_offset=0.0)
    with output_directory(report), output_file(output):
        localizer = Localizer.from_pretrained(weights, device)
        sources = scene_sources(seed, count, options, exact_depth)
        results = run_with_progress(
            "scenes",
            len(sources),
            quiet,
            lambda told: evaluate_samples(localizer, sources, protocol, told),
        )
        results["config"] |= {
            "data": "generated scenes",
            "first_seed": seed,
            "count": count,
            "styles": list(options.styles),
            "textures": None if textures is None else textures.name,
            "pinhole": pinhole,
            "exact_depth": exact_depth,
        }
        report_results(results, output, quiet)
        by_id = {source.id: source for source in sources}
        write_evaluation(
            context,
            report,
            results,
            lambda case: localize_again(localizer, by_id[case.id], protocol, case.seed or 0),
            quiet,
        )
