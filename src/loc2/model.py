"""The network: configuration, construction, features and descriptors, saving and loading."""

from __future__ import annotations

import itertools
import json
import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from loc2.cameras import Camera, Equirectangular, Pinhole
from loc2.errors import InputError, WeightsError
from loc2.features import VARIANTS, VisionTransformer, load_vit
from loc2.frames import cell_centers_px
from loc2.matching.heads import (
    CellDepth,
    GroundDescription,
    GroundHead,
    HeadConfig,
    ResidualConvHead,
)
from loc2.processor import multiplies_bfloat16

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class ModelConfig(BaseModel):
    """Everything that decides what the network computes.

    Attributes:
        backbone: name of a published DINOv2 variant.
        blocks: backbone blocks whose features are used, ascending.
        image_mean: normalisation of the backbone's input.
        image_std: normalisation of the backbone's input.
        panorama_cell_deg: azimuth and elevation covered by a cell of a panorama, degrees.
        panorama_top_deg: panoramas are cropped above this elevation, degrees.
        panorama_bottom_deg: panoramas are cropped below this elevation, degrees.
        pinhole_cell_deg: mean azimuth covered by a cell of a perspective photo, degrees.
        aerial_cell_m: side of an aerial cell, metres.
        photo_aerial_cell_m: the same where a perspective photo is looked for, metres; as for
            panoramas if left out. What sees little gains by finer cells.
        aerial_turns: copies of the aerial image, turned by quarter or half turns, over which its
            descriptors are averaged: 1, 2 or 4. A vision transformer does not quite turn with its
            image, so the mean is steadier.
        turned_share: share of the aerial image's sides, about its centre, that turned copies show;
            the first copy shows everything.
        half_cells: aerial descriptors are those of cells half as large. Turned copies are moved by
            half a cell, each another way, so the cells that hold a half cell lie around it.
        max_aerial_cells: most cells along a side of the aerial window; larger windows get larger
            cells.
        head: size of the trained heads; None for frozen features alone.
        min_range_m: nearer ground (own vehicle, blurred nadir) is not matched, metres.
        max_range_m: farther points are not matched, metres.
        vote_temperature: the mean evidence of a pose is divided by this to become a logarithm of
            its posterior.
        center_sigma: standard deviation of the camera's position about the window's centre, along
            each axis, as a share of the window's longer side; what is expected where no position
            prior is given. None expects it anywhere alike.
        default_depth: what lifts ground cells where nothing else is asked for: the depth head,
            level ground where that head sees ground, or all of level ground, whichever measures
            best with these weights. Without a depth head it is level ground.
        photo_depth: the same where a perspective photo is looked for; ``default_depth`` if left
            out.
        far_share: where nothing else is asked for and a panorama is looked for, the farther half
            of what the depth head sees votes too, at the range that it tells, with this weight
            beside that of all cells as ``default_depth`` lifts them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    backbone: str = "dinov2_vits14"
    blocks: tuple[int, ...] = (11,)
    image_mean: tuple[float, float, float] = IMAGENET_MEAN
    image_std: tuple[float, float, float] = IMAGENET_STD
    panorama_cell_deg: float = Field(default=5.0, gt=0)
    panorama_top_deg: float = 20.0
    panorama_bottom_deg: float = -65.0
    pinhole_cell_deg: float = Field(default=2.5, gt=0)
    aerial_cell_m: float = Field(default=1.4, gt=0)
    photo_aerial_cell_m: float | None = Field(default=None, gt=0)
    aerial_turns: Literal[1, 2, 4] = 1
    turned_share: float = Field(default=1.0, gt=0, le=1)
    half_cells: bool = False
    max_aerial_cells: int = Field(default=64, ge=8)
    head: HeadConfig | None = None
    min_range_m: float = 2.0
    max_range_m: float = 35.0
    vote_temperature: float = Field(default=0.01, gt=0)
    center_sigma: float | None = Field(default=None, gt=0)
    default_depth: Literal["own", "ground", "flat"] = "own"
    photo_depth: Literal["own", "ground", "flat"] | None = None
    far_share: float = Field(default=0.0, ge=0)

    @property
    def range_m(self) -> tuple[float, float]:
        """Nearest and farthest ground that is matched, metres."""
        return self.min_range_m, self.max_range_m

    @model_validator(mode="after")
    def _blocks_ascend(self) -> Self:
        vit = VARIANTS.get(self.backbone)
        depth = math.inf if vit is None else vit.depth
        if not self.blocks or self.blocks[0] < 0 or self.blocks[-1] >= depth:
            raise ValueError(f"blocks: one or more of 0 to {depth - 1:g} expected")
        if any(b <= a for a, b in itertools.pairwise(self.blocks)):
            raise ValueError("blocks must ascend")
        return self

    @model_validator(mode="after")
    def _copies_can_be_moved(self) -> Self:
        if self.half_cells and self.aerial_turns == 1:
            raise ValueError("half_cells: turned copies are what is moved; 2 or 4 aerial_turns")
        return self

    @model_validator(mode="after")
    def _far_cells_are_lifted_twice(self) -> Self:
        if self.far_share and self.default_depth == "own":
            raise ValueError("far_share: own depth is what default_depth lifts already")
        return self


@dataclass(frozen=True)
class GroundGrid:
    """A ground image resampled to whole patches.

    Attributes:
        image: (3, rows * 14, cols * 14) float32 RGB in [0, 1].
        camera: camera whose "pixels" are the cells (width cols, height rows).
        wrap: True for a panorama, whose left and right edges meet.
        top_px: first image row that the grid covers, in pixels of the original.
        bottom_px: end of the covered rows, in pixels of the original.
    """

    image: Tensor
    camera: Camera
    wrap: bool
    top_px: int
    bottom_px: int

    def cell_rays(self) -> Tensor:
        """Return (3, rows, cols) unit rays of the cell centres in the local frame."""
        rows, cols = self.camera.height, self.camera.width
        return self.camera.pixels_to_rays(cell_centers_px(rows, cols, rows, cols)).permute(2, 0, 1)

    def cell_pixels(self, width_px: int) -> Tensor:
        """Return (rows, cols, 2) pixels (u, v) of the cell centres in the original image.

        Args:
            width_px: width of the original image, pixels.
        """
        rows, cols = self.camera.height, self.camera.width
        centers = cell_centers_px(rows, cols, self.bottom_px - self.top_px, width_px)
        return centers + torch.tensor([0.0, float(self.top_px)])


@dataclass(frozen=True)
class AerialGrid:
    """An aerial image resampled to whole patches of square cells.

    Attributes:
        image: (3, rows * 14, cols * 14) float32 RGB in [0, 1].
        cell_size_m: side of a cell, metres. The grid is centred on the image.
    """

    image: Tensor
    cell_size_m: float


def _resample(image: Tensor, height: int, width: int) -> Tensor:
    resized = functional.interpolate(
        image[None], size=(height, width), mode="bicubic", align_corners=False, antialias=True
    )
    return resized[0].clamp(0.0, 1.0)


class Loc2Model(nn.Module):
    """Backbone and heads of both views.

    Args:
        config: what to build; parameters are left as PyTorch initialises them.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        if config.backbone not in VARIANTS:
            raise WeightsError(
                f"unknown backbone {config.backbone!r}; known: {', '.join(VARIANTS)}"
            )
        self.config = config
        self.reduced_precision = False
        """Whether the backbone runs in bfloat16; everything else keeps its precision."""
        self.backbone = VisionTransformer(VARIANTS[config.backbone])
        self.ground_head: GroundHead | None = None
        self.aerial_head: ResidualConvHead | None = None
        if config.head is not None:
            dim, head = self.feature_dim, config.head
            self.ground_head = GroundHead(dim, head)
            self.aerial_head = ResidualConvHead(
                dim, head.descriptor_dim, head, head.descriptor_dim, head.hidden_dim
            )

    @property
    def feature_dim(self) -> int:
        """Channels of the features that the heads read."""
        return self.backbone.config.embed_dim * len(self.config.blocks)

    @property
    def device(self) -> torch.device:
        """Device of the parameters."""
        return self.backbone.cls_token.device

    def ground_grid(self, image: Tensor, camera: Camera) -> GroundGrid:
        """Resample a ground image to the cells that the model sees.

        Args:
            image: (3, H, W) float32 RGB in [0, 1].
            camera: camera of the image.
        """
        config, patch = self.config, self.backbone.config.patch_size
        if isinstance(camera, Equirectangular):
            deg_per_px = (camera.elevation_top_deg - camera.elevation_bottom_deg) / camera.height
            above = camera.elevation_top_deg - config.panorama_top_deg
            below = camera.elevation_top_deg - config.panorama_bottom_deg
            top_px = min(max(round(above / deg_per_px), 0), camera.height - 1)
            bottom_px = max(min(round(below / deg_per_px), camera.height), top_px + 1)
            span_deg = (bottom_px - top_px) * deg_per_px
            rows = max(round(span_deg / config.panorama_cell_deg), 1)
            cols = round(360 / config.panorama_cell_deg)
            top_deg = camera.elevation_top_deg - top_px * deg_per_px
            grid_camera: Camera = Equirectangular(
                cols, rows, camera.roll_deg, camera.pitch_deg, top_deg, top_deg - span_deg
            )
        else:
            if not isinstance(camera, Pinhole):
                raise TypeError(f"unknown camera {type(camera).__name__}")
            hfov_deg = 2 * torch.rad2deg(torch.atan(torch.tensor(camera.width / 2 / camera.fx)))
            cols = min(max(round(float(hfov_deg) / config.pinhole_cell_deg), 16), 56)
            rows = max(round(cols * camera.height / camera.width), 1)
            top_px, bottom_px = 0, camera.height
            grid_camera = camera.resized(cols, rows)
        resampled = _resample(image[:, top_px:bottom_px], rows * patch, cols * patch)
        wrap = isinstance(camera, Equirectangular)
        return GroundGrid(resampled, grid_camera, wrap, top_px, bottom_px)

    def aerial_cells(self, longest_m: float, photo: bool = False) -> int:
        """Return how many cells go along the longer side of an aerial window.

        Args:
            longest_m: longer side, metres.
            photo: whether a perspective photo is looked for.
        """
        config = self.config
        cell_m = (config.photo_aerial_cell_m if photo else None) or config.aerial_cell_m
        return min(max(round(longest_m / cell_m), 1), config.max_aerial_cells)

    def aerial_grid(
        self, image: Tensor, meters_per_pixel: float, photo: bool = False
    ) -> AerialGrid:
        """Resample an aerial image to square cells; less than a cell is cropped at the border.

        Args:
            image: (3, H, W) float32 RGB in [0, 1].
            meters_per_pixel: ground sampling distance, metres.
            photo: whether a perspective photo is looked for.
        """
        patch = self.backbone.config.patch_size
        height_px, width_px = image.shape[-2:]
        longest_px = max(height_px, width_px)
        cell_px = longest_px / self.aerial_cells(longest_px * meters_per_pixel, photo)
        rows = max(int(height_px / cell_px + 1e-6), 1)
        cols = max(int(width_px / cell_px + 1e-6), 1)
        # A crop in whole pixels would move the centre, so the border is cut after resampling to
        # the next multiple: the sampling grid itself stays centred.
        uv_px = cell_centers_px(rows * patch, cols * patch, rows * cell_px, cols * cell_px)
        offset = torch.tensor([(width_px - cols * cell_px) / 2, (height_px - rows * cell_px) / 2])
        shrink = cell_px / patch
        if rows * cell_px == height_px and cols * cell_px == width_px:
            resampled = _resample(image, rows * patch, cols * patch)
        else:
            scaled_h = max(round(height_px / shrink), 1)
            scaled_w = max(round(width_px / shrink), 1)
            scaled = _resample(image, scaled_h, scaled_w) if shrink > 1 else image
            size = torch.tensor([width_px, height_px], dtype=torch.float32)
            grid = (uv_px + offset) / size * 2 - 1
            resampled = functional.grid_sample(
                scaled[None], grid[None], mode="bilinear", padding_mode="border",
                align_corners=False,
            )[0]  # fmt: skip
        return AerialGrid(resampled, cell_px * meters_per_pixel)

    def features(self, images: Tensor) -> Tensor:
        """Run the backbone; what a feature cache stores.

        Args:
            images: (B, 3, H, W) float32 RGB in [0, 1], whole patches.

        Returns:
            (B, C, H // 14, W // 14) float32 features, each level of unit length.
        """
        like = self.backbone.cls_token
        mean = torch.tensor(self.config.image_mean, device=like.device)[:, None, None]
        std = torch.tensor(self.config.image_std, device=like.device)[:, None, None]
        normalised = ((images.to(like.device) - mean) / std).to(like.dtype)
        with self._backbone_precision():
            levels = self.backbone(normalised, self.config.blocks)
        return torch.cat([functional.normalize(level.float(), dim=1) for level in levels], dim=1)

    def _backbone_precision(self) -> AbstractContextManager[None]:
        # Not "enabled=reduced", which would switch off what the caller has switched on.
        if self.reduced_precision and not self.training:
            return torch.autocast(self.device.type, torch.bfloat16)
        return nullcontext()

    def describe_ground(self, features: Tensor, rays: Tensor, wrap: bool) -> GroundDescription:
        """Turn ground features into descriptors, weights and depth.

        Args:
            features: (B, C, h, w) from :meth:`features`.
            rays: (B, 3, h, w) unit rays of the cells in the local frame.
            wrap: True for panoramas.
        """
        centred = _centre(features)
        if self.ground_head is not None:
            described: GroundDescription = self.ground_head(centred, rays, wrap)
            return described
        # Without training, a cell counts by its distance on the ground: far cells cover more of
        # it. Measured on real pairs, this beats equal weights.
        down = (-rays[:, 2]).clamp_min(0.02)
        weight = (rays[:, :2].norm(dim=1) / down).clamp_max(12.0)
        return GroundDescription(functional.normalize(centred, dim=1), weight, None)

    def tell_depth(self, features: Tensor, rays: Tensor, wrap: bool) -> CellDepth | None:
        """Return the depth that :meth:`describe_ground` tells, without the rest where it can.

        Args:
            features: (B, C, h, w) from :meth:`features`.
            rays: (B, 3, h, w) unit rays of the cells in the local frame.
            wrap: True for panoramas.

        Returns:
            The depth of the cells; None for heads that tell none.
        """
        head = self.ground_head
        if head is None or head.depth_net is None:
            return self.describe_ground(features, rays, wrap).depth
        return head.tell_depth(_centre(features), rays, wrap)

    def describe_aerial(self, features: Tensor) -> Tensor:
        """Turn (B, C, h, w) aerial features into (B, D, h, w) unit descriptors."""
        centred = _centre(features)
        if self.aerial_head is not None:
            centred = self.aerial_head(centred)
        return functional.normalize(centred, dim=1)

    @property
    def aerial_parts(self) -> int:
        """Descriptors along the side of an aerial cell."""
        return 2 if self.config.half_cells else 1

    def _aerial_look(self, images: Tensor) -> Tensor:
        """Describe images from one side, whole cells' descriptors for each of their parts."""
        described = self.describe_aerial(self.features(images))
        for dim in (-2, -1) if self.aerial_parts > 1 else ():
            described = described.repeat_interleave(self.aerial_parts, dim)
        return described

    def aerial_descriptors(self, images: Tensor) -> Tensor:
        """Describe aerial images from all sides.

        Args:
            images: (B, 3, H, W) float32 RGB in [0, 1], whole patches.

        Returns:
            (B, D, h, w) descriptors of cells of 14 pixels, or 7 with ``config.half_cells``: the
            mean of those of ``config.aerial_turns`` turned copies, as far as these show a cell
            (``config.turned_share``): of unit length where the copies agree, shorter where they
            do not. Half cells of as many copies have unit length in the mean of an image.
        """
        config, parts = self.config, self.aerial_parts
        part_px = self.backbone.config.patch_size // parts
        total = self._aerial_look(images)
        looks = torch.ones_like(total[0, 0])
        rows, cols = looks.shape
        margins = [
            parts * round(side / parts * (1 - config.turned_share) / 2) for side in (rows, cols)
        ]
        for quarters in range(4 // config.aerial_turns, 4, 4 // config.aerial_turns):
            # The same on both sides: a copy that is moved by half a cell shows one cell less.
            moved = _MOVED[quarters] if config.half_cells else (0, 0)
            top, left = (margin + part for margin, part in zip(margins, moved, strict=True))
            if 2 * top >= rows or 2 * left >= cols:
                continue  # nothing is left of so few cells
            central = functional.pad(images, [-part_px * cut for cut in (left, left, top, top)])
            described = self._aerial_look(torch.rot90(central, quarters, (-2, -1)))
            y, x = slice(top, rows - top), slice(left, cols - left)
            total[..., y, x] += torch.rot90(described, -quarters, (-2, -1))
            looks[y, x] += 1
        mean = total / looks
        if config.half_cells:
            # A mean of several is shorter than a single look; what several cells agree on is told
            # by how long it is among those of as many looks.
            length = mean.norm(dim=1)
            for count in range(1, config.aerial_turns + 1):
                there = looks == count
                mean[..., there] /= length[:, there].mean(dim=1)[:, None, None]
        return mean


_MOVED = {1: (0, 1), 2: (1, 1), 3: (1, 0)}
"""How many half cells down and right turned copies are moved. With the first, which is not moved,
four cells lie about the centre of every half cell, alike on all sides."""


def named_device(name: str | None) -> torch.device:
    """Return the device of a name, the CPU for None.

    Raises:
        InputError: this machine has no such device.
    """
    try:
        device = torch.device(name or "cpu")
        torch.empty(1, device=device).item()  # "meta" makes tensors without content
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device {name}: not available on this machine") from error
    return device


def runs_bfloat16_fast(device: torch.device) -> bool:
    """Return whether a device multiplies matrices in bfloat16 several times faster than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and multiplies_bfloat16()


def _centre(features: Tensor) -> Tensor:
    """Subtract the image's mean feature: what all cells share (style, light) tells no place."""
    return features - features.mean(dim=(-2, -1), keepdim=True)


def packaged_weights(name: str) -> Path:
    """Return where the package keeps weights of a name, whether or not they are there."""
    return Path(__file__).parent / "weights" / f"{name}.safetensors"


def save_model(
    model: Loc2Model, path: Path, metadata: dict[str, str], *, include_backbone: bool = True
) -> None:
    """Write weights with their configuration, atomically.

    Args:
        model: what to write, in the precision of its parameters.
        path: safetensors file.
        metadata: licence, training record and so on, all strings.
        include_backbone: False for heads over the frozen backbone that the package ships; it is
            then taken from there on loading.
    """
    record = {**metadata, "format": "loc2", "config": model.config.model_dump_json()}
    tensors = {
        name: tensor.contiguous().cpu()
        for name, tensor in model.state_dict().items()
        if include_backbone or not name.startswith("backbone.")
    }
    partial = path.with_name(path.name + ".partial")
    save_file(tensors, partial, record)
    partial.replace(path)


def load_model(
    path: str | Path, device: torch.device | str = "cpu"
) -> tuple[Loc2Model, dict[str, str]]:
    """Read weights written by :func:`save_model`.

    Args:
        path: safetensors file.
        device: where the model goes.

    Returns:
        The model in evaluation mode, in float32, and the file's metadata.

    Raises:
        WeightsError: the file is missing, damaged, or not one of ours.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            state = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: not a readable safetensors file") from error
    if metadata.get("format") != "loc2":
        raise WeightsError(
            f"{path}: not a loc2 model (no configuration inside); "
            "published checkpoints are converted with 'loc2 weights import'"
        )
    try:
        config = ModelConfig.model_validate(json.loads(metadata["config"]))
    except (KeyError, ValueError, ValidationError) as error:
        raise WeightsError(f"{path}: its configuration is not one this version reads") from error
    with torch.device("meta"):
        model = Loc2Model(config)
    if not any(name.startswith("backbone.") for name in state):
        backbone = load_vit(packaged_weights(config.backbone)).state_dict()
        state |= {f"backbone.{name}": tensor for name, tensor in backbone.items()}
    expected = model.state_dict()
    if expected.keys() != state.keys() or any(expected[k].shape != state[k].shape for k in state):
        raise WeightsError(f"{path}: tensors do not fit the configuration inside")
    model.load_state_dict(state, assign=True)
    return model.to(device).eval(), metadata
