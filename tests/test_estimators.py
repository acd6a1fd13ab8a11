"""The second family of bridges against the formulas of their papers, written out with autograd."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import accumulate
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from pscli.components.bridge import Bridge, Captions, Scoring, none, vtm
from pscli.components.estimators import (
    conditional,
    gumbel_rao,
    reinmax,
    score_function,
    table,
    vtm_all,
)
from pscli.components.noise import gumbel, seeded
from pscli.config import Config, ModelConfig, changed, tiny
from pscli.dialogue.batch import collate
from pscli.dialogue.schema import Dialogue
from pscli.errors import ConfigError
from pscli.plan.estimate import estimate
from pscli.registry import find
from test_bridge import both, example, sizes, words_of
from test_systems import gradients, losses, sequences

# B captions, M LLM tokens, V LLM vocabulary, N CLIP tokens, W CLIP vocabulary, D CLIP width

# -- the literal forms -------------------------------------------------------------------------


def dense(captions: Captions, w: int) -> Tensor:
    """M [V, W]: 1/n for each of the n pieces of a token."""
    matrix = torch.zeros(captions.logits.shape[2], w, dtype=captions.logits.dtype)
    for i, j in captions.pieces().tolist():
        matrix[i, j] += 1
    return matrix / matrix.sum(1, keepdim=True).clamp(min=1)


def literal(p: Tensor, captions: Captions, e: Tensor, row: int) -> Tensor:
    """[N, D] Eqs. 7, 9 and 11 with a dense M, where a CLIP position takes the mean of its word."""
    hard = F.one_hot(captions.llm_ids[row, : len(p)], p.shape[1]).to(p.dtype)
    r = hard - p.detach() + p
    converted = r @ dense(captions, len(e))
    words = words_of(captions, row, e)
    r_sd = []
    clip = captions.words()[1][row].tolist()
    for j, word in zip(captions.clip_ids[row].tolist(), clip, strict=True):
        one_hot = F.one_hot(torch.tensor(j), len(e)).to(p.dtype)
        positions = words[word][0] if word >= 0 else []
        mean = converted[positions].mean(0) if positions else torch.zeros_like(one_hot)
        r_sd.append(one_hot - mean.detach() + mean)
    return torch.stack(r_sd) @ e


def rows(captions: Captions, row: int) -> tuple[Tensor, int]:
    m = int(captions.llm_mask[row].sum())
    return captions.logits[row, :m], m


def literal_vtm_all(captions: Captions, e: Tensor, tau: float, row: int) -> Tensor:
    o, m = rows(captions, row)
    p = torch.softmax((o + captions.noise[row, :m]) / tau, dim=-1)
    return literal(p, captions, e, row)


def literal_gumbel_rao(captions: Captions, e: Tensor, tau: float, row: int) -> Tensor:
    """The conditional noise from exponentials, as the paper has it, token by token."""
    o, m = rows(captions, row)
    p = torch.zeros_like(o)
    for draw in captions.draws:
        exponential = torch.exp(-draw()[row, :m])
        x = torch.zeros_like(o)
        for i, chosen in enumerate(captions.llm_ids[row, :m].tolist()):
            z = o[i].exp().sum()
            for j in range(o.shape[1]):
                x[i, j] = (
                    z.log() - exponential[i, j].log() if j == chosen
                    else -torch.log(exponential[i, j] / o[i, j].exp() + exponential[i, chosen] / z)
                )  # fmt: skip
        noise = (x - o).detach()
        p = p + torch.softmax((o + noise) / tau, dim=-1) / len(captions.draws)
    return literal(p, captions, e, row)


def literal_reinmax(captions: Captions, e: Tensor, tau: float, row: int) -> Tensor:
    """Algorithm 2 of Liu et al. (2023), line by line."""
    theta, m = rows(captions, row)
    pi_0 = torch.softmax(theta, dim=-1)
    d = F.one_hot(captions.llm_ids[row, :m], theta.shape[1]).to(theta.dtype)
    pi_1 = (d + torch.softmax(theta / tau, dim=-1)) / 2
    pi_1 = torch.softmax((pi_1.log() - theta).detach() + theta, dim=-1)
    pi_2 = 2 * pi_1 - 0.5 * pi_0
    return literal(pi_2, captions, e, row)


LITERAL: list[tuple[Bridge, Callable[[Captions, Tensor, float, int], Tensor]]] = [
    (vtm_all, literal_vtm_all),
    (gumbel_rao, literal_gumbel_rao),
    (reinmax, literal_reinmax),
]
ACROSS = [vtm_all, gumbel_rao, reinmax]


@pytest.mark.parametrize("form", LITERAL, ids=lambda form: form[0].__name__)
@given(shape=sizes, tau=st.sampled_from([0.1, 0.5, 1.0, 3.0]))
def test_bridges_are_their_formulas_in_float64(
    form: tuple[Bridge, Callable[..., Tensor]], shape: dict[str, int], tau: float
) -> None:
    captions, e = example(**shape, kind=torch.float64)
    for ours, paper in zip(*both(form, captions, e, tau), strict=True):
        assert ours.dtype == torch.float64
        torch.testing.assert_close(ours, paper, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("bridge", ACROSS)
@given(shape=sizes, tau=st.sampled_from([0.01, 1.0]))
def test_the_text_encoder_reads_exactly_the_one_hot_embeddings(
    bridge: Bridge, shape: dict[str, int], tau: float
) -> None:
    captions, e = example(**shape, kind=torch.float32)
    residual = bridge(captions, e, tau)
    assert residual is not None and residual.shape == e[captions.clip_ids].shape
    assert torch.equal(F.embedding(captions.clip_ids, e) + residual, e[captions.clip_ids])


@pytest.mark.parametrize("tau", [0.01, 1.0])
def test_vtm_is_vtm_all_where_every_token_has_one_piece(tau: float) -> None:
    captions, e = example(4, 3, 5, 9, 6, 9, torch.float64, True)
    captions = replace(captions, pieces=captions.pairs)
    weights = torch.randn(3, 6, 5, generator=seeded("weights")).double()
    found = [
        torch.autograd.grad((weights * bridge(captions, e, tau)).sum(), captions.logits)[0]
        for bridge in (vtm, vtm_all)
    ]
    torch.testing.assert_close(*found)
    assert found[0].any()


def test_rows_of_the_matrix_by_hand() -> None:
    """Token 0 has no piece, 1 has two, 2 one twice, 3 one; 4 is beyond the tokenizer's own."""
    e = torch.tensor([[1.0, 0.0], [3.0, 2.0], [0.0, 8.0]])
    pieces = torch.tensor([[1, 0], [1, 1], [2, 2], [2, 2], [3, 1]])
    expected = [[0.0, 0.0], [2.0, 1.0], [0.0, 8.0], [3.0, 2.0], [0.0, 0.0]]
    assert table(pieces, e, 5).tolist() == expected
    assert table(torch.empty(0, 2).long(), e, 2).tolist() == [[0.0, 0.0]] * 2


