"""How errors propagate, for the report's page: one agent's predictions with gold captions, with its
own, after photos that it has drawn, and in rollouts. Guo et al. (2024), §1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pscli.metrics.base import Metric, Scored
from pscli.metrics.score import Scores, Valued, scored
from pscli.predictions.settings import Settings
from pscli.report.columns import Column
from pscli.report.page_tables import Line, cell
from pscli.report.table import ARROWS, headline

STEPS = {  # captions and history of the settings
    ("gold", "gold"): "gold captions",
    ("predicted", "gold"): "its own captions",
    ("predicted", "drawn"): "after drawn photos",
    ("predicted", "own"): "rollout",
}
MORE = (
    "caption faithfulness", "photo faithfulness", "number faithfulness", "setting faithfulness",
    "answer accuracy", "answer accuracy, drawn photos",
)  # fmt: skip
TURNS = {"1–2": (1, 2), "3–4": (3, 4), "5–6": (5, 6), "7 and on": (7, 10**9)}  # responses
BY_TURN = ("BLEU-2", "sharing F1", "photo faithfulness", "answer accuracy")


@dataclass(frozen=True)
class Ladder:
    """A table of one agent: a row for each score, a column for each step or span of turns."""

    title: str
    heads: list[str]
    rows: list[Line]


def ladders(
    columns: Sequence[Column],
    systems: Sequence[tuple[str, Scores]],
    values: Mapping[Path, Valued],
    known: Mapping[Path, Settings | None],
    chosen: dict[str, Metric],
) -> list[Ladder]:
    """Steps of every agent of which more than one is there, and its rollouts by turn.

    Args:
        systems: Scores of the columns.
        values, known: By folder: values of each metric, and what it was generated with.
        chosen: The metrics.
    """
    agents: dict[Settings, dict[str, int]] = {}
    for place, column in enumerate(columns):
        s = known[column.folders[0]]
        if s and (step := STEPS.get((s.captions, s.history))):
            alike = replace(s, captions="predicted", history="gold")  # all but the step
            agents.setdefault(alike, {}).setdefault(step, place)
    found = []
    for places in agents.values():
        if len(places) < 2:
            continue
        steps = {step: places[step] for step in STEPS.values() if step in places}
        name = columns[steps.get("its own captions", next(iter(steps.values())))].name
        sides = {step: (systems[i][1].overall, systems[i][1].n) for step, i in steps.items()}
        names = [s.name for side, _ in sides.values() for s in side.scores]
        shown = [*headline(dict.fromkeys(names)), *(n for n in MORE if n in names)]
        found.append(_ladder(f"{name}, step by step", shown, sides))
        if {"its own captions", "rollout"} <= steps.keys():
            first = {step: values[columns[i].folders[0]] for step, i in steps.items()}
            spans = {
                f"{span}, {told}": within(first[step], *ends)
                for span, ends in TURNS.items()
                for told, step in (("gold history", "its own captions"), ("rollout", "rollout"))
            }
            sides = {
                span: (scored(some, chosen, by_kind=False).overall, len(some.predictions))
                for span, some in spans.items()
                if some.predictions
            }
            found.append(_ladder(f"{name}, by number of the response", BY_TURN, sides))
    return found


def _ladder(title: str, names: Sequence[str], sides: Mapping[str, tuple[Scored, int]]) -> Ladder:
    rows = []
    for name in names:
        scores = [side.get(name) for side, _ in sides.values()]
        if some := next(filter(None, scores), None):
            sizes = [n for _, n in sides.values()]
            cells = [cell(score, n) for score, n in zip(scores, sizes, strict=True)]
            rows.append(Line(f"{name}{ARROWS[some.better]}", cells))
    return Ladder(title, list(sides), rows)


def within(values: Valued, first: int, last: int) -> Valued:
    """Instances that answer as response number `first` to `last` of their dialogue, from 0."""

    def number(id: str) -> int:
        end = id.rpartition("/")[2]
        return int(end) if end.isdecimal() and end.isascii() else -1

    rows = [i for i, p in enumerate(values.predictions) if first <= number(p.id) <= last]
    columns: dict[str, Sequence[Any]] = {
        name: [column[i] for i in rows] for name, column in values.columns.items()
    }
    return Valued([values.predictions[i] for i in rows], columns)
