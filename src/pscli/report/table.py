"""Scores of systems side by side: the paper's figures first, then others, then instance types."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pscli import console
from pscli.dialogue.schema import INSTANCE_TYPES
from pscli.metrics.base import Better, Score, Scored
from pscli.metrics.compare import Difference, holm
from pscli.metrics.score import Scores

if TYPE_CHECKING:
    from rich.table import Table

ARROWS = {"higher": " ↑", "lower": " ↓", None: ""}
HEADLINE = ("BLEU-1", "BLEU-2", "ROUGE-L", "IS", "FID", "sharing F1")  # columns of Table 2, and F1
LABEL, NARROW, CELL = 30, 18, 16  # columns of a terminal: of names, and of figures, at most
DASH = "–"


@dataclass(frozen=True)
class Row:
    """A figure of every system.

    Args:
        scores: In the order of the systems; None where one lacks it.
        differences: Between pairs of them.
    """

    name: str
    better: Better | None
    scores: tuple[Score | None, ...]
    differences: tuple[Difference, ...] = ()

    @property
    def title(self) -> str:
        """Its name, and which way is better."""
        return f"{self.name}{ARROWS[self.better]}"

    def count(self, sizes: Sequence[int]) -> str:
        """`n=968/1000`: of all systems, once where it is the same; nothing where all instances of
        each count."""
        counts = [score.count if score else None for score in self.scores]
        if all(count in (None, str(size)) for count, size in zip(counts, sizes, strict=True)):
            return ""
        return "n=" + ", ".join(dict.fromkeys(filter(None, counts)))

    @property
    def best(self) -> int | None:
        """The system that is better than each other one, and significantly so."""
        for number in range(len(self.scores)):
            if len(self.scores) > 1 and all(
                self._beats(number, other) for other in range(len(self.scores)) if other != number
            ):
                return number
        return None

    def _beats(self, one: int, other: int) -> bool:
        for found in self.differences:
            if {found.first, found.second} == {one, other} and found.significant:
                up = found.value > 0 if found.second == one else found.value < 0
                return up == (self.better == "higher")
        return False


@dataclass(frozen=True)
class Block:
    """One table: figures over the same instances.

    Args:
        title: What it is of; empty where the block before it says so.
        sizes: Instances of each system.
    """

    title: str
    sizes: tuple[int, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Tables:
    """Everything that is shown of some systems.

    Args:
        systems: Their names.
        blocks: The headline first.
        notes: What is compared, and what of it is corrected.
        signatures: How each figure was computed.
        reasons: Which figures are missing, and why.
    """

    systems: tuple[str, ...]
    blocks: tuple[Block, ...]
    notes: tuple[str, ...]
    signatures: tuple[str, ...]
    reasons: tuple[str, ...]


def tables(
    systems: Sequence[tuple[str, Scores]],
    differences: Sequence[Difference] = (),
    by_type: bool = False,
    shared: int | None = None,
    provenance: Sequence[str] = (),
) -> Tables:
    """The systems' scores as they are shown.

    Args:
        systems: Names and scores.
        differences: Between them, as `compare.differences` gives them.
        by_type: Whether each instance type has a block.
        shared: Instances that all have answered; None if they were not compared.
        provenance: How predictions were made, as `columns.provenance` tells it.
    """
    blocks = []
    for kind in _kinds(systems) if by_type else [""]:
        sections = [s.by_kind.get(kind, Scored()) if kind else s.overall for _, s in systems]
        sizes = tuple(s.sizes.get(kind, 0) if kind else s.n for _, s in systems)
        names = list(dict.fromkeys(score.name for part in sections for score in part.scores))
        first = [] if kind else headline(names)
        rest = [name for name in names if name not in first]
        for title, some in ((kind or "all", first or rest), ("", rest if first else [])):
            if some or title:
                rows = _rows(some, sections, [d for d in differences if d.kind == kind])
                blocks.append(Block(title, sizes, rows))
    return Tables(
        tuple(name for name, _ in systems),
        tuple(blocks),
        tuple(_notes(systems, shared)),
        (*provenance, *signatures(systems, by_type), *_tests(differences)),
        tuple(left_out(systems, by_type)),
    )


def headline(names: Iterable[str]) -> list[str]:
    """Those that stand for the paper's columns: `FID-photoworld` does for FID, and BLEU as the
    paper computes it, where there is no other."""
    found: list[str] = []
    for column in HEADLINE:
        same = [name for name in names if name == column]
        kin = [name for name in names if name.startswith((f"{column}-", f"{column} ("))]
        found += same or kin
    return found


def _rows(
    names: Sequence[str], sections: Sequence[Scored], differences: Sequence[Difference]
) -> tuple[Row, ...]:
    """Rows of a block, over all of whose comparisons p-values are corrected."""
    corrected = holm([d for d in differences if d.name in names])
    rows = []
    for name in names:
        scores = tuple(section.get(name) for section in sections)
        better = next(score.better for score in scores if score)
        rows.append(Row(name, better, scores, tuple(d for d in corrected if d.name == name)))
    return tuple(rows)


def _kinds(systems: Sequence[tuple[str, Scores]]) -> list[str]:
    """Sections of the table; "" is the one over all instances."""
    present = dict.fromkeys(kind for _, scores in systems for kind in scores.by_kind)
    known = [kind for kind in INSTANCE_TYPES if kind in present]
    return ["", *known, *(kind for kind in present if kind not in INSTANCE_TYPES)]


def _notes(systems: Sequence[tuple[str, Scores]], shared: int | None) -> list[str]:
    if shared is None:
        return []
    if not shared:
        return ["no differences: no instance is in all folders"]
    what = "difference: second - first" if len(systems) == 2 else "compared: each with each"
    of = "" if {scores.n for _, scores in systems} == {shared} else " that all have answered"
    p = "p two-sided, Holm-corrected over each table; bold: better than every other at 5 %"
    return [f"{what}, on {shared:,} instances{of}; {p}"]


def _tests(differences: Sequence[Difference]) -> list[str]:
    """How differences were computed: those alike on one line."""
    ways: dict[str, dict[str, None]] = {}
    for d in differences:
        ways.setdefault(d.by, {})[d.name] = None
    return [f"difference of {', '.join(names)} |{by}" for by, names in ways.items()]


def signatures(systems: Sequence[tuple[str, Scores]], by_type: bool = True) -> list[str]:
    """How each figure was computed, once each; n stands beside the figure."""
    found = {
        f"{score.name} |{score.method}": None
        for _, scores in systems
        for scored in (scores.overall, *(scores.by_kind.values() if by_type else ()))
        for score in scored.scores
    }
    return list(found)


def left_out(systems: Sequence[tuple[str, Scores]], by_type: bool = True) -> list[str]:
    """Which figures are missing, and why; those of one reason on one line."""
    lines = []
    for system, scores in systems:
        for kind, scored in {"": scores.overall, **(scores.by_kind if by_type else {})}.items():
            names: dict[str, list[str]] = {}
            for name, reason in scored.reasons.items():
                names.setdefault(reason, []).append(name)
            where = f"{system}{f', {kind}' if kind else ''}"
            lines += [f"{where}: no {', '.join(some)}: {why}" for why, some in names.items()]
    return lines


# -- in figures --------------------------------------------------------------------------------


def number(value: float) -> str:
    """Two decimals, or two digits of what is less than a tenth; what rounding leaves is 0."""
    value = value if abs(value) > 1e-9 else 0.0
    return f"{value:.2f}" if abs(value) >= 0.1 or value == 0 else f"{value:.2g}"


def ends(interval: tuple[float, float] | None) -> str:
    """`[1.00, 2.00]`, or nothing."""
    return f"[{number(interval[0])}, {number(interval[1])}]" if interval else ""


def chance(p: float | None) -> str:
    """`p=0.012`, or nothing."""
    return "" if p is None else "p<0.001" if p < 0.001 else f"p={p:.3f}"


def pair(row: Row) -> Difference | None:
    """The difference of two systems."""
    return row.differences[0] if len(row.scores) == 2 and row.differences else None


# -- in the terminal ---------------------------------------------------------------------------


def shown(found: Tables, width: int) -> list[Table]:
    """Tables that fit into as many columns: systems that do not stand beside each other stand
    below each other."""
    return [part for block in found.blocks for part in _parts(found, block, width)]


def _parts(found: Tables, block: Block, width: int) -> list[Table]:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    columns: list[tuple[str, list[Any]]] = [
        (console.plain(name), [_cell(row, number) for row in block.rows])
        for number, name in enumerate(found.systems)
    ]
    if any(pair(row) for row in block.rows):
        columns.append(("difference", [_apart(pair(row)) for row in block.rows]))
    each = CELL + 3  # with what stands between columns
    label = width - len(columns) * each - 3
    if label < NARROW:  # not all stand beside each other
        label = NARROW + max(0, width - NARROW - 3) % each
    label = min(LABEL, label)
    beside = max(1, (width - label - 3) // each)
    result = []
    for start in range(0, len(columns), beside):
        some = columns[start : start + beside]
        table = Table(box=box.SIMPLE_HEAD)
        sizes = " / ".join(f"{n:,}" for n in dict.fromkeys(block.sizes))
        title = f"{block.title}, n={sizes}" if block.title else ""
        table.add_column(Text(title), max_width=label, overflow="fold")
        for name, _ in some:
            table.add_column(Text(name), justify="right", max_width=CELL, overflow="fold")
        for number, row in enumerate(block.rows):
            about = Text(row.title).append(f"\n{row.count(block.sizes)}".rstrip(), "dim")
            table.add_row(about, *(cells[number] for _, cells in some))
        result.append(table)
    return result


def _cell(row: Row, system: int) -> Any:
    from rich.text import Text

    score = row.scores[system]
    if score is None:
        return Text(DASH, "dim")
    cell = Text(number(score.value), "bold" if row.best == system else "")
    if score.deviation is not None:
        cell.append(f" ±{number(score.deviation)}", "not bold")
    return cell.append(f"\n{ends(score.interval)}" if score.interval else "", "not bold dim")


def _apart(found: Difference | None) -> Any:
    from rich.text import Text

    if found is None:
        return Text(DASH, "dim")
    sign = "+" if found.value > 0 else ""
    cell = Text(f"{sign}{number(found.value)} {chance(found.holm)}".rstrip())
    return cell.append(f"\n{ends(found.interval)}" if found.interval else "", "dim")
