"""Markdown as the tests read it: links, anchors, fenced blocks and command lines."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)$", re.MULTILINE)
HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)


class Block(NamedTuple):
    """A fenced block, and the line of its file where its text begins."""

    language: str
    text: str
    line: int


def pages() -> list[Path]:
    """All pages that people read: those of `docs/` and those beside it."""
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(path: Path) -> list[Block]:
    """Fenced blocks in their order."""
    text = path.read_text(encoding="utf-8")
    return [
        Block(found[1], found[2], text.count("\n", 0, found.start(2)) + 1)
        for found in FENCE.finditer(text)
    ]


def commands(text: str) -> list[list[str]]:
    """The words of each line of a block that calls `pscli`."""
    lines = text.replace("\\\n", " ").splitlines()
    called = [line for line in lines if line.startswith("pscli ")]
    return [shlex.split(line, comments=True)[1:] for line in called]


def understood(name: str, *words: str) -> bool:
    """Whether the program has such a command with such options, whose values are parsed, too."""
    import typer

    from pscli.cli import app

    plain = list(words[: words.index(">")] if ">" in words else words)  # without where it goes
    return typer.main.get_command(app).commands[name].make_context(name, plain) is not None


def prose(text: str) -> str:
    """A page without its code."""
    return re.sub(r"`[^`\n]*`", "", FENCE.sub("", text))


def links(text: str) -> list[str]:
    """Where a page's links and images lead."""
    return [first or second for first, second in LINK.findall(prose(text))]


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives to headings: a heading that stands again gets a number."""
    found: Counter[str] = Counter()
    names = set()
    for heading in HEADING.findall(FENCE.sub("", text)):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", words).strip().lower().replace(" ", "-")
        names.add(f"{name}-{found[name]}" if found[name] else name)
        found[name] += 1
    return names
