"""Folders of predictions: reading, refusing, appending, resuming."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from pscli.errors import DataError
from pscli.predictions.folder import FILE_NAME, append, done_ids, read_predictions


def record(id: str = "a/1", **changes: object) -> dict:
    pairs = {
        "id": id,
        "kind": None,
        "reference": {"text": "Here it is.", "captions": ["A car."], "photos": ["gold/1.png"]},
        "prediction": {
            "text": "Look!",
            "captions": ["A bus."],
            "photos": ["images/1.png"],
            "raw": "Look! [IMG] A bus. [/IMG]",
            "notes": ["a note"],
        },
        "truth": {"kind": "share", "share": True, "things": [["red", "car"]]},
    }
    return pairs | changes


def photos(**changes: object) -> dict:
    return {"text": "", "captions": [], "photos": []} | changes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("gold", "images"):
        (tmp_path / "preds" / name).mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(tmp_path / "preds" / name / "1.png")
    return tmp_path / "preds"


def test_what_is_appended_is_read_back(folder: Path) -> None:
    append(folder, record())
    append(folder, record("a/2", kind="look", truth=None, reference=photos(text="Ü\u2028b")))
    first, second = read_predictions(folder)
    assert (first.id, first.kind, first.reference.text) == ("a/1", None, "Here it is.")
    assert first.prediction.raw == "Look! [IMG] A bus. [/IMG]"
    assert first.prediction.notes == ("a note",)
    assert first.prediction.photos == ((folder / "images/1.png").resolve(),)
    assert first.truth is not None and first.truth.things == (("red", "car"),)
    assert (second.kind, second.truth, second.reference.text) == ("look", None, "Ü\u2028b")


def test_an_empty_folder_says_what_is_missing(folder: Path) -> None:
    with pytest.raises(DataError, match=rf"has no {FILE_NAME}\. .*pscli generate"):
        read_predictions(folder)
    (folder / FILE_NAME).write_text("\n")
    with pytest.raises(DataError, match=r"has no predictions\. "):
        read_predictions(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": 7}, "line 2: `id` is missing or not a string"),
        ({"filled": 1}, "line 2: `filled` is neither true nor false"),
        ({"kind": 7}, "line 2: `kind` is neither a string nor null"),
        ({"prediction": None}, "line 2: `prediction` is missing or not an object"),
        ({"prediction": {"captions": []}}, "line 2, prediction: `text` is missing"),
        ({"reference": photos(captions="x")}, "line 2, reference: `captions` is not a list"),
        ({"truth": {"things": [1]}}, "line 2: `truth` has another form"),
        ({"truth": {"no": 1}}, "line 2: `truth` has another form"),
        ({"truth": ["x"]}, "line 2: `truth` has another form"),
        ({"reference": photos(photos=["gold/2.png"])}, "photo 'gold/2.png' does not exist"),
        ({"reference": photos(photos=["gold"])}, "photo 'gold' does not exist"),
        ({"reference": photos(photos=["../out.png"])}, "photo '../out.png' lies outside"),
        ({"reference": photos(photos=["gold/link.png"])}, "photo 'gold/link.png' lies outside"),
        ({"reference": photos(photos=["gold/bad.png"])}, "photo 'gold/bad.png' is not an image"),
        ({"reference": photos(photos=["gold/cut.png"])}, "photo 'gold/cut.png' is not an image"),
        ({"reference": photos(photos=["a\0b"])}, "line 2, reference: photo"),
        ({"id": "a/1"}, "line 2: id 'a/1' is already on line 1"),
    ],
)
def test_a_bad_line_is_refused_by_its_number(folder: Path, changes: dict, message: str) -> None:
    outside = folder.parent / "out.png"
    Image.new("RGB", (4, 4)).save(outside)
    (folder / "gold/link.png").symlink_to(outside)
    (folder / "gold/bad.png").write_text("no image")
    (folder / "gold/cut.png").write_bytes((folder / "gold/1.png").read_bytes()[:-20])
    append(folder, record())
    append(folder, record("a/2") | changes)
    with pytest.raises(DataError) as caught:
        read_predictions(folder)
    assert message in str(caught.value) and "line 2" in str(caught.value)


def test_an_absolute_path_outside_is_refused(folder: Path) -> None:
    Image.new("RGB", (4, 4)).save(folder.parent / "out.png")
    append(folder, record(reference=photos(photos=[str(folder.parent / "out.png")])))
    with pytest.raises(DataError, match="lies outside"):
        read_predictions(folder)


@pytest.mark.parametrize("line", ["{", "[1]", "\udcff"])
def test_a_line_that_is_no_object_is_refused(folder: Path, line: str) -> None:
    (folder / FILE_NAME).write_bytes(line.encode("utf-8", "surrogateescape") + b"\n")
    for read in (read_predictions, done_ids):
        with pytest.raises(DataError, match="line 1"):
            read(folder)


def test_a_run_resumes_after_a_half_written_line(folder: Path) -> None:
    assert done_ids(folder / "nowhere") == set()
    append(folder, record("a/1"))
    append(folder, record("a/2"))
    path = folder / FILE_NAME
    path.write_bytes(path.read_bytes()[:-30])
    assert done_ids(folder) == {"a/1"}
    with pytest.raises(DataError, match=r"line 2 is not valid JSON.*interrupted run"):
        read_predictions(folder)
    append(folder, record("a/2"))
    assert [p.id for p in read_predictions(folder)] == ["a/1", "a/2"]


def test_a_last_line_without_line_feed_is_kept(folder: Path) -> None:
    (folder / FILE_NAME).write_text(json.dumps(record("a/1")))
    assert done_ids(folder) == {"a/1"}
    append(folder, record("a/2"))
    assert [p.id for p in read_predictions(folder)] == ["a/1", "a/2"]


def test_half_a_character_does_not_stop_a_run(folder: Path) -> None:
    append(folder, record(reference=photos(text="half \ud83d")))
    assert read_predictions(folder)[0].reference.text == "half ?"
