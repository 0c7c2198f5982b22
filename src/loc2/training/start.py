"""What training starts from: backbone weights, or a model of ours; heads that match at once."""

from __future__ import annotations

import torch
from pydantic import BaseModel
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.nn import functional

from loc2.errors import InputError, WeightsError
from loc2.features import load_vit
from loc2.hub import find_backbone
from loc2.model import Loc2Model, load_model, packaged_weights
from loc2.published.model import FORMAT as PUBLISHED_FORMAT
from loc2.published.model import PublishedModel, load_published, vit_config
from loc2.training.config import TrainConfig
from loc2.training.sets import CellSet

PACKAGED_BACKBONE = "dinov2_vits14"


def build_model(config: TrainConfig) -> tuple[Loc2Model, bool]:
    """Build the model that is trained, from backbone weights or from a model of ours.

    Args:
        config: the run's; ``weights`` names the file, or weights in the package (``default``); the
            packaged backbone if left out.

    Returns:
        The model, and whether its heads were trained before.

    Raises:
        WeightsError: the file cannot be read or is of another architecture.
        InputError: the configuration asks for a model that the file does not hold.
    """
    path = config.weights or packaged_weights(PACKAGED_BACKBONE)
    if not path.is_file() and packaged_weights(str(path)).is_file():
        path = packaged_weights(str(path))
    if _format(str(path)) == "loc2":
        model, _ = load_model(path)
        if model.config.head is not None:
            for name in _differing(config.model, model.config):
                raise InputError(f"model.{name}: {path} was made with another; leave it out")
            return model, True
        vit = model.backbone
    else:
        vit = load_vit(path, dtype=torch.float32)
    with torch.random.fork_rng([]):
        torch.manual_seed(config.run.seed)
        model = Loc2Model(config.model)
    if vit.config != model.backbone.config:
        raise WeightsError(f"{path}: not the weights of model.backbone {config.model.backbone!r}")
    model.backbone.load_state_dict(vit.state_dict())
    return model, False


def _differing(asked: BaseModel, own: BaseModel) -> list[str]:
    """Return the settings that were asked for and are others in a model's own configuration."""
    names = []
    for name in sorted(asked.model_fields_set):
        wanted, has = getattr(asked, name), getattr(own, name)
        if isinstance(wanted, BaseModel) and isinstance(has, BaseModel):
            names += [f"{name}.{inner}" for inner in _differing(wanted, has)]
        elif wanted != has:
            names.append(name)
    return names


def build_published(config: TrainConfig) -> PublishedModel:
    """Build the published network that is trained, from backbone weights or from its own.

    Args:
        config: the run's; ``weights`` names a backbone's file or a model of this kind; by default
            the backbone is found by its name.

    Raises:
        WeightsError: the file cannot be read or is of another architecture.
    """
    if config.weights is not None and config.weights.is_file():
        path = str(config.weights)
        if _format(path) == PUBLISHED_FORMAT:
            return load_published(config.weights)[0]
        vit = load_vit(config.weights, vit_config(config.published))
    else:
        vit = load_vit(find_backbone(config.published.backbone), vit_config(config.published))
    with torch.random.fork_rng([]):
        torch.manual_seed(config.run.seed)
        return PublishedModel(config.published, vit)


def _format(path: str) -> str | None:
    """Return what a safetensors file says it is, None for backbones and other files."""
    try:
        with safe_open(path, framework="pt") as file:
            stated: str | None = (file.metadata() or {}).get("format")
            return stated
    except (SafetensorError, OSError):
        return None


@torch.no_grad()
def start_from_features(model: Loc2Model, samples: CellSet, count: int = 48) -> None:
    """Give both heads the same projection on the features' principal components.

    Untrained heads then match as the frozen features do.

    Args:
        model: with heads.
        samples: cached features.
        count: samples that are looked at.
    """
    if model.ground_head is None or model.aerial_head is None or model.config.head is None:
        return
    dim = model.feature_dim
    covariance = torch.zeros(dim, dim, dtype=torch.float64)
    for k in range(min(count, len(samples))):
        cells = samples.read(k * len(samples) // min(count, len(samples)), 0)
        for view in filter(len, (cells.ground, cells.aerial)):  # the aerial one may be left out
            maps = view if view.shape[0] == dim else model.features(view[None].float())[0].cpu()
            flat = maps.float().flatten(1)
            centred = functional.normalize(flat - flat.mean(1, keepdim=True), dim=0).double()
            covariance += centred @ centred.T / centred.shape[1]
    vectors: Tensor = torch.linalg.eigh(covariance).eigenvectors
    projection = vectors[:, -model.config.head.descriptor_dim :].T.float()
    model.ground_head.net.set_projection(projection.to(model.device))
    model.aerial_head.set_projection(projection.to(model.device))
