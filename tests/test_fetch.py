"""Photos from a server that does everything wrong: what came, what did not, and why."""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image
from typer.testing import CliRunner

import pscli
from pscli.cli import app
from pscli.cli.data import _brush
from pscli.datasets.base import Upstream
from pscli.datasets.jsonl import jsonl
from pscli.datasets.manifest import (
    JOURNAL,
    MANIFEST,
    Entry,
    note_entry,
    read_manifest,
    write_manifest,
)
from pscli.datasets.photochat import photochat
from pscli.errors import ConfigError, DataError
from pscli.fetch import web as web_module
from pscli.fetch.dataset import Options, fetch
from pscli.fetch.fill import placeholder
from pscli.fetch.photos import fetch_photos, image_format
from pscli.fetch.places import Place, Wanted
from pscli.fetch.web import Fault, Limits, Web, is_public, seconds

FAST = Limits(
    jobs=16,
    per_host=16,
    connect=2.0,
    read=1.0,
    total=10.0,
    max_bytes=1 << 18,
    backoff=0.01,
    max_wait=1.0,
)
# fault → (status, reason) that the manifest must show
FAULTS = {
    "404": ("missing", "HTTP 404"),
    "410": ("missing", "HTTP 410"),
    "429-once": ("ok", ""),
    "429": ("failed", "HTTP 429"),
    "429-for-long": ("failed", "HTTP 429"),
    "500-once": ("ok", ""),
    "500": ("failed", "HTTP 500"),
    "stall": ("failed", "timed out"),
    "stall-in-body": ("failed", "timed out"),
    "truncated": ("broken", "truncated"),
    "truncated-once": ("ok", ""),
    "cut-image": ("broken", "a photo that cannot be decoded"),
    "html": ("broken", "not a photo"),
    "wrong-sum": ("broken", "wrong checksum"),
    "endless": ("refused", "more than 262,144 bytes"),
    "large": ("refused", "more than 262,144 bytes"),
    "bomb": ("refused", "more than 64,000,000 pixels"),
    "loop": ("refused", "redirect loop"),
    "far": ("refused", "more than 5 redirects"),
    "moved": ("ok", ""),
    "to-private": ("refused", "private address"),
    "to-loopback-v6": ("refused", "private address"),
    "to-file": ("refused", "not an http(s) address"),
    "taken-down": ("missing", "taken down at its host"),
    "png-named-jpg": ("ok", ""),
}
PERIOD = 400  # of this many photos, the first ones are faulty


def fault_of(number: int) -> str:
    faults = list(FAULTS)
    return faults[number % PERIOD] if number % PERIOD < len(faults) else ""


def photo_bytes(number: int) -> bytes:
    """A small photo of noise, different for every number."""
    noise = np.random.default_rng(number).integers(0, 256, (16, 16, 3), np.uint8)
    data = io.BytesIO()
    kind = "PNG" if fault_of(number) == "png-named-jpg" else "JPEG"
    Image.fromarray(noise).save(data, kind)
    return data.getvalue()


