"""``loc2 scenes render``: pairs from a textured mesh of a real place."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.progress import Progress

from loc2.errors import InputError


def render(
    mesh: Annotated[Path, typer.Argument(help="OBJ file, or a folder of OBJ tiles (metres).")],
    output: Annotated[Path, typer.Option(help="Folder for the pairs; an earlier run resumes.")],
    count: Annotated[int, typer.Option(min=1, help="How many places.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Names the list of places.")] = 0,
    split: Annotated[
        Literal["all", "low", "high"],
        typer.Option(help="Part of the mesh: south or north of the line; no shared aerial pixel."),
    ] = "all",
    split_north: Annotated[
        float, typer.Option(help="North coordinate of that line, metres.")
    ] = 1640.0,
    pinhole: Annotated[
        list[float] | None,
        typer.Option(metavar="HFOV", help="Also a pinhole view of this angle, degrees; repeat."),
    ] = None,
    panorama: Annotated[bool, typer.Option(help="Panoramas at all.")] = True,
    window: Annotated[
        tuple[float, float], typer.Option(help="Smallest and largest width of orthophotos, metres.")
    ] = (60.0, 75.0),
    offset: Annotated[
        float, typer.Option(help="Farthest that the camera is off their centre, metres.")
    ] = 22.0,
) -> None:
    """Render street views and orthophotos of a textured mesh, with depth and pose."""
    try:
        from loc2.scenes.manifest import finished_ids, write_pair
        from loc2.scenes.meshpairs import MeshPairOptions, MeshPairs
        from loc2.scenes.obj import read_obj_folder
    except ModuleNotFoundError as error:
        raise InputError(
            f"scenes need the package {error.name}; install with: pip install 'loc2[scenes]'"
        ) from error
    options = MeshPairOptions(
        part=split,
        split_north_m=split_north,
        panorama=panorama,
        pinhole_hfov_deg=tuple(pinhole or ()),
        window_m=window,
        max_offset_m=offset,
    )
    pairs = MeshPairs(read_obj_folder(mesh), mesh.resolve().stem, options)
    finished = finished_ids(output)
    written = 0
    with Progress(transient=True) as progress:
        for index in progress.track(range(count), description="places"):
            if finished.issuperset(pairs.ids(index, seed)):
                continue
            for pair in pairs.make(index, seed):
                if pair.id not in finished:
                    write_pair(output, pair)
                    written += 1
    typer.echo(f"{written} pairs written, manifest {output / 'pairs.csv'}")
