"""`pscli foundations composing`: the generator practises to draw what it was never shown together.

Of captions that its pre-training has shown it draws nearly all rightly, of others less: it has seen
60,000 scenes, and there are a quarter of a million captions of two things. Here it goes on with
80,000 others, eight in ten of which show two things, at a rate between those of its first and its
second round. It resumes where it stopped. `photoworld-composing` names it; what it is worth,
docs/foundations.md tells.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from pscli.files import new_folder, write_json
from pscli.photoworld.foundations.build import drawing_scores
from pscli.photoworld.foundations.drawing import refine_generator
from pscli.photoworld.foundations.pool import load_pool
from pscli.photoworld.members import whole
from pscli.photoworld.shipped import part


@dataclass(frozen=True)
class Recipe:
    """Scenes of the training split and the share of them that shows two kinds, optimiser steps of
    16 of them, scenes of `dev` and of `unseen` that score it, and the seed of the scenes."""

    seed: int = 1
    scenes: int = 80_000
    two: float = 0.8
    steps: int = 15_000
    dev: int = 320


@whole("composing", Recipe)
def make(work: Path, out: Path, r: Recipe) -> None:
    """Trains it in `work`, or goes on there; `out` holds `generator/` in the end."""
    pool = load_pool(work, "train", r.scenes, r.seed, r.two)
    made = refine_generator(part("generator"), pool, work, steps=r.steps, lr=6e-4, seed=2)
    with new_folder(out / "generator") as new:
        made.half().save_pretrained(new)
    made.float()
    drawn = {
        s: drawing_scores(made, load_pool(work, s, r.dev, 0), r.dev) for s in ("dev", "unseen")
    }
    write_json(out / "scores.json", {"drawn": drawn, "recipe": asdict(r)})
