"""What a dataset is, how one is looked up, and where it is kept."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

from pscli.datasets.records import Dropped, clean_id
from pscli.dialogue.schema import Dialogue, Photo
from pscli.errors import ConfigError, PscliError
from pscli.files import has_keys
from pscli.registry import find

MARKER = "dataset.json"  # tells a folder that we wrote
NEEDED = ("name", "licence", "citation", "splits", "load")
PHOTOS = ("described", "strict")  # what becomes of photos that cannot be had


def is_ours(marker: Path) -> bool:
    """Whether a file is the marker of a dataset that we wrote."""
    return has_keys(marker, "name", "licence", "citation")


class Dataset(Protocol):
    """What every command needs of a dataset, of the registry or of one's own."""

    @property
    def name(self) -> str:
        """Also of its folder below `$PSCLI_DATA` or `data/`."""

    @property
    def licence(self) -> str: ...

    @property
    def citation(self) -> str: ...

    @property
    def splits(self) -> tuple[str, ...]:
        """`train` and `dev` are what training reads, `test` what `generate` answers."""

    def load(self, split: str, count: int | None = None) -> Iterable[Dialogue]:
        """The dialogues of a split; only the first `count`, if that is given."""


@dataclass(frozen=True)
class Upstream:
    """A file of a dataset where it is published.

    Args:
        name: Path below the dataset's folder.
        sha256: None where nobody published one.
    """

    name: str
    split: str
    url: str
    sha256: str | None = None


@runtime_checkable
class Published(Dataset, Protocol):
    """A dataset that lies in files, of which photos may be missing: see `corpus.Corpus`."""

    @property
    def upstream(self) -> tuple[Upstream, ...]:
        """What `fetch` downloads; empty if nobody may."""

    @property
    def files(self) -> Callable[[Path, str], list[Path]]:
        """(folder, split) → files of that split, in order."""

    def splits_in(self, folder: Path) -> list[str]:
        """Splits of which a folder holds files. Raises DataError if there are none."""

    def read(
        self, split: str, folder: Path | None = None, dropped: Dropped | None = None
    ) -> Iterator[Dialogue]:
        """All dialogues of a split, one at a time, whether their photos are there or not."""

    def load(
        self, split: str, count: int | None = None, photos: str = PHOTOS[0]
    ) -> Iterable[Dialogue]:
        """What one can train and test with; `photos` is one of `PHOTOS`."""


@runtime_checkable
class Overlapping(Protocol):
    """A dataset that can tell how much of its other splits training has shown, for `stats`."""

    def overlaps(self) -> dict[str, dict[str, tuple[int, int]]]:
        """Split → what, such as captions → how many of them training has shown, and all."""


def named(name: str) -> Dataset:
    """A dataset of the registry, or one's own: the class or function behind `module:object`.

    Raises:
        ConfigError: if there is none, or what there is is no dataset.
    """
    maker = find("dataset", name)
    try:
        dataset: Dataset = maker()
    except TypeError as error:
        raise ConfigError(
            f"The dataset '{name}' cannot be made: {error}.",
            "Expected a class or function without arguments: see docs/datasets.md.",
        ) from error
    lacks = [what for what in NEEDED if not hasattr(dataset, what)]
    if lacks:
        raise ConfigError(
            f"The dataset '{name}' has no {', no '.join(lacks)}.",
            f"A dataset has {', '.join(NEEDED)}: see docs/datasets.md.",
        )
    return dataset


def known(name: str) -> Dataset | None:
    """`named`; None of somebody's own that is not here."""
    try:
        return named(name)
    except PscliError:
        return None


def load(
    dataset: Dataset, split: str, count: int | None = None, photos: str = PHOTOS[0]
) -> list[Dialogue]:
    """Dialogues of a split, each with an id of its own that can be part of a file name.

    Args:
        photos: What becomes of a photo that cannot be had: `described`, its caption stands for it;
            `strict`, its dialogue ends before it.

    Raises:
        ConfigError: if there is no such split, or no such way.
    """
    check_split(dataset, split)
    if photos not in PHOTOS:
        raise ConfigError(f"Photos are to be '{photos}'.", f"Known: {', '.join(PHOTOS)}.")
    if isinstance(dataset, Published):
        dialogues = dataset.load(split, count, photos)
    else:
        dialogues = dataset.load(split, count)
    return list(distinct(itertools.islice(dialogues, count)))


def distinct(dialogues: Iterable[Dialogue]) -> Iterator[Dialogue]:
    """The dialogues, with ids that file names made of them tell apart.

    Also where upper and lower case are the same, and `:` has to become `-`.
    """
    taken: set[str] = set()
    times: dict[str, int] = {}
    for number, dialogue in enumerate(dialogues):
        first = name = clean_id(dialogue.id, number)
        while _folded(name) in taken:
            times[first] = times.get(first, 1) + 1
            name = f"{first}-{times[first]}"
        taken.add(_folded(name))
        yield dialogue if name == dialogue.id else replace(dialogue, id=name)


def _folded(name: str) -> str:
    return name.casefold().replace(":", "-")


def check_split(dataset: Dataset, split: str) -> str:
    """Returns `split` if the dataset has it. Raises ConfigError if not."""
    if split not in dataset.splits:
        raise ConfigError(
            f"{dataset.name} has no split '{split}'.", f"Known: {', '.join(dataset.splits)}."
        )
    return split


def data_folder(name: str) -> Path:
    """Where a dataset is kept: below `$PSCLI_DATA`, or below `data/`.

    Args:
        name: What no file name may have, as the colon of `module:object`, becomes a dash.
    """
    safe = re.sub(r"[^\w.-]+", "-", name).strip(".-") or "dataset"
    return Path(os.environ.get("PSCLI_DATA") or "data") / safe


def identity(photo: Photo) -> Hashable:
    """Equal for photos with the same pixels, as far as their source tells."""
    source = photo.source
    return source if isinstance(source, Hashable) else id(source)
