"""A contact sheet: drawn photos of some predictions with what the metrics say of each, for the eye.

Whoever reports a judge's figures should look at what it has judged:
`pscli report preds/mine --out photos.png --photos 36`.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from PIL import Image, ImageDraw

from pscli.errors import DataError
from pscli.metrics.base import Metric
from pscli.predictions.folder import Prediction, open_photo
from pscli.report.pictures import FADED, INK, PAPER, RIGHT, SCALE, WRONG, fitting, font, wrapped

PHOTO, GAP, LINES = 128, 14, 3  # in units, as in `pictures`; lines of a caption


def contact_sheet(
    predictions: Sequence[Prediction],
    metrics: Sequence[Metric],
    count: int = 36,
    columns: int = 6,
    seed: int = 0,
    kinds: Sequence[str] = (),
) -> Image.Image:
    """The first photo of instances drawn at random from those that a metric marks, in their order:
    below it its caption, the marks, and the id.

    Args:
        predictions: All of a folder.
        metrics: What those with `marks` say is shown: attributes of their values that are true
            where a photo is right and false where it is wrong, with the word for each.
        count: How many, if there are as many.
        kinds: Instance types to show; all by default.

    Raises:
        DataError: if no metric marks a photo, or one cannot be decoded.
    """
    told = [
        (p, marks)
        for p, marks in zip(predictions, verdicts(predictions, metrics), strict=True)
        if marks and p.prediction.photos and (not kinds or p.kind in kinds)
    ]
    if not told:
        raise DataError("No drawn photo is marked right or wrong.", "Is it a folder of photoworld?")
    picked = random.Random(f"contact/{seed}").sample(range(len(told)), min(count, len(told)))
    cells = [_cell(*told[row]) for row in sorted(picked)]
    step, tall = (PHOTO + GAP) * SCALE, max(cell.height for cell in cells) + GAP * SCALE
    rows = -(-len(cells) // columns)
    size = (min(columns, len(cells)) * step + GAP * SCALE, rows * tall + GAP * SCALE)
    sheet = Image.new("RGB", size, PAPER)
    for number, cell in enumerate(cells):
        left, top = number % columns * step, number // columns * tall
        sheet.paste(cell, (left + GAP * SCALE, top + GAP * SCALE))
    return sheet


def verdicts(predictions: Sequence[Prediction], metrics: Sequence[Metric]) -> list[dict[str, bool]]:
    """For each prediction what is right and what is wrong about it, by the word for it.

    Args:
        predictions: All of a folder: what is right of one may depend on others.
    """
    found: list[dict[str, bool]] = [{} for _ in predictions]
    for metric in metrics:
        marks: dict[str, str] = getattr(metric, "marks", {})
        for said, value in zip(found, metric.values(predictions) if marks else (), strict=False):
            facts: dict[str, Any] = {
                word: getattr(value, name, None) for name, word in marks.items()
            }
            said.update({word: bool(fact) for word, fact in facts.items() if fact is not None})
    return found


def _cell(p: Prediction, marks: dict[str, bool]) -> Image.Image:
    small, side = font(9), PHOTO * SCALE
    caption = p.prediction.captions[0] if p.prediction.captions else ""
    lines = wrapped(caption, small, side)[:LINES]
    words = [(f"{word} {'✓' if right else '✗'}", right) for word, right in marks.items()]
    step = sum(small.getmetrics())
    cell = Image.new("RGB", (side, side + step * (LINES + 3)), PAPER)
    photo = fitting(open_photo(p.prediction.photos[0], p.id), side)
    cell.paste(photo, ((side - photo.width) // 2, (side - photo.height) // 2))
    draw, top = ImageDraw.Draw(cell), side
    for line in lines:
        draw.text((0, top), line, fill=INK, font=small)
        top += step
    left = 0.0
    for word, right in words:
        wide = small.getlength(f"{word}  ")
        if left and left + wide > side:
            left, top = 0.0, top + step
        draw.text((left, top), word, fill=RIGHT if right else WRONG, font=small)
        left += wide
    draw.text((0, top + step), p.id[-40:], fill=FADED, font=font(6))
    return cell
