"""Sharing, answers and faithful photos against hand counts; no trained weights."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest

from painted import COLOUR_NAMES, Counter, Reader, paint
from pscli.dialogue.schema import Truth
from pscli.errors import DataError
from pscli.metrics.base import Metric, Scored
from pscli.metrics.extractor import pixels
from pscli.metrics.sharing import Sharing, wilson
from pscli.photoworld import details, judge
from pscli.photoworld.known import named
from pscli.photoworld.metrics import FAITHFUL, Answers, Faithfulness
from pscli.photoworld.scene import (
    COLOURS,
    KINDS,
    SETTINGS,
    sample_scene,
)
from pscli.photoworld.view import View, look
from pscli.predictions.folder import Prediction, Side


def instance(sent: int = 0, due: int = 0, text: str = "", truth: Truth | None = None) -> Prediction:
    photo = Path("never-opened.png")
    return Prediction(
        "x", None, Side(photos=(photo,) * due), Side(text, (), (photo,) * sent), truth
    )


def scored(metric: Metric, some: list[Prediction]) -> Scored:
    return metric.scores([value for value in metric.values(some) if value is not None])


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (3, 10), (10, 10), (1, 1), (437, 1000)])
def test_wilson_solves_its_quadratic(hits: int, n: int) -> None:
    """The ends p satisfy |hits/n - p| = z sqrt(p (1 - p) / n)."""
    for end in wilson(hits, n):
        p = end / 100
        assert abs(hits / n - p) == pytest.approx(1.96 * math.sqrt(p * (1 - p) / n), abs=1e-4)
    assert wilson(0, 10) == pytest.approx((0, 27.75), abs=0.01)  # Brown, Cai, DasGupta (2001)


def test_sharing_matches_a_hand_count() -> None:
    # 3 sent and due, 1 sent and not due, 2 due and not sent, 4 neither
    some = [instance(1, 2)] * 3 + [instance(1, 0)] + [instance(0, 1)] * 2 + [instance()] * 4
    found = scored(Sharing(), some)
    assert found["sharing precision"].value == pytest.approx(75)
    assert found["sharing recall"].value == pytest.approx(60)
    f1 = found["sharing F1"]
    assert f1.value == pytest.approx(2 * 75 * 60 / 135)
    low, high = (x / 100 for x in wilson(3, 6))
    assert f1.interval == pytest.approx((200 * low / (1 + low), 200 * high / (1 + high)))
    assert f1.interval[0] < f1.value < f1.interval[1]
    assert found["sharing precision"].n == 4 and found["sharing recall"].n == 5
    assert found["sharing recall"].interval == wilson(3, 5)
    assert found["sharing accuracy"].value == pytest.approx(70)


def test_where_all_instances_want_a_photo_or_none_accuracy_stands_alone() -> None:
    some = [instance(1, 1), instance(0, 1), instance(1, 0), instance(0, 0), instance(0, 0)]
    values = Sharing().values(some)
    for part, right in ((values[:2], 50), (values[2:], 200 / 3)):
        (score,) = Sharing().scores(part).scores
        assert (score.name, score.value) == ("sharing accuracy", pytest.approx(right))
    assert len(Sharing().scores(values[1:3]).scores) == 4  # one dialogue: no turn distance
    assert "sharing recall" in scored(Sharing(), some[:2])  # a folder of nothing else


def test_sharing_without_photos_is_left_out_with_reasons() -> None:
    found = scored(Sharing(), [instance(), instance()])
    assert found.scores == () and list(found.reasons) == ["sharing F1"]
    some = Sharing().values([instance(), instance(1, 0), instance(0, 1)])[:1]
    found = Sharing().scores([value for value in some if value])  # of a folder with photos
    assert [score.name for score in found.scores] == ["sharing accuracy"] and not found.reasons
    assert scored(Sharing(), [instance(1, 0)]).reasons["sharing recall"] == (
        "no reference has a photo"
    )
    found = scored(Sharing(), [instance(0, 1)])
    assert (found["sharing recall"].value, found["sharing F1"].value) == (0, 0)


def test_answers_match_a_hand_count() -> None:
    def asked(text: str, about: str, answer: str) -> Prediction:
        return instance(text=text, truth=Truth("look", about=about, answer=answer))

    some = [
        asked("on the left", "side", "left"),
        asked("on the right", "side", "left"),
        asked("no idea", "side", "right"),
        asked("it is big", "size", "big"),
        instance(text="hello", truth=Truth("chat")),
        instance(text="hello"),
    ]
    found = scored(Answers(), some)
    assert found["answer accuracy"].value == pytest.approx(50)
    assert found["answer accuracy"].interval == wilson(2, 4)
    assert found["answer chance"].value == pytest.approx(100 * (3 / 3 + 1 / 2) / 4)
    assert found["answer majority"].value == pytest.approx(100 * (2 + 1) / 4)
    assert [found[name].better for name in ("answer chance", "answer majority")] == [None, None]
    assert found["answer accuracy, side"].value == pytest.approx(100 / 3)
    assert found["answer accuracy, size"].value == pytest.approx(100)
    assert "answer accuracy, light" not in found
    assert [score.n for score in found.scores] == [4, 4, 4, 3, 1]


def test_answers_need_questions_and_known_details() -> None:
    assert scored(Answers(), [instance()]) == Scored()
    odd = instance(truth=Truth("look", about="mood\x1b", answer="good"))
    with pytest.raises(DataError, match=r"of 'x' asks for 'mood\\x1b'.*`about` is one of count, "):
        Answers().values([odd])


def test_photoworld_knows_the_values_of_every_detail() -> None:
    truths = [Truth("look", about=a, answer="x") for a in ("count", "side", "size", "light")]
    found = scored(Answers(), [instance(truth=t) for t in truths])
    assert found["answer chance"].value == pytest.approx(100 * (1 / 3 + 1 / 3 + 1 / 2 + 1 / 3) / 4)


def test_things_are_read_from_the_logits_in_order() -> None:
    scenes = [
        (
            SETTINGS[i % len(SETTINGS)],
            (COLOUR_NAMES[i % len(COLOURS)], KINDS[i % len(KINDS)]),
            (COLOUR_NAMES[i // 7 % len(COLOURS)], KINDS[(i + 5) % len(KINDS)]),
        )
        for i in range(70)  # more than one batch
    ]
    seen = look([pixels(paint(*scene), 64) for scene in scenes], Reader(), Counter())
    assert seen == [
        View(
            frozenset(things),
            setting,
            "sunset",
            len(things),
            "small",
            {kind: "right" for _, kind in things},
        )
        for setting, *things in scenes
    ]
    assert look([], Reader(), Counter()) == []


@pytest.fixture
def painted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The judge reads what `paint` wrote."""
    monkeypatch.setattr(judge, "load_extractor", Reader)
    monkeypatch.setattr(details, "load_details", Counter)


