"""A text-to-image model that draws from the dialogue itself: Sun et al. (2023), *Teaching
Text-to-Image Models to Communicate in Dialog*; "§" and "Eq." refer to it.

It draws and does not speak: no words, and no decision when to send a photo.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch

from pscli.components.generator import Generator
from pscli.components.linearise import Linearise, messages, newest_words
from pscli.components.load import Load
from pscli.components.noise import seeded
from pscli.config import Config, ModelConfig, PartConfig, paper
from pscli.dialogue.batch import Batch
from pscli.dialogue.schema import ONLY_DRAWS, Dialogue, Drop, Photo, Reply, Response
from pscli.dialogue.sequence import CaptionSpan, Packed
from pscli.registry import find
from pscli.systems.base import Losses, Part, Question, System
from pscli.systems.choosing import draw_best

# What encodes photos and words, by the names that generators give it; all else predicts noise.
ENCODERS = ("vae.", "text_encoder.", "image_encoder.", "text_decoder.")


class Dialog2Image(System):
    """Only the noise predictor of the generator trains (§3.3).

    Args:
        linearise: How a dialogue becomes one text (§2.1, Table 3).
        turns: How many of the newest turns it reads; None for all that the text encoder can.
    """

    speaks = False
    uses = ("generator",)

    def __init__(
        self, generator: Generator, linearise: Linearise, turns: int | None = None
    ) -> None:
        super().__init__()
        self.generator, self.linearise, self.turns = generator, linearise, turns

    @classmethod
    def build(cls, config: ModelConfig, load: Load) -> Self:
        return cls(load("generator"), find("linearisation", config.linearisation), config.turns)

    def parts(self) -> dict[str, Part]:
        return {"generator": Part(self.generator, frozen=ENCODERS)}

    def read(self, responses: Sequence[Response]) -> str:
        """The text that stands for a dialogue; what is too long loses its oldest words (§3.1)."""
        text = self.linearise(messages(responses, self.turns))
        return newest_words(text, self.generator.tokenizer)

    def template(self, max_length: int) -> Drawings:
        return Drawings(self)

    def forward(self, batch: Batch, tau: float, seed: str) -> Losses:
        """L^v of photos to be drawn, given the dialogues before them (Eq. 1); there is no L^t."""
        rows = torch.tensor([row for row, _ in batch.captions], device=batch.ids.device)
        noise = self.generator.draw_noise(
            [seeded(seed, span.key, "diffusion") for _, span in batch.captions]
        )
        assert batch.drawn is not None  # `prepare` made them
        image = self.generator.losses(batch.ids[rows], batch.drawn, noise).sum()
        return Losses(image.new_zeros(()), image)

    def reply(
        self,
        questions: Sequence[Question],
        *,
        seed: int = 0,
        captions: Sequence[Sequence[str]] | None = None,
        best_of: int = 1,
        **how: Any,
    ) -> list[Reply]:
        """A photo for each question, and no words.

        Args:
            captions: For each question those to draw, in place of the dialogue.
            best_of: More than 1 is refused: it has no eyes to choose with.
            how: What only concerns words.
        """
        texts = captions or [[self.read(question.responses)] for question in questions]
        keys = [
            (question.key, number)
            for question, some in zip(questions, texts, strict=True)
            for number in range(len(some))
        ]
        words = [text for some in texts for text in some]
        drawn = iter(draw_best(self, words, keys, seed, best_of))
        return [
            Reply(tuple(Photo(next(drawn), text) for text in some), notes=(ONLY_DRAWS,))
            for some in texts
        ]


@dataclass(frozen=True)
class Drawings:
    """Dialogues as what the text encoder reads: one sequence for each response with photos.

    The context ends where that response begins, as when it is asked for; §3.1 has what the same
    speaker said just before the photo as well.
    """

    system: Dialog2Image

    @property
    def tokenizer(self) -> Any:
        return self.system.generator.tokenizer

    @property
    def max_length(self) -> int:
        return int(self.tokenizer.model_max_length)

    def pack(self, dialogue: Dialogue, drop: Drop = lambda at, reason: None) -> list[Packed]:
        """[N] token ids each, none of them supervised; N is the text encoder's length.

        Args:
            drop: Told of each response that is left out: where it is, and why.
        """
        responses, packed = dialogue.responses, []
        for i, response in enumerate(responses[1:], start=1):
            there = [photo for photo in response.photos if not photo.missing]
            if response.photos and not there:
                drop(f"dialogue {dialogue.id}, response {i}", "a photo that cannot be had")
            if not there:
                continue
            text = self.system.read(responses[:i])
            ids = self.system.generator.tokenize([text])[0][0].tolist()
            one = Packed()
            one.append(ids, [False] * len(ids), 0)
            one.captions = [
                CaptionSpan(photo.target, 0, 0, f"{dialogue.id}/{i}/{k}")
                for k, photo in enumerate(there)
            ]
            packed.append(one)
        return packed


class ZeroShot(Dialog2Image):
    """The same without any training: a text-to-image model as it was published (§3.2, Table 2)."""

    def parts(self) -> dict[str, Part]:
        return {"generator": Part(self.generator, frozen=("",))}


def sun2023(system: str = "dialog2image") -> Config:
    """§3.3 and Table 5: UniDiffuser-v1 on PhotoChat, drawn by 50 steps of DPM-Solver."""
    base = paper(system)
    model = ModelConfig(
        generator=PartConfig("unidiffuser-v1", "thu-ml/unidiffuser-v1"),
        draw_steps=50,
        guidance=8.0,  # paper silent; Bao et al.'s (2023) own, which they count from 0 as 7
    )
    train = replace(
        base.train,
        lr=3e-5,
        weight_decay=0.03,
        beta2=0.9,
        batch=260,
        warmup=40,  # paper silent; our choice: an epoch
        monitor=("-FID",),
    )
    return replace(base, preset="sun2023", model=model, train=train)
