"""The end-to-end model: perceptron → LLM → STGS and DVTM → generator, trained jointly.

Guo et al. (2024), §2; "Eq. n" refers to it. Read `forward` beside Fig. 2.
"""

from __future__ import annotations

import copy
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from pscli.components.alignment import exact_matches, pieces, word_numbers
from pscli.components.bridge import Bridge, Captions, Scoring, Sizes, gumbel_argmax
from pscli.components.llm import LanguageModel
from pscli.components.load import Load
from pscli.components.noise import gumbel, seeded
from pscli.components.perceptron import Perceptron
from pscli.config import ModelConfig
from pscli.dialogue.batch import Batch
from pscli.errors import ConfigError
from pscli.systems.base import Losses, Part, fitting, text_loss
from pscli.systems.seeing import Seeing

if TYPE_CHECKING:
    from pscli.components.generator import Generator

# B sequences, L tokens, D LLM width, V LLM vocabulary; C captions of M LLM and N CLIP tokens


class EndToEnd(Seeing):
    """P(R | U) of multi-modal responses given multi-modal contexts (§2.1).

    Args:
        bridge: How the generator's loss reaches the LLM (Eqs. 4-11).
        caption_source: In training the text encoder reads the `sampled` caption, or the `gold` one.
        bridge_samples: Further draws of a caption's noise, for bridges that want them.
        bridge_reference: Captions are compared by the generator as it was before training.
    """

    def __init__(
        self,
        perceptron: Perceptron,
        llm: LanguageModel,
        bridge: Bridge,
        generator: Generator,
        caption_source: str = "sampled",
        bridge_samples: int = 4,
        bridge_reference: bool = True,
    ) -> None:
        super().__init__()
        self.perceptron, self.llm, self.generator = perceptron, llm, generator
        if caption_source not in ("sampled", "gold"):
            raise ConfigError(
                f"Unknown caption_source '{caption_source}'.", "Expected 'sampled' or 'gold'."
            )
        self.bridge = bridge
        self.caption_source, self.bridge_samples = caption_source, bridge_samples
        self.bridge_reference = bridge_reference
        self.reference: Generator | None = None
        fitting(perceptron, llm)

    @classmethod
    def build(cls, config: ModelConfig, load: Load) -> Self:
        llm, generator = load("llm"), load("generator")

        def sizes() -> Sizes:
            clip_vocabulary, clip_width = generator.embeddings.shape
            return Sizes(llm.vocabulary, clip_vocabulary, clip_width, llm.width)

        bridge = load.bridge(sizes)
        perceptron = load("perceptron", width=llm.width)
        how = config.caption_source, config.bridge_samples, config.bridge_reference
        return cls(perceptron, llm, bridge, generator, *how)

    def parts(self) -> dict[str, Part]:
        parts = {
            "perceptron": Part(self.perceptron, frozen=("vision.",)),
            "llm": Part(self.llm),
            "generator": Part(self.generator, frozen=("vae.",)),
        }
        if isinstance(self.bridge, nn.Module):
            parts["bridge"] = Part(self.bridge)
        if self.reference is not None:
            parts["reference"] = Part(self.reference, frozen=("",), saved=False)
        return parts

    def before_training(self) -> None:
        """Keeps the generator as it is, for a bridge that compares captions by it.

        One that trains learns what the LLM writes, and then holds that for right. Only the weights
        that train are copied.
        """
        if self.bridge_reference and isinstance(self.bridge, Scoring):
            module: Any = self.generator
            frozen = {id(w): w for w in module.parameters() if not w.requires_grad}
            if len(frozen) < len(list(module.parameters())):
                self.reference = copy.deepcopy(module, frozen).requires_grad_(False)

    def forward(self, batch: Batch, tau: float, seed: str) -> Losses:
        """L^t and L^v of a micro-batch (Eqs. 1-12); the loop adds them up (Eq. 13).

        Args:
            tau: Temperature of the Gumbel-softmax, > 0.
            seed: Names the training step; with an example's own key it seeds that example's noise.
        """
        embeddings = self.embed(batch.ids, batch.seen)  # U, with H^v in place (Eq. 3)
        hidden = self.llm.hidden(embeddings, batch.mask, batch.positions)  # h (Eq. 1)
        text = text_loss(self.llm, hidden, batch)  # L^t (Eq. 2)
        if not batch.captions:
            return self.undrawn(text)
        captions = self.write(hidden, batch, seed)  # o, g, r̃ (Eqs. 1, 4, 7)
        residual = self.bridge(captions, self.generator.embeddings, tau)  # R^SD - R̃^SD (Eqs. 5-11)
        noise = self.generator.draw_noise(
            [seeded(seed, span.key, "diffusion") for _, span in batch.captions]
        )
        drawn = batch.drawn
        assert drawn is not None  # `prepare` made them
        image = self.generator.losses(captions.clip_ids, drawn, noise, residual)
        if isinstance(self.bridge, Scoring):
            judge = self.generator if self.reference is None else self.reference

            def losses(ids: Tensor) -> Tensor:
                clip_ids, _ = judge.tokenize(self.words(ids, captions.llm_mask))
                return judge.losses(clip_ids, drawn, noise)

            image = image + self.bridge.surrogate(captions, losses)
        return Losses(text, image.sum())  # L^v (Eq. 12)

    def write(self, hidden: Tensor, batch: Batch, seed: str) -> Captions:
        """The captions of the response photos as the LLM writes them, teacher-forced (Eqs. 1-7)."""
        tokenizer = self.llm.tokenizer
        # The token at position i is predicted by the hidden state at i - 1.
        states = [hidden[row, span.start - 1 : span.end - 1] for row, span in batch.captions]
        gold = [batch.ids[row, span.start : span.end] for row, span in batch.captions]
        lengths = torch.tensor([len(g) for g in gold], device=hidden.device)
        logits = self.llm.logits(pad_sequence(states, batch_first=True))  # o

        def draw(*number: int) -> Tensor:
            rows = [
                gumbel((len(state), logits.shape[-1]), seeded(seed, span.key, "gumbel", *number))
                for state, (_, span) in zip(states, batch.captions, strict=True)
            ]
            return pad_sequence(rows, batch_first=True).to(hidden.device)

        noise = draw()  # g
        mask = torch.arange(logits.shape[1], device=hidden.device) < lengths[:, None]
        if self.caption_source == "sampled":
            ids = gumbel_argmax(logits, noise)  # r̃
        else:
            ids = pad_sequence(gold, batch_first=True)
        special = torch.tensor(tokenizer.all_special_ids, device=ids.device)
        words = self.words(ids, mask)
        clip_ids, clip_words = self.generator.tokenize(words)  # R̃^SD
        return Captions(
            logits=logits,
            noise=noise,
            llm_ids=ids,
            llm_mask=mask,
            llm_words=mask & ~torch.isin(ids, special),
            clip_ids=clip_ids,
            clip_words=clip_words,
            words=partial(word_numbers, tokenizer, self.generator.tokenizer, ids, mask),
            pairs=lambda: exact_matches(tokenizer, self.generator.tokenizer).to(ids.device),
            pieces=lambda: pieces(tokenizer, self.generator.tokenizer).to(ids.device),
            draws=[partial(draw, number) for number in range(self.bridge_samples)],
            text=tuple(words),
        )

    def words(self, ids: Tensor, mask: Tensor) -> list[str]:
        """The text of captions [C, M] of the LLM's tokens."""
        return [
            str(self.llm.tokenizer.decode(row[keep], skip_special_tokens=True)).strip()
            for row, keep in zip(ids, mask, strict=True)
        ]
