"""Parsing of generated tokens against hand-written replies, and that no word is lost."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pscli.dialogue.reply import Caption, parse

EMPTY = "An [IMG] span was empty; no photo was drawn for it."
UNCLOSED = "An [IMG] span was not closed; its caption ends with the response."
NESTED = "An [IMG] span was not closed before the next one began."
STRAY = "A stray [/IMG] was left out."
PLACE = "A stray <photo> was left out."


def encode(tokenizer: Any, raw: str) -> list[int]:
    """Ids of a string whose marks are marks, as the LLM generates them."""
    return tokenizer(raw, add_special_tokens=False).input_ids


@pytest.mark.parametrize(
    ("raw", "parts", "notes"),
    [
        ("", [], []),
        (" Yes, it is.", ["Yes, it is."], []),
        ("[IMG] A red dog[/IMG]", [Caption("A red dog")], []),
        (" Look[IMG] A dog[/IMG]", ["Look", Caption("A dog")], []),
        ("[IMG] A dog[/IMG] mine", [Caption("A dog"), "mine"], []),
        (
            " a[IMG] b[/IMG] c[IMG] d[/IMG][IMG] e[/IMG] f",
            ["a", Caption("b"), "c", Caption("d"), Caption("e"), "f"],
            [],
        ),
        (" a[IMG] b", ["a", Caption("b")], [UNCLOSED]),
        ("[IMG]", [], [UNCLOSED, EMPTY]),
        (" a[IMG][/IMG] b", ["a", "b"], [EMPTY]),
        (" a[IMG]  [/IMG] b", ["a", "b"], [EMPTY]),
        (" a[/IMG] b", ["a b"], [STRAY]),
        ("[IMG] a[IMG] b[/IMG] c", [Caption("a"), Caption("b"), "c"], [NESTED]),
        ("[IMG] a[/IMG] b[/IMG]", [Caption("a"), "b"], [STRAY]),
        ("[IMG] a<photo> b[/IMG]", [Caption("a b")], [PLACE]),
        ("<pad> a<s>", ["a"], []),
    ],
)
def test_replies_by_hand(tokenizer: Any, raw: str, parts: list[Any], notes: list[str]) -> None:
    assert parse(encode(tokenizer, raw), tokenizer) == (parts, notes)


pieces = st.sampled_from(["[IMG]", "[/IMG]", "<photo>", " dog", " boat", " red", " é", "!"])


@given(st.lists(pieces, max_size=12))
def test_every_word_arrives_in_order(tokenizer: Any, chosen: list[str]) -> None:
    parts, notes = parse(encode(tokenizer, "".join(chosen)), tokenizer)
    said = [part.words if isinstance(part, Caption) else part for part in parts]
    wanted = "".join(piece for piece in chosen if piece not in ("[IMG]", "[/IMG]", "<photo>"))
    assert "".join("".join(said).split()) == "".join(wanted.split())
    assert all(said)
    # Every mark is a span, or there is a note about it.
    captions = sum(isinstance(part, Caption) for part in parts)
    assert captions == chosen.count("[IMG]") - notes.count(EMPTY)
    closed = chosen.count("[/IMG]") - notes.count(STRAY)
    opened = chosen.count("[IMG]") - notes.count(NESTED) - notes.count(UNCLOSED)
    assert closed == opened
    assert notes.count(PLACE) == chosen.count("<photo>")


@given(st.lists(st.integers(0, 319), max_size=30))
def test_any_tokens_can_be_parsed(tokenizer: Any, ids: list[int]) -> None:
    parts, _ = parse([i for i in ids if i < len(tokenizer)], tokenizer)
    assert all(isinstance(part, str | Caption) for part in parts)
