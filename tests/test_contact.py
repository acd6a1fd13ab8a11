"""A contact sheet of drawn photos, with a metric that marks them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image

from pscli.errors import DataError
from pscli.metrics.base import Scored
from pscli.predictions.folder import Prediction, Side
from pscli.report.contact import PHOTO, RIGHT, WRONG, contact_sheet, verdicts
from pscli.report.pictures import SCALE


class Value(NamedTuple):
    red: bool
    big: bool | None


class Marking:
    """Marks what is red; says nothing of photos of even ids."""

    marks = {"red": "red", "big": "big"}  # noqa: RUF012

    def values(self, predictions: Sequence[Prediction]) -> list[Value | None]:
        return [Value("red" in p.id, None) if p.id[-1] in "13579" else None for p in predictions]

    def scores(self, values: Sequence[Value]) -> Scored:
        return Scored()


class Mute(Marking):
    marks = {}  # noqa: RUF012


def drawn(folder: Path, count: int) -> list[Prediction]:
    some = []
    for i in range(count):
        name = "red" if i % 4 == 1 else "blue"
        path = folder / f"{i}.png"
        Image.new("RGB", (64, 64), name).save(path)
        some.append(Prediction(f"{name}/{i}", None, Side(), Side("", ("A [i]caption.",), (path,))))
    return [*some, Prediction("red/1001", None, Side(), Side("no photo"))]


def test_verdicts_are_those_of_the_metrics(tmp_path: Path) -> None:
    some = drawn(tmp_path, 4)
    assert verdicts(some, [Marking(), Mute()]) == [
        {},
        {"red": True},
        {},
        {"red": False},
        {"red": True},
    ]


def test_the_sheet_holds_what_is_marked_in_order(tmp_path: Path) -> None:
    sheet = contact_sheet(drawn(tmp_path, 20), [Marking()], count=36, columns=4)
    step = (PHOTO + 14) * SCALE
    assert sheet.width == 4 * step + 14 * SCALE
    tall = (sheet.height - 14 * SCALE) // 3  # ten photos, in rows of four
    middle = 14 * SCALE + PHOTO * SCALE // 2
    seen = [
        sheet.getpixel((number % 4 * step + middle, number // 4 * tall + middle))
        for number in range(12)
    ]
    assert seen[:10] == [(255, 0, 0), (0, 0, 255)] * 5
    assert all(colour not in ((255, 0, 0), (0, 0, 255)) for colour in seen[10:])
    colours = {colour for _, colour in sheet.getcolors(1 << 24) or []}
    for mark in (RIGHT, WRONG):
        assert tuple(bytes.fromhex(mark[1:])) in colours


def test_the_same_photos_are_picked_for_the_same_seed(tmp_path: Path) -> None:
    some = drawn(tmp_path, 40)
    sheets = [contact_sheet(some, [Marking()], count=3, seed=seed) for seed in (0, 0, 1, 2, 3)]
    assert sheets[0].tobytes() == sheets[1].tobytes()
    assert len({sheet.tobytes() for sheet in sheets}) > 1


def test_without_marks_there_is_no_sheet(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No drawn photo is marked"):
        contact_sheet(drawn(tmp_path, 4), [Mute()])
