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
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faults import FAST, KINDS, Server, photo_bytes, serving
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
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
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
