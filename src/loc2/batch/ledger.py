"""Which photos are still to be done, and what is done when a worker dies over them."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from loc2.batch.manifest import Row
from loc2.batch.rows import result_row
from loc2.errors import InputError

Records = list[dict[str, Any]]


@dataclass(frozen=True)
class Part:
    """Photos whose results are kept together.

    Attributes:
        index: the part's number.
        rows: its photos.
    """

    index: int
    rows: list[Row]


@dataclass(frozen=True)
class Task:
    """A part, or a stretch of one, that is given to a worker.

    Attributes:
        part: number of the part.
        first: place of the first photo within the part.
        rows: photos.
        deaths: how many workers died over it.
    """

    part: int
    first: int
    rows: list[Row]
    deaths: int = 0


class Ledger:
    """Hands out tasks and puts their results together to parts.

    A worker may die for reasons of its own, so a task is first given to another one as it is. If
    that one dies as well, some photo is to blame (a decoder that crashes, an image too large for
    the memory), and the task is halved until the photo is found; it becomes a failed row.

    Parts are given out whole while there are enough for all workers; the last ones, which may be
    all of a small job, are cut into stretches so that every worker has something to do.

    Args:
        parts: what is to be done, taken as it is needed.
        workers: how many share the work.
    """

    def __init__(self, parts: Iterator[Part], workers: int = 1) -> None:
        self._parts = parts
        self._workers = workers
        self._ahead: deque[Part] = deque()
        self._stretch = 0
        self._again: deque[Task] = deque()
        self._done: dict[int, dict[int, Records]] = {}
        self._size: dict[int, int] = {}

    def next(self) -> Task | None:
        """Return what a free worker should do, or None if nothing is left to hand out."""
        if self._again:
            return self._again.popleft()
        self._ahead.extend(itertools.islice(self._parts, self._workers - len(self._ahead)))
        if not self._ahead:
            return None
        if not self._stretch and len(self._ahead) < self._workers:
            self._stretch = -(-sum(len(part.rows) for part in self._ahead) // self._workers)
        part = self._ahead.popleft()
        self._size[part.index], self._done[part.index] = len(part.rows), {}
        length = self._stretch or len(part.rows)
        self._again.extend(
            Task(part.index, first, part.rows[first : first + length])
            for first in range(0, len(part.rows), length)
        )
        return self._again.popleft()

    def finished(self, task: Task, records: Records) -> tuple[int, Records] | None:
        """Note a task's results; returns a part's number and results once they are complete."""
        done = self._done[task.part]
        done[task.first] = records
        if sum(len(stretch) for stretch in done.values()) < self._size[task.part]:
            return None
        del self._done[task.part], self._size[task.part]
        return task.part, [record for first in sorted(done) for record in done[first]]

    def died(self, task: Task) -> tuple[int, Records] | None:
        """Note that a worker died over a task; returns as :meth:`finished`."""
        if task.deaths == 0:
            self._again.append(replace(task, deaths=1))
        elif len(task.rows) > 1:
            half = len(task.rows) // 2
            self._again.append(replace(task, rows=task.rows[:half]))
            self._again.append(replace(task, first=task.first + half, rows=task.rows[half:]))
        else:
            lost = InputError("two workers ended over this photo (crashed, or out of memory)")
            return self.finished(task, [result_row(task.rows[0], lost)])
        return None
