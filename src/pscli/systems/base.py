"""What every system is: parts that are loaded, trained and saved, losses, and replies."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import torch
from PIL.Image import Image
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import LogitsProcessor, PreTrainedModel

from pscli.components.adapters import adapted, is_adapter
from pscli.components.cache import Cache
from pscli.components.llm import LanguageModel
from pscli.components.load import Load
from pscli.components.noise import seeded
from pscli.components.perceptron import Perceptron
from pscli.components.readiness import EndBias, ShareBias
from pscli.config import ModelConfig
from pscli.dialogue.batch import Batch
from pscli.dialogue.reply import Caption, Speech, Tell, parse, recaptioned
from pscli.dialogue.schema import Dialogue, Photo, Reply, Response
from pscli.dialogue.sequence import IGNORE, IMG, Packs, token_id
from pscli.errors import ConfigError
from pscli.systems.choosing import draw_best

if TYPE_CHECKING:  # words need nothing that draws, and its libraries take seconds to load
    from pscli.components.generator import Generator


class Losses(NamedTuple):  # torch finds the tensors in a tuple, where it shares weights out
    """Sums over a micro-batch, so that micro-batches of any size add up to the same batch.

    Args:
        text: Σ -log P(y_i | U, r_<i) over supervised tokens (Eq. 2).
        image: Σ over response photos of the generator's loss of a photo (Eq. 12).
    """

    text: Tensor
    image: Tensor


@dataclass(frozen=True)
class Question:
    """A dialogue so far, and who is to answer it. `key` seeds what is drawn."""

    responses: Sequence[Response]
    speaker: str
    key: str = ""

    @classmethod
    def after(cls, dialogue: Dialogue, speaker: str | None = None) -> Self:
        """What comes next in a dialogue. Args: speaker: By default who did not speak last.

        Raises:
            ConfigError: if nothing was said yet.
        """
        responses = dialogue.responses
        if not responses:
            raise ConfigError("The dialogue is empty.", "Give it at least one turn.")
        return cls(responses, speaker or dialogue.answering, dialogue.id)

    @property
    def shown(self) -> list[Photo]:
        """Photos that the others have sent."""
        return [photo for r in self.responses if r.speaker != self.speaker for photo in r.photos]


@dataclass(frozen=True)
class Prompt:
    """[L, D] embeddings of a context, and how many of its oldest responses did not fit."""

    embeddings: Tensor
    dropped: int


class Written(NamedTuple):
    """A reply before its photos are drawn.

    Args:
        ids: Its tokens, without the end token.
        parts: Texts, and a caption for each photo.
        notes: What was unusual.
    """

    question: Question
    prompt: Prompt
    ids: list[int]
    parts: list[str | Caption]
    notes: list[str]

    @property
    def wanted(self) -> list[tuple[tuple[str, int], Caption]]:
        """Its captions, each with what seeds its photo: the question's key, and its place."""
        parts = enumerate(self.parts)
        return [((self.question.key, n), p) for n, p in parts if isinstance(p, Caption)]


@dataclass(frozen=True)
class Part:
    """A part of a system.

    Args:
        module: With `save_pretrained(folder)` if it is saved.
        frozen: Prefixes of its parameters that do not train, unless the configuration says
            otherwise; "" for all.
        saved: Whether the agent's folder holds it; else it is found again by its name.
    """

    module: Any
    frozen: tuple[str, ...] = ()
    saved: bool = True


