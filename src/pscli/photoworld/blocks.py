"""The blocks that dialogues of photoworld are made of; each adds one or more responses."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from pscli.dialogue.schema import Photo, Truth
from pscli.photoworld import phrases
from pscli.photoworld.asking import ASK_AGAIN_ANYHOW, ASK_NOW_ANYHOW
from pscli.photoworld.phrases import Slot, Topic
from pscli.photoworld.scene import COLOURS, PLACES, PLURALS, SETTINGS, Scene
from pscli.photoworld.writing import (
    Fact,
    Seen,
    Talk,
    alike,
    answer_to,
    pairs_of,
    sampled,
)

# What may be asked of a photo, with its weight, by the form in which the talk names its things:
# "a red car", "red cars" (which leaves open how many), "a red car and a white boat".
ASKED: dict[str, dict[str, float]] = {
    "one": {"side": 0.55, "size": 0.2, "light": 0.25},
    "kind": {"count": 0.55, "size": 0.2, "light": 0.25},
    "two": {"side": 0.07, "size": 0.53, "light": 0.4},
}
VARY_TRIES = 100  # for a colour or a setting, of 14
FORMS, FORM_WEIGHTS = ("one", "kind", "two"), (0.34, 0.36, 0.30)

# Responses that a block of a dialogue adds; what only practice has is not among them.
LENGTHS = {
    "hello": 2, "first": 1, "share": 3, "share_asked": 2, "share_where": 4, "share_place": 5,
    "react": 1, "look": 2, "vary": 2, "chat": 2, "no_photo": 2, "no_photo_last": 2, "recall": 2,
    "bye": 1,
}  # fmt: skip


def _hello(talk: Talk) -> None:
    _topic(talk, phrases.HELLO, phrases.GREETING)


def _topic(talk: Talk, topic: Topic, opener: Slot | None) -> None:
    """Two chat responses: something is said, the other replies to it."""
    bound: dict[str, str] = {}
    closer = phrases.CHAT_CLOSER if talk.chance(0.2) else None
    talk.chat(talk.words(topic.say, bound, opener, closer))
    reply_opener = phrases.CHAT_OPENER if talk.chance(0.4) else None
    closer = phrases.CHAT_CLOSER if talk.chance(0.35) else None
    talk.chat(talk.words(topic.reply, bound, reply_opener, closer))
    for seen in talk.photos:
        seen.past = True


def _chat(talk: Talk) -> None:
    _topic(talk, talk.rng.choice(phrases.TOPICS), talk.greeting())


def _no_photo(talk: Talk) -> None:
    topics = phrases.NO_PHOTO[: -phrases.LAST_ONLY]
    _topic(talk, talk.rng.choice(topics), talk.greeting())


def _no_photo_last(talk: Talk) -> None:
    _topic(talk, talk.rng.choice(phrases.NO_PHOTO), talk.greeting())


def _bye(talk: Talk) -> None:
    opener = phrases.CHAT_OPENER if talk.chance(0.3) else None
    talk.chat(talk.words(phrases.BYE, talk.parting, opener))


def _send(talk: Talk, scene: Scene, form: str, truth: Truth, fact: Fact) -> None:
    """The response with a photo that is due."""
    text = talk.words(phrases.HERE, {})
    after = talk.words(phrases.AFTER, {}) if talk.chance(0.12) else ""
    if after and talk.chance(0.4):
        text = ""
    _remember(talk, scene, form, fact.named)
    like = truth.kind == "vary"
    talk.respond(text, truth, _photo(scene, form, like), after, fact)


def _photo(scene: Scene, form: str, like: bool = False) -> Photo:
    """A photo whose caption names its things as the talk does, or tells how it is like another."""
    return Photo(scene, scene.caption(None if like else form == "kind", like))


def _number(scene: Scene) -> int:
    return sum(thing.count for thing in scene.things)


def _remember(talk: Talk, scene: Scene, form: str, named: int | None = None) -> None:
    for seen in talk.photos:
        seen.past = True
    talk.photos.append(Seen(scene, form, talk.speaker, len(talk.facts), named))


def _first(talk: Talk, form: str | None = None) -> None:
    """A photo opens the dialogue; the talk has said nothing about it."""
    form = form or talk.rng.choices(FORMS, FORM_WEIGHTS)[0]
    scene = sampled(talk.rng, talk.split, form)
    photo = _photo(scene, form)
    _remember(talk, scene, form)
    if talk.chance(0.15):
        talk.respond("", Truth("share", share=True), photo)
    elif talk.chance(0.3):
        talk.respond("", Truth("share", share=True), photo, talk.words(phrases.FIRST, {}))
    else:
        talk.respond(talk.words(phrases.FIRST, {}), Truth("share", share=True), photo)


def _share(talk: Talk, how: str = "mention") -> None:
    """The talk fixes what a photo shows, somebody asks for it, and it is sent."""
    form = talk.rng.choices(FORMS, FORM_WEIGHTS)[0]
    scene = sampled(talk.rng, talk.split, form)
    placed = how in ("where", "place") or talk.chance(0.62)
    place = PLACES[scene.setting] if placed else ""
    thing = scene.named(plural=form == "kind")
    bound = {"thing": thing, "place": "" if how == "place" else place}
    if how == "asked":
        opener, named = talk.greeting(), len(talk.facts)
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
        named = len(talk.facts)
        talk.chat(talk.words(core, bound, opener, closer))
        if how == "place":
            talk.chat(talk.words(phrases.PLACE_ASK, bound))
            talk.chat(talk.words(phrases.PLACE_SAY, bound | {"place": place}))
        opener = phrases.CHAT_OPENER if talk.chance(0.5) else None
        talk.chat(talk.words(phrases.REQUEST, bound, opener))
    setting = scene.setting if placed else None
    fact = Fact(None if form == "kind" else _number(scene), named=named)
    _send(talk, scene, form, Truth("share", True, pairs_of(scene), setting), fact)


def _share_asked(talk: Talk) -> None:
    _share(talk, "asked")


def _share_where(talk: Talk) -> None:
    _share(talk, "where")


def _share_place(talk: Talk) -> None:
    _share(talk, "place")


def _react(talk: Talk) -> None:
    """Thanks for the first photo, which only who sees it can put in these words."""
    talk.chat(talk.words(phrases.FIRST_REACTION, {}, phrases.REACTION))


def _look(talk: Talk) -> None:
    seen = talk.photos[-1]
    if set(ASKED[seen.form]) - seen.asked:
        _question(talk, seen, "look")
    else:
        _chat(talk)


def _recall(talk: Talk) -> None:
    past = [seen for seen in talk.photos if seen.past and set(ASKED[seen.form]) - seen.asked]
    if past:
        _question(talk, talk.rng.choice(past), "recall")
    else:
        _chat(talk)


def _two(talk: Talk) -> None:
    _first(talk, "two")


def _look_side(talk: Talk) -> None:
    """Which side something is on; of a photo of several of a kind, whatever is left to ask."""
    seen = talk.photos[-1]
    if "side" in ASKED[seen.form]:
        _question(talk, seen, "look", "side")
    else:
        _look(talk)


def _recall_of(talk: Talk, about: str) -> None:
    """A detail of a photo that has it, and of which it was not asked; else any other."""
    past = [s for s in talk.photos if s.past and about in set(ASKED[s.form]) - s.asked]
    if past:
        _question(talk, talk.rng.choice(past), "recall", about)
    else:
        _recall(talk)


def _question(talk: Talk, seen: Seen, kind: str, about: str | None = None) -> None:
    """A question about a photo, and the answer that only who sees it can give."""
    if about is None:
        weights = {d: w for d, w in ASKED[seen.form].items() if d not in seen.asked}
        about = talk.rng.choices(list(weights), list(weights.values()))[0]
    seen.asked.add(about)
    thing = talk.rng.choice(seen.scene.things)
    value = answer_to(seen.scene, about, thing)
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
    if talk.anyhow and talk.chance(0.5):
        slots = ASK_NOW_ANYHOW if kind == "look" else ASK_AGAIN_ANYHOW
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
    fact = Fact(photo=seen.response, kind=thing.kind)
    talk.respond(text, Truth(kind, about=about, answer=value), fact=fact)


def _label(talk: Talk, seen: Seen) -> str:
    noun = talk.rng.choice(("photo", "picture"))
    if len(talk.photos) == 1:
        return noun
    return f"first {noun}" if seen is talk.photos[0] else f"last {noun}"


def _vary(talk: Talk) -> None:
    """Like that, but …: a photo that differs from the last one in what is asked for alone.

    There are as many things as on that, in the same light, which only who sees it can know.
    """
    seen = talk.photos[-1]
    rng = talk.rng
    for _ in range(VARY_TRIES):
        pairs, setting = list(pairs_of(seen.scene)), seen.scene.setting
        bound: dict[str, str] = {}
        if talk.chance(0.35):
            setting = rng.choice([s for s in SETTINGS if s != setting])
            slot, bound["place"] = phrases.VARY_SETTING, PLACES[setting]
        else:
            which = rng.randrange(len(pairs))
            used = {colour for colour, _ in pairs}
            new = rng.choice([colour for colour in COLOURS if colour not in used])
            bound |= {"new": new, "kind": pairs[which][1]}
            pairs[which] = (new, pairs[which][1])
            slot = phrases.VARY_COLOUR_DUO if len(pairs) == 2 else phrases.VARY_COLOUR_SOLO
        scene = alike(rng, talk.split, seen.scene, pairs, setting)
        if scene is not None:
            break
    else:  # the split has no such scene
        _chat(talk)
        return
    talk.chat(talk.words(slot, bound, talk.greeting()))
    fact = Fact(_number(scene), scene.light, seen.response, named=seen.named)
    _send(talk, scene, seen.form, Truth("vary", True, pairs_of(scene), scene.setting), fact)
    # The caption tells the first two. Where size was asked of two things, nothing but their side
    # would be left, and none of two is in the middle.
    talk.photos[-1].asked |= {"count", "light"} | ({"side"} if seen.form == "two" else set())


BLOCKS: dict[str, Callable[[Talk], None]] = {
    "hello": _hello,
    "first": _first,
    "two": _two,
    "share": _share,
    "share_asked": _share_asked,
    "share_where": _share_where,
    "share_place": _share_place,
    "react": _react,
    "look": _look,
    "look_side": _look_side,
    "vary": _vary,
    "chat": _chat,
    "no_photo": _no_photo,
    "no_photo_last": _no_photo_last,
    "recall": _recall,
    "recall_side": partial(_recall_of, about="side"),
    "recall_size": partial(_recall_of, about="size"),
    "bye": _bye,
}
