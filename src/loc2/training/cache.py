"""The feature cache: what a frozen backbone makes of every pair, in safetensors shards.

A shard's name carries a key over everything that decides its content (backbone weights, grids,
source, augmentation), so a shard of another key is never read. Each is written atomically; a build
that is interrupted makes those that are missing.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from loc2.errors import DatasetNotFoundError, InputError, Loc2Error
from loc2.model import Loc2Model, ModelConfig
from loc2.published.config import PublishedConfig
from loc2.published.model import PublishedModel
from loc2.training.cells import Cells, make_cells
from loc2.training.distributed import Processes
from loc2.training.images import ImageAugmentConfig, augment_pair
from loc2.training.pairs import PairSource
from loc2.training.published_objective import make_published_cells
from loc2.training.reading import process_pool, read_ahead

logger = logging.getLogger(__name__)

_INDEX = "index.json"
_GRID_FIELDS = {
    "backbone", "blocks", "image_mean", "image_std", "panorama_cell_deg", "panorama_top_deg",
    "panorama_bottom_deg", "pinhole_cell_deg", "aerial_cell_m", "max_aerial_cells", "max_range_m",
}  # fmt: skip
_PUBLISHED_FIELDS = {
    "backbone", "projection", "ground_size_px", "aerial_size_px", "image_mean", "image_std",
    "max_depth_m", "compatibility",
}  # fmt: skip

CellModel = Loc2Model | PublishedModel
"""A backbone with the grids of its cells."""


class CacheConfig(BaseModel):
    """How a cache is built.

    Attributes:
        variants: differently augmented copies of each pair.
        shard_size: pairs in a shard, with all their copies.
        augment: what differs between the copies.
        bfloat16: run the backbone in bfloat16, which costs no measurable accuracy.
        max_failed_share: stop when more than this share of the pairs is missing or broken.
        seed: of the augmentation.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    variants: int = Field(default=1, ge=1)
    shard_size: int = Field(default=32, ge=1)
    augment: ImageAugmentConfig | None = None
    bfloat16: bool = True
    max_failed_share: float = Field(default=0.02, ge=0, le=1)
    seed: int = 0


def weights_checksum(model: CellModel) -> str:
    """Return a checksum of the backbone's parameters."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.backbone.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def cache_key(model: CellModel, source: PairSource, config: CacheConfig) -> str:
    """Return a key over everything that decides the cache's content."""
    record = {
        "version": 4,
        "weights": weights_checksum(model),
        "grids": _grid_settings(model),
        "source": source.fingerprint,
        "ids": list(source.ids),
        "config": config.model_dump(mode="json", exclude={"max_failed_share"}),
    }
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _grid_settings(model: CellModel) -> dict[str, Any]:
    fields = _PUBLISHED_FIELDS if isinstance(model, PublishedModel) else _GRID_FIELDS
    return model.config.model_dump(mode="json", include=fields)


def build_cache(
    model: CellModel,
    source: PairSource,
    folder: Path,
    config: CacheConfig,
    progress: Callable[[int, int], None] | None = None,
    workers: int = 0,
    processes: Processes | None = None,
) -> FeatureCache:
    """Compute the features of every pair, or of those that an earlier build has left out.

    Args:
        model: backbone and grids; its heads are not used.
        source: pairs.
        folder: where shards go; made if it is missing.
        config: how.
        progress: called with the number of pairs done and of all.
        workers: processes beside this one. On the CPU each reads pairs and runs the network on
            them, with its share of the threads; for a GPU they read ahead of it.
        processes: those of the run, which share the shards; this one alone by default.

    Returns:
        The cache, ready to read.

    Raises:
        InputError: the folder holds a cache of other content, or too many pairs are broken.
    """
    key = cache_key(model, source, config)
    folder.mkdir(parents=True, exist_ok=True)
    index_path = folder / _INDEX
    if index_path.exists() and _read_index(folder)["key"] != key:
        raise InputError(
            f"{folder}: holds a feature cache of other weights, pairs or settings; "
            "give another folder or delete it"
        )
    jobs = range(len(source.ids))
    parts = [jobs[k : k + config.shard_size] for k in range(0, len(jobs), config.shard_size)]
    names = [f"{key[:12]}-{number:05d}.safetensors" for number in range(len(parts))]
    index = {
        "key": key,
        "config": config.model_dump(mode="json"),
        "model": model.config.model_dump(mode="json"),
        "source": source.fingerprint,
        "shards": names,
    }
    rank, count = (processes.rank, processes.count) if processes is not None else (0, 1)
    _write_text(index_path, json.dumps(index, indent=1), rank)
    mine = [(n, p) for k, (n, p) in enumerate(zip(names, parts, strict=True)) if k % count == rank]
    failed: list[str] = []
    done = 0
    shards = [(folder / name, part) for name, part in mine]
    missing = {path: part for path, part in shards if not path.exists()}
    total = sum(len(part) for _, part in mine)
    writer = _ShardWriter(model, source, config)
    with contextlib.closing(writer.write(list(missing.items()), workers)) as written:
        for path, part in shards:
            if path in missing:
                left_out = next(written)
                for line in left_out:
                    logger.warning("pair left out: %s", line)
            else:
                left_out = _shard_header(path)["failed"]
            failed += left_out
            done += len(part)
            if len(failed) > config.max_failed_share * total:
                raise InputError(
                    f"{folder}: {len(failed)} of {done} pairs are missing or broken, more than the "
                    f"{config.max_failed_share:.0%} allowed; the last: {failed[-1]}"
                )
            if progress is not None:
                progress(done, total)
    if processes is not None:
        processes.wait()
    return FeatureCache(folder)


