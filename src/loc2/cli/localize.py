"""``loc2 localize``: one ground image in one aerial image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, cast, get_args

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from loc2.cameras import DepthKind
from loc2.cli.options import Device, Quiet, Seed, Weights
from loc2.depth import DepthUnit
from loc2.errors import InputError
from loc2.inputs import CameraSpec, read_camera_file
from loc2.inputs.camera_files import validation_line
from loc2.localization import Localization
from loc2.localizer import HeadingPrior, Localizer, PositionPrior
from loc2.outputs import ensure_directory, pose_record, position_sigma_m, write_json
from loc2.report import save_figures

LOW_CONFIDENCE = 0.5
"""Below this the answer is called unsure."""


def localize(
    ground: Annotated[Path, typer.Argument(help="Ground photo or panorama.")],
    aerial: Annotated[Path, typer.Option(help="Aerial image, north up.")],
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
    spec = _camera_spec(
        camera, panorama, elevation_top, elevation_bottom, hfov, roll, pitch, camera_height
    )
    heading = _heading_prior(heading_prior, heading_range)
    position = _position_prior(position_prior, position_radius)
    unit = _choice("--depth-unit", depth_unit, get_args(DepthUnit))
    kind = _choice("--depth-kind", depth_kind, get_args(DepthKind))
    if output is not None:
        ensure_directory(output)
    localizer = Localizer.from_pretrained(weights, device)
    answer = localizer.localize(
        ground,
        aerial,
        camera=spec,
        meters_per_pixel=meters_per_pixel,
        heading_prior=heading,
        position_prior=position,
        depth=depth,
        depth_unit=cast("DepthUnit | None", unit),
        depth_kind=cast("DepthKind | None", kind),
        seed=seed,
    )
    deliver(answer, output, as_json=as_json, quiet=quiet)


def deliver(answer: Localization, output: Path | None, *, as_json: bool, quiet: bool) -> None:
    """Print an answer and write its files.

    Args:
        answer: what was found.
        output: folder for ``pose.json`` and figures; None for no files.
        as_json: print the content of ``pose.json`` instead of a table.
        quiet: print nothing.

    Raises:
        OutputError: the folder or a file cannot be written.
    """
    record = pose_record(answer)
    files: list[Path] = []
    if output is not None:
        files = save_figures(answer, output, ("matches", "overlay"), "png")
        write_json(output / "pose.json", record)
        files.append(output / "pose.json")
    if quiet:
        return
    if as_json:
        typer.echo(json.dumps(record, indent=2))
        return
    console = Console()
    console.print(_table(answer))
    if answer.confidence < LOW_CONFIDENCE:
        console.print(
            f"[yellow]Low confidence ({answer.confidence:.2f}): do not rely on this answer. "
            "A heading or position prior, or a smaller aerial window, may help.[/yellow]"
        )
    for file in files:
        console.print(f"wrote {file}", highlight=False, soft_wrap=True)


def _table(answer: Localization) -> Table:
    pose, record = answer.pose, pose_record(answer)
    heading_sigma_deg = max(float(answer.covariance[2, 2]), 0.0) ** 0.5
    table = Table(show_header=False, box=None)
    rows = [
        ("position", f"{pose.east_m:+.2f} m east, {pose.north_m:+.2f} m north of the centre"),
        ("in the image", f"u {record['u_px']:.1f} px, v {record['v_px']:.1f} px"),
        ("heading", f"{pose.heading_deg:.1f}° clockwise from image up"),
        ("spread", f"{position_sigma_m(answer):.2f} m, {heading_sigma_deg:.1f}° (one sigma)"),
        ("depth scale", f"{pose.scale:.3f} ({answer.depth.source} depth)"),
        ("confidence", f"{answer.confidence:.2f} (within 5 m and 10°)"),
        ("hypotheses", ", ".join(f"{h.mass:.2f}" for h in answer.hypotheses[:5])),
        ("time", ", ".join(f"{k} {v:.2f} s" for k, v in answer.timings_s.items())),
    ]
    for name, value in rows:
        table.add_row(f"[bold]{name}[/bold]", value)
    return table


def _camera_spec(
    camera: Path | None,
    panorama: bool,
    elevation_top: float | None,
    elevation_bottom: float | None,
    hfov: float | None,
    roll: float | None,
    pitch: float | None,
    camera_height: float | None,
) -> CameraSpec:
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
