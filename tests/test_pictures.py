"""Drawn conversations, contact sheets and curves."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from PIL import Image, ImageColor

from pscli.dialogue.schema import Photo, Response, Turn
from pscli.report import pictures
from pscli.report.pictures import contact_sheet, conversation, loss_figure, loss_plot, wrapped


def said(speaker: str, text: str = "", colour: str | None = None) -> Response:
    photo = Photo(Image.new("RGB", (8, 8), colour)) if colour else None
    return Response(speaker, (Turn(speaker, text, photo),))


def columns_of(image: Image.Image, colour: str) -> list[int]:
    """x of all pixels of exactly that colour."""
    wanted = ImageColor.getrgb(colour)
    pixels = list(zip(*[iter(image.tobytes())] * 3, strict=True))
    return [i % image.width for i, pixel in enumerate(pixels) if pixel == wanted]


def test_bubbles_stand_on_the_side_of_their_speaker() -> None:
    card = conversation([said("A", "hi"), said("B", "ho")], "A", ["reply"], ["gold"])
    left = pictures.MARGIN * pictures.SCALE
    for colour in (pictures.BUBBLES[0], pictures.REPLIES[0], pictures.GOLD):
        assert min(columns_of(card, colour)) == left
    right = card.width - pictures.MARGIN * pictures.SCALE - 1
    assert max(columns_of(card, pictures.BUBBLES[1])) == right
    assert not columns_of(card, pictures.REPLIES[1])


def test_every_photo_is_shown_at_its_size() -> None:
    photo = Photo(Image.new("RGB", (16, 8), "#00ff00"), "A field.")
    card = conversation([said("A", colour="#ff0000")], "B", [photo], ["x"])
    side = pictures.PHOTO * pictures.SCALE
    red, green = columns_of(card, "#ff0000"), columns_of(card, "#00ff00")
    assert max(red) - min(red) + 1 == side
    # All but what the four round corners cut off.
    corners = 4 * (8 * pictures.SCALE) ** 2
    assert side * side - corners < len(red) < side * side
    assert side * side / 2 - corners < len(green) < side * side / 2


def test_the_caption_of_a_reply_is_printed() -> None:
    photo = Image.new("RGB", (8, 8))
    bare, told = (conversation([], "A", [Photo(photo, caption)]) for caption in (None, "A dog."))
    assert told.height > bare.height


def test_of_a_long_context_the_end_and_the_photos_are_shown() -> None:
    colours = ["#ff0000", "#00ff00"]
    talk = [
        said("A", "one"),
        said("B", "", colours[0]),
        *(said("AB"[i % 2], "x") for i in range(9)),
    ]
    short = conversation([talk[1], *talk[-4:]], "B", ["y"])
    long = conversation(talk, "B", ["y"])
    assert columns_of(long, colours[0])
    notes = 2 * (pictures._skipped(5).height + pictures.GAP * pictures.SCALE)
    assert long.height == short.height + notes


def test_an_empty_reply_is_drawn_and_so_are_strange_ones() -> None:
    assert conversation([], "A", []).height > 0
    words = ["[IMG] <b> 你好 🐶 \u202e x\ny\tz", "w" * 500, ""]
    card = conversation([said("A", words[0])], "B", words, [])
    assert card.width == pictures.WIDTH * pictures.SCALE


def test_lines_are_as_long_as_fits_and_nothing_is_lost() -> None:
    font = pictures.font(13)
    text = "the quick brown fox jumps over the lazy dog " * 3 + "x" * 90
    lines = wrapped(text, font, 200)
    assert all(font.getlength(line) <= 200 for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    for line, after in itertools.pairwise(lines):
        assert font.getlength(f"{line} {after.split()[0]}") > 200
    assert wrapped("", font, 200) == [""]


def test_a_contact_sheet_is_a_grid() -> None:
    small, tall = Image.new("RGB", (50, 20), "#ff0000"), Image.new("RGB", (50, 70), "#0000ff")
    sheet = contact_sheet([[small, tall], [small, small]], ["e2e", "pipeline"])
    assert sheet.size == (100, (36 + 1 + 1) * pictures.SCALE + 70 + 20)
    assert len(columns_of(sheet, "#ff0000")) == 3 * 50 * 20
    assert min(columns_of(sheet, "#0000ff")) == 50
    with pytest.raises(ValueError, match="1 pictures in a row of 2"):
        contact_sheet([[small]], ["a", "b"])


def test_curves_are_those_that_were_logged() -> None:
    metrics = [
        {"step": 0, "loss": 3.0, "text": 2.0, "tau": 1.0, "grad_llm_from_image": 0.5},
        {"step": 5, "loss": 2.0, "text": 1.5, "tau": 0.5},
        {"step": 5, "epoch": 1.0, "BLEU-2": 7.0, "ROUGE-L": 8.0},
    ]
    drawn = {
        axes.get_title(): axes.lines[0].get_xydata().tolist()
        for axes in loss_figure(metrics, ["BLEU-2", "FID"]).axes
    }
    assert drawn == {
        pictures.CURVES["loss"]: [[0, 3], [5, 2]],
        pictures.CURVES["text"]: [[0, 2], [5, 1.5]],
        pictures.CURVES["tau"]: [[0, 1], [5, 0.5]],
        pictures.CURVES["grad_llm_from_image"]: [[0, 0.5]],
        "BLEU-2 on dev": [[5, 7]],
    }


def test_a_plot_is_saved_even_of_a_diverged_run(tmp_path: Path) -> None:
    metrics = [{"step": i, "loss": v} for i, v in enumerate((1.0, float("inf"), float("nan")))]
    loss_plot(metrics, tmp_path / "loss.png")
    loss_plot([], tmp_path / "empty.png")
    for name in ("loss.png", "empty.png"):
        with Image.open(tmp_path / name) as image:
            assert image.format == "PNG"
