"""The dialogues of photoworld: two friends chat, and at times a photo is due.

A dialogue is a row of blocks (hello, share, look, vary, small talk, recall, bye); each block adds
one or more responses, and the two friends take turns throughout, so that both ask and answer.
Words come from `phrases`, photos from `scene`; everything follows from (split, index, seed).
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product

from pscli.data.photoworld import phrases
from pscli.data.photoworld.phrases import Slot, Topic
from pscli.data.photoworld.scene import (
    COLOURS,
    KINDS,
    LIGHTS,
    PLACES,
    PLURALS,
    SETTINGS,
    SIDES,
    SIZES,
    Scene,
    Thing,
    split_of,
)
from pscli.data.schema import Dialogue, Photo, Truth, Turn

DEFAULT_SIZES: dict[str, int] = {"train": 6000, "dev": 500, "test": 600}
KINDS_OF_RESPONSE: tuple[str, ...] = ("chat", "share", "look", "vary", "recall")
DETAILS: tuple[str, ...] = tuple(phrases.ANSWER_WORDS)
COUNT_WORDS: dict[int, str] = {1: "one", 2: "two", 3: "three"}

# What may be asked of a photo, with its weight, by the form in which the talk names its things:
# "a red car", "red cars" (which leaves open how many), "a red car and a white boat".
_ASKED: dict[str, dict[str, float]] = {
    "one": {"side": 0.55, "size": 0.2, "light": 0.25},
    "kind": {"count": 0.55, "size": 0.2, "light": 0.25},
    "two": {"side": 0.07, "size": 0.53, "light": 0.4},
}
_FORMS, _FORM_WEIGHTS = ("one", "kind", "two"), (0.34, 0.36, 0.30)
# Of two things none is in the middle; a single one is there more often, so that over all
# questions left, middle and right are equally frequent.
_SIDE_WEIGHTS = (0.31, 0.38, 0.31)
_COLOURS = tuple(COLOURS)
# Chosen among 40 so that the answers of the default dev and test dialogues are about as
# balanced as they are in expectation; samples of a few hundred stray otherwise.
_SALT = 36


def dialogues(split: str, count: int, seed: int = 0) -> list[Dialogue]:
    """The first `count` dialogues of a split."""
    return [dialogue(split, index, seed) for index in range(count)]


def dialogue(split: str, index: int, seed: int = 0) -> Dialogue:
    """One dialogue of 7 to 11 responses, fully determined by its arguments.

    Every response after the first carries its `Truth`. Photos are scenes of the same split.

    Args:
        split: "train", "dev" or "test"; each has wordings and scenes of its own.
        index: Number of the dialogue in its split, from 0.
    """
    rng = random.Random(f"photoworld|{_SALT}|{seed}|{split}|{index}")
    talk = _Talk(rng, split)
    for block in _plan(rng):
        _BLOCKS[block](talk)
    return Dialogue(tuple(talk.turns), f"photoworld-{split}-{index:05d}")


def quiz(split: str, index: int, seed: int = 0) -> Dialogue:
    """A dialogue of nothing but photos and questions about them, to practise reading with.

    In a dialogue one response in five is an answer; here it is nearly one in two.
    """
    return _practice("quiz", _QUIZ, split, index, seed)


def questions(split: str, index: int, seed: int = 0) -> Dialogue:
    """One photo and everything that may be asked about it, to practise looking with."""
    return _practice("questions", ("first", "look", "look", "look"), split, index, seed)


def _practice(name: str, plan: Sequence[str], split: str, index: int, seed: int) -> Dialogue:
    rng = random.Random(f"photoworld|{name}|{seed}|{split}|{index}")
    talk = _Talk(rng, split)
    for block in plan:
        _BLOCKS[block](talk)
    return Dialogue(tuple(talk.turns), f"photoworld-{split}-{name}-{index:05d}")


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


# ---------------------------------------------------------------- the plan of a dialogue

_LENGTHS = {
    "hello": 2, "first": 1, "share": 3, "share_asked": 2, "share_where": 4, "share_place": 5,
    "react": 1, "look": 2, "vary": 2, "chat": 2, "no_photo": 2, "no_photo_last": 2, "recall": 2,
    "bye": 1,
}  # fmt: skip


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
        return target - sum(_LENGTHS[block] for block in opening + seen + middle + ending)

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


_QUIZ = ("first", "look", "look", "look", "vary", "look", "look", "share_asked", "look", "look")


# ---------------------------------------------------------------- the talk so far


@dataclass
class _Seen:
    """A photo in the talk: its scene, who sent it, and what has been asked about it."""

    scene: Scene
    form: str
    sender: int
    asked: set[str] = field(default_factory=set)
    past: bool = False  # whether other talk came after it


class _Talk:
    """A dialogue that is being written; `speaker` (0 or 1) is whose turn it is."""

    def __init__(self, rng: random.Random, split: str) -> None:
        self.rng, self.split = rng, split
        self.names = rng.sample(phrases.NAMES, 2)
        self.lower = [rng.random() < 0.15 for _ in range(2)]
        self.speaker = 0
        self.turns: list[Turn] = []
        self.photos: list[_Seen] = []
        self.parting: dict[str, str] = {}  # fillers of goodbyes, so that the two agree on them
        self.fresh = False  # whether the last response had a photo

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

    def respond(self, text: str, truth: Truth, scene: Scene | None = None, after: str = "") -> None:
        """Adds one response, in one turn or in several; then it is the other one's turn."""
        who = "AB"[self.speaker]
        kept = truth if self.turns else None  # the first response is no instance
        photo = None if scene is None else Photo(scene, scene.caption())
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


