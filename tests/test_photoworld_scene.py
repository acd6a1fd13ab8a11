"""Scenes of photoworld: what is drawn, what is said, and which split they fall into."""

from __future__ import annotations

import itertools
import math
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence

import pytest
from PIL import Image, ImageChops, ImageStat

from pscli.photoworld import art
from pscli.photoworld.scene import (
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
    sample_scene,
)

CAR = Scene("street", "night", "big", (Thing("car", "red", 2),), seed=3)
PAIR = Scene(
    "beach", "sunset", "small", (Thing("car", "red", 1, "left"), Thing("boat", "white", 1, "right"))
)

GOLDEN_SPLITS = [
    "train",
    "unseen",
    "train",
    "train",
    "train",
    "dev",
    "dev",
    "train",
    "train",
    "dev",
    "train",
    "train",
    "train",
    "unseen",
    "train",
    "train",
    "train",
    "train",
    "train",
    "train",
    "train",
    "train",
    "train",
    "test",
]


def scenes(count: int, seed: int = 0) -> list[Scene]:
    rng = random.Random(seed)
    return [sample_scene(rng) for _ in range(count)]


def test_the_world_has_the_announced_number_of_everything():
    assert len(KINDS) == len(set(KINDS)) == len(PLURALS) == 32
    assert list(COLOURS) == ["red", "orange", "yellow", "green", "blue", "purple", "pink", "white"]
    assert len(SETTINGS) == len(PLACES) == 8
    assert LIGHTS == ("day", "sunset", "night")
    assert SIDES == ("left", "middle", "right")
    assert SIZES == ("small", "big")
    assert set(art.THINGS) == set(KINDS)
    assert set(art.SETTINGS) == set(SETTINGS)
    assert all(w.isalpha() for w in (*KINDS, *PLURALS.values(), *COLOURS, *SETTINGS))
    assert all(place.endswith(f" the {setting}") for setting, place in PLACES.items())


@pytest.mark.parametrize("size", [64, 256])
def test_the_same_scene_gives_the_same_picture(size):
    first, again = CAR.draw(size), Scene(**vars(CAR)).draw(size)
    assert first.mode == "RGB"
    assert first.size == (size, size)
    assert first.tobytes() == again.tobytes()


