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
    measure,
    quality,
    world,
)

from pscli.components.bridge import Bridge, dvtm, dvtm_word, none, soft, vtm
from pscli.components.noise import gumbel


def losses(here: World) -> torch.Tensor:
    return here.loss(here.embeddings[here.captions.clip_ids])


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


@pytest.mark.parametrize("bridge", [dvtm, dvtm_word, vtm, soft])
def test_estimates_are_the_gradients_of_one_sample_at_a_time(bridge: Bridge) -> None:
    """Against the whole path, loss and encoder included, for each sample alone."""
    here = world(3, length=3)
    noise = gumbel((4, 3, 6), torch.Generator().manual_seed(1)).double()
    together = estimates(here, bridge, 0.5, noise)
    for n in range(4):
        alone = estimates(here, bridge, 0.5, noise[n : n + 1])[0]
        torch.testing.assert_close(together[n], alone)
    assert together.abs().sum() > 0
    assert not estimates(here, none, 0.5, noise).any()


def test_word_level_beats_sentence_level() -> None:
    """In this world; docs/bridge.md has the intervals."""
    here = [world(seed, length=3) for seed in range(6)]
    mean = [
        sum(measure(w, bridge, 1.0, 2000).cosine for w in here) / 6 for bridge in (dvtm, dvtm_word)
    ]
    assert mean[1] > mean[0] + 0.1
