"""What the shipped generator draws of captions that its pre-training has seen, and of others.

    python benchmarks/overlap.py [--draw 400]

Captions of dev scenes, drawn by the shipped generator (no dialogue training) and judged by the
shipped judge: all things in their colours, where the generator's pre-training (40,000 scenes) has
seen the caption and where it has not. How much of dialogues training has shown, `pscli stats
photoworld` tells.
"""

from __future__ import annotations

import argparse
import random

import torch

from pscli.components.generator import StableDiffusion
from pscli.components.noise import seeded
from pscli.photoworld.foundations.pool import kind_labels, scenes
from pscli.photoworld.foundations.seeing import as_pixels
from pscli.photoworld.judge import load_extractor
from pscli.photoworld.scene import Scene
from pscli.photoworld.shipped import part


def drawn_right(some: list[Scene]) -> list[bool]:
    generator = StableDiffusion.from_pretrained(part("generator"), guidance=3.0).eval()
    judge, right = load_extractor(), []
    for start in range(0, len(some), 50):
        batch = some[start : start + 50]
        seeds = [seeded("drawing", start + i) for i in range(len(batch))]
        images = generator.draw([scene.caption() for scene in batch], seeds)
        with torch.no_grad():
            seen = judge(torch.stack([as_pixels(image) for image in images])).kinds.argmax(-1)
        right += (seen == kind_labels(batch)).all(1).tolist()
    return right


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--draw", type=int, default=400)
    options = parser.parse_args()
    captions = {scene.caption() for scene in scenes("train", 40_000, 0)}
    some = random.Random(0).sample(scenes("dev", 2000, 0), options.draw)
    known = [scene.caption() in captions for scene in some]
    drawn = list(zip(drawn_right(some), known, strict=True))
    for what, wanted in (("seen", True), ("unseen", False)):
        right = [right for right, seen in drawn if seen is wanted]
        share = 100 * sum(right) / len(right)
        print(f"drawn right, captions {what}: {sum(right)} of {len(right)}, {share:.1f} %")


if __name__ == "__main__":
    main()
