"""Resamples, intervals, and what they cover."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from pscli.errors import ConfigError
from pscli.metrics.base import Score, Scored
from pscli.metrics.resample import Array, Sums, drawn, interval, resampled, sampled, units
from pscli.metrics.sharing import Sharing
from pscli.metrics.text import Text
from pscli.predictions.folder import Prediction, Side


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


def test_what_is_no_figures_is_refused() -> None:
    class Wrong(Mean):
        given: Any

        def resampled(self, values: Any, counts: Any) -> Any:
            return self.given

    for Wrong.given in ([1.0], {"mean": 1.0}, {"mean": np.ones((2, 2))}):
        with pytest.raises(ConfigError, match="`resampled` of Wrong gives no figures by name"):
            resampled(Wrong(), [1.0], np.ones((2, 1)))


def test_no_interval_where_resamples_tell_none() -> None:
    draws = np.linspace(0, 1, 101)
    assert interval(0.5, draws, 10) is not None
    assert interval(0.5, draws, 9) is None  # too few dialogues
    assert interval(1.0, np.ones(100), 50) is None  # all the same
    holes = np.where(np.arange(101) < 6, np.nan, draws)
    assert interval(0.5, holes, 50) is None
    assert interval(0.5, np.where(np.arange(101) < 5, np.nan, draws), 50) is not None


# -- coverage ----------------------------------------------------------------------------------

WORDS = [
    "look", "at", "my", "red", "dog", "on", "the", "beach", "is", "it", "big", "yes", "no", "where",
]  # fmt: skip


def pool(dialogues: int) -> list[Prediction]:
    """Answers of one to four turns a dialogue, some dialogues better than others: words are kept
    with its chance, and photos are sent when due with the same."""
    generator, found = np.random.default_rng(0), []
    for dialogue in range(dialogues):
        good = generator.beta(4, 3)
        for turn in range(generator.integers(1, 5)):
            gold = generator.choice(WORDS, generator.integers(4, 12))
            kept = generator.random(len(gold)) < good
            words = np.where(kept, gold, generator.choice(WORDS, len(gold)))
            words = words[: generator.integers(3, 13)]
            due = int(generator.random() < 0.3)
            sent = due if generator.random() < good else 1 - due
            sides = (Side(" ".join(gold), missing=due), Side(" ".join(words), missing=sent))
            found.append(Prediction(f"{dialogue}/{turn}", None, *sides))
    return found


def coverage(names: Sequence[str], dialogues: int, times: int) -> dict[str, float]:
    """How often intervals of samples hold the figure of the pool that they are drawn from."""
    everything = pool(1200)
    whole = units([p.id for p in everything])
    rows_of = [np.flatnonzero(whole == unit) for unit in range(1200)]
    text, sharing = Text(), Sharing()
    text.distinct = {}
    generator = np.random.default_rng(1)
    hits: dict[str, list[bool]] = {name: [] for name in names}
    columns = [(metric, metric.values(everything)) for metric in (text, sharing)]
    truths = {s.name: s.value for metric, values in columns for s in metric.scores(values).scores}  # type: ignore[arg-type]
    for _ in range(times):
        picked = generator.integers(1200, size=dialogues)
        rows = [row for unit in picked for row in rows_of[unit]]
        numbers = np.repeat(np.arange(dialogues), [len(rows_of[unit]) for unit in picked])
        for metric, values in columns:
            some: Any = [values[row] for row in rows]
            told = sampled(metric, some, numbers, dialogues, 300)
            for score in metric.scores(some).scores:
                if score.name in hits:
                    left = told.jackknife[score.name]
                    ends = interval(score.value, told.draws[score.name], dialogues, left)
                    assert ends and "bca" in ends.by
                    hits[score.name].append(ends.low <= truths[score.name] <= ends.high)
    return {name: float(np.mean(found)) for name, found in hits.items()}


COVERED = ("BLEU-1", "BLEU-2", "BLEU-2 (individual)", "ROUGE-L", "chrF", "sharing F1",
           "sharing recall", "sharing accuracy", "length ratio")  # fmt: skip


def test_intervals_cover_what_they_say() -> None:
    """Oracle: the pool, whose figures are the truth of samples with replacement."""
    found = coverage(COVERED, 80, 300)
    assert all(0.92 <= share <= 0.98 for share in found.values()), found


@pytest.mark.slow
@pytest.mark.parametrize(("dialogues", "times"), [(30, 2000), (80, 2000), (300, 400)])
def test_coverage_at_length(dialogues: int, times: int) -> None:
    found = coverage(COVERED, dialogues, times)
    assert all(0.92 <= share <= 0.98 for share in found.values()), found


def test_instances_as_units_would_cover_too_little() -> None:
    """Why dialogues are drawn: the same replies, each a unit of its own."""
    everything = pool(300)
    values: Any = list(Text().values(everything))
    numbers = units([p.id for p in everything])
    alone = np.arange(len(values))

    def width(rows: Any, size: int) -> float:
        told = sampled(Text(), values, rows, size, 400).draws["BLEU-1"]
        return float(told.std())

    assert width(numbers, 300) > 1.05 * width(alone, len(values))
