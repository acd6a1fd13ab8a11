"""What photoworld knows of an instance by its id: it writes the dialogue again, and the training
split, to see what that has shown before.
"""

from __future__ import annotations

import functools
import itertools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pscli.photoworld.scene import Scene
from pscli.photoworld.talk import DEFAULT_SIZES, dialogues, written
from pscli.photoworld.writing import Fact, pairs_of

if TYPE_CHECKING:
    from pscli.dialogue.schema import Dialogue, Response
    from pscli.predictions.folder import Prediction

_ID = re.compile(r"photoworld-(train|dev|test)-(\d{5,9})/(\d{1,3})")
LENGTHS = {
    "  of 1–2 words": 2, "  of 3–5": 5, "  of 6–9": 9, "  of 10–14": 14, "  of 15 or more": 10**9
}  # fmt: skip
Pair = frozenset[tuple[str, str]]  # two things, each as (colour, kind)


@dataclass(frozen=True)
class Known:
    """What is known of an instance.

    Args:
        fact: What its talk fixes.
        text: What was really said.
        scenes: Photos that were really sent.
    """

    fact: Fact
    text: str
    scenes: tuple[Scene, ...]

    @property
    def seen_caption(self) -> bool:
        """Whether training has shown the caption of every photo."""
        return all(scene.caption() in shown().captions for scene in self.scenes)

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
    return Known(facts[number], responses[number].text, tuple(photos(responses[number])))


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
        frozenset(scene.caption() for scene in scenes),
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
    captions: list[bool] = []
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
        for scene in (scene for r in dialogue.responses for scene in photos(r)):
            captions.append(scene.caption() in seen.captions)
            things += [thing in seen.things for thing in pairs_of(scene)]
            pairs += [pair(scene) in seen.pairs] if len(scene.things) == 2 else []
    rows = said | {
        "questions and requests": asked,
        "words of replies that share": replies,
        "captions": captions,
        "colour and kind of a thing": things,
        "pairs of two things": pairs,
    }
    return {name: (sum(hits), len(hits)) for name, hits in rows.items()}


def photos(response: Response) -> list[Scene]:
    """Scenes that a response of photoworld's sends."""
    return [photo.source for photo in response.photos if isinstance(photo.source, Scene)]


def pair(scene: Scene) -> Pair:
    return frozenset(pairs_of(scene))