@pytest.mark.parametrize(("bridge", "slope"), [(vtm_all, 3 / 16), (reinmax, 1 / 8)])
def test_the_gradient_of_a_caption_by_hand(bridge: Bridge, slope: float) -> None:
    """One token of two, τ = 1, p = (1/4, 3/4), E = (7, 10): (10 - 7) p_0 p_1.

    ReinMax: π_1 = (1/8, 7/8), and 2 · 1/8 · 7/8 - 1/2 · 1/4 · 3/4 in the place of p_0 p_1.
    """
    logits = torch.tensor([[[0.0, math.log(3.0)]]], requires_grad=True)
    one = torch.ones(1, 1, dtype=torch.bool)
    same = torch.tensor([[0, 0], [1, 1]])
    captions = Captions(
        logits, torch.zeros(1, 1, 2), torch.tensor([[1]]), one, one, torch.tensor([[1]]), one,
        words=lambda: (torch.zeros(1, 1).long(), torch.zeros(1, 1).long()),
        pairs=lambda: same, pieces=lambda: same, draws=(),
    )  # fmt: skip
    residual = bridge(captions, torch.tensor([[7.0], [10.0]]), 1.0)
    assert residual is not None
    residual.sum().backward()
    torch.testing.assert_close(logits.grad, torch.tensor([[[-3 * slope, 3 * slope]]]))


@pytest.mark.parametrize("bridge", ACROSS)
def test_bridges_work_in_float32_under_autocast(bridge: Bridge) -> None:
    captions, e = example(0, 2, 4, 9, 4, 9, torch.float32, True)
    results = []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            residual = bridge(captions, e, 0.5)
        assert residual is not None and residual.dtype == torch.float32
        loss = (residual * torch.randn(residual.shape, generator=seeded("loss"))).sum()
        results.append((residual, *torch.autograd.grad(loss, captions.logits)))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    assert results[0][1].any()


