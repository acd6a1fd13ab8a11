"""The dialogues of photoworld: two friends chat, and at times a photo is due.

A dialogue is a row of blocks (hello, share, look, vary, small talk, recall, bye); each block adds
one or more responses, and the two friends take turns throughout, so that both ask and answer.
Words come from `phrases`, photos from `scene`; everything follows from (split, index, seed).
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from pscli.dialogue.schema import Dialogue
from pscli.photoworld import phrases
from pscli.photoworld.blocks import BLOCKS, LENGTHS
from pscli.photoworld.writing import Fact, Talk

DEFAULT_SIZES: dict[str, int] = {"train": 6000, "dev": 500, "test": 600, "unseen": 600}
DETAILS: tuple[str, ...] = tuple(phrases.ANSWER_WORDS)
# Chosen among 40 so that the answers of the default dev, test and unseen dialogues are as
# balanced as they are in expectation; samples of a few hundred stray otherwise.
_SALT = 21
_QUIZ = ("first", "look", "look", "look", "vary", "look", "look", "share_asked", "look", "look")
_DRILL = ("share_where", "share_place", "vary", "share_asked", "share_where", "share", "vary")


def dialogues(split: str, count: int, seed: int = 0) -> list[Dialogue]:
    """The first `count` dialogues of a split."""
    return [dialogue(split, index, seed) for index in range(count)]


def dialogue(split: str, index: int, seed: int = 0) -> Dialogue:
    """One dialogue of 7 to 11 responses, fully determined by its arguments.

    Every response after the first carries its `Truth`. Photos are scenes of the same split.

    Args:
        split: "train", "dev" or "test"; each has wordings and scenes of its own. "unseen" has the
            wordings of "test", and scenes of things that no other split shows.
        index: Number of the dialogue in its split, from 0.
    """
    return written(split, index, seed)[0]


def written(split: str, index: int, seed: int = 0) -> tuple[Dialogue, list[Fact]]:
    """A dialogue, and what its talk fixes of each response."""
    rng = random.Random(f"photoworld|{_SALT}|{seed}|{split}|{index}")
    talk = Talk(rng, split)
    for block in _plan(rng):
        BLOCKS[block](talk)
    return Dialogue(tuple(talk.turns), f"photoworld-{split}-{index:05d}"), talk.facts


def quiz(split: str, index: int, seed: int = 0) -> Dialogue:
    """A dialogue of nothing but photos and questions about them, to practise reading with.

    In a dialogue one response in five is an answer; here it is nearly one in two.
    """
    return _practice("quiz", _QUIZ, split, index, seed)


def drill(split: str, index: int, seed: int = 0) -> Dialogue:
    """A dialogue in which nearly every second response is a photo that the talk has told of, to
    practise saying again in a caption what was said before."""
    return _practice("drill", _DRILL, split, index, seed)


def questions(split: str, index: int, seed: int = 0) -> Dialogue:
    """One photo and everything that may be asked about it, to practise looking with."""
    return _practice("questions", ("first", "look", "look", "look"), split, index, seed)


def plain_look_up(split: str, index: int, seed: int = 0) -> Dialogue:
    """A photo of two things, the question on which side one of them is, and another one about it;
    at times one more, later."""
    rng = random.Random(f"photoworld|plain look-up|{seed}|{split}|{index}")
    plan = ["two", *rng.sample(("look_side", "look"), 2)]
    plan += ["chat", "recall"] if rng.random() < 0.3 else []
    return _practice("plain-look-up", plan, split, index, seed)


def either(split: str, index: int, seed: int = 0) -> Dialogue:
    """Two photos wherever they may come in a talk, often of the same things, and then questions
    about any of them: mostly about what may differ where they are alike.

    Little is asked before: an answer that has been given is in the talk, and can be copied from
    there by who cannot tell the photos apart.
    """
    rng = random.Random(f"photoworld|either|{seed}|{split}|{index}")
    openings = ("first", "share", "share_asked", "hello share_asked", "chat share_where")
    plan = rng.choice(openings).split()
    more = ("look", 0.4), ("vary", 0.75), ("look_side", 0.4), ("look", 0.4), ("chat", 0.6)
    for block, share in more:
        if rng.random() < share:
            plan.append(block)
        elif block == "vary":
            plan.append(rng.choice(("share", "share_asked")))
    later = ("recall_side", "recall_side", "recall_size", "recall_size", "recall")
    return _practice("either", (*plan, *rng.sample(later, 3)), split, index, seed, anyhow=True)


def variations(split: str, index: int, seed: int = 0) -> Dialogue:
    """A photo of two things, and three more, each of the same in another colour or setting."""
    return _practice("variations", ("two", "vary", "vary", "vary"), split, index, seed)


def _practice(
    name: str, plan: Sequence[str], split: str, index: int, seed: int, anyhow: bool = False
) -> Dialogue:
    rng = random.Random(f"photoworld|{name}|{seed}|{split}|{index}")
    talk = Talk(rng, split, anyhow)
    for block in plan:
        BLOCKS[block](talk)
    return Dialogue(tuple(talk.turns), f"photoworld-{split}-{name}-{index:05d}")


def _plan(rng: random.Random) -> list[str]:
    """Names of the blocks of one dialogue, in order; together 7 to 11 responses."""
    first, recall = rng.random() < 0.15, rng.random() < 0.8
    vary = rng.random() < (0.75 if first else 0.5)
    again = not vary and rng.random() < 0.25
    no_photo = rng.random() < 0.36
    target = rng.choices((7, 8, 9, 10, 11), (3, 3, 3, 2, 1))[0]

    opening = ["first"] if first else ["share_asked" if rng.random() < 0.25 else "share"]
    seen = ["look"]
    if vary:
        seen = ["vary", "look"] if rng.random() < 0.4 else ["look", "vary"]
    middle = ["share_asked" if rng.random() < 0.5 else "share"] if again else []
    if recall and not middle and "vary" not in seen:
        middle = ["no_photo" if no_photo else "chat"]
    ending = ["recall"] if recall else []

    def left() -> int:
        return target - sum(LENGTHS[block] for block in opening + seen + middle + ending)

    target -= min(0, left())
    if no_photo and "no_photo" not in middle and target - left() <= 9:
        if rng.random() < 0.5:
            middle.append("no_photo")
        else:
            ending.append("no_photo_last")
    extras = ["hello", "longer", "chat", "react", "look", "bye"]
    rng.shuffle(extras)
    for extra in extras:
        if extra == "longer" and opening[-1] == "share" and left() >= 1:
            opening[-1] = "share_place" if left() > 1 and rng.random() < 0.4 else "share_where"
        elif extra == "hello" and not first and left() >= 2:
            opening.insert(0, "hello")
        elif extra == "chat" and left() >= 2:
            middle.insert(0, "chat")
        elif extra == "react" and first and left() >= 1:
            seen.insert(0, "react")
        elif extra == "look" and left() >= 2 and rng.random() < 0.5:
            seen.append("look")
        elif extra == "bye" and left() >= 1:
            ending.append("bye")
    while left() > 0:
        middle += ["chat"] if left() > 1 else []
        ending += ["bye"] if left() == 1 else []
    return opening + seen + middle + ending


def answered(text: str, about: str) -> str | None:
    """The one value of a detail that a text commits to; None if it names none or several.

    Args:
        about: "count", "side", "size" or "light".
    """
    words = set(re.findall(r"[a-z0-9]+", text.lower()))
    named = [
        value
        for value, accepted in phrases.ANSWER_WORDS[about].items()
        if not words.isdisjoint(accepted)
    ]
    return named[0] if len(named) == 1 else None
