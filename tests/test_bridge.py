"""The bridge against the literal matrices of Eqs. 4-11, and the noise against its distribution."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from pscli.errors import ConfigError
from pscli.model.bridge import (
    Captions,
    distinct,
    dvtm,
    gumbel_argmax,
    gumbel_softmax_at,
    none,
    straight_through,
)
from pscli.model.noise import gumbel, seeded

# B captions, M LLM tokens, V LLM vocabulary, N CLIP tokens, W CLIP vocabulary, D CLIP width


def literal_dvtm(captions: Captions, e: Tensor, tau: float, row: int) -> Tensor:
    """[N, D] R^SD E of one caption, with one-hot vectors and the matrix M, as in the paper."""
    m = int(captions.llm_mask[row].sum())
    o, g = captions.logits[row, :m], captions.noise[row, :m]
    v, w = o.shape[1], len(e)
    p_gs = torch.softmax((o + g) / tau, dim=-1)  # Eq. 6, with /τ inside
    r_hard = F.one_hot(captions.llm_ids[row, :m], v).to(o.dtype)
    r = r_hard - p_gs.detach() + p_gs  # Eq. 7
    t_llm = set(captions.llm_ids[row][captions.llm_words[row]].tolist())
    t_sd = set(captions.clip_ids[row][captions.clip_words[row]].tolist())
    matrix = torch.zeros(v, w, dtype=o.dtype)
    for i in t_llm:
        for j in t_sd:
            matrix[i, j] = 1  # Eq. 10
    pooled = (r @ matrix).mean(0)  # Eqs. 9 and 11
    r_sd_hard = F.one_hot(captions.clip_ids[row], w).to(o.dtype)
    r_sd = r_sd_hard - pooled.detach() + pooled  # Eq. 11
    return r_sd @ e


def example(
    seed: int, b: int, m: int, v: int, n: int, w: int, kind: torch.dtype, sampled: bool
) -> tuple[Captions, Tensor]:
    """Random captions of B different lengths, with repeats and tokens that write nothing."""
    random = torch.Generator().manual_seed(seed)
    logits = (2 * torch.randn(b, m, v, generator=random)).to(kind).requires_grad_()
    noise = gumbel((b, m, v), random).to(kind)
    lengths = torch.randint(1, m + 1, (b,), generator=random)
    mask = torch.arange(m) < lengths[:, None]
    ids = torch.randint(v, (b, m), generator=random)
    if sampled:
        ids = gumbel_argmax(logits.detach(), noise)
    captions = Captions(
        logits=logits,
        noise=noise,
        llm_ids=ids,
        llm_mask=mask,
        llm_words=mask & (torch.rand(b, m, generator=random) < 0.8),
        clip_ids=torch.randint(w, (b, n), generator=random),
        clip_words=torch.rand(b, n, generator=random) < 0.7,
    )
    table = torch.randn(w, 5, generator=random).to(kind).requires_grad_()
    return captions, table


def both(
    captions: Captions, table: Tensor, tau: float
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Value and gradients of the bridge and of the literal form under one curved loss."""
    read = F.embedding(captions.clip_ids, table) + dvtm(captions, table, tau)
    written = torch.stack(
        [literal_dvtm(captions, table, tau, row) for row in range(len(captions.clip_ids))]
    )
    weights = torch.randn(read.shape, generator=torch.Generator().manual_seed(3)).to(read.dtype)
    results = []
    for value in (read, written):
        loss = (weights * value + value.sin()).sum()
        results.append((value.detach(), *torch.autograd.grad(loss, (captions.logits, table))))
    return results[0], results[1]


sizes = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 10**6),
        "b": st.integers(1, 3),
        "m": st.integers(1, 6),
        "v": st.integers(2, 12),
        "n": st.integers(1, 6),
        "w": st.integers(2, 12),
        "sampled": st.booleans(),
    }
)


@given(sizes, st.sampled_from([0.01, 0.1, 0.5, 1.0, 3.0]))
def test_dvtm_is_the_matrix_of_eq_10_in_float64(shape: dict[str, int], tau: float) -> None:
    captions, table = example(**shape, kind=torch.float64)
    for ours, paper in zip(*both(captions, table, tau), strict=True):
        assert ours.dtype == torch.float64
        torch.testing.assert_close(ours, paper, rtol=1e-10, atol=1e-10)


@given(sizes, st.sampled_from([0.3, 1.0, 3.0]))
def test_dvtm_is_the_matrix_of_eq_10_in_float32(shape: dict[str, int], tau: float) -> None:
    captions, table = example(**shape, kind=torch.float32)
    ours, paper = both(captions, table, tau)
    for a, b in zip(ours, paper, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5 * max(1.0, float(b.abs().max())))


@given(sizes, st.sampled_from([0.01, 1.0]))
def test_the_text_encoder_reads_exactly_the_one_hot_embeddings(
    shape: dict[str, int], tau: float
) -> None:
    captions, table = example(**shape, kind=torch.float32)
    residual = dvtm(captions, table, tau)
    assert torch.equal(residual, torch.zeros_like(residual))
    read = F.embedding(captions.clip_ids, table) + residual
    assert torch.equal(read, table[captions.clip_ids])


