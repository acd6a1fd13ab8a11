"""What a folder of predictions was generated with."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pscli.errors import DataError
from pscli.files import read_json

SETTINGS = "config.json"
CAPTIONS, HISTORIES = ("predicted", "gold"), ("gold", "drawn", "own")
SAID = ("share_bias", "end_bias", "captions", "history", "best_of", "dtype")


@dataclass(frozen=True)
class Settings:
    """What predictions depend on, and so must not change when a folder is resumed.

    Args:
        agent: Its folder, or `bundled`.
        weights: Fingerprint of that folder.
        dataset: Its name in the registry, or `module:object`.
        photos: What became of those that cannot be had; earlier versions knew one way.
        share_bias, end_bias: In place of the agent's own; None leaves it.
        captions: Whose are drawn: those that are `predicted`, or the `gold` ones.
        history: What the context held: `gold` words and photos, gold words with `drawn` photos, or
            the agent's `own` of either.
        best_of: Drawings of each caption, of which the agent's own eyes chose.
        dtype: In place of the weights' own; None leaves it.
    """

    agent: str
    weights: str
    dataset: str
    split: str
    seed: int
    temperature: float
    photos: str = "strict"
    share_bias: float | None = None
    end_bias: float | None = None
    captions: str = "predicted"
    history: str = "gold"
    best_of: int = 1
    dtype: str | None = None

    @property
    def how(self) -> str:
        """What is not as `generate` does it by itself, as in a signature: `history:own|best-of:4`;
        figures of two folders that differ here are of different things."""
        named = [name for name in SAID if getattr(self, name) != getattr(Settings, name)]
        told = [f"{name.replace('_', '-')}:{getattr(self, name)}" for name in named]
        return "|".join([*([f"temperature:{self.temperature}"] if self.temperature else []), *told])


def read_settings(folder: Path) -> Settings | None:
    """What predictions of ours were generated with; None for those of another program.

    Raises:
        DataError: if it is not JSON: half a file says nothing of whose it is.
    """
    path = folder / SETTINGS
    try:
        pairs = read_json(path) if path.is_file() else None
    except DataError as error:
        raise DataError(
            error.message,
            "Delete it, and the predictions are scored as somebody else's. To generate, name "
            "another folder.",
        ) from error
    if not isinstance(pairs, dict):
        return None
    found: dict[str, Any] = {}
    for field in dataclasses.fields(Settings):
        value = pairs.get(field.name, field.default)
        kind = str if str(field.type).startswith("str") else int | float
        if not isinstance(value, kind) and (value is not None or field.default is not None):
            return None
        found[field.name] = value
    return Settings(**found)
