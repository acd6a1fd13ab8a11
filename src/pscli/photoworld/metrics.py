"""What only a world that knows the truth can tell: right answers, and faithful photos.

All figures are percentages with 95 % Wilson intervals. What photoworld knows of an instance beside
its truth, it finds by the id (see `known`); the figures that need it are left out for others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pscli.errors import DataError
from pscli.metrics.base import Score, Scored
from pscli.metrics.extractor import photo_pixels
from pscli.metrics.resample import Array, Sums
from pscli.metrics.sharing import rate
from pscli.photoworld.known import Known, known, named, wanted
from pscli.photoworld.phrases import ANSWER_WORDS
from pscli.photoworld.talk import answered
from pscli.photoworld.view import View, look
from pscli.predictions.folder import Prediction

ANSWERS = ("answer accuracy", "answer chance", "answer majority")
WHOSE = {True: f"{ANSWERS[0]}, drawn photos", False: f"{ANSWERS[0]}, dataset photos"}
_DETAILS = (*ANSWERS[:2], *(f"{ANSWERS[0]}, {about}" for about in ANSWER_WORDS), *WHOSE.values())
THINGS, SEEN = "exact-colours-and-kinds", "extractor:photoworld|resize:64"
PHOTO = f"{THINGS}+number-fixed-by-talk|{SEEN}"
HOW = {
    "caption faithfulness": f"{THINGS}|in:words",
    "photo faithfulness": PHOTO,
    "photo faithfulness (sent)": PHOTO,
    "things faithfulness": f"{THINGS}|{SEEN}",
    "number faithfulness": f"number-fixed-by-talk|{SEEN}",
    "setting faithfulness": f"setting-fixed-by-talk|{SEEN}",
    "setting faithfulness (sent)": f"setting-fixed-by-talk|{SEEN}",
    "light faithfulness": f"light-fixed-by-talk|{SEEN}",
    "photo faithfulness, seen captions": f"{PHOTO}|training:photoworld-train",
    "photo faithfulness, unseen captions": f"{PHOTO}|training:photoworld-train",
    "photo faithfulness, unseen pairs": f"{PHOTO}|training:photoworld-train",
}
FAITHFUL = tuple(name for name in HOW if "," not in name)
UNFIXED = {
    f"{what} faithfulness": f"the talk fixes no {what}" for what in ("number", "setting", "light")
}
UNFIXED["caption faithfulness"] = "no photo has a caption: this system draws without"
SIDE = 64


class Asked(NamedTuple):
    """A question: the detail that it asks for, its answer, and whether the agent gave that.

    Args:
        drawn: Whether it asks about a photo that an agent drew.
    """

    about: str
    answer: str
    right: bool
    drawn: bool = False

    @property
    def hits(self) -> dict[str, float | None]:
        """What it adds to each figure that is a mean, by name."""
        chance = 1 / len(ANSWER_WORDS[self.about])
        return {
            ANSWERS[0]: self.right,
            ANSWERS[1]: chance,
            f"{ANSWERS[0]}, {self.about}": self.right,
            WHOSE[self.drawn]: self.right,
        }


class Answers(Sums):
    """How often the predicted text gives the right answer to a question about a photo.

    `answer chance` is what guessing among the values of each detail gives, `answer majority` what
    always giving each detail's most frequent right answer among these instances gives. Then the
    accuracy of each detail that is asked for. Instances whose truth has an answer (look and recall)
    are scored; of the test split, all are asked in words that training has never shown.

    Where the context held drawn photos in place of the dataset's, the right answer is what the
    judge sees in the one that is asked about, and the accuracy of questions about drawn photos
    stands beside that of the others. A question about a photo that was never sent, or
    about a thing that it does not show, has none and is left out.
    """

    marks = {"right": "answer"}  # noqa: RUF012 (what the report marks right or wrong)

    def values(self, predictions: Sequence[Prediction]) -> list[Asked | None]:
        """Raises DataError if a truth asks for a detail that photoworld does not know."""
        asked = [p for p in predictions if p.truth and p.truth.about and p.truth.answer]
        found = {p.id: known(p) for p in asked}
        drawn = {p.id: _drawn(p, found[p.id]) for p in asked}
        views = _views([(path, id) for id, path in drawn.items() if isinstance(path, Path)])

        def one(p: Prediction) -> Asked | None:
            if not p.truth or not p.truth.about or not p.truth.answer:
                return None
            about, answer, more = p.truth.about, p.truth.answer, found[p.id]
            if about not in ANSWER_WORDS:
                raise DataError(
                    f"The truth of {p.id!r} asks for {about!r}, which photoworld does not know.",
                    f"`about` is one of {', '.join(ANSWER_WORDS)}.",
                )
            if drawn[p.id] is not None:
                view = next(views) if drawn[p.id] else None
                seen = view.answer(about, more.fact.kind or "") if view and more else None
                if seen is None:
                    return None
                answer = seen
            right = answered(p.prediction.text, about) == answer
            return Asked(about, answer, right, drawn[p.id] is not None)

        return [one(p) for p in predictions]

    def scores(self, values: Sequence[Asked]) -> Scored:
        if not values:
            return Scored()
        right: dict[str, list[bool]] = {about: [] for about in ANSWER_WORDS}
        whose: dict[bool, list[bool]] = {drawn: [] for drawn in WHOSE}
        for value in values:
            right[value.about].append(value.right)
            whose[value.drawn].append(value.right)
        majority: dict[str, int] = {}
        for (about, _), count in Counter((v.about, v.answer) for v in values).items():
            majority[about] = max(majority.get(about, 0), count)
        chance = sum(len(some) / len(ANSWER_WORDS[about]) for about, some in right.items())
        n, most = len(values), sum(majority.values())
        how = "stated-value" + ("|of-drawn-photos:as-judged" if whose[True] else "")
        return Scored(
            (
                rate(ANSWERS[0], sum(map(sum, right.values())), n, how),
                Score(ANSWERS[1], 100 * chance / n, n, "1/values-of-detail", None),
                Score(ANSWERS[2], 100 * most / n, n, "most-frequent-answer-per-detail", None),
                *(
                    rate(f"{ANSWERS[0]}, {about}", sum(some), len(some), how)
                    for about, some in right.items()
                    if some
                ),
                *(
                    rate(WHOSE[drawn], sum(some), len(some), how)
                    for drawn, some in whose.items()
                    if some and whose[True]
                ),
            )
        )

    def sums(self, values: Sequence[Asked]) -> Array:
        return _counts([v.hits for v in values], _DETAILS)

    def figures(self, sums: Array) -> dict[str, Array]:
        found = _shares(sums, _DETAILS)
        drawn, others = WHOSE.values()
        found[others] = np.where(np.isnan(found[drawn]), np.nan, found[others])  # beside it only
        return found


def _drawn(p: Prediction, more: Known | None) -> Path | str | None:
    """The drawn photo that is asked about; empty if none was sent, None if it is the dataset's."""
    if not more or more.fact.photo not in p.history:
        return None
    return next(iter(p.history[more.fact.photo]), "")