def bomb() -> bytes:
    """The head of a PNG that would take 1.2 GB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(1 << 20))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@dataclass
class Server:
    """The faulty server and what it was asked for."""

    address: str
    asked: Counter[str]
    times: dict[str, list[float]]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_state: Server

    def log_message(self, *args: object) -> None:
        pass

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        state = self.server_state
        times = state.asked[self.path]
        state.asked[self.path] += 1
        state.times.setdefault(self.path, []).append(time.monotonic())
        stem = self.path.rpartition("/")[2].partition(".")[0].partition("-")[0]
        number = int(stem) if stem.isdecimal() else -1
        fault, body = fault_of(number), photo_bytes(max(number, 0))
        try:
            self.fail(fault, body, times)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def fail(self, fault: str, body: bytes, times: int) -> None:
        here = self.server_state.address
        moved = {
            "to-private": "http://10.0.0.1/x.jpg",
            "to-loopback-v6": "http://[::1]/x.jpg",
            "to-file": "file:///etc/passwd",
            "loop": f"{here}{self.path}",
            "far": f"{here}{self.path.replace('.jpg', '-x.jpg')}",
            "taken-down": "https://example.org/photo_unavailable.png",
        }
        if fault in ("404", "410", "500"):
            self.answer(int(fault), b"no")
        elif fault.startswith("429") and (times == 0 or not fault.endswith("once")):
            self.answer(429, b"wait", Retry_After="3600" if "long" in fault else "1")
        elif fault == "500-once" and times == 0:
            self.answer(500)
        elif fault in ("truncated", "truncated-once") and (times == 0 or fault == "truncated"):
            self.answer(200, body[:50], Content_Length=str(len(body)))
            self.close_connection = True
        elif fault.startswith("stall"):
            if fault == "stall-in-body":
                self.answer(200, body[:50], Content_Length=str(len(body)))
            self.wfile.flush()
            time.sleep(3.0)
            self.close_connection = True
        elif fault == "cut-image":
            self.answer(200, body[: len(body) // 2])
        elif fault == "html":
            self.answer(200, b"<html>not here</html>", Content_Type="image/jpeg")
        elif fault == "endless":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            while True:
                self.wfile.write(b"1000\r\n" + bytes(4096) + b"\r\n")
        elif fault == "large":
            self.answer(200, body, Content_Length=str(1 << 40))
            self.close_connection = True
        elif fault == "bomb":
            self.answer(200, bomb())
        elif fault == "moved" and "there" not in self.path:
            self.answer(302, Location=f"{here}/there{self.path}")
        elif fault in moved:
            self.answer(302, Location=moved[fault])
        else:
            self.answer(200, body)


@pytest.fixture
def server() -> Iterator[Server]:
    class Own(Handler):
        pass

    class Quiet(http.server.ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, *args: object) -> None:
            pass

    listening = Quiet(("127.0.0.1", 0), Own)
    state = Server(f"http://127.0.0.1:{listening.server_port}", Counter(), {})
    Own.server_state = state
    threading.Thread(target=listening.serve_forever, args=(0.05,), daemon=True).start()
    yield state
    listening.shutdown()
    listening.server_close()


@pytest.fixture
def loopback_is_public(monkeypatch: pytest.MonkeyPatch) -> None:
    """127.0.0.1 stands for the internet, so that redirects to other private hosts are seen."""
    whole = is_public
    monkeypatch.setattr(web_module, "is_public", lambda a: a == "127.0.0.1" or whole(a))


@contextmanager
def silent(title: str, total: int) -> Iterator[object]:
    yield lambda count: None


def write_dialogues(folder: Path, address: str, numbers: range) -> Path:
    """One dialogue per photo, in our own format."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "test.jsonl").open("w") as file:
        for number in numbers:
            sha256 = hashlib.sha256(photo_bytes(number)).hexdigest()
            if fault_of(number) == "wrong-sum":
                sha256 = "0" * 64
            photo = {"path": f"photos/{number}.jpg", "url": f"{address}/{number}.jpg"}
            if fault_of(number) == "wrong-sum" or (number % 2 and fault_of(number) != "cut-image"):
                photo["sha256"] = sha256
            turns = [{"speaker": "A", "text": "Look"}, {"speaker": "B", "photo": photo}]
            file.write(json.dumps({"id": str(number), "turns": turns}) + "\n")
    return folder


def expected(number: int) -> tuple[str, str]:
    return FAULTS.get(fault_of(number), ("ok", ""))


SCRIPT = """if True:
    import sys
    from pathlib import Path
    from contextlib import contextmanager
    from pscli.fetch import web
    from pscli.fetch.dataset import Options, fetch
    from pscli.datasets.jsonl import jsonl
    whole = web.is_public
    web.is_public = lambda a: a == "127.0.0.1" or whole(a)
    limits = web.Limits(jobs=16, per_host=16, connect=2.0, read=1.0, total=10.0,
                        max_bytes=1 << 18, backoff=0.01, max_wait=1.0)
    @contextmanager
    def silent(title, total):
        yield lambda count: None
    fetch(jsonl(), Path(sys.argv[2]), ["test"], silent, Options(sys.argv[1], limits=limits))
"""


