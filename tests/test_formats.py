"""Single dialogues in the forms of others and of nobody: read, or refused in one sentence."""

from __future__ import annotations

import base64
import contextlib
import json
import shlex
import subprocess
import sys
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pscli.datasets import jsonl, others
from pscli.datasets.formats import parse
from pscli.datasets.records import Dropped, KnownPhoto, digest
from pscli.dialogue.pixels import Encoded
from pscli.dialogue.schema import Dialogue, Photo, Truth, Turn, before, usable
from pscli.errors import DataError
from pscli.predictions.generate import read_dialogue
from test_sources import DIALOGCC_ONE, MMDIALOG_ONE, OURS_ONE, PHOTOCHAT_ONE, damaged, json_values

HERE = Path("photos")
URL = "https://example.org/a%20b/my%20dog.png?size=1"


def png(colour: str) -> bytes:
    file = BytesIO()
    Image.new("RGB", (4, 4), colour).save(file, "PNG")
    return file.getvalue()


DATA_URL = "data:image/png;base64," + base64.b64encode(png("red")).decode()
MMDD = {"dialog": ["Hi", "My dog runs.", "Sweet!"], "replaced_idx": 1, "img_file": "dog.png"}
IMAGE_CHAT = {"image_hash": "0f3a", "dialog": [["Sweet", "So cute!"], ["Stoic", "A dog."]]}
LLAVA = {
    "id": 7,
    "image": ["a/dog.png", "cat.png"],
    "conversations": [
        {"from": "human", "value": "<image>\nWhat is this? And <image>?"},
        {"from": "gpt", "value": "A dog."},
    ],
}
OPENAI = {
    "messages": [
        {"role": "system", "content": "You are kind."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": [{"type": "text", "text": "Look"}], "refusal": None},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What"},
                {"type": "text", "text": "is this?"},
                {"type": "image_url", "image_url": {"url": URL, "detail": "low"}},
                {"type": "input_image", "image_url": DATA_URL},
                {"type": "input_text", "text": "And that?"},
            ],
        },
        {"role": "assistant", "content": None, "tool_calls": []},
    ]
}
OTHERS = {"mmdd": MMDD, "image-chat": IMAGE_CHAT, "llava": LLAVA, "openai": OPENAI}
FORMS = [PHOTOCHAT_ONE, DIALOGCC_ONE, MMDIALOG_ONE, OURS_ONE, *OTHERS.values()]


def said(dialogue: Dialogue) -> list[tuple[str, str, Any]]:
    return [(t.speaker, t.text.strip(), t.photo and t.photo.source) for t in dialogue.turns]


def read(value: Any) -> tuple[Dialogue, Dropped]:
    dropped = Dropped()
    return others.parse(value, HERE, "test", "f, record 3", dropped), dropped


# -- forms of others ---------------------------------------------------------------------------


def test_mmdd_has_a_photo_for_the_sentence_that_it_replaced() -> None:
    dialogue, _ = read(MMDD)
    assert said(dialogue) == [("A", "Hi", None), ("B", "", HERE / "dog.png"), ("A", "Sweet!", None)]
    assert dialogue.photos[0].caption == "My dog runs."


def test_image_chat_is_about_a_photo_that_the_first_one_sends() -> None:
    dialogue, _ = read(IMAGE_CHAT)
    assert said(dialogue) == [
        ("A", "", HERE / "0f3a.jpg"), ("A", "So cute!", None), ("B", "A dog.", None),
    ]  # fmt: skip


def test_llava_has_photos_where_the_marks_are() -> None:
    dialogue, _ = read(LLAVA)
    assert dialogue.id == "7"
    assert said(dialogue) == [
        ("human", "", HERE / "a/dog.png"),
        ("human", "What is this? And", HERE / "cat.png"),
        ("human", "?", None),
        ("gpt", "A dog.", None),
    ]
    one = {"conversations": [{"from": "human", "value": "It is this:<image>"}], "image": "x.png"}
    assert said(read(one)[0]) == [("human", "It is this:", HERE / "x.png")]
    assert said(read({"conversations": [{"from": "gpt", "value": "Hi"}]})[0]) == [
        ("gpt", "Hi", None)
    ]


