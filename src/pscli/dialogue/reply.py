"""From generated tokens to a reply: texts and captions in order. Nothing is lost silently."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

from pscli.dialogue.sequence import END_IMG, IMG, PHOTO, token_id

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase as Tokenizer


@dataclass(frozen=True)
class Caption:
    """Words between [IMG] and [/IMG], from which a photo will be drawn."""

    words: str


Tell = Callable[[str | Caption], object]  # told of a reply, piece by piece


def parse(
    ids: list[int], tokenizer: Tokenizer, wordless: bool = False
) -> tuple[list[str | Caption], list[str]]:
    """Texts and captions of a generated response in order, and notes on what was unusual.

    An [IMG] span that is not closed ends where the response or the next span does; an empty span
    draws nothing.

    Args:
        wordless: Whether photos have no captions: a span is a photo, whatever it holds.
    """
    marks = {token_id(tokenizer, t): t for t in (IMG, END_IMG, PHOTO)}
    parts: list[str | Caption] = []
    notes: list[str] = []
    words: list[int] = []
    inside = False

    def flush() -> None:
        text = str(tokenizer.decode(words, skip_special_tokens=True)).strip()
        words.clear()
        if inside and (text or wordless):
            parts.append(Caption("" if wordless else text))
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


def recaptioned(parts: Sequence[str | Caption], captions: Sequence[str]) -> list[str | Caption]:
    """A reply with just these captions: where it had some, and the rest at its end. In the place of
    a blank one is nothing."""
    left = iter([caption if caption.strip() else "" for caption in captions])
    placed = [next(left, "") if isinstance(part, Caption) else part for part in parts]
    kept = [
        Caption(new) if isinstance(part, Caption) else part
        for part, new in zip(parts, placed, strict=True)
        if new or not isinstance(part, Caption)
    ]
    return [*kept, *(Caption(new) for new in left if new)]


class Speech:
    """A reply while it is written: what no later token can change is told at once.

    Args:
        tell: Called with each piece of a text, whole words with the space before them, and with
            each caption when it is complete. The pieces of a text are the text, one after another.
    """

    def __init__(self, tokenizer: Tokenizer, tell: Tell) -> None:
        self._tokenizer, self._tell = tokenizer, tell
        self._ids: list[int] = []
        self._complete = 0  # parts that were told as a whole
        self._told = ""  # of the one that is being written

    def hear(self, token: int) -> None:
        """Takes the next token of the reply."""
        self._ids.append(token)
        parts = parse(self._ids, self._tokenizer)[0]
        begun, ended = (token == token_id(self._tokenizer, mark) for mark in (IMG, END_IMG))
        # A stray [/IMG] ends nothing.
        self._tell_of(parts, begun or (ended and bool(parts) and isinstance(parts[-1], Caption)))

    def end(self) -> None:
        """Tells what is left: no token follows."""
        self._tell_of(parse(self._ids, self._tokenizer)[0], True)

    def _tell_of(self, parts: Sequence[str | Caption], complete: bool) -> None:
        """Args: complete: Whether the last part is, as all before it are."""
        for number, part in enumerate(parts[self._complete :], start=self._complete + 1):
            whole = complete or number < len(parts)
            if isinstance(part, str):
                self._tell_text(part, whole)
            elif whole:
                self._tell(part)
            if whole:
                self._complete, self._told = number, ""

    def _tell_text(self, text: str, whole: bool) -> None:
        """Tells the words of a text that are new; the last one may still grow."""
        safe = text if whole else " ".join(text.split(" ")[:-1]).rstrip()
        # A tokenizer may take back the space before a full stop, and so what was told.
        pairs = zip(self._told, safe, strict=False)
        begins = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        if whole or begins == len(self._told) < len(safe):
            if safe[begins:]:
                self._tell(safe[begins:])
            self._told = safe
