"""Text dialogue generator: the large language model and its tokenizer.

Guo et al. (2024), §2.2; "Eq. n" refers to it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self, cast

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

from pscli.components.adapters import adapt, adapt_from
from pscli.components.decoding import batches, cache_name, grow, room, sees_all, trunks
from pscli.components.noise import gumbel
from pscli.components.readiness import OfPrompts
from pscli.components.weights import DTYPES, whole
from pscli.dialogue.sequence import END_IMG, IMG, PHOTO, plain_ids, token_id
from pscli.errors import ConfigError

# B sequences, L tokens, D width, V vocabulary

SHORTEST = 16  # tokens of a context


class LanguageModel(nn.Module):
    """A decoder-only LLM from transformers that reads embeddings and predicts tokens.

    Args:
        marks: Tokens that it knows beside [IMG], [/IMG] and <photo>.
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: Tokenizer, marks: Sequence[str] = ()
    ) -> None:
        super().__init__()
        self.model: Any = model  # transformers has no type for a model that also generates
        self.marks = [IMG, END_IMG, PHOTO, *marks]
        self.tokenizer = tokenizer
        self.taught: list[str] = []  # marks that its tokenizer did not know
        self._adapters: list[Any] = []  # peft's view of the model; a list hides it from torch

    @classmethod
    def from_pretrained(
        cls,
        place: str | Path,
        revision: str | None = None,
        *,
        variant: str | None = None,
        dtype: str = "float32",
        quantize: str | None = None,
        lora: int | None = None,
        adapters: Path | None = None,
        marks: Sequence[str] = (),
    ) -> Self:
        """Loads a folder, hub id or GGUF file, and teaches it the marks of our template.

        Args:
            dtype: Of its weights, once they are loaded.
            quantize: `4bit` or `8bit`, of a model that has adapters.
            lora: Rank of new adapters.
            adapters: Folder of adapters, and of the tokenizer that they were trained with.
            marks: More tokens that it is taught.
        """
        at: dict[str, Any] = {"revision": revision, "trust_remote_code": False}
        if Path(place).suffix == ".gguf":
            at = {"gguf_file": Path(place).name}
            place = Path(place).parent
        tokenizer = AutoTokenizer.from_pretrained(
            str(adapters or place), **({"trust_remote_code": False} if adapters else at)
        )
        options: dict[str, Any] = {"variant": variant, "dtype": DTYPES[dtype]}
        if quantize:
            options["quantization_config"] = quantization(quantize)
        model = whole(AutoModelForCausalLM, place, **at, **options)
        if "gguf_file" in at:
            model = plain(model)
        llm = cls(model, tokenizer, marks)
        llm.learn_marks()
        if adapters:
            llm._adapters = [adapt_from(model, adapters)]
        elif lora:
            llm._adapters = [adapt(model, lora, llm.new_rows())]
        return llm

    def learn_marks(self) -> None:
        """Gives the tokenizer the tokens of our template, and the model rows for them.

        The rows of a new token begin as those of the first piece of its spelling, which is what
        the LLM would have begun to write there; the mean of all rows is far less likely, and Adam
        moves a row by no more than the learning rate a step (`docs/photochat.md`).
        """
        tokenizer = self.tokenizer
        marks: dict[str, Any] = {"additional_special_tokens": self.marks}
        if tokenizer.pad_token is None:
            marks["pad_token"] = "<pad>"
        if tokenizer.bos_token is None:  # Qwen's; a sequence begins where another one ends
            marks["bos_token"] = tokenizer.eos_token
        known = len(tokenizer)
        spelt = [*self.marks, marks.get("pad_token", PHOTO)]
        first = {mark: plain_ids(tokenizer, mark)[0] for mark in spelt}
        tokenizer.add_special_tokens(marks, replace_extra_special_tokens=False)
        self.taught = [mark for mark in self.marks if token_id(tokenizer, mark) >= known]
        if len(tokenizer) > self.vocabulary:  # some have rows to spare
            self.model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        new = {token_id(tokenizer, mark): piece for mark, piece in first.items()}
        new = {row: piece for row, piece in new.items() if row >= known}
        for layer in self._vocabulary_layers():
            with torch.no_grad():
                layer.weight[list(new)] = layer.weight[list(new.values())]

    def new_rows(self) -> dict[str, list[int]]:
        """Ids of the marks, by the name of each layer that has rows for them."""
        ids = [token_id(self.tokenizer, mark) for mark in self.marks]
        names = {id(module): name for name, module in self.model.named_modules()}
        return {names[id(layer)].rpartition(".")[2]: ids for layer in self._vocabulary_layers()}

    def _vocabulary_layers(self) -> list[Any]:
        """The input embeddings, and the output ones where their weights are others."""
        layers = [self.model.get_input_embeddings()]
        if self.model.get_output_embeddings().weight is not layers[0].weight:
            layers.append(self.model.get_output_embeddings())
        return layers

    def save_pretrained(self, folder: Path) -> None:
        """Writes a folder of transformers', or of peft's if adapters were trained."""
        if self._adapters:
            self._adapters[0].save_pretrained(folder, save_embedding_layers=False)
        else:
            self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

    @property
    def width(self) -> int:
        return int(self.model.config.get_text_config().hidden_size)

    @property
    def vocabulary(self) -> int:
        return int(self.model.get_input_embeddings().weight.shape[0])

    @property
    def positions(self) -> int | None:
        """How many tokens its positions reach; None if there is no end of them."""
        found = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        return None if found is None else int(found)

    def before(self, new: int, length: int) -> int:
        """Tokens of a context, `length` at most, after which its positions leave room for `new`.

        Raises:
            ConfigError: if hardly any is left.
        """
        longest = self.positions
        if longest is None:
            return length
        if longest - new < SHORTEST:
            raise ConfigError(
                f"The LLM reads {longest:,} tokens at most, sequence.max_new_tokens is {new:,}.",
                f"Expected at most {longest - SHORTEST:,}.",
            )
        return min(length, longest - new)

    def reaches(self, length: int) -> int:
        """`length` in tokens, if its positions reach as far.

        Raises:
            ConfigError: if they do not.
        """
        longest = self.positions
        if longest is not None and length > longest:
            raise ConfigError(
                f"The LLM reads {longest:,} tokens at most, and sequence.max_length is {length:,}.",
                f"Add --set sequence.max_length={longest}.",
            )
        return length

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

    def hidden(
        self, embeddings: Tensor, mask: Tensor | None, positions: Tensor, cache: Any = None
    ) -> Tensor:
        """h_i = LLM(U, r_<i) (Eq. 1): [B, L, D].

        Args:
            embeddings: [B, L, D] of words and photos.
            mask: [B, 1, L, C + L] True where a position (row) sees another (column); by default
                each sees those before it.
            positions: [B, L] position ids.
            cache: Of transformers, with keys and values of C earlier tokens; grows by these.
        """
        bias = None
        if mask is not None:
            kind = embeddings.device.type
            # In the dtype of the computation: under autocast every layer would keep a cast copy.
            autocast = torch.is_autocast_enabled(kind)
            dtype = torch.get_autocast_dtype(kind) if autocast else embeddings.dtype
            bias = torch.zeros(mask.shape, dtype=dtype, device=embeddings.device)
            bias.masked_fill_(~mask, torch.finfo(dtype).min)
        # Only the decoder: the projection to V is needed at a few positions alone.
        decoder = self.model.base_model
        earlier = {"use_cache": False} if cache is None else {cache_name(decoder): cache}
        hidden: Tensor = decoder(
            inputs_embeds=embeddings, attention_mask=bias, position_ids=positions, **earlier
        ).last_hidden_state
        return hidden

    def read(self, embeddings: Tensor) -> Tensor:
        """[B, L, D] hidden states of rows that each begin at position 0; what pads one at its end
        is not seen by what stands before."""
        positions = torch.arange(embeddings.shape[1], device=embeddings.device)[None]
        return self.hidden(embeddings, None, positions)

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
        processors: Sequence[LogitsProcessor] = (),
        hear: Callable[[int, int], object] | None = None,
    ) -> list[list[int]]:
        """Token ids that follow each prompt, up to and without the end token.

        What prompts have in common is read once (`decoding.py`).

        Args:
            prompts: P tensors [L_p, D] of input embeddings.
            temperature: 0 takes the likeliest token; above 0 samples.
            generators: One seeded generator a prompt, for sampling.
            processors: Change logits [R, V], given the tokens [R, t] of the replies so far; those
                `OfPrompts` know which prompts the R rows are of.
            hear: Called with the number of a prompt and each token that follows it, at once where
                the LLM can be read token by token here.
        """
        end = self.tokenizer.eos_token_id
        written = torch.full((len(prompts), max_new_tokens), end, device=self.device)

        def chain(numbers: Iterable[int]) -> LogitsProcessorList:
            rows = list(numbers)
            some = [p.of(rows) if isinstance(p, OfPrompts) else p for p in processors]
            if not temperature:
                return LogitsProcessorList(some)
            noise = GumbelNoise(temperature, [generators[n] for n in rows])
            return LogitsProcessorList([*some, noise])

        def choose(numbers: list[int], step: int, logits: Tensor) -> Tensor:
            so_far: Any = written[numbers, :step]  # typed as a LongTensor by transformers
            tokens = chain(numbers)(so_far, logits).argmax(dim=-1)
            if hear:
                for number, token in zip(numbers, tokens.tolist(), strict=True):
                    hear(number, token)
            return tokens

        longest = max(map(len, prompts), default=0) + max_new_tokens
        together = sees_all(self.model.base_model, longest)
        if together:
            for batch in batches(trunks(prompts), max_new_tokens, room(self.model)):
                grow(self, batch, written, end, choose)
        else:
            written = self._apart(prompts, max_new_tokens, chain(range(len(prompts))))
        rows = written.tolist()
        rows = [row[: row.index(end)] if end in row else row for row in rows]
        if hear and not together:
            for number, row in enumerate(rows):
                for token in row:
                    hear(number, token)
        return rows

    def _apart(
        self, prompts: Sequence[Tensor], max_new_tokens: int, processors: LogitsProcessorList
    ) -> Tensor:
        """[P, T] tokens that follow each prompt, each read by itself; padded after the end."""
        lengths = torch.tensor([len(p) for p in prompts], device=self.device)
        # Left padding: every prompt ends where its reply begins.
        padded = pad_sequence(list(prompts), batch_first=True, padding_side="left")
        places = torch.arange(padded.shape[1], device=self.device)
        ids: Tensor = self.model.generate(
            inputs_embeds=padded, max_new_tokens=max_new_tokens, do_sample=False,
            attention_mask=(places >= padded.shape[1] - lengths[:, None]).long(),
            eos_token_id=self.tokenizer.eos_token_id, pad_token_id=self.tokenizer.pad_token_id,
            logits_processor=processors,
        )  # fmt: skip
        return ids


