"""The figure of `make systems`: what each system reaches, seen and unseen."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure

PANELS = {
    "BLEU-1": "BLEU-1",
    "answer accuracy": "answer accuracy, %",
    "sharing F1": "sharing F1, %",
    "photo faithfulness": "photo faithfulness, %",
    "FID-photoworld": "FID-photoworld (less is better)",
}
COLOURS = ("C0", "C1", "C2", "C4")  # of splits


class Point(NamedTuple):
    """Mean over seeds, and the means of the ends of each seed's 95 % interval."""

    value: float
    low: float
    high: float
    n: int


def point(seeds: Sequence[Any], name: str) -> Point | None:
    """A figure of `scores.json`, one file a seed; None where a seed lacks it or its interval."""
    found = [s for one in seeds for s in one["overall"]["scores"] if s["name"] == name]
    if len(found) < len(seeds) or not all(score.get("interval") for score in found):
        return None
    low, high = (statistics.mean(score["interval"][side] for score in found) for side in (0, 1))
    value = statistics.mean(score["value"] for score in found)
    return Point(value, low, high, max(score["n"] for score in found))


def figure(read: Mapping[str, Mapping[str, Sequence[Any]]], path: Path) -> None:
    """A panel a figure, a line a system, a colour a split.

    Args:
        read: Contents of `scores.json`, by split and system, one a seed.
    """
    systems = list(next(iter(read.values())))
    drawing = Figure(figsize=(2.7 * len(PANELS) + 1, 0.38 * len(systems) + 1.6))
    drawing.set_layout_engine("constrained")
    panels = drawing.subplots(1, len(PANELS), sharey=True)
    for axes, (name, title) in zip(panels, PANELS.items(), strict=True):
        counts = []
        for number, (split, colour) in enumerate(zip(read, COLOURS, strict=False)):
            shift = (number - (len(read) - 1) / 2) * 0.25
            there = [(y, point(read[split][s], name)) for y, s in enumerate(systems)]
            some = [(y + shift, p) for y, p in there if p]
            heights, points = [y for y, _ in some], [p for _, p in some]
            # Ends, and no lengths: an interval that is corrected for bias may miss its figure.
            axes.hlines(heights, [p.low for p in points], [p.high for p in points], colors=colour)
            values = [p.value for p in points]
            axes.plot(values, heights, "o", markersize=4, color=colour, label=split)
            counts += [p.n for p in points]
        most = f", n ≤ {max(counts):,}" if counts else ""
        axes.set_title(f"{title}{most}", fontsize=9)
        axes.grid(axis="x", alpha=0.25)
    panels[0].set_yticks(range(len(systems)), systems)
    panels[0].invert_yaxis()
    handles, names = panels[0].get_legend_handles_labels()
    drawing.legend(handles, names, loc="outside lower center", ncols=len(names), fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    drawing.savefig(path, dpi=130)
