"""STGS and DVTM: the differentiable bridge from the LLM's vocabulary to the text encoder's.

Guo et al. (2024), §2.4.1-2.4.2; "Eq. n" refers to it. A bridge is a function of the captions on
both sides. It returns what is added to the text encoder's input embeddings: exactly zero in
value (but for `soft` and `soft-decoupled`), so that the encoder reads the caption R̃^SD, and with
the gradient of R^SD (Eq. 11). As that value is zero, no gradient of the embeddings passes through
it. These bridges differ in their matrix M, those of `estimators.py` in the gradient of the sample.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional as F

from pscli.errors import ConfigError

# B captions, M LLM tokens, V LLM vocabulary, N CLIP tokens, W CLIP vocabulary, D CLIP width,
# K pairs of tokens, P pairs of a token and one of its pieces


@dataclass(frozen=True)
class Captions:
    """B captions as the LLM wrote them and as the text encoder reads them.

    Args:
        logits: [B, M, V] similarities o_i of the LLM at the caption's positions (Eq. 1).
        noise: [B, M, V] Gumbel noise g (Eq. 4).
        llm_ids: [B, M] tokens of the caption: r̃_i = argmax(p_i^GS) (Eq. 7) if it is sampled. A gold
            caption has others in places (docs/bridge.md); there no bridge is straight-through.
        llm_mask: [B, M] False at padding.
        llm_words: [B, M] False at padding and at tokens that write nothing, such as [/IMG].
        clip_ids: [B, N] the same caption in the text encoder's vocabulary.
        clip_words: [B, N] False at start, end and padding tokens.
        words: Gives [B, M] and [B, N] the number of the word that a token writes or reads, -1 for
            none. Called only by bridges that align words.
        pairs: Gives [K, 2] LLM and CLIP tokens that are the same (Eq. 8).
        pieces: Gives [P, 2] every LLM token with each of the CLIP tokens that read its text, in the
            order of the LLM's tokens.
        draws: Each gives more noise like `noise`, [B, M, V], independent of it and of the others.
        text: The B captions as text.
    """

    logits: Tensor
    noise: Tensor
    llm_ids: Tensor
    llm_mask: Tensor
    llm_words: Tensor
    clip_ids: Tensor
    clip_words: Tensor
    words: Callable[[], tuple[Tensor, Tensor]]
    pairs: Callable[[], Tensor]
    pieces: Callable[[], Tensor]
    draws: Sequence[Callable[[], Tensor]]
    text: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sizes:
    """What a bridge with weights is made for: V, W and D, and the width of the LLM."""

    llm_vocabulary: int
    clip_vocabulary: int
    clip_width: int
    llm_width: int


class Bridge(Protocol):
    """Captions, the text encoder's embeddings [W, D] and τ to a residual [B, N, D], or None.

    A function, or a module that is made for `Sizes`: its weights train and are kept by the agent.
    """

    def __call__(self, captions: Captions, embeddings: Tensor, tau: float) -> Tensor | None: ...


@runtime_checkable
class Scoring(Bridge, Protocol):
    """A bridge that also wants to know how well other captions would have done."""

    def surrogate(self, captions: Captions, losses: Callable[[Tensor], Tensor]) -> Tensor:
        """[B] what is added to L^v of each photo: zero in value, its gradient reaches the LLM.

        Args:
            losses: L^v [B] of the same photos under the same noise, told by other captions [B, M]
                of LLM tokens; without a gradient.
        """


def in_float32(bridge: Bridge) -> Bridge:
    """The bridge without autocast: probabilities near 0 and 1 are lost in half precision."""

    @functools.wraps(bridge)
    def run(captions: Captions, embeddings: Tensor, tau: float) -> Tensor | None:
        with torch.autocast(embeddings.device.type, enabled=False):
            return bridge(captions, embeddings, tau)

    return run


def gumbel_argmax(logits: Tensor, noise: Tensor) -> Tensor:
    """[B, M] r̃_i = argmax(p_i^GS) (Eq. 7): a sample of softmax(o_i), whatever τ is."""
    return (logits + noise).argmax(dim=-1)


def gumbel_softmax_at(logits: Tensor, noise: Tensor, tau: float, ids: Tensor) -> Tensor:
    """[B, M, T] p_{i,k}^GS of a few tokens k, `ids` [B, T], at every position i (Eqs. 5-6).

    Differentiable once, with respect to the logits.

    Raises:
        ConfigError: if τ is not positive.
    """
    p: Tensor = _GumbelSoftmaxAt.apply(logits, noise, positive(tau), ids)
    return p


def positive(tau: float) -> float:
    """Returns τ; raises ConfigError if it is not positive."""
    if not tau > 0:  # also if it is not a number
        raise ConfigError(f"The temperature τ is {tau}.", "Expected a number above 0.")
    return tau


class _GumbelSoftmaxAt(torch.autograd.Function):
    """p_k = exp(x_k - log Σ_v exp x_v), x = (o + g) / τ; ∂p_k/∂o_v = p_k (1[k = v] - p_v) / τ.

    p_v is computed again in the backward pass, so that each pass needs one [B, M, V] and nothing
    of that size is kept between them; that of the backward pass becomes the gradient.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, noise: Tensor, tau: float, ids: Tensor) -> Tensor:
        x = tempered(logits, noise, tau)
        at = ids[:, None, :].expand(-1, x.shape[1], -1)
        chosen, most = x.gather(2, at), x.amax(dim=-1, keepdim=True)
        log_sum = x.sub_(most).exp_().sum(dim=-1, keepdim=True).log_().add_(most)
        p = (chosen - log_sum).exp()
        ctx.save_for_backward(logits, noise, at, log_sum, p)
        ctx.tau = tau
        return p

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        if torch.is_grad_enabled():  # else the second derivative would quietly lack terms
            raise RuntimeError("The Gumbel-softmax is differentiable once: no create_graph=True.")
        logits, noise, at, log_sum, p = ctx.saved_tensors
        towards = gradient * p
        p_v = tempered(logits, noise, ctx.tau).sub_(log_sum).exp_()
        slope = p_v.mul_(-towards.sum(dim=-1, keepdim=True)).scatter_add_(2, at, towards)
        return slope.div_(ctx.tau), None, None, None


