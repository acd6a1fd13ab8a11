"""What a generator draws of captions that its pre-training has seen, and of others.

    python benchmarks/overlap.py [--draw 400] [--weights photoworld-composing]

Captions of dev scenes and of scenes of the split `unseen`, drawn by the shipped generator or by the
one that practised (no dialogue training) and judged by the shipped judge: all things in their
colours, as many as the caption says ("cars" are several). How much of dialogues training has shown,
`pscli stats photoworld` tells.
"""

from __future__ import annotations

import argparse
import random

import torch
from arguments import positive

from pscli import console
from pscli.components.generator import StableDiffusion
from pscli.components.noise import seeded
from pscli.photoworld.details import load_details
from pscli.photoworld.foundations.build import Recipe
from pscli.photoworld.foundations.composing import Recipe as Practice
from pscli.photoworld.foundations.pool import kind_labels, scenes
from pscli.photoworld.foundations.seeing import as_pixels
from pscli.photoworld.judge import load_extractor
from pscli.photoworld.scene import Scene
from pscli.registry import find


@torch.no_grad()
def drawn(some: list[Scene], weights: str) -> list[tuple[bool, bool]]:
    """Of each caption, whether its things are right, and whether their number is."""
    place = find("weights", weights)("generator")
    generator = StableDiffusion.from_pretrained(place, guidance=3.0).eval()
    judge, details, right = load_extractor(), load_details(), []
    for start in range(0, len(some), 50):
        batch = some[start : start + 50]
        seeds = [seeded("drawing", start + i) for i in range(len(batch))]
        images = generator.draw([scene.caption() for scene in batch], seeds)
        pixels = torch.stack([as_pixels(image) for image in images])
        things = judge(pixels).kinds.argmax(-1) == kind_labels(batch)
        numbers = details(judge.grid(pixels)).numbers.argmax(-1).tolist()
        fits = [fitting(n, scene) for n, scene in zip(numbers, batch, strict=True)]
        right += list(zip(things.all(1).tolist(), fits, strict=True))
    return right


def fitting(number: int, scene: Scene) -> bool:
    """Whether so many things are what the caption says."""
    several = scene.things[0].count > 1
    return number > 1 if several else number == len(scene.things)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--draw", type=positive, default=400)
    parser.add_argument("--weights", choices=["photoworld", "photoworld-composing"],
                        default="photoworld", help="whose generator")  # fmt: skip
    options = parser.parse_args()
    seen = scenes("train", Recipe.drawings, 0, two=0.6)
    if options.weights == "photoworld-composing":
        seen += scenes("train", Practice.scenes, Practice.seed, Practice.two)
    captions = {scene.caption() for scene in seen}
    dev = random.Random(0).sample(scenes("dev", 2000, 0), options.draw)
    groups = {
        "captions that pre-training has seen": [s for s in dev if s.caption() in captions],
        "other captions": [s for s in dev if s.caption() not in captions],
        "of the split unseen": scenes("unseen", options.draw, 5),
    }
    for name, some in groups.items():
        right = drawn(some, options.weights)
        for what, good in (
            ("things", sum(things for things, _ in right)),
            ("number", sum(number for _, number in right)),
            ("both", sum(things and number for things, number in right)),
        ):
            print(f"{name}, {what}: {good} of {len(right)}, {100 * good / len(right):.1f} %")


if __name__ == "__main__":
    console.script(main)
