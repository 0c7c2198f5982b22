"""Many items through three stages at once: reading, the network, solving; results in order."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Prepared = TypeVar("Prepared")
Result = TypeVar("Result")


def staged(
    items: Iterable[Item],
    prepare: Callable[[Item], Prepared],
    describe: Callable[[Sequence[Prepared]], None],
    finish: Callable[[Prepared], Result],
    *,
    batch_size: int,
    readers: int,
    solvers: int,
    begin: Callable[[], None] | None = None,
) -> Iterator[Result | Exception]:
    """Run items through the stages, at most about ``2 * batch_size + readers + solvers`` at once.

    Args:
        items: any number, read as they are needed.
        prepare: reads an item; runs in ``readers`` threads.
        describe: does for several prepared items what ``finish`` would otherwise do for each, so
            that it may fail or be left out; runs in a thread of its own, never twice at once.
        finish: makes the result; runs in ``solvers`` threads.
        batch_size: items described together; with one, ``finish`` does that itself.
        readers: threads that prepare.
        solvers: threads that finish.
        begin: called once in each thread that prepares or finishes, before anything else.

    Yields:
        The result of each item in their order, or the exception that a stage raised for it.
    """
    source = iter(items)
    reading: deque[Future[Prepared]] = deque()
    solving: deque[Future[Result]] = deque()
    with (
        ThreadPoolExecutor(readers, "loc2-read", begin) as read,
        ThreadPoolExecutor(1, "loc2-network") as network,
        ThreadPoolExecutor(solvers, "loc2-solve", begin) as solve,
    ):
        try:
            while True:
                ahead = batch_size + readers - len(reading)
                reading.extend(read.submit(prepare, i) for i in itertools.islice(source, ahead))
                if not reading:
                    break
                batch = [reading.popleft() for _ in range(min(batch_size, len(reading)))]
                ready = [future.result() for future in batch if future.exception() is None]
                described: Future[None] | None = None
                if batch_size > 1 and ready:
                    described = network.submit(describe, ready)
                solving.extend(solve.submit(_finish, finish, future, described) for future in batch)
                # While these are described and solved, those of the batch before are handed out.
                yield from _outcomes(solving, batch_size + solvers)
            yield from _outcomes(solving, 0)
        finally:  # the caller may have had enough
            for unread in reading:
                unread.cancel()
            for unsolved in solving:
                unsolved.cancel()


def _finish(
    finish: Callable[[Prepared], Result],
    prepared: Future[Prepared],
    described: Future[None] | None,
) -> Result:
    if described is not None:
        described.exception()  # waits; what could not be done together is done alone
    return finish(prepared.result())


def _outcomes(solving: deque[Future[Result]], left: int) -> Iterator[Result | Exception]:
    """Take results, or what was raised instead, until no more than ``left`` are waited for."""
    while len(solving) > left:
        future = solving.popleft()
        error = future.exception()
        if error is None:
            yield future.result()
        elif isinstance(error, Exception):
            yield error
        else:
            raise error
