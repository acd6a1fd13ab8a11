"""When a photo is shared, and when one should have been: proportions with 95 % Wilson intervals,
and how many turns lie between the two.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from pscli.metrics.base import Score, Scored
from pscli.metrics.resample import Array, Sums, units
from pscli.predictions.folder import Prediction

PRECISION, RECALL, F1 = "sharing precision", "sharing recall", "sharing F1"
ACCURACY, DISTANCE = "sharing accuracy", "turn distance"
_TURN = re.compile(r"/([0-9]{1,9})\Z")
Z_95 = 1.959963984540054


class Shared(NamedTuple):
    """One instance.

    Args:
        sent: Whether at least one photo is predicted.
        due: Whether the reference has at least one.
        mixed: Whether photos are due in some instances of the folder, and in others not.
        distance: Turns between the photo that is sent and the nearest one that is due in the same
            dialogue; None where there is none, or ids do not tell.
    """

    sent: bool
    due: bool
    mixed: bool
    distance: int | None = None


class Sharing(Sums):
    """Precision, recall, F1 and accuracy of the decision to share, and the turn distance: how many
    turns a predicted photo is early or late, on average.

    Among instances of which all want a photo, or none does (a type of photoworld's), accuracy
    says it all, and so stands alone. Of a folder without any photo nothing is said.
    """

    def values(self, predictions: Sequence[Prediction]) -> list[Shared | None]:
        due = [p.reference.shares for p in predictions]
        mixed = len(set(due)) > 1
        sent = [p.prediction.shares for p in predictions]
        if not any(due) and not any(sent):
            return [None] * len(predictions)
        away = _distances([p.id for p in predictions], sent, due)
        return [Shared(s, d, mixed, a) for s, d, a in zip(sent, due, away, strict=True)]

    def scores(self, values: Sequence[Shared]) -> Scored:
        if not values:
            return Scored(reasons={F1: "no photo is predicted and none is due"})
        alike = len({value.due for value in values}) == 1
        decisions = Scored() if alike and values[0].mixed else _decisions(values)
        hits = sum(value.sent == value.due for value in values)
        return decisions + Scored((rate(ACCURACY, hits, len(values), "photo-sent"),))

    def sums(self, values: Sequence[Shared]) -> Array:
        rows = [
            (v.sent, v.due, v.sent and v.due, v.sent == v.due, 1)
            + ((0, 0) if v.distance is None else (v.distance, 1))
            for v in values
        ]
        return np.array(rows, dtype=float).reshape(-1, 7)

    def figures(self, sums: Array) -> dict[str, Array]:
        sent, due, both, hits, n, away, told = sums.T

        def share(top: Array, bottom: Array) -> Array:
            return top / np.where(bottom > 0, bottom, np.nan)

        return {
            PRECISION: 100 * share(both, sent),
            RECALL: 100 * share(both, due),
            F1: 200 * share(both, sent + due),
            ACCURACY: 100 * share(hits, n),
            DISTANCE: share(away, told),
        }


def _distances(ids: Sequence[str], sent: Sequence[bool], due: Sequence[bool]) -> list[int | None]:
    """Of each instance that sends, where ids are `dialogue/turn`."""
    dialogues = units(ids)
    turns = [_TURN.search(id) for id in ids]
    if len(set(dialogues)) == len(ids) or not all(turns):
        return [None] * len(ids)
    places = [int(turn[1]) for turn in turns if turn]
    wanted: dict[int, list[int]] = {}
    for dialogue, place, is_due in zip(dialogues, places, due, strict=True):
        if is_due:
            wanted.setdefault(int(dialogue), []).append(place)
    return [
        min((abs(place - other) for other in wanted.get(int(dialogue), [])), default=None)
        if is_sent
        else None
        for dialogue, place, is_sent in zip(dialogues, places, sent, strict=True)
    ]


def _decisions(values: Sequence[Shared]) -> Scored:
    sent, due = sum(v.sent for v in values), sum(v.due for v in values)
    both = sum(v.sent and v.due for v in values)
    either = sent + due - both
    scores, reasons = [], {}
    if sent:
        scores.append(rate(PRECISION, both, sent, "photo-sent"))
    else:
        reasons[PRECISION] = "no photo is predicted"
    if due:
        scores.append(rate(RECALL, both, due, "photo-sent"))
    else:
        reasons[RECALL] = "no reference has a photo"
    if either:
        # F1 = 2J / (1 + J) grows with Jaccard's J = both / either, which is a proportion: so the
        # ends of J's interval give those of F1.
        low, high = (200 * j / (1 + j) for j in (x / 100 for x in wilson(both, either)))
        value, how = 200 * both / (both + either), "photo-sent|of:sent-or-due"
        by = "wilson95-of-jaccard"
        scores.append(Score(F1, value, either, how, "higher", interval=(low, high), interval_by=by))
    else:
        reasons[F1] = "no photo is predicted and none is due"
    away = [v.distance for v in values if v.distance is not None]
    if away:
        how = "mean-of-photos-sent|to-nearest-one-due|in-turns"
        value, count = sum(away) / len(away), f"{len(away)}/{sent}"
        scores.append(Score(DISTANCE, value, len(away), how, "lower", count=count))
    elif sent and due:
        reasons[DISTANCE] = "ids (talk-7/3) tell no dialogue in which one is sent and one is due"
    return Scored(tuple(scores), reasons)


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
    spread: Any = {"interval": wilson(hits, n), "interval_by": "wilson95"}
    return Score(name, 100 * hits / n, n, how, "higher", **spread)
