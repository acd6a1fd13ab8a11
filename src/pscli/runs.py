"""A run's folder, and the only module that knows what lies in it.

config.json     the resolved configuration
metrics.jsonl   a line a step, and one an evaluation
checkpoints/    the newest state of training
samples/        predictions on the dev split, one folder an evaluation
agent/          the best agent so far
logs/           what a tracker keeps on disk
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pscli.config import Config
from pscli.errors import CheckpointError, ConfigError, PscliError
from pscli.files import (
    append_line,
    claim,
    has_keys,
    locked,
    new_folder,
    read_json,
    read_lines,
    refuse_fixed,
    to_json,
    write_json,
    write_text,
)

CONFIG = "config.json"


@dataclass(frozen=True)
class Run:
    """A training run on disk."""

    folder: Path

    @staticmethod
    def check(folder: Path, overwrite: bool = False) -> None:
        """Raises CheckpointError if the folder holds something already, or cannot be replaced."""
        try:
            claim(folder, CONFIG, overwrite, ours=_begins_run)
        except CheckpointError as error:
            going_on = " Go on with it: --resume." if _begins_run(folder / CONFIG) else ""
            raise CheckpointError(error.message, error.hint + going_on) from None
        refuse_fixed(folder)

    @classmethod
    def start(cls, folder: Path, config: Config, overwrite: bool = False) -> Run:
        """A new run. Raises CheckpointError as `check` does."""
        cls.check(folder, overwrite)
        with new_folder(folder) as new:  # never a folder without its configuration
            write_json(new / CONFIG, config.to_json())
        return cls(folder)

    def config(self, use: Collection[str] = ()) -> Config:
        """What it was started with.

        Args:
            use: `module:object` names of code that it may hold.

        Raises:
            CheckpointError: if it cannot be read.
        """
        try:
            return Config.from_json(read_json(self.folder / CONFIG), use)
        except ConfigError as error:
            raise CheckpointError(
                f"{self.folder} cannot be resumed: {error.message}", error.hint
            ) from error
        except PscliError as error:
            raise CheckpointError(
                f"{self.folder} cannot be resumed: its {CONFIG} cannot be read ({error.message}).",
                "Name a run that was started before, or start one without --resume.",
            ) from error

    @property
    def monitored(self) -> list[str]:
        """Names of the dev scores that its training watches; none if nobody can say."""
        try:
            names = read_json(self.folder / CONFIG)["train"]["monitor"]
            return [name.removeprefix("-") for name in names]
        except (PscliError, LookupError, TypeError, AttributeError):
            return []

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def agent(self) -> Path:
        return self.folder / "agent"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def identity(self) -> str:
        """The same for a run that is resumed, another for one that takes its folder."""
        begun = (self.folder / CONFIG).stat().st_mtime_ns
        key = f"{self.folder.resolve()}|{begun}".encode("utf-8", "surrogatepass")
        return hashlib.blake2b(key, digest_size=8).hexdigest()

    def samples(self, step: int) -> Path:
        """Folder of the predictions after a step."""
        return self.folder / "samples" / f"step-{step:06d}"

    def lock(self, rank: int = 0) -> AbstractContextManager[None]:
        """Keeps other runs out of the folder. Args: rank: Of this process; the first one locks."""
        return nullcontext() if rank else locked(self.folder, "training")

    @property
    def spent(self) -> tuple[int, float] | None:
        """Updates of its training so far, and seconds that they took, without evaluations; None
        if no checkpoint tells."""
        newest = max(self.checkpoints.glob("step-*/state.json"), default=None)
        try:
            state = read_json(newest) if newest else {}
            return int(state["step"]), float(state["seconds"])
        except (PscliError, LookupError, TypeError, ValueError):
            return None

    # -- metrics -------------------------------------------------------------------------------

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """What was logged so far."""
        return read_lines(self.folder / "metrics.jsonl")

    def log(self, **values: float) -> None:
        append_line(self.folder / "metrics.jsonl", values)

    def forget(self, step: int) -> None:
        """Takes back what was logged at `step` and later, which a resumed run repeats."""
        kept = [line for line in self.metrics if line["step"] < step]
        lines = "".join(to_json(line, indent=None) + "\n" for line in kept)
        write_text(self.folder / "metrics.jsonl", lines)


def _begins_run(config: Path) -> bool:
    """Whether a file is what a run was started with."""
    return has_keys(config, "system", "train")


def is_run(folder: Path) -> bool:
    """Whether a folder is that of a run."""
    return (folder / "metrics.jsonl").is_file()


def agent_in(folder: Path) -> Path:
    """The folder of an agent, where that or its run is named."""
    return folder / "agent" if (folder / "agent" / "agent_config.json").is_file() else folder


def run_behind(agent: Path) -> Path | None:
    """The run of an agent's folder, or of one that is named as its run, if it is still there."""
    places = (agent, agent.parent) if agent.name == "agent" else (agent,)
    return next((place for place in places if is_run(place)), None)
