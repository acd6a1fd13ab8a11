"""Decoding many prompts at once: what several of them begin with is read once.

The prompts of a dialogue begin alike: what an agent reads at one turn it reads again at the next,
with more behind it. So the longest is a *trunk*, a row of the batch that is read once, and each
prompt that it begins with is a *branch*. Branches grow side by side: a token sees the trunk as far
as its own prompt goes, and the tokens of its branch. Attention mask and position ids say so, as in
a packed sequence (`dialogue/sequence.py`), so that keys and values of a context are neither
computed nor held twice.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from pscli.components.device import spare

# B trunks of up to L tokens and K branches, D width, R branches that still grow, V vocabulary

Choose = Callable[[list[int], int, Tensor], Tensor]


class Reader(Protocol):
    """What is needed of an LLM here: see `LanguageModel`."""

    def embed(self, ids: Tensor) -> Tensor: ...

    def hidden(
        self, embeddings: Tensor, mask: Tensor | None, positions: Tensor, cache: Any = None
    ) -> Tensor: ...

    def logits(self, hidden: Tensor) -> Tensor: ...


@dataclass
class Trunk:
    """A prompt and those that it begins with, itself among them.

    Args:
        embeddings: [L, D] of the longest.
        numbers: Which prompts branch off.
        lengths: After how many tokens each of them does.
    """

    embeddings: Tensor
    numbers: list[int] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)

    def tokens(self, new: int) -> int:
        """How many are held at once if each branch grows by `new`."""
        return len(self.embeddings) + new * len(self.numbers)


def trunks(prompts: Sequence[Tensor]) -> list[Trunk]:
    """The prompts [L, D] on as few trunks as they need, the longest trunk first."""
    found: list[Trunk] = []
    for number in sorted(range(len(prompts)), key=lambda n: -len(prompts[n])):
        prompt = prompts[number]
        begun = (t for t in found if torch.equal(t.embeddings[: len(prompt)], prompt))
        trunk = next(begun, None)
        if trunk is None:
            trunk = Trunk(prompt)
            found.append(trunk)
        trunk.numbers.append(number)
        trunk.lengths.append(len(prompt))
    return found


def batches(all: Sequence[Trunk], new: int, room: int) -> Iterator[list[Trunk]]:
    """Neighbours together, so many that they hold at most `room` tokens; at least one.

    Args:
        new: By how many tokens each branch may grow.
    """
    batch: list[Trunk] = []
    for trunk in all:
        longest = max(t.tokens(new) for t in (*batch, trunk))
        if batch and longest * (len(batch) + 1) > room:
            yield batch
            batch = []
        batch.append(trunk)
    if batch:
        yield batch


@torch.no_grad()
def grow(llm: Reader, batch: Sequence[Trunk], written: Tensor, end: int, choose: Choose) -> None:
    """Writes what follows each prompt, until its end token or until `written` is full.

    Args:
        written: [P, T] tokens that follow each of P prompts, all `end` so far.
        choose: Tokens [R], of the prompts' numbers, how many tokens each has, and logits [R, V].
    """
    embeddings = pad_sequence([t.embeddings for t in batch], batch_first=True)
    device = embeddings.device

    def table(rows: list[list[int]], empty: int) -> Tensor:  # [B, K]
        width = max(map(len, rows))
        return torch.tensor([row + [empty] * (width - len(row)) for row in rows], device=device)

    owner, length = table([t.numbers for t in batch], -1), table([t.lengths for t in batch], 1)
    trunk = torch.arange(embeddings.shape[1], device=device)
    cache = DynamicCache()
    # Causal: what pads a trunk stands after all that anybody sees.
    hidden = llm.hidden(embeddings, None, trunk[None], cache)
    hidden = hidden.take_along_dim(length[..., None] - 1, dim=1)  # [B, K, D]
    sees = trunk < length[..., None]  # [B, K, L + …]
    for step in range(written.shape[1]):
        grows = owner >= 0
        numbers = owner[grows]
        tokens = torch.full_like(owner, end)
        tokens[grows] = choose(numbers.tolist(), step, llm.logits(hidden[grows]))
        written[numbers, step] = tokens[grows]
        owner = owner.masked_fill(tokens == end, -1)
        grows = owner >= 0
        if not grows.any() or step + 1 == written.shape[1]:
            return
        # Branches that have ended are no longer read, nor are trunks without others.
        rows = grows.any(dim=1)
        kept = grows[rows].int().argsort(dim=1, descending=True, stable=True)
        kept = kept[:, : int(grows.sum(dim=1).max())]
        if not rows.all():
            cache.batch_select_indices(rows)
        owner, length, tokens = (x[rows].take_along_dim(kept, 1) for x in (owner, length, tokens))
        itself = torch.eye(kept.shape[1], dtype=torch.bool, device=device).expand(len(kept), -1, -1)
        sees = torch.cat([sees[rows].take_along_dim(kept[..., None], 1), itself], dim=2)
        hidden = llm.hidden(llm.embed(tokens), sees[:, None], length + step, cache)


def room(model: Any) -> int:
    """Of how many tokens a model may hold keys and values: 1 GiB, or an eighth of a GPU's memory.

    A growing cache is copied, and holds twice as much for a moment.
    """
    config = model.config.get_text_config()
    heads = config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    width *= getattr(config, "num_key_value_heads", None) or heads
    limit = spare(model.device, 1 << 30)
    return int(limit // (2 * config.num_hidden_layers * width * model.dtype.itemsize))


def sees_all(decoder: Any, tokens: int) -> bool:
    """Whether a decoder can see any of so many tokens, as masks and positions say.

    Mamba remembers no tokens, a sliding window too few; ALiBi and GPT-Neo count them by themselves.
    """
    config = decoder.config.get_text_config()
    known = inspect.signature(decoder.forward).parameters
    if "position_ids" not in known or not cache_name(decoder):
        return False
    if getattr(config, "alibi", False) or getattr(config, "window_size", None):
        return False
    layers = DynamicCache(config=config).layers
    windows = [getattr(layer, "sliding_window", None) for layer in layers]
    kinds = {type(layer) for layer in layers}
    return kinds <= {DynamicLayer, DynamicSlidingWindowLayer} and all(
        window is None or window >= tokens for window in windows
    )


def cache_name(decoder: Any) -> str:
    """Under which name a decoder takes keys and values: transformers 5.24 renamed it."""
    known = inspect.signature(decoder.forward).parameters
    return next((name for name in ("cache", "past_key_values") if name in known), "")
