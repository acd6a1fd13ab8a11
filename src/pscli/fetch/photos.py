"""Photos fetched in parallel: each from the first of its addresses that has it."""

from __future__ import annotations

import hashlib
import io
import os
import random
import shutil
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path

from pscli.console import Advance
from pscli.datasets.manifest import HERE, Entry, note_entry, read_manifest, write_manifest
from pscli.dialogue.schema import MAX_PIXELS
from pscli.fetch.places import Place, Wanted
from pscli.fetch.queue import Job, Queue
from pscli.fetch.web import Fault, Web
from pscli.files import replacing

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
PART = ".part"  # folder of what is half-written


def fetch_photos(
    photos: Sequence[Wanted],
    folder: Path,
    web: Web,
    progress: Advance,
    *,
    retry: bool = False,
) -> dict[str, Entry]:
    """Fetches photos, and returns the manifest, which also stands in the folder.

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
    _Run(folder, web, entries, progress).all(waiting)
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
        entries: dict[str, Entry],
        progress: Advance,
    ) -> None:
        self.folder, self.web, self.entries, self.progress = folder, web, entries, progress
        self.lock = threading.Lock()
        self.problem: BaseException | None = None

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
            entry = self._fetched(job.wanted, job.wanted.places[job.place])
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

    def _fetched(self, wanted: Wanted, place: Place) -> Entry:
        if isinstance(place.where, Path):
            data = _read(place.where, self.web.limits.max_bytes)
        else:
            data = self.web.get(place.where)
        sha256 = hashlib.sha256(data).hexdigest()
        if place.sha256 is not None and sha256 != place.sha256:
            raise Fault("broken", "wrong checksum")
        kind = image_format(data)
        target = self.folder / wanted.path
        via = self.folder / PART / str(threading.get_ident())
        with replacing(target, via, sync=False) as file:
            file.write(data)
        named = place.where if isinstance(place.where, str) else wanted.path
        return Entry(
            wanted.path, "ok", "", place.provenance, named, sha256, len(data), kind, wanted.urls
        )

    def _settle(self, entry: Entry) -> None:
        with self.lock:
            note_entry(self.folder, entry)
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
