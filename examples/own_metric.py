"""A metric of one's own: how many replies ask something back.

    pscli score preds/mine --metric own_metric:Questions

`values` says what each instance contributes, once; `scores` sums up any of them, so that instance
types, and whatever else picks among instances, need to know nothing about the metric.
"""

from __future__ import annotations

from collections.abc import Sequence

from pscli.metrics.base import Score, Scored
from pscli.predictions.folder import Prediction


class Questions:
    def values(self, predictions: Sequence[Prediction]) -> list[bool | None]:
        """Whether each reply asks; None where it has no text, and so does not count."""
        texts = [p.prediction.text for p in predictions]
        return ["?" in text if text else None for text in texts]

    def scores(self, values: Sequence[bool]) -> Scored:
        if not values:
            return Scored(reasons={"questions": "no reply has text"})
        share = 100 * sum(values) / len(values)
        # No direction is better: people ask at times.
        return Scored((Score("questions", share, len(values), "replies-with:?", better=None),))
