"""Depth from files: npy, npz, 16-bit PNG and TIFF, with a stated unit and kind."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from PIL import Image

from loc2.cameras import Camera, DepthKind
from loc2.depth.base import DepthMap
from loc2.depth.record import read_record
from loc2.depth.relative import inverse_to_depth
from loc2.errors import InputError
from loc2.inputs.images import UNREADABLE

DepthUnit = Literal["m", "cm", "mm", "m/256", "relative", "inverse"]
"""Unit of stored depth; ``relative`` means known up to an unknown factor, ``inverse`` that the
numbers are inverse depth up to scale and shift (as relative networks return it)."""

_METERS: dict[str, float] = {
    "m": 1.0,
    "cm": 0.01,
    "mm": 0.001,
    "m/256": 1 / 256,
    "relative": 1.0,
    "inverse": 1.0,
}


def load_depth(
    path: str | Path,
    camera: Camera,
    unit: DepthUnit | None = None,
    kind: DepthKind | None = None,
) -> DepthMap:
    """Read depth of a ground image.

    An npz file holds ``depth`` and optionally ``unit``, ``kind`` and ``valid``, and a record that
    ``loc2 depth`` wrote beside a file says the same; what is given here must not contradict them.
    Zero, negative and non-finite depth is invalid. Inverse depth becomes depth up to scale, see
    :mod:`loc2.depth.relative`; of it, zero in an integer file and what is not finite is invalid.

    Args:
        path: .npy, .npz, .png, .tif or .tiff file.
        camera: camera of the image; its projection decides the kind where none is stated.
        unit: unit of the stored numbers; must be stated here or in the file.
        kind: ``range`` or ``z``.

    Raises:
        InputError: the file cannot be read, its unit is unknown, its shape is not that of the
            image, or no depth in it is valid.
    """
    path = Path(path)
    depth, stated, valid = _read(path)
    whole = depth.dtype.kind in "iu"
    depth = depth.astype(np.float64)
    record = read_record(path)
    if record is not None:
        stated = {"unit": record.unit, "kind": record.kind, **stated}
    file_unit, file_kind = stated.get("unit"), stated.get("kind")
    if unit is not None and file_unit is not None and unit != file_unit:
        raise InputError(f"depth {path}: unit {unit!r} given, but the file says {file_unit!r}")
    if kind is not None and file_kind is not None and kind != file_kind:
        raise InputError(f"depth {path}: kind {kind!r} given, but the file says {file_kind!r}")
    chosen_unit = unit or file_unit
    chosen_kind = kind or file_kind or camera.depth_kind
    if chosen_unit not in _METERS:
        known = ", ".join(get_args(DepthUnit))
        raise InputError(f"depth {path}: state its unit with --depth-unit, one of {known}")
    if chosen_kind not in get_args(DepthKind):
        raise InputError(f"depth {path}: kind must be 'range' or 'z', not {chosen_kind!r}")
    if chosen_kind == "z" and camera.depth_kind == "range":
        raise InputError(f"depth {path}: z-depth has no meaning for a panorama; give range")
    height, width = depth.shape
    if abs(width / height / (camera.width / camera.height) - 1) > 0.02:
        raise InputError(
            f"depth {path}: {width}x{height} has another shape than the image's "
            f"{camera.width}x{camera.height}"
        )
    chosen: DepthKind = "z" if chosen_kind == "z" else "range"
    if chosen_unit == "inverse":
        known = np.isfinite(depth) & valid & ((depth != 0) | (not whole))
        value = torch.from_numpy(np.where(known, depth, 0.0))
        try:
            distance, usable_t, _ = inverse_to_depth(value, torch.from_numpy(known), camera, chosen)
        except InputError as error:
            raise InputError(f"depth {path}: {error}") from error
        return DepthMap(distance, chosen, False, usable_t, f"file {path.name}")
    usable = np.isfinite(depth) & (depth > 0) & valid
    if not usable.any():
        raise InputError(f"depth {path}: no valid depth (all zero, negative or not finite)")
    metres = np.where(usable, depth, 0.0) * _METERS[chosen_unit]
    return DepthMap(
        depth=torch.from_numpy(metres.astype(np.float32)),
        kind=chosen,
        metric=chosen_unit != "relative",
        valid=torch.from_numpy(usable),
        source=f"file {path.name}",
        from_head=record is not None and record.from_head,
    )


def _read(path: Path) -> tuple[np.ndarray, dict[str, str], np.ndarray]:
    if not path.is_file():
        raise InputError(f"depth {path}: no such file")
    stated: dict[str, str] = {}
    valid: np.ndarray | None = None
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                if "depth" not in archive:
                    raise InputError(f"depth {path}: the npz holds no array named 'depth'")
                depth = archive["depth"]
                stated = {k: str(archive[k]) for k in ("unit", "kind") if k in archive}
                valid = archive["valid"].astype(bool) if "valid" in archive else None
        elif path.suffix == ".npy":
            depth = np.load(path, allow_pickle=False)
        elif path.suffix.lower() in (".png", ".tif", ".tiff"):
            with Image.open(path) as image:
                if image.mode in ("RGB", "RGBA", "L", "P", "1"):
                    raise InputError(
                        f"depth {path}: an 8-bit picture, not depth; 16-bit or float is needed"
                    )
                depth = np.asarray(image)
        else:
            raise InputError(f"depth {path}: depth files end in .npy, .npz, .png, .tif or .tiff")
    except (*UNREADABLE, zipfile.BadZipFile, zlib.error) as error:
        reason = str(error).split("\n", 1)[0]
        raise InputError(f"depth {path}: cannot be read ({reason})") from error
    depth = np.squeeze(depth)
    if depth.ndim != 2 or depth.dtype.kind not in "fiu" or depth.size == 0:
        raise InputError(f"depth {path}: expected one map of numbers, got {depth.shape}")
    if valid is None:
        valid = np.ones(depth.shape, dtype=bool)
    if valid.shape != depth.shape:
        raise InputError(f"depth {path}: 'valid' and 'depth' differ in size")
    return depth, stated, valid
