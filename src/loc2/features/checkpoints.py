"""Reading backbone weights: official and Hugging Face names, safetensors and pickled files."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from loc2.errors import WeightsError
from loc2.features.dinov2 import VARIANTS, VisionTransformer, VitConfig

_HF_RENAMES = (
    (r"^embeddings\.cls_token$", "cls_token"),
    (r"^embeddings\.mask_token$", "mask_token"),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.register_tokens$", "register_tokens"),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^layernorm\.", "norm."),
    (r"^encoder\.layer\.(\d+)\.", r"blocks.\1."),
    (r"\.attention\.output\.dense\.", ".attn.proj."),
    (r"\.layer_scale(\d)\.lambda1$", r".ls\1.gamma"),
    (r"\.mlp\.weights_in\.", ".mlp.w12."),
    (r"\.mlp\.weights_out\.", ".mlp.w3."),
)

_SCALE = ".scale"


def load_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Read a file of tensors, safetensors or pickled by torch (``weights_only=True``).

    Args:
        path: file to read; ``.safetensors`` decides the format, anything else is a torch file.

    Returns:
        Tensors by name, on the CPU.

    Raises:
        WeightsError: the file is missing, damaged, or holds more than tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file")
    try:
        if path.suffix == ".safetensors":
            return unpack(load_file(path), str(path))
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, OSError, EOFError) as error:
        reason = str(error).split("\n", 1)[0]
        raise WeightsError(f"{path}: not readable as weights ({reason})") from error
    if isinstance(loaded, dict) and isinstance(loaded.get("state_dict"), dict):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, dict) or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise WeightsError(f"{path}: expected a dictionary of tensors")
    return dict(loaded)


def pack(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Store large matrices in 8 bits with one scale for each row, the rest in half precision.

    Args:
        state: tensors by name.

    Returns:
        The tensors of the file: ``NAME`` (rows, cols) int8 and ``NAME.scale`` (rows,) float16 in
        place of a matrix with at least 128 rows and columns.
    """
    packed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if tensor.ndim != 2 or min(tensor.shape) < 128:
            packed[name] = tensor.half()
            continue
        scale = (tensor.float().abs().amax(dim=1) / 127).clamp_min(1e-7).half()
        packed[name] = (tensor.float() / scale.float()[:, None]).round().clamp(-127, 127).char()
        packed[name + _SCALE] = scale
    return packed


def unpack(stored: dict[str, Tensor], label: str) -> dict[str, Tensor]:
    """Restore the float32 matrices that :func:`pack` stored in 8 bits; the rest stays as it is.

    Args:
        stored: tensors of the file.
        label: what the file is called in errors.

    Raises:
        WeightsError: a matrix in 8 bits has no scale for each of its rows.
    """
    state = dict(stored)
    for name, tensor in stored.items():
        if tensor.dtype != torch.int8:
            continue
        scale = state.pop(name + _SCALE, None)
        if scale is None or tensor.ndim != 2 or scale.shape != tensor.shape[:1]:
            raise WeightsError(f"{label}: {name} is stored in 8 bits without a scale for each row")
        state[name] = tensor.float() * scale.float()[:, None]
    return state


def _from_hugging_face(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename a Hugging Face DINOv2 state dict to the official names, joining q, k and v."""
    renamed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        key = name.removeprefix("dinov2.").removeprefix("dinov2_with_registers.")
        for pattern, replacement in _HF_RENAMES:
            key = re.sub(pattern, replacement, key)
        renamed[key] = tensor
    joined: dict[str, Tensor] = {}
    for key, tensor in renamed.items():
        match = re.match(r"^(blocks\.\d+)\.attention\.attention\.query\.(weight|bias)$", key)
        if match:
            block, part = match.groups()
            names = [f"{block}.attention.attention.{n}.{part}" for n in ("query", "key", "value")]
            if all(n in renamed for n in names):
                joined[f"{block}.attn.qkv.{part}"] = torch.cat([renamed[n] for n in names])
        elif ".attention.attention." not in key:
            joined[key] = tensor
    return joined


def _infer_config(state: dict[str, Tensor], source: str) -> VitConfig:
    """Find the published variant whose shapes the tensors have."""
    if "patch_embed.proj.weight" not in state or "pos_embed" not in state:
        raise WeightsError(f"{source}: these are not DINOv2 weights (no patch embedding)")
    dim = state["pos_embed"].shape[-1]
    depth = 1 + max((int(k.split(".")[1]) for k in state if k.startswith("blocks.")), default=-1)
    registers = state["register_tokens"].shape[1] if "register_tokens" in state else 0
    for config in VARIANTS.values():
        if (config.embed_dim, config.depth, config.num_registers) == (dim, depth, registers):
            return config
    raise WeightsError(
        f"{source}: no published DINOv2 variant has width {dim}, depth {depth} and "
        f"{registers} registers; give its configuration"
    )


def load_vit(
    source: str | Path | dict[str, Tensor],
    config: VitConfig | None = None,
    dtype: torch.dtype = torch.float32,
) -> VisionTransformer:
    """Build a backbone from weights under the official or the Hugging Face names.

    Args:
        source: file of weights, or the tensors themselves.
        config: architecture; inferred from the shapes among the published variants by default.
        dtype: float32, bfloat16 or float16.

    Returns:
        The network in evaluation mode on the CPU.

    Raises:
        WeightsError: the file cannot be read, or its tensors do not fit the architecture; the
            message lists missing and unexpected names.
    """
    label = "weights" if isinstance(source, dict) else str(source)
    state = source if isinstance(source, dict) else load_state_dict(source)
    if any(k.endswith("attention.attention.query.weight") for k in state):
        state = _from_hugging_face(state)
    config = config or _infer_config(state, label)
    with torch.device("meta"):
        model = VisionTransformer(config)
    # The mask token serves pre-training only; exported backbones often leave it out.
    state = {"mask_token": torch.zeros(1, config.embed_dim), **state}
    expected = model.state_dict()
    missing = sorted(expected.keys() - state.keys())
    unknown = sorted(state.keys() - expected.keys())
    wrong = sorted(k for k in expected.keys() & state.keys() if expected[k].shape != state[k].shape)
    if missing or unknown or wrong:
        parts = [
            f"{what}: {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}"
            for what, names in (("missing", missing), ("unknown", unknown), ("misshapen", wrong))
            if names
        ]
        raise WeightsError(f"{label}: tensors do not fit the network; {'; '.join(parts)}")
    model.load_state_dict({k: v.to(dtype) for k, v in state.items()}, assign=True)
    return model.eval()
