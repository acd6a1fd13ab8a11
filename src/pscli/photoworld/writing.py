"""A dialogue of photoworld while it is being written: who speaks, which photos were sent, and how
scenes are put into words.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field
from itertools import product

from pscli.dialogue.schema import Photo, Truth, Turn
from pscli.photoworld import phrases
from pscli.photoworld.phrases import Slot
from pscli.photoworld.scene import (
    COLOURS,
    KINDS,
    LIGHTS,
    SETTINGS,
    SIDES,
    SIZES,
    Scene,
    Thing,
)

COUNT_WORDS: dict[int, str] = {1: "one", 2: "two", 3: "three"}
# Of two things none is in the middle; a single one is there more often, so that over all
# questions left, middle and right are equally frequent.
_SIDE_WEIGHTS = (0.31, 0.38, 0.31)


@dataclass(frozen=True)
class Fact:
    """What the talk fixes of a response beside its `Truth`.

    Args:
        number: Things that the photo due must show, altogether; None where that is left open, as
            by "red cars".
        light: That the photo due must have; None where that is left open.
        photo: Number of the response with the photo that is asked about, or to be like.
        kind: The thing that is asked about.
        named: Number of the response that named what the photo due is of, at first.
    """

    number: int | None = None
    light: str | None = None
    photo: int | None = None
    kind: str | None = None
    named: int | None = None


NOTHING = Fact()


@dataclass
class Seen:
    """A photo in the talk: its scene, who sent it in which response, and what has been asked."""

    scene: Scene
    form: str
    sender: int
    response: int
    named: int | None = None  # the response that named what it shows, or what it is like
    asked: set[str] = field(default_factory=set)
    past: bool = False  # whether other talk came after it


class Talk:
    """A dialogue that is being written; `speaker` (0 or 1) is whose turn it is, and `anyhow` says
    whether photos are asked about in more words than those of the split."""

    def __init__(self, rng: random.Random, split: str, anyhow: bool = False) -> None:
        self.rng, self.split, self.anyhow = rng, split, anyhow
        self.names = rng.sample(phrases.NAMES, 2)
        self.lower = [rng.random() < 0.15 for _ in range(2)]
        self.speaker = 0
        self.turns: list[Turn] = []
        self.photos: list[Seen] = []
        self.parting: dict[str, str] = {}  # fillers of goodbyes, so that the two agree on them
        self.fresh = False  # whether the last response had a photo
        self.facts: list[Fact] = []  # one a response

    def chance(self, p: float) -> bool:
        return self.rng.random() < p

    def words(
        self,
        core: Slot,
        bound: dict[str, str],
        opener: Slot | None = None,
        closer: Slot | None = None,
    ) -> str:
        """A text of the next speaker: opener, core and closer with their fillers.

        `bound` gives values of fillers and collects the ones that are drawn here.
        """
        bound["you"] = self.names[1 - self.speaker]
        if self.photos:  # reactions name what the last photo shows
            scene = self.photos[-1].scene
            bound |= {"colour": self.rng.choice(scene.things).colour, "setting": scene.setting}
        template = self.rng.choice(core.of(self.split))
        if opener is not None:
            start = self.rng.choice(opener.of(self.split))
            if not _repeats(start, template):
                template = f"{start} {_continued(start, template)}"
        if closer is not None:
            end = self.rng.choice(closer.of(self.split))
            if not _repeats(end, template):
                template = f"{template} {end}"

        def value(match: re.Match[str]) -> str:
            key = match[1]
            if key not in bound:
                bound[key] = self.rng.choice(phrases.FILLERS[key])
            return bound[key]

        text = _tidy(_FIELD.sub(value, template))
        return text.lower() if self.lower[self.speaker] else text

    def respond(
        self,
        text: str,
        truth: Truth,
        photo: Photo | None = None,
        after: str = "",
        fact: Fact = NOTHING,
    ) -> None:
        """Adds one response, in one turn or in several; then it is the other one's turn."""
        who = "AB"[self.speaker]
        kept = truth if self.turns else None  # the first response is no instance
        turns: list[Turn] = []
        if photo is None:
            cut = _SENTENCE_END.search(text)
            if cut and self.chance(0.17):
                turns += [Turn(who, text[: cut.start()]), Turn(who, text[cut.end() :], truth=kept)]
            else:
                turns.append(Turn(who, text, truth=kept))
        elif text and not after and self.chance(0.55):
            turns.append(Turn(who, text, photo, kept))
        else:
            turns += [Turn(who, text)] if text else []
            turns.append(Turn(who, "", photo, kept))
            turns += [Turn(who, after)] if after else []
        self.turns += turns
        self.facts.append(fact)
        self.speaker = 1 - self.speaker
        self.fresh = photo is not None

    def chat(self, text: str) -> None:
        self.respond(text, Truth("chat"))

    def greeting(self) -> Slot | None:
        """An opener that fits here: a greeting at first, later a change of subject, or none."""
        if not self.turns:
            return phrases.GREETING if self.chance(0.85) else None
        if self.fresh:
            return phrases.REACTION if self.chance(0.8) else None
        return phrases.BY_THE_WAY if self.chance(0.4) else None


