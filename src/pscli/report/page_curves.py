"""Curves of training runs for the report's page: smoothed, with every dev score."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pscli.report.columns import logged
from pscli.report.curves import CALM, Points, draw, dress, points, titled, window
from pscli.runs import Run

SHOWN = ("sharing F1", "answer accuracy", "photo faithfulness")  # of dev, beside what is watched
LIGHT = ("#b3541e", "#22688f", "#3f7a4d", "#7a5aa6", "#8a6d1d", "#a33c63")  # as page.css has them
DARK = ("#eb9a66", "#76b7d9", "#83c08f", "#b69be0", "#d0b35f", "#e18aa8")
STROKES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (3, 3)))  # colour is not all
THEMES = {
    "light": (LIGHT, "#faf8f4", "#2b2926", "#6f685f"),
    "dark": (DARK, "#181715", "#ebe7e0", "#a59d92"),
}
SIZE = (4.2, 2.7)  # inches
DPI = 150


@dataclass(frozen=True)
class Figure:
    """One curve of all runs. Args: light, dark: PNG files."""

    name: str
    title: str
    light: bytes
    dark: bytes

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in CSS pixels."""
        return round(SIZE[0] * 100), round(SIZE[1] * 100)


@dataclass(frozen=True)
class Curves:
    """Figures of runs. Args: window: Over how many steps they are smoothed, in words."""

    figures: list[Figure]
    window: str


def curves(runs: Mapping[str, Sequence[Path]], order: Sequence[str]) -> Curves:
    """A figure for every loss and dev score that a run has logged.

    Args:
        runs: Of each system, several seeds for example; they share its colour and stroke.
        order: Names of systems, which number the colours.

    Raises:
        DataError: if a run has logged nothing, or a line of it is broken.
    """
    lines = {name: [logged(run) for run in some] for name, some in runs.items()}
    dev = dict.fromkeys(
        name for some in runs.values() for run in some for name in (*Run(run).monitored, *SHOWN)
    )
    windows = [window(len(points(log, "loss"))) for some in lines.values() for log in some]
    figures = []
    for key, title in titled(dev).items():
        drawn = {n: [p for log in some if (p := points(log, key))] for n, some in lines.items()}
        values = [v for some in drawn.values() for curve in some for _, v in curve]
        if any(values) or (values and key in dev):  # the pipeline's gradient from L^v is always 0
            light, dark = (
                _draw(drawn, order, title, theme, key in dev, key in CALM)
                for theme in THEMES.values()
            )
            figures.append(Figure(_file_name(key), _words(title), light, dark))
    steps = " or ".join(str(width) for width in sorted(set(windows)))
    return Curves(figures, f"{steps} steps")


def _draw(
    drawn: Mapping[str, Sequence[Points]], order: Sequence[str], title: str, theme: Any,
    dev: bool, calm: bool,
) -> bytes:  # fmt: skip
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Sheet

    colours, paper, ink, faded = theme
    sheet = Sheet(figsize=SIZE, layout="constrained", facecolor=paper)
    FigureCanvasAgg(sheet)  # no window system is asked for
    axes = sheet.add_subplot()
    for number, curve in _numbered(drawn, order):
        colour, stroke = colours[number % len(colours)], STROKES[number % len(STROKES)]
        draw(axes, curve, colour, stroke, dev, calm)
    dress(axes, [curve for some in drawn.values() for curve in some], title, ink, faded, dev)
    axes.set_facecolor(paper)
    file = io.BytesIO()
    sheet.savefig(file, dpi=DPI, format="png", facecolor=paper, metadata={"Software": None})
    return file.getvalue()


def _numbered(
    drawn: Mapping[str, Sequence[Points]], order: Sequence[str]
) -> Iterator[tuple[int, Points]]:
    for name, some in drawn.items():
        for curve in some:
            yield order.index(name), curve


def _words(title: str) -> str:
    """A title without the marks of a formula."""
    return title.replace(r"\$", "\0").replace("$", "").replace(r"\tau", "τ").replace("\0", "$")


def _file_name(key: str) -> str:
    return "".join(c if c.isascii() and c.isalnum() else "-" for c in key).strip("-") or "curve"