@pytest.mark.usefixtures("painted")
def test_faithfulness_matches_a_hand_count(tmp_path: Path) -> None:
    def drawn(name: str, setting: str, *things: tuple[str, str]) -> Path:
        paint(setting, *things).save(tmp_path / f"{name}.png")
        return tmp_path / f"{name}.png"

    def due(photos: tuple[Path, ...], setting: str | None, *things: tuple[str, str]) -> Prediction:
        truth = Truth("share", share=True, things=things, setting=setting)
        captions = tuple(f"A {path.stem} car." for path in photos)
        return Prediction("x", "share", Side(), Side("", captions, photos), truth)

    red = drawn("red", "beach", ("red", "car"))
    blue = drawn("blue", "desert", ("blue", "car"))
    both = drawn("both", "beach", ("red", "car"), ("red", "cat"))
    some = [
        due((red,), "beach", ("red", "car")),  # all right
        due((red, blue), None, ("red", "car")),  # things right, setting open, the first counts
        due((blue,), "desert", ("red", "car")),  # setting right only
        due((red,), "desert", ("red", "car"), ("red", "cat")),  # one thing is missing
        due((both, red), None, ("red", "car")),  # one thing too many, setting open
        due((), "beach", ("red", "car")),  # nothing sent
        Prediction("x", "chat", Side(), Side(photos=(red,)), Truth("chat")),  # none is due
        Prediction("x", None, Side(), Side(photos=(red,))),  # nothing is known
    ]
    found = scored(Faithfulness(), some)
    third = pytest.approx(100 / 3)  # of captions too: "A both car." names nothing
    assert {name: (found[name].value, found[name].n) for name in FAITHFUL if name in found} == {
        "caption faithfulness": (third, 6),
        "photo faithfulness": (third, 6),
        "photo faithfulness (sent)": (pytest.approx(40), 5),
        "things faithfulness": (third, 6),
        "setting faithfulness": (pytest.approx(50), 4),
        "setting faithfulness (sent)": (pytest.approx(200 / 3), 3),
    }
    unfixed = {f"{what} faithfulness": f"the talk fixes no {what}" for what in ("number", "light")}
    assert found.reasons == unfixed
    assert found["photo faithfulness"].interval == wilson(2, 6)
    assert "|extractor:photoworld|" in found["photo faithfulness"].signature
    values = Faithfulness().values(some)
    assert values[-2:] == [None, None]
    part = Faithfulness().scores(values[2:3])  # type: ignore[arg-type]
    assert part["things faithfulness"].value == 0 and part["setting faithfulness"].value == 100


def test_a_caption_names_what_it_was_written_for() -> None:
    assert named("Two red cars and a white boat at the beach.") == {
        ("red", "car"),
        ("white", "boat"),
    }
    assert named("Red. Nothing blue here") == frozenset()
    rng = random.Random(0)
    for scene in (sample_scene(rng) for _ in range(300)):
        things = {(thing.colour, thing.kind) for thing in scene.things}
        assert named(scene.caption()) == named(scene.description()) == things


def test_faithfulness_without_photos_is_left_out_or_zero() -> None:
    truth = Truth("share", share=True, things=(("red", "car"),))
    found = scored(Faithfulness(), [instance(truth=truth)])
    assert found["photo faithfulness"].value == 0
    assert found.reasons == {
        "photo faithfulness (sent)": "no photo was sent",
        "number faithfulness": "the talk fixes no number",
        "setting faithfulness": "the talk fixes no setting",
        "setting faithfulness (sent)": "no photo was sent",
        "light faithfulness": "the talk fixes no light",
    }
    assert scored(Faithfulness(), [instance()]) == Scored()
