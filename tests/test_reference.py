"""The generator as it was before training, by which `score-function` compares captions."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from pscli.components.bridge import dvtm
from pscli.components.estimators import score_function
from pscli.config import Config, ModelConfig, changed, tiny
from pscli.plan.estimate import estimate
from pscli.runs import Run
from pscli.systems.agent import Agent
from pscli.systems.end_to_end import EndToEnd
from pscli.training.loop import train
from test_training import config, curve, killed

ALONE = ("perceptron.vision.", "generator.")  # what stays, so that the generator does not train


@pytest.fixture
def trained(build: SimpleNamespace, random_dialogue: Any, tmp_path: Path) -> Any:
    """Trains a system for six steps. Args: frozen: As `freeze`; reference: As the setting."""
    dialogues = [random_dialogue(i) for i in range(12)]

    def run(name: str, frozen: Any = None, reference: bool = True) -> EndToEnd:
        system = build.end_to_end(score_function)
        system.bridge_reference = reference
        train(system.freeze(frozen), dialogues, config(), Run(tmp_path / name), lambda *_: {})
        return system  # type: ignore[no-any-return]

    return run


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_the_llm_learns_as_from_a_generator_that_does_not_train(trained: Any) -> None:
    """Oracle: the run in which it does not. Judged by what trains, the LLM takes another way."""
    both, frozen = trained("both"), trained("frozen", ALONE)
    assert same(both.llm, frozen.llm) and same(both.perceptron, frozen.perceptron)
    assert not same(both.generator, frozen.generator)
    assert same(both.reference, frozen.generator) and frozen.reference is None
    assert not same(trained("judged by itself", reference=False).llm, both.llm)


def test_a_killed_run_goes_on_with_the_generator_of_its_beginning(
    build: SimpleNamespace, random_dialogue: Any, tmp_path: Path
) -> None:
    """Oracle: the run that was never interrupted."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    dialogues = [random_dialogue(i) for i in range(12)]

    def about(run: Path) -> tuple[Any, ...]:
        system = build.end_to_end(score_function).freeze()
        return system, dialogues, config(), Run(run), lambda *_: {}

    train(*about(whole))
    killed(4, *about(broken))
    train(*about(broken), resume=True)
    assert curve(broken) == curve(whole)


def test_what_does_not_train_is_not_copied(build: SimpleNamespace) -> None:
    system = build.end_to_end(score_function).freeze()
    system.before_training()
    generator, reference = system.generator, system.reference
    own = {id(weight) for weight in generator.parameters()}
    assert all(id(weight) in own for weight in reference.vae.parameters())
    assert not any(id(weight) in own for weight in reference.unet.parameters())
    assert not any(weight.requires_grad for weight in reference.parameters())
    assert all(weight.requires_grad for weight in generator.unet.parameters())


def test_nobody_else_keeps_one(build: SimpleNamespace) -> None:
    for system in (
        build.end_to_end(dvtm).freeze(), build.end_to_end(score_function).freeze(ALONE),
    ):  # fmt: skip
        system.before_training()
        assert system.reference is None and "reference" not in system.parts()
    system = build.end_to_end(score_function).freeze()
    system.bridge_reference = False
    system.before_training()
    assert system.reference is None and ModelConfig().bridge_reference


def test_the_agent_is_saved_without_it(build: SimpleNamespace, tmp_path: Path) -> None:
    system = build.end_to_end(score_function).freeze()
    system.before_training()
    Agent(system, Config()).save_pretrained(tmp_path / "agent")
    folders = {path.name for path in (tmp_path / "agent").iterdir() if path.is_dir()}
    assert folders == {"generator", "llm", "perceptron"}


def test_a_plan_counts_what_is_copied() -> None:
    """Oracle: the weights of the generator that train, once more, frozen."""
    asked = changed(tiny(), "model.bridge", "score-function")
    without = changed(asked, "model.bridge_reference", False)
    rows = [{c.name: c for c in estimate(how, roughly=True).components} for how in (asked, without)]
    more = {name: c for name, c in rows[0].items() if name not in rows[1]}
    assert {name.partition(".")[0] for name in more} == {"reference"}
    assert sum(c.trained for c in more.values()) == 0
    drawing = [c.trained for name, c in rows[1].items() if name.startswith("generator.")]
    assert sum(c.frozen for c in more.values()) == sum(drawing) > 0
