"""Datasets that others made, brought to disk: dialogues first, then photos, resumable anywhere."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from pscli import console
from pscli.datasets.base import MARKER, check_split
from pscli.datasets.corpus import Corpus, Upstream
from pscli.datasets.manifest import HERE, MANIFEST, Entry, parse_manifest, write_manifest
from pscli.datasets.records import Dropped, KnownPhoto
from pscli.dialogue.schema import Photo
from pscli.errors import ConfigError, DataError
from pscli.fetch.photos import Place, Wanted, check_local, download
from pscli.fetch.web import Fault, Limits, Web
from pscli.files import claim

if TYPE_CHECKING:
    from PIL.Image import Image

Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
Draw = Callable[[str, int], "Image"]  # (caption, seed) → photo

MAX_FILE = 4 << 30  # bytes of a file of dialogues
FILE_SECONDS = 3600.0
FILE_ATTEMPTS = 4
MISSING = ("skip", "placeholder", "synthesise")


@dataclass(frozen=True)
class Options:
    """How to bring a dataset.

    Args:
        origin: Folder or http(s) address to bring it from; where it is published by default.
        photos: Whether to bring photos, too.
        missing: What to do about photos that nobody has: `skip`, `placeholder` or `synthesise`.
        count: Only the photos of the first dialogues of each split.
        retry: Ask again for photos that did not come before.
        draw: Draws a missing photo, for `synthesise`.
        model: Its name, for the manifest.
    """

    origin: str | None = None
    photos: bool = True
    missing: str = "skip"
    count: int | None = None
    retry: bool = False
    overwrite: bool = False
    allow_private: bool = False
    limits: Limits = field(default_factory=Limits)
    draw: Draw | None = None
    model: str = ""


@dataclass(frozen=True)
class Brought:
    """What is on disk now.

    Args:
        files: Files of dialogues.
        statuses: Photos of each status.
        reasons: Photos that are not there, by reason.
        first: Whether the folder is new.
    """

    folder: Path
    files: int
    statuses: dict[str, int]
    reasons: dict[str, int]
    first: bool


def bring(
    corpus: Corpus, folder: Path, splits: Sequence[str], progress: Progress, options: Options
) -> Brought:
    """Brings splits of a dataset to a folder, or whatever of them is not there yet.

    Raises:
        ConfigError: if there is no such split.
        DataError: if the folder holds something else, another process brings it, or dialogues
            cannot be had.
    """
    for split in splits:
        check_split(corpus, split)
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder.with_name(f".{folder.name}.lock"), timeout=0):
            return _bring(corpus, folder, splits, progress, options)
    except Timeout as error:
        raise DataError(
            f"Another process is bringing {corpus.name} to {folder}.", "Wait until it has ended."
        ) from error


def _bring(
    corpus: Corpus, folder: Path, splits: Sequence[str], progress: Progress, options: Options
) -> Brought:
    first = not (folder / MARKER).is_file()
    if first or options.overwrite:
        claim(folder, MARKER, options.overwrite, DataError)
        shutil.rmtree(folder, ignore_errors=True)
    web = Web(options.limits, options.allow_private)
    files = _dialogues(corpus, folder, splits, web, progress, options)
    marker = {"name": corpus.name, "licence": corpus.licence, "citation": corpus.citation}
    _write(folder / MARKER, json.dumps(marker | {"files": files}, indent=1).encode())
    entries: dict[str, Entry] = {}
    if options.photos:
        entries = _photos(corpus, folder, splits, web, progress, options)
    there: dict[str, int] = {}
    why: dict[str, int] = {}
    for entry in entries.values():
        there[entry.status] = there.get(entry.status, 0) + 1
        if entry.status not in HERE:
            why[entry.reason] = why.get(entry.reason, 0) + 1
    return Brought(folder, len(files), there, dict(sorted(why.items(), key=lambda p: -p[1])), first)


# ---------------------------------------------------------------------------- dialogues


def _dialogues(
    corpus: Corpus,
    folder: Path,
    splits: Sequence[str],
    web: Web,
    progress: Progress,
    options: Options,
) -> dict[str, str]:
    """sha256 of each file of dialogues."""
    origin = options.origin
    known = _known(folder)
    if origin is not None and not _is_address(origin):
        return known | _copied(corpus, check_local(Path(origin)), folder, splits)
    files = [file for file in corpus.upstream if file.split in splits]
    if not files:
        raise ConfigError(
            f"{corpus.name} cannot be downloaded: its licence is {corpus.licence}.",
            "Name the folder that you have: --from FOLDER.",
        )
    with progress(f"{corpus.name} dialogues", len(files)) as advance:
        for file in files:
            url = f"{origin.rstrip('/')}/{file.name}" if origin else file.url
            here = folder / file.name
            expected = file.sha256 or known.get(file.name)
            if not (here.is_file() and expected and _sha256(here) == expected):
                known[file.name] = _downloaded(web, url, here, file)
            else:
                known[file.name] = expected
            advance(1)
    return known


def _known(folder: Path) -> dict[str, str]:
    try:
        files = json.loads((folder / MARKER).read_text(encoding="utf-8")).get("files", {})
        return {str(name): str(sha256) for name, sha256 in files.items()}
    except (OSError, ValueError, AttributeError):
        return {}


def _is_address(origin: str) -> bool:
    return origin.startswith(("http://", "https://"))


def _copied(corpus: Corpus, origin: Path, folder: Path, splits: Sequence[str]) -> dict[str, str]:
    published = {file.name: file.sha256 for file in corpus.upstream}
    sums = {}
    for split in splits:
        for path in corpus.files(origin, split):
            name = path.relative_to(origin).as_posix()
            sums[name] = _sha256(path)
            if published.get(name) not in (None, sums[name]):
                console.note(f"{path} is not the published revision of {corpus.name}.")
            target = folder / name
            if target.resolve() != path.resolve() and not _same(target, sums[name]):
                _write(target, path.read_bytes())
    if not sums:
        raise DataError(
            f"{origin} holds no files of {corpus.name} {', '.join(splits)}.",
            "Expected SPLIT/*.json, SPLIT.json or SPLIT.jsonl.",
        )
    return sums


def _same(path: Path, sha256: str) -> bool:
    return path.is_file() and _sha256(path) == sha256


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _downloaded(web: Web, url: str, target: Path, file: Upstream) -> str:
    """Brings a file of dialogues, whole or not at all, and returns its sha256."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.tmp")
    for attempt in range(1, FILE_ATTEMPTS + 1):
        digest = hashlib.sha256()
        try:
            with temporary.open("wb") as out:
                for piece in web.pieces(url, MAX_FILE, FILE_SECONDS):
                    digest.update(piece)
                    out.write(piece)
            if file.sha256 not in (None, digest.hexdigest()):
                raise Fault("broken", f"its sha256 is {digest.hexdigest()}, not {file.sha256}")
            os.replace(temporary, target)
            return digest.hexdigest()
        except Fault as fault:
            temporary.unlink(missing_ok=True)
            if not fault.passing or attempt == FILE_ATTEMPTS:
                raise DataError(
                    f"{url} could not be fetched: {fault.reason}.",
                    "Give the same command again to go on, or name a copy: --from.",
                ) from fault
    raise AssertionError("every attempt ends")


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(data)
    os.replace(temporary, path)


