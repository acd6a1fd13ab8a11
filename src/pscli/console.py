"""Results go to stdout, progress and notes to stderr; without a terminal, plain lines.

Of several processes the first one speaks, but for errors.
"""

from __future__ import annotations

import codecs
import io
import json
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from rich.color import Color
from rich.console import Console, RenderableType
from rich.segment import Segments
from rich.style import Style
from rich.text import Text

from pscli.errors import PscliError
from pscli.processes import first

if TYPE_CHECKING:
    from PIL.Image import Image

stdout = Console()
stderr = Console(stderr=True)

Advance = Callable[[int], None]  # told how many more are done
Progress = Callable[[str, int], AbstractContextManager[Advance]]  # a bar: title, total

PLAIN_WIDTH = 160  # columns of a table that is piped into a file


# What moves the cursor, rings, turns the direction of writing, or is half a character.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def plain(text: str) -> str:
    """The text with control characters as JSON writes them: none ever reaches a terminal."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def result(text: str) -> None:
    """Prints a line of results as it is: not wrapped, and brackets are not read as markup."""
    if first():
        _print(stdout, text)


def note(text: str) -> None:
    """Prints a line that is no result, likewise."""
    if first():
        _print(stderr, text)


def _print(stream: Console, text: str) -> None:
    stream.print(plain(text), markup=False, highlight=False, emoji=False, soft_wrap=True)


def width() -> int:
    """Columns of a table: the terminal's, those of COLUMNS, or as many as a file may have."""
    told = os.environ.get("COLUMNS", "")
    return stdout.width if stdout.is_terminal or told.isdecimal() else PLAIN_WIDTH


def show(renderable: RenderableType) -> None:
    """Prints a table as a result; in a file it is not squeezed to 80 columns."""
    wide = stdout if stdout.is_terminal else Console(file=stdout.file, width=PLAIN_WIDTH)
    # One character for one, so that columns stay where they are.
    wide.print(
        Segments(
            part if part.control else part._replace(text=_CONTROL.sub("\ufffd", part.text))
            for part in wide.render(renderable)
        )
    )


def show_json(value: Any) -> None:
    """Prints a value as JSON."""
    result(json.dumps(value, indent=1, ensure_ascii=False))


def show_error(error: PscliError) -> None:
    """Prints what happened, and on a line of its own what to do."""
    stderr.print(Text.assemble(("Error: ", "bold red"), plain(error.message)), soft_wrap=True)
    if error.hint:
        _print(stderr, error.hint)


def script(main: Callable[[], None]) -> None:
    """Runs a script that is no command: expected failures exit with 2, Ctrl-C exits with 130."""
    try:
        main()
    except PscliError as error:
        show_error(error)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


@contextmanager
def progress(title: str, total: int) -> Iterator[Advance]:
    """A bar with the time gone and left, or a plain line every tenth of the way.

    Yields:
        A function that takes how many more are done.
    """
    if stderr.is_terminal and first():
        from rich import progress as bars

        columns = (
            bars.TextColumn("{task.description}", markup=False), bars.BarColumn(),
            bars.MofNCompleteColumn(), bars.TimeElapsedColumn(), bars.TimeRemainingColumn(),
        )  # fmt: skip
        with bars.Progress(*columns, console=stderr, speed_estimate_period=3600) as bar:
            task = bar.add_task(plain(title), total=total)
            yield lambda count: bar.update(task, advance=count)
        return
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        before, done = done, done + count
        if 10 * before // max(1, total) != 10 * done // max(1, total):
            note(f"{title}: {done:,} of {total:,}")

    yield advance


@contextmanager
def training_bar(
    total: int, done: int, shown: bool
) -> Iterator[Callable[[Mapping[str, float]], None]]:
    """A bar with the losses, the step, and the time gone and left; or a line every tenth.

    Yields:
        A function that takes the figures of each step.
    """
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn(),
        TimeElapsedColumn(), TimeRemainingColumn(elapsed_when_finished=True),
    )  # fmt: skip
    last: dict[str, float] = {}
    hidden = not (shown and stderr.is_terminal)
    with Progress(*columns, console=stderr, disable=hidden, speed_estimate_period=3600) as bar:
        task = bar.add_task("", total=total, completed=done)

        def step(line: Mapping[str, float]) -> None:
            last.update(line)
            text = (
                f"L {last['loss']:.3f}  Lᵗ {last['text']:.3f}  Lᵛ {last['image']:.3f}  "
                f"τ {last['tau']:.2f}  ∇ {last.get('grad_llm_from_image', 0):.1e}  "
                f"{last['tokens_per_second']:,.0f} tok/s"
            )
            number = int(line["step"]) + 1
            bar.update(task, completed=number, description=text)
            if shown and not stderr.is_terminal and (number - 1) % max(1, total // 10) == 0:
                note(f"step {number}/{total}  {text}")

        yield step


def shows_pictures() -> bool:
    """Whether pictures in coloured characters can be seen on stdout."""
    return stdout.is_terminal and stdout.color_system is not None and not stdout.no_color


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


DEGRADED = {
    "→": "->", "–": "-", "—": "-", "−": "-", "…": "...", "×": "x", "·": ".", "▀": "#",
    "↑": "^", "↓": "v", "τ": "tau", "ᵗ": "^t", "ᵛ": "^v", "∇": "grad", "’": "'", "“": '"', "”": '"',
}  # fmt: skip


def fit_streams() -> None:
    """Lets characters that stdout or stderr cannot write, as in ASCII or cp1252, degrade.

    For the program alone, at its start.
    """
    codecs.register_error("pscli", _degraded)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="pscli")


def _degraded(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    cannot = error.object[error.start : error.end]
    return "".join(DEGRADED.get(letter, "?") for letter in cannot), error.end


def quiet_libraries() -> None:
    """Keeps the libraries' own bars and advice off the terminal. To be called before they load."""
    for name in ("TRANSFORMERS_VERBOSITY", "DIFFUSERS_VERBOSITY"):
        os.environ.setdefault(name, "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TQDM_DISABLE", "1")  # of those that no verbosity silences
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
