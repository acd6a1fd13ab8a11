"""photoworld with wrong captions, and with shuffled photos: what changes, and what does not."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pscli.datasets.base import named
from pscli.dialogue.schema import Dialogue, Photo
from pscli.dialogue.sequence import Template, seen
from pscli.errors import ConfigError
from pscli.photoworld import noise
from pscli.photoworld.dataset import Photoworld
from pscli.photoworld.noise import KINDS, Noisy, colours, recoloured
from pscli.photoworld.scene import COLOURS
from pscli.registry import NOISE

COUNT = 300


def captions(dialogues: list[Dialogue]) -> list[str]:
    return [photo.caption or "" for d in dialogues for photo in d.photos]


def true_again(dialogues: list[Dialogue], true: list[Dialogue]) -> list[Dialogue]:
    """The dialogues with the captions of others."""
    return [
        noise.with_photos(d, [replace(p, caption=q.caption) for p, q in _pairs(d, t)])
        for d, t in zip(dialogues, true, strict=True)
    ]


def _pairs(one: Dialogue, other: Dialogue) -> list[tuple[Photo, Photo]]:
    return list(zip(one.photos, other.photos, strict=True))


@pytest.mark.parametrize(
    ("caption", "words", "found"),
    [
        ("Red car at the beach.", ["orange"], "Orange car at the beach."),
        ("A red car at the beach.", ["orange"], "An orange car at the beach."),
        ("An orange car and a white boat.", ["yellow", "red"], "A yellow car and a red boat."),
        ("Two small red cars in the forest.", ["blue"], "Two small blue cars in the forest."),
        ("Red cars at the beach.", [""], "Cars at the beach."),
        ("A red apple and an orange boat.", ["", ""], "An apple and a boat."),
        ("a big red umbrella", [""], "a big umbrella"),
        ("A car, hidden in a bored crowd.", [], "A car, hidden in a bored crowd."),
    ],
)
def test_colours_are_replaced_whatever_form_a_caption_has(
    caption: str, words: list[str], found: str
) -> None:
    assert recoloured(caption, words) == found


def test_the_next_colour_of_each_by_hand() -> None:
    told = {c: noise.next_colour(f"A {c} car.", None) for c in COLOURS}  # type: ignore[arg-type]
    assert told == {
        "red": "An orange car.", "orange": "A yellow car.", "yellow": "A green car.",
        "green": "A blue car.", "blue": "A purple car.", "purple": "A pink car.",
        "pink": "A white car.", "white": "A red car.",
    }  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_shares_are_counted_and_lower_ones_lie_in_higher_ones(kind: str) -> None:
    true = captions(Photoworld().load("train", COUNT))
    wrong = {}
    for share in (0, 60, 100):
        told = captions(Noisy(kind, share).load("train", COUNT))
        wrong[share] = {
            n for n, pair in enumerate(zip(told, true, strict=True)) if len({*pair}) > 1
        }
        if share == 60:
            full = captions(Noisy(kind, 100).load("train", COUNT))
            assert all(told[n] == full[n] for n in wrong[60])
    n = len(true)
    assert (len(wrong[0]), len(wrong[100])) == (0, n)
    # Four standard deviations of a binomial of 0.6.
    assert abs(len(wrong[60]) - 0.6 * n) < 4 * (n * 0.6 * 0.4) ** 0.5
    assert wrong[60] < wrong[100]


def test_what_is_wrong_is_of_its_kind() -> None:
    true = captions(Photoworld().load("train", 60))
    names = list(COLOURS)
    for was, now in zip(true, captions(Noisy("next-colour", 100).load("train", 60)), strict=True):
        assert [names.index(c) for c in colours(now)] == [
            (names.index(c) + 1) % 8 for c in colours(was)
        ]
    assert not any(colours(c) for c in captions(Noisy("no-colour", 100).load("train", 60)))


def test_shuffled_captions_are_those_of_other_photos(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise, "DEFAULT_SIZES", {"train": 30})
    donors = set(captions(Photoworld().load("train", 30)))
    told = captions(Noisy("shuffled-captions", 100).load("train", 60))
    assert set(told) <= donors
    assert len(set(told)) > 15


@pytest.mark.parametrize("name", [f"photoworld-{name}" for name in NOISE])
def test_talk_truth_and_photos_are_photoworlds_and_so_are_the_other_splits(name: str) -> None:
    dataset, world = named(name), Photoworld()
    assert dataset.name == name
    assert (dataset.splits, dataset.licence) == (world.splits, world.licence)
    for split in world.splits[1:]:
        assert dataset.load(split, 5) == world.load(split, 5)
    true = world.load("train", 30)
    told = list(dataset.load("train", 30))
    if not name.endswith("shuffled-photos"):
        assert true_again(told, true) == true
    assert [[replace(t, photo=None) for t in d.turns] for d in told] == [
        [replace(t, photo=None) for t in d.turns] for d in true
    ]
    photos = [pair for d, t in zip(told, true, strict=True) for pair in _pairs(d, t)]
    assert all(p.source == q.source for p, q in photos)
    assert [p.open().tobytes() for p, _ in photos[:5]] == [
        q.open().tobytes() for _, q in photos[:5]
    ]


def test_a_dialogue_has_the_same_noise_however_many_are_loaded() -> None:
    for kind in KINDS:
        assert Noisy(kind, 60).load("train", 40)[:9] == Noisy(kind, 60).load("train", 9)


def test_the_control_permutes_what_is_drawn_and_nothing_else(tokenizer: Any) -> None:
    plain, control = (Noisy("next-colour", 60, c).load("train", 40) for c in (False, True))
    assert control == Noisy("next-colour", 60, True).load("train", 40)
    assert captions(control) == captions(plain)
    photos = [photo for d in control for photo in d.photos]
    sources = [repr(photo.source) for photo in photos]
    targets = [repr(photo.target.source) for photo in photos]
    assert sorted(sources) == sorted(targets)
    assert not any(a == b for a, b in zip(sources, targets, strict=True))
    assert [photo.target.caption for photo in photos] == captions(plain)

    template = Template(tokenizer, seen(tokenizer, 3), 2000)
    for one, other in zip(plain, control, strict=True):
        (a,), (b,) = template.pack(one), template.pack(other)
        assert (a.ids, a.labels, a.segments) == (b.ids, b.labels, b.segments)
        assert [p.source for p in a.photos] == [p.source for p in b.photos]  # what contexts show
        drawn = {photo.caption: photo.target.source for photo in other.photos}
        for span in b.captions:
            assert span.photo.source == drawn[span.photo.caption]


def test_any_share_has_a_name_and_others_are_refused() -> None:
    assert named("pscli.photoworld.noise:no-colour-7").name == "photoworld-no-colour-7"
    for wrong in ("no-colour", "no-colour-101", "no-colour-60-shuffled", "-shuffled-photos"):
        with pytest.raises(ConfigError, match=f"has no attribute '{wrong}'"):
            named(f"pscli.photoworld.noise:{wrong}")


def test_a_plain_photo_is_its_own_target(random_photo: Callable[..., Photo]) -> None:
    photo = random_photo(random.Random(0))
    assert photo.target is photo


@pytest.mark.parametrize(
    ("kind", "share", "told"),
    [
        ("next-color", 60, "Unknown kind of noise 'next-color'"),
        ("no-colour", -1, "-1 % of captions cannot be wrong"),
        ("no-colour", 101, "101 % of captions cannot be wrong"),
        ("no-colour", 60.5, "60.5 % of captions cannot be wrong"),
        ("no-colour", float("nan"), "nan % of captions cannot be wrong"),
    ],
)
def test_noise_that_is_none_is_refused(kind: str, share: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Noisy(kind, share)