def test_pictures_do_not_depend_on_the_process():
    code = (
        "import hashlib, random; from pscli.photoworld.scene import sample_scene as s\n"
        "x = s(random.Random(7)); print(x.key, hashlib.md5(x.draw().tobytes()).hexdigest())"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(runs) == 1


def test_drawing_leaves_the_cached_background_alone():
    empty = CAR.background().tobytes()
    CAR.draw()
    assert CAR.background().tobytes() == empty


def test_seeds_move_things_and_change_the_background():
    others = [Scene(CAR.setting, CAR.light, CAR.size, CAR.things, seed) for seed in range(20)]
    assert len({scene.background().tobytes() for scene in others}) > 3
    assert len({tuple(box for _, box in scene.boxes()) for scene in others}) == 20
    assert len({scene.key for scene in others}) == 1


def test_captions_and_descriptions_read_as_written_by_hand():
    assert CAR.caption() == "Red cars on the street."
    assert CAR.description() == "Two big red cars on the street at night."
    assert PAIR.caption() == "A white boat and a red car at the beach."
    assert PAIR.description() == (
        "A small red car on the left and a small white boat on the right at the beach at sunset."
    )
    alone = Scene("beach", "day", "small", (Thing("umbrella", "orange", 1, "left"),))
    assert alone.caption() == alone.caption(plural=False) == "An orange umbrella at the beach."
    assert alone.caption(plural=True) == "Orange umbrellas at the beach."
    assert alone.description() == "A small orange umbrella on the left at the beach by day."
    three = Scene("mountains", "day", "small", (Thing("butterfly", "pink", 3),))
    assert three.description() == "Three small pink butterflies in the mountains by day."


def test_captions_keep_count_side_size_and_light_to_themselves():
    hidden = {*SIDES, *SIZES, *LIGHTS, "one", "two", "three"}
    for scene in scenes(2000):
        caption = scene.caption()
        assert not hidden & set(caption.lower().strip(".").split())
        assert scene.setting in caption
        for thing in scene.things:
            article = "an" if thing.colour == "orange" else "a"
            one = f"{article} {thing.colour} {thing.kind} "
            many = f"{thing.colour} {PLURALS[thing.kind]} "
            assert (many if thing.count > 1 else one) in caption.lower()
            assert one in scene.caption(plural=False).lower()
    swapped = Scene(
        PAIR.setting,
        "day",
        "big",
        (Thing("boat", "white", 1, "left"), Thing("car", "red", 1, "right")),
    )
    assert swapped.caption() == PAIR.caption()


def test_descriptions_tell_scenes_apart_exactly_as_keys_do():
    sample = scenes(5000)
    assert len({s.description() for s in sample}) == len({s.key for s in sample})
    assert len({(s.description(), s.key) for s in sample}) == len({s.key for s in sample})


def test_keys_ignore_the_seed_and_the_order_of_things():
    turned = Scene(PAIR.setting, PAIR.light, PAIR.size, PAIR.things[::-1], seed=99)
    assert turned.key == PAIR.key
    assert CAR.key == "street|night|big|2 red car middle"


def test_splits_are_stable_and_80_10_10():
    # A change here moves scenes between splits and would void every trained checkpoint.
    assert [scene.split for scene in scenes(24)] == GOLDEN_SPLITS
    counts = Counter(scene.split for scene in scenes(10_000))
    seen = 10_000 - counts["unseen"]
    for split, share in (("train", 0.8), ("dev", 0.1), ("test", 0.1)):
        # Four standard deviations of a binomial share over 8,900 draws: at most 0.017.
        assert abs(counts[split] / seen - share) < 0.017
    # One kind: 1/16. Two: neither thing (15/16 each), nor the pair (15/16), nearly independent.
    share = 0.6 / 16 + 0.4 * (1 - (15 / 16) ** 3)
    assert abs(counts["unseen"] / 10_000 - share) < 0.013


def test_what_is_unseen_is_one_in_sixteen_and_shown_by_no_other_split():
    def split(*things):
        return Scene("beach", "day", "big", things).split

    held = {
        (colour, kind)
        for colour in COLOURS
        for kind in KINDS
        if all(split(Thing(kind, colour, n)) == "unseen" for n in (1, 2, 3))
    }
    assert len(held) == len(COLOURS) * len(KINDS) // 16
    assert Counter(colour for colour, _ in held) == dict.fromkeys(COLOURS, 2)
    assert set(Counter(kind for _, kind in held).values()) == {1}
    free = {kind: next(c for c in COLOURS if (c, kind) not in held) for kind in KINDS}
    apart = [
        (a, b)
        for a, b in itertools.combinations(KINDS, 2)
        if split(Thing(a, free[a], side="left"), Thing(b, free[b], side="right")) == "unseen"
    ]
    assert len(apart) == 8 + 15 + 7  # numbers of two kinds that make 16, 32, 48

    rng = random.Random(0)
    for name in ("train", "dev", "test", "unseen"):
        for _ in range(500):
            things = sample_scene(rng, name).things
            shown = any((t.colour, t.kind) in held for t in things)
            shown |= tuple(sorted(t.kind for t in things)) in apart
            assert shown == (name == "unseen")


def test_no_scene_is_in_two_splits():
    rng = random.Random(0)
    keys = {
        split: {sample_scene(rng, split).key for _ in range(500)}
        for split in ("train", "dev", "test", "unseen")
    }
    assert not keys["train"] & keys["dev"]
    assert not keys["train"] & keys["test"]
    assert not keys["dev"] & keys["test"]


def test_samples_follow_the_announced_shares():
    sample = scenes(10_000)
    duo = [s for s in sample if len(s.things) == 2]
    solo = [s.things[0] for s in sample if len(s.things) == 1]
    assert abs(len(duo) / 10_000 - 0.4) < 0.02
    for count in (1, 2, 3):
        assert abs(sum(t.count == count for t in solo) / len(solo) - 1 / 3) < 0.025
    assert {t.side for t in solo if t.count > 1} == {"middle"}
    assert {t.side for t in solo if t.count == 1} == set(SIDES)
    assert all({t.side for t in s.things} == {"left", "right"} for s in duo)
    assert all(len({t.kind for t in s.things}) == 2 for s in duo)
    assert {t.kind for s in sample for t in s.things} == set(KINDS)
    assert {t.colour for s in sample for t in s.things} == set(COLOURS)
    assert {s.setting for s in sample} == set(SETTINGS)


def test_requests_to_the_sampler_are_met():
    rng = random.Random(0)
    for _ in range(100):
        scene = sample_scene(rng, "train", things=[("blue", "cat")], setting="desert", count=3)
        assert scene.things == (Thing("cat", "blue", 3, "middle"),)
        assert scene.setting == "desert"
        assert sample_scene(rng, count=2).things[0].count == 2
        pair = sample_scene(rng, things=[("blue", "cat"), ("blue", "dog")]).things
        assert {(t.colour, t.kind) for t in pair} == {("blue", "cat"), ("blue", "dog")}


@pytest.mark.parametrize(
    ("things", "count"),
    [([], None), ([("red", "cat"), ("blue", "cat")], None), ([("red", "cat"), ("red", "dog")], 2)],
)
def test_impossible_requests_are_refused(things, count):
    with pytest.raises(ValueError, match="different kinds"):
        sample_scene(random.Random(0), things=things, count=count)


def test_a_split_without_such_a_scene_is_said_so_instead_of_looked_for_for_ever():
    wanted = {"things": [("red", "cat")], "setting": "beach", "count": 3}
    things = (Thing("cat", "red", 3),)
    splits = {Scene("beach", light, size, things).split for light in LIGHTS for size in SIZES}
    absent = next(iter({"train", "dev", "test"} - splits))
    with pytest.raises(LookupError, match=f"No {absent} scene"):
        sample_scene(random.Random(0), absent, **wanted)


def test_boxes_lie_in_the_photo_and_have_the_announced_widths():
    for scene in scenes(3000):
        boxes = scene.boxes()
        assert len(boxes) == sum(thing.count for thing in scene.things)
        crowded = scene.size == "big" and scene.things[0].count == 3
        width = 21 if scene.size == "small" else 26 if crowded else 30
        for _, (x0, y0, x1, y1) in boxes:
            assert 0 <= x0 < x1 <= 1
            assert 0 <= y0 < y1 <= 1
            assert (x1 - x0) * 64 == pytest.approx(width)
            assert (y1 - y0) * 64 == pytest.approx(width)


def test_a_side_is_a_third_of_the_photo():
    for scene in scenes(3000):
        for thing, (x0, _, x1, _) in scene.boxes():
            if thing.count == 1:
                side = SIDES[int((x0 + x1) / 2 * 3)]
                assert side == thing.side


def difference(scene: Scene) -> Image.Image:
    """Where the photo differs visibly from its empty background: 0 or 255 per pixel."""
    change = ImageChops.difference(scene.draw(), scene.background()).convert("L")
    return change.point([0] * 24 + [255] * 232)


def test_things_are_drawn_in_their_boxes_and_nowhere_else():
    for scene in scenes(150):
        change = difference(scene)
        outside = change.copy()
        for _, (x0, y0, x1, y1) in scene.boxes():
            box = tuple(round(edge * 64) for edge in (x0, y0, x1, y1))
            share = ImageStat.Stat(change.crop(box)).mean[0] / 255
            assert share > 0.25, scene.description()
            # Two pixels below are the shadow's.
            outside.paste(0, (box[0] - 1, box[1] - 1, box[2] + 1, box[3] + 3))
        assert outside.getbbox() is None, scene.description()


def seen(colour: str, light: str) -> art.Colour:
    """What a plain surface of that colour looks like in that light."""
    red, green, blue = (
        round(a * b) for a, b in zip(COLOURS[colour], art.THING_TINTS[light], strict=True)
    )
    return red, green, blue


def distance(first: Sequence[int], second: Sequence[int]) -> float:
    return math.dist(first[:3], second[:3])


@pytest.mark.parametrize("light", LIGHTS)
def test_colours_stay_themselves_in_every_light(light):
    for colour in COLOURS:
        ranked = sorted(COLOURS, key=lambda name: distance(seen(colour, light), COLOURS[name]))
        assert ranked[0] == colour
        for other in COLOURS:
            if other != colour:
                assert distance(seen(colour, light), seen(other, light)) > 70, (colour, other)


@pytest.mark.parametrize("light", LIGHTS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_body_has_more_of_its_colour_than_of_any_other(kind, light):
    for colour in COLOURS:
        sprite = art.draw_thing(kind, COLOURS[colour], light, 21)
        pixels = [sprite.getpixel((x, y)) for x in range(21) for y in range(21)]
        votes = {
            name: sum(p[3] > 200 and distance(p, seen(name, light)) < 50 for p in pixels)
            for name in COLOURS
        }
        assert max(votes, key=votes.__getitem__) == colour, (colour, votes)
        assert votes[colour] >= 20, (colour, votes)  # of 441 pixels


@pytest.mark.parametrize("kind", KINDS)
def test_things_fill_their_box_and_stand_on_its_floor(kind):
    alpha = art.draw_thing(kind, COLOURS["red"], "day", 64).getchannel("A")
    x0, y0, x1, y1 = alpha.point([0] * 128 + [255] * 128).getbbox()
    assert x1 - x0 >= 44
    assert y1 >= 57
    assert y1 - y0 >= 40
