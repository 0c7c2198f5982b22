"""Workers on a Ray cluster; Ray gives the work of lost ones to others."""

from __future__ import annotations

import functools
import importlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

import torch

from loc2.batch.ledger import Ledger, Part, Records, Task
from loc2.batch.manifest import Row
from loc2.batch.work import Setup, Worker
from loc2.errors import InputError

_RETRIES = 3
"""How often Ray gives a task to another worker before the task is halved."""


@functools.lru_cache(maxsize=1)
def _worker(setup: Setup) -> Worker:
    """Return this process's worker: Ray reuses processes, so the model is loaded once in each."""
    torch.set_num_threads(setup.threads)
    return Worker(setup)


def run_rows(setup: Setup, rows: list[Row]) -> Records:
    """Localize photos and return their records: what a Ray task does."""
    return _worker(setup).run(rows)


def run_on_ray(
    parts: Iterator[Part],
    setup: Setup,
    workers: int | None,
    told: Callable[[int], None],
    *,
    address: str | None = None,
) -> Iterator[tuple[int, Records]]:
    """Do parts on a Ray cluster.

    Files are read where the workers run: photos, imagery and weights must have the same paths on
    every machine. Each worker reserves ``setup.threads`` CPUs, and a GPU if it uses one. Machines
    may leave and join while it runs.

    Args:
        parts: what is to be done, taken as workers become free.
        setup: how each works.
        workers: most at a time; by default as many as the cluster has room for.
        told: called with the number of photos done since the last call.
        address: the cluster's; by default ``RAY_ADDRESS``, else one on this machine is started. A
            connection that is already open is used.

    Yields:
        Each part's number and results, as they are finished.

    Raises:
        InputError: no Ray here, no cluster there, or no room for a worker.
        Loc2Error: the weights or the device cannot be used there.
    """
    ray = _ray()
    opened = not ray.is_initialized()
    if opened:
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING)
        except (ConnectionError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:120]
            raise InputError(f"--address {address}: no Ray cluster there ({reason})") from error
    try:
        yield from _run(ray, Ledger(parts, workers or 1), setup, workers, told)
    finally:
        if opened:
            ray.shutdown()


def _run(
    ray: Any, ledger: Ledger, setup: Setup, workers: int | None, told: Callable[[int], None]
) -> Iterator[tuple[int, Records]]:
    on_gpu = (setup.device or "cpu").startswith("cuda")
    remote = ray.remote(num_cpus=setup.threads, num_gpus=int(on_gpu), max_retries=_RETRIES)(
        run_rows
    )
    at_work: dict[Any, Task] = {}
    while True:
        room = _room(ray, setup.threads, on_gpu)
        if room < 1:
            raise InputError("--engine ray: the cluster has no room for a worker")
        while len(at_work) < min(room, workers or room) and (task := ledger.next()) is not None:
            at_work[remote.remote(setup, task.rows)] = task
        if not at_work:
            return
        (reference,), _ = ray.wait(list(at_work), num_returns=1)
        task = at_work.pop(reference)
        try:
            records = ray.get(reference)
        except ray.exceptions.RayTaskError as error:  # its text is a traceback; the cause says why
            raise error.cause from None
        except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError,
                ray.exceptions.OutOfMemoryError):  # fmt: skip
            complete = ledger.died(task)
        else:
            told(len(records))
            complete = ledger.finished(task, records)
        if complete is not None:
            yield complete


def _room(ray: Any, threads: int, on_gpu: bool) -> int:
    """Return how many workers the machines now in the cluster can hold."""
    resources = ray.cluster_resources()
    return int(resources.get("GPU", 0) if on_gpu else resources.get("CPU", 0) // threads)


def _ray() -> Any:
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise InputError("--engine ray needs Ray: pip install 'loc2[ray]'") from error
