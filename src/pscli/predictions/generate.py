"""Replies of an agent: to one dialogue, or to every instance of a split."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pscli.datasets.formats import parse
from pscli.dialogue.schema import Dialogue, Photo, Reply, Response
from pscli.errors import CheckpointError, DataError
from pscli.files import claim, read_json
from pscli.predictions.folder import append, done_ids
from pscli.systems.base import Question

SETTINGS = "config.json"  # beside predictions.jsonl: what they were generated with
PHOTO_LENGTH = 100  # characters that a photo counts for when prompts are sorted


class Answerer(Protocol):
    """What is asked of an agent here."""

    def respond_all(
        self, questions: Sequence[Question], *, seed: int = 0, temperature: float = 0.0
    ) -> list[Reply]: ...


@dataclass(frozen=True)
class Settings:
    """What predictions depend on, and so must not change when a folder is resumed.

    Args:
        agent: Its folder, or `bundled`.
        weights: `fingerprint` of that folder.
    """

    agent: str
    weights: str
    dataset: str
    split: str
    seed: int
    temperature: float


@dataclass(frozen=True)
class Instance:
    """One response to predict, and what was really said there."""

    question: Question
    gold: Response


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
    folder.mkdir(parents=True, exist_ok=True)
    taken = [int(path.stem) for path in folder.glob("*.png") if path.stem.isdecimal()]
    first = max(taken, default=0) + 1
    paths = [folder / f"{first + i:04d}.png" for i in range(len(reply.photos))]
    for path, photo in zip(paths, reply.photos, strict=True):
        with path.open("xb") as file:
            photo.save(file, "PNG")
    return paths


def instances(dialogues: Iterable[Dialogue]) -> list[Instance]:
    """Every response after the first of each dialogue, in order; `key` is its id."""
    return [
        Instance(Question(responses[:k], responses[k].speaker, f"{dialogue.id}/{k}"), responses[k])
        for dialogue in dialogues
        for responses in [dialogue.responses]
        for k in range(1, len(responses))
    ]


def batches(work: Sequence[Instance], size: int) -> list[list[Instance]]:
    """All the work, with prompts of about the same length together."""
    ordered = sorted(work, key=_length)
    return [ordered[i : i + size] for i in range(0, len(ordered), size)]


def _length(instance: Instance) -> int:
    context = instance.question.responses
    return sum(len(r.text) + PHOTO_LENGTH * len(r.photos) for r in context)


def open_predictions(out: Path, settings: Settings, overwrite: bool = False) -> set[str]:
    """Makes a folder ready for predictions, and returns the ids that it already has.

    Raises:
        CheckpointError: if the folder holds something else, or predictions that were generated
            in another way.
    """
    now = dataclasses.asdict(settings)
    if (out / SETTINGS).is_file() and not overwrite:
        then = read_json(out / SETTINGS)
        if then == now:
            return done_ids(out)
        known = then if isinstance(then, dict) else {}
        changes = [f"{k} {known.get(k)!r}, not {v!r}" for k, v in now.items() if known.get(k) != v]
        raise CheckpointError(
            f"{out} was generated with {'; '.join(changes)}.",
            "Go on with the same settings, name another folder, or replace it: --overwrite.",
        )
    claim(out, SETTINGS, overwrite)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    (out / SETTINGS).write_text(json.dumps(now, indent=1), encoding="utf-8")
    return set()


def predict(
    agent: Answerer,
    work: Sequence[Instance],
    out: Path,
    done: set[str],
    progress: Callable[[int], None],
    *,
    size: int = 64,
    seed: int = 0,
    temperature: float = 0.0,
) -> None:
    """Answers all instances that are not done yet, and appends them to the predictions.

    Args:
        done: Ids that the folder has.
        progress: Called with how many more instances are done.
        size: Instances to a batch.
    """
    for batch in batches(work, size):
        if any(instance.question.key not in done for instance in batch):
            # A batch that was cut short is answered whole again: padding changes the last bits of
            # a sum, and a resumed run is to write what an uninterrupted one does.
            questions = [instance.question for instance in batch]
            replies = agent.respond_all(questions, seed=seed, temperature=temperature)
            for instance, reply in zip(batch, replies, strict=True):
                if instance.question.key not in done:
                    append(out, _record(instance, reply, out))
        progress(len(batch))


def _record(instance: Instance, reply: Reply, out: Path) -> dict[str, Any]:
    """One line of predictions.jsonl. The photos are written first."""
    key, gold = instance.question.key, instance.gold
    drawn = [part for part in reply.parts if isinstance(part, Photo)]
    known = [photo for r in (*instance.question.responses, gold) for photo in r.photos]
    return {
        "id": key,
        "kind": gold.truth.kind if gold.truth else None,
        "reference": {
            "text": gold.text,
            "captions": [photo.caption or "" for photo in gold.photos],
            "photos": _save(gold.photos, out, "gold", key),
        },
        "prediction": {
            "text": reply.text,
            "captions": reply.captions,
            "photos": _save(drawn, out, "images", key),
            "raw": reply.raw,
            "notes": list(reply.notes),
        },
        "truth": gold.truth.to_json() if gold.truth else None,
        "filled": any(photo.filled for photo in known),
    }


def _save(photos: Sequence[Photo], out: Path, folder: str, key: str) -> list[str]:
    names = [f"{folder}/{key.replace('/', '-')}-{i}.png" for i in range(len(photos))]
    (out / folder).mkdir(exist_ok=True)
    for name, photo in zip(names, photos, strict=True):
        photo.open().save(out / name, "PNG")
    return names


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