def _sample(rng: random.Random, split: str, form: str) -> Scene:
    """A random scene of `split` that can be named in `form`."""
    while True:
        kinds = rng.sample(KINDS, 2 if form == "two" else 1)
        colours = [rng.choice(_COLOURS) for _ in kinds]
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
        if split_of(scene.key) == split:
            return scene


def _like(
    rng: random.Random, split: str, seen: Scene, pairs: list[tuple[str, str]], setting: str
) -> Scene | None:
    """A scene of `split` with the given (colour, kind) pairs and setting, or None.

    One thing stays one and several stay several; light, size and sides are free.
    """
    layouts: list[tuple[tuple[int, str], ...]]
    if len(pairs) == 2:
        layouts = [((1, "left"), (1, "right")), ((1, "right"), (1, "left"))]
    elif seen.things[0].count == 1:
        layouts = [((1, side),) for side in SIDES]
    else:
        layouts = [((2, "middle"),), ((3, "middle"),)]
    found = []
    number = rng.getrandbits(31)
    for light, size, layout in product(LIGHTS, SIZES, layouts):
        things = tuple(
            Thing(kind, colour, count, side)
            for (colour, kind), (count, side) in zip(pairs, layout, strict=True)
        )
        scene = Scene(setting, light, size, things, number)
        if split_of(scene.key) == split:
            found.append(scene)
    return rng.choice(found) if found else None


def _pairs(scene: Scene) -> tuple[tuple[str, str], ...]:
    return tuple((thing.colour, thing.kind) for thing in scene.things)


def _named(scene: Scene, form: str) -> str:
    """The things as the talk introduces them, such as "a red car" or "red cars"."""
    if form == "kind":
        return f"{scene.things[0].colour} {PLURALS[scene.things[0].kind]}"
    # In the order of the caption, so that it can be predicted.
    things = sorted(scene.things, key=lambda thing: thing.kind)
    return " and ".join(f"a {thing.colour} {thing.kind}" for thing in things)


def _value(scene: Scene, about: str, thing: Thing) -> str:
    """The right answer to a question about a scene, and about one of its things."""
    if about == "light":
        return scene.light
    if about == "size":
        return scene.size
    return thing.side if about == "side" else COUNT_WORDS[thing.count]


# ---------------------------------------------------------------- blocks


def _hello(talk: _Talk) -> None:
    _topic(talk, phrases.HELLO, phrases.GREETING)


def _topic(talk: _Talk, topic: Topic, opener: Slot | None) -> None:
    """Two chat responses: something is said, the other replies to it."""
    bound: dict[str, str] = {}
    closer = phrases.CHAT_CLOSER if talk.chance(0.2) else None
    talk.chat(talk.words(topic.say, bound, opener, closer))
    reply_opener = phrases.CHAT_OPENER if talk.chance(0.4) else None
    closer = phrases.CHAT_CLOSER if talk.chance(0.35) else None
    talk.chat(talk.words(topic.reply, bound, reply_opener, closer))
    for seen in talk.photos:
        seen.past = True


