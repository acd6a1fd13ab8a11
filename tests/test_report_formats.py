"""Scores as tables, Markdown, LaTeX and CSV: shapes, widths, bold, and what names may hold."""

from __future__ import annotations

import csv
import html
import io
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt
from rich.console import Console

from pscli.metrics.base import Score, Scored
from pscli.metrics.compare import Difference
from pscli.metrics.score import Scores
from pscli.report.formats import latex, latex_text, markdown, markdown_text, table_csv
from pscli.report.table import Tables, headline, number, shown, tables

NASTY = r"""a\b{c}$d&e#f%g_h^i~j<k>|[l]*m*`n`--"o" 'p' !q @r"""
LONG = "predictions/of/a/system/with-a-name-that-never-ends-at-all"


def score(name: str, value: float, **more: Any) -> Score:
    about: dict[str, Any] = {"n": 40, "how": "how", "better": "higher", "interval": (1.0, 2.5)}
    return Score(name, value, **about | more)


def system(shift: float) -> Scores:
    found = Scored(
        (
            score("extra", 7.0, better=None, interval=None),
            score("FID-photoworld", 0.01234 + shift, better="lower", n=9, count="9/8"),
            score("BLEU-1", 50.0 + shift, deviation=1.25),
            score("sharing F1", 100 / 3),
        ),
        {"IS": "no photo"},
    )
    return Scores(40, found, {"look": Scored((score("BLEU-1", 3.0),))}, {"look": 12})


BOTH = (
    Difference("BLEU-1", 0, 1, 1.0, "higher", 40, "way|p:so", (0.5, 1.5), 0.002),
    Difference("FID-photoworld", 0, 1, 1.0, "lower", 40, "way|p:so", None, 0.03),
)


def both(*names: str, by_type: bool = False) -> Tables:
    first, second = names or ("A", "B")
    return tables([(first, system(0.0)), (second, system(1.0))], BOTH, by_type, 40)


def lines(found: Tables, width: int) -> list[str]:
    console = Console(width=300, file=io.StringIO())
    for part in shown(found, width):
        console.print(part)
    file = console.file
    assert isinstance(file, io.StringIO)
    return [line.rstrip() for line in file.getvalue().splitlines()]


def test_the_paper_s_figures_come_first() -> None:
    found = both(by_type=True)
    assert [(block.title, [row.name for row in block.rows]) for block in found.blocks] == [
        ("all", ["BLEU-1", "FID-photoworld", "sharing F1"]), ("", ["extra"]), ("look", ["BLEU-1"]),
    ]  # fmt: skip
    names = ["FID-x", "BLEU-2 (individual)", "BLEU-10", "BLEU-1", "BLEU-1 (individual)", "FIDs"]
    assert headline(names) == ["BLEU-1", "BLEU-2 (individual)", "FID-x"]
    assert len(both().blocks) == 2


def test_bold_is_what_is_significantly_better_than_each_other() -> None:
    """Holm by hand: 0.002 × 2, and 0.03 × 1."""
    rows = {row.name: row for row in both().blocks[0].rows}
    assert [d.holm for d in rows["BLEU-1"].differences] == [0.004]
    assert [d.holm for d in rows["FID-photoworld"].differences] == [0.03]
    assert (rows["BLEU-1"].best, rows["FID-photoworld"].best) == (1, 0)
    assert rows["sharing F1"].best is None

    def of_three(*p: float) -> int | None:
        pairs = ((0, 1, -1.0), (0, 2, 1.0), (1, 2, 2.0))
        found = [
            Difference("BLEU-1", one, other, value, "higher", 9, "", p=chance)
            for (one, other, value), chance in zip(pairs, p, strict=True)
        ]
        systems = [(name, system(0.0)) for name in "ABC"]
        (row, *_) = tables(systems, found).blocks[0].rows
        return row.best

    assert of_three(0.001, 0.001, 0.001) == 2
    assert of_three(0.001, 0.9, 0.001) is None  # not known to be better than the first
    assert of_three(0.9, 0.001, 0.001) == 2


