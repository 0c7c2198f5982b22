"""Workers as processes of this machine; one alone works in this process."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

import torch

from loc2.batch.ledger import Ledger, Part, Records, Task
from loc2.batch.work import Setup, Worker
from loc2.errors import InputError, Loc2Error

Told = Callable[[int], None]


def run_here(parts: Iterator[Part], setup: Setup, told: Told) -> Iterator[tuple[int, Records]]:
    """Do all parts in this process.

    Args:
        parts: what is to be done.
        setup: how.
        told: called with the number of photos done since the last call.

    Yields:
        Each part's number and results.
    """
    worker = Worker(setup)
    for part in parts:
        yield part.index, worker.run(part.rows, told)


def run_processes(
    parts: Iterator[Part], setup: Setup, workers: int, told: Told
) -> Iterator[tuple[int, Records]]:
    """Do parts in several processes; one that dies is replaced.

    Args:
        parts: what is to be done, taken as workers become free.
        setup: how each works.
        workers: how many.
        told: called with the number of photos done since the last call.

    Yields:
        Each part's number and results, as they are finished.

    Raises:
        Loc2Error: the weights or the device cannot be used, or workers die before they begin.
    """
    ledger = Ledger(parts, workers)
    crew = [_Crew(setup) for _ in range(workers)]
    try:
        while True:
            for member in crew:
                if member.ready and member.task is None:
                    member.give(ledger.next())
            if all(member.ready and member.task is None for member in crew):
                return
            by_pipe = {member.pipe: member for member in crew}
            for pipe in wait(list(by_pipe)):
                assert isinstance(pipe, Connection)
                complete = _heard(by_pipe[pipe], ledger, told)
                if complete is not None:
                    yield complete
    finally:
        for member in crew:
            member.stop()


def _heard(member: _Crew, ledger: Ledger, told: Told) -> tuple[int, Records] | None:
    """Take one message of a worker; returns a part that it completes."""
    try:
        message = member.pipe.recv()
    except (EOFError, OSError):
        task = member.task
        if not member.ready:
            raise InputError(
                "a worker ended before it began (out of memory?); use fewer --workers"
            ) from None
        member.start()
        return None if task is None else ledger.died(task)
    if isinstance(message, Loc2Error):
        raise message
    if isinstance(message, int):
        told(message)
        return None
    task = member.task
    member.ready, member.task = True, None
    return None if task is None else ledger.finished(task, message)


class _Crew:
    """One worker process, and what it is at."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self.start()

    def start(self) -> None:
        """Start the process, in place of one that died."""
        context = multiprocessing.get_context("spawn")
        self.pipe, far = context.Pipe()
        self.ready, self.task = False, None
        self._process: BaseProcess = context.Process(
            target=serve, args=(far, self._setup), daemon=True
        )
        self._process.start()
        far.close()  # so that the pipe ends with the process

    ready: bool
    task: Task | None
    pipe: Connection

    def give(self, task: Task | None) -> None:
        """Hand out a task, if there is one."""
        if task is not None:
            self.task = task
            try:
                self.pipe.send(task.rows)
            except OSError:  # it has just died, which the pipe's end will tell
                return

    def stop(self) -> None:
        """End the process."""
        self.pipe.close()
        self._process.terminate()
        self._process.join()


def serve(pipe: Connection, setup: Setup) -> None:
    """Work until the pipe ends: in a process of its own.

    Sends an empty list once ready, 1 after each photo, and the records of each task.

    Args:
        pipe: where rows come from and results go.
        setup: how to work.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    torch.set_num_threads(setup.threads)
    try:
        worker = Worker(setup)
    except Loc2Error as error:
        pipe.send(error)
        return
    try:
        pipe.send([])
        while True:
            pipe.send(worker.run(pipe.recv(), pipe.send))
    except (EOFError, OSError):  # the parent has gone
        return