def start(origin: Path, out: Path) -> subprocess.Popen[bytes]:
    env = os.environ | {"PYTHONPATH": str(Path(pscli.__file__).parents[1])}
    return subprocess.Popen([sys.executable, "-c", SCRIPT, str(origin), str(out)], env=env)


def journal_lines(out: Path) -> int:
    path = out / JOURNAL
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def test_two_thousand_photos_three_kills_and_a_second_run(server: Server, tmp_path: Path) -> None:
    size = 2000
    origin = write_dialogues(tmp_path / "origin", server.address, range(size))
    assert start(origin, tmp_path / "whole").wait() == 0
    server.asked.clear()
    killed = tmp_path / "killed"
    for share in (0.1, 0.4, 0.7):
        process = start(origin, killed)
        while journal_lines(killed) < share * size:
            assert process.poll() is None, "it was done before it could be killed"
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not (killed / MANIFEST).exists()
    assert start(origin, killed).wait() == 0
    assert (killed / MANIFEST).read_bytes() == (tmp_path / "whole" / MANIFEST).read_bytes()
    assert not (killed / JOURNAL).exists()
    entries = read_manifest(killed)
    assert len(entries) == size
    wrong = {
        (fault_of(n), found, expected(n))
        for n in range(size)
        for entry in [entries[f"photos/{n}.jpg"]]
        if (found := (entry.status, entry.reason)) != expected(n)
    }
    assert not wrong
    for number in range(size):
        path, entry = killed / f"photos/{number}.jpg", entries[f"photos/{number}.jpg"]
        if entry.status == "ok":
            data = photo_bytes(number)
            assert path.read_bytes() == data
            assert entry.sha256 == hashlib.sha256(data).hexdigest()
            assert (entry.size, entry.provenance) == (len(data), "original")
        else:
            assert not path.exists()
    left = {p.name for p in killed.iterdir()} - {"photos", "test.jsonl", MANIFEST, "dataset.json"}
    assert not left
    server.asked.clear()
    before = (killed / MANIFEST).read_bytes()
    assert start(origin, killed).wait() == 0
    assert not server.asked
    assert (killed / MANIFEST).read_bytes() == before


def one(server: Server, folder: Path, number: int, **options: object) -> Entry:
    """What the manifest says after fetching a single photo."""
    url = f"{server.address}/{number}.jpg"
    wanted = Wanted("photos/x.jpg", (Place(url),), (url,))
    web = Web(FAST, allow_private=bool(options.get("allow_private")))
    return fetch_photos([wanted], folder, web, lambda count: None)["photos/x.jpg"]


def test_private_addresses_are_refused_unless_allowed(server: Server, tmp_path: Path) -> None:
    assert one(server, tmp_path / "a", 199).reason == "private address"
    assert not server.asked
    assert one(server, tmp_path / "b", 199, allow_private=True).status == "ok"


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),  # where clouds keep their credentials
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fc00::1", False),
        ("::ffff:127.0.0.1", False),
        ("64:ff9b::a00:1", False),  # NAT64 of 10.0.0.1
        ("2002:7f00:1::", False),  # 6to4 of 127.0.0.1
    ],
)
def test_what_belongs_to_the_open_internet(address: str, public: bool) -> None:
    assert is_public(address) is public


