"""Scores of systems side by side, as a table in the terminal."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pscli.metrics.base import Score, Scored
from pscli.metrics.score import KINDS, NO_DIRECTION, Scores

if TYPE_CHECKING:
    from rich.table import Table


def table(systems: Sequence[tuple[str, Scores]]) -> Table:
    """Systems side by side: a row per metric, a column per system, a section per instance type.

    Below it, how each figure was computed, once each (n stands beside the figure instead), and
    why others are left out. An arrow says which direction is better.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    caption = Text("\n".join(_signatures(systems) + _left_out(systems)), justify="left")
    result = Table(
        box=box.SIMPLE_HEAD, caption=caption, caption_justify="left", caption_style="dim"
    )
    result.add_column("")
    for name, _ in systems:
        result.add_column(Text(name), justify="right")
    for kind in _kinds(systems):
        sections = [s.by_kind.get(kind, Scored()) if kind else s.overall for _, s in systems]
        sizes = [s.sizes.get(kind, 0) if kind else s.n for _, s in systems]
        if len(_kinds(systems)) > 1:
            result.add_row(
                Text(kind or "all", style="bold"), *(Text(f"n={n}", style="dim") for n in sizes)
            )
        metrics = dict.fromkeys(score.name for scored in sections for score in scored.scores)
        for metric in metrics:
            cells = [_cell(s[metric]) if metric in s else Text("–", "dim") for s in sections]
            result.add_row(Text(f"{metric} {_arrow(metric)}".strip()), *cells)
        result.add_section()
    return result


def _kinds(systems: Sequence[tuple[str, Scores]]) -> list[str]:
    """Sections of the table; "" is the one over all instances."""
    present = dict.fromkeys(kind for _, scores in systems for kind in scores.by_kind)
    known = [kind for kind in KINDS if kind in present]
    return ["", *known, *(kind for kind in present if kind not in KINDS)]


def _arrow(metric: str) -> str:
    if metric in NO_DIRECTION:
        return ""
    return "↓" if metric.startswith("FID") else "↑"


_COUNT = re.compile(r"\|n:([^|]*)")


def _cell(score: Score) -> Any:
    from rich.text import Text

    cell = Text(f"{score.value:.2f}")
    if score.deviation is not None:
        cell.append(f" ±{score.deviation:.2f}")
    if score.interval is not None:
        cell.append(f" [{score.interval[0]:.0f}–{score.interval[1]:.0f}]")
    count = _COUNT.search("|" + score.signature)
    return cell.append(f"  n={count[1] if count else score.n}", style="dim")


def _signatures(systems: Sequence[tuple[str, Scores]]) -> list[str]:
    lines: dict[str, None] = {}
    for _, scores in systems:
        for scored in (scores.overall, *scores.by_kind.values()):
            for score in scored.scores:
                how = _COUNT.sub("", "|" + score.signature).removeprefix("|")
                lines[f"{score.name} |{how}"] = None
    return list(lines)


def _left_out(systems: Sequence[tuple[str, Scores]]) -> list[str]:
    return [
        f"{system}{f', {kind}' if kind else ''}: no {name}, {reason}"
        for system, scores in systems
        for kind, scored in {"": scores.overall, **scores.by_kind}.items()
        for name, reason in scored.reasons.items()
    ]
