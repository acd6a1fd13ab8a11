"""How the agent behind a folder of predictions was trained, kept beside them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pscli.config import Config
from pscli.errors import PscliError
from pscli.files import read_json, write_json
from pscli.runs import Run, run_behind

TRAINED = "training.json"


@dataclass(frozen=True)
class Trained:
    """What of a run a comparison depends on.

    Args:
        system, preset, dataset, photos, seed: As in `Config`; the seed gives the order of the data.
        batch, epochs, dialogues: As in `TrainConfig`; the last two are the budget.
        updates, seconds: What was spent of it, without evaluations; None if nobody knows.
    """

    system: str
    preset: str
    dataset: str
    photos: str
    seed: int
    batch: int
    epochs: float
    dialogues: int | None
    updates: int | None
    seconds: float | None


KINDS: dict[Any, Any] = {"str": str, "int": int, "float": int | float}


def keep_trained(preds: Path, folder: Path, config: Config) -> None:
    """Writes how an agent was trained beside its predictions, where its run is still there.

    Args:
        folder: Its own, or that of its run.
        config: Its own.
    """
    if run := run_behind(folder):
        t = config.train
        found = Trained(
            config.system, config.preset, config.dataset, config.photos, config.seed,
            t.batch, t.epochs, t.dialogues, *(Run(run).spent or (None, None)),
        )  # fmt: skip
        write_json(preds / TRAINED, dataclasses.asdict(found))


def read_trained(preds: Path) -> Trained | None:
    """How the agent behind predictions was trained; None where nobody knows."""
    try:
        found = Trained(**read_json(preds / TRAINED))
    except (PscliError, TypeError):
        return None
    for field in dataclasses.fields(found):
        value, (kind, _, none) = getattr(found, field.name), str(field.type).partition(" | ")
        if not isinstance(value, KINDS[kind]) and (value is not None or not none):
            return None
    return found
