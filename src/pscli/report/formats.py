"""Scores of systems as text for elsewhere: Markdown, LaTeX, CSV.

The headline has a row for each system, as the paper prints it; other tables one for each figure.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from dataclasses import dataclass

from pscli import console
from pscli.report.table import DASH, Block, Row, Tables, chance, ends, number, pair

FORMATS = ("table", "markdown", "csv", "latex", "json")
FIELDS = (
    "section", "score", "better", "system", "minus", "value", "low", "high", "deviation", "n",
    "count", "p", "p_holm", "signature",
)  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """A figure, and what stands behind it in small print."""

    text: str
    small: str = ""
    bold: bool = False


@dataclass(frozen=True)
class Grid:
    """A table of cells; its first column and first row are names."""

    title: str
    head: list[str]
    rows: list[tuple[str, list[Cell]]]


def grids(found: Tables) -> list[Grid]:
    """The tables as cells, without those that are empty."""
    result = []
    for place, block in enumerate(found.blocks):
        if not block.rows:
            continue
        names = [*found.systems, *(["difference"] if any(map(pair, block.rows)) else [])]
        cells = [_cells(row, len(names)) for row in block.rows]
        titles = [row.title for row in block.rows]
        if place == 0:
            across = [(name, [row[i] for row in cells]) for i, name in enumerate(names)]
            result.append(Grid(_title(block), titles, across))
        else:
            result.append(Grid(_title(block), names, list(zip(titles, cells, strict=True))))
    return result


def _title(block: Block) -> str:
    sizes = " / ".join(f"{n:,}" for n in dict.fromkeys(block.sizes))
    return f"{block.title}, n={sizes}" if block.title else ""


def _cells(row: Row, columns: int) -> list[Cell]:
    cells = []
    for place, score in enumerate(row.scores):
        if score is None:
            cells.append(Cell(DASH))
            continue
        spread = "" if score.deviation is None else f"±{number(score.deviation)}"
        small = f"{spread} {ends(score.interval)}".strip()
        cells.append(Cell(number(score.value), small, row.best == place))
    apart = pair(row)
    if apart:
        sign = "+" if apart.value > 0 else ""
        small = f"{ends(apart.interval)} {chance(apart.holm)}".strip()
        cells.append(Cell(f"{sign}{number(apart.value)}", small))
    return cells + [Cell(DASH)] * (columns - len(cells))


# -- Markdown ----------------------------------------------------------------------------------


def markdown(found: Tables) -> str:
    """Tables of GitHub's Markdown, and signatures as code."""
    parts = []
    for grid in grids(found):
        lines = [["", *grid.head], ["---", *["---:"] * len(grid.head)]]
        rows = [[f"| {' | '.join(map(markdown_text, lines[0]))} |", f"| {' | '.join(lines[1])} |"]]
        for name, cells in grid.rows:
            told = [markdown_text(name), *map(_markdown_cell, cells)]
            rows.append([f"| {' | '.join(told)} |"])
        title = [f"**{markdown_text(grid.title)}**", ""] if grid.title else []
        parts.append("\n".join([*title, *(line for some in rows for line in some)]))
    told = [f"    {line}" for line in (*found.notes, *found.signatures, *found.reasons)]
    return "\n\n".join([*parts, "\n".join(_line(line) for line in told)])


def _markdown_cell(cell: Cell) -> str:
    text = f"**{cell.text}**" if cell.bold else cell.text
    return f"{text} {cell.small}".rstrip()


def markdown_text(text: str) -> str:
    """Text that no Markdown reads as markup."""
    return re.sub(r"([\\`*_{}\[\]<>#|~!&$:@])", r"\\\1", _line(text))


# -- LaTeX -------------------------------------------------------------------------------------

LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "%": r"\%", "_": r"\_", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "[": "{[}", "]": "{]}",
    "*": "{*}", "`": r"\textasciigrave{}", "'": "{'}", '"': r"\char34{}",
    "↑": r"$\uparrow$", "↓": r"$\downarrow$", "±": r"$\pm$", "–": "--", "−": "$-$",
}  # fmt: skip


def latex(found: Tables) -> str:
    """Tables for the package booktabs, and signatures as comments."""
    parts = ["% needs \\usepackage{booktabs}"]
    for grid in grids(found):
        head = " & ".join(["", *map(latex_text, grid.head)])
        rows = [
            " & ".join([latex_text(name), *map(_latex_cell, cells)]) for name, cells in grid.rows
        ]
        title = [f"% {_line(grid.title)}"] if grid.title else []
        parts += [
            *title,
            f"\\begin{{tabular}}{{l{'r' * len(grid.head)}}}",
            "\\toprule",
            f"{head} \\\\",
            "\\midrule",
            *(f"{row} \\\\" for row in rows),
            "\\bottomrule",
            "\\end{tabular}",
        ]
    told = (*found.notes, *found.signatures, *found.reasons)
    return "\n".join([*parts, *(f"% {_line(line)}" for line in told)])


def _latex_cell(cell: Cell) -> str:
    minus = cell.text.startswith("-")
    text = f"${cell.text}$" if minus else latex_text(cell.text)
    text = f"\\textbf{{{text}}}" if cell.bold else text
    return text + (f" {{\\scriptsize {latex_text(cell.small)}}}" if cell.small else "")


def latex_text(text: str) -> str:
    """Text that LaTeX prints as it is: `--` is no dash, nor `[` behind `\\\\` an option."""
    line = _line(text)
    pairs = zip(line, [*line[1:], ""], strict=True)
    return "".join("-{}" if a == b == "-" else LATEX.get(a, a) for a, b in pairs)


# -- CSV ---------------------------------------------------------------------------------------


def table_csv(found: Tables) -> str:
    """A line for each figure, and for each difference, in full precision."""
    file = io.StringIO()
    writer = csv.DictWriter(file, FIELDS, lineterminator="\n", restval="")
    writer.writeheader()
    section = ""
    for block in found.blocks:
        section = block.title or section
        for row in block.rows:
            about = {"section": section, "score": row.name, "better": row.better or ""}
            for system, score in zip(found.systems, row.scores, strict=True):
                if score is None:
                    continue
                low, high = score.interval or ("", "")
                writer.writerow(
                    about
                    | {"system": system, "value": repr(float(score.value)), "low": low}
                    | {"high": high, "n": score.n, "count": score.count}
                    | {"deviation": "" if score.deviation is None else score.deviation}
                    | {"signature": score.signature}
                )
            for d in row.differences:
                low, high = d.interval or ("", "")
                names = {"system": found.systems[d.second], "minus": found.systems[d.first]}
                told = {"value": repr(float(d.value)), "low": low, "high": high, "n": d.n}
                tested = {"p": d.p, "p_holm": d.holm, "signature": f"{d.by}|n:{d.n}"}
                writer.writerow(
                    about | names | told | {k: "" if v is None else v for k, v in tested.items()}
                )
    return file.getvalue().rstrip("\n")


def _line(text: str) -> str:
    """On one line, and without control characters."""
    return console.plain(re.sub(r"[\r\n\t\x0b\x0c\x85\u2028\u2029]+", " ", text))


WRITERS: dict[str, Callable[[Tables], str]] = {
    "markdown": markdown, "latex": latex, "csv": table_csv,
}  # fmt: skip
