"""The schema against hand-written dialogues; broken files against the text of their errors."""

from __future__ import annotations

import json
from itertools import count, pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pscli.dialogue import pixels
from pscli.dialogue.schema import Dialogue, Photo, Reply, Response, Truth, Turn
from pscli.dialogue.sequence import learnable
from pscli.errors import DataError
from pscli.files import read_json

DOG = Photo(Path("dog.png"), "A dog")
CAT = Photo(Path("cat.png"), "A cat")


def test_a_response_keeps_texts_and_photos_in_the_order_of_sending() -> None:
    turns = (
        Turn("A", "Look!", DOG),
        Turn("A", "and"),
        Turn("A", "this\n one", CAT),
        Turn("A", "", DOG),
        Turn("A", "bye"),
    )
    response = Response("A", turns)
    assert response.parts == ["Look!", DOG, "and this one", CAT, DOG, "bye"]
    assert response.text == "Look! and this one bye"
    assert response.photos == [DOG, CAT, DOG]


def test_a_photo_may_come_first_and_alone() -> None:
    assert Response("A", (Turn("A", "", DOG), Turn("A", "mine"))).parts == [DOG, "mine"]
    assert Response("A", (Turn("A", "", DOG),)).parts == [DOG]
    assert Response("A", (Turn("A", "", DOG),)).text == ""


def test_consecutive_turns_of_a_speaker_merge_and_empty_ones_vanish() -> None:
    turns = [
        Turn("A", "Hi"), Turn("A", "there"), Turn("B", "  "), Turn("A", "", DOG),
        Turn("B", "Oh"), Turn("C", "", CAT), Turn("B", "Ha"),
    ]  # fmt: skip
    responses = Dialogue(turns).responses
    assert [(r.speaker, r.parts) for r in responses] == [
        ("A", ["Hi there", DOG]),
        ("B", ["Oh"]),
        ("C", [CAT]),
        ("B", ["Ha"]),
    ]


@given(st.lists(st.tuples(st.sampled_from("AB"), st.text("ab ", max_size=4), st.booleans())))
def test_responses_lose_no_word_and_no_photo(turns: list[tuple[str, str, bool]]) -> None:
    dialogue = Dialogue([Turn(s, text, DOG if shared else None) for s, text, shared in turns])
    responses = dialogue.responses
    assert " ".join(r.text for r in responses).split() == " ".join(t for _, t, _ in turns).split()
    assert [p for r in responses for p in r.photos] == dialogue.photos
    assert all(a.speaker != b.speaker for a, b in pairwise(responses))


def test_the_truth_of_a_response_is_its_last() -> None:
    chat, share = Truth("chat"), Truth("share", True, (("red", "dog"),), "beach")
    turns = (Turn("A", "a", truth=chat), Turn("A", "b", truth=share), Turn("A", "c"))
    assert Response("A", turns).truth == share
    assert Response("A", turns[2:]).truth is None


def test_json_round_trip(tmp_path: Path) -> None:
    truth = Truth("look", things=(("red", "dog"),), about="count", answer="two")
    dialogue = Dialogue(
        (Turn("A", "Look!", Photo(tmp_path / "0.png", "A dog"), truth), Turn("B", "Oh")), "d1"
    )
    pairs = dialogue.to_json(f"{i}.png" for i in count())
    assert pairs == {
        "id": "d1",
        "turns": [
            {
                "speaker": "A", "text": "Look!", "photo": {"path": "0.png", "caption": "A dog"},
                "truth": {
                    "kind": "look", "things": [["red", "dog"]], "about": "count", "answer": "two"
                },
            },
            {"speaker": "B", "text": "Oh"},
        ],
    }  # fmt: skip
    assert Dialogue.from_json(json.loads(json.dumps(pairs)), tmp_path) == dialogue


def test_a_photo_may_be_a_bare_path(tmp_path: Path) -> None:
    pairs = {"turns": [{"speaker": "A", "photo": "dog.jpg"}]}
    assert Dialogue.from_json(pairs, tmp_path).photos == [Photo(tmp_path / "dog.jpg")]
    assert Turn("A", photo="dog.jpg").photo == Photo(Path("dog.jpg"))


