"""What the web may do to us: addresses, certificates, deadlines, and how long a host may rest."""

from __future__ import annotations

import math
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.client import IncompleteRead
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address, ip_network
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from urllib3.exceptions import (
    ConnectTimeoutError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
    SSLError,
)

from faults import FAST, KINDS, Server, photo_bytes, serving
from faults import PIXELS as BOMB
from pscli.fetch import sockets
from pscli.fetch import web as web_module
from pscli.fetch.addresses import is_public
from pscli.fetch.places import Place, Wanted
from pscli.fetch.queue import Queue
from pscli.fetch.web import Fault, Limits, Web, is_address, seconds


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as state:
        yield state


def port_of(server: Server) -> int:
    return int(server.address.rpartition(":")[2])


def resolves(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    """Every name has these addresses; returns the list of names that are looked up."""
    asked: list[str] = []

    def resolve(host: str, port: int, *args: object, **kwargs: object) -> list[object]:
        asked.append(host)
        return [
            (socket.AF_INET6 if ":" in a else socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port))
            for a in addresses
        ]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return asked


# ---------------------------------------------------------------------------- addresses

# Every row of https://www.iana.org/assignments/iana-ipv4-special-registry and of its like for IPv6
# (but 64:ff9b::/96, which stands for what it wraps), and what others set apart.
SPECIAL = [
    "0.0.0.0/8", "0.0.0.0/32", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
    "172.16.0.0/12", "192.0.0.0/24", "192.0.0.0/29", "192.0.0.8/32", "192.0.0.9/32",
    "192.0.0.10/32", "192.0.0.170/32", "192.0.0.171/32", "192.0.2.0/24", "192.31.196.0/24",
    "192.52.193.0/24", "192.88.99.0/24", "192.88.99.2/32", "192.168.0.0/16", "192.175.48.0/24",
    "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4", "255.255.255.255/32",
    "::1/128", "::/128", "::ffff:0:0:0/96", "64:ff9b:1::/48", "100::/64", "100:0:0:1::/64",
    "2001::/23", "2001::/32", "2001:1::1/128", "2001:1::2/128", "2001:1::3/128", "2001:2::/48",
    "2001:3::/32", "2001:4:112::/48", "2001:10::/28", "2001:20::/28", "2001:30::/28",
    "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20", "5f00::/16", "fc00::/7",
    "fe80::/10", "224.0.0.0/4", "ff00::/8", "fec0::/10", "::/96", "::/8", "4000::/3", "8000::/1",
]  # fmt: skip