def test_openai_mixes_texts_and_images() -> None:
    dialogue, dropped = read(OPENAI)
    by_url = HERE / "by-url" / f"{digest(URL)}.jpg"
    assert said(dialogue) == [
        ("user", "Hi", None), ("assistant", "Look", None), ("user", "What is this?", by_url),
        ("user", "", Encoded(png("red"))), ("user", "And that?", None),
    ]  # fmt: skip
    assert dict(dropped.reasons) == {"a message that neither user nor assistant sent": 1}
    first, second = dialogue.photos
    assert isinstance(first, KnownPhoto) and first.urls == (URL,)
    assert second.open().getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (MMDD | {"replaced_idx": 3}, "replaced_idx is no number of a sentence"),
        (MMDD | {"replaced_idx": True}, "replaced_idx is no number of a sentence"),
        (MMDD | {"replaced_idx": -1}, "replaced_idx is no number of a sentence"),
        (MMDD | {"dialog": ["Hi", None, "x"]}, "a text is NoneType, not a string"),
        (MMDD | {"img_file": None}, "a photo has neither a path nor an address"),
        (MMDD | {"img_file": ""}, "a photo has neither a path nor an address"),
        (IMAGE_CHAT | {"image_hash": 3}, "a text is int, not a string"),
        (IMAGE_CHAT | {"dialog": ["Hi"]}, "a message is no pair of personality and text"),
        (LLAVA | {"image": "x.png"}, "a photo has neither a path nor an address"),
        (LLAVA | {"image": ["a", "b", "c"]}, "there are more images than <image> marks"),
        (LLAVA | {"conversations": ["Hi"]}, "a message does not say whom it is from"),
        (LLAVA | {"conversations": [{"from": "a"}]}, "a text is NoneType, not a string"),
        (LLAVA | {"conversations": []}, "there are more images than <image> marks"),
        ({"conversations": []}, "nobody says anything"),
        ({"messages": [{"role": "system", "content": "x"}]}, "nobody says anything"),
        ({"messages": [{"role": "user", "content": 3}]}, "a text is int, not a string"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]},
            "a part of a message is neither a text nor an image_url",
        ),
    ],
)
def test_what_has_another_form_is_refused(value: Any, what: str) -> None:
    with pytest.raises(DataError) as caught:
        read(value)
    assert (
        str(caught.value) == f"f, record 3: {what}. docs/datasets.md shows the forms that are read."
    )


@pytest.mark.parametrize(
    ("address", "what"),
    [
        ("data:image/png;base64,!!!", "a data: address is not in base64"),
        ("data:image/png,%89PNG", "a data: address is not in base64"),
        ("data:image/png;base64,AA", "a data: address is not in base64"),
        ("http://a b", "a photo has an address that cannot be asked for"),
        ({"url": 3}, "a photo has neither a path nor an address"),
    ],
)
def test_photos_that_cannot_be_had_are_refused(address: Any, what: str) -> None:
    part = {"type": "image_url", "image_url": address}
    with pytest.raises(DataError, match=what):
        read({"messages": [{"role": "user", "content": [part]}]})


def test_a_data_address_is_bounded_and_no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    message = {"role": "user", "content": [{"type": "input_image", "image_url": DATA_URL}]}
    monkeypatch.setattr(others, "MAX_BYTES", len(png("red")) - 3)
    with pytest.raises(DataError, match=f"more than {others.MAX_BYTES:,} bytes"):
        read({"messages": [message]})
    monkeypatch.undo()
    eps = BytesIO()
    Image.new("RGB", (4, 4)).save(eps, "EPS")
    message["content"][0]["image_url"] = (  # type: ignore[index]
        "data:image/png;base64," + base64.b64encode(eps.getvalue()).decode()
    )
    (photo,) = read({"messages": [message]})[0].photos
    with pytest.raises(DataError, match="not an image that can be decoded"):
        photo.open()


