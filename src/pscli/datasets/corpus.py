"""A dataset that others made: who made it, where its files lie, how a record of it is read."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pscli import console
from pscli.datasets.base import MARKER, PHOTOS, Upstream, data_folder, distinct
from pscli.datasets.manifest import JOURNAL, MANIFEST, filled_in
from pscli.datasets.records import Dropped, records
from pscli.dialogue import pixels
from pscli.dialogue.schema import Dialogue, Photo, Turn
from pscli.errors import DataError

Parse = Callable[[Any, Path, str, str, Dropped], Dialogue | None]
OTHER_NAMES = {"dev": ("valid", "validation", "val")}
SUFFIXES = (".json", ".jsonl")
FILES_OF_OURS = (MANIFEST, JOURNAL, MARKER)


@dataclass(frozen=True)
class Corpus:
    """A dataset on disk, read one dialogue at a time.

    Args:
        parse: Reads one record; (value, photo folder, split, where, dropped) → dialogue.
        files: (folder, split) → files of that split, in order.
        photos: (folder, split) → folder of its photos.
        upstream: What `fetch` downloads; empty if nobody may.
    """

    name: str
    licence: str
    citation: str
    splits: tuple[str, ...]
    parse: Parse = field(repr=False)
    files: Callable[[Path, str], list[Path]] = field(repr=False)
    photos: Callable[[Path, str], Path] = field(repr=False)
    upstream: tuple[Upstream, ...] = field(repr=False, default=())

    def splits_in(self, folder: Path) -> list[str]:
        """Splits of which a folder holds files.

        Raises:
            DataError: if there are none.
        """
        found = [split for split in self.splits if self.files(folder, split)]
        if not found:
            raise DataError(
                f"{folder} holds no dataset: no files of {self.name} were found there.",
                f"Fetch them with `pscli fetch {self.name}`, or name their folder: --from.",
            )
        return found

    def read(
        self, split: str, folder: Path | None = None, dropped: Dropped | None = None
    ) -> Iterator[Dialogue]:
        """Dialogues of a split, one at a time.

        Args:
            folder: Where the dataset lies; below `$PSCLI_DATA` or `data/` by default.
            dropped: Collects what could not be read.

        Raises:
            DataError: if there are no files, a file is broken, or nothing in it is a dialogue.
        """
        folder = folder or data_folder(self.name)
        drop = dropped if dropped is not None else Dropped()
        files = self.files(folder, split)
        if not files:
            raise DataError(
                f"{folder} has no split '{split}' of {self.name}.",
                f"Fetch it with `pscli fetch {self.name} --split {split}`.",
            )
        photos = self.photos(folder, split)
        for path in files:
            some = False
            for number, value in records(path):
                dialogue = self.parse(value, photos, split, f"{path}, record {number}", drop)
                if dialogue is not None:
                    some = True
                    yield dialogue
            if not some:
                why = next(iter(drop.first), "it holds no records")
                raise DataError(
                    f"{path}, record 0: nothing in the file is a dialogue ({why}).",
                    f"Expected the format of {self.name}.",
                )

    def load(self, split: str, count: int | None = None, photos: str = PHOTOS[0]) -> list[Dialogue]:
        """The dialogues with which one can train and test; says what is left out.

        A photo that is not on disk is told by its caption. Where it has none, or with `strict`,
        its dialogue ends before its response: neither that nor what follows could be seen as it
        was.

        Args:
            count: Only the first dialogues of the split, before any are left out.
            photos: `described` or `strict`.
        """
        drop = Dropped()
        whole = distinct(itertools.islice(self.read(split, None, drop), count))
        kept, all_instances, instances, missing, told, sent = [], 0, 0, 0, 0, 0
        fillers, filled = filled_in(data_folder(self.name)), 0
        for dialogue in whole:
            usable, gone = available(dialogue, drop, described=photos == "described")
            usable = marked(usable, fillers)
            filled += sum(bool(photo.filled) for photo in usable.photos)
            told += sum(photo.missing for photo in usable.photos)
            sent += len(dialogue.photos)
            missing += gone
            all_instances += max(0, len(dialogue.responses) - 1)
            now = max(0, len(usable.responses) - 1)
            instances += now
            if now:
                kept.append(usable)
        for line in drop.lines():
            console.note(f"{self.name} {split}: left out {line}.")
        if missing:
            console.note(
                f"{self.name} {split}: {missing:,} of {sent:,} photos are not on disk, which "
                f"leaves out {all_instances - instances:,} of {all_instances:,} instances. "
                f"Fetch them with `pscli fetch {self.name}`."
            )
        if told:
            console.note(
                f"{self.name} {split}: {told:,} of {sent:,} photos are told by their descriptions "
                "alone, and none like them is drawn; --photos strict ends dialogues before them."
            )
        if filled:
            console.note(
                f"{self.name} {split}: {filled:,} of {sent:,} photos are filled in; "
                "`pscli score` gives its figures without them too."
            )
        if not kept and not all_instances:
            raise DataError(
                f"There is no instance in {self.name} {split}: no dialogue has a second response.",
                "An instance is a response to what came before.",
            )
        if not kept:
            raise DataError(
                f"No instance of {self.name} {split} has all its photos.",
                f"Fetch them with `pscli fetch {self.name} --split {split}`.",
            )
        return kept


def available(dialogue: Dialogue, drop: Dropped, described: bool = False) -> tuple[Dialogue, int]:
    """A dialogue up to its first response with a photo that cannot be seen, and how many of its
    photos are not on disk.

    Args:
        drop: Told of each photo that is there and cannot be decoded.
        described: Whether such a photo is kept, as `missing`, if it has a caption.
    """
    missing = {id(photo) for photo in dialogue.photos if not on_disk(photo)}
    gone = missing | {
        id(p) for p in dialogue.photos if id(p) not in missing and _broken(p, drop, described)
    }
    if not gone:
        return dialogue, 0

    def kept(turn: Turn) -> Turn:
        photo = turn.photo
        if not described or photo is None or not photo.caption or id(photo) not in gone:
            return turn
        return replace(turn, photo=replace(photo, missing=True))

    known = replace(dialogue, turns=tuple(map(kept, dialogue.turns)))
    here = itertools.takewhile(
        lambda response: all(p.missing or id(p) not in gone for p in response.photos),
        known.responses,
    )
    turns = tuple(turn for response in here for turn in response.turns)
    return replace(dialogue, turns=turns), len(missing)


def _broken(photo: Photo, drop: Dropped, described: bool) -> bool:
    """Whether a photo's file cannot be decoded, which is told."""
    if isinstance(photo.source, Path):
        try:
            pixels.check(photo.source)
        except DataError:
            rest = "" if described and photo.caption else ", and what follows it"
            drop(str(photo.source), f"a photo that cannot be decoded{rest}")
            return True
    return False


