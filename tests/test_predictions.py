"""Folders of predictions: reading, refusing, writing, resuming."""

from __future__ import annotations

import errno
import io
import json
import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from pscli import files
from pscli.dialogue.schema import Photo, Reply, Response, Truth, Turn
from pscli.errors import CheckpointError, DataError
from pscli.files import append_line
from pscli.predictions.folder import FILE_NAME, open_photo, read_predictions
from pscli.predictions.names import file_stem
from pscli.predictions.settings import Settings, read_settings
from pscli.predictions.writer import Writer, writing

SETTINGS = Settings("bundled", "0", "photoworld", "test", 0, 0.0)
RED = Image.new("RGB", (4, 4), "red")


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


def side(**changes: object) -> dict:
    return {"text": "", "captions": [], "photos": []} | changes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("gold", "images"):
        (tmp_path / "preds" / name).mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(tmp_path / "preds" / name / "1.png")
    return tmp_path / "preds"


def write(folder: Path, *records: dict) -> Path:
    for one in records:
        append_line(folder / FILE_NAME, one)
    return folder


# ---------------------------------------------------------------------------- reading


def test_what_is_written_is_read_back(folder: Path) -> None:
    other = record("a/2", kind="look", truth=None, reference=side(text="Ü\u2028b"))
    first, second = read_predictions(write(folder, record(), other))
    assert (first.id, first.kind, first.reference.text) == ("a/1", None, "Here it is.")
    assert first.prediction.raw == "Look! [IMG] A bus. [/IMG]"
    assert first.prediction.notes == ("a note",)
    assert first.prediction.photos == ((folder / "images/1.png").resolve(),)
    assert first.truth is not None and first.truth.things == (("red", "car"),)
    assert (second.kind, second.truth, second.reference.text) == ("look", None, "Ü\u2028b")


def test_a_file_of_others_may_end_without_line_feed_and_begin_with_a_mark(folder: Path) -> None:
    least = {"id": "1", "reference": {"text": "a"}, "prediction": {"text": "b \\ud83d"}}
    text = "\n\r\n".join([json.dumps(least).replace("\\\\", "\\"), json.dumps(record("2"))])
    (folder / FILE_NAME).write_bytes(b"\xef\xbb\xbf" + text.encode())
    first, second = read_predictions(folder)
    assert (first.id, first.prediction.text, second.id) == ("1", "b \ufffd", "2")


def test_an_empty_folder_says_what_is_missing(folder: Path) -> None:
    with pytest.raises(DataError, match=rf"has no {FILE_NAME}\. .*pscli generate"):
        read_predictions(folder)
    (folder / FILE_NAME).write_text("\n")
    with pytest.raises(DataError, match=r"has no predictions\. "):
        read_predictions(folder)


def test_a_photo_is_opened_in_the_name_of_its_instance(folder: Path) -> None:
    assert open_photo(folder / "gold/1.png", "a/1").size == (4, 4)
    (folder / "gold/odd.png").write_text("no image")
    with pytest.raises(DataError, match=r"Instance 'a\\x07/1': Photo .*odd.png is not an image"):
        open_photo(folder / "gold/odd.png", "a\x07/1")


def test_settings_are_those_that_generation_wrote(folder: Path) -> None:
    assert read_settings(folder) is None
    path = folder / "config.json"
    for theirs in ('{"dataset": "photochat"}', "[]", '{"dataset": "photochat", "split": 1}'):
        path.write_text(theirs)
        assert read_settings(folder) is None
    path.write_text('{"agent": "a", "wei')  # half of ours may be
    with pytest.raises(DataError, match="not valid JSON") as told:
        read_settings(folder)
    assert told.value.hint.startswith("Delete it")  # nobody can mend it
    pairs = {"agent": "a", "weights": "w", "dataset": "d", "split": "test", "seed": 0}
    path.write_text(json.dumps(pairs | {"temperature": "hot"}))
    assert read_settings(folder) is None
    path.write_text(json.dumps(pairs | {"temperature": 0}))
    assert read_settings(folder) == Settings("a", "w", "d", "test", 0, 0)


