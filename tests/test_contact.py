"""A contact sheet of drawn photos, with a metric that marks them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image
from typer.testing import CliRunner

from pscli.cli import app
from pscli.console import plain
from pscli.errors import DataError
from pscli.files import append_line
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


class Among:
    """Marks photos if it is told of the reply that has none."""

    marks = {"red": "red"}  # noqa: RUF012

    def values(self, predictions: Sequence[Prediction]) -> list[Value | None]:
        whole = any(not p.prediction.photos for p in predictions)
        return [Value("red" in p.id, None) if whole else None for p in predictions]

    def scores(self, values: Sequence[Value]) -> Scored:
        return Scored()


def test_marks_are_those_of_the_whole_folder(tmp_path: Path) -> None:
    """Whichever are shown."""
    some = [replace(p, kind="share" if i < 2 else None) for i, p in enumerate(drawn(tmp_path, 4))]
    for how, count in ({}, 4), ({"kinds": ["share"]}, 2):
        sheet = contact_sheet(some, [Among()], columns=4, **how)
        assert sheet.width == (count * (PHOTO + 14) + 14) * SCALE


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


OWN = """
from pscli.metrics.base import Scored

class Marking:
    marks = {"right": "red"}

    def __init__(self, right=True):
        self.right = right

    def values(self, predictions):
        return [Marking("red" in p.id) for p in predictions]

    def scores(self, values):
        return Scored()
"""


@pytest.fixture
def preds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder of twelve drawn photos, eight of which have a type; and a metric that marks them."""
    monkeypatch.chdir(tmp_path)
    Path("marking_contact.py").write_text(OWN)
    Path("p/images").mkdir(parents=True)
    for i in range(12):
        name = "red" if i % 2 else "blue"
        Image.new("RGB", (64, 64), name).save(f"p/images/{i}.png")
        side = {"text": "", "captions": ["A caption."], "photos": [f"images/{i}.png"]}
        line = {"id": f"{name}/{i}", "reference": {"text": "here"}, "prediction": side}
        append_line(Path("p/predictions.jsonl"), line | ({"kind": "share"} if i < 8 else {}))
    return "p"


def report(*args: str) -> tuple[int, str]:
    own = ["--metric", "marking_contact:Marking"]
    result = CliRunner().invoke(app, ["report", *args, *own])
    return result.exit_code, " ".join(plain(result.output).split())


def test_report_draws_photos_with_their_marks(preds: str) -> None:
    def columns(file: str) -> int:
        with Image.open(file) as picture:
            return picture.width // (PHOTO * SCALE)

    assert report(preds, "--out", "new/x.png", "--photos", "3") == (0, "new/x.png")
    assert report(preds, "--out", "all.png", "--photos", "36") == (0, "all.png")
    assert report(preds, "--out", "some.png", "--photos", "36", "--kind", "share")[0] == 0
    assert columns("new/x.png") == 3 and columns("all.png") == columns("some.png") == 6
    report(preds, "--out", "y.png", "--photos", "3", "--seed", "1")
    assert Path("y.png").read_bytes() != Path("new/x.png").read_bytes()


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        (["p", "--out", "x"], "photos draws those of one folder"),
        (["p", "p", "--out", "x.png"], "photos draws those of one folder"),
        (["--group", "g=p", "--out", "x.png"], "photos draws those of one folder"),
        (
            ["p", "--kind", "vary", "--out", "x.png"],
            "No prediction is of the type 'vary'. Known: share.",
        ),
        (["gone", "--out", "x.png"], "gone has no predictions.jsonl"),
    ],
)
def test_photos_that_cannot_be_drawn_are_told(preds: str, args: list[str], problem: str) -> None:
    code, said = report(*args, "--photos", "4")
    assert code == 2 and problem in said
    assert not Path("x.png").exists() and not Path("x").exists()