def _views(photos: Sequence[tuple[Path, str]]) -> Iterator[View]:
    """What the judge sees in photos of instances."""
    return iter(look([photo_pixels(path, id, SIDE) for path, id in photos]))


class Due(NamedTuple):
    """An instance in which a photo is due, and what is right.

    Args:
        caption: Whether the caption names what the talk has fixed; None of a system that writes
            none.
        sent: Whether there is a photo.
        things: Whether it shows exactly these things.
        number: Whether it shows as many of them; None if the talk fixes no number.
        setting: Whether it shows the setting; None if the talk fixes none.
        shown: Whether training has shown the caption; None if nobody knows.
        new: Whether it wants two things that training has never shown together.
        light: Whether it has the light; None if the talk fixes none.
    """

    caption: bool | None
    sent: bool
    things: bool
    number: bool | None
    setting: bool | None
    shown: bool | None = None
    new: bool = False
    light: bool | None = None

    @property
    def photo(self) -> bool:
        """Whether it shows the things, and as many as the talk fixes."""
        return self.things and self.number is not False

    @property
    def hits(self) -> dict[str, bool | None]:
        """What it adds to each figure, by name; None where it says nothing."""
        return {
            "caption faithfulness": self.caption,
            "photo faithfulness": self.photo,
            "photo faithfulness (sent)": self.photo if self.sent else None,
            "things faithfulness": self.things,
            "number faithfulness": self.number,
            "setting faithfulness": self.setting,
            "setting faithfulness (sent)": self.setting if self.sent else None,
            "light faithfulness": self.light,
            "photo faithfulness, seen captions": self.photo if self.shown is True else None,
            "photo faithfulness, unseen captions": self.photo if self.shown is False else None,
            "photo faithfulness, unseen pairs": self.photo if self.new else None,
        }


