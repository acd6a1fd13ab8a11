"""The row of an attribution that no joint training has touched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import torch
from attribution import UNTRAINED

from pscli.config import changed, tiny
from pscli.dialogue.schema import Dialogue
from pscli.runs import Run
from pscli.training.loop import train


def test_a_step_at_a_rate_of_zero_changes_no_weight(
    build: SimpleNamespace, random_dialogue: Callable[..., Dialogue], tmp_path: Path
) -> None:
    config = tiny("e2e")
    for setting in UNTRAINED:
        name, _, value = setting.partition("=")
        config = changed(config, name, value)
    system = build.end_to_end().freeze()
    before = {name: weight.clone() for name, weight in system.named_parameters()}
    dialogues = [random_dialogue(seed, photos=0.5) for seed in range(4)]
    steps: list[int] = []

    def evaluate(system: object, step: int) -> dict[str, float]:
        steps.append(step)
        return {}

    train(system, dialogues, config, Run(tmp_path), evaluate)
    assert steps == [1]
    for name, weight in system.named_parameters():
        assert torch.equal(weight, before[name]), name