def tempered(logits: Tensor, noise: Tensor | float, tau: float) -> Tensor:
    """[B, M, V] x = (o + g) / τ, new and in float32 at least."""
    # Deviation, Eqs. 5-6: the paper writes /τ outside the exponential in the denominator; there
    # p would not sum to one. We divide inside, as Jang et al. (2017) do.
    kind = torch.promote_types(logits.dtype, torch.float32)
    return (logits.to(kind) + noise).div_(tau)


def straight_through(soft: Tensor) -> Tensor:
    """Value 0, gradient of `soft`: what Eqs. 7 and 11 add to their hard term."""
    return soft - soft.detach()


def distinct(ids: Tensor, group: Tensor) -> Tensor:
    """[B, T] bool: True at the first occurrence of a token in its group, a set T.

    Args:
        ids: [B, T] tokens.
        group: [B, T] number of the set that each belongs to; -1 for none.
    """
    same = (ids[:, :, None] == ids[:, None, :]) & (group[:, :, None] == group[:, None, :])
    return ~same.tril(diagonal=-1).any(dim=-1) & (group >= 0)


@in_float32
def dvtm(captions: Captions, embeddings: Tensor, tau: float) -> Tensor:
    """Sentence-level dynamic vocabulary transformation matrix (Eqs. 9-11), without the matrix.

    Every token of T^LLM maps to every token of T^SD (Eq. 10), so M = 1(T^LLM)·1(T^SD)ᵀ has rank
    one, and avg(R^LLM M) = s · 1(T^SD) with s = 1/m Σ_i Σ_{k ∈ T^LLM} r_{i,k}. The product with
    the embeddings E is s · Σ_{j ∈ T^SD} E_j. Eq. 11 adds it to all N positions alike.
    """
    p = gumbel_softmax_at(captions.logits, captions.noise, tau, captions.llm_ids)
    return sentence(p, captions, embeddings)


