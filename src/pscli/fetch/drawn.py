"""A dataset brought to disk, whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from pscli.datasets.base import MARKER, Dataset, check_split
from pscli.datasets.folder import write_split
from pscli.errors import DataError
from pscli.files import claim

WORKERS = 2  # processes that draw
FEW = 100  # dialogues; for fewer, starting processes takes longer than drawing


@dataclass(frozen=True)
class Fetched:
    """What was written: dialogues and photos of each split."""

    folder: Path
    dialogues: dict[str, int]
    photos: dict[str, int]


Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]


def fetch(
    source: Dataset,
    folder: Path,
    splits: Sequence[str],
    progress: Progress,
    *,
    count: int | None = None,
    overwrite: bool = False,
) -> Fetched:
    """Writes splits of a dataset as `pscli.datasets.folder` describes it.

    Args:
        folder: Appears only when everything is in it.
        progress: Opens a progress bar with a title and a total.
        count: Only the first dialogues of each split.

    Raises:
        ConfigError: if there is no such split.
        DataError: if the folder exists and is not to be overwritten.
    """
    for split in splits:
        check_split(source, split)
    folder = folder.resolve()
    claim(folder, MARKER, overwrite, DataError)
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    dialogues, photos = {}, {}
    try:
        for split in splits:
            loaded = source.load(split, count)
            with progress(f"{source.name} {split}", len(loaded)) as advance:
                workers = WORKERS if len(loaded) > FEW else 1
                photos[split] = write_split(temporary, split, loaded, advance, workers)
            dialogues[split] = len(loaded)
        pairs = {"name": source.name, "licence": source.licence, "dialogues": dialogues}
        (temporary / MARKER).write_text(json.dumps(pairs, indent=1), encoding="utf-8")
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Fetched(folder, dialogues, photos)
