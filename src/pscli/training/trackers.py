"""Trackers: the figures of a run's metrics.jsonl in TensorBoard or W&B as well, by accelerate."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Callable, Iterator, Mapping

from accelerate.tracking import GeneralTracker, TensorBoardTracker, WandBTracker

from pscli.config import Config, flat
from pscli.errors import ConfigError
from pscli.processes import first
from pscli.runs import Run

NAMES = ("tensorboard", "wandb")  # their packages are called the same
PROJECT = "pscli"

Track = Callable[[Mapping[str, float], int], None]  # told figures and their step


def check(name: str | None) -> None:
    """Raises ConfigError if there is no such tracker, or its package is missing."""
    if name is not None and name not in NAMES:
        raise ConfigError(f"Unknown tracker '{name}'.", f"Known: {', '.join(NAMES)}.")
    if name is not None and importlib.util.find_spec(name) is None:
        raise ConfigError(
            f"--log-with {name} needs the package {name}.", f"Install it: pip install {name}."
        )


@contextlib.contextmanager
def tracked(name: str | None, run: Run, config: Config, step: int) -> Iterator[Track]:
    """A function that logs figures. Of several processes the first one does; others do nothing.

    Args:
        name: Of `NAMES`; None logs nowhere.
        step: At which the run goes on; what was logged from there on is repeated.
    """
    if name is None or not first():
        yield lambda values, step: None
        return
    tracker = _tracker(name, run, config, step)
    tracker.start()
    try:
        yield lambda values, step: tracker.log(
            {name: value for name, value in values.items() if name != "step"}, step=step
        )
    finally:
        tracker.finish()


def _tracker(name: str, run: Run, config: Config, step: int) -> GeneralTracker:
    run.logs.mkdir(parents=True, exist_ok=True)
    if name == "tensorboard":
        # Events from this step on that an earlier file holds are not shown.
        purge = {"purge_step": step} if step else {}
        return TensorBoardTracker("", str(run.logs), **purge)
    return WandBTracker(
        PROJECT, name=run.folder.resolve().name, id=run.identity, resume="allow",
        dir=str(run.logs), config=flat(config.to_json()),
    )  # fmt: skip
