"""``loc2 localize``: one ground image in one aerial image."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, cast, get_args

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from loc2.cameras import DepthKind
from loc2.cli.explained import Explanation, FigureFormat, Figures, Report
from loc2.cli.geo_options import (
    AerialCenter,
    AerialCrs,
    Around,
    Attribution,
    Bands,
    Formats,
    IgnoreMetadata,
    Offline,
    OverlayGeotiff,
    Radius,
    TileCacheFolder,
    TileSize,
    WriteExif,
    Zoom,
    parse_bands,
    parse_lat_lon,
)
from loc2.cli.located import OutputFiles, located_rows, show_pieces
from loc2.cli.options import Device, Quiet, Seed, Weights
from loc2.cli.progress import progress_bar
from loc2.depth import DepthUnit
from loc2.errors import InputError
from loc2.frames import Pose
from loc2.geo.locate import locate
from loc2.geo.opening import AerialOptions, open_aerial
from loc2.inputs import CameraSpec, read_camera_file
from loc2.inputs.camera_files import validation_line
from loc2.inputs.metadata import PhotoMetadata
from loc2.inputs.photo_priors import photo_priors
from loc2.localization import Localization
from loc2.localizer import HeadingPrior, Localizer, PositionPrior
from loc2.outputs import ensure_directory, pose_record, position_sigma_m, write_json


def localize(
    context: typer.Context,
    ground: Annotated[Path, typer.Argument(help="Ground photo or panorama.")],
    aerial: Annotated[
        str,
        typer.Option(
            help="Aerial image (north up), GeoTIFF, folder of rasters, .mbtiles, .pmtiles, or a "
            "tile address with {z}, {x} and {y}."
        ),
    ],
    meters_per_pixel: Annotated[
        float | None, typer.Option(help="Ground sampling distance of the aerial image, metres.")
    ] = None,
    panorama: Annotated[
        bool, typer.Option("--panorama", help="The ground image is an equirectangular panorama.")
    ] = False,
    elevation_top: Annotated[
        float | None, typer.Option(help="Elevation of the panorama's upper edge, degrees.")
    ] = None,
    elevation_bottom: Annotated[
        float | None, typer.Option(help="Elevation of the panorama's lower edge, degrees.")
    ] = None,
    hfov: Annotated[
        float | None, typer.Option(help="Horizontal field of view of a photo, degrees.")
    ] = None,
    camera: Annotated[Path | None, typer.Option(help="Camera file (JSON).")] = None,
    camera_height: Annotated[
        float | None, typer.Option(help="Height of the camera above the ground, metres.")
    ] = None,
    roll: Annotated[
        float | None, typer.Option(help="Positive: the right side is lower, degrees.")
    ] = None,
    pitch: Annotated[float | None, typer.Option(help="Positive: looks up, degrees.")] = None,
    heading_prior: Annotated[
        float | None, typer.Option(help="Expected heading, degrees clockwise from image up.")
    ] = None,
    heading_range: Annotated[
        float | None, typer.Option(help="Half-width of the heading prior, degrees.")
    ] = None,
    position_prior: Annotated[
        str | None, typer.Option(help="EAST,NORTH in metres from the aerial image's centre.")
    ] = None,
    position_radius: Annotated[
        float | None, typer.Option(help="Radius of the position prior, metres.")
    ] = None,
    depth: Annotated[str, typer.Option(help="Depth model's name, or a depth file.")] = "default",
    depth_unit: Annotated[
        str | None, typer.Option(help="Unit of a depth file: m, cm, mm, m/256, relative.")
    ] = None,
    depth_kind: Annotated[
        str | None, typer.Option(help="Kind of a depth file: range or z.")
    ] = None,
    around: Around = None,
    radius: Radius = None,
    aerial_crs: AerialCrs = None,
    aerial_center: AerialCenter = None,
    bands: Bands = None,
    zoom: Zoom = None,
    tile_size: TileSize = 256,
    attribution: Attribution = None,
    tile_cache: TileCacheFolder = None,
    offline: Offline = False,
    ignore_metadata: IgnoreMetadata = False,
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
    spec = camera_options(
        camera, panorama, elevation_top, elevation_bottom, hfov, roll, pitch, camera_height
    )
    heading = _heading_prior(heading_prior, heading_range)
    position = _position_prior(position_prior, position_radius)
    unit = _choice("--depth-unit", depth_unit, get_args(DepthUnit))
    kind = _choice("--depth-kind", depth_kind, get_args(DepthKind))
    files = OutputFiles.checked(output, formats, write_exif, overlay_geotiff)
    shown = Explanation.checked(
        output,
        figures,
        figure_format,
        report,
        context.find_root().obj or (),
        {"ground file": ground, "aerial source": aerial},
    )
    options = AerialOptions(
        meters_per_pixel=meters_per_pixel,
        center=parse_lat_lon("--aerial-center", aerial_center),
        crs=aerial_crs,
        bands=parse_bands(bands),
        zoom=zoom,
        tile_px=tile_size,
        attribution=attribution,
        cache_dir=tile_cache,
        offline=offline,
    )
    place = parse_lat_lon("--around", around)
    priors = _given(spec, heading, place)
    if not ignore_metadata:
        priors = photo_priors(ground, priors)
    source = open_aerial(aerial, options)
    files.check(source.georeferenced, ground)
    if output is not None:
        ensure_directory(output)
    localizer = Localizer.from_pretrained(weights, device)
    with progress_bar(quiet) as bar:
        located = locate(
            localizer,
            ground,
            source,
            priors=priors,
            around=place,
            radius_m=radius,
            heading_prior=heading,
            position_prior=position,
            progress=lambda done, total: show_pieces(bar, done, total),
            depth=depth,
            depth_unit=cast("DepthUnit | None", unit),
            depth_kind=cast("DepthKind | None", kind),
            seed=seed,
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


def _given(
    spec: CameraSpec, heading: HeadingPrior | None, place: tuple[float, float] | None
) -> PhotoMetadata:
    """Return what the options say, for the order of priors."""
    known = {"camera": spec.model_fields_set, "heading": heading, "position": place}
    return PhotoMetadata(
        latitude_deg=None if place is None else place[0],
        longitude_deg=None if place is None else place[1],
        heading_true_deg=None if heading is None else heading.center_deg % 360.0,
        heading_error_deg=None if heading is None else heading.range_deg,
        camera=spec if spec.model_fields_set else None,
        origins=tuple((what, "given") for what, value in known.items() if value),
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
        console.print(f"wrote {file}", highlight=False, soft_wrap=True)


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
        table.add_row(f"[bold]{name}[/bold]", value)
    return table


def camera_options(
    camera: Path | None,
    panorama: bool,
    elevation_top: float | None,
    elevation_bottom: float | None,
    hfov: float | None,
    roll: float | None,
    pitch: float | None,
    camera_height: float | None,
) -> CameraSpec:
    """Return what the options say of a camera.

    Raises:
        InputError: options contradict each other or the camera file.
    """
    if panorama and hfov is not None:
        raise InputError("--panorama and --hfov contradict each other; give one")
    if (elevation_top is None) != (elevation_bottom is None):
        raise InputError("--elevation-top and --elevation-bottom belong together; give both")
    given: dict[str, object] = {
        "projection": "equirectangular" if panorama else None,
        "elevation_top_deg": elevation_top,
        "elevation_bottom_deg": elevation_bottom,
        "hfov_deg": hfov,
        "roll_deg": roll,
        "pitch_deg": pitch,
        "camera_height_m": camera_height,
    }
    given = {name: value for name, value in given.items() if value is not None}
    if camera is not None:
        projecting = given.keys() - {"roll_deg", "pitch_deg", "camera_height_m"}
        if projecting:
            raise InputError("--camera already describes the projection; leave the options out")
        known = read_camera_file(camera).model_dump(exclude_unset=True)
        doubled = sorted(known.keys() & given.keys())
        if doubled:
            raise InputError(f"{doubled[0]} is given both by option and in {camera}")
        given = {**known, **given}
    return _checked_spec(given)


def _checked_spec(fields: dict[str, object]) -> CameraSpec:
    try:
        return CameraSpec.model_validate(fields)
    except ValidationError as error:
        raise InputError(f"camera: {validation_line(error)}") from error


def _heading_prior(center: float | None, half_width: float | None) -> HeadingPrior | None:
    if center is None and half_width is None:
        return None
    if center is None or half_width is None:
        raise InputError("--heading-prior and --heading-range belong together; give both")
    return HeadingPrior(center, half_width)


def _position_prior(center: str | None, radius: float | None) -> PositionPrior | None:
    if center is None and radius is None:
        return None
    if center is None or radius is None:
        raise InputError("--position-prior and --position-radius belong together; give both")
    try:
        east, north = (float(part) for part in center.split(","))
    except ValueError as error:
        raise InputError(f"--position-prior: EAST,NORTH expected, got {center!r}") from error
    return PositionPrior(east, north, radius)


def _choice(option: str, value: str | None, allowed: tuple[str, ...]) -> str | None:
    if value is not None and value not in allowed:
        raise InputError(f"{option}: one of {', '.join(allowed)}, not {value!r}")
    return value
