"""Which of several drawings of a caption is sent: the one that fits it best, as its system sees."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import torch
from PIL.Image import Image
from torch import Tensor

from pscli.components.noise import seeded
from pscli.config import MAX_DRAWINGS
from pscli.dialogue.schema import Photo
from pscli.errors import ConfigError

SEEN_AT_ONCE = 64  # drawings of which a system says how well their captions fit
DRAWN_AT_ONCE = 256  # further drawings in memory, but for a round of all captions at least
ALIKE = 1e-3  # nats that rounding may make of one photo seen twice


class Draws(Protocol):
    """What is asked of a system here: see `System`."""

    def draw(
        self, captions: Sequence[str], generators: Sequence[torch.Generator]
    ) -> list[Image]: ...

    def likelihoods(self, captions: Sequence[str], photos: Sequence[Photo]) -> Tensor: ...


def draw_best(
    system: Draws,
    captions: Sequence[str],
    keys: Sequence[tuple[str, int]],
    seed: int = 0,
    best_of: int = 1,
) -> list[Image]:
    """A photo of each caption: the one of its drawings that fits it best, as the system sees it.

    Only drawings of the same caption are compared, so that log p(caption | photo) needs no
    normalising by length. Of those alike the first is taken, and the first is what would be drawn
    alone.

    Args:
        keys: Of each: the key of a question, and which part of the reply to it the photo is.
        best_of: Drawings of each caption, from 1 to `MAX_DRAWINGS`.

    Raises:
        ConfigError: if they are fewer or more, or the system is to choose, and cannot.
    """
    if best_of not in range(1, MAX_DRAWINGS + 1):
        raise ConfigError(
            f"A caption cannot be drawn {best_of!r} times.", f"Expected 1 to {MAX_DRAWINGS:,}."
        )
    if best_of > 1:
        system.likelihoods([], [])  # refused before anything is drawn
    if not captions:
        return []
    photos = system.draw(captions, [seeded(seed, *key) for key in keys])
    if best_of < 2:
        return photos
    fits = [-math.inf if math.isnan(fit) else fit for fit in _fits(system, captions, photos)]
    best = [[one] for one in zip(fits, photos, strict=True)]
    # Apart from the first drawings: in a larger batch their last bits might be others.
    size = max(1, DRAWN_AT_ONCE // len(captions))
    for start in range(1, best_of, size):
        rounds = range(start, min(start + size, best_of))
        words = [*captions] * len(rounds)
        photos = system.draw(words, [seeded(seed, *key, k) for k in rounds for key in keys])
        for n, fit in enumerate(_fits(system, words, photos)):
            known = best[n % len(captions)]
            if fit > known[-1][0]:  # not of one that is no number
                known[:] = [one for one in known if one[0] >= fit - ALIKE] + [(fit, photos[n])]
    return [known[0][1] for known in best]


def _fits(system: Draws, captions: Sequence[str], photos: Sequence[Image]) -> list[float]:
    """log p(caption | photo) of each pair."""
    found: list[float] = []
    for start in range(0, len(photos), SEEN_AT_ONCE):
        some = slice(start, start + SEEN_AT_ONCE)
        found += system.likelihoods(captions[some], [Photo(p) for p in photos[some]]).tolist()
    return found
