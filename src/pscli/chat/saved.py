"""Talks as files, in the form that `generate --context` reads."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable
from pathlib import Path

from pscli.dialogue.pixels import Encoded
from pscli.dialogue.schema import Dialogue, Photo
from pscli.errors import DataError
from pscli.files import replacing, write_json


def save(dialogue: Dialogue, path: Path) -> None:
    """Writes a talk, and its photos beside it in `NAME.photos`, so that both can be moved.

    Photos are named by their content: what was saved there before stays what it was.

    Raises:
        DataError: if nothing was said yet, or a photo is gone.
    """
    if not dialogue.responses:
        raise DataError("Nothing was said yet.", "Say something first.")
    folder = path.with_name(f"{path.stem}.photos")
    names = [f"{folder.name}/{_kept(photo, folder)}" for photo in dialogue.photos]
    write_json(path, dialogue.to_json(iter(names)))


def _kept(photo: Photo, folder: Path) -> str:
    """Name of a photo's file, which is written if it is not there."""
    if isinstance(photo.source, Path):
        photo.open()  # says what is wrong with it
        data, suffix = photo.source.read_bytes(), photo.source.suffix
    else:
        file = io.BytesIO()
        photo.open().save(file, "PNG")
        data, suffix = file.getvalue(), ".png"
    name = hashlib.sha256(data).hexdigest()[:16] + suffix
    if not (folder / name).is_file():
        with replacing(folder / name, sync=False) as kept:
            kept.write(data)
    return name


def listed(dialogue: Dialogue, drawn: list[Path]) -> list[dict[str, object]]:
    """The turns of a dialogue in our JSON form, with whole paths of photos, or what they hold.

    Args:
        drawn: Files of those photos, in order, that were drawn.
    """
    left = iter(drawn)

    def name(photo: Photo) -> str:
        if isinstance(photo.source, Encoded):
            return photo.source.address
        file = photo.source if isinstance(photo.source, Path) else next(left)
        return str(file.absolute())

    turns: list[dict[str, object]] = dialogue.to_json(map(name, dialogue.photos))["turns"]
    return turns


def files_of(photos: Iterable[Photo]) -> list[str]:
    """Whole paths of those photos that lie in files."""
    return [str(p.source.absolute()) for p in photos if isinstance(p.source, Path)]
