"""KITTI for cross-view localization (Geiger et al. 2013; splits and maps of Shi and Li 2022).

Layout: KITTI raw, with aerial images and depth maps beside it::

    ROOT/raw_data/<day>/<drive>/image_02/data/<frame>.png
    ROOT/raw_data/<day>/<drive>/oxts/data/<frame>.txt
    ROOT/raw_data/<day>/calib_cam_to_cam.txt
    ROOT/satmap/<day>/<drive>/<frame>.png                       1280 px, north up, GPS at its centre
    ROOT/depth_anythingv2_depth/<day>/<drive>/depth/<frame>.png 16-bit, z-depth in metres times 256
    ROOT/{train,test1,test2}_files.txt                          the benchmark's lists

The aerial image is turned until the vehicle's heading points right, moved to the camera, moved
by a shift of up to 20 m along each axis, turned by an angle within the heading range, and cropped.
Without noise the camera therefore looks right: its heading is 90 degrees.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from PIL import Image

from loc2.cameras import Pinhole
from loc2.data.samples import Sample, draw, open_image, resize_nearest, to_tensor
from loc2.depth import DepthMap
from loc2.depth.files import load_depth
from loc2.errors import DatasetNotFoundError, InputError
from loc2.frames import Pose, wrap_heading_deg

KittiSplit = Literal["train", "test1", "test2"]

LIST_LENGTHS: dict[KittiSplit, int] = {"train": 19655, "test1": 3773, "test2": 7542}
"""Lines of the benchmark's complete lists."""

METERS_PER_PIXEL = 156543.03392 * math.cos(math.radians(49.015)) / 2**18 / 2
"""Ground sampling distance of the aerial images, metres: web map zoom 18, doubled."""

NOMINAL_HEADING_DEG = 90.0
"""Heading without noise: the aerial image is turned until the camera looks right."""

SHIFT_RANGE_M = 20.0
CROP_PX = 512
DEPTH_FOLDER = "depth_anythingv2_depth"

CAMERA_HEIGHT_M = 1.65
"""Height of the colour cameras above the ground (Geiger et al. 2013)."""

_CAMERA_FORWARD_M = 1.08  # camera from the GPS receiver
_CAMERA_RIGHT_M = 0.26


@dataclass(frozen=True)
class Noise:
    """How far the aerial image is moved and turned, all in [-1, 1].

    Attributes:
        forward: shift of the image's centre along the heading, in units of 20 m.
        left: shift of the image's centre to the left of the heading, in units of 20 m.
        turn: counter-clockwise turn of the image, in units of the heading range.
    """

    forward: float
    left: float
    turn: float


class KittiFiles(NamedTuple):
    """The files of one sample."""

    photo: Path
    calibration: Path
    oxts: Path
    satmap: Path
    depth: Path


@dataclass(frozen=True)
class KittiItem:
    """One line of a list.

    Attributes:
        id: day, drive and frame, with ``#k`` for the k-th repetition.
        day: recording day.
        drive: drive.
        frame: frame.
        noise: fixed noise of a test list; None in the training list.
    """

    id: str
    day: str
    drive: str
    frame: str
    noise: Noise | None


def list_path(folder: Path, split: KittiSplit) -> Path:
    """Return where the list of a split lies in the folder of lists."""
    return folder / f"{split}_files.txt"


def find_list(root: Path, split: KittiSplit, lists: Path | None = None) -> Path:
    """Return the file that lists the frames of a split.

    Args:
        root: root of the data set.
        split: which list.
        lists: folder of the lists; the root if None.

    Raises:
        DatasetNotFoundError: the root or the list is missing.
    """
    if not root.is_dir():
        raise DatasetNotFoundError(f"KITTI {root}: no such folder; see docs/kitti.md")
    path = list_path(lists or root, split)
    if not path.is_file():
        command = f"loc2 data fetch kitti {root}" + ("" if lists is None else f" --lists {lists}")
        raise DatasetNotFoundError(
            f"KITTI {path}: the benchmark's list ({LIST_LENGTHS[split]} lines) is missing; "
            f"'{command}' downloads it, docs/kitti.md says more"
        )
    return path


