"""What two texts have in common, and the scores that sums of it give: BLEU, chrF.

    R resamples (1 for the figure itself)   N longest n-grams

Papineni et al. (2002), BLEU; Popović (2015), chrF; both as sacreBLEU and NLTK compute them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from pscli.metrics.resample import Array

Tokens = Sequence[str]  # a string is a sequence of its characters

BETA = 2.0  # chrF: how many times as much as precision recall counts


def grams(tokens: Tokens, n: int) -> list[Tokens]:
    """All n-grams of consecutive tokens, in order."""
    return [tokens[i : i + n] for i in range(len(tokens) - n + 1)]


def overlap(hypothesis: Tokens, reference: Tokens, longest: int) -> list[int]:
    """[3 × N]: for n = 1 … N, the n-grams that both have (each as often as both have it), those of
    the hypothesis, and those of the reference."""
    row: list[int] = []
    for n in range(1, longest + 1):
        ours, theirs = (Counter(grams(tokens, n)) for tokens in (hypothesis, reference))
        common = sum(min(count, theirs[gram]) for gram, count in ours.items() if gram in theirs)
        row += [common, ours.total(), theirs.total()]
    return row


def longest_common(a: Tokens, b: Tokens) -> int:
    """Length of the longest common subsequence.

    Hyyrö (2004), bit-parallel: a column of the usual table is one integer, whose zero bits are the
    steps by which lengths grow down the column.
    """
    places: dict[str, int] = {}
    for i, token in enumerate(a):
        places[token] = places.get(token, 0) | 1 << i
    full = (1 << len(a)) - 1
    column = full
    for token in b:
        equal = column & places.get(token, 0)
        column = (column + equal | column - equal) & full
    return len(a) - column.bit_count()


def f1(hypothesis: Tokens, reference: Tokens) -> float:
    """ROUGE-L's of one pair, 0 to 1: harmonic mean of the longest common subsequence's shares."""
    common = longest_common(hypothesis, reference)
    if not common:
        return 0.0
    precision, recall = common / len(hypothesis), common / len(reference)
    return 2 * precision * recall / (precision + recall)


def brevity(length: Array, wanted: Array) -> Array:
    """BLEU's penalty [R], 0 to 1, of hypotheses that are shorter than their references."""
    with np.errstate(divide="ignore"):
        short = np.exp(1 - wanted / np.where(length > 0, length, np.nan))
    return np.where(length < wanted, np.nan_to_num(short), 1.0)


def precisions(sums: Array, smooth: bool = False) -> Array:
    """Of n-grams, in percent [R, N]. 0 where there are none.

    Args:
        sums: [R, 3 N], of `overlap`.
        smooth: mteval's way with an order without a match: as if half of one matched, a quarter
            at the next such order, and so on.
    """
    right, everything = sums[:, 0::3], np.maximum(sums[:, 1::3], 1)
    if smooth:
        none = right == 0
        right = np.where(none & (sums[:, 1::3] > 0), 0.5 ** np.cumsum(none, axis=1), right)
    return 100 * right / everything


def cumulative(sums: Array, order: int, smooth: bool) -> Array:
    """Geometric mean of the precisions of n = 1 … `order`, in percent [R].

    Without a match of any length it is 0, smoothed or not. Arguments as for `precisions`.
    """
    some = sums[:, : 3 * order]
    with np.errstate(divide="ignore"):
        logs = np.log(precisions(some, smooth)).sum(axis=1) / order
    return np.where(some[:, 0::3].any(axis=1), np.exp(logs), 0.0)


def chrf(sums: Array) -> Array:
    """F_β of the mean precision and the mean recall over lengths of n-grams, in percent [R].

    Only lengths count of which both sides have n-grams. Args: sums: [R, 3 N], of characters.
    """
    right, ours, theirs = (sums[:, k::3] for k in range(3))
    both = (ours > 0) & (theirs > 0)
    orders = np.maximum(both.sum(axis=1), 1)
    precision, recall = (
        (right / np.where(both, all, np.inf)).sum(axis=1) / orders for all in (ours, theirs)
    )
    bottom = BETA**2 * precision + recall
    top: Array = 100 * (1 + BETA**2) * precision * recall
    return top / np.where(bottom > 0, bottom, 1.0)
