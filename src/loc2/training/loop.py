"""The training loop: steps of micro-batches, validation, averages, checkpoints, resuming."""

from __future__ import annotations

import copy
import functools
import itertools
import json
import logging
import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from loc2.errors import InputError, Loc2Error
from loc2.training.augment import random_crop
from loc2.training.base import Trainable
from loc2.training.cells import Cells, batch_of, join_cells
from loc2.training.checkpoint import read_checkpoint, write_checkpoint
from loc2.training.config import TrainConfig
from loc2.training.distributed import Processes
from loc2.training.logs import RunLog
from loc2.training.running import RunningStatistics
from loc2.training.sampler import StepSampler
from loc2.training.sets import CellSet, ImageSet
from loc2.training.validation import ValidationErrors, summarize_validation

logger = logging.getLogger(__name__)

CHECKPOINT = "last.pt"
BEST = "model.safetensors"


class TrainingError(Loc2Error):
    """Training went wrong: the loss is not a number."""


Report = Callable[[dict[str, Any]], None]
"""Called with every record of the log, for progress."""


@dataclass
class TrainState:
    """Where a run stands, besides weights and optimiser.

    Attributes:
        step: steps done.
        samples: samples seen.
        best_score: of the best validation so far.
        best_step: when that was.
        stale: validations since.
        failed: names of the samples that were missing or broken, with the reason.
    """

    step: int = 0
    samples: int = 0
    best_score: float = -math.inf
    best_step: int = 0
    stale: int = 0
    failed: dict[str, str] = field(default_factory=dict)


