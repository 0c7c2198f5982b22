"""Deterministic weights for parity tests: every tensor follows from its name and shape."""

import zlib

import numpy as np
import torch
from torch import Tensor, nn


def recipe_tensor(name: str, shape: tuple[int, ...]) -> Tensor:
    v = (np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape) * 0.05).astype(
        np.float32
    )
    last = name.split(".")[-1]
    if last == "dustbin_score":
        v = np.full(shape, 1.0, np.float32)
    elif last == "running_var":
        v = np.abs(v) * np.float32(4) + np.float32(0.5)
    elif last == "gamma":
        v = np.float32(0.5) + v
    elif last == "weight" and len(shape) == 1:
        v = np.float32(1) + v
    return torch.from_numpy(np.asarray(v, np.float32).copy())


def recipe_state(module: nn.Module) -> dict[str, Tensor]:
    return {
        name: torch.zeros_like(tensor)
        if name.endswith("num_batches_tracked")
        else recipe_tensor(name, tuple(tensor.shape))
        for name, tensor in module.state_dict().items()
    }


def published_matcher_state(own_names: bool, in_channels: int = 1024) -> dict[str, Tensor]:
    """Recipe weights of the published matcher: the recipe hashes the published names."""
    from loc2.published.checkpoint import PUBLISHED_PREFIXES
    from loc2.published.network import Matcher

    with torch.device("meta"):
        own_state = Matcher(in_channels).state_dict()
    state: dict[str, Tensor] = {}
    for own, tensor in own_state.items():
        published = own
        for foreign, ours in PUBLISHED_PREFIXES:
            if own.startswith(ours):
                published = foreign + own.removeprefix(ours)
        integer = published.endswith("num_batches_tracked")
        shape = tuple(tensor.shape)
        value = (
            torch.zeros(shape, dtype=torch.int64) if integer else recipe_tensor(published, shape)
        )
        state[own if own_names else published] = value
    return state