class System(nn.Module):
    """A dialogue agent that can be trained and asked: see `EndToEnd` and `Pipeline`.

    A system is one file and a line in the registry. It says how it is built, which parts it has,
    what its losses are and what its LLM reads; the loop, the agent and the commands know no more.

    Args:
        speaks: Whether it has an LLM; if not, all its replies are photos, and it learns from photos
            without captions, too (`Dialog2Image`).
        captioned: Whether it writes a caption of each photo that it sends; if not, its photos are
            drawn from something else (`Wordless`).
        uses: The parts that it loads by the names of a configuration.
    """

    speaks = True
    captioned = True
    uses: tuple[str, ...] = ("llm", "perceptron", "generator")
    llm: LanguageModel
    generator: Generator
    cache: Cache

    def __init__(self) -> None:
        super().__init__()
        self.cache = Cache()

    @classmethod
    def build(cls, config: ModelConfig, load: Load) -> Self:
        """A system with its pre-trained parts, or those of an agent."""
        raise NotImplementedError

    @property
    def eyes(self) -> Perceptron | None:
        """What sees the photos of a dialogue, if anything does."""
        return getattr(self, "perceptron", None)

    def parts(self) -> dict[str, Part]:
        """Parts by name, which is also that of their subfolder in an agent's folder."""
        raise NotImplementedError

    def template(self, max_length: int) -> Packs:
        """How dialogues become token sequences in training."""
        raise NotImplementedError

    def before_training(self) -> None:
        """Called once its weights are those that training begins with, and frozen as it will be."""

    def forward(self, batch: Batch, tau: float, seed: str) -> Losses:
        """Losses of a micro-batch that `prepare` has seen."""
        raise NotImplementedError

    def prompts(self, questions: Sequence[Question], max_length: int) -> list[Prompt]:
        """What the LLM reads of each dialogue, up to where the reply begins."""
        raise NotImplementedError

    def readiness(
        self, prompts: Sequence[Prompt], share_bias: float, max_new_tokens: int
    ) -> LogitsProcessor:
        """What makes replies to these prompts share photos more or less readily."""
        return ShareBias(token_id(self.llm.tokenizer, IMG), share_bias)

    def prepare(self, batch: Batch) -> Batch:
        """The batch with its photos decoded: latents of those to be drawn."""
        gold = [span.photo for _, span in batch.captions]
        drawn = self.cache(self.generator.encoder, gold, self.generator.latents) if gold else None
        return dataclasses.replace(batch, drawn=drawn)

    def undrawn(self, text: Tensor) -> Losses:
        """Losses of a micro-batch without photos.

        Where its words teach nothing either, as the LLM is frozen, something that trains takes
        part all the same: with a gradient of zeros.
        """
        trains = () if text.requires_grad else (p for p in self.parameters() if p.requires_grad)
        idle = next(iter(trains), None)
        return Losses(text, text.new_zeros(()) if idle is None else 0 * idle.sum())

    def reply(self, questions: Sequence[Question], **how: Any) -> list[Reply]:
        """Replies to several questions at once. Args: how: As in `answer`."""
        return answer(self, questions, **how)

    def rules(self) -> list[LogitsProcessor]:
        """What replies must keep to, beside the biases of a configuration."""
        return []

    def parsed(self, ids: list[int]) -> tuple[list[str | Caption], list[str]]:
        """Texts and captions of a reply's tokens in order, and notes on what was unusual."""
        return parse(ids, self.llm.tokenizer)

    def illustrate(self, written: Sequence[Written], seed: int, best_of: int) -> list[Image]:
        """The photos of several replies, one for each caption. Args: as in `draw_best`."""
        wanted = [one for reply in written for one in reply.wanted]
        keys, words = [key for key, _ in wanted], [caption.words for _, caption in wanted]
        return draw_best(self, words, keys, seed, best_of)

    def draw(self, captions: Sequence[str], generators: Sequence[torch.Generator]) -> list[Image]:
        """One photo a caption, drawn together; seeded by one generator a photo."""
        return self.generator.draw(captions, generators)

    def likelihoods(self, captions: Sequence[str], photos: Sequence[Photo]) -> Tensor:
        """[P] log p(caption | photo), the sum over the caption's tokens in nats, as the system
        itself sees: by this it chooses among several drawings of a caption.

        Raises:
            ConfigError: if it sees no photos; asked with none, too.
        """
        raise ConfigError(
            f"{type(self).__name__} sees no photos, so it cannot choose among drawings.",
            "Draw each caption once; a system of your own chooses by a method `likelihoods`.",
        )

    def train(self, mode: bool = True) -> Self:
        """Training mode where something trains: a frozen part sees as it always did."""
        super().train(mode)
        for module in list(self.modules())[1:]:  # all but itself
            weights = list(module.parameters())
            if weights and not any(weight.requires_grad for weight in weights):
                module.eval()
        return self

    def recompute(self) -> Self:
        """Computes activations again in the backward pass, where the libraries' models can."""
        from diffusers import ModelMixin

        for module in self.modules():
            if not any(weight.requires_grad for weight in module.parameters()):
                continue
            if isinstance(module, PreTrainedModel) and module.supports_gradient_checkpointing:
                # Not reentrant: frozen inputs, such as embeddings, must not stop the gradient.
                _recompute(module)({"use_reentrant": False})
            elif isinstance(module, ModelMixin) and module._supports_gradient_checkpointing:
                module.enable_gradient_checkpointing()
        return self

    def freeze(self, prefixes: Sequence[str] | None = None) -> Self:
        """Leaves only those parameters to train whose names begin with none of the prefixes, in
        float32; of a part with adapters only those.

        Args:
            prefixes: By default what the parts say.
        """
        parts = self.parts()
        if prefixes is None:
            prefixes = [f"{name}.{prefix}" for name in parts for prefix in parts[name].frozen]
        beside = tuple(f"{name}." for name, part in parts.items() if adapted(part.module))
        for name, parameter in self.named_parameters():
            trains = not name.startswith(tuple(prefixes))
            if name.startswith(beside) and not is_adapter(name):
                trains = False
            parameter.requires_grad_(trains)
            if trains:  # small updates are lost in 16 bits
                parameter.data = parameter.data.float()
        return self


