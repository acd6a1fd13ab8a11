"""Whether systems that are compared were made alike: decoding, data, their order, and budget."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean

from pscli.errors import ConfigError
from pscli.predictions.settings import Settings, read_settings
from pscli.predictions.trained import read_trained

ASKED = ("dataset", "split", "photos", "seed", "temperature", "share_bias", "end_bias",
         "captions", "history", "best_of")  # fmt: skip
TAUGHT = ("dataset", "photos", "seed", "batch", "epochs", "dialogues")

Systems = Mapping[str, Sequence[Path]]
Made = dict[str, tuple[str, ...]]


def made(folders: Sequence[Path]) -> Made:
    """How the predictions of a system were made, by setting: each value that its folders have.

    What is not known, such as the training of somebody else's program, is left out.
    """
    found: dict[str, set[str]] = {}
    for folder in folders:
        asked, taught = read_settings(folder), read_trained(folder)
        pairs = [(name, getattr(asked, name)) for name in ASKED] if asked else []
        pairs += [(f"training {name}", getattr(taught, name)) for name in TAUGHT] if taught else []
        for name, value in pairs:
            told = "as trained" if value is None and "bias" in name else value
            found.setdefault(name, set()).add("all" if told is None else str(told))
    return {name: tuple(sorted(values)) for name, values in found.items()}


def unequal(systems: Systems) -> list[list[str]]:
    """A table of what differs: a line of heads, then a line for each setting. Nothing where all
    were made alike.

    Folders of one agent may differ: then it is the settings that are compared. So may what only
    some are known to have.
    """
    ways = [made(folders) for folders in systems.values()]
    agents = [_agents(folders) for folders in systems.values()]
    names: dict[str, None] = {}
    for one, other in itertools.combinations(range(len(ways)), 2):
        if agents[one] is None or agents[one] != agents[other]:
            both = [name for name in ways[one] if name in ways[other]]
            names |= dict.fromkeys(n for n in both if ways[one][n] != ways[other][n])
    rows = [[name, *(", ".join(way.get(name, ("–",))) for way in ways)] for name in names]
    return [["setting", *systems], *rows] if rows else []


def refuse_unequal(systems: Systems, forced: bool = False) -> list[str]:
    """Lines for beside a comparison: what differs, and what each system's training took.

    Raises:
        ConfigError: if something differs and the comparison was not forced.
    """
    table = unequal(systems)
    if table and not forced:
        raise ConfigError(
            "These systems were not made alike:\n" + aligned(table),
            "Make them alike, or compare them all the same: --force.",
        )
    lines = [f"not alike: {line}" for line in aligned(table).splitlines()]
    return [*lines, *(told for name, folders in systems.items() if (told := spent(name, folders)))]


def spent(name: str, folders: Sequence[Path]) -> str:
    """What the training of a system took, as a line; empty where nobody knows."""
    known = [found for folder in folders if (found := read_trained(folder))]
    seconds = [found.seconds for found in known if found.seconds is not None]
    if not seconds:
        return ""
    updates = ",".join(dict.fromkeys(str(f.updates) for f in known if f.updates is not None))
    return f"training of {name} |updates:{updates}|seconds:{mean(seconds):.0f}|runs:{len(seconds)}"


def aligned(table: Sequence[Sequence[str]]) -> str:
    """The table as text, its columns below each other."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in table)
    return "\n".join(line.rstrip() for line in lines)


def _agents(folders: Sequence[Path]) -> set[str] | None:
    """What tells the agents of a system from others; None of somebody else's, which is no
    other's."""
    known = [read_settings(folder) for folder in folders]
    return {_agent(found) for found in known if found} if all(known) else None


def _agent(asked: Settings) -> str:
    """The fingerprint of its weights; of an agent in training, which has none, step and run."""
    named = f"{asked.weights} of {asked.agent}"
    return named if asked.weights.startswith("step ") else asked.weights