_FIELD = re.compile(r"\{(\w+)\}")
_SENTENCE_END = re.compile(r"(?<=[a-z][.!?]) (?=\w)")
_STARTS = re.compile(r"(?:^|(?<=[.!?] ))[a-z]")


def _repeats(extra: str, template: str) -> bool:
    """Whether an opener or closer would say again what `template` says."""
    if "I think" in extra and re.search("I think|I would", template):
        return True
    return "{you}" in extra and "{you}" in template


def _continued(start: str, template: str) -> str:
    """`template` with a small first letter if `start` runs on, unless it begins with "I"."""
    if start[-1] in ".!?" or re.match(r"I\b", template):
        return template
    return template[0].lower() + template[1:]


def _tidy(text: str) -> str:
    """`text` without gaps that empty fillers leave, with "an" and capitals where they belong."""
    text = re.sub(r" +([.,:!?])", r"\1", re.sub(r" {2,}", " ", text)).strip()
    text = re.sub(r"\b([aA]) (?=orange\b)", r"\1n ", text)
    return _STARTS.sub(lambda match: match[0].upper(), text)


# ---------------------------------------------------------------- scenes and their words


def sampled(rng: random.Random, split: str, form: str) -> Scene:
    """A random scene of `split` that can be named in `form`."""
    while True:
        kinds = rng.sample(KINDS, 2 if form == "two" else 1)
        colours = [rng.choice(list(COLOURS)) for _ in kinds]
        if form == "two":
            sides, count = rng.sample(("left", "right"), 2), 1
        else:
            count = 1 if form == "one" else rng.randint(1, 3)
            sides = rng.choices(SIDES, _SIDE_WEIGHTS) if count == 1 else ["middle"]
        things = tuple(
            Thing(kind, colour, count, side)
            for kind, colour, side in zip(kinds, colours, sides, strict=True)
        )
        scene = Scene(
            rng.choice(SETTINGS),
            rng.choice(LIGHTS),
            rng.choice(SIZES),
            things,
            rng.getrandbits(31),
        )
        if scene.split == split:
            return scene


def alike(
    rng: random.Random, split: str, seen: Scene, pairs: list[tuple[str, str]], setting: str
) -> Scene | None:
    """A scene of `split` with the given (colour, kind) pairs and setting, or None.

    As many things stay, and the light; size and sides are free.
    """
    layouts: list[tuple[str, ...]]
    count = seen.things[0].count
    if len(pairs) == 2:
        layouts = [("left", "right"), ("right", "left")]
    else:
        layouts = [(side,) for side in (SIDES if count == 1 else ("middle",))]
    found = []
    number = rng.getrandbits(31)
    for size, sides in product(SIZES, layouts):
        things = tuple(
            Thing(kind, colour, count, side)
            for (colour, kind), side in zip(pairs, sides, strict=True)
        )
        scene = Scene(setting, seen.light, size, things, number)
        if scene.split == split:
            found.append(scene)
    return rng.choice(found) if found else None


def pairs_of(scene: Scene) -> tuple[tuple[str, str], ...]:
    return tuple((thing.colour, thing.kind) for thing in scene.things)


def answer_to(scene: Scene, about: str, thing: Thing) -> str:
    """The right answer to a question about a scene, and about one of its things."""
    if about == "light":
        return scene.light
    if about == "size":
        return scene.size
    return thing.side if about == "side" else COUNT_WORDS[thing.count]
