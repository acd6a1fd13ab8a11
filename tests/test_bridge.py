"""The bridge against the literal matrices of Eqs. 4-11, and the noise against its distribution."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import accumulate

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from pscli.components.bridge import (
    Bridge,
    Captions,
    Sizes,
    distinct,
    dvtm,
    dvtm_word,
    dvtm_word_position,
    gumbel_argmax,
    gumbel_softmax_at,
    none,
    soft,
    soft_decoupled,
    straight_through,
    vtm,
)
from pscli.components.load import Load
from pscli.components.noise import gumbel, seeded, seeds_torch
from pscli.config import ModelConfig
from pscli.errors import ConfigError
from pscli.registry import TABLES

# B captions, M LLM tokens, V LLM vocabulary, N CLIP tokens, W CLIP vocabulary, D CLIP width

# -- the literal forms: one-hot vectors and matrices, one caption at a time, as in the paper ------


def rows_of_r(captions: Captions, tau: float, row: int) -> tuple[Tensor, Tensor]:
    """R^LLM [m, V], one-hot in value (Eq. 7), and p^GS (Eq. 6, with /τ inside)."""
    m = int(captions.llm_mask[row].sum())
    o, g = captions.logits[row, :m], captions.noise[row, :m]
    p_gs = torch.softmax((o + g) / tau, dim=-1)
    r_hard = F.one_hot(captions.llm_ids[row, :m], o.shape[1]).to(o.dtype)
    return r_hard - p_gs.detach() + p_gs, p_gs


def matrix_of(pairs: list[tuple[int, int]], v: int, w: int, kind: torch.dtype) -> Tensor:
    """The sparse M [V, W] with ones at the pairs."""
    index = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).T
    ones = torch.ones(len(pairs), dtype=kind)
    return torch.sparse_coo_tensor(index, ones, (v, w), check_invariants=True).coalesce()


def times(r: Tensor, matrix: Tensor) -> Tensor:
    """R M for a sparse M (Eq. 9)."""
    return torch.sparse.mm(matrix.t(), r.t()).t()


def product(left: set[int], right: set[int]) -> list[tuple[int, int]]:
    return [(i, j) for i in left for j in right]


def literal_dvtm(captions: Captions, e: Tensor, tau: float, row: int) -> Tensor:
    """[N, D] R^SD E of one caption by Eqs. 7 and 9-11."""
    r, _ = rows_of_r(captions, tau, row)
    t_llm = set(captions.llm_ids[row][captions.llm_words[row]].tolist())
    t_sd = set(captions.clip_ids[row][captions.clip_words[row]].tolist())
    matrix = matrix_of(product(t_llm, t_sd), r.shape[1], len(e), r.dtype)  # Eq. 10
    pooled = times(r, matrix).mean(0)
    r_sd_hard = F.one_hot(captions.clip_ids[row], len(e)).to(r.dtype)
    return (r_sd_hard - pooled.detach() + pooled) @ e  # Eq. 11


def words_of(captions: Captions, row: int, e: Tensor) -> dict[int, tuple[list[int], Tensor]]:
    """The LLM's positions of each word, and the word's own matrix M_w."""
    llm, clip = (side[row].tolist() for side in captions.words())
    found = {}
    for w in {*llm, *clip} - {-1}:
        t_llm = {
            i for i, word in zip(captions.llm_ids[row].tolist(), llm, strict=True) if word == w
        }
        t_sd = {
            j for j, word in zip(captions.clip_ids[row].tolist(), clip, strict=True) if word == w
        }
        v = captions.logits.shape[2]
        matrix = matrix_of(product(t_llm, t_sd), v, len(e), captions.logits.dtype)
        found[w] = ([i for i, word in enumerate(llm) if word == w], matrix)
    return found


def literal_dvtm_word(captions: Captions, e: Tensor, tau: float, row: int) -> Tensor:
    """Rows of R^LLM times the matrix of their word, averaged over the caption."""
    r, _ = rows_of_r(captions, tau, row)
    converted = [times(r[i], m) for i, m in each_row(words_of(captions, row, e))]
    pooled = (torch.stack(converted).sum(0) if converted else r.new_zeros(len(e))) / len(r)
    r_sd_hard = F.one_hot(captions.clip_ids[row], len(e)).to(r.dtype)
    return (r_sd_hard - pooled.detach() + pooled) @ e


def each_row(words: dict[int, tuple[list[int], Tensor]]) -> list[tuple[slice, Tensor]]:
    return [(slice(i, i + 1), m) for positions, m in words.values() for i in positions]


def literal_dvtm_word_position(captions: Captions, e: Tensor, tau: float, row: int) -> Tensor:
    """Eq. 11 with the average over one word's rows, at the positions of that word alone."""
    r, _ = rows_of_r(captions, tau, row)
    words = words_of(captions, row, e)
    r_sd = []
    clip = captions.words()[1][row].tolist()
    for j, word in zip(captions.clip_ids[row].tolist(), clip, strict=True):
        hard = F.one_hot(torch.tensor(j), len(e)).to(r.dtype)
        positions, matrix = words.get(word, ([], r))
        pooled = times(r[positions], matrix).mean(0) if positions else torch.zeros_like(hard)
        r_sd.append(hard - pooled.detach() + pooled)
    return torch.stack(r_sd) @ e