FORM = 'Expected {"turns": [{"speaker": "A", "text": "Hi!", "photo": "dog.jpg"}, …]}.'


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([], f"d.json has no list of turns. {FORM}"),
        ({"turns": "Hi"}, f"d.json has no list of turns. {FORM}"),
        ({"turns": []}, "d.json is empty: no turn has a text or a photo. " + FORM),
        ({"turns": [{"text": "Hi"}]}, f"d.json, turn 0: no speaker. {FORM}"),
        (
            {"turns": [{"speaker": "A", "text": 3}]},
            f"d.json, turn 0: the text is int, not a string. {FORM}",
        ),
        (
            {"turns": [{"speaker": "A"}, {"speaker": "A", "photo": {"caption": "x"}}]},
            'd.json, turn 1: the photo is not a path. Expected "photo": "dog.jpg".',
        ),
    ],
)
def test_a_dialogue_of_another_form_is_refused(pairs: object, message: str) -> None:
    with pytest.raises(DataError) as caught:
        Dialogue.from_json(pairs, Path(), "d.json")
    assert str(caught.value) == message


def test_broken_json_is_located(tmp_path: Path) -> None:
    path = tmp_path / "d.json"
    with pytest.raises(DataError, match="does not exist"):
        read_json(path)
    path.write_text('{"turns":\n [1, }', encoding="utf-8")
    with pytest.raises(DataError, match="at line 2, column 6"):
        read_json(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="cannot be read"):
        read_json(path)
    path.write_text("[" * 200_000, encoding="utf-8")
    with pytest.raises(DataError):
        read_json(path)


def test_photos_open_as_rgb(tmp_path: Path) -> None:
    path = tmp_path / "dog.png"
    Image.new("RGBA", (3, 2), (255, 0, 0, 128)).save(path)
    opened = Photo(path).open()
    assert (opened.mode, opened.size) == ("RGB", (3, 2))
    assert opened.getpixel((0, 0)) == (255, 127, 127)  # half of red on white
    grey = Image.new("L", (2, 2), 7)
    assert Photo(grey).open().getpixel((0, 0)) == (7, 7, 7)
    red = Image.new("RGB", (2, 2), "red")
    Photo(red).open().putpixel((0, 0), (0, 0, 0))  # of one's own
    assert Photo(red).open().getpixel((0, 0)) == (255, 0, 0)


def test_photos_that_cannot_be_opened_say_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match="does not exist"):
        Photo(tmp_path / "none.png").open()
    text = tmp_path / "text.png"
    text.write_text("no image", encoding="utf-8")
    with pytest.raises(DataError, match="not an image that can be decoded"):
        Photo(text).open()
    whole = tmp_path / "whole.png"
    Image.effect_noise((40, 40), 50).save(whole)
    (tmp_path / "cut.png").write_bytes(whole.read_bytes()[:300])
    with pytest.raises(DataError, match="not an image that can be decoded"):
        Photo(tmp_path / "cut.png").open()
    monkeypatch.setattr(pixels, "MAX_PIXELS", 1000)
    with pytest.raises(DataError, match="40×40"):
        Photo(whole).open()


def test_a_reply_lists_texts_captions_and_photos() -> None:
    red = Image.new("RGB", (2, 2), "red")
    reply = Reply(("Look!", Photo(red, "A red dog"), "Nice?"))
    assert reply.text == "Look! Nice?"
    assert reply.captions == ["A red dog"]
    assert [p.getpixel((0, 0)) for p in reply.photos] == [(255, 0, 0)]


def test_a_caption_of_blanks_is_none() -> None:
    red = Image.new("RGB", (2, 2), "red")
    assert Photo(red, " \n").caption is None and Photo(red, "").caption is None
    assert not learnable(Response("A", (Turn("A", photo=Photo(red, "  ")),)))


def test_photos_open_as_a_viewer_shows_them(tmp_path: Path) -> None:
    """Oracle: EXIF orientation 6 turns a quarter clockwise; 16-bit 32896 is 8-bit 128."""
    lying = Image.new("RGB", (4, 2), "red")
    exif = Image.Exif()
    exif[0x0112] = 6
    lying.save(tmp_path / "lying.png", exif=exif)
    assert Photo(tmp_path / "lying.png").open().size == (2, 4)
    Image.new("I;16", (2, 2), 32896).save(tmp_path / "deep.png")
    assert Photo(tmp_path / "deep.png").open().getpixel((0, 0)) == (128, 128, 128)


def test_a_turn_is_of_strings_and_a_photo_may_be_named_by_one() -> None:
    for speaker, text, told in ((None, "a", "speaker"), ("A", None, "text"), ("A", 3, "text")):
        with pytest.raises(DataError, match=rf"^The {told} of a turn is .*, not a string"):
            Turn(speaker, text)  # type: ignore[arg-type]
    assert Photo("a/b.png") == Photo(Path("a/b.png"))  # type: ignore[arg-type]
