"""photoworld with wrong captions, or with shuffled photos to be drawn: what can L^v correct?

What people say is true in all of them, and so are the photos that they see; all splits but train
are photoworld's own, so that scores are of the truth. Only captions of the training split, which a
system is taught to write, are wrong: a share of them, given in percent, of one kind.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from pscli.dialogue.schema import Dialogue, Photo, Turn
from pscli.errors import ConfigError
from pscli.photoworld.dataset import Photoworld
from pscli.photoworld.scene import COLOURS
from pscli.photoworld.talk import DEFAULT_SIZES, dialogue

_COLOUR = re.compile(rf"\b({'|'.join(COLOURS)})\b", re.IGNORECASE)
_ARTICLE = re.compile(r"\b(a)n? (?=(\w))", re.IGNORECASE)


def colours(caption: str) -> list[str]:
    """Colour words of a caption, in order and in small letters."""
    return [word.lower() for word in _COLOUR.findall(caption)]


def recoloured(caption: str, words: Sequence[str]) -> str:
    """The caption with other colour words, one for each that it has; an empty one leaves it out.

    "a" and "an" follow, and the first letter stays as large as it is.
    """
    left = iter(words)
    text = " ".join(_COLOUR.sub(lambda _: next(left), caption).split())
    text = _ARTICLE.sub(lambda m: f"{m[1]}n " if m[2].lower() in "aeiou" else f"{m[1]} ", text)
    return text[0].upper() + text[1:] if caption[0].isupper() else text


def next_colour(caption: str, rng: random.Random) -> str:
    """Every colour is the one after it in `COLOURS`, and white is red."""
    names = list(COLOURS)
    later = [names[(names.index(word) + 1) % len(names)] for word in colours(caption)]
    return recoloured(caption, later)


def shuffled(caption: str, rng: random.Random) -> str:
    """The caption of another photo of the training split, drawn with replacement; never the same
    words."""
    while True:
        photos = dialogue("train", rng.randrange(DEFAULT_SIZES["train"])).photos
        other = rng.choice(photos).caption if photos else None
        if other and other != caption:
            return other


def no_colour(caption: str, rng: random.Random) -> str:
    """Colours are left out."""
    return recoloured(caption, [""] * len(colours(caption)))


KINDS: dict[str, Callable[[str, random.Random], str]] = {
    "next-colour": next_colour,
    "shuffled-captions": shuffled,
    "no-colour": no_colour,
}


@dataclass(frozen=True)
class Instead(Photo):
    """A photo that contexts show as it is, and in whose place another is to be drawn."""

    other: Photo | None = None

    @property
    def target(self) -> Photo:
        return self.other or self


class Noisy:
    """photoworld with wrong captions in its training split.

    Args:
        kind: One of `KINDS`, or None: all captions are true.
        share: Percentage of the captions that are wrong, each by a chance of its own; those of a
            lower share are among those of a higher one.
        shuffled_photos: Whether what is to be drawn is permuted among the photos of what is
            loaded, so that L^v knows nothing of the captions: the control.

    Raises:
        ConfigError: if there is no such kind, or the share is no whole number from 0 to 100.
    """

    licence, citation, splits = Photoworld.licence, Photoworld.citation, Photoworld.splits

    def __init__(
        self, kind: str | None = None, share: int = 0, shuffled_photos: bool = False
    ) -> None:
        if kind not in (None, *KINDS):
            raise ConfigError(f"Unknown kind of noise '{kind}'.", f"Known: {', '.join(KINDS)}.")
        if share not in range(101):
            raise ConfigError(f"{share} % of captions cannot be wrong.", "Expected 0 to 100.")
        self.kind, self.share, self.shuffled_photos = kind, share, shuffled_photos

    @property
    def name(self) -> str:
        parts = ["photoworld", *([self.kind, str(self.share)] if self.kind else [])]
        return "-".join([*parts, *(["shuffled-photos"] if self.shuffled_photos else [])])

    def load(self, split: str, count: int | None = None) -> list[Dialogue]:
        """Dialogues of a split, as many as photoworld's; of all but train they are the same."""
        dialogues = Photoworld().load(split, count)
        if split != "train":
            return dialogues
        dialogues = [self._captioned(one) for one in dialogues]
        return with_shuffled_photos(dialogues) if self.shuffled_photos else dialogues

    def _captioned(self, dialogue: Dialogue) -> Dialogue:
        if self.kind is None:
            return dialogue
        rng = random.Random(f"photoworld-noise|{self.kind}|{dialogue.id}")
        told = []
        for photo in dialogue.photos:
            # Drawn for every photo, so that a share does not decide what the others become.
            wrong, own = 100 * rng.random() < self.share, random.Random(rng.getrandbits(64))
            caption = KINDS[self.kind](photo.caption or "", own) if wrong else photo.caption
            told.append(replace(photo, caption=caption))
        return with_photos(dialogue, told)


def with_photos(dialogue: Dialogue, photos: Iterable[Photo]) -> Dialogue:
    """The dialogue with other photos, one for each that it has."""
    left = iter(photos)

    def changed(turn: Turn) -> Turn:
        return turn if turn.photo is None else replace(turn, photo=next(left))

    return replace(dialogue, turns=tuple(map(changed, dialogue.turns)))


def with_shuffled_photos(dialogues: Sequence[Dialogue]) -> list[Dialogue]:
    """Dialogues whose photos are drawn as others of them: a random circle through all, so that none
    of several stays in its place. What contexts show stays."""
    photos = [photo for dialogue in dialogues for photo in dialogue.photos]
    order = list(range(len(photos)))
    random.Random(f"photoworld-shuffled-photos|{len(photos)}").shuffle(order)
    other = {a: photos[b] for a, b in zip(order, order[1:] + order[:1], strict=True)}
    left = iter(
        Instead(p.source, p.caption, p.filled, p.missing, replace(other[n], caption=p.caption))
        for n, p in enumerate(photos)
    )
    return [with_photos(dialogue, left) for dialogue in dialogues]


_NAME = re.compile(rf"(?:({'|'.join(KINDS)})-(\d|[1-9]\d|100))?(?:(^|(?<=\d)-)shuffled-photos)?")


def __getattr__(name: str) -> partial[Noisy]:
    """A dataset by its name without "photoworld-": `next-colour-60`, of any share in percent,
    `shuffled-photos`, or `next-colour-60-shuffled-photos`."""
    found = _NAME.fullmatch(name)
    if not name or found is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    kind, share, control = found.groups()
    return partial(Noisy, kind, int(share or 0), control is not None)
