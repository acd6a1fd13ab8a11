"""BLEU and ROUGE-L of the predicted texts. Guo et al. (2024), Table 2."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, NamedTuple

from pscli.metrics.base import Score, Scored
from pscli.predictions.folder import Prediction

ORDERS = (1, 2)  # longest n-grams; the statistics of the longest hold those of the others
NAMES = ("BLEU-1", "BLEU-2", "BLEU-1 (individual)", "BLEU-2 (individual)", "ROUGE-L")


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


class Text:
    """BLEU-1, BLEU-2 (both conventions) and ROUGE-L, in percent.

    Only instances whose reference has text count: a response that is nothing but a photo has no
    words to match. A prediction without text counts there as an empty hypothesis.
    """

    def values(self, predictions: Sequence[Prediction]) -> list[Words | None]:
        from rouge_score.rouge_scorer import RougeScorer
        from rouge_score.tokenize import tokenize
        from sacrebleu.metrics.bleu import BLEU

        # effective_order silences advice about scores of sentences, which are not looked at.
        options: dict[str, Any] = {"max_ngram_order": max(ORDERS), "effective_order": True}
        mteval, split = (BLEU(tokenize=name, **options) for name in ("13a", "none"))
        rouge = RougeScorer(["rougeL"], use_stemmer=False)

        def one(hypothesis: str, reference: str) -> Words | None:
            if not reference.strip():
                return None
            f1 = rouge.score(reference, hypothesis)["rougeL"].fmeasure
            return Words(
                _counts(mteval, hypothesis, reference),
                _counts(split, hypothesis, reference),
                f1 if tokenize(reference, None) else None,
            )

        return [one(p.prediction.text, p.reference.text) for p in predictions]

    def scores(self, values: Sequence[Words]) -> Scored:
        if not values:
            return Scored(reasons=dict.fromkeys(NAMES, "no reference has text"))
        mteval, split = [v.mteval for v in values], [v.split for v in values]
        parts = (
            *(bleu(mteval, order) for order in ORDERS),
            *(individual_bleu(split, order) for order in ORDERS),
            rouge_l([v.rouge for v in values]),
        )
        return sum(parts, Scored())


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


def rouge_l(values: Sequence[float | None]) -> Scored:
    """Mean over the instances of the F1 of their longest common subsequence, in percent.

    Where rouge-score sees none of a reference, the F1 is 0, whatever was predicted; if that is so
    for most, there is no score.
    """
    name = NAMES[-1]
    blind = values.count(None)
    if 2 * blind > len(values):
        reason = (
            f"rouge-score reads a-z and 0-9, which {blind:,} of {len(values):,} references lack"
        )
        return Scored(reasons={name: reason})
    how = "mean-sentence-f1|tok:rouge-score(a-z0-9)|case:lower|stemmer:no"
    how += f"|rouge-score:{version('rouge-score')}"
    value = 100 * sum(v or 0.0 for v in values) / len(values)
    return Scored((Score(name, value, len(values), how, "higher"),))
