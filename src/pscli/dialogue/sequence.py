"""Chat template, label masks and packing: dialogues as token sequences (Guo et al. 2024, §2.2).

One response reads `A: text [IMG] caption [/IMG] text </s>`. In a *context*, a photo is seen: its
place between [IMG] and [/IMG] is taken by Q visual embeddings (or, in the pipeline, by a caption
as text). In a *target*, a photo is named: its caption is what the LLM must predict. A photo that
nobody can see is named in both.

A dialogue of K responses is packed into one sequence instead of K re-encoded contexts. A response
with photos then stands in it twice: as a target, hidden from all that follows, and as context.
Attention mask and position ids make every loss equal to the one-by-one form.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any, Protocol

from pscli.dialogue.schema import Dialogue, Drop, Photo, Response
from pscli.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IMG, END_IMG, PHOTO = "[IMG]", "[/IMG]", "<photo>"
IGNORE = -100  # label of a position that is not supervised


@dataclass(frozen=True)
class CaptionSpan:
    """A response photo to be drawn: its caption, or the image tokens that it is drawn from, is
    `ids[start:end]`, without [IMG] and [/IMG]."""

    photo: Photo
    start: int
    end: int
    key: str  # identifies the instance, so that its noise can be seeded per example


@dataclass
class Packed:
    """One packed sequence of L tokens.

    Args:
        ids: [L] LLM token ids; the id of `<photo>` where a visual embedding goes.
        labels: [L] the same ids where the token is to be predicted, else IGNORE.
        positions: [L] position ids: the number of tokens that the position can see before itself.
        segments: [L] 0 for context, visible to all that follows; k > 0 for a hidden target.
        photos: Context photos in order; each fills Q `<photo>` positions.
        captions: Response photos that are to be drawn.
        described: How many more there are that nobody can see, and so cannot be drawn.
        dropped: How many of the oldest responses were left out to fit.
        visible: How many tokens what follows can see.
    """

    ids: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    segments: list[int] = field(default_factory=list)
    photos: list[Photo] = field(default_factory=list)
    captions: list[CaptionSpan] = field(default_factory=list)
    described: int = 0
    dropped: int = 0
    visible: int = 0

    def __len__(self) -> int:
        return len(self.ids)

    def append(self, tokens: Sequence[int], supervised: Sequence[bool], segment: int) -> None:
        """Adds tokens after the context, which is all that segment-0 positions hold so far."""
        self.ids += tokens
        self.labels += [t if s else IGNORE for t, s in zip(tokens, supervised, strict=True)]
        self.positions += range(self.visible, self.visible + len(tokens))
        self.segments += [segment] * len(tokens)
        if segment == 0:
            self.visible += len(tokens)


@dataclass(frozen=True)
class Said:
    """One response in tokens: as others see it, and as it is predicted.

    Args:
        named: How many tokens say who speaks; they are never supervised.
        photos: Those that take visual embeddings in the context.
        spans: Where the captions stand in the target.
        described: How many more captions stand there, of photos that nobody can see.
    """

    named: int
    context: list[int]
    photos: list[Photo]
    target: list[int]
    spans: list[CaptionSpan]
    described: int

    @property
    def hidden(self) -> bool:
        """Whether what follows sees something else than what was predicted."""
        return self.target != self.context


class Packs(Protocol):
    """What training needs of a template.

    Args:
        tokenizer: Whose `pad_token_id` fills sequences up.
        max_length: Longest sequence in tokens.
    """

    @property
    def tokenizer(self) -> Any: ...

    @property
    def max_length(self) -> int: ...

    def pack(self, dialogue: Dialogue, drop: Drop = ...) -> list[Packed]:
        """As `Template.pack`."""


@dataclass(frozen=True)
class Template:
    """Turns dialogues into token sequences.

    Args:
        tokenizer: The LLM's tokenizer; it must know [IMG], [/IMG] and `<photo>` as single tokens.
        see: Tokens that stand for a photo in a context: Q times `<photo>` (`seen`), or the tokens
            of a caption (`told`).
        max_length: Longest sequence in tokens.
        tell: Tokens that stand for a photo in a target; those of its caption by default.
    """

    tokenizer: PreTrainedTokenizerBase
    see: Callable[[Photo], list[int]]
    max_length: int = 512
    tell: Callable[[Photo], list[int]] | None = None

    def __post_init__(self) -> None:
        for mark in (IMG, END_IMG, PHOTO):
            if self.tokenizer.convert_tokens_to_ids(mark) in (None, self.tokenizer.unk_token_id):
                raise ConfigError(
                    f"The tokenizer does not know {mark}.",
                    "Add it with `tokenizer.add_special_tokens` and resize the LLM's embeddings.",
                )

    # -- pieces ------------------------------------------------------------------------------

    def id(self, token: str) -> int:
        return token_id(self.tokenizer, token)

    def tokens(self, text: str) -> list[int]:
        """Ids of one piece of text."""
        return plain_ids(self.tokenizer, text)

    @cached_property
    def letters(self) -> list[list[int]]:
        """`A:` to `Z:`"""
        names = [f"{letter}:" for letter in ascii_uppercase]
        return [self.tokenizer(name, add_special_tokens=False).input_ids for name in names]

    def names(self, speakers: Iterable[str]) -> dict[str, list[int]]:
        """`A:` for who spoke first, `B:` for the next, and so on; `A:` again after `Z:`."""
        order = dict.fromkeys(speakers)
        return {speaker: self.letters[i % len(self.letters)] for i, speaker in enumerate(order)}

    def context(self, response: Response, name: list[int]) -> tuple[list[int], list[Photo]]:
        """A response as others see it, and its photos that take visual embeddings.

        Those are none where photos are told in words.
        """
        ids, placed = [*name], []
        for part in response.parts:
            if isinstance(part, str):
                ids += self.tokens(part)
                continue
            place = self.tokens(part.caption or "") if part.missing else self.see(part)
            ids += [self.id(IMG), *place, self.id(END_IMG)]
            if self.id(PHOTO) in place:
                placed.append(part)
        return [*ids, self.tokenizer.eos_token_id], placed

    def target(
        self, response: Response, name: list[int], key: str
    ) -> tuple[list[int], list[CaptionSpan]]:
        """A response as it is predicted: photos as captions, and where those stand that can be
        drawn."""
        ids = [*name]
        spans: list[CaptionSpan] = []
        for part in response.parts:
            if isinstance(part, str):
                ids += self.tokens(part)
                continue
            caption = self.tell(part) if self.tell else self.tokens(part.caption or "")
            start = len(ids) + 1
            ids += [self.id(IMG), *caption, self.id(END_IMG)]
            if not part.missing:
                spans.append(
                    CaptionSpan(part.target, start, start + len(caption), f"{key}/{len(spans)}")
                )
        return [*ids, self.tokenizer.eos_token_id], spans

    def said(self, response: Response, name: list[int], key: str) -> Said:
        """A response in both forms, which are the same where it has no photos."""
        context, photos = self.context(response, name)
        target, spans = self.target(response, name, key) if response.photos else (context, [])
        described = sum(photo.missing for photo in response.photos)
        return Said(len(name), context, photos, target, spans, described)

    # -- whole sequences ---------------------------------------------------------------------

    def pack(self, dialogue: Dialogue, drop: Drop = lambda at, reason: None) -> list[Packed]:
        """All instances of a dialogue in as few sequences as fit, each supervised once.

        The first sequence holds as many responses as fit; each later response gets a sequence of
        its own, with the newest context that fits. What cannot be learnt is context only: a
        response with a photo that nobody captioned, as it would teach the agent to send empty
        captions, and one that is longer than `max_length`.

        Args:
            drop: Told of each instance that is left out: where it is, and why.
        """
        responses = dialogue.responses
        names = self.names(response.speaker for response in responses)
        said = [
            self.said(response, names[response.speaker], f"{dialogue.id}/{i}")
            for i, response in enumerate(responses)
        ]
        if len(said) < 2:
            drop(f"dialogue {dialogue.id}", "a dialogue in which nobody replies")
        wanted = []
        for i in range(1, len(said)):
            if reason := self._unlearnable(responses[i], said[i]):
                drop(f"dialogue {dialogue.id}, response {i}", reason)
            else:
                wanted.append(i)
        together = self._together(said, set(wanted))
        first = [i for i in wanted if i < together]
        sequences = [self._sequence(said, 0, together, set(first))] if first else []
        # Tokens of the contexts before each response: those of a stretch are a difference.
        before = [0, *accumulate(len(s.context) for s in said)]
        for i in wanted[len(first) :]:
            free = self.max_length - 1 - len(said[i].target)
            oldest = bisect_left(before, before[i] - free, hi=i)
            sequences.append(self._sequence(said, oldest, i + 1, {i}))
        return sequences

    def _unlearnable(self, response: Response, said: Said) -> str:
        """Why a response is no instance; empty if it is one."""
        if not learnable(response):
            return "a response with a photo without a caption (it stays as context)"
        if 1 + len(said.target) > self.max_length:
            return (
                f"a response that is longer than max_length {self.max_length} "
                "(raise it with --set sequence.max_length=…)"
            )
        return ""

    def _together(self, said: Sequence[Said], wanted: Container[int]) -> int:
        """How many of the oldest responses fit into one sequence, the `wanted` as targets."""
        length = 1
        for i, s in enumerate(said):
            last = s.target if i in wanted else s.context
            if length + len(last) > self.max_length:
                return i
            length += len(s.context) + (len(s.target) if i in wanted and s.hidden else 0)
        return len(said)

    def _sequence(
        self, said: Sequence[Said], oldest: int, end: int, targets: Container[int]
    ) -> Packed:
        """Responses `oldest` to `end` (without it), of which `targets` are supervised."""
        packed = self.begin(oldest)
        for i in range(oldest, end):
            s = said[i]
            if i in targets:
                packed.captions += [
                    replace(span, start=span.start + len(packed), end=span.end + len(packed))
                    for span in s.spans
                ]
                packed.described += s.described
                supervised = [k >= s.named for k in range(len(s.target))]
                packed.append(s.target, supervised, i if s.hidden else 0)
                if s.hidden and i == end - 1:
                    break  # nothing follows that would see it
            if i not in targets or s.hidden:
                packed.append(s.context, [False] * len(s.context), 0)
            packed.photos += s.photos
        return packed

    def begin(self, dropped: int = 0) -> Packed:
        """What every sequence begins with. Args: dropped: Responses that are left out."""
        packed = Packed(dropped=dropped)
        packed.append([self.tokenizer.bos_token_id], [False], 0)
        return packed

    def prompt(self, responses: Sequence[Response], speaker: str) -> Packed:
        """What the agent reads before it answers as `speaker`: the newest context that fits."""
        names = self.names([*(response.speaker for response in responses), speaker])
        free = self.max_length - 1 - len(names[speaker])
        newest: list[tuple[list[int], list[Photo]]] = []
        for response in reversed(responses):
            context = self.context(response, names[response.speaker])
            free -= len(context[0])
            if free < 0:
                break
            newest.append(context)
        packed = self.begin(len(responses) - len(newest))
        for ids, photos in reversed(newest):
            packed.append(ids, [False] * len(ids), 0)
            packed.photos += photos
        packed.append(names[speaker], [False] * len(names[speaker]), 0)
        return packed


def token_id(tokenizer: Any, token: str) -> int:
    """The id of one token of the vocabulary."""
    return int(tokenizer.convert_tokens_to_ids(token))


def plain_ids(tokenizer: Any, text: str) -> list[int]:
    """Ids of one piece of text; marks that a user typed stay plain characters."""
    ids: list[int] = tokenizer(
        " " + text.strip(), add_special_tokens=False, split_special_tokens=True
    ).input_ids
    return ids


def learnable(response: Response) -> bool:
    """Whether an agent can learn to give this response: all its photos have captions."""
    return all(photo.caption for photo in response.photos)


def seen(tokenizer: Any, count: int) -> Callable[[Photo], list[int]]:
    """Photos in a context are `count` visual embeddings (Eq. 3)."""
    ids = [token_id(tokenizer, PHOTO)] * count
    return lambda photo: ids


def told(
    tokenizer: Any, describe: Callable[[Photo], str] | None = None
) -> Callable[[Photo], list[int]]:
    """Photos in a context are captions, as in the pipeline (§3.1.4).

    Args:
        describe: Words for a photo; by default its gold caption.
    """

    def see(photo: Photo) -> list[int]:
        words = describe(photo) if describe else photo.caption or ""
        return plain_ids(tokenizer, words)

    return see
