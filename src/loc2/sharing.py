"""A cache for what several threads want: each thing is made once, within a memory limit."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import CancelledError, Future
from typing import Generic, TypeVar

Value = TypeVar("Value")


class SharedCache(Generic[Value]):
    """Values by key, the least recently wanted dropped first.

    Args:
        limit_bytes: memory the values may hold together; the newest is kept in any case.
        size: memory that a value holds, bytes; asked anew each time, for it may change.
    """

    def __init__(self, limit_bytes: int, size: Callable[[Value], int]) -> None:
        self._limit_bytes, self._size = limit_bytes, size
        self._lock = threading.Lock()
        self._entries: dict[Hashable, Future[Value]] = {}
        self.made = 0
        """Number of values that were made."""

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """Return the value of a key, made now if it is not there.

        Threads that want a value which another one is making wait for it; if that one fails, the
        next tries by itself. Nothing is kept of a failure.
        """
        while True:
            with self._lock:
                known = self._entries.pop(key, None)
                entry: Future[Value] = Future() if known is None else known
                self._entries[key] = entry  # now the most recently wanted
            if known is None:
                return self._make(key, entry, make)
            try:
                return entry.result()
            except CancelledError:  # the other thread could not make it: try here
                continue

    def _make(self, key: Hashable, entry: Future[Value], make: Callable[[], Value]) -> Value:
        try:
            value = make()
            entry.set_result(value)
        finally:
            if not entry.done():
                with self._lock:
                    self._entries.pop(key, None)
                entry.cancel()
        self._made()
        return value

    def _made(self) -> None:
        with self._lock:
            self.made += 1
            sizes = {
                key: self._size(entry.result())
                for key, entry in self._entries.items()
                if entry.done() and not entry.cancelled()
            }
            held = sum(sizes.values())
            newest = next(reversed(self._entries), None)
            for key, size in sizes.items():
                if held <= self._limit_bytes:
                    break
                if key != newest:
                    del self._entries[key]
                    held -= size