@pytest.mark.parametrize("name", OTHERS)
def test_photos_of_a_context_lie_beside_it(tmp_path: Path, name: str) -> None:
    for place in ("dog.png", "photos/0f3a.jpg", "a/dog.png", "cat.png", "my dog.png"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_bytes(png("blue"))
    (tmp_path / "d.json").write_text(json.dumps(OTHERS[name]))
    dialogue = read_dialogue(tmp_path / "d.json")
    assert len(dialogue.photos) == {"mmdd": 1, "image-chat": 1, "llava": 2, "openai": 2}[name]
    for place in ("dog.png", "photos/0f3a.jpg", "a/dog.png", "my dog.png"):
        (tmp_path / place).unlink()
    with pytest.raises(DataError, match="does not exist"):
        read_dialogue(tmp_path / "d.json")


@pytest.mark.parametrize("name", OTHERS)
def test_forms_of_others_are_lines_of_a_dataset(tmp_path: Path, name: str) -> None:
    (tmp_path / "train.json").write_text(json.dumps([OTHERS[name], OURS_ONE]))
    dropped = Dropped()
    first, second = jsonl.jsonl().read("train", tmp_path, dropped)
    expected = [
        (who, text, tmp_path / source.relative_to(HERE) if isinstance(source, Path) else source)
        for who, text, source in said(read(OTHERS[name])[0])
    ]
    assert said(first) == expected and first.id == str(OTHERS[name].get("id", 0))
    assert first.photos[0].caption == ("My dog runs." if name == "mmdd" else None)
    assert second.id == "d"
    outside = json.dumps(LLAVA).replace("a/dog.png", "../dog.png")
    (tmp_path / "train.json").write_text(
        json.dumps([json.loads(outside), OURS_ONE, {"dialog": []}])
    )
    (only,) = jsonl.jsonl().read("train", tmp_path, dropped)
    assert only.id == "d"
    assert (
        dropped.reasons[
            "a photo outside the dataset's folder, with its response and all that follow"
        ]
        == 1
    )
    assert dropped.reasons["an unusable record: has no list of turns."] == 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"utterances": ["Hi", "Yo"]}, [("A", "Hi"), ("B", "Yo")]),
        (["Hi", "Yo"], [("A", "Hi"), ("B", "Yo")]),
        ({"n": 3, "log": [{"who": "Al", "says": "Hi you"}]}, [("Al", "Hi you")]),
        ({"log": [{"user": 3, "a": "x", "text": "Hi"}]}, [("3", "Hi")]),
        ({'a "b"': [{"text": "Hi"}, {"text": "Yo"}]}, [("A", "Hi"), ("B", "Yo")]),
    ],
)
def test_another_form_is_refused_with_the_line_that_converts_it(
    tmp_path: Path, value: Any, expected: list[Any]
) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps(value))
    with pytest.raises(DataError, match="has no list of turns") as caught:
        parse(value, tmp_path, "x.json")
    line = caught.value.hint.removeprefix("Convert it: ")
    assert line.startswith("python -c '") and line.endswith("' FILE > dialogue.json")
    command = [sys.executable, *shlex.split(line)[1:3], str(path)]
    out = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    assert [t[:2] for t in said(parse(json.loads(out), tmp_path, "x"))] == expected


def test_what_no_line_converts_is_refused_with_our_form(tmp_path: Path) -> None:
    for value in ({}, [], 3, "x", {"a": 3}, {"a": [3]}, {"'": ["x"]}, {"a": [{"b": 3}]}):
        with pytest.raises(DataError, match=r'Expected \{"turns"'):
            parse(value, tmp_path, "x.json")


# -- odd contexts ------------------------------------------------------------------------------


def context(folder: Path, value: Any) -> Dialogue:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    (folder / "d.json").write_bytes(data)
    return read_dialogue(folder / "d.json")


def test_half_a_character_is_replaced_wherever_it_stands(tmp_path: Path) -> None:
    value = {"id": "d\ud83d", "turns": [{"speaker": "A\udc00", "text": "hi \ud83d \U0001f600"}]}
    dialogue = context(tmp_path, value)
    assert dialogue == Dialogue([Turn("A\ufffd", "hi \ufffd \U0001f600")], "d\ufffd")
    assert Turn("\ud800", "\ud800") == Turn("\ufffd", "\ufffd")
    assert Photo(HERE, "\ud800").caption == "\ufffd"
    assert KnownPhoto(HERE, "\ud800").caption == "\ufffd"
    dropped = Dropped()
    read = jsonl.parse(value, HERE, "test", "f, record 0", dropped)
    assert read is not None and read.turns == dialogue.turns
    assert dict(dropped.reasons) == {"half a character (a lone surrogate)": 1}
    jsonl.parse({"turns": [{"speaker": "A", "text": "\ufffd"}]}, HERE, "test", "f", dropped)
    assert sum(dropped.reasons.values()) == 1  # it came like that


