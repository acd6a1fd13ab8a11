"""Which tokens of two vocabularies write the same word of a caption, by its characters.

Guo et al. (2024), §2.4.2, name the word as the unit of alignment and call it too costly. On
character offsets it is one pass over the caption, for any pair of fast tokenizers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import accumulate, pairwise, takewhile
from typing import Any

import torch
from torch import Tensor

Span = tuple[int, int]  # characters start, …, end - 1 of a caption; empty if start == end
Tokenizer = Any  # a fast tokenizer of transformers

# B captions, M LLM tokens, N CLIP tokens, K pairs of tokens, P pairs of a token and one of its
# pieces


def written(tokenizer: Tokenizer, rows: Sequence[Sequence[int]]) -> list[tuple[str, list[Span]]]:
    """The text of each row of token ids, stripped, and the characters that each token writes.

    The ids need not be how the tokenizer itself would cut the text: the LLM samples them. Tokens
    that share a character of several bytes all write it; special tokens write nothing.
    """
    # What a token writes depends on those before it (spaces, bytes), so every beginning is decoded.
    beginnings = [row[:end] for row in rows for end in range(1, len(row) + 1)]
    decoded = iter(tokenizer.backend_tokenizer.decode_batch(beginnings, skip_special_tokens=True))
    special = set(tokenizer.all_special_ids)
    return [_cut([next(decoded) for _ in row], [i in special for i in row]) for row in rows]


def _cut(beginnings: Sequence[str], special: Sequence[bool]) -> tuple[str, list[Span]]:
    """`written` of one row, from the text of each of its beginnings."""
    whole = beginnings[-1] if beginnings else ""
    text = whole.strip()
    indent = len(whole) - len(whole.lstrip())
    spans, start = [], 0
    for beginning, silent in zip(beginnings, special, strict=True):
        end = max(start, _agreeing(beginning, whole))
        first, last = start, end
        if end < len(beginning) and not silent:  # part of a character that later tokens finish
            last = end + 1
        elif end == start and beginning.endswith("\ufffd") and not silent:  # one more broken byte
            first = start - 1
        spans.append((max(0, first - indent), min(max(0, last - indent), len(text))))
        start = end
    return text, [(a, b) if a < b else (0, 0) for a, b in spans]


def _agreeing(a: str, b: str) -> int:
    """Length of the longest common beginning."""
    if b.startswith(a):
        return len(a)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))


def read(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[Span]]:
    """The characters that each of the text encoder's N tokens reads, padded and cut as it is.

    Start, end and padding tokens read nothing. A character that normalisation has merged into the
    one before it, as NFC does with an accent, is read by the token of that one.
    """
    rows = tokenizer(
        list(texts), padding="max_length", truncation=True, return_offsets_mapping=True
    ).offset_mapping
    return [_fill(text, [(a, b) for a, b in row]) for text, row in zip(texts, rows, strict=True)]


def _fill(text: str, spans: list[Span]) -> list[Span]:
    """Spans that also cover the characters, up to a space or the next token, that none covers."""
    starts = sorted({a for a, b in spans if b > a})
    after = dict(pairwise(starts))
    cut = spans[-2:-1] != [(0, 0)]  # no room was left: what follows was not read
    filled = []
    for a, b in spans:
        limit = after.get(a, b if cut else len(text))
        while a < b < limit and not text[b].isspace():
            b += 1
        filled.append((a, b))
    return filled


def number_words(length: int, *sides: Sequence[Span]) -> list[list[int]]:
    """The number of the word of each token on each side; -1 for a token without a character.

    A word is the smallest stretch of the caption's `length` characters that every side cuts out
    whole: characters that one token covers belong together. Where all sides cut a word at the same
    place, its parts count as words.
    """
    inside = [False] * length  # whether a token covers this character and the one before
    for spans in sides:
        for a, b in spans:
            inside[a + 1 : b] = [True] * (b - a - 1)  # none if b <= a + 1
    number = list(accumulate(not joined for joined in inside))
    return [[number[a] - 1 if b > a else -1 for a, b in spans] for spans in sides]


def word_numbers(
    llm: Tokenizer, clip: Tokenizer, ids: Tensor, mask: Tensor
) -> tuple[Tensor, Tensor]:
    """[B, M] and [B, N] numbers of the words of the captions; -1 at tokens without a character.

    Args:
        llm: Tokenizer of the captions `ids` [B, M], unpadded where `mask` [B, M] is True.
        clip: Tokenizer that reads their text.
    """
    rows = [row[keep] for row, keep in zip(ids.cpu(), mask.cpu(), strict=True)]
    texts = written(llm, [row.tolist() for row in rows])
    clip_spans = read(clip, [text for text, _ in texts])
    numbers = [
        number_words(len(text), spans, other)
        for (text, spans), other in zip(texts, clip_spans, strict=True)
    ]
    ours = torch.full(ids.shape, -1)
    for row, (mine, _) in zip(ours, numbers, strict=True):
        row[: len(mine)] = torch.tensor(mine)
    theirs = torch.tensor([other for _, other in numbers]).reshape(len(numbers), -1)
    return ours.to(ids.device), theirs.to(ids.device)


@lru_cache(maxsize=4)
def exact_matches(llm: Tokenizer, clip: Tokenizer) -> Tensor:
    """[K, 2] tokens (i, j) with V^LLM[i] = V^SD[j] (Eq. 8).

    Deviation, Eq. 8: vocabularies spell alike tokens differently ("▁dog", "Ġdog", "dog</w>"), so
    their texts are compared: i matches j if CLIP reads the text of i as the one token j.
    """
    read = _read_alone(llm, clip)
    return _pairs((i, row[0]) for i, row in enumerate(read) if len(row) == 1)


@lru_cache(maxsize=4)
def pieces(llm: Tokenizer, clip: Tokenizer) -> Tensor:
    """[P, 2] tokens (i, j) of which CLIP reads the text of i as some tokens, j one of them.

    In the order of i. A token is read as if it were a word, also one that goes on with a word.
    """
    return _pairs((i, j) for i, row in enumerate(_read_alone(llm, clip)) for j in row)


def _read_alone(llm: Tokenizer, clip: Tokenizer) -> list[list[int]]:
    """How CLIP reads the text of each LLM token by itself.

    Empty for special tokens, white space, parts of characters, and texts of which CLIP reads a part
    as a special token: what it does not know.
    """
    texts = llm.backend_tokenizer.decode_batch(
        [[i] for i in range(len(llm))], skip_special_tokens=True
    )
    special = set(clip.all_special_ids)
    rows = clip([t.strip() for t in texts], add_special_tokens=False).input_ids
    return [
        [] if special & set(row) or "\ufffd" in text else row
        for row, text in zip(rows, texts, strict=True)
    ]


def _pairs(found: Iterable[tuple[int, int]]) -> Tensor:
    return torch.tensor(list(found), dtype=torch.long).reshape(-1, 2)
