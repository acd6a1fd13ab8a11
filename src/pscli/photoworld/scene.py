"""Scenes of photoworld: what a photo shows, its pixels, its words and its split.

A `Scene` is a few facts and a seed; everything else (the picture, the boxes of its things, the
caption, the full description, the split) is computed from them.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from PIL import Image, ImageDraw, ImageFilter

from pscli.photoworld import art

PLURALS: dict[str, str] = {
    "apple": "apples", "balloon": "balloons", "bicycle": "bicycles", "boat": "boats",
    "boot": "boots", "bus": "buses", "butterfly": "butterflies", "cake": "cakes", "car": "cars",
    "cat": "cats", "chair": "chairs", "clock": "clocks", "crown": "crowns", "cup": "cups",
    "dog": "dogs", "drum": "drums", "duck": "ducks", "fish": "fish", "flower": "flowers",
    "gift": "gifts", "guitar": "guitars", "hat": "hats", "kite": "kites", "lamp": "lamps",
    "mushroom": "mushrooms", "rabbit": "rabbits", "robot": "robots", "rocket": "rockets",
    "snail": "snails", "tent": "tents", "turtle": "turtles", "umbrella": "umbrellas",
}  # fmt: skip
KINDS: tuple[str, ...] = tuple(PLURALS)
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (218, 40, 40),
    "orange": (250, 132, 22),
    "yellow": (255, 222, 48),
    "green": (52, 166, 66),
    "blue": (44, 104, 218),
    "purple": (134, 62, 186),
    "pink": (252, 142, 194),
    "white": (250, 250, 248),
}
PLACES: dict[str, str] = {
    "beach": "at the beach",
    "forest": "in the forest",
    "street": "on the street",
    "kitchen": "in the kitchen",
    "bedroom": "in the bedroom",
    "meadow": "in the meadow",
    "mountains": "in the mountains",
    "desert": "in the desert",
}
SETTINGS: tuple[str, ...] = tuple(PLACES)
LIGHT_PHRASES: dict[str, str] = {"day": "by day", "sunset": "at sunset", "night": "at night"}
LIGHTS: tuple[str, ...] = tuple(LIGHT_PHRASES)
SIDE_PHRASES: dict[str, str] = {
    "left": "on the left",
    "middle": "in the middle",
    "right": "on the right",
}
SIDES: tuple[str, ...] = tuple(SIDE_PHRASES)
SIZES: tuple[str, ...] = ("small", "big")
NUMBERS: dict[int, str] = {1: "one", 2: "two", 3: "three"}

VARIANTS = 8  # backgrounds per setting and light
WIDTHS = {"small": 21 / 64, "big": 30 / 64}  # of a thing, in units of the photo's width
CROWDED = 26 / 64  # of each of three big things, which would not fit otherwise
JITTER = 1.5 / 64
MAX_TRIES = 2000  # far more than the scenes that a narrow request leaves

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Thing:
    """One kind of thing in a photo: `count` of them, all in one colour, on one side."""

    kind: str
    colour: str
    count: int = 1
    side: str = "middle"


@dataclass(frozen=True)
class Scene:
    """One photo: either one thing, once to three times, or two different things side by side.

    Args:
        setting: One of `SETTINGS`.
        light: One of `LIGHTS`.
        size: One of `SIZES`, of all things.
        things: One `Thing` (a count of 2 or 3 has side "middle"), or two with count 1 on sides
            "left" and "right".
        seed: Picks the background's variant and moves things by a pixel or two.
    """

    setting: str
    light: str
    size: str
    things: tuple[Thing, ...]
    seed: int = 0

    @property
    def split(self) -> str:
        """ "unseen", "train", "dev" or "test": for ever the same for the same key.

        "unseen" has one in sixteen of what colours and kinds can be, and one in sixteen pairs of
        kinds; no other split shows them. Of all else 80, 10 and 10 % are of the other three.
        """
        kinds = [KINDS.index(thing.kind) for thing in self.things]
        colours = [_COLOUR_NAMES.index(thing.colour) for thing in self.things]
        if any((3 * kind + colour) % 16 == 0 for kind, colour in zip(kinds, colours, strict=True)):
            return "unseen"
        if len(kinds) == 2 and sum(kinds) % 16 == 0:
            return "unseen"
        digest = hashlib.blake2b(self.key.encode(), digest_size=4).digest()
        return {0: "dev", 1: "test"}.get(int.from_bytes(digest, "big") % 10, "train")

    @property
    def key(self) -> str:
        """Canonical text of everything but the seed; scenes that look alike share it."""
        things = sorted(self.things, key=lambda thing: (thing.side, thing.kind))
        parts = (f"{t.count} {t.colour} {t.kind} {t.side}" for t in things)
        return "|".join((self.setting, self.light, self.size, *parts))

    def boxes(self) -> list[tuple[Thing, Box]]:
        """One (thing, box) per drawn object, in drawing order, from the back to the front.

        A box is (x0, y0, x1, y1) with 0 <= x0 < x1 <= 1 and y growing downwards; a thing with
        count 3 gives three. Boxes are the square sprites, so the things nearly fill them.
        """
        rng = random.Random(f"{self.key}|{self.seed}")
        width = WIDTHS[self.size]
        if len(self.things) == 2:
            spots = [(_CENTRES[thing.side], 0.92) for thing in self.things]
        else:
            count = self.things[0].count
            if count == 3 and self.size == "big":
                width = CROWDED
            spots = _SPOTS[count, self.size] if count > 1 else [
                (_CENTRES[self.things[0].side], 0.92)
            ]  # fmt: skip
        things = [thing for thing in self.things for _ in range(thing.count)]
        boxes: list[tuple[Thing, Box]] = []
        for thing, (x, base) in zip(things, spots, strict=True):
            left = x - width / 2 + rng.uniform(-JITTER, JITTER)
            top = base - width + rng.uniform(-1, 1) * 2 * JITTER
            left, top = (min(max(value, 0.0), 1 - width) for value in (left, top))
            boxes.append((thing, (left, top, left + width, top + width)))
        return boxes

    def background(self, size: int = 64) -> Image.Image:
        """The photo without its things: RGB, `size` × `size` pixels."""
        variant = random.Random(self.seed).randrange(VARIANTS)
        return _setting(self.setting, self.light, variant, size).copy()

    def draw(self, size: int = 64) -> Image.Image:
        """The photo: RGB, `size` × `size` pixels, the same for the same scene."""
        image = self.background(size)
        for thing, (x0, y0, x1, _) in self.boxes():
            width = round((x1 - x0) * size)
            corner = (round(x0 * size), round(y0 * size))
            shadow = _shadow(width)
            drop = round(width * 0.96) - shadow.height // 2
            image.paste((24, 20, 34), (corner[0], corner[1] + drop), shadow)
            sprite, mask = _sprite(thing.kind, thing.colour, self.light, width)
            image.paste(sprite, corner, mask)
        return image

    def named(self, plural: bool | None = None, counted: bool = False) -> str:
        """Its things and their colours: "a red car", "red cars", "a red car and a white tent".

        Args:
            plural: The second form, which leaves open how many; by default where there are several.
            counted: "two red cars" in place of that.
        """
        first = self.things[0]
        if first.count > 1 if plural is None else plural:
            number = f"{NUMBERS[first.count]} " if counted else ""
            return f"{number}{first.colour} {PLURALS[first.kind]}"
        # Sorted, so that the order does not reveal the side.
        names = sorted((thing.kind, thing.colour) for thing in self.things)
        return " and ".join(
            f"{'an' if colour[0] in 'aeiou' else 'a'} {colour} {kind}" for kind, colour in names
        )

    def caption(self, plural: bool | None = None, like: bool = False) -> str:
        """What a dialogue says of the photo: things, colours and setting, and nothing else.

        How many "red cars" are, on which side, how big and in which light is left out, so that only
        who sees the photo can tell.

        Args:
            like: Of a photo that is to be like another: how many, and the light, as well.
        """
        text = f"{self.named(plural, counted=like)} {PLACES[self.setting]}"
        light = f" {LIGHT_PHRASES[self.light]}" if like else ""
        return f"{text[0].upper()}{text[1:]}{light}."

    def description(self) -> str:
        """Everything that the photo shows, as one sentence."""
        alone = len(self.things) == 1
        parts = []
        for thing in sorted(self.things, key=lambda thing: SIDES.index(thing.side)):
            if thing.count > 1:
                number, noun, where = NUMBERS[thing.count], PLURALS[thing.kind], ""
            else:
                number, noun, where = "a", thing.kind, f" {SIDE_PHRASES[thing.side]}"
            parts.append(f"{number} {self.size} {thing.colour} {noun}{where}")
        text = parts[0] if alone else " and ".join(parts)
        return f"{text[0].upper()}{text[1:]} {PLACES[self.setting]} {LIGHT_PHRASES[self.light]}."


# Centres and feet of things that come once, and of two or three of a kind from back to front.
_CENTRES = {"left": 0.26, "middle": 0.5, "right": 0.74}
_SPOTS: dict[tuple[int, str], list[tuple[float, float]]] = {
    (2, "small"): [(0.3, 0.86), (0.7, 0.92)],
    (2, "big"): [(0.26, 0.88), (0.74, 0.93)],
    (3, "small"): [(0.5, 0.78), (0.18, 0.9), (0.82, 0.92)],
    (3, "big"): [(0.5, 0.64), (0.225, 0.93), (0.775, 0.95)],
}


def sample_scene(
    rng: random.Random,
    split: str | None = None,
    *,
    things: Sequence[tuple[str, str]] | None = None,
    setting: str | None = None,
    count: int | None = None,
    two: float = 0.4,
) -> Scene:
    """A random scene: one kind (once, twice or three times alike), or two kinds.

    Args:
        rng: Where the randomness comes from.
        split: "train", "dev", "test" or "unseen": only scenes of that split. None: any scene.
        things: One or two (colour, kind) pairs that the scene must show; two are of different
            kinds.
        setting: One of `SETTINGS`, if it is given.
        count: 1, 2 or 3, if it is given; it implies one kind.
        two: Share of scenes with two kinds, where neither things nor count is given.

    Raises:
        ValueError: if `things` has neither one nor two pairs, two pairs of one kind, or two
            pairs and a count above one.
        LookupError: if no scene of `split` shows what was asked for. One pair in one setting
            leaves 30 scenes, two pairs 12, so "dev" and "test" may well hold none of them.
    """
    pairs = None if things is None else list(things)
    if pairs is not None and (
        len(pairs) not in (1, 2)
        or (len(pairs) == 2 and (pairs[0][1] == pairs[1][1] or (count or 1) > 1))
    ):
        raise ValueError(
            f"A scene shows one (colour, kind), or two of different kinds once each; "
            f"got {pairs} with count {count}."
        )
    for _ in range(MAX_TRIES):
        shown = pairs or _sample_pairs(rng, duo=count is None and rng.random() < two)
        scene = Scene(
            setting or rng.choice(SETTINGS),
            rng.choice(LIGHTS),
            rng.choice(SIZES),
            _placed(rng, shown, count),
            rng.getrandbits(31),
        )
        if split is None or scene.split == split:
            return scene
    raise LookupError(f"No {split} scene shows {things} in {setting or 'any setting'} ({count=}).")


def _sample_pairs(rng: random.Random, duo: bool) -> list[tuple[str, str]]:
    kinds = rng.sample(KINDS, 2 if duo else 1)
    return [(rng.choice(_COLOUR_NAMES), kind) for kind in kinds]


def _placed(
    rng: random.Random, pairs: Sequence[tuple[str, str]], count: int | None
) -> tuple[Thing, ...]:
    if len(pairs) == 2:
        sides = ("left", "right") if rng.random() < 0.5 else ("right", "left")
        return tuple(
            Thing(kind, colour, 1, side) for (colour, kind), side in zip(pairs, sides, strict=True)
        )
    (colour, kind), number = pairs[0], count or rng.randint(1, 3)
    return (Thing(kind, colour, number, rng.choice(SIDES) if number == 1 else "middle"),)


_COLOUR_NAMES = tuple(COLOURS)


@lru_cache(maxsize=512)
def _setting(setting: str, light: str, variant: int, size: int) -> Image.Image:
    return art.draw_setting(setting, light, variant, size)


@lru_cache(maxsize=4096)
def _sprite(kind: str, colour: str, light: str, width: int) -> tuple[Image.Image, Image.Image]:
    image = art.draw_thing(kind, COLOURS[colour], light, width)
    return image.convert("RGB"), image.getchannel("A")


@lru_cache(maxsize=64)
def _shadow(width: int) -> Image.Image:
    """A soft flat ellipse, as a mask of `width` pixels."""
    scale = 4
    mask = Image.new("L", (width * scale, width * scale // 5))
    inset = mask.width * 0.06
    ellipse = (inset, mask.height * 0.2, mask.width - inset, mask.height * 0.8)
    ImageDraw.Draw(mask).ellipse(ellipse, fill=96)
    return mask.filter(ImageFilter.GaussianBlur(mask.height / 10)).resize(
        (width, max(1, width // 5)), Image.Resampling.LANCZOS
    )