def sentence(p: Tensor, captions: Captions, embeddings: Tensor) -> Tensor:
    """`dvtm` after the Gumbel-softmax: p [B, M, T] of the caption's tokens to [B, N, D]."""
    t_llm = distinct(captions.llm_ids, captions.llm_words.long() - 1).to(p.dtype)
    t_sd = distinct(captions.clip_ids, captions.clip_words.long() - 1)
    s = torch.einsum("bm,bmt,bt->b", captions.llm_mask.to(p.dtype), p, t_llm)
    s = s / _count(captions.llm_mask, 1)
    e = F.embedding_bag(  # Σ_{j ∈ T^SD} E_j, [B, D], without [B, N, D]
        captions.clip_ids, embeddings.detach(), mode="sum",
        per_sample_weights=t_sd.to(embeddings.dtype),
    )  # fmt: skip
    residual: Tensor = _Everywhere.apply(s, e, captions.clip_ids.shape[1])
    return residual


class _Everywhere(torch.autograd.Function):
    """(s - sg[s]) · e at N positions, for s [B] and e [B, D]: zeros that take no memory."""

    @staticmethod
    def forward(ctx: Any, s: Tensor, e: Tensor, positions: int) -> Tensor:
        ctx.save_for_backward(s, e)
        return e.new_zeros(()).expand(len(e), positions, e.shape[1])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        s, e = ctx.saved_tensors
        at_positions = (gradient @ e[:, :, None]).squeeze(2)  # [B, N]
        return at_positions.to(s.dtype).sum(dim=1), None, None


@in_float32
def dvtm_word(captions: Captions, embeddings: Tensor, tau: float) -> Tensor:
    """Word-level DVTM, pooled over the caption (§2.4.2, "computationally unfeasible").

    A word w has a matrix of its own, M_w = 1(T^LLM_w)·1(T^SD_w)ᵀ, and r_i M_w = s_i · 1(T^SD_w)
    for its tokens i, with s_i = Σ_{k ∈ T^LLM_w} r_{i,k}. Their average is added to all N positions.
    """
    s, llm, clip = _word_mass(captions, tau)
    one_each = distinct(captions.clip_ids, clip)
    read = _same(llm, clip) & one_each[:, None, :]  # [B, M, N] j ∈ T^SD of the word of i
    weight = torch.einsum("bm,bmn->bn", straight_through(s), read.to(s.dtype))
    weight = weight / _count(captions.llm_mask, 1)[:, None]
    e = _rows(embeddings, captions.clip_ids, s)
    residual = torch.einsum("bn,bnd->bd", weight, e).to(embeddings.dtype)
    return residual[:, None, :].expand(-1, captions.clip_ids.shape[1], -1)


@in_float32
def dvtm_word_position(captions: Captions, embeddings: Tensor, tau: float) -> Tensor:
    """Word-level DVTM, position by position: avg over i ∈ w of r_i M_w is added where w is read.

    So the gradient at a CLIP position of a word reaches only the LLM's tokens of that word.
    """
    s, llm, clip = _word_mass(captions, tau)
    s_w = torch.einsum("bnm,bm->bn", _mean_of_word(clip, llm, s), straight_through(s))
    read = _same(clip, clip) & distinct(captions.clip_ids, clip)[:, None, :]
    e = _rows(embeddings, captions.clip_ids, s)
    e_w = torch.einsum("bnj,bjd->bnd", read.to(e.dtype), e)  # Σ_{j ∈ T^SD_w} E_j at each position
    return (s_w[:, :, None] * e_w).to(embeddings.dtype)


@in_float32
def vtm(captions: Captions, embeddings: Tensor, tau: float) -> Tensor:
    """Static vocabulary transformation matrix of equal tokens (Eqs. 8-9), straight-through.

    Row r_i M holds the probabilities of *all* tokens that both vocabularies have, not only of the
    caption's own. Deviation, Eq. 9: it presumes one CLIP token for each LLM token; where a word
    has other numbers of them, the average of its rows stands at each of its positions.
    """
    pairs = captions.pairs()
    every = pairs[:, 0].expand(len(captions.llm_ids), -1)
    p = gumbel_softmax_at(captions.logits, captions.noise, tau, every)  # [B, M, K]
    rows = p @ _rows(embeddings, pairs[:, 1], p)  # r_i M E, [B, M, D]
    return straight_through(at_words(rows, captions)).to(embeddings.dtype)