class Faithfulness(Sums):
    """How often the drawn photo shows what the talk has fixed, as the judge sees it.

    A photo is faithful if it shows exactly the (colour, kind) pairs of the truth, and as many
    things altogether as the talk fixes ("a red car" is one, "red cars" any number); a caption is,
    if it names the pairs; setting and light, if they are those that the talk fixes ("the same, but
    in blue" is as many, in the same light). An instance without
    a photo counts as wrong, except in the figures marked `(sent)`. Of several the first counts.
    Instances whose truth says that a photo is due are scored (share and vary); and apart where
    training has shown the caption, where it has not, and where never the two things together.

    In a rollout, where the agent itself has named what it then sends, that is what counts.
    """

    marks = {name: name for name in ("caption", "things", "number", "setting", "light")}  # noqa: RUF012

    def values(self, predictions: Sequence[Prediction]) -> list[Due | None]:
        """Raises DataError if a photo cannot be decoded."""
        due = [p for p in predictions if p.truth and p.truth.share]
        seen = _views([(p.prediction.photos[0], p.id) for p in due if p.prediction.photos])
        said = {p.id: p.prediction.text for p in predictions}
        sent = [p.prediction.captions for p in predictions if p.prediction.photos]
        wordless = bool(sent) and not any(caption for some in sent for caption in some)

        def one(p: Prediction) -> Due | None:
            if not p.truth or not p.truth.share:
                return None
            more = known(p)
            view = next(seen) if p.prediction.photos else None
            due = wanted(p, p.truth, more, said)
            if due is None:
                return None
            number, setting, light = due.number, due.setting, due.light
            return Due(
                None
                if wordless
                else any(named(c) == due.things for c in p.prediction.captions[:1]),
                view is not None,
                view is not None and view.things == due.things,
                None if number is None else view is not None and view.number == number,
                None if setting is None else view is not None and view.setting == setting,
                more.seen_caption if more and due.script else None,
                bool(more and more.new_pair and due.script),
                None if light is None else view is not None and view.light == light,
            )

        return [one(p) for p in predictions]

    def scores(self, values: Sequence[Due]) -> Scored:
        if not values:
            return Scored()
        told = {name: [h for v in values if (h := v.hits[name]) is not None] for name in HOW}
        return Scored(
            tuple(
                rate(name, sum(hits), len(hits), HOW[name]) for name, hits in told.items() if hits
            ),
            {name: UNFIXED.get(name, "no photo was sent") for name in FAITHFUL if not told[name]},
        )

    def sums(self, values: Sequence[Due]) -> Array:
        return _counts([v.hits for v in values], tuple(HOW))

    def figures(self, sums: Array) -> dict[str, Array]:
        return _shares(sums, tuple(HOW))


def _counts(values: Sequence[Mapping[str, float | None]], names: Sequence[str]) -> Array:
    """[n, 2 K]: what each value adds to the hits of K figures, then to what they are of."""
    hits = np.array([[v.get(name) for name in names] for v in values], dtype=float)
    hits = hits.reshape(-1, len(names))
    return np.hstack([np.nan_to_num(hits), ~np.isnan(hits)])


def _shares(sums: Array, names: Sequence[str]) -> dict[str, Array]:
    """[R] percentages of K figures, from sums [R, 2 K]; NaN where there is nothing to divide by."""
    hits, of = np.hsplit(sums, 2)
    shares = 100 * hits / np.where(of > 0, of, np.nan)
    return dict(zip(names, shares.T, strict=True))
