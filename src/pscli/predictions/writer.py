"""Adds predictions to a folder: see `folder` for what lies in it."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pscli.dialogue.schema import Photo, Reply, Response
from pscli.errors import CheckpointError
from pscli.files import (
    append_line,
    claim,
    drop_cut_off,
    locked,
    new_folder,
    read_lines,
    refuse_fixed,
    write_json,
    write_png,
)
from pscli.predictions.folder import marked
from pscli.predictions.names import DRAWN, FILE_NAME, GOLD, file_stem
from pscli.predictions.settings import SETTINGS, Settings, read_settings

if TYPE_CHECKING:
    from PIL.Image import Image


class Writer:
    """Adds predictions to a folder. Made by `writing`, which keeps other processes out.

    No prediction of the folder is touched before the first one is added.
    """

    def __init__(self, folder: Path, settings: Settings, done: set[str] | None) -> None:
        self.folder, self.settings = folder, settings
        self._begun = done is not None
        self.done = done or set()  # ids that the folder has

    def begin(self) -> None:
        """Makes the folder, unless it is there."""
        if not self._begun:
            with new_folder(self.folder) as folder:
                write_json(folder / SETTINGS, dataclasses.asdict(self.settings))
            self._begun = True

    def add(
        self,
        id: str,
        gold: Response,
        reply: Reply,
        filled: bool,
        described: bool = False,
        history: Mapping[int, Sequence[str]] | None = None,
    ) -> None:
        """Adds an instance; its photos first, so that one that counts as done has everything.

        Args:
            filled, described, history: As in `Prediction`.
        """
        self.begin()
        drawn = [part for part in reply.parts if isinstance(part, Photo)]
        here = [photo for photo in gold.photos if not photo.missing]
        gone = [photo for photo in gold.photos if photo.missing]
        record: dict[str, Any] = {
            "id": id,
            "kind": gold.truth.kind if gold.truth else None,
            "reference": {
                "text": gold.text,
                "captions": [photo.caption or "" for photo in (*here, *gone)],
                "photos": self._save(here, GOLD, id),
                "missing": len(gone),
                "told": told(gold.parts),
            },
            "prediction": {
                "text": reply.text,
                "captions": reply.captions,
                "photos": self._save(drawn, DRAWN, id),
                "told": told(reply.parts),
                "raw": reply.raw,
                "notes": list(reply.notes),
            },
            "truth": gold.truth.to_json() if gold.truth else None,
            "filled": filled,
            "described": described,
        }
        if history:
            record["history"] = history
        append_line(self.folder / FILE_NAME, record)
        self.done.add(id)

    def _save(self, photos: Sequence[Photo], place: str, id: str) -> list[str]:
        names = [f"{place}/{file_stem(id)}-{i}.png" for i in range(len(photos))]
        for name, photo in zip(names, photos, strict=True):
            self.save(name, photo.open())
        return names

    def has(self, name: str) -> bool:
        """Whether the folder, as it will be gone on with, has a photo of this name."""
        return self._begun and (self.folder / name).is_file()

    def save(self, name: str, image: Image) -> None:
        """Saves a photo under a name in the folder."""
        write_png(self.folder / name, image)


@contextlib.contextmanager
def writing(folder: Path, settings: Settings, overwrite: bool = False) -> Iterator[Writer]:
    """A folder to add predictions to; it goes on with what was generated in the same way.

    Raises:
        CheckpointError: if the folder holds something else, predictions that were generated in
            another way, or those that another process is writing.
    """
    with locked(folder, "writing predictions"):
        yield Writer(folder, settings, _kept(folder, settings, overwrite))


def _kept(folder: Path, now: Settings, overwrite: bool) -> set[str] | None:
    """Ids that a folder has already; None if it is to be begun."""
    then = read_settings(folder)
    if then == now and not overwrite:
        drop_cut_off(folder / FILE_NAME)
        ids = (line.get("id") for line in read_lines(folder / FILE_NAME))
        return {id for id in ids if isinstance(id, str)}
    if then and not overwrite:
        before, after = dataclasses.asdict(then), dataclasses.asdict(now)
        changes = [f"{k} {before[k]!r}, not {v!r}" for k, v in after.items() if before[k] != v]
        raise CheckpointError(
            f"{folder} was generated with {'; '.join(changes)}.",
            "Go on with the same settings, name another folder, or replace it: --overwrite.",
        )
    refuse_fixed(folder)
    claim(folder, SETTINGS, overwrite, ours=lambda path: then is not None)
    return None


def told(parts: Sequence[str | Photo]) -> str:
    """Texts, and the captions of photos where these stand."""
    return " ".join(p if isinstance(p, str) else marked(p.caption or "") for p in parts)