def literal_vtm(captions: Captions, e: Tensor, tau: float, row: int) -> Tensor:
    """Eqs. 8-9, where a CLIP position takes the average of the rows of its word."""
    r, _ = rows_of_r(captions, tau, row)
    pairs = [(i, j) for i, j in captions.pairs().tolist()]
    converted = times(r, matrix_of(pairs, r.shape[1], len(e), r.dtype))
    words = words_of(captions, row, e)
    r_sd = []
    clip = captions.words()[1][row].tolist()
    for j, word in zip(captions.clip_ids[row].tolist(), clip, strict=True):
        hard = F.one_hot(torch.tensor(j), len(e)).to(r.dtype)
        positions = words[word][0] if word >= 0 else []
        mean = converted[positions].mean(0) if positions else torch.zeros_like(hard)
        r_sd.append(hard - mean.detach() + mean)
    return torch.stack(r_sd) @ e


def literal_soft(captions: Captions, e: Tensor, tau: float, row: int) -> Tensor:
    """p^GS times a matrix that maps every token of a word to the position's own token."""
    _, p = rows_of_r(captions, tau, row)
    words = words_of(captions, row, e)
    r_sd = []
    clip = captions.words()[1][row].tolist()
    for j, word in zip(captions.clip_ids[row].tolist(), clip, strict=True):
        positions = words[word][0] if word >= 0 else []
        if not positions:
            r_sd.append(F.one_hot(torch.tensor(j), len(e)).to(p.dtype))
            continue
        t_llm = {int(captions.llm_ids[row, i]) for i in positions}
        matrix = matrix_of(product(t_llm, {j}), p.shape[1], len(e), p.dtype)
        r_sd.append(times(p[positions], matrix).mean(0))
    return torch.stack(r_sd) @ e


LITERAL: list[tuple[Bridge, Callable[[Captions, Tensor, float, int], Tensor]]] = [
    (dvtm, literal_dvtm),
    (dvtm_word, literal_dvtm_word),
    (dvtm_word_position, literal_dvtm_word_position),
    (vtm, literal_vtm),
    (soft, literal_soft),
]
STRAIGHT = [dvtm, dvtm_word, dvtm_word_position, vtm]
BRIDGES = [*STRAIGHT, soft, soft_decoupled]


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
    llm = torch.randint(-1, 3, (b, m), generator=random).masked_fill(~mask, -1)
    clip = torch.randint(-1, 3, (b, n), generator=random)
    same = torch.stack([torch.arange(v), torch.randint(-1, w, (v,), generator=random)], 1)
    captions = Captions(
        logits=logits,
        noise=noise,
        llm_ids=ids,
        llm_mask=mask,
        llm_words=llm >= 0,
        clip_ids=torch.randint(w, (b, n), generator=random),
        clip_words=clip >= 0,
        words=lambda: (llm, clip),
        pairs=lambda: same[same[:, 1] >= 0],
        pieces=lambda: torch.empty(0, 2).long(),
        draws=(),
    )
    table = (0.1 * torch.randn(w, 5, generator=random)).to(kind).requires_grad_()
    count = torch.randint(4, (v,), generator=random)  # pieces of each token, none for some
    llm_of = torch.arange(v).repeat_interleave(count)
    read = torch.stack([llm_of, torch.randint(w, llm_of.shape, generator=random)], dim=1)
    more = gumbel((3, b, m, v), random).to(kind)
    return replace(captions, draws=[draw.clone for draw in more], pieces=lambda: read), table


