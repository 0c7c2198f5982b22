"""Several processes on torch.distributed, as torchrun starts them; one process needs none of it."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

_LONGEST_WAIT = datetime.timedelta(days=2)  # one process may compute features that long


class Processes:
    """This process among those of the run; joins the others where torchrun started several.

    Args:
        device: ``cpu`` for gloo, ``cuda`` for nccl, then with the GPU of the local rank.

    Attributes:
        count: number of processes.
        rank: number of this one.
        device: where this one works.
    """

    def __init__(self, device: str | torch.device = "cpu") -> None:
        self.count = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        self.device = torch.device(device)
        on_gpu = self.device.type == "cuda"
        if self.count > 1:
            if str(self.device) == "cuda":
                self.device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
                torch.cuda.set_device(self.device)
            if not dist.is_initialized():
                dist.init_process_group("nccl" if on_gpu else "gloo", timeout=_LONGEST_WAIT)

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

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.count > 1:
            dist.barrier()

    def close(self) -> None:
        """Leave the group."""
        if self.count > 1 and dist.is_initialized():
            dist.barrier()
            dist.destroy_process_group()
