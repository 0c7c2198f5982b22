"""Running statistics of a step whose micro-batches may lie on several machines."""

from __future__ import annotations

import torch
from torch import Tensor

from loc2.training.distributed import Processes


class RunningStatistics:
    """Makes running statistics (batch normalisation) independent of the order of micro-batches.

    Every micro-batch updates them from the same start, and the step keeps the mean of the results:
    one update with the mean of the micro-batches' statistics, in one process or in several.

    Args:
        buffers: the statistics by name, as they are at the step's start; they are changed in place.
    """

    def __init__(self, buffers: dict[str, Tensor]) -> None:
        self.buffers = list(buffers.values())
        self.start = [b.clone() for b in self.buffers]
        self.sums = [torch.zeros_like(b, dtype=torch.float64) for b in self.buffers]
        self.count = 0

    def rewind(self) -> None:
        """Put them back as they were at the step's start."""
        for buffer, start in zip(self.buffers, self.start, strict=True):
            buffer.copy_(start)

    def collect(self) -> None:
        """Take note of what a micro-batch has made of them."""
        self.count += 1
        for total, buffer in zip(self.sums, self.buffers, strict=True):
            total += buffer

    def settle(self, processes: Processes) -> None:
        """Set them to the mean over the step's micro-batches, of all processes.

        Args:
            processes: those that share the step.
        """
        if not self.buffers:
            return
        device = self.buffers[0].device  # NCCL adds on GPUs only
        count = processes.add(torch.tensor(float(self.count), dtype=torch.float64, device=device))
        if not count:  # no pair of this step could be read
            self.rewind()
            return
        for buffer, total in zip(self.buffers, self.sums, strict=True):
            mean = processes.add(total) / count
            buffer.copy_(mean if buffer.is_floating_point() else mean.round())
