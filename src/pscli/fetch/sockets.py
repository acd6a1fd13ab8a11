"""Connections that end in time, however slowly the other side drips, and after so many bytes.

Time-outs of a socket count from one piece to the next: a header every few seconds, endless
"100 Continue" or endless trailers would go on for ever. Here every read is told what is left.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

Address = tuple[Any, Any]  # family and address of a socket, as `getaddrinfo` gives them


class Late(Exception):
    """The time of a request is over."""


class TooLong(Exception):
    """An answer has more bytes than it may have."""


class Allowance(threading.local):
    """What the request that a thread is making may still cost.

    Args:
        until: Monotonic time at which it is over.
        pause: Seconds from one piece to the next.
        room: Bytes.
        addresses: Where it may connect to, in turn.
    """

    until = 0.0
    pause = 0.0
    room = 0
    addresses: tuple[Address, ...] = ()

    def left(self) -> float:
        """Seconds. Raises Late."""
        left = self.until - time.monotonic()
        if left <= 0:
            raise Late
        return left


allowance = Allowance()


def _receive(sock: socket.socket, receive: Callable[..., int], args: Any) -> int:
    sock.settimeout(min(allowance.left(), allowance.pause))
    try:
        size = receive(*args)
    except TimeoutError:
        allowance.left()
        raise
    allowance.room -= size
    if allowance.room < 0:
        raise TooLong
    return size


class Plain(socket.socket):
    def recv_into(self, *args: Any) -> int:
        return _receive(self, super().recv_into, args)


class Encrypted(ssl.SSLSocket):
    def recv_into(self, *args: Any) -> int:
        return _receive(self, super().recv_into, args)


def _connected(connection: HTTPConnection) -> socket.socket:
    """A socket to the first address that answers. No name is looked up again."""
    problem: OSError = OSError("no address")
    for family, address in allowance.addresses:
        sock = Plain(family, socket.SOCK_STREAM)
        try:
            sock.settimeout(min(allowance.left(), float(connection.timeout or 1.0)))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.connect(address)
            return sock
        except BaseException as error:
            sock.close()
            if not isinstance(error, OSError):
                raise
            problem = error
    if isinstance(problem, TimeoutError):
        raise ConnectTimeoutError(connection, "timed out") from problem
    raise NewConnectionError(connection, str(problem)) from problem


class _Http(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _connected(self)


class _Https(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return _connected(self)


class _HttpPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Http


class _HttpsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _Https


def connections(per_host: int) -> urllib3.PoolManager:
    """Pools of such connections. Certificates and names of hosts are verified."""
    context = ssl.create_default_context()
    context.sslsocket_class = Encrypted
    pools = urllib3.PoolManager(
        num_pools=64, maxsize=per_host, retries=False, ssl_context=context,
        cert_reqs="CERT_REQUIRED",
    )  # fmt: skip
    pools.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
    return pools
