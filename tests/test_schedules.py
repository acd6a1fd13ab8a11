"""Schedules against closed forms and hand-made histories."""

from __future__ import annotations

import math

import pytest

from pscli.config import TrainConfig
from pscli.training.schedules import is_best, out_of_patience, rate, temperature


def test_temperature_falls_by_the_same_factor_in_every_third() -> None:
    """From 1 to 0.01 over three epochs: 10^(-2/3) an epoch."""
    for epoch, tau in ((0, 1.0), (1, 10 ** (-2 / 3)), (1.5, 0.1), (2, 10 ** (-4 / 3)), (3, 0.01)):
        assert temperature(epoch) == pytest.approx(tau, rel=1e-12)
    assert temperature(17) == pytest.approx(0.01)
    assert temperature(0, 2.0, 0.5, 0) == 0.5
    assert temperature(1, 2.0, 0.5, 2) == pytest.approx(1.0)
    assert temperature(0.25, 1.0, 0.01, 0.5) == pytest.approx(0.1)
    taus = [temperature(e / 10) for e in range(40)]
    assert taus == sorted(taus, reverse=True) and min(taus) > 0


def test_rate_warms_up_and_stays() -> None:
    assert [rate(s, 4, 100, False) for s in (0, 1, 2, 3, 4, 99)] == [0.25, 0.5, 0.75, 1, 1, 1]
    assert rate(0, 0, 100, False) == 1


def test_rate_decays_to_zero() -> None:
    assert [rate(s, 0, 10, True) for s in (0, 5, 9, 10)] == pytest.approx([1, 0.5, 0.1, 0])
    assert rate(1, 4, 10, True) == pytest.approx(0.5 * 0.9)


def history(*scores: tuple[float, float]) -> list[dict[str, float]]:
    pairs = [{"BLEU-2": bleu, "FID": fid} for bleu, fid in scores]
    return [{k: v for k, v in pair.items() if not math.isnan(v)} for pair in pairs]


def waiting(patience: int) -> TrainConfig:
    return TrainConfig(patience=patience, monitor=("BLEU-2", "-FID"))


@pytest.mark.parametrize(
    ("scores", "patience", "stop"),
    [
        ([], 2, False),
        ([(1, 9), (1, 9)], 2, False),  # two evaluations cannot both be without improvement
        ([(math.nan, math.nan)] * 2, 2, False),
        ([(1, 9), (1, 9), (1, 9)], 2, True),  # a tie is no improvement
        ([(1, 9), (1, 9), (2, 9)], 2, False),  # BLEU-2 rose
        ([(1, 9), (1, 9), (1, 8)], 2, False),  # FID fell
        ([(1, 9), (0, 10), (0, 12)], 2, True),  # higher FID is no improvement
        ([(1, 9), (2, 9), (1, 9)], 2, False),
        ([(1, 9), (2, 9), (1, 9), (1, 9)], 2, True),
        ([(3, 9), (1, 5), (2, 6), (2, 6)], 2, True),  # better than the last, not than the best
        ([(1, 9), (1, 9)], 1, True),
        ([(1, 9)] * 9, 0, False),  # no patience is asked for
        ([(1, math.nan), (1, math.nan), (1, 9)], 2, False),  # the first photos were drawn
        ([(1, 9), (1, math.nan), (1, math.nan)], 2, True),
        ([(1, math.nan), (1, 9), (1, 9), (1, 8)], 2, False),
        ([(1, math.nan), (1, math.nan), (1, math.nan)], 2, True),
        ([(math.nan, 9), (1, 9), (1, 9)], 2, False),
        ([(math.nan, math.nan)] * 9, 2, False),  # there are no such scores
    ],
)
def test_patience(scores: list[tuple[float, float]], patience: int, stop: bool) -> None:
    assert out_of_patience(history(*scores), waiting(patience)) is stop


@pytest.mark.parametrize(
    ("scores", "best"),
    [
        ([(1, 9)], True),
        ([(1, 9), (1, 12)], True),  # by the first alone; of those alike the last
        ([(2, 9), (1, 8)], False),
        ([(3, 9), (1, 5), (2, 6)], False),  # better than the last, not than the best
        ([(math.nan, 9), (math.nan, 8)], True),  # a system that only draws has no words
        ([(math.nan, 8), (math.nan, 9)], False),
        ([(1, 9), (math.nan, 8)], False),
        ([(1, 9), (math.nan, math.nan)], False),
        ([(1, 9), (math.nan, math.nan), (0.5, 9)], False),
        ([(math.nan, 8), (1, 9)], True),
        ([(math.nan, 8), (math.nan, math.nan)], False),
        ([(math.nan, math.nan)] * 2, True),  # there are no such scores
    ],
)
def test_the_best_agent(scores: list[tuple[float, float]], best: bool) -> None:
    *before, last = history(*scores)
    assert is_best(last, [{"loss": 1.0}, *before], ("BLEU-2", "-FID")) is best


def test_the_paper_waits_for_four_evaluations() -> None:
    flat = history((1, 9), *[(1, 9)] * 4)
    assert [out_of_patience(flat[:n], waiting(4)) for n in range(6)] == [False] * 5 + [True]