def _chat(talk: _Talk) -> None:
    _topic(talk, talk.rng.choice(phrases.TOPICS), talk.greeting())


def _no_photo(talk: _Talk) -> None:
    topics = phrases.NO_PHOTO[: -phrases.LAST_ONLY]
    _topic(talk, talk.rng.choice(topics), talk.greeting())


def _no_photo_last(talk: _Talk) -> None:
    _topic(talk, talk.rng.choice(phrases.NO_PHOTO), talk.greeting())


def _bye(talk: _Talk) -> None:
    opener = phrases.CHAT_OPENER if talk.chance(0.3) else None
    talk.chat(talk.words(phrases.BYE, talk.parting, opener))


def _send(talk: _Talk, scene: Scene, form: str, truth: Truth) -> None:
    """The response with a photo that is due."""
    text = talk.words(phrases.HERE, {})
    after = talk.words(phrases.AFTER, {}) if talk.chance(0.12) else ""
    if after and talk.chance(0.4):
        text = ""
    _remember(talk, scene, form)
    talk.respond(text, truth, scene, after)


def _remember(talk: _Talk, scene: Scene, form: str) -> None:
    for seen in talk.photos:
        seen.past = True
    talk.photos.append(_Seen(scene, form, talk.speaker))


def _first(talk: _Talk) -> None:
    """A photo opens the dialogue; the talk has said nothing about it."""
    form = talk.rng.choices(_FORMS, _FORM_WEIGHTS)[0]
    scene = _sample(talk.rng, talk.split, form)
    _remember(talk, scene, form)
    if talk.chance(0.15):
        talk.respond("", Truth("share", share=True), scene)
    elif talk.chance(0.3):
        talk.respond("", Truth("share", share=True), scene, talk.words(phrases.FIRST, {}))
    else:
        talk.respond(talk.words(phrases.FIRST, {}), Truth("share", share=True), scene)


def _share(talk: _Talk, how: str = "mention") -> None:
    """The talk fixes what a photo shows, somebody asks for it, and it is sent."""
    form = talk.rng.choices(_FORMS, _FORM_WEIGHTS)[0]
    scene = _sample(talk.rng, talk.split, form)
    placed = how in ("where", "place") or talk.chance(0.62)
    place = PLACES[scene.setting] if placed else ""
    thing = _named(scene, form)
    bound = {"thing": thing, "place": "" if how == "place" else place}
    if how == "asked":
        opener = talk.greeting()
        talk.chat(talk.words(phrases.REQUEST_ALL, bound, opener))
    else:
        if how == "where":
            talk.chat(talk.words(phrases.WHERE_ASK, bound, talk.greeting()))
            core = phrases.WHAT_KIND if form == "kind" else phrases.WHAT_ONE
            opener = phrases.CHAT_OPENER if talk.chance(0.3) else None
        else:
            core = phrases.MENTION_KIND if form == "kind" else phrases.MENTION_ONE
            opener = talk.greeting()
        closer = phrases.CHAT_CLOSER if talk.chance(0.2) else None
        talk.chat(talk.words(core, bound, opener, closer))
        if how == "place":
            talk.chat(talk.words(phrases.PLACE_ASK, bound))
            talk.chat(talk.words(phrases.PLACE_SAY, bound | {"place": place}))
        opener = phrases.CHAT_OPENER if talk.chance(0.5) else None
        talk.chat(talk.words(phrases.REQUEST, bound, opener))
    setting = scene.setting if placed else None
    _send(talk, scene, form, Truth("share", True, _pairs(scene), setting))


def _share_asked(talk: _Talk) -> None:
    _share(talk, "asked")


def _share_where(talk: _Talk) -> None:
    _share(talk, "where")


def _share_place(talk: _Talk) -> None:
    _share(talk, "place")


def _react(talk: _Talk) -> None:
    """Thanks for the first photo, which only who sees it can put in these words."""
    talk.chat(talk.words(phrases.FIRST_REACTION, {}, phrases.REACTION))