def test_the_address_that_was_checked_is_the_one_that_is_asked(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that resolves to a public address first and to a private one later gains nothing."""
    looked_up: list[str] = []
    port = int(server.address.rpartition(":")[2])

    def resolve(host: str, port: int, *args: object, **kwargs: object) -> list[object]:
        named = not host[0].isdigit()
        looked_up.extend([host] * named)
        address = ("127.0.0.1" if len(looked_up) == 1 else "10.0.0.1") if named else host
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(web_module, "is_public", lambda a: a == "127.0.0.1")
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    web = Web(FAST)
    for _ in range(2):
        assert web.get(f"http://photos.example:{port}/199.jpg") == photo_bytes(199)
    assert looked_up == ["photos.example"]


def test_a_host_that_says_when_is_left_alone_until_then(
    server: Server, tmp_path: Path, loopback_is_public: None
) -> None:
    number = list(FAULTS).index("429-once")
    assert one(server, tmp_path, number).status == "ok"
    first, second = server.times[f"/{number}.jpg"]
    assert second - first >= 1.0


@pytest.mark.parametrize(
    ("value", "wait"),
    [("7", 7.0), (None, 0.0), ("-3", 0.0), ("soon", 0.0), ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0)],
)
def test_retry_after(value: str | None, wait: float) -> None:
    assert seconds(value) == wait


def test_retry_after_as_a_date() -> None:
    from email.utils import formatdate

    assert 28 <= seconds(formatdate(time.time() + 30, usegmt=True)) <= 30


def test_no_more_than_a_few_at_once_from_one_host(
    server: Server, tmp_path: Path, loopback_is_public: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once, most, lock = 0, 0, threading.Lock()
    whole = Web.get

    def get(self: Web, url: str) -> bytes:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        try:
            time.sleep(0.01)
            return whole(self, url)
        finally:
            with lock:
                at_once -= 1

    monkeypatch.setattr(Web, "get", get)
    urls = [f"{server.address}/{n}.jpg" for n in range(100, 140)]
    photos = [Wanted(f"photos/{i}.jpg", (Place(url),), (url,)) for i, url in enumerate(urls)]
    fetch_photos(photos, tmp_path, Web(Limits(jobs=16, per_host=3)), lambda count: None)
    assert most == 3


def test_the_next_address_is_asked_when_the_first_has_nothing(
    server: Server, tmp_path: Path, loopback_is_public: None
) -> None:
    gone, good = f"{server.address}/0.jpg", f"{server.address}/150.jpg"
    places = (Place(gone), Place(good, "mirror"))
    found = fetch_photos(
        [Wanted("photos/x.jpg", places, (gone, good))], tmp_path, Web(FAST), lambda count: None
    )["photos/x.jpg"]
    assert (found.status, found.provenance, found.source) == ("ok", "mirror", good)
    assert (tmp_path / "photos/x.jpg").read_bytes() == photo_bytes(150)


def test_photos_that_did_not_come_are_asked_for_again_on_demand(
    server: Server, tmp_path: Path, loopback_is_public: None
) -> None:
    origin = write_dialogues(tmp_path / "o", server.address, range(0, 1))
    options = Options(str(origin), limits=FAST)
    assert fetch(jsonl(), tmp_path / "d", ["test"], silent, options).statuses == {"missing": 1}
    fetch(jsonl(), tmp_path / "d", ["test"], silent, options)
    assert server.asked["/0.jpg"] == 1
    again = Options(str(origin), limits=FAST, retry=True)
    fetch(jsonl(), tmp_path / "d", ["test"], silent, again)
    assert server.asked["/0.jpg"] == 2


def test_a_photo_that_was_deleted_or_cut_is_brought_again(
    server: Server, tmp_path: Path, loopback_is_public: None
) -> None:
    origin = write_dialogues(tmp_path / "o", server.address, range(150, 153))
    options = Options(str(origin), limits=FAST)
    fetch(jsonl(), tmp_path / "d", ["test"], silent, options)
    (tmp_path / "d/photos/150.jpg").unlink()
    (tmp_path / "d/photos/151.jpg").write_bytes(b"cut")
    server.asked.clear()
    fetch(jsonl(), tmp_path / "d", ["test"], silent, options)
    assert set(server.asked) == {"/150.jpg", "/151.jpg"}
    assert (tmp_path / "d/photos/151.jpg").read_bytes() == photo_bytes(151)


def test_what_nobody_has_is_filled_in_and_flagged(
    server: Server, tmp_path: Path, loopback_is_public: None
) -> None:
    origin = write_dialogues(tmp_path / "o", server.address, range(0, 1))
    fill = Options(str(origin), missing="placeholder", limits=FAST)
    assert fetch(jsonl(), tmp_path / "p", ["test"], silent, fill).statuses == {"placeholder": 1}
    (entry,) = read_manifest(tmp_path / "p").values()
    assert (entry.provenance, entry.reason) == ("synthetic:placeholder", "HTTP 404")
    assert Image.open(tmp_path / "p" / entry.path).tobytes() == placeholder().tobytes()
    drawn: list[tuple[str, int]] = []

    def draw(caption: str, seed: int) -> Image.Image:
        drawn.append((caption, seed))
        return Image.new("RGB", (8, 8), "red")

    made = Options(str(origin), missing="synthesise", limits=FAST, draw=draw, model="brush")
    for _ in range(2):
        found = fetch(jsonl(), tmp_path / "s", ["test"], silent, made)
        assert found.statuses == {"synthetic": 1}
    assert len(drawn) == 1
    (entry,) = read_manifest(tmp_path / "s").values()
    assert entry.provenance == "synthetic:brush"
    assert Image.open(tmp_path / "s" / entry.path).getpixel((0, 0)) == (255, 0, 0)


def test_two_fetches_do_not_write_to_one_folder(tmp_path: Path) -> None:
    origin = write_dialogues(tmp_path / "o", "http://10.0.0.1", range(1))
    options = Options(str(origin), photos=False)
    with FileLock(tmp_path / ".d.lock"), pytest.raises(DataError, match="Another process"):
        fetch(jsonl(), tmp_path / "d", ["test"], silent, options)
    assert not (tmp_path / "d").exists()
    assert fetch(jsonl(), tmp_path / "d", ["test"], silent, options).dialogues == {"test": 1}


def test_filled_in_photos_are_known_when_the_dataset_is_read(
    server: Server, tmp_path: Path, loopback_is_public: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Drawn by the shipped generator, as `--missing synthesise` does."""
    monkeypatch.setenv("PSCLI_DATA", str(tmp_path))
    origin = write_dialogues(tmp_path / "o", server.address, range(1))
    options = Options(str(origin), missing="synthesise", limits=FAST, draw=_brush(), model="own")
    fetch(jsonl(), tmp_path / "jsonl", ["test"], silent, options)
    (dialogue,) = jsonl().load("test")
    (photo,) = dialogue.photos
    assert photo.filled == "synthetic:own"
    assert photo.open().size == (64, 64)
    assert len(photo.open().getcolors(4096)) > 30  # something was drawn


def test_a_mirror_serves_dialogues_photos_and_their_checksums(
    tmp_path: Path, loopback_is_public: None
) -> None:
    origin = tmp_path / "mirror"
    (origin / "photos").mkdir(parents=True)
    for number in (150, 151):
        (origin / f"photos/{number}.jpg").write_bytes(photo_bytes(number))
    write_dialogues(origin, "http://10.0.0.1", range(150, 153))
    lines = [
        Entry(f"photos/{n}.jpg", "ok", sha256=hashlib.sha256(photo_bytes(150)).hexdigest())
        for n in (150, 151)
    ]
    write_manifest(origin, {entry.path: entry for entry in lines})
    local = fetch(jsonl(), tmp_path / "l", ["test"], silent, Options(str(origin), limits=FAST))
    assert local.statuses == {"ok": 2, "refused": 1}
    assert read_manifest(tmp_path / "l")["photos/150.jpg"].provenance == "mirror"

    class Files(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(origin))  # type: ignore[arg-type]

        def log_message(self, *args: object) -> None:
            pass

    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files)
    threading.Thread(target=listening.serve_forever, args=(0.05,), daemon=True).start()
    address = f"http://127.0.0.1:{listening.server_port}"
    corpus = photochat()
    named = Upstream("test.jsonl", "test", "http://10.0.0.1/test.jsonl")
    from dataclasses import replace

    ours = replace(jsonl(), upstream=(named,))
    got = fetch(ours, tmp_path / "w", ["test"], silent, Options(address, limits=FAST))
    listening.shutdown()
    listening.server_close()
    entries = read_manifest(tmp_path / "w")
    assert got.statuses == {"ok": 1, "refused": 2}
    assert entries["photos/150.jpg"].provenance == "mirror"
    assert "wrong checksum" in entries["photos/151.jpg"].reason  # the manifest says 150's
    assert corpus.upstream[0].sha256


