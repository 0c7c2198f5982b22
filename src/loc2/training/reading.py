"""Processes beside a run's own, and reading pairs ahead of the network in them."""

from __future__ import annotations

import collections
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TypeVar

import torch

from loc2.errors import InputError, Loc2Error

Job = TypeVar("Job")
Result = TypeVar("Result")


def read_ahead(
    read: Callable[[Job], Result], jobs: Sequence[Job], workers: int
) -> Iterator[Result | Loc2Error]:
    """Yield the result of every job in order; a user's error is yielded, not raised.

    Args:
        read: reads one; with workers it must be picklable.
        jobs: what to read.
        workers: processes; 0 reads in this one. They have a thread each, which this process gives
            up until the last result is taken or the iterator is closed: more threads than cores
            are slower than fewer.
    """
    if workers == 0:
        for job in jobs:
            yield _attempt(read, job)
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(max(threads - workers, 1))
    try:
        with process_pool(workers) as pool:
            running: collections.deque[Future[Result | Loc2Error]] = collections.deque()
            for job in jobs:
                running.append(pool.submit(_attempt, read, job))
                if len(running) > 2 * workers:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
    finally:
        torch.set_num_threads(threads)


@contextmanager
def process_pool(
    workers: int, threads: int = 1, start: Callable[..., None] | None = None, *given: object
) -> Iterator[ProcessPoolExecutor]:
    """Run processes that may end at any time: with this one, and at once with Ctrl-C.

    Args:
        workers: how many.
        threads: of PyTorch, in each.
        start: called in each before anything else, with ``given``; both must be picklable.

    Raises:
        InputError: one of them was killed.
    """
    pool = ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), _begin, (threads, start, given)
    )
    try:
        yield pool
    except BrokenProcessPool:
        raise InputError(
            "a process that computes features ended (no memory?); use fewer data.workers"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(threads: int, start: Callable[..., None] | None, given: tuple[object, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # No queue of the pool tells that the parent was killed.
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    if start is not None:
        start(*given)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _attempt(read: Callable[[Job], Result], job: Job) -> Result | Loc2Error:
    try:
        return read(job)
    except Loc2Error as error:
        return error
