"""`pscli foundations looking`: the LLM and the Q-Former practise to look things up in a photo.

Asked on which side one of two things is, the shipped ones guess, though they describe such photos
rightly: in all that they learn from, few questions are of this kind, and their answers are mostly
other words. Here only the word that an answer commits to is learnt, of photos most of which
show two things; probes have the first half of the visual tokens tell what is on the left, and the
second half what is on the right, so that where a thing was found says on which side it is. All
earlier lessons follow. It resumes where it stopped, and is not shipped, as questions in new words
are understood less well after it (docs/foundations.md). `photoworld-looking` names both parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pscli.dialogue.schema import Dialogue
from pscli.dialogue.sequence import Packed, Template
from pscli.files import write_json
from pscli.photoworld.foundations.build import (
    caption_accuracy,
    load_captioner,
    practised,
    reading_scores,
    save_captioner,
    with_quizzes,
)
from pscli.photoworld.foundations.fit import Losses, fit
from pscli.photoworld.foundations.pool import load_pool
from pscli.photoworld.foundations.speaking import Lessons, Reading, mean_text_loss, seen_loss
from pscli.photoworld.members import whole
from pscli.photoworld.phrases import ANSWER_WORDS
from pscli.photoworld.scene import COLOURS, KINDS, Scene
from pscli.photoworld.shipped import WEIGHTS
from pscli.photoworld.talk import drill, look_up, questions, sides


@dataclass(frozen=True)
class Recipe:
    """How much of the training split is read, optimiser steps, and the one seed.

    Args:
        look_ups: Dialogues of each kind, plain and mixed.
        alone: How many of the first `steps` are without earlier lessons.
        again: Steps of a second round, at the full rate.
        dev: Scenes of the dev split that score it.
    """

    seed: int = 0
    scenes: int = 20_000
    dialogues: int = 6000
    questions: int = 10_000
    drills: int = 6000
    look_ups: int = 12_000
    alone: int = 600
    steps: int = 1200
    again: int = 800
    dev: int = 500


class Answers(Reading):
    """Dialogues of which only those words are supervised that answers commit to."""

    def written(self, template: Template, dialogue: Dialogue) -> list[Packed]:
        names = template.names(r.speaker for r in dialogue.responses)
        packed = template.begin()
        for response in dialogue.responses:
            ids, photos = template.context(response, names[response.speaker])
            about = response.truth.about if response.truth else None
            supervised = [False] * len(ids)
            if about:
                accepted = {word for words in ANSWER_WORDS[about].values() for word in words}
                words = [str(template.tokenizer.decode([token])) for token in ids]
                supervised = [word.strip().lower() in accepted for word in words]
            packed.append(ids, supervised, 0)
            packed.photos += photos
        return [packed]


class Halves(nn.Module):
    """Linear probes of visual tokens: what is on the left of a photo of two things by the first
    half of them, what is on the right by the second."""

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.size = length // 2
        self.heads = nn.ModuleList(
            nn.Linear(self.size * width, len(KINDS) + len(COLOURS)) for _ in range(2)
        )

    def forward(self, visual: Tensor, scenes: Sequence[Scene]) -> Tensor:
        """Cross-entropy of kinds and colours. Args: visual: [B, Q, D]; scenes: B of two things."""
        losses, names = [], [*COLOURS]
        for head, half, side in zip(
            self.heads, visual.split(self.size, dim=1), ("left", "right"), strict=True
        ):
            kinds, colours = head(half.flatten(1)).split((len(KINDS), len(COLOURS)), dim=1)
            things = [next(t for t in scene.things if t.side == side) for scene in scenes]
            losses += [
                F.cross_entropy(kinds, torch.tensor([KINDS.index(t.kind) for t in things])),
                F.cross_entropy(colours, torch.tensor([names.index(t.colour) for t in things])),
            ]
        return torch.stack(losses).sum()


class LookingUp(nn.Module):
    """Sides of two things, in photos and in what is told of photos, by themselves; then look-ups
    of all kinds, and all lessons again. The probes throughout.

    In 400 steps of look-ups of all kinds nothing was learnt, nor in 600 beside the lessons; of
    sides alone, within 400. In bf16 neighbouring logits round to one and the same, so that only
    the earlier lessons run in it.
    """

    def __init__(
        self, lessons: Lessons, simple: Sequence[Dialogue], look_ups: Sequence[Dialogue], alone: int
    ) -> None:
        super().__init__()
        self.lessons, self.shown, self.alone = lessons, lessons.shown, alone
        llm, seer = self.shown.captioner.llm, self.shown.captioner.perceptron
        self.halves = Halves(seer.length, seer.width)
        self.simple = Answers(llm, simple, seer.length), Answers(llm, simple)
        self.look_ups = Answers(llm, look_ups, seer.length), Answers(llm, look_ups)

    def losses(self, step: int) -> Losses:
        """Of the batch of a step."""
        if step < self.alone:
            return self.looked_up(self.simple, step, 40)
        with torch.autocast("cpu", torch.bfloat16):
            lessons = self.lessons.losses(step)
        return lessons | self.looked_up(self.look_ups, step, 16)

    def looked_up(self, readings: tuple[Answers, Answers], step: int, count: int) -> Losses:
        """Of `count` dialogues in which photos are seen, and a third as many that are told."""
        captioner = self.shown.captioner
        seen, told = readings[0].batch(step, count), readings[1].batch(step, count // 3)
        patches = captioner.perceptron.look([photo.open() for photo in seen.photos])
        visual, answers = seen_loss(captioner, patches, seen)
        scenes = [photo.source for photo in seen.photos]
        two = {i: s for i, s in enumerate(scenes) if isinstance(s, Scene) and len(s.things) == 2}
        return {
            "seen": answers,
            "told": mean_text_loss(captioner.llm, told),
            "halves": 0.5 * self.halves(visual[[*two]], [*two.values()]),
        }


@whole("looking", Recipe)
def make(work: Path, out: Path, r: Recipe) -> None:
    """Trains them in `work`, or goes on there; `out` holds `llm/` and `perceptron/` in the end."""
    torch.manual_seed(r.seed)
    captioner = load_captioner(WEIGHTS)
    read = with_quizzes(r.dialogues) + practised(drill, r.drills)
    asked = practised(questions, r.questions)
    pool = load_pool(work, "train", r.scenes, r.seed)
    lessons = Lessons(captioner, pool, read, asked, shares=(8, 4, 2), seed=2)
    simple, others = practised(sides, r.look_ups), practised(look_up, r.look_ups)
    practice = LookingUp(lessons, simple, others, r.alone)
    fit(practice, practice.losses, work / "looking", steps=r.steps, lr=1e-3, ema=0.99)
    # What was forgotten in the beginning is learnt again at the full rate.
    more = work / "again"
    fit(practice, lambda n: practice.losses(r.steps + n), more, steps=r.again, lr=1e-3, ema=0.99)
    save_captioner(captioner, out)
    scores = caption_accuracy(
        captioner.float().eval(), load_pool(work, "dev", r.dev, r.seed), r.dev
    )
    scores |= reading_scores(captioner.llm)
    write_json(out / "scores.json", {"looking": scores, "recipe": asdict(r)})
