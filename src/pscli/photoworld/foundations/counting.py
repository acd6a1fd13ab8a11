"""The judge's second look: trained on scenes as dialogues have them, and on loose ones.

In a photo of photoworld two kinds come once each, and one kind up to three times. A drawn photo
need not keep to that, so that half of the scenes here hold up to five things of up to three kinds,
anywhere.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pscli.components.cache import fingerprint
from pscli.photoworld.details import GRID, MANY, Details
from pscli.photoworld.foundations.fit import Losses, fit
from pscli.photoworld.foundations.pool import Pool, drawn_pool, kept
from pscli.photoworld.judge import Extractor
from pscli.photoworld.scene import (
    COLOURS,
    KINDS,
    LIGHTS,
    SETTINGS,
    SIZES,
    WIDTHS,
    Box,
    Scene,
    Thing,
    sample_scene,
)

UNKNOWN = -100  # what cross-entropy leaves out
APART = 0.62  # of a width: nearer than that in both directions, a thing would hide another
TRIES = 400
BORDERS = 0.38, 0.62  # of a photo's width, between left, middle and right


@dataclass(frozen=True)
class Loose(Scene):
    """A scene whose things, up to `MANY`, stand where `spots` say: left and top of each."""

    spots: tuple[tuple[float, float], ...] = ()

    def boxes(self) -> list[tuple[Thing, Box]]:
        width = WIDTHS[self.size]
        things = [thing for thing in self.things for _ in range(thing.count)]
        corners = zip(things, self.spots, strict=True)
        return [(thing, (x, y, x + width, y + width)) for thing, (x, y) in corners]


def loose(rng: random.Random) -> Loose:
    """Up to five things of up to three kinds, of which none hides another."""
    size = rng.choice(SIZES)
    wanted = rng.randint(0, MANY if size == "small" else 3)
    spots = _spots(rng, wanted, WIDTHS[size])
    groups = min(len(spots), rng.randint(1, 3))
    counts = [1] * groups
    for _ in range(len(spots) - groups):
        counts[rng.randrange(groups)] += 1
    kinds = rng.sample(KINDS, groups)
    things = (Thing(k, rng.choice(list(COLOURS)), n) for k, n in zip(kinds, counts, strict=True))
    setting, light = rng.choice(SETTINGS), rng.choice(LIGHTS)
    return Loose(setting, light, size, tuple(things), rng.getrandbits(31), tuple(spots))


def _spots(rng: random.Random, count: int, width: float) -> list[tuple[float, float]]:
    """Left and top of up to `count` things, from back to front."""
    spots: list[tuple[float, float]] = []
    for _ in range(TRIES):
        if len(spots) == count:
            break
        x, y = rng.uniform(0, 1 - width), rng.uniform(0.2, 1 - width)
        if all(max(abs(x - a), abs(y - b)) > APART * width for a, b in spots):
            spots.append((x, y))
    return sorted(spots, key=lambda spot: spot[1])


def load_scenes(work: Path, split: str, count: int, seed: int) -> Pool:
    """Scenes of a split and loose ones, in turn; drawn on the first call."""
    rng = random.Random(f"{split}/{seed}/details")
    scenes = [loose(rng) if i % 2 else sample_scene(rng, split) for i in range(count)]
    return drawn_pool(work / f"pool-details-{split}-{count}-{seed}.npy", scenes)


def detail_labels(scenes: Sequence[Scene]) -> tuple[Tensor, Tensor, Tensor]:
    """[B] numbers, [B] sizes and [B, K] sides; `UNKNOWN` where there is nothing to tell."""
    numbers = [sum(thing.count for thing in scene.things) for scene in scenes]
    sizes = [SIZES.index(s.size) if n else UNKNOWN for s, n in zip(scenes, numbers, strict=True)]
    sides = torch.full((len(scenes), len(KINDS)), UNKNOWN)
    for row, scene in enumerate(scenes):
        for thing, (left, _, right, _) in scene.boxes():
            if thing.count == 1:
                place = sum((left + right) / 2 > border for border in BORDERS)
                sides[row, KINDS.index(thing.kind)] = place
    return torch.tensor(numbers), torch.tensor(sizes), sides


@torch.no_grad()
def grids(judge: Extractor, pool: Pool, work: Path, seed: int) -> np.ndarray:
    """[N, 64, 8, 8] float16 grids of the judge, kept in `work`.

    Photos are blurred and noisy, a little more or less: drawn ones are softer than rendered ones.
    """

    def make() -> np.ndarray:
        channels, side = GRID
        found = np.empty((len(pool.scenes), channels, side, side), np.float16)
        for start in range(0, len(found), 100):
            rows = range(start, min(start + 100, len(found)))
            images = softened(pool.batch(rows), torch.Generator().manual_seed(seed + start))
            found[rows.start : rows.stop] = judge.grid(images).numpy()
        return found

    return kept(work / f"grids-{len(pool.scenes)}-{seed}-{fingerprint(judge)}.npy", make)


def softened(images: Tensor, generator: torch.Generator) -> Tensor:
    """Photos [B, 3, S, S], each blurred by up to one pixel, with noise of up to 0.06."""
    sigma = torch.rand(len(images), 1, generator=generator) + 1e-3
    weights = torch.exp(-(torch.arange(-2, 3) ** 2) / (2 * sigma**2))
    weights = (weights / weights.sum(1, keepdim=True)).repeat_interleave(3, 0)
    flat = F.pad(images.flatten(0, 1)[None], (2, 2, 2, 2), mode="replicate")
    groups = flat.shape[1]
    flat = F.conv2d(flat, weights[:, None, :, None], groups=groups)
    blurred = F.conv2d(flat, weights[:, None, None, :], groups=groups)[0].view_as(images)
    amount = 0.06 * torch.rand(len(images), 1, 1, 1, generator=generator)
    return blurred + amount * torch.randn(images.shape, generator=generator)


def train_details(
    judge: Extractor, pool: Pool, work: Path, *, steps: int, batch: int = 64, seed: int = 0
) -> Details:
    """Number, size and sides, by cross-entropy, on grids of a judge that stays as it is."""
    torch.manual_seed(seed)
    seen = grids(judge, pool, work, seed)
    details = Details()
    numbers, sizes, sides = detail_labels(pool.scenes)

    def loss(step: int) -> Losses:
        rows = pool.pick(seed + 4, step, batch)
        output = details(torch.from_numpy(seen[rows]).float())
        return {
            "number": F.cross_entropy(output.numbers, numbers[rows]),
            "size": 0.3 * F.cross_entropy(output.sizes, sizes[rows]),
            "side": 0.5 * F.cross_entropy(output.sides.flatten(0, 1), sides[rows].flatten()),
        }

    fit(details, loss, work, steps=steps, lr=2e-3, weight_decay=0.05, ema=0.995)
    return details


@torch.no_grad()
def detail_accuracy(judge: Extractor, details: Details, pool: Pool) -> dict[str, float]:
    """Accuracy on scenes: of numbers also where scenes are as dialogues have them, and loose."""
    numbers, sizes, sides = detail_labels(pool.scenes)
    parts = [
        details(judge.grid(pool.batch(range(start, min(start + 200, len(numbers))))))
        for start in range(0, len(numbers), 200)
    ]
    counted = torch.cat([part.numbers for part in parts]).argmax(-1) == numbers
    sized = torch.cat([part.sizes for part in parts]).argmax(-1) == sizes
    placed = torch.cat([part.sides for part in parts]).argmax(-1) == sides
    right = {
        "number": counted[::2],
        "number_loose": counted[1::2],
        "size": sized[sizes != UNKNOWN],
        "side": placed[::2][sides[::2] != UNKNOWN],
    }
    return {name: float(hits.float().mean()) for name, hits in right.items()}
