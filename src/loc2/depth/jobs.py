"""Depth of whole folders: which images, whole files, resumed where it was stopped."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from glob import escape
from pathlib import Path

from torch import Tensor

from loc2 import __version__
from loc2.cameras import Camera, Equirectangular
from loc2.data.pairs import read_pairs
from loc2.depth.base import DepthMap, DepthModel
from loc2.depth.masks import MaskOptions, apply_masks
from loc2.depth.perspective import DepthModelInfo
from loc2.depth.preview import preview
from loc2.depth.record import DepthRecord, camera_spec, read_record, record_path
from loc2.depth.store import DepthFormat, depth_suffix, to_metric, write_depth
from loc2.errors import DatasetNotFoundError, InputError, Loc2Error
from loc2.inputs import CameraSpec, load_image, resolve_camera
from loc2.inputs.metadata import PhotoMetadata
from loc2.inputs.photo_priors import photo_priors
from loc2.outputs import atomic_path, ensure_directory

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".heic", ".heif"})
PREVIEW_FOLDER = "previews"
_READ_AHEAD = 2


@dataclass(frozen=True)
class DepthJob:
    """One image to make depth of.

    Attributes:
        image: the file.
        name: of its outputs, relative to the output folder, without suffix.
        camera: what is said of its camera.
    """

    image: Path
    name: Path
    camera: CameraSpec


@dataclass(frozen=True)
class DepthOptions:
    """How depth is made and kept.

    Attributes:
        form: format of the files.
        masks: what is masked.
        mask_files: a mask file for all, or a folder of files named as the outputs (.png).
        camera_height_m: of all images whose camera does not say it, metres; makes relative depth
            metric.
        previews: write pictures into ``previews``.
        workers: threads that read and write.
        overwrite: make what is already there again.
    """

    form: DepthFormat = "npz"
    masks: MaskOptions = field(default_factory=MaskOptions)
    mask_files: Path | None = None
    camera_height_m: float | None = None
    previews: bool = True
    workers: int = 2
    overwrite: bool = False

    def __post_init__(self) -> None:
        """Reject numbers that do no work."""
        if self.workers < 1:
            raise InputError(f"workers must be 1 or more, got {self.workers}")
        height_m = self.camera_height_m
        if height_m is not None and not 0 < height_m <= 1000:
            raise InputError(f"camera height must lie in (0, 1000] metres, got {height_m:g}")


@dataclass
class DepthSummary:
    """What was done.

    Attributes:
        made: files written.
        kept: files that were there already.
        failed: name and reason of each image that could not be done.
    """

    made: int = 0
    kept: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)


def find_jobs(
    inputs: Sequence[Path], camera: CameraSpec, output: Path | None = None
) -> list[DepthJob]:
    """Collect images.

    Args:
        inputs: image files, folders (searched through) and manifests of pairs (.csv), whose rows
            say their cameras.
        camera: what is said of the cameras of the others.
        output: folder that depth goes to; what it holds is not looked at.

    Returns:
        Jobs in a fixed order; below a folder, outputs are named by the path inside it.

    Raises:
        DatasetNotFoundError: an input does not exist, or there is no image.
        InputError: two images would have the same output.
    """
    jobs: list[DepthJob] = []
    made = None if output is None else output.resolve()
    for given in inputs:
        if given.is_dir():
            for path in sorted(given.rglob("*")):
                if path.suffix.lower() not in IMAGE_SUFFIXES or not path.is_file():
                    continue
                if made not in path.resolve().parents:
                    jobs.append(DepthJob(path, path.relative_to(given).with_suffix(""), camera))
        elif given.suffix.lower() == ".csv":
            for pair in read_pairs(given):
                jobs.append(DepthJob(pair.ground, Path(pair.ground.stem), pair.camera_spec()))
        elif given.is_file():
            jobs.append(DepthJob(given, Path(given.stem), camera))
        else:
            raise DatasetNotFoundError(f"{given}: no such image or folder")
    if not jobs:
        raise DatasetNotFoundError(f"{inputs[0]}: no image in it")
    names: dict[Path, Path] = {}
    for job in jobs:
        if names.setdefault(job.name, job.image) != job.image:
            raise InputError(
                f"{names[job.name]} and {job.image} would both become {job.name}; "
                "give them apart, with an output folder each"
            )
    return list({job.name: job for job in jobs}.values())


def make_depth(
    jobs: Sequence[DepthJob],
    build: Callable[[float], DepthModel],
    info: DepthModelInfo,
    output: Path,
    options: DepthOptions,
    progress: Callable[[int], None] | None = None,
) -> DepthSummary:
    """Make depth of many images.

    An image is done when its record is there, which is written last. Reading ahead and writing
    behind are bounded, so memory does not grow with the number of images. An image that fails is
    reported and does not stop the others.

    Args:
        jobs: from :func:`find_jobs`.
        build: returns the model for a camera height in metres.
        info: what the model is.
        output: folder; used by one run at a time.
        options: how.
        progress: called with the number of finished images, failures included.

    Raises:
        InputError: the folder holds depth of other settings, and ``overwrite`` is not set.
        OutputError: the folder cannot be written.
    """
    ensure_directory(output)
    summary = DepthSummary()
    todo = [job for job in jobs if not _is_done(job, info, output, options)]
    summary.kept = len(jobs) - len(todo)
    for job in todo:
        for folder in (output, output / PREVIEW_FOLDER):
            _remove_remains(folder / job.name)
    done = summary.kept
    if progress is not None:
        progress(done)
    with ThreadPoolExecutor(options.workers) as pool:
        writing: deque[tuple[DepthJob, Future[None]]] = deque()
        for job, reading in _ahead(pool, todo, options.workers):
            try:
                image, camera, height_m = reading.result()
                depth_map = _estimate(job, image, camera, height_m, build, options)
                work = pool.submit(
                    _write, job, image, camera, height_m, depth_map, info, output, options
                )
                writing.append((job, work))
            except Loc2Error as error:
                summary.failed.append((str(job.image), str(error)))
            while writing and (len(writing) > options.workers or writing[0][1].done()):
                _finish(*writing.popleft(), summary)
            if progress is not None:
                progress(done + summary.made + len(summary.failed))
        while writing:
            _finish(*writing.popleft(), summary)
    if progress is not None:
        progress(done + summary.made + len(summary.failed))
    return summary


_UNITS = {"npz": ("m", "relative"), "png-mm": ("mm",), "png-256": ("m/256",)}
"""What :func:`loc2.depth.store.write_depth` states for each format."""

_Read = tuple[Tensor, Camera, float | None]


def _ahead(
    pool: ThreadPoolExecutor, jobs: Sequence[DepthJob], workers: int
) -> Iterator[tuple[DepthJob, Future[_Read]]]:
    """Yield jobs with their images, a few read ahead."""
    waiting: deque[tuple[DepthJob, Future[_Read]]] = deque()
    for job in jobs:
        waiting.append((job, pool.submit(_read, job)))
        if len(waiting) >= _READ_AHEAD * workers:
            yield waiting.popleft()
    while waiting:
        yield waiting.popleft()


def _read(job: DepthJob) -> _Read:
    image = load_image(job.image, "ground image")
    given = PhotoMetadata(
        camera=job.camera if job.camera.model_fields_set - {"camera_height_m"} else None
    )
    found = photo_priors(job.image, given)
    if found.crop is not None:
        raise InputError(f"ground image {job.image}: a panorama that does not go all around")
    spec = found.camera or job.camera
    try:
        camera = resolve_camera(spec, image.shape[-1], image.shape[-2])
    except InputError as error:
        raise InputError(f"{job.image}: {error}") from error
    return image, camera, job.camera.camera_height_m or spec.camera_height_m


def _estimate(
    job: DepthJob,
    image: Tensor,
    camera: Camera,
    height_m: float | None,
    build: Callable[[float], DepthModel],
    options: DepthOptions,
) -> DepthMap:
    height_m = height_m or options.camera_height_m
    assumed_m = 2.5 if isinstance(camera, Equirectangular) else 1.6
    depth_map = build(height_m or assumed_m)(image, camera)
    if not depth_map.metric and height_m is not None:
        depth_map = to_metric(depth_map, camera, height_m)
    file = options.mask_files
    if file is not None and file.is_dir():
        file = _named(file, job, ".png")
    return apply_masks(depth_map, camera, image, options.masks, file)


def _write(
    job: DepthJob,
    image: Tensor,
    camera: Camera,
    height_m: float | None,
    depth_map: DepthMap,
    info: DepthModelInfo,
    output: Path,
    options: DepthOptions,
) -> None:
    height_m = height_m or options.camera_height_m
    scaled = info.quantity != "metric" and depth_map.metric
    record = DepthRecord(
        image=job.image.name,
        model=info.name,
        version=info.version,
        licence=info.licence,
        kind=depth_map.kind,
        unit="m",
        scaled_by="camera height" if scaled else None,
        far_limit_m=options.masks.far_m or info.far_m,
        camera=camera_spec(camera, height_m),
        camera_height_m=height_m,
        masks=_mask_names(options),
        valid_percent=0.0,
        software=f"loc2 {__version__}",
    )
    path = _target(output, job, options)
    if options.previews:
        with atomic_path(_named(output / PREVIEW_FOLDER, job, ".jpg")) as temporary:
            preview(image, depth_map).save(temporary, quality=85)
    write_depth(path, depth_map, camera, options.form, record)


def _named(folder: Path, job: DepthJob, suffix: str) -> Path:
    return folder / job.name.with_name(job.name.name + suffix)  # the name may hold dots


def _target(output: Path, job: DepthJob, options: DepthOptions) -> Path:
    return _named(output, job, depth_suffix(options.form))


def _mask_names(options: DepthOptions) -> list[str]:
    return options.masks.names() + (["file"] if options.mask_files is not None else [])


def _finish(job: DepthJob, work: Future[None], summary: DepthSummary) -> None:
    try:
        work.result()
        summary.made += 1
    except InputError as error:
        summary.failed.append((str(job.image), str(error)))


def _is_done(job: DepthJob, info: DepthModelInfo, output: Path, options: DepthOptions) -> bool:
    path = _target(output, job, options)
    if options.overwrite:
        return False
    record = read_record(path)
    if record is None:
        return False
    made_by = (record.model, record.version, record.masks)
    if made_by != (info.name, info.version, _mask_names(options)):
        raise InputError(
            f"{record_path(path)}: made by {record.model!r} {record.version}, masks "
            f"{', '.join(record.masks) or 'none'}; "
            "use another --output, or --overwrite"
        )
    height_m = job.camera.camera_height_m or options.camera_height_m
    if record.unit not in _UNITS[options.form] or (
        height_m is not None and height_m != record.camera_height_m
    ):
        raise InputError(
            f"{record_path(path)}: made with another --format or camera height (unit "
            f"{record.unit}, {record.camera_height_m} m); use another --output, or --overwrite"
        )
    return path.is_file()


def _remove_remains(target: Path) -> None:
    """Remove temporary files that a killed run left behind."""
    if target.parent.is_dir():
        for path in target.parent.glob(f".{escape(target.name)}-*"):
            path.unlink(missing_ok=True)
