"""``loc2 scenes``: generate streets with exact truth."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress

from loc2.cli.scenes_render import render
from loc2.errors import InputError
from loc2.outputs import atomic_path

if TYPE_CHECKING:
    from loc2.scenes.pairs import SceneOptions

app = typer.Typer(help="Generate scenes: street photos and orthophotos with exact truth.",
                  no_args_is_help=True)  # fmt: skip

Textures = Annotated[
    Path | None, typer.Option(help="Folder of photographic textures, one sub-folder a class.")
]
Styles = Annotated[
    str | None, typer.Option("--styles", help="Styles to draw from, separated by commas.")
]


@app.callback()
def _group() -> None:
    """Keep commands apart."""


app.command()(render)


@app.command()
def make(
    count: Annotated[int, typer.Argument(min=1, help="How many pairs.")],
    output: Annotated[Path, typer.Option(help="Folder for the pairs; an earlier run resumes.")],
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first pair; others follow.")] = 0,
    pinhole: Annotated[bool, typer.Option("--pinhole", help="Perspective photos only.")] = False,
    textures: Textures = None,
    styles: Styles = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes; all cores by default.")] = (
        os.cpu_count() or 1
    ),
) -> None:
    """Write pairs: images, depth, classes and a manifest for `loc2 eval pairs`."""
    from loc2.scenes.dataset import SceneDataset, make_scenes

    dataset = SceneDataset(seed, count, scene_options(textures, styles, 1.0 if pinhole else 0.0))
    with Progress(transient=True) as progress:
        task = progress.add_task("scenes", total=count)
        for done, _ in make_scenes(dataset, output, workers):
            progress.update(task, completed=done)
    typer.echo(f"{count} pairs in {output / 'pairs.csv'}")


@app.command()
def sheet(
    output: Annotated[Path, typer.Option(help="Image file to write.")],
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first pair.")] = 0,
    count: Annotated[int, typer.Option(min=1, help="How many pairs.")] = 24,
    pinhole: Annotated[bool, typer.Option("--pinhole", help="Perspective photos only.")] = False,
    textures: Textures = None,
    styles: Styles = None,
) -> None:
    """Draw a contact sheet of pairs, the camera marked in each orthophoto."""
    from loc2.scenes.sheet import contact_sheet

    options = scene_options(textures, styles, 1.0 if pinhole else 0.0)
    if output.suffix.lower() not in (".jpg", ".jpeg", ".png"):
        raise InputError(f"{output}: a sheet is written as .jpg or .png")
    image = None
    with Progress(transient=True) as progress:
        seeds = list(range(seed, seed + count))
        for drawn in progress.track(contact_sheet(seeds, options), total=count):
            image = drawn
    assert image is not None
    with atomic_path(output) as temporary:
        image.save(temporary)
    typer.echo(str(output))


def scene_options(textures: Path | None, styles: str | None, pinhole_share: float) -> SceneOptions:
    """Return what the options of the command line ask for.

    Raises:
        InputError: a package for scenes is missing, or a style is unknown.
    """
    try:
        from loc2.scenes.pairs import SceneOptions
    except ModuleNotFoundError as error:
        raise InputError(
            f"scenes need the package {error.name}; install with: pip install 'loc2[scenes]'"
        ) from error
    options = SceneOptions(textures=textures, pinhole_share=pinhole_share)
    if styles is None:
        return options
    return replace(options, styles=tuple(s.strip() for s in styles.split(",")))
