"""How replies appear: word by word in a terminal, and else in plain lines."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.cells import cell_len
from rich.text import Text

from pscli import console
from pscli.chat.pictures import show
from pscli.dialogue.reply import Caption
from pscli.dialogue.schema import Photo, Reply


def show_reply(
    reply: Reply, files: Sequence[Path], line: Callable[[str], None] = console.result
) -> None:
    """Prints a reply, a line for each of its parts.

    Args:
        files: Where its photos were saved, in order.
        line: Prints one.
    """
    left = iter(files)
    for part in reply.parts:
        if isinstance(part, Photo):
            line(f"[photo] {part.caption} → {next(left)}")
            if line is console.result:
                show(part.open())
        else:
            line(part)
    show_notes(reply)


def show_notes(reply: Reply) -> None:
    """Prints what was odd about a reply."""
    if not reply.parts:
        console.note("The agent has nothing to say.")
    for note in reply.notes:
        console.note(f"Note: {note}")


class Screen:
    """A terminal in which a reply is written word by word, and how long it takes.

    Args:
        speaker: Whose reply it is.
    """

    def __init__(self, speaker: str) -> None:
        self.words = ""  # that were told so far
        self.first: float | None = None  # seconds until then
        self._speaker, self._column = speaker, 0
        self._began = time.perf_counter()

    def tell(self, part: str | Caption) -> None:
        """Writes the next words, or which photo is about to be drawn."""
        if self.first is None:
            self.first = self.seconds
        if isinstance(part, Caption):
            self.end_line()
            console.result(f"[photo] {part.words}")
            return
        self.words += part if self._column else f" {part}"
        if not self._column:
            self._write(f"{self._speaker}: ", "bold")
        for word in re.findall(r"\s*\S+", part):
            if self._column + cell_len(word) > console.width():
                self.end_line()
                word = word.lstrip()
            self._write(word)

    def end_line(self) -> None:
        if self._column:
            console.result("")
        self._column = 0

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._began

    def _write(self, text: str, style: str = "") -> None:
        shown = Text(console.plain(text), style)
        console.stdout.print(shown, end="", soft_wrap=True)
        self._column += cell_len(shown.plain)
