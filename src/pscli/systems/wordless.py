"""Photos that are drawn from hidden states of the LLM, not from a caption: tokens of its own
(`Voken`) or queries that it reads (`Queries`).

MiniGPT-5: Zheng et al. (2023), *Interleaved Vision-and-Language Generation via Generative Vokens*;
GILL: Koh et al. (2023), *Generating Images with Multimodal Language Models*; MetaQueries: Pan et
al. (2025), *Transfer between Modalities with MetaQueries*.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

import torch
from PIL.Image import Image
from torch import Tensor
from torch.nn import functional as F
from transformers import LogitsProcessor

from pscli.components.llm import LanguageModel
from pscli.components.load import Load
from pscli.components.mapper import Connector, Mapper
from pscli.components.noise import seeded
from pscli.components.perceptron import Perceptron
from pscli.components.readiness import Follow
from pscli.config import ModelConfig
from pscli.dialogue.batch import Batch
from pscli.dialogue.reply import Caption, parse
from pscli.dialogue.schema import Dialogue, Drop, Photo, Response
from pscli.dialogue.sequence import END_IMG, IGNORE, IMG, CaptionSpan, Packed, Template, token_id
from pscli.errors import CheckpointError, ConfigError
from pscli.systems.base import Losses, Part, Written, fitting, text_loss
from pscli.systems.seeing import Seeing

if TYPE_CHECKING:
    from pscli.components.generator import StableDiffusion

# B sequences, L tokens, D LLM width; C photos of T image tokens; N tokens and W width of a caption


class Wordless(Seeing):
    """The LLM says that a photo is sent, by [IMG]; what it shows is a matter of T hidden states.

    Args:
        mapper: From hidden states to the generator's text encoder.
        tokens: T.
        align: Weight of the caption loss.
    """

    captioned = False
    generator: StableDiffusion
    kept: ClassVar[tuple[str, ...]]  # of the generator, what does not train

    def __init__(
        self,
        perceptron: Perceptron,
        llm: LanguageModel,
        mapper: Mapper,
        generator: StableDiffusion,
        tokens: int,
        align: float = 0.1,
    ) -> None:
        super().__init__()
        self.perceptron, self.llm, self.generator = perceptron, llm, generator
        self.mapper, self.tokens, self.align = mapper, tokens, align
        fitting(perceptron, llm)

    def parts(self) -> dict[str, Part]:
        return {
            "perceptron": Part(self.perceptron, frozen=("vision.",)),
            "llm": Part(self.llm),
            "mapper": Part(self.mapper),
            "generator": Part(self.generator, frozen=self.kept),
        }

    def forward(self, batch: Batch, tau: float, seed: str) -> Losses:
        """L^t, and L^v with the caption loss beside it (MiniGPT-5: L_LDM + λ L_CAP)."""
        places = [(row, span.start) for row, span in batch.captions]
        embeddings = self.asked(self.embed(batch.ids, batch.seen), places)
        hidden = self.llm.hidden(embeddings, batch.mask, batch.positions)
        text = text_loss(self.llm, hidden, batch)
        if not batch.captions:
            return self.undrawn(text)
        told = self.mapper(self.states(hidden, places))
        keys = [span.key for _, span in batch.captions]
        noise = self.generator.draw_noise([seeded(seed, key, "diffusion") for key in keys])
        with torch.no_grad():
            empty = self.generator.encode([""])
            gold = self.generator.encode([span.photo.caption or "" for _, span in batch.captions])
        # Dropped for classifier-free guidance: there the generator draws as from no caption.
        read = torch.where(noise.dropped[:, None, None], empty, told.to(empty.dtype))
        assert batch.drawn is not None  # `prepare` made them
        image = self.generator.denoising(read, batch.drawn, noise)
        aligned = F.mse_loss(told.float(), gold.float(), reduction="none").mean((1, 2))
        return Losses(text, (image + self.align * aligned).sum())

    def states(self, hidden: Tensor, places: Sequence[tuple[int, int]]) -> Tensor:
        """[C, T, D] of the image tokens. Args: places: Row and first token of each photo's."""
        return torch.stack([hidden[row, start : start + self.tokens] for row, start in places])

    def asked(self, embeddings: Tensor, places: Sequence[tuple[int, int]]) -> Tensor:
        """[B, L, D] embeddings, with those of image tokens in their places."""
        return embeddings

    def spelt(self, ids: Sequence[int]) -> tuple[list[int], list[int]]:
        """A reply as the LLM has read it once its photos are due, and where the image tokens of
        each begin."""
        raise NotImplementedError

    def parsed(self, ids: list[int]) -> tuple[list[str | Caption], list[str]]:
        return parse(ids, self.llm.tokenizer, wordless=True)

    def illustrate(self, written: Sequence[Written], seed: int, best_of: int) -> list[Image]:
        if best_of > 1:
            self.likelihoods([], [])
        told = [self.conditions(reply) for reply in written if reply.wanted]
        if not told:
            return []
        keys = [key for reply in written for key, _ in reply.wanted]
        return self.generator.draw(torch.cat(told), [seeded(seed, *key) for key in keys])

    @torch.no_grad()
    def conditions(self, reply: Written) -> Tensor:
        """[C, N, W] what the photos of a reply are drawn from. Each reply is read alone."""
        ids, starts = self.spelt(reply.ids)
        before = len(reply.prompt.embeddings)
        places = [(0, before + start) for start in starts]
        words = self.llm.embed(self.llm.ids(ids))
        embeddings = self.asked(torch.cat([reply.prompt.embeddings, words])[None], places)
        # What positions do not reach: the oldest of the context.
        lost = max(0, embeddings.shape[1] - (self.llm.positions or embeddings.shape[1]))
        embeddings, places = embeddings[:, lost:], [(0, start - lost) for _, start in places]
        told: Tensor = self.mapper(self.states(self.llm.read(embeddings), places))
        return told

    def likelihoods(self, captions: Sequence[str], photos: Sequence[Photo]) -> Tensor:
        raise ConfigError(
            "This agent draws from no caption, so it cannot choose the drawing that fits it best.",
            "Draw each photo once: leave out --best-of.",
        )


