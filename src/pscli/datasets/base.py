"""What a dataset is, and where it is kept."""

from __future__ import annotations

import os
from collections.abc import Hashable
from pathlib import Path
from typing import Protocol

from pscli.dialogue.schema import Dialogue, Photo
from pscli.errors import ConfigError

MARKER = "dataset.json"  # tells a folder that we wrote


class Dataset(Protocol):
    """A dataset of the registry."""

    @property
    def name(self) -> str: ...

    @property
    def licence(self) -> str: ...

    @property
    def splits(self) -> tuple[str, ...]: ...

    def load(self, split: str, count: int | None = None) -> list[Dialogue]: ...


def check_split(dataset: Dataset, split: str) -> str:
    """Returns `split` if the dataset has it. Raises ConfigError if not."""
    if split not in dataset.splits:
        raise ConfigError(
            f"{dataset.name} has no split '{split}'.", f"Known: {', '.join(dataset.splits)}."
        )
    return split


def data_folder(name: str) -> Path:
    """Where a dataset is kept: below `$PSCLI_DATA`, or below `data/`."""
    return Path(os.environ.get("PSCLI_DATA") or "data") / name


def identity(photo: Photo) -> Hashable:
    """Equal for photos with the same pixels, as far as their source tells."""
    source = photo.source
    return source if isinstance(source, Hashable) else id(source)
