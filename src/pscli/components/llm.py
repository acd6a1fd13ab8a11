"""Text dialogue generator: the large language model and its tokenizer.

Guo et al. (2024), §2.2; "Eq. n" refers to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
)
from transformers import PreTrainedTokenizerBase as Tokenizer

from pscli.components.noise import gumbel
from pscli.components.weights import whole
from pscli.dialogue.sequence import END_IMG, IMG, PHOTO

# B sequences, L tokens, D width, V vocabulary


class LanguageModel(nn.Module):
    """A decoder-only LLM from transformers that reads embeddings and predicts tokens."""

    def __init__(self, model: PreTrainedModel, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.model: Any = model  # transformers has no type for a model that also generates
        self.tokenizer = tokenizer

    @classmethod
    def from_pretrained(cls, place: str | Path, revision: str | None = None) -> Self:
        """Loads a folder or hub id in float32, and teaches it the marks of our template."""
        tokenizer = AutoTokenizer.from_pretrained(
            str(place), revision=revision, trust_remote_code=False
        )
        model = whole(
            AutoModelForCausalLM, place, revision=revision, dtype=torch.float32,
            trust_remote_code=False,
        )  # fmt: skip
        marks: dict[str, Any] = {"additional_special_tokens": [IMG, END_IMG, PHOTO]}
        if tokenizer.pad_token is None:
            marks["pad_token"] = "<pad>"
        if tokenizer.add_special_tokens(marks, replace_extra_special_tokens=False):
            model.resize_token_embeddings(len(tokenizer))
        return cls(model, tokenizer)

    def save_pretrained(self, folder: Path) -> None:
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

    @property
    def width(self) -> int:
        return int(self.model.config.get_text_config().hidden_size)

    @property
    def vocabulary(self) -> int:
        return int(self.model.get_input_embeddings().weight.shape[0])

    @property
    def device(self) -> torch.device:
        device: torch.device = self.model.device
        return device

    def ids(self, row: Sequence[int]) -> Tensor:
        """[L] token ids where the LLM is."""
        return torch.tensor(row, device=self.device)

    def embed(self, ids: Tensor) -> Tensor:
        """[..., D] input embeddings of token ids."""
        embeddings: Tensor = self.model.get_input_embeddings()(ids)
        return embeddings

    def hidden(self, embeddings: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
        """h_i = LLM(U, r_<i) (Eq. 1): [B, L, D].

        Args:
            embeddings: [B, L, D] of words and photos.
            mask: [B, 1, L, L] True where a position (row) sees another (column).
            positions: [B, L] position ids.
        """
        # Only the decoder: the projection to V is needed at a few positions alone.
        kind = embeddings.device.type
        # In the dtype of the computation: under autocast every layer would keep a cast copy.
        autocast = torch.is_autocast_enabled(kind)
        dtype = torch.get_autocast_dtype(kind) if autocast else embeddings.dtype
        bias = torch.zeros(mask.shape, dtype=dtype, device=embeddings.device)
        bias.masked_fill_(~mask, torch.finfo(dtype).min)
        hidden: Tensor = self.model.base_model(
            inputs_embeds=embeddings, attention_mask=bias, position_ids=positions, use_cache=False
        ).last_hidden_state
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        """o_i = LPL(h_i) (Eq. 1): [..., V] float32."""
        logits: Tensor = self.model.get_output_embeddings()(hidden)
        return logits.float()

    @torch.no_grad()
    def respond(
        self,
        prompts: Sequence[Tensor],
        *,
        max_new_tokens: int,
        temperature: float = 0.0,
        generators: Sequence[torch.Generator] = (),
    ) -> list[list[int]]:
        """Token ids that follow each prompt, up to and without the end token.

        Args:
            prompts: B tensors [L_b, D] of input embeddings.
            temperature: 0 takes the likeliest token; above 0 samples.
            generators: One seeded generator a prompt, for sampling.
        """
        lengths = torch.tensor([len(p) for p in prompts], device=self.device)
        # Left padding: every prompt ends where its reply begins.
        padded = pad_sequence(list(prompts), batch_first=True, padding_side="left")
        mask = torch.arange(padded.shape[1], device=self.device) >= (
            padded.shape[1] - lengths[:, None]
        )
        noise = LogitsProcessorList([GumbelNoise(temperature, generators)] if temperature else [])
        ids = self.model.generate(
            inputs_embeds=padded, attention_mask=mask.long(), max_new_tokens=max_new_tokens,
            eos_token_id=self.tokenizer.eos_token_id, pad_token_id=self.tokenizer.pad_token_id,
            do_sample=False, logits_processor=noise,
        )  # fmt: skip
        end = self.tokenizer.eos_token_id
        rows = ids.tolist()
        return [row[: row.index(end)] if end in row else row for row in rows]


class GumbelNoise(LogitsProcessor):
    """Makes the likeliest token a sample: argmax(o / T + g) ~ softmax(o / T).

    With one generator a prompt, what is sampled does not depend on the batch.
    """

    def __init__(self, temperature: float, generators: Sequence[torch.Generator]) -> None:
        self.temperature, self.generators = temperature, generators

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        noise = torch.stack([gumbel(scores.shape[1:], g) for g in self.generators])
        return scores / self.temperature + noise.to(scores.device)
