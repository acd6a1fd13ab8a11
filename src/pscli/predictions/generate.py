"""Replies of an agent: to one dialogue, or to every instance of a split."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

from pscli import console
from pscli.components.load import located
from pscli.config import Config
from pscli.datasets.formats import parse
from pscli.dialogue.schema import Dialogue, Photo, Reply, Response
from pscli.errors import DataError
from pscli.files import locked, read_json, write_png
from pscli.predictions.folder import MAX_TEXT
from pscli.predictions.settings import Settings
from pscli.predictions.writer import Writer, told
from pscli.systems.base import Question

PHOTO_LENGTH = 100  # characters that a photo counts for when prompts are sorted


class Answerer(Protocol):
    """What is asked of an agent here; `captions` only if gold ones are to be drawn, `best_of` only
    if it is to choose among several drawings."""

    def respond_all(
        self,
        questions: Sequence[Question],
        *,
        seed: int = 0,
        temperature: float = 0.0,
        captions: Sequence[Sequence[str]] | None = None,
        best_of: int = 1,
    ) -> list[Reply]: ...

    def draw(
        self,
        captions: Sequence[str],
        keys: Sequence[tuple[str, int]],
        *,
        seed: int = 0,
        best_of: int = 1,
    ) -> list[Photo]:
        """Asked only if the context is to hold drawn photos."""
        ...


@dataclass(frozen=True)
class Instance:
    """One response to predict, and what was really said there.

    Args:
        history: As in `Prediction`, as names in the folder.
    """

    question: Question
    gold: Response
    history: dict[int, list[str]] = field(default_factory=dict)

    @property
    def dialogue(self) -> str:
        """Id of its dialogue."""
        return self.question.key.rpartition("/")[0]


def read_dialogue(path: Path) -> Dialogue:
    """The dialogue in a JSON file: as an object, or as a list of one.

    Raises:
        DataError: if the file is broken or a photo cannot be opened.
    """
    pairs = read_json(path)
    if isinstance(pairs, list) and len(pairs) != 1:
        raise DataError(f"{path} is a list of {len(pairs)} values.", "Expected a single dialogue.")
    dialogue = parse(pairs[0] if isinstance(pairs, list) else pairs, path.parent, str(path))
    for photo in dialogue.photos:
        photo.open()  # before an agent is loaded, which takes longer
    return dialogue


def save_photos(reply: Reply, folder: Path) -> list[Path]:
    """Saves the photos of a reply under the next free numbers, and returns their files."""
    if not reply.photos:
        return []
    with locked(folder, "saving photos"):
        taken = [int(path.stem) for path in folder.glob("*.png") if path.stem.isdecimal()]
        first = max(taken, default=0) + 1
        paths = [folder / f"{first + i:04d}.png" for i in range(len(reply.photos))]
        for path, photo in zip(paths, reply.photos, strict=True):
            write_png(path, photo)
    return paths


def instances(dialogues: Iterable[Dialogue]) -> list[Instance]:
    """Every response after the first of each dialogue, in order; `key` is its id.

    Those that no score would read are left out, and told.

    Raises:
        DataError: if two have one id.
    """
    found: dict[str, Instance] = {}
    long = 0
    for dialogue in dialogues:
        responses = dialogue.responses
        for k in range(1, len(responses)):
            id = f"{dialogue.id}/{k}"
            if id in found:
                raise DataError(f"Two dialogues have the id {dialogue.id!r}.", "Rename one.")
            if len(told(responses[k].parts)) > MAX_TEXT:
                long += 1
                continue
            question = Question(responses[:k], responses[k].speaker, id)
            found[id] = Instance(question, responses[k])
    if long:
        console.note(f"Left out: {long} × a response of more than {MAX_TEXT:,} characters.")
    return list(found.values())


def due(agent: Answerer, work: Sequence[Instance]) -> list[Instance]:
    """What an agent is asked: all of it, or, of one that only draws, where a photo was shared."""
    if getattr(agent, "speaks", True):
        return list(work)
    return [instance for instance in work if instance.gold.photos]


def batches(work: Sequence[Instance], size: int) -> list[list[Instance]]:
    """All the work, with prompts of about the same length together.

    Instances of a dialogue stay together, as what they have in common is then read once.
    """
    dialogues = (list(group) for _, group in groupby(work, key=lambda instance: instance.dialogue))
    pieces = [d[i : i + size] for d in dialogues for i in range(0, len(d), size)]
    cut: list[list[Instance]] = []
    for piece in sorted(pieces, key=lambda piece: _length(piece[-1])):
        if cut and len(cut[-1]) + len(piece) <= size:
            cut[-1] += piece
        else:
            cut.append(piece)
    return cut


def _length(instance: Instance) -> int:
    context = instance.question.responses
    return sum(len(r.text) + PHOTO_LENGTH * len(r.photos) for r in context)


def predict(
    agent: Answerer,
    work: Sequence[Instance],
    writer: Writer,
    progress: Callable[[int], None],
    size: int = 64,
) -> None:
    """Answers all instances that the folder does not have yet, and adds them.

    Args:
        progress: Called with how many more instances are done.
        size: Instances to a batch.
    """
    settings = writer.settings
    for batch in batches(work, size):
        if any(instance.question.key not in writer.done for instance in batch):
            # A batch that was cut short is answered whole again: padding changes the last bits of
            # a sum, and a resumed run is to write what an uninterrupted one does.
            questions = [instance.question for instance in batch]
            how = {"temperature": settings.temperature, **drawing(settings)}
            if settings.captions == "gold":
                how["captions"] = [
                    [described(photo, instance.question.key) for photo in instance.gold.photos]
                    for instance in batch
                ]
            replies = agent.respond_all(questions, **how)
            for instance, reply in zip(batch, replies, strict=True):
                if instance.question.key not in writer.done:
                    known = _photos(instance)
                    filled = any(photo.filled for photo in known)
                    told = any(photo.missing for photo in known)
                    key, gold = instance.question.key, instance.gold
                    writer.add(key, gold, reply, filled, told, instance.history)
        progress(len(batch))


def drawing(settings: Settings) -> dict[str, Any]:
    """How an agent is to draw."""
    several = {"best_of": settings.best_of} if settings.best_of > 1 else {}
    return {"seed": settings.seed, **several}


def _photos(instance: Instance) -> list[Photo]:
    """Photos of the context and the reference."""
    known = (*instance.question.responses, instance.gold)
    return [photo for response in known for photo in response.photos]


def described(photo: Photo, id: str) -> str:
    """The caption of a photo that is to be drawn. Raises DataError if it has none."""
    if not photo.caption:
        raise DataError(
            f"Instance {id!r}: a photo of the dataset has no caption that could be drawn.",
            "Generate with `--captions predicted`, and `--history gold` or `own`.",
        )
    return photo.caption


def fingerprint(folder: Path) -> str:
    """A short text that changes when an agent folder's configuration or weights do."""
    digest = hashlib.blake2b(digest_size=8)
    for path in sorted(p for p in folder.rglob("*") if p.suffix in (".json", ".safetensors")):
        with path.open("rb") as file:
            # The ends of a file suffice: weights of billions of parameters take minutes to read.
            digest.update(f"{path.relative_to(folder)}|{path.stat().st_size}|".encode())
            digest.update(file.read(1 << 16))
            file.seek(-min(1 << 16, path.stat().st_size), 2)
            digest.update(file.read())
    return digest.hexdigest()


def untrained_fingerprint(config: Config, parts: Sequence[str]) -> str:
    """The same for a system that was never trained: of its settings and those of its replies, and
    of the parts that it uses where those lie on disk."""
    digest = hashlib.blake2b(digest_size=8)
    for settings in (config.model, config.sequence):
        digest.update(json.dumps(dataclasses.asdict(settings), sort_keys=True).encode())
    for part in parts:
        place = Path(located(getattr(config.model, part).weights, part))
        if place.is_dir():
            digest.update(fingerprint(place).encode())
    return digest.hexdigest()
