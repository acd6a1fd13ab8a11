"""Photos fetched in parallel: each from the first of its addresses that has it."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import shutil
import threading
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from pscli.console import Advance
from pscli.datasets.manifest import (
    DAMAGED,
    FILLED,
    HERE,
    Entry,
    note_entry,
    read_manifest,
    write_manifest,
)
from pscli.fetch.decode import image_format
from pscli.fetch.names import clashes
from pscli.fetch.places import Place, Wanted
from pscli.fetch.queue import Job, Queue
from pscli.fetch.web import PIECE, Fault, Web
from pscli.files import replacing

PART = ".part"  # folder of what is half-written
# What is wrong with the disk and not with a photo: the run ends, and goes on when it is mended.
DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE}


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
    run = _Run(folder, web, entries, progress)
    waiting = [photo for photo in photos if not _settled(photo, entries, folder, retry)]
    progress(len(photos) - len(waiting))
    problems = clashes([photo.path for photo in photos], folder)
    for photo in waiting:
        if photo.path in problems:
            run.settle(Entry(photo.path, "refused", problems[photo.path], urls=photo.urls))
    with warnings.catch_warnings():  # decoders have much to say about what others made
        warnings.simplefilter("ignore")
        run.all([photo for photo in waiting if photo.path not in problems])
    shutil.rmtree(folder / PART, ignore_errors=True)
    write_manifest(folder, entries)
    return entries


def _settled(photo: Wanted, entries: dict[str, Entry], folder: Path, retry: bool) -> bool:
    entry = entries.get(photo.path)
    if entry is None or entry.status == DAMAGED:
        return False
    if entry.status in HERE:
        return _there(folder, entry) and not (retry and entry.status != "ok")
    return not retry and entry.urls == photo.urls


def _there(folder: Path, entry: Entry) -> bool:
    """Whether a file of that size is there. Its bytes are what --verify reads."""
    try:
        return os.stat(folder / entry.path).st_size == entry.size
    except OSError:
        return False


class _Run:
    """Workers over one queue."""

    def __init__(
        self, folder: Path, web: Web, entries: dict[str, Entry], progress: Advance
    ) -> None:
        self.folder, self.web, self.entries, self.progress = folder, web, entries, progress
        self.lock = threading.Lock()
        self.problem: BaseException | None = None

    def all(self, photos: Sequence[Wanted]) -> None:
        queue = Queue(iter(photos), self.web.limits)
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
            self.settle(_failed(job, Fault("missing", "no address")))
            queue.done(host)
            return
        try:
            entry = self._fetched(job.wanted, job.wanted.places[job.place])
        except Fault as fault:
            waits = queue.rest(host, fault.wait)
            if waits and fault.passing and job.attempt < limits.attempts:
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
        self.settle(entry)
        queue.done(host, came=entry.status == "ok")

    def _fetched(self, wanted: Wanted, place: Place) -> Entry:
        try:
            return self._written(wanted, place)
        except Fault:
            raise
        except OSError as error:
            if error.errno in DISK:
                raise
            reason = f"a file that cannot be written ({error.strerror})"
            raise Fault("refused", reason) from error
        except Exception as error:  # whatever an answer holds, it is the fault of its photo alone
            raise Fault(
                "broken", f"an answer that is beyond us ({type(error).__name__})"
            ) from error

    def _written(self, wanted: Wanted, place: Place) -> Entry:
        most = self.web.limits.max_bytes
        if isinstance(place.where, Path):
            pieces, named = _pieces(place.where, most), wanted.path
        else:
            pieces, named = self.web.pieces(place.where, most), place.where
        digest, size = hashlib.sha256(), 0
        via = self.folder / PART / str(threading.get_ident())
        with replacing(self.folder / wanted.path, via, sync=False) as file:
            for piece in pieces:
                file.write(piece)
                digest.update(piece)
                size += len(piece)
            file.flush()
            sha256 = digest.hexdigest()
            if place.sha256 not in (None, sha256):
                raise Fault("broken", "wrong checksum")
            kind = image_format(via)
        return Entry(
            wanted.path, "ok", "", place.provenance, named, sha256, size, kind, wanted.urls
        )

    def settle(self, entry: Entry) -> None:
        """Writes down what has become of a photo."""
        with self.lock:
            before = self.entries.get(entry.path)
            if before is not None and entry.status != "ok":
                if before.status in FILLED and _there(self.folder, before):
                    entry = replace(before, reason=entry.reason, urls=entry.urls)
                elif before.status in (*HERE, DAMAGED):  # what is not what came is not left there
                    (self.folder / entry.path).unlink(missing_ok=True)
            note_entry(self.folder, entry)
            self.entries[entry.path] = entry
            self.progress(1)


def _failed(job: Job, fault: Fault) -> Entry:
    reasons = "; ".join(dict.fromkeys(job.reasons or [fault.reason]))
    return Entry(job.wanted.path, fault.status, reasons, urls=job.wanted.urls)


def _pieces(path: Path, max_bytes: int) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size > max_bytes:
                raise Fault("refused", f"more than {max_bytes:,} bytes")
            while piece := file.read(PIECE):
                yield piece
    except OSError as error:
        raise Fault("missing", "not in the local copy") from error
