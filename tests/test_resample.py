"""Resamples, intervals, and what they cover."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from pscli.metrics.base import Score, Scored
from pscli.metrics.resample import Array, Sums, drawn, interval, resampled, sampled, units


class Mean:
    """The mean, which only `scores` tells."""

    def values(self, predictions: Any) -> Any:
        return predictions

    def scores(self, values: Sequence[float]) -> Scored:
        return Scored((Score("mean", float(np.mean(values)), len(values), "", "higher"),))


class Ratio(Sums, Mean):
    """The same, and a ratio of sums, from sums."""

    def sums(self, values: Sequence[float]) -> Array:
        return np.array([[value, 1.0, value == 1] for value in values])

    def figures(self, sums: Array) -> dict[str, Array]:
        total, n, ones = sums.T
        return {"mean": total / n, "ones": ones / n}


class Wider(Ratio):
    """A figure besides that is not of sums."""

    def resampled(self, values: Sequence[float], counts: Array) -> dict[str, Array]:
        return super().resampled(values, counts) | {"distinct": (counts > 0).sum(1).astype(float)}


def test_dialogues_are_what_ids_say() -> None:
    assert units(["a/0", "b/0", "a/1", "c"]).tolist() == [0, 1, 0, 2]
    assert units(["x/a/0", "x/b/1", "x/a/2"]).tolist() == [0, 1, 0]
    assert units(["x/0", "x/1"]).tolist() == units(["p", "q"]).tolist() == [0, 1]
    assert units(["/0", "/1", "x"]).tolist() == [0, 1, 2]


def test_draws_are_of_as_many_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in blocks; on average each is drawn once, with the variance of the multinomial."""
    counts = np.concatenate(list(drawn(3, 3000)))
    assert counts.shape == (3000, 3) and (counts.sum(1) == 3).all()
    assert counts.mean(0) == pytest.approx([1] * 3, abs=0.05)
    assert counts.var(0) == pytest.approx([2 / 3] * 3, abs=0.05)
    monkeypatch.setattr("pscli.metrics.resample.BLOCK", 10)
    assert {len(block) for block in drawn(3, 3000)} == {3}


def test_all_instances_of_a_dialogue_are_drawn_together() -> None:
    """By hand: units {1, 3} and {2}; without one of them, the mean is 2, or (1 + 3) / 2 = 2."""
    rows = units(["a/0", "b/0", "a/1"])
    for metric in (Ratio(), Mean()):
        found = sampled(metric, [1.0, 2.0, 30.0], rows, 2, 200)
        assert set(np.round(found.draws["mean"], 6)) == {2.0, 11.0, 15.5}
    assert sampled(Ratio(), [1.0, 2.0, 30.0], rows, 2, 9).jackknife["mean"].tolist() == [2, 15.5]
    more = sampled(Wider(), [1.0, 2.0, 30.0], rows, 2, 200)
    assert set(more.draws) == {"mean", "ones", "distinct"} and set(more.jackknife) == {
        "mean",
        "ones",
    }


def test_sums_and_repeated_values_agree() -> None:
    generator = np.random.default_rng(1)
    values = generator.normal(size=40).tolist()
    (counts,) = drawn(40, 300)
    fast, slow = (resampled(metric, values, counts) for metric in (Ratio(), Mean()))
    assert slow["mean"] == pytest.approx(fast["mean"][:200], abs=1e-12)
    by_hand = [np.repeat(values, row.astype(int)).mean() for row in counts]
    assert fast["mean"] == pytest.approx(np.array(by_hand), abs=1e-12)


def test_no_interval_where_resamples_tell_none() -> None:
    draws = np.linspace(0, 1, 101)
    assert interval(0.5, draws, 10) is not None
    assert interval(0.5, draws, 9) is None  # too few dialogues
    assert interval(1.0, np.ones(100), 50) is None  # all the same
    holes = np.where(np.arange(101) < 6, np.nan, draws)
    assert interval(0.5, holes, 50) is None
    assert interval(0.5, np.where(np.arange(101) < 5, np.nan, draws), 50) is not None
