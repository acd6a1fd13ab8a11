"""The eyes: the judge of drawn photos, the vision encoder, then the Q-Former.

Seeing is pre-trained on its own before anything is said about it, as in BLIP-2, and may use full
descriptions. The vision encoder learns from what covers each patch: a tiny ViT trained from
scratch by captions alone stays at chance on count, side and size.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Blip2VisionConfig, Blip2VisionModel

from pscli.photoworld.foundations.fit import Losses, fit
from pscli.photoworld.foundations.pool import Pool, global_labels, kind_labels, patch_labels
from pscli.photoworld.judge import Extractor
from pscli.photoworld.scene import COLOURS, KINDS, LIGHTS, SETTINGS, SIZES

GLOBALS = {"setting": len(SETTINGS), "light": len(LIGHTS), "size": len(SIZES), "count": 3}


def train_extractor(
    pool: Pool, work: Path, *, steps: int, batch: int = 64, seed: int = 0
) -> Extractor:
    """Kinds with colours, setting and light, by cross-entropy."""
    torch.manual_seed(seed)
    extractor = Extractor().to(memory_format=torch.channels_last)

    def loss(step: int) -> Losses:
        rows = pool.pick(seed + 1, step, batch)
        scenes = [pool.scenes[i] for i in rows]
        # A little noise and shift keeps the judge from resting on single pixels.
        generator = torch.Generator().manual_seed(step)
        images = pool.batch(rows) + 0.05 * torch.randn(batch, 3, 64, 64, generator=generator)
        output = extractor(images.to(memory_format=torch.channels_last))
        labels = global_labels(scenes)
        return {
            "kinds": 8 * F.cross_entropy(output.kinds.flatten(0, 1), kind_labels(scenes).flatten()),
            "setting": 0.2 * F.cross_entropy(output.settings, labels["setting"]),
            "light": 0.2 * F.cross_entropy(output.lights, labels["light"]),
        }

    fit(extractor, loss, work, steps=steps, lr=3e-3, weight_decay=0.05, ema=0.995)
    return extractor


@torch.no_grad()
def judge(extractor: Extractor, pool: Pool) -> dict[str, float]:
    """Accuracy on real scenes: all things with their colours, setting, light."""
    things, setting, light = [], [], []
    for start in range(0, len(pool.scenes), 200):
        rows = range(start, min(start + 200, len(pool.scenes)))
        scenes = [pool.scenes[i] for i in rows]
        output, labels = extractor(pool.batch(rows)), global_labels(scenes)
        things.append((output.kinds.argmax(-1) == kind_labels(scenes)).all(1))
        setting.append(output.settings.argmax(-1) == labels["setting"])
        light.append(output.lights.argmax(-1) == labels["light"])
    means = (float(torch.cat(x).float().mean()) for x in (things, setting, light))
    return dict(zip(("things", "setting", "light"), means, strict=True))


def as_pixels(image: Image) -> Tensor:
    """[3, 64, 64] in [-1, 1] of a 64×64 photo."""
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float() / 127.5 - 1


class Probed(nn.Module):
    """A vision encoder with linear probes: what covers each patch, and what holds for the photo."""

    def __init__(self) -> None:
        super().__init__()
        self.vision = Blip2VisionModel(
            Blip2VisionConfig(
                hidden_size=128, intermediate_size=320, num_hidden_layers=4, num_attention_heads=4,
                image_size=64, patch_size=8, attention_dropout=0.0,
            )
        )  # fmt: skip
        width = self.vision.config.hidden_size
        self.patch_kind = nn.Linear(width, 1 + len(KINDS))
        self.patch_colour = nn.Linear(width, len(COLOURS))
        self.globals = nn.ModuleDict({k: nn.Linear(width, n) for k, n in GLOBALS.items()})

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        tokens = self.vision(images).last_hidden_state
        patches, summary = tokens[:, 1:], tokens[:, 0]
        heads = {name: head(summary) for name, head in self.globals.items()}
        return self.patch_kind(patches), self.patch_colour(patches), heads


def train_vision(pool: Pool, work: Path, *, steps: int, batch: int = 16, seed: int = 0) -> Probed:
    torch.manual_seed(seed)
    probed = Probed()
    labels, facts = patch_labels(pool.scenes), global_labels(pool.scenes)

    def loss(step: int) -> Losses:
        rows = pool.pick(seed + 2, step, batch)
        kind, colour, heads = probed(pool.batch(rows))
        codes = labels[rows]
        covered = codes > 0
        kinds = torch.where(covered, (codes - 1) // len(COLOURS) + 1, 0)
        colours = (codes - 1).clamp(min=0) % len(COLOURS)
        return {
            "patch_kind": F.cross_entropy(kind.flatten(0, 1), kinds.flatten()),
            "patch_colour": F.cross_entropy(colour[covered], colours[covered]),
            **{k: 0.3 * F.cross_entropy(heads[k], facts[k][rows]) for k in GLOBALS},
        }

    fit(probed, loss, work, steps=steps, lr=1.5e-3, weight_decay=0.05, ema=0.995, warmup=200)
    return probed


@torch.no_grad()
def probe(probed: Probed, pool: Pool) -> dict[str, float]:
    """Accuracy of the probes: covered patches by kind and colour, and each global fact."""
    labels, facts = patch_labels(pool.scenes), global_labels(pool.scenes)
    kind, colour, heads = probed(pool.batch(range(len(pool.scenes))))
    covered = labels > 0
    codes = (labels - 1).clamp(min=0)
    right = {
        "patch_kind": (kind.argmax(-1) == codes // len(COLOURS) + 1)[covered],
        "patch_colour": (colour.argmax(-1) == codes % len(COLOURS))[covered],
        **{k: heads[k].argmax(-1) == facts[k] for k in GLOBALS},
    }
    return {k: float(v.float().mean()) for k, v in right.items()}
