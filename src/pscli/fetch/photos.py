"""Photos brought to disk in parallel: each from the first of its addresses that has it."""

from __future__ import annotations

import hashlib
import heapq
import io
import os
import random
import shutil
import threading
import time
import warnings
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from pscli.datasets.manifest import HERE, Entry, open_journal, read_manifest, write_manifest
from pscli.dialogue.schema import MAX_PIXELS
from pscli.errors import DataError
from pscli.fetch.web import Fault, Web

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
PART = ".part"  # folder of what is half-written
WINDOW = 4096  # photos that are waited for at a time


@dataclass(frozen=True)
class Place:
    """Where a photo may be had: an address, or a file of a local copy.

    Args:
        sha256: That its file must have, if that is known.
    """

    where: str | Path
    provenance: str = "original"
    sha256: str | None = None

    @property
    def host(self) -> str:
        return "" if isinstance(self.where, Path) else urlsplit(self.where).netloc


@dataclass(frozen=True)
class Wanted:
    """A photo to bring: its path below the dataset's folder, and where it may be had."""

    path: str
    places: tuple[Place, ...]
    urls: tuple[str, ...] = ()


@dataclass
class Job:
    """A photo on its way."""

    wanted: Wanted
    attempt: int = 1
    place: int = 0
    reasons: list[str] = field(default_factory=list)

    @property
    def host(self) -> str:
        return self.wanted.places[self.place].host


