"""Captioners of the pipeline: what tells its LLM of the photos in a context.

The paper does not say which one feeds it. Ours is BLIP-2's: its own captioning model where the
perceptron is BLIP-2's, and else the same way at small scale, the perceptron and the LLM as they
were pre-trained on captioning. All are frozen.

What writes captions of photos can also tell how well one fits a photo, log p(caption | photo): by
this a system chooses among several drawings of a caption (`systems/choosing.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from pscli.components.llm import LanguageModel
from pscli.components.load import Load, loading, located
from pscli.components.perceptron import Perceptron, in_place
from pscli.components.vision import Pixels, config_of
from pscli.components.weights import DTYPES, whole
from pscli.config import ModelConfig, PartConfig
from pscli.dialogue.schema import Photo
from pscli.dialogue.sequence import END_IMG, IGNORE, IMG, PHOTO, plain_ids, token_id
from pscli.errors import ConfigError
from pscli.registry import TABLES
from pscli.systems.base import fitting

CAPTION, DESCRIBE = "Caption:", "Describe:"  # what our captioner is asked for
TASKS = {"caption": CAPTION, "describe": DESCRIBE}
READ = 256  # tokens of a caption that tell how well it fits: generators draw no more of it


class Describes(Protocol):
    """What a pipeline needs of its captioner: a module with this."""

    def describe(self, photos: Sequence[Photo]) -> list[str]:
        """Words for each photo."""

    def likelihoods(self, captions: Sequence[str], photos: Sequence[Photo]) -> Tensor:
        """[P] log p(caption | photo); asked only if the pipeline is to choose among drawings."""


class Captioner(nn.Module):
    """Says in one sentence what a photo shows."""

    def __init__(self, perceptron: Perceptron, llm: LanguageModel, task: str = "caption") -> None:
        super().__init__()
        fitting(perceptron, llm)
        self.perceptron, self.llm = perceptron, llm
        if task not in TASKS:
            raise ConfigError(f"Unknown captions '{task}'.", f"Known: {', '.join(TASKS)}.")
        self.task = TASKS[task]

    def prompt_ids(self, task: str | None = None) -> list[int]:
        """`[IMG] photo [/IMG] </s> Caption:`"""
        tokenizer = self.llm.tokenizer
        marks = (IMG, *[PHOTO] * self.perceptron.length, END_IMG)
        photo = [token_id(tokenizer, mark) for mark in marks]
        asked = tokenizer(task or self.task, add_special_tokens=False).input_ids
        return [tokenizer.bos_token_id, *photo, tokenizer.eos_token_id, *asked]

    @torch.no_grad()
    def describe(self, photos: Sequence[Photo], task: str | None = None) -> list[str]:
        """One caption a photo."""
        if not photos:
            return []
        visual = self.perceptron(self.perceptron.look([p.open() for p in photos]))
        ids = torch.tensor(self.prompt_ids(task), device=self.llm.device)
        words = self.llm.embed(ids).expand(len(photos), -1, -1)
        place = (ids == token_id(self.llm.tokenizer, PHOTO)).expand(len(photos), -1)
        prompts = in_place(words, place, visual)
        generated = self.llm.respond(list(prompts), max_new_tokens=40)
        decode = self.llm.tokenizer.decode
        return [str(decode(row, skip_special_tokens=True)).strip() for row in generated]

    @torch.no_grad()
    def likelihoods(self, captions: Sequence[str], photos: Sequence[Photo]) -> Tensor:
        """[P] log p(caption | photo), in the form in which captions were learnt, its end included.

        It is asked for a caption, whatever `task` it describes photos by. Of a long one it reads
        the beginning.
        """
        if not photos:
            return torch.zeros(0)
        tokenizer, end = self.llm.tokenizer, self.llm.tokenizer.eos_token_id
        asked = self.prompt_ids(CAPTION)
        room = min(READ, self.llm.before(len(asked) + 1, READ))
        rows = [[*plain_ids(tokenizer, words)[:room], end] for words in captions]
        ids = padded([[*asked, *row] for row in rows], end).to(self.llm.device)
        visual = self.perceptron(self.perceptron.look([p.open() for p in photos]))
        embeddings = in_place(self.llm.embed(ids), ids == token_id(tokenizer, PHOTO), visual)
        hidden = self.llm.read(embeddings)
        return log_likelihoods(self.llm.logits(hidden[:, len(asked) - 1 : -1]), rows)


class Blip2Captioner(nn.Module):
    """BLIP-2 as it was published (Li et al. 2023): vision model, Q-Former and its own LLM."""

    def __init__(self, model: Any, processor: Any) -> None:
        super().__init__()
        self.model, self.processor = model, processor

    @torch.no_grad()
    def describe(self, photos: Sequence[Photo]) -> list[str]:
        """One caption a photo, as long as the LLM makes it, at most 40 tokens."""
        if not photos:
            return []
        pixels = Pixels(0, self.processor.image_processor)([photo.open() for photo in photos])
        ids = self.model.generate(
            pixel_values=pixels.to(self.model.device, self.model.dtype), max_new_tokens=40,
            do_sample=False,
        )  # fmt: skip
        words = self.processor.tokenizer.batch_decode(ids, skip_special_tokens=True)
        return [str(caption).strip() for caption in words]

    @torch.no_grad()
    def likelihoods(self, captions: Sequence[str], photos: Sequence[Photo]) -> Tensor:
        """[P] log p(caption | photo) after what `describe` begins with, without the end, which is
        another one in each LLM; of a long one it reads the beginning."""
        if not photos:
            return torch.zeros(0)
        config, tokenizer = self.model.config, self.processor.tokenizer
        how = {"add_special_tokens": False, "split_special_tokens": True}
        begun = [config.image_token_index] * config.num_query_tokens
        begun.append(config.text_config.bos_token_id)
        longest = getattr(config.text_config, "max_position_embeddings", None)
        room = READ if longest is None else min(READ, longest - len(begun))
        rows: list[list[int]] = [row[:room] for row in tokenizer(list(captions), **how).input_ids]
        pixels = Pixels(0, self.processor.image_processor)([photo.open() for photo in photos])
        seen = {"pixel_values": pixels.to(self.model.device, self.model.dtype)}
        if config.use_decoder_only_language_model:
            ids = padded([[*begun, *row] for row in rows], tokenizer.eos_token_id)
            logits = self.model(input_ids=ids.to(self.model.device), **seen).logits
            return log_likelihoods(logits[:, len(begun) - 1 : -1], rows)
        asked, wanted = padded([begun] * len(rows), 0), padded(rows, IGNORE)
        read = {"input_ids": asked.to(self.model.device), "labels": wanted.to(self.model.device)}
        return log_likelihoods(self.model(**read, **seen).logits, rows)


def padded(rows: Sequence[Sequence[int]], value: int) -> Tensor:
    """[P, T] token ids, filled up at their ends."""
    return pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=value)


def log_likelihoods(logits: Tensor, rows: Sequence[Sequence[int]]) -> Tensor:
    """[P] Σ log p(token), of logits [P, T, V] that predict P rows of up to T tokens."""
    wanted = padded(rows, IGNORE).to(logits.device)
    lost = F.cross_entropy(logits.float().transpose(1, 2), wanted, reduction="none")
    return -lost.sum(dim=1).cpu()


def learnt_together(config: ModelConfig) -> ModelConfig:
    """Where the perceptron is of the registry's weights, the LLM that learnt captioning with it."""
    weights = config.perceptron.weights
    if weights not in TABLES["weights"]:
        return config
    perceptron, llm = (PartConfig(kind, weights) for kind in ("qformer", "causal"))
    return replace(config, perceptron=perceptron, llm=llm)


def load_captioner(config: ModelConfig, load: Load) -> Captioner | Blip2Captioner:
    """The captioner that goes with a perceptron."""
    named = config.perceptron
    place = located(named.weights, "perceptron")
    with loading("captioner", place):
        at: dict[str, Any] = {"revision": named.revision}
        if config_of(place, named.revision).get("model_type") == "blip-2":
            from transformers import Blip2ForConditionalGeneration, Blip2Processor

            processor = Blip2Processor.from_pretrained(place, trust_remote_code=False, **at)
            at |= {"variant": named.variant, "dtype": DTYPES[named.dtype]}
            model = whole(Blip2ForConditionalGeneration, place, **at)
            return Blip2Captioner(model, processor)
    load = replace(load, config=learnt_together(config))
    llm = load.pretrained("llm")
    return Captioner(load.pretrained("perceptron"), llm, config.captions)
