"""Dialogues as one text, for text encoders that know none: Sun et al. (2023), §2.1 and Table 3.

The words turn by turn, oldest first; photos leave no trace.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from string import ascii_uppercase
from typing import Any, NamedTuple

from pscli.dialogue.schema import Response


class Message(NamedTuple):
    """The words of one turn. `speaker` is 0 for who spoke first, 1 for the next, and so on."""

    speaker: int
    text: str


Linearise = Callable[[Sequence[Message]], str]


def hashes(messages: Sequence[Message]) -> str:
    """`# text # text`: what served the paper best."""
    return " ".join(f"# {message.text}" for message in messages)


def spaces(messages: Sequence[Message]) -> str:
    """`text text`"""
    return " ".join(message.text for message in messages)


def persons(messages: Sequence[Message]) -> str:
    """`[PER1] text [PER2] text`: marks that are not in CLIP's vocabulary, which cuts them up."""
    return " ".join(f"[PER{message.speaker + 1}] {message.text}" for message in messages)


def letters(messages: Sequence[Message]) -> str:
    """`A: text B: text`; `A:` again after `Z:`."""
    names = ascii_uppercase
    return " ".join(f"{names[m.speaker % len(names)]}: {m.text}" for m in messages)


def messages(responses: Sequence[Response], turns: int | None = None) -> list[Message]:
    """Turns that have words.

    Args:
        turns: How many of the newest; None for all.
    """
    order = {r.speaker: None for r in responses}
    number = {speaker: i for i, speaker in enumerate(order)}
    said = [(r.speaker, " ".join(turn.text.split())) for r in responses for turn in r.turns]
    found = [Message(number[speaker], text) for speaker, text in said if text]
    return found if turns is None else found[-turns:]


def newest_words(text: str, tokenizer: Any) -> str:
    """The longest end of a text, in whole words, that a text encoder can read; a word at least.

    Args:
        tokenizer: Of the text encoder; its `model_max_length` is 77 for CLIP, marks included.
    """
    room = tokenizer.model_max_length - tokenizer.num_special_tokens_to_add()
    words = text.split()

    def fits(first: int) -> bool:
        rest = " ".join(words[first:])
        ids: list[int] = tokenizer(rest, add_special_tokens=False, verbose=False).input_ids
        return bool(len(ids) <= room)

    first = bisect_left(range(len(words)), True, key=fits)
    return " ".join(words[min(first, len(words) - 1) :]) if words else ""
