"""What the end-to-end model and the pipeline share: losses of a step, and answering a dialogue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL.Image import Image
from torch import Tensor, nn
from torch.nn import functional as F

from pscli.components.generator import Generator
from pscli.components.llm import LanguageModel
from pscli.components.noise import seeded
from pscli.dialogue.batch import Batch
from pscli.dialogue.reply import Caption, parse
from pscli.dialogue.schema import Photo, Reply, Response
from pscli.dialogue.sequence import IGNORE, Template


@dataclass(frozen=True)
class Losses:
    """Sums over a micro-batch, so that micro-batches of any size add up to the same batch.

    Args:
        text: Σ -log P(y_i | U, r_<i) over supervised tokens (Eq. 2).
        image: Σ over response photos of the mean squared error of a photo (Eq. 12).
    """

    text: Tensor
    image: Tensor


@dataclass(frozen=True)
class Question:
    """A dialogue so far, and who is to answer it. `key` seeds what is drawn."""

    responses: Sequence[Response]
    speaker: str
    key: str = ""


@dataclass(frozen=True)
class Prompt:
    """[L, D] embeddings of a context, and how many of its oldest responses did not fit."""

    embeddings: Tensor
    dropped: int


class System(nn.Module):
    """A dialogue agent that can be trained and asked: see `EndToEnd` and `Pipeline`."""

    llm: LanguageModel
    generator: Generator

    def template(self, max_length: int) -> Template:
        """How dialogues become token sequences in training."""
        raise NotImplementedError

    def forward(self, batch: Batch, tau: float, seed: str) -> Losses:
        """Losses of a micro-batch."""
        raise NotImplementedError

    def prompts(self, questions: Sequence[Question], max_length: int) -> list[Prompt]:
        """What the LLM reads of each dialogue, up to where the reply begins."""
        raise NotImplementedError


def text_loss(llm: LanguageModel, hidden: Tensor, batch: Batch) -> Tensor:
    """L^t = Σ -log P(y_i | U, r_<i) (Eq. 2). Position i predicts token i + 1."""
    labels = batch.labels[:, 1:]
    supervised = labels != IGNORE
    return F.cross_entropy(
        llm.logits(hidden[:, :-1][supervised]), labels[supervised], reduction="sum"
    )


def drawn_photos(batch: Batch) -> list[Image]:
    """Pixels of the response photos of a batch."""
    return [span.photo.open() for _, span in batch.captions]


def answer(
    system: System,
    questions: Sequence[Question],
    *,
    max_length: int = 400,
    max_new_tokens: int = 60,
    temperature: float = 0.0,
    seed: int = 0,
) -> list[Reply]:
    """Replies to several questions at once: words first, then all their photos together (§2.5)."""
    prompts = system.prompts(questions, max_length)
    generated = system.llm.respond(
        [prompt.embeddings for prompt in prompts],
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        generators=[seeded(seed, question.key, "words") for question in questions],
    )
    parsed = [parse(ids, system.llm.tokenizer) for ids in generated]
    wanted = [
        (part.words, seeded(seed, question.key, number))
        for question, (parts, _) in zip(questions, parsed, strict=True)
        for number, part in enumerate(parts)
        if isinstance(part, Caption)
    ]
    photos = iter(system.generator.draw([w for w, _ in wanted], [g for _, g in wanted]))
    replies = []
    for (parts, notes), ids, prompt in zip(parsed, generated, prompts, strict=True):
        if prompt.dropped:
            notes.append(f"The oldest {prompt.dropped} messages did not fit and were left out.")
        drawn = [Photo(next(photos), p.words) if isinstance(p, Caption) else p for p in parts]
        raw = system.llm.tokenizer.decode(ids)
        replies.append(Reply(tuple(drawn), raw, tuple(notes)))
    return replies


def freeze(model: nn.Module, prefixes: Sequence[str]) -> None:
    """Parameters whose names begin with one of the prefixes do not train."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not name.startswith(tuple(prefixes)))
