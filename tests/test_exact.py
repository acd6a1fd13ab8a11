"""The enumerable world: the exact gradient, and what estimates are worth beside it."""

from __future__ import annotations

import pytest
import torch
from exact import (
    CLIP_VOCABULARY,
    LLM_VOCABULARY,
    World,
    estimates,
    every_caption,
    exact_gradient,
    exact_words,
    held,
    measure,
    one_word_off,
    quality,
    words,
    words_of,
    world,
)

from pscli.components.bridge import Bridge, dvtm, dvtm_word, none, soft, soft_decoupled, vtm
from pscli.components.estimators import gumbel_rao, reinmax, score_function, vtm_all
from pscli.components.noise import gumbel


def losses(here: World) -> torch.Tensor:
    return here.loss(here.embeddings[here.captions.clip_ids])


def draw(seed: int, *shape: int) -> torch.Tensor:
    return gumbel(shape, torch.Generator().manual_seed(seed)).double()


def test_the_exact_gradient_is_that_of_finite_differences() -> None:
    here = world(1, length=2)
    ids, loss = here.captions.llm_ids, losses(here)

    def expected(logits: torch.Tensor) -> float:
        p = logits.softmax(1)
        return sum(
            float(p[0, a] * p[1, b] * x) for (a, b), x in zip(ids.tolist(), loss, strict=True)
        )

    exact = exact_gradient(here)
    for place in [(0, 0), (0, 3), (1, 5)]:
        step = torch.zeros_like(here.logits)
        step[place] = 1e-5
        slope = (expected(here.logits + step) - expected(here.logits - step)) / 2e-5
        assert float(exact[place]) == pytest.approx(slope, rel=1e-6, abs=1e-9)


def test_the_score_function_estimates_the_exact_gradient_without_bias() -> None:
    """E[L(c) ∇log P(c)] is the exact gradient: sampled captions, within four standard errors."""
    here = world(2, length=2)
    noise = gumbel((40_000, 2, 6), torch.Generator().manual_seed(0)).double()
    ids = (here.logits + noise).argmax(-1)
    score = torch.nn.functional.one_hot(ids, 6) - here.logits.softmax(1)
    found = losses(here)[ids[:, 0] * 6 + ids[:, 1]][:, None, None] * score
    result = quality(exact_gradient(here), found)
    assert result.bias < 4 * (result.variance / len(found)) ** 0.5
    assert result.cosine == pytest.approx(1, abs=0.02)


def test_captions_are_read_as_they_are_written() -> None:
    captions = every_caption(3)
    llm, clip = captions.words()
    for n, ids in enumerate(captions.llm_ids.tolist()):
        assert n == ids[0] * 36 + ids[1] * 6 + ids[2]
        wrote = [LLM_VOCABULARY[i] for i in ids]
        reads = [CLIP_VOCABULARY[i] for i in captions.clip_ids[n][captions.clip_words[n]].tolist()]
        assert "".join(reads) == "".join(wrote).replace(" ", "")
        for word in set(llm[n].tolist()):
            mine = "".join(t for t, w in zip(wrote, llm[n].tolist(), strict=True) if w == word)
            yours = "".join(t for t, w in zip(reads, clip[n].tolist(), strict=False) if w == word)
            assert mine.strip() == yours


def test_quality_by_hand() -> None:
    """Two estimates (3, 0) and (1, 2) of (2, 0): mean (2, 1), variance (1 + 1 + 1 + 1) / 1 = 4."""
    exact, found = torch.tensor([[2.0, 0.0]]), torch.tensor([[[3.0, 0.0]], [[1.0, 2.0]]])
    result = quality(exact, found)
    squared = 5 - 4 / 2  # the product of the two different samples is 3
    assert result.variance == pytest.approx(4 / 4)
    assert result.size == pytest.approx(squared**0.5 / 2)
    assert result.cosine == pytest.approx(4 / (2 * squared**0.5))
    assert result.bias == pytest.approx((squared - 2 * 4 + 4) ** 0.5 / 2 if squared > 4 else 0)
    assert result.single == pytest.approx((1 + 5**-0.5) / 2)