@dataclass(frozen=True)
class _Reader:
    """Reads a pair's variants as cells that hold images, where there is no network."""

    model_config: ModelConfig | PublishedConfig
    source: PairSource
    config: CacheConfig

    def __call__(self, index: int) -> list[Cells]:
        return [
            read_cells(self.model_config, self.source, index, variant, self.config)
            for variant in range(self.config.variants)
        ]


Shard = tuple[Path, Sequence[int]]
"""A file to write, and the indices of its pairs."""


@dataclass(frozen=True)
class _ShardWriter:
    """Writes shards: reads pairs and runs the backbone on them."""

    model: CellModel
    source: PairSource
    config: CacheConfig

    def write(self, shards: Sequence[Shard], workers: int) -> Generator[list[str]]:
        """Write shards and yield what failed in each, in their order."""
        if workers and shards and self.model.device.type == "cpu":
            # Each reads and describes in turn: all cores are busy, whichever takes longer.
            yield from self._write_in_processes(shards, workers)
            return
        read = self._read([index for _, part in shards for index in part], workers)
        for shard in shards:
            yield self._write_one(shard, read)

    def write_alone(self, shard: Shard) -> list[str]:
        """Write a shard and return what failed."""
        return self._write_one(shard, self._read(shard[1], 0))

    def _read(self, indices: Sequence[int], workers: int) -> Iterator[list[Cells] | Loc2Error]:
        reader = _Reader(self.model.config, self.source, self.config)
        return read_ahead(reader, indices, workers)

    def _write_in_processes(self, shards: Sequence[Shard], workers: int) -> Iterator[list[str]]:
        threads = max(torch.get_num_threads() // workers, 1)
        with TemporaryDirectory() as folder:
            # By way of a file, whose pages all share: backbones may be large.
            path = Path(folder) / "writer.pt"
            torch.save(self, path)
            with process_pool(workers, threads, _start_writing, path) as pool:
                yield from pool.map(_write_in_process, shards)

    def _write_one(self, shard: Shard, read: Iterator[list[Cells] | Loc2Error]) -> list[str]:
        path, part = shard
        samples: list[dict[str, Any]] = []
        failed: list[str] = []
        tensors: dict[str, torch.Tensor] = {}
        for index in part:
            name = self.source.ids[index]
            variants = next(read)
            if isinstance(variants, Loc2Error):
                failed.append(f"{name}: {variants}")
                continue
            for variant, images in enumerate(variants):
                cells = cell_features(self.model, images, self.config.bfloat16)
                number = len(samples)
                shape = _shape(cells)
                samples.append({"id": name, "variant": variant, "wrap": cells.wrap, "shape": shape})
                for field, tensor in cells.tensors().items():
                    half = field in ("ground", "aerial")
                    tensors[f"{number}/{field}"] = (tensor.half() if half else tensor).contiguous()
        header = {"samples": samples, "failed": failed}
        partial = path.with_suffix(".partial")
        save_file(tensors, partial, {"loc2": json.dumps(header)})
        partial.replace(path)
        return failed


_writer: _ShardWriter | None = None  # of a process that writes shards


def _start_writing(path: Path) -> None:
    global _writer
    _writer = torch.load(path, weights_only=False, mmap=True)  # our own, written a moment ago


def _write_in_process(shard: Shard) -> list[str]:
    assert _writer is not None
    return _writer.write_alone(shard)


def read_cells(
    model_config: ModelConfig | PublishedConfig,
    source: PairSource,
    index: int,
    variant: int,
    config: CacheConfig,
) -> Cells:
    """Read a pair, vary it, and resample it to cells that hold images.

    Args:
        model_config: decides the grids.
        source: of the pair.
        index: of the pair in its source.
        variant: number of the augmented copy.
        config: its augmentation and seed are used.

    Raises:
        Loc2Error: the pair is missing or broken.
    """
    pair = source.read(index, variant)
    if config.augment is not None:
        pair = augment_pair(pair, config.augment, config.seed * 1000 + variant)
    if isinstance(model_config, PublishedConfig):
        return make_published_cells(model_config, pair)
    return make_cells(_grids(model_config), pair)


@functools.cache
def _grids(model_config: ModelConfig) -> Loc2Model:
    """Return a model without weights, which knows its grids and costs next to nothing."""
    with torch.device("meta"):
        return Loc2Model(model_config)


@torch.inference_mode()
def cell_features(model: CellModel, cells: Cells, bfloat16: bool = False) -> Cells:
    """Replace the images of one pair's cells by backbone features, on the CPU."""
    maps = []
    for image in (cells.ground, cells.aerial):
        with torch.autocast(model.device.type, torch.bfloat16, enabled=bfloat16):
            maps.append(model.features(image[None])[0].float().cpu())
    return replace(cells, ground=maps[0], aerial=maps[1])


def _shape(cells: Cells) -> list[int]:
    return [int(cells.wrap), *cells.ground_shape, *cells.aerial_shape]


@dataclass(frozen=True)
class _Entry:
    shard: int
    number: int
    id: str
    shape: tuple[int, ...]
    wrap: bool


class FeatureCache:
    """A finished (or growing) cache, read sample by sample; files are mapped, not loaded.

    Args:
        folder: where :func:`build_cache` wrote it.

    Raises:
        DatasetNotFoundError: there is no cache, or none of its shards.
        InputError: a file of it is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        index = _read_index(folder)
        self.key: str = index["key"]
        self.backbone: tuple[str, tuple[int, ...]] = (
            index["model"]["backbone"],
            tuple(index["model"].get("blocks", ())),
        )
        self.paths = [folder / n for n in index["shards"] if (folder / n).exists()]
        self.failed: list[str] = []
        self.entries: list[_Entry] = []
        for shard, path in enumerate(self.paths):
            header = _shard_header(path)
            self.failed += header["failed"]
            self.entries += [
                _Entry(shard, number, s["id"], tuple(s["shape"]), s["wrap"])
                for number, s in enumerate(header["samples"])
            ]
        if not self.entries:
            raise DatasetNotFoundError(f"feature cache {folder}: holds no pairs; build it first")
        self._open: dict[int, Any] = {}

    def __len__(self) -> int:
        """Return the number of samples, variants counted."""
        return len(self.entries)

    def __iter__(self) -> Iterator[Cells]:
        """Read all samples."""
        return (self[index] for index in range(len(self)))

    def shape(self, index: int) -> tuple[int, ...]:
        """Return what must be equal within a batch."""
        return self.entries[index].shape

    def __getitem__(self, index: int) -> Cells:
        """Read the features and geometry of a sample.

        Raises:
            InputError: the shard is damaged.
        """
        return self.read(index)

    def read(self, index: int, aerial: bool = True) -> Cells:
        """Read the features and geometry of a sample.

        Args:
            index: of the sample.
            aerial: read the aerial features, which are over half of it; none of their channels
                if False.

        Raises:
            InputError: the shard is damaged.
        """
        entry = self.entries[index]
        path = self.paths[entry.shard]
        try:
            if entry.shard not in self._open:
                # Kept open: mapping a shard costs more than reading a sample from it.
                self._open[entry.shard] = safe_open(path, framework="pt")
            file = self._open[entry.shard]
            names = [n for n in Cells.__dataclass_fields__ if n not in ("ids", "wrap")]
            whole = [n for n in names if aerial or n != "aerial"]
            tensors = {name: file.get_tensor(f"{entry.number}/{name}") for name in whole}
            if not aerial:
                tensors["aerial"] = file.get_slice(f"{entry.number}/aerial")[:0]
        except (SafetensorError, OSError) as error:
            raise InputError(
                f"{path}: damaged feature cache; delete this file and build again"
            ) from error
        return Cells(ids=(entry.id,), wrap=entry.wrap, **tensors)


def _read_index(folder: Path) -> dict[str, Any]:
    path = folder / _INDEX
    if not path.is_file():
        raise DatasetNotFoundError(f"feature cache {folder}: no {_INDEX} there; build it first")
    try:
        index: dict[str, Any] = json.loads(path.read_text())
        index["key"], index["shards"], index["model"]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: damaged; delete the folder and build again") from error
    return index


def _shard_header(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, framework="pt") as file:
            header: dict[str, Any] = json.loads(file.metadata()["loc2"])
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise InputError(
            f"{path}: damaged feature cache; delete this file and build again"
        ) from error
    return header


def _write_text(path: Path, text: str, rank: int) -> None:
    partial = path.with_name(f"{path.name}.partial{rank}")
    partial.write_text(text)
    partial.replace(path)
