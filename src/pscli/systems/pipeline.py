"""The pipeline baseline: captioner → LLM → generator, joined by text and trained separately.

Guo et al. (2024), §3.1.4 and Sun et al. (2022). The same LLM and generator as the end-to-end
model's. The paper does not say which captioner feeds it; see `captioner`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

from torch import Tensor

from pscli.components.llm import LanguageModel
from pscli.components.load import Load
from pscli.components.noise import seeded
from pscli.components.perceptron import Perceptron
from pscli.config import ModelConfig
from pscli.dialogue.batch import Batch
from pscli.dialogue.schema import Photo
from pscli.dialogue.sequence import Template, told
from pscli.systems.base import Losses, Part, Prompt, Question, System, text_loss
from pscli.systems.captioner import Describes, load_captioner

if TYPE_CHECKING:
    from pscli.components.generator import Generator


class Pipeline(System):
    """Three models that speak to each other in captions."""

    def __init__(self, captioner: Describes, llm: LanguageModel, generator: Generator) -> None:
        super().__init__()
        self.captioner, self.llm, self.generator = captioner, llm, generator

    @classmethod
    def build(cls, config: ModelConfig, load: Load) -> Self:
        return cls.around(load_captioner(config, load), load)

    @classmethod
    def around(cls, captioner: Describes, load: Load) -> Self:
        """A system with this captioner and the other parts of a configuration."""
        return cls(captioner, load("llm"), load("generator"))

    @property
    def eyes(self) -> Perceptron | None:
        """The captioner's; BLIP-2's own captioning model has none that could be asked."""
        return getattr(self.captioner, "perceptron", None)

    def parts(self) -> dict[str, Part]:
        return {
            "captioner": Part(self.captioner, frozen=("",), saved=False),  # found by its name
            "llm": Part(self.llm),
            "generator": Part(self.generator, frozen=("vae.",)),
        }

    def template(self, max_length: int) -> Template:
        """In training a photo of the context is its gold caption."""
        see = told(self.llm.tokenizer)
        return Template(self.llm.tokenizer, see, self.llm.reaches(max_length))

    def forward(self, batch: Batch, tau: float, seed: str) -> Losses:
        """L^t of the LLM and L^v of the generator on gold captions.

        The two share no parameter, so that one backward pass trains them separately.
        """
        hidden = self.llm.hidden(self.llm.embed(batch.ids), batch.mask, batch.positions)
        return self.drawn(text_loss(self.llm, hidden, batch), batch, seed)  # Eq. 2

    def drawn(self, text: Tensor, batch: Batch, seed: str) -> Losses:
        """L^t with L^v of the photos of responses, from their gold captions (Eq. 12).

        Args:
            batch, seed: As of `forward`.
        """
        if not batch.captions:
            return self.undrawn(text)
        ids, _ = self.generator.tokenize([span.photo.caption or "" for _, span in batch.captions])
        noise = self.generator.draw_noise(
            [seeded(seed, span.key, "diffusion") for _, span in batch.captions]
        )
        assert batch.drawn is not None  # `prepare` made them
        return Losses(text, self.generator.losses(ids, batch.drawn, noise).sum())

    def likelihoods(self, captions: Sequence[str], photos: Sequence[Photo]) -> Tensor:
        """By the captioner: the eyes of a pipeline, which its LLM has none of.

        Raises:
            ConfigError: if it is one of one's own that only describes.
        """
        if not hasattr(self.captioner, "likelihoods"):
            return super().likelihoods(captions, photos)
        return self.captioner.likelihoods(captions, photos)

    def prompts(self, questions: Sequence[Question], max_length: int) -> list[Prompt]:
        """What the LLM reads of each dialogue, its photos told by the captioner."""
        sent = (photo for q in questions for r in q.responses for photo in r.photos)
        photos = {id(photo): photo for photo in sent if not photo.missing}
        words = dict(zip(photos, self.captioner.describe(list(photos.values())), strict=True))
        see = told(self.llm.tokenizer, lambda photo: words[id(photo)])
        template = Template(self.llm.tokenizer, see, max_length)
        packed = [template.prompt(q.responses, q.speaker) for q in questions]
        return [Prompt(self.llm.embed(self.llm.ids(p.ids)), p.dropped) for p in packed]
