"""Figures of a dataset as tables and curves. Guo et al. (2024), Table 1."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from pscli.datasets.stats import TENTHS, Spread, Stats, Survey, rounded
from pscli.files import replacing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from matplotlib.figure import Figure
    from rich.table import Table


def _per(above: int, below: int) -> str:
    return rounded(Decimal(above) / Decimal(below)) if below else "–"


def table(name: str, columns: dict[str, Stats]) -> Table:
    """Figures side by side: a row per figure, a column per split."""
    result = _empty(name, ["", *columns])
    stats = list(columns.values())
    rows = {
        "dialogues": [f"{s.dialogues:,}" for s in stats],
        "  repeated": [f"{s.repeated_dialogues:,}" for s in stats],
        **_spread("turns of a dialogue", [s.turns for s in stats]),
        "utterances": [f"{s.utterances:,}" for s in stats],
        "utterances, merged": [f"{s.merged:,}" for s in stats],
        "  per dialogue (U/D)": [f"{s.merged_per_dialogue:.2f}" for s in stats],
        "responses": [f"{s.responses:,}" for s in stats],
        "instances": [f"{s.instances:,}" for s in stats],
        **{
            f"  {kind}": [f"{s.kinds.get(kind, 0):,}" for s in stats]
            for kind in dict.fromkeys(kind for s in stats for kind in s.kinds)
        },
        "photos": [f"{s.photos:,}" for s in stats],
        "  distinct": [f"{s.distinct_photos:,}" for s in stats],
        "  distinct, not on disk": [f"{s.missing_photos:,}" for s in stats],
        **_spread("  per dialogue", [s.photos_in for s in stats]),
        **_spread("  labels", [s.labels for s in stats]),
        "  in the first half": [_half(s) for s in stats],
        "  ending a dialogue": [f"{s.last:,}" for s in stats],
        "word types": [f"{s.word_types:,}" for s in stats],
    }
    for label, cells in rows.items():
        _row(result, label, *cells)
    return result


def _spread(label: str, spreads: list[Spread]) -> dict[str, list[str]]:
    means = [rounded(s.mean) if s.counts else "–" for s in spreads]
    ranges = [f"{min(s.counts):,}–{max(s.counts):,}" if s.counts else "–" for s in spreads]
    return {f"{label}, mean": means, f"{label}, range": ranges}


def _half(stats: Stats) -> str:
    if not stats.photos:
        return "–"
    return f"{100 * sum(stats.where[: TENTHS // 2]) / stats.photos:.0f} %"


def table_1(survey: Survey) -> Table:
    """Table 1 of the paper, in the right convention and in the paper's."""
    headings = [
        "Split",
        "counted",
        "# Dial",
        "# Utter",
        "# CUtter",
        "U/D",
        "# Img",
        "# DImg",
        "I/D",
    ]
    result = _empty(f"Table 1: {survey.name}", headings)
    for split, s in [*survey.splits.items(), ("total", survey.total)]:
        ways = {
            "right": (s.utterances, s.merged, s.distinct_photos),
            "paper's": (s.paper.utterances, s.paper.merged, s.paper.distinct_photos),
        }
        for way, (utterances, merged, distinct) in ways.items():
            counts = [f"{s.dialogues:,}", f"{utterances:,}", f"{merged:,}"]
            photos = [f"{s.photos:,}", f"{distinct:,}", _short(_per(s.photos, s.dialogues))]
            _row(result, split, way, *counts, _per(merged, s.dialogues), *photos)
    return result


def overlap_table(name: str, overlaps: dict[str, dict[str, tuple[int, int]]]) -> Table:
    """What training has shown of the other splits: a row per kind of thing, a column per split."""
    result = _empty(f"Seen in training: {name}", ["", *overlaps])
    for what in dict.fromkeys(what for found in overlaps.values() for what in found):
        counts = [found.get(what, (0, 0)) for found in overlaps.values()]
        shares = [f"{100 * hits / all:.1f} % of {all:,}" if all else "–" for hits, all in counts]
        _row(result, what, *shares)
    return result


def _short(figure: str) -> str:
    """Without a second decimal that is 0, as Table 1 prints I/D."""
    return figure.removesuffix("0") if "." in figure else figure


def _empty(title: str, headings: list[str]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    result = Table(box=box.SIMPLE_HEAD, title=Text(title, "bold"), title_justify="left")
    for number, heading in enumerate(headings):
        result.add_column(Text(heading), justify="right" if number else "left")
    return result


def _row(table: Table, *cells: str) -> None:
    from rich.text import Text

    table.add_row(*map(Text, cells))  # brackets are no markup


def figure(survey: Survey) -> Figure:
    """Turns, photos and labels, and where photos are shared; what a dataset lacks has no panel."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    splits = survey.splits
    panels: dict[tuple[str, str], dict[str, Mapping[int, int]]] = {
        ("turns of a dialogue", "% of dialogues"): {n: s.turns.counts for n, s in splits.items()},
        ("photos of a dialogue", "% of dialogues"): {
            n: s.photos_in.counts for n, s in splits.items()
        },
        ("tenth of the dialogue in which a photo is shared", "% of photos"): {
            n: dict(enumerate(s.where, start=1)) for n, s in splits.items()
        },
        ("object labels of a photo", "% of photos"): {
            n: s.labels.counts for n, s in splits.items()
        },
    }
    drawn = {names: p for names, p in panels.items() if any(any(c.values()) for c in p.values())}
    rows = max(1, -(-len(drawn) // 2))
    result = Figure(figsize=(11, 3.5 * rows), layout="constrained")
    for number, ((title, unit), counts) in enumerate(drawn.items(), start=1):
        axes = result.add_subplot(rows, 2, number)
        for split, values in counts.items():
            if whole := sum(values.values()):
                heights = [100 * n / whole for n in values.values()]
                axes.plot(list(values), heights, marker="o", markersize=4,
                          label=split.replace("$", r"\$"))  # fmt: skip
        axes.set(xlabel=title, ylabel=unit, ylim=(0, None))
        axes.xaxis.set_major_locator(MaxNLocator(10, integer=True, min_n_ticks=1))
        axes.grid(alpha=0.25, linewidth=0.5)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    result.suptitle(survey.name.replace("$", r"\$"))
    return result


def picture(survey: Survey, path: Path) -> None:
    """Draws `figure` as a PNG."""
    with replacing(path) as file:
        figure(survey).savefig(file, dpi=120, format="png")
