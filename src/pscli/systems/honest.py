"""Honesty about what an agent sees: photos unlike those that it was trained on are flagged."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import torch

from pscli.components.familiar import Familiar, Glance, sees
from pscli.components.load import BROKEN
from pscli.datasets.base import known
from pscli.dialogue.schema import Dialogue, Photo
from pscli.errors import CheckpointError
from pscli.files import replacing
from pscli.systems.base import System

FAMILIAR = "familiar.safetensors"  # in the agent's folder
PHOTOS = 1000  # of training that suffice to know what they are like
SEEN_AT_ONCE = 32  # of them, by eyes that train


def some_of(dialogues: Sequence[Dialogue]) -> list[Photo]:
    """Photos of training, at most 1,000, the same each time; none that was filled in."""
    real = [p for d in dialogues for p in d.photos if not (p.missing or p.filled)]
    return random.Random("familiar").sample(real, min(PHOTOS, len(real)))


def acquainted(system: System, photos: Sequence[Photo]) -> Familiar | None:
    """What photos are like to a system; None if it has no eyes that can be asked."""
    eyes = system.eyes
    if eyes is None or not sees(eyes) or not photos:
        return None
    parts = [photos[n : n + SEEN_AT_ONCE] for n in range(0, len(photos), SEEN_AT_ONCE)]
    seen = [system.cache(eyes.vision, some, Glance(eyes).see).cpu() for some in parts]
    return Familiar.fit(torch.cat(seen))


def looks(system: System, familiar: Familiar, photos: Sequence[Photo]) -> list[Photo]:
    """Those photos that are unlike the familiar ones, each once."""
    there = list({id(photo): photo for photo in photos if not photo.missing}.values())
    eyes = system.eyes
    if eyes is None or not there:
        return []
    features = system.cache(eyes.vision, there, Glance(eyes).see)
    return [p for p, odd in zip(there, familiar.unlike(features), strict=True) if odd]


def about(photo: Photo, dataset: str) -> str:
    """What is to be said about such a photo. Args: dataset: What the agent was trained on."""
    name = photo.source.name if isinstance(photo.source, Path) else "A photo"
    shows = getattr(known(dataset), "shows", "")
    knows = f"{dataset}'s {shows}" if shows else dataset
    return (
        f"{name} is unlike the photos that this agent was trained on ({knows}): its answers about "
        "it are guesses. An agent that sees photos of the real world is trained by `pscli "
        "train-e2e --dataset photochat`, and named by --agent."
    )


def keep(familiar: Familiar, folder: Path) -> None:
    """Writes what photos of training are like into an agent's folder."""
    with replacing(folder / FAMILIAR) as file:
        file.write(familiar.to_bytes())


def familiar_in(folder: Path) -> Familiar | None:
    """What an agent's folder keeps of the photos of its training, if it does.

    Raises:
        CheckpointError: if it cannot be read.
    """
    if not (folder / FAMILIAR).is_file():
        return None
    try:
        return Familiar.from_file(folder / FAMILIAR)
    except BROKEN as error:
        raise CheckpointError(
            f"{folder / FAMILIAR} cannot be read: {error}.",
            "Delete it: the agent answers without, and flags no photos.",
        ) from error
