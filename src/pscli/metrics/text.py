"""What is said of the predicted texts: BLEU, ROUGE-L, chrF, Distinct-n, length.

Three conventions: that of sacreBLEU and rouge-score, with the paper's kind of BLEU beside it; that
of NLTK; and the one by which the released code of Guo et al. (2024) computes their Table 2.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from pscli.errors import ConfigError
from pscli.metrics.base import Score, Scored
from pscli.metrics.distinct import distinct, resampled_distinct
from pscli.metrics.resample import Array, Sums
from pscli.metrics.text_parts import Bleu, Chrf, Individual, Length, Part, Rouge, scored
from pscli.metrics.tokens import CHOICES, TREEBANK, signed, tokenizer
from pscli.predictions.folder import Prediction, Side

USUAL = {"sacrebleu": "13a", "authors": "none", "nltk-cumulative": TREEBANK}  # tokenizers
CONVENTIONS = tuple(USUAL)
DISTINCT = (1, 2)  # n
_MARKS = re.compile(r"\[/?img\]", re.IGNORECASE)


class Words(NamedTuple):
    """One instance.

    Args:
        row: What it adds to each sum that the scores depend on.
        tokens: Of the hypothesis.
    """

    row: tuple[float, ...]
    tokens: tuple[str, ...]


class Text(Sums):
    """BLEU-1, 2 and 4 (also individual), ROUGE-L, chrF, Distinct-1 and 2, and lengths.

    Only instances whose reference has text count: a response that is nothing but a photo has no
    words to match. A prediction without text counts there as an empty hypothesis.

    Args:
        convention: `sacrebleu`; `nltk-cumulative`, NLTK's `corpus_bleu` with weights 1/n, without
            smoothing; or `authors`, as the released code of the paper does it: BLEU is individual,
            and ROUGE-L reads the same tokens, split at white space with their case.
        captions: Whether captions are text, where their photos stand; the authors keep the marks
            around them, as tokens, and count them by default.
        tokenize: One of `tokens.CHOICES` in place of the convention's own. ROUGE-L then reads
            these tokens, too; the individual BLEU of `sacrebleu` is always that of the paper.

    Raises:
        ConfigError: at another convention or tokenizer, or one that is not installed.
    """

    def __init__(
        self,
        convention: str = "sacrebleu",
        captions: bool | None = None,
        tokenize: str | None = None,
    ) -> None:
        if convention not in USUAL:
            raise ConfigError(
                f"The convention is '{convention}'.", f"Known: {', '.join(CONVENTIONS)}."
            )
        if tokenize not in (None, *CHOICES):
            raise ConfigError(
                f"There is no tokenizer '{tokenize}'.", f"Known: {', '.join(CHOICES)}."
            )
        self.authors = convention == "authors"
        self.captions = self.authors if captions is None else captions
        self.cut = tokenize or USUAL[convention]
        self.parts = _parts(convention, self.cut, own=self.cut != USUAL[convention])
        self.distinct = {} if self.authors else {f"Distinct-{n}": n for n in DISTINCT}
        for part in self.parts:
            tokenizer(part.cut)  # it is refused before anything is read

    @property
    def names(self) -> tuple[str, ...]:
        """Of all scores, in order."""
        return (*(name for part in self.parts for name in part.names), *self.distinct)

    def _text(self, side: Side) -> str:
        if not self.captions:
            return side.text
        return side.line if self.authors else _MARKS.sub(" ", side.line)

    def values(self, predictions: Sequence[Prediction]) -> list[Words | None]:
        cuts = {name: tokenizer(name) for name in (self.cut, *(part.cut for part in self.parts))}

        def one(hypothesis: str, reference: str) -> Words | None:
            if not reference.strip():
                return None
            pair = {name: (cut(hypothesis), cut(reference)) for name, cut in cuts.items()}
            row = [number for part in self.parts for number in part.row(*pair[part.cut])]
            return Words(tuple(row), tuple(pair[self.cut][0]))

        return [one(self._text(p.prediction), self._text(p.reference)) for p in predictions]

    def scores(self, values: Sequence[Words]) -> Scored:
        if not values:
            return Scored(reasons=dict.fromkeys(self.names, "no reference has text"))
        total = self.sums(values).sum(axis=0)
        parts = zip(self.parts, self._columns(total), strict=True)
        found = sum((scored(part, sums, len(values)) for part, sums in parts), Scored())
        found += self._distinct(values)
        if not self.captions:
            return found
        told = "|captions:as-text" + ("-in-[img]" if self.authors else "")
        return replace(found, scores=tuple(replace(s, how=s.how + told) for s in found.scores))

    def sums(self, values: Sequence[Words]) -> Array:
        width = sum(len(part.row((), ())) for part in self.parts)
        return np.array([value.row for value in values], dtype=float).reshape(-1, width)

    def figures(self, sums: Array) -> dict[str, Array]:
        found: dict[str, Array] = {}
        for part, columns in zip(self.parts, self._columns(sums), strict=True):
            found |= zip(part.names, part.figures(columns), strict=True)
        return found

    def resampled(self, values: Sequence[Words], counts: Array) -> dict[str, Array]:
        """Figures of resamples. Distinct-n is of sets, not of sums."""
        texts = [value.tokens for value in values]
        sets = {name: resampled_distinct(texts, n, counts) for name, n in self.distinct.items()}
        return super().resampled(values, counts) | sets

    def _columns(self, sums: Array) -> list[Array]:
        """Each part's of the sums [..., K]."""
        ends = accumulate(len(part.row((), ())) for part in self.parts)
        return np.split(sums, list(ends)[:-1], axis=-1)

    def _distinct(self, values: Sequence[Words]) -> Scored:
        scores, reasons = [], {}
        how = f"different-of-all|of:predictions|tok:{signed(self.cut)}|case:mixed"
        for name, n in self.distinct.items():
            value = distinct([v.tokens for v in values], n)
            if math.isnan(value):
                reasons[name] = f"no prediction has {n} token{'s' * (n > 1)}"
            else:
                scores.append(Score(name, value, len(values), f"order:{n}|{how}", "higher"))
        return Scored(tuple(scores), reasons)


def _parts(convention: str, cut: str, own: bool) -> list[Part]:
    """Args: own: Whether the tokenizer is not the convention's."""
    if convention == "authors":
        return [Individual(cut), Rouge(cut)]
    rouge = Rouge(cut) if own else Rouge()
    if convention == "nltk-cumulative":
        return [Bleu(cut, nltk=True), rouge, Chrf(), Length(cut)]
    return [Bleu(cut), Individual("none"), rouge, Chrf(), Length(cut)]
