"""A single dialogue in any of the forms that datasets come in."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pscli import console
from pscli.datasets import dialogcc, mmdialog, photochat
from pscli.datasets.records import Dropped
from pscli.dialogue.schema import Dialogue, Photo
from pscli.errors import DataError


def parse(pairs: Any, folder: Path, where: str) -> Dialogue:
    """A dialogue in our JSON form, or in that of PhotoChat, DialogCC or MMDialog.

    Photos of the latter lie in `folder/photos`, or in `folder` under the name that their address
    ends with.

    Raises:
        DataError: if it has another form.
    """
    for reader in (photochat, dialogcc, mmdialog):
        if reader.matches(pairs):
            return _theirs(reader.parse, pairs, folder, where)
    try:
        return Dialogue.from_json(pairs, folder, where)
    except (TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{where}: a truth has another form ({error}).", "Leave it out.") from error


def _theirs(read: Any, pairs: Any, folder: Path, where: str) -> Dialogue:
    dropped = Dropped()
    dialogue = read(pairs, folder / "photos", "dialogue", where, dropped)
    if dialogue is None:
        raise DataError(f"{where} is empty: {'; '.join(dropped.reasons)}.", "Give it turns.")
    for line in dropped.lines():
        console.note(f"Left out {line}.")
    turns = (dataclasses.replace(t, photo=_beside(t.photo, folder)) for t in dialogue.turns)
    return dataclasses.replace(dialogue, turns=tuple(turns))


def _beside(photo: Any, folder: Path) -> Photo | None:
    if photo is None or photo.source.is_file():
        return photo
    names = (photo.source.name, *(Path(urlsplit(url).path).name for url in photo.urls))
    found = (folder / name for name in names if name and (folder / name).is_file())
    return dataclasses.replace(photo, source=next(found, photo.source))
