"""Dialogues as a system reads them in training: its tokens, and what its limits cut off."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, NamedTuple

from pscli.components.hub import ask_for
from pscli.components.load import loading, located
from pscli.config import Config, PartConfig
from pscli.datasets.records import Dropped
from pscli.dialogue.schema import Dialogue
from pscli.dialogue.sequence import IGNORE, PHOTO, Packed
from pscli.errors import ConfigError
from pscli.plan.parts import imagined, stands_in


class Run(NamedTuple):
    """Tokens next to one another of which the same is true.

    Args:
        kind: `context` (seen, not predicted), `supervised`, `hidden` from all that follows,
            `hidden, supervised`, or `photo`.
    """

    kind: str
    text: str
    tokens: int


@dataclass
class Cuts:
    """What limits cut off, over several dialogues.

    Args:
        responses: Instances that are learnt.
        shortened: Those of them that miss the oldest messages, by so many tokens in all.
        captions: Of photos that are drawn.
        long: Those of them that the text encoder does not read to their end.
    """

    dialogues: int = 0
    responses: int = 0
    shortened: int = 0
    missed: int = 0
    captions: int = 0
    long: int = 0
    unread: int = 0
    dropped: Dropped = field(default_factory=Dropped)


class Reader:
    """A system's tokenizers and template; no weights are loaded.

    Raises:
        CheckpointError: if a tokenizer is neither on disk nor within reach.
        ConfigError: if the system learns no words.
    """

    def __init__(self, config: Config) -> None:
        system = imagined(config.system, config.model)
        if not system.speaks:
            raise ConfigError(f"'{config.system}' only draws: it learns no words.", "Try e2e.")
        if stands_in(system.llm.tokenizer):
            system.llm.tokenizer = _of_llm(config.model.llm, system.llm.marks)
        self.template: Any = system.template(config.sequence.max_length)
        self.clip = _of_generator(config.model.generator)

    @property
    def clip_length(self) -> int:
        """Tokens that the text encoder reads, its two marks among them."""
        return int(self.clip.model_max_length)

    def runs(self, packed: Packed) -> Iterator[Run]:
        """A sequence, piece by piece."""
        photo = self.template.id(PHOTO)

        def kind(n: int) -> str:
            if packed.ids[n] == photo:
                return "photo"
            true = {"hidden": packed.segments[n] > 0, "supervised": packed.labels[n] != IGNORE}
            return ", ".join(name for name, holds in true.items() if holds) or "context"

        for name, places in groupby(range(len(packed)), kind):
            ids = [packed.ids[n] for n in places]
            yield Run(name, str(self.template.tokenizer.decode(ids)), len(ids))

    def unread(self, caption: str) -> Run:
        """The end of a caption that the text encoder does not read."""
        ids = self.clip(caption, truncation=False).input_ids[:-1]  # without the mark at its end
        cut = ids[self.clip_length - 1 :]
        return Run("cut", str(self.clip.decode(cut, skip_special_tokens=True)), len(cut))

    def missed(self, dialogue: Dialogue, packed: Packed) -> list[Run]:
        """The oldest messages, which did not fit into a sequence."""
        names = self.template.names(r.speaker for r in dialogue.responses)
        pieces = [
            self.template.context(r, names[r.speaker])[0]
            for r in dialogue.responses[: packed.dropped]
        ]
        decode = self.template.tokenizer.decode
        return [Run("cut", str(decode(ids)), len(ids)) for ids in pieces]

    def count(self, dialogues: Iterable[Dialogue]) -> Cuts:
        """What is cut of dialogues."""
        cuts = Cuts()
        for dialogue in dialogues:
            cuts.dialogues += 1
            for packed in self.template.pack(dialogue, cuts.dropped):
                answers = _answers(packed)
                missed = sum(run.tokens for run in self.missed(dialogue, packed))
                cuts.responses += answers
                cuts.shortened += answers if missed else 0
                cuts.missed += missed
                cut = [self.unread(span.photo.caption or "").tokens for span in packed.captions]
                cuts.captions += len(cut)
                cuts.long += sum(map(bool, cut))
                cuts.unread += sum(cut)
        return cuts


def _answers(packed: Packed) -> int:
    """How many responses of a sequence are supervised: each begins after tokens that are not."""
    supervised = [label != IGNORE for label in packed.labels]
    return sum(now and not before for before, now in pairwise(supervised))


def _of_llm(part: PartConfig, more: Sequence[str]) -> Any:
    """The LLM's tokenizer. Args: more: Tokens that it is taught."""
    from transformers import AutoTokenizer

    ask_for("llm", part)
    place = located(part.weights, "llm")
    at: dict[str, Any] = {"revision": part.revision}
    if Path(place).suffix == ".gguf":
        place, at = str(Path(place).parent), {"gguf_file": Path(place).name}
    with loading("llm", place):
        tokenizer = AutoTokenizer.from_pretrained(place, trust_remote_code=False, **at)
    marks: dict[str, Any] = {"additional_special_tokens": [*more]}
    if tokenizer.bos_token is None:
        marks["bos_token"] = tokenizer.eos_token
    tokenizer.add_special_tokens(marks, replace_extra_special_tokens=False)
    return tokenizer


def _of_generator(part: PartConfig) -> Any:
    """The tokenizer of a Stable Diffusion pipeline."""
    from transformers import CLIPTokenizer

    ask_for("generator", part)
    place = located(part.weights, "generator")
    with loading("generator", place):
        at: dict[str, Any] = {"revision": part.revision, "subfolder": "tokenizer"}
        return CLIPTokenizer.from_pretrained(place, **at)
