"""How the agent behind a folder of predictions was trained, kept beside them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

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
        updates, seconds: What was spent of it, without evaluations.
    """

    system: str
    preset: str
    dataset: str
    photos: str
    seed: int
    batch: int
    epochs: float
    dialogues: int | None
    updates: int
    seconds: float


def keep_trained(preds: Path, place: str, config: Config) -> None:
    """Writes how an agent was trained beside its predictions, where its run is still there.

    Args:
        place: Its folder, as the settings of the predictions name it.
        config: Its own.
    """
    if run := run_behind(Path(place)):
        t = config.train
        found = Trained(
            config.system, config.preset, config.dataset, config.photos, config.seed,
            t.batch, t.epochs, t.dialogues, *Run(run).spent,
        )  # fmt: skip
        write_json(preds / TRAINED, dataclasses.asdict(found))


def read_trained(preds: Path) -> Trained | None:
    """How the agent behind predictions was trained; None where nobody knows."""
    try:
        return Trained(**read_json(preds / TRAINED))
    except (PscliError, TypeError):
        return None
