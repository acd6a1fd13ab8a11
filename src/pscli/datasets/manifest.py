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
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pscli.errors import DataError

MANIFEST = "manifest.jsonl"
JOURNAL = "manifest.part.jsonl"
FILLED = ("synthetic", "placeholder")
HERE = ("ok", *FILLED)  # statuses of photos that are on disk


@dataclass(frozen=True)
class Entry:
    """One photo.

    Args:
        path: Below the dataset's folder.
        status: `ok`; `missing` (nobody has it), `failed` (for now), `broken` (what came is no
            photo, or another one), `refused` (unsafe); `placeholder` or `synthetic` (filled in).
        reason: Why it is not `ok`.
        provenance: `original`, `mirror`, `synthetic:MODEL` or `synthetic:placeholder`.
        source: The address that it came from.
        size: In bytes.
        urls: All addresses that are known.
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

    def line(self) -> bytes:
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False).encode() + b"\n"


def read_manifest(folder: Path) -> dict[str, Entry]:
    """Entries by path; of the manifest, and of a journal that was left behind.

    Raises:
        DataError: if a line is broken; the last one of a journal may be.
    """
    entries: dict[str, Entry] = {}
    for name in (MANIFEST, JOURNAL):
        path = folder / name
        lines = path.read_bytes().split(b"\n") if path.is_file() else []
        if name == JOURNAL:
            lines = lines[:-1]  # a line counts once its line feed is there
        for number, line in enumerate(lines, start=1):
            if line:
                entry = _entry(line, f"{path}, line {number}")
                entries[entry.path] = entry
    return entries


def filled_in(folder: Path) -> dict[Path, str]:
    """Photo files that were filled in, and by what."""
    entries = read_manifest(folder).values()
    return {folder / e.path: e.provenance for e in entries if e.status in FILLED}


def parse_manifest(data: bytes, where: str) -> dict[str, Entry]:
    """Entries by path of a manifest that was downloaded. Raises DataError if a line is broken."""
    lines = enumerate(data.split(b"\n"), start=1)
    found = [_entry(line, f"{where}, line {number}") for number, line in lines if line.strip()]
    return {entry.path: entry for entry in found}


def _entry(line: bytes, at: str) -> Entry:
    try:
        pairs: Any = json.loads(line)
        return Entry(**{**pairs, "urls": tuple(pairs.get("urls", ()))})
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(
            f"{at} is no manifest entry: {error}.", "Delete the file, and fetch again."
        ) from error


def open_journal(folder: Path) -> Any:
    """The journal, for appending; a half-written last line is dropped first."""
    path = folder / JOURNAL
    data = path.read_bytes() if path.is_file() else b""
    whole = data.rfind(b"\n") + 1
    if whole != len(data):
        os.truncate(path, whole)
    return path.open("ab", buffering=0)


def write_manifest(folder: Path, entries: dict[str, Entry]) -> None:
    """Writes the manifest, sorted by path, and removes the journal."""
    temporary = folder / f".{MANIFEST}.tmp"
    with temporary.open("wb") as file:
        for path in sorted(entries):
            file.write(entries[path].line())
    os.replace(temporary, folder / MANIFEST)
    (folder / JOURNAL).unlink(missing_ok=True)
