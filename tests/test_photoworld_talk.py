"""Photoworld's dialogues: determinism, truth that can be checked from the text, balance, variety.

Oracles: counts by hand over the generated text and the facts of the scenes themselves.
"""

from __future__ import annotations

import collections
import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from functools import cache

import pytest

from pscli.dialogue.schema import Dialogue, Response
from pscli.photoworld import phrases, talk
from pscli.photoworld.scene import PLURALS, Scene
from pscli.photoworld.talk import answered, dialogue, dialogues, either, plain_look_up

SPLITS = ("train", "dev", "test")


@cache
def _sample(split: str) -> list[Dialogue]:
    return dialogues(split, 600)


def _json(item: Dialogue) -> str:
    pairs = item.to_json(f"{number}.png" for number in itertools.count())
    return json.dumps([pairs, [repr(photo.source) for photo in item.photos]])


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9'-]+", text.lower())


def _scenes(response: Response) -> list[Scene]:
    return [photo.source for photo in response.photos]


def _instances(
    kind: str, items: Iterable[Dialogue] = ()
) -> list[tuple[Sequence[Response], Response]]:
    """(context, response) of every instance of a kind, in these dialogues or over all splits."""
    return [
        (item.responses[:i], item.responses[i])
        for item in items or itertools.chain(*map(_sample, SPLITS))
        for i in range(1, len(item.responses))
        if item.responses[i].truth.kind == kind
    ]


def test_a_dialogue_follows_from_its_arguments_alone():
    assert _json(dialogue("test", 12)) == _json(dialogue("test", 12)) == _json(_sample("test")[12])
    others = [dialogue("test", 13), dialogue("dev", 12), dialogue("test", 12, seed=1)]
    assert len({_json(item) for item in [dialogue("test", 12), *others]}) == 4


@pytest.mark.parametrize("hash_seed", ["0", "77"])
def test_a_dialogue_is_the_same_in_another_process(hash_seed: str):
    code = (
        "import itertools, json\n"
        "from pscli.photoworld.talk import dialogues\n"
        "for d in dialogues('test', 20, seed=3):\n"
        "    p = d.to_json(f'{n}.png' for n in itertools.count())\n"
        "    print(json.dumps([p, [repr(x.source) for x in d.photos]]))\n"
    )
    path = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split("\n")[:-1] == [_json(d) for d in dialogues("test", 20, seed=3)]


def test_ids_name_split_and_number():
    assert _sample("test")[12].id == "photoworld-test-00012"
    assert len({item.id for split in SPLITS for item in _sample(split)}) == 1800


def test_splits_share_no_scene():
    shown = {
        split: [photo.source for item in _sample(split) for photo in item.photos]
        for split in SPLITS
    }
    assert all(scene.split == split for split in SPLITS for scene in shown[split])
    keys = {split: {scene.key for scene in shown[split]} for split in SPLITS}
    assert not keys["train"] & keys["test"] and not keys["train"] & keys["dev"]


@pytest.mark.parametrize("split", SPLITS)
def test_dialogues_have_7_to_11_responses_of_two_speakers_with_truth(split: str):
    for item in _sample(split):
        replies = item.responses
        assert 7 <= len(replies) <= 11
        assert [r.speaker for r in replies] == list("ABABABABABA")[: len(replies)]
        assert replies[0].truth is None
        for reply in replies[1:]:
            assert sum(turn.truth is not None for turn in reply.turns) == 1
            assert (
                reply.truth.share == bool(reply.photos) == (reply.truth.kind in ("share", "vary"))
            )
        kinds = {reply.truth.kind for reply in replies[1:]}
        assert {"look", "chat"} <= kinds
        assert replies[0].photos or "share" in kinds
        assert item.responses and all(turn.text.isascii() for turn in item.turns)
        assert not any(re.search(r"[{}]|  | [.,!?:]|^ | $", turn.text) for turn in item.turns)


@pytest.mark.parametrize("split", SPLITS)
def test_all_kinds_occur_in_their_shares(split: str):
    # Bounds: the wanted share plus and minus four standard errors at 600 dialogues.
    share = collections.Counter()
    for item in _sample(split):
        share["first photo"] += bool(item.responses[0].photos)
        share.update({reply.truth.kind for reply in item.responses[1:]})
    assert 0.09 < share["first photo"] / 600 < 0.21
    assert 0.73 < share["recall"] / 600 < 0.87
    assert 0.45 < share["vary"] / 600 < 0.62
    assert share["share"] / 600 > 0.8
    replies = [reply for item in _sample(split) for reply in item.responses]
    assert 0.1 < sum(len(reply.turns) > 1 for reply in replies) / len(replies) < 0.2


