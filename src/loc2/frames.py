"""The conventions: aerial pixels and metres, headings, similarity transforms.

Aerial metric frame
    Metres, origin at the centre of the aerial image; ``east_m`` is image right and ``north_m``
    image up, whatever the true compass directions are.
Aerial pixels
    ``u`` right, ``v`` down, continuous; the centre of the first pixel is (0.5, 0.5) and an image
    of width W spans [0, W].
Heading
    Degrees clockwise from image up to the camera's forward axis, in [0, 360).
Local frame of the camera
    Gravity-aligned, metres, (right, forward, up), origin at the camera. Bird's-eye-view (BEV)
    coordinates are (right, forward).

Every other module uses these functions and adds no convention of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Pose:
    """A camera pose in the aerial metric frame.

    Attributes:
        east_m: position right of the aerial image's centre, metres.
        north_m: position above (image up) the aerial image's centre, metres.
        heading_deg: degrees clockwise from image up to the camera's forward axis, in [0, 360).
        scale: metric metres per unit of the depth that was used; about 1 for metric depth.
    """

    east_m: float
    north_m: float
    heading_deg: float
    scale: float = 1.0


def wrap_heading_deg(heading_deg: float) -> float:
    """Return the heading in [0, 360)."""
    wrapped = heading_deg % 360.0
    return 0.0 if wrapped == 360.0 else wrapped  # -1e-17 % 360 is 360.0 in floating point


def heading_difference_deg(a_deg: float, b_deg: float) -> float:
    """Return the signed turn from heading ``b_deg`` to ``a_deg``, in [-180, 180)."""
    return wrap_heading_deg(a_deg - b_deg + 180.0) - 180.0


def heading_error_deg(a_deg: float, b_deg: float) -> float:
    """Return the unsigned difference of two headings, in [0, 180]."""
    return abs(heading_difference_deg(a_deg, b_deg))


def aerial_px_to_m(
    uv_px: Tensor, width_px: float, height_px: float, meters_per_pixel: float
) -> Tensor:
    """Convert aerial pixels to metres.

    Args:
        uv_px: (..., 2) continuous pixel coordinates (u right, v down).
        width_px: image width, pixels.
        height_px: image height, pixels.
        meters_per_pixel: ground sampling distance, metres per pixel.

    Returns:
        (..., 2) coordinates (east_m, north_m) from the image's centre.
    """
    east_m = (uv_px[..., 0] - width_px / 2) * meters_per_pixel
    north_m = (height_px / 2 - uv_px[..., 1]) * meters_per_pixel
    return torch.stack((east_m, north_m), dim=-1)


def aerial_m_to_px(
    position_m: Tensor, width_px: float, height_px: float, meters_per_pixel: float
) -> Tensor:
    """Convert metres to aerial pixels; the inverse of :func:`aerial_px_to_m`.

    Args:
        position_m: (..., 2) coordinates (east_m, north_m) from the image's centre.
        width_px: image width, pixels.
        height_px: image height, pixels.
        meters_per_pixel: ground sampling distance, metres per pixel.

    Returns:
        (..., 2) continuous pixel coordinates (u right, v down).
    """
    u_px = position_m[..., 0] / meters_per_pixel + width_px / 2
    v_px = height_px / 2 - position_m[..., 1] / meters_per_pixel
    return torch.stack((u_px, v_px), dim=-1)


def cell_centers_px(rows: int, cols: int, height_px: float, width_px: float) -> Tensor:
    """Return the pixel coordinates of the centres of a grid of cells that tiles an image.

    Args:
        rows: number of cells along the height.
        cols: number of cells along the width.
        height_px: image height, pixels.
        width_px: image width, pixels.

    Returns:
        (rows, cols, 2) float32 coordinates (u, v); the first centre is half a cell from the corner.
    """
    u_px = (torch.arange(cols, dtype=torch.float32) + 0.5) * (width_px / cols)
    v_px = (torch.arange(rows, dtype=torch.float32) + 0.5) * (height_px / rows)
    v_grid, u_grid = torch.meshgrid(v_px, u_px, indexing="ij")
    return torch.stack((u_grid, v_grid), dim=-1)


def heading_to_rotation(heading_deg: Tensor) -> Tensor:
    """Return R(heading), which turns (right, forward) into (east, north).

    Forward at heading 0 becomes north, at heading 90 east.

    Args:
        heading_deg: (...) headings, degrees clockwise from image up.

    Returns:
        (..., 2, 2) rotation matrices.
    """
    angle = torch.deg2rad(heading_deg)
    cos, sin = torch.cos(angle), torch.sin(angle)
    return torch.stack((torch.stack((cos, sin), -1), torch.stack((-sin, cos), -1)), -2)


def rotation_to_heading_deg(rotation: Tensor) -> Tensor:
    """Return the heading in [0, 360) of (..., 2, 2) rotations; inverse of R(heading)."""
    heading_deg = torch.rad2deg(torch.atan2(rotation[..., 0, 1], rotation[..., 1, 1]))
    wrapped = torch.remainder(heading_deg, 360.0)
    return torch.where(wrapped >= 360.0, torch.zeros_like(wrapped), wrapped)


def local_to_aerial(
    bev: Tensor, heading_deg: Tensor, position_m: Tensor, scale: Tensor | float = 1.0
) -> Tensor:
    """Apply ``aerial = scale * R(heading) @ (right, forward) + (east, north)``.

    Args:
        bev: (..., N, 2) BEV points (right, forward), in units of depth.
        heading_deg: (...) headings, degrees.
        position_m: (..., 2) camera positions (east_m, north_m).
        scale: (...) or a number, metres per unit of depth.

    Returns:
        (..., N, 2) points (east_m, north_m).
    """
    rotated = bev @ heading_to_rotation(heading_deg).transpose(-1, -2)
    factor = torch.as_tensor(scale, dtype=bev.dtype, device=bev.device)
    return factor[..., None, None] * rotated + position_m[..., None, :]


def aerial_to_local(
    position_m: Tensor, heading_deg: Tensor, camera_m: Tensor, scale: Tensor | float = 1.0
) -> Tensor:
    """Invert :func:`local_to_aerial`.

    Args:
        position_m: (..., N, 2) points (east_m, north_m).
        heading_deg: (...) headings, degrees.
        camera_m: (..., 2) camera positions (east_m, north_m).
        scale: (...) or a number, metres per unit of depth.

    Returns:
        (..., N, 2) BEV points (right, forward), in units of depth.
    """
    factor = torch.as_tensor(scale, dtype=position_m.dtype, device=position_m.device)
    centred = (position_m - camera_m[..., None, :]) / factor[..., None, None]
    return centred @ heading_to_rotation(heading_deg)