@pytest.mark.parametrize("bridge", ACROSS)
@pytest.mark.parametrize("tau", [0.01, 1.0])
def test_half_precision_logits_and_embeddings(bridge: Bridge, tau: float) -> None:
    captions, e = example(0, 2, 4, 9, 4, 9, torch.bfloat16, True)
    wide = replace(
        captions, logits=captions.logits.float(), noise=captions.noise.float(),
        draws=[lambda draw=draw: draw().float() for draw in captions.draws],
    )  # fmt: skip
    residual, exact = bridge(captions, e, tau), bridge(wide, e.float(), tau)
    assert residual is not None and exact is not None and residual.dtype == torch.bfloat16
    (ours,) = torch.autograd.grad(residual.float().sum(), captions.logits)
    (theirs,) = torch.autograd.grad(exact.sum(), captions.logits)
    assert ours.isfinite().all()
    torch.testing.assert_close(ours.float(), theirs.float(), rtol=0.02, atol=2e-3)


@pytest.mark.parametrize("bridge", ACROSS)
@pytest.mark.parametrize("m", [0, 3])
def test_captions_without_a_word_bring_no_gradient(bridge: Bridge, m: int) -> None:
    captions, e = example(0, 2, 4, 9, 5, 9, torch.float32, True)
    nothing = torch.zeros(2, m, dtype=torch.bool)
    logits = captions.logits[:, :m].detach().requires_grad_()
    empty = replace(
        captions, logits=logits, noise=captions.noise[:, :m], llm_ids=captions.llm_ids[:, :m],
        llm_mask=~nothing, llm_words=nothing, clip_words=torch.zeros(2, 5, dtype=torch.bool),
        words=lambda: (torch.full((2, m), -1), torch.full((2, 5), -1)),
        draws=[lambda draw=draw: draw()[:, :m] for draw in captions.draws],
    )  # fmt: skip
    residual = bridge(empty, e, 0.5)
    assert residual is not None and residual.shape == (2, 5, 5) and not residual.any()
    (gradient,) = torch.autograd.grad(residual.sum(), logits)
    assert not gradient.any()


@pytest.mark.parametrize("bridge", ACROSS)
def test_tau_must_be_positive(bridge: Bridge) -> None:
    captions, e = example(0, 1, 2, 3, 2, 3, torch.float32, True)
    with pytest.raises(
        ConfigError, match=r"^The temperature τ is 0\. Expected a number above 0\.$"
    ):
        bridge(captions, e, 0)


def test_they_say_that_they_have_no_second_derivative() -> None:
    captions, e = example(0, 2, 4, 9, 4, 9, torch.float32, True)
    residual = vtm_all(captions, e, 1.0)
    assert residual is not None
    with pytest.raises(RuntimeError) as caught:
        torch.autograd.grad(residual.sum(), captions.logits, create_graph=True)
    assert str(caught.value) == "The estimators are differentiable once: no create_graph=True."


@pytest.mark.parametrize(("bridge", "most"), [(vtm_all, 3), (gumbel_rao, 5), (reinmax, 3)])
def test_a_step_holds_three_tensors_of_its_gradient_s_size(bridge: Bridge, most: int) -> None:
    """u, q and the gradient, and what conditional noise is made of; none is kept for backward."""
    captions, e = example(0, 2, 6, 20_000, 8, 9, torch.float32, True)
    kept = []

    def keep(x: Tensor) -> Tensor:
        kept.append(x)
        return x

    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
            residual = bridge(captions, e, 0.5)
        assert residual is not None
        (gradient,) = torch.autograd.grad(residual.sum(), captions.logits)
    matrix = 20_000 * 5 * 4  # as large as a third of the gradient here: D is 5, B · M is 12
    events = profile.profiler.kineto_results.events()
    peak = max(accumulate(e.nbytes() for e in events if e.name() == "[memory]"))
    assert peak < (most + 0.2) * gradient.nbytes + 2 * matrix
    assert sum(x.nbytes for x in kept) < 1.1 * matrix


# -- conditional noise -------------------------------------------------------------------------


