"""How replies appear: word by word in a terminal, and else in plain lines."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.align import Align
from rich.cells import cell_len
from rich.panel import Panel
from rich.text import Text

from pscli import console
from pscli.chat.pictures import show
from pscli.dialogue.reply import Caption
from pscli.dialogue.schema import Dialogue, Photo, Reply, Turn

ROW = 72  # columns of a conversation
BORDERS = ("dark_orange", "steel_blue")  # of what an agent says, as in a sheet of conversations


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
            line(" ".join(filter(None, ["[photo]", part.caption, "→", str(next(left))])))
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


def show_turns(dialogue: Dialogue, turns: Sequence[Turn], answer: bool = False) -> None:
    """Prints turns of a dialogue: as bubbles in a terminal, and else in plain lines.

    Args:
        answer: Whether they are an agent's.
    """
    speakers = list(dict.fromkeys(turn.speaker for turn in dialogue.turns))
    for turn in turns:
        if not console.stdout.is_terminal:
            console.result(told(turn))
            continue
        side = speakers.index(turn.speaker) % 2
        for words in (turn.text, turn.photo.caption if turn.photo else None):
            if words:
                console.show(_bubble(turn.speaker, words, side, answer))
        if turn.photo:
            show(turn.photo.open())


def _bubble(speaker: str, words: str, side: int, answer: bool) -> Align:
    """Words in a frame, of the first speaker on the left and of the other one on the right."""
    text = Text(console.plain(words))
    title = Text(console.plain(speaker), "bold")
    row = min(ROW, console.width())
    width = min(4 * row // 5, max(cell_len(text.plain), cell_len(title.plain) + 2) + 4)
    panel = Panel(text, title=title, title_align="left", width=width)
    panel.border_style = BORDERS[side] if answer else "dim"
    return Align(panel, "right" if side else "left", width=row)


def told(turn: Turn) -> str:
    """A turn in one line."""
    photo = f"[photo] {turn.photo.caption or ''}".strip() if turn.photo else ""
    return f"{named(turn.speaker)}: {' '.join(f'{turn.text} {photo}'.split())}"


def named(speaker: str) -> str:
    """A speaker's name in a prompt: one line of plain characters."""
    return console.plain(" ".join(speaker.split()))


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