def marked(dialogue: Dialogue, fillers: Mapping[Path, str]) -> Dialogue:
    """A dialogue whose photos say by what they were filled in.

    Args:
        fillers: What a file was filled in by; files that came from upstream are not in it.
    """
    if not fillers:
        return dialogue
    turns = (
        replace(turn, photo=replace(turn.photo, filled=fillers.get(turn.photo.source, "")))
        if turn.photo is not None and isinstance(turn.photo.source, Path)
        else turn
        for turn in dialogue.turns
    )
    return replace(dialogue, turns=tuple(turns))


def on_disk(photo: Photo) -> bool:
    """Whether a photo needs not be fetched."""
    return not isinstance(photo.source, Path) or os.path.isfile(photo.source)


def split_files(folder: Path, split: str) -> list[Path]:
    """Files of a split: `SPLIT/*.json`, `SPLIT.json` or `SPLIT_*.json`, or JSON lines likewise."""
    for name in (split, *OTHER_NAMES.get(split, ())):
        inside = _json_files(folder / name)
        if inside:
            return inside
        beside = [p for p in _json_files(folder) if p.stem == name or p.stem.startswith(f"{name}_")]
        if beside:
            return beside
    return []


def _json_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    found = (p for p in folder.iterdir() if p.suffix in SUFFIXES and p.name not in FILES_OF_OURS)
    return sorted(p for p in found if p.is_file() and not p.name.startswith("."))
