"""STGS and DVTM: the differentiable bridge from the LLM's vocabulary to the text encoder's.

Guo et al. (2024), §2.4.1-2.4.2; "Eq. n" refers to it. A bridge is a function of the captions on
both sides. It returns what is added to the text encoder's input embeddings: exactly zero in
value, so that the encoder reads the caption R̃^SD, and with the gradient of R^SD (Eq. 11).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from pscli.errors import ConfigError

# B captions, M LLM tokens, V LLM vocabulary, N CLIP tokens, W CLIP vocabulary, D CLIP width


@dataclass(frozen=True)
class Captions:
    """B captions as the LLM wrote them and as the text encoder reads them.

    Args:
        logits: [B, M, V] similarities o_i of the LLM at the caption's positions (Eq. 1).
        noise: [B, M, V] Gumbel noise g (Eq. 4).
        llm_ids: [B, M] tokens of the caption: r̃_i = argmax(p_i^GS) (Eq. 7) if it is sampled.
        llm_mask: [B, M] False at padding.
        llm_words: [B, M] False at padding and at tokens that write nothing, such as [/IMG].
        clip_ids: [B, N] the same caption in the text encoder's vocabulary.
        clip_words: [B, N] False at start, end and padding tokens.
        text: The B captions as text.
    """

    logits: Tensor
    noise: Tensor
    llm_ids: Tensor
    llm_mask: Tensor
    llm_words: Tensor
    clip_ids: Tensor
    clip_words: Tensor
    text: tuple[str, ...] = ()


class Bridge(Protocol):
    """Captions, the text encoder's embeddings [W, D] and τ to a residual [B, N, D], or None."""

    def __call__(self, captions: Captions, embeddings: Tensor, tau: float) -> Tensor | None: ...


def gumbel_argmax(logits: Tensor, noise: Tensor) -> Tensor:
    """[B, M] r̃_i = argmax(p_i^GS) (Eq. 7): a sample of softmax(o_i), whatever τ is."""
    return (logits + noise).argmax(dim=-1)


def gumbel_softmax_at(logits: Tensor, noise: Tensor, tau: float, ids: Tensor) -> Tensor:
    """[B, M, T] p_{i,k}^GS of a few tokens k, `ids` [B, T], at every position i (Eqs. 5-6).

    Raises:
        ConfigError: if τ is not positive.
    """
    if not tau > 0:  # also if it is not a number
        raise ConfigError(f"The temperature τ is {tau}.", "Expected a number above 0.")
    # Deviation, Eqs. 5-6: the paper writes /τ outside the exponential in the denominator; there
    # p would not sum to one. We divide inside, as Jang et al. (2017) do.
    x = logits + noise
    x = x.to(torch.promote_types(x.dtype, torch.float32)) / tau
    chosen = x.gather(2, ids[:, None, :].expand(-1, x.shape[1], -1))
    return (chosen - x.logsumexp(dim=-1, keepdim=True)).exp()


def straight_through(soft: Tensor) -> Tensor:
    """Value 0, gradient of `soft`: what Eqs. 7 and 11 add to their hard term."""
    return soft - soft.detach()


def distinct(ids: Tensor, mask: Tensor) -> Tensor:
    """[B, T] bool: True at the first occurrence of every unmasked id of a row, a set T."""
    same = ids[:, :, None] == ids[:, None, :]
    earlier = same & mask[:, None, :]
    first = ~earlier.tril(diagonal=-1).any(dim=-1)
    return first & mask


def dvtm(captions: Captions, embeddings: Tensor, tau: float) -> Tensor:
    """Sentence-level dynamic vocabulary transformation matrix (Eqs. 9-11), without the matrix.

    Every token of T^LLM maps to every token of T^SD (Eq. 10), so M = 1(T^LLM)·1(T^SD)ᵀ has rank
    one, and avg(R^LLM M) = s · 1(T^SD) with s = 1/m Σ_i Σ_{k ∈ T^LLM} r_{i,k}. The product with
    the embeddings E is s · Σ_{j ∈ T^SD} E_j. Eq. 11 adds it to all N positions alike.
    """
    llm_set = distinct(captions.llm_ids, captions.llm_words)
    clip_set = distinct(captions.clip_ids, captions.clip_words)
    p = gumbel_softmax_at(captions.logits, captions.noise, tau, captions.llm_ids)
    inside = llm_set[:, None, :] & captions.llm_mask[:, :, None]
    length = captions.llm_mask.sum(dim=1).clamp(min=1)
    s = (p * inside).sum(dim=(1, 2)) / length
    words = (embeddings[captions.clip_ids] * clip_set[:, :, None]).sum(dim=1)  # Σ_j E_j, [B, D]
    residual = straight_through(s)[:, None, None] * words[:, None, :]
    return residual.expand(-1, captions.clip_ids.shape[1], -1)


def none(captions: Captions, embeddings: Tensor, tau: float) -> None:
    """No bridge: the caption crosses as text, and no gradient comes back, as in the pipeline."""
    return
