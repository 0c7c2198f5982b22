"""What the interactive report needs, packed small: numbers as JSON, maps as quantised bytes."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.colors import to_hex
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from loc2.frames import Pose
from loc2.localization import Localization
from loc2.matching.explain import INLIER_M
from loc2.report.figures.camera import aerial_panel, ellipse_90, heading_half_width_deg
from loc2.report.figures.style import BEARING_COLORS, image_array
from loc2.report.layout import layout_in_camera_frame, layout_radius_m
from loc2.report.probability import cell_probability, cells_panel, centered_panel, matches_under

KEPT_PER_MAP = 48
"""Aerial cells kept of each probability map, the most probable ones."""
KEPT_SHARE = 0.01
"""Cells below this share of a map's highest probability are left out."""
IMAGE_BUDGET_BYTES = 1_500_000
"""For each of the two images; they are reduced until they fit."""
MAP_BUDGET_BYTES = 2_000_000
"""For all probability maps; fewer cells of each are kept where there are very many maps."""
MAX_HYPOTHESES = 9
"""Answers to flip through; the keys 1 to 9 choose them."""
LAYOUT_MAX_SIDE_PX = 640


def payload(localization: Localization, truth: Pose | None = None) -> dict[str, Any]:
    """Return everything the page draws, as plain JSON values.

    Lengths are metres in the aerial metric frame, pixels those of the original images. Maps are
    base64 of little-endian bytes.
    """
    cells = localization.cells
    panel = aerial_panel(localization)
    ground_h, ground_w = localization.ground_image.shape[1:]
    grid = cells_panel(localization, panel)
    heat = localization.heatmap
    rows, cols = heat.position.shape
    heat_panel = centered_panel(localization, panel, rows, cols, heat.step_m)
    long_m, short_m, bearing_deg = ellipse_90(localization.covariance)
    radius_m = layout_radius_m(localization)
    cell_px = _cell_size_px(cells.ground_px)
    return {
        "ground": {"width": ground_w, "height": ground_h},
        "aerial": {
            "width": panel.width,
            "height": panel.height,
            "metersPerPixel": localization.meters_per_pixel,
        },
        "hypotheses": [
            {**_pose(h.pose), "mass": round(h.mass, 5), **pack_matches(localization, h.pose)}
            for h in localization.hypotheses[:MAX_HYPOTHESES]
        ],
        "truth": None if truth is None else _pose(truth),
        "ellipse": {"long": long_m, "short": short_m, "bearing": bearing_deg},
        "headingHalfWidth": heading_half_width_deg(localization.covariance),
        "inlierMeters": INLIER_M,
        "cells": {
            "size": cell_px,
            "ground": _rounded(cells.ground_px, 1),
            "bev": _rounded(cells.bev, 3),
            "grid": {"x": grid.x0, "y": grid.y0, "step": grid.scale,
                     "rows": grid.height, "cols": grid.width},
            "maps": pack_maps(localization),
        },
        "posterior": {
            "x": heat_panel.x0, "y": heat_panel.y0, "step": heat_panel.scale,
            "rows": rows, "cols": cols, "map": _base64(root_bytes(heat.position)),
            "heading": [float(f"{p:.4g}") for p in heat.heading.tolist()],
        },
        "layout": {"radius": radius_m, "image": layout_uri(localization, radius_m)},
        "bearingColors": [to_hex(BEARING_COLORS(i / 72)) for i in range(72)],
    }  # fmt: skip


