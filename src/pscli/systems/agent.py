"""Agents: systems built from the registry, saved as folders, asked for replies."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from pscli.components.generator import Generator
from pscli.components.llm import LanguageModel
from pscli.components.perceptron import QFormerPerceptron
from pscli.config import Config, ModelConfig
from pscli.dialogue.schema import Dialogue, Reply
from pscli.errors import CheckpointError, ConfigError
from pscli.registry import TABLES, find
from pscli.systems.base import Question, System, answer, freeze
from pscli.systems.end_to_end import EndToEnd
from pscli.systems.pipeline import Captioner, Pipeline


class Agent:
    """A photo-sharing dialogue agent.

    ```python
    agent = Agent.from_pretrained("runs/e2e/agent")
    reply = agent.respond(Dialogue([Turn("A", "Look at my dog!", photo="dog.jpg")]), seed=0)
    reply.text, reply.captions, reply.photos
    ```
    """

    def __init__(self, system: System, config: Config) -> None:
        self.system, self.config = system, config

    @classmethod
    def from_pretrained(cls, folder: str | Path | None = None) -> Self:
        """Loads an agent folder; without one, the bundled photoworld agent.

        Raises:
            CheckpointError: if the folder holds no agent.
        """
        folder = Path(folder) if folder else find("agent", "bundled")()
        if not (folder / "agent_config.json").is_file() and (folder / "agent").is_dir():
            folder /= "agent"  # a run was named
        try:
            pairs = json.loads((folder / "agent_config.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f"{folder} holds no agent: agent_config.json cannot be read.",
                "Expected a folder that `pscli train-e2e` or `pscli train-pipeline` wrote.",
            ) from error
        config = Config.from_json(pairs)
        here: dict[str, Any] = {
            part: str(folder / part) if (folder / part).is_dir() else getattr(config.model, part)
            for part in ("llm", "vision", "generator")
        }
        local = dataclasses.replace(config.model, **here)
        system = build(config.system, local, captioner=config.model)
        agent = cls(system, config)
        agent.system.eval()
        return agent

    def save_pretrained(self, folder: Path, half: bool = False) -> None:
        """Writes the agent as a folder, atomically: safetensors only.

        Args:
            half: Store weights in 16 bits, at half the size.
        """
        temporary = folder.with_name(f".{folder.name}.tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        # A copy, lest the agent's own weights be rounded.
        system = copy.deepcopy(self.system).half() if half else self.system
        system.llm.save_pretrained(temporary / "llm")
        system.generator.save_pretrained(temporary / "generator")
        if isinstance(system, EndToEnd):
            system.perceptron.save_pretrained(temporary / "vision")
        pairs = json.dumps(self.config.to_json(), indent=1)
        (temporary / "agent_config.json").write_text(pairs, encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(temporary, folder)

    def respond(
        self,
        dialogue: Dialogue,
        speaker: str | None = None,
        *,
        seed: int = 0,
        temperature: float = 0.0,
    ) -> Reply:
        """What comes next in a dialogue.

        Args:
            speaker: Who is to speak; by default who did not speak last.
            seed: Seeds the photos, and the words if `temperature` is above 0.
        """
        responses = dialogue.responses
        if not responses:
            raise ConfigError("The dialogue is empty.", "Give it at least one turn.")
        if speaker is None:
            others = [r.speaker for r in responses if r.speaker != responses[-1].speaker]
            speaker = others[-1] if others else "B" if responses[-1].speaker != "B" else "A"
        question = Question(responses, speaker, dialogue.id)
        return self.respond_all([question], seed=seed, temperature=temperature)[0]

    def respond_all(
        self, questions: Sequence[Question], *, seed: int = 0, temperature: float = 0.0
    ) -> list[Reply]:
        """Replies to several questions at once."""
        if not questions:
            return []
        lengths = dataclasses.asdict(self.config.sequence)
        return answer(self.system, questions, temperature=temperature, seed=seed, **lengths)


def source(name: str, part: str) -> str:
    """Folder or hub id behind the name of a component."""
    return str(find("weights", name)(part)) if name in TABLES["weights"] else name


def build(system: str, model: ModelConfig, captioner: ModelConfig | None = None) -> Any:
    """A system from its configuration, with pre-trained parts.

    Args:
        captioner: Where the pipeline's captioner comes from, if not from `model`'s own parts.

    Raises:
        ConfigError: at an unknown name.
    """
    _hide_loading_bars()
    llm = LanguageModel.from_pretrained(source(model.llm, "llm"), model.llm_revision)
    generator = Generator.from_pretrained(
        source(model.generator, "generator"), model.generator_revision,
        guidance=model.guidance, steps=model.draw_steps, snr_gamma=model.snr_gamma,
    )  # fmt: skip
    kind = find("system", system)
    if kind is Pipeline:
        from_parts = captioner or model
        built: Any = Pipeline(
            Captioner(
                QFormerPerceptron.from_pretrained(Path(source(from_parts.vision, "vision"))),
                LanguageModel.from_pretrained(source(from_parts.llm, "llm")),
            ),
            llm,
            generator,
        )
    else:
        perceptron = find("perceptron", model.perceptron).from_pretrained(
            Path(source(model.vision, "vision"))
        )
        bridge = find("bridge", model.bridge)
        built = kind(perceptron, llm, bridge, generator, model.caption_source)
    freeze(built, model.frozen)
    return built


def _hide_loading_bars() -> None:
    """The libraries' own bars, one per part, would bury ours."""
    import diffusers.utils.logging
    import transformers.utils.logging

    transformers.utils.logging.disable_progress_bar()
    diffusers.utils.logging.disable_progress_bar()