def both(
    form: tuple[Bridge, Callable[..., Tensor]], captions: Captions, table: Tensor, tau: float
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Value and gradients of the bridge and of the literal form under one curved loss."""
    bridge, literal = form
    residual = bridge(captions, table, tau)
    assert residual is not None
    read = F.embedding(captions.clip_ids, table) + residual
    written = torch.stack(
        [literal(captions, table, tau, row) for row in range(len(captions.clip_ids))]
    )
    weights = torch.randn(read.shape, generator=torch.Generator().manual_seed(3)).to(read.dtype)
    results, inputs = [], (captions.logits, table)
    for value in (read, written):
        loss = (weights * value + value.sin()).sum()
        results.append((value.detach(), *torch.autograd.grad(loss, inputs, materialize_grads=True)))
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


@pytest.mark.parametrize("form", LITERAL, ids=lambda form: form[0].__name__)
@given(shape=sizes, tau=st.sampled_from([0.01, 0.1, 0.5, 1.0, 3.0]))
def test_bridges_are_their_matrices_in_float64(
    form: tuple[Bridge, Callable[..., Tensor]], shape: dict[str, int], tau: float
) -> None:
    captions, table = example(**shape, kind=torch.float64)
    for ours, paper in zip(*both(form, captions, table, tau), strict=True):
        assert ours.dtype == torch.float64
        torch.testing.assert_close(ours, paper, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("form", LITERAL, ids=lambda form: form[0].__name__)
@given(shape=sizes, tau=st.sampled_from([0.3, 1.0, 3.0]))
def test_bridges_are_their_matrices_in_float32(
    form: tuple[Bridge, Callable[..., Tensor]], shape: dict[str, int], tau: float
) -> None:
    captions, table = example(**shape, kind=torch.float32)
    ours, paper = both(form, captions, table, tau)
    for a, b in zip(ours, paper, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5 * max(1.0, float(b.abs().max())))


@pytest.mark.parametrize("bridge", STRAIGHT)
@given(shape=sizes, tau=st.sampled_from([0.01, 1.0]))
def test_the_text_encoder_reads_exactly_the_one_hot_embeddings(
    bridge: Bridge, shape: dict[str, int], tau: float
) -> None:
    captions, table = example(**shape, kind=torch.float32)
    residual = bridge(captions, table, tau)
    assert residual is not None and torch.equal(residual, torch.zeros_like(residual))
    read = F.embedding(captions.clip_ids, table) + residual
    assert torch.equal(read, table[captions.clip_ids])


@given(shape=sizes, tau=st.sampled_from([0.01, 0.5, 3.0]))
def test_the_decoupled_soft_path_has_the_value_at_tau_and_the_gradient_at_one(
    shape: dict[str, int], tau: float
) -> None:
    """The gradient of a linear loss: a curved one is taken at another value."""
    captions, table = example(**shape, kind=torch.float64)
    here, at_one = soft(captions, table, tau), soft(captions, table, 1.0)
    found = soft_decoupled(captions, table, tau)
    assert found is not None and here is not None and at_one is not None
    torch.testing.assert_close(found, here, rtol=0, atol=1e-15)
    weights = torch.randn(found.shape, generator=torch.Generator().manual_seed(3)).double()
    for value, wanted, of in ((at_one, captions.logits, "o"), (here, table, "E")):
        ours, theirs = (
            torch.autograd.grad((weights * x).sum(), wanted, retain_graph=True)[0]
            for x in (found, value)
        )
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10, msg=of)


@pytest.mark.parametrize("tau", [0.5, 1.0])
def test_the_soft_path_has_the_gradient_of_its_value(tau: float) -> None:
    """Finite differences; the straight-through bridges have none, their value is constant."""
    captions, table = example(1, 2, 4, 5, 5, 6, torch.float64, False)

    def value(logits: Tensor, e: Tensor) -> Tensor:
        residual = soft(replace(captions, logits=logits), e, tau)
        assert residual is not None
        return residual

    assert torch.autograd.gradcheck(value, (captions.logits, table))


@pytest.mark.parametrize("tau", [0.2, 1.0])
def test_the_gumbel_softmax_has_the_gradient_of_its_value(tau: float) -> None:
    captions, _ = example(2, 2, 3, 6, 4, 6, torch.float64, False)

    def value(logits: Tensor) -> Tensor:
        return gumbel_softmax_at(logits, captions.noise, tau, captions.llm_ids)

    assert torch.autograd.gradcheck(value, captions.logits)


def test_soft_tends_to_the_caption() -> None:
    """As τ → 0 the sampled tokens have all the probability, and every E_j its own weight."""
    captions, table = example(3, 3, 5, 9, 6, 9, torch.float64, True)
    gaps = []
    for tau in (1.0, 0.1, 1e-4):
        residual = soft(captions, table, tau)
        assert residual is not None
        gaps.append(float(residual.detach().abs().max()))
    assert gaps[0] > gaps[1] > gaps[2] and gaps[2] < 1e-9


@given(shape=sizes)
def test_position_wise_gradients_reach_the_tokens_of_the_word_alone(shape: dict[str, int]) -> None:
    captions, table = example(**shape, kind=torch.float64)
    llm, clip = captions.words()
    for row in range(len(llm)):
        for n in range(clip.shape[1]):
            residual = dvtm_word_position(captions, table, 1.0)
            assert residual is not None
            (gradient,) = torch.autograd.grad(residual[row, n].sum(), captions.logits)
            reached = gradient.abs().sum(-1) > 0
            outside = (llm != clip[row, n]) | (llm < 0)
            outside[torch.arange(len(llm)) != row] = True
            assert not (reached & outside).any()


@pytest.mark.parametrize("bridge", BRIDGES)
def test_bridges_work_in_float32_under_autocast(bridge: Bridge) -> None:
    captions, table = example(0, 2, 4, 9, 4, 9, torch.float32, True)
    results = []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            residual = bridge(captions, table, 0.5)
        assert residual is not None and residual.dtype == torch.float32
        loss = (residual * torch.arange(residual.numel()).view_as(residual)).sum()
        results.append((residual, *torch.autograd.grad(loss, captions.logits)))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize("bridge", BRIDGES)
@pytest.mark.parametrize("tau", [0.01, 1.0])
def test_half_precision_logits_and_embeddings(bridge: Bridge, tau: float) -> None:
    """The result has the embeddings' precision; inside, it is that of the same float32 numbers."""
    captions, table = example(0, 2, 4, 9, 4, 9, torch.bfloat16, True)
    residual = bridge(captions, table, tau)
    exact = bridge(
        replace(captions, logits=captions.logits.float(), noise=captions.noise.float()),
        table.float(),
        tau,
    )
    assert residual is not None and exact is not None and residual.dtype == torch.bfloat16
    (ours,) = torch.autograd.grad(residual.float().sum(), captions.logits)
    (theirs,) = torch.autograd.grad(exact.sum(), captions.logits)
    assert ours.isfinite().all()
    torch.testing.assert_close(ours.float(), theirs.float(), rtol=0.02, atol=1e-6)


@pytest.mark.parametrize("bridge", BRIDGES)
@pytest.mark.parametrize("m", [0, 3])
def test_captions_without_a_word_bring_no_gradient(bridge: Bridge, m: int) -> None:
    """Empty captions, and captions of special tokens alone."""
    captions, table = example(0, 2, 4, 9, 5, 9, torch.float32, True)
    nothing = torch.zeros(2, m, dtype=torch.bool)
    logits = captions.logits[:, :m].detach().requires_grad_()
    empty = replace(
        captions,
        logits=logits,
        noise=captions.noise[:, :m],
        llm_ids=captions.llm_ids[:, :m],
        llm_mask=~nothing,
        llm_words=nothing,
        clip_words=torch.zeros(2, 5, dtype=torch.bool),
        words=lambda: (torch.full((2, m), -1), torch.full((2, 5), -1)),
    )
    residual = bridge(empty, table, 0.5)
    assert residual is not None and residual.shape == (2, 5, 5) and not residual.any()
    (gradient,) = torch.autograd.grad(residual.sum(), logits)
    assert not gradient.any()


def test_sentence_level_says_one_number_and_word_level_one_a_word() -> None:
    """Rank of the map from losses at the CLIP positions to the LLM's gradient (Eq. 10)."""
    captions, table = example(5, 1, 6, 9, 6, 20, torch.float64, True)
    words = torch.tensor([[0, 0, 1, 1, 2, 2]])
    captions = replace(
        captions, llm_mask=words >= 0, llm_words=words >= 0, clip_words=words >= 0,
        words=lambda: (words, words),
    )  # fmt: skip
    ranks = []
    for bridge in (dvtm, dvtm_word, dvtm_word_position):
        residual = bridge(captions, table, 1.0)
        assert residual is not None
        gradients = [
            torch.autograd.grad(x, captions.logits, retain_graph=True)[0].flatten()
            for x in residual.flatten()
        ]
        ranks.append(int(torch.linalg.matrix_rank(torch.stack(gradients))))
    assert ranks == [1, 3, 3]


@pytest.mark.parametrize(
    ("bridge", "scale"),
    [(dvtm, 10), (dvtm_word, 10), (dvtm_word_position, 10), (soft, 10), (vtm, 10 - 7)],
)
def test_the_gradient_of_a_caption_by_hand(bridge: Bridge, scale: float) -> None:
    """One token of two, τ = 1, p = (1/4, 3/4); T^SD = {1}: ds/do_1 = p_1 (1 - p_1) = 3/16.

    E = (7, 10): `vtm` knows both tokens, d(7 p_0 + 10 p_1)/do_1 = (10 - 7) p_0 p_1.
    """
    logits = torch.tensor([[[0.0, math.log(3.0)]]], requires_grad=True)
    one = torch.ones(1, 1, dtype=torch.bool)
    captions = Captions(
        logits, torch.zeros(1, 1, 2), torch.tensor([[1]]), one, one, torch.tensor([[1]]), one,
        words=lambda: (torch.zeros(1, 1).long(), torch.zeros(1, 1).long()),
        pairs=lambda: torch.tensor([[0, 0], [1, 1]]),
        pieces=lambda: torch.tensor([[0, 0], [1, 1]]), draws=(),
    )  # fmt: skip
    residual = bridge(captions, torch.tensor([[7.0], [10.0]]), 1.0)
    assert residual is not None
    residual.sum().backward()
    expected = torch.tensor([[[-scale * 3 / 16, scale * 3 / 16]]])
    torch.testing.assert_close(logits.grad, expected)


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
    marked = distinct(torch.tensor([ids]), torch.tensor([mask]).long() - 1)[0].tolist()
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


@pytest.mark.parametrize("tau", [0.05, 1.0, 4.0])
def test_the_gradient_of_the_gumbel_softmax_is_torchs(tau: float) -> None:
    """Also of a token that is asked for twice, and with logits far from zero."""
    random = torch.Generator().manual_seed(0)
    logits = (1000 + torch.randn(2, 3, 7, generator=random)).double().requires_grad_()
    noise, ids = gumbel((2, 3, 7), random), torch.tensor([[4, 4, 0, 4], [1, 2, 2, 6]])
    weights = torch.randn(2, 3, 4, generator=random).double()
    p = gumbel_softmax_at(logits, noise, tau, ids)
    oracle = torch.softmax((logits + noise) / tau, -1).gather(2, ids[:, None].expand(-1, 3, -1))
    found, expected = (torch.autograd.grad((weights * x).sum(), logits)[0] for x in (p, oracle))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_the_gumbel_softmax_says_that_it_has_no_second_derivative() -> None:
    captions, table = example(0, 2, 4, 9, 4, 9, torch.float32, True)
    residual = dvtm(captions, table, 1.0)
    assert residual is not None
    with pytest.raises(RuntimeError) as caught:
        torch.autograd.grad(residual.sum(), captions.logits, create_graph=True)
    message = "The Gumbel-softmax is differentiable once: no create_graph=True."
    assert str(caught.value) == message


@pytest.mark.parametrize("bridge", [dvtm, dvtm_word, dvtm_word_position, soft, soft_decoupled])
def test_a_step_takes_no_more_memory_than_its_gradient(bridge: Bridge) -> None:
    """One [B, M, V] at a time, and none kept for the backward pass but what came in."""
    captions, table = example(0, 2, 6, 20_000, 8, 9, torch.float32, True)
    kept = []

    def keep(x: Tensor) -> Tensor:
        kept.append(x)
        return x

    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
            residual = bridge(captions, table, 0.5)
        assert residual is not None
        (gradient,) = torch.autograd.grad(residual.sum(), captions.logits)
    events = profile.profiler.kineto_results.events()
    peak = max(accumulate(e.nbytes() for e in events if e.name() == "[memory]"))
    assert gradient.nbytes <= peak < 1.1 * gradient.nbytes
    given = {captions.logits.data_ptr(), captions.noise.data_ptr()}
    assert sum(x.nbytes for x in kept if x.data_ptr() not in given) < 0.01 * gradient.nbytes


def test_the_gradient_is_summed_over_positions_in_float32() -> None:
    """257 positions, each with 1 · E_1 = 1: in bfloat16 the sum would be 256 or 258."""
    one = torch.ones(1, 1, dtype=torch.bool)
    logits = torch.zeros(1, 1, 2, requires_grad=True)
    read = torch.arange(257)[None] == 0
    captions = Captions(
        logits, torch.zeros(1, 1, 2), torch.tensor([[1]]), one, one,
        torch.ones(1, 257).long(), read,
        words=lambda: (torch.zeros(1, 1).long(), read.long() - 1),
        pairs=lambda: torch.tensor([[1, 1]]), pieces=lambda: torch.tensor([[1, 1]]), draws=(),
    )  # fmt: skip
    residual = dvtm(captions, torch.ones(2, 1, dtype=torch.bfloat16), 1.0)
    assert residual is not None
    (gradient,) = torch.autograd.grad(residual.sum(), logits)
    assert gradient.tolist() == [[[-257 / 4, 257 / 4]]]  # p (1 - p) = 1/4


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


@pytest.mark.parametrize(
    ("u", "g"),
    [
        (0.0, -math.log(126 * math.log(2))),  # of 2^-126, the smallest normal number
        (1 - 2**-24, 24 * math.log(2)),  # of the largest below 1
        (1.0, 24 * math.log(2)),
    ],
)
def test_gumbel_noise_is_finite_at_the_ends(
    u: float, g: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "rand", lambda shape, generator: torch.full(shape, u))
    assert gumbel((3,), torch.Generator()).tolist() == [pytest.approx(g, rel=1e-6)] * 3


def test_torchs_own_generator_is_seeded_alike() -> None:
    """Dropout draws from it. `printf a/1 | b2sum -l 64`, halved."""
    seeds_torch("a", 1)
    assert torch.initial_seed() == 6431086039603022688


def test_seeds_depend_on_every_part_and_on_nothing_else() -> None:
    def draw(*parts: object) -> list[float]:
        return gumbel((3,), seeded(*parts)).tolist()

    assert draw("0/1", "d1/2/0", "gumbel") == draw("0/1", "d1/2/0", "gumbel")
    others = [("0/2", "d1/2/0", "gumbel"), ("0/1", "d1/3/0", "gumbel"), ("0/1", "d1/2/0", "x")]
    assert draw("0/1", "d1/2/0", "gumbel") not in [draw(*parts) for parts in others]
    # The same in every process and on every machine: `printf a/1 | b2sum -l 64`, halved.
    assert seeded("a", 1).initial_seed() == 6431086039603022688


@pytest.mark.parametrize(
    "name", ["json:dumps", "pscli.components.estimators:ScoreFunction", "torch.nn:Identity"]
)
def test_what_does_not_take_captions_is_no_bridge(name: str) -> None:
    """A function of another thing, and the class of one of ours in place of that."""
    sizes = lambda: Sizes(5, 5, 5, 5)  # noqa: E731
    load = Load(replace(ModelConfig(), bridge=name))
    if name == "torch.nn:Identity":  # a module is made for sizes; what it takes then is its own
        assert isinstance(load.bridge(sizes), torch.nn.Identity)
        return
    with pytest.raises(ConfigError, match=f"The bridge '{name}' cannot be called with captions"):
        load.bridge(sizes)


@pytest.mark.parametrize("name", TABLES["bridge"])
def test_every_bridge_of_the_registry_takes_what_bridges_take(name: str) -> None:
    assert callable(Load(replace(ModelConfig(), bridge=name)).bridge(lambda: Sizes(5, 5, 5, 5)))
