"""Fetching one small file over http(s): bounded in size, time, redirects and retries.

What a server may do wrong ends in one line or is survived: errors 5xx and time-outs are tried
again with a growing pause, 429 and 503 wait as long as ``Retry-After`` asks (up to a limit), and
bodies that are too long, cut short or compressed are refused. Redirects lead to http(s) only,
never from https to http, and at most five in a row.
"""

from __future__ import annotations

import email.utils
import http.client
import importlib.metadata
import logging
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any

from loc2.errors import InputError
from loc2.geo.deadline import (
    Deadline,
    TimedHandler,
    TimedRequest,
    TimedSecureHandler,
    timed_like,
)

logger = logging.getLogger(__name__)

_CHUNK_BYTES = 65536
_MAX_REDIRECTS = 5
_RETRY_STATUS = {408, 425, 429, 500, 502, 503, 504}
_ABSENT_STATUS = {204, 404, 410}


class FetchError(InputError):
    """A file that a server did not deliver."""


class _RetryError(Exception):
    """A fault that may pass; ``wait_s`` is what the server asked for, or None."""

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


@dataclass(frozen=True)
class FetchLimits:
    """How patient, polite and trusting a fetch is.

    Attributes:
        timeout_s: longest silence of the server, and longest time for a whole answer is four
            times this, seconds.
        retries: further tries after the first.
        backoff_s: pause before the first further try, doubled each time, seconds.
        max_wait_s: longest pause a server may ask for in ``Retry-After``, seconds.
        max_bytes: longest body accepted, bytes.
        requests_per_second: most requests started per second.
    """

    timeout_s: float = 10.0
    retries: int = 3
    backoff_s: float = 0.5
    max_wait_s: float = 30.0
    max_bytes: int = 8 * 1024 * 1024
    requests_per_second: float = 8.0


