"""Every stage of the foundations, for two steps: what it leaves is what the next one loads."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pscli.components.llm import LanguageModel
from pscli.config import ModelConfig
from pscli.dialogue.schema import Photo
from pscli.photoworld.dataset import Photoworld
from pscli.photoworld.foundations.build import STAGES, Build, Recipe
from pscli.photoworld.foundations.pool import load_pool
from pscli.photoworld.foundations.speaking import Reading, settings_said_again
from pscli.photoworld.scene import SETTINGS
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
    reading = Reading(llm, [quiz("train", 0), questions("train", 0)], length=4)
    photo = llm.tokenizer.convert_tokens_to_ids("<photo>")
    for packed in reading.sequences:
        assert packed.ids.count(photo) == 4 * len(packed.photos) > 0
        assert photo not in packed.labels
        learnt = sum(t == label for t, label in zip(packed.ids, packed.labels, strict=True))
        assert learnt > 0.8 * (len(packed) - packed.ids.count(photo))


class Guess(LanguageModel):
    """Finds the next token likeliest, or one that is always the same."""

    def __init__(self, tokenizer: Any, always: str = "") -> None:
        nn.Module.__init__(self)
        self.tokenizer = tokenizer
        self.always = tokenizer(f" {always}").input_ids[0] if always else None

    def embed(self, ids: Tensor) -> Tensor:
        return nn.functional.one_hot(ids, len(self.tokenizer)).float()

    def hidden(self, embeddings: Tensor, *_: Any) -> Tensor:
        return embeddings.roll(-1, 1)

    def logits(self, hidden: Tensor) -> Tensor:
        if self.always is not None:
            hidden = torch.zeros_like(hidden)
            hidden[..., self.always] = 1.0
        return hidden


def test_settings_said_again_are_counted(build: Any) -> None:
    tokenizer, dialogues = build.llm().tokenizer, Photoworld().load("dev", 20)
    assert settings_said_again(Guess(tokenizer), dialogues) == 1.0
    begin = {tokenizer(f" {name}").input_ids[0]: name for name in SETTINGS}  # each token once
    shares = [settings_said_again(Guess(tokenizer, n), dialogues) for n in begin.values()]
    assert sum(shares) == pytest.approx(1.0)


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