def at_words(rows: Tensor, captions: Captions) -> Tensor:
    """[B, N, D] at each CLIP position of a word the average of the word's rows, of [B, M, D]."""
    llm, clip = captions.words()
    return _mean_of_word(clip, llm, rows) @ rows


@in_float32
def soft(captions: Captions, embeddings: Tensor, tau: float) -> Tensor:
    """Expected embeddings: position j of a word w reads s_w · E_j, not E_j; no straight-through.

    s_w ∈ (0, 1) is the probability, averaged over the LLM's tokens of w, of the word's own tokens.
    The encoder reads E_j itself only as s_w → 1, and training differs from drawing.
    """
    return _expected(embeddings, captions, *_word_mass(captions, tau))


@in_float32
def soft_decoupled(captions: Captions, embeddings: Tensor, tau: float) -> Tensor:
    """`soft` in value, with its gradient at τ = 1: each pass has a temperature of its own.

    After Shah et al. (2024, arXiv 2410.13331). As τ falls, the encoder comes to read what it will
    draw from, and the gradient does not become rare and large on the way.
    """
    s, llm, clip = _word_mass(captions, tau)
    at_one = _own_mass(captions, 1.0, llm)
    return _expected(embeddings, captions, s.detach() + straight_through(at_one), llm, clip)


def none(captions: Captions, embeddings: Tensor, tau: float) -> None:
    """No bridge: the caption crosses as text, and no gradient comes back, as in the pipeline."""
    return


# -- parts of the word-level bridges -----------------------------------------------------------


def _word_mass(captions: Captions, tau: float) -> tuple[Tensor, Tensor, Tensor]:
    """[B, M] s_i = Σ_{k ∈ T^LLM_w} p_{i,k}^GS of the word w of token i; 0 outside words.

    Also the numbers of the words on both sides, [B, M] and [B, N].
    """
    llm, clip = captions.words()
    return _own_mass(captions, tau, llm), llm, clip


def _own_mass(captions: Captions, tau: float, llm: Tensor) -> Tensor:
    p = gumbel_softmax_at(captions.logits, captions.noise, tau, captions.llm_ids)
    own = _same(llm, llm) & distinct(captions.llm_ids, llm)[:, None, :]
    return (p * own).sum(dim=2)


def _expected(
    embeddings: Tensor, captions: Captions, s: Tensor, llm: Tensor, clip: Tensor
) -> Tensor:
    """[B, N, D] (s_w - 1) · E_j at each position j of a word w, s_w the mean of s over it."""
    mean = _mean_of_word(clip, llm, s)
    s_w = torch.einsum("bnm,bm->bn", mean, s)
    lost = torch.where(mean.any(dim=2), s_w - 1, 0.0)
    e = embeddings[captions.clip_ids]  # here E has a gradient
    return (lost[:, :, None] * e).to(embeddings.dtype)


def _same(a: Tensor, b: Tensor) -> Tensor:
    """[B, S, T] whether token s of one side [B, S] and t of the other [B, T] share their word."""
    return (a[:, :, None] == b[:, None, :]) & (a >= 0)[:, :, None]


def _mean_of_word(clip: Tensor, llm: Tensor, like: Tensor) -> Tensor:
    """[B, N, M] weights: 1/|w| from each of the |w| LLM tokens of a word to its CLIP positions."""
    same = _same(clip, llm).to(like.dtype)
    return same / _count(same, 2)[:, :, None]


def _count(mask: Tensor, dim: int) -> Tensor:
    return mask.sum(dim=dim).clamp(min=1)


def _rows(embeddings: Tensor, ids: Tensor, like: Tensor) -> Tensor:
    """E[ids] outside the graph: the gradient of E through a straight-through zero is zero."""
    return embeddings.detach()[ids].to(like.dtype)
