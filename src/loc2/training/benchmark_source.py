"""VIGOR and KITTI as sources of training pairs, split so that places stay apart."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from loc2.data.kitti import KittiDataset, Noise
from loc2.data.samples import Sample, draw
from loc2.data.vigor import Area, VigorDataset
from loc2.training.pairs import TrainingPair
from loc2.training.splits import lat_lon_in_name, lat_lon_to_m, split_groups, split_places

VIGOR_CAMERA_HEIGHT_M = 2.5
KITTI_CAMERA_HEIGHT_M = 1.65


class BenchmarkSource:
    """Some samples of a benchmark.

    Args:
        ids: names of all samples of the data set.
        load: reads a sample by its index and the number of its draw.
        indices: which samples.
        camera_height_m: of the recording vehicle, metres.
        settings: text that names all that the samples depend on.
    """

    def __init__(
        self,
        ids: Sequence[str],
        load: Callable[[int, int], Sample],
        indices: Sequence[int],
        camera_height_m: float,
        settings: str,
    ) -> None:
        self.load = load
        self.indices = indices
        self.camera_height_m = camera_height_m
        self.settings = settings
        self.ids = [ids[i] for i in indices]

    @property
    def fingerprint(self) -> str:
        """The data set's settings; names are compared apart."""
        return self.settings

    def read(self, index: int, variant: int) -> TrainingPair:
        """Read a sample, with its own heading or noise for every variant.

        Raises:
            InputError: one of its files is missing or damaged.
        """
        sample = self.load(self.indices[index], variant)
        return TrainingPair(
            id=sample.id,
            ground=sample.ground,
            camera=sample.camera,
            aerial=sample.aerial,
            meters_per_pixel=sample.meters_per_pixel,
            pose=sample.truth,
            camera_height_m=self.camera_height_m,
            depth=sample.depth,
        )


@dataclass(frozen=True)
class _VigorLoader:
    dataset: VigorDataset

    def __call__(self, index: int, variant: int) -> Sample:
        data = self.dataset
        turn = draw(data.seed + variant, data.items[index].id, 1)[0]
        return data.load(index, turn * data.heading_range_deg)


@dataclass(frozen=True)
class _KittiLoader:
    dataset: KittiDataset

    def __call__(self, index: int, variant: int) -> Sample:
        data = self.dataset
        return data.load(index, Noise(*draw(data.seed + variant, data.items[index].id, 3)))


def vigor_sources(
    root: Path,
    area: Area,
    heading_range_deg: float,
    with_depth: bool,
    share: float,
    distance_m: float,
    seed: int,
) -> tuple[BenchmarkSource, BenchmarkSource]:
    """Split VIGOR's training set by position; the test set is never opened.

    Args:
        root: of the data set.
        area: ``samearea`` or ``crossarea``.
        heading_range_deg: half-width of the random heading, degrees.
        with_depth: read depth files.
        share: of the places for validation.
        distance_m: panoramas nearer than this are on one side, metres.
        seed: of headings and split.
    """
    dataset = VigorDataset(
        root, area, "train", heading_range_deg=heading_range_deg, seed=seed, with_depth=with_depth
    )
    found = [lat_lon_in_name(item.panorama.name) for item in dataset.items]
    known = [i for i, place in enumerate(found) if place is not None]
    places_m = [lat_lon_to_m(*found[i]) for i in known]  # type: ignore[misc]
    rest = [i for i, place in enumerate(found) if place is None]
    tiles = [f"{dataset.items[i].city} {dataset.items[i].satellite.name}" for i in rest]
    parts = tuple(
        sorted([*(known[k] for k in near), *(rest[k] for k in others)])
        for near, others in zip(
            split_places(places_m, share, distance_m, seed),
            split_groups(tiles, share, seed),
            strict=True,
        )
    )
    ids = [item.id for item in dataset.items]
    digest = _digest(
        (f"{item.id} {item.rows_down_px} {item.cols_left_px}",  # labels were corrected once
         (item.panorama, item.satellite, item.depth))
        for item in dataset.items
    )  # fmt: skip
    settings = f"vigor {area} {heading_range_deg} {with_depth} {seed} {digest}"
    train, validation = (
        BenchmarkSource(ids, _VigorLoader(dataset), part, VIGOR_CAMERA_HEIGHT_M, settings)
        for part in parts
    )
    return train, validation


def _digest(samples: Iterable[tuple[str, Iterable[Path]]]) -> str:
    """Return a checksum over what is said of samples, and over their files' sizes and times."""
    digest = hashlib.sha256()
    for text, files in samples:
        digest.update(text.encode())
        for path in files:
            if path.is_file():
                status = path.stat()
                digest.update(f"{path.name} {status.st_size} {status.st_mtime_ns}".encode())
    return digest.hexdigest()


def kitti_sources(
    root: Path, heading_range_deg: float, with_depth: bool, share: float, seed: int
) -> tuple[BenchmarkSource, BenchmarkSource]:
    """Split KITTI's training list by drive; the test lists are never opened.

    Args:
        root: of the data set.
        heading_range_deg: half-width of the heading noise, degrees.
        with_depth: read depth files.
        share: of the drives for validation.
        seed: of noise and split.
    """
    dataset = KittiDataset(
        root, "train", heading_range_deg=heading_range_deg, seed=seed, with_depth=with_depth
    )
    parts = split_groups([item.drive for item in dataset.items], share, seed)
    ids = [item.id for item in dataset.items]
    digest = _digest((item.id, dataset.files(k)) for k, item in enumerate(dataset.items))
    settings = f"kitti {heading_range_deg} {with_depth} {seed} {digest}"
    train, validation = (
        BenchmarkSource(ids, _KittiLoader(dataset), part, KITTI_CAMERA_HEIGHT_M, settings)
        for part in parts
    )
    return train, validation