def download(
    photos: Sequence[Wanted],
    folder: Path,
    web: Web,
    progress: Callable[[int], None],
    *,
    retry: bool = False,
) -> dict[str, Entry]:
    """Brings photos, and returns the manifest, which also stands in the folder.

    What the manifest already says is not asked for again, whether a photo came or not.

    Args:
        progress: Called with how many more photos are settled.
        retry: Ask again for photos that did not come.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder / PART, ignore_errors=True)
    (folder / PART).mkdir()
    entries = read_manifest(folder)
    waiting = [photo for photo in photos if not _settled(photo, entries, folder, retry)]
    progress(len(photos) - len(waiting))
    with open_journal(folder) as journal:
        run = _Run(folder, web, journal, entries, progress)
        run.all(waiting)
    shutil.rmtree(folder / PART, ignore_errors=True)
    write_manifest(folder, entries)
    return entries


def _settled(photo: Wanted, entries: dict[str, Entry], folder: Path, retry: bool) -> bool:
    entry = entries.get(photo.path)
    if entry is None:
        return False
    if entry.status in HERE:
        try:
            there = os.stat(folder / photo.path).st_size == entry.size
        except OSError:
            return False
        return there and not (retry and entry.status != "ok")
    return not retry and entry.urls == photo.urls


class _Run:
    """Workers over one queue."""

    def __init__(
        self,
        folder: Path,
        web: Web,
        journal: io.FileIO,
        entries: dict[str, Entry],
        progress: Callable[[int], None],
    ) -> None:
        self.folder, self.web, self.journal = folder, web, journal
        self.entries, self.progress = entries, progress
        self.lock = threading.Lock()
        self.problem: BaseException | None = None
        self.folders: set[Path] = set()

    def all(self, photos: Sequence[Wanted]) -> None:
        queue = Queue(iter(photos), self.web.limits.per_host)
        workers = [
            threading.Thread(target=self._work, args=(queue,), daemon=True)
            for _ in range(min(self.web.limits.jobs, max(1, len(photos))))
        ]
        for worker in workers:
            worker.start()
        try:
            for worker in workers:
                while worker.is_alive():
                    worker.join(0.2)  # so that Ctrl-C is heard
        finally:
            queue.stop()
        if self.problem is not None:
            raise self.problem

    def _work(self, queue: Queue) -> None:
        try:
            while (job := queue.take()) is not None:
                self._try(job, queue)
        except BaseException as problem:  # a full disk, say: it is raised where it can be told
            self.problem = problem
            queue.stop()

    def _try(self, job: Job, queue: Queue) -> None:
        host, limits = job.host if job.wanted.places else "", self.web.limits
        if not job.wanted.places:
            self._settle(_failed(job, Fault("missing", "no address")))
            queue.done(host)
            return
        try:
            entry = self._bring(job.wanted, job.wanted.places[job.place])
        except Fault as fault:
            queue.cool(host, min(fault.wait, limits.max_wait))
            if fault.passing and job.attempt < limits.attempts:
                pause = limits.backoff * 2 ** (job.attempt - 1) * random.uniform(0.5, 1.5)
                job.attempt += 1
                queue.again(job, host, max(pause, fault.wait))
                return
            job.reasons.append(fault.reason)
            if job.place + 1 < len(job.wanted.places):
                job.place, job.attempt = job.place + 1, 1
                queue.again(job, host, 0.0)
                return
            entry = _failed(job, fault)
        self._settle(entry)
        queue.done(host)

    def _bring(self, wanted: Wanted, place: Place) -> Entry:
        if isinstance(place.where, Path):
            data = _read(place.where, self.web.limits.max_bytes)
        else:
            data = self.web.get(place.where)
        sha256 = hashlib.sha256(data).hexdigest()
        if place.sha256 is not None and sha256 != place.sha256:
            raise Fault("broken", "wrong checksum")
        kind = image_format(data)
        target = self.folder / wanted.path
        if target.parent not in self.folders:
            target.parent.mkdir(parents=True, exist_ok=True)
            self.folders.add(target.parent)
        temporary = self.folder / PART / str(threading.get_ident())
        temporary.write_bytes(data)
        os.replace(temporary, target)
        named = place.where if isinstance(place.where, str) else wanted.path
        return Entry(
            wanted.path, "ok", "", place.provenance, named, sha256, len(data), kind, wanted.urls
        )

    def _settle(self, entry: Entry) -> None:
        with self.lock:
            self.journal.write(entry.line())
            self.entries[entry.path] = entry
            self.progress(1)


def _failed(job: Job, fault: Fault) -> Entry:
    reasons = "; ".join(dict.fromkeys(job.reasons or [fault.reason]))
    return Entry(job.wanted.path, fault.status, reasons, urls=job.wanted.urls)


def _read(path: Path, max_bytes: int) -> bytes:
    try:
        if path.stat().st_size > max_bytes:
            raise Fault("refused", f"more than {max_bytes:,} bytes")
        return path.read_bytes()
    except OSError as error:
        raise Fault("missing", "not in the local copy") from error


def image_format(data: bytes) -> str:
    """The format of a photo that can be decoded to its end.

    Raises:
        Fault: if it cannot, or has too many pixels. Its name and its type are not looked at.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=FORMATS)
        if image.width * image.height > MAX_PIXELS:
            raise Fault("refused", f"more than {MAX_PIXELS:,} pixels")
        kind = image.format or ""
        # A JPEG can be decoded at an eighth of its size: everything is read, little is computed.
        image.draft("RGB", (max(1, image.width // 8), max(1, image.height // 8)))
        image.load()
    except Image.DecompressionBombError as error:
        raise Fault("refused", f"more than {MAX_PIXELS:,} pixels") from error
    except UnidentifiedImageError as error:
        raise Fault("broken", "not a photo") from error
    except (OSError, ValueError, SyntaxError, MemoryError, EOFError, IndexError) as error:
        raise Fault("broken", "a photo that cannot be decoded") from error
    return kind


class Queue:
    """Jobs by host: no more than a few of one at a time, none of a host that wants a rest."""

    def __init__(self, photos: Iterator[Wanted], per_host: int) -> None:
        self._photos, self._per_host = photos, per_host
        self._changed = threading.Condition()
        self._waiting: OrderedDict[str, deque[Job]] = OrderedDict()
        self._later: list[tuple[float, int, Job]] = []
        self._busy: dict[str, int] = {}
        self._rest: dict[str, float] = {}  # host → time before which it is not asked
        self._open = self._number = 0
        self._more, self._stopped = True, False

    def take(self) -> Job | None:
        """The next job, when there is one; None when all are done."""
        with self._changed:
            while not self._stopped:
                now = time.monotonic()
                self._fill(now)
                for host, jobs in self._waiting.items():
                    if self._busy.get(host, 0) < self._per_host and self._rest.get(host, 0) <= now:
                        self._busy[host] = self._busy.get(host, 0) + 1
                        job = jobs.popleft()
                        self._waiting.move_to_end(host)  # hosts take turns
                        if not jobs:
                            del self._waiting[host]
                        return job
                if not self._open:
                    return None
                due = self._later[0][0] - now if self._later else 1.0
                self._changed.wait(min(max(due, 0.01), 0.1))
        return None

    def _fill(self, now: float) -> None:
        while self._later and self._later[0][0] <= now:
            self._add(heapq.heappop(self._later)[2])
        while self._more and self._open < WINDOW:
            photo = next(self._photos, None)
            if photo is None:
                self._more = False
                return
            self._open += 1
            self._add(Job(photo))

    def _add(self, job: Job) -> None:
        host = job.host if job.wanted.places else ""
        self._waiting.setdefault(host, deque()).append(job)

    def again(self, job: Job, host: str, pause: float) -> None:
        """Puts a job back, for `pause` seconds at least."""
        with self._changed:
            self._busy[host] -= 1
            self._number += 1
            heapq.heappush(self._later, (time.monotonic() + pause, self._number, job))
            self._changed.notify()

    def done(self, host: str) -> None:
        with self._changed:
            self._busy[host] -= 1
            self._open -= 1
            self._changed.notify()
            if not self._open:
                self._changed.notify_all()

    def cool(self, host: str, pause: float) -> None:
        """Leaves a host alone for that many seconds."""
        if pause > 0:
            with self._changed:
                self._rest[host] = max(self._rest.get(host, 0.0), time.monotonic() + pause)

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()


def check_local(folder: Path) -> Path:
    """Returns a folder that is to be copied from. Raises DataError if there is none."""
    if not folder.is_dir():
        raise DataError(f"{folder} does not exist.", "Name a folder or an http(s) address.")
    return folder