def test_a_byte_order_mark_is_no_letter(tmp_path: Path) -> None:
    data = b"\xef\xbb\xbf" + b'{"turns":[{"speaker":"A","text":"hi"}]}'
    assert said(context(tmp_path, data)) == [("A", "hi", None)]


def test_numbers_name_dialogues_and_speakers_and_a_text_may_be_null(tmp_path: Path) -> None:
    turns = [{"speaker": 0, "text": None}, {"speaker": 1, "text": "hi\x1b[31m"}]
    dialogue = context(tmp_path, {"id": 17, "turns": turns})
    assert dialogue == Dialogue([Turn("0"), Turn("1", "hi\x1b[31m")], "17")
    for name in (None, True, [], {}, ""):
        assert context(tmp_path, {"id": name, "turns": turns}).id == ""
    assert Dialogue.from_json({"id": 10**5000, "turns": turns}, tmp_path).id == ""


@pytest.mark.parametrize(
    ("turn", "what"),
    [
        ({"speaker": True, "text": "x"}, "turn 0: no speaker"),
        ({"speaker": None, "text": "x"}, "turn 0: no speaker"),
        ([], "turn 0: no speaker"),
        ({"speaker": "A", "text": ["x"]}, "turn 0: the text is list, not a string"),
        ({"speaker": "A", "text": None}, "is empty"),
        ({"speaker": "A", "text": " \n"}, "is empty"),
        ({"speaker": "A", "photo": ["x.png"]}, "turn 0: the photo is not a path"),
        ({"speaker": "A", "photo": {"path": "x", "caption": 3}}, "turn 0: the photo is not a path"),
        ({"speaker": "A", "photo": ""}, "is a folder"),
        ({"speaker": "A", "photo": "a\0b"}, "does not exist"),
        ({"speaker": "A", "photo": "x" * 300}, "does not exist"),
        ({"speaker": "A", "text": "x", "truth": {}}, "turn 0: the truth has another form"),
        ({"speaker": "A", "text": "x", "truth": {"kind": []}}, "the truth has another form"),
        ({"speaker": "A", "text": "x", "truth": {"kind": "chat", "x": 1}}, "another form"),
        ({"speaker": "A", "text": "x", "truth": {"kind": "look", "about": 3}}, "another form"),
        ({"speaker": "A", "text": "x", "truth": {"kind": "look", "share": 1}}, "another form"),
        ({"speaker": "A", "text": "x", "truth": {"kind": "a", "things": [["b"]]}}, "another form"),
        ({"speaker": "A", "text": "x", "truth": {"kind": "a", "things": [[{}, 1]]}}, "other form"),
    ],
)
def test_an_odd_turn_is_refused_in_one_sentence(tmp_path: Path, turn: Any, what: str) -> None:
    with pytest.raises(DataError, match=what):
        context(tmp_path, {"turns": [turn]})


def test_a_truth_is_read() -> None:
    value = {"kind": "share", "share": True, "things": [["red", "dog"]], "setting": "beach"}
    (turn,) = parse({"turns": [{"speaker": "A", "text": "x", "truth": value}]}, HERE, "x").turns
    assert turn.truth == Truth("share", True, (("red", "dog"),), "beach")


@pytest.mark.parametrize(
    "data",
    [
        b"", b"[]", b"{}", b"[1, 2]", b"[[]]", b"null", b"[" * 9999, b"\xff", b'{"turns": [',
        b"9" * 9999,
    ],
)  # fmt: skip
def test_what_is_no_dialogue_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(DataError):
        context(tmp_path, data)


def test_a_huge_context_is_read_in_seconds(tmp_path: Path) -> None:
    began = time.process_time()
    turns = [{"speaker": "A", "text": "word " * 20}] * 50_000
    assert len(context(tmp_path, {"turns": turns}).responses[0].text) > 1_000_000
    assert time.process_time() - began < 10