@pytest.mark.parametrize("block", SPECIAL)
def test_no_special_block_is_public(block: str) -> None:
    network = ip_network(block)
    for number in (0, network.num_addresses // 2, network.num_addresses - 1):
        assert not is_public(str(network[number])), network[number]


@pytest.mark.parametrize("block", [b for b in SPECIAL if ":" not in b and "/32" not in b])
def test_what_wraps_a_special_address_is_not_public_either(block: str) -> None:
    address = ip_network(block)[0]
    for prefix in ("::ffff:", "64:ff9b::", "::", "64:ff9b:1::", "::ffff:0:", "2002:"):
        inner = f"{int(address) >> 16:x}:{int(address) & 0xFFFF:x}"
        assert not is_public(f"{prefix}{inner}{'::' if prefix == '2002:' else ''}")


@pytest.mark.parametrize(
    "address",
    [
        "93.184.216.34", "1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0",
        "126.255.255.255", "128.0.0.0", "169.253.255.255", "172.15.255.255", "172.32.0.0",
        "191.255.255.255", "192.0.1.0", "192.88.98.255", "192.167.255.255", "192.169.0.0",
        "198.17.255.255", "198.20.0.0", "223.255.255.255", "2606:2800:220:1::1", "2a00::1",
        "2001:200::", "2001:db7:ffff::", "2003::", "3ffe:ffff::", "::ffff:93.184.216.34",
        "64:ff9b::5db8:d822",
    ],
)  # fmt: skip
def test_the_open_internet_is_public(address: str) -> None:
    assert is_public(address)
    assert ip_address(address)


def test_a_zone_does_not_hide_an_address() -> None:
    assert not is_public("fe80::1%eth0")
    assert not is_public("::ffff:10.0.0.1%eth0")
    assert is_public("2a00::1%eth0")


def test_every_address_of_a_name_must_be_public(monkeypatch: pytest.MonkeyPatch) -> None:
    connected: list[object] = []
    monkeypatch.setattr(sockets.Plain, "connect", lambda self, to: connected.append(to))
    resolves(monkeypatch, "93.184.216.34", "10.0.0.1")
    with pytest.raises(Fault, match="private address"):
        Web(FAST).get("http://photos.example/x.jpg")
    assert not connected


def test_the_addresses_that_were_checked_are_the_ones_that_are_asked(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that resolves to a public address first and to a private one later gains nothing."""
    monkeypatch.setattr(web_module, "is_public", lambda a: a == "127.0.0.1")
    asked = resolves(monkeypatch, "127.0.0.1")
    web = Web(FAST)
    url = f"http://photos.example:{port_of(server)}/no-length/7.jpg"  # its connection is closed
    assert web.get(url) == photo_bytes(7)
    resolves(monkeypatch, "10.0.0.1")
    assert web.get(url) == photo_bytes(7)
    assert asked == ["photos.example"]


def test_all_addresses_are_tried_in_turn(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []
    whole = sockets.Plain.connect

    def connect(self: sockets.Plain, to: tuple[str, int]) -> None:
        tried.append(to[0])
        assert 0 < self.gettimeout() <= min(FAST.connect, FAST.total)
        if to[0] == "2606::1":
            raise OSError(101, "Network is unreachable")
        if to[0] == "93.184.216.34":
            raise TimeoutError
        whole(self, to)

    monkeypatch.setattr(sockets.Plain, "connect", connect)
    monkeypatch.setattr(web_module, "is_public", lambda a: True)
    resolves(monkeypatch, "2606::1", "93.184.216.34", "127.0.0.1")
    url = f"http://photos.example:{port_of(server)}/good/7.jpg"
    assert Web(FAST).get(url) == photo_bytes(7)
    assert tried == ["2606::1", "93.184.216.34", "127.0.0.1"]
    resolves(monkeypatch, "2606::1")
    with pytest.raises(Fault, match=r"connection failed \(NewConnectionError\)"):
        Web(FAST).get(url)
    resolves(monkeypatch, "93.184.216.34")
    with pytest.raises(Fault, match="timed out"):
        Web(FAST).get(url)


def test_addresses_are_tried_until_the_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    def connect(self: sockets.Plain, to: tuple[str, int]) -> None:
        waits.append(self.gettimeout())
        time.sleep(self.gettimeout())
        raise TimeoutError

    monkeypatch.setattr(sockets.Plain, "connect", connect)
    resolves(monkeypatch, *(f"93.184.216.{n}" for n in range(20)))
    with pytest.raises(Fault, match="took too long"):
        Web(Limits(connect=0.2, total=0.5)).get("http://photos.example/x.jpg")
    assert waits == [pytest.approx(0.2), pytest.approx(0.2), pytest.approx(0.1, abs=0.05)]


def test_proxies_of_the_environment_are_not_asked(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """docs/datasets.md says so: behind one, addresses could not be vetted."""
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    web = Web(FAST, allow_private=True)
    assert web.get(f"{server.address}/good/7.jpg") == photo_bytes(7)


@pytest.mark.parametrize(
    ("text", "address"),
    [("HTTPS://a/b", True), ("http://a", True), ("data/x", False), ("ftp://a", False)],
)
def test_addresses_and_folders(text: str, address: bool) -> None:
    assert is_address(text) is address


# ---------------------------------------------------------------------------- certificates


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of photos.example and its key, signed by itself."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not here to make a certificate")
    path = tmp_path_factory.mktemp("tls") / "own.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2",
         "-subj", "/CN=photos.example", "-addext", "subjectAltName=DNS:photos.example",
         "-keyout", path, "-out", path.with_suffix(".crt")],
        check=True, capture_output=True,
    )  # fmt: skip
    path.write_text(path.read_text() + path.with_suffix(".crt").read_text())
    return path


@pytest.fixture
def encrypted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Port of a server on loopback that has the certificate; every name leads there."""

    class Photos(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path == "/drip":
                self.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
                while True:
                    self.wfile.write(b"x")
                    time.sleep(0.1)
            self.send_response(200)
            self.send_header("Content-Length", str(len(photo_bytes(7))))
            self.end_headers()
            self.wfile.write(photo_bytes(7))

        def log_message(self, *args: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *args: object) -> None:
            pass

    listening = Quiet(("127.0.0.1", 0), Photos)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    listening.socket = context.wrap_socket(listening.socket, server_side=True)
    threading.Thread(target=listening.serve_forever, args=(0.05,), daemon=True).start()
    monkeypatch.setattr(web_module, "is_public", lambda a: True)
    resolves(monkeypatch, "127.0.0.1")
    yield listening.server_port
    listening.shutdown()
    listening.server_close()


def trust(monkeypatch: pytest.MonkeyPatch, certificate: Path) -> None:
    whole = ssl.create_default_context
    found = str(certificate.with_suffix(".crt"))
    monkeypatch.setattr(ssl, "create_default_context", lambda: whole(cafile=found))


@pytest.mark.parametrize("allow_private", [False, True])
def test_a_certificate_that_signed_itself_is_refused(encrypted: int, allow_private: bool) -> None:
    with pytest.raises(Fault, match="a certificate that is not valid") as caught:
        Web(FAST, allow_private).get(f"https://photos.example:{encrypted}/x.jpg")
    assert (caught.value.status, caught.value.passing) == ("refused", False)


def test_a_certificate_that_is_trusted_is_good_for_its_name_alone(
    encrypted: int, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust(monkeypatch, certificate)
    web = Web(FAST)
    for _ in range(2):  # the second time over the same connection
        assert web.get(f"https://photos.example:{encrypted}/x.jpg") == photo_bytes(7)
    for name in ("other.example", "127.0.0.1"):
        with pytest.raises(Fault, match="a certificate that is not valid"):
            web.get(f"https://{name}:{encrypted}/x.jpg")


def test_deadlines_hold_for_encrypted_connections(
    encrypted: int, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust(monkeypatch, certificate)
    start = time.monotonic()
    with pytest.raises(Fault, match="took too long"):
        Web(Limits(read=0.5, total=1.0)).get(f"https://photos.example:{encrypted}/drip")
    assert 1.0 <= time.monotonic() - start < 1.5


# ---------------------------------------------------------------------------- bodies


def test_a_connection_whose_body_was_not_read_is_not_used_again(server: Server) -> None:
    """Its next bytes would be taken for the next answer."""
    web = Web(FAST, allow_private=True)
    url = server.address
    for kind in (
        "large",
        "over-the-limit",
        "longer-than-said",
        "truncated",
        "endless",
        "304",
        "moved",
    ):
        try:
            web.get(f"{url}/{kind}/1.jpg")
        except Fault:
            assert KINDS[kind].status != "ok"
        assert web.get(f"{url}/good/7.jpg") == photo_bytes(7)


def test_whatever_an_answer_makes_us_raise_is_a_fault(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_module, "_body", lambda response, most: iter([b"x", {}["length"]]))
    with pytest.raises(Fault, match=r"an answer that is beyond us \(KeyError\)"):
        Web(FAST, allow_private=True).get(f"{server.address}/good/7.jpg")


def test_connections_are_used_again(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    connected: list[object] = []
    whole = sockets.Plain.connect
    monkeypatch.setattr(
        sockets.Plain, "connect", lambda self, to: (connected.append(to), whole(self, to))[1]
    )
    web = Web(FAST, allow_private=True)
    for number in range(3):
        assert web.get(f"{server.address}/chunked/{number}.jpg") == photo_bytes(number)
    assert len(connected) == 1


@pytest.mark.parametrize(("most", "fits"), [(999, False), (1000, True), (1001, True)])
@pytest.mark.parametrize("length", [True, False])
def test_the_limit_is_exact(most: int, fits: bool, length: bool) -> None:
    head = b"HTTP/1.1 200 OK\r\n" + b"Content-Length: 1000\r\n" * length
    with answering(head + b"\r\n" + bytes(1000)) as url:
        web = Web(FAST, allow_private=True)
        if fits:
            assert web.get(url, most) == bytes(1000)
        else:
            with pytest.raises(Fault, match=f"more than {most} bytes"):
                web.get(url, most)


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """A server that says this and nothing else, whatever it is asked."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def run() -> None:
            peer, _ = listening.accept()
            with peer:
                peer.recv(4096)
                peer.sendall(answer)

        threading.Thread(target=run, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"


@pytest.mark.parametrize("kind", [name for name, kind in KINDS.items() if kind.slow])
def test_what_drips_ends_with_the_deadline(server: Server, kind: str) -> None:
    limits = Limits(read=0.4, total=0.6)
    start = time.monotonic()
    with pytest.raises(Fault, match="took too long") as caught:
        Web(limits, allow_private=True).get(f"{server.address}/{kind}/1.jpg")
    assert 0.6 <= time.monotonic() - start < 1.0
    assert not caught.value.passing  # no second time


# ---------------------------------------------------------------------------- faults

DECODING = {"not a photo", "a photo that cannot be decoded", "wrong checksum"}
FAULTS = {
    name: kind
    for name, kind in KINDS.items()
    if kind.status != "ok" and not kind.slow and kind.reason not in DECODING | {BOMB}
}
WORTH_ANOTHER = {"truncated", "timed out", "HTTP 429", "HTTP 500", "HTTP 502", "HTTP 503"}
UNSURE = ssl.SSLCertVerificationError()
FOR_ITS_WAIT = {"429-3600", "429-1e9", "429-date-9999", "429-digits"}  # longer than a second


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_says_what_it_is_and_whether_it_may_pass(
    server: Server, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(web_module, "is_public", lambda a: a == "127.0.0.1" or is_public(a))
    with pytest.raises(Fault) as caught:
        Web(FAST).get(f"{server.address}/{name}/7.jpg")
    fault, kind = caught.value, FAULTS[name]
    assert (fault.status, fault.reason, str(fault)) == (kind.status, kind.reason, kind.reason)
    passes = kind.reason in WORTH_ANOTHER or kind.reason.startswith("connection failed")
    assert fault.passing is (passes and name not in FOR_ITS_WAIT)
    waits = {"429": 1.0, "429-3600": 3600.0, "429-1e9": 1e9, "429-digits": math.inf}
    if name != "429-date-9999":
        assert fault.wait == waits.get(name, 0.0)


@pytest.mark.parametrize(
    ("status", "passing"),
    [(201, False), (305, False), (408, True), (425, True), (426, False), (428, False),
     (429, True), (499, False), (500, True), (599, True)],
)  # fmt: skip
def test_which_statuses_may_pass(status: int, passing: bool) -> None:
    head = f"HTTP/1.1 {status} Some\r\nContent-Length: 0\r\nRetry-After: 120\r\n\r\n".encode()
    with answering(head) as url, pytest.raises(Fault, match=f"^HTTP {status}$") as caught:
        Web(Limits(), allow_private=True).get(url)
    assert (caught.value.passing, caught.value.wait) == (passing, 120.0)  # the longest one obeyed


@pytest.mark.parametrize(
    ("error", "status", "reason", "passing"),
    [
        (SSLError(UNSURE), "refused", "a certificate that is not valid", False),
        (SSLError(ssl.SSLError()), "failed", "connection failed (SSLError)", True),
        (UNSURE, "failed", "connection failed (SSLCertVerificationError)", True),
        (ProtocolError("x", IncompleteRead(b"", 2)), "broken", "truncated", True),
        (KeyError("x"), "broken", "an answer that is beyond us (KeyError)", False),
        (ReadTimeoutError(None, "", "x"), "failed", "timed out", True),
        (ConnectTimeoutError(), "failed", "timed out", True),
        (NewConnectionError(None, "x"), "failed", "connection failed (NewConnectionError)", True),
        (TimeoutError(), "failed", "timed out", True),
        (OSError(), "failed", "connection failed (OSError)", True),
    ],
)  # fmt: skip
def test_what_went_wrong_is_told(
    error: Exception, status: str, reason: str, passing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Web, url: str) -> None:
        raise error

    monkeypatch.setattr(Web, "_follow", fail)
    with pytest.raises(Fault) as caught:
        Web(FAST).get("http://photos.example/x.jpg")
    fault = caught.value
    assert (fault.status, fault.reason, fault.passing) == (status, reason, passing)
    assert fault.__cause__ is error and fault.wait == 0


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://", "not an http(s) address"), ("http:///x.jpg", "not an http(s) address"),
        ("photos.example/x.jpg", "not an http(s) address"), ("http://a:b/x", "not an address"),
        ("ftp://photos.example/x", "not an http(s) address"), ("http://[::1", "not an address"),
    ],
)  # fmt: skip
def test_what_is_no_address_is_not_asked(
    url: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = resolves(monkeypatch, "93.184.216.34")
    with pytest.raises(Fault) as caught:
        Web(FAST).get(url)
    assert (caught.value.status, caught.value.reason) == ("refused", reason)
    assert not caught.value.passing and not asked


@pytest.mark.parametrize("error", [socket.gaierror(-2, "unknown"), UnicodeError("label too long")])
def test_a_name_that_nobody_knows_may_be_known_later(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolve(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(Fault) as caught:
        Web(FAST).get("http://photos.example/x.jpg")
    assert (caught.value.status, caught.value.reason) == ("failed", "unknown host")
    assert caught.value.passing and caught.value.__cause__ is error


# ---------------------------------------------------------------------------- requests


@pytest.mark.parametrize(
    ("url", "port"),
    [
        ("http://photos.example/a%20b?c", 80), ("https://photos.example/a%20b?c", 443),
        ("HTTP://photos.example:8080/a%20b?c", 8080), ("http://[2a00::1]/a%20b?c", 80),
    ],
)  # fmt: skip
def test_what_is_asked_and_where(url: str, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[object] = []
    asked: list[object] = []

    def resolve(host: str, port: int, **kwargs: object) -> list[object]:
        looked.append((host, port, kwargs))
        place = (host, port, 0, 0) if ":" in host else ("93.184.216.34", port)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", place)] * 2

    class Stop(Exception):
        pass

    def urlopen(self: object, method: str, path: str, **options: object) -> None:
        asked.append((self.host, self.port, self.scheme, method, path))  # type: ignore[attr-defined]
        asked.append(options)
        raise Stop

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr("urllib3.HTTPConnectionPool.urlopen", urlopen)
    limits = Limits(connect=1.0, read=2.0)
    with pytest.raises(Fault, match="Stop"):
        Web(limits).get(url)
    host = "2a00::1" if "[" in url else "photos.example"
    scheme = "https" if port == 443 else "http"
    place = (host, port, 0, 0) if ":" in host else ("93.184.216.34", port)
    assert looked == [(host, port, {"type": socket.SOCK_STREAM})]
    where, options = asked
    assert where == (host, port, scheme, "GET", "/a%20b?c")
    assert isinstance(options, dict)
    timeout = options.pop("timeout")
    assert (timeout.connect_timeout, timeout.read_timeout) == (1.0, 2.0)
    assert options == {
        "redirect": False, "retries": False, "preload_content": False, "decode_content": False,
        "headers": {"User-Agent": "pscli", "Accept": "*/*", "Accept-Encoding": "identity"},
    }  # fmt: skip
    assert sockets.allowance.addresses == ((socket.AF_INET, place),)
    assert sockets.allowance.room == 1 << 18


def test_each_port_and_host_is_looked_up_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = resolves(monkeypatch, "93.184.216.34")
    web = Web(FAST)
    for host, port in (("a", 80), ("a", 81), ("b", 80), ("a", 80)):
        (address,) = web._resolved(host, port)
        assert address == (socket.AF_INET, ("93.184.216.34", port))
    assert asked == ["a", "a", "b"]


def test_a_body_may_have_what_stands_around_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """An eighth of itself and 64 KiB, and the time that is given for it."""
    monkeypatch.setattr(web_module.time, "monotonic", lambda: 50.0)
    found: list[tuple[float, float, int]] = []
    closed: list[str] = []

    def note(*args: object) -> Iterator[bytes]:
        found.append((sockets.allowance.pause, sockets.allowance.until, sockets.allowance.room))
        yield b"x"

    response = SimpleNamespace(
        close=lambda: closed.append("closed"), release_conn=lambda: closed.append("released")
    )
    monkeypatch.setattr(web_module, "_body", note)

    def follow(self: Web, url: str) -> object:
        found.append((sockets.allowance.pause, sockets.allowance.until, 0))
        return response

    monkeypatch.setattr(Web, "_follow", follow)
    web = Web(Limits(read=2.0, total=7.0, max_bytes=80))
    assert web.get("x") == b"x"
    assert list(web.pieces("x", 800, 9.0)) == [b"x"]
    assert found == [(2.0, 57.0, 0), (2.0, 57.0, 80 + 10 + 65536),
                     (2.0, 57.0, 0), (2.0, 59.0, 800 + 100 + 65536)]  # fmt: skip
    pieces = web.pieces("x", 800)
    next(pieces)
    pieces.close()  # nobody wants the rest
    assert closed == ["released", "released", "closed"]


# ---------------------------------------------------------------------------- lengths


@pytest.mark.parametrize(
    ("length", "outcome"),
    [
        ("10", "whole"), ("9", "whole"), ("11", "truncated"), ("", "whole"), ("0", "whole"),
        ("20", "truncated"), ("21", "more than 20 bytes"), ("9" * 19, "more than 20 bytes"),
        ("9" * 20, "whole"), ("-1", "whole"), ("1e9", "whole"), ("²", "whole"), ("١١", "whole"),
    ],
)  # fmt: skip
def test_the_length_is_what_it_says(
    length: str, outcome: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a body of ten bytes in three pieces, at most 20; what is no length counts for nothing."""
    pieces = iter([b"12345", b"6789", b"0", b""])
    sizes: list[int] = []

    def read(size: int) -> bytes:
        sizes.append(size)
        return next(pieces)

    headers = {"Content-Length": length} if length else {}
    response = SimpleNamespace(
        headers=headers, read1=read, close=lambda: None, release_conn=lambda: None
    )
    monkeypatch.setattr(Web, "_follow", lambda self, url: response)
    web = Web(FAST)
    if outcome == "whole":
        assert web.get("x", 20) == b"1234567890"
        assert sizes == [1 << 16] * 4
        return
    with pytest.raises(Fault, match=f"^{outcome}$") as caught:
        web.get("x", 20)
    truncated = outcome == "truncated"
    assert (caught.value.status, caught.value.passing) == (
        ("broken", True) if truncated else ("refused", False)
    )
    assert bool(sizes) is truncated  # what says that it is too long is not read at all


# ---------------------------------------------------------------------------- Retry-After


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        ("7", 7.0), (None, 0.0), ("", 0.0), ("-3", 0.0), ("soon", 0.0), (" 8 ", 8.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0), ("9" * 5000, math.inf), (str(10**9), 1e9),
        ("Fri, 99 Foo 99:99:99", 0.0), ("nan", 0.0), ("inf", 0.0),
    ],
)  # fmt: skip
def test_retry_after(value: str | None, wait: float) -> None:
    assert seconds(value) == wait


def test_retry_after_as_a_date() -> None:
    assert 28 <= seconds(formatdate(time.time() + 30, usegmt=True)) <= 30
    assert seconds("Fri, 31 Dec 9999 23:59:59 GMT") > 1e11


@given(st.text() | st.from_regex(r"[A-Z][a-z]{2}, \d+ [A-Za-z]{3} \d+ \d+:\d+:\d+ \S*"))
def test_whatever_the_header_says_is_a_number_of_seconds(value: str) -> None:
    assert seconds(value) >= 0


def test_a_host_rests_as_long_as_it_may_and_no_longer() -> None:
    """By hand: 10 seconds in all, none longer than 4, and one more for a photo that came."""
    queue = Queue(iter(()), Limits(max_wait=4.0, max_rest=10.0))
    assert queue.rest("a", 0.0)
    assert not queue.rest("a", 4.1)  # too long: it is not obeyed at all
    assert not queue.rest("a", math.inf)
    assert [queue.rest("a", 4.0) for _ in range(8)] == [True] * 8  # at once: 4 seconds together
    queue._rest["a"] -= 4.0  # these are over
    assert queue.rest("a", 4.0)
    queue._rest["a"] -= 4.0
    assert not queue.rest("a", 3.0)  # 2 are left
    assert queue.rest("b", 3.0)
    queue = Queue(iter([Wanted("x", (Place("http://a/x"),))]), Limits(max_wait=4.0, max_rest=2.5))
    assert queue.take() is not None
    queue.done("a", came=True)
    assert queue.rest("a", 3.0)
