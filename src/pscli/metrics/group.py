"""One column for several runs of a system that differ by their seed: mean ± standard deviation."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from pscli.metrics.base import Score, Scored
from pscli.metrics.score import Scores


def grouped(runs: Sequence[Scores]) -> Scores:
    """Scores whose values are means over runs and whose deviations are the sample standard
    deviation (n - 1); a figure that a run lacks is left out.

    Args:
        runs: Scores of each run, at least one.
    """
    kinds = [kind for kind in runs[0].by_kind if all(kind in run.by_kind for run in runs)]
    return Scores(
        n=round(statistics.mean(run.n for run in runs)),
        overall=_joined([run.overall for run in runs]),
        by_kind={kind: _joined([run.by_kind[kind] for run in runs]) for kind in kinds},
        sizes={kind: round(statistics.mean(run.sizes[kind] for run in runs)) for kind in kinds},
    )


def _joined(runs: Sequence[Scored]) -> Scored:
    names = dict.fromkeys(score.name for run in runs for score in run.scores)
    reasons = {name: reason for run in runs for name, reason in run.reasons.items()}
    whole = [name for name in names if all(name in run for run in runs)]
    return Scored(tuple(_mean([run[name] for run in runs]) for name in whole), reasons)


def _mean(scores: Sequence[Score]) -> Score:
    values = [score.value for score in scores]
    first = scores[0]
    return Score(
        first.name,
        statistics.mean(values),
        round(statistics.mean(score.n for score in scores)),
        f"{first.how}|mean±sd-of:{len(scores)}",
        first.better,
        deviation=statistics.stdev(values) if len(values) > 1 else None,
        count=",".join(dict.fromkeys(score.count for score in scores)),
    )
