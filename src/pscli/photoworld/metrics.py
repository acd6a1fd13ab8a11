"""What only a world that knows the truth can tell: right answers, and faithful photos.

All figures are percentages with 95 % Wilson intervals.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from pscli.errors import DataError
from pscli.metrics.base import Score, Scored
from pscli.metrics.extractor import photo_pixels
from pscli.metrics.sharing import rate
from pscli.photoworld.phrases import ANSWER_WORDS
from pscli.photoworld.scene import COLOURS, KINDS, PLURALS, SETTINGS
from pscli.photoworld.talk import answered
from pscli.predictions.folder import Prediction

if TYPE_CHECKING:
    from torch import Tensor, nn

ANSWERS = ("answer accuracy", "answer chance", "answer majority")
FAITHFUL = (
    "caption faithfulness",
    "photo faithfulness",
    "photo faithfulness (sent)",
    "setting faithfulness",
    "setting faithfulness (sent)",
)
SIDE, BATCH = 64, 64
Things = frozenset[tuple[str, str]]  # (colour, kind)


class Asked(NamedTuple):
    """A question: the detail that it asks for, its answer, and whether the agent gave that."""

    about: str
    answer: str
    right: bool


class Answers:
    """How often the predicted text gives the right answer to a question about a photo.

    `answer chance` is what guessing among the values of each detail gives, `answer majority` what
    always giving each detail's most frequent right answer among these instances gives. Then the
    accuracy of each detail that is asked for. Instances whose truth has an answer (look and
    recall) are scored.
    """

    marks = {"right": "answer"}  # noqa: RUF012 (what the report marks right or wrong)

    def values(self, predictions: Sequence[Prediction]) -> list[Asked | None]:
        """Raises DataError if a truth asks for a detail that photoworld does not know."""
        return [_asked(p) for p in predictions]

    def scores(self, values: Sequence[Asked]) -> Scored:
        if not values:
            return Scored()
        right: dict[str, list[bool]] = {about: [] for about in ANSWER_WORDS}
        for value in values:
            right[value.about].append(value.right)
        majority: dict[str, int] = {}
        for (about, _), count in Counter((v.about, v.answer) for v in values).items():
            majority[about] = max(majority.get(about, 0), count)
        chance = sum(len(some) / len(ANSWER_WORDS[about]) for about, some in right.items())
        n, most = len(values), sum(majority.values())
        return Scored(
            (
                rate(ANSWERS[0], sum(map(sum, right.values())), n, "stated-value"),
                Score(ANSWERS[1], 100 * chance / n, n, "1/values-of-detail", None),
                Score(ANSWERS[2], 100 * most / n, n, "most-frequent-answer-per-detail", None),
                *(
                    rate(f"{ANSWERS[0]}, {about}", sum(some), len(some), "stated-value")
                    for about, some in right.items()
                    if some
                ),
            )
        )


def _asked(p: Prediction) -> Asked | None:
    if not p.truth or not p.truth.about or not p.truth.answer:
        return None
    about, answer = p.truth.about, p.truth.answer
    if about not in ANSWER_WORDS:
        raise DataError(
            f"The truth of {p.id!r} asks for {about!r}, which photoworld does not know.",
            f"`about` is one of {', '.join(ANSWER_WORDS)}.",
        )
    return Asked(about, answer, answered(p.prediction.text, about) == answer)


class Due(NamedTuple):
    """An instance in which a photo is due, and what is right.

    Args:
        caption: Whether the caption names what the talk has fixed.
        sent: Whether there is a photo.
        things: Whether it shows exactly these things.
        setting: Whether it shows the setting; None if the talk fixes none.
    """

    caption: bool
    sent: bool
    things: bool
    setting: bool | None


class Faithfulness:
    """How often the drawn photo shows what the talk has fixed, as the extractor sees it.

    A photo is faithful if it shows exactly the (colour, kind) pairs of the truth, and a caption if
    it names them; the setting is, if it is the one that the truth fixes. An instance without a
    photo counts as wrong, except in the figures marked `(sent)`. Of several the first counts.
    Instances whose truth says that a photo is due are scored (share and vary).
    """

    marks = {"caption": "caption", "things": "things", "setting": "setting"}  # noqa: RUF012

    def values(self, predictions: Sequence[Prediction]) -> list[Due | None]:
        """Raises DataError if a photo cannot be decoded."""
        due = [p for p in predictions if p.truth and p.truth.share]
        first = [(p.prediction.photos[0], p.id) for p in due if p.prediction.photos]
        seen = iter(look([photo_pixels(path, id, SIDE) for path, id in first]))

        def one(p: Prediction) -> Due | None:
            if not p.truth or not p.truth.share:
                return None
            wanted, fixed = frozenset(p.truth.things), p.truth.setting
            caption = any(named(c) == wanted for c in p.prediction.captions[:1])
            things, setting = next(seen) if p.prediction.photos else (None, None)
            right = None if fixed is None else setting == fixed
            return Due(caption, things is not None, things == wanted, right)

        return [one(p) for p in predictions]

    def scores(self, values: Sequence[Due]) -> Scored:
        if not values:
            return Scored()
        sent = [v for v in values if v.sent]
        things = "exact-colours-and-kinds"
        seen = "extractor:photoworld|resize:64"
        counted = (
            ([v.caption for v in values], f"{things}|in:words"),
            ([v.things for v in values], f"{things}|{seen}"),
            ([v.things for v in sent], f"{things}|{seen}"),
            ([v.setting for v in values if v.setting is not None], f"setting-fixed-by-talk|{seen}"),
            ([v.setting for v in sent if v.setting is not None], f"setting-fixed-by-talk|{seen}"),
        )
        found = list(zip(FAITHFUL, counted, strict=True))
        return Scored(
            tuple(rate(name, sum(hits), len(hits), how) for name, (hits, how) in found if hits),
            {
                name: "no photo was sent"
                if name.endswith("(sent)")
                else "the talk fixes no setting"
                for name, (hits, _) in found
                if not hits
            },
        )


def named(caption: str) -> Things:
    """(colour, kind) of every thing that a caption names as "red car" or "red cars"."""
    kinds = {word: kind for kind in KINDS for word in (kind, PLURALS[kind])}
    words = re.findall(r"[a-z]+", caption.lower())
    return frozenset((a, kinds[b]) for a, b in pairwise(words) if a in COLOURS and b in kinds)


def look(photos: Sequence[Tensor], network: nn.Module | None = None) -> list[tuple[Things, str]]:
    """Things and setting that the extractor sees in each photo.

    Args:
        photos: uint8 [3, 64, 64] each.
        network: Stands in for the shipped photoworld network.
    """
    if not photos:
        return []
    import torch

    from pscli.photoworld.judge import load_extractor

    colours, kinds, settings = list(COLOURS), list(KINDS), list(SETTINGS)
    network = (network or load_extractor()).eval()
    seen = []
    for start in range(0, len(photos), BATCH):
        batch = torch.stack(list(photos[start : start + BATCH]))
        with torch.no_grad():
            output = network(batch.float() / 127.5 - 1)
        found = (output.kinds.argmax(-1).tolist(), output.settings.argmax(-1).tolist())
        for row, setting in zip(*found, strict=True):
            things = frozenset((colours[c - 1], kinds[k]) for k, c in enumerate(row) if c)
            seen.append((things, settings[setting]))
    return seen