@dataclass(frozen=True)
class Fetched:
    """An answer: its body, and whether the server allows it to be stored."""

    body: bytes
    may_store: bool


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Redirects to http(s) only, without loss of encryption, and not many."""

    max_redirections = _MAX_REDIRECTS
    max_repeats = 2

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any,
        newurl: str,
    ) -> urllib.request.Request | None:  # fmt: skip
        """Return the next request, or refuse."""
        scheme = urllib.parse.urlsplit(newurl).scheme.lower()
        if scheme not in ("http", "https"):
            raise FetchError(_refused_redirect(newurl))
        if req.type == "https" and scheme == "http":
            raise FetchError("redirected from https to http, which is refused")
        following = super().redirect_request(req, fp, code, msg, headers, newurl)
        return None if following is None else timed_like(req, following)


def public_name(url: str) -> str:
    """Return an address without user, password and query, which may hold keys."""
    without_user = re.sub(r"(?<=//)[^/?#]*@", "", url)
    return re.sub(r"[?#].*", "?...", without_user, flags=re.DOTALL)


class Fetcher:
    """Fetches files one after another, at a polite rate."""

    def __init__(
        self,
        limits: FetchLimits | None = None,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; no connection is made.

        Args:
            limits: bounds of time and size.
            sleep: waits a number of seconds.
            clock: seconds, monotonic.
        """
        self.limits = limits if limits is not None else FetchLimits()
        self._sleep, self._clock = sleep, clock
        self._next_start_s = -1e18
        # Only http(s): no file, ftp or data handlers, whatever a server redirects to.
        self._opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.ProxyHandler(),
            TimedHandler(),
            TimedSecureHandler(),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPErrorProcessor(),
            _SafeRedirects(),
        ):
            self._opener.add_handler(handler)
        self._opener.addheaders = []

    def get(self, url: str) -> Fetched | None:
        """Return what is at an address, or None where the server says there is nothing.

        Raises:
            FetchError: it could not be had; one line that names the address without its query.
        """
        name = public_name(url)
        if urllib.parse.urlsplit(url).scheme.lower() not in ("http", "https"):
            raise FetchError(f"{name}: only http and https addresses are fetched")
        pause_s = self.limits.backoff_s
        for attempt in range(self.limits.retries + 1):
            try:
                return self._once(url)
            except _RetryError as fault:
                if attempt == self.limits.retries:
                    raise FetchError(f"{name}: {fault} ({attempt + 1} tries)") from fault
                wait_s = pause_s if fault.wait_s is None else fault.wait_s
                if wait_s > self.limits.max_wait_s:
                    raise FetchError(
                        f"{name}: {fault}, and the server asks to wait {wait_s:.0f} s; try later"
                    ) from fault
                logger.info("%s: %s; trying again in %.1f s", name, fault, wait_s)
                self._sleep(wait_s)
                pause_s *= 2
            except FetchError as error:
                raise FetchError(f"{name}: {error}") from error
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _once(self, url: str) -> Fetched | None:
        self._keep_rate()
        headers = {
            "User-Agent": _user_agent(),
            "Accept": "image/png, image/jpeg, image/webp",
            "Accept-Encoding": "identity",
        }
        with Deadline(4 * self.limits.timeout_s) as deadline:
            try:
                return self._answer(TimedRequest(url, headers, deadline))
            except _RetryError as error:
                if deadline.passed:
                    raise _RetryError("timed out while sending") from error
                raise

    def _answer(self, request: TimedRequest) -> Fetched | None:
        try:
            with self._opener.open(request, timeout=self.limits.timeout_s) as response:
                if response.status in _ABSENT_STATUS:
                    return None
                if response.status != 200:
                    raise FetchError(f"status {response.status}")
                return self._read(response, request.deadline)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code in _ABSENT_STATUS:
                return None
            if error.code in _RETRY_STATUS:
                wait_s = _retry_after_s(error.headers.get("Retry-After"))
                raise _RetryError(f"status {error.code}", wait_s) from error
            if 300 <= error.code < 400:
                raise FetchError(_refused_redirect(error.headers.get("Location"))) from error
            raise FetchError(f"status {error.code}") from error
        except TimeoutError as error:
            raise _RetryError("timed out") from error
        except urllib.error.URLError as error:
            reason = "timed out" if isinstance(error.reason, TimeoutError) else error.reason
            raise _RetryError(f"no connection ({reason})") from error
        except (http.client.HTTPException, ValueError) as error:
            raise _RetryError(f"no proper answer ({type(error).__name__})") from error
        except OSError as error:
            raise _RetryError(f"connection lost ({error})") from error

    def _read(self, response: http.client.HTTPResponse, deadline: Deadline) -> Fetched:
        encoding = response.headers.get("Content-Encoding", "identity").lower()
        if encoding != "identity":
            raise FetchError(f"sent {encoding} though plain data was asked for")
        stated = response.headers.get("Content-Length", "")
        expected = int(stated) if re.fullmatch(r"\d{1,18}", stated) else None
        limit = self.limits.max_bytes
        if expected is not None and expected > limit:
            raise FetchError(f"body of {expected} bytes (limit {limit})")
        body = bytearray()
        while chunk := response.read1(_CHUNK_BYTES):
            body += chunk
            if len(body) > limit:
                raise FetchError(f"body longer than the limit of {limit} bytes")
        if deadline.passed:
            raise _RetryError("timed out while sending")
        if expected is not None and len(body) < expected:
            raise _RetryError(f"body cut short ({len(body)} of {expected} bytes)")
        directives = response.headers.get("Cache-Control", "").lower()
        return Fetched(bytes(body), may_store="no-store" not in directives)

    def _keep_rate(self) -> None:
        now_s = self._clock()
        if now_s < self._next_start_s:
            self._sleep(self._next_start_s - now_s)
            now_s = self._next_start_s
        self._next_start_s = now_s + 1.0 / self.limits.requests_per_second


def _user_agent() -> str:
    try:
        return f"loc2/{importlib.metadata.version('loc2')}"
    except importlib.metadata.PackageNotFoundError:  # run from a source tree
        return "loc2/source"


def _refused_redirect(location: str | None) -> str:
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):", location or "")
    if scheme and scheme[1].lower() not in ("http", "https"):
        return f"redirected to a {scheme[1].lower()}: address, which is refused"
    return "redirected in a loop, or too often" if location else "redirected to nowhere"


def _retry_after_s(value: str | None) -> float | None:
    """Return the seconds of a Retry-After header (a number or a date), or None."""
    if value is None:
        return None
    if re.fullmatch(r"\s*\d{1,9}\s*", value):
        return float(value)
    try:
        when = email.utils.parsedate_to_datetime(value)
        return max(0.0, when.timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return None
