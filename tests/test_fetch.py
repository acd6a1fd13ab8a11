"""Datasets from a server that does everything wrong: what came, what did not, and why."""

from __future__ import annotations

import errno
import hashlib
import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock
from PIL import Image
from typer.testing import CliRunner

import pscli
from faults import FAST, KINDS, Server, photo_bytes, serving
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
from pscli.fetch import dataset as door
from pscli.fetch import fill as fill_module
from pscli.fetch import names as names_module
from pscli.fetch import photos as photos_module
from pscli.fetch import web as web_module
from pscli.fetch.addresses import is_public
from pscli.fetch.dataset import Options, fetch
from pscli.fetch.fill import placeholder
from pscli.fetch.photos import fetch_photos
from pscli.fetch.places import Place, Wanted
from pscli.fetch.web import Limits, Web
from serving import address

QUICK = [name for name, kind in KINDS.items() if not kind.slow and "stall" not in name]
OPTIONS = Options(limits=FAST)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as state:
        yield state


@pytest.fixture
def loopback_is_public(monkeypatch: pytest.MonkeyPatch) -> None:
    """127.0.0.1 stands for the internet, so that redirects to other private hosts are seen."""
    whole = is_public
    monkeypatch.setattr(web_module, "is_public", lambda a: a == "127.0.0.1" or whole(a))


@contextmanager
def silent(title: str, total: int) -> Iterator[Callable[[int], None]]:
    yield lambda count: None


def lines(address: str, kinds: list[str], first: int = 0) -> str:
    """A dialogue for each kind of photo, in our own format; numbers go on from `first`."""
    found = []
    for number, kind in enumerate(kinds, start=first):
        photo = {"path": f"photos/{number}.jpg", "url": f"{address}/{kind}/{number}.jpg"}
        if kind == "wrong-sum":
            photo["sha256"] = "0" * 64
        elif kind == "good" and number % 2:
            photo["sha256"] = hashlib.sha256(photo_bytes(number)).hexdigest()
        turns = [{"speaker": "A", "text": "Look"}, {"speaker": "B", "photo": photo}]
        found.append(json.dumps({"id": str(number), "turns": turns}) + "\n")
    return "".join(found)


def write_dialogues(folder: Path, address: str, kinds: list[str], first: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "test.jsonl").write_text(lines(address, kinds, first))
    return folder


def wrong(entries: dict[str, Entry], kinds: list[str]) -> set[tuple[str, str, str]]:
    """Kinds of which the manifest says something else than it should."""
    found = ((kind, entries[f"photos/{number}.jpg"]) for number, kind in enumerate(kinds))
    return {
        (kind, entry.status, entry.reason)
        for kind, entry in found
        if (entry.status, entry.reason) != (KINDS[kind].status, KINDS[kind].reason)
    }


# ---------------------------------------------------------------------------- the faulty server

SCRIPT = """if True:
    import json, sys, time
    from contextlib import contextmanager
    from dataclasses import replace
    from pathlib import Path
    from PIL import Image
    from faults import FAST
    from pscli.datasets.base import Upstream
    from pscli.datasets.jsonl import jsonl
    from pscli.fetch import web
    from pscli.fetch.dataset import Options, fetch
    whole = web.is_public
    web.is_public = lambda a: a == "127.0.0.1" or whole(a)
    address, out, files, missing = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    @contextmanager
    def silent(title, total):
        yield lambda count: None
    def draw(caption, seed):
        time.sleep(0.01)
        return Image.new("RGB", (8, 8), (seed % 256, 0, 0))
    def high(name):
        return int(Path("/proc/self/status").read_text().split(name)[1].split()[0]) / 1024
    names = [f"test_{number:02d}.jsonl" for number in range(files)]
    upstream = tuple(Upstream(name, "test", f"{address}/files/{name}") for name in names)
    options = Options(limits=FAST, missing=missing, draw=draw, model="brush")
    start, base = time.monotonic(), high("VmRSS:")
    fetch(replace(jsonl(), upstream=upstream), out, ["test"], silent, options)
    print(json.dumps({"seconds": time.monotonic() - start, "mb": high("VmHWM:") - base}))
"""


def start(server: Server, out: Path, files: int, missing: str = "skip") -> subprocess.Popen[bytes]:
    """Fetches, in a process of its own, what the server publishes as `test_NN.jsonl`."""
    paths = [str(Path(pscli.__file__).parents[1]), str(Path(__file__).parent)]
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, server.address, str(out), str(files), missing],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        stdout=subprocess.PIPE,
    )


def finish(process: subprocess.Popen[bytes]) -> dict[str, float]:
    told, _ = process.communicate()
    assert process.returncode == 0
    return json.loads(told)


