"""Reading pairs ahead of the network, in other processes where there are any to spare."""

from __future__ import annotations

import collections
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from typing import TypeVar

import torch

from loc2.errors import Loc2Error

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
    context = multiprocessing.get_context("spawn")
    threads = torch.get_num_threads()
    torch.set_num_threads(max(threads - workers, 1))
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_one_thread) as pool:
        running: collections.deque[Future[Result | Loc2Error]] = collections.deque()
        try:
            for job in jobs:
                running.append(pool.submit(_attempt, read, job))
                if len(running) > 2 * workers:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            for future in running:
                future.cancel()
            torch.set_num_threads(threads)


def _attempt(read: Callable[[Job], Result], job: Job) -> Result | Loc2Error:
    try:
        return read(job)
    except Loc2Error as error:
        return error


def _one_thread() -> None:
    torch.set_num_threads(1)
