"""The dialogues that each system does worst on, and how the others do there."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pscli.predictions.folder import Prediction

SHOWN = 3  # dialogues of each system in the table
RULE = (
    "A dialogue’s figure is the mean of its replies’ figures (see below), over the responses that "
    "all systems have given; of each system the {count} lowest are shown, beside the others’ "
    "figures of the same dialogues. The replies are under Conversations."
)


@dataclass(frozen=True)
class Sunk:
    """A dialogue as the systems do on it.

    Args:
        ids: Its responses, the worst of the system in question first.
        figures: Of each system, 0 to 1.
    """

    dialogue: str
    ids: tuple[str, ...]
    figures: tuple[float, ...]


def sunk(shared: Sequence[Prediction], worth: Sequence[Mapping[str, float]]) -> list[list[Sunk]]:
    """Of each system all dialogues, the worst first; of equals the first in the file.

    Args:
        shared: Instances that all systems have, in order; ids are DIALOGUE/NUMBER, and one of
            another form is a dialogue of its own.
        worth: Of each system, the figure of each instance.
    """
    dialogues: dict[str, list[str]] = {}
    for p in shared:
        dialogues.setdefault(p.id.rpartition("/")[0] or p.id, []).append(p.id)
    means = {
        name: tuple(statistics.mean(w[id] for id in ids) for w in worth)
        for name, ids in dialogues.items()
    }
    return [
        [
            Sunk(name, tuple(sorted(dialogues[name], key=w.__getitem__)), means[name])
            for name in sorted(dialogues, key=lambda name: means[name][system])
        ]
        for system, w in enumerate(worth)
    ]


def picked(found: Sequence[Sunk], count: int) -> list[str]:
    """Ids of responses, dialogue by dialogue from the worst on, until there are `count`."""
    return [id for one in found for id in one.ids][:count]


def table(systems: Sequence[str], found: Sequence[Sequence[Sunk]]) -> list[list[str]]:
    """A line of heads, then the `SHOWN` worst dialogues of each system."""
    rows = [["Worst of", "Dialogue", "Responses", *systems]]
    for name, dialogues in zip(systems, found, strict=True):
        for one in dialogues[:SHOWN]:
            told = [f"{100 * figure:.1f}" for figure in one.figures]
            on_one_line = " ".join(one.dialogue.split())
            rows.append([name, on_one_line, str(len(one.ids)), *told])
    return rows
