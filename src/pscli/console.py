"""Results go to stdout, progress and notes to stderr; without a terminal, plain lines."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from rich.color import Color
from rich.console import Console, RenderableType
from rich.style import Style
from rich.text import Text

from pscli.errors import PscliError

if TYPE_CHECKING:
    from PIL.Image import Image

stdout = Console()
stderr = Console(stderr=True)

Advance = Callable[[int], None]  # told how many more are done
Progress = Callable[[str, int], AbstractContextManager[Advance]]  # a bar: title, total

PLAIN_WIDTH = 160  # columns of a table that is piped into a file


def result(text: str) -> None:
    """Prints a line of results as it is: not wrapped, and brackets are not read as markup."""
    stdout.print(text, markup=False, highlight=False, emoji=False, soft_wrap=True)


def note(text: str) -> None:
    """Prints a line that is no result, likewise."""
    stderr.print(text, markup=False, highlight=False, emoji=False, soft_wrap=True)


def show(renderable: RenderableType) -> None:
    """Prints a table as a result; in a file it is not squeezed to 80 columns."""
    wide = stdout if stdout.is_terminal else Console(file=stdout.file, width=PLAIN_WIDTH)
    wide.print(renderable)


def show_json(value: Any) -> None:
    """Prints a value as JSON."""
    result(json.dumps(value, indent=1, ensure_ascii=False))


def show_error(error: PscliError) -> None:
    """Prints what happened, and on a line of its own what to do."""
    stderr.print(Text.assemble(("Error: ", "bold red"), error.message), soft_wrap=True)
    if error.hint:
        note(error.hint)


@contextmanager
def progress(title: str, total: int) -> Iterator[Advance]:
    """A bar with the time left, or a plain line every tenth of the way.

    Yields:
        A function that takes how many more are done.
    """
    if stderr.is_terminal:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

        columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=stderr) as bar:
            task = bar.add_task(title, total=total)
            yield lambda count: bar.update(task, advance=count)
        return
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        before, done = done, done + count
        if 10 * before // max(1, total) != 10 * done // max(1, total):
            note(f"{title}: {done:,} of {total:,}")

    yield advance


def half_blocks(image: Image, columns: int = 64) -> Text:
    """A picture in coloured characters, two pixels above one another in each.

    Args:
        columns: Width in characters, >= 1; the height follows from the picture's proportions.
    """
    columns = max(1, columns)
    rows = max(1, round(columns * image.height / image.width / 2))
    small = image.convert("RGB").resize((columns, 2 * rows))
    pixels = list(zip(*[iter(small.tobytes())] * 3, strict=True))
    colours = [Color.from_rgb(*pixel) for pixel in pixels]
    text = Text(no_wrap=True)
    for start in range(0, len(colours), 2 * columns):
        upper, lower = (colours[i : i + columns] for i in (start, start + columns))
        for above, below in zip(upper, lower, strict=True):
            text.append("▀", Style(color=above, bgcolor=below))
        text.append("\n")
    return text


def quiet_libraries() -> None:
    """Keeps the libraries' own bars and advice off the terminal. To be called before they load."""
    for name in ("TRANSFORMERS_VERBOSITY", "DIFFUSERS_VERBOSITY"):
        os.environ.setdefault(name, "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
