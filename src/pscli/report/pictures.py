"""Drawings: conversations as chat bubbles, contact sheets of them, and curves of a training run."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageDraw, ImageFont

from pscli.dialogue.schema import Photo, Response

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCALE = 2  # pixels to a unit; all lengths below are in units
WIDTH = 380  # of a conversation
MARGIN = 14
PADDING = 11
PHOTO = 150  # side of a photo
TEXT = 230  # longest line
GAP = 7
RADIUS = 14
SHOWN = 4  # last messages of a context that are always shown

PAPER = "#faf6f0"
INK = "#33302c"
FADED = "#8d867d"
BUBBLES = ("#ffe3c7", "#d5e8f3")  # of who spoke first, and of the other one
REPLIES = ("#d9713c", "#2f7ba6")  # the same, for what an agent answers
GOLD, ON_GOLD = "#e6e2dc", "#6f6961"

Parts = Sequence[str | Photo]


def conversation(
    context: Sequence[Response], speaker: str, reply: Parts, gold: Parts | None = None
) -> Image.Image:
    """A chat: the context, an agent's reply in a stronger colour, and in grey what was really said.

    Of a long context the last messages are shown, and those with photos.

    Args:
        speaker: Who replies.
        reply: Texts and photos; a caption is printed below its photo.
    """
    order = list(dict.fromkeys([r.speaker for r in context] + [speaker]))
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
        rows.append(_Row(_bubble(response.parts, BUBBLES[side], INK), side))
    side = order.index(speaker) % 2
    rows.append(_Row(_bubble(reply, REPLIES[side], "#ffffff", captions=True), side))
    if gold is not None:
        rows.append(_Row(_bubble(gold, GOLD, ON_GOLD), side))
    height = sum(row.image.height for row in rows) + GAP * SCALE * (len(rows) - 1)
    card = Image.new("RGB", (WIDTH * SCALE, height + 2 * MARGIN * SCALE), PAPER)
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
            sheet.paste(picture, (left, top))
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


def _bubble(parts: Parts, fill: str, ink: str, captions: bool = False) -> Image.Image:
    blocks: list[Image.Image] = []
    for part in parts:
        if isinstance(part, str):
            blocks.append(_lines(part, font(13), ink))
            continue
        if part.missing:
            blocks.append(_lines(f"[{part.caption}]", font(10, "Oblique"), ink))
            continue
        blocks.append(_rounded_photo(part.open()))
        if captions and part.caption:
            blocks.append(_lines(part.caption, font(10, "Oblique"), ink, PHOTO + 40))
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


def _rounded_photo(photo: Image.Image) -> Image.Image:
    scaled = fitting(photo, PHOTO * SCALE)
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


# What a run's metrics.jsonl holds, and how it is shown.
CURVES = {
    "loss": "loss  $L$ (Eq. 13)",
    "text": "text loss  $L^t$ (Eq. 2)",
    "image": "image loss  $L^v$ (Eq. 12)",
    "tau": r"temperature  $\tau$",
    "grad_llm_from_image": r"gradient norm of the LLM from $L^v$",
}


def loss_figure(metrics: Sequence[dict[str, Any]], dev: Sequence[str] = ()) -> Figure:
    """Curves of a training run over its steps; those that it did not log are left out.

    Args:
        metrics: Lines of metrics.jsonl; each has a `step`.
        dev: Names of scores to draw beside `CURVES`.
    """
    from matplotlib.figure import Figure

    titles = CURVES | {name: f"{name} on dev" for name in dev}
    curves = {
        key: [
            (line["step"], line[key]) for line in metrics if isinstance(line.get(key), int | float)
        ]
        for key in titles
    }
    drawn = {key: points for key, points in curves.items() if points}
    columns = min(3 if len(drawn) <= 6 else 4, max(1, len(drawn)))
    count = math.ceil(len(drawn) / columns)
    figure = Figure(figsize=(4 * columns, 2.6 * max(1, count)), layout="constrained")
    for number, (key, points) in enumerate(drawn.items(), start=1):
        axes = figure.add_subplot(count, columns, number)
        steps, values = zip(*points, strict=True)
        marker = "o" if len(points) < 30 else ""
        axes.plot(steps, values, color=REPLIES[1], linewidth=1.2, marker=marker, markersize=3)
        axes.set_title(titles[key], fontsize=10, color=INK)
        axes.set_xlabel("step", fontsize=8, color=FADED)
        axes.tick_params(labelsize=8, colors=FADED)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def loss_plot(metrics: Sequence[dict[str, Any]], path: Path, dev: Sequence[str] = ()) -> None:
    """Saves `loss_figure` as a picture."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = loss_figure(metrics, dev)
    FigureCanvasAgg(figure)  # no window system is asked for
    figure.savefig(path, dpi=150, facecolor="white")
