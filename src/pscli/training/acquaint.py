"""`python -m pscli.training.acquaint RUN`: tells an agent what the photos of its training are like.

At the end of a training it is told. This is for agents that were trained by an earlier version, and
for those that were made of pre-trained parts alone; a model card is written where there is none.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pscli import console
from pscli.datasets.base import load, named
from pscli.errors import DataError
from pscli.files import write_json, write_text
from pscli.systems import card
from pscli.systems.agent import INDEX, Agent, checksums
from pscli.systems.honest import FAMILIAR, keep, some_of
from pscli.systems.place import agent_folder


def acquaint(name: str | Path | None) -> Path:
    """The file that it writes. Args: name: Of the agent, as `generate --agent` takes it.

    Raises:
        DataError: if its dataset has too few photos, or it has no eyes that could be asked.
    """
    folder = agent_folder(name)
    agent = Agent.from_pretrained(folder)
    config = agent.config
    dataset = named(config.dataset)
    agent.acquaint(some_of(load(dataset, "train", config.train.dialogues, config.photos)))
    if agent.familiar is None:
        raise DataError(
            f"{folder} cannot know photos: it has no eyes that can be asked, or {config.dataset} "
            "has fewer than 100.",
            "It answers all the same, and flags no photos.",
        )
    (folder / INDEX).unlink(missing_ok=True)  # first: it would name files as they were
    keep(agent.familiar, folder)
    if not (folder / card.NAME).is_file():
        write_text(folder / card.NAME, card.card(config))
    write_json(folder / INDEX, {"sha256": checksums(folder)})
    return folder / FAMILIAR


def main() -> None:
    """Of the one agent that the command line names."""
    if len(sys.argv) != 2:
        raise DataError("Expected one agent.", "Name the folder of a run, or of an agent.")
    console.quiet_libraries()
    console.result(str(acquaint(sys.argv[1])))


if __name__ == "__main__":
    console.script(main)