def read_list(path: Path, split: KittiSplit) -> list[KittiItem]:
    """Read a list of frames.

    Args:
        path: list; ``day/drive/frame.png`` a line, in test lists followed by three numbers: the
            shifts along and to the left with opposite sign, and the turn.
        split: which list it is.

    Raises:
        InputError: not a text file, or a line has another form; file and line are named.
    """
    items: list[KittiItem] = []
    seen: Counter[str] = Counter()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as text") from error
    for number, line in enumerate(text.splitlines(), start=1):
        fields = line.split()
        if not fields:
            continue
        parts = fields[0].split("/")
        if len(parts) != 3 or not parts[2].endswith(".png"):
            raise InputError(f"{path}, line {number}: expected day/drive/frame.png")
        noise = None
        if split != "train":
            try:
                x, y, turn = (float(value) for value in fields[1:])
            except ValueError as error:
                raise InputError(f"{path}, line {number}: expected three numbers") from error
            noise = Noise(forward=-x, left=-y, turn=turn)
        day, drive, frame = parts[0], parts[1], parts[2].removesuffix(".png")
        name = f"{day}/{drive}/{frame}"
        repeated = f"#{seen[name]}" if seen[name] else ""
        seen[name] += 1
        items.append(KittiItem(name + repeated, day, drive, frame, noise))
    if not items:
        raise InputError(f"{path}: the list is empty")
    return items


def read_camera(path: Path, width: int, height: int) -> Pinhole:
    """Read the left colour camera from a calibration file.

    Args:
        path: ``calib_cam_to_cam.txt``.
        width: image width, pixels.
        height: image height, pixels.

    Raises:
        InputError: the file is missing or holds no P_rect_02.
    """
    try:
        text = path.read_text(encoding="utf-8")
        lines = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        p = [float(value) for value in lines["P_rect_02"].split()]
        return Pinhole(width, height, 0.0, 0.0, fx=p[0], fy=p[5], cx=p[2], cy=p[6])
    except FileNotFoundError as error:
        raise InputError(f"calibration {path}: no such file") from error
    except (OSError, KeyError, ValueError, IndexError) as error:
        raise InputError(f"calibration {path}: no readable P_rect_02") from error


def read_yaw(path: Path) -> float:
    """Read the vehicle's yaw from an oxts file: radians, 0 east, counter-clockwise.

    Raises:
        InputError: the file is missing or damaged.
    """
    try:
        yaw = float(path.read_text(encoding="utf-8").split()[5])
    except FileNotFoundError as error:
        raise InputError(f"oxts {path}: no such file") from error
    except (OSError, ValueError, IndexError) as error:
        raise InputError(f"oxts {path}: no readable yaw") from error
    if not math.isfinite(yaw):
        raise InputError(f"oxts {path}: no readable yaw")
    return yaw


def aerial_crop(satmap: Image.Image, yaw: float, noise: Noise, turn_deg: float) -> Image.Image:
    """Turn, move and crop an aerial image, step by step as the benchmark does.

    Args:
        satmap: north-up image centred on the GPS receiver, :data:`METERS_PER_PIXEL`.
        yaw: vehicle's yaw, radians, 0 east, counter-clockwise.
        noise: shifts.
        turn_deg: final counter-clockwise turn, degrees.

    Returns:
        The central 512 pixels.
    """
    shift_px = SHIFT_RANGE_M / METERS_PER_PIXEL
    # Rotations sample the nearest pixel and translations bilinearly: the published numbers were
    # made on images resampled in this way.
    turned = satmap.rotate(-math.degrees(yaw), Image.Resampling.NEAREST)
    at_camera = _moved(
        turned, _CAMERA_FORWARD_M / METERS_PER_PIXEL, _CAMERA_RIGHT_M / METERS_PER_PIXEL
    )
    moved = _moved(at_camera, noise.forward * shift_px, -noise.left * shift_px)
    final = moved.rotate(turn_deg, Image.Resampling.NEAREST)
    left, top = (round((side - CROP_PX) / 2) for side in final.size)
    return final.crop((left, top, left + CROP_PX, top + CROP_PX))


def _moved(image: Image.Image, dx_px: float, dy_px: float) -> Image.Image:
    return image.transform(
        image.size,
        Image.Transform.AFFINE,
        (1.0, 0.0, dx_px, 0.0, 1.0, dy_px),
        Image.Resampling.BILINEAR,
    )


def true_pose(noise: Noise, turn_deg: float) -> Pose:
    """Return the camera's pose in the cropped aerial image.

    The image's centre moved forward and left of the camera, so the camera lies behind and to the
    right of it; the turn about the centre carries it along.

    Args:
        noise: shifts.
        turn_deg: counter-clockwise turn of the image, degrees.
    """
    turn = math.radians(turn_deg)
    east_m = -noise.forward * SHIFT_RANGE_M
    north_m = -noise.left * SHIFT_RANGE_M
    return Pose(
        east_m=east_m * math.cos(turn) - north_m * math.sin(turn),
        north_m=east_m * math.sin(turn) + north_m * math.cos(turn),
        heading_deg=wrap_heading_deg(NOMINAL_HEADING_DEG - turn_deg),
    )