def test_dvtm_in_half_precision_logits_stays_finite() -> None:
    captions, table = example(0, 2, 4, 9, 4, 9, torch.bfloat16, True)
    residual = dvtm(captions, table, 0.01)
    (gradient,) = torch.autograd.grad(residual.float().sum(), captions.logits)
    assert not residual.any() and gradient.isfinite().all()


def test_the_gradient_of_a_caption_by_hand() -> None:
    """One token of two, τ = 1, p = (1/4, 3/4); T^SD = {1}: ds/do_1 = p_1 (1 - p_1) = 3/16."""
    logits = torch.tensor([[[0.0, math.log(3.0)]]], requires_grad=True)
    one = torch.ones(1, 1, dtype=torch.bool)
    captions = Captions(
        logits, torch.zeros(1, 1, 2), torch.tensor([[1]]), one, one, torch.tensor([[1]]), one
    )
    dvtm(captions, torch.tensor([[7.0], [10.0]]), 1.0).sum().backward()
    torch.testing.assert_close(logits.grad, torch.tensor([[[-10 * 3 / 16, 10 * 3 / 16]]]))


def test_none_adds_nothing() -> None:
    captions, table = example(0, 2, 4, 9, 4, 9, torch.float32, True)
    assert none(captions, table, 1.0) is None


@pytest.mark.parametrize("tau", [0.0, -1.0, math.nan])
def test_tau_must_be_positive(tau: float) -> None:
    captions, table = example(0, 1, 2, 3, 2, 3, torch.float32, True)
    with pytest.raises(ConfigError) as caught:
        dvtm(captions, table, tau)
    assert str(caught.value) == f"The temperature τ is {tau}. Expected a number above 0."


def test_straight_through_is_zero_with_the_gradient_of_its_argument() -> None:
    x = torch.tensor([0.3, -2.0], requires_grad=True)
    y = straight_through(x.square())
    assert torch.equal(y, torch.zeros(2))
    y.sum().backward()
    torch.testing.assert_close(x.grad, torch.tensor([0.6, -4.0]))


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=8))
def test_distinct_marks_each_element_of_the_set_once(row: list[tuple[int, bool]]) -> None:
    ids, mask = [i for i, _ in row], [k for _, k in row]
    marked = distinct(torch.tensor([ids]), torch.tensor([mask]))[0].tolist()
    expected = [k and i not in [j for j, u in row[:n] if u] for n, (i, k) in enumerate(row)]
    assert marked == expected


@pytest.mark.parametrize("tau", [0.05, 1.0, 4.0])
def test_gumbel_softmax_is_torchs_softmax_of_eq_6(tau: float) -> None:
    random = torch.Generator().manual_seed(0)
    logits, noise = torch.randn(2, 3, 7, generator=random).double(), gumbel((2, 3, 7), random)
    every = torch.arange(7).expand(2, 7)
    p = gumbel_softmax_at(logits, noise, tau, every)
    torch.testing.assert_close(p, torch.softmax((logits + noise) / tau, -1), rtol=1e-12, atol=0)
    torch.testing.assert_close(p.sum(-1), torch.ones(2, 3, dtype=torch.float64))


# -- noise -------------------------------------------------------------------------------------


def test_gumbel_argmax_samples_the_softmax() -> None:
    """Pearson's χ² with 7 degrees of freedom; 24.3 is exceeded once in a thousand times."""
    logits = torch.tensor([2.0, 1.0, 0.0, -0.5, 0.3, 1.5, -1.0, 0.7])
    count = 40_000
    noise = gumbel((1, count, 8), seeded("χ²"))
    sampled = gumbel_argmax(logits.expand(1, count, 8), noise)[0]
    observed = torch.bincount(sampled, minlength=8)
    expected = count * torch.softmax(logits, 0)
    assert float(((observed - expected).square() / expected).sum()) < 24.3


def test_gumbel_noise_has_the_moments_of_its_distribution() -> None:
    """Mean γ = 0.57722, variance π²/6, P(g ≤ 0) = 1/e; within four standard errors."""
    g = gumbel((200_000,), seeded("moments")).double()
    assert g.isfinite().all()
    assert float(g.mean()) == pytest.approx(0.577216, abs=4 * 1.2825 / math.sqrt(200_000))
    assert float(g.var()) == pytest.approx(math.pi**2 / 6, rel=0.02)
    assert float((g <= 0).double().mean()) == pytest.approx(1 / math.e, abs=0.0044)


@pytest.mark.parametrize("u", [0.0, 1 - 2**-24])
def test_gumbel_noise_is_finite_at_the_ends(u: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "rand", lambda shape, generator: torch.full(shape, u))
    assert gumbel((3,), torch.Generator()).isfinite().all()


def test_seeds_depend_on_every_part_and_on_nothing_else() -> None:
    def draw(*parts: object) -> list[float]:
        return gumbel((3,), seeded(*parts)).tolist()

    assert draw("0/1", "d1/2/0", "gumbel") == draw("0/1", "d1/2/0", "gumbel")
    others = [("0/2", "d1/2/0", "gumbel"), ("0/1", "d1/3/0", "gumbel"), ("0/1", "d1/2/0", "x")]
    assert draw("0/1", "d1/2/0", "gumbel") not in [draw(*parts) for parts in others]
    # The same in every process and on every machine: `printf a/1 | b2sum -l 64`, halved.
    assert seeded("a", 1).initial_seed() == 6431086039603022688