def pack_maps(localization: Localization) -> dict[str, Any]:
    """Pack the probability maps of all cells: their strongest cells, one byte each.

    Returns:
        ``count`` (one byte a map), ``index`` (two or four bytes an entry, row-major aerial cell),
        ``value`` (one byte, the square root of probability over the map's peak, times 255), all
        base64, ``peak`` (probability), ``indexBytes``.
    """
    cells = localization.cells
    total, rows, cols = cells.evidence.shape
    index_bytes = 2 if rows * cols <= 65536 else 4
    kept = min(KEPT_PER_MAP, rows * cols, 255)
    kept = max(1, min(kept, MAP_BUDGET_BYTES // max(1, total * (index_bytes + 1))))
    counts, indices, values, peaks = [], [], [], []
    for start in range(0, total, 256):
        part = torch.arange(start, min(start + 256, total))
        probability, index = cell_probability(cells, part).flatten(1).topk(kept, dim=1)
        peak = probability[:, :1]
        keep = probability >= KEPT_SHARE * peak
        counts.append(keep.sum(1))
        indices.append(index[keep])
        values.append((probability / peak).sqrt().mul(255).round()[keep])
        peaks.append(peak[:, 0])
    index_type = "<u2" if index_bytes == 2 else "<u4"
    return {
        "count": _base64(torch.cat(counts).numpy().astype("u1") if counts else np.empty(0, "u1")),
        "index": _base64(_joined(indices).astype(index_type)),
        "value": _base64(_joined(values).astype("u1")),
        "indexBytes": index_bytes,
        "peak": [float(f"{p:.3g}") for p in _joined(peaks).tolist()],
    }


def pack_matches(localization: Localization, pose: Pose) -> dict[str, str]:
    """Pack where each ground cell is found under a pose, in the order of the cells.

    Returns:
        ``found``, the pixels (u, v) as 32-bit floats, and ``weight``, the match probabilities as
        32-bit floats, both base64; probability 0 means not found.
    """
    matches = matches_under(localization, pose)
    return {
        "found": _base64(matches.aerial_px.float().numpy().astype("<f4")),
        "weight": _base64(matches.weight.float().numpy().astype("<f4")),
    }


def root_bytes(values: Tensor) -> npt.NDArray[np.uint8]:
    """Quantise non-negative values: 255 times the square root of value over maximum."""
    array = values.detach().cpu().double().numpy()
    top = max(float(array.max(initial=0.0)), 1e-30)
    quantised: npt.NDArray[np.uint8] = np.round(255 * np.sqrt(array.clip(0) / top)).astype(np.uint8)
    return quantised


def jpeg_uri(image: Tensor, max_side_px: int = 1800) -> str:
    """Encode (3, H, W) as a JPEG data address that stays under the image budget."""
    while True:
        height, width = image.shape[1:]
        scale = min(1.0, max_side_px / max(height, width))
        reduced = image
        if scale < 1:
            size = (max(1, round(height * scale)), max(1, round(width * scale)))
            reduced = interpolate(image[None].float(), size, mode="bilinear", antialias=True)[0]
        buffer = io.BytesIO()
        Image.fromarray(image_array(reduced)).save(buffer, "JPEG", quality=86, optimize=True)
        if buffer.tell() <= IMAGE_BUDGET_BYTES or max_side_px < 200:
            return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
        max_side_px = int(max_side_px * 0.8)


def layout_uri(localization: Localization, radius_m: float) -> str:
    """Encode the ground layout around the camera, forward up, as a WebP data address."""
    step_m = max(localization.meters_per_pixel / 2, 2 * radius_m / LAYOUT_MAX_SIDE_PX)
    layout = layout_in_camera_frame(localization, step_m, radius_m)
    pixels = (layout.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels, "RGBA").save(buffer, "WEBP", quality=82, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def _pose(pose: Pose) -> dict[str, float]:
    return {
        "east": round(pose.east_m, 3),
        "north": round(pose.north_m, 3),
        "heading": round(pose.heading_deg, 2),
        "scale": pose.scale,
    }


def _cell_size_px(ground_px: Tensor) -> float:
    """Return the spacing of the cells: the smallest gap between their columns."""
    columns = ground_px[:, 0].double().sort().values
    gaps = columns[1:] - columns[:-1]
    gaps = gaps[gaps > 1e-3]
    return float(gaps.min()) if len(gaps) else 8.0


def _rounded(values: Tensor, digits: int) -> list[float]:
    """Flatten to a plain list; (N, 2) becomes x0, y0, x1, y1, ..."""
    return [round(v, digits) for v in values.detach().cpu().double().flatten().tolist()]


def _joined(parts: list[Tensor]) -> npt.NDArray[Any]:
    return torch.cat(parts).numpy() if parts else np.empty(0)


def _base64(values: npt.NDArray[Any]) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()
