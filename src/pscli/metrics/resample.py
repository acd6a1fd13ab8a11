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
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from pscli.metrics.base import Metric

Array = NDArray[np.float64]

DRAWS = 1000  # of a metric that is resampled by matrix products
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
        return metric.resampled(values, counts)
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


def drawn(units: NDArray[np.intp], draws: int, seed: int = 0) -> Iterator[Array]:
    """Bootstrap counts [≤ draws, n] in blocks: as many units as there are, with replacement.

    Args:
        units: [n] number of each instance's unit, from 0.
        draws: Resamples in all.
    """
    generator = np.random.default_rng(seed)
    size = int(units.max()) + 1
    block = max(1, BLOCK // len(units))
    for start in range(0, draws, block):
        rows = min(block, draws - start)
        picked = generator.integers(size, size=(rows, size)) + size * np.arange(rows)[:, None]
        counts = np.bincount(picked.ravel(), minlength=rows * size).reshape(rows, size)
        yield counts[:, units].astype(float)


def left_out(units: NDArray[np.intp]) -> Iterator[Array]:
    """Jackknife counts [≤ D, n] in blocks: all but one of the D units."""
    size = int(units.max()) + 1
    block = max(1, BLOCK // len(units))
    for start in range(0, size, block):
        out = np.arange(start, min(size, start + block))
        yield (units[None] != out[:, None]).astype(float)


def joined(blocks: Sequence[dict[str, Array]]) -> dict[str, Array]:
    """Figures of several blocks of resamples, one after the other.

    A name that a block lacks has no figure there.
    """
    names = dict.fromkeys(name for block in blocks for name in block)
    sizes = [max((len(figures) for figures in block.values()), default=0) for block in blocks]
    return {
        name: np.concatenate(
            [b.get(name, np.full(size, np.nan)) for b, size in zip(blocks, sizes, strict=True)]
        )
        for name in names
    }


def interval(
    value: float, draws: Array, size: int, jackknife: Array | None = None
) -> tuple[float, float] | None:
    """95 % interval of a figure; None where its resamples tell none.

    With the jackknife's figures it is BCa, whose ends are quantiles of the resamples: it keeps
    within a figure's range, and is right to second order for smooth functions of sums. Without, it
    is `value` ± a quantile of the normal × the resamples' standard deviation. Resampling repeats
    values, and so shifts a figure that is not of sums (FID up, IS and Distinct down), by more than
    its whole spread: only the spread can be used.

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
    z = _wide(size)
    levels = _levels(value, finite, jackknife, z) if jackknife is not None else None
    if levels is None:
        half = z * float(finite.std(ddof=1))
        return value - half, value + half
    low, high = np.quantile(finite, levels)
    return float(low), float(high)


def _wide(size: int) -> float:
    """Quantile of the normal that makes up for a bootstrap variance of few units: Student's t by
    its Cornish-Fisher expansion, × √(D / (D - 1))."""
    z, nu = NORMAL.inv_cdf(0.975), size - 1
    t = z + (z**3 + z) / (4 * nu) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * nu**2)
    return t * math.sqrt(size / nu)


def _levels(value: float, draws: Array, jackknife: Array, z: float) -> tuple[float, float] | None:
    """BCa's levels, (14.10) of Efron and Tibshirani; None where resampling shifts the figure by
    more than a standard deviation, or a unit alone decides whether there is one."""
    below = float(np.mean(draws < value) + np.mean(draws == value) / 2)
    if not 0.16 < below < 0.84 or not np.isfinite(jackknife).all():
        return None
    shift = NORMAL.inv_cdf(below)
    away = jackknife.mean() - jackknife
    scale = float((away**2).sum())
    skew = float((away**3).sum()) / (6 * scale**1.5) if scale else 0.0

    def level(quantile: float) -> float:
        moved = shift + quantile
        return NORMAL.cdf(shift + moved / max(0.1, 1 - skew * moved))

    return level(-z), level(z)
