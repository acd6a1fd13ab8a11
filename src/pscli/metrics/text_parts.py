"""Scores of pairs of texts, one kind to a class: what each pair adds, and what sums of it give.

R resamples, or 1 for the figures themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

import numpy as np

from pscli.metrics.base import Better, Score, Scored
from pscli.metrics.overlap import Tokens, brevity, chrf, cumulative, f1, overlap, precisions
from pscli.metrics.resample import Array
from pscli.metrics.tokens import CHARACTERS, LETTERS, signed


class Part:
    """One kind of score: its tokenizer and the names of its figures."""

    cut: str
    names: tuple[str, ...]
    better: Better | None = "higher"

    def row(self, hypothesis: Tokens, reference: Tokens) -> list[float]:
        """[K]: what a pair adds to the sums."""
        raise NotImplementedError

    def figures(self, sums: Array) -> list[Array]:
        """[R] for each name, from sums [R, K]; NaN where there is none."""
        raise NotImplementedError

    def hows(self, sums: Array) -> list[str]:
        """For each name, what its figure depends on. Args: sums: [K]."""
        raise NotImplementedError

    def reasons(self, sums: Array) -> list[str]:
        """For each name, why there is no figure, if it is NaN. Args: sums: [K]."""
        raise NotImplementedError


def scored(part: Part, sums: Array, n: int) -> Scored:
    """Scores from the sums [K] over n pairs."""
    scores, reasons = [], {}
    figures = [float(figure[0]) for figure in part.figures(sums[None])]
    told = zip(part.names, figures, part.hows(sums), part.reasons(sums), strict=True)
    for name, value, how, reason in told:
        if np.isnan(value):
            reasons[name] = reason
        else:
            scores.append(Score(name, value, n, how, part.better))
    return Scored(tuple(scores), reasons)


class Bleu(Part):
    """Conventional corpus BLEU-n: brevity penalty × geometric mean of the precisions of 1- to
    n-grams, in percent.

    Args:
        cut: Name of the tokenizer.
        orders: n of each, ascending.
        nltk: Whether it is NLTK's `corpus_bleu` without smoothing: one match too few and it is 0
            (NLTK: below 1e-70), and a hypothesis shorter than n has one n-gram, a wrong one.
    """

    mean = "cumulative"

    def __init__(self, cut: str, orders: Sequence[int] = (1, 2, 4), nltk: bool = False) -> None:
        self.cut, self.orders, self.nltk = cut, tuple(orders), nltk
        self.names = tuple(f"BLEU-{order}" for order in orders)

    def row(self, hypothesis: Tokens, reference: Tokens) -> list[float]:
        shared = overlap(hypothesis, reference, max(self.orders))
        if self.nltk:
            shared[1::3] = [max(1, count) for count in shared[1::3]]
        return [len(hypothesis), len(reference), *shared]

    def figures(self, sums: Array) -> list[Array]:
        penalty, wanted = brevity(sums[:, 0], sums[:, 1]), sums[:, 4::3]
        return [
            np.where(wanted[:, order - 1] > 0, penalty * self.precision(sums[:, 2:], order), np.nan)
            for order in self.orders
        ]

    def precision(self, sums: Array, order: int) -> Array:
        """[R], in percent, from sums of `overlap`."""
        return cumulative(sums, order, smooth=not self.nltk)

    def hows(self, sums: Array) -> list[str]:
        smooth = "none" if self.nltk or self.mean == "individual" else "exp"
        # sacreBLEU's own signature omits the order, so BLEU-1 and BLEU-2 would share one.
        library = "nltk" if self.nltk else "sacrebleu"
        rest = f"{self.mean}|tok:{signed(self.cut)}|case:mixed|smooth:{smooth}"
        return [f"order:{n}|{rest}|{library}:{version(library)}" for n in self.orders]

    def reasons(self, sums: Array) -> list[str]:
        counts = ["a token" if order == 1 else f"{order} tokens" for order in self.orders]
        return [f"no reference has {count} (tok:{signed(self.cut)})" for count in counts]


class Individual(Bleu):
    """Brevity penalty × the n-gram precision alone, in percent.

    Deviation from BLEU as commonly defined: the paper's released code reports this figure as
    BLEU-n, so it is the one to lay beside Table 2.
    """

    mean = "individual"

    def __init__(self, cut: str) -> None:
        super().__init__(cut, (1, 2))
        self.names = tuple(f"{name} (individual)" for name in self.names)

    def precision(self, sums: Array, order: int) -> Array:
        return precisions(sums)[:, order - 1]


class Rouge(Part):
    """Mean over the pairs of the F1 of their longest common subsequence, in percent.

    Where a reference has no token, the F1 is 0, whatever was predicted: the signature says how
    many, and if it is most of them, there is no score.
    """

    names = ("ROUGE-L",)

    def __init__(self, cut: str = LETTERS) -> None:
        self.cut = cut

    def row(self, hypothesis: Tokens, reference: Tokens) -> list[float]:
        return [f1(hypothesis, reference), not reference, 1]

    def figures(self, sums: Array) -> list[Array]:
        total, blind, n = sums.T
        return [100 * total / np.where((2 * blind > n) | (n == 0), np.nan, n)]

    def hows(self, sums: Array) -> list[str]:
        case = "lower" if self.cut == LETTERS else "mixed"
        how = f"mean-sentence-f1|tok:{signed(self.cut)}|case:{case}|stemmer:no"
        blind = f"|references-without-a-token:{sums[1]:.0f}" if sums[1] else ""
        return [f"{how}|rouge-score:{version('rouge-score')}{blind}"]

    def reasons(self, sums: Array) -> list[str]:
        lacking = f"{sums[1]:,.0f} of {sums[2]:,.0f} references lack"
        if self.cut != LETTERS:
            return [f"{lacking} a token (tok:{signed(self.cut)})"]
        cure = "--tokenize intl, zh, ja-mecab, ko-mecab or char reads others"
        return [f"rouge-score reads a-z and 0-9, which {lacking}: {cure}"]


class Chrf(Part):
    """chrF2: F_2 of the precision and recall of n-grams of characters, n = 1 … 6, in percent."""

    cut = CHARACTERS
    names = ("chrF",)

    def row(self, hypothesis: Tokens, reference: Tokens) -> list[float]:
        shared = overlap(hypothesis, reference, 6)
        # As in sacreBLEU: a length that the reference is too short for is not counted at all.
        both = zip(shared[1::3], shared[2::3], strict=True)
        shared[1::3] = [ours if theirs else 0 for ours, theirs in both]
        return list(map(float, shared))

    def figures(self, sums: Array) -> list[Array]:
        return [np.where(sums[:, 2] > 0, chrf(sums), np.nan)]

    def hows(self, sums: Array) -> list[str]:
        return [f"chars:1-6|words:0|beta:2|space:no|case:mixed|sacrebleu:{version('sacrebleu')}"]

    def reasons(self, sums: Array) -> list[str]:
        return ["no reference has a character"]


class Length(Part):
    """Tokens of a prediction on average, and how many times those of the references; the signature
    of the former says how many predictions have none."""

    names = ("length", "length ratio")
    better = None

    def __init__(self, cut: str) -> None:
        self.cut = cut

    def row(self, hypothesis: Tokens, reference: Tokens) -> list[float]:
        return [len(hypothesis), len(reference), not hypothesis, 1]

    def figures(self, sums: Array) -> list[Array]:
        ours, theirs, _, n = sums.T
        return [ours / np.where(n, n, np.nan), ours / np.where(theirs, theirs, np.nan)]

    def hows(self, sums: Array) -> list[str]:
        tokens = f"tok:{signed(self.cut)}"
        empty = f"|predictions-without-text:{sums[2]:.0f}" if sums[2] else ""
        return [f"mean-of-predictions|{tokens}{empty}", f"predictions/references|{tokens}"]

    def reasons(self, sums: Array) -> list[str]:
        return [f"no reference has a token (tok:{signed(self.cut)})"] * 2