def test_conditional_noise_chooses_the_caption_and_is_gumbel_over_all_captions() -> None:
    """Mean γ, variance π²/6 and uncorrelated, where captions are sampled; four standard errors."""
    count = 60_000
    o = torch.tensor([2.0, 0.0, -1.0, 0.5]).double().expand(1, count, 4)
    ids = (o + gumbel((1, count, 4), seeded("which"))).argmax(-1)
    x = conditional(o, gumbel((1, count, 4), seeded("noise")).double(), ids)
    assert torch.equal(x.argmax(-1), ids)
    g = (x - o)[0]
    assert g.mean(0).tolist() == pytest.approx([0.577216] * 4, abs=4 * 1.2825 / math.sqrt(count))
    assert g.var(0).tolist() == pytest.approx([math.pi**2 / 6] * 4, rel=0.03)
    apart = torch.corrcoef(g.T) - torch.eye(4)
    assert float(apart.abs().max()) < 4 / math.sqrt(count)


def test_conditional_noise_is_that_of_the_noise_where_it_chose_just_so() -> None:
    """Rejection: of plain noise, what chooses token 2. Quartiles of all four, within 0.03."""
    o = torch.tensor([1.0, 0.0, 0.3, -0.5]).double()
    plain = o + gumbel((400_000, 4), seeded("plain")).double()
    kept = plain[plain.argmax(1) == 2]
    x = conditional(
        o.expand(1, len(kept), 4), gumbel((1, len(kept), 4), seeded("noise")).double(),
        torch.full((1, len(kept)), 2),
    )[0]  # fmt: skip
    levels = torch.tensor([0.25, 0.5, 0.75]).double()
    assert len(kept) > 50_000
    torch.testing.assert_close(x.quantile(levels, 0), kept.quantile(levels, 0), atol=0.03, rtol=0)


def test_conditional_noise_is_finite_far_from_zero() -> None:
    o = torch.tensor([[[5000.0, -5000.0, 0.0]]])
    for chosen in range(3):
        x = conditional(o, gumbel((1, 1, 3), seeded("far")), torch.tensor([[chosen]]))
        assert x.isfinite().all() and int(x.argmax()) == chosen


# -- the score function ------------------------------------------------------------------------


