"""Photoworld: drawn scenes and the talk about them, with the truth of every response."""

from __future__ import annotations

from pscli.data.photoworld.phrases import ANSWER_WORDS
from pscli.data.photoworld.scene import Scene, Thing, sample_scene, split_of
from pscli.data.photoworld.talk import (
    DEFAULT_SIZES,
    answered,
    dialogue,
    dialogues,
    questions,
    quiz,
)

__all__ = [
    "ANSWER_WORDS",
    "DEFAULT_SIZES",
    "Scene",
    "Thing",
    "answered",
    "dialogue",
    "dialogues",
    "questions",
    "quiz",
    "sample_scene",
    "split_of",
]
