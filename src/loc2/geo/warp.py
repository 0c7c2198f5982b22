"""Resampling of any map image onto the square, locally metric grid of a window.

Every source (GeoTIFF, mosaic, tiles) goes through :func:`warp_window`, so that coordinate systems,
rotation, pixel shape and the half pixel are handled once. Positions are computed with PROJ in
float64 on a coarse control grid and interpolated bilinearly between its nodes, where the error is
far below a hundredth of a pixel for windows of a few kilometres.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from loc2.errors import InputError
from loc2.geo.extras import import_geo
from loc2.geo.frame import FloatArray, LocalFrame, MetricArea

if TYPE_CHECKING:
    import pyproj
    from affine import Affine

MAX_WINDOW_PX = 64_000_000
"""Largest window or block that is held in memory, pixels (about 1 GB as float32 RGBA)."""

_CONTROL_STEP_PX = 16
_BLOCK_MARGIN_PX = 3


class MapImage(Protocol):
    """Pixels with an affine to a coordinate reference system, read by block.

    Attributes:
        name: file or template, for messages.
        attribution: who must be named beside results, or None.
        crs: horizontal coordinate reference system.
        transform: affine from continuous pixels (u right, v down) to CRS coordinates.
        width_px: full width, pixels.
        height_px: full height, pixels.
        wrap_px: number of pixels that go once around the earth, for coordinates in degrees of
            longitude or tiles; None for other projections. With it, blocks may reach over the
            left and right edges.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def attribution(self) -> str | None: ...  # noqa: D102
    @property
    def crs(self) -> pyproj.CRS: ...  # noqa: D102
    @property
    def transform(self) -> Affine: ...  # noqa: D102
    @property
    def width_px(self) -> int: ...  # noqa: D102
    @property
    def height_px(self) -> int: ...  # noqa: D102
    @property
    def wrap_px(self) -> float | None: ...  # noqa: D102

    def read_block(
        self, left_px: int, top_px: int, columns: int, rows: int, decimation: int
    ) -> NDArray[np.float32]:
        """Return (4, rows, columns) RGBA in [0, 1], colour not multiplied by alpha.

        Args:
            left_px: first full-resolution column.
            top_px: first full-resolution row.
            columns: columns of the result, each ``decimation`` full-resolution pixels wide.
            rows: rows of the result.
            decimation: a power of two; pixels are averages (or overviews).
        """
        ...


@dataclass(frozen=True)
class AerialWindow:
    """A window of aerial imagery on a square grid of ground metres.

    Attributes:
        image: (3, H, W) float32 RGB in [0, 1]; zero where there is no imagery.
        valid: (H, W) bool, where there is imagery.
        meters_per_pixel: ground metres per pixel.
        area: what it covers, in the metric frame: its centre is the image's centre.
        frame: the metric frame on the earth, or None for an image without georeference.
        attribution: who must be named beside results, or None.
    """

    image: Tensor
    valid: Tensor
    meters_per_pixel: float
    area: MetricArea
    frame: LocalFrame | None
    attribution: str | None = None


def grid_size(area: MetricArea, meters_per_pixel: float) -> tuple[int, int]:
    """Return (rows, columns) of the square grid that covers an area.

    Raises:
        InputError: the resolution is not positive, or the grid would not fit in memory.
    """
    if not (math.isfinite(meters_per_pixel) and meters_per_pixel > 0):
        raise InputError(f"metres per pixel must be positive, got {meters_per_pixel:g}")
    rows = max(1, round(area.height_m / meters_per_pixel))
    columns = max(1, round(area.width_m / meters_per_pixel))
    if rows * columns > MAX_WINDOW_PX:
        raise InputError(
            f"a window of {area.width_m:.0f} x {area.height_m:.0f} m at {meters_per_pixel:.3f} m "
            f"per pixel has {rows * columns / 1e6:.0f} million pixels (limit "
            f"{MAX_WINDOW_PX // 1_000_000}): give a smaller radius or more metres per pixel"
        )
    return rows, columns