def test_numbers_keep_two_digits() -> None:
    shown = [number(value) for value in (0.0, 12.345, -0.5, 0.0123, -0.00012)]
    assert shown == ["0.00", "12.35", "-0.50", "0.012", "-0.00012"]


def test_wide_cells_fit_as_well() -> None:
    """Names and figures as long as they come."""
    wide = score("own-photo cosine-photoworld of all", -98765.432, interval=(-99999.5, -11111.25))
    systems = [(name, Scores(40, Scored((wide,)))) for name in (LONG, "B")]
    apart = Difference(wide.name, 0, 1, -55555.5, "higher", 40, "", (-66666.5, -4444.5), 1e-9)
    for width in (40, 80):
        assert max(map(len, lines(tables(systems, [apart], shared=40), width))) <= width


@pytest.mark.parametrize("width", [40, 80, 160])
@pytest.mark.parametrize("names", [("A", "B"), (LONG, LONG.upper())])
def test_tables_fit_and_lose_nothing(width: int, names: tuple[str, str]) -> None:
    found = lines(both(*names, by_type=True), width)
    assert max(map(len, found)) <= width
    text = "\n".join(found)
    for figure in ("50.00 ±1.25", "51.00 ±1.25", "+1.00 p=0.004", "[0.50, 1.50]", "n=9/8", "0.012"):
        assert figure in text, figure
    assert text.count("extra") == (1 if width > 40 else 2)
    assert "difference" in text
    if width >= 80 and names == ("A", "B"):
        (row,) = (line for line in found if line.strip().startswith("FID-photoworld ↓"))
        assert re.findall(r"[-+]?\d+\.\d+", row) == ["0.012", "1.01", "+1.00", "0.030"]
    letters = re.sub(r"[^a-zA-Z]", "", text)
    for name in names if width > 40 else ():
        assert len(name) < 20 or letters.count("ystem") + letters.count("YSTEM") >= 2


def test_many_systems_stand_below_each_other() -> None:
    found = tables([(f"system {i}", system(float(i))) for i in range(7)])
    text = lines(found, 80)
    assert max(map(len, text)) <= 80
    for i in range(7):
        assert any(f"{50 + i}.00" in line for line in text)


def test_markdown() -> None:
    text = markdown(both("A|x", "B_y"))
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert rows[0] == r"|  | BLEU-1 ↑ | FID-photoworld ↓ | sharing F1 ↑ |"
    assert rows[1] == "| --- | ---: | ---: | ---: |"
    assert rows[2].startswith(r"| A\|x | 50.00 ±1.25 [1.00, 2.50] | **0.012** [1.00, 2.50] |")
    assert rows[3].startswith(r"| B\_y | **51.00** ±1.25 [1.00, 2.50] |")
    assert rows[4] == "| difference | +1.00 [0.50, 1.50] p=0.004 | +1.00 p=0.030 | – |"
    assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows[:5]}) == 1
    assert "\n    BLEU-1 |how\n" in text and text.rstrip().endswith("no IS: no photo")


def test_markdown_of_any_name_is_that_name() -> None:
    """Oracles: what the escapes mean, read back; and another reader of Markdown."""
    told = markdown_text(NASTY + "\r\n\x1b[2J# x\u2028y")
    assert "\n" not in told and "\x1b" not in told
    assert re.sub(r"\\([^a-zA-Z0-9\s])", r"\1", told) == NASTY + r" \u001b[2J# x y"
    assert not re.search(r"(?<!\\)[`*_{}\[\]<>#|~!&$]", told)
    page = MarkdownIt("commonmark").enable("table").render(markdown(both(NASTY, "http://B")))
    cells = [html.unescape(cell) for cell in re.findall(r"<td>(.*?)</td>", page)]
    assert cells[:3] == [NASTY, "http://B", "difference"]


