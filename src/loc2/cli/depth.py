"""``loc2 depth``: make depth of many images, and check it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, cast, get_args

import typer
from rich.console import Console
from typer.core import TyperGroup

from loc2.cli.options import Device, Quiet, Weights
from loc2.cli.photo_options import CameraOptions
from loc2.cli.progress import progress_bar
from loc2.cli.spread import spread
from loc2.depth.base import DepthModel
from loc2.depth.check import check_depth, find_depth_files
from loc2.depth.jobs import DepthOptions, DepthSummary, find_jobs, make_depth
from loc2.depth.masks import MaskOptions
from loc2.depth.own import OwnDepth, no_head
from loc2.depth.perspective import DepthModelInfo, PerspectiveDepth
from loc2.depth.preview import Sheet
from loc2.depth.record import head_name
from loc2.depth.registry import (
    HEAD_DEPTHS,
    depth_model_info,
    depth_model_names,
    make_depth_model,
)
from loc2.depth.store import DepthFormat
from loc2.depth.tangent import ViewLayout
from loc2.errors import InputError
from loc2.localizer import Localizer
from loc2.outputs import atomic_path

PROBLEM_EXIT = 1
SHEET_NAME = "check_sheet.png"


class _DefaultGroup(TyperGroup):
    """``loc2 depth IMAGE...`` is ``loc2 depth make IMAGE...``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the default command before words that are no command."""
        if args and args[0] not in self.commands and args[0] != "--help":
            args = ["make", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    help="Depth of images: 'loc2 depth FOLDER|IMAGE... --model NAME --output DIR' makes it ('make' "
    "may be left out), 'loc2 depth check DIR' checks it.",
    cls=_DefaultGroup,
    no_args_is_help=True,
)


@app.command("make")
@spread
def make(
    *,
    inputs: Annotated[
        list[Path],
        typer.Argument(help="Images, folders of images, or manifests of pairs (.csv)."),
    ],
    output: Annotated[Path, typer.Option(help="Folder for the depth files.")],
    model: Annotated[
        str,
        typer.Option(
            help="default, own, ground, flat, a depth-anything-v2 name ('loc2 depth models'), or "
            "the description of an ONNX network (.toml)."
        ),
    ] = "default",
    form: Annotated[
        str,
        typer.Option(
            "--format",
            help="png-mm (range in millimetres, VIGOR), png-256 (z in metres * 256, KITTI) or npz.",
        ),
    ] = "npz",
    photo: CameraOptions,
    views: Annotated[
        str, typer.Option(help="How panoramas are cut: cube (6 views) or icosahedron (20).")
    ] = "cube",
    mask: Annotated[
        Path | None, typer.Option(help="Mask file, or folder of masks (NAME.png); black is out.")
    ] = None,
    mask_head: Annotated[
        bool, typer.Option("--mask-head", help="Mask by the validity head of the weights.")
    ] = False,
    mask_sky: Annotated[
        bool, typer.Option("--mask-sky", help="Mask sky by its colour (a rule).")
    ] = False,
    mask_below: Annotated[
        float | None,
        typer.Option(help="Mask below this elevation, degrees (-60: the own vehicle)."),
    ] = None,
    borders: Annotated[bool, typer.Option(help="Mask black borders.")] = True,
    far_limit: Annotated[float | None, typer.Option(help="Mask range beyond this, metres.")] = None,
    previews: Annotated[bool, typer.Option(help="Write small pictures into previews/.")] = True,
    workers: Annotated[int, typer.Option(help="Threads that read and write.")] = 2,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Make again what is already there.")
    ] = False,
    weights: Weights = None,
    device: Device = None,
    quiet: Quiet = False,
) -> int:
    """Make depth of images; run again to go on where it was stopped."""
    spec = replace(photo, camera_height=None).spec()
    if form not in get_args(DepthFormat):
        raise InputError(f"--format must be one of {', '.join(get_args(DepthFormat))}")
    if views not in get_args(ViewLayout):
        raise InputError(f"--views must be one of {', '.join(get_args(ViewLayout))}")
    jobs = find_jobs(inputs, spec, output)
    named = {"default", *HEAD_DEPTHS} & {model}
    localizer = Localizer.from_pretrained(weights, device) if named or mask_head else None
    if localizer is None and weights is not None:
        raise InputError("--weights: only for --model default, own or ground, and --mask-head")
    if model == "default" and localizer is not None:
        model = localizer.default_depth()
    if localizer is not None and not localizer.tells_depth:
        if model in HEAD_DEPTHS:
            no_head(model)
        if mask_head:
            raise InputError("--mask-head: these weights have no depth head")
    info = _info(model, localizer)
    options = DepthOptions(
        form=cast("DepthFormat", form),
        masks=MaskOptions(
            borders=borders,
            sky=mask_sky,
            own_vehicle_deg=mask_below,
            far_m=far_limit,
            head=OwnDepth(localizer.model, 1.0).unusable if mask_head and localizer else None,
        ),
        mask_files=mask,
        camera_height_m=photo.camera_height,
        previews=previews,
        workers=workers,
        overwrite=overwrite,
    )
    if not quiet:
        what = "non-commercial use only" if info.non_commercial else "licence of the weights"
        typer.echo(f"{info.name}: {info.licence} ({what})", err=True)
    build, info = _builder(model, info, localizer, device or "cpu", cast("ViewLayout", views))
    with progress_bar(quiet) as bar:
        task = bar.add_task("depth", total=len(jobs))
        summary = make_depth(
            jobs, build, info, output, options, lambda done: bar.update(task, completed=done)
        )
    return _report(summary, output, quiet)


@app.command("models")
def models() -> None:
    """List depth models, what they return and their licences."""
    line = "{:<40} {:<8} {:<6} {}"
    typer.echo(line.format("name", "returns", "kind", "licence of the weights"))
    for name in HEAD_DEPTHS:
        typer.echo(line.format(name, "metric", "range", "Apache-2.0"))
    for name in depth_model_names():
        info = depth_model_info(name)
        note = " (non-commercial)" if info.non_commercial else ""
        typer.echo(line.format(name, info.quantity, info.kind, info.licence + note))


@app.command("check")
def check(
    source: Annotated[
        Path, typer.Argument(help="Folder that 'loc2 depth' made, or a manifest (.csv).")
    ],
    images: Annotated[
        Path | None, typer.Option(help="Folder of the images that depth was made of.")
    ] = None,
    camera_height: Annotated[
        float | None, typer.Option(help="Height above the ground, metres, where none is recorded.")
    ] = None,
    sheet: Annotated[
        Path | None,
        typer.Option(help=f"Sheet of pictures; {SHEET_NAME} in the folder by default."),
    ] = None,
    quiet: Quiet = False,
) -> int:
    """Check units, kind, mirroring and validity of depth; exit code 1 where something is wrong."""
    files = find_depth_files(source, images, camera_height)
    pictures = Sheet()
    with progress_bar(quiet) as bar:
        task = bar.add_task("check", total=len(files))
        findings, measures = check_depth(
            files,
            lambda done: bar.update(task, completed=done),
            lambda file, depth_map, image: pictures.add(file.name, depth_map, image),
        )
    target = sheet or (source / SHEET_NAME if source.is_dir() else None)
    if target is not None and measures:
        with atomic_path(target) as temporary:
            pictures.image().save(temporary)
    if not quiet:
        for finding in findings:
            verdict = {True: "ok", False: "WRONG", None: "unknown"}[finding.ok]
            typer.echo(f"{verdict:<8} {finding.what}: {finding.detail}")
        if target is not None and measures:
            typer.echo(f"sheet    {target}")
    return PROBLEM_EXIT if any(finding.ok is False for finding in findings) else 0


def _info(model: str, localizer: Localizer | None) -> DepthModelInfo:
    if model not in HEAD_DEPTHS or localizer is None:
        return depth_model_info(model)
    licence = localizer.metadata.get("licence", "see the weights' metadata")
    return DepthModelInfo(head_name(localizer.weights, model), "1", "metric", "range", licence)


def _builder(
    model: str, info: DepthModelInfo, localizer: Localizer | None, device: str, layout: ViewLayout
) -> tuple[Callable[[float], DepthModel], DepthModelInfo]:
    """Return what builds the model for a camera height, and its facts once it is loaded."""
    if model in HEAD_DEPTHS and localizer is not None:
        network = localizer.model
        return lambda height_m: OwnDepth(network, height_m, model), info
    if model == "flat":
        return lambda height_m: make_depth_model(model, height_m), info
    # Other models do not depend on the height: loaded once, before any image is read.
    loaded = make_depth_model(model, 1.0, device, layout)
    if isinstance(loaded, PerspectiveDepth):
        info = loaded.model.info  # with the version that was loaded
    return lambda height_m: loaded, info


def _report(summary: DepthSummary, output: Path, quiet: bool) -> int:
    for name, reason in summary.failed:
        typer.echo(f"failed: {name}: {reason}", err=True)
    if not quiet:
        kept = f", {summary.kept} were there" if summary.kept else ""
        failed = f", {len(summary.failed)} failed" if summary.failed else ""
        words = f"{output}: {summary.made} made{kept}{failed}"
        Console().print(words, markup=False, soft_wrap=True)
    return PROBLEM_EXIT if summary.failed else 0
