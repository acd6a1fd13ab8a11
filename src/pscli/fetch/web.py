"""Bytes from the web, for addresses that nobody has vetted.

Only http(s); no private, loopback or link-local hosts unless they are allowed, after a redirect
neither; bounded bodies, times and redirects.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin

import urllib3
from urllib3.exceptions import HTTPError, LocationParseError, ReadTimeoutError, TimeoutError

REDIRECTS = (301, 302, 303, 307, 308)
# Flickr answers for photos that were taken down by sending to a picture that says so.
GONE = ("photo_unavailable",)
PIECE = 1 << 16  # bytes
NAT64 = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True)
class Limits:
    """What one download may cost.

    Args:
        jobs: Downloads at once.
        per_host: Of these from one host.
        connect, read, total: Seconds until a host answers, between two pieces, and in all.
        max_bytes: Of a photo.
        attempts: How often a photo is asked for when the fault may pass.
        backoff: Seconds before the second attempt; doubled every time, with jitter.
        max_wait: Longest Retry-After that is obeyed, in seconds; a longer one is a failure.
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
        self._pools = urllib3.PoolManager(
            num_pools=64, maxsize=limits.per_host, retries=False, cert_reqs="CERT_REQUIRED"
        )
        self._timeout = urllib3.Timeout(connect=limits.connect, read=limits.read)
        self._addresses: dict[tuple[str, int], str] = {}
        self._lock = threading.Lock()

    def get(self, url: str) -> bytes:
        """The body behind an address. Raises Fault."""
        return b"".join(self.pieces(url, self.limits.max_bytes))

    def pieces(self, url: str, max_bytes: int, total: float | None = None) -> Iterator[bytes]:
        """The body, piece by piece.

        Args:
            total: Seconds that it may take in all.

        Raises:
            Fault: also after some pieces.
        """
        deadline = time.monotonic() + (total or self.limits.total)
        try:
            response = self._follow(url)
            try:
                yield from _body(response, max_bytes, deadline)
            except BaseException:
                response.close()  # what is left of the body would be taken for the next answer
                raise
            response.release_conn()
        except (ReadTimeoutError, TimeoutError) as error:
            raise Fault("failed", "timed out", passing=True) from error
        except (HTTPError, OSError) as error:
            cut = "IncompleteRead" in repr(error)
            what = "truncated" if cut else f"connection failed ({type(error).__name__})"
            raise Fault("broken" if cut else "failed", what, passing=True) from error

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
            url = urljoin(url, where)
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
        host = parts.host.strip("[]")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        # The connection goes to the very address that was checked: a name that is looked up again
        # could by then point elsewhere.
        named = {"server_hostname": host, "assert_hostname": host}
        pool = self._pools.connection_from_host(
            self._address(host, port),
            port,
            parts.scheme,
            pool_kwargs=named if parts.scheme == "https" else {},
        )
        headers = {
            "Host": parts.netloc.rpartition("@")[2] if parts.netloc else host,
            "User-Agent": "pscli",
            "Accept": "*/*",
            "Accept-Encoding": "identity",
        }
        return pool.urlopen(
            "GET", parts.request_uri, headers=headers, redirect=False, retries=False,
            preload_content=False, decode_content=False, timeout=self._timeout,
        )  # fmt: skip

    def _address(self, host: str, port: int) -> str:
        with self._lock:
            if (host, port) in self._addresses:
                return self._addresses[host, port]
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise Fault("failed", "unknown host", passing=True) from error
        addresses = [str(info[4][0]) for info in found]
        if not self.allow_private and not all(map(is_public, addresses)):
            raise Fault("refused", "private address")
        with self._lock:
            self._addresses[host, port] = addresses[0]
        return addresses[0]


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the open internet, also when it wraps an IPv4 one."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if ip in NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            ip = inner
    return ip.is_global and not ip.is_multicast


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
        return max(0.0, float(int(value)))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return 0.0


def _body(response: Any, max_bytes: int, deadline: float) -> Iterator[bytes]:
    length = response.headers.get("Content-Length", "")
    expected = int(length) if length.isascii() and length.isdigit() and len(length) < 20 else None
    too_long = Fault("refused", f"more than {max_bytes:,} bytes")
    if expected is not None and expected > max_bytes:
        raise too_long
    size = 0
    while piece := response.read1(PIECE):
        size += len(piece)
        if size > max_bytes:
            raise too_long
        yield piece
        if time.monotonic() > deadline:
            raise Fault("failed", "took too long", passing=True)
    if expected is not None and size < expected:
        raise Fault("broken", "truncated", passing=True)