def test_latex() -> None:
    text = latex(both("A%x", "B_y"))
    rows = [line for line in text.splitlines() if line.endswith("\\\\")]
    assert (
        rows[0] == r" & BLEU-1 $\uparrow$ & FID-photoworld $\downarrow$ & sharing F1 $\uparrow$ \\"
    )
    assert rows[1].startswith(
        r"A\%x & 50.00 {\scriptsize $\pm$1.25 {[}1.00, 2.50{]}} & \textbf{0.012}"
    )
    assert rows[2].startswith(r"B\_y & \textbf{51.00} {\scriptsize")
    assert rows[3].endswith(r"& +1.00 {\scriptsize p=0.030} & -- \\")
    assert {len(re.findall(r"(?<!\\)&", row)) for row in rows[:4]} == {3}
    comments = [line for line in text.splitlines() if line.startswith("% ")]
    assert "% BLEU-1 |how" in comments
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 2


def test_latex_of_any_name() -> None:
    """Oracle: every special character by LaTeX's own list; nothing else changes."""
    told = latex_text(NASTY + "\n\x1b")
    assert told == (
        r"a\textbackslash{}b\{c\}\$d\&e\#f\%g\_h\textasciicircum{}i\textasciitilde{}j"
        r"\textless{}k\textgreater{}\textbar{}{[}l{]}{*}m{*}\textasciigrave{}n\textasciigrave{}"
        r"-{}-\char34{}o\char34{} {'}p{'} !q @r \textbackslash{}u001b"
    )
    name = "a\n% \\end{tabular}"
    assert "\n% \\end" not in latex(both(name, "B")).split("\\midrule")[1].split("\\bottomrule")[0]


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no LaTeX here")
def test_latex_compiles(tmp_path: Path) -> None:
    head = "\\documentclass{article}\\usepackage[utf8]{inputenc}\\usepackage{booktabs}"
    page = f"{head}\\begin{{document}}\n{latex(both(NASTY, 'B'))}\n\\end{{document}}\n"
    (tmp_path / "x.tex").write_text(page, encoding="utf-8")
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "x.tex"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)


def test_csv_keeps_every_figure_in_full() -> None:
    found = list(csv.DictReader(io.StringIO(table_csv(both(NASTY, 'B,"x"\ny', by_type=True)))))
    assert len(found) == 2 * 4 + 2 + 2
    (row,) = (r for r in found if r["score"] == "sharing F1" and r["system"] == NASTY)
    assert float(row["value"]) == 100 / 3
    assert (row["low"], row["high"], row["n"], row["signature"]) == ("1.0", "2.5", "40", "how|n:40")
    (row,) = (r for r in found if r["score"] == "FID-photoworld" and r["system"] == NASTY)
    assert (row["better"], row["count"], row["section"]) == ("lower", "9/8", "all")
    (row,) = (r for r in found if r["score"] == "BLEU-1" and r["minus"])
    assert (row["system"], row["minus"], row["value"]) == ('B,"x"\ny', NASTY, "1.0")
    assert (row["p"], row["p_holm"], row["signature"]) == ("0.002", "0.004", "way|p:so|n:40")
    assert [r["section"] for r in found if r["score"] == "extra"] == ["all", "all"]
    assert [r["section"] for r in found if r["value"] == "3.0"] == ["look", "look"]


def test_it_is_told_what_is_compared() -> None:
    (note,) = both().notes
    assert note.startswith("difference: second - first, on 40 instances; p two-sided")
    assert "difference of BLEU-1, FID-photoworld |way|p:so" in both().signatures
    assert tables([("A", system(0.0))]).notes == ()
    systems = [(name, system(0.0)) for name in "ABC"]
    assert tables(systems[:2], shared=0).notes == ("no differences: no instance is in all folders",)
    (note,) = tables(systems, shared=30).notes
    assert note.startswith("compared: each with each, on 30 instances that all have answered; p")
