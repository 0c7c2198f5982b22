"""What this machine's processor is and can do, as far as PyTorch tells (older versions do not)."""

from __future__ import annotations

import functools
import platform
from typing import Any

import torch


@functools.cache
def _capabilities() -> dict[str, Any]:
    tell = getattr(torch.cpu, "get_capabilities", dict)
    return dict(tell())


def has_amx() -> bool:
    """Return whether the processor multiplies matrices of bfloat16 in tiles."""
    return bool(_capabilities().get("amx_bf16"))


def multiplies_bfloat16() -> bool:
    """Return whether the processor has instructions that multiply bfloat16, tiles or not."""
    return has_amx() or bool(_capabilities().get("avx512_bf16"))


def processor_name() -> str:
    """Return the processor's name, or its architecture."""
    return str(_capabilities().get("cpu_name") or platform.machine())
