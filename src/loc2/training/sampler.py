"""The order of samples: a pure function of seed and step, so a resumed run needs no state."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

MicroBatch = list[int]


class StepSampler:
    """Cuts epochs of shuffled samples into steps of micro-batches.

    Samples of one shape are put together as far as they go, the left-over ones of all shapes after
    them; a step has a fixed number of micro-batches, the last of an epoch what is left.

    Args:
        shapes: of every sample; only equality matters.
        micro_batch_size: samples in a micro-batch.
        micro_batches: micro-batches in a step.
        seed: of the order.
    """

    def __init__(
        self,
        shapes: Sequence[tuple[int, ...]],
        micro_batch_size: int,
        micro_batches: int,
        seed: int,
    ) -> None:
        self.micro_batch_size = micro_batch_size
        self.micro_batches = micro_batches
        self.seed = seed
        groups: dict[tuple[int, ...], list[int]] = {}
        for index, shape in enumerate(shapes):
            groups.setdefault(shape, []).append(index)
        self.groups = list(groups.values())
        full = sum(len(g) // micro_batch_size for g in self.groups)
        rest = sum(len(g) % micro_batch_size for g in self.groups)
        micros = full + -(-rest // micro_batch_size)
        self.steps_per_epoch = -(-micros // micro_batches)
        self._epoch = -1
        self._order: list[MicroBatch] = []

    def step(self, step: int) -> list[MicroBatch]:
        """Return the micro-batches of a step, counted from the start of training."""
        epoch, within = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, self._shuffled(epoch)
        first = within * self.micro_batches
        return self._order[first : first + self.micro_batches]

    def _shuffled(self, epoch: int) -> list[MicroBatch]:
        rng = np.random.default_rng([self.seed, epoch])
        size = self.micro_batch_size
        micros: list[MicroBatch] = []
        rest: list[int] = []
        for group in self.groups:
            order = rng.permutation(group).tolist()
            whole = len(order) - len(order) % size
            micros += [order[k : k + size] for k in range(0, whole, size)]
            rest += order[whole:]
        micros += [rest[k : k + size] for k in range(0, len(rest), size)]
        return [micros[k] for k in rng.permutation(len(micros))]
