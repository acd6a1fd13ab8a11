"""Second family of bridges: other gradients of the sampled caption than the Gumbel-softmax's own.

The first family (`bridge.py`) differs in its matrix M and differentiates r_i as Eqs. 6-7 do, by
∂p/∂o = (diag(p) - p pᵀ) / τ. This one differs there. All cross by the matrix of *every* LLM token,
which maps it to the mean of the CLIP tokens that read its text, so that they know the other words;
the score function crosses by none. "Eq. n" refers to Guo et al. (2024).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pscli.components.bridge import (
    Captions,
    at_words,
    gumbel_argmax,
    in_float32,
    positive,
    straight_through,
    tempered,
)

# B captions, M LLM tokens, V LLM vocabulary, N CLIP tokens, W CLIP vocabulary, D CLIP width,
# P pairs of an LLM token and one of its pieces, S captions of a photo

# A Jacobian ∂r_i/∂o_i = Σ c (diag(q) - q qᵀ), term by term: a number c, and q [B, M, V] of which
# each row is a distribution.
Jacobian = Iterator[tuple[float, Tensor]]


@in_float32
def vtm_all(captions: Captions, embeddings: Tensor, tau: float) -> Tensor:
    """`vtm` for every token that the LLM can write, not only for those that CLIP has, too.

    A token's row of M is 1/n at each of the n CLIP tokens that read its text. Zero are the rows of
    tokens that write nothing by themselves: special ones, white space, parts of characters.
    """
    return _across(stgs, captions, embeddings, tau)


@in_float32
def gumbel_rao(captions: Captions, embeddings: Tensor, tau: float) -> Tensor:
    """`vtm-all` with the Jacobian averaged over noise that gives the same caption.

    Paulus et al. (2020, arXiv 2010.04838), "Rao-Blackwellizing the straight-through Gumbel-softmax
    gradient estimator": the same mean, and less variance, by as many draws as `captions` has.
    """
    return _across(rao_blackwell, captions, embeddings, tau)


@in_float32
def reinmax(captions: Captions, embeddings: Tensor, tau: float) -> Tensor:
    """`vtm-all` with ReinMax's Jacobian, accurate to the second order at τ = 1.

    Liu et al. (2023, arXiv 2304.08612), Algorithm 2, for τ of 1 and above.
    """
    return _across(heun, captions, embeddings, tau)


class ScoreFunction:
    """The unbiased reference: Σ_s (L_s - mean of the others) ∇log P(c_s) / S; no matrix is crossed.

    REINFORCE with a leave-one-out baseline (Kool et al. 2019, "Buy 4 REINFORCE samples, get a
    baseline for free!"). c_0 is the caption of the noise, and there is one for each further draw.
    All are drawn from P(c) = Π_i softmax(o_i), and τ plays no part.
    """

    def __call__(self, captions: Captions, embeddings: Tensor, tau: float) -> None:
        return

    def surrogate(self, captions: Captions, losses: Callable[[Tensor], Tensor]) -> Tensor:
        """[B], zero in value; see `Scoring`. It costs S = K + 1 losses, without a gradient."""
        o = captions.logits
        draws = (lambda: captions.noise, *captions.draws)
        ids = [gumbel_argmax(o, draw()) for draw in draws]
        with torch.no_grad():
            found = torch.stack([losses(c) for c in ids], dim=1)  # [B, S]
        size = found.shape[1]
        above = (found - found.mean(dim=1, keepdim=True)) * size / (size - 1)
        # log P(c_s) without its -Σ_i log Σ_v exp o_iv, which is the same for all s: Σ_s above = 0.
        chosen = o.gather(2, torch.stack(ids, dim=2))  # [B, M, S]
        score = (chosen * captions.llm_mask[:, :, None]).sum(dim=1)
        return straight_through((above * score).mean(dim=1))


score_function = ScoreFunction()


# -- Jacobians of the sample -------------------------------------------------------------------


def stgs(captions: Captions, tau: float) -> Jacobian:
    """Of p^GS (Eqs. 5-7)."""
    yield 1 / tau, _softmax_(tempered(captions.logits, captions.noise, tau))


def rao_blackwell(captions: Captions, tau: float) -> Jacobian:
    """E[∂p^GS/∂o | r̃] over K draws.

    Deviation, Paulus et al. (2020): they differentiate the conditional noise as well. Its mean is
    that of STGS, as they prove, only if the noise is held fixed, as STGS holds it.
    """
    for draw in captions.draws:
        x = conditional(captions.logits, draw(), captions.llm_ids)
        yield 1 / (tau * len(captions.draws)), _softmax_(x.div_(tau))
        del x  # before the next is made


def heun(captions: Captions, tau: float) -> Jacobian:
    """2 J((r̃ + softmax(o / τ)) / 2) - ½ J(softmax(o)), with J(q) = diag(q) - q qᵀ."""
    yield -0.5, _softmax_(tempered(captions.logits, 0.0, 1.0))
    half = _softmax_(tempered(captions.logits, 0.0, tau)).div_(2)
    at = captions.llm_ids[:, :, None]
    yield 2.0, half.scatter_add_(2, at, torch.full_like(half[:, :, :1], 0.5))


def conditional(logits: Tensor, noise: Tensor, ids: Tensor) -> Tensor:
    """[B, M, V] o + g given that it is greatest at `ids`, from noise that knows nothing of them.

    The greatest of all o_v + g_v is a Gumbel about log Σ_v exp o_v, whichever it is; the others are
    Gumbels about o_v, cut off there (Maddison et al. 2014, "A* sampling").
    """
    x, at = tempered(logits, noise, 1.0), ids[:, :, None]
    top = logits.to(x.dtype).logsumexp(dim=-1, keepdim=True) + noise.gather(2, at).to(x.dtype)
    return torch.logaddexp(x.neg_(), -top, out=x).neg_().scatter_(2, at, top)


def _softmax_(x: Tensor) -> Tensor:
    """softmax(x), in the memory of x."""
    x.sub_(x.amax(dim=-1, keepdim=True)).exp_()
    return x.div_(x.sum(dim=-1, keepdim=True))


# -- the matrix of every token -----------------------------------------------------------------


def _across(
    estimator: Callable[[Captions, float], Jacobian],
    captions: Captions, embeddings: Tensor, tau: float,
) -> Tensor:  # fmt: skip
    """[B, N, D] zeros, with the gradient of the rows r_i M E where their words are read."""
    o = captions.logits
    e = embeddings.detach().to(torch.promote_types(o.dtype, torch.float32))
    terms = partial(estimator, replace(captions, logits=o.detach()), positive(tau))
    rows: Tensor = _Rows.apply(o, table(captions.pieces(), e, o.shape[2]), terms)
    return at_words(rows, captions).to(embeddings.dtype)


def table(pieces: Tensor, embeddings: Tensor, tokens: int) -> Tensor:
    """[V, D] M E: of each LLM token the mean of its pieces' embeddings, 0 where it has none.

    Args:
        pieces: [P, 2] LLM token and CLIP token, in the order of the LLM's.
        embeddings: [W, D].
        tokens: V.
    """
    llm, clip = pieces.unbind(dim=1)
    count = llm.new_zeros(tokens).index_add_(0, llm, torch.ones_like(llm))
    return F.embedding_bag(clip.contiguous(), embeddings, count.cumsum(0) - count, mode="mean")


class _Rows(torch.autograd.Function):
    """r_i T of a matrix T [V, D], less itself: zeros [B, M, D] with a gradient.

    u = T h_i is what the loss says of every token, and Σ c (q ⊙ u - q (q·u)) its gradient at o_i.
    All is computed in the backward pass: three [B, M, V] at a time, u, q and the gradient, and two
    more while conditional noise is made.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, matrix: Tensor, terms: Callable[[], Jacobian]) -> Tensor:
        ctx.save_for_backward(matrix)
        ctx.terms = terms
        return matrix.new_zeros(()).expand(*logits.shape[:2], matrix.shape[1])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        if torch.is_grad_enabled():  # else the second derivative would quietly lack terms
            raise RuntimeError("The estimators are differentiable once: no create_graph=True.")
        (matrix,) = ctx.saved_tensors
        u = gradient @ matrix.T
        slope = torch.zeros_like(u)
        for c, q in ctx.terms():
            # q·u is taken off u itself, once for all: q ⊙ u - q (q·u) does not see a shift of u.
            u.sub_(torch.einsum("bmv,bmv->bm", q, u)[:, :, None])
            slope.addcmul_(q, u, value=c)
            del q  # before the next is made
        return slope, None, None
