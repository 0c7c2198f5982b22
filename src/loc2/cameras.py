"""Camera models: pixels to rays and back, and lifting with depth.

Image coordinates are continuous pixels (u right, v down) with the centre of the first pixel at
(0.5, 0.5). Rays and points live in the camera's gravity-aligned local frame (right, forward, up).
A camera may be rolled and pitched against that frame; a gravity-aligned ray is turned by yaw
(none here, forward is the camera's own), then pitch, then roll to reach the camera's axes.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Literal, Self

import torch
from torch import Tensor

DepthKind = Literal["range", "z"]
"""``range`` is the distance along the ray, ``z`` the distance along the optical axis."""


def camera_to_local_rotation(roll_deg: float, pitch_deg: float) -> Tensor:
    """Return the (3, 3) float64 rotation from camera axes (right, forward, up) to the local frame.

    Args:
        roll_deg: positive when the camera's right side is lower than its left.
        pitch_deg: positive when the camera looks up.

    Returns:
        Matrix whose columns are the camera's right, forward and up axes in the local frame.
    """
    pitch, roll = math.radians(pitch_deg), math.radians(roll_deg)
    pitch_matrix = torch.tensor(
        [
            [1.0, 0.0, 0.0],
            [0.0, math.cos(pitch), -math.sin(pitch)],
            [0.0, math.sin(pitch), math.cos(pitch)],
        ],
        dtype=torch.float64,
    )
    roll_matrix = torch.tensor(
        [
            [math.cos(roll), 0.0, math.sin(roll)],
            [0.0, 1.0, 0.0],
            [-math.sin(roll), 0.0, math.cos(roll)],
        ],
        dtype=torch.float64,
    )
    return pitch_matrix @ roll_matrix


@dataclass(frozen=True)
class Camera(ABC):
    """What every camera has: an image size and an attitude against gravity.

    Attributes:
        width: image width, pixels.
        height: image height, pixels.
        roll_deg: positive when the camera's right side is lower than its left.
        pitch_deg: positive when the camera looks up.
    """

    width: int
    height: int
    roll_deg: float = 0.0
    pitch_deg: float = 0.0

    def __post_init__(self) -> None:
        """Reject sizes and angles that are no camera."""
        if self.width < 1 or self.height < 1:
            raise ValueError(f"image size must be positive, got {self.width}x{self.height}")
        if not (abs(self.roll_deg) < 90.0 and abs(self.pitch_deg) < 90.0):
            raise ValueError("roll_deg and pitch_deg must lie between -90 and 90")

    @property
    @abstractmethod
    def depth_kind(self) -> DepthKind:
        """The kind of depth that belongs to this projection by default."""

    @abstractmethod
    def resized(self, width: int, height: int) -> Self:
        """Return the camera of the same image resampled to another size, pixels."""

    @abstractmethod
    def _camera_rays(self, uv_px: Tensor) -> Tensor:
        """Return (..., 3) directions (right, forward, up) in camera axes."""

    @abstractmethod
    def _camera_pixels(self, directions: Tensor) -> tuple[Tensor, Tensor]:
        """Return (..., 2) pixels of directions in camera axes, and which lie in front."""

    def _rotation(self, like: Tensor) -> Tensor:
        return camera_to_local_rotation(self.roll_deg, self.pitch_deg).to(like)

    def pixels_to_rays(self, uv_px: Tensor) -> Tensor:
        """Return unit rays of pixels.

        Args:
            uv_px: (..., 2) continuous pixel coordinates (u, v).

        Returns:
            (..., 3) unit vectors (right, forward, up) in the gravity-aligned local frame.
        """
        rays = self._camera_rays(uv_px)
        norm: Tensor = torch.linalg.vector_norm(rays, dim=-1, keepdim=True)
        rays = rays / norm
        return rays @ self._rotation(rays).T

    def points_to_pixels(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Project points into the image.

        Args:
            points: (..., 3) points or directions (right, forward, up) in the local frame.

        Returns:
            (..., 2) continuous pixel coordinates, and a (...) bool mask of the points that fall
            inside the image (and, for a pinhole, in front of the camera). Coordinates outside the
            mask carry no meaning.
        """
        uv_px, in_front = self._camera_pixels(points @ self._rotation(points))
        inside = (
            (uv_px[..., 0] >= 0)
            & (uv_px[..., 0] <= self.width)
            & (uv_px[..., 1] >= 0)
            & (uv_px[..., 1] <= self.height)
        )
        return uv_px, in_front & inside

    def range_per_depth(self, uv_px: Tensor, kind: DepthKind) -> Tensor:
        """Return the factor that turns depth of a kind into range along the ray.

        Args:
            uv_px: (..., 2) continuous pixel coordinates (u, v).
            kind: ``range`` (factor 1) or ``z`` (1 / cosine of the angle to the optical axis).

        Returns:
            (...) factors.

        Raises:
            ValueError: z-depth asked of a panorama, which has no optical axis.
        """
        if kind == "range":
            return torch.ones_like(uv_px[..., 0])
        raise ValueError("z-depth has no meaning for a panorama; give range along the ray")

    def lift(self, uv_px: Tensor, depth: Tensor, kind: DepthKind) -> Tensor:
        """Lift pixels with their depth to points in the local frame.

        Args:
            uv_px: (..., 2) continuous pixel coordinates (u, v).
            depth: (...) depth in any unit.
            kind: ``range`` along the ray or ``z`` along the optical axis.

        Returns:
            (..., 3) points (right, forward, up) in the unit of the depth.
        """
        distance = depth * self.range_per_depth(uv_px, kind)
        return self.pixels_to_rays(uv_px) * distance[..., None]


