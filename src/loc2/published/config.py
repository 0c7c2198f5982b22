"""Configurations of the published method."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from loc2.model import IMAGENET_MEAN, IMAGENET_STD
from loc2.published.compat import Compatibility


class PublishedConfig(BaseModel):
    """Everything that decides what the published network computes.

    Attributes:
        name: name of the configuration.
        projection: camera that the ground projector was made for.
        backbone: name of a DINOv2 variant.
        ground_size_px: (height, width) to which ground images are resized.
        aerial_size_px: side to which aerial images are resized.
        aerial_cells: side of the grid of aerial cells.
        temperature: divisor of the cosine similarities.
        max_depth_m: metric depth from here on is not matched.
        num_matches: matches drawn for the pose.
        image_mean: normalisation of the backbone's input.
        image_std: normalisation of the backbone's input.
        compatibility: deviations that imported weights depend on; all off for our own.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    projection: Literal["equirectangular", "pinhole"]
    backbone: str = "dinov2_vitl14"
    ground_size_px: tuple[int, int]
    aerial_size_px: int = Field(ge=14)
    aerial_cells: int = Field(default=41, ge=2)
    temperature: float = Field(default=0.1, gt=0)
    max_depth_m: float = Field(gt=0)
    num_matches: int = Field(default=1024, ge=3)
    image_mean: tuple[float, float, float] = IMAGENET_MEAN
    image_std: tuple[float, float, float] = IMAGENET_STD
    compatibility: Compatibility = Compatibility()


CONFIGS: dict[str, PublishedConfig] = {
    "loc2-vigor": PublishedConfig(
        name="loc2-vigor",
        projection="equirectangular",
        ground_size_px=(714, 1428),
        aerial_size_px=630,
        max_depth_m=35.0,
    ),
    "loc2-kitti": PublishedConfig(
        name="loc2-kitti",
        projection="pinhole",
        ground_size_px=(364, 1232),
        aerial_size_px=504,
        max_depth_m=40.0,
    ),
}
"""The published configurations, by name."""
