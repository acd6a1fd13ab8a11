"""Datasets as folders of our own: a JSON-lines file per split, and photos beside it.

data/photoworld/dataset.json    name, licence, citation, checksums
data/photoworld/manifest.jsonl  where each photo is from, and its checksum
data/photoworld/train.jsonl     one `Dialogue.to_json` per line
data/photoworld/photos/train/00012-0.png
"""

from __future__ import annotations

import hashlib
import io
import json
import multiprocessing
import signal
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pscli.console import Advance
from pscli.datasets.base import Dataset, Published, data_folder, identity
from pscli.datasets.formats import parse
from pscli.datasets.manifest import JOURNAL, MANIFEST, Entry
from pscli.datasets.records import Dropped
from pscli.dialogue.schema import Dialogue, Photo
from pscli.errors import DataError
from pscli.files import replacing, write_lines

Drawing = list[tuple[Path, str, Photo]]  # the photos of one dialogue: folder, name below it, photo


def write_split(
    folder: Path,
    split: str,
    dialogues: Sequence[Dialogue],
    progress: Advance = lambda count: None,
    workers: int = 1,
) -> list[Entry]:
    """Writes `folder/SPLIT.jsonl` and its photos, and returns what the manifest says of them.

    A photo that is sent twice is kept once. The JSON-lines file appears only when every photo is
    there.

    Args:
        progress: Called with how many more dialogues are done.
        workers: Processes that draw.

    Raises:
        DataError: if a photo is shown that is not the one to be drawn.
    """
    refuse_other_targets(dialogues)
    names: dict[Hashable, str] = {}
    drawings: list[Drawing] = []
    for number, dialogue in enumerate(dialogues):
        drawings.append([])
        for index, photo in enumerate(dialogue.photos):
            if identity(photo) not in names:
                name = f"photos/{split}/{number:05d}-{index}.png"
                names[identity(photo)] = name
                drawings[-1].append((folder, name, photo))
    entries: list[Entry] = []
    for drawn in _drawn(drawings, workers):
        entries += drawn
        progress(1)
    pairs = (d.to_json(iter([names[identity(p)] for p in d.photos])) for d in dialogues)
    write_lines(folder / f"{split}.jsonl", pairs)
    return entries


def _drawn(drawings: Iterable[Drawing], workers: int) -> Iterator[list[Entry]]:
    if workers == 1:
        yield from map(_draw, drawings)
        return
    # Ctrl-C is the parent's to answer; it ends the pool on its way out.
    context = multiprocessing.get_context("spawn")
    with context.Pool(workers, signal.signal, (signal.SIGINT, signal.SIG_IGN)) as pool:
        yield from pool.imap(_draw, drawings, chunksize=8)


def _draw(drawing: Drawing) -> list[Entry]:
    return [drawn(folder, name, photo) for folder, name, photo in drawing]


def drawn(folder: Path, name: str, photo: Photo) -> Entry:
    """Writes a photo as PNG, and returns what the manifest says of it.

    Raises:
        DataError: if it cannot be opened.
    """
    entry, data = encoded(name, photo)
    keep(folder, entry, data)
    return entry


def encoded(name: str, photo: Photo) -> tuple[Entry, bytes]:
    """A photo as PNG, and what the manifest says of it.

    Raises:
        DataError: if it cannot be opened.
    """
    file = io.BytesIO()
    photo.open().save(file, "PNG")
    data = file.getvalue()
    return stamped(Entry(name, "ok", "", "drawn", format="PNG"), data), data


def stamped(entry: Entry, data: bytes) -> Entry:
    """An entry that tells size and checksum of its file."""
    return replace(entry, sha256=hashlib.sha256(data).hexdigest(), size=len(data))


def keep(folder: Path, entry: Entry, data: bytes) -> None:
    """Writes the file of an entry."""
    with replacing(folder / entry.path, sync=False) as file:
        file.write(data)


def refuse_other_targets(dialogues: Iterable[Dialogue]) -> None:
    """Raises DataError if a photo is shown that is not the one to be drawn: no file holds that."""
    if any(photo.target is not photo for dialogue in dialogues for photo in dialogue.photos):
        raise DataError(
            "Its photos are not those that are to be drawn there, and files hold one of the two.",
            "Use the dataset by its name.",
        )


def read_all(
    dataset: Dataset, folder: Path | None, dropped: Dropped
) -> dict[str, Iterable[Dialogue]]:
    """All dialogues of a dataset by split, those with photos that are not on disk, too.

    Args:
        folder: Where it lies; by default where `fetch` puts it, or where it is made.
        dropped: Collects what could not be read.

    Raises:
        DataError: if the folder holds no dataset.
    """
    if isinstance(dataset, Published):
        place = folder or data_folder(dataset.name)
        return {s: dataset.read(s, place, dropped) for s in dataset.splits_in(place)}
    if folder is not None:
        return {split: read_split(folder, split) for split in splits_in(folder)}
    return {split: iter(dataset.load(split)) for split in dataset.splits}


def read_split(folder: Path, split: str) -> list[Dialogue]:
    """Dialogues of a split, in the order of the file; photos are opened when they are asked for.

    Raises:
        DataError: if there is no such split, or a line is broken; it names file and line.
    """
    path = folder / f"{split}.jsonl"
    try:
        with path.open("rb") as file:
            lines = ((f"{path}:{number}", line) for number, line in enumerate(file, start=1))
            return [parse(_json(line, at), folder, at) for at, line in lines if line.strip()]
    except OSError as error:
        raise DataError(
            f"{folder} has no split '{split}': {path.name} cannot be read.",
            "`pscli fetch` writes datasets.",
        ) from error


def splits_in(folder: Path) -> list[str]:
    """Splits that a folder holds: train, dev and test first.

    Raises:
        DataError: if there are none.
    """
    found = sorted(p.stem for p in folder.glob("*.jsonl") if p.name not in (MANIFEST, JOURNAL))
    if not found:
        raise DataError(
            f"{folder} holds no dataset.", "Expected train.jsonl, as `pscli fetch` writes."
        )
    usual = [split for split in ("train", "dev", "test") if split in found]
    return usual + [split for split in found if split not in usual]


def _json(line: bytes, at: str) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{at} is not valid JSON: {error.msg} at column {error.colno}.",
            "Mend the line, or fetch the dataset again with --overwrite.",
        ) from error
    except (ValueError, RecursionError) as error:  # not UTF-8, or a number of 5,000 digits
        raise DataError(
            f"{at} cannot be read: {error}.", "Expected one dialogue a line."
        ) from error
