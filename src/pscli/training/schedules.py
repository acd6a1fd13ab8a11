"""Schedules as pure functions of progress. Guo et al. (2024), §3.1.2."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from pscli.config import TrainConfig


def temperature(epoch: float, start: float = 1.0, end: float = 0.01, epochs: float = 3.0) -> float:
    """τ after `epoch` epochs: from `start` to `end` over the first `epochs`, then constant.

    The paper says "gradually annealed"; we take the geometric path, so that every decade of τ
    gets the same time.
    """
    progress = min(1.0, epoch / epochs) if epochs > 0 else 1.0
    return float(start * (end / start) ** progress)


def rate(step: int, warmup: int, steps: int, decay: bool) -> float:
    """Factor of the learning rate at a step: linear warm-up, then constant or linear to zero."""
    rising = min(1.0, (step + 1) / warmup) if warmup else 1.0
    return rising * (1 - step / steps) if decay else rising


def out_of_patience(history: Sequence[Mapping[str, float]], train: TrainConfig) -> bool:
    """Whether none of the monitored scores has improved for `train.patience` evaluations.

    The paper stops when BLEU-2 and FID "do not increase"; of FID, where lower is better, we read
    "improve". A score that is missing, as FID is while nothing is drawn, counts as the worst; where
    none has ever been there, nothing can be said.

    Args:
        history: Scores of every evaluation so far, by name.
        train: Its patience, in evaluations, never stops at 0.
    """
    if train.patience == 0 or len(history) <= train.patience:
        return False
    before, recent = history[: -train.patience], history[-train.patience :]
    best = [(_best(before, name), _best(recent, name)) for name in train.monitor]
    return any(max(pair) > -math.inf for pair in best) and not any(b > a for a, b in best)


def is_best(
    scores: Mapping[str, float], before: Sequence[Mapping[str, float]], monitor: Sequence[str]
) -> bool:
    """Whether no evaluation before was better, by the first monitored score that was ever there.

    A system that only draws has none of its words.
    """
    lines = [*before, scores]
    watched = next((name for name in monitor if _best(lines, name) > -math.inf), "")
    return worth(scores, watched) == _best(lines, watched)


def _best(history: Sequence[Mapping[str, float]], monitored: str) -> float:
    return max(worth(scores, monitored) for scores in history)


def worth(scores: Mapping[str, float], monitored: str) -> float:
    """A monitored score as a number of which more is better; less than any if it is missing."""
    value = scores.get(monitored.removeprefix("-"), math.nan)
    if math.isnan(value):
        return -math.inf
    return -value if monitored.startswith("-") else value
