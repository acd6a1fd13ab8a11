"""From generated tokens to a reply: texts and captions in order. Nothing is lost silently."""

from __future__ import annotations

from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase as Tokenizer

from pscli.dialogue.sequence import END_IMG, IMG, PHOTO, token_id


@dataclass(frozen=True)
class Caption:
    """Words between [IMG] and [/IMG], from which a photo will be drawn."""

    words: str


def parse(ids: list[int], tokenizer: Tokenizer) -> tuple[list[str | Caption], list[str]]:
    """Texts and captions of a generated response in order, and notes on what was unusual.

    An [IMG] span that is not closed ends where the response or the next span does; an empty span
    draws nothing.
    """
    marks = {token_id(tokenizer, t): t for t in (IMG, END_IMG, PHOTO)}
    parts: list[str | Caption] = []
    notes: list[str] = []
    words: list[int] = []
    inside = False

    def flush() -> None:
        text = str(tokenizer.decode(words, skip_special_tokens=True)).strip()
        words.clear()
        if inside and text:
            parts.append(Caption(text))
        elif inside:
            notes.append("An [IMG] span was empty; no photo was drawn for it.")
        elif text:
            parts.append(text)

    for token in ids:
        mark = marks.get(token)
        if mark is None:
            words.append(token)
            continue
        if mark == IMG and inside:
            notes.append("An [IMG] span was not closed before the next one began.")
        if mark == END_IMG and not inside:
            notes.append("A stray [/IMG] was left out.")
            continue
        if mark == PHOTO:
            notes.append("A stray <photo> was left out.")
            continue
        flush()
        inside = mark == IMG
    if inside:
        notes.append("An [IMG] span was not closed; its caption ends with the response.")
    flush()
    return parts, notes