class Voken(Wordless):
    """T new tokens of the LLM's vocabulary, [IMG1] … [IMGT], stand where a photo is due.

    They are learnt as words are (MiniGPT-5), and follow [IMG] of themselves when a reply is
    written, as all of GILL's do after the first.
    """

    kept = ("",)  # all of it, as in both papers

    @classmethod
    def build(cls, config: ModelConfig, load: Load) -> Self:
        count = config.image_tokens
        llm, generator = load("llm", marks=vokens(count)), load("generator")
        if load.folder and llm.taught:
            raise CheckpointError(
                f"The llm in {load.folder / 'llm'} does not know {llm.taught[0]}.",
                f"Expected one that was trained with model.image_tokens={count}: copy the agent's "
                "folder again.",
            )
        perceptron = load("perceptron", width=llm.width)
        length, width = reads(generator)
        mapper = load.made("mapper", lambda: Mapper(llm.width, length, width))
        return cls(perceptron, llm, mapper, generator, count, config.align)

    @property
    def ids(self) -> list[int]:
        """[T] of the image tokens."""
        return [token_id(self.llm.tokenizer, voken) for voken in vokens(self.tokens)]

    def template(self, max_length: int) -> Template:
        ids = self.ids
        return replace(super().template(max_length), tell=lambda photo: ids)

    def rules(self) -> list[LogitsProcessor]:
        tokenizer = self.llm.tokenizer
        return [Follow(token_id(tokenizer, IMG), [*self.ids, token_id(tokenizer, END_IMG)])]

    def spelt(self, ids: Sequence[int]) -> tuple[list[int], list[int]]:
        """A reply that was cut off among its image tokens is completed."""
        mark = token_id(self.llm.tokenizer, IMG)
        starts = [place + 1 for place, token in enumerate(ids) if token == mark]
        missing = self.tokens - (len(ids) - starts[-1])
        return [*ids, *(self.ids[-missing:] if missing > 0 else [])], starts


