"""A pipeline that decides first whether to send a photo: after TIGER, Kong et al. (2024), *TIGER: A
Unified Generative Model Framework for Multimodal Dialogue Response Generation*, the successor of
Divter (Sun et al. 2022).

A response modal predictor reads the dialogue and says words or photo; a text model writes the words
or the description; Stable Diffusion draws. What is not public of it is as in `pipeline.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pscli.components.llm import LanguageModel
from pscli.components.load import Load
from pscli.components.readiness import Decided
from pscli.dialogue.batch import Batch
from pscli.dialogue.sequence import END_IMG, IGNORE, IMG, token_id
from pscli.systems.base import Losses, Part, Prompt, text_loss
from pscli.systems.captioner import Describes
from pscli.systems.pipeline import Pipeline

if TYPE_CHECKING:
    from pscli.components.generator import Generator

# B sequences, L tokens, D LLM width, A responses that are predicted

HIDDEN = 128  # theirs: two linear layers, nothing between them
WORDS, PHOTO = 0, 1  # classes


class Predictor(nn.Module):
    """Whether the next response has a photo: [A, 2] logits of states [A, D].

    Deviation: theirs reads the mean over the dialogue's tokens in a T5 encoder of its own. Ours
    reads the text model's state where the response begins, which has seen all of the dialogue;
    no gradient goes back, so that the two are trained apart, as there.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, HIDDEN), nn.Linear(HIDDEN, 2)

    def forward(self, states: Tensor) -> Tensor:
        logits: Tensor = self.fc2(self.fc1(states.detach().to(self.fc1.weight)))
        return logits.float()


class Tiger(Pipeline):
    """A pipeline whose LLM is told whether to send a photo."""

    def __init__(
        self, captioner: Describes, llm: LanguageModel, generator: Generator, predictor: Predictor
    ) -> None:
        super().__init__(captioner, llm, generator)
        self.predictor = predictor

    @classmethod
    def around(cls, captioner: Describes, load: Load) -> Self:
        llm, generator = load("llm"), load("generator")
        predictor = load.made("predictor", lambda: Predictor(llm.width))
        return cls(captioner, llm, generator, predictor)

    def parts(self) -> dict[str, Part]:
        return super().parts() | {"predictor": Part(self.predictor)}

    def forward(self, batch: Batch, tau: float, seed: str) -> Losses:
        """Losses of the pipeline; to L^t the predictor's cross-entropy is added, a sum over
        responses. They share no parameter that it trains."""
        hidden = self.llm.hidden(self.llm.embed(batch.ids), batch.mask, batch.positions)
        begins, due = decisions(batch.labels, token_id(self.llm.tokenizer, IMG))
        decided = F.cross_entropy(self.predictor(hidden[:, :-1][begins]), due, reduction="sum")
        return self.drawn(text_loss(self.llm, hidden, batch) + decided, batch, seed)

    @torch.no_grad()
    def decide(self, prompts: Sequence[Prompt]) -> Tensor:
        """[P] log-odds of a photo in the replies to P prompts, each read by itself."""
        states = [self.llm.read(prompt.embeddings[None])[0, -1] for prompt in prompts]
        logits: Tensor = self.predictor(torch.stack(states))
        return logits[:, PHOTO] - logits[:, WORDS]

    def readiness(
        self, prompts: Sequence[Prompt], share_bias: float, max_new_tokens: int
    ) -> Decided:
        """One decision a reply: the likelier class; `share_bias` is added to its log-odds.

        Deviation: theirs is asked again after words, for a photo beside them. A response here is
        all that a speaker says at once, and its words and photo are written in one go.
        """
        tokenizer = self.llm.tokenizer
        img, end_img = (token_id(tokenizer, mark) for mark in (IMG, END_IMG))
        due = self.decide(prompts) + share_bias > 0
        return Decided(img, end_img, tokenizer.eos_token_id, due, max_new_tokens // 2)


def decisions(labels: Tensor, img: int) -> tuple[Tensor, Tensor]:
    """[B, L - 1] where the state of a position is the last before a response, and [A] the classes
    of those responses, row by row.

    Args:
        labels: [B, L] of packed sequences; tokens of a response stand together, and who speaks
            stands unsupervised before each.
        img: Id of [IMG].
    """
    supervised = labels != IGNORE
    begins = supervised[:, 1:] & ~supervised[:, :-1]
    number = begins.flatten().cumsum(0) - 1  # of the response that a label belongs to
    due = torch.full((int(begins.sum()),), WORDS, device=labels.device)
    due[number[labels[:, 1:].flatten() == img]] = PHOTO
    return begins, due
