"""`pscli foundations looking`: the LLM and the Q-Former practise to look things up in a photo.

Asked on which side one of two things is, the shipped ones guess, though they describe such photos
rightly: in all that they learn from, few questions are of this kind, and their answers are mostly
other words. Here only how an answer puts its value is learnt, of photos most of which
show two things; probes have the first half of the visual tokens tell what is on the left, and the
second half what is on the right, so that where a thing was found says on which side it is. First
one photo alone: as long as nothing had been learnt, harder look-ups taught nothing. Then two
photos, often of the same things, and questions about either of them; and photos that are to be like
one before, whose captions must give the new colour to the right one of two things. All earlier
lessons stand beside, and captions come back at the end. It resumes where it stopped.
`photoworld-looking` names both parts; what they are worth, docs/foundations.md tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.nn import functional as F

from pscli.components.cache import fingerprint
from pscli.components.llm import LanguageModel
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
from pscli.photoworld.foundations.pool import Pool, kept, load_pool
from pscli.photoworld.foundations.speaking import Lessons, Reading, mean_text_loss, seen_loss
from pscli.photoworld.members import whole
from pscli.photoworld.phrases import ANSWER_FORMS, ANSWER_WORDS
from pscli.photoworld.scene import COLOURS, KINDS, Scene
from pscli.photoworld.shipped import WEIGHTS, part
from pscli.photoworld.talk import drill, either, plain_look_up, questions, variations


@dataclass(frozen=True)
class Recipe:
    """How much of the training split is read, optimiser steps, and the one seed.

    Args:
        look_ups: Dialogues with one photo, and with two; of photos like others, a third as many.
        plain, mixed, settled: Steps of each round.
        dev: Scenes of the dev split that score it.
    """

    seed: int = 0
    scenes: int = 20_000
    dialogues: int = 6000
    questions: int = 10_000
    drills: int = 6000
    look_ups: int = 12_000
    plain: int = 1000
    mixed: int = 800
    settled: int = 600
    dev: int = 500


class Committed(Reading):
    """Dialogues of which only those words are supervised that a reply commits to: how an answer
    puts its value ("in the middle": "in" says already that it is not on a side), and the colours in
    the caption of a photo that is to be like another."""

    def written(self, template: Template, dialogue: Dialogue) -> list[Packed]:
        names = template.names(r.speaker for r in dialogue.responses)
        packed = template.begin()
        for number, response in enumerate(dialogue.responses):
            said = template.said(response, names[response.speaker], dialogue.id)
            truth = response.truth
            if truth and truth.kind == "vary":
                words = spoken(template, said.target)
                packed.append(said.target, [word in COLOURS for word in words], number)
            words = spoken(template, said.context)
            learnt = put(words, truth.about) if truth and truth.about else range(0)
            packed.append(said.context, [i in learnt for i in range(len(words))], 0)
            packed.photos += said.photos
        return [packed]


def spoken(template: Template, ids: Sequence[int]) -> list[str]:
    """Tokens as words."""
    return [str(template.tokenizer.decode([token])).strip().lower() for token in ids]


def put(words: Sequence[str], about: str) -> range:
    """Where the words of an answer put its value: the first that names one, and those before it
    that go with it."""
    named = {word for accepted in ANSWER_WORDS[about].values() for word in accepted}
    forms = {w for some in ANSWER_FORMS[about].values() for form, _ in some for w in form.split()}
    end = start = next(i for i, word in enumerate(words) if word in named)
    while words[start - 1] in forms:
        start -= 1
    return range(start, end + 1)


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
    """Look-ups, in photos and in what is told of photos, beside all earlier lessons; and probes.

    The lessons run in bf16, look-ups do not: in it neighbouring logits round to one and the same.
    What is looked up in photos weighs double beside the lessons' four losses.

    Args:
        count: Dialogues of a step in which photos are seen; a third as many are told.
    """

    def __init__(self, lessons: Lessons, dialogues: Sequence[Dialogue], count: int) -> None:
        super().__init__()
        self.lessons, self.shown, self.count = lessons, lessons.shown, count
        llm, seer = self.shown.captioner.llm, self.shown.captioner.perceptron
        self.halves = Halves(seer.length, seer.width)
        self.seen = Committed(llm, dialogues, seer.length)
        self.told = Committed(llm, dialogues)

    def losses(self, step: int) -> Losses:
        """Of the batch of a step."""
        captioner = self.shown.captioner
        seen, told = self.seen.batch(step, self.count), self.told.batch(step, self.count // 3)
        patches = captioner.perceptron.look([photo.open() for photo in seen.photos])
        visual, answers = seen_loss(captioner, patches, seen)
        scenes = [photo.source for photo in seen.photos]
        two = {i: s for i, s in enumerate(scenes) if isinstance(s, Scene) and len(s.things) == 2}
        halves = self.halves(visual[[*two]], [*two.values()]) if two else visual.new_zeros(())
        with torch.autocast("cpu", torch.bfloat16):
            taught = self.lessons.losses(step)
        return taught | {
            "seen": 2 * answers,
            "told": mean_text_loss(captioner.llm, told),
            "halves": 0.5 * halves,
        }


def attention_alone(llm: LanguageModel) -> None:
    """Looking up is what attention does. Trained whole, the LLM understood questions in new words
    less well."""
    for name, weights in llm.named_parameters():
        weights.requires_grad_(".self_attn." in name)


@torch.no_grad()
def half_rebuilt(pool: Pool, work: Path) -> Pool:
    """Every second photo as the generator's autoencoder gives it back, which is what the agent's
    own drawings look like."""
    vae = AutoencoderKL.from_pretrained(part("generator"), subfolder="vae").eval()

    def make() -> np.ndarray:
        images = np.array(pool.images)
        for start in range(1, len(images), 256):
            rows = range(start, min(start + 256, len(images)), 2)
            photos = vae.decode(vae.encode(pool.batch(rows)).latent_dist.mode()).sample
            images[rows] = ((photos.clamp(-1, 1) + 1) * 127.5).round().byte().numpy()
        return images

    return Pool(
        pool.scenes, kept(work / f"rebuilt-{len(pool.scenes)}-{fingerprint(vae)}.npy", make)
    )


@whole("looking", Recipe)
def make(work: Path, out: Path, r: Recipe) -> None:
    """Trains them in `work`, or goes on there; `out` holds `llm/` and `perceptron/` in the end."""
    torch.manual_seed(r.seed)
    captioner = load_captioner(WEIGHTS)
    attention_alone(captioner.llm)
    read = with_quizzes(r.dialogues) + practised(drill, r.drills)
    asked = practised(questions, r.questions)
    pool = load_pool(work, "train", r.scenes, r.seed)
    lessons = partial(Lessons, captioner, dialogues=read, asked=asked, seed=2)
    apart = practised(either, r.look_ups) + practised(variations, r.look_ups // 3)
    plain = LookingUp(lessons(pool, shares=(4, 2, 4)), practised(plain_look_up, r.look_ups), 40)
    mixed = LookingUp(lessons(pool, shares=(8, 4, 2)), apart, 24)
    settled = LookingUp(lessons(half_rebuilt(pool, work), shares=(16, 4, 4)), apart, 24)
    more = lambda step: mixed.losses(r.plain + step)  # noqa: E731
    most = lambda step: settled.losses(r.plain + r.mixed + step)  # noqa: E731
    # The first at the full rate to the end: nothing is to settle yet.
    fit(plain, plain.losses, work / "plain", steps=r.plain, lr=1e-3, ema=0.99, decays=False)
    fit(mixed, more, work / "mixed", steps=r.mixed, lr=1e-3, ema=0.99, warmup=20)
    settled.load_state_dict(mixed.state_dict())  # the probes go on
    fit(settled, most, work / "settled", steps=r.settled, lr=1e-3, ema=0.99, warmup=20)
    save_captioner(captioner, out)
    scores = caption_accuracy(
        captioner.float().eval(), load_pool(work, "dev", r.dev, r.seed), r.dev
    )
    scores |= reading_scores(captioner.llm)
    write_json(out / "scores.json", {"looking": scores, "recipe": asdict(r)})
