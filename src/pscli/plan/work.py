"""What a micro-batch of a dataset is made of, and such a batch for a system in fake tensors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from PIL import Image

from pscli.dialogue.batch import Batch, collate
from pscli.dialogue.schema import Dialogue, Photo
from pscli.dialogue.sequence import IGNORE, PHOTO, CaptionSpan, Packed, token_id
from pscli.plan.parts import stands_in
from pscli.systems.base import System

SAMPLE = 512  # dialogues that are looked at
SUBWORDS = 1.25  # tokens a word or mark, where the LLM's own tokenizer is not at hand


@dataclass(frozen=True)
class Work:
    """What one micro-batch of training works on.

    Args:
        sequences: Packed dialogues.
        length: Tokens of the longest.
        supervised: Tokens that are predicted.
        seen: Photos that are seen.
        drawn: Photos that are drawn.
        caption: Tokens of the longest caption.
        mean: Tokens of a sequence, on average.
        sharing: Photos drawn for each response, on average.
        counted: Whether dialogues were looked at; else it is the most that may come.
    """

    sequences: int
    length: int
    supervised: int
    seen: int
    drawn: int
    caption: int = 32
    mean: float = 0.0
    sharing: float = 0.2
    counted: bool = False


def longest(size: int, length: int) -> Work:
    """Of sequences as long as may be, with three photos each (DialogCC has 1.55 a dialogue), one of
    which is only seen, and of which a third is supervised."""
    return Work(size, length, size * length // 3, 3 * size, 2 * size, mean=length)


def measured(system: System, dialogues: Sequence[Dialogue], size: int, length: int) -> Work:
    """A busy micro-batch of dialogues: as long as the longest sequence, with as many photos as one
    of forty has (two standard deviations above the mean).

    Args:
        size: Sequences of a micro-batch.
        length: Tokens of a sequence, at most.
    """
    template = system.template(length)
    packed = [p for dialogue in dialogues[:SAMPLE] for p in template.pack(dialogue)]
    if not packed:
        return longest(size, length)
    scale = SUBWORDS if stands_in(template.tokenizer) else 1.0
    tokens = [min(length, math.ceil(scale * len(p))) for p in packed]
    spans = [span for p in packed for span in p.captions]
    answers = sum(len(d.responses) - 1 for d in dialogues[:SAMPLE])
    return Work(
        sequences=size,
        length=max(tokens),
        supervised=math.ceil(scale * busy([labels(p) for p in packed], size)),
        seen=busy([len(p.photos) for p in packed], size),
        drawn=busy([len(p.captions) for p in packed], size),
        caption=math.ceil(scale * max((s.end - s.start for s in spans), default=1)),
        mean=sum(tokens) / len(tokens),
        sharing=len(spans) / max(1, answers) if system.speaks else 1.0,
        counted=True,
    )


def labels(packed: Packed) -> int:
    return sum(label != IGNORE for label in packed.labels)


def busy(counts: Sequence[int], size: int) -> int:
    """The sum of `size` of these counts that one of forty exceeds, and that there can be."""
    mean = sum(counts) / len(counts)
    variance = sum((count - mean) ** 2 for count in counts) / len(counts)
    return min(size * max(counts), math.ceil(mean * size + 2 * math.sqrt(variance * size)))


def batch_of(work: Work, system: System) -> Batch:
    """Such a micro-batch, all words the same, with what frozen parts make of its photos."""
    image = Image.new("RGB", (64, 64))
    photo = Photo(image, "")
    caption = max(work.caption, getattr(system, "tokens", 0))
    length = max(work.length, caption + 2) if system.speaks else work.length
    seer: Any = getattr(system, "perceptron", None)
    marks = [token_id(system.llm.tokenizer, PHOTO)] * seer.length if seer else []
    room = work.sequences * ((length - 1) // len(marks)) if marks else 0
    seen = min(work.seen, room)
    rows = []
    for row in range(work.sequences):
        photos, drawn, targets = (
            dealt(total, row, work.sequences) for total in (seen, work.drawn, work.supervised)
        )
        ids = ([1] + marks * photos + [1] * length)[:length]
        spans = [CaptionSpan(photo, length - caption, length, f"{row}/{i}") for i in range(drawn)]
        packed = Packed(photos=[photo] * photos, captions=spans)
        packed.append(ids, [k >= length - targets for k in range(length)], 0)
        rows.append(packed)
    made: dict[str, Any] = {}
    with torch.no_grad():
        if seen:
            made["seen"] = torch.cat([seer.look([image])] * seen)
        if work.drawn:
            made["drawn"] = torch.cat([system.generator.latents([image])] * work.drawn)
    return replace(collate(rows, 0), **made)


def dealt(total: int, row: int, rows: int) -> int:
    """Of `total` things that are dealt out to rows, those of one row."""
    return total // rows + (row < total % rows)
