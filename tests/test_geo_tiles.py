"""Tile servers, well-behaved and not, on this machine's loopback address."""

from __future__ import annotations

import contextlib
import io
import math
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from loc2.errors import InputError
from loc2.geo.fetch import Fetcher, FetchLimits, public_name
from loc2.geo.mosaic import MapSource, tile_source
from loc2.geo.opening import AerialOptions, open_aerial
from loc2.geo.raster import location_name
from loc2.geo.xyz import TileCache, XYZTiles

AT = (48.1, 9.0)
ZOOM = 18
Answer = Callable[[BaseHTTPRequestHandler, int], None]
"""Answers a request; the number says how often the path was asked for before."""


def picture(kind: str = "PNG", size: int = 256, seed: int = 0) -> bytes:
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 255, (8, 8, 3), "uint8")
    out = io.BytesIO()
    Image.fromarray(small).resize((size, size), Image.Resampling.BICUBIC).save(out, kind)
    return out.getvalue()


TILE = picture()


class Server:
    """A server whose answers a test chooses; counts requests by path."""

    def __init__(self) -> None:
        self.answer: Answer = send(TILE)
        self.requests: Counter[str] = Counter()
        self.times: list[float] = []
        self.headers: list[dict[str, str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                before = outer.requests[self.path]
                outer.requests[self.path] += 1
                outer.times.append(time.monotonic())
                outer.headers.append(dict(self.headers))
                self.close_connection = True
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    outer.answer(self, before)

            def do_HEAD(self) -> None:
                self.do_GET()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()

    @property
    def template(self) -> str:
        return f"http://127.0.0.1:{self.port}/{{z}}/{{x}}/{{y}}.png"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def send(
    body: bytes, status: int = 200, headers: dict[str, str] | None = None, length: int | None = None
) -> Answer:
    def answer(handler: BaseHTTPRequestHandler, _: int) -> None:
        handler.send_response(status)
        stated = {"Content-Length": str(len(body) if length is None else length)}
        for key, value in (stated | (headers or {})).items():
            handler.send_header(key, value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def at_first(bad: Answer, times: int = 1) -> Answer:
    """Misbehave for the first requests of each path, then send a good tile."""

    def answer(handler: BaseHTTPRequestHandler, before: int) -> None:
        (bad if before < times else send(TILE))(handler, before)

    return answer


def hang(handler: BaseHTTPRequestHandler, _: int) -> None:
    time.sleep(1.5)


def drip(handler: BaseHTTPRequestHandler, _: int) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    for _step in range(40):
        handler.wfile.write(b"x")
        handler.wfile.flush()
        time.sleep(0.1)


def drip_headers(handler: BaseHTTPRequestHandler, _: int) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    for number in range(40):
        handler.wfile.write(b"X-%d: 1\r\n" % number)
        handler.wfile.flush()
        time.sleep(0.1)


def gigabyte(handler: BaseHTTPRequestHandler, _: int) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    block = b"10000\r\n" + b"\0" * 65536 + b"\r\n"
    for _step in range(16_384):
        handler.wfile.write(block)
    handler.wfile.write(b"0\r\n\r\n")


def redirect(location: str) -> Answer:
    return send(b"", 302, {"Location": location})


def nonsense(handler: BaseHTTPRequestHandler, _: int) -> None:
    handler.wfile.write(b"no http at all\r\n\r\n")


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def source_of(server: Server, cache: Path, **options: object) -> MapSource:
    limits = FetchLimits(timeout_s=0.4, backoff_s=0.01, max_wait_s=1.2, requests_per_second=1000.0)
    store = XYZTiles(
        server.template, cache_dir=cache, max_zoom=ZOOM, fetcher=Fetcher(limits), **options
    )
    return tile_source(store)


def read(source: MapSource) -> torch.Tensor:
    return source.read(*source.around(*AT, 30.0)).image


def cached(cache: Path) -> list[Path]:
    return [p for p in cache.rglob("*") if p.is_file()]


def test_tiles_are_cached_and_offline_uses_them(server: Server, tmp_path: Path) -> None:
    first = read(source_of(server, tmp_path))
    asked = sum(server.requests.values())
    assert asked >= 1 and set(server.requests.values()) == {1}
    assert len(cached(tmp_path)) == asked
    assert torch.equal(read(source_of(server, tmp_path)), first)
    assert torch.equal(read(source_of(server, tmp_path, offline=True)), first)
    assert sum(server.requests.values()) == asked
    agent = server.headers[0]["User-Agent"]
    assert agent.startswith("loc2/")
    with pytest.raises(InputError, match="offline"):
        read(source_of(server, tmp_path / "empty", offline=True))
    assert sum(server.requests.values()) == asked


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_formats(server: Server, tmp_path: Path, kind: str) -> None:
    server.answer = send(picture(kind))
    expected = torch.from_numpy(np.asarray(Image.open(io.BytesIO(TILE))) / 255.0).float()
    found = read(source_of(server, tmp_path))
    assert abs(float(found.mean()) - float(expected.mean())) < 0.2


def test_rows_from_the_south(server: Server, tmp_path: Path) -> None:
    template = server.template.replace("{y}", "{-y}")
    store = XYZTiles(template, cache_dir=tmp_path, max_zoom=ZOOM, offline=False)
    store.tile(4, 3, 1)
    assert list(server.requests) == ["/4/3/14.png"]


SURVIVED = {
    "500": at_first(send(b"down", 500)),
    "503 with Retry-After": at_first(send(b"", 503, {"Retry-After": "1"})),
    "429 with Retry-After": at_first(send(b"", 429, {"Retry-After": "1"})),
    "time-out": at_first(hang),
    "slow drip": at_first(drip),
    "slow drip of headers": at_first(drip_headers),
    "truncated": at_first(send(TILE[: len(TILE) // 2], length=len(TILE))),
    "truncated, no complaint": at_first(send(TILE[: len(TILE) // 2])),
    "error page": at_first(send(b"<html>busy</html>", 200, {"Content-Type": "text/html"})),
    "no http": at_first(nonsense),
}


@pytest.mark.parametrize("fault", SURVIVED)
def test_passing_faults_are_survived(server: Server, tmp_path: Path, fault: str) -> None:
    expected = read(source_of(server, tmp_path / "good"))
    server.requests.clear()
    server.times.clear()
    server.answer = SURVIVED[fault]
    assert torch.equal(read(source_of(server, tmp_path / "faulty")), expected)
    assert set(server.requests.values()) == {2}
    if "Retry-After" in fault:
        assert server.times[1] - server.times[0] >= 0.99
    good = {p.read_bytes() for p in cached(tmp_path / "good")}
    assert {p.read_bytes() for p in cached(tmp_path / "faulty")} == good == {TILE}


REPORTED = {
    "500": (send(b"down", 500), "status 500"),
    "403": (send(b"no", 403), "status 403"),
    "time-out": (hang, "timed out"),
    "429 for an hour": (send(b"", 429, {"Retry-After": "3600"}), "wait 3600 s"),
    "429 until a date": (
        send(b"", 429, {"Retry-After": "Fri, 31 Dec 2100 23:59:59 GMT"}), "try later",
    ),
    "429 until never": (send(b"", 429, {"Retry-After": "soon"}), "status 429"),
    "truncated": (send(TILE[:100]), "damaged image"),
    "cut short": (send(TILE[:100], length=len(TILE)), "cut short"),
    "html": (send(b"<html>nothing here</html>"), "error page"),
    "json": (send(b'{"error": "key"}'), "error page"),
    "vector tile": (send(b"\x1f\x8b\x08\0\0\0\0\0"), "vector tile"),
    "gif": (send(picture("GIF")), "not PNG"),
    "svg": (send(b"<?xml version='1.0'?><svg/>"), "no image"),
    "not square": (send(picture(size=256)[:0] + picture(size=300)), "no tile"),
    "other size": (send(picture(size=512)), "512 px"),
    "redirect loop": (redirect("/18/0/0.png"), "redirected in a loop"),
    "redirect to a file": (redirect("file:///etc/passwd"), "redirected to a file: address"),
    "redirect to ftp": (redirect("ftp://127.0.0.1/x"), "redirected to a ftp: address"),
    "redirect to data": (redirect("data:image/png;base64,AAAA"), "redirected to a data: address"),
    "redirect to nowhere": (send(b"", 302), "redirected"),
    "1 GB": (gigabyte, "longer than the limit"),
    "says 1 GB": (send(b"x", length=1_000_000_000), "1000000000 bytes"),
    "says nonsense": (send(b"", 200, {"Content-Length": "-5"}), "damaged|no image|proper|empty"),
    "gzip": (send(b"\x1f\x8b", 200, {"Content-Encoding": "gzip"}), "sent gzip"),
    "bomb": (send(b""), "no imagery|no image"),
    "no http": (nonsense, "no proper answer"),
}  # fmt: skip


@pytest.mark.parametrize("fault", REPORTED)
def test_lasting_faults_are_reported_in_one_line(
    server: Server, tmp_path: Path, fault: str
) -> None:
    server.answer, expected = REPORTED[fault]
    started = time.monotonic()
    with pytest.raises(InputError, match=expected) as error:
        read(source_of(server, tmp_path))
    message = str(error.value)
    assert "\n" not in message and len(message) < 300 and "127.0.0.1" in message
    assert time.monotonic() - started < 8.0
    assert cached(tmp_path) == []
    assert sum(server.requests.values()) <= 12, "a failing server is not pestered"
    server.answer = send(TILE)  # and once it is well again, so is the result
    assert read(source_of(server, tmp_path)).std() > 0


def test_a_png_bomb_is_refused(server: Server, tmp_path: Path) -> None:
    out = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(out, "PNG")
    server.answer = send(out.getvalue())
    with pytest.raises(InputError, match="bomb"):
        read(source_of(server, tmp_path))
    assert cached(tmp_path) == []


def test_no_connection_is_reported(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    template = f"http://127.0.0.1:{port}/{{z}}/{{x}}/{{y}}?key=SECRET"
    fetcher = Fetcher(FetchLimits(backoff_s=0.01, timeout_s=0.5))
    store = XYZTiles(template, cache_dir=tmp_path, fetcher=fetcher)
    with pytest.raises(InputError, match="no connection") as error:
        store.tile(1, 0, 0)
    assert "SECRET" not in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("status", [204, 404, 410])
def test_missing_tiles_are_holes(server: Server, tmp_path: Path, status: int) -> None:
    source = source_of(server, tmp_path)
    frame, area = source.around(*AT, 60.0)
    source.read(frame, area)
    hole = next(iter(server.requests))
    good = send(TILE)

    def answer(handler: BaseHTTPRequestHandler, before: int) -> None:
        (send(b"", status) if handler.path == hole else good)(handler, before)

    server.answer = answer
    window = source_of(server, tmp_path / "holes").read(frame, area)
    assert 0.0 < float(window.valid.float().mean()) < 1.0
    offline = source_of(server, tmp_path / "holes", offline=True).read(frame, area)
    assert torch.equal(offline.image, window.image) and torch.equal(offline.valid, window.valid)
    asked = server.requests[hole]
    server.answer = good  # the server has it now, and is asked
    whole = source_of(server, tmp_path / "holes").read(frame, area)
    assert bool(whole.valid.all()) and server.requests[hole] == asked + 1
    server.answer = send(b"", status)
    with pytest.raises(InputError, match="no imagery"):
        read(source_of(server, tmp_path / "all"))
    server.answer = send(b"down", 500)  # what it lacked is known still
    with pytest.raises(InputError, match="no imagery"):
        read(source_of(server, tmp_path / "all"))


def test_a_poisoned_cache_heals(server: Server, tmp_path: Path) -> None:
    expected = read(source_of(server, tmp_path))
    for path in cached(tmp_path):
        path.write_bytes(TILE[:50])
    assert torch.equal(read(source_of(server, tmp_path)), expected)
    assert {p.read_bytes() for p in cached(tmp_path)} == {TILE}
    for path in cached(tmp_path):
        path.write_bytes(b"<html>")
    with pytest.raises(InputError, match="offline"):
        read(source_of(server, tmp_path, offline=True))


def test_old_tiles_are_fetched_again_but_serve_when_the_server_is_down(
    server: Server, tmp_path: Path
) -> None:
    import os

    expected = read(source_of(server, tmp_path))
    old = time.time() - 100 * 86400
    for path in cached(tmp_path):
        os.utime(path, (old, old))
    before = sum(server.requests.values())
    server.answer = send(b"", 403)
    assert torch.equal(read(source_of(server, tmp_path)), expected)
    assert sum(server.requests.values()) > before


def test_no_store_is_honoured_and_a_read_only_cache_is_no_error(
    server: Server, tmp_path: Path
) -> None:
    server.answer = send(TILE, 200, {"Cache-Control": "private, No-Store"})
    read(source_of(server, tmp_path / "a"))
    assert cached(tmp_path / "a") == []
    server.answer = send(TILE)
    (tmp_path / "file").write_text("not a folder")
    read(source_of(server, tmp_path / "file"))


def test_the_rate_is_kept(server: Server, tmp_path: Path) -> None:
    fetcher = Fetcher(FetchLimits(requests_per_second=20.0))
    store = XYZTiles(server.template, cache_dir=tmp_path, fetcher=fetcher)
    for column in range(8):
        store.tile(5, column, 3)
    gaps = np.diff(server.times)
    assert gaps.min() > 0.03 and gaps.mean() > 0.045


def test_caches_of_two_templates_are_apart(tmp_path: Path) -> None:
    one, two = (TileCache(tmp_path, f"https://h/{{z}}/{{x}}/{{y}}?k={k}") for k in "ab")
    one.write(1, 0, 0, TILE)
    assert one.read(1, 0, 0, any_age=False) == TILE and two.read(1, 0, 0, any_age=True) is None
    assert all("k=" not in str(p) for p in tmp_path.rglob("*"))


@pytest.mark.parametrize("template", [
    "http://h/{z}/{x}.png", "file:///tmp/{z}/{x}/{y}.png", "ftp://h/{z}/{x}/{y}",
    "http://h/{z}/{x}/{y}/{s}.png", "/tmp/{z}/{x}/{y}.png",
])  # fmt: skip
def test_bad_templates(template: str) -> None:
    with pytest.raises(InputError, match="tile template"):
        open_aerial(template)


def test_options_reach_the_server(server: Server, tmp_path: Path) -> None:
    server.answer = send(picture(size=512))
    options = AerialOptions(
        zoom=17, tile_px=512, attribution="© Tiles", cache_dir=tmp_path, requests_per_second=500
    )
    source = open_aerial(server.template, options)
    window = source.read(*source.around(*AT, 30.0))
    assert all(path.startswith("/17/") for path in server.requests)
    assert window.attribution == "© Tiles"
    equator_m = 2 * math.pi * 6378137 / (512 << 17)
    expected_m = equator_m * math.cos(math.radians(AT[0]))
    assert window.meters_per_pixel == pytest.approx(expected_m, rel=3e-3)
    with pytest.raises(InputError, match="covers the world"):
        source.whole()
    server.requests.clear()
    store = XYZTiles(server.template, min_zoom=17, max_zoom=17, cache_dir=tmp_path)
    one_level = tile_source(store)
    with pytest.raises(InputError, match="tiles of zoom 17"):
        one_level.read(*one_level.around(*AT, 15_000.0), meters_per_pixel=60.0)
    assert not server.requests


def test_names_hide_keys() -> None:
    assert public_name("https://u:p@h.example/{z}/{x}/{y}?key=1#f") == (
        "https://h.example/{z}/{x}/{y}?..."
    )
    assert public_name("https://u:p@w@h.example?to=a@b") == "https://h.example?..."
    assert location_name("/maps/a#b?c@d.tif") == "/maps/a#b?c@d.tif"


def test_cog_over_http_is_read_by_range(tmp_path: Path, server: Server) -> None:
    from tests.geo_scenes import crs_pixels_affine, write_raster

    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (3, 1024, 1024), "uint8")
    transform = crs_pixels_affine("EPSG:32632", *AT, 0.0, 0.2, 1024, 1024)
    path = write_raster(
        tmp_path / "a.tif", pixels, "EPSG:32632", transform, tiled=True, blockxsize=256,
        blockysize=256,
    )  # fmt: skip
    data = path.read_bytes()
    sent = []

    def ranged(handler: BaseHTTPRequestHandler, _: int) -> None:
        if handler.command == "HEAD":
            return send(b"", 200, {"Accept-Ranges": "bytes"}, len(data))(handler, 0)
        asked = handler.headers.get("Range", "bytes=0-")[6:].split("-")
        first, last = int(asked[0]), min(int(asked[1] or len(data)), len(data) - 1)
        part = data[first : last + 1]
        sent.append(len(part))
        headers = {"Content-Range": f"bytes {first}-{last}/{len(data)}"}
        return send(part, 206, headers)(handler, 0)

    server.answer = ranged
    near = open_aerial(path)
    far = open_aerial(f"http://127.0.0.1:{server.port}/a.tif")
    assert torch.equal(
        far.read(*far.around(*AT, 10.0)).image, near.read(*near.around(*AT, 10.0)).image
    )
    assert sum(sent) < len(data)
    secret = f"http://bob:PASSWORD@127.0.0.1:{server.port}/{{}}.tif?key=SECRET"
    public = f"http://127.0.0.1:{server.port}/{{}}.tif?..."
    assert open_aerial(secret.format("a")).name == public.format("a")
    with pytest.raises(InputError, match="offline") as offline:
        open_aerial(secret.format("a"), AerialOptions(offline=True))
    server.answer = send(b"gone", 404)
    with pytest.raises(InputError, match="cannot be read as a raster") as gone:
        open_aerial(secret.format("b"))
    with pytest.raises(InputError, match="no such file") as unknown:
        open_aerial(secret.format("a").replace("http", "htp"))
    for error in (offline, gone, unknown):
        message = str(error.value)
        assert "\n" not in message and f"127.0.0.1:{server.port}" in message
        assert not any(part in message for part in ("bob", "PASSWORD", "SECRET"))
