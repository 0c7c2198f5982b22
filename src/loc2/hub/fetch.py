"""Downloading files, weights above all: resumable, checked, atomic."""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from loc2.errors import Loc2Error, OutputError, WeightsError
from loc2.hub.registry import WeightsEntry

_BLOCK = 1 << 20
_TIMEOUT_S = 30.0

Progress = Callable[[int, int | None], None]
"""Called with the bytes that are here and the bytes expected (None if unknown)."""


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


class DownloadError(Loc2Error):
    """A file that did not come, or did not come whole."""


def fetch(entry: WeightsEntry, progress: Progress | None = None) -> Path:
    """Download weights into the cache, unless they are there; go on where a download broke off.

    Args:
        entry: what to fetch.
        progress: called as bytes arrive.

    Returns:
        The file, whose checksum was checked.

    Raises:
        WeightsError: it cannot be fetched, or what came is not it; the message says which file to
            place where instead.
        OutputError: the cache folder cannot be written.
    """
    path = entry.path
    if path.is_file() and (entry.packaged or entry.sha256 in (None, sha256_of(path))):
        return path
    if entry.url is None:
        raise WeightsError(f"{entry.name}: {entry.note or 'it cannot be fetched'}")
    partial = path.with_name(path.name + ".part")
    try:
        download(entry.url, partial, entry.size_bytes, progress)
        _check(entry, partial)
        partial.replace(path)
    except DownloadError as error:
        raise WeightsError(
            f"{entry.name}: {error}; run the command again to go on, or place {entry.file} "
            f"(sha256 {entry.sha256}, from {entry.url}) at {path}"
        ) from error
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error
    return path


def download(
    url: str, partial: Path, size_bytes: int | None = None, progress: Progress | None = None
) -> None:
    """Download a file, or what is missing of it where an earlier download broke off.

    Args:
        url: http or https address.
        partial: file to write; what came before is kept when it breaks off.
        size_bytes: of the whole file; None where it is not known.
        progress: called as bytes arrive.

    Raises:
        DownloadError: it did not come whole.
        OutputError: the file cannot be written.
    """
    try:
        partial.parent.mkdir(parents=True, exist_ok=True)
        _receive(url, partial, size_bytes, progress)
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as e:
        raise DownloadError(f"download broke off or could not start ({e})") from e
    except OSError as error:
        raise OutputError(f"{partial}: cannot be written ({error.strerror or error})") from error


def _receive(url: str, partial: Path, size_bytes: int | None, progress: Progress | None) -> None:
    here = partial.stat().st_size if partial.exists() else 0
    if size_bytes is not None and here >= size_bytes:
        return
    request = urllib.request.Request(url)
    if here:
        request.add_header("Range", f"bytes={here}-")
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if here and error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # nothing comes after what is here
        raise
    with response:
        resumed = response.status == http.client.PARTIAL_CONTENT
        here = here if resumed else 0
        stated = response.headers.get("Content-Length", "")
        if size_bytes is None and stated.isdigit():
            size_bytes = here + int(stated)
        with partial.open("ab" if resumed else "wb") as file:
            while block := response.read(_BLOCK):
                file.write(block)
                here += len(block)
                if progress is not None:
                    progress(here, size_bytes)
    if size_bytes is not None and here < size_bytes:
        raise ConnectionError(f"{here} of {size_bytes} bytes came")


def _check(entry: WeightsEntry, partial: Path) -> None:
    if entry.sha256 is None:
        return
    found = sha256_of(partial)
    if found != entry.sha256:
        partial.unlink()
        raise WeightsError(
            f"{entry.name}: what {entry.url} sent has sha256 {found}, expected {entry.sha256}; "
            "it was deleted"
        )
