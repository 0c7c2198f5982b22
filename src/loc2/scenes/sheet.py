"""Contact sheets of generated pairs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from loc2.scenes.pairs import SceneOptions, ScenePair, generate_pair

UInt8 = NDArray[np.uint8]


def contact_sheet(
    seeds: list[int], options: SceneOptions, columns: int = 3, row_px: int = 220
) -> Iterator[Image.Image]:
    """Draw pairs side by side, ground photo left of its orthophoto with the camera marked.

    Args:
        seeds: seeds of the pairs.
        options: what to make.
        columns: pairs in a row.
        row_px: height of a row, pixels.

    Yields:
        The sheet after each pair, the last one complete.
    """
    cell_width = row_px * 3 + 6
    rows = -(-len(seeds) // columns)
    sheet = Image.new("RGB", (columns * cell_width, rows * (row_px + 4)))
    for index, seed in enumerate(seeds):
        pair = generate_pair(seed, options)
        x, y = index % columns * cell_width, index // columns * (row_px + 4)
        ground = Image.fromarray(pair.ground)
        height = min(row_px, round(2 * row_px * ground.height / ground.width))
        sheet.paste(ground.resize((2 * row_px, height)), (x, y))
        sheet.paste(_marked(pair).resize((row_px, row_px)), (x + 2 * row_px + 2, y))
        yield sheet


def _marked(pair: ScenePair) -> Image.Image:
    """Return the orthophoto with a dot at the camera and a tick along its heading."""
    image = pair.aerial.copy()
    height, width = image.shape[:2]
    u = pair.pose.east_m / pair.meters_per_pixel + width / 2
    v = height / 2 - pair.pose.north_m / pair.meters_per_pixel
    angle = np.radians(pair.pose.heading_deg)
    for step in np.linspace(0, width / 16, 40):
        _dot(image, u + step * np.sin(angle), v - step * np.cos(angle), width / 260)
    _dot(image, u, v, width / 110)
    return Image.fromarray(image)


def _dot(image: UInt8, u: float, v: float, radius: float) -> None:
    rows, cols = np.ogrid[: image.shape[0], : image.shape[1]]
    image[(rows + 0.5 - v) ** 2 + (cols + 0.5 - u) ** 2 <= radius**2] = (255, 60, 40)