# ---------------------------------------------------------------------------- photos


def _photos(
    corpus: Corpus,
    folder: Path,
    splits: Sequence[str],
    web: Web,
    progress: Progress,
    options: Options,
) -> dict[str, Entry]:
    known: dict[str, Any] = {}
    dropped = Dropped()
    for split in splits:
        for dialogue in islice(corpus.read(split, folder, dropped), options.count):
            for photo in dialogue.photos:
                known.setdefault(_name(photo, folder), photo)
    for line in dropped.lines():
        console.note(f"Left out: {line}.")
    mirror = _mirror(corpus, options.origin, web)
    wanted = [_wanted(name, photo, mirror) for name, photo in known.items()]
    with progress(f"{corpus.name} photos", len(wanted)) as advance:
        entries = download(wanted, folder, web, advance, retry=options.retry)
    if options.missing != "skip":
        entries = _fill(entries, known, folder, progress, options)
    names = set(known)
    return {name: entry for name, entry in entries.items() if name in names}


def _name(photo: Photo, folder: Path) -> str:
    assert isinstance(photo.source, Path)
    return photo.source.relative_to(folder).as_posix()


Mirror = Callable[[str], Place | None]


def _mirror(corpus: Corpus, origin: str | None, web: Web) -> Mirror:
    """Finds a photo in the copy that is fetched from, if it has it."""
    if origin is None:
        return lambda name: None
    if not _is_address(origin):
        return lambda name: Place(Path(origin) / name, "mirror")
    base = origin.rstrip("/")
    try:
        entries = parse_manifest(web.get(f"{base}/{MANIFEST}"), f"{base}/{MANIFEST}")
    except Fault:
        return lambda name: None  # without a manifest nobody knows which photos are there

    def find(name: str) -> Place | None:
        entry = entries.get(name)
        if entry is None or entry.status != "ok":
            return None
        return Place(f"{base}/{name}", "mirror", entry.sha256)

    return find


