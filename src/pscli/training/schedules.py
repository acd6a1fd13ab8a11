"""Schedules as pure functions of progress. Guo et al. (2024), §3.1.2."""

from __future__ import annotations

import math


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


def out_of_patience(history: list[dict[str, float]], patience: int) -> bool:
    """Whether neither BLEU-2 nor FID has improved for `patience` evaluations.

    The paper stops when they "do not increase"; of FID, where lower is better, we read "improve".
    A score that is not a number, as FID is while nothing is drawn, counts as the worst.

    Args:
        history: `bleu2` and `fid` of every evaluation so far.
        patience: In evaluations; 0 never stops.
    """
    if patience == 0 or len(history) <= patience:
        return False
    before, recent = history[:-patience], history[-patience:]
    bleu = max(map(_bleu, recent)) > max(map(_bleu, before))
    fid = min(map(_fid, recent)) < min(map(_fid, before))
    return not (bleu or fid)


def _bleu(scores: dict[str, float]) -> float:
    return -math.inf if math.isnan(scores["bleu2"]) else scores["bleu2"]


def _fid(scores: dict[str, float]) -> float:
    return math.inf if math.isnan(scores["fid"]) else scores["fid"]
