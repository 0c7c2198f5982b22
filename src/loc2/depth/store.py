"""Writing depth: formats, conversion of kind and scale, and the record beside each file."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from loc2.cameras import Camera, DepthKind
from loc2.depth.base import DepthMap, implied_camera_height, lift_pixels
from loc2.depth.record import DepthRecord, record_path
from loc2.errors import InputError
from loc2.frames import cell_centers_px
from loc2.outputs import atomic_path, write_json

DepthFormat = Literal["png-mm", "png-256", "npz"]
"""16-bit PNG of range in millimetres (VIGOR's layout), of z in metres * 256 (KITTI's), or npz of
either kind, metric or not."""

_PER_METER = {"png-mm": 1000.0, "png-256": 256.0}
_PNG_MAX = 65535
_PROBE_ROWS = 160


def depth_suffix(form: DepthFormat) -> str:
    """Return the file name suffix of a format."""
    return ".npz" if form == "npz" else ".png"


def implied_height(depth_map: DepthMap, camera: Camera) -> float | None:
    """Return the camera's height above the ground in units of the depth, None if unseen."""
    rows = min(_PROBE_ROWS, camera.height)
    cols = max(round(rows * camera.width / camera.height), 1)
    uv_px = cell_centers_px(rows, cols, camera.height, camera.width).reshape(-1, 2)
    return implied_camera_height(*lift_pixels(depth_map, camera, uv_px))


def to_metric(depth_map: DepthMap, camera: Camera, camera_height_m: float) -> DepthMap:
    """Scale depth so that the ground lies at the camera's height.

    Raises:
        InputError: too little ground is seen.
    """
    implied = implied_height(depth_map, camera)
    if implied is None:
        raise InputError("depth: relative, and too little ground is seen to find its scale")
    return DepthMap(
        depth_map.depth * (camera_height_m / implied),
        depth_map.kind,
        True,
        depth_map.valid,
        depth_map.source,
    )


def convert_kind(depth_map: DepthMap, camera: Camera, kind: DepthKind) -> DepthMap:
    """Return depth of another kind.

    Raises:
        InputError: z-depth asked of a panorama.
    """
    if kind == depth_map.kind:
        return depth_map
    if camera.depth_kind == "range":
        raise InputError("z-depth (png-256) has no meaning for a panorama; use png-mm or npz")
    rows, cols = depth_map.depth.shape
    uv_px = cell_centers_px(rows, cols, camera.height, camera.width)
    factor = camera.range_per_depth(uv_px, "z")
    depth = depth_map.depth * factor if kind == "range" else depth_map.depth / factor
    return DepthMap(depth, kind, depth_map.metric, depth_map.valid, depth_map.source)


def resize_depth(depth_map: DepthMap, rows: int, cols: int) -> DepthMap:
    """Return depth at another size, each pixel from its nearest: no mean over depth edges."""
    height, width = depth_map.depth.shape
    if (height, width) == (rows, cols):
        return depth_map
    row = ((torch.arange(rows) + 0.5) * (height / rows)).long().clamp(max=height - 1)
    col = ((torch.arange(cols) + 0.5) * (width / cols)).long().clamp(max=width - 1)

    def pick(values: Tensor) -> Tensor:
        return values[row][:, col]

    return DepthMap(
        pick(depth_map.depth),
        depth_map.kind,
        depth_map.metric,
        pick(depth_map.valid),
        depth_map.source,
    )


def write_depth(
    path: Path, depth_map: DepthMap, camera: Camera, form: DepthFormat, record: DepthRecord
) -> DepthRecord:
    """Write a depth file of the image's size and then its record, each whole or not at all.

    Zero is invalid in every format; what a PNG cannot hold becomes invalid.

    Args:
        path: file with the suffix of the format.
        depth_map: metric for PNG.
        camera: camera of the image.
        form: how it is stored.
        record: what is known; kind, unit, share and far limit are filled in.

    Returns:
        The record as written.

    Raises:
        InputError: the format cannot hold this depth.
        OutputError: a file cannot be written.
    """
    if form not in get_args(DepthFormat):
        raise InputError(f"depth format must be one of {', '.join(get_args(DepthFormat))}")
    if form != "npz" and not depth_map.metric:
        raise InputError(
            f"{form} holds metres, and this depth is known up to scale only; give the camera's "
            "height (--camera-height) or use --format npz"
        )
    kind: DepthKind = {"png-mm": "range", "png-256": "z"}.get(form, depth_map.kind)  # type: ignore[assignment]
    stored = resize_depth(convert_kind(depth_map, camera, kind), camera.height, camera.width)
    valid = stored.valid & torch.isfinite(stored.depth) & (stored.depth > 0)
    far_limit_m = record.far_limit_m
    if form == "npz":
        unit = "m" if stored.metric else "relative"
        depth = torch.where(valid, stored.depth, torch.zeros_like(stored.depth)).numpy()
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, depth=depth, unit=unit, kind=kind)
    else:
        unit, factor = ("mm" if form == "png-mm" else "m/256"), _PER_METER[form]
        numbers = (stored.depth.double() * factor).round()
        valid &= (numbers >= 1) & (numbers <= _PNG_MAX)
        far_limit_m = min(far_limit_m or np.inf, _PNG_MAX / factor)
        numbers = torch.where(valid, numbers, torch.zeros_like(numbers))
        with atomic_path(path) as temporary:
            Image.fromarray(numbers.numpy().astype(np.uint16)).save(temporary)
    written = record.model_copy(
        update={
            "kind": kind,
            "unit": unit,
            "far_limit_m": far_limit_m,
            "valid_percent": round(100 * float(valid.float().mean()), 2),
        }
    )
    write_json(record_path(path), written.model_dump(mode="json", exclude_none=True))
    return written