def test_both_speakers_answer():
    for kind in ("share", "look", "vary", "recall"):
        speakers = collections.Counter(reply.speaker for _, reply in _instances(kind))
        assert min(speakers.values()) > 0.15 * speakers.total()


@pytest.mark.parametrize(
    ("text", "about", "value"),
    [
        ("I can see TWO of them.", "count", "two"),
        ("2, I think.", "count", "two"),
        ("One or two.", "count", None),
        ("Someone is alone there.", "count", None),  # whole words only
        ("In the centre.", "side", "middle"),
        ("Today it is at dusk", "light", "sunset"),
        ("late at night", "light", "night"),
        ("They look tiny.", "size", "small"),
        ("", "size", None),
    ],
)
def test_answered_reads_the_one_value(text: str, about: str, value: str | None):
    assert answered(text, about) == value


@pytest.mark.parametrize("practice", [None, either, plain_look_up])
def test_gold_answers_are_recovered_and_true_of_the_photo(practice):
    numbers = {1: "one", 2: "two", 3: "three"}
    items = [practice("train", index) for index in range(300)] if practice else ()
    for kind in ("look", "recall"):
        assert len(_instances(kind, items)) > 80
        for context, reply in _instances(kind, items):
            truth, question = reply.truth, context[-1].text.lower()
            assert answered(reply.text, truth.about) == truth.answer, reply.text
            scenes = [scene for earlier in context for scene in _scenes(earlier)]
            scene = scenes[0] if kind == "recall" and "first" in question else scenes[-1]
            things = [
                thing
                for thing in scene.things
                if re.search(rf"\b({thing.kind}|{PLURALS[thing.kind]})\b", question)
            ]
            facts = {
                "count": numbers[scene.things[0].count],
                "side": things[0].side if things else None,
                "size": scene.size,
                "light": scene.light,
            }
            assert facts[truth.about] == truth.answer, (question, scene)
            if truth.about in ("count", "side"):
                assert len(things) == 1
            if truth.about == "side":
                assert things[0].count == 1


def test_recall_reaches_back_over_other_talk():
    for context, reply in _instances("recall"):
        photos = [i for i, earlier in enumerate(context) if earlier.photos]
        question = context[-1].text.lower()
        index = photos[0] if "first" in question else photos[-1]
        assert len(context) - index >= 3
        assert len(photos) == 1 or "first" in question or "last" in question
        # The same detail of the same photo was not told before.
        told = [r.truth.about for r in context[index + 1 :] if r.truth and r.truth.kind == "look"]
        if len(photos) == 1:
            assert reply.truth.about not in told


@pytest.mark.parametrize("kind", ["look", "recall"])
def test_answers_are_balanced(kind: str):
    # Chi-square over 1,800 dialogues at p = 0.001: 10.83 with one degree of freedom, 13.82 with
    # two. Side is left or right only when there are two things, so it is only about uniform.
    counts = collections.defaultdict(collections.Counter)
    for _, reply in _instances(kind):
        counts[reply.truth.about][reply.truth.answer] += 1
    assert set(counts) == set(phrases.ANSWER_WORDS)
    for about, counter in counts.items():
        values = phrases.ANSWER_WORDS[about]
        assert set(counter) == set(values)
        even = counter.total() / len(values)
        for value in values:
            assert abs(counter[value] - even) / counter.total() < 0.08, (about, counter)
        if about != "side":
            chi_square = sum((counter[value] - even) ** 2 / even for value in values)
            assert chi_square < (10.83 if len(values) == 2 else 13.82), (about, counter)


def test_the_talk_says_what_a_share_must_show():
    fixed = []
    for context, reply in _instances("share"):
        said = " ".join(earlier.text for earlier in context).lower()
        (scene,) = _scenes(reply)
        assert reply.truth.things == tuple((t.colour, t.kind) for t in scene.things)
        for colour, kind in reply.truth.things:
            assert f"{colour} {kind}" in said or f"{colour} {PLURALS[kind]}" in said
        if reply.truth.setting is not None:
            assert reply.truth.setting == scene.setting
            assert re.search(rf"\b{scene.setting}\b", said)
        fixed.append(reply.truth.setting is not None)
    assert 0.6 < sum(fixed) / len(fixed) < 0.8


