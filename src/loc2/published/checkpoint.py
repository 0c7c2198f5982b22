"""Import of the released checkpoints."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from loc2 import __version__
from loc2.errors import WeightsError
from loc2.features import VARIANTS, VisionTransformer, load_state_dict, load_vit
from loc2.hub import find_backbone, sha256_of
from loc2.published.compat import Compatibility
from loc2.published.config import CONFIGS, PublishedConfig
from loc2.published.model import PublishedModel, save_published
from loc2.published.network import Matcher

PUBLISHED_PREFIXES = (
    ("grd_projector.", "ground_projector."),
    ("sat_projector.", "aerial_projector."),
)
"""Published parameter prefixes and ours; everything else has the same name."""

LICENCE_NOTE = (
    "The reference implementation's repository, from which the released checkpoints come, is "
    "licensed AGPL-3.0; what you make of this file may fall under that licence."
)

_CHANNELS_KEY = "grd_projector.resblocks.0.conv1.weight"


def own_name(published: str) -> str:
    """Return our name of a published parameter."""
    for foreign, ours in PUBLISHED_PREFIXES:
        if published.startswith(foreign):
            return ours + published.removeprefix(foreign)
    return published


def matcher_state(published: dict[str, Tensor], source: str) -> dict[str, Tensor]:
    """Rename a released state dict, accounting for every key.

    Args:
        published: tensors by their published names.
        source: where they come from, for messages.

    Returns:
        The state of :class:`loc2.published.network.Matcher`.

    Raises:
        WeightsError: a key is missing or unknown, a tensor has another shape or holds values that
            are not finite; the message lists the published names.
    """
    with torch.device("meta"):
        first = published.get(_CHANNELS_KEY)
        channels = first.shape[1] if first is not None and first.ndim == 4 else 1024
        expected = Matcher(channels).state_dict()
    to_published = {ours: foreign for foreign, ours in PUBLISHED_PREFIXES}
    names = {
        next(
            (to_published[p] + own.removeprefix(p) for p in to_published if own.startswith(p)), own
        )
        for own in expected
    }
    both = names & published.keys()
    problems = {
        "missing": names - published.keys(),
        "unknown": published.keys() - names,
        "of another shape": {k for k in both if published[k].shape != expected[own_name(k)].shape},
        "not finite": {k for k in both if not torch.isfinite(published[k]).all()},
    }
    lines = [
        f"{len(keys)} {what}: {', '.join(sorted(keys))}" for what, keys in problems.items() if keys
    ]
    if lines:
        raise WeightsError(f"{source}: not a released checkpoint; {'; '.join(lines)}")
    return {own_name(k): v.to(expected[own_name(k)].dtype) for k, v in published.items()}


def import_checkpoint(
    checkpoint: Path,
    output: Path,
    config_name: str,
    backbone: str | Path | None = None,
    temperature: float | None = None,
) -> PublishedConfig:
    """Convert a released checkpoint to a weights file of ours.

    Args:
        checkpoint: ``model.pt``; read with ``weights_only=True``.
        output: safetensors file to write.
        config_name: ``loc2-vigor`` or ``loc2-kitti``.
        backbone: backbone to put into the file: a file, a name or a Hugging Face id. None leaves
            it out: DINOv2 ViT-L/14 is then found by its name when the file is loaded.
        temperature: temperature of the training run, which checkpoints do not store; the
            published one (0.1) by default.

    Returns:
        The configuration that was written.

    Raises:
        WeightsError: the checkpoint or the backbone cannot be read or do not fit.
        OutputError: the output cannot be written.
    """
    state = matcher_state(load_state_dict(checkpoint), str(checkpoint))
    channels = state["ground_projector.resblocks.0.conv1.weight"].shape[1]
    update: dict[str, object] = {"compatibility": Compatibility.released()}
    if temperature is not None:
        update["temperature"] = temperature
    metadata = {
        "source": checkpoint.name,
        "source_sha256": sha256_of(checkpoint),
        "licence": "AGPL-3.0",
        "licence_note": LICENCE_NOTE,
        "training_data": "VIGOR" if config_name == "loc2-vigor" else "KITTI",
        "made_by": f"loc2 {__version__}, loc2 weights import",
    }
    if backbone is not None:
        file = find_backbone(backbone)
        vit = load_vit(file)
        update["backbone"] = next(n for n, c in VARIANTS.items() if c == vit.config)
        metadata |= {"backbone_source": file.name, "backbone_sha256": sha256_of(file)}
    else:
        by_width = {c.embed_dim: n for n, c in VARIANTS.items() if not c.num_registers}
        if channels not in by_width:
            raise WeightsError(f"{checkpoint}: made for {channels} channels, no DINOv2 has these")
        update["backbone"] = by_width[channels]
        with torch.device("meta"):  # never run: only its width is needed
            vit = VisionTransformer(VARIANTS[by_width[channels]])
    if vit.config.embed_dim != channels:
        raise WeightsError(
            f"{checkpoint}: made for a backbone of {channels} channels, "
            f"{update['backbone']} has {vit.config.embed_dim}"
        )
    config = CONFIGS[config_name].model_copy(update=update)
    model = PublishedModel(config, vit)
    model.matcher.load_state_dict(state)
    save_published(model, output, metadata, with_backbone=backbone is not None)
    return config
