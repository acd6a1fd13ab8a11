"""Sharing, answers and faithful photos against hand counts; no trained weights."""

from __future__ import annotations

import math
import random
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from pscli.dialogue.schema import Truth
from pscli.errors import DataError
from pscli.metrics.sharing import sharing_accuracy, sharing_scores, wilson
from pscli.photoworld.metrics import (
    FAITHFUL,
    answer_scores,
    faithful_scores,
    look,
    named,
    things_in,
)
from pscli.photoworld.scene import COLOURS, KINDS, SETTINGS, sample_scene
from pscli.predictions.folder import Prediction, Side

COLOUR_NAMES = list(COLOURS)


class Reader(nn.Module):
    """Reads the kinds, colours and setting that `paint` wrote into a photo's outer columns."""

    def forward(self, images: Tensor) -> SimpleNamespace:
        rows = torch.arange(len(images))
        kinds = torch.zeros(len(images), len(KINDS), 1 + len(COLOURS))
        kinds[..., 0] = 1
        for column in (63, 0):
            code = ((images[..., column].mean(-1) + 1) * 127.5 / 5).round().long()
            kind, colour, setting = code.unbind(1)
            kinds[rows, kind, colour] = 2
        settings = torch.zeros(len(images), len(SETTINGS))
        settings[rows, setting] = 1
        return SimpleNamespace(kinds=kinds, settings=settings)


def paint(setting: str, *things: tuple[str, str]) -> Image.Image:
    """A photo of the setting and one or two things: the first on the left, the last right."""
    photo = Image.new("RGB", (32, 32))
    for left, (colour, kind) in zip((0, 16), (things[0], things[-1]), strict=True):
        code = KINDS.index(kind), 1 + COLOUR_NAMES.index(colour), SETTINGS.index(setting)
        photo.paste(tuple(5 * i for i in code), (left, 0, left + 16, 32))
    return photo


def instance(sent: int = 0, due: int = 0, text: str = "", truth: Truth | None = None) -> Prediction:
    photo = Path("never-opened.png")
    return Prediction(
        "x", None, Side(photos=(photo,) * due), Side(text, (), (photo,) * sent), truth
    )


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
    scored = sharing_scores(some)
    assert scored["sharing precision"].value == pytest.approx(75)
    assert scored["sharing recall"].value == pytest.approx(60)
    f1 = scored["sharing F1"]
    assert f1.value == pytest.approx(2 * 75 * 60 / 135)
    low, high = (x / 100 for x in wilson(3, 6))
    assert f1.interval == pytest.approx((200 * low / (1 + low), 200 * high / (1 + high)))
    assert f1.interval[0] < f1.value < f1.interval[1]
    assert scored["sharing precision"].n == 4 and scored["sharing recall"].n == 5
    assert scored["sharing recall"].interval == wilson(3, 5)
    assert sharing_accuracy(some)["sharing accuracy"].value == pytest.approx(70)


def test_sharing_without_photos_is_left_out_with_reasons() -> None:
    scored = sharing_scores([instance(), instance()])
    assert scored.scores == ()
    assert scored.reasons["sharing precision"] == "no photo is predicted"
    assert scored.reasons["sharing recall"] == "no reference has a photo"
    assert "sharing F1" in scored.reasons
    scored = sharing_scores([instance(0, 1)])
    assert (scored["sharing recall"].value, scored["sharing F1"].value) == (0, 0)


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
    scored = answer_scores(some)
    assert scored["answer accuracy"].value == pytest.approx(50)
    assert scored["answer accuracy"].interval == wilson(2, 4)
    assert scored["answer chance"].value == pytest.approx(100 * (3 / 3 + 1 / 2) / 4)
    assert scored["answer majority"].value == pytest.approx(100 * (2 + 1) / 4)
    assert scored["answer accuracy, side"].value == pytest.approx(100 / 3)
    assert scored["answer accuracy, size"].value == pytest.approx(100)
    assert "answer accuracy, light" not in scored
    assert [score.n for score in scored.scores] == [4, 4, 4, 3, 1]


def test_answers_need_questions_and_known_details() -> None:
    assert set(answer_scores([instance()]).reasons) == {
        "answer accuracy",
        "answer chance",
        "answer majority",
    }
    odd = instance(truth=Truth("look", about="mood", answer="good"))
    with pytest.raises(DataError, match=r"asks for mood.*`about` is one of count, "):
        answer_scores([odd])


def test_photoworld_knows_the_values_of_every_detail() -> None:
    truths = [Truth("look", about=a, answer="x") for a in ("count", "side", "size", "light")]
    scored = answer_scores([instance(truth=t) for t in truths])
    assert scored["answer chance"].value == pytest.approx(100 * (1 / 3 + 1 / 3 + 1 / 2 + 1 / 3) / 4)


def test_things_are_read_from_the_logits_in_order() -> None:
    scenes = [
        (
            SETTINGS[i % len(SETTINGS)],
            (COLOUR_NAMES[i % len(COLOURS)], KINDS[i % len(KINDS)]),
            (COLOUR_NAMES[i // 7 % len(COLOURS)], KINDS[(i + 5) % len(KINDS)]),
        )
        for i in range(70)  # more than one batch
    ]
    photos = [paint(*scene) for scene in scenes]
    seen = look(photos, Reader())
    assert [(s.setting, s.things) for s in seen] == [(s, frozenset(t)) for s, *t in scenes]
    assert things_in(photos[:2], Reader()) == [s.things for s in seen[:2]]
    assert look([], Reader()) == []


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
        due((both,), None, ("red", "car")),  # one thing too many, setting open
        due((), "beach", ("red", "car")),  # nothing sent
        Prediction("x", "chat", Side(), Side(photos=(red,)), Truth("chat")),  # none is due
        Prediction("x", None, Side(), Side(photos=(red,))),  # nothing is known
    ]
    scored = faithful_scores(some, Reader())
    assert [(scored[name].value, scored[name].n) for name in FAITHFUL] == [
        (pytest.approx(100 / 3), 6),  # "A red car." for the first two; "A both car." names nothing
        (pytest.approx(100 / 3), 6),
        (pytest.approx(40), 5),
        (pytest.approx(50), 4),
        (pytest.approx(200 / 3), 3),
    ]
    assert scored["photo faithfulness"].interval == wilson(2, 6)
    assert "|extractor:photoworld|" in scored["photo faithfulness"].signature


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
    scored = faithful_scores([instance(truth=truth)])
    assert scored["photo faithfulness"].value == 0
    assert scored.reasons == {
        "photo faithfulness (sent)": "no photo was sent",
        "setting faithfulness": "the talk fixes no setting",
        "setting faithfulness (sent)": "no photo was sent",
    }
    assert set(faithful_scores([instance()]).reasons) == set(FAITHFUL)