def plain(model: PreTrainedModel) -> PreTrainedModel:
    """A model that was read from a GGUF file as one that can be saved and trained."""
    config = copy.deepcopy(model.config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    copied = AutoModelForCausalLM.from_config(config, dtype=model.dtype)
    copied.load_state_dict(model.state_dict())
    return cast("PreTrainedModel", copied)


def quantization(kind: str) -> Any:
    """How transformers is told to quantise by bitsandbytes.

    Raises:
        ConfigError: at another kind, or where the package is not installed.
    """
    if kind not in ("4bit", "8bit"):
        raise ConfigError(f"quantize is '{kind}'.", "Expected 4bit or 8bit.")
    if find_spec("bitsandbytes") is None:
        raise ConfigError(
            "Quantised weights need the package bitsandbytes.",
            "Install it: pip install 'pscli[lora]'; or leave out quantize.",
        )
    from transformers import BitsAndBytesConfig

    if kind == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
    )  # Dettmers et al. (2023)


class GumbelNoise(LogitsProcessor):
    """Makes the likeliest token a sample: argmax(o / T + g) ~ softmax(o / T).

    With one generator a prompt, what is sampled does not depend on the batch.
    """

    def __init__(self, temperature: float, generators: Sequence[torch.Generator]) -> None:
        self.temperature, self.generators = temperature, generators

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        noise = torch.stack([gumbel(scores.shape[1:], g) for g in self.generators])
        return scores / self.temperature + noise.to(scores.device)
