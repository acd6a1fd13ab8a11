"""What photoworld knows of an instance by its id: it writes the dialogue again, and the training
split, to see what that has shown before.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pscli.photoworld.scene import COLOURS, KINDS, PLACES, PLURALS, Scene
from pscli.photoworld.talk import DEFAULT_SIZES, dialogues, written
from pscli.photoworld.writing import NOTHING, Fact, pairs_of

if TYPE_CHECKING:
    from pscli.dialogue.schema import Dialogue, Response, Truth
    from pscli.predictions.folder import Prediction

_ID = re.compile(r"photoworld-(train|dev|test|unseen)-(\d{5,9})/(\d{1,3})")
LENGTHS = {
    "  of 1–2 words": 2, "  of 3–5": 5, "  of 6–9": 9, "  of 10–14": 14, "  of 15 or more": 10**9
}  # fmt: skip
Pair = frozenset[tuple[str, str]]  # two things, each as (colour, kind)


@dataclass(frozen=True)
class Known:
    """What is known of an instance.

    Args:
        fact: What its talk fixes.
        before: What was really said before it, by number of the response.
        text: What was really said.
        scenes, captions: Photos that were really sent, and the words for them.
    """

    fact: Fact
    before: tuple[str, ...]
    text: str
    scenes: tuple[Scene, ...]
    captions: tuple[str, ...]

    @property
    def seen_caption(self) -> bool:
        """Whether training has shown the caption of every photo."""
        return all(caption in shown().captions for caption in self.captions)

    @property
    def new_pair(self) -> bool:
        """Whether a photo has two things that training has never shown together, in any setting."""
        return any(len(s.things) == 2 and pair(s) not in shown().pairs for s in self.scenes)

    @property
    def seen_words(self) -> bool:
        """Whether what was really said has been said in training, to the letter."""
        return self.text in shown().words


@dataclass(frozen=True)
class Shown:
    """What the training split has shown: captions, things, two things of a photo, texts of
    responses, and of single messages."""

    captions: frozenset[str]
    things: frozenset[tuple[str, str]]
    pairs: frozenset[Pair]
    words: frozenset[str]
    messages: frozenset[str]


def known(prediction: Prediction) -> Known | None:
    """None for an instance of another dataset, or of other dialogues than these."""
    match = _ID.fullmatch(prediction.id)
    if not match or not prediction.truth:
        return None
    dialogue, facts = _written(match[1], int(match[2]))
    number = int(match[3])
    responses = dialogue.responses
    if not 0 < number < len(responses) or responses[number].truth != prediction.truth:
        return None
    before = tuple(response.text for response in responses[:number])
    sent = responses[number]
    return Known(facts[number], before, sent.text, tuple(photos(sent)), tuple(captions(sent)))


@dataclass(frozen=True)
class Wanted:
    """What the talk has fixed of a photo: its things, how many, setting and light; None if open.

    Args:
        script: Whether it is what the dataset's talk has fixed.
    """

    things: frozenset[tuple[str, str]]
    number: int | None
    setting: str | None
    light: str | None = None
    script: bool = True


def wanted(
    prediction: Prediction, truth: Truth, more: Known | None, said: Mapping[str, str]
) -> Wanted | None:
    """What the photo must show that is due.

    In a rollout the agent itself may have named its things: then it must show what the agent said,
    and nothing can be told (None) if it named none, or is asked for another photo like that one. As
    many things and the light of a photo that was drawn are left open.

    Args:
        said: Predicted texts by id of their instance.
    """
    fact = more.fact if more and more.fact.photo not in prediction.history else NOTHING
    script = Wanted(frozenset(truth.things), fact.number, truth.setting, fact.light)
    number = more.fact.named if more else None
    if not more or number is None or number not in prediction.history:
        return script
    own = said.get(f"{prediction.id.rpartition('/')[0]}/{number}", "")
    things, then = named(own), named(more.before[number])
    if things == then and (truth.setting is None or truth.setting in _places(own)):
        return script
    told = _places(own) or [s for text in more.before[number + 1 :] for s in _places(text)]
    asked = [s for text in more.before[:number] for s in _places(text)]
    setting = next(iter(told or asked), None)
    if things == then and setting == truth.setting:
        return script
    if not things or truth.kind != "share":
        return None
    ones = all(re.search(rf"\ban? {a} {b}\b", own.lower()) for a, b in things)
    return Wanted(things, len(things) if ones else None, setting, script=False)


def named(text: str) -> frozenset[tuple[str, str]]:
    """(colour, kind) of every thing that a text names as "red car" or "red cars"."""
    kinds = {word: kind for kind in KINDS for word in (kind, PLURALS[kind])}
    words = re.findall(r"[a-z]+", text.lower())
    return frozenset(
        (a, kinds[b]) for a, b in itertools.pairwise(words) if a in COLOURS and b in kinds
    )


def _places(text: str) -> list[str]:
    """Settings that a text names as "at the beach"."""
    return [setting for setting, phrase in PLACES.items() if phrase in text.lower()]


@functools.lru_cache(1024)
def _written(split: str, index: int) -> tuple[Dialogue, list[Fact]]:
    return written(split, index)


@functools.cache
def shown() -> Shown:
    """Of the whole training split; made once, in seconds."""
    train = dialogues("train", DEFAULT_SIZES["train"])
    responses = [r for dialogue in train for r in dialogue.responses]
    scenes = [scene for response in responses for scene in photos(response)]
    return Shown(
        frozenset(caption for response in responses for caption in captions(response)),
        frozenset(thing for scene in scenes for thing in pairs_of(scene)),
        frozenset(pair(scene) for scene in scenes if len(scene.things) == 2),
        frozenset(response.text for response in responses),
        frozenset(turn.text for response in responses for turn in response.turns),
    )


def overlaps(split: str) -> dict[str, tuple[int, int]]:
    """How much of a split training has shown, to the letter: what → (how many of it, all)."""
    said: dict[str, list[bool]] = {"utterances": [], **{name: [] for name in LENGTHS}}
    asked: list[bool] = []
    replies: list[bool] = []
    described: list[bool] = []
    things: list[bool] = []
    pairs: list[bool] = []
    seen = shown()
    for dialogue in dialogues(split, DEFAULT_SIZES[split]):
        for text in (turn.text for turn in dialogue.turns if turn.text):
            count = len(text.split())
            name = next(name for name, most in LENGTHS.items() if count <= most)
            for part in ("utterances", name):
                said[part].append(text in seen.messages)
        for before, response in itertools.pairwise(dialogue.responses):
            if response.truth and response.truth.kind != "chat":
                asked.append(before.text in seen.words)
            if response.truth and response.truth.share:
                texts = (turn.text for turn in response.turns if turn.text)
                replies += [text in seen.messages for text in texts]
        described += [c in seen.captions for r in dialogue.responses for c in captions(r)]
        for scene in (scene for r in dialogue.responses for scene in photos(r)):
            things += [thing in seen.things for thing in pairs_of(scene)]
            pairs += [pair(scene) in seen.pairs] if len(scene.things) == 2 else []
    rows = said | {
        "questions and requests": asked,
        "words of replies that share": replies,
        "captions": described,
        "colour and kind of a thing": things,
        "pairs of two things": pairs,
    }
    return {name: (sum(hits), len(hits)) for name, hits in rows.items()}


def photos(response: Response) -> list[Scene]:
    """Scenes that a response of photoworld's sends."""
    return [photo.source for photo in response.photos if isinstance(photo.source, Scene)]


def captions(response: Response) -> list[str]:
    """Captions of the photos that a response sends."""
    return [photo.caption for photo in response.photos if photo.caption]


def pair(scene: Scene) -> Pair:
    return frozenset(pairs_of(scene))
