"""Distinct-n: how many of the n-grams of all predictions together are different ones.

Li et al. (2016), A Diversity-Promoting Objective Function for Neural Conversation Models, §5.2.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pscli.metrics.overlap import Tokens, grams
from pscli.metrics.resample import Array

BLOCK = 10_000_000  # n-grams × resamples looked at together, a byte each


def distinct(texts: Sequence[Tokens], n: int) -> float:
    """In percent of all n-grams; NaN if there are none. It falls with the number of texts."""
    found = [tuple(gram) for text in texts for gram in grams(text, n)]
    return 100 * len(set(found)) / len(found) if found else float("nan")


def resampled_distinct(texts: Sequence[Tokens], n: int, counts: Array) -> Array:
    """[R] of resamples, whose counts of each text are [R, len(texts)]."""
    numbers: dict[tuple[str, ...], int] = {}
    pairs = np.array(
        sorted(
            (numbers.setdefault(tuple(gram), len(numbers)), row)
            for row, text in enumerate(texts)
            for gram in grams(text, n)
        )
    ).reshape(-1, 2)
    if not len(pairs):
        return np.full(len(counts), np.nan)
    owners = pairs[:, 1]  # text of each n-gram, equal n-grams together
    starts = np.flatnonzero(np.diff(pairs[:, 0], prepend=-1))
    seen = np.empty(len(counts))
    step = max(1, BLOCK // len(owners))
    for i in range(0, len(counts), step):
        drawn = (counts[i : i + step] > 0)[:, owners]
        seen[i : i + step] = np.logical_or.reduceat(drawn, starts, axis=1).sum(axis=1)
    everything = counts @ np.array([max(0, len(text) - n + 1) for text in texts], dtype=float)
    return 100 * seen / np.where(everything > 0, everything, np.nan)
