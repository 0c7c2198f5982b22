"""Several processes on torch.distributed, as torchrun starts them; one process needs none of it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist


class Processes:
    """This process among those of the run.

    Args:
        device: cpu for gloo, cuda for nccl.
    """

    def __init__(self, device: torch.device) -> None:
        self.count = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        if self.count > 1 and not dist.is_initialized():
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo")

    @property
    def first(self) -> bool:
        """True in the process that writes files."""
        return self.rank == 0

    def add_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Replace every gradient by its sum over the processes."""
        if self.count == 1:
            return
        grads = []
        for parameter in parameters:
            if parameter.grad is None:  # a process without a sample in this step
                parameter.grad = torch.zeros_like(parameter)
            grads.append(parameter.grad)
        flat = torch.cat([g.flatten() for g in grads])
        dist.all_reduce(flat)
        parts = torch.split(flat, [g.numel() for g in grads])
        for grad, part in zip(grads, parts, strict=True):
            grad.copy_(part.view_as(grad))

    def add(self, values: Tensor) -> Tensor:
        """Return the sum of a tensor over the processes."""
        if self.count > 1:
            dist.all_reduce(values)
        return values

    def gather(self, value: Any) -> list[Any]:
        """Return the objects of all processes, in the order of their ranks."""
        if self.count == 1:
            return [value]
        gathered: list[Any] = [None] * self.count
        dist.all_gather_object(gathered, value)
        return gathered

    def close(self) -> None:
        """Leave the group."""
        if self.count > 1 and dist.is_initialized():
            dist.barrier()
            dist.destroy_process_group()
