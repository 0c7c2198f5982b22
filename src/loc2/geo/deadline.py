"""A time limit on whole HTTP requests.

Socket time-outs bound each silence; a server that sends a byte now and then would hold a request
for hours. A deadline shuts the request's sockets instead, whatever they wait for.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import socket
import threading
import urllib.request
from typing import Any, Self


class Deadline:
    """Shuts the sockets it watches when its time is over; use as a context."""

    def __init__(self, seconds: float) -> None:
        """Set the time, which starts on entering."""
        self._sockets: list[socket.socket] = []
        self.passed = False
        self._timer = threading.Timer(seconds, self._shut)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        """Start the time."""
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the time."""
        self._timer.cancel()

    def watch(self, opened: socket.socket) -> None:
        """Add a socket."""
        self._sockets.append(opened)

    def _shut(self) -> None:
        self.passed = True
        for opened in self._sockets:
            with contextlib.suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)


class TimedRequest(urllib.request.Request):
    """A request with its deadline."""

    def __init__(self, url: str, headers: dict[str, str], deadline: Deadline) -> None:
        """Describe the request."""
        super().__init__(url, headers=headers)
        self.deadline = deadline


def timed_like(first: urllib.request.Request, following: urllib.request.Request) -> TimedRequest:
    """Return a redirected request with the deadline of the first."""
    if not isinstance(first, TimedRequest):
        raise TypeError("only timed requests are redirected")
    return TimedRequest(following.full_url, dict(following.header_items()), first.deadline)


class _Connection(http.client.HTTPConnection):
    def __init__(self, host: str, *, deadline: Deadline, **options: Any) -> None:
        super().__init__(host, **options)
        self._deadline = deadline

    def connect(self) -> None:
        super().connect()
        self._deadline.watch(self.sock)


class _SecureConnection(http.client.HTTPSConnection):
    def __init__(self, host: str, *, deadline: Deadline, **options: Any) -> None:
        super().__init__(host, **options)
        self._deadline = deadline

    def connect(self) -> None:
        super().connect()
        self._deadline.watch(self.sock)


def _deadline(request: urllib.request.Request) -> Deadline:
    if not isinstance(request, TimedRequest):
        raise TypeError("this handler opens timed requests only")
    return request.deadline


class TimedHandler(urllib.request.HTTPHandler):
    """Opens http addresses under the request's deadline."""

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        """Open a plain connection."""
        return self.do_open(functools.partial(_Connection, deadline=_deadline(req)), req)


class TimedSecureHandler(urllib.request.HTTPSHandler):
    """Opens https addresses under the request's deadline."""

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        """Open an encrypted connection; certificates are checked."""
        return self.do_open(functools.partial(_SecureConnection, deadline=_deadline(req)), req)
