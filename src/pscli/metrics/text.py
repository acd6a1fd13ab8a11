"""BLEU and ROUGE-L of the predicted texts. Guo et al. (2024), Table 2."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

from pscli.metrics.base import Score, Scored
from pscli.predictions.folder import Prediction

NAMES = ("BLEU-1", "BLEU-2", "BLEU-1 (individual)", "BLEU-2 (individual)", "ROUGE-L")


def text_scores(predictions: Sequence[Prediction]) -> Scored:
    """BLEU-1, BLEU-2 (both conventions) and ROUGE-L, in percent.

    Only instances whose reference has text count: a response that is nothing but a photo has no
    words to match. A prediction without text counts there as an empty hypothesis.
    """
    pairs = [(p.prediction.text, p.reference.text) for p in predictions if p.reference.text.strip()]
    if not pairs:
        return Scored(reasons=dict.fromkeys(NAMES, "no reference has text"))
    hypotheses, references = [h for h, _ in pairs], [r for _, r in pairs]
    return Scored(
        (
            bleu(hypotheses, references, 1),
            bleu(hypotheses, references, 2),
            individual_bleu(hypotheses, references, 1),
            individual_bleu(hypotheses, references, 2),
            rouge_l(hypotheses, references),
        )
    )


def bleu(hypotheses: Sequence[str], references: Sequence[str], order: int) -> Score:
    """Conventional corpus BLEU: brevity penalty × geometric mean of the 1- to `order`-gram
    precisions, in percent.

    Args:
        hypotheses: Predicted texts, at least one; empty ones are allowed.
        references: One text for each hypothesis.
        order: Longest n-gram, >= 1.
    """
    from sacrebleu.metrics.bleu import BLEU

    # force: sacrebleu otherwise warns when references look tokenised, as PhotoChat's do.
    metric = BLEU(max_ngram_order=order, tokenize="13a", force=True)
    value = metric.corpus_score(list(hypotheses), [list(references)]).score
    # sacrebleu's own signature omits the order, so BLEU-1 and BLEU-2 would share one.
    signature = (
        f"order:{order}|cumulative|tok:13a|case:mixed|smooth:exp|n:{len(hypotheses)}"
        f"|sacrebleu:{version('sacrebleu')}"
    )
    return Score(f"BLEU-{order}", value, len(hypotheses), signature)


def individual_bleu(hypotheses: Sequence[str], references: Sequence[str], order: int) -> Score:
    """Brevity penalty × the `order`-gram precision alone, on whitespace tokens, in percent.

    Deviation from BLEU as commonly defined: the paper's released code reports this figure as
    BLEU-n, so it is the one to lay beside Table 2. Arguments as for `bleu`.
    """
    from sacrebleu.metrics.bleu import BLEU

    metric = BLEU(max_ngram_order=order, tokenize="none", smooth_method="none", force=True)
    result = metric.corpus_score(list(hypotheses), [list(references)])
    signature = (
        f"order:{order}|individual|tok:split|case:mixed|smooth:none|n:{len(hypotheses)}"
        f"|sacrebleu:{version('sacrebleu')}"
    )
    value = result.bp * result.precisions[order - 1]
    return Score(f"BLEU-{order} (individual)", value, len(hypotheses), signature)


def rouge_l(hypotheses: Sequence[str], references: Sequence[str]) -> Score:
    """Mean over the instances of the F1 of their longest common subsequence, in percent."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], use_stemmer=False)
    values = [
        scorer.score(reference, hypothesis)["rougeL"].fmeasure
        for hypothesis, reference in zip(hypotheses, references, strict=True)
    ]
    signature = (
        f"mean-sentence-f1|tok:rouge-score(a-z0-9)|case:lower|stemmer:no|n:{len(values)}"
        f"|rouge-score:{version('rouge-score')}"
    )
    return Score("ROUGE-L", 100 * sum(values) / len(values), len(values), signature)
