"""Every stage of the foundations, for two steps: what it leaves is what the next one loads."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from pscli.config import ModelConfig
from pscli.dialogue.schema import Photo
from pscli.photoworld.dataset import Photoworld
from pscli.photoworld.foundations.build import STAGES, Build, Recipe
from pscli.photoworld.foundations.pool import load_pool
from pscli.photoworld.foundations.speaking import _Reading
from pscli.photoworld.talk import questions, quiz
from pscli.systems import agent


def test_questions_are_all_about_one_photo() -> None:
    for index in range(40):
        dialogue = questions("train", index)
        assert len(dialogue.photos) == 1
        about = [r.truth.about for r in dialogue.responses if r.truth and r.truth.about]
        assert len(about) == len(set(about)) == 3
    assert questions("train", 3) == questions("train", 3) != questions("train", 4)


def test_running_text_supervises_words_but_no_visual_embedding(build: Any) -> None:
    llm = build.llm()
    reading = _Reading(llm, [quiz("train", 0), questions("train", 0)], length=4)
    photo = llm.tokenizer.convert_tokens_to_ids("<photo>")
    for packed in reading.sequences:
        assert packed.ids.count(photo) == 4 * len(packed.photos) > 0
        assert photo not in packed.labels
        learnt = sum(t == label for t, label in zip(packed.ids, packed.labels, strict=True))
        assert learnt > 0.8 * (len(packed) - packed.ids.count(photo))


@pytest.mark.slow
def test_two_steps_of_every_stage_leave_foundations(tmp_path: Path) -> None:
    steps = {f.name: 2 for f in fields(Recipe)} | {"seed": 0, "questions": 8}
    steps |= {"scenes": 40, "drawings": 40}
    work = Build(tmp_path / "work", tmp_path / "out", Recipe(**steps))
    work.dialogues = Photoworld().load("train", 30)
    work.dev = load_pool(work.work, "dev", 500, 0)
    for stage in STAGES:
        getattr(work, stage)()
    assert set(work.scores) == set(STAGES)
    system = agent.build("e2e", ModelConfig(), tmp_path / "out").eval()
    visual = system.perceptron(system.perceptron.look([Photo(work.dev.scenes[0]).open()]))
    assert visual.shape == (1, 8, system.llm.width)