@pytest.mark.parametrize(
    "bridge",
    [dvtm, dvtm_word, vtm, soft, soft_decoupled, vtm_all, gumbel_rao, reinmax, score_function],
)
def test_estimates_are_the_gradients_of_one_sample_at_a_time(bridge: Bridge) -> None:
    """Against the whole path, loss and encoder included, for each sample alone."""
    here = world(3, length=3)
    noise, more = draw(1, 4, 3, 6), draw(2, 3, 4, 3, 6)
    together = estimates(here, bridge, 0.5, noise, more)
    for n in range(4):
        alone = estimates(here, bridge, 0.5, noise[n : n + 1], more[:, n : n + 1])[0]
        torch.testing.assert_close(together[n], alone)
    assert together.abs().sum() > 0
    assert not estimates(here, none, 0.5, noise, more).any()


def test_word_level_beats_sentence_level() -> None:
    """In this world; docs/bridge.md has the intervals."""
    here = [world(seed, length=3) for seed in range(6)]
    mean = [
        sum(measure(w, bridge, 1.0, 2000).cosine for w in here) / 6 for bridge in (dvtm, dvtm_word)
    ]
    assert mean[1] > mean[0] + 0.1


@pytest.mark.parametrize("samples", [1, 4])
def test_the_score_function_with_the_others_as_baseline_has_no_bias(samples: int) -> None:
    """Within four standard errors of the exact gradient, which is of length one here."""
    here = world(2, length=2)
    noise, more = draw(0, 20_000, 2, 6), draw(1, samples, 20_000, 2, 6)
    found = estimates(here, score_function, 1.0, noise, more)
    result = quality(exact_gradient(here), found)
    assert result.bias < 4 * (result.variance / len(found)) ** 0.5 < 0.2
    assert result.cosine == pytest.approx(1, abs=0.02)


def test_the_baseline_takes_variance_away() -> None:
    """Beside the same captions with none, and the more the more there are."""
    here = world(2, length=2)
    found = [measure(here, score_function, 1.0, 4000, draws=k).variance for k in (1, 4, 16)]
    noise = draw(0, 4000, 2, 6)
    score = torch.nn.functional.one_hot(ids := (here.logits + noise).argmax(-1), 6).double()
    plain = losses(here)[ids[:, 0] * 6 + ids[:, 1]][:, None, None] * (
        score - here.logits.softmax(1)
    )
    without = quality(exact_gradient(here), plain).variance
    assert found[0] < without and found[1] < found[0] / 2 and found[2] < found[1] / 2


@pytest.mark.parametrize("tau", [0.2, 1.0])
def test_gumbel_rao_has_the_mean_of_stgs_and_less_variance(tau: float) -> None:
    """Paulus et al. (2020): one draw is as good as STGS, in the mean the same; more are better.

    The squared distance of two independent means is the sum of their variances, in expectation.
    """
    here, count = world(1, length=2), 20_000
    noise, other = draw(0, count, 2, 6), draw(1, count, 2, 6)
    more = draw(2, 8, count, 2, 6)
    stgs = estimates(here, vtm_all, tau, noise, more[:0])
    means, variances = [stgs.mean(0)], [stgs.var(0).sum()]
    for k in (1, 8):
        rao = estimates(here, gumbel_rao, tau, other, more[:k])
        means.append(rao.mean(0))
        variances.append(rao.var(0).sum())
    for k in (1, 2):
        apart = (means[k] - means[0]).square().sum()
        assert apart < 3 * (variances[k] + variances[0]) / count < 0.01 * means[0].square().sum()
    assert float(variances[1]) == pytest.approx(float(variances[0]), rel=0.1)
    assert variances[2] < 0.8 * variances[0]


def test_the_matrix_of_every_token_knows_words_that_the_vocabularies_cut_differently() -> None:
    """Only CLIP has no token "dog": `vtm` is silent where one stands for a wrong word."""
    here = world(0, length=3)
    pieces = here.captions.pieces()
    read = [[CLIP_VOCABULARY[j] for j in pieces[pieces[:, 0] == i, 1]] for i in range(6)]
    assert read == [["red"], ["blue"], ["do", "g"], ["bo"], ["at"], ["be", "ach"]]
    assert {int(i) for i, _ in here.captions.pairs()} == {0, 1, 3, 4}


# -- words -------------------------------------------------------------------------------------