def _wanted(name: str, photo: Photo, mirror: Mirror) -> Wanted:
    urls = photo.urls if isinstance(photo, KnownPhoto) else ()
    sha256 = photo.sha256 if isinstance(photo, KnownPhoto) else None
    # The first address is the dataset's own; what follows are copies that others keep.
    places = [Place(u, "mirror" if i else "original", sha256) for i, u in enumerate(urls)]
    copy = mirror(name)
    if copy is not None and (not isinstance(copy.where, Path) or copy.where.is_file()):
        places.insert(0, copy if copy.sha256 else replace(copy, sha256=sha256))
    return Wanted(name, tuple(places), urls)


def _fill(
    entries: dict[str, Entry],
    known: dict[str, Photo],
    folder: Path,
    progress: Progress,
    options: Options,
) -> dict[str, Entry]:
    """Puts a picture in the place of each photo that did not come, and says so."""
    gaps = [name for name in known if entries[name].status not in HERE]
    entries = dict(entries)
    with progress(f"Filling in ({options.missing})", len(gaps)) as advance:
        for name in gaps:
            caption = known[name].caption or ""
            if options.missing == "synthesise" and options.draw is not None:
                seed = int(hashlib.sha256(name.encode()).hexdigest()[:8], 16)
                image, status, model = options.draw(caption, seed), "synthetic", options.model
            else:
                image, status, model = placeholder(), "placeholder", "placeholder"
            data = io.BytesIO()
            image.save(data, "PNG")
            _write(folder / name, data.getvalue())
            entries[name] = replace(
                entries[name],
                status=status,
                provenance=f"synthetic:{model}",
                sha256=hashlib.sha256(data.getvalue()).hexdigest(),
                size=len(data.getvalue()),
                format="PNG",
            )
            advance(1)
    write_manifest(folder, entries)
    return entries


def placeholder() -> Image:
    """A grey picture that says at a glance that a photo is missing."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (256, 256), (216, 216, 216))
    pen = ImageDraw.Draw(image)
    pen.rectangle((48, 64, 207, 191), outline=(150, 150, 150), width=6)
    pen.line((48, 191, 207, 64), fill=(150, 150, 150), width=6)
    return image


def names(statuses: dict[str, int]) -> Iterator[str]:
    """Counts of each status, as words."""
    for status, number in sorted(statuses.items()):
        yield f"{number:,} {status}"
