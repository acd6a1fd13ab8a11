"""Packing and prompts in their literal, slow form: everything is written anew for every attempt.

Kept as the oracle of `pscli.dialogue.sequence`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pscli.dialogue.schema import Dialogue, Photo, Response
from pscli.dialogue.sequence import END_IMG, IGNORE, IMG, PHOTO, CaptionSpan, Packed


class Literal:
    def __init__(self, tokenizer: Any, see: Any, max_length: int) -> None:
        self.tokenizer, self.max_length = tokenizer, max_length
        self.see = lambda photo: self.tokens(photo.caption or "") if photo.missing else see(photo)

    def tokens(self, text: str) -> list[int]:
        return self.tokenizer(
            " " + text.strip(), add_special_tokens=False, split_special_tokens=True
        ).input_ids

    def name(self, speaker: str, responses: Sequence[Response]) -> list[int]:
        order = list(dict.fromkeys([r.speaker for r in responses] + [speaker]))
        letter = chr(ord("A") + order.index(speaker) % 26)
        return self.tokenizer(f"{letter}:", add_special_tokens=False).input_ids

    def id(self, mark: str) -> int:
        return self.tokenizer.convert_tokens_to_ids(mark)

    def context(self, response: Response, responses: Sequence[Response]) -> list[int]:
        ids = self.name(response.speaker, responses)
        for part in response.parts:
            if isinstance(part, str):
                ids = ids + self.tokens(part)
            else:
                ids = [*ids, self.id(IMG), *self.see(part), self.id(END_IMG)]
        return [*ids, self.tokenizer.eos_token_id]

    def target(
        self, response: Response, responses: Sequence[Response], key: str
    ) -> tuple[list[int], list[CaptionSpan]]:
        ids = self.name(response.speaker, responses)
        spans: list[CaptionSpan] = []
        for part in response.parts:
            if isinstance(part, str):
                ids = ids + self.tokens(part)
                continue
            caption = self.tokens(part.caption or "")
            start = len(ids) + 1
            ids = [*ids, self.id(IMG), *caption, self.id(END_IMG)]
            span = CaptionSpan(part, start, start + len(caption), f"{key}/{len(spans)}")
            spans += [] if part.missing else [span]
        return [*ids, self.tokenizer.eos_token_id], spans

    def placed(self, response: Response) -> list[Photo]:
        return [p for p in response.photos if self.id(PHOTO) in self.see(p)]

    def too_long(self, responses: Sequence[Response], index: int) -> bool:
        return 1 + len(self.target(responses[index], responses, "")[0]) > self.max_length

    def pack(self, dialogue: Dialogue) -> tuple[list[Packed], list[int]]:
        """Sequences, and the responses that are instances."""
        responses = dialogue.responses
        wanted = [
            i
            for i in range(1, len(responses))
            if all(p.caption for p in responses[i].photos) and not self.too_long(responses, i)
        ]
        for count in range(len(responses), 1, -1):
            together = [i for i in wanted if i < count]
            packed = self.sequence(responses[:count], together, dialogue.id)
            if len(packed) <= self.max_length:
                break
        else:
            together = []
        sequences = [packed] if together else []
        for i in [i for i in wanted if i not in together]:
            for first in range(i + 1):
                packed = self.sequence(responses[: i + 1], [i], dialogue.id, first)
                if len(packed) <= self.max_length:
                    break
            sequences.append(replace(packed, dropped=first))
        return sequences, wanted

    def sequence(
        self, responses: Sequence[Response], targets: Sequence[int], key: str, first: int = 0
    ) -> Packed:
        packed = Packed()
        append(packed, [self.tokenizer.bos_token_id], [False], 0)
        for index in range(first, len(responses)):
            response = responses[index]
            context = self.context(response, responses)
            if index in targets:
                ids, spans = self.target(response, responses, f"{key}/{index}")
                named = len(self.name(response.speaker, responses))
                hidden = index if ids != context else 0
                packed.described += sum(photo.missing for photo in response.photos)
                packed.captions += [
                    replace(s, start=s.start + len(packed), end=s.end + len(packed)) for s in spans
                ]
                append(packed, ids, [i >= named for i in range(len(ids))], hidden)
                if not hidden:
                    packed.photos += self.placed(response)
                    continue
            if index < len(responses) - 1 or index not in targets:
                append(packed, context, [False] * len(context), 0)
                packed.photos += self.placed(response)
        return packed

    def prompt(self, responses: Sequence[Response], speaker: str) -> Packed:
        name = self.name(speaker, responses)
        for first in range(len(responses) + 1):
            packed = Packed(dropped=first)
            append(packed, [self.tokenizer.bos_token_id], [False], 0)
            for response in responses[first:]:
                context = self.context(response, responses)
                append(packed, context, [False] * len(context), 0)
                packed.photos += self.placed(response)
            append(packed, name, [False] * len(name), 0)
            if len(packed) <= self.max_length:
                break
        return packed


def append(packed: Packed, tokens: list[int], supervised: list[bool], segment: int) -> None:
    """Adds tokens after the positions of segment 0, which are searched."""
    seen = [p for p, s in zip(packed.positions, packed.segments, strict=True) if s == 0]
    start = max(seen, default=-1) + 1
    packed.ids += tokens
    packed.labels += [t if s else IGNORE for t, s in zip(tokens, supervised, strict=True)]
    packed.positions += range(start, start + len(tokens))
    packed.segments += [segment] * len(tokens)
    packed.visible = packed.segments.count(0)
