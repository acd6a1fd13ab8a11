"""Whether what is compared was made alike: decoding, data, their order, and budget; and whether it
answers the same."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean

from pscli.errors import ConfigError
from pscli.predictions.folder import Prediction
from pscli.predictions.outputs import SHOWN
from pscli.predictions.settings import Settings, read_settings
from pscli.predictions.trained import read_trained

ASKED = ("dataset", "split", "photos", "seed", "temperature", "share_bias", "end_bias",
         "captions", "history", "best_of")  # fmt: skip
TAUGHT = ("system", "preset", "dataset", "photos", "seed", "batch", "epochs", "dialogues")
DATA = ("dataset", "split", "photos")  # by which no two may differ
WHO = ("training system", "training preset")  # by which systems may
SEEDS = ("seed", "training seed")  # by which folders of one system may

Systems = Mapping[str, Sequence[Path]]
Read = Mapping[Path, Sequence[Prediction]]
Made = dict[str, tuple[str, ...]]
Table = list[list[str]]


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


def unequal(systems: Systems) -> Table:
    """A table of what differs: a line of heads, then a line for each setting. Nothing where all
    were made alike.

    Folders of one agent may differ, but not in what they answer: then it is the settings that are
    compared. So may what only some are known to have.
    """
    ways = [made(folders) for folders in systems.values()]
    agents = [_agents(folders) for folders in systems.values()]
    names: dict[str, None] = {}
    for one, other in itertools.combinations(range(len(ways)), 2):
        own = agents[one] is not None and agents[one] == agents[other]
        apart = _apart(ways[one], ways[other])
        names |= dict.fromkeys(n for n in apart if n not in WHO and (n in DATA or not own))
    return _table(list(systems), ways, names)


def mixed(folders: Sequence[Path], read: Read) -> Table:
    """The same of folders that are averaged as one system: they may differ by their seed alone, and
    answer equally many instances."""
    ways = [made([folder]) | {"instances": (f"{len(read[folder]):,}",)} for folder in folders]
    pairs = itertools.combinations(ways, 2)
    names = dict.fromkeys(n for one, other in pairs for n in _apart(one, other) if n not in SEEDS)
    return _table(list(map(str, folders)), ways, names)


def _apart(one: Made, other: Made) -> list[str]:
    return [name for name in one if name in other and one[name] != other[name]]


def _table(heads: Sequence[str], ways: Sequence[Made], names: Iterable[str]) -> Table:
    rows = [[name, *(", ".join(way.get(name, ("–",))) for way in ways)] for name in names]
    return [["setting", *heads], *rows] if rows else []


def unpaired(read: Read) -> list[str]:
    """Folders that answer something else under the same ids, as two test sets that are numbered do:
    a line for each, and the first that has them."""
    said: dict[str, tuple[str, Path]] = {}
    apart: dict[tuple[Path, Path], list[str]] = {}
    for folder, predictions in read.items():
        for p in predictions:
            text = " ".join(p.reference.text.split())
            first, known = said.setdefault(p.id, (text, folder))
            if text != first:
                apart.setdefault((known, folder), []).append(p.id)
    return [
        f"references differ in {one} and {other}: {len(ids):,}, the first {SHOWN.repr(ids[0])}"
        for (one, other), ids in apart.items()
    ]


def refuse_unequal(systems: Systems, read: Read, forced: bool = False) -> list[str]:
    """Lines for beside a comparison: what differs, and what each system's training took.

    Args:
        read: The predictions of each folder.

    Raises:
        ConfigError: if something differs and the comparison was not forced.
    """
    tables = [unequal(systems), *(mixed(folders, read) for folders in systems.values())]
    found = [*map(aligned, filter(None, tables)), *unpaired(read)]
    if found and not forced:
        raise ConfigError(
            "These predictions were not made alike:\n" + "\n".join(found),
            "Make them alike, or compare them all the same: --force.",
        )
    lines = [f"not alike: {line}" for text in found for line in text.splitlines()]
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
