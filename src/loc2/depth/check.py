"""Checks of depth files against their images: the mistakes that spoil poses without a word."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from loc2.cameras import Camera, Equirectangular
from loc2.data.pairs import read_pairs
from loc2.depth.base import DepthMap
from loc2.depth.files import DepthUnit, load_depth
from loc2.depth.record import read_record
from loc2.depth.relative import steep_pixels
from loc2.depth.store import resize_depth
from loc2.errors import DatasetNotFoundError, InputError, Loc2Error
from loc2.frames import cell_centers_px
from loc2.inputs import load_image, resolve_camera

_ROWS = 192
_LEVEL = 0.08
"""Ground heights within this share of each other are one plane."""
_MIN_GROUND = 0.2
_MIN_VALID = 0.05
_HEIGHT_RATIO = 1.6
_ALIGNMENT_MARGIN = 0.02
_TURNS = 360
_FACTORS = {"millimetres": 1000.0, "1/256 metres": 256.0, "centimetres": 100.0}


@dataclass(frozen=True)
class DepthFile:
    """A depth file to check.

    Attributes:
        name: for messages.
        depth: the file.
        camera: of the image.
        image: the ground image, or None where it is not known.
        camera_height_m: stated height, metres, if any.
        unit: of the file, where the file does not say.
        kind: of the file, where the file does not say.
    """

    name: str
    depth: Path
    camera: Camera
    image: Path | None
    camera_height_m: float | None
    unit: DepthUnit | None = None
    kind: Literal["range", "z"] | None = None


@dataclass(frozen=True)
class DepthMeasures:
    """What was measured of one file.

    Attributes:
        name: of the file.
        valid: share of pixels with depth.
        metric: whether the depth claims to be metric.
        growth: correlation of log depth with the log distance of level ground below the horizon;
            near 1 for depth, negative for inverse depth; None where too little is seen.
        height: height of the camera above the commonest ground, in the unit of the depth.
        ground: share of what is seen below the horizon that lies level, under each reading of
            the numbers (``as stated``, ``z``, ``range``, ...).
        alignment: correlation of depth edges with image edges, (2, T): as they are and mirrored,
            under T turns of equal steps (one for photos); None without an image.
    """

    name: str
    valid: float
    metric: bool
    growth: float | None
    height: float | None
    ground: dict[str, float]
    alignment: Tensor | None


@dataclass(frozen=True)
class DepthFinding:
    """One line of the verdict.

    Attributes:
        ok: True where nothing is wrong; None where it cannot be told.
        what: what was checked.
        detail: what was found, and what to do.
    """

    ok: bool | None
    what: str
    detail: str


def find_depth_files(
    source: Path, images: Path | None = None, camera_height_m: float | None = None
) -> list[DepthFile]:
    """Collect depth files with their cameras.

    Args:
        source: folder written by ``loc2 depth``, or a manifest of pairs (.csv) with depth.
        images: folder of the ground images, for a folder.
        camera_height_m: stated height where the records do not say it, metres.

    Raises:
        DatasetNotFoundError: there is nothing to check.
        InputError: a record or the manifest is damaged.
    """
    if source.suffix.lower() == ".csv":
        found = []
        for pair in read_pairs(source):
            if pair.depth is None:
                continue
            image = load_image(pair.ground, "ground image")
            camera, stated_m = pair.camera_of(image)
            height_m = stated_m or camera_height_m
            unit: DepthUnit | None = pair.depth_unit  # type: ignore[assignment]  # checked on loading
            found.append(
                DepthFile(pair.id, pair.depth, camera, pair.ground, height_m, unit, pair.depth_kind)
            )
    else:
        if not source.is_dir():
            raise DatasetNotFoundError(f"{source}: no such folder or manifest")
        found = [
            file
            for path in sorted(source.rglob("*"))
            if path.suffix in (".png", ".npz") and not path.name.startswith(".")
            and (file := _recorded(path, source, images, camera_height_m)) is not None
        ]  # fmt: skip
    if not found:
        raise DatasetNotFoundError(
            f"{source}: no depth with a record beside it; check a folder that 'loc2 depth' made, "
            "or a manifest (.csv) whose rows name depth files"
        )
    return found


def _recorded(
    path: Path, source: Path, images: Path | None, camera_height_m: float | None
) -> DepthFile | None:
    record = read_record(path)
    if record is None:
        return None
    name = path.relative_to(source).with_name(record.image)
    image = images / name if images is not None else None
    if image is not None and not image.is_file():
        raise InputError(f"image {image}: not there; --images is the folder depth was made of")
    spec = record.camera
    if spec.width is None or spec.height is None:
        raise InputError(f"depth record of {path}: the camera's width and height are missing")
    camera = resolve_camera(spec, spec.width, spec.height)
    height_m = record.camera_height_m or camera_height_m
    return DepthFile(str(path.relative_to(source)), path, camera, image, height_m)


def measure(file: DepthFile) -> tuple[DepthMeasures, DepthMap, Tensor | None]:
    """Measure one file.

    Returns:
        The measures, the depth and the image (None where it is not known).

    Raises:
        InputError: a file cannot be read.
    """
    depth_map = load_depth(file.depth, file.camera, file.unit, file.kind)
    image = load_image(file.image, "ground image") if file.image is not None else None
    rows = min(_ROWS, file.camera.height)
    cols = max(round(rows * file.camera.width / file.camera.height), 1)
    small = resize_depth(depth_map, rows, cols)
    camera = file.camera.resized(cols, rows)
    steep = steep_pixels(camera, rows, cols) & small.valid & (small.depth > 0)
    growth, height, ground = None, None, {}
    if int(steep.sum()) >= 100:
        uv_px = cell_centers_px(rows, cols, rows, cols)[steep]
        rays, depth = camera.pixels_to_rays(uv_px), small.depth[steep].double()
        down = -rays[:, 2].double()
        expected = torch.log(1 / down)
        growth = float(torch.corrcoef(torch.stack((torch.log(depth), expected)))[0, 1])
        growth = growth if math.isfinite(growth) else None
        readings = _readings(camera, depth_map.kind, uv_px, rays)
        levels = {name: _level(depth * factor.double() * down) for name, factor in readings.items()}
        ground = {name: share for name, (share, _) in levels.items()}
        height = levels["as stated"][1]
    alignment = None
    if image is not None:
        alignment = _alignment(image, small, isinstance(camera, Equirectangular))
    valid = float(depth_map.valid.float().mean())
    measures = DepthMeasures(file.name, valid, depth_map.metric, growth, height, ground, alignment)
    return measures, depth_map, image


def _readings(camera: Camera, kind: str, uv_px: Tensor, rays: Tensor) -> dict[str, Tensor]:
    """Return the factor to range under each reading of the numbers."""
    one = torch.ones_like(uv_px[..., 0])
    if isinstance(camera, Equirectangular):
        level = torch.linalg.vector_norm(rays[:, :2], dim=-1).clamp_min(1e-3)
        return {
            "as stated": one,
            "z of cube faces": 1 / rays.abs().amax(-1),
            "horizontal distance": 1 / level,
        }
    length = camera.range_per_depth(uv_px, "z")
    if kind == "z":
        return {"as stated": length, "range": one}
    return {"as stated": one, "z": length}


def _level(heights: Tensor) -> tuple[float, float]:
    """Return the largest share of heights within one narrow band, and that height."""
    ordered = torch.log(heights).sort().values.contiguous()
    last = torch.searchsorted(ordered, ordered + _LEVEL)
    count = last - torch.arange(len(ordered))
    best = int(count.argmax())
    return float(count[best]) / len(ordered), float(torch.exp(ordered[best] + _LEVEL / 2))


def _alignment(image: Tensor, depth_map: DepthMap, panorama: bool) -> Tensor:
    """Compare depth edges with image edges, see :class:`DepthMeasures`."""
    rows = depth_map.depth.shape[0]
    cols = _TURNS if panorama else depth_map.depth.shape[1]
    depth_map = resize_depth(depth_map, rows, cols)
    small = functional.interpolate(image[None], (rows, cols), mode="bilinear", antialias=True)[0]
    near = torch.where(depth_map.valid, 1 / depth_map.depth.clamp_min(1e-6), 0.0)
    scale = near[depth_map.valid].mean().clamp_min(1e-9)
    ours = _edges(torch.log1p(near / scale)[None])
    theirs = _edges(small)
    both = torch.stack((ours, ours.flip(-1)))
    if not panorama:
        return (both * theirs).mean((1, 2))[:, None]
    product = torch.fft.rfft(theirs).conj() * torch.fft.rfft(both)
    curves: Tensor = torch.fft.irfft(product, n=cols).sum(1) / ours.numel()
    return curves


def _edges(channels: Tensor) -> Tensor:
    """Return upright edges of (C, H, W) channels, (H, W), each row of mean 0 and variance 1."""
    step = torch.zeros(channels.shape[-2:])
    step[:, 1:] = (channels[..., 1:] - channels[..., :-1]).abs().amax(0)
    step = functional.avg_pool2d(torch.sqrt(step)[None, None], 3, 1, 1)[0, 0]
    step = step - step.mean(-1, keepdim=True)
    return step / step.square().mean(-1, keepdim=True).sqrt().clamp_min(1e-6)


def judge(measures: Sequence[DepthMeasures], files: Sequence[DepthFile]) -> list[DepthFinding]:
    """Draw conclusions over all files: medians, so that odd ones do not decide.

    Args:
        measures: of the files that could be read.
        files: the same files.
    """
    heights_m = {f.name: f.camera_height_m for f in files}
    findings = [_judge_valid(measures), _judge_growth(measures)]
    if findings[-1].ok is not False:
        findings += [_judge_height(measures, heights_m), _judge_kind(measures)]
    findings.append(_judge_alignment(measures))
    return findings


def _judge_valid(measures: Sequence[DepthMeasures]) -> DepthFinding:
    empty = [m.name for m in measures if m.valid < _MIN_VALID]
    share = f"{100 * _median([m.valid for m in measures]):.0f} % of pixels valid (median)"
    if empty:
        return DepthFinding(
            False, "validity", f"{share}; {len(empty)} files have almost none: {empty[0]}"
        )
    return DepthFinding(True, "validity", share)


def _judge_growth(measures: Sequence[DepthMeasures]) -> DepthFinding:
    known = [m.growth for m in measures if m.growth is not None]
    what = "depth or inverse depth"
    if not known:
        return DepthFinding(None, what, "too little is seen below the horizon")
    growth = _median(known)
    if growth < -0.2:
        return DepthFinding(
            False, what,
            f"numbers fall towards the horizon (correlation {growth:.2f}): this is inverse depth; "
            "state --depth-unit inverse, or convert it",
        )  # fmt: skip
    if growth < 0.2:
        return DepthFinding(None, what, f"numbers do not follow any ground ({growth:.2f})")
    return DepthFinding(True, what, f"depth: grows towards the horizon ({growth:.2f})")


def _judge_height(
    measures: Sequence[DepthMeasures], heights_m: dict[str, float | None]
) -> DepthFinding:
    what = "unit"
    ratios = [
        m.height / stated
        for m in measures
        if m.height is not None and m.metric and m.ground["as stated"] >= _MIN_GROUND
        and (stated := heights_m[m.name]) is not None
    ]  # fmt: skip
    if not ratios:
        if not any(m.metric for m in measures):
            return DepthFinding(None, what, "depth up to scale has none; the ground gives it")
        if all(h is None for h in heights_m.values()):
            return DepthFinding(None, what, "give --camera-height to check it")
        return DepthFinding(None, what, "no level ground found")
    ratio = _median(ratios)
    for name, factor in _FACTORS.items():
        if 1 / _HEIGHT_RATIO < ratio / factor < _HEIGHT_RATIO:
            return DepthFinding(
                False, what, f"the ground lies {ratio:.0f} times too low: the numbers are {name}"
            )
        if 1 / _HEIGHT_RATIO < ratio * factor < _HEIGHT_RATIO:
            return DepthFinding(
                False, what,
                f"the ground lies {1 / ratio:.0f} times too near: metres were taken for {name}",
            )  # fmt: skip
    if not 1 / _HEIGHT_RATIO < ratio < _HEIGHT_RATIO:
        return DepthFinding(
            False, what, f"the ground lies at {ratio:.2g} times the stated camera height"
        )
    return DepthFinding(True, what, f"the ground lies at {ratio:.2f} times the camera height")


def _judge_kind(measures: Sequence[DepthMeasures]) -> DepthFinding:
    what = "range or z"
    known = [m.ground for m in measures if m.ground]
    if not known:
        return DepthFinding(None, what, "too little is seen below the horizon")
    names = [name for name in known[0] if all(name in g for g in known)]
    shares = {name: _median([g[name] for g in known]) for name in names}
    stated = shares.pop("as stated")
    other, share = max(shares.items(), key=lambda item: item[1])
    if share >= _MIN_GROUND and share > 1.25 * stated + 0.02:
        return DepthFinding(
            False, what,
            f"{share:.0%} of what is below the horizon lies level when the numbers are read as "
            f"{other}, {stated:.0%} as stated: the kind is wrong",
        )  # fmt: skip
    if stated < _MIN_GROUND:
        return DepthFinding(None, what, f"only {stated:.0%} of what is below the horizon is level")
    return DepthFinding(True, what, f"{stated:.0%} of what is below the horizon lies level")


def _judge_alignment(measures: Sequence[DepthMeasures]) -> DepthFinding:
    what = "mirrored or turned"
    known = [m.alignment for m in measures if m.alignment is not None]
    if not known:
        return DepthFinding(None, what, "give --images to compare edges")
    # Summed over the files before the best turn is taken: one file alone finds some by chance.
    plain, flipped = torch.stack([a for a in known if a.shape == known[0].shape]).mean(0)
    here, mirrored, turned = float(plain[0]), float(flipped.max()), float(plain.max())
    detail = f"edges agree by {here:.2f}, mirrored {mirrored:.2f}"
    if mirrored > max(here, turned) + _ALIGNMENT_MARGIN:
        return DepthFinding(False, what, f"{detail}: depth is mirrored left to right")
    if turned > here + _ALIGNMENT_MARGIN:
        degrees = (int(plain.argmax()) / len(plain) * 360 + 180) % 360 - 180
        return DepthFinding(
            False, what, f"{detail}, turned by {degrees:.0f} degrees {turned:.2f}: depth is turned"
        )
    if here < max(mirrored, 0.0) + _ALIGNMENT_MARGIN:
        return DepthFinding(None, what, f"{detail}: too few edges to tell")
    return DepthFinding(True, what, detail)


def _median(values: Sequence[float]) -> float:
    return float(np.median(values))


def check_depth(
    files: Sequence[DepthFile],
    progress: Callable[[int], None] | None = None,
    show: Callable[[DepthFile, DepthMap, Tensor | None], None] | None = None,
) -> tuple[list[DepthFinding], list[DepthMeasures]]:
    """Check depth files.

    Args:
        files: what to check.
        progress: called with the number done.
        show: called for each file that can be read, for pictures.

    Returns:
        The findings (files that cannot be read are the first) and the measures.
    """
    measures: list[DepthMeasures] = []
    broken: list[str] = []
    for number, file in enumerate(files, start=1):
        try:
            measured, depth_map, image = measure(file)
            measures.append(measured)
            if show is not None:
                show(file, depth_map, image)
        except Loc2Error as error:
            broken.append(str(error))
        if progress is not None:
            progress(number)
    findings = []
    if broken:
        findings.append(DepthFinding(False, "files", f"{len(broken)} unusable: {broken[0]}"))
    if measures:
        findings += judge(measures, files)
    return findings, measures