# ---------------------------------------------------------------------------- writing


def said(text: str = "", *photos: Photo, truth: Truth | None = None) -> Response:
    return Response("A", (Turn("A", text, truth=truth), *(Turn("A", "", p) for p in photos)))


def add(writer: Writer, id: str, text: str = "Hi", *drawn: Photo) -> None:
    writer.add(id, said("Oh", Photo(RED, "red")), Reply((text, *drawn), "raw"), filled=False)


def test_a_prediction_and_its_photos_are_written(tmp_path: Path) -> None:
    truth = Truth("share", share=True, things=(("red", "car"),))
    gold = said("Oh", Photo(RED, "a"), Photo(Image.new("RGB", (2, 2)), None), truth=truth)
    reply = Reply(("Hi", Photo(RED, "A car."), "!"), "raw", ("odd",))
    with writing(tmp_path / "p", SETTINGS) as writer:
        writer.add("d/1", gold, reply, filled=True)
    (found,) = read_predictions(tmp_path / "p")
    assert (found.id, found.kind, found.filled, found.truth) == ("d/1", "share", True, truth)
    assert (found.reference.text, found.reference.captions) == ("Oh", ("a", ""))
    assert (found.prediction.text, found.prediction.captions) == ("Hi !", ("A car.",))
    assert (found.prediction.raw, found.prediction.notes) == ("raw", ("odd",))
    names = [path.relative_to(tmp_path / "p") for path in found.reference.photos]
    assert names == [Path("gold/d-1-0.png"), Path("gold/d-1-1.png")]
    assert open_photo(found.prediction.photos[0], "d/1").tobytes() == RED.tobytes()
    assert read_settings(tmp_path / "p") == SETTINGS


def test_half_a_character_does_not_stop_a_run(tmp_path: Path) -> None:
    with writing(tmp_path / "p", SETTINGS) as writer:
        add(writer, "d/1", "half \ud83d")
    assert read_predictions(tmp_path / "p")[0].prediction.text == "half ?"


def test_it_goes_on_after_a_line_that_was_cut_off(tmp_path: Path) -> None:
    out = tmp_path / "p"
    with writing(out, SETTINGS) as writer:
        assert writer.done == set()
        add(writer, "d/1")
        add(writer, "d/2")
    path = out / FILE_NAME
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    with pytest.raises(DataError, match=r"line 2 is not valid JSON.*interrupted run"):
        read_predictions(out)
    with writing(out, SETTINGS) as writer:
        assert writer.done == {"d/1"}
        add(writer, "d/2")
    assert path.read_bytes() == whole


def test_two_generations_do_not_mix(tmp_path: Path) -> None:
    with (
        writing(tmp_path / "p", SETTINGS),
        pytest.raises(CheckpointError, match="Another process is writing predictions in"),
        writing(tmp_path / "p", SETTINGS, overwrite=True),
    ):
        pass
    with writing(tmp_path / "p", SETTINGS) as writer:
        add(writer, "d/1")


def test_what_was_there_stays_until_something_new_is(tmp_path: Path) -> None:
    out, other = tmp_path / "p", Settings("x", "1", "photoworld", "test", 0, 0.0)
    with writing(out, SETTINGS) as writer:
        add(writer, "d/1", "Hi", Photo(RED))
    with pytest.raises(CheckpointError, match="was generated with agent 'bundled', not 'x'; wei"):
        writing(out, other).__enter__()
    with writing(out, other, overwrite=True) as writer:
        assert writer.done == set()
        assert [p.id for p in read_predictions(out)] == ["d/1"]
        add(writer, "d/2")
    assert [p.id for p in read_predictions(out)] == ["d/2"]
    assert read_settings(out) == other
    assert not list((out / "images").glob("*"))