def publish(server: Server, kinds: list[str], files: int) -> None:
    size = -(-len(kinds) // files)
    for file in range(files):
        some = kinds[file * size : (file + 1) * size]
        text = lines(server.address, some, file * size)
        server.files[f"/files/test_{file:02d}.jsonl"] = text.encode()


def count(path: Path, text: bytes = b"\n") -> int:
    return path.read_bytes().count(text) if path.is_file() else 0


def test_every_kind_of_fault_is_settled_in_time_and_in_little_memory(
    server: Server, tmp_path: Path
) -> None:
    kinds = [*KINDS, *["good"] * 100]
    assert len(KINDS) >= 100
    publish(server, kinds, 1)
    told = finish(start(server, tmp_path / "d", 1))
    entries = read_manifest(tmp_path / "d")
    assert wrong(entries, kinds) == set()
    dripped = {name for name, kind in KINDS.items() if kind.slow}
    slow: list[float] = []
    patience = time.monotonic() + 20
    while len(slow) < 7 and time.monotonic() < patience:  # the server hears later that all is over
        time.sleep(0.05)
        slow = [s for path, s in server.lasted.items() if path.split("/")[1] in dripped]
    assert len(slow) >= 7
    assert max(slow) <= FAST.total + 1
    assert told["seconds"] < 20
    assert told["mb"] < 150
    for number, kind in enumerate(kinds):
        path, entry = tmp_path / f"d/photos/{number}.jpg", entries[f"photos/{number}.jpg"]
        if entry.status != "ok":
            assert not path.exists()
            continue
        assert entry.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        assert (entry.size, entry.provenance) == (path.stat().st_size, "original")
        if kind in ("good", "chunked", "moved", "429-once", "no-length", "truncated-once"):
            assert path.read_bytes() == photo_bytes(number)


def test_three_kills_in_every_stage_change_nothing(server: Server, tmp_path: Path) -> None:
    """Dialogues, photos and filling in: the same bytes as of a fetch that nobody stopped."""
    kinds, files = [*(kind for kind in QUICK if kind != "429"), *["good"] * 80], 6
    publish(server, kinds, files)
    server.pause = 0.1  # before a file of dialogues
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    finish(start(server, whole, files, "synthesise"))
    server.asked.clear()

    def dialogues() -> float:
        begun = any(killed.glob(".test_*"))  # the first one is on its way
        return len(list(killed.glob("test_*.jsonl"))) + 0.5 * begun

    def settled() -> int:
        return count(killed / JOURNAL) if not (killed / MANIFEST).exists() else 0

    def filled() -> int:
        return sum(count(killed / name, b'"synthetic"') for name in (MANIFEST, JOURNAL))

    gaps = sum(KINDS[kind].status != "ok" for kind in kinds)
    stages = [(dialogues, files), (settled, len(kinds)), (filled, gaps)]
    for progress, most in stages:
        for share in (0.01, 0.4, 0.7):
            process = start(server, killed, files, "synthesise")
            while progress() < share * most:
                assert process.poll() is None, "it was done before it could be killed"
                time.sleep(0.002)
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert progress() < most
    finish(start(server, killed, files, "synthesise"))
    assert all(server.asked[path] <= 2 for path in server.files)  # what was there stayed
    before = (whole / MANIFEST).read_bytes()
    assert (killed / MANIFEST).read_bytes() == before
    found = {p.relative_to(killed): p.read_bytes() for p in killed.rglob("*") if p.is_file()}
    assert found == {p.relative_to(whole): p.read_bytes() for p in whole.rglob("*") if p.is_file()}
    server.asked.clear()
    finish(start(server, killed, files, "synthesise"))
    assert not server.asked
    assert (killed / MANIFEST).read_bytes() == before


@pytest.mark.slow
def test_two_thousand_photos_of_all_kinds_and_three_kills(server: Server, tmp_path: Path) -> None:
    kinds = [kind for kind in KINDS for _ in range(5)]
    kinds += ["good"] * (2000 - len(kinds))
    publish(server, kinds, 1)
    told = finish(start(server, tmp_path / "whole", 1))
    assert told["mb"] < 200
    killed = tmp_path / "killed"
    for share in (0.1, 0.4, 0.7):
        process = start(server, killed, 1)
        while count(killed / JOURNAL) < share * len(kinds):
            assert process.poll() is None, "it was done before it could be killed"
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
    finish(start(server, killed, 1))
    assert wrong(read_manifest(killed), kinds) == set()
    assert (killed / MANIFEST).read_bytes() == (tmp_path / "whole" / MANIFEST).read_bytes()


def one(server: Server, folder: Path, kind: str, **options: object) -> Entry:
    """What the manifest says after fetching a single photo."""
    url = f"{server.address}/{kind}/7.jpg"
    wanted = Wanted("photos/x.jpg", (Place(url),), (url,))
    web = Web(FAST, allow_private=bool(options.get("allow_private")))
    return fetch_photos([wanted], folder, web, lambda count: None)["photos/x.jpg"]


def test_private_addresses_are_refused_unless_allowed(server: Server, tmp_path: Path) -> None:
    assert one(server, tmp_path / "a", "good").reason == "private address"
    assert not server.asked
    assert one(server, tmp_path / "b", "good", allow_private=True).status == "ok"


def test_a_host_that_says_when_is_left_alone_until_then(
    server: Server, tmp_path: Path, loopback_is_public: None
) -> None:
    assert one(server, tmp_path, "429-once").status == "ok"
    first, second = server.times["/429-once/7.jpg"]
    assert second - first >= 1.0


def test_an_absurd_retry_after_keeps_nobody_else_waiting(
    server: Server, tmp_path: Path, loopback_is_public: None
) -> None:
    absurd = [kind for kind in QUICK if kind.startswith("429-") and kind != "429-once"]
    origin = write_dialogues(tmp_path / "o", server.address, [*absurd, *["good"] * 40])
    begun = time.monotonic()
    found = fetch(jsonl(), tmp_path / "d", None, silent, Options(str(origin), limits=FAST))
    assert found.statuses == {"failed": len(absurd), "ok": 40}
    assert time.monotonic() - begun < 1.0


def test_every_fault_belongs_to_its_photo(
    server: Server,
    tmp_path: Path,
    loopback_is_public: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever is raised on the way, but by the disk, ends the photo and not the run."""

    def fail(path: Path) -> str:
        if photo_bytes(1) == path.read_bytes():
            raise RecursionError
        return "JPEG"

    monkeypatch.setattr(photos_module, "image_format", fail)
    origin = write_dialogues(tmp_path / "o", server.address, ["good"] * 3)
    options = Options(str(origin), limits=FAST)
    assert fetch(jsonl(), tmp_path / "d", None, silent, options).statuses == {"ok": 2, "broken": 1}
    entry = read_manifest(tmp_path / "d")["photos/1.jpg"]
    assert entry.reason == "an answer that is beyond us (RecursionError)"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_full_disk_ends_the_run_and_the_next_one_goes_on(
    server: Server,
    tmp_path: Path,
    loopback_is_public: None,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    whole = photos_module.image_format
    origin = write_dialogues(tmp_path / "o", server.address, ["good"] * 30)
    options = Options(str(origin), limits=replace(FAST, jobs=1))
    calls = []

    def full(path: Path) -> str:
        calls.append(path)
        if len(calls) == 20:
            raise OSError(number, os.strerror(number))
        return whole(path)

    monkeypatch.setattr(photos_module, "image_format", full)
    with pytest.raises(OSError, match=os.strerror(number)):
        fetch(jsonl(), tmp_path / "d", None, silent, options)
    assert fetch(jsonl(), tmp_path / "d", None, silent, options).statuses == {"ok": 30}
    assert len(calls) == 31


def test_a_path_that_is_a_file_and_a_folder_fails_alone(
    server: Server, tmp_path: Path, loopback_is_public: None
) -> None:
    paths = ["photos/a.jpg", "photos/a.jpg/b.jpg", "photos/c/d.jpg", "photos/c", "test.jsonl/e.jpg"]
    address = f"{server.address}/good/1.jpg"
    photos = [Wanted(path, (Place(address),), (address,)) for path in paths]
    (tmp_path / "test.jsonl").touch()
    entries = fetch_photos(photos, tmp_path, Web(FAST), lambda count: None)
    assert {path: entries[path].status for path in paths} == {
        "photos/a.jpg": "ok",
        "photos/a.jpg/b.jpg": "refused",
        "photos/c/d.jpg": "ok",
        "photos/c": "refused",
        "test.jsonl/e.jpg": "refused",
    }
    assert entries["photos/a.jpg/b.jpg"].reason == "its name clashes with photos/a.jpg"
    assert entries["test.jsonl/e.jpg"].reason == "a file that cannot be written (File exists)"


def test_odd_addresses_are_faults_of_their_photos(
    tmp_path: Path, server: Server, loopback_is_public: None
) -> None:
    odd = [
        "http://[", "http://[::1/x", "http://a b/x", "http://" + "a" * 300 + ".example/x",
        "http://user:pass@/x", "http://exa\u2100mple/x", "http://:80/x", "http://..../x",
        "http://127.0.0.1:x/y", "https://", "http://\u0660/x",
    ]  # fmt: skip
    photos = [Wanted(f"photos/{i}.jpg", (Place(u),), (u,)) for i, u in enumerate(odd)]
    entries = fetch_photos(photos, tmp_path, Web(FAST), lambda count: None)
    assert {entry.status for entry in entries.values()} <= {"refused", "failed"}
    assert not [e.reason for e in entries.values() if "beyond us" in e.reason]


# ---------------------------------------------------------------------------- the same command


def test_no_more_than_a_few_at_once_from_one_host(
    server: Server, tmp_path: Path, loopback_is_public: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once, most, lock = 0, 0, threading.Lock()
    whole = Web.pieces

    def pieces(self: Web, url: str, max_bytes: int) -> Iterator[bytes]:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        try:
            time.sleep(0.01)
            yield from whole(self, url, max_bytes)
        finally:
            with lock:
                at_once -= 1

    monkeypatch.setattr(Web, "pieces", pieces)
    urls = [f"{server.address}/good/{n}.jpg" for n in range(40)]
    photos = [Wanted(f"photos/{i}.jpg", (Place(url),), (url,)) for i, url in enumerate(urls)]
    fetch_photos(photos, tmp_path, Web(Limits(jobs=16, per_host=3)), lambda count: None)
    assert most == 3


def test_the_next_address_is_asked_when_the_first_has_nothing(
    server: Server, tmp_path: Path, loopback_is_public: None
) -> None:
    gone, good = f"{server.address}/404/0.jpg", f"{server.address}/good/150.jpg"
    places = (Place(gone), Place(good, "mirror"))
    found = fetch_photos(
        [Wanted("photos/x.jpg", places, (gone, good))], tmp_path, Web(FAST), lambda count: None
    )["photos/x.jpg"]
    assert (found.status, found.provenance, found.source) == ("ok", "mirror", good)
    assert (tmp_path / "photos/x.jpg").read_bytes() == photo_bytes(150)


def test_photos_that_did_not_come_are_asked_for_again_on_demand(
    server: Server, tmp_path: Path, loopback_is_public: None
) -> None:
    origin = write_dialogues(tmp_path / "o", server.address, ["404"])
    options = Options(str(origin), limits=FAST)
    assert fetch(jsonl(), tmp_path / "d", ["test"], silent, options).statuses == {"missing": 1}
    fetch(jsonl(), tmp_path / "d", ["test"], silent, options)
    assert server.asked["/404/0.jpg"] == 1
    again = Options(str(origin), limits=FAST, retry=True)
    fetch(jsonl(), tmp_path / "d", ["test"], silent, again)
    assert server.asked["/404/0.jpg"] == 2


def test_a_photo_that_was_deleted_or_cut_is_brought_again(
    server: Server, tmp_path: Path, loopback_is_public: None
) -> None:
    origin = write_dialogues(tmp_path / "o", server.address, ["good"] * 3, 150)
    options = Options(str(origin), limits=FAST)
    fetch(jsonl(), tmp_path / "d", ["test"], silent, options)
    (tmp_path / "d/photos/150.jpg").unlink()
    (tmp_path / "d/photos/151.jpg").write_bytes(b"cut")
    server.asked.clear()
    fetch(jsonl(), tmp_path / "d", ["test"], silent, options)
    assert set(server.asked) == {"/good/150.jpg", "/good/151.jpg"}
    assert (tmp_path / "d/photos/151.jpg").read_bytes() == photo_bytes(151)


def test_what_nobody_has_is_filled_in_and_flagged(
    server: Server, tmp_path: Path, loopback_is_public: None
) -> None:
    origin = write_dialogues(tmp_path / "o", server.address, ["404"])
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


def test_what_no_folder_can_hold_is_not_filled_in(
    server: Server, tmp_path: Path, loopback_is_public: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on macOS: one name clashes, one file is where a folder is to be, one is of dialogues."""
    monkeypatch.setattr(names_module, "folds_names", lambda folder: True)
    long = f"photos/{'x' * 251}.jpg"
    wanted = {
        "photos/A.jpg": ("good", "ok"),
        "photos/a.jpg": ("404", "refused"),
        "photos/A.jpg/b.jpg": ("404", "refused"),
        "test.jsonl/c.jpg": ("404", "refused"),
        long: ("404", "placeholder"),
    }
    turns = [
        {"speaker": "A", "photo": {"path": path, "url": f"{server.address}/{kind}/7.jpg"}}
        for path, (kind, _) in wanted.items()
    ]
    (tmp_path / "o").mkdir()
    (tmp_path / "o/test.jsonl").write_text(json.dumps({"id": "d", "turns": turns}))
    fill = Options(str(tmp_path / "o"), missing="placeholder", limits=FAST)
    for _ in range(2):
        fetch(jsonl(), tmp_path / "d", None, silent, fill)
        entries = read_manifest(tmp_path / "d")
        assert {path: entry.status for path, entry in entries.items()} == {
            path: status for path, (_, status) in wanted.items()
        }
    assert (tmp_path / "d/photos/A.jpg").read_bytes() == photo_bytes(7)
    found = sorted(p.name for p in (tmp_path / "d").rglob("*") if p.is_file())
    assert found == ["A.jpg", "dataset.json", "manifest.jsonl", "test.jsonl", f"{'x' * 251}.jpg"]
    (tmp_path / "o/test.jsonl").unlink()  # another split, which does not know of A.jpg
    (tmp_path / "o/dev.jsonl").write_text(json.dumps({"id": "e", "turns": turns[1:2]}))
    fetch(jsonl(), tmp_path / "d", ["dev"], silent, fill)
    assert (tmp_path / "d/photos/A.jpg").read_bytes() == photo_bytes(7)
    assert read_manifest(tmp_path / "d")["photos/a.jpg"].status == "refused"


def test_a_full_disk_ends_filling_in(
    server: Server, tmp_path: Path, loopback_is_public: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **named: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    origin = write_dialogues(tmp_path / "o", server.address, ["404"])
    monkeypatch.setattr(fill_module, "replacing", full)
    options = Options(str(origin), missing="placeholder", limits=FAST)
    with pytest.raises(OSError, match="No space left"):
        fetch(jsonl(), tmp_path / "d", None, silent, options)
    assert read_manifest(tmp_path / "d")["photos/0.jpg"].status == "missing"


def test_two_fetches_do_not_write_to_one_folder(tmp_path: Path) -> None:
    origin = write_dialogues(tmp_path / "o", "http://10.0.0.1", ["good"])
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
    origin = write_dialogues(tmp_path / "o", server.address, ["404"])
    options = Options(str(origin), missing="synthesise", limits=FAST, draw=_brush(), model="own")
    fetch(jsonl(), tmp_path / "jsonl", ["test"], silent, options)
    (dialogue,) = jsonl().load("test")
    (photo,) = dialogue.photos
    assert photo.filled == "synthetic:own"
    assert photo.open().size == (64, 64)
    assert len(photo.open().getcolors(4096)) > 30  # something was drawn


def test_photos_that_dialogues_hold_themselves_need_not_be_fetched(
    server: Server, tmp_path: Path, loopback_is_public: None
) -> None:
    turns = [{"speaker": "A", "photo": address(photo_bytes(7))}, {"speaker": "B", "text": "Oh!"}]
    origin = write_dialogues(tmp_path / "o", server.address, ["good"])
    with (origin / "test.jsonl").open("a") as file:
        file.write(json.dumps({"id": "held", "turns": turns}) + "\n")
    options = Options(str(origin), limits=FAST)
    found = fetch(jsonl(), tmp_path / "d", None, silent, options)
    assert (found.dialogues, found.statuses) == ({"test": 2}, {"ok": 1})


def test_a_mirror_serves_dialogues_photos_and_their_checksums(
    tmp_path: Path, loopback_is_public: None
) -> None:
    origin = tmp_path / "mirror"
    (origin / "photos").mkdir(parents=True)
    for number in (150, 151):
        (origin / f"photos/{number}.jpg").write_bytes(photo_bytes(number))
    write_dialogues(origin, "http://10.0.0.1", ["good"] * 3, 150)
    listed = [
        Entry(f"photos/{n}.jpg", "ok", sha256=hashlib.sha256(photo_bytes(150)).hexdigest())
        for n in (150, 151)
    ]
    write_manifest(origin, {entry.path: entry for entry in listed})
    local = fetch(jsonl(), tmp_path / "l", ["test"], silent, Options(str(origin), limits=FAST))
    assert local.statuses == {"ok": 1, "refused": 2}
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


def test_a_file_of_dialogues_in_which_nothing_is_is_refused(
    server: Server, tmp_path: Path, loopback_is_public: None
) -> None:
    file = Upstream("test.jsonl", "test", f"{server.address}/empty/1.jsonl")
    with pytest.raises(DataError, match=r"could not be fetched: nothing came\."):
        fetch(replace(jsonl(), upstream=(file,)), tmp_path / "d", None, silent, OPTIONS)
    assert server.asked["/empty/1.jsonl"] == 4


def test_dialogues_with_a_wrong_checksum_are_refused(
    server: Server, tmp_path: Path, loopback_is_public: None
) -> None:
    from dataclasses import replace

    wrong = Upstream("test.jsonl", "test", f"{server.address}/good/150.jpg", "0" * 64)
    corpus = replace(jsonl(), upstream=(wrong,))
    with pytest.raises(DataError, match=r"could not be fetched: its sha256 is [0-9a-f]{64}, not 0"):
        fetch(corpus, tmp_path / "d", ["test"], silent, Options(limits=FAST))
    assert not (tmp_path / "d" / "test.jsonl").exists()


def test_a_dataset_that_may_not_be_shared_needs_a_folder(tmp_path: Path) -> None:
    from pscli.datasets.mmdialog import mmdialog

    with pytest.raises(ConfigError, match="cannot be downloaded"):
        fetch(mmdialog(), tmp_path / "d", ["test"], silent, Options(limits=FAST))


@pytest.mark.parametrize("splits", [None, ["test"]])
def test_an_address_from_which_nothing_can_be_had_is_refused(
    tmp_path: Path, splits: list[str] | None
) -> None:
    options = Options("https://mirror.example/d", limits=FAST)
    with pytest.raises(DataError, match="No file of jsonl is known") as caught:
        fetch(jsonl(), tmp_path / "d", splits, silent, options)
    assert "--from FOLDER" in caught.value.hint
    assert not list(tmp_path.iterdir())


def test_two_datasets_are_not_mixed(tmp_path: Path) -> None:
    origin = write_dialogues(tmp_path / "o", "http://10.0.0.1", ["good"])
    options = Options(str(origin), photos=False)
    fetch(jsonl(), tmp_path / "d", None, silent, options)
    assert fetch(jsonl(), tmp_path / "d", None, silent, options).dialogues == {"test": 1}
    before = (tmp_path / "d/dataset.json").read_text()
    with pytest.raises(DataError, match="holds another dataset than own"):
        fetch(replace(jsonl(), name="own"), tmp_path / "d", None, silent, options)
    assert (tmp_path / "d/dataset.json").read_text() == before
    for text in (json.dumps(json.loads(before) | {"captioner": "someone"}), "[]"):
        (tmp_path / "d/dataset.json").write_text(text)
        with pytest.raises(DataError, match="holds another dataset than jsonl, or captions"):
            fetch(jsonl(), tmp_path / "d", None, silent, options)
    again = replace(options, overwrite=True)
    with pytest.raises(DataError, match=r"its dataset\.json is not one of ours"):
        fetch(jsonl(), tmp_path / "d", None, silent, again)
    (tmp_path / "d/dataset.json").write_text(before)
    assert fetch(jsonl(), tmp_path / "d", None, silent, again).dialogues == {"test": 1}
    assert (tmp_path / "d/dataset.json").read_text() == before


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
    "line", ["{}", '{"path": [], "status": "ok"}', '{"path": "a", "status": "ok", "size": "1"}',
             '{"path": "a", "status": "ok", "urls": "https://x.example"}'],
)  # fmt: skip
def test_a_broken_manifest_is_named(tmp_path: Path, line: str) -> None:
    write_manifest(tmp_path, {"a": Entry("a", "ok")})
    with (tmp_path / MANIFEST).open("a") as file:
        file.write(line + "\n")
    with pytest.raises(DataError, match=r"manifest\.jsonl, line 2 is no manifest entry"):
        read_manifest(tmp_path)


def test_the_command_tells_licence_and_gaps(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_dialogues(tmp_path / "o", server.address, ["good"] * 2, 150)
    args = ["fetch", "jsonl", "--split", "test", "--from", "o", "--out", "d"]
    first = CliRunner().invoke(app, args)
    assert first.exit_code == 0, first.output
    assert "Licence of jsonl" in first.stdout
    assert "photos: 2 refused\n  2 × private address" in first.stdout
    again = CliRunner().invoke(app, [*args, "--retry", "--allow-private-hosts"])
    assert "Licence" not in again.stdout
    assert "photos: 2 ok\n" in again.stdout


# ---------------------------------------------------------------------------- nothing lost


def test_a_fetch_that_stopped_during_the_dialogues_goes_on(
    server: Server, tmp_path: Path, loopback_is_public: None
) -> None:
    server.files["/a.jsonl"] = lines(server.address, ["good"]).encode()
    paths = {"test_a.jsonl": "/a.jsonl", "test_b.jsonl": "/404/b.jsonl"}
    shards = tuple(Upstream(name, "test", server.address + path) for name, path in paths.items())
    corpus = replace(jsonl(), upstream=shards)
    with pytest.raises(DataError, match=r"b\.jsonl could not be fetched: .*Give the same command"):
        fetch(corpus, tmp_path / "d", None, silent, OPTIONS)
    server.files["/404/b.jsonl"] = lines(server.address, ["good"], 1).encode()
    found = fetch(corpus, tmp_path / "d", None, silent, OPTIONS)
    assert (found.dialogues, found.statuses, found.first) == ({"test": 2}, {"ok": 2}, True)
    assert server.asked["/a.jsonl"] == 1


def test_the_hint_at_ctrl_c_is_true(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: object, **named: object) -> None:
        raise KeyboardInterrupt

    def stopped(at: str, *args: str) -> str:
        with monkeypatch.context() as patch:
            patch.setattr(door, at, interrupted)
            told = CliRunner().invoke(app, args)
        assert told.exit_code == 130
        return told.stderr

    origin = write_dialogues(tmp_path / "o", server.address, ["good"] * 2)
    args = ["fetch", "jsonl", "--from", str(origin), "--out", str(tmp_path / "d")]
    args += ["--allow-private-hosts"]
    hint = "Stopped. Give the same command again to go on.\n"
    new = "Stopped. Give the same command again, without --overwrite, to go on.\n"
    assert hint in stopped("fetch_photos", *args)
    assert CliRunner().invoke(app, args).exit_code == 0
    write_dialogues(tmp_path / "o", server.address, ["good"] * 2, 2)
    assert hint in stopped("fetch_dialogues", *args, "--overwrite")
    assert len(list((tmp_path / "d/photos").iterdir())) == 2  # what was there
    assert new in stopped("fetch_photos", *args, "--overwrite")
    assert CliRunner().invoke(app, args).exit_code == 0
    assert {p.name for p in (tmp_path / "d/photos").iterdir()} == {"2.jpg", "3.jpg"}
    drawn = ["fetch", "photoworld", "--count", "1", "--out", str(tmp_path / "p")]
    assert stopped("write_split", *drawn) == "Interrupted.\n"
    assert not (tmp_path / "p").exists()


def test_a_fetch_that_never_began_leaves_nothing(tmp_path: Path, server: Server) -> None:
    file = Upstream("train/test.jsonl", "test", f"{server.address}/404/1.jsonl")
    corpus = replace(jsonl(), upstream=(file,))
    for overwrite in (False, True):
        options = replace(OPTIONS, allow_private=True, overwrite=overwrite)
        with pytest.raises(DataError, match="could not be fetched: HTTP 404"):
            fetch(corpus, tmp_path / "d", None, silent, options)
        assert [p.name for p in tmp_path.iterdir()] == [".d.lock"]


def test_overwriting_gives_up_nothing_before_the_dialogues_are_there(
    server: Server, tmp_path: Path, loopback_is_public: None
) -> None:
    origin = write_dialogues(tmp_path / "o", server.address, ["good"])
    fetch(jsonl(), tmp_path / "d", None, silent, Options(str(origin), limits=FAST))
    before = {p: p.read_bytes() for p in (tmp_path / "d").rglob("*") if p.is_file()}
    file = Upstream("test.jsonl", "test", f"{server.address}/500/1.jsonl")
    corpus, options = replace(jsonl(), upstream=(file,)), replace(OPTIONS, overwrite=True)
    with pytest.raises(DataError, match="could not be fetched"):
        fetch(corpus, tmp_path / "d", None, silent, options)
    here = Options(str(tmp_path / "d"), overwrite=True)
    with pytest.raises(DataError, match="is what is to be written"):
        fetch(jsonl(), tmp_path / "d", None, silent, here)
    assert {p: p.read_bytes() for p in (tmp_path / "d").rglob("*") if p.is_file()} == before


def test_damaged_files_are_named_and_fetched_again(server: Server, tmp_path: Path) -> None:
    write_dialogues(tmp_path / "o", server.address, ["good"] * 4)
    args = ["fetch", "jsonl", "--from", str(tmp_path / "o"), "--out", str(tmp_path / "d")]
    args += ["--allow-private-hosts"]
    assert CliRunner().invoke(app, [*args, "--verify"]).exit_code == 2  # nothing is there yet
    assert CliRunner().invoke(app, args).exit_code == 0
    whole = CliRunner().invoke(app, [*args, "--verify"])
    assert whole.stdout == f"{tmp_path / 'd'}: every file is what came.\n"
    damaged = bytearray(photo_bytes(1))
    damaged[50] ^= 1  # its size is what it was
    (tmp_path / "d/photos/1.jpg").write_bytes(damaged)
    (tmp_path / "d/photos/2.jpg").unlink()
    with (tmp_path / "d/test.jsonl").open("a") as file:
        file.write("\n")
    server.asked.clear()
    for _ in range(2):
        told = CliRunner().invoke(app, [*args, "--verify"])
        assert told.exit_code == 2
        assert told.stdout == "test.jsonl\nphotos/1.jpg\nphotos/2.jpg\n"
        assert "3 files of " in told.stderr
    assert not server.asked
    assert read_manifest(tmp_path / "d")["photos/1.jpg"].status == "damaged"
    assert CliRunner().invoke(app, args).exit_code == 0
    assert set(server.asked) == {"/good/1.jpg", "/good/2.jpg"}
    assert CliRunner().invoke(app, [*args, "--verify"]).exit_code == 0


def test_what_is_drawn_can_be_verified_too(tmp_path: Path) -> None:
    args = ["fetch", "photoworld", "--count", "1", "--split", "test", "--out", str(tmp_path / "d")]
    assert CliRunner().invoke(app, args).exit_code == 0
    assert CliRunner().invoke(app, [*args, "--verify"]).exit_code == 0
    photo = next((tmp_path / "d/photos").rglob("*.png"))
    photo.write_bytes(photo.read_bytes() + b"x")
    told = CliRunner().invoke(app, [*args, "--verify"])
    assert told.stdout == f"{photo.relative_to(tmp_path / 'd').as_posix()}\n"


def test_a_photo_that_was_filled_in_stays_flagged_until_the_real_one_comes(
    server: Server, tmp_path: Path, loopback_is_public: None
) -> None:
    origin = write_dialogues(tmp_path / "o", server.address, ["404", "500-once"])
    once = replace(FAST, attempts=1)
    fill = Options(str(origin), missing="placeholder", limits=once)
    assert fetch(jsonl(), tmp_path / "d", None, silent, fill).statuses == {"placeholder": 2}
    retry = Options(str(origin), limits=once, retry=True)
    found = fetch(jsonl(), tmp_path / "d", None, silent, retry)
    assert found.statuses == {"placeholder": 1, "ok": 1}
    entries = read_manifest(tmp_path / "d")
    assert entries["photos/0.jpg"].provenance == "synthetic:placeholder"
    assert (tmp_path / "d/photos/1.jpg").read_bytes() == photo_bytes(1)


def test_a_file_that_is_cut_and_cannot_be_fetched_again_is_not_left_there(
    server: Server, tmp_path: Path, loopback_is_public: None
) -> None:
    origin = write_dialogues(tmp_path / "o", server.address, ["good"])
    options = Options(str(origin), limits=FAST)
    fetch(jsonl(), tmp_path / "d", None, silent, options)
    (tmp_path / "d/photos/0.jpg").write_bytes(b"cut")
    origin = write_dialogues(tmp_path / "o", server.address, ["404"])
    assert fetch(jsonl(), tmp_path / "d", None, silent, options).statuses == {"missing": 1}
    assert not (tmp_path / "d/photos/0.jpg").exists()


def test_a_mirror_does_not_pass_off_what_it_filled_in(
    server: Server, tmp_path: Path, loopback_is_public: None
) -> None:
    origin = write_dialogues(tmp_path / "o", server.address, ["404", "good"])
    fill = Options(str(origin), missing="placeholder", limits=FAST)
    fetch(jsonl(), tmp_path / "copy", None, silent, fill)
    (tmp_path / "copy/photos/1.jpg").unlink()
    again = Options(str(tmp_path / "copy"), limits=FAST)
    found = fetch(jsonl(), tmp_path / "d", None, silent, again)
    assert found.statuses == {"missing": 1, "ok": 1}


@pytest.mark.parametrize("text", ["[", "[]", '{"path": 1, "status": "ok"}', "\ud800", "9" * 5000])
def test_a_broken_manifest_of_a_mirror_is_told_and_done_without(
    server: Server,
    tmp_path: Path,
    loopback_is_public: None,
    capsys: pytest.CaptureFixture[str],
    text: str,
) -> None:
    server.files["/m/manifest.jsonl"] = text.encode("utf-8", "surrogatepass")
    server.files["/m/test.jsonl"] = lines(server.address, ["good"]).encode()
    corpus = replace(jsonl(), upstream=(Upstream("test.jsonl", "test", ""),))
    options = Options(f"{server.address}/m/", limits=FAST)
    assert fetch(corpus, tmp_path / "d", None, silent, options).statuses == {"ok": 1}
    assert "Photos are fetched from their own addresses." in capsys.readouterr().err


def test_mmdialog_from_its_documented_layout(tmp_path: Path) -> None:
    """Photos in SPLIT/images, and no other split than that."""
    folder = tmp_path / "mine" / "test"
    (folder / "images").mkdir(parents=True)
    (folder / "images/700.jpg").write_bytes(photo_bytes(7))
    turns = [
        {"turn": [{"__TEXT__": "Look"}, {"__MEDIA__": "700"}]},
        {"turn": [{"__TEXT__": "Wow"}]},
    ]
    talk = {"conversation_id": 0, "conversation": turns}
    (folder / "conversations.json").write_text(json.dumps([talk]))
    args = ["fetch", "mmdialog", "--from", str(tmp_path / "mine"), "--out", str(tmp_path / "d")]
    told = CliRunner().invoke(app, args)
    assert told.exit_code == 0, told.output
    assert "d: 1 dialogues of test\nphotos: 1 ok\n" in told.stdout
    assert (tmp_path / "d/test/images/700.jpg").read_bytes() == photo_bytes(7)


def test_names_of_a_mirror_are_quoted(
    server: Server, tmp_path: Path, loopback_is_public: None
) -> None:
    name = "photos/a b#1?%41.jpg"
    turn = {"speaker": "A", "photo": {"path": name}}
    server.files["/m/test.jsonl"] = json.dumps({"id": "d", "turns": [turn]}).encode()
    server.files["/m/photos/a%20b%231%3F%2541.jpg"] = photo_bytes(3)
    listed = {"path": name, "status": "ok"}
    server.files["/m/manifest.jsonl"] = json.dumps(listed).encode()
    corpus = replace(jsonl(), upstream=(Upstream("test.jsonl", "test", ""),))
    options = Options(f"{server.address.replace('http', 'HTTP')}/m", limits=FAST)
    assert fetch(corpus, tmp_path / "d", None, silent, options).statuses == {"ok": 1}
    assert (tmp_path / "d" / name).read_bytes() == photo_bytes(3)
