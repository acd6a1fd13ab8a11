"""`benchmarks/sides.py`: what is asked, and what is right, by hand."""

from __future__ import annotations

from itertools import islice
from types import SimpleNamespace
from typing import Any

import pytest
import sides

from pscli.photoworld.dataset import Photoworld
from pscli.photoworld.scene import SIDES, Scene, Thing
from pscli.predictions.generate import instances
from pscli.systems.agent import Agent


def test_questions_are_about_the_side_of_a_thing_that_the_photo_has() -> None:
    for things in (1, 2):
        for question, side, scene in islice(sides.asked(things), 12):
            assert question.shown or question.responses[0].speaker == question.speaker
            named = [t for t in scene.things if t.kind in question.responses[-1].text.lower()]
            assert len(scene.things) == things
            assert [thing.side for thing in named] == [side]


def test_a_description_is_right_where_every_thing_is_on_its_side() -> None:
    pair = (Thing("car", "red", side="left"), Thing("kite", "blue", side="right"))
    scene = Scene("beach", "day", "big", pair)
    assert sides.placed(scene.description(), scene)
    swapped = (
        scene.description().replace("left", "?").replace("right", "left").replace("?", "right")
    )
    assert not sides.placed(swapped, scene)
    assert not sides.placed("A big red car on the left at the beach by day.", scene)


def test_both_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: one that always answers "left", beside one that describes every second photo."""
    some = list(islice(sides.asked(1), 40))
    scenes = [scene for _, _, scene in some]

    class Told:
        def __init__(self, *parts: Any) -> None: ...

        def describe(self, photos: list[Any], task: str) -> list[str]:
            found = [photo.source for photo in photos]
            return [s.description() if scenes.index(s) % 2 else "" for s in found]

    monkeypatch.setattr(sides, "Captioner", Told)
    system = SimpleNamespace(perceptron=None, llm=None)
    system.reply = lambda asked: [SimpleNamespace(text="On the left.") for _ in asked]
    left = sum(side == SIDES[0] for _, side, _ in some)
    assert sides.right(SimpleNamespace(system=system), some) == (left, 20)


def test_questions_of_dialogues_by_hand() -> None:
    """Oracle: one that is always right, and one that is right where it is told at second hand."""
    golds = {i.question.key: i.gold for i in instances(Photoworld().load("test", 12))}

    class Knowing:
        def __init__(self, when: str) -> None:
            self.when = when

        def respond_all(self, asked: list[Any]) -> list[Any]:
            return [
                golds[q.key] if self.when in q.responses[-1].text else SimpleNamespace(text="?")
                for q in asked
            ]

    always = sides.in_dialogues(Knowing(""), 12)
    about = [g.truth.kind for g in golds.values() if g.truth and g.truth.about]
    assert all(good == of for good, of in always.values())
    assert always["all"][1] == len(about)
    assert always["look"][1] == about.count("look") and always["recall"][1] == about.count("recall")
    some = sides.in_dialogues(Knowing(" asks "), 12)
    assert 0 < some["all"][0] == some["second hand"][0] <= some["second hand"][1]
    assert some.keys() == always.keys() and some["earlier"][0] == 0
    asked = [i.question.responses[-1].text.lower() for i in instances(Photoworld().load("test", 12))
             if i.gold.truth and i.gold.truth.kind == "recall"]  # fmt: skip
    of_first = sum("first photo" in text or "first picture" in text for text in asked)
    assert always["of the first of two"] == (of_first, of_first) != (0, 0)


def test_the_bundled_agent_knows_which_of_two_things_is_where() -> None:
    """It has practised; one of the shipped parts guesses (half of them)."""
    answers, told = sides.right(Agent.from_pretrained(), list(islice(sides.asked(2), 120)))
    assert answers >= 108 and told >= 96