def test_the_talk_does_not_tell_how_many():
    # "red cars" comes with one car, two or three; "a red car" comes with one only.
    plural = collections.Counter()
    for context, reply in _instances("share"):
        said = " ".join(earlier.text for earlier in context).lower()
        (scene,) = _scenes(reply)
        thing = scene.things[0]
        if len(scene.things) == 1 and f"a {thing.colour} {thing.kind}" in said:
            assert thing.count == 1 or thing.kind == PLURALS[thing.kind]
        elif len(scene.things) == 1 and "an orange" not in said:
            plural[thing.count] += 1
    assert all(abs(plural[n] / plural.total() - 1 / 3) < 0.08 for n in (1, 2, 3))


def test_captions_leave_out_what_is_asked():
    words = {w for values in phrases.ANSWER_WORDS.values() for v in values.values() for w in v}
    for split in SPLITS:
        for item in _sample(split):
            for photo in item.photos:
                several = photo.source.things[0].count > 1
                if photo.caption == photo.source.caption(like=True):  # it is to be like another
                    continue
                assert not words & set(_words(photo.caption))
                assert photo.caption in {photo.source.caption(p) for p in {True, several}}


def test_only_what_is_to_be_like_another_is_told_whole_and_not_asked_then():
    for kind in ("share", "vary", "look", "recall"):
        for context, reply in _instances(kind):
            if reply.photos:
                (photo,) = reply.photos
                told = photo.source.caption(like=True)
                assert (photo.caption == told) is (kind == "vary")
                continue
            photos = [p for earlier in context for p in earlier.photos]
            photo = photos[0] if "first" in context[-1].text.lower() else photos[-1]
            if photo.caption == photo.source.caption(like=True):
                assert reply.truth.about in ("size", "side")


def test_vary_changes_what_is_asked_and_nothing_else():
    for context, reply in _instances("vary"):
        seen = [scene for earlier in context for scene in _scenes(earlier)][-1]
        (scene,), truth, request = _scenes(reply), reply.truth, context[-1].text.lower()
        assert truth.setting == scene.setting
        assert truth.things == tuple((t.colour, t.kind) for t in scene.things)
        changed = [
            (old, new)
            for old, new in zip(seen.things, scene.things, strict=True)
            if old.colour != new.colour
        ]
        assert [t.kind for t in seen.things] == [t.kind for t in scene.things]
        assert len(changed) + (seen.setting != scene.setting) == 1
        if changed:
            assert re.search(rf"\b{changed[0][1].colour}\b", request)
            assert len(seen.things) == 1 or changed[0][0].kind in request
        else:
            assert scene.setting in request
        assert (seen.things[0].count == 1) == (scene.things[0].count == 1)


def test_chat_talks_of_photos_that_are_not_due():
    """Hard negatives: in about a third of the dialogues photos are talked about, none is due."""
    cores = [t for topic in phrases.NO_PHOTO for s in SPLITS for t in topic.say.of(s)]
    cores = [re.sub(r"\\\{\w+\\\}", ".+", re.escape(core)) for core in cores]
    pattern = re.compile("|".join(cores), re.IGNORECASE)
    items = [item for split in SPLITS for item in _sample(split)]
    hits = sum(
        any(pattern.search(reply.text) and not reply.photos for reply in item.responses)
        for item in items
    )
    assert 0.27 < hits / len(items) < 0.43


def test_test_talk_is_new_in_wording_and_known_in_words():
    train = dialogues("train", talk.DEFAULT_SIZES["train"])
    heard = {turn.text for item in train for turn in item.turns}
    known = {word for item in train for turn in item.turns for word in _words(turn.text)}
    types = {w for item in train[:2000] for turn in item.turns for w in _words(turn.text)}
    assert len(types) >= 600
    texts = [turn.text for item in _sample("test") for turn in item.turns]
    long = [text for text in texts if len(text.split()) >= 6]
    assert len(long) > 3000
    assert sum(text in heard for text in long) / len(long) <= 0.05
    words = {word for text in texts for word in _words(text)}
    assert len(words & known) / len(words) >= 0.99


def test_splits_have_wordings_of_their_own():
    slots = [v for v in vars(phrases).values() if isinstance(v, phrases.Slot)]
    slots += [s for d in (phrases.ASK_NOW, phrases.ASK_AGAIN, phrases.ANSWER) for s in d.values()]
    slots += [s for topic in (*phrases.TOPICS, *phrases.NO_PHOTO) for s in topic]
    for slot in slots:
        assert not set(slot.train) & set(slot.test)
        assert not set(slot.train) & set(slot.dev)
        assert not set(slot.dev) & set(slot.test)
        assert bool(slot.train) == bool(slot.test) == bool(slot.dev)