def _look(talk: _Talk) -> None:
    _question(talk, talk.photos[-1], "look")


def _recall(talk: _Talk) -> None:
    past = [seen for seen in talk.photos if seen.past and set(_ASKED[seen.form]) - seen.asked]
    _question(talk, talk.rng.choice(past), "recall")


def _question(talk: _Talk, seen: _Seen, kind: str) -> None:
    """A question about a photo, and the answer that only who sees it can give."""
    weights = {d: w for d, w in _ASKED[seen.form].items() if d not in seen.asked}
    about = talk.rng.choices(list(weights), list(weights.values()))[0]
    seen.asked.add(about)
    thing = talk.rng.choice(seen.scene.things)
    value = _value(seen.scene, about, thing)
    names = sorted(thing.kind for thing in seen.scene.things)
    several = seen.form == "two" and about != "side"
    singular = not several and (seen.form != "kind")
    nouns = PLURALS[thing.kind]
    the = "the " + (" and the ".join(names) if several else thing.kind if singular else nouns)
    bound = {
        "nouns": nouns,
        "the": the,
        "be": "is" if singular else "are",
        "was": "was" if singular else "were",
        "do": "does" if singular else "do",
        "sent": "I sent you" if seen.sender == talk.speaker else "you sent me",
        "photo": _label(talk, seen),
    }
    slots = phrases.ASK_NOW if kind == "look" else phrases.ASK_AGAIN
    opener = talk.greeting()
    talk.chat(talk.words(slots[about], bound, opener))

    forms = phrases.ANSWER_FORMS[about][value]
    plural = several or thing.count > 1
    answer = {
        "v": talk.rng.choices([f for f, _ in forms], [w for _, w in forms])[0],
        "the": the,
        "be": bound["be"],
        "are": "are" if plural else "is",
        "they": "they" if plural else "it",
        "look": "look" if plural else "looks",
    }
    answer_opener = phrases.ANSWER_OPENER if talk.chance(0.4) else None
    closer = phrases.ANSWER_CLOSER if talk.chance(0.3) else None
    text = talk.words(phrases.ANSWER[about], answer, answer_opener, closer)
    talk.respond(text, Truth(kind, about=about, answer=value))


def _label(talk: _Talk, seen: _Seen) -> str:
    noun = talk.rng.choice(("photo", "picture"))
    if len(talk.photos) == 1:
        return noun
    return f"first {noun}" if seen is talk.photos[0] else f"last {noun}"


def _vary(talk: _Talk) -> None:
    """Like that, but …: a photo that differs from the last one in just what is asked for."""
    seen = talk.photos[-1]
    rng, scene = talk.rng, None
    while scene is None:
        pairs, setting = list(_pairs(seen.scene)), seen.scene.setting
        bound: dict[str, str] = {}
        if talk.chance(0.35):
            setting = rng.choice([s for s in SETTINGS if s != setting])
            slot, bound["place"] = phrases.VARY_SETTING, PLACES[setting]
        else:
            which = rng.randrange(len(pairs))
            used = {colour for colour, _ in pairs}
            new = rng.choice([colour for colour in _COLOURS if colour not in used])
            bound |= {"new": new, "kind": pairs[which][1]}
            pairs[which] = (new, pairs[which][1])
            slot = phrases.VARY_COLOUR_DUO if len(pairs) == 2 else phrases.VARY_COLOUR_SOLO
        scene = _like(rng, talk.split, seen.scene, pairs, setting)
    talk.chat(talk.words(slot, bound, talk.greeting()))
    _send(talk, scene, seen.form, Truth("vary", True, _pairs(scene), scene.setting))
    talk.photos[-1].asked |= seen.asked & {"count"}  # one stays one, so it would be told


_BLOCKS = {
    "hello": _hello,
    "first": _first,
    "share": _share,
    "share_asked": _share_asked,
    "share_where": _share_where,
    "share_place": _share_place,
    "react": _react,
    "look": _look,
    "vary": _vary,
    "chat": _chat,
    "no_photo": _no_photo,
    "no_photo_last": _no_photo_last,
    "recall": _recall,
    "bye": _bye,
}