class KittiDataset:
    """Samples of KITTI.

    Args:
        root: root of the data set.
        split: ``train``, ``test1`` (drives of the training set) or ``test2`` (other drives).
        heading_range_deg: half-width of the heading noise, 0 to 180.
        seed: of the noise of the training split; test lists hold their own.
        lists: folder of the lists; the root if None.
        with_depth: read depth files.
        ground_size_px: (height, width) to which photos are resized.
        aerial_size_px: side to which the cropped aerial images are resized.

    Raises:
        DatasetNotFoundError: the root or the list is missing.
        InputError: an option or a line of the list is wrong.
    """

    def __init__(
        self,
        root: str | Path,
        split: KittiSplit = "test1",
        *,
        heading_range_deg: float = 10.0,
        seed: int = 0,
        lists: str | Path | None = None,
        with_depth: bool = True,
        ground_size_px: tuple[int, int] = (364, 1232),
        aerial_size_px: int = 504,
    ) -> None:
        if split not in get_args(KittiSplit):
            raise InputError(f"KITTI has no split {split!r}; splits: {', '.join(LIST_LENGTHS)}")
        if not 0.0 <= heading_range_deg <= 180.0:
            raise InputError(f"heading range must lie in 0 to 180, got {heading_range_deg:g}")
        self.root = Path(root)
        self.heading_range_deg = heading_range_deg
        self.seed = seed
        self.with_depth = with_depth
        self.ground_size_px = ground_size_px
        self.aerial_size_px = aerial_size_px
        self.list = find_list(self.root, split, None if lists is None else Path(lists))
        self.items = read_list(self.list, split)

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.items)

    def sample_id(self, index: int) -> str:
        """Return the unique name of a sample."""
        return self.items[index].id

    def group(self, index: int) -> str:
        """Return the sample's drive."""
        return self.items[index].drive

    def aerial_side_m(self, index: int) -> float:
        """Return the side of the aerial crop, metres."""
        return CROP_PX * METERS_PER_PIXEL

    def noise(self, index: int) -> Noise:
        """Return the noise of a sample: from the test list, or drawn for training."""
        item = self.items[index]
        return item.noise or Noise(*draw(self.seed, item.id, 3))

    def truth(self, index: int, noise: Noise | None = None) -> Pose:
        """Return the true pose, for the sample's own noise or another."""
        noise = noise or self.noise(index)
        return true_pose(noise, noise.turn * self.heading_range_deg)

    def files(self, index: int) -> KittiFiles:
        """Return where the parts of a sample lie, whether or not they are there."""
        item = self.items[index]
        day, frame = self.root / "raw_data" / item.day, f"{item.frame}.png"
        return KittiFiles(
            photo=day / item.drive / "image_02" / "data" / frame,
            calibration=day / "calib_cam_to_cam.txt",
            oxts=day / item.drive / "oxts" / "data" / f"{item.frame}.txt",
            satmap=self.root / "satmap" / item.day / item.drive / frame,
            depth=self.root / DEPTH_FOLDER / item.day / item.drive / "depth" / frame,
        )

    def load(self, index: int, noise: Noise | None = None) -> Sample:
        """Read a sample.

        Args:
            index: which sample.
            noise: noise in place of the sample's own.

        Raises:
            InputError: one of its files is missing or damaged.
        """
        item, files = self.items[index], self.files(index)
        noise = noise or self.noise(index)
        height, width = self.ground_size_px
        photo = open_image(files.photo, "ground image")
        raw_camera = read_camera(files.calibration, photo.width, photo.height)
        depth: DepthMap | None = None
        if self.with_depth:
            file_depth = load_depth(files.depth, raw_camera, "m/256", "z")
            depth = resize_nearest(file_depth, height, width)
        yaw = read_yaw(files.oxts)
        satmap = open_image(files.satmap, "aerial image")
        if min(satmap.size) < CROP_PX:
            raise InputError(f"aerial image {files.satmap}: smaller than {CROP_PX} pixels")
        side = self.aerial_size_px
        crop = aerial_crop(satmap, yaw, noise, noise.turn * self.heading_range_deg)
        return Sample(
            id=item.id,
            group=item.drive,
            ground=to_tensor(photo.resize((width, height), Image.Resampling.BILINEAR)),
            camera=raw_camera.resized(width, height),
            aerial=to_tensor(crop.resize((side, side), Image.Resampling.BILINEAR)),
            meters_per_pixel=METERS_PER_PIXEL * CROP_PX / side,
            truth=self.truth(index, noise),
            depth=depth,
            camera_height_m=CAMERA_HEIGHT_M,
        )
