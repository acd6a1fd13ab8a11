"""Anyone's dialogues: JSON lines of our own, one dialogue each, a file per split.

    {"id": "d1", "turns": [{"speaker": "A", "text": "Look!",
                            "photo": {"path": "photos/dog.jpg", "caption": "A dog.",
                                      "url": "https://…", "sha256": "…"}}]}

A photo is a path relative to the folder, or an object of which only `path` is needed. `url` lets
`pscli fetch` bring it; `sha256` lets it check what came. It is described in docs/datasets.md.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from pscli.datasets.corpus import Corpus, split_files
from pscli.datasets.records import Dropped, KnownPhoto, clean, clean_id, url_of
from pscli.dialogue.schema import Dialogue, Photo, Turn
from pscli.errors import DataError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def jsonl() -> Corpus:
    """The dataset, as the registry knows it."""
    return Corpus(
        name="jsonl",
        licence="whatever its owner says",
        citation="none",
        splits=("train", "dev", "test"),
        parse=parse,
        files=split_files,
        photos=lambda folder, split: folder,
        upstream=(),
    )


def matches(value: Any) -> bool:
    """Whether a JSON value looks like one of these dialogues."""
    return isinstance(value, dict) and isinstance(value.get("turns"), list)


def parse(value: Any, photos: Path, split: str, at: str, drop: Dropped) -> Dialogue | None:
    """A dialogue, or None if the record is unusable; what is left out is named.

    Args:
        photos: Folder to which photo paths are relative, and in which they must lie.
    """
    try:
        read = Dialogue.from_json(value, photos, at)
    except (DataError, TypeError, ValueError, AttributeError) as error:
        what = error.message if isinstance(error, DataError) else f"a truth is broken: {error}"
        drop(at, "an unusable record: " + what.removeprefix(at).lstrip(",: "))
        return None
    turns = []
    for turn, pairs in zip(read.turns, value["turns"], strict=True):
        photo = _photo(turn.photo, pairs.get("photo"), photos, at, drop) if turn.photo else None
        speaker, text = clean(turn.speaker, at, drop), clean(turn.text, at, drop)
        turns.append(Turn(speaker, text, photo, turn.truth))
    return Dialogue(tuple(turns), clean_id(value.get("id"), at.rpartition(" ")[2]))


def _photo(photo: Photo, value: Any, photos: Path, at: str, drop: Dropped) -> Photo | None:
    assert isinstance(photo.source, Path)
    # Compared as text: no photo is looked up, and a link inside the folder is its owner's wish.
    base, path = os.path.abspath(photos), os.path.abspath(photo.source)
    if "\0" in path or not path.startswith(base.rstrip(os.sep) + os.sep):
        drop(at, "a photo outside the dataset's folder")
        return None
    name = path[len(base.rstrip(os.sep)) + 1 :]
    if not name.lower().endswith(SUFFIXES) or name.startswith(".") or not _writable(name):
        drop(at, "a photo whose name is no photo's")  # fetch must not write over dialogues
        return None
    caption = clean(photo.caption, at, drop) if photo.caption else photo.caption
    photo = Photo(photos / name, caption)
    if not isinstance(value, dict) or "url" not in value:
        return photo
    url, sha256 = url_of(value["url"], at, drop), value.get("sha256")
    if sha256 is not None and not (isinstance(sha256, str) and _SHA256.fullmatch(sha256)):
        drop(at, "a sha256 of another form")
        sha256 = None
    urls = (url,) if url else ()
    return KnownPhoto(photo.source, photo.caption, urls=urls, sha256=sha256)


def _writable(name: str) -> bool:
    """Whether a file system can hold a name."""
    try:
        return len(name.encode()) <= 1024 and all(len(p.encode()) <= 255 for p in name.split("/"))
    except UnicodeEncodeError:
        return False
