"""Scenes of the training split, drawn once and kept as one array on disk."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from pscli.components.cache import fingerprint
from pscli.files import replacing
from pscli.photoworld.scene import (
    COLOURS,
    KINDS,
    LIGHTS,
    SETTINGS,
    SIDES,
    SIZES,
    Scene,
    sample_scene,
)

PATCHES = 8  # an image is 8×8 patches of 8×8 pixels
_COLOURS = list(COLOURS)


@dataclass(frozen=True)
class Pool:
    """Scenes with their photos.

    Args:
        scenes: N scenes.
        images: [N, 3, 64, 64] uint8.
    """

    scenes: Sequence[Scene]
    images: np.ndarray

    def batch(self, indices: Sequence[int]) -> Tensor:
        """[B, 3, 64, 64] float32 in [-1, 1]."""
        return torch.from_numpy(self.images[np.asarray(indices)]).float() / 127.5 - 1

    def pick(self, seed: int, step: int, count: int) -> list[int]:
        """Indices of the batch of one step."""
        return [
            int(i)
            for i in np.random.default_rng([seed, step]).integers(len(self.scenes), size=count)
        ]


def scenes(split: str, count: int, seed: int, two: float = 0.4) -> list[Scene]:
    """Random scenes of a split, of which a share `two` shows two kinds."""
    rng = random.Random(f"{split}/{seed}")
    return [sample_scene(rng, split, two=two) for _ in range(count)]


def load_pool(work: Path, split: str, count: int, seed: int, two: float = 0.4) -> Pool:
    """`count` seeded scenes of a split."""
    file = work / f"pool-{split}-{count}-{seed}-{two}.npy"
    return drawn_pool(file, scenes(split, count, seed, two))


def drawn_pool(path: Path, scenes: Sequence[Scene]) -> Pool:
    """Scenes whose photos are drawn on the first call, and memory-mapped from `path` afterwards."""

    def draw() -> np.ndarray:
        return np.stack([np.asarray(scene.draw()).transpose(2, 0, 1) for scene in scenes])

    return Pool(scenes, kept(path, draw))


def kept(path: Path, make: Callable[[], np.ndarray]) -> np.ndarray:
    """An array that is made on the first call, and memory-mapped from `path` afterwards."""
    if not path.is_file():
        with replacing(path) as file:
            np.save(file, make())
    found: np.ndarray = np.load(path, mmap_mode="r")
    return found


@torch.no_grad()
def encoded(
    pool: Pool, autoencoder: nn.Module, encode: Callable[[Tensor], Tensor], work: Path
) -> np.ndarray:
    """What an autoencoder makes of the whole pool, kept in `work` under the name of its weights.

    Args:
        encode: Photos [B, 3, 64, 64] → [B, ...].
    """

    def make() -> np.ndarray:
        starts = range(0, len(pool.scenes), 128)
        parts = [encode(pool.batch(range(i, min(i + 128, len(pool.scenes))))) for i in starts]
        return torch.cat(parts).numpy()

    return kept(work / f"encoded-{len(pool.scenes)}-{fingerprint(autoencoder)}.npy", make)


def kind_labels(scenes: Sequence[Scene]) -> Tensor:
    """[B, K] per kind: 0 = absent, else 1 + index of its colour."""
    labels = torch.zeros(len(scenes), len(KINDS), dtype=torch.long)
    for row, scene in enumerate(scenes):
        for thing in scene.things:
            labels[row, KINDS.index(thing.kind)] = 1 + _COLOURS.index(thing.colour)
    return labels


def side_labels(scenes: Sequence[Scene]) -> Tensor:
    """[B, K] per kind: 0 = absent, 1 = several of it, else 2 + index of its side."""
    labels = torch.zeros(len(scenes), len(KINDS), dtype=torch.long)
    for row, scene in enumerate(scenes):
        for thing in scene.things:
            side = 2 + SIDES.index(thing.side) if thing.count == 1 else 1
            labels[row, KINDS.index(thing.kind)] = side
    return labels


def global_labels(scenes: Sequence[Scene]) -> dict[str, Tensor]:
    """[B] class indices of setting, light, size and number of objects."""
    return {
        "setting": torch.tensor([SETTINGS.index(s.setting) for s in scenes]),
        "light": torch.tensor([LIGHTS.index(s.light) for s in scenes]),
        "size": torch.tensor([SIZES.index(s.size) for s in scenes]),
        "count": torch.tensor([sum(t.count for t in s.things) - 1 for s in scenes]),
    }


def patch_labels(scenes: Sequence[Scene]) -> Tensor:
    """[B, 64] which thing covers the centre of each patch: 0 = none, else 1 + kind·C + colour."""
    labels = torch.zeros(len(scenes), PATCHES, PATCHES, dtype=torch.long)
    centres = (torch.arange(PATCHES) + 0.5) / PATCHES
    for row, scene in enumerate(scenes):
        for thing, (x0, y0, x1, y1) in scene.boxes():
            inside = ((centres >= y0) & (centres <= y1))[:, None] & (
                (centres >= x0) & (centres <= x1)
            )
            code = KINDS.index(thing.kind) * len(_COLOURS) + _COLOURS.index(thing.colour)
            labels[row][inside] = 1 + code
    return labels.flatten(1)