class Trainer:
    """One run.

    Args:
        objective: model with its losses; on the device where it is trained.
        train_set: samples to learn from.
        validation_sets: samples to judge by, by name.
        config: the run's configuration, stored beside the checkpoints.
        output: folder of the run; if it holds a checkpoint, the run goes on from there.
        report: called with every record of the log.
        metadata: goes into the saved model (licence, data).
        processes: those that share the run; found in the environment by default.

    Raises:
        InputError: the folder holds a run of another configuration, or there is nothing to train
            on.
    """

    def __init__(
        self,
        objective: Trainable,
        train_set: CellSet,
        validation_sets: Mapping[str, CellSet],
        config: TrainConfig,
        output: Path,
        report: Report | None = None,
        metadata: Mapping[str, str] | None = None,
        processes: Processes | None = None,
    ) -> None:
        if len(train_set) == 0:
            raise InputError("training set: holds no pairs")
        self.objective = objective
        self.train_set = train_set
        self.validation_sets = validation_sets
        self.config = config
        self.output = output
        self.report = report or (lambda record: None)
        self.metadata = dict(metadata or {})
        self.device = next(objective.parameters()).device
        self.processes = processes or Processes(self.device)
        optim = config.optim
        window = config.augmentation.window_cells
        self.sampler = StepSampler(
            [_batch_shape(train_set.shape(i), window) for i in range(len(train_set))],
            optim.micro_batch_size,
            optim.batch_size // optim.micro_batch_size,
            config.run.seed,
        )
        self.total_steps = optim.epochs * self.sampler.steps_per_epoch
        self.last_step = min(self.total_steps, config.run.max_steps or self.total_steps)
        self.named = {n: p for n, p in objective.named_parameters() if p.requires_grad}
        self.optimizer = torch.optim.AdamW(_groups(self.named, config), betas=config.optim.betas)
        self.average = {n: p.detach().clone() for n, p in self.named.items()}
        self.state = TrainState()
        # Features are mapped from files, which takes no time; images are decoded.
        threads = config.data.workers if isinstance(train_set, ImageSet) else 0
        self._readers = ThreadPoolExecutor(threads) if threads else None
        self._ahead: dict[int, dict[int, list[Callable[[], Cells]]]] = {}
        self._started = time.monotonic()
        output.mkdir(parents=True, exist_ok=True)
        self._resume()
        self._first_step = self.state.step

    @property
    def best_path(self) -> Path:
        """File of the best weights so far."""
        return self.output / BEST

    # -- checkpoints -----------------------------------------------------------------------------

    def _resume(self) -> None:
        text = self.config.model_dump_json(indent=1)
        path = self.output / CHECKPOINT
        if not path.exists():
            if self.processes.first:
                (self.output / "config.json").write_text(text)
            return
        saved = read_checkpoint(path)
        if _identity(saved["config"]) != _identity(text):
            raise InputError(
                f"{self.output}: holds a run of another configuration; give another folder, or "
                "delete it to start anew"
            )
        with torch.no_grad():
            for name, parameter in self.named.items():
                parameter.copy_(saved["weights"][name])
                self.average[name].copy_(saved["average"][name])
        self._load_buffers(saved["buffers"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.state = TrainState(**saved["state"])
        torch.set_rng_state(saved["rng"])

    def _buffers(self) -> dict[str, Tensor]:
        return dict(self.objective.named_buffers())

    def _load_buffers(self, saved: dict[str, Tensor]) -> None:
        for name, buffer in self._buffers().items():
            buffer.copy_(saved[name])

    def save_checkpoint(self) -> None:
        """Write all that a run needs to go on from here."""
        if not self.processes.first:
            return
        write_checkpoint(
            self.output / CHECKPOINT,
            {
                "config": self.config.model_dump_json(indent=1),
                "weights": {n: p.detach().cpu() for n, p in self.named.items()},
                "average": {n: p.cpu() for n, p in self.average.items()},
                "buffers": {n: b.cpu() for n, b in self._buffers().items()},
                "optimizer": self.optimizer.state_dict(),
                "schedule": {"step": self.state.step, "total_steps": self.total_steps},
                "sampler": {"seed": self.config.run.seed, "step": self.state.step},
                "rng": torch.get_rng_state(),
                "state": vars(self.state),
            },
        )

    # -- steps -----------------------------------------------------------------------------------

    def run(self) -> TrainState:
        """Train to the end, or until validation stops getting better.

        Raises:
            InputError: too many samples are missing or broken.
            TrainingError: the loss is not a number.
        """
        run = self.config.run
        log = (
            RunLog(self.output, self.state.step, run.tensorboard) if self.processes.first else None
        )
        self._started, self._first_step = time.monotonic(), self.state.step

        def record(values: dict[str, Any]) -> None:
            if log is not None:
                log.write(values)
                self.report(values)

        try:
            if self.state.step == 0:
                self._validate(record)
            while self.state.step < self.last_step and not self._patience_is_over():
                values = self.step()
                step = self.state.step
                ended = step == self.total_steps
                if step % run.log_every_steps == 0 or ended:
                    record(values)
                epoch_ended = step % self.sampler.steps_per_epoch == 0
                epoch = step // self.sampler.steps_per_epoch
                if ended or (epoch_ended and epoch % run.validate_every_epochs == 0):
                    self._validate(record)
                stops = step == self.last_step
                if stops or epoch_ended or step % run.checkpoint_every_steps == 0:
                    if log is not None:
                        log.sync()
                    self.save_checkpoint()
        finally:
            if log is not None:
                log.close()
            if self._readers is not None:
                self._readers.shutdown(cancel_futures=True)
        if not self.validation_sets:
            self._export(self.state.step, {})
        self.processes.close()
        return self.state

    def _patience_is_over(self) -> bool:
        return 0 < self.config.run.patience <= self.state.stale

    def step(self) -> dict[str, Any]:
        """Do one optimiser step; return its record for the log."""
        optim = self.config.optim
        step = self.state.step
        micros = self.sampler.step(step)
        read = self._ahead.pop(step, None) or self._start_reading(step)
        if step + 1 < self.last_step:
            self._ahead[step + 1] = self._start_reading(step + 1)
        count = sum(len(m) for m in micros)
        self.objective.train()
        self.optimizer.zero_grad(set_to_none=True)
        sums: dict[str, Tensor] = {}
        statistics = RunningStatistics(self._buffers())
        for number, indices in enumerate(micros):
            if number % self.processes.count != self.processes.rank:
                continue
            seed = hash((self.config.run.seed, step, number)) % (1 << 62)
            for cells in self._read(indices, read[number], seed):
                statistics.rewind()
                losses = self._losses(cells, seed)
                torch.autograd.backward(losses["loss"].sum() / count)
                statistics.collect()
                for name, values in losses.items():
                    total = torch.stack((values.detach().sum(), values.new_tensor(len(values))))
                    sums[name] = sums.get(name, torch.zeros_like(total)) + total
        self.processes.add_gradients(self.named.values())
        statistics.settle(self.processes)
        norm = nn.utils.clip_grad_norm_(self.named.values(), optim.clip_norm)
        if not torch.isfinite(norm):
            self._stop_not_finite(micros)
        factor = _schedule(step, self.total_steps, self.config)
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
        self.optimizer.step()
        self.state.step += 1
        self.state.samples += count
        decay = min(optim.average_decay, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, parameter in self.named.items():
                self.average[name].lerp_(parameter, 1 - decay)
        return self._record(sums, float(norm), factor)

    def _losses(self, cells: Cells, seed: int) -> dict[str, Tensor]:
        # Dropout draws from torch's global generator: the fork keeps every micro-batch's draws a
        # function of its seed alone, and the caller's generator untouched.
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(seed)
            losses: dict[str, Tensor] = self.objective(cells.to(self.device), seed)
        bad = ~torch.isfinite(losses["loss"].detach())
        if bad.any():
            names = [name for name, b in zip(cells.ids, bad.tolist(), strict=True) if b]
            parts = [n for n, v in losses.items() if not bool(torch.isfinite(v).all())]
            raise TrainingError(
                f"loss is not a number at step {self.state.step + 1} for {', '.join(names)} "
                f"(in {', '.join(parts)}); lower optim.learning_rate or look at these pairs"
            )
        return losses

    def _stop_not_finite(self, micros: list[list[int]]) -> None:
        names = [self.train_set.name(i) for i in itertools.chain.from_iterable(micros)]
        raise TrainingError(
            f"gradient is not a number at step {self.state.step + 1}, among: {', '.join(names)}; "
            "lower optim.learning_rate or look at these pairs"
        )

    def _start_reading(self, step: int) -> dict[int, list[Callable[[], Cells]]]:
        """Begin to read this process's micro-batches of a step, in threads where there are any."""
        epoch = step // self.sampler.steps_per_epoch
        return {
            number: [
                self._readers.submit(self.train_set.read, index, epoch).result
                if self._readers is not None
                else functools.partial(self.train_set.read, index, epoch)
                for index in indices
            ]
            for number, indices in enumerate(self.sampler.step(step))
            if number % self.processes.count == self.processes.rank
        }

    def _read(self, indices: list[int], read: list[Callable[[], Cells]], seed: int) -> list[Cells]:
        """Finish reading a micro-batch; one batch for each size of grids, usually one."""
        generator = torch.Generator().manual_seed(seed)
        groups: dict[tuple[Any, ...], list[Cells]] = {}
        for index, finish in zip(indices, read, strict=True):
            try:
                cells = batch_of(finish())
            except Loc2Error as error:
                self._count_failure(self.train_set.name(index), error)
                continue
            cells = random_crop(cells, self.config.augmentation, generator)
            key = (cells.wrap, cells.ground.shape, cells.aerial.shape)
            groups.setdefault(key, []).append(cells)
        return [join_cells(group) for group in groups.values()]

    def _count_failure(self, name: str, error: Loc2Error) -> None:
        if name not in self.state.failed:
            logger.warning("pair %s left out: %s", name, error)
            self.state.failed[name] = str(error)
        share = len(self.state.failed) / len(self.train_set)
        if share > self.config.run.max_failed_share:
            raise InputError(
                f"{len(self.state.failed)} of {len(self.train_set)} training pairs are missing or "
                f"broken ({share:.1%}); the last: {error}"
            )

    def _record(self, sums: dict[str, Tensor], norm: float, factor: float) -> dict[str, Any]:
        if self.processes.count > 1:
            gathered = self.processes.gather({n: s.tolist() for n, s in sums.items()})
            sums = {}
            for name, pair in itertools.chain.from_iterable(g.items() for g in gathered):
                sums[name] = sums.get(name, torch.zeros(2)) + torch.tensor(pair)
        seconds = time.monotonic() - self._started
        done = self.state.step - self._first_step
        record: dict[str, Any] = {
            "step": self.state.step,
            "epoch": self.state.step / self.sampler.steps_per_epoch,
            **{name: float(s[0] / s[1].clamp_min(1)) for name, s in sums.items()},
            "gradient_norm": norm,
            "learning_rate": self.config.optim.learning_rate * factor,
            **self.objective.scalars(),
            "failed": len(self.state.failed),
            "total_steps": self.total_steps,
            "seconds": seconds,
            "seconds_left": seconds / done * (self.last_step - self.state.step),
        }
        return record

    # -- validation ------------------------------------------------------------------------------

    def averaged(self) -> Trainable:
        """Return a copy of what is trained with the averaged weights, in evaluation mode."""
        # What does not learn is shared, not copied: a frozen backbone is most of the memory.
        frozen = {id(p): p for p in self.objective.parameters() if not p.requires_grad}
        twin: Trainable = copy.deepcopy(self.objective, frozen)
        with torch.no_grad():
            for name, parameter in twin.named_parameters():
                if name in self.average:
                    parameter.copy_(self.average[name])
        return twin.eval()

    def _validate(self, record: Report) -> None:
        if not self.validation_sets:
            return
        averaged = self.averaged()
        scores = []
        for name, cell_set in self.validation_sets.items():
            for lift in self.config.run.validation_lifts:
                figures = self._validate_set(averaged, cell_set, lift)
                scores.append(figures["score"])
                record({"step": self.state.step, "validation": name, "lift": lift, **figures})
        score = sum(scores) / len(scores)
        if score > self.state.best_score:
            self.state.best_score, self.state.best_step = score, self.state.step
            self.state.stale = 0
            self._export(self.state.step, {"validation_score": f"{score:.4f}"}, averaged)
        else:
            self.state.stale += 1

    def _validate_set(self, averaged: Trainable, cell_set: CellSet, lift: str) -> dict[str, float]:
        count = min(len(cell_set), self.config.run.validation_pairs)
        # Spread over the set, the same ones every time.
        chosen = [k * len(cell_set) // count for k in range(count)]
        processes = self.processes
        mine = []
        for index in chosen[processes.rank :: processes.count]:
            try:
                mine.append(averaged.localize(cell_set.read(index, 0), lift))
            except Loc2Error as error:
                logger.warning("validation pair %s failed: %s", cell_set.name(index), error)
                mine.append(ValidationErrors(cell_set.name(index), None, None, None))
        gathered = processes.gather([vars(e) for e in mine])
        rows = [ValidationErrors(**row) for part in gathered for row in part]
        return summarize_validation(rows)

    def _export(
        self, step: int, extra: Mapping[str, str], averaged: Trainable | None = None
    ) -> None:
        if not self.processes.first:
            return
        metadata = {
            **self.metadata,
            **extra,
            "training_step": str(step),
            "training_config": self.config.model_dump_json(),
        }
        (averaged or self.averaged()).save(self.best_path, metadata)


def _identity(config: str) -> dict[str, Any]:
    """Return what must be the same for a run to go on: all but where to stop for now."""
    values: dict[str, Any] = json.loads(config)
    values["run"].pop("max_steps")
    return values


def _batch_shape(shape: tuple[int, ...], window_cells: int) -> tuple[int, ...]:
    """Return a sample's shape as it is after the random crop of its aerial window."""
    if not shape or not window_cells:
        return shape
    return (*shape[:-2], *(min(n, window_cells) for n in shape[-2:]))


def _groups(named: Mapping[str, nn.Parameter], config: TrainConfig) -> list[dict[str, Any]]:
    """Sort parameters by weight decay and learning rate."""
    optim = config.optim
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in named.items():
        decay = optim.weight_decay if parameter.ndim > 1 or optim.decay_vectors else 0.0
        factor = optim.backbone_factor if name.startswith("model.backbone.") else 1.0
        groups.setdefault((decay, factor), []).append(parameter)
    return [
        {
            "params": parameters,
            "weight_decay": decay,
            "lr": optim.learning_rate * factor,
            "base_lr": optim.learning_rate * factor,
        }
        for (decay, factor), parameters in groups.items()
    ]


def _schedule(step: int, total: int, config: TrainConfig) -> float:
    """Return the factor of the learning rate: linear warm-up, then a cosine."""
    optim = config.optim
    warmup = min(optim.warmup_steps, max(total // 5, 1))
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(total - warmup, 1)
    cosine = 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
    return optim.final_factor + (1 - optim.final_factor) * cosine
