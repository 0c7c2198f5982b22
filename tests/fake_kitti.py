"""A scripted fake of the KITTI layout, for tests where the real excerpt is absent."""

import math
from pathlib import Path

import numpy as np
from PIL import Image

DAY, DRIVE = "2011_09_26", "2011_09_26_drive_0001_sync"
WIDTH, HEIGHT = 1242, 375
CALIBRATION = (
    "calib_time: 09-Jan-2012 13:57:47\n"
    "P_rect_02: 7.2e+02 0.0e+00 6.1e+02 4.5e+01 0.0e+00 7.2e+02 1.73e+02 2.2e-01 "
    "0.0e+00 0.0e+00 1.0e+00 2.7e-03\n"
)


def make_fake_kitti(root: Path, frames: int = 3, yaw: float = 0.7, satmap_px: int = 1280) -> Path:
    """Write frames with noise images; the satmap shows a red dot at the camera.

    The GPS receiver is at the satmap's centre; the camera 1.08 m ahead and 0.26 m to the right.
    """
    rng = np.random.default_rng(0)
    drive = root / "raw_data" / DAY / DRIVE
    for folder in (drive / "image_02" / "data", drive / "oxts" / "data"):
        folder.mkdir(parents=True)
    satmaps = root / "satmap" / DAY / DRIVE
    depths = root / "depth_anythingv2_depth" / DAY / DRIVE / "depth"
    satmaps.mkdir(parents=True)
    depths.mkdir(parents=True)
    (root / "raw_data" / DAY / "calib_cam_to_cam.txt").write_text(CALIBRATION)
    meters_per_pixel = 156543.03392 * math.cos(math.radians(49.015)) / 2**19
    ahead_px, right_px = 1.08 / meters_per_pixel, 0.26 / meters_per_pixel
    u = satmap_px / 2 + ahead_px * math.cos(yaw) + right_px * math.sin(yaw)
    v = satmap_px / 2 - ahead_px * math.sin(yaw) + right_px * math.cos(yaw)
    ahead = np.linspace(0, 12 / meters_per_pixel, 200)
    lists: dict[str, list[str]] = {"train": [], "test1": [], "test2": []}
    for index in range(frames):
        name = f"{index:010d}"
        noise = rng.integers(0, 256, (HEIGHT // 5, WIDTH // 6, 3), dtype=np.uint8)
        photo = Image.fromarray(noise).resize((WIDTH, HEIGHT))
        photo.save(drive / "image_02" / "data" / f"{name}.png")
        oxts = [49.0, 8.4, 114.0, 0.0, 0.0, yaw, *[0.0] * 24]
        (drive / "oxts" / "data" / f"{name}.txt").write_text(" ".join(map(str, oxts)))
        grey = np.full((satmap_px, satmap_px, 3), 60, np.uint8)
        rows, cols = np.mgrid[:satmap_px, :satmap_px] + 0.5
        for along, radius, colour in (
            (0.0, 5.0, (255, 0, 0)),
            (float(ahead[-1]), 5.0, (0, 0, 255)),
        ):
            at_u, at_v = u + along * math.cos(yaw), v - along * math.sin(yaw)
            grey[np.hypot(cols - at_u, rows - at_v) < radius] = colour
        Image.fromarray(grey).save(satmaps / f"{name}.png")
        row = np.linspace(4.0, 60.0, HEIGHT)[::-1, None] * np.ones(WIDTH)
        Image.fromarray((row * 256).astype(np.uint16)).save(depths / f"{name}.png")
        path = f"{DAY}/{DRIVE}/{name}.png"
        lists["train"].append(path)
        for split in ("test1", "test2"):
            values = " ".join(f"{x:.6f}" for x in rng.uniform(-1, 1, 3))
            lists[split].append(f"{path} {values}")
    for split, lines in lists.items():
        (root / f"{split}_files.txt").write_text("\n".join(lines) + "\n")
    return root
