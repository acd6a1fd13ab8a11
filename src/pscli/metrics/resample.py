"""Uncertainty of any metric: figures of resamples, and 95 % intervals from them.

A resample is a row of counts: how often each value is drawn. What is drawn are dialogues, with all
their instances, since replies of one dialogue hang together; ids say which they are.

Efron and Tibshirani (1993), An Introduction to the Bootstrap, chapter 14; Hesterberg (2015), What
Teachers Should Know About the Bootstrap, §4.3, for the wider quantiles of few dialogues.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import NormalDist
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from pscli.errors import ConfigError
from pscli.metrics.base import Metric

Array = NDArray[np.float64]

SLOW_DRAWS = 200  # of a metric that can only be asked for scores
FEWEST = 10  # units: below, no interval keeps what it promises
BLOCK = 4_000_000  # counts held at once, 32 MB
UNDEFINED = 0.05  # share of resamples without a figure up to which the others speak for all
NORMAL = NormalDist()


@runtime_checkable
class Resampled(Protocol):
    """Optional second face of a `Metric`: figures of many resamples at once."""

    def resampled(self, values: Sequence[Any], counts: Array) -> dict[str, Array]:
        """Figures of R resamples, by name of score, as `scores` computes them.

        Args:
            values: n of them, none of which is None.
            counts: [R, n], how often each value is drawn, 0 or more.

        Returns:
            [R] each; or fewer, of the first resamples, where one takes long. NaN where a resample
            has no such figure.
        """
        ...


class Sums:
    """Base class of metrics whose figures depend on sums over instances alone."""

    def sums(self, values: Sequence[Any]) -> Array:
        """[n, K]: what each value adds."""
        raise NotImplementedError

    def figures(self, sums: Array) -> dict[str, Array]:
        """[R] by name of score, from sums [R, K]; NaN where there is none."""
        raise NotImplementedError

    def resampled(self, values: Sequence[Any], counts: Array) -> dict[str, Array]:
        return self.figures(counts @ self.sums(values))


def resampled(metric: Metric, values: Sequence[Any], counts: Array) -> dict[str, Array]:
    """Figures of resamples of any metric, as `Resampled` describes them.

    One without that face is asked for the scores of repeated values, a few hundred times.
    """
    if isinstance(metric, Resampled):
        given = metric.resampled(values, counts)
        if not isinstance(given, dict) or any(np.ndim(row) != 1 for row in given.values()):
            raise ConfigError(
                f"`resampled` of {type(metric).__name__} gives no figures by name of score.",
                "Expected a dictionary with an array of one figure for each resample.",
            )
        return given
    rows = counts[:SLOW_DRAWS]
    found: dict[str, Array] = {}
    for row, drawn in enumerate(rows.astype(int)):
        some = [value for value, times in zip(values, drawn, strict=True) for _ in range(times)]
        for score in metric.scores(some).scores if some else ():
            found.setdefault(score.name, np.full(len(rows), np.nan))[row] = score.value
    return found


def units(ids: Sequence[str]) -> NDArray[np.intp]:
    """[n] number of the dialogue of each instance: ids before their last "/" that are alike.

    Where that is the same for all, or there is none, each instance is a unit of its own.
    """
    names = [id.rpartition("/")[0] or id for id in ids]
    found = names if len(set(names)) > 1 else list(ids)
    numbers = {name: number for number, name in enumerate(dict.fromkeys(found))}
    return np.array([numbers[name] for name in found], dtype=np.intp)


def drawn(size: int, draws: int, seed: int = 0) -> Iterator[Array]:
    """Bootstrap counts [≤ draws, D] in blocks: as many units as there are, with replacement.

    Args:
        size: D, how many units there are.
        draws: Resamples in all.
    """
    generator = np.random.default_rng(seed)
    for rows in blocks(draws, size):
        picked = generator.integers(size, size=(rows, size)) + size * np.arange(rows)[:, None]
        counts = np.bincount(picked.ravel(), minlength=rows * size)
        yield counts.reshape(rows, size).astype(float)


def blocks(rows: int, size: int) -> Iterator[int]:
    """How many rows of that size to hold at once, until there have been as many."""
    most = max(1, BLOCK // size)
    for start in range(0, rows, most):
        yield min(most, rows - start)


class Sampled(NamedTuple):
    """What resamples tell of a metric's figures, by name of score.

    Args:
        draws: [R] figures of bootstrap resamples.
        jackknife: [D] figures without one unit each, of figures that are of sums.
        sums: [D, K] sums of each unit, if there are any such.
    """

    draws: dict[str, Array]
    jackknife: dict[str, Array]
    sums: Array | None


def sampled(
    metric: Metric, values: Sequence[Any], units: NDArray[np.intp], size: int, draws: int
) -> Sampled:
    """Figures of bootstrap resamples of units, which are the same for whatever has as many.

    Args:
        values: n of them, none of which is None.
        units: [n] number of the unit that each belongs to.
        size: How many units there are, with and without values.
        draws: Resamples.
    """
    all_counts = drawn(size, draws)
    if not isinstance(metric, Sums):
        found = [resampled(metric, values, counts[:, units]) for counts in all_counts]
        return Sampled(joined(found), {}, None)
    sums = of_units(metric.sums(values), units, size)
    if type(metric).resampled is Sums.resampled:  # of sums alone: units are summed once
        found = [metric.figures(counts @ sums) for counts in all_counts]
    else:
        found = [resampled(metric, values, counts[:, units]) for counts in all_counts]
    return Sampled(joined(found), metric.figures(sums.sum(0) - sums), sums)


def of_units(sums: Array, units: NDArray[np.intp], size: int) -> Array:
    """[D, K]: sums [n, K] of values, by unit."""
    found = np.zeros((size, sums.shape[1]))
    np.add.at(found, units, sums)
    return found


def joined(blocks: Sequence[dict[str, Array]]) -> dict[str, Array]:
    """Figures of several blocks of resamples; a name that one of them lacks is left out."""
    names = [name for name in blocks[0] if all(name in block for block in blocks)]
    return {name: np.concatenate([block[name] for block in blocks]) for name in names}


class Interval(NamedTuple):
    """Ends, and how they were found: the tail of a signature."""

    low: float
    high: float
    by: str


def interval(
    value: float, draws: Array, size: int, jackknife: Array | None = None
) -> Interval | None:
    """95 % interval of a figure; None where its resamples tell none.

    Its ends are quantiles of the resamples, corrected for their bias (BC), and with the jackknife's
    figures for their skewness too (BCa): they keep within a figure's range, and are right to second
    order for smooth functions of sums. But resampling repeats values, which shifts a figure that is
    not of sums (IS and Distinct down, KID up), by more than its whole spread: of such ones it is
    `value` ± a quantile of the normal × the resamples' standard deviation.

    Args:
        value: The figure itself.
        draws: [R] figures of resamples; NaN where there is none.
        size: Units drawn.
        jackknife: [D] figures without one unit each.
    """
    finite = draws[np.isfinite(draws)]
    if size < FEWEST or len(finite) < (1 - UNDEFINED) * len(draws) or len(finite) < 2:
        return None
    if np.ptp(finite) <= 1e-12 * max(1.0, abs(value)):
        return None  # as of a rate of 100 %: all resamples say the same, and nothing
    z, draws_of = _wide(size), f"draws:{len(draws)}"
    levels = _levels(value, finite, jackknife, z)
    if levels is None:
        half = z * float(finite.std(ddof=1))
        return Interval(value - half, value + half, f"bootstrap95-spread|{draws_of}")
    low, high = np.quantile(finite, levels)
    way = "bc" if jackknife is None else "bca"
    return Interval(float(low), float(high), f"bootstrap95-{way}|{draws_of}")


def _wide(size: int) -> float:
    """Quantile of the normal that makes up for a bootstrap variance of few units: Student's t by
    its Cornish-Fisher expansion, × √(D / (D - 1))."""
    z, nu = NORMAL.inv_cdf(0.975), size - 1
    t = z + (z**3 + z) / (4 * nu) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * nu**2)
    return t * math.sqrt(size / nu)


def _levels(
    value: float, draws: Array, jackknife: Array | None, z: float
) -> tuple[float, float] | None:
    """BCa's levels, (14.10) of Efron and Tibshirani; None where resampling shifts the figure by
    more than a standard deviation, or a unit alone decides whether there is one."""
    below = float(np.mean(draws < value) + np.mean(draws == value) / 2)
    if not 0.16 < below < 0.84 or (jackknife is not None and not np.isfinite(jackknife).all()):
        return None
    shift, skew = NORMAL.inv_cdf(below), 0.0
    if jackknife is not None and np.ptp(jackknife) > 0:
        away = jackknife.mean() - jackknife
        skew = float((away**3).sum() / (6 * (away**2).sum() ** 1.5))

    def level(quantile: float) -> float:
        moved = shift + quantile
        return NORMAL.cdf(shift + moved / max(0.1, 1 - skew * moved))

    return level(-z), level(z)
