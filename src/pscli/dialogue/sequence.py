"""Chat template, label masks and packing: dialogues as token sequences (Guo et al. 2024, §2.2).

One response reads `A: text [IMG] caption [/IMG] text </s>`. In a *context*, a photo is seen: its
place between [IMG] and [/IMG] is taken by Q visual embeddings (or, in the pipeline, by a caption
as text). In a *target*, a photo is named: its caption is what the LLM must predict.

A dialogue of K responses is packed into one sequence instead of K re-encoded contexts. A response
with photos then stands in it twice: as a target, hidden from all that follows, and as context.
Attention mask and position ids make every loss equal to the one-by-one form.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pscli.dialogue.schema import Dialogue, Photo, Response
from pscli.errors import ConfigError, DataError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IMG, END_IMG, PHOTO = "[IMG]", "[/IMG]", "<photo>"
IGNORE = -100  # label of a position that is not supervised


@dataclass(frozen=True)
class CaptionSpan:
    """A response photo to be drawn: its caption is `ids[start:end]`, without [IMG] and [/IMG]."""

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
        dropped: How many of the oldest responses were left out to fit.
    """

    ids: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    segments: list[int] = field(default_factory=list)
    photos: list[Photo] = field(default_factory=list)
    captions: list[CaptionSpan] = field(default_factory=list)
    dropped: int = 0

    def __len__(self) -> int:
        return len(self.ids)

    def append(self, tokens: Sequence[int], supervised: Sequence[bool], segment: int) -> None:
        """Adds tokens after the context, which is all that segment-0 positions hold so far."""
        seen = (p for p, s in zip(self.positions, self.segments, strict=True) if s == 0)
        start = max(seen, default=-1) + 1
        self.ids += tokens
        self.labels += [t if s else IGNORE for t, s in zip(tokens, supervised, strict=True)]
        self.positions += range(start, start + len(tokens))
        self.segments += [segment] * len(tokens)