def test_dialogues_with_a_wrong_checksum_are_refused(
    server: Server, tmp_path: Path, loopback_is_public: None
) -> None:
    from dataclasses import replace

    wrong = Upstream("test.jsonl", "test", f"{server.address}/150.jpg", "0" * 64)
    corpus = replace(jsonl(), upstream=(wrong,))
    with pytest.raises(DataError, match=r"could not be fetched: its sha256 is [0-9a-f]{64}, not 0"):
        fetch(corpus, tmp_path / "d", ["test"], silent, Options(limits=FAST))
    assert not (tmp_path / "d" / "test.jsonl").exists()


def test_a_dataset_that_may_not_be_shared_needs_a_folder(tmp_path: Path) -> None:
    from pscli.datasets.mmdialog import mmdialog

    with pytest.raises(ConfigError, match="cannot be downloaded"):
        fetch(mmdialog(), tmp_path / "d", ["test"], silent, Options(limits=FAST))


def test_a_folder_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").touch()
    for overwrite in (False, True):
        with pytest.raises(DataError, match=r"exists already|no dataset"):
            fetch(photochat(), tmp_path / "mine", ["dev"], silent, Options(overwrite=overwrite))
    assert (tmp_path / "mine/thesis.txt").is_file()


def test_a_journal_cut_in_the_middle_of_a_line_is_mended(tmp_path: Path) -> None:
    good = Entry("photos/a.jpg", "missing", "HTTP 404")
    note_entry(tmp_path, good)
    with (tmp_path / JOURNAL).open("ab") as journal:
        journal.write(b'{"path": "photos/b')
    assert read_manifest(tmp_path) == {"photos/a.jpg": good}
    note_entry(tmp_path, Entry("photos/c.jpg", "missing", "HTTP 404"))
    assert list(read_manifest(tmp_path)) == ["photos/a.jpg", "photos/c.jpg"]


