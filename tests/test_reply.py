"""Parsing of generated tokens against hand-written replies, and that no word is lost."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pscli.dialogue.reply import Caption, Speech, parse

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


PIECES = ["[IMG]", "[/IMG]", "<photo>", " dog", " boat", " red", " é", "!"]
pieces = st.sampled_from(PIECES)


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


# ---------------------------------------------------------------------------- word by word


def told(tokenizer: Any, raw: str) -> list[list[str | Caption]]:
    """What is told after each token of a reply, and at its end."""
    found: list[list[str | Caption]] = []
    speech = Speech(tokenizer, lambda part: found[-1].append(part))
    for token in encode(tokenizer, raw):
        found.append([])
        speech.hear(token)
    found.append([])
    speech.end()
    return found


def merged(parts: Iterable[str | Caption]) -> list[str | Caption]:
    """Pieces of text next to one another as one."""
    found: list[str | Caption] = []
    for part in parts:
        if isinstance(part, str) and found and isinstance(found[-1], str):
            found[-1] += part
        else:
            found.append(part)
    return found


@given(st.lists(st.sampled_from([*PIECES, " don", "'t", ".", " .", "\n"]), max_size=12))
def test_what_is_told_is_what_is_parsed(tokenizer: Any, chosen: list[str]) -> None:
    raw = "".join(chosen)
    parts = parse(encode(tokenizer, raw), tokenizer)[0]
    assert merged(part for heard in told(tokenizer, raw) for part in heard) == merged(parts)


def test_words_are_told_when_the_next_begins_and_captions_when_they_end(tokenizer: Any) -> None:
    heard = told(tokenizer, " Look at it[IMG] A red dog[/IMG] on the beach")
    words = [part for parts in heard for part in parts]
    assert words == ["Look", " at", " it", Caption("A red dog"), "on", " the", " beach"]
    tokens = encode(tokenizer, " Look at it[IMG] A red dog[/IMG]")
    assert heard[len(tokens) - 1] == [Caption("A red dog")]  # not before, and not later
    assert not any(isinstance(part, Caption) for part in heard[len(tokens) - 2])
    assert "Look" not in heard[0] and heard[-1] == [" beach"]