def test_captions_with_one_word_off() -> None:
    here = world(4, length=3)
    captions = one_word_off(here)
    for i in range(3):
        for v in range(6):
            expected = here.gold.tolist()
            expected[i] = v
            assert captions[i, v].tolist() == expected
    read = here.embeddings[here.captions.clip_ids]
    best = here.captions.llm_ids[here.loss(read).argmin()]
    assert torch.equal(best, here.gold)  # the photo was drawn from it


def test_words_by_hand() -> None:
    """Two places of three words, "0 1" is gold, one gradient at each caption."""
    found = torch.zeros(2, 3, 1, 2, 3)
    found[0, 0, 0, 0, 0] = 1.0  # at the right word in place 0; that in place 1 has 0, others
    found[1, 1, 0, 1, 0] = 9.0  # do not matter
    found[0, 1, 0, 0] = torch.tensor([-2.0, 3.0, -1.0])  # "1 1": 3 > 1, and -2 < -1
    found[0, 1, 0, 1, 1] = 2.0  # 3 > 2
    found[0, 2, 0, 0] = torch.tensor([5.0, 6.0, 4.0])  # "2 1": 4 > 1, and 5 < 6
    found[0, 2, 0, 1, 1] = 3.0  # 4 > 3
    found[1, 0, 0, 1] = torch.tensor([2.0, -1.0, 3.0])  # "0 0": 2 > 0, and -1 < 3
    found[1, 0, 0, 0, 0] = 7.0  # but not 2 > 7
    found[1, 2, 0, 1] = torch.tensor([-4.0, -3.0, -5.0])  # "0 2": neither -5 > 0 nor -3 < -4
    found[1, 2, 0, 0, 0] = -5.0  # a tie
    said = words_of(found, torch.tensor([0, 1]))
    assert said.wrong == pytest.approx((2 / 2 + 1 / 2) / 2)
    assert said.place == pytest.approx((2 / 2 + 0.5 / 2) / 2)
    assert said.right == pytest.approx(3 / 4)


def test_the_gradient_with_the_other_words_held_is_that_of_autograd() -> None:
    here = world(5, length=3)
    ids = torch.tensor([[0, 4, 2], [5, 1, 1]])
    found = held(here, ids)
    for s in range(2):
        for i in range(3):
            loss = []
            for v in range(6):
                caption = ids[s].tolist()
                caption[i] = v
                loss.append(losses(here)[caption[0] * 36 + caption[1] * 6 + caption[2]])
            logits = here.logits[i].clone().requires_grad_()
            (logits.softmax(0) @ torch.stack(loss)).backward()
            torch.testing.assert_close(found[s, i], logits.grad)


def test_bridges_are_asked_about_just_the_captions_with_one_word_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A "bridge" whose gradient at the tokens of its caption is 1, and no other."""
    here, samples = world(6, length=2), 3
    seen = []

    def own(captions, embeddings, tau):
        seen.append(captions.llm_ids)
        chosen = captions.logits.gather(2, captions.llm_ids[:, :, None])
        return (chosen - chosen.detach()).sum() * torch.ones_like(embeddings[captions.clip_ids])

    monkeypatch.setattr("exact.slope", lambda world, read: torch.ones_like(read))
    said = words(here, own, 1.0, samples)
    expected = one_word_off(here)[:, :, None].expand(-1, -1, samples, -1)
    assert torch.equal(seen[0].view_as(expected), expected)
    assert said.wrong == said.place == said.right == 0.5


def test_the_exact_gradient_knows_the_words() -> None:
    """And no gradient at all knows none."""
    for seed in range(3):
        exact = exact_words(world(seed))
        assert min(exact.wrong, exact.right) > 0.9 and exact.place > 0.55
    nothing = words(world(0), none, 1.0, 2)
    assert (nothing.wrong, nothing.place, nothing.right) == (0.5, 0.5, 0.5)


def test_only_a_matrix_of_all_words_says_which_would_be_right() -> None:
    """In the mean of these worlds; docs/bridge.md has the intervals."""
    here = [world(seed, length=3) for seed in range(6)]
    right = {
        bridge: sum(words(w, bridge, 1.0, 50).right for w in here) / 6
        for bridge in (dvtm, vtm, vtm_all, gumbel_rao)
    }
    assert abs(right[dvtm] - 0.5) < 0.15 < right[vtm] - 0.5
    assert right[vtm] < right[vtm_all] < right[gumbel_rao]
