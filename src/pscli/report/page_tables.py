"""Tables of the report's page: the paper's, and all scores by instance type.

Guo et al. (2024), Table 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pscli.metrics.base import Score, Scored
from pscli.metrics.compare import Difference
from pscli.metrics.score import Scores
from pscli.report.table import ARROWS, Block, Row, Tables, chance, ends, number, pair

Systems = Sequence[tuple[str, Scores]]

# Table 2: BLEU-1, BLEU-2, ROUGE-L, IS, FID.
HEADS = {"BLEU-1": "higher", "BLEU-2": "higher", "ROUGE-L": "higher", "IS": "higher",
         "FID": "lower"}  # fmt: skip
PAPER = {
    "PhotoChat": {
        "Divter, with extra image data": ("6.52", "1.66", "5.69", "15.8 ± 0.6", "29.16"),
        "Divter": ("6.28", "1.51", "5.40", "4.9 ± 0.7", "262.09"),
        "pipeline": ("10.65", "2.03", "9.76", "13.67 ± 1.31", "79.74"),
        "end-to-end": ("12.08", "2.94", "11.00", "14.47 ± 0.94", "75.88"),
    },
    "DialogCC": {
        "Divter": ("8.08", "1.89", "6.71", "9.19 ± 2.01", "108.50"),
        "pipeline": ("14.18", "2.93", "12.21", "22.99 ± 1.92", "61.66"),
        "end-to-end": ("15.84", "3.97", "13.70", "25.56 ± 1.79", "59.63"),
    },
}
SCALE = 120.0  # width of a drawn row


@dataclass(frozen=True)
class Cell:
    """A figure, its deviation and interval, and n."""

    value: str
    spread: str = ""
    count: str = ""
    best: bool = False  # significantly so


@dataclass(frozen=True)
class Mark:
    """Where a figure and the ends of its interval lie in a drawing."""

    at: float
    low: float
    high: float


@dataclass(frozen=True)
class Line:
    """A line of a table; `marks` draw its cells, `apart` is the difference of two systems."""

    name: str
    cells: list[Cell | None]
    marks: list[Mark | None] = field(default_factory=list)
    apart: Cell | None = None


@dataclass(frozen=True)
class Part:
    """Rows of one data set; the paper's own are told apart."""

    title: str
    rows: list[Line]
    paper: bool = False


@dataclass(frozen=True)
class Headline:
    """Table 2. Args: apart: Whether its parts cannot be compared."""

    heads: list[tuple[str, str]]
    parts: list[Part]
    apart: bool


@dataclass(frozen=True)
class Section:
    """Scores of one instance type, or of all. Args: apart: Whether two systems are compared."""

    title: str
    sizes: str
    rows: list[Line]
    apart: bool


def headline(authors: Systems, usual: Systems, dataset: str, title: str) -> Headline:
    """The paper's table with our rows first.

    Args:
        authors: Text scores in the authors' convention.
        usual: The same systems' other scores; IS and FID are theirs.
        dataset: Name in the registry; of PhotoChat and DialogCC the paper's rows stand alone.
        title: Of our rows.
    """
    rows = []
    for (name, text), (_, images) in zip(authors, usual, strict=True):
        found = [_text(text.overall, head) for head in list(HEADS)[:3]]
        found += [_image(images.overall, head) for head in list(HEADS)[3:]]
        rows.append(Line(name, [cell(score, images.n) for score in found]))
    same = {name: rows for name, rows in PAPER.items() if name.lower() == dataset}
    parts = [Part(title, rows)]
    for name, theirs in (same or PAPER).items():
        told = [Line(row, [_told(value) for value in values]) for row, values in theirs.items()]
        parts.append(Part(f"Guo et al. (2024), {name}", told, paper=True))
    heads = [(head, ARROWS[better]) for head, better in HEADS.items()]
    return Headline(heads, parts, apart=not same)


def _told(value: str) -> Cell:
    figure, _, spread = value.partition(" ")
    return Cell(figure, spread)


def _text(scored: Scored, name: str) -> Score | None:
    return scored.get(f"{name} (individual)") or scored.get(name)


def _image(scored: Scored, name: str) -> Score | None:
    """The score of that name, else the first that another extractor gives."""
    others = (s for s in scored.scores if s.name.startswith(f"{name}-"))
    return scored.get(name) or next(others, None)


def sections(found: Tables) -> list[Section]:
    """All scores: over everything first, then by instance type and by whatever else is scored."""
    result: list[tuple[Block, list[Row]]] = []
    for block in found.blocks:
        if block.title or not result:
            result.append((block, list(block.rows)))
        else:
            result[-1][1].extend(block.rows)
    return [_section(block, rows) for block, rows in result]


def _section(block: Block, rows: Sequence[Row]) -> Section:
    lines = [
        Line(
            row.title,
            [
                cell(score, size, best=row.best == place)
                for place, (score, size) in enumerate(zip(row.scores, block.sizes, strict=True))
            ],
            marks(row.scores),
            _apart(pair(row)),
        )
        for row in rows
    ]
    sizes = " / ".join(f"{size:,}" for size in dict.fromkeys(block.sizes))
    title = "all responses" if block.title == "all" else block.title
    return Section(title, f"n = {sizes}", lines, any(line.apart for line in lines))


def cell(score: Score | None, size: int, best: bool = False) -> Cell | None:
    """A figure as it is printed, with its n where that is not `size`."""
    if score is None:
        return None
    spread = "" if score.deviation is None else f"± {number(score.deviation)}"
    count = "" if score.count == str(size) else score.count
    return Cell(number(score.value), _beside(spread, ends(score.interval)), count, best)


def _beside(*texts: str) -> str:
    """Texts that are broken between them alone."""
    return " ".join(text.replace(" ", "\u00a0") for text in texts if text)


def _apart(found: Difference | None) -> Cell | None:
    if found is None:
        return None
    sign = "+" if found.value > 0 else ""
    told = _beside(ends(found.interval), chance(found.holm))
    return Cell(f"{sign}{number(found.value)}".replace("-", "−"), told)


def marks(scores: Sequence[Score | None]) -> list[Mark | None]:
    """A drawing of a row: figures on one scale, with intervals (or deviations) as lines.

    Nothing if fewer than two are there, or none of them has either.
    """
    ends = [_ends(score) if score else None for score in scores]
    some = [e for e in ends if e]
    if len(some) < 2 or all(low == high for low, high in some):
        return []
    low, high = min(e[0] for e in some), max(e[1] for e in some)

    def place(value: float) -> float:
        return round(4 + (SCALE - 8) * (value - low) / (high - low), 1)

    return [
        Mark(place(min(high, max(low, score.value))), place(end[0]), place(end[1]))
        if score and end
        else None
        for score, end in zip(scores, ends, strict=True)
    ]


def _ends(score: Score) -> tuple[float, float]:
    if score.interval is not None:
        return score.interval
    spread = score.deviation or 0.0
    return score.value - spread, score.value + spread
