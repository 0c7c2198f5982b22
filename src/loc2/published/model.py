"""The published network: backbone and matcher, saving and loading."""

from __future__ import annotations

from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from loc2.errors import WeightsError
from loc2.features import VARIANTS, VisionTransformer, VitConfig, load_vit
from loc2.hub import find_backbone
from loc2.outputs import atomic_path
from loc2.published.config import PublishedConfig
from loc2.published.network import Matcher

FORMAT = "loc2-published"
"""Marks a weights file of this network."""


class PublishedModel(nn.Module):
    """Images to match probabilities.

    Args:
        config: sizes and conventions.
        backbone: feature network; its channels decide the matcher's.
    """

    def __init__(self, config: PublishedConfig, backbone: VisionTransformer) -> None:
        super().__init__()
        self.config = config
        self.backbone = backbone
        self.matcher = Matcher(backbone.config.embed_dim, config.temperature, config.aerial_cells)

    @property
    def device(self) -> torch.device:
        """Device of the parameters."""
        return self.matcher.dustbin_score.device

    @property
    def ground_grid(self) -> tuple[int, int]:
        """Rows and columns of ground cells."""
        patch = self.backbone.config.patch_size
        return self.config.ground_size_px[0] // patch, self.config.ground_size_px[1] // patch

    def features(self, images: Tensor) -> Tensor:
        """Run the backbone, in its own precision.

        Args:
            images: (B, 3, H, W) float32 RGB in [0, 1].

        Returns:
            (B, C, H // 14, W // 14) float32.
        """
        like = self.backbone.cls_token
        images = images.to(like.device)
        if not self.config.compatibility.unnormalized_input:
            mean = images.new_tensor(self.config.image_mean)[:, None, None]
            std = images.new_tensor(self.config.image_std)[:, None, None]
            images = (images - mean) / std
        maps: list[Tensor] = self.backbone(images.to(like.dtype))
        return maps[0].float()

    def ground_descriptors(self, images: Tensor) -> Tensor:
        """Describe ground images.

        Args:
            images: (B, 3, H, W) float32 RGB in [0, 1] of any size.

        Returns:
            (B, 128, rows, cols) unit descriptors.
        """
        resized = resize(images, *self.config.ground_size_px)
        return self.matcher.ground_descriptors(self.features(resized))

    def aerial_descriptors(self, images: Tensor) -> Tensor:
        """Describe square aerial images.

        Args:
            images: (B, 3, S, S) float32 RGB in [0, 1] of any size.

        Returns:
            (B, 128, cells, cells) unit descriptors.
        """
        side = self.config.aerial_size_px
        return self.matcher.aerial_descriptors(self.features(resize(images, side, side)))

    def probabilities(self, ground: Tensor, aerial: Tensor, valid: Tensor) -> Tensor:
        """Match descriptors.

        Args:
            ground: (B, 128, rows, cols) ground descriptors.
            aerial: (B, 128, cells, cells) aerial descriptors.
            valid: (B, rows * cols) bool, False where a ground cell cannot be matched.

        Returns:
            (B, cells * cells, rows * cols) match probabilities.
        """
        return self.matcher.probabilities(self.matcher.scores(ground, aerial, valid))


def resize(images: Tensor, height: int, width: int) -> Tensor:
    """Resize (B, 3, H, W) images bilinearly with antialias; the right size passes unchanged."""
    if images.shape[-2:] == (height, width):
        return images
    return functional.interpolate(
        images, size=(height, width), mode="bilinear", align_corners=False, antialias=True
    )


def save_published(
    model: PublishedModel, path: Path, metadata: dict[str, str], with_backbone: bool
) -> None:
    """Write a model, atomically.

    Args:
        model: what to write.
        path: safetensors file.
        metadata: source, licence and so on, all strings.
        with_backbone: put the backbone into the file, in half precision as the published code
            runs it; otherwise it is found by its name when the file is loaded.

    Raises:
        OutputError: the file cannot be written.
    """
    tensors = {f"matcher.{k}": v.contiguous() for k, v in model.matcher.state_dict().items()}
    if with_backbone:
        state = model.backbone.state_dict()
        tensors |= {f"backbone.{k}": v.half().contiguous() for k, v in state.items()}
    record = {**metadata, "format": FORMAT, "config": model.config.model_dump_json()}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, record)


def read_metadata(path: Path) -> dict[str, str]:
    """Return the metadata of a safetensors file.

    Raises:
        WeightsError: the file is missing or not a safetensors file.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file")
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: not a readable safetensors file") from error


def load_published(
    path: Path,
    device: torch.device | str = "cpu",
    backbone_dtype: torch.dtype = torch.float32,
    backbone: str | Path | None = None,
) -> tuple[PublishedModel, dict[str, str]]:
    """Read a model written by :func:`save_published`.

    Args:
        path: safetensors file.
        device: where the model goes.
        backbone_dtype: precision of the backbone; the matcher stays in float32.
        backbone: file, name or Hugging Face id of the backbone where the file holds none.

    Returns:
        The model in evaluation mode, and the file's metadata.

    Raises:
        WeightsError: the file is not such a model, or its backbone is not on this machine.
    """
    config, state, metadata = _read(path)
    inside = _part(state, "backbone.")
    vit = load_vit(
        inside or find_backbone(backbone or config.backbone), vit_config(config), backbone_dtype
    )
    model = PublishedModel(config, vit)
    _fill(model.matcher, state, path)
    return model.to(device).eval(), metadata


def load_matcher(path: Path) -> tuple[Matcher, PublishedConfig]:
    """Read the matcher alone, for features that are already computed; needs no backbone.

    Args:
        path: file written by :func:`save_published`.

    Returns:
        The matcher in evaluation mode on the CPU, and the configuration.

    Raises:
        WeightsError: the file is not such a model.
    """
    config, state, _ = _read(path)
    matcher = Matcher(vit_config(config).embed_dim, config.temperature, config.aerial_cells)
    _fill(matcher, state, path)
    return matcher.eval(), config


def _read(path: Path) -> tuple[PublishedConfig, dict[str, Tensor], dict[str, str]]:
    metadata = read_metadata(path)
    if metadata.get("format") != FORMAT:
        raise WeightsError(f"{path}: not an imported checkpoint of the published method")
    try:
        config = PublishedConfig.model_validate_json(metadata["config"])
    except (KeyError, ValidationError) as error:
        raise WeightsError(f"{path}: its configuration is not one this version reads") from error
    with safe_open(path, framework="pt") as file:
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return config, state, metadata


def _part(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def _fill(matcher: Matcher, state: dict[str, Tensor], path: Path) -> None:
    own, expected = _part(state, "matcher."), matcher.state_dict()
    if expected.keys() != own.keys() or any(expected[k].shape != own[k].shape for k in own):
        raise WeightsError(f"{path}: tensors do not fit the configuration inside")
    matcher.load_state_dict(own)


def vit_config(config: PublishedConfig) -> VitConfig:
    """Return the backbone's architecture.

    Raises:
        WeightsError: the configuration names no known variant.
    """
    if config.backbone not in VARIANTS:
        raise WeightsError(f"unknown backbone {config.backbone!r}; known: {', '.join(VARIANTS)}")
    return VARIANTS[config.backbone]