class Queries(Wordless):
    """T learnt queries, which the LLM reads after a response, once for each of its photos.

    No word sees them, so that the LLM speaks as if there were none, and may stay as it is
    (`model.frozen`).
    """

    mapper: Connector
    kept = ("vae.", "text_encoder.")  # the noise predictor trains, as Pan et al. have it

    @classmethod
    def build(cls, config: ModelConfig, load: Load) -> Self:
        count = config.image_tokens
        llm, generator = load("llm"), load("generator")
        perceptron = load("perceptron", width=llm.width)
        length, width = reads(generator)
        mapper = load.made("mapper", lambda: Connector(count, llm.width, length, width))
        return cls(perceptron, llm, mapper, generator, count, config.align)

    def template(self, max_length: int) -> Template:
        base = super().template(max_length)
        return Queried(base.tokenizer, base.see, base.max_length, _nothing, self.tokens)

    def rules(self) -> list[LogitsProcessor]:
        tokenizer = self.llm.tokenizer
        return [Follow(token_id(tokenizer, IMG), [token_id(tokenizer, END_IMG)])]

    def asked(self, embeddings: Tensor, places: Sequence[tuple[int, int]]) -> Tensor:
        embeddings = embeddings.clone()
        for row, start in places:
            embeddings[row, start : start + self.tokens] = self.mapper.queries.to(embeddings.dtype)
        return embeddings

    def spelt(self, ids: Sequence[int]) -> tuple[list[int], list[int]]:
        end = int(self.llm.tokenizer.eos_token_id)
        photos = list(ids).count(token_id(self.llm.tokenizer, IMG))
        first = len(ids) + 1
        return [*ids, *[end] * (1 + photos * self.tokens)], [
            first + n * self.tokens for n in range(photos)
        ]


@dataclass(frozen=True)
class Queried(Template):
    """Responses with places for queries after their end, which are not predicted.

    Args:
        queries: How many for each photo.
    """

    queries: int = 8

    def target(
        self, response: Response, name: list[int], key: str
    ) -> tuple[list[int], list[CaptionSpan]]:
        ids, spans = super().target(response, name, key)
        starts = [len(ids) + n * self.queries for n in range(len(spans))]
        spans = [
            replace(span, start=start, end=start + self.queries)
            for span, start in zip(spans, starts, strict=True)
        ]
        return [*ids, *[self.tokenizer.eos_token_id] * (len(spans) * self.queries)], spans

    def pack(self, dialogue: Dialogue, drop: Drop = lambda at, reason: None) -> list[Packed]:
        sequences = super().pack(dialogue, drop)
        for packed in sequences:
            for span in packed.captions:
                packed.labels[span.start : span.end] = [IGNORE] * self.queries
        return sequences


def vokens(count: int) -> list[str]:
    """Image tokens as they are spelt."""
    return [f"[IMG{number}]" for number in range(1, count + 1)]


def reads(generator: StableDiffusion) -> tuple[int, int]:
    """N and W of what a generator's noise predictor reads in place of a caption.

    Raises:
        ConfigError: if it reads no such thing.
    """
    sizes = getattr(generator, "reads", None)
    if sizes is None:
        raise ConfigError(
            f"{type(generator).__name__} draws from captions only.",
            "Use stable-diffusion or uvit; docs/extending.md says what one of your own needs.",
        )
    length, width = sizes
    return length, width


def _nothing(photo: Photo) -> list[int]:
    """What stands between [IMG] and [/IMG]."""
    return []
