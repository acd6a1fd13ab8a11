"""Anyone's dialogues: JSON lines of our own, one dialogue each, a file per split.

    {"id": "d1", "turns": [{"speaker": "A", "text": "Look!",
                            "photo": {"path": "photos/dog.jpg", "caption": "A dog.",
                                      "url": "https://…", "sha256": "…"}}]}

A photo is a path relative to the folder, or an object of which only `path` is needed. `url` lets
`pscli fetch` fetch it; `sha256` lets it check what came. It is described in docs/datasets.md, as
are the forms of `others`, which a line may have as well.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from pscli.datasets import others
from pscli.datasets.corpus import Corpus, split_files
from pscli.datasets.records import Dropped, KnownPhoto, clean, clean_id, url_of
from pscli.dialogue.pixels import SUFFIXES
from pscli.dialogue.schema import Dialogue, Photo, before
from pscli.errors import DataError

MENDED = "\ufffd"  # stands for half a character, and for what others could not read
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

    A dialogue ends before the first response with a photo that cannot be used.

    Args:
        photos: Folder to which photo paths are relative, and in which they must lie.
    """
    theirs = others.matches(value)
    try:
        if theirs:
            read = others.parse(value, photos, split, at, drop)
        else:
            read = Dialogue.from_json(value, photos, at)
    except DataError as error:
        drop(at, "an unusable record: " + error.message.removeprefix(at).lstrip(",: "))
        return None
    if any(MENDED in text for turn in read.turns for text in (turn.speaker, turn.text)):
        clean(json.dumps(value, ensure_ascii=False), at, drop)  # was it half a character?
    turns = list(read.turns)
    for number, turn in enumerate(turns):
        if turn.photo is None or not isinstance(turn.photo.source, Path):
            continue
        name, fault = _place(turn.photo.source, photos)
        if fault:
            drop(at, f"a photo {fault}, with its response and all that follow")
            turns = list(before(turns, number))
            break
        photo = replace(turn.photo, source=photos / name)
        if not theirs:
            photo = _known(photo, value["turns"][number]["photo"], at, drop)
        turns[number] = replace(turn, photo=photo)
    if not turns:
        return None
    return Dialogue(tuple(turns), clean_id(value.get("id"), at.rpartition(" ")[2]))


def _place(photo: Path, photos: Path) -> tuple[str, str]:
    """Where a photo lies below the folder, and why it is not to be looked for, if so."""
    # Compared as text: no photo is looked up, and a link inside the folder is its owner's wish.
    base, path = os.path.abspath(photos), os.path.abspath(photo)
    if "\0" in path or not path.startswith(base.rstrip(os.sep) + os.sep):
        return "", "outside the dataset's folder"
    name = path[len(base.rstrip(os.sep)) + 1 :]
    if not name.lower().endswith(SUFFIXES) or name.startswith(".") or not _writable(name):
        return "", "whose name is no photo's"  # fetch must not write over dialogues
    return name, ""


def _known(photo: Photo, value: Any, at: str, drop: Dropped) -> Photo:
    """A photo with what its turn says about where it can be had."""
    if not isinstance(value, dict) or "url" not in value:
        return photo
    url, sha256 = url_of(value["url"], at, drop), value.get("sha256")
    if sha256 is not None and not (isinstance(sha256, str) and _SHA256.fullmatch(sha256)):
        drop(at, "a sha256 of another form")
        sha256 = None
    return KnownPhoto(photo.source, photo.caption, urls=(url,) if url else (), sha256=sha256)


def _writable(name: str) -> bool:
    """Whether a file system can hold a name."""
    try:
        return len(name.encode()) <= 1024 and all(len(p.encode()) <= 255 for p in name.split("/"))
    except UnicodeEncodeError:
        return False
