"""Paired tests: p-values by hand, false positives, power, and Holm's correction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import comb
from typing import Any

import numpy as np
import pytest

from pscli.metrics.base import Score, Scored
from pscli.metrics.compare import Difference, differences, holm, place_shown, shared
from pscli.metrics.frechet import frechet_resampled
from pscli.metrics.resample import Array, Sums
from pscli.metrics.score import Valued
from pscli.predictions.folder import Prediction, Side
from pscli.report.table import number
from test_frechet import fid

R = np.random.default_rng


class Mean(Sums):
    """The mean of numbers that are given."""

    def values(self, predictions: Any) -> Any: ...

    def scores(self, values: Sequence[float]) -> Scored:
        best = Score("lowest", float(np.min(values)), len(values), "", None)
        return Scored((Score("mean", float(np.mean(values)), len(values), "", "higher"), best))

    def sums(self, values: Sequence[float]) -> Array:
        return np.array([[value, 1.0] for value in values])

    def figures(self, sums: Array) -> dict[str, Array]:
        return {"mean": sums[:, 0] / sums[:, 1]}


class Slow:
    """The same without sums."""

    values, scores = Mean.values, Mean.scores


def run(numbers: Sequence[float | None], ids: Sequence[str] = (), **more: Any) -> Valued:
    ids = ids or [str(i) for i in range(len(numbers))]
    predictions = [Prediction(id, None, Side(), Side(), **more) for id in ids]
    return Valued(predictions, {"m": numbers})


def compared(one: Any, other: Any, metric: Any = None, draws: int = 200) -> Difference:
    sides = [[side] if isinstance(side, Valued) else side for side in (one, other)]
    (found,) = differences(sides, {"m": metric or Mean()}, draws)
    return found


def test_a_p_value_by_hand() -> None:
    """Ten hits against none of twelve dialogues, two alike: of the 2^10 ways to change sides, two
    leave all hits on one side. Five against one: six differ, and 2 (1 + 6) of 2^6
    are no smaller."""
    one, other = run([0.0] * 12), run([1.0] * 10 + [0.0] * 2)
    found = compared(one, other, draws=2000)
    assert (found.value, found.n) == (pytest.approx(10 / 12), 12)
    assert found.p == pytest.approx(2 / 2**10, abs=0.001)
    assert found.interval and found.interval[0] > 0.4
    found = compared(run([1.0] + [0.0] * 11), run([0.0] + [1.0] * 5 + [0.0] * 6), draws=2000)
    assert found.value == pytest.approx(4 / 12)
    assert found.p == pytest.approx(2 * (1 + comb(6, 1)) / 2**6, abs=0.01)
    same = compared(one, one)
    assert (same.value, same.p) == (0, 1)


@pytest.mark.parametrize(
    ("size", "apart", "told"),
    [
        (22.13, 1e-6, False),  # what rounding leaves of a FID
        (22.13, 0.0049, False),
        (22.13, 0.0051, True),
        (0.1, 0.0049, False),
        (0.012, 0.0004, False),  # of a CMMD two digits are shown
        (0.012, 0.0006, True),
        (-3.0, 0.0049, False),
        (0.0, 1e-6, True),  # against a figure of 0
    ],
)
def test_of_figures_that_look_alike_no_difference_is_told(
    size: float, apart: float, told: bool
) -> None:
    """All dialogues say the same, so that any test of them would."""
    one, other = [size] * 12, [size + apart] * 12
    for metric in (Mean(), Slow()):
        found = compared(run(one), run(other), metric, draws=1000)
        assert found.value == pytest.approx(apart)
        assert (found.p is not None and found.p < 0.05) is told
        assert ("p:below-rounding" in found.by) is not told
        assert told or found.p == 1


def test_a_step_of_the_last_digit_is_that_of_what_is_shown() -> None:
    """Against the digits that the table prints."""
    for value in (0.0, 3.0, 123.456, 0.1, 0.099, 0.0123, 0.00051, 1.2e-5, 9.94e-4):
        text = number(value)
        digits, _, power = text.partition("e")
        step = 10.0 ** (int(power or 0) - len(digits.partition(".")[2]))
        assert place_shown(value) == pytest.approx(step), text


def test_only_what_all_have_is_compared() -> None:
    ids = [f"d{i}/0" for i in range(30)]
    one, other = run([1.0] * 30, ids), run([2.0] * 20 + [99.0], [*ids[:20], "else/0"])
    assert shared([[one], [other]]) == sorted(ids[:20])
    found = compared(one, other)
    assert (found.value, found.n) == (1, 20)
    assert differences([[one], [run([1.0], ["x"])]], {"m": Mean()}, 9) == []
    few = compared(run([1.0] * 3), run([2.0] * 3))
    assert (few.value, few.p, few.interval, few.by) == (1, None, None, "seeds:1")
    gone = run([None] * 30, ids)
    assert differences([[one], [gone]], {"m": Mean()}, 9) == []


def test_replies_of_a_dialogue_change_sides_together() -> None:
    """Twelve dialogues of ten replies each are twelve units, not 120: by hand, as above."""
    ids = [f"d{i}/{j}" for i in range(12) for j in range(10)]
    one = run(np.repeat([1.0] + [0.0] * 11, 10).tolist(), ids)
    other = run(np.repeat([0.0] + [1.0] * 5 + [0.0] * 6, 10).tolist(), ids)
    assert compared(one, other, draws=2000).p == pytest.approx(14 / 64, abs=0.01)


def test_seeds_are_averaged_and_paired() -> None:
    """Two seeds whose differences are 0.5 and 1 in the mean: 0.75. Three and two make two pairs."""
    generator = R(0)
    noise = generator.normal(size=(4, 40))
    one = [run((noise[i] - noise[i].mean()).tolist()) for i in range(2)]
    other = [run((noise[i] - noise[i].mean() + i / 4).tolist()) for i in (2, 3)]
    found = compared(one, other)
    assert found.value == pytest.approx(5 / 8)
    assert found.by.endswith("seeds:2")
    assert compared([*one, one[0]], other).value == pytest.approx(5 / 8)
    assert compared(one[:1], other[:1]).p > found.p  # type: ignore[operator]


def test_a_metric_without_sums_is_compared_by_the_bootstrap() -> None:
    generator = R(1)
    a, b = generator.normal(size=(2, 60))
    fast = compared(run(a.tolist()), run((b + 0.4).tolist()), draws=1000)
    slow = compared(run(a.tolist()), run((b + 0.4).tolist()), Slow(), draws=1000)
    assert "p:randomisation-10000" in fast.by and "p:bootstrap-200" in slow.by
    assert slow.value == fast.value and slow.p == pytest.approx(fast.p, abs=0.03)
    assert slow.interval == pytest.approx(fast.interval, abs=0.1)
    constant = compared(run([0.0] * 12), run([1.0] * 12), Slow(), draws=1000)
    assert (constant.p, constant.interval) == (1 / 201, None)  # all of 200 resamples say the same


def test_types_apart() -> None:
    ids = [f"{i}" for i in range(24)]
    sides = [run(values, ids) for values in ([0.0] * 24, [0.0] * 12 + [1.0] * 12)]
    for side in sides:
        side.predictions[:] = [  # type: ignore[index]
            replace(p, kind="ask" if i < 12 else "look") for i, p in enumerate(side.predictions)
        ]
    found = differences([[side] for side in sides], {"m": Mean()}, 99, ["look", "ask", "gone"])
    assert [(d.kind, d.value, d.n) for d in found] == [
        ("", 0.5, 24), ("look", 1.0, 12), ("ask", 0.0, 12),
    ]  # fmt: skip


def test_every_pair_of_systems() -> None:
    found = differences([[run([float(i)] * 12)] for i in range(3)], {"m": Mean()}, 50)
    assert [(d.first, d.second, d.value) for d in found] == [(0, 1, 1), (0, 2, 2), (1, 2, 1)]


def test_holm_by_hand() -> None:
    """0.01 × 4, 0.02 × 3, 0.02 × 2 but no less than the one before, 0.5 × 1."""
    one = Difference("m", 0, 1, 1.0, "higher", 9, "")
    found = holm([replace(one, p=p) for p in (0.5, 0.02, None, 0.01, 0.02)])
    assert [d.holm for d in found] == [0.5, pytest.approx(0.06), None, 0.04, pytest.approx(0.06)]
    assert [d.significant for d in found] == [False, False, False, True, False]
    assert [d.holm for d in holm([replace(one, p=0.9), replace(one, p=0.8)])] == [1.0, 1.0]


def rejected(shift: float, times: int, n: int = 100, draws: int = 40) -> float:
    """How often p < 0.05: two systems of noise whose means differ by `shift` deviations."""
    generator, hits = R(3), 0
    for _ in range(times):
        a, b = generator.normal(size=(2, n))
        p = compared(run(a.tolist()), run((b + shift).tolist()), draws=draws).p
        hits += p is not None and p < 0.05
    return hits / times


def test_false_positives_and_power() -> None:
    """Oracle: the level itself; and the power of the normal test, Φ(0.4 √50 - 1.96) = 0.81."""
    assert rejected(0.0, 1000) <= 0.06
    assert 0.74 <= rejected(0.4, 300) <= 0.87


class Distance:
    """FID of given features, resampled as image scores are."""

    values = Mean.values

    def scores(self, values: Sequence[Array]) -> Scored:
        drawn, gold = np.array(values).swapaxes(0, 1)
        return Scored((Score("FID", fid(drawn, gold), len(values), "", "lower"),))

    def resampled(self, values: Sequence[Array], counts: Array) -> dict[str, Array]:
        drawn, gold = np.array(values).swapaxes(0, 1)
        return {"FID": frechet_resampled(fid(drawn, gold), drawn, gold, counts, counts)}


def rejected_distances(n: int, features: int, shift: float, times: int) -> float:
    """How often p < 0.05: photos of two systems, both at distance 1 from the same gold ones in
    the mean, the second `shift` further."""
    generator, hits = R(4), 0
    for _ in range(times):
        gold, a, b = generator.normal(size=(3, n, features))
        a[:, 0], b[:, 0] = a[:, 0] + 1, b[:, 0] + 1 + shift
        sides = [run(list(np.stack([side, gold], axis=1))) for side in (a, b)]
        p = compared(*sides, Distance(), draws=200).p
        hits += p is not None and p < 0.05
    return hits / times


def test_false_positives_and_power_of_distances() -> None:
    """Above and below the features' dimension; the power is stated, no oracle tells it."""
    assert rejected_distances(100, 4, 0.0, 200) <= 0.06
    assert rejected_distances(40, 80, 0.0, 150) <= 0.06
    assert rejected_distances(100, 4, 0.5, 60) >= 0.75


@pytest.mark.slow
@pytest.mark.parametrize(("n", "features"), [(100, 4), (400, 8), (60, 16), (40, 80)])
def test_false_positives_of_distances_at_length(n: int, features: int) -> None:
    assert rejected_distances(n, features, 0.0, 1000) <= 0.06


@pytest.mark.slow
def test_false_positives_at_length() -> None:
    assert rejected(0.0, 4000) <= 0.06
