"""A server that does everything wrong: `/KIND/NUMBER.jpg` is answered as KIND says."""

from __future__ import annotations

import gzip
import http.server
import io
import random
import socket
import struct
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from pscli.fetch.web import Limits

FAST = Limits(
    jobs=16, per_host=16, connect=2.0, read=0.5, total=3.0, max_bytes=1 << 18, backoff=0.01,
    max_wait=1.0,
)  # fmt: skip
PAUSE = 0.1  # seconds between what drips
LONG = 60.0  # seconds after which the server gives up dripping: no client must wait so long


@dataclass(frozen=True)
class Kind:
    """What the manifest must say of a photo that is answered so.

    Args:
        slow: Whether it takes the client's whole deadline.
    """

    answer: Callable[[Handler, bytes, int], None]
    status: str = "ok"
    reason: str = ""
    slow: bool = False


KINDS: dict[str, Kind] = {}


def kind(name: str, status: str = "ok", reason: str = "", slow: bool = False) -> Any:
    def add(answer: Callable[[Handler, bytes, int], None]) -> Any:
        KINDS[name] = Kind(answer, status, reason, slow)
        return answer

    return add


@cache
def photo_bytes(number: int, format: str = "JPEG") -> bytes:
    """A small photo of noise, different for every number."""
    noise = np.random.default_rng(number).integers(0, 256, (16, 16, 3), np.uint8)
    data = io.BytesIO()
    Image.fromarray(noise).save(data, format)
    return data.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    """A part of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*parts: bytes) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def header(width: int, height: int) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))


@dataclass
class Server:
    """The faulty server, what it was asked for, and how long it was listened to."""

    address: str
    asked: Counter[str] = field(default_factory=Counter)
    times: dict[str, list[float]] = field(default_factory=dict)
    lasted: dict[str, float] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)  # published beside the photos
    pause: float = 0.0  # seconds before one of these is sent


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_state: Server

    def log_message(self, *args: object) -> None:
        pass

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers and "Transfer_Encoding" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def cut(self, data: bytes) -> None:
        """Says something, and hangs up."""
        self.wfile.write(data)
        self.close_connection = True

    def drip(self, start: bytes, again: bytes, pause: float = PAUSE) -> None:
        """Says the same again and again."""
        self.wfile.write(start)
        until = time.monotonic() + LONG
        while time.monotonic() < until:
            self.wfile.write(again)
            time.sleep(pause)

    def do_GET(self) -> None:
        state = self.server_state
        times = state.asked[self.path]
        state.asked[self.path] += 1
        start = time.monotonic()
        state.times.setdefault(self.path, []).append(start)
        name, _, stem = self.path.removeprefix("/there").lstrip("/").partition("/")
        stem = stem.partition(".")[0].partition("-")[0]
        body = photo_bytes(int(stem)) if stem.isdecimal() else b""
        try:
            if self.path in state.files:
                time.sleep(state.pause)
                self.answer(200, state.files[self.path])
                return
            KINDS.get(name, KINDS["good"]).answer(self, body, times)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            state.lasted[self.path] = time.monotonic() - start


@contextmanager
def serving() -> Iterator[Server]:
    """A faulty server on loopback."""

    class Own(Handler):
        pass

    class Quiet(http.server.ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, *args: object) -> None:
            pass

    listening = Quiet(("127.0.0.1", 0), Own)
    Own.server_state = Server(f"http://127.0.0.1:{listening.server_port}")
    threading.Thread(target=listening.serve_forever, args=(0.05,), daemon=True).start()
    yield Own.server_state
    listening.shutdown()
    listening.server_close()


# ---------------------------------------------------------------------------- statuses


@kind("good")
def _good(h: Handler, body: bytes, times: int) -> None:
    h.answer(200, body)


@kind("slow-start")  # a third of a second is no fault
def _(h: Handler, body: bytes, times: int) -> None:
    time.sleep(0.3)
    h.answer(200, body)


for _status in (404, 410):
    kind(str(_status), "missing", f"HTTP {_status}")(lambda h, b, t, s=_status: h.answer(s, b"no"))
for _status in (204, 206, 304, 400, 401, 403, 418, 451, 500, 502, 503):
    kind(str(_status), "failed", f"HTTP {_status}")(lambda h, b, t, s=_status: h.answer(s))


@kind("500-once")
def _(h: Handler, body: bytes, times: int) -> None:
    h.answer(500) if times == 0 else h.answer(200, body)


@kind("103", "failed", "HTTP 103")
def _(h: Handler, body: bytes, times: int) -> None:
    h.cut(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\n")


@kind("100-once")
def _(h: Handler, body: bytes, times: int) -> None:
    h.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    h.answer(200, body)


# ---------------------------------------------------------------------------- Retry-After


def _later(value: str) -> Callable[[Handler, bytes, int], None]:
    return lambda h, body, times: h.answer(429, b"wait", Retry_After=value)


kind("429", "failed", "HTTP 429")(_later("1"))
LATER = {
    "3600": "3600",
    "1e9": str(10**9),
    "negative": "-5",
    "date-9999": "Fri, 31 Dec 9999 23:59:59 GMT",
    "digits": "9" * 5000,
    "words": "when the cows come home",
    "no-date": "Fri, 99 Foo 99:99",
}
for _name, _value in LATER.items():
    kind(f"429-{_name}", "failed", "HTTP 429")(_later(_value))


@kind("429-once")
def _(h: Handler, body: bytes, times: int) -> None:
    h.answer(429, Retry_After="1") if times == 0 else h.answer(200, body)


# ---------------------------------------------------------------------------- connections


@kind("hangs-up", "failed", "connection failed (ProtocolError)")
def _(h: Handler, body: bytes, times: int) -> None:
    h.close_connection = True


@kind("reset", "failed", "connection failed (ProtocolError)")
def _(h: Handler, body: bytes, times: int) -> None:
    h.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    h.cut(b"")


@kind("stall", "failed", "timed out")
def _(h: Handler, body: bytes, times: int) -> None:
    time.sleep(2.0)
    h.close_connection = True


@kind("stall-in-body", "failed", "timed out")
def _(h: Handler, body: bytes, times: int) -> None:
    h.answer(200, body[:50], Content_Length=str(len(body)))
    h.wfile.flush()
    time.sleep(2.0)
    h.close_connection = True


@kind("drip-status", "failed", "took too long", slow=True)
def _(h: Handler, body: bytes, times: int) -> None:
    h.drip(b"HTTP/1.1 200 O", b"K")


@kind("drip-header", "failed", "took too long", slow=True)
def _(h: Handler, body: bytes, times: int) -> None:
    h.drip(b"HTTP/1.1 200 OK\r\nX: ", b"x")


@kind("continue-slow", "failed", "took too long", slow=True)
def _(h: Handler, body: bytes, times: int) -> None:
    h.drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n")


@kind("drip-body", "failed", "took too long", slow=True)
def _(h: Handler, body: bytes, times: int) -> None:
    h.drip(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b"x")


@kind("drip-chunks", "failed", "took too long", slow=True)
def _(h: Handler, body: bytes, times: int) -> None:
    h.drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n")


@kind("drip-chunk-size", "failed", "took too long", slow=True)
def _(h: Handler, body: bytes, times: int) -> None:
    h.drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0")


@kind("drip-trailers", "failed", "took too long", slow=True)
def _(h: Handler, body: bytes, times: int) -> None:
    h.drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n")


TOO_MUCH = "more than 262,144 bytes"


@kind("continue-endless", "refused", TOO_MUCH)
def _(h: Handler, body: bytes, times: int) -> None:
    h.drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, 0)


@kind("trailers-endless", "refused", TOO_MUCH)
def _(h: Handler, body: bytes, times: int) -> None:
    start = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
    h.drip(start, b"X: y\r\n" * 1000, 0)


@kind("endless", "refused", TOO_MUCH)
def _(h: Handler, body: bytes, times: int) -> None:
    start = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    h.drip(start, b"1000\r\n" + bytes(4096) + b"\r\n", 0)


@kind("tiny-chunks", "refused", TOO_MUCH)
def _(h: Handler, body: bytes, times: int) -> None:
    h.drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 1000, 0)


# ---------------------------------------------------------------------------- heads


@kind("headers-endless", "failed", "connection failed (ProtocolError)")
def _(h: Handler, body: bytes, times: int) -> None:
    h.drip(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 1000, 0)


@kind("header-endless", "failed", "connection failed (ProtocolError)")
def _(h: Handler, body: bytes, times: int) -> None:
    h.drip(b"HTTP/1.1 200 OK\r\nX: ", b"x" * 1000, 0)


@kind("noise", "failed", "connection failed (ProtocolError)")
def _(h: Handler, body: bytes, times: int) -> None:
    h.cut(random.Random(7).randbytes(4000).replace(b"\n", b""))


@kind("no-head", "failed", "connection failed (ProtocolError)")
def _(h: Handler, body: bytes, times: int) -> None:
    h.cut(body)


@kind("lengths-differ", "failed", "connection failed (InvalidHeader)")
def _(h: Handler, body: bytes, times: int) -> None:
    head = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"
    h.cut(head.encode() + body)


@kind("length-negative")
def _(h: Handler, body: bytes, times: int) -> None:
    h.cut(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n" + body)


@kind("length-words")
def _(h: Handler, body: bytes, times: int) -> None:
    h.cut(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n" + body)


@kind("no-length")
def _(h: Handler, body: bytes, times: int) -> None:
    h.cut(b"HTTP/1.1 200 OK\r\n\r\n" + body)


@kind("large", "refused", TOO_MUCH)
def _(h: Handler, body: bytes, times: int) -> None:
    h.answer(200, body, Content_Length=str(1 << 40))
    h.close_connection = True


# ---------------------------------------------------------------------------- bodies


@kind("chunked")
def _(h: Handler, body: bytes, times: int) -> None:
    half = len(body) // 2
    parts = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in (body[:half], body[half:], b""))
    h.answer(200, parts, Transfer_Encoding="chunked")


@kind("chunk-negative", "broken", "truncated")
def _(h: Handler, body: bytes, times: int) -> None:
    h.cut(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n" + body)


@kind("chunk-words", "broken", "truncated")
def _(h: Handler, body: bytes, times: int) -> None:
    h.cut(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfive\r\n" + body)


@kind("chunk-huge", "broken", "truncated")
def _(h: Handler, body: bytes, times: int) -> None:
    h.cut(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 30 + b"\r\n" + body)


@kind("chunk-cut", "broken", "truncated")
def _(h: Handler, body: bytes, times: int) -> None:
    h.cut(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\n" + body)


@kind("truncated", "broken", "truncated")
def _(h: Handler, body: bytes, times: int) -> None:
    h.answer(200, body[:50], Content_Length=str(len(body)))
    h.close_connection = True


@kind("truncated-once")
def _(h: Handler, body: bytes, times: int) -> None:
    h.answer(200, body if times else body[:50], Content_Length=str(len(body)))
    h.close_connection = True


@kind("longer-than-said", "broken", "a photo that cannot be decoded")
def _(h: Handler, body: bytes, times: int) -> None:
    h.answer(200, body, Content_Length=str(len(body) // 2))


@kind("empty", "broken", "not a photo")
def _(h: Handler, body: bytes, times: int) -> None:
    h.answer(200)


@kind("gzip", "broken", "not a photo")
def _(h: Handler, body: bytes, times: int) -> None:
    h.answer(200, gzip.compress(bytes(1 << 20)), Content_Encoding="gzip")


@kind("html", "broken", "not a photo")
def _(h: Handler, body: bytes, times: int) -> None:
    h.answer(200, b"<html>not here</html>", Content_Type="image/jpeg")


@kind("at-the-limit")
def _(h: Handler, body: bytes, times: int) -> None:
    h.answer(200, body + bytes(FAST.max_bytes - len(body)))


@kind("over-the-limit", "refused", TOO_MUCH)
def _(h: Handler, body: bytes, times: int) -> None:
    h.cut(b"HTTP/1.1 200 OK\r\n\r\n" + body + bytes(FAST.max_bytes + 1 - len(body)))


@kind("wrong-sum", "broken", "wrong checksum")
def _(h: Handler, body: bytes, times: int) -> None:
    h.answer(200, body)


# ---------------------------------------------------------------------------- photos

for _format in ("PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"):

    def _other(h: Handler, body: bytes, times: int, format: str = _format) -> None:
        data = io.BytesIO()
        Image.open(io.BytesIO(body)).save(data, format)
        h.answer(200, data.getvalue())

    if _format in Image.registered_extensions().values():
        kind(f"{_format}-named-jpg")(_other)
for _format in ("ICO", "PCX", "PPM", "TGA", "EPS", "PDF"):

    def _foreign(h: Handler, body: bytes, times: int, format: str = _format) -> None:
        data = io.BytesIO()
        Image.open(io.BytesIO(body)).save(data, format)
        h.answer(200, data.getvalue())

    kind(f"{_format}-named-jpg", "broken", "not a photo")(_foreign)


def _body(name: str, status: str, reason: str, data: bytes) -> None:
    kind(name, status, reason)(lambda h, body, times: h.answer(200, data))


UNDECODABLE = "a photo that cannot be decoded"
PIXELS = "more than 64,000,000 pixels"
_body(
    "bomb",
    "refused",
    PIXELS,
    png(header(20_000, 20_000), chunk(b"IDAT", zlib.compress(bytes(1 << 20)))),
)
_body("bomb-of-a-square", "refused", PIXELS, png(header(8_001, 8_000), chunk(b"IDAT", b"")))
_body("zero-pixels", "broken", "not a photo", png(header(0, 0), chunk(b"IDAT", b"")))
_body("no-pixels", "broken", UNDECODABLE, png(header(16, 16), chunk(b"IEND", b"")))
_body("texts", "broken", UNDECODABLE, png(
    header(16, 16), chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(1 << 20))) * 70,
    chunk(b"IEND", b""),
))  # fmt: skip
_body("signature-alone", "broken", "not a photo", b"\x89PNG\r\n\x1a\n")
_body("svg", "broken", "not a photo", b"<svg xmlns='http://www.w3.org/2000/svg'/>")
_body("tiff-loop", "broken", "not a photo", b"II*\0\x08\0\0\0\0\0\x08\0\0\0")


@kind("cut-image", "broken", UNDECODABLE)
def _(h: Handler, body: bytes, times: int) -> None:
    h.answer(200, body[: len(body) // 2])


@kind("png-of-another-sum", "broken", UNDECODABLE)
def _(h: Handler, body: bytes, times: int) -> None:
    data = io.BytesIO()
    Image.open(io.BytesIO(body)).save(data, "PNG")
    damaged = bytearray(data.getvalue())
    damaged[60] ^= 255
    h.answer(200, bytes(damaged))


# ---------------------------------------------------------------------------- redirects


def _to(name: str, status: str, reason: str, where: str) -> None:
    def answer(h: Handler, body: bytes, times: int) -> None:
        here = h.server_state.address
        to = where.format(here=here, host=here.removeprefix("http://"), path=h.path)
        h.answer(302, Location=to)

    kind(name, status, reason)(answer)


PRIVATE = "private address"
_to("to-private", "refused", PRIVATE, "http://10.0.0.1/x.jpg")
_to("to-metadata", "refused", PRIVATE, "http://169.254.169.254/latest/meta-data/")
_to("to-loopback-v6", "refused", PRIVATE, "http://[::1]/x.jpg")
_to("to-mapped", "refused", PRIVATE, "http://[::ffff:10.0.0.1]/x.jpg")
_to("to-decimal", "refused", PRIVATE, "http://2130706434/x.jpg")  # 127.0.0.2
_to("to-file", "refused", "not an http(s) address", "file:///etc/passwd")
_to("to-ftp", "refused", "not an http(s) address", "ftp://example.org/x.jpg")
_to("to-a-bracket", "refused", "a redirect to no address", "http://[::1/x.jpg")
_to("to-port-99999", "refused", "not an address", "http://example.org:99999/x.jpg")
_to("to-nowhere", "failed", "HTTP 302 without an address", "")
_to("taken-down", "missing", "taken down at its host", "https://example.org/photo_unavailable.png")
_to("loop", "refused", "redirect loop", "{here}{path}")
_to("to-itself-in-small-steps", "refused", "more than 5 redirects", "{here}{path}?x")
_to("to-tls-that-is-none", "failed", "connection failed (SSLError)", "https://{host}{path}")


@kind("far", "refused", "more than 5 redirects")
def _(h: Handler, body: bytes, times: int) -> None:
    h.answer(302, Location=h.server_state.address + h.path.replace(".jpg", "-x.jpg"))


@kind("moved")
def _(h: Handler, body: bytes, times: int) -> None:
    if h.path.startswith("/there"):
        h.answer(200, body)
    else:
        h.answer(301, Location=f"/there{h.path}")


@kind("moved-to-spaces")
def _(h: Handler, body: bytes, times: int) -> None:
    if not h.path.startswith("/there"):  # as some servers send it: UTF-8, and not quoted
        h.answer(308, Location=f"/there{h.path}?a b={'é'.encode().decode('latin-1')}")
    elif h.path.endswith("?a%20b=%C3%A9"):
        h.answer(200, body)
    else:
        h.answer(404)