def test_nothing_is_left_where_no_prediction_came(tmp_path: Path) -> None:
    with writing(tmp_path / "p", SETTINGS):
        pass
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize("overwrite", [False, True])
def test_the_folder_of_another_program_is_not_touched(tmp_path: Path, overwrite: bool) -> None:
    """Its config.json is not ours, whatever --overwrite says."""
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "config.json").write_text('{"dataset": "photochat"}')
    problem = "its config.json is not one of ours" if overwrite else "exists already"
    with (
        pytest.raises(CheckpointError, match=problem),
        writing(tmp_path / "p", SETTINGS, overwrite),
    ):
        pass
    assert (tmp_path / "p" / "config.json").is_file()


def test_a_full_disk_is_an_error_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that takes half a line, then nothing: the file is as it was, and the run goes on."""
    out = tmp_path / "p"
    with writing(out, SETTINGS) as writer:
        add(writer, "d/1")
        before = (out / FILE_NAME).read_bytes()

        class Full(io.FileIO):
            def write(self, data: bytes) -> int:  # type: ignore[override]
                if len(data) < 50:
                    raise OSError(errno.ENOSPC, "No space left on device")
                return super().write(data[: len(data) // 2])

        def full(self: Path, mode: str = "r", *args: object, **options: object) -> object:
            return Full(self, "ab+") if mode == "ab+" else whole(self, mode, *args, **options)

        whole = Path.open
        monkeypatch.setattr(files.Path, "open", full)
        with pytest.raises(OSError, match="No space left"):
            add(writer, "d/2")
        assert writer.done == {"d/1"}
    monkeypatch.undo()
    assert (out / FILE_NAME).read_bytes() == before
    with writing(out, SETTINGS) as writer:
        add(writer, "d/2")
    assert [p.id for p in read_predictions(out)] == ["d/1", "d/2"]


def test_a_photo_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(self: Image.Image, file: io.BytesIO, kind: str) -> None:
        file.write(b"\x89PNG")
        raise OSError(errno.ENOSPC, "No space left on device")

    with writing(tmp_path / "p", SETTINGS) as writer:
        monkeypatch.setattr(Image.Image, "save", cut)
        with pytest.raises(OSError, match="No space left"):
            add(writer, "d/1")
    assert [path.name for path in (tmp_path / "p").rglob("*") if path.is_file()] == ["config.json"]


IDS = [
    "d/1", "D/1", "d/11", "d-1/1", "d/1/1", "d-1-1", "a\u0301/1", "á/1", "ａ/1", "con/1", "a:b/1",
    "d/1.", "d/1 ", "../../d/1", "", "/", "\x1b/1", "d\ud83d/1", "d\ud83e/1", "x" * 300 + "/1",
    "x" * 299 + "/11", "Straße/1", "STRASSE/1", "strasse/1", "d~1/1", "d/01",
]  # fmt: skip


def test_files_of_different_ids_differ_on_every_file_system() -> None:
    """Some fold case, some normalise Unicode, some allow few characters or short names."""
    stems = [file_stem(id) for id in IDS]
    folded = {unicodedata.normalize("NFKD", stem).casefold() for stem in stems}
    assert len(folded) == len(IDS)
    assert file_stem("photoworld-test-00012/3") == "photoworld-test-00012-3"
    for stem in stems:
        assert stem.isascii() and stem.isprintable() and len(stem) <= 120
        assert not set(stem) & set('/\\:*?"<>| ')


def test_ids_that_differ_by_case_keep_their_photos(tmp_path: Path) -> None:
    with writing(tmp_path / "p", SETTINGS) as writer:
        for number, id in enumerate(IDS):
            if id.isprintable():
                add(writer, id, "Hi", Photo(Image.new("RGB", (1, 1), (number, 0, 0))))
    for p in read_predictions(tmp_path / "p"):
        (photo,) = p.prediction.photos
        assert open_photo(photo, p.id).getpixel((0, 0)) == (IDS.index(p.id), 0, 0)
