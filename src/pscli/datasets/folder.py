"""Datasets as folders of our own: a JSON-lines file per split, and photos beside it.

data/photoworld/dataset.json   name, licence, dialogues per split
data/photoworld/train.jsonl    one `Dialogue.to_json` per line
data/photoworld/photos/train/00012-0.png
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pscli.datasets.base import identity
from pscli.datasets.formats import parse
from pscli.dialogue.schema import Dialogue, Photo
from pscli.errors import DataError

Drawing = list[tuple[Path, Photo]]  # the photos of one dialogue, and where they go


def write_split(
    folder: Path,
    split: str,
    dialogues: Sequence[Dialogue],
    progress: Callable[[int], None] = lambda count: None,
    workers: int = 1,
) -> int:
    """Writes `folder/SPLIT.jsonl` and its photos, and returns how many photos that are.

    A photo that is sent twice is kept once. The JSON-lines file appears only when every photo is
    there.

    Args:
        progress: Called with how many more dialogues are done.
        workers: Processes that draw.
    """
    names: dict[Hashable, str] = {}
    drawings: list[Drawing] = []
    for number, dialogue in enumerate(dialogues):
        drawings.append([])
        for index, photo in enumerate(dialogue.photos):
            if identity(photo) not in names:
                name = f"photos/{split}/{number:05d}-{index}.png"
                names[identity(photo)] = name
                drawings[-1].append((folder / name, photo))
    (folder / "photos" / split).mkdir(parents=True, exist_ok=True)
    for _ in _drawn(drawings, workers):
        progress(1)
    temporary = folder / f".{split}.jsonl.tmp"
    with temporary.open("w", encoding="utf-8") as file:
        for dialogue in dialogues:
            pairs = dialogue.to_json(iter([names[identity(photo)] for photo in dialogue.photos]))
            file.write(json.dumps(pairs, ensure_ascii=False) + "\n")
    os.replace(temporary, folder / f"{split}.jsonl")
    return len(names)


def _drawn(drawings: Iterable[Drawing], workers: int) -> Iterator[None]:
    if workers == 1:
        yield from map(_draw, drawings)
        return
    # Ctrl-C is the parent's to answer; it ends the pool on its way out.
    context = multiprocessing.get_context("spawn")
    with context.Pool(workers, signal.signal, (signal.SIGINT, signal.SIG_IGN)) as pool:
        yield from pool.imap(_draw, drawings, chunksize=8)


def _draw(drawing: Drawing) -> None:
    for path, photo in drawing:
        photo.open().save(path, "PNG")


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
    found = sorted(path.stem for path in folder.glob("*.jsonl"))
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
