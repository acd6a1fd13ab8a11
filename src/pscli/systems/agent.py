"""Agents: systems built from the registry, saved as folders, asked for replies."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Collection, Mapping, Sequence
from hashlib import file_digest
from pathlib import Path
from typing import Any, Self

from safetensors.torch import save_file

from pscli.components.device import device_named, dtype_named
from pscli.components.familiar import Familiar
from pscli.components.load import WEIGHTS, Load, refuse_unread
from pscli.config import Config, ModelConfig
from pscli.dialogue.reply import Tell
from pscli.dialogue.schema import Dialogue, Photo, Reply
from pscli.errors import CheckpointError, DataError
from pscli.files import new_folder, read_json, write_json, write_text
from pscli.registry import find
from pscli.systems import card
from pscli.systems.base import Question, System
from pscli.systems.chat import Chat
from pscli.systems.choosing import draw_best
from pscli.systems.honest import about, acquainted, familiar_in, keep, looks
from pscli.systems.place import CONFIG, agent_folder

INDEX = "index.json"


class Agent:
    """A photo-sharing dialogue agent.

    ```python
    agent = Agent.from_pretrained("runs/e2e/agent")
    reply = agent.respond(Dialogue([Turn("A", "Look at my dog!", photo="dog.jpg")]), seed=0)
    reply.text, reply.captions, reply.photos
    ```
    """

    def __init__(self, system: System, config: Config, familiar: Familiar | None = None) -> None:
        self.system, self.config, self.familiar = system, config, familiar

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path | None = None,
        *,
        device: str = "auto",
        dtype: str | None = None,
        use: Collection[str] = (),
        words_first: bool = False,
    ) -> Self:
        """Loads the agent of a folder, a run or a hub id; without one, the bundled agent.

        Args:
            device: `auto` (a GPU if there is one), `cpu`, `cuda`, `cuda:1`, `mps` …
            dtype: `float32`, `bfloat16` or `float16` for all of it; as it was trained if None.
            use: `module:object` names of code that the agent's own parts are made of; a folder
                alone chooses no code to run.
            words_first: Load what draws when the first photo is drawn, where checksums say that it
                is whole: the first words come seconds sooner.

        Raises:
            CheckpointError: if the folder holds no agent.
        """
        folder = agent_folder(folder)
        try:
            config = Config.from_json(read_json(folder / CONFIG), use)
        except DataError as error:
            raise CheckpointError(
                f"{folder} holds no agent: {CONFIG} cannot be read.",
                "Expected a folder that `pscli train-e2e` or `pscli train-pipeline` wrote.",
            ) from error
        place = device_named(device)  # before anything is loaded
        late = ("generator",) if verify(folder) and words_first else ()
        system = build(config.system, config.model, folder, late)
        system.eval().to(place, dtype_named(dtype) if dtype else None)
        return cls(system, config, familiar_in(folder))

    @classmethod
    def untrained(cls, config: Config, *, device: str = "auto", dtype: str | None = None) -> Self:
        """A system as its pre-trained parts make it. Args: as in `from_pretrained`."""
        place = device_named(device)
        system = build(config.system, config.model)
        system.eval().to(place, dtype_named(dtype) if dtype else None)
        return cls(system, config)

    @property
    def speaks(self) -> bool:
        """Whether it answers in words at all."""
        return self.system.speaks

    @property
    def captioned(self) -> bool:
        """Whether it writes captions of its photos, which can be looked at before they are
        drawn."""
        return self.system.speaks and self.system.captioned

    def save_pretrained(
        self, folder: Path, half: bool = False, scores: Mapping[str, float] | None = None
    ) -> None:
        """Writes the agent as a folder, whole or not at all: safetensors only, with a model card
        and what the photos are like that it knows.

        Args:
            scores: On the dev split, for the card.
            half: Store weights in 16 bits, at half the size.
        """
        # A copy, lest the agent's own weights be rounded.
        system = copy.deepcopy(self.system).half() if half else self.system
        with new_folder(folder) as new:
            for name, part in system.parts().items():
                if part.saved and hasattr(part.module, "save_pretrained"):
                    part.module.save_pretrained(new / name)
                elif part.saved:  # a plain module, such as a bridge with weights
                    (new / name).mkdir()
                    save_file(part.module.state_dict(), new / name / WEIGHTS)
            if self.familiar:
                keep(self.familiar, new)
            write_json(new / CONFIG, self.config.to_json())
            write_text(new / card.NAME, card.card(self.config, scores))
            write_json(new / INDEX, {"sha256": checksums(new)})

    def respond(
        self,
        dialogue: Dialogue,
        speaker: str | None = None,
        *,
        seed: int = 0,
        temperature: float = 0.0,
        best_of: int = 1,
    ) -> Reply:
        """What comes next in a dialogue.

        A note tells of each photo that others have sent and that is unlike those of training.

        Args:
            speaker: Who is to speak; by default who did not speak last.
            seed: Seeds the photos, and the words if `temperature` is above 0.
            best_of: How often each caption is drawn; the agent's own eyes choose.

        Raises:
            ConfigError: if the dialogue is empty, or the agent is to choose and sees no photos.
        """
        question = Question.after(dialogue, speaker)
        how: dict[str, Any] = {"seed": seed, "temperature": temperature, "best_of": best_of}
        return self.flagged(self.respond_all([question], **how)[0], question.shown)

    def respond_all(
        self,
        questions: Sequence[Question],
        *,
        seed: int = 0,
        temperature: float = 0.0,
        captions: Sequence[Sequence[str]] | None = None,
        best_of: int = 1,
        tell: Tell | None = None,
    ) -> list[Reply]:
        """Replies to several questions at once.

        Args:
            captions: For each question those to draw, in place of the predicted ones.
            best_of: As in `respond`.
            tell: Told of the reply to a single question while it is written.
        """
        if not questions:
            return []
        how = dataclasses.asdict(self.config.sequence) | {"captions": captions, "best_of": best_of}
        return self.system.reply(questions, temperature=temperature, seed=seed, tell=tell, **how)

    def acquaint(self, photos: Sequence[Photo]) -> None:
        """Remembers what the photos that it was trained on are like, so that others are flagged.

        Args:
            photos: Some hundreds of them. Of fewer than 100, or without eyes, it says nothing.
        """
        self.familiar = acquainted(self.system, photos)

    def unlike(self, photos: Sequence[Photo]) -> list[Photo]:
        """Those photos that are unlike all that the agent was trained on: its answers about them
        are guesses. None where nobody knows what those were like."""
        return looks(self.system, self.familiar, photos) if self.familiar else []

    def flagged(self, reply: Reply, photos: Sequence[Photo]) -> Reply:
        """A reply that tells of those photos that are `unlike`, in a note on each."""
        unlike = tuple(self.unlike(photos))
        if not unlike:
            return reply
        notes = (about(photo, self.config.dataset) for photo in unlike)
        return dataclasses.replace(reply, notes=(*reply.notes, *notes), unlike=unlike)

    def chat(self, dialogue: Dialogue | None = None, speaker: str | None = None) -> Chat:
        """A talk with the agent, from the start or going on with a dialogue.

        ```python
        chat = agent.chat()
        while line := input("> "):
            print(chat.say(line).text)
        ```

        Args:
            speaker: Who the agent is; by default the second one who speaks.
        """
        return Chat(self, dialogue, speaker)

    def draw(
        self,
        captions: Sequence[str],
        keys: Sequence[tuple[str, int]],
        *,
        seed: int = 0,
        best_of: int = 1,
    ) -> list[Photo]:
        """A photo of each caption, as a reply would send it.

        Args:
            keys: Of each: the key of a question, and which part of the reply to it the photo is.
            best_of: As in `respond`.
        """
        drawn = draw_best(self.system, captions, keys, seed, best_of)
        return [Photo(image, caption) for image, caption in zip(drawn, captions, strict=True)]


def checksums(folder: Path) -> dict[str, str]:
    """sha256 of every file of weights in an agent's folder."""
    sums = {}
    for path in sorted(folder.rglob("*.safetensors")):
        with path.open("rb") as file:
            sums[path.relative_to(folder).as_posix()] = file_digest(file, "sha256").hexdigest()
    return sums


