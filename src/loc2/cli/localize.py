"""``loc2 localize``: one ground image in one aerial image."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from loc2.cameras import DepthKind
from loc2.cli.explained import Explanation, FigureFormat, Figures, Report
from loc2.cli.geo_options import (
    Around,
    Formats,
    ImageryOptions,
    MetersPerPixel,
    OverlayGeotiff,
    WriteExif,
    parse_lat_lon,
)
from loc2.cli.located import OutputFiles, located_rows, show_pieces
from loc2.cli.options import Device, Quiet, Seed, Weights
from loc2.cli.photo_options import CameraOptions
from loc2.cli.progress import progress_bar
from loc2.cli.spread import spread
from loc2.depth import DepthUnit
from loc2.errors import InputError
from loc2.frames import Pose
from loc2.geo.locate import locate
from loc2.geo.opening import open_aerial
from loc2.localization import Localization
from loc2.localizer import Localizer
from loc2.outputs import output_directory, pose_record, position_sigma_m, write_json
from loc2.request import PhotoRequest


@spread
def localize(
    *,
    context: typer.Context,
    ground: Annotated[Path, typer.Argument(help="Ground photo or panorama.")],
    aerial: Annotated[
        str,
        typer.Option(
            help="Aerial image (north up), GeoTIFF, folder of rasters, .mbtiles, .pmtiles, or a "
            "tile address with {z}, {x} and {y}."
        ),
    ],
    meters_per_pixel: MetersPerPixel = None,
    photo: CameraOptions,
    heading_prior: Annotated[
        float | None, typer.Option(help="Expected heading, degrees clockwise from image up.")
    ] = None,
    heading_range: Annotated[
        float | None, typer.Option(help="Half-width of the heading prior, degrees.")
    ] = None,
    position_prior: Annotated[
        str | None,
        typer.Option(
            help="EAST,NORTH in metres from the aerial image's centre; by default the camera is "
            "expected about the centre."
        ),
    ] = None,
    position_radius: Annotated[
        float | None,
        typer.Option(help="Radius of the position prior, metres; inf: anywhere alike."),
    ] = None,
    depth: Annotated[
        str,
        typer.Option(help="default, own, ground, flat, another depth model or a depth file."),
    ] = "default",
    depth_unit: Annotated[
        str | None, typer.Option(help="Unit of a depth file: m, cm, mm, m/256, relative.")
    ] = None,
    depth_kind: Annotated[
        str | None, typer.Option(help="Kind of a depth file: range or z.")
    ] = None,
    around: Around = None,
    imagery: ImageryOptions,
    figures: Figures = None,
    figure_format: FigureFormat = "png",
    report: Report = False,
    formats: Formats = None,
    write_exif: WriteExif = False,
    overlay_geotiff: OverlayGeotiff = False,
    weights: Weights = None,
    device: Device = None,
    seed: Seed = 0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print pose.json instead of a table.")
    ] = False,
    quiet: Quiet = False,
    output: Annotated[Path | None, typer.Option(help="Folder for pose.json and figures.")] = None,
) -> None:
    """Find the position and heading of a ground image in an aerial image."""
    files = OutputFiles.checked(output, formats, write_exif, overlay_geotiff)
    shown = Explanation.checked(
        output,
        figures,
        figure_format,
        report,
        context.find_root().obj or (),
        {"ground file": ground, "aerial source": aerial},
    )
    latitude, longitude = parse_lat_lon("--around", around) or (None, None)
    prior_east, prior_north = _east_north(position_prior)
    if (position_prior is None) != (position_radius is None):
        raise InputError("--position-prior and --position-radius belong together; give both")
    request = PhotoRequest.checked(
        {
            "ground": ground,
            "aerial": aerial,
            "meters_per_pixel": meters_per_pixel,
            **photo.fields(),
            "heading_prior_deg": heading_prior,
            "heading_range_deg": heading_range,
            "prior_east_m": prior_east,
            "prior_north_m": prior_north,
            "prior_radius_m": position_radius,
            "depth": depth,
            "depth_unit": _choice("--depth-unit", depth_unit, get_args(DepthUnit)),
            "depth_kind": _choice("--depth-kind", depth_kind, get_args(DepthKind)),
            "latitude_deg": latitude,
            "longitude_deg": longitude,
            **imagery.fields(),
            "seed": seed,
        }
    )
    search = request.search_options()
    source = open_aerial(aerial, request.aerial_options())
    files.check(source.georeferenced, ground)
    with output_directory(output):
        localizer = Localizer.from_pretrained(weights, device)
        with progress_bar(quiet) as bar:
            located = locate(
                localizer,
                ground,
                source,
                **search,
                progress=lambda done, total: show_pieces(bar, done, total),
                **request.depth_options(),
            )
        written = files.write(located, ground)
        if not quiet:
            for line in located.priors.warnings:
                typer.echo(f"warning: {line}", err=True)
        deliver(
            located.localization,
            output,
            as_json=as_json,
            quiet=quiet,
            record=located.record(),
            rows=located_rows(located),
            files=written,
            explanation=shown,
        )


def deliver(
    answer: Localization,
    output: Path | None,
    *,
    as_json: bool,
    quiet: bool,
    record: dict[str, Any] | None = None,
    rows: Sequence[tuple[str, str]] = (),
    files: Sequence[Path] = (),
    explanation: Explanation | None = None,
    truth: Pose | None = None,
) -> None:
    """Print an answer and write its files.

    Args:
        answer: what was found.
        output: folder for ``pose.json`` and figures; None for no files.
        as_json: print the content of ``pose.json`` instead of a table.
        quiet: print nothing.
        record: content of ``pose.json``; by default that of the answer alone.
        rows: further lines of the table.
        files: files already written, to be named.
        explanation: which figures are written, and whether the report.
        truth: the true pose where it is known, for the report.

    Raises:
        OutputError: the folder or a file cannot be written.
    """
    record = pose_record(answer) if record is None else record
    written = list(files)
    if output is not None:
        shown = explanation or Explanation()
        written += shown.write(answer, output, rows=rows, truth=truth)
        write_json(output / "pose.json", record)
        written.append(output / "pose.json")
    if quiet:
        return
    if as_json:
        typer.echo(json.dumps(record, indent=2))
        return
    console = Console()
    console.print(_table(answer, record, rows))
    if answer.abstains:
        console.print(
            f"[yellow]Low confidence ({answer.confidence:.2f}): do not rely on this answer. "
            "A heading or position prior, or a smaller aerial window, may help.[/yellow]"
        )
    for file in written:
        console.print(f"wrote {file}", markup=False, highlight=False, soft_wrap=True)


def _table(
    answer: Localization, record: dict[str, Any], further: Sequence[tuple[str, str]]
) -> Table:
    pose = answer.pose
    heading_sigma_deg = max(float(answer.covariance[2, 2]), 0.0) ** 0.5
    table = Table(show_header=False, box=None)
    rows = [
        (
            "position",
            f"{record['east_m']:+.2f} m east, {record['north_m']:+.2f} m north of the centre",
        ),
        ("in the image", f"u {record['u_px']:.1f} px, v {record['v_px']:.1f} px"),
        ("heading", f"{pose.heading_deg:.1f}° clockwise from image up"),
        ("spread", f"{position_sigma_m(answer):.2f} m, {heading_sigma_deg:.1f}° (one sigma)"),
        ("depth scale", f"{pose.scale:.3f} ({answer.depth.source} depth)"),
        ("confidence", f"{answer.confidence:.2f} (within 5 m and 10°)"),
        ("90 % radius", "unknown" if answer.radius_90_m is None else f"{answer.radius_90_m:.1f} m"),
        ("hypotheses", ", ".join(f"{h.mass:.2f}" for h in answer.hypotheses[:5])),
        ("time", ", ".join(f"{k} {v:.2f} s" for k, v in answer.timings_s.items())),
    ]
    rows[3:3] = further
    for name, value in rows:
        table.add_row(f"[bold]{name}[/bold]", escape(value))
    return table


def _east_north(text: str | None) -> tuple[float | None, float | None]:
    if text is None:
        return None, None
    try:
        east_m, north_m = (float(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"--position-prior: EAST,NORTH expected, got {text!r}") from error
    return east_m, north_m


def _choice(option: str, value: str | None, allowed: tuple[str, ...]) -> str | None:
    if value is not None and value not in allowed:
        raise InputError(f"{option}: one of {', '.join(allowed)}, not {value!r}")
    return value