@dataclass(frozen=True)
class Equirectangular(Camera):
    """A panorama over all azimuths, possibly cropped above and below.

    The centre of column c looks at azimuth ((c + 0.5) / width - 0.5) * 360 degrees, clockwise from
    forward. Rows run linearly from ``elevation_top_deg`` to ``elevation_bottom_deg``.

    Attributes:
        elevation_top_deg: elevation of the image's upper edge, degrees (90 for a full panorama).
        elevation_bottom_deg: elevation of the lower edge, degrees (-90 for a full panorama).
    """

    elevation_top_deg: float = 90.0
    elevation_bottom_deg: float = -90.0

    def __post_init__(self) -> None:
        """Reject elevations outside the sphere or in the wrong order."""
        super().__post_init__()
        if not -90.0 <= self.elevation_bottom_deg < self.elevation_top_deg <= 90.0:
            raise ValueError(
                "elevations must satisfy -90 <= bottom < top <= 90, got "
                f"top {self.elevation_top_deg:g}, bottom {self.elevation_bottom_deg:g}"
            )

    @property
    def depth_kind(self) -> DepthKind:
        """Range along the ray."""
        return "range"

    def resized(self, width: int, height: int) -> Self:
        """Return the camera of the same image resampled to another size."""
        return replace(self, width=width, height=height)

    def _camera_rays(self, uv_px: Tensor) -> Tensor:
        azimuth = (uv_px[..., 0] / self.width - 0.5) * (2 * math.pi)
        span_deg = self.elevation_bottom_deg - self.elevation_top_deg
        elevation = torch.deg2rad(self.elevation_top_deg + uv_px[..., 1] / self.height * span_deg)
        return torch.stack(
            (
                torch.cos(elevation) * torch.sin(azimuth),
                torch.cos(elevation) * torch.cos(azimuth),
                torch.sin(elevation),
            ),
            dim=-1,
        )

    def _camera_pixels(self, directions: Tensor) -> tuple[Tensor, Tensor]:
        right, forward, up = directions.unbind(-1)
        azimuth = torch.atan2(right, forward)
        elevation_deg = torch.rad2deg(torch.atan2(up, torch.hypot(right, forward)))
        span_deg = self.elevation_bottom_deg - self.elevation_top_deg
        u_px = (azimuth / (2 * math.pi) + 0.5) * self.width
        v_px = (elevation_deg - self.elevation_top_deg) / span_deg * self.height
        uv_px = torch.stack((u_px, v_px), dim=-1)
        return uv_px, torch.ones_like(u_px, dtype=torch.bool)


@dataclass(frozen=True)
class Pinhole(Camera):
    """A perspective camera without distortion, OpenCV axes, pixel centre at 0.5.

    Attributes:
        fx: focal length in x, pixels.
        fy: focal length in y, pixels.
        cx: principal point, u, pixels.
        cy: principal point, v, pixels.
    """

    fx: float = math.nan
    fy: float = math.nan
    cx: float = math.nan
    cy: float = math.nan

    def __post_init__(self) -> None:
        """Reject intrinsics that are missing or not positive."""
        super().__post_init__()
        if not all(math.isfinite(f) and f > 0 for f in (self.fx, self.fy)):
            raise ValueError("fx and fy must be positive numbers, in pixels")
        if not all(math.isfinite(c) for c in (self.cx, self.cy)):
            raise ValueError("cx and cy must be numbers, in pixels")

    @classmethod
    def from_hfov(
        cls, width: int, height: int, hfov_deg: float, roll_deg: float = 0.0, pitch_deg: float = 0.0
    ) -> Pinhole:
        """Build a camera with square pixels and a central principal point.

        Args:
            width: image width, pixels.
            height: image height, pixels.
            hfov_deg: horizontal field of view, degrees, between 0 and 180.
            roll_deg: positive when the right side is lower.
            pitch_deg: positive when looking up.

        Raises:
            ValueError: the field of view lies outside (0, 180).
        """
        if not 0.0 < hfov_deg < 180.0:
            raise ValueError(f"horizontal field of view must lie in (0, 180), got {hfov_deg:g}")
        focal_px = width / 2 / math.tan(math.radians(hfov_deg) / 2)
        return cls(width, height, roll_deg, pitch_deg, focal_px, focal_px, width / 2, height / 2)

    @property
    def depth_kind(self) -> DepthKind:
        """Distance along the optical axis."""
        return "z"

    def resized(self, width: int, height: int) -> Self:
        """Return the camera of the same image resampled to another size."""
        sx, sy = width / self.width, height / self.height
        return replace(
            self,
            width=width,
            height=height,
            fx=self.fx * sx,
            fy=self.fy * sy,
            cx=self.cx * sx,
            cy=self.cy * sy,
        )

    def _camera_rays(self, uv_px: Tensor) -> Tensor:
        x = (uv_px[..., 0] - self.cx) / self.fx
        y = (uv_px[..., 1] - self.cy) / self.fy
        return torch.stack((x, torch.ones_like(x), -y), dim=-1)

    def _camera_pixels(self, directions: Tensor) -> tuple[Tensor, Tensor]:
        right, forward, up = directions.unbind(-1)
        in_front = forward > 0
        depth = torch.where(in_front, forward, torch.ones_like(forward))
        uv_px = torch.stack(
            (self.fx * right / depth + self.cx, self.cy - self.fy * up / depth), dim=-1
        )
        return uv_px, in_front

    def range_per_depth(self, uv_px: Tensor, kind: DepthKind) -> Tensor:
        """Return 1 for range, the length of the ray with unit z for z-depth."""
        if kind == "range":
            return torch.ones_like(uv_px[..., 0])
        length: Tensor = torch.linalg.vector_norm(self._camera_rays(uv_px), dim=-1)
        return length
