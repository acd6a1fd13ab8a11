"""Parts that are loaded when they are needed, against those that were loaded at once."""

from __future__ import annotations

import gc
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from pscli.cli.app import loading
from pscli.components.late import Late
from pscli.components.noise import seeded
from pscli.config import changed
from pscli.dialogue.schema import Dialogue, Turn
from pscli.errors import CheckpointError
from pscli.photoworld.shipped import AGENT
from pscli.systems.agent import Agent

bundled = pytest.mark.skipif(
    not (AGENT / "agent_config.json").is_file(), reason="the bundled agent is not there"
)


class Brush(nn.Linear):
    def draw(self) -> str:
        return f"{self.weight.dtype} {self.training}"


def test_a_late_part_is_loaded_once_and_is_that_part_then() -> None:
    loaded: list[Brush] = []

    def load() -> Brush:
        loaded.append(Brush(2, 3))
        return loaded[-1]

    both = nn.ModuleDict({"late": Late(load), "other": Brush(1, 1)})
    both.eval().to(torch.float64)
    assert not list(both["late"].parameters()) and not loaded
    assert both["late"].draw() == "torch.float64 False"
    both.to(torch.float16).train()
    assert both["late"].draw() == "torch.float16 True"
    assert len(loaded) == 1 and isinstance(both["late"], Brush)
    assert torch.equal(both.state_dict()["late.weight"], loaded[0].weight)


def test_a_late_part_that_cannot_be_loaded_is_asked_for_again() -> None:
    tries: list[int] = []

    def load() -> Brush:
        tries.append(1)
        if len(tries) < 2:
            raise KeyboardInterrupt
        return Brush(2, 3)

    part = Late(load).to(torch.float64)
    with pytest.raises(KeyboardInterrupt):
        part.draw()
    assert part.draw() == "torch.float64 True"


@bundled
def test_an_agent_that_speaks_first_draws_the_same_and_tells_of_faults_then(tmp_path: Path) -> None:
    agent, at_once = (Agent.from_pretrained(device="cpu", words_first=w) for w in (True, False))
    assert isinstance(agent.system.generator, Late)
    assert not isinstance(at_once.system.generator, Late)
    first, second = (
        a.system.draw(["A red car at the beach."], [seeded(3)])[0] for a in (agent, at_once)
    )
    assert first == second
    assert not isinstance(agent.system.generator, Late)
    shutil.copytree(AGENT, tmp_path / "agent")
    (tmp_path / "agent/generator/model_index.json").write_text("no")
    broken = Agent.from_pretrained(tmp_path / "agent", device="cpu", words_first=True)
    broken.config = changed(broken.config, "sequence.share_bias", -1000.0)  # words alone
    assert broken.respond(Dialogue((Turn("A", "Hi!"),))).text
    with pytest.raises(CheckpointError, match=r"The generator in .* cannot be loaded"):
        broken.system.draw(["A red car."], [seeded(3)])


def test_the_collector_rests_while_libraries_load() -> None:
    seen = []

    def fails() -> None:
        with loading():
            seen.append(gc.isenabled())
            raise CheckpointError("no")

    with pytest.raises(CheckpointError):
        fails()
    assert seen == [False]
    assert gc.isenabled() and gc.get_freeze_count() > 0
    gc.unfreeze()


@bundled
def test_words_need_nothing_that_draws(tmp_path: Path) -> None:
    """Most of the seconds before the first word were those of libraries that it does not need."""
    (tmp_path / "talk.json").write_text('{"turns": [{"speaker": "A", "text": "Hi!"}]}')
    code = """if True:
        import gc, sys
        from pscli.cli import app
        app(["generate", "--context", "talk.json"], standalone_mode=False)
        assert gc.isenabled() and gc.get_freeze_count() > 100_000
        unseen = ("clip", "siglip", "blip_2.processing_blip_2")
        heavy = (
            "diffusers", "bitsandbytes", "peft", "scipy.stats", "torch._inductor.compile_fx",
            "matplotlib", "datasets", "sacrebleu", "nltk", "torch_fidelity", "sklearn",
            *(f"transformers.models.{name}" for name in unseen),
        )
        ours = [f"pscli.{n}" for n in ("training", "metrics", "report", "fetch", "plan")]
        sys.exit([name for name in (*heavy, *ours) if name in sys.modules] or 0)
    """
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
