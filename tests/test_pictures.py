"""Drawn conversations, contact sheets and curves."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageColor

from pscli.dialogue.schema import Photo, Response, Turn
from pscli.report import curves, pictures
from pscli.report.curves import loss_figure, loss_plot
from pscli.report.pictures import contact_sheet, conversation, exchange, wrapped


def said(speaker: str, text: str = "", colour: str | None = None) -> Response:
    photo = Photo(Image.new("RGB", (8, 8), colour)) if colour else None
    return Response(speaker, (Turn(speaker, text, photo),))


def columns_of(image: Image.Image, colour: str) -> list[int]:
    """x of all pixels of exactly that colour."""
    wanted = ImageColor.getrgb(colour)
    pixels = list(zip(*[iter(image.tobytes())] * 3, strict=True))
    return [i % image.width for i, pixel in enumerate(pixels) if pixel == wanted]


def test_bubbles_stand_on_the_side_of_their_speaker() -> None:
    card = conversation([said("A", "hi"), said("B", "ho")])
    left = pictures.MARGIN * pictures.SCALE
    assert min(columns_of(card, pictures.BUBBLES[0])) == left
    right = card.width - pictures.MARGIN * pictures.SCALE - 1
    assert max(columns_of(card, pictures.BUBBLES[1])) == right


def test_replies_have_the_colour_of_their_speaker_and_gold_is_grey() -> None:
    talk = [said("A", "hi"), said("B", "ho")]
    for number, speaker in enumerate("AB"):
        before, first, second, gold = exchange(
            talk, speaker, [(["one"], {}), (["two"], {})], ["three"]
        )
        assert before.width == pictures.WIDTH * pictures.SCALE
        for reply in (first, second):
            assert columns_of(reply, pictures.REPLIES[number])
            assert not columns_of(reply, pictures.REPLIES[1 - number])
        assert columns_of(gold, pictures.GOLD)


def test_marks_stand_below_a_reply_in_their_colours() -> None:
    marks = {"answer": True, "photo sent": False}
    plain, marked = (exchange([], "A", [(["reply"], m)], ["gold"])[1] for m in ({}, marks))
    line = pictures._lines("✓ answer", pictures.font(11), pictures.RIGHT)
    step = line.height + pictures.GAP * pictures.SCALE
    assert marked.height == plain.height + step
    many = exchange([], "A", [(["reply"], {f"{i} of them": True for i in range(9)})], [])[1]
    assert many.width == plain.width and (many.height - plain.height) % step == 0
    for colour in (pictures.RIGHT, pictures.WRONG):
        assert columns_of(marked, colour) and not columns_of(plain, colour)
    assert columns_of(many, pictures.RIGHT) and not columns_of(many, pictures.WRONG)


def test_every_photo_is_shown_at_its_size() -> None:
    photo = Photo(Image.new("RGB", (16, 8), "#00ff00"), "A field.")
    before, reply, _ = exchange([said("A", colour="#ff0000")], "B", [([photo], {})], ["x"])
    red, green = columns_of(before, "#ff0000"), columns_of(reply, "#00ff00")
    small, large = (side * pictures.SCALE for side in (pictures.BEFORE, pictures.PHOTO))
    assert max(red) - min(red) + 1 == small
    # All but what the four round corners cut off.
    corners = 4 * (8 * pictures.SCALE) ** 2
    assert small * small - corners < len(red) < small * small
    assert large * large / 2 - corners < len(green) < large * large / 2


def test_the_caption_of_a_reply_is_printed() -> None:
    photo = Image.new("RGB", (8, 8))
    bare, told = (
        exchange([], "A", [([Photo(photo, caption)], {})], [])[1] for caption in (None, "A dog.")
    )
    assert told.height > bare.height


def test_of_a_long_context_the_end_and_the_photos_are_shown() -> None:
    colours = ["#ff0000", "#00ff00"]
    talk = [
        said("A", "one"),
        said("B", "", colours[0]),
        *(said("AB"[i % 2], "x") for i in range(9)),
    ]
    short = conversation([talk[1], *talk[-pictures.SHOWN :]])
    long = conversation(talk)
    assert columns_of(long, colours[0])
    notes = 2 * (pictures._skipped(5).height + pictures.GAP * pictures.SCALE)
    assert long.height == short.height + notes


def test_an_empty_reply_is_drawn_and_so_are_strange_ones() -> None:
    before, reply, _ = exchange([], "A", [([], {})], [])
    assert before.height > 0 and reply.height > 0
    words = ["[IMG] <b> 你好 🐶 \u202e x\ny\tz", "w" * 500, ""]
    before, *replies = exchange([said("A", words[0])], "B", [(words, {})], words)
    assert before.width == pictures.WIDTH * pictures.SCALE
    widest = max(
        pictures.font(13).getlength(line)
        for line in wrapped(words[1], pictures.font(13), pictures.REPLY * pictures.SCALE)
    )
    for reply in replies:
        assert reply.width >= widest + 2 * (pictures.PADDING + pictures.MARGIN) * pictures.SCALE


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
        {"step": 5, "loss": 2.0, "text": 1.5, "tau": 0.5, "image": 0.0},
        {"step": 5, "epoch": 1.0, "BLEU-2": 7.0, "ROUGE-L": 8.0, "CMMD": 0.25},
        {"step": 9, "epoch": 2.0, "BLEU-2": 7.5},
    ]
    figure = loss_figure(metrics, ["BLEU-2", "FID", "CMMD"])
    axes = figure.axes
    drawn = {a.get_title("left"): a.lines[0].get_xydata().tolist() for a in axes}
    assert drawn == {
        curves.CURVES["loss"]: [[0, 3], [5, 2]],
        curves.CURVES["text"]: [[0, 2], [5, 1.5]],
        curves.CURVES["tau"]: [[0, 1], [5, 0.5]],
        curves.CURVES["grad_llm_from_image"]: [[0, 0.5]],
        "BLEU-2 on dev": [[5, 7], [9, 7.5]],
    }
    assert len({a.get_xlim() for a in axes}) == 1  # a dev score stands where it was taken
    assert [text.get_text() for text in axes[-1].texts] == ["7", "7.5"]
    assert figure.get_supxlabel() == "CMMD on dev: 0.25 at step 5"


def test_losses_are_smoothed_and_every_dev_score_is_a_dot() -> None:
    """The strong line against numpy's convolution, away from its ends."""
    values = np.random.default_rng(0).normal(5, 1, size=200)
    metrics = [{"step": i, "loss": v} for i, v in enumerate(values)]
    metrics += [{"step": 10 * i, "BLEU-2": float(i)} for i in range(20)]
    loss, dev = loss_figure(metrics, ["BLEU-2"]).axes
    pale, strong = loss.lines
    assert pale.get_ydata().tolist() == values.tolist() and pale.get_alpha() < 0.5
    wide = curves.window(200)
    middle = np.convolve(values, np.ones(wide) / wide, "valid")
    found = strong.get_ydata()
    assert wide == 11
    assert found[wide // 2 : wide // 2 + len(middle)] == pytest.approx(middle[: len(found) - 5])
    (dots,) = dev.lines
    assert dots.get_marker() == "o" and len(dots.get_xdata()) == 20


def test_ticks_of_values_over_many_decades_are_powers_and_steps_are_whole() -> None:
    metrics = [{"step": i, "grad_llm_from_image": 100.0**-i} for i in range(3)]
    (axes,) = loss_figure(metrics).axes
    assert axes.get_yscale() == "log"
    assert all(tick == round(tick) for tick in axes.get_xticks())


def test_a_plot_is_saved_even_of_a_diverged_run(tmp_path: Path) -> None:
    metrics = [{"step": i, "loss": v} for i, v in enumerate((1.0, float("inf"), float("nan")))]
    loss_plot(metrics, tmp_path / "loss.png")
    loss_plot([], tmp_path / "empty.png")
    for name in ("loss.png", "empty.png"):
        with Image.open(tmp_path / name) as image:
            assert image.format == "PNG"
