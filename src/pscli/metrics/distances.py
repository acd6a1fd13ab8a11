"""How far drawn photos are from gold ones, by their features: pure functions over arrays.

Kernel distances are computed from kernel matrices, once, so that resamples cost little.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# N drawn photos, M gold ones, F features, K classes, R resamples

SUBSET, SUBSETS = 1000, 100  # of KID, as torch-fidelity and the literature have them
SIGMA, SCALE = 10.0, 1000.0  # of CMMD
BLOCK = 1024  # rows of a kernel matrix that are held at once
Kernel = Callable[[Array, Array], Array]


class Kernels(NamedTuple):
    """Values of a kernel: [N, N] among drawn photos, [M, M] among gold, [N, M] between."""

    drawn: Array
    gold: Array
    between: Array

    @classmethod
    def of(cls, kernel: Kernel, drawn: Array, gold: Array) -> Self:
        return cls(kernel(drawn, drawn), kernel(gold, gold), kernel(drawn, gold))


def polynomial(a: Array, b: Array) -> Array:
    """[A, B] KID's kernel, (x·y / F + 1)³. Bińkowski et al. (2018), §4."""
    values: Array = (a @ b.T / a.shape[1] + 1) ** 3
    return values


def gaussian(a: Array, b: Array) -> Array:
    """[A, B] CMMD's kernel, exp(-|x - y|² / 2σ²), of rows of length 1. Jayasumana et al. (2024),
    §4."""
    values: Array = np.exp(-(1 - a @ b.T).clip(min=0) / SIGMA**2)
    return values


def mmd2(kernel: Kernel, drawn: Array, gold: Array) -> float:
    """Unbiased squared maximum mean discrepancy. Gretton et al. (2012), eq. 3.

    No photo is compared with itself, so that it may come out below zero.

    Args:
        drawn, gold: [N, F] and [M, F], N, M >= 2.
    """
    n, m = len(drawn), len(gold)
    among = (_total(kernel, x, x) - _own(kernel, x) for x in (drawn, gold))
    within = sum(s / (k * (k - 1)) for s, k in zip(among, (n, m), strict=True))
    return float(within - 2 * _total(kernel, drawn, gold) / (n * m))


def _total(kernel: Kernel, a: Array, b: Array) -> float:
    """Sum of all values, of which not all are held at once."""
    return sum(float(kernel(a[i : i + BLOCK], b).sum()) for i in range(0, len(a), BLOCK))


def _own(kernel: Kernel, a: Array) -> float:
    """Sum of what each has with itself."""
    return sum(float(kernel(row[None], row[None])[0, 0]) for row in a)


def weighted_mmd2(kernels: Kernels, drawn: Array, gold: Array) -> Array:
    """[R] `mmd2` of photos that count several times.

    A photo is not compared with itself, however often it was drawn: copies would pass for
    likeness.

    Args:
        drawn, gold: [R, N] and [R, M], how often each counts.
    """
    with np.errstate(invalid="ignore", divide="ignore"):  # NaN where fewer than two are left
        between = ((drawn @ kernels.between) * gold).sum(1) / (drawn.sum(1) * gold.sum(1))
        found: Array = _within(kernels.drawn, drawn) + _within(kernels.gold, gold) - 2 * between
    return found


def _within(kernel: Array, weights: Array) -> Array:
    """[R] mean over pairs of two photos."""
    pairs = ((weights @ kernel) * weights).sum(1) - weights**2 @ np.diagonal(kernel)
    count = weights.sum(1) ** 2 - (weights**2).sum(1)
    mean: Array = np.where(count > 0, pairs, np.nan) / np.where(count > 0, count, np.nan)
    return mean


def unit(rows: Array) -> Array:
    """Rows scaled to length 1; rows of zeros stay."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled: Array = rows / np.where(lengths > 0, lengths, 1)
    return scaled


def subsets(drawn: int, gold: int) -> tuple[int, int]:
    """How many subsets KID takes, and of which size.

    As many photos as there are on both sides, up to 1,000; the more are left out, the more
    subsets. Where all fit, one is all: more would repeat it.
    """
    size = min(drawn, gold, SUBSET)
    times = max(drawn, gold) / size
    return (1 if times == 1 else min(SUBSETS, int(np.ceil(10 * times)))), size


def weighted_inception_score(
    probabilities: Array, splits: list[NDArray[np.intp]], weights: Array
) -> Array:
    """[R] exp of the mean KL divergence of p(class | photo) from p(class), averaged over splits.
    Salimans et al. (2016).

    Args:
        probabilities: [N, K].
        splits: Rows of each.
        weights: [R, N], how often each photo counts.
    """
    logs = np.log(np.maximum(probabilities, np.finfo(np.float64).tiny))
    inner = (probabilities * logs).sum(1)  # minus its entropy
    scores = []
    for rows in splits:
        w = weights[:, rows]
        total = np.where(w.sum(1) > 0, w.sum(1), np.nan)
        mean = w @ probabilities[rows] / total[:, None]
        outer = (mean * np.log(np.maximum(mean, np.finfo(np.float64).tiny))).sum(1)
        scores.append(np.exp(w @ inner[rows] / total - outer))
    averaged: Array = np.mean(scores, axis=0)
    return averaged


class Likeness(NamedTuple):
    """Cosines of P pairs, drawn and gold photo of one instance.

    Args:
        drawn, gold: [P, F] features of length 1.
    """

    drawn: Array
    gold: Array

    def own(self, weights: Array) -> Array:
        """[R] mean of the pairs. Args: weights: [R, P]."""
        cosines = (self.drawn * self.gold).sum(1)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean: Array = weights @ cosines / weights.sum(1)
        return mean

    def others(self, weights: Array) -> Array:
        """[R] mean of the drawn photos and the gold photos of other pairs."""
        cosines = (self.drawn * self.gold).sum(1)
        every = ((weights @ self.drawn) * (weights @ self.gold)).sum(1)
        count = weights.sum(1) ** 2 - (weights**2).sum(1)
        mean: Array = (every - weights**2 @ cosines) / np.where(count > 0, count, np.nan)
        return mean
