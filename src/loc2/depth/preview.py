"""Small pictures of depth: the image above its depth in colour."""

from __future__ import annotations

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from loc2.depth.base import DepthMap
from loc2.depth.store import resize_depth

_COLORS = colormaps["viridis"].reversed()
_INVALID = (96, 96, 96)
_RINGS = np.array([1, 2, 5, 10, 20, 50, 100, 200, 500])


def depth_colors(depth_map: DepthMap, rows: int, cols: int) -> NDArray[np.uint8]:
    """Return a (rows, cols, 3) picture: near light, far dark (logarithmic), invalid grey.

    Metric depth has lines at 1, 2, 5, 10, ... metres.

    Args:
        depth_map: depth of any size.
        rows: height of the picture, pixels.
        cols: width of the picture, pixels.
    """
    small = resize_depth(depth_map, rows, cols)
    depth = small.depth.double().numpy()
    valid = small.valid.numpy() & np.isfinite(depth) & (depth > 0)
    picture = np.empty((rows, cols, 3), np.uint8)
    picture[:] = _INVALID
    if not valid.any():
        return picture
    safe = np.where(valid, depth, 1.0)
    low, high = np.quantile(safe[valid], (0.01, 0.99))
    share = np.log(np.clip(safe, low, high) / low) / max(np.log(high / low), 1e-6)
    colors = (_COLORS(share)[..., :3] * 255).round().astype(np.uint8)
    if depth_map.metric:
        step = np.searchsorted(_RINGS, safe)
        line = np.zeros((rows, cols), bool)
        line[:-1] |= (step[1:] != step[:-1]) & (np.abs(safe[1:] / safe[:-1] - 1) < 0.3)
        colors[line] = 255
    picture[valid] = colors[valid]
    return picture


def preview(image: Tensor, depth_map: DepthMap, width: int = 640) -> Image.Image:
    """Return the image above its depth.

    Args:
        image: (3, H, W) RGB in [0, 1].
        depth_map: its depth.
        width: of the picture, pixels.
    """
    height = max(round(width * image.shape[-2] / image.shape[-1]), 1)
    array = (image.permute(1, 2, 0).cpu().numpy() * 255).round().astype(np.uint8)
    picture = Image.new("RGB", (width, 2 * height + 2))
    picture.paste(Image.fromarray(array).resize((width, height), Image.Resampling.BOX), (0, 0))
    picture.paste(Image.fromarray(depth_colors(depth_map, height, width)), (0, height + 2))
    return picture


class Sheet:
    """A sheet of previews, filled one after another.

    Args:
        columns: pictures in a row.
        rows: most rows; further pictures are left out.
        width: of a picture, pixels.
    """

    def __init__(self, columns: int = 4, rows: int = 6, width: int = 320) -> None:
        self._columns, self._limit, self._width = columns, columns * rows, width
        self._pictures: list[Image.Image] = []

    def add(self, label: str, depth_map: DepthMap, image: Tensor | None) -> None:
        """Add a picture with its label, if there is room."""
        if len(self._pictures) >= self._limit:
            return
        if image is None:
            height, width = depth_map.depth.shape
            rows = max(round(self._width * height / width), 1)
            picture = Image.fromarray(depth_colors(depth_map, rows, self._width))
        else:
            picture = preview(image, depth_map, self._width)
        tile = Image.new("RGB", (picture.width, picture.height + 14))
        tile.paste(picture, (0, 14))
        share = f"{float(depth_map.valid.float().mean()):.0%} valid"
        ImageDraw.Draw(tile).text((3, 1), f"{label[-36:]}  {share}", fill="white")
        self._pictures.append(tile)

    def image(self) -> Image.Image:
        """Return the sheet."""
        height = max(tile.height for tile in self._pictures)
        rows = -(-len(self._pictures) // self._columns)
        columns = min(len(self._pictures), self._columns)
        sheet = Image.new("RGB", (columns * (self._width + 4), rows * (height + 4)), "white")
        for index, tile in enumerate(self._pictures):
            row, column = divmod(index, self._columns)
            sheet.paste(tile, (column * (self._width + 4), row * (height + 4)))
        return sheet