@given(shape=sizes)
def test_the_surrogate_is_reinforce_with_the_others_as_baseline(shape: dict[str, int]) -> None:
    """Σ_s (L_s - mean of the others) ∇log P(c_s) / S with log_softmax, caption by caption."""
    captions, e = example(**shape, kind=torch.float64)

    def loss(ids: Tensor) -> Tensor:  # any function of the captions
        return ((1 + ids).double().sin() * captions.llm_mask).sum(1)

    assert isinstance(score_function, Scoring) and not isinstance(vtm_all, Scoring)
    assert score_function(captions, e, 1.0) is None
    found = score_function.surrogate(captions, loss)
    assert found.shape == captions.llm_ids[:, 0].shape and not found.any()
    noises = [captions.noise, *(draw() for draw in captions.draws)]
    ids = [(captions.logits + g).argmax(-1) for g in noises]
    expected = torch.zeros(())
    for b in range(len(captions.llm_ids)):
        m = int(captions.llm_mask[b].sum())
        logs = captions.logits[b, :m].log_softmax(-1)
        each = [float(loss(c)[b]) for c in ids]
        for s, c in enumerate(ids):
            others = [x for k, x in enumerate(each) if k != s]
            log_p = sum(logs[i, c[b, i]] for i in range(m))
            expected = expected + (each[s] - sum(others) / len(others)) * log_p / len(ids)
    ours, theirs = (torch.autograd.grad(x.sum(), captions.logits)[0] for x in (found, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


Dialogues = Callable[..., Dialogue]


@pytest.mark.parametrize("source", ["sampled", "gold"])
def test_the_score_function_compares_captions_of_a_photo_under_the_same_noise(
    build: SimpleNamespace, random_dialogue: Dialogues, source: str
) -> None:
    """Against the formula on the system's own parts; L^v is what it is with no bridge."""
    system = build.end_to_end(score_function, source, caption_dropout=0.5)
    batch = system.prepare(collate(sequences(system, [random_dialogue(n) for n in range(4)]), 0))
    found = system(batch, 1.0, "0/0")
    plain = build.end_to_end(none, source, caption_dropout=0.5)
    assert torch.equal(found.image, plain(batch, 1.0, "0/0").image)
    ours = torch.autograd.grad(found.image, list(system.llm.parameters()), allow_unused=True)

    tokenizer, expected, dropped = system.llm.tokenizer, torch.zeros(()), 0
    hidden = system.llm.hidden(system.embed(batch.ids, batch.seen), batch.mask, batch.positions)
    for n, (row, span) in enumerate(batch.captions):
        logs = system.llm.logits(hidden[row, span.start - 1 : span.end - 1]).log_softmax(-1)
        noise = system.generator.draw_noise([seeded("0/0", span.key, "diffusion")])
        each = []
        for number in [(), (0,), (1,), (2,), (3,)]:
            g = gumbel(logs.shape, seeded("0/0", span.key, "gumbel", *number))
            ids = (logs + g).argmax(-1)
            words = tokenizer.decode(ids, skip_special_tokens=True).strip()
            with torch.no_grad():
                clip_ids, _ = system.generator.tokenize([words])
                loss = system.generator.losses(clip_ids, batch.drawn[n : n + 1], noise)
            each.append((float(loss), logs[torch.arange(len(ids)), ids].sum()))
        total = sum(loss for loss, _ in each)
        for loss, log_p in each:
            expected = expected + (loss - (total - loss) / 4) * log_p / 5
        dropped += bool(noise.dropped)
    assert 0 < dropped < len(batch.captions)
    theirs = torch.autograd.grad(expected, list(system.llm.parameters()), allow_unused=True)
    for a, b in zip(ours, theirs, strict=True):
        if b is not None:
            assert a is not None
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-6 + 1e-4 * float(b.abs().max()))


# -- in training -------------------------------------------------------------------------------

SECOND = [vtm_all, gumbel_rao, reinmax, score_function]


@pytest.mark.parametrize("bridge", SECOND, ids=lambda b: getattr(b, "__name__", "score_function"))
def test_micro_batches_add_up(
    build: SimpleNamespace, random_dialogue: Dialogues, bridge: Any
) -> None:
    """All that is drawn is seeded by example, and captions are padded to other lengths."""
    system = build.end_to_end(bridge, caption_dropout=0.3)
    packed = sequences(system, [random_dialogue(n, turns=3 + n % 3, photos=0.5) for n in range(8)])
    whole = losses(system, packed, 8)
    expected = gradients(system)
    for size in (4, 1):
        system.zero_grad()
        parts = losses(system, packed, size)
        torch.testing.assert_close(parts.image, whole.image, rtol=1e-5, atol=0)
        for name, gradient in gradients(system).items():
            scale, difference = expected[name].norm(), (gradient - expected[name]).norm()
            assert float(difference) <= 1e-5 * float(scale) + 1e-5, name


@pytest.mark.parametrize("bridge", SECOND, ids=lambda b: getattr(b, "__name__", "score_function"))
def test_they_train_in_half_precision(
    build: SimpleNamespace, random_dialogue: Dialogues, bridge: Any
) -> None:
    """Autocast, as `train.precision=bf16`, near the gradient without."""
    system = build.end_to_end(bridge)
    packed = sequences(system, [random_dialogue(n) for n in range(3)])
    found = []
    for enabled in (False, True):
        system.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            image = system(system.prepare(collate(packed, 0)), 1.0, "0/0").image
        image.backward()
        found.append(torch.cat([p.grad.flatten() for p in system.llm.parameters()]))
    assert found[1].isfinite().all()
    assert float(F.cosine_similarity(*found, dim=0)) > 0.8


def test_there_are_as_many_draws_as_the_setting_says(
    build: SimpleNamespace, random_dialogue: Dialogues
) -> None:
    def drawn(system: Any) -> Captions:
        batch = collate(sequences(system, [random_dialogue(3)]), 0)
        hidden = system.llm.hidden(
            system.embed(batch.ids, system.look(batch.photos)), batch.mask, batch.positions
        )
        return system.write(hidden, batch, "0/0")

    assert ModelConfig().bridge_samples == 4
    system = build.end_to_end(vtm_all)
    system.bridge_samples = 2
    captions = drawn(system)
    first, second = (draw() for draw in captions.draws)
    assert first.shape == captions.noise.shape
    assert not torch.equal(first, second) and not torch.equal(first, captions.noise)
    assert torch.equal(captions.draws[0](), first)


@pytest.mark.parametrize("name", ["vtm-all", "gumbel-rao", "reinmax", "score-function"])
def test_a_run_can_be_planned(name: str) -> None:
    """In fake tensors, which have no values."""
    assert find("bridge", name) in SECOND
    config: Config = changed(tiny(), "model.bridge", name)
    found = estimate(changed(config, "train.micro_batch", 2))
    assert found.activations > 0
