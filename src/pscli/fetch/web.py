"""Bytes from the web, for addresses that nobody has vetted.

Only http(s), with certificates that are valid; no hosts outside the open internet unless they are
allowed, after a redirect neither; bounded bodies, times and redirects. Proxies that the
environment names are not used: what stands behind one could not be vetted.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin

import urllib3
from urllib3.exceptions import HTTPError, LocationParseError, NewConnectionError, SSLError
from urllib3.exceptions import TimeoutError as PoolTimeout

from pscli.fetch.addresses import is_public
from pscli.fetch.sockets import Address, Late, TooLong, allowance, connections

REDIRECTS = (301, 302, 303, 307, 308)
# Flickr answers for photos that were taken down by sending to a picture that says so.
GONE = ("photo_unavailable",)
PIECE = 1 << 16  # bytes
HEAD = 1 << 18  # bytes of a status, its headers, and what may come before them
AROUND = 1 << 16  # bytes of a body's chunk sizes and trailers, beside an eighth of itself


@dataclass(frozen=True)
class Limits:
    """What one download may cost.

    Args:
        jobs: Downloads at once.
        per_host: Of these from one host.
        connect, read, total: Seconds until a host answers, between two pieces, and in all, from
            the first byte that is sent to the last one that comes.
        max_bytes: Of a photo.
        attempts: How often a photo is asked for when the fault may pass.
        backoff: Seconds before the second attempt; doubled every time, with jitter.
        max_wait: Longest Retry-After that is obeyed, in seconds; a longer one is a failure.
        max_rest: Seconds that a host may make us wait in all, and one more for every photo that
            it gives.
    """

    jobs: int = 16
    per_host: int = 8
    connect: float = 10.0
    read: float = 20.0
    total: float = 120.0
    max_bytes: int = 32 << 20
    max_redirects: int = 5
    attempts: int = 3
    backoff: float = 0.5
    max_wait: float = 120.0
    max_rest: float = 1200.0


class Fault(Exception):
    """A download that came to nothing.

    Args:
        status: As in the manifest.
        passing: Whether it is worth asking again.
        wait: Seconds for which the host wants to be left alone.
    """

    def __init__(self, status: str, reason: str, passing: bool = False, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.status, self.reason, self.passing, self.wait = status, reason, passing, wait


def is_address(text: str) -> bool:
    """Whether a text is an http(s) address, and not the name of a folder."""
    return text.lower().startswith(("http://", "https://"))


class Web:
    """Connections, kept open per host."""

    def __init__(self, limits: Limits, allow_private: bool = False) -> None:
        self.limits, self.allow_private = limits, allow_private
        self._pools = connections(limits.per_host)
        self._addresses: dict[tuple[str, int], tuple[Address, ...]] = {}
        self._lock = threading.Lock()

    def get(self, url: str, max_bytes: int | None = None) -> bytes:
        """The body behind an address. Raises Fault."""
        return b"".join(self.pieces(url, max_bytes or self.limits.max_bytes))

    def pieces(self, url: str, max_bytes: int, total: float | None = None) -> Iterator[bytes]:
        """The body, piece by piece.

        Args:
            total: Seconds that it may take; an answer must begin within those of a photo.

        Raises:
            Fault: also after some pieces.
        """
        start = time.monotonic()
        allowance.pause, allowance.until = self.limits.read, start + self.limits.total
        try:
            response = self._follow(url)
            try:
                allowance.until = start + (total or self.limits.total)
                allowance.room = max_bytes + max_bytes // 8 + AROUND
                yield from _body(response, max_bytes)
            except BaseException:
                response.close()  # what is left of the body would be taken for the next answer
                raise
            response.release_conn()
        except Late as error:
            raise Fault("failed", "took too long") from error
        except TooLong as error:
            raise Fault("refused", f"more than {max_bytes:,} bytes") from error
        except Fault:
            raise
        except Exception as error:  # whatever an answer holds, it is no fault of ours
            raise _fault(error) from error

    def _follow(self, url: str) -> Any:
        seen = {url}
        for _ in range(self.limits.max_redirects + 1):
            response = self._ask(url)
            if response.status not in REDIRECTS:
                return _checked(response, self.limits.max_wait)
            where = response.headers.get("Location")
            response.close()
            if not where:
                raise Fault("failed", f"HTTP {response.status} without an address")
            try:
                url = urljoin(url, where.encode("latin-1").decode())
            except ValueError as error:
                raise Fault("refused", "a redirect to no address") from error
            if any(mark in url for mark in GONE):
                raise Fault("missing", "taken down at its host")
            if url in seen:
                raise Fault("refused", "redirect loop")
            seen.add(url)
        raise Fault("refused", f"more than {self.limits.max_redirects} redirects")

    def _ask(self, url: str) -> Any:
        try:
            parts = urllib3.util.parse_url(url)
        except LocationParseError as error:
            raise Fault("refused", "not an address") from error
        if parts.scheme not in ("http", "https") or not parts.host:
            raise Fault("refused", "not an http(s) address")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        # The connection goes to the very addresses that were checked: a name that is looked up
        # again could by then point elsewhere.
        allowance.addresses = self._resolved(parts.host.strip("[]"), port)
        allowance.room = HEAD
        timeout = urllib3.Timeout(connect=self.limits.connect, read=self.limits.read)
        return self._pools.connection_from_host(parts.host, port, parts.scheme).urlopen(
            "GET", parts.request_uri, redirect=False, retries=False, preload_content=False,
            decode_content=False, timeout=timeout,
            headers={"User-Agent": "pscli", "Accept": "*/*", "Accept-Encoding": "identity"},
        )  # fmt: skip

    def _resolved(self, host: str, port: int) -> tuple[Address, ...]:
        with self._lock:
            if (host, port) in self._addresses:
                return self._addresses[host, port]
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise Fault("failed", "unknown host", passing=True) from error
        if not self.allow_private and not all(is_public(str(info[4][0])) for info in found):
            raise Fault("refused", "private address")
        addresses = tuple(dict.fromkeys((info[0], info[4]) for info in found))
        with self._lock:
            self._addresses[host, port] = addresses
        return addresses


def _fault(error: Exception) -> Fault:
    if isinstance(error, SSLError) and isinstance(error.args[0], ssl.SSLCertVerificationError):
        return Fault("refused", "a certificate that is not valid")
    if "IncompleteRead" in repr(error):
        return Fault("broken", "truncated", passing=True)
    if not isinstance(error, HTTPError | OSError):
        return Fault("broken", f"an answer that is beyond us ({type(error).__name__})")
    late = isinstance(error, PoolTimeout | TimeoutError)
    if late and not isinstance(error, NewConnectionError):  # which urllib3 counts among them
        return Fault("failed", "timed out", passing=True)
    return Fault("failed", f"connection failed ({type(error).__name__})", passing=True)


def _checked(response: Any, max_wait: float) -> Any:
    """The response if it is a success."""
    status = response.status
    if status == 200:
        return response
    wait = seconds(response.headers.get("Retry-After"))
    response.close()
    if status in (404, 410):
        raise Fault("missing", f"HTTP {status}")
    passing = (status in (408, 425, 429) or status >= 500) and wait <= max_wait
    raise Fault("failed", f"HTTP {status}", passing, wait)


def seconds(value: str | None) -> float:
    """Seconds that a Retry-After header asks for: a number, or a date."""
    if not value:
        return 0.0
    try:
        if value.strip().isdecimal():
            return float(value)
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError, IndexError, OSError):
        return 0.0


def _body(response: Any, max_bytes: int) -> Iterator[bytes]:
    length = response.headers.get("Content-Length", "")
    expected = int(length) if length.isascii() and length.isdigit() and len(length) < 20 else None
    if expected is not None and expected > max_bytes:
        raise TooLong
    size = 0
    while piece := response.read1(PIECE):
        size += len(piece)
        if size > max_bytes:
            raise TooLong
        yield piece
    if expected is not None and size < expected:
        raise Fault("broken", "truncated", passing=True)
