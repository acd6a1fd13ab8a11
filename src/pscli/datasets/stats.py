"""Figures of a dataset: Table 1 of Guo et al. (2024) in two conventions, and what is odd about it.

Deviation from Table 1: its #CUtter comes out only if the speaker before the first utterance of a
dialogue is the last one of the dialogue before, so that some utterances are merged across
dialogues; and its total #DImg adds up the splits although they share photos. Here dialogues are
counted one by one and shared photos once. The paper's convention is kept beside it.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from pscli.datasets.base import identity
from pscli.datasets.corpus import on_disk
from pscli.datasets.keys import FEW, Keys
from pscli.datasets.records import Dropped
from pscli.dialogue.schema import Dialogue

TENTHS = 10  # parts of a dialogue, for where photos are shared
LABELS = "Objects in the photo:"  # PhotoChat's captions list what is seen after this
PAPER = (
    "Paper's convention: photo turns are dropped before merging, the previous speaker is never "
    "reset between dialogues, and the splits' distinct photos are added up."
)
_WORD = re.compile(r"\w+(?:['’]\w+)*")


@dataclass(frozen=True)
class Paper:
    """Figures in the convention of Table 1, where they differ."""

    utterances: int = 0
    merged: int = 0
    distinct_photos: int = 0


@dataclass(frozen=True)
class Spread:
    """How a count is distributed: value → how often."""

    counts: dict[int, int] = field(default_factory=dict)

    @property
    def mean(self) -> float:
        total = sum(self.counts.values())
        return sum(k * n for k, n in self.counts.items()) / total if total else 0.0

    def to_json(self) -> dict[str, Any]:
        low, high = (min(self.counts), max(self.counts)) if self.counts else (0, 0)
        return {"min": low, "mean": self.mean, "max": high, "counts": self.counts}


@dataclass(frozen=True)
class Stats:
    """Figures of some dialogues.

    Args:
        dialogues: How many there are (#Dial).
        utterances: Messages with words; photos do not count (#Utter).
        merged: Utterances after those of one speaker in a row are joined, within each dialogue
            (#CUtter).
        responses: Likewise with the photos: a photo alone is a response, and stands between two
            speakers' utterances.
        instances: Responses after the first of each dialogue: what is predicted.
        photos: Photos sent (#Img).
        distinct_photos: Different ones among them (#DImg).
        missing_photos: Different ones that are not on disk.
        captioned: Photos sent with a caption.
        repeated_dialogues: Dialogues whose texts were all said in an earlier one.
        last: Dialogues that end with a photo.
        word_types: Different words, in lower case.
        kinds: Instances of each type, where the dataset knows it.
        turns: Turns of a dialogue.
        photos_in: Photos of a dialogue.
        labels: Object labels of a photo's caption, where captions list them.
        where: Photos shared in each tenth of their dialogue, first to last.
        paper: The same in the paper's convention.
    """

    dialogues: int = 0
    utterances: int = 0
    merged: int = 0
    responses: int = 0
    instances: int = 0
    photos: int = 0
    distinct_photos: int = 0
    missing_photos: int = 0
    captioned: int = 0
    repeated_dialogues: int = 0
    last: int = 0
    word_types: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    turns: Spread = Spread()
    photos_in: Spread = Spread()
    labels: Spread = Spread()
    where: tuple[int, ...] = (0,) * TENTHS
    paper: Paper = Paper()

    @property
    def merged_per_dialogue(self) -> float:
        """U/D of Table 1; 0 without dialogues."""
        return self.merged / self.dialogues if self.dialogues else 0.0

    @property
    def photos_per_dialogue(self) -> float:
        return self.photos / self.dialogues if self.dialogues else 0.0

    def to_json(self) -> dict[str, Any]:
        return {
            "dialogues": self.dialogues,
            "utterances": self.utterances,
            "merged_utterances": self.merged,
            "utterances_per_dialogue": self.merged_per_dialogue,
            "responses": self.responses,
            "instances": self.instances,
            "instance_types": self.kinds,
            "photos": self.photos,
            "distinct_photos": self.distinct_photos,
            "missing_photos": self.missing_photos,
            "captioned_photos": self.captioned,
            "photos_per_dialogue": self.photos_per_dialogue,
            "repeated_dialogues": self.repeated_dialogues,
            "photo_is_last": self.last,
            "word_types": self.word_types,
            "turns": self.turns.to_json(),
            "photos_in_dialogue": self.photos_in.to_json(),
            "labels": self.labels.to_json(),
            "photos_by_tenth_of_dialogue": list(self.where),
            "paper": {
                "utterances": self.paper.utterances,
                "merged_utterances": self.paper.merged,
                "utterances_per_dialogue": ratio(self.paper.merged, self.dialogues),
                "distinct_photos": self.paper.distinct_photos,
            },
        }


class Tally:
    """Counts dialogues one after another; only the different words stay in memory."""

    def __init__(self) -> None:
        self.sums: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()
        self.turns: Counter[int] = Counter()
        self.photos_in: Counter[int] = Counter()
        self.labels: Counter[int] = Counter()
        self.where: Counter[int] = Counter()
        self.photos, self.missing, self.texts = Keys(), Keys(), Keys()
        self._words: set[str] = set()
        self._heard: set[str] = set()  # with their punctuation: each is taken apart but once
        self.paper_distinct = 0
        self._paper_speaker: str | None = None  # the leak: it outlives a dialogue

    def add(self, dialogue: Dialogue) -> None:
        """Counts a dialogue. No photo is opened."""
        texts: list[str] = []
        merged = responses = paper = paper_merged = 0
        spoke = sent = None
        last = self._paper_speaker
        photos = []
        truths = False
        for number, turn in enumerate(dialogue.turns):
            text, speaker, photo = turn.text, turn.speaker, turn.photo
            spoken = bool(text) and not text.isspace()
            if spoken:
                texts.append(text)
                merged += speaker != spoke
                spoke = speaker
                if photo is None:
                    paper += 1
                    paper_merged += speaker != last
                    last = speaker
            if photo is not None:
                photos.append((number, photo))
            if spoken or photo is not None:
                responses += speaker != sent
                sent = speaker
                truths = truths or turn.truth is not None
        self._paper_speaker = last
        length = len(dialogue.turns)
        sums = self.sums
        sums["dialogues"] += 1
        sums["utterances"] += len(texts)
        sums["merged"] += merged
        sums["responses"] += responses
        sums["instances"] += max(0, responses - 1)
        sums["photos"] += len(photos)
        sums["paper_utterances"] += paper
        sums["paper_merged"] += paper_merged
        sums["last"] += bool(photos) and photos[-1][0] == length - 1
        self.turns[length] += 1
        self.photos_in[len(photos)] += 1
        for number, photo in photos:
            self._photo(photo, number * TENTHS // length)
        if truths:
            self.kinds.update(r.truth.kind for r in dialogue.responses[1:] if r.truth)
        self.texts.add(tuple(texts))
        self._heard.update("\n".join(texts).lower().split())
        if len(self._heard) >= FEW:
            self.words()

    def _photo(self, photo: Any, tenth: int) -> None:
        self.where[tenth] += 1
        key = identity(photo)
        self.photos.add(key)
        if not on_disk(photo):
            self.missing.add(key)
        if photo.caption:
            self.sums["captioned"] += 1
            _, listed, labels = photo.caption.rpartition(LABELS)
            if listed:
                self.labels[sum(bool(label.strip()) for label in labels.split(","))] += 1

    def words(self) -> set[str]:
        """Different words."""
        self._words.update(*map(_WORD.findall, self._heard))
        self._heard = set()
        return self._words

    def merge(self, other: Tally) -> None:
        """Adds what another one has counted."""
        for name in ("sums", "kinds", "turns", "photos_in", "labels", "where"):
            getattr(self, name).update(getattr(other, name))
        for name in ("photos", "missing", "texts"):
            getattr(self, name).update(getattr(other, name))
        self._words |= other.words()
        self.paper_distinct += len(other.photos)

    def stats(self) -> Stats:
        """The figures so far."""
        sums = self.sums
        distinct = len(self.photos)
        paper = Paper(
            sums["paper_utterances"], sums["paper_merged"], self.paper_distinct or distinct
        )
        names = ("dialogues", "utterances", "merged", "responses", "instances", "photos")
        return Stats(
            **{name: sums[name] for name in (*names, "captioned", "last")},
            distinct_photos=distinct,
            missing_photos=len(self.missing),
            repeated_dialogues=sums["dialogues"] - len(self.texts),
            word_types=len(self.words()),
            kinds=dict(sorted(self.kinds.items())),
            turns=Spread(dict(sorted(self.turns.items()))),
            photos_in=Spread(dict(sorted(self.photos_in.items()))),
            labels=Spread(dict(sorted(self.labels.items()))),
            where=tuple(self.where[tenth] for tenth in range(TENTHS)),
            paper=paper,
        )


@dataclass(frozen=True)
class Survey:
    """Figures of a dataset.

    Args:
        shared: Photos that occur in both of two splits.
        dropped: What could not be read: reason → how often.
    """

    name: str
    splits: dict[str, Stats]
    total: Stats
    shared: dict[tuple[str, str], int]
    dropped: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        return {
            "dataset": self.name,
            "splits": {split: stats.to_json() for split, stats in self.splits.items()},
            "total": self.total.to_json(),
            "shared_photos": {f"{a}∩{b}": n for (a, b), n in self.shared.items()},
            "dropped": self.dropped,
            "paper_convention": PAPER,
        }


def survey(
    name: str, splits: Mapping[str, Iterable[Dialogue]], dropped: Dropped | None = None
) -> Survey:
    """Figures of a dataset, whose dialogues are read once and not kept."""
    tallies = {}
    for split, dialogues in splits.items():
        tallies[split] = tally = Tally()
        for dialogue in dialogues:
            tally.add(dialogue)
    total = Tally()
    for tally in tallies.values():
        total.merge(tally)
    photos = {split: tally.photos for split, tally in tallies.items()}
    return Survey(
        name,
        {split: tally.stats() for split, tally in tallies.items()},
        total.stats(),
        {(a, b): photos[a].common(photos[b]) for a, b in itertools.combinations(photos, 2)},
        dict(dropped.reasons) if dropped else {},
    )


def count(dialogues: Iterable[Dialogue]) -> Stats:
    """Figures of some dialogues."""
    tally = Tally()
    for dialogue in dialogues:
        tally.add(dialogue)
    return tally.stats()


def ratio(above: int, below: int) -> float:
    """A quotient; 0 where there is nothing to divide by."""
    return above / below if below else 0.0


def rounded(value: float | Decimal, places: int = 2) -> str:
    """A number with that many decimals, halves rounded up, as Table 1 does (9.045 is 9.05)."""
    exact = Decimal(str(value)) if isinstance(value, float) else value
    return str(exact.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP))
