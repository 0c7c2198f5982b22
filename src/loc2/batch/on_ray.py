"""Workers on a Ray cluster; Ray moves the work of lost ones elsewhere."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

import torch

from loc2.batch.ledger import Ledger, Part, Records, Task
from loc2.batch.work import Setup, Worker
from loc2.errors import InputError

_TASK_RETRIES = 3
"""How often Ray gives a task to another worker before the task is halved."""


class RemoteWorker:
    """A worker as a Ray actor.

    Args:
        setup: how it works.
    """

    def __init__(self, setup: Setup) -> None:
        torch.set_num_threads(setup.threads)
        self._worker = Worker(setup)

    def ready(self) -> bool:
        """Return True once the model is loaded."""
        return True

    def run(self, rows: list[Any]) -> Records:
        """Localize photos and return their records."""
        return self._worker.run(rows)


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
    every machine. Each worker reserves ``setup.threads`` CPUs, and a GPU if it uses one.

    Args:
        parts: what is to be done, taken as workers become free.
        setup: how each works.
        workers: how many; by default as many as the cluster has room for.
        told: called with the number of photos done since the last call.
        address: the cluster's; by default ``RAY_ADDRESS``, else one on this machine is started. A
            connection that is already open is used.

    Yields:
        Each part's number and results, as they are finished.

    Raises:
        InputError: no Ray here, no cluster there, or no room for a worker.
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
        yield from _run(ray, Ledger(parts), setup, workers, told)
    finally:
        if opened:
            ray.shutdown()


def _run(
    ray: Any, ledger: Ledger, setup: Setup, workers: int | None, told: Callable[[int], None]
) -> Iterator[tuple[int, Records]]:
    on_gpu = (setup.device or "cpu").startswith("cuda")
    room = ray.cluster_resources()
    most = int(room.get("GPU", 0)) if on_gpu else int(room.get("CPU", 0) // setup.threads)
    count = workers or most
    if not 0 < count <= most:
        raise InputError(f"--workers: the cluster has room for {most}, not for {count}")
    # Ray restarts a worker whose machine is lost on another one, and gives it the task again.
    remote = ray.remote(
        num_cpus=setup.threads,
        num_gpus=1 if on_gpu else 0,
        max_restarts=-1,
        max_task_retries=_TASK_RETRIES,
    )(RemoteWorker)
    crew = [remote.remote(setup) for _ in range(count)]
    at_work: dict[Any, tuple[Any, Task]] = {}
    try:
        ray.get([member.ready.remote() for member in crew])
        free = list(crew)
        while True:
            while free and (task := ledger.next()) is not None:
                member = free.pop()
                at_work[member.run.remote(task.rows)] = (member, task)
            if not at_work:
                return
            (reference,), _ = ray.wait(list(at_work), num_returns=1)
            member, task = at_work.pop(reference)
            free.append(member)
            try:
                records = ray.get(reference)
            except (ray.exceptions.RayActorError, ray.exceptions.WorkerCrashedError):
                complete = ledger.died(task)
            else:
                told(len(records))
                complete = ledger.finished(task, records)
            if complete is not None:
                yield complete
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        raise (cause if isinstance(cause, Exception) else error) from None
    finally:
        for member in crew:
            ray.kill(member)


def _ray() -> Any:
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise InputError("--engine ray needs Ray: pip install 'loc2[ray]'") from error