def test_a_photo_of_our_own_form_may_be_the_file_itself() -> None:
    turns = [{"speaker": "A", "photo": {"path": DATA_URL, "caption": "Red."}}]
    (photo,) = Dialogue.from_json({"turns": turns}, Path()).photos
    assert photo.caption == "Red." and photo.open().getpixel((0, 0)) == (255, 0, 0)
    assert isinstance(photo.source, Encoded) and photo.source.address == DATA_URL
    with pytest.raises(DataError, match="turn 0: a data: address is not in base64"):
        Dialogue.from_json({"turns": [{"speaker": "A", "photo": "data:x,y"}]}, Path())


@settings(max_examples=300, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_json_value_is_a_dialogue_or_a_data_error(tmp_path: Path, data: Any) -> None:
    """Values of all kinds, and all known forms with some of their values missing or odd."""
    value = data.draw(json_values | st.sampled_from(FORMS).flatmap(damaged))
    for reader in (parse, Dialogue.from_json):
        with contextlib.suppress(DataError):
            dialogue = reader(value, tmp_path, "x.json")
            json.dumps(dialogue.to_json(iter(map(str, range(99)))), ensure_ascii=False).encode()
            assert not all(turn.blank for turn in dialogue.turns)
    with contextlib.suppress(DataError):
        context(tmp_path, value)


# -- photos that cannot be used -----------------------------------------------------------------


def test_before_a_response_is_what_others_said_last() -> None:
    turns = [
        Turn("A", "1"),
        Turn("B", "2"),
        Turn("A", " "),
        Turn("B", "3"),
        Turn("B"),
        Turn("A", "4"),
    ]
    assert [len(before(turns, i)) for i in range(6)] == [0, 1, 2, 1, 1, 4]


def test_a_dialogue_ends_before_a_photo_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "good.png").write_bytes(png("red"))
    (tmp_path / "bad.png").write_bytes(png("red")[:40])
    good, bad = Photo(tmp_path / "good.png"), Photo(tmp_path / "bad.png")
    turns = [
        Turn("A", "1", good), Turn("B", "2"), Turn("A", "3"), Turn("A", "4", bad), Turn("B", "5"),
    ]  # fmt: skip
    dropped = Dropped()
    whole = Dialogue(turns[:3], "d")
    assert usable(whole, dropped) == whole and not dropped.reasons
    assert usable(Dialogue(turns, "d"), dropped) == Dialogue(turns[:2], "d")
    assert dropped.lines() == [
        "1 × a photo that cannot be used, with the response and all after it, first in dialogue d, "
        f"turn 3 (Photo {tmp_path / 'bad.png'} is not an image that can be decoded)"
    ]
    assert usable(Dialogue(turns, "d"), dropped, lambda photo: None) == Dialogue(turns, "d")


@pytest.mark.parametrize("suffix", [".tif", ".TIFF", ".avif", ".jfif", ".heic"])
def test_a_photo_of_another_format_is_read_or_ends_the_dialogue(suffix: str) -> None:
    photo = {"path": f"photos/k{suffix}", "caption": "A kite."}
    turns = [{"speaker": "A", "text": "Hi"}, {"speaker": "B", "text": "Look!", "photo": photo}]
    value, dropped = {"turns": [*turns, {"speaker": "A", "text": "So pretty."}]}, Dropped()
    dialogue = jsonl.parse(value, HERE, "test", "f, record 0", dropped)
    assert dialogue is not None
    if suffix == ".heic":
        assert said(dialogue) == [("A", "Hi", None)]
        assert dropped.lines() == [
            "1 × a photo whose name is no photo's, with its response and all that follow, "
            "first in f, record 0"
        ]
    else:
        assert len(dialogue.turns) == 3 and not dropped.reasons
        assert dialogue.photos == [Photo(HERE / f"photos/k{suffix}", "A kite.")]


def test_the_documentation_shows_what_is_read(tmp_path: Path) -> None:
    """Its four lines are read, and its line of conversion is the one that is given."""
    text = (Path(__file__).parents[1] / "docs" / "datasets.md").read_text(encoding="utf-8")
    forms, line = text.partition("### Other forms")[2].split("```json\n")[1].split("```\n")[:3:2]
    decoder, found = json.JSONDecoder(), []
    while forms := forms.lstrip():
        value, end = decoder.raw_decode(forms)
        found.append(value)
        forms = forms[end:]
    assert [len(read(value)[0].photos) for value in found] == [1, 1, 1, 1]
    assert line.partition("\n```")[0].strip() == others.conversion({"utterances": ["Hi"]})
