"""The manifest of a dataset's photos: for every photo where it came from, or why it is missing.

    {"path": "photos/train/0123456789abcdef.jpg", "status": "ok", "reason": "",
     "provenance": "original", "source": "https://…", "sha256": "…", "size": 48213,
     "format": "JPEG", "urls": ["https://…", "https://…"]}

While photos are fetched, lines are appended to a journal, so that a run that is killed loses
nothing; at the end the manifest is written in one step, sorted, without times, so that two runs
that bring the same photos write the same bytes.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pscli.errors import DataError
from pscli.files import append_line, parse_lines, read_lines, write_lines

MANIFEST = "manifest.jsonl"
JOURNAL = "manifest.part.jsonl"
FILLED = ("synthetic", "placeholder")
HERE = ("ok", *FILLED)  # statuses of photos that are on disk
DAMAGED = "damaged"


@dataclass(frozen=True)
class Entry:
    """One photo.

    Args:
        path: Below the dataset's folder.
        status: `ok`; `missing` (nobody has it), `failed` (for now), `broken` (what came is no
            photo, or another one), `refused` (unsafe); `placeholder` or `synthetic` (filled in);
            `damaged` (its file is not any more what came).
        reason: Why it is not `ok`.
        provenance: `original`, `mirror`, `drawn`, `synthetic:MODEL` or `synthetic:placeholder`.
        source: The address that it came from.
        size: In bytes.
        urls: All addresses that are known.
        captioner: Who has written its caption in this copy of a dataset; else empty.
        caption: What that one has written.
    """

    path: str
    status: str
    reason: str = ""
    provenance: str = ""
    source: str = ""
    sha256: str = ""
    size: int = 0
    format: str = ""
    urls: tuple[str, ...] = ()
    captioner: str = ""
    caption: str = ""


def read_manifest(folder: Path) -> dict[str, Entry]:
    """Entries by path; of the manifest, and of a journal that was left behind.

    Raises:
        DataError: if a line is broken; the last one of a journal may be.
    """
    path = folder / MANIFEST
    entries = parse_manifest(path.read_bytes(), str(path)) if path.is_file() else {}
    for number, pairs in enumerate(read_lines(folder / JOURNAL), start=1):
        entry = _entry(pairs, f"{folder / JOURNAL}, line {number}")
        entries[entry.path] = entry
    return entries


def filled_in(folder: Path) -> dict[Path, str]:
    """Photo files that were filled in, and by what."""
    entries = read_manifest(folder).values()
    return {folder / e.path: e.provenance for e in entries if e.provenance.startswith("synthetic:")}


def parse_manifest(data: bytes, where: str) -> dict[str, Entry]:
    """Entries by path of a manifest's text. Raises DataError if a line is broken."""
    lines = parse_lines((line for line in data.split(b"\n") if line.strip()), where)
    found = [_entry(pairs, f"{where}, line {n}") for n, pairs in enumerate(lines, start=1)]
    return {entry.path: entry for entry in found}


def _entry(pairs: dict[str, Any], at: str) -> Entry:
    try:
        urls = pairs.get("urls", [])
        if not isinstance(urls, list):
            raise TypeError("its urls are no list")
        entry = Entry(**{**pairs, "urls": tuple(urls)})
        values = {**vars(entry), "urls": "".join(entry.urls)}
        if any(type(v) is not (int if name == "size" else str) for name, v in values.items()):
            raise TypeError("a value is of another type")
        return entry
    except TypeError as error:
        raise DataError(
            f"{at} is no manifest entry: {error}.", "Delete the file, and fetch again."
        ) from error


def _pairs(entry: Entry) -> dict[str, Any]:
    pairs = dataclasses.asdict(entry)
    rewritten = ("captioner", "caption") if not entry.captioner else ()  # of few datasets
    return {name: value for name, value in pairs.items() if name not in rewritten}


def note_entry(folder: Path, entry: Entry) -> None:
    """Adds a line to the journal."""
    append_line(folder / JOURNAL, _pairs(entry))


def write_manifest(folder: Path, entries: dict[str, Entry]) -> None:
    """Writes the manifest, sorted by path, and removes the journal."""
    write_lines(folder / MANIFEST, (_pairs(entries[path]) for path in sorted(entries)))
    (folder / JOURNAL).unlink(missing_ok=True)
