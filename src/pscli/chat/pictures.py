"""Photos in a terminal, as well as it can: its own pictures, coloured characters, or not at all."""

from __future__ import annotations

import sys
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from pscli import console

if TYPE_CHECKING:
    from PIL.Image import Image
    from rich.console import RenderableType

WIDEST = 64  # columns


def show(image: Image) -> None:
    """Prints a photo as a result, if stdout shows pictures."""
    if console.shows_pictures():
        console.show(picture(image))


def picture(image: Image) -> RenderableType:
    """A photo as rich prints it, at most as high as the terminal."""
    rows = max(8, console.stdout.height - 4)
    columns = min(WIDEST, console.width(), round(2 * rows * image.width / image.height))
    kind = protocol()
    drawn: RenderableType
    drawn = kind(image, columns, "auto") if kind else console.half_blocks(image, columns)
    return drawn


@cache
def protocol() -> Any:
    """How this terminal shows pictures of its own: kitty's way or sixels, which iTerm2 has, too.

    textual-image asks the terminal, once; None where it knows neither, or nobody can ask it.
    """
    there = sys.stdin is not None and sys.stdin.isatty() and console.stdout.is_terminal
    if not there or find_spec("textual_image") is None:
        return None
    from PIL.Image import new as blank
    from textual_image.renderable import Image, SixelImage, TGPImage

    if not issubclass(Image, SixelImage | TGPImage):
        return None
    # How large its characters are is asked once, too, and not while somebody types.
    console.stdout.measure(Image(blank("RGB", (1, 1))))
    return Image