@dataclass(frozen=True)
class Template:
    """Turns dialogues into token sequences.

    Args:
        tokenizer: The LLM's tokenizer; it must know [IMG], [/IMG] and `<photo>` as single tokens.
        see: Tokens that stand for a photo in a context: Q times `<photo>` (`seen`), or the tokens
            of a caption (`told`).
        max_length: Longest sequence in tokens.
    """

    tokenizer: PreTrainedTokenizerBase
    see: Callable[[Photo], list[int]]
    max_length: int = 512

    def __post_init__(self) -> None:
        for mark in (IMG, END_IMG, PHOTO):
            if self.tokenizer.convert_tokens_to_ids(mark) in (None, self.tokenizer.unk_token_id):
                raise ConfigError(
                    f"The tokenizer does not know {mark}.",
                    "Add it with `tokenizer.add_special_tokens` and resize the LLM's embeddings.",
                )

    # -- pieces ------------------------------------------------------------------------------

    def id(self, token: str) -> int:
        return int(self.tokenizer.convert_tokens_to_ids(token))

    def tokens(self, text: str) -> list[int]:
        """Ids of one piece of text; marks that a user typed stay plain characters."""
        return self.tokenizer(
            " " + text.strip(), add_special_tokens=False, split_special_tokens=True
        ).input_ids

    def name(self, speaker: str, responses: Sequence[Response]) -> list[int]:
        """`A:` for who spoke first, `B:` for the next, and so on."""
        order = list(dict.fromkeys([r.speaker for r in responses] + [speaker]))
        letter = chr(ord("A") + order.index(speaker) % 26)
        return self.tokenizer(f"{letter}:", add_special_tokens=False).input_ids

    def context(self, response: Response, responses: Sequence[Response]) -> list[int]:
        """A response as others see it: photos in place."""
        ids = self.name(response.speaker, responses)
        for part in response.parts:
            if isinstance(part, str):
                ids += self.tokens(part)
            else:
                ids += [self.id(IMG), *self.see(part), self.id(END_IMG)]
        return [*ids, self.tokenizer.eos_token_id]

    def target(
        self, response: Response, responses: Sequence[Response], key: str
    ) -> tuple[list[int], list[CaptionSpan]]:
        """A response as it is predicted: photos as captions, and where those stand."""
        ids = self.name(response.speaker, responses)
        spans: list[CaptionSpan] = []
        for part in response.parts:
            if isinstance(part, str):
                ids += self.tokens(part)
                continue
            caption = self.tokens(part.caption or "")
            start = len(ids) + 1
            ids += [self.id(IMG), *caption, self.id(END_IMG)]
            spans.append(CaptionSpan(part, start, start + len(caption), f"{key}/{len(spans)}"))
        return [*ids, self.tokenizer.eos_token_id], spans

    # -- whole sequences ---------------------------------------------------------------------

    def pack(self, dialogue: Dialogue) -> list[Packed]:
        """All instances of a dialogue in as few sequences as fit, each supervised once.

        The first sequence holds as many responses as fit; each later response gets a sequence of
        its own, with the newest context that fits. A response with a photo that nobody captioned
        is context only: it would teach the agent to send empty captions.
        """
        responses = dialogue.responses
        wanted = [i for i in range(1, len(responses)) if learnable(responses[i])]
        for count in range(len(responses), 1, -1):
            together = [i for i in wanted if i < count]
            packed = self._sequence(responses[:count], together, dialogue.id)
            if len(packed) <= self.max_length:
                break
        else:
            together = []
        sequences = [packed] if together else []
        later = [i for i in wanted if i not in together]
        return sequences + [self.single(responses, i, dialogue.id) for i in later]

    def single(self, responses: Sequence[Response], index: int, key: str = "") -> Packed:
        """One instance: response `index` supervised, with the newest context that fits.

        Raises:
            DataError: if the response alone is longer than `max_length`.
        """
        for first in range(index + 1):
            shown = responses[: index + 1]
            packed = self._sequence(shown, [index], key, first)
            if len(packed) <= self.max_length:
                return replace(packed, dropped=first)
        raise DataError(
            f"Response {index} of dialogue {key or '?'} has {len(packed)} tokens, "
            f"more than max_length {self.max_length}.",
            "Raise it with --set sequence.max_length=… or shorten the response.",
        )

    def _sequence(
        self, responses: Sequence[Response], targets: Sequence[int], key: str, first: int = 0
    ) -> Packed:
        packed = Packed()
        packed.append([self.tokenizer.bos_token_id], [False], 0)
        for index in range(first, len(responses)):
            response = responses[index]
            context = self.context(response, responses)
            if index in targets:
                ids, spans = self.target(response, responses, f"{key}/{index}")
                named = len(self.name(response.speaker, responses))
                hidden = index if ids != context else 0
                packed.captions += [
                    replace(s, start=s.start + len(packed), end=s.end + len(packed)) for s in spans
                ]
                packed.append(ids, [i >= named for i in range(len(ids))], hidden)
                if not hidden:
                    packed.photos += self._placed(response)
                    continue
            if index < len(responses) - 1 or index not in targets:
                packed.append(context, [False] * len(context), 0)
                packed.photos += self._placed(response)
        return packed

    def prompt(self, responses: Sequence[Response], speaker: str) -> Packed:
        """What the agent reads before it answers as `speaker`: the newest context that fits."""
        name = self.name(speaker, responses)
        for first in range(len(responses) + 1):
            packed = Packed(dropped=first)
            packed.append([self.tokenizer.bos_token_id], [False], 0)
            for response in responses[first:]:
                context = self.context(response, responses)
                packed.append(context, [False] * len(context), 0)
                packed.photos += self._placed(response)
            packed.append(name, [False] * len(name), 0)
            if len(packed) <= self.max_length:
                break
        return packed

    def _placed(self, response: Response) -> list[Photo]:
        """Photos of a response that take visual embeddings (none where they are told in words)."""
        return [p for p in response.photos if self.id(PHOTO) in self.see(p)]


def learnable(response: Response) -> bool:
    """Whether an agent can learn to give this response: all its photos have captions."""
    return all(photo.caption for photo in response.photos)


def seen(tokenizer: Any, count: int) -> Callable[[Photo], list[int]]:
    """Photos in a context are `count` visual embeddings (Eq. 3)."""
    ids = [int(tokenizer.convert_tokens_to_ids(PHOTO))] * count
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
        return tokenizer(
            " " + words.strip(), add_special_tokens=False, split_special_tokens=True
        ).input_ids

    return see
