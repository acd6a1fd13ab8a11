"""What only a world that knows the truth can tell: right answers, and faithful photos.

All figures are percentages with 95 % Wilson intervals.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from pscli.dialogue.schema import Photo
from pscli.errors import DataError
from pscli.metrics.base import Score, Scored
from pscli.metrics.sharing import rate
from pscli.photoworld.phrases import ANSWER_WORDS
from pscli.photoworld.scene import COLOURS, KINDS, PLURALS, SETTINGS
from pscli.photoworld.talk import answered
from pscli.predictions.folder import Prediction

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import nn

ANSWERS = ("answer accuracy", "answer chance", "answer majority")
FAITHFUL = (
    "caption faithfulness",
    "photo faithfulness",
    "photo faithfulness (sent)",
    "setting faithfulness",
    "setting faithfulness (sent)",
)
BATCH = 64


@dataclass(frozen=True)
class Seen:
    """What the extractor sees in a photo: (colour, kind) of every thing, and the setting."""

    things: frozenset[tuple[str, str]]
    setting: str


def answer_scores(predictions: Sequence[Prediction]) -> Scored:
    """How often the predicted text gives the right answer to a question about a photo.

    `answer chance` is what guessing among the values of each detail gives, `answer majority` what
    always giving each detail's most frequent right answer among these instances gives. Then the
    accuracy of each detail that is asked for. Instances whose truth has an answer (look and
    recall) are scored.

    Raises:
        DataError: if a truth asks for a detail that photoworld does not know.
    """
    asked = [
        (p.prediction.text, p.truth.about, p.truth.answer)
        for p in predictions
        if p.truth and p.truth.about and p.truth.answer
    ]
    if not asked:
        return Scored(reasons=dict.fromkeys(ANSWERS, "no instance asks for a detail"))
    unknown = sorted({about for _, about, _ in asked} - set(ANSWER_WORDS))
    if unknown:
        raise DataError(
            f"The truth asks for {', '.join(unknown)}, which photoworld does not know.",
            f"`about` is one of {', '.join(ANSWER_WORDS)}.",
        )
    right: dict[str, list[bool]] = {about: [] for about in ANSWER_WORDS}
    for text, about, answer in asked:
        right[about].append(answered(text, about) == answer)
    hits = sum(map(sum, right.values()))
    chance = sum(len(some) / len(ANSWER_WORDS[about]) for about, some in right.items())
    majority: dict[str, int] = {}
    for (about, _), count in Counter((about, answer) for _, about, answer in asked).items():
        majority[about] = max(majority.get(about, 0), count)
    n, most = len(asked), sum(majority.values())
    return Scored(
        (
            rate(ANSWERS[0], hits, n, "stated-value"),
            Score(ANSWERS[1], 100 * chance / n, n, f"1/values-of-detail|n:{n}"),
            Score(ANSWERS[2], 100 * most / n, n, f"most-frequent-answer-per-detail|n:{n}"),
            *(
                rate(f"{ANSWERS[0]}, {about}", sum(some), len(some), "stated-value")
                for about, some in right.items()
                if some
            ),
        )
    )


def faithful_scores(predictions: Sequence[Prediction], network: nn.Module | None = None) -> Scored:
    """How often the drawn photo shows what the talk has fixed, as the extractor sees it.

    A photo is faithful if it shows exactly the (colour, kind) pairs of the truth, and a caption if
    it names them; the setting is, if it is the one that the truth fixes. An instance without a
    photo counts as wrong, except in the figures marked `(sent)`. Of several the first counts.

    Args:
        predictions: Those whose truth says that a photo is due are scored (share and vary).
        network: Stands in for the shipped photoworld network.
    """
    known = [(p.prediction, p.truth) for p in predictions if p.truth and p.truth.share]
    if not known:
        return Scored(reasons=dict.fromkeys(FAITHFUL, "no instance whose photo is known"))
    said = sum(named(s.captions[0]) == frozenset(t.things) for s, t in known if s.captions)
    due = [(side.photos, truth) for side, truth in known]
    sent = [(photos[0], truth) for photos, truth in due if photos]
    seen = look([Photo(path).open() for path, _ in sent], network)
    judged = [(s, truth) for s, (_, truth) in zip(seen, sent, strict=True)]
    things = sum(s.things == frozenset(truth.things) for s, truth in judged)
    settings = sum(s.setting == truth.setting for s, truth in judged)
    fixed = sum(truth.setting is not None for _, truth in due)
    fixed_sent = sum(truth.setting is not None for _, truth in sent)
    counted = (
        (FAITHFUL[1], things, len(due), "exact-colours-and-kinds"),
        (FAITHFUL[2], things, len(sent), "exact-colours-and-kinds"),
        (FAITHFUL[3], settings, fixed, "setting-fixed-by-talk"),
        (FAITHFUL[4], settings, fixed_sent, "setting-fixed-by-talk"),
    )
    judge = "extractor:photoworld|resize:64"
    scores = (
        rate(FAITHFUL[0], said, len(due), "exact-colours-and-kinds|in:words"),
        *(rate(name, hits, n, f"{how}|{judge}") for name, hits, n, how in counted if n),
    )
    reasons = {
        name: "no photo was sent" if name.endswith("(sent)") else "the talk fixes no setting"
        for name, _, n, _ in counted
        if not n
    }
    return Scored(scores, reasons)


def named(caption: str) -> frozenset[tuple[str, str]]:
    """(colour, kind) of every thing that a caption names as "red car" or "red cars"."""
    kinds = {word: kind for kind in KINDS for word in (kind, PLURALS[kind])}
    words = re.findall(r"[a-z]+", caption.lower())
    return frozenset((a, kinds[b]) for a, b in pairwise(words) if a in COLOURS and b in kinds)


def things_in(
    images: Sequence[Image], network: nn.Module | None = None
) -> list[frozenset[tuple[str, str]]]:
    """(colour, kind) of every thing in each photo, as the extractor sees it."""
    return [seen.things for seen in look(images, network)]


def look(images: Sequence[Image], network: nn.Module | None = None) -> list[Seen]:
    """What the extractor sees in each photo.

    Args:
        images: RGB photos of any size; they are scaled to 64 × 64.
        network: Stands in for the shipped photoworld network.
    """
    if not images:
        return []
    import torch

    from pscli.metrics.image import load_network, pixels

    colours, kinds, settings = list(COLOURS), list(KINDS), list(SETTINGS)
    network = (network or load_network()).eval()
    seen = []
    for start in range(0, len(images), BATCH):
        batch = torch.stack([pixels(image, 64) for image in images[start : start + BATCH]])
        with torch.no_grad():
            output = network(batch.float() / 127.5 - 1)
        for row, setting in zip(
            output.kinds.argmax(-1).tolist(), output.settings.argmax(-1).tolist(), strict=True
        ):
            things = frozenset((colours[c - 1], kinds[k]) for k, c in enumerate(row) if c)
            seen.append(Seen(things, settings[setting]))
    return seen
