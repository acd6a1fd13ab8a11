"""When a photo is shared, and when one should have been: proportions with 95 % Wilson intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pscli.metrics.base import Score, Scored
from pscli.predictions.folder import Prediction

SHARING = ("sharing precision", "sharing recall", "sharing F1")
Z_95 = 1.959963984540054


def wilson(hits: int, n: int, z: float = Z_95) -> tuple[float, float]:
    """Wilson's score interval of a proportion, in percent.

    Args:
        hits: Successes, 0 to n.
        n: Trials, >= 1.
        z: Standard normal quantile; the default gives 95 %.
    """
    p, scale = hits / n, 1 + z * z / n
    centre = (p + z * z / (2 * n)) / scale
    half = z / scale * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return 100 * max(0.0, centre - half), 100 * min(1.0, centre + half)


def rate(name: str, hits: int, n: int, how: str) -> Score:
    """A proportion in percent. Args: hits, n: Counts, n >= 1. how: Head of the signature."""
    return Score(name, 100 * hits / n, n, f"{how}|n:{n}|interval:wilson95", None, wilson(hits, n))


def sharing_scores(predictions: Sequence[Prediction]) -> Scored:
    """Precision, recall and F1 of the decision to share, over all instances: whether at least
    one photo is predicted, against whether the reference has at least one."""
    sent = [bool(p.prediction.photos) for p in predictions]
    due = [bool(p.reference.photos) for p in predictions]
    both = sum(s and d for s, d in zip(sent, due, strict=True))
    either = sum(s or d for s, d in zip(sent, due, strict=True))
    precision, recall, f1 = SHARING
    scores, reasons = [], {}
    if any(sent):
        scores.append(rate(precision, both, sum(sent), "photo-sent"))
    else:
        reasons[precision] = "no photo is predicted"
    if any(due):
        scores.append(rate(recall, both, sum(due), "photo-sent"))
    else:
        reasons[recall] = "no reference has a photo"
    if either:
        # F1 = 2J / (1 + J) grows with Jaccard's J = both / either, which is a proportion: so the
        # ends of J's interval give those of F1.
        low, high = (200 * j / (1 + j) for j in (x / 100 for x in wilson(both, either)))
        signature = f"photo-sent|n:{either}|of:sent-or-due|interval:wilson95-of-jaccard"
        value = 200 * both / (both + either)
        scores.append(Score(f1, value, either, signature, None, (low, high)))
    else:
        reasons[f1] = "no photo is predicted and none is due"
    return Scored(tuple(scores), reasons)


def sharing_accuracy(predictions: Sequence[Prediction]) -> Scored:
    """Share of the instances in which a photo is predicted exactly when the reference has one."""
    if not predictions:
        return Scored(reasons={"sharing accuracy": "no instances"})
    hits = sum(bool(p.prediction.photos) == bool(p.reference.photos) for p in predictions)
    return Scored((rate("sharing accuracy", hits, len(predictions), "photo-sent"),))
