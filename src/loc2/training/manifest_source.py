"""Manifests as sources of training pairs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from loc2.data.pairs import Pair, read_pairs
from loc2.depth import DepthMap, lift_cells, load_depth
from loc2.depth.files import DepthUnit
from loc2.errors import InputError
from loc2.frames import Pose, aerial_m_to_px, local_to_aerial
from loc2.inputs import load_image
from loc2.inputs.images import UNREADABLE
from loc2.query import PANORAMA_HEIGHT_M, PINHOLE_HEIGHT_M, camera_of
from loc2.training.pairs import TrainingPair


class ManifestSource:
    """Pairs of a manifest.

    Args:
        pairs: rows, all or some of a manifest's.
    """

    def __init__(self, pairs: Sequence[Pair]) -> None:
        self.pairs = pairs
        self.ids = [pair.id for pair in pairs]

    @classmethod
    def from_file(cls, path: Path) -> ManifestSource:
        """Read all rows of a manifest."""
        return cls(read_pairs(path))

    @property
    def fingerprint(self) -> str:
        """Checksum over all rows, what they leave unsaid, and the files' sizes and times."""
        digest = hashlib.sha256(f"{PANORAMA_HEIGHT_M} {PINHOLE_HEIGHT_M}".encode())
        for pair in self.pairs:
            digest.update(pair.model_dump_json().encode())
            for path in (pair.ground, pair.aerial, pair.depth, pair.classes):
                if path is not None and path.is_file():
                    status = path.stat()
                    digest.update(f"{status.st_size} {status.st_mtime_ns}".encode())
        return digest.hexdigest()

    def read(self, index: int, variant: int) -> TrainingPair:
        """Read the images of a row, and its depth if it names one.

        Raises:
            InputError: a file is missing or broken.
        """
        pair = self.pairs[index]
        ground = load_image(pair.ground, f"ground image of {pair.id}")
        aerial = load_image(pair.aerial, f"aerial image of {pair.id}")
        camera, height_m = camera_of(pair.camera_spec(), ground, pair.camera_height_m)
        depth: DepthMap | None = None
        if pair.depth is not None:
            unit = cast(DepthUnit | None, pair.depth_unit)
            depth = load_depth(pair.depth, camera, unit, pair.depth_kind)
        made = TrainingPair(
            id=pair.id,
            ground=ground,
            camera=camera,
            aerial=aerial,
            meters_per_pixel=pair.meters_per_pixel,
            pose=Pose(pair.east_m, pair.north_m, pair.heading_deg),
            camera_height_m=height_m,
            depth=depth,
        )
        if depth is None or not depth.metric or pair.classes is None or pair.aerial_classes is None:
            return made
        shown = _same_class(made, depth, _labels(pair.classes), _labels(pair.aerial_classes))
        return TrainingPair(**{**vars(made), "visible_from_above": shown})


def _labels(path: Path) -> Tensor:
    try:
        with Image.open(path) as image:
            return torch.from_numpy(np.asarray(image).copy())
    except UNREADABLE as error:
        raise InputError(f"classes {path}: cannot be read as an image") from error


def _same_class(pair: TrainingPair, depth: DepthMap, ground: Tensor, aerial: Tensor) -> Tensor:
    """Take a pixel to be visible from above where both views show the same class at its point."""
    rows, cols = ground.shape
    points_m, valid = lift_cells(depth, pair.camera, rows, cols)
    pose = pair.pose
    moved_m = local_to_aerial(
        points_m[..., :2].reshape(-1, 2),
        torch.tensor(pose.heading_deg),
        torch.tensor([pose.east_m, pose.north_m]),
    )
    height_px, width_px = aerial.shape
    span_m = pair.meters_per_pixel * pair.aerial.shape[-1] / width_px
    uv_px = aerial_m_to_px(moved_m, width_px, height_px, span_m).floor().long()
    inside = (uv_px >= 0).all(-1) & (uv_px < torch.tensor([width_px, height_px])).all(-1)
    uv_px = torch.where(inside[:, None], uv_px, torch.zeros_like(uv_px))
    same = aerial[uv_px[:, 1], uv_px[:, 0]] == ground.flatten()
    return (same & inside).reshape(rows, cols) & valid
