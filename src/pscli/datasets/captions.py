"""A copy of a dataset whose captions a captioner has written, in our own form (see `folder`).

What people say, and the truth, stays. The manifest tells of each photo who has written its caption,
and what; of those that keep the dataset's own it tells no captioner, and why.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pscli.console import Progress
from pscli.datasets.base import MARKER, Dataset, data_folder, identity, is_ours, load
from pscli.datasets.folder import encoded, keep, refuse_other_targets, stamped
from pscli.datasets.manifest import Entry, note_entry, read_manifest, write_manifest
from pscli.dialogue.schema import Dialogue, Photo, Turn
from pscli.errors import DataError, PscliError
from pscli.files import claim, locked, new_folder, read_json, write_json, write_lines

TOGETHER = 64  # photos that are described at once

Describe = Callable[[Sequence[Photo]], list[str]]
Copy = tuple[Entry, bytes]  # a photo: what the manifest says of it, and its file


@dataclass
class Rewritten:
    """What was copied: dialogues by split, photos with new captions, and why others keep theirs."""

    dialogues: dict[str, int] = field(default_factory=dict)
    written: int = 0
    kept: dict[str, str] = field(default_factory=dict)


def rewrite(
    dataset: Dataset,
    folder: Path,
    splits: Sequence[str],
    describe: Describe,
    captioner: str,
    progress: Progress,
    count: int | None = None,
    overwrite: bool = False,
) -> Rewritten:
    """Copies splits of a dataset, with captions that `describe` gives; an interrupted copy goes on.

    A photo that cannot be seen, that was filled in, or of which the captioner has nothing to say,
    keeps its caption. A split's JSON-lines file appears when all its captions are there. What an
    earlier copy has of another photo under the same name is replaced.

    Args:
        describe: Words for each of several photos.
        captioner: Its name, for the manifest.
        count: Only the first dialogues of each split.

    Raises:
        DataError: if the folder holds something else, a copy by another captioner, or the dataset
            itself.
    """
    about = {"name": dataset.name, "licence": dataset.licence, "citation": dataset.citation}
    about |= {"captioner": captioner}
    loaded = {split: load(dataset, split, count) for split in splits}
    home = data_folder(dataset.name)
    _refuse_source(folder, dataset.name, home, loaded)
    found = Rewritten()
    with locked(folder, "writing captions", DataError):
        _begin(folder, about, overwrite)
        entries = read_manifest(folder)
        before = {home / path: entry for path, entry in read_manifest(home).items()}
        for split, dialogues in loaded.items():
            photos = _names(split, dialogues)
            with progress(f"{dataset.name} {split}", len(photos)) as advance:
                for start in range(0, len(photos), TOGETHER):
                    some = list(photos.values())[start : start + TOGETHER]
                    copies = [_copy(name, photo, before) for name, photo in some]
                    if not all(_there(folder, entry, entries) for entry, _ in copies):
                        # All again, for the same words as without an interruption.
                        for entry in _described(folder, copies, describe, captioner):
                            if not _there(folder, entry, entries):
                                note_entry(folder, entry)
                                entries[entry.path] = entry
                    advance(len(some))
            lines = (_line(dialogue, photos, entries) for dialogue in dialogues)
            write_lines(folder / f"{split}.jsonl", lines)
            found.dialogues[split] = len(dialogues)
            for name, _ in photos.values():
                if entries[name].captioner:
                    found.written += 1
                else:
                    found.kept[name] = entries[name].reason
        write_manifest(folder, entries)
    return found


def _refuse_source(
    folder: Path, name: str, home: Path, loaded: Mapping[str, Sequence[Dialogue]]
) -> None:
    """Raises DataError if what is to be copied lies where the copy is to be, or cannot be copied.

    Args:
        home: Where the dataset is kept.
    """
    place = folder.resolve()
    photos = [p for dialogues in loaded.values() for d in dialogues for p in d.photos]
    files = {photo.source.parent for photo in photos if isinstance(photo.source, Path)}
    if any(source.resolve().is_relative_to(place) for source in (home, *files)):
        raise DataError(f"{folder} is where {name} lies.", "Name another folder: --out.")
    for dialogues in loaded.values():
        refuse_other_targets(dialogues)


def _begin(folder: Path, about: dict[str, Any], overwrite: bool) -> None:
    if overwrite:
        claim(folder, MARKER, True, DataError, is_ours)
        with new_folder(folder) as new:
            write_json(new / MARKER, about)
    if not (folder / MARKER).is_file():
        claim(folder, MARKER, False, DataError)
        write_json(folder / MARKER, about)
    elif read_json(folder / MARKER) != about:
        raise DataError(
            f"{folder} holds another dataset, or captions by another captioner.",
            "Name another folder, or replace it: --overwrite.",
        )


def _names(split: str, dialogues: Sequence[Dialogue]) -> dict[Hashable, tuple[str, Photo]]:
    """The distinct photos, each with the name that it gets."""
    found: dict[Hashable, tuple[str, Photo]] = {}
    for number, dialogue in enumerate(dialogues):
        for index, photo in enumerate(dialogue.photos):
            source = photo.source
            suffix = source.suffix.lower() if isinstance(source, Path) else ".png"
            name = f"photos/{split}/{number:05d}-{index}{suffix}"
            found.setdefault(identity(photo), (name, photo))
    return found


def _there(folder: Path, entry: Entry, entries: Mapping[str, Entry]) -> bool:
    """Whether a copy has just this photo under this name, or just this reason why it has none."""
    known = entries.get(entry.path)
    same = known is not None and (known.status, known.sha256) == (entry.status, entry.sha256)
    return same and (not entry.sha256 or (folder / entry.path).is_file())


def _described(
    folder: Path, copies: Sequence[Copy], describe: Describe, captioner: str
) -> Iterator[Entry]:
    """Entries of photos that are written and described."""
    for entry, data in copies:
        if data:
            keep(folder, entry, data)
    seen = [entry.path for entry, _ in copies if entry.status == "ok"]
    words = dict(zip(seen, _words(describe, [Photo(folder / path) for path in seen]), strict=True))
    for entry, _ in copies:
        said, fault = words.get(entry.path, ("", entry.reason))
        yield (
            replace(entry, captioner=captioner, caption=said)
            if said
            else replace(entry, reason=fault)
        )


def _copy(name: str, photo: Photo, before: Mapping[Path, Entry]) -> Copy:
    """The entry of a photo and its bytes, none if it cannot be seen; a file's are its own.

    Args:
        before: What the dataset's own manifest says, by file.
    """
    if not isinstance(photo.source, Path):
        try:
            return encoded(name, photo)
        except (PscliError, OSError) as error:
            return Entry(name, "broken", str(error)), b""
    path = photo.source
    entry = replace(before.get(path, Entry("", "ok", "", "mirror", str(path))), path=name)
    if photo.missing and entry.status == "ok":
        return replace(entry, status="missing", reason="it is not on disk, or no photo"), b""
    try:
        photo.open()
        data = path.read_bytes()
        return stamped(entry, data), data
    except (PscliError, OSError) as error:
        return replace(entry, status="broken", reason=str(error)), b""


def _words(describe: Describe, photos: Sequence[Photo]) -> list[tuple[str, str]]:
    """Words for each photo, or none and why: a photo that nobody can describe is alone in that."""
    try:
        return [(words, "the captioner says nothing") for words in describe(photos)]
    except (PscliError, ValueError, RuntimeError) as error:
        if len(photos) == 1:
            return [("", f"the captioner fails at it: {error}")]
        return [one for photo in photos for one in _words(describe, [photo])]


def _line(
    dialogue: Dialogue,
    photos: Mapping[Hashable, tuple[str, Photo]],
    entries: Mapping[str, Entry],
) -> dict[str, Any]:
    names = [photos[identity(photo)][0] for photo in dialogue.photos]
    left = iter(names)

    def told(turn: Turn) -> Turn:
        if turn.photo is None:
            return turn
        caption = entries[next(left)].caption or turn.photo.caption
        return replace(turn, photo=replace(turn.photo, caption=caption))

    return replace(dialogue, turns=tuple(map(told, dialogue.turns))).to_json(iter(names))