def _recompute(model: Any) -> Any:
    """transformers gave its method another name."""
    later = getattr(model, "activation_checkpointing_enable", None)
    return later or model.gradient_checkpointing_enable


def fitting(perceptron: Perceptron, llm: LanguageModel) -> None:
    """Raises ConfigError if an LLM cannot read what a perceptron gives."""
    if perceptron.width != llm.width:
        raise ConfigError(
            f"The perceptron gives embeddings of width {perceptron.width}, the LLM reads "
            f"{llm.width}.",
            "Use a perceptron that was made for this LLM, or a vision model with --perceptron "
            "linear: its projection is new.",
        )


def text_loss(llm: LanguageModel, hidden: Tensor, batch: Batch) -> Tensor:
    """L^t = Σ -log P(y_i | U, r_<i) (Eq. 2). Position i predicts token i + 1."""
    labels = batch.labels[:, 1:]
    supervised = labels != IGNORE
    return F.cross_entropy(
        llm.logits(hidden[:, :-1][supervised]), labels[supervised], reduction="sum"
    )


def answer(
    system: System,
    questions: Sequence[Question],
    *,
    max_length: int = 400,
    max_new_tokens: int = 60,
    share_bias: float = 0.0,
    end_bias: float = 0.0,
    temperature: float = 0.0,
    seed: int = 0,
    captions: Sequence[Sequence[str]] | None = None,
    best_of: int = 1,
    tell: Tell | None = None,
) -> list[Reply]:
    """Replies to several questions at once: words first, then all their photos together (§2.5).

    Args:
        max_length, max_new_tokens, share_bias, end_bias: As in `SequenceConfig`.
        temperature: 0 takes the likeliest token; above 0 samples.
        captions: For each question those to draw, in place of the predicted ones.
        best_of: How often each is drawn: see `draw_best`.
        tell: Told of the reply to a single question while it is written, as by `Speech`.

    Raises:
        ConfigError: if the temperature is below 0, endless or no number.
    """
    if not 0 <= temperature < math.inf:
        raise ConfigError(f"The temperature is {temperature}.", "Expected 0, or a number above.")
    tokenizer = system.llm.tokenizer
    speech = Speech(tokenizer, tell) if tell else None
    prompts = system.prompts(questions, system.llm.before(max_new_tokens, max_length))
    generated = system.llm.respond(
        [prompt.embeddings for prompt in prompts],
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        generators=[seeded(seed, question.key, "words") for question in questions],
        processors=[
            system.readiness(prompts, share_bias, max_new_tokens),
            EndBias(tokenizer.eos_token_id, end_bias),
            *system.rules(),
        ],
        hear=(lambda number, token: speech.hear(token)) if speech else None,
    )
    if speech:
        speech.end()
    written = [
        Written(question, prompt, ids, *system.parsed(ids))
        for question, prompt, ids in zip(questions, prompts, generated, strict=True)
    ]
    if captions is None:
        photos = iter(system.illustrate(written, seed, best_of))
    else:
        written = [
            reply._replace(parts=recaptioned(reply.parts, some))
            for reply, some in zip(written, captions, strict=True)
        ]
        photos = iter(System.illustrate(system, written, seed, best_of))
    replies = []
    for _, prompt, ids, parts, notes in written:
        if prompt.dropped:
            notes.append(f"The oldest {prompt.dropped} messages did not fit and were left out.")
        drawn = [
            Photo(next(photos), p.words or None) if isinstance(p, Caption) else p for p in parts
        ]
        raw = str(system.llm.tokenizer.decode(ids))
        replies.append(Reply(tuple(drawn), raw, tuple(notes)))
    return replies
