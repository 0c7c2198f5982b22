"""VIGOR (Zhu et al. 2021): street panoramas and aerial images of four cities.

Layout, as released, with one folder of depth maps beside it::

    ROOT/<City>/panorama/*.jpg
    ROOT/<City>/satellite/*.png
    ROOT/<City>/unik3d_depth/<panorama stem>.png     16-bit, millimetres along the ray
    ROOT/<labels>/<City>/{same_area_balanced_train,same_area_balanced_test,pano_label_balanced}.txt

A label line names a panorama and four aerial images, each with its offset (d0, d1) in pixels of
the 640-pixel aerial image: the camera lies d0 rows below and d1 columns left of the image's
centre. The first is the positive, the other three ("semi-positives") show the camera near their
edge. Panoramas look north at their centre column.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import torch
from PIL import Image

from loc2.cameras import Equirectangular
from loc2.data.samples import Sample, draw, open_image, resize_nearest, to_tensor
from loc2.depth import DepthMap
from loc2.depth.files import load_depth
from loc2.errors import DatasetNotFoundError, InputError
from loc2.frames import Pose, wrap_heading_deg

Area = Literal["samearea", "crossarea"]
Split = Literal["train", "test"]

METERS_PER_PIXEL = {
    "NewYork": 0.113248,
    "Seattle": 0.100817,
    "SanFrancisco": 0.118141,
    "Chicago": 0.111262,
}
"""Ground sampling distance of the raw aerial images by city, metres; the published order."""

CROSS_AREA_CITIES: dict[Split, tuple[str, ...]] = {
    "train": ("NewYork", "Seattle"),
    "test": ("SanFrancisco", "Chicago"),
}

LABEL_FOLDERS = ("splits_new", "splits__corrected", "splits")
"""Label folders, corrected ones first: the original labels are up to some metres off."""

RAW_AERIAL_PX = 640
DEPTH_FOLDER = "unik3d_depth"


@dataclass(frozen=True)
class VigorItem:
    """One labelled pair.

    Attributes:
        id: city and panorama, with ``#k`` for the k-th semi-positive.
        city: name of the city.
        panorama: panorama file.
        satellite: aerial image file.
        depth: depth file.
        rows_down_px: camera below the aerial image's centre, raw pixels.
        cols_left_px: camera left of the aerial image's centre, raw pixels.
    """

    id: str
    city: str
    panorama: Path
    satellite: Path
    depth: Path
    rows_down_px: float
    cols_left_px: float


def cities_of(area: Area, split: Split) -> tuple[str, ...]:
    """Return the cities of a split, in the published order."""
    return tuple(METERS_PER_PIXEL) if area == "samearea" else CROSS_AREA_CITIES[split]


def label_name(area: Area, split: Split) -> str:
    """Return the stem of the label files of a split."""
    return f"same_area_balanced_{split}" if area == "samearea" else "pano_label_balanced"


def find_labels(root: Path, labels: str | None) -> Path:
    """Return the folder of label files.

    Args:
        root: root of the data set.
        labels: name of the folder, or None for the first of :data:`LABEL_FOLDERS` that exists.

    Raises:
        DatasetNotFoundError: the root or the folder is missing.
    """
    if not root.is_dir():
        raise DatasetNotFoundError(f"VIGOR {root}: no such folder; see docs/vigor.md")
    names = LABEL_FOLDERS if labels is None else (labels,)
    for name in names:
        if (root / name).is_dir():
            return root / name
    raise DatasetNotFoundError(
        f"VIGOR {root}: no label folder ({' or '.join(names)}); put it beside the cities' folders"
    )


def label_file(folder: Path, city: str, stem: str) -> Path:
    """Return a city's label file; corrected releases append ``__corrected`` to its name.

    Raises:
        DatasetNotFoundError: the file is missing.
    """
    candidates = [folder / city / f"{stem}{suffix}.txt" for suffix in ("", "__corrected")]
    for path in candidates:
        if path.is_file():
            return path
    raise DatasetNotFoundError(f"VIGOR {candidates[0]}: label file missing; see docs/vigor.md")


def read_labels(
    path: Path, root: Path, city: str, semi_positives: bool, depth_folder: str = DEPTH_FOLDER
) -> list[VigorItem]:
    """Read one label file.

    Args:
        path: label file, 13 columns a line.
        root: root of the data set.
        city: city that the file belongs to.
        semi_positives: give the three further aerial images of each panorama as items too.
        depth_folder: folder of depth maps inside the city's folder.

    Raises:
        InputError: not a text file, or a line has another form; file and line are named.
    """
    items: list[VigorItem] = []
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as text") from error
    for number, line in enumerate(text.splitlines(), start=1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != 13:
            raise InputError(f"{path}, line {number}: {len(fields)} columns, expected 13")
        stem = fields[0].removesuffix(".jpg")
        for k in range(4 if semi_positives else 1):
            name, down, left = fields[1 + 3 * k : 4 + 3 * k]
            try:
                offset = float(down), float(left)
            except ValueError as error:
                raise InputError(f"{path}, line {number}: offset is not a number") from error
            if not all(map(math.isfinite, offset)):
                raise InputError(f"{path}, line {number}: offset is not finite")
            folder = root / city
            items.append(
                VigorItem(
                    id=f"{city}/{stem}" + (f"#{k}" if k else ""),
                    city=city,
                    panorama=folder / "panorama" / fields[0],
                    satellite=folder / "satellite" / name,
                    depth=folder / depth_folder / f"{stem}.png",
                    rows_down_px=offset[0],
                    cols_left_px=offset[1],
                )
            )
    return items


class VigorDataset:
    """Samples of VIGOR.

    Each panorama is turned by a random heading within the range: it is rolled by whole columns,
    and the truth is the heading of the rolled image, to the column.

    Args:
        root: root of the data set.
        area: ``samearea`` (all cities in both splits) or ``crossarea`` (trained on two cities,
            tested on the others).
        split: ``train`` or ``test``.
        labels: label folder; None for the best one that is there.
        heading_range_deg: half-width of the random heading about north, 0 to 180.
        seed: of the headings; with a sample's name it decides its heading.
        semi_positives: use the three further aerial images of each panorama as samples too.
        with_depth: read depth files.
        ground_size_px: (height, width) to which panoramas are resized.
        aerial_size_px: side to which aerial images are resized.

    Raises:
        DatasetNotFoundError: root, label folder or a label file is missing.
        InputError: an option or a label line is wrong.
    """

    def __init__(
        self,
        root: str | Path,
        area: Area = "samearea",
        split: Split = "test",
        *,
        labels: str | None = None,
        heading_range_deg: float = 0.0,
        seed: int = 0,
        semi_positives: bool = False,
        with_depth: bool = True,
        ground_size_px: tuple[int, int] = (714, 1428),
        aerial_size_px: int = 630,
    ) -> None:
        if area not in get_args(Area) or split not in get_args(Split):
            raise InputError(f"VIGOR has no {area} {split}; areas: samearea, crossarea")
        if not 0.0 <= heading_range_deg <= 180.0:
            raise InputError(f"heading range must lie in 0 to 180, got {heading_range_deg:g}")
        self.root = Path(root)
        self.labels = find_labels(self.root, labels)
        self.heading_range_deg = heading_range_deg
        self.seed = seed
        self.with_depth = with_depth
        self.ground_size_px = ground_size_px
        self.aerial_size_px = aerial_size_px
        stem = label_name(area, split)
        self.items = [
            item
            for city in cities_of(area, split)
            for item in read_labels(
                label_file(self.labels, city, stem), self.root, city, semi_positives
            )
        ]

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.items)

    def sample_id(self, index: int) -> str:
        """Return the unique name of a sample."""
        return self.items[index].id

    def group(self, index: int) -> str:
        """Return the sample's city."""
        return self.items[index].city

    def aerial_side_m(self, index: int) -> float:
        """Return the nominal side of the aerial image, metres."""
        return RAW_AERIAL_PX * METERS_PER_PIXEL[self.items[index].city]

    def drawn_heading_deg(self, index: int) -> float:
        """Return the random heading asked for, degrees; the image shows it to the column."""
        return draw(self.seed, self.items[index].id, 1)[0] * self.heading_range_deg

    def truth(self, index: int, heading_deg: float | None = None) -> Pose:
        """Return the true pose.

        Args:
            index: which sample.
            heading_deg: heading to show in place of the drawn one, degrees.
        """
        item = self.items[index]
        roll_px = self._roll_px(index, heading_deg)
        meters_per_pixel = METERS_PER_PIXEL[item.city]
        return Pose(
            east_m=-item.cols_left_px * meters_per_pixel,
            north_m=-item.rows_down_px * meters_per_pixel,
            heading_deg=wrap_heading_deg(-roll_px / self.ground_size_px[1] * 360.0),
        )

    def load(self, index: int, heading_deg: float | None = None) -> Sample:
        """Read a sample.

        Args:
            index: which sample.
            heading_deg: heading to show in place of the drawn one, degrees.

        Raises:
            InputError: one of its files is missing or damaged.
        """
        item = self.items[index]
        height, width = self.ground_size_px
        roll_px = self._roll_px(index, heading_deg)
        panorama = open_image(item.panorama, "panorama")
        ground = to_tensor(panorama.resize((width, height), Image.Resampling.BILINEAR))
        camera = Equirectangular(width, height)
        depth: DepthMap | None = None
        if self.with_depth:
            file_depth = load_depth(item.depth, camera, unit="mm", kind="range")
            depth = _rolled(resize_nearest(file_depth, height, width), roll_px)
        satellite = open_image(item.satellite, "aerial image")
        raw_px, side = satellite.height, self.aerial_size_px
        aerial = to_tensor(satellite.resize((side, side), Image.Resampling.BILINEAR))
        return Sample(
            id=item.id,
            group=item.city,
            ground=torch.roll(ground, roll_px, dims=-1),
            camera=camera,
            aerial=aerial,
            meters_per_pixel=METERS_PER_PIXEL[item.city] * raw_px / side,
            truth=self.truth(index, heading_deg),
            depth=depth,
        )

    def _roll_px(self, index: int, heading_deg: float | None) -> int:
        """Return by how many columns to roll to the right: turning left shows more of the left."""
        turn_deg = self.drawn_heading_deg(index) if heading_deg is None else heading_deg
        return round(-turn_deg / 360.0 * self.ground_size_px[1])


def _rolled(depth: DepthMap, roll_px: int) -> DepthMap:
    turned = (torch.roll(part, roll_px, dims=-1) for part in (depth.depth, depth.valid))
    return replace(depth, depth=next(turned), valid=next(turned))
