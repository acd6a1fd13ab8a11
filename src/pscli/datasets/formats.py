"""A single dialogue in any of the forms that datasets come in."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from pscli import console
from pscli.datasets import dialogcc, mmdialog, others, photochat
from pscli.datasets.records import Dropped, KnownPhoto
from pscli.dialogue.schema import Dialogue, Photo
from pscli.errors import DataError


def parse(pairs: Any, folder: Path, where: str) -> Dialogue:
    """A dialogue in our JSON form, in that of PhotoChat, DialogCC or MMDialog, or of `others`.

    Photos of the latter lie in `folder/photos`, or in `folder` under their own name or that which
    their address ends with.

    Raises:
        DataError: if it has another form.
    """
    for reader in (photochat, dialogcc, mmdialog, others):
        if reader.matches(pairs):
            return _theirs(reader.parse, pairs, folder, where)
    try:
        return Dialogue.from_json(pairs, folder, where)
    except DataError as error:
        ours = isinstance(pairs, dict) and "turns" in pairs
        line = "" if ours else others.conversion(pairs)
        if not line:
            raise
        raise DataError(error.message, f"Convert it: {line}") from error


def _theirs(read: Any, pairs: Any, folder: Path, where: str) -> Dialogue:
    dropped = Dropped()
    dialogue: Dialogue | None = read(pairs, folder / "photos", "dialogue", where, dropped)
    if dialogue is None:
        raise DataError(f"{where} is empty: {'; '.join(dropped.reasons)}.", "Give it turns.")
    for line in dropped.lines():
        console.note(f"Left out {line}.")
    turns = (dataclasses.replace(t, photo=_beside(t.photo, folder)) for t in dialogue.turns)
    return dataclasses.replace(dialogue, turns=tuple(turns))


def _beside(photo: Photo | None, folder: Path) -> Photo | None:
    if not isinstance(photo, KnownPhoto) or not isinstance(photo.source, Path):
        return photo
    path = photo.source
    if os.path.isfile(path):
        return photo
    inside = path.relative_to(folder / "photos") if path.is_relative_to(folder / "photos") else path
    names = (str(inside), path.name, *(_last(url) for url in photo.urls))
    found = (folder / name for name in names if name and os.path.isfile(folder / name))
    return dataclasses.replace(photo, source=next(found, path))


def _last(url: str) -> str:
    """What an address ends with, as a file name."""
    try:
        return Path(unquote(urlsplit(url).path)).name
    except ValueError:  # such as "http://["
        return ""
