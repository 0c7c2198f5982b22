"""``loc2 weights``: import released checkpoints; list, describe and fetch weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from loc2.cli.options import Quiet
from loc2.cli.progress import download_bar
from loc2.errors import WeightsError
from loc2.hub import REGISTRY, WeightsEntry, fetch, find_backbone, find_entry, sha256_of
from loc2.published.checkpoint import LICENCE_NOTE, import_checkpoint
from loc2.published.model import read_metadata

app = typer.Typer(help="Import, list, describe and fetch weights.", no_args_is_help=True)


@app.command("import")
def import_(
    checkpoint: Annotated[Path, typer.Argument(help="Released checkpoint, model.pt.")],
    data: Annotated[
        Literal["vigor", "kitti"], typer.Option("--as", help="What it was trained on.")
    ],
    output: Annotated[Path, typer.Option(help="File to write, .safetensors.")],
    backbone: Annotated[
        str | None,
        typer.Option(
            help="Backbone to put into the file: a file, a name ('loc2 weights list') or a Hugging "
            "Face id. Without it DINOv2 ViT-L/14 is looked for when the file is loaded."
        ),
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(help="Temperature of the training run, if not 0.1; checkpoints lack it."),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Convert a released checkpoint of the published method, every key accounted for."""
    if output.suffix != ".safetensors":
        raise WeightsError(f"--output {output}: weights files end in .safetensors")
    if temperature is not None and not temperature > 0:
        raise WeightsError(f"--temperature must be positive, got {temperature:g}")
    config = import_checkpoint(checkpoint, output, f"loc2-{data}", backbone, temperature)
    if not quiet:
        where = "inside" if backbone is not None else "found by its name when loaded"
        typer.echo(f"{output}: {config.name}, backbone {config.backbone} ({where})")
        typer.echo(f"licence: {LICENCE_NOTE}")


@app.command("list")
def list_() -> None:
    """List the weights that have a name; 'loc2 weights info NAME' says more of each."""
    # Plain lines: a ruled table does not fit a narrow terminal without cutting the names.
    line = "{:<36} {:<10} {:>9}  {:<11} {}"
    typer.echo(line.format("name", "kind", "size", "licence", "here"))
    for entry in REGISTRY.values():
        here = "yes" if _is_here(entry) else "no"
        typer.echo(line.format(entry.name, entry.kind, _size(entry), entry.licence, here))


@app.command("info")
def info(
    name: Annotated[str, typer.Argument(help="A name ('loc2 weights list') or a weights file.")],
) -> None:
    """Describe weights: what they are, where they come from, and their checksum."""
    is_file = name not in REGISTRY and Path(name).suffix != ""
    about = _describe_file(Path(name)) if is_file else _describe_entry(find_entry(name))
    for key, value in about.items():
        typer.echo(f"{key}: {value}")


@app.command("fetch")
def fetch_(
    name: Annotated[str, typer.Argument(help="A name, see 'loc2 weights list'.")],
    quiet: Quiet = False,
) -> None:
    """Download weights and check them; run again to go on where a download broke off."""
    entry = find_entry(name)
    with download_bar(quiet) as bar:
        task = bar.add_task(entry.name, total=entry.size_bytes)
        path = fetch(entry, lambda here, total: bar.update(task, completed=here, total=total))
    if not quiet:
        typer.echo(str(path))


def _is_here(entry: WeightsEntry) -> bool:
    if entry.kind != "backbone":
        return entry.kind == "model" and entry.path.is_file()
    try:
        find_backbone(entry.name)
    except WeightsError:
        return False
    return True


def _size(entry: WeightsEntry) -> str:
    size = entry.size_bytes
    if size is None and entry.packaged and entry.path.is_file():
        size = entry.path.stat().st_size
    return "unknown" if size is None else f"{size / 1e6:.1f} MB"


def _describe_entry(entry: WeightsEntry) -> dict[str, str]:
    about = {
        "name": entry.name,
        "kind": entry.kind,
        "size": _size(entry),
        "sha256": entry.sha256 or "unknown",
        "licence": entry.licence,
        "training data": entry.training_data,
        "address": entry.url or ("comes with the package" if entry.packaged else "none known"),
    }
    if entry.kind != "checkpoint":
        there = entry.path.is_file()
        about["file"] = f"{entry.path}{'' if there else ' (not here yet)'}"
        if there and entry.path.suffix == ".safetensors":
            about |= {k: v for k, v in _describe_file(entry.path).items() if k not in about}
            about["sha256"] = sha256_of(entry.path)
    if entry.note:
        about["note"] = entry.note
    return about


def _describe_file(path: Path) -> dict[str, str]:
    metadata = read_metadata(path)
    size = f"{path.stat().st_size / 1e6:.1f} MB"
    return {"file": str(path), "size": size, "sha256": sha256_of(path), **metadata}