class PixelMap:
    """The way from a metric frame to the full-resolution pixels of a map image."""

    def __init__(self, source: MapImage, frame: LocalFrame) -> None:
        """Prepare the transformation.

        Raises:
            InputError: the image's coordinate system has no way to WGS84.
        """
        pyproj = import_geo("pyproj")
        self._source = source
        self._frame = frame
        self._inverse = ~source.transform
        try:
            self._from_wgs84 = pyproj.Transformer.from_crs("EPSG:4326", source.crs, always_xy=True)
        except pyproj.exceptions.ProjError as error:
            raise InputError(
                f"{source.name}: no transformation from WGS84 to its coordinate system "
                f"({source.crs.name})"
            ) from error

    def pixels(self, east_m: FloatArray, north_m: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return continuous pixels (u, v) of points of the frame; infinite where undefined."""
        latitude_deg, longitude_deg = self._frame.to_lat_lon_arrays(east_m, north_m)
        x, y = self._from_wgs84.transform(longitude_deg, latitude_deg)
        inverse = self._inverse
        u_px = inverse.a * x + inverse.b * y + inverse.c
        v_px = inverse.d * x + inverse.e * y + inverse.f
        if self._source.wrap_px is not None:
            u_px = self._unwrap(u_px, self._source.wrap_px)
        return u_px, v_px

    def _unwrap(self, u_px: FloatArray, wrap_px: float) -> FloatArray:
        """Keep a window in one piece across the antimeridian, its middle nearest the image's."""
        middle_px = u_px.flat[u_px.size // 2]
        if not math.isfinite(middle_px):
            return u_px
        around_window = np.remainder(u_px - middle_px + wrap_px / 2, wrap_px) - wrap_px / 2
        centre_px = self._source.width_px / 2
        offset_px = (middle_px - centre_px + wrap_px / 2) % wrap_px - wrap_px / 2
        return np.asarray(centre_px + offset_px + around_window, dtype=np.float64)

    def ground_m_per_px(self, area: MetricArea) -> float:
        """Return the ground size of a full-resolution pixel at the middle of an area, metres."""
        step_m = 1.0
        east_m = area.east_m + np.array([0.0, -step_m, step_m, 0.0, 0.0])
        north_m = area.north_m + np.array([0.0, 0.0, 0.0, -step_m, step_m])
        u_px, v_px = self.pixels(east_m, north_m)
        du_e, du_n = (u_px[2] - u_px[1]) / 2, (u_px[4] - u_px[3]) / 2
        dv_e, dv_n = (v_px[2] - v_px[1]) / 2, (v_px[4] - v_px[3]) / 2
        density = abs(du_e * dv_n - du_n * dv_e)
        if not (math.isfinite(density) and density > 0):
            raise InputError(
                f"{self._source.name}: {self._frame.latitude_deg:.6f}, "
                f"{self._frame.longitude_deg:.6f} lies outside its coordinate system "
                f"({self._source.crs.name})"
            )
        return step_m / math.sqrt(density)


def warp_window(
    source: MapImage, frame: LocalFrame, area: MetricArea, meters_per_pixel: float
) -> Tensor:
    """Resample a map image onto the grid of a window.

    Args:
        source: what is read.
        frame: metric frame of the window.
        area: what the window covers.
        meters_per_pixel: ground metres per pixel of the result.

    Returns:
        (4, H, W) float32 RGBA in [0, 1]; alpha is 0 where the source has nothing, and below 1
        where the kernel reaches over an edge. Colour is not multiplied by alpha.

    Raises:
        InputError: the window is too large, outside the coordinate system, or unreadable.
    """
    rows, columns = grid_size(area, meters_per_pixel)
    mapping = PixelMap(source, frame)
    u_px, v_px = _control_grid(mapping, area, meters_per_pixel, rows, columns)
    finite = np.isfinite(u_px) & np.isfinite(v_px)
    if not finite.all():
        raise InputError(
            f"{source.name}: part of the window lies outside its coordinate system "
            f"({source.crs.name}): give a smaller radius"
        )
    shrink = meters_per_pixel / mapping.ground_m_per_px(area)
    decimation = 2 ** max(0, math.floor(math.log2(shrink)))
    block = _block_bounds(source, u_px, v_px, decimation)
    if block is None:
        return torch.zeros(4, rows, columns)
    left_px, top_px, block_columns, block_rows = block
    if block_columns * block_rows > MAX_WINDOW_PX:
        raise InputError(
            f"{source.name}: the window needs {block_columns * block_rows / 1e6:.0f} million "
            "pixels of it: give a smaller radius or more metres per pixel"
        )
    pixels = torch.from_numpy(
        source.read_block(left_px, top_px, block_columns, block_rows, decimation)
    )
    # Averaging 2 x 2 samples keeps the remaining reduction (below 2) from aliasing.
    fine = 2 if shrink / decimation > 1.2 else 1
    grid = torch.stack(
        (
            torch.from_numpy((u_px - left_px) / decimation / block_columns * 2 - 1),
            torch.from_numpy((v_px - top_px) / decimation / block_rows * 2 - 1),
        )
    )[None]
    return _sample(pixels, grid, rows, columns, fine)


def _control_grid(
    mapping: PixelMap, area: MetricArea, meters_per_pixel: float, rows: int, columns: int
) -> tuple[FloatArray, FloatArray]:
    """Return source pixels at nodes spread evenly from edge to edge of the window."""
    node_rows = math.ceil(rows / _CONTROL_STEP_PX) + 1
    node_columns = math.ceil(columns / _CONTROL_STEP_PX) + 1
    half_width_m, half_height_m = columns * meters_per_pixel / 2, rows * meters_per_pixel / 2
    east_m = area.east_m + np.linspace(-half_width_m, half_width_m, node_columns)
    north_m = area.north_m + np.linspace(half_height_m, -half_height_m, node_rows)
    east_grid_m, north_grid_m = np.meshgrid(east_m, north_m)
    return mapping.pixels(east_grid_m, north_grid_m)


def _block_bounds(
    source: MapImage, u_px: FloatArray, v_px: FloatArray, decimation: int
) -> tuple[int, int, int, int] | None:
    """Return (left, top, columns, rows) of the block to read, or None when nothing is covered."""
    margin_px = _BLOCK_MARGIN_PX * decimation
    left = math.floor((u_px.min() - margin_px) / decimation) * decimation
    right = math.ceil(u_px.max() + margin_px)
    top = math.floor((v_px.min() - margin_px) / decimation) * decimation
    bottom = math.ceil(v_px.max() + margin_px)
    if source.wrap_px is None:  # an image that goes around the earth is read over its edges
        left, right = max(left, 0), min(right, source.width_px)
    top, bottom = max(top, 0), min(bottom, source.height_px)
    if right <= left or bottom <= top:
        return None
    return left, top, math.ceil((right - left) / decimation), math.ceil((bottom - top) / decimation)


def _sample(pixels: Tensor, control: Tensor, rows: int, columns: int, fine: int) -> Tensor:
    """Sample (4, h, w) RGBA at a (1, 2, nodes, nodes) control grid of normalised positions."""
    alpha = pixels[3:]
    source = torch.cat((pixels[:3] * alpha, alpha))[None]
    result = torch.empty(4, rows, columns)
    rows_at_once = max(1, 2_000_000 // (columns * fine * fine))
    for first in range(0, rows, rows_at_once):
        last = min(rows, first + rows_at_once)
        v = (torch.arange(first * fine, last * fine, dtype=torch.float64) + 0.5) / (rows * fine)
        u = (torch.arange(columns * fine, dtype=torch.float64) + 0.5) / (columns * fine)
        at = torch.stack(torch.meshgrid(u * 2 - 1, v * 2 - 1, indexing="xy"), dim=-1)
        # The outer nodes sit on the edges of the window: align_corners puts -1 and 1 on them.
        where = F.grid_sample(
            control, at[None], mode="bilinear", padding_mode="border", align_corners=True
        )
        positions = where[0].permute(1, 2, 0).float()
        strip = F.grid_sample(
            source, positions[None], mode="bicubic", padding_mode="zeros", align_corners=False
        )
        if fine > 1:
            strip = F.avg_pool2d(strip, fine)
        result[:, first:last] = strip[0]
    alpha = result[3:].clamp(0.0, 1.0)
    colour = torch.where(alpha > 1e-3, result[:3] / alpha.clamp_min(1e-3), torch.zeros(()))
    return torch.cat((colour.clamp(0.0, 1.0), alpha))
