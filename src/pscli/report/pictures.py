"""Drawings: conversations as chat bubbles, and sheets of them."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from pscli.dialogue.schema import Photo, Response

SCALE = 2  # pixels to a unit; all lengths below are in units
WIDTH = 330  # of what was said before
MARGIN = 14
PADDING = 11
PHOTO, BEFORE = 150, 100  # sides of a photo, in a reply and before it
TEXT, REPLY = 230, 172  # longest lines, likewise the other way round
GAP = 7
RADIUS = 14
SHOWN = 3  # last messages of a context that are always shown

PAPER = "#faf6f0"
INK = "#33302c"
FADED = "#8d867d"
BUBBLES = ("#ffe3c7", "#d5e8f3")  # of who spoke first, and of the other one
REPLIES = ("#d9713c", "#2f7ba6")  # the same, for what an agent answers
GOLD, ON_GOLD = "#e6e2dc", "#6f6961"
RIGHT, WRONG = "#2e7d4f", "#c0392b"

Parts = Sequence[str | Photo]
Marks = Mapping[str, bool]  # what is right and what is wrong, by the word for it


def exchange(
    context: Sequence[Response],
    speaker: str,
    replies: Sequence[tuple[Parts, Marks]],
    gold: Parts,
) -> list[Image.Image]:
    """What was said before, each system's reply with its marks below it, and what was really said.

    Args:
        speaker: Who replies.
        replies: Texts and photos; a caption is printed below its photo.
    """
    order = list(dict.fromkeys([r.speaker for r in context] + [speaker]))
    strong = REPLIES[order.index(speaker) % 2]
    answers = [_answer(_bubble(r, strong, "#ffffff", captions=True), m) for r, m in replies]
    return [conversation(context), *answers, _answer(_bubble(gold, GOLD, ON_GOLD), {})]


def conversation(context: Sequence[Response]) -> Image.Image:
    """A chat: its last messages, and of those before them what has a photo."""
    order = list(dict.fromkeys(r.speaker for r in context))
    rows: list[_Row] = []
    skipped = 0
    for number, response in enumerate(context):
        if number < len(context) - SHOWN and not response.photos:
            skipped += 1
            continue
        if skipped:
            rows.append(_Row(_skipped(skipped), 0.5))
            skipped = 0
        side = order.index(response.speaker) % 2
        rows.append(_Row(_bubble(response.parts, BUBBLES[side], INK, BEFORE, TEXT), side))
    return _stacked(rows, WIDTH)


def _answer(bubble: Image.Image, marks: Marks) -> Image.Image:
    """A reply, and below it what is right (✓) and wrong (✗) about it."""
    told = [
        _lines(f"{'✓' if right else '✗'} {word}", font(11), RIGHT if right else WRONG)
        for word, right in marks.items()
    ]
    width = REPLY + 2 * PADDING
    rows = [_Row(bubble, 0), *(_Row(line, 0) for line in _in_lines(told, width * SCALE))]
    return _stacked(rows, width + 2 * MARGIN)


def _in_lines(pictures: Sequence[Image.Image], width: int) -> list[Image.Image]:
    """Pictures of one height beside each other, in as few lines as hold them."""
    lines: list[Image.Image] = []
    left = width + 1
    for picture in pictures:
        if left + picture.width > width:
            lines.append(Image.new("RGBA", (width, picture.height), PAPER))
            left = 0
        lines[-1].paste(picture, (left, 0), picture)
        left += picture.width + GAP * SCALE
    return lines


def _stacked(rows: Sequence[_Row], width: int) -> Image.Image:
    """Pictures below each other. Args: width: Of the whole, in units."""
    height = sum(row.image.height for row in rows) + GAP * SCALE * max(0, len(rows) - 1)
    card = Image.new("RGB", (width * SCALE, height + 2 * MARGIN * SCALE), PAPER)
    top = MARGIN * SCALE
    for row in rows:
        room = card.width - 2 * MARGIN * SCALE - row.image.width
        card.paste(row.image, (MARGIN * SCALE + round(room * row.side), top), row.image)
        top += row.image.height + GAP * SCALE
    return card


def contact_sheet(
    rows: Sequence[Sequence[Image.Image]], columns: Sequence[str], legend: str = ""
) -> Image.Image:
    """Pictures in a grid, a column for each system, below the systems' names.

    Args:
        rows: As many pictures in each row as there are columns.
        legend: A line below everything.
    """
    for row in rows:
        if len(row) != len(columns):
            raise ValueError(f"{len(row)} pictures in a row of {len(columns)} columns")
    widths = [max((row[i].width for row in rows), default=0) for i in range(len(columns))]
    heights = [max(picture.height for picture in row) for row in rows]
    head, rule = 36 * SCALE, SCALE
    foot = 28 * SCALE if legend else 0
    size = (sum(widths), head + sum(heights) + rule * len(rows) + foot)
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    left = 0
    for name, width in zip(columns, widths, strict=True):
        middle = (left + width / 2, head / 2)
        draw.text(middle, name, fill=INK, font=font(15, "Bold"), anchor="mm")
        left += width
    top = head
    for row, height in zip(rows, heights, strict=True):
        draw.rectangle((0, top, sheet.width, top + rule - 1), fill=GOLD)
        left, top = 0, top + rule
        for picture, width in zip(row, widths, strict=True):
            sheet.paste(picture, (left, top + height - picture.height))  # beside the last message
            left += width
        top += height
    if legend:
        middle = (sheet.width / 2, top + foot / 2)
        draw.text(middle, legend, fill=FADED, font=font(10), anchor="mm")
    return sheet


@dataclass(frozen=True)
class _Row:
    """A picture and its place from left (0) to right (1)."""

    image: Image.Image
    side: float


def _bubble(
    parts: Parts, fill: str, ink: str, photo: int = PHOTO, width: int = REPLY,
    captions: bool = False,
) -> Image.Image:  # fmt: skip
    blocks: list[Image.Image] = []
    for part in parts:
        if isinstance(part, str):
            blocks.append(_lines(part, font(13), ink, width))
            continue
        if part.missing:
            blocks.append(_lines(f"[{part.caption}]", font(10, "Oblique"), ink, width))
            continue
        blocks.append(_rounded_photo(part.open(), photo))
        if captions and part.caption:
            blocks.append(_lines(part.caption, font(10, "Oblique"), ink, width))
    if not blocks:
        blocks.append(_lines("(nothing)", font(13, "Oblique"), ink))
    gap, padding = GAP * SCALE, PADDING * SCALE
    width = max(block.width for block in blocks) + 2 * padding
    height = sum(block.height for block in blocks) + gap * (len(blocks) - 1) + 2 * padding
    bubble = Image.new("RGBA", (width, height), fill)
    bubble.putalpha(_rounded((width, height), RADIUS * SCALE))
    top = padding
    for block in blocks:
        bubble.paste(block, (padding, top), block)
        top += block.height + gap
    return bubble


def _skipped(count: int) -> Image.Image:
    return _lines(f"⋯ {count} message{'s' * (count > 1)} ⋯", font(10), FADED)


def _rounded_photo(photo: Image.Image, side: int) -> Image.Image:
    scaled = fitting(photo, side * SCALE)
    scaled.putalpha(_rounded(scaled.size, 8 * SCALE))
    return scaled


def fitting(photo: Image.Image, side: int) -> Image.Image:
    """The photo as large as fits into a square of `side` pixels."""
    scale = side / max(photo.size)
    size = (max(1, round(photo.width * scale)), max(1, round(photo.height * scale)))
    return photo.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def _rounded(size: tuple[int, int], radius: int) -> Image.Image:
    """A mask with smooth round corners."""
    fine = 4
    mask = Image.new("L", (size[0] * fine, size[1] * fine), 0)
    box = (0, 0, mask.width - 1, mask.height - 1)
    ImageDraw.Draw(mask).rounded_rectangle(box, radius * fine, fill=255)
    return mask.resize(size, Image.Resampling.BOX)


def _lines(text: str, font: ImageFont.FreeTypeFont, ink: str, width: float = TEXT) -> Image.Image:
    lines = wrapped(text, font, width * SCALE)
    ascent, descent = font.getmetrics()
    step = round((ascent + descent) * 1.08)
    size = (math.ceil(max(font.getlength(line) for line in lines)) + 1, step * len(lines))
    image = Image.new("RGBA", size, ink)
    # The letters are the mask of a plain colour: drawn onto transparency they would get dark rims.
    mask = Image.new("L", size, 0)
    for number, line in enumerate(lines):
        ImageDraw.Draw(mask).text((0, number * step), line, fill=255, font=font)
    image.putalpha(mask)
    return image


def wrapped(text: str, font: ImageFont.FreeTypeFont, width: float) -> list[str]:
    """Lines no wider than `width` pixels, broken between words, or within one that is too long."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width:
            lines[-1] = longer
            continue
        if lines[-1]:
            lines.append("")
        for letter in word:
            if lines[-1] and font.getlength(lines[-1] + letter) > width:
                lines.append("")
            lines[-1] += letter
    return lines


@functools.cache
def font(size: int, style: str = "") -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib and so is the same everywhere."""
    import matplotlib

    name = f"DejaVuSans{f'-{style}' if style else ''}.ttf"
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name
    return ImageFont.truetype(str(path), size * SCALE)
