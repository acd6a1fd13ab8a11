"""BLEU and ROUGE-L of the predicted texts. Guo et al. (2024), Table 2.

Two conventions: that of sacreBLEU and rouge-score, with the paper's kind of BLEU beside it, and the
one by which the paper's released code computes its table.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any, NamedTuple

from pscli.errors import ConfigError
from pscli.metrics.base import Score, Scored
from pscli.predictions.folder import Prediction, Side

ORDERS = (1, 2)  # longest n-grams; the statistics of the longest hold those of the others
CONVENTIONS = ("sacrebleu", "authors")
AUTHORS = ("BLEU-1 (individual)", "BLEU-2 (individual)", "ROUGE-L")
NAMES = ("BLEU-1", "BLEU-2", *AUTHORS)
_MARKS = re.compile(r"\[/?img\]", re.IGNORECASE)


class Counts(NamedTuple):
    """sacreBLEU's statistics of a text: lengths in tokens, and n-grams by length.

    Args:
        right: n-grams of the hypothesis that the reference has, n = 1, 2.
        all: n-grams of the hypothesis.
    """

    hypothesis: int
    reference: int
    right: tuple[int, ...]
    all: tuple[int, ...]


class Words(NamedTuple):
    """One instance: counts by token convention; ROUGE-L's F1, None if it sees no reference."""

    mteval: Counts
    split: Counts
    rouge: float | None


class Split:
    """Tokens as `str.split` gives them, for rouge-score."""

    def tokenize(self, text: str) -> list[str]:
        return text.split()


class Text:
    """BLEU-1, BLEU-2 (cumulative and individual) and ROUGE-L, in percent.

    Only instances whose reference has text count: a response that is nothing but a photo has no
    words to match. A prediction without text counts there as an empty hypothesis.

    Args:
        convention: `sacrebleu`; or `authors`, as the released code of the paper does it: BLEU is
            individual alone, and ROUGE-L reads the same tokens, split at white space with their
            case.
        captions: Whether captions are text, where their photos stand; the authors keep the marks
            around them, as tokens, and count them by default.

    Raises:
        ConfigError: at another convention.
    """

    def __init__(self, convention: str = "sacrebleu", captions: bool | None = None) -> None:
        if convention not in CONVENTIONS:
            raise ConfigError(
                f"The convention is '{convention}'.", f"Known: {', '.join(CONVENTIONS)}."
            )
        self.authors = convention == "authors"
        self.captions = self.authors if captions is None else captions

    def _text(self, side: Side) -> str:
        if not self.captions:
            return side.text
        return side.line if self.authors else _MARKS.sub(" ", side.line)

    def values(self, predictions: Sequence[Prediction]) -> list[Words | None]:
        from rouge_score.rouge_scorer import RougeScorer
        from rouge_score.tokenize import tokenize
        from sacrebleu.metrics.bleu import BLEU

        # effective_order silences advice about scores of sentences, which are not looked at.
        options: dict[str, Any] = {"max_ngram_order": max(ORDERS), "effective_order": True}
        mteval, split = (BLEU(tokenize=name, **options) for name in ("13a", "none"))
        tokens = Split() if self.authors else None
        rouge = RougeScorer(["rougeL"], use_stemmer=False, tokenizer=tokens)

        def one(hypothesis: str, reference: str) -> Words | None:
            if not reference.strip():
                return None
            f1 = rouge.score(reference, hypothesis)["rougeL"].fmeasure
            return Words(
                _counts(mteval, hypothesis, reference),
                _counts(split, hypothesis, reference),
                f1 if self.authors or tokenize(reference, None) else None,
            )

        return [one(self._text(p.prediction), self._text(p.reference)) for p in predictions]

    def scores(self, values: Sequence[Words]) -> Scored:
        if not values:
            names = AUTHORS if self.authors else NAMES
            return Scored(reasons=dict.fromkeys(names, "no reference has text"))
        mteval, split = [v.mteval for v in values], [v.split for v in values]
        usual = [] if self.authors else [bleu(mteval, order) for order in ORDERS]
        individual = [individual_bleu(split, order) for order in ORDERS]
        rouge = rouge_l([v.rouge for v in values], split=self.authors)
        found = sum([*usual, *individual, rouge], Scored())
        if not self.captions:
            return found
        told = "|captions:as-text" + ("-in-[img]" if self.authors else "")
        return replace(found, scores=tuple(replace(s, how=s.how + told) for s in found.scores))


def _counts(bleu: Any, hypothesis: str, reference: str) -> Counts:
    found = bleu.sentence_score(hypothesis, [reference])
    return Counts(found.sys_len, found.ref_len, tuple(found.counts), tuple(found.totals))


def bleu(counts: Sequence[Counts], order: int) -> Scored:
    """Conventional corpus BLEU: brevity penalty × geometric mean of the 1- to `order`-gram
    precisions, in percent.

    Args:
        counts: Of each text by the tokens of mteval-v13a, at least one.
        order: Longest n-gram, 1 or 2.
    """
    how = f"order:{order}|cumulative|tok:13a|case:mixed|smooth:exp|{_version()}"
    return _bleu(f"BLEU-{order}", counts, order, how, "exp")


def individual_bleu(counts: Sequence[Counts], order: int) -> Scored:
    """Brevity penalty × the `order`-gram precision alone, on whitespace tokens, in percent.

    Deviation from BLEU as commonly defined: the paper's released code reports this figure as
    BLEU-n, so it is the one to lay beside Table 2. Arguments as for `bleu`.
    """
    how = f"order:{order}|individual|tok:split|case:mixed|smooth:none|{_version()}"
    return _bleu(f"BLEU-{order} (individual)", counts, order, how, "none")


def _bleu(name: str, counts: Sequence[Counts], order: int, how: str, smooth: str) -> Scored:
    from sacrebleu.metrics.bleu import BLEU

    if all(c.reference < order for c in counts):
        token = "a token" if order == 1 else f"{order} tokens"
        return Scored(reasons={name: f"no reference has {token} ({how.split('|')[2]})"})
    result = BLEU.compute_bleu(
        correct=[sum(c.right[k] for c in counts) for k in range(order)],
        total=[sum(c.all[k] for c in counts) for k in range(order)],
        sys_len=sum(c.hypothesis for c in counts),
        ref_len=sum(c.reference for c in counts),
        smooth_method=smooth,
        max_ngram_order=order,
    )
    value = result.score if smooth == "exp" else result.bp * result.precisions[order - 1]
    return Scored((Score(name, value, len(counts), how, "higher"),))


def _version() -> str:
    # sacreBLEU's own signature omits the order, so BLEU-1 and BLEU-2 would share one.
    return f"sacrebleu:{version('sacrebleu')}"


def rouge_l(values: Sequence[float | None], split: bool = False) -> Scored:
    """Mean over the instances of the F1 of their longest common subsequence, in percent.

    Where rouge-score sees none of a reference, the F1 is 0, whatever was predicted; if that is so
    for most, there is no score.

    Args:
        split: Whether its tokens were split at white space.
    """
    name = NAMES[-1]
    blind = values.count(None)
    if 2 * blind > len(values):
        reason = (
            f"rouge-score reads a-z and 0-9, which {blind:,} of {len(values):,} references lack"
        )
        return Scored(reasons={name: reason})
    tokens = "split|case:mixed" if split else "rouge-score(a-z0-9)|case:lower"
    how = f"mean-sentence-f1|tok:{tokens}|stemmer:no"
    how += f"|rouge-score:{version('rouge-score')}"
    value = 100 * sum(v or 0.0 for v in values) / len(values)
    return Scored((Score(name, value, len(values), how, "higher"),))