@pytest.mark.parametrize(
    "line", ["{}", '{"path": [], "status": "ok"}', '{"path": "a", "status": "ok", "size": "1"}']
)
def test_a_broken_manifest_is_named(tmp_path: Path, line: str) -> None:
    write_manifest(tmp_path, {"a": Entry("a", "ok")})
    with (tmp_path / MANIFEST).open("a") as file:
        file.write(line + "\n")
    with pytest.raises(DataError, match=r"manifest\.jsonl, line 2 is no manifest entry"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("data", [b"", b"GIF89a", bytes(100), b"%PDF-1.4", b"\xff\xd8\xff" * 9])
def test_what_is_no_photo_is_a_fault(data: bytes) -> None:
    with pytest.raises(Fault) as caught:
        image_format(data)
    assert caught.value.status == "broken"


def test_the_command_tells_licence_and_gaps(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_dialogues(tmp_path / "o", server.address, range(150, 152))
    args = ["fetch", "jsonl", "--split", "test", "--from", "o", "--out", "d"]
    first = CliRunner().invoke(app, args)
    assert first.exit_code == 0, first.output
    assert "Licence of jsonl" in first.stdout
    assert "photos: 2 refused\n  2 × private address" in first.stdout
    again = CliRunner().invoke(app, [*args, "--retry", "--allow-private-hosts"])
    assert "Licence" not in again.stdout
    assert "photos: 2 ok\n" in again.stdout
