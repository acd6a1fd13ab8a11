"""Scores of systems side by side, as a table in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pscli import console
from pscli.dialogue.schema import INSTANCE_TYPES
from pscli.metrics.base import Score, Scored
from pscli.metrics.score import Scores

if TYPE_CHECKING:
    from rich.table import Table

ARROWS = {"higher": " ↑", "lower": " ↓", None: ""}


def table(systems: Sequence[tuple[str, Scores]]) -> Table:
    """Systems side by side: a row per metric, a column per system, a section per instance type.

    An arrow says which direction is better.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    result = Table(box=box.SIMPLE_HEAD)
    result.add_column("")
    for name, _ in systems:
        result.add_column(Text(console.plain(name)), justify="right")
    for kind in _kinds(systems):
        sections = [s.by_kind.get(kind, Scored()) if kind else s.overall for _, s in systems]
        sizes = [s.sizes.get(kind, 0) if kind else s.n for _, s in systems]
        if len(_kinds(systems)) > 1:
            result.add_row(
                Text(kind or "all", style="bold"), *(Text(f"n={n}", style="dim") for n in sizes)
            )
        metrics = {score.name: score for scored in sections for score in scored.scores}
        for name, score in metrics.items():
            cells = [_cell(s[name]) if name in s else Text("–", "dim") for s in sections]
            result.add_row(Text(f"{name}{ARROWS[score.better]}"), *cells)
        result.add_section()
    return result


def _kinds(systems: Sequence[tuple[str, Scores]]) -> list[str]:
    """Sections of the table; "" is the one over all instances."""
    present = dict.fromkeys(kind for _, scores in systems for kind in scores.by_kind)
    known = [kind for kind in INSTANCE_TYPES if kind in present]
    return ["", *known, *(kind for kind in present if kind not in INSTANCE_TYPES)]


def _cell(score: Score) -> Any:
    from rich.text import Text

    cell = Text(f"{score.value:.2f}")
    if score.deviation is not None:
        cell.append(f" ±{score.deviation:.2f}")
    if score.interval is not None:
        cell.append(f" [{score.interval[0]:.0f}–{score.interval[1]:.0f}]")
    return cell.append(f"  n={score.count}", style="dim")


def signatures(systems: Sequence[tuple[str, Scores]]) -> list[str]:
    """How each figure was computed, once each; n stands beside the figure."""
    found = {
        f"{score.name} |{score.method}": None
        for _, scores in systems
        for scored in (scores.overall, *scores.by_kind.values())
        for score in scored.scores
    }
    return list(found)


def left_out(systems: Sequence[tuple[str, Scores]]) -> list[str]:
    """Which figures are missing, and why."""
    return [
        f"{system}{f', {kind}' if kind else ''}: no {name}, {reason}"
        for system, scores in systems
        for kind, scored in {"": scores.overall, **scores.by_kind}.items()
        for name, reason in scored.reasons.items()
    ]