def verify(folder: Path) -> bool:
    """Whether the weights are known to be those that were saved; False where nobody can say.

    Raises:
        CheckpointError: if they are not those that the folder's index names.
    """
    if not (folder / INDEX).is_file():
        return False  # made by hand, or by an earlier version
    known, now = read_json(folder / INDEX), checksums(folder)
    kept = known.get("sha256") if isinstance(known, dict) else None
    if kept != now:
        pairs = kept if isinstance(kept, dict) else {}
        differing = sorted(set(pairs.items()) ^ set(now.items())) if pairs else [(INDEX, "")]
        raise CheckpointError(
            f"{folder}: {differing[0][0]} is not what was saved there.",
            f"Copy the folder again; if you changed it on purpose, delete {INDEX}.",
        )
    return True


def build(
    system: str, model: ModelConfig, folder: Path | None = None, late: Collection[str] = ()
) -> System:
    """A system by its name, with pre-trained parts or those of an agent's folder.

    Args:
        late: As in `Load`.

    Raises:
        ConfigError: at an unknown name, or at what is set and nobody reads.
    """
    _hide_loading_bars()
    kind = find("system", system)
    if folder is None:
        refuse_unread(model, kind.uses)
    built: System = kind.build(model, Load(model, folder, late))
    return built.freeze(model.frozen)


def _hide_loading_bars() -> None:
    """The library's own bars, one per part, would bury ours."""
    import transformers.utils.logging

    transformers.utils.logging.disable_progress_bar()
