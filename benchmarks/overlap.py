"""How much of photoworld's test split training has seen, and what that does to drawing.

    python benchmarks/overlap.py [--draw 400]

First: of the words, captions and things of the first 500 test dialogues, those that occur in the
6,000 training dialogues. Then captions of dev scenes, drawn by the shipped generator (no dialogue
training) and judged by the shipped judge: all things in their colours, where the generator's
pre-training (40,000 scenes) has seen the caption and where it has not.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Collection, Iterable

import torch

from pscli.components.generator import StableDiffusion
from pscli.components.noise import seeded
from pscli.dialogue.schema import Dialogue
from pscli.photoworld.dataset import Photoworld
from pscli.photoworld.foundations.pool import kind_labels, scenes
from pscli.photoworld.foundations.seeing import as_pixels
from pscli.photoworld.judge import load_extractor
from pscli.photoworld.scene import Scene
from pscli.photoworld.shipped import part

Pairs = tuple[tuple[str, str], ...]


def shared(what: str, some: Iterable[object], known: Collection[object]) -> None:
    members = list(some)
    hits = sum(member in known for member in members)
    print(f"{what:44} {hits:5} of {len(members):5}  {100 * hits / len(members):5.1f} %")


def photos(dialogues: Iterable[Dialogue]) -> list[Scene]:
    return [photo.source for d in dialogues for photo in d.photos]  # type: ignore[misc]


def pairs(scene: Scene) -> Pairs:
    return tuple(sorted((thing.colour, thing.kind) for thing in scene.things))


def words(dialogues: Iterable[Dialogue]) -> list[str]:
    return [turn.text for d in dialogues for turn in d.turns if turn.text]


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
    train, test = Photoworld().load("train"), Photoworld().load("test", 500)
    said = set(words(train))
    shared("utterances", words(test), said)
    shared("utterances of six words or more", [w for w in words(test) if len(w.split()) > 5], said)
    due = [t.text for d in test for r in d.responses[1:] for t in r.turns if r.truth
           and r.truth.share and t.text]  # fmt: skip
    shared("words of replies that share", due, said)
    old, new = photos(train), photos(test)
    shared("captions", [s.caption() for s in new], {s.caption() for s in old})
    shared("pairs of colour and kind", [p for s in new for p in pairs(s)],
           {p for s in old for p in pairs(s)})  # fmt: skip
    shared("pairs of things", [pairs(s) for s in new if len(s.things) == 2], set(map(pairs, old)))
    captions = {scene.caption() for scene in scenes("train", 40_000, 0)}
    some = random.Random(0).sample(scenes("dev", 2000, 0), options.draw)
    known = [scene.caption() in captions for scene in some]
    drawn = list(zip(drawn_right(some), known, strict=True))
    for what, wanted in (("seen", True), ("unseen", False)):
        right = [right for right, seen in drawn if seen is wanted]
        shared(f"drawn right, captions {what}", right, {True})


if __name__ == "__main__":
    main()
