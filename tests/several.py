"""Runs of a tiny system by the processes of one launch: `torchrun tests/several.py CLIP WORK JOBS`.

Called in the test's own process, too, which is then the only one.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from accelerate.state import AcceleratorState
from transformers import CLIPTokenizer

import conftest
from pscli.config import Config, SequenceConfig, TrainConfig
from pscli.registry import find
from pscli.runs import Run
from pscli.training import experiment
from pscli.training.loop import train

RECIPE = TrainConfig(
    lr=1e-4, batch=3, micro_batch=1, warmup=2, epochs=2.0, tau_epochs=1.0, save_minutes=0.0,
    extractor="photoworld", monitor=("BLEU-2",),
)  # fmt: skip


# Small batches, so that each process answers some.
experiment.predict_together = functools.partial(experiment.predict_together, size=5)


def job(
    name: str, tools: SimpleNamespace, work: Path, count: int = 7, epochs: float = 2.0,
    bridge: str = "dvtm", **more: Any,
) -> None:  # fmt: skip
    """A run of `count` dialogues in the folder `name`, and the evaluations of it.

    Only the first two have photos, so that some processes see none, and batches are uneven.
    """
    recipe = dataclasses.replace(RECIPE, epochs=epochs)
    config = Config(sequence=SequenceConfig(120, 8), train=recipe)
    dialogues = [conftest.dialogue(i, photos=0.9 if i < 2 else 0.0) for i in range(count)]
    held_out = [conftest.dialogue(i) for i in range(20, 23)]
    run = Run(work / name)
    evaluation = experiment.Evaluation(run, config, held_out)
    evaluation.work = evaluation.work[:12]
    system = tools.end_to_end(find("bridge", bridge))
    train(system.freeze(), dialogues, config, run, evaluation, **more)


def tools(clip: str) -> SimpleNamespace:
    """Builders of parts. Args: clip: A tokenizer; training one numbers its tokens anew."""
    tokenizer = conftest.tokenizer.__wrapped__()
    return conftest.build.__wrapped__(tokenizer, CLIPTokenizer.from_pretrained(clip))


if __name__ == "__main__":
    for options in json.loads(sys.argv[3]):
        job(tools=tools(sys.argv[1]), work=Path(sys.argv[2]), **options)
        AcceleratorState._reset_state()  # as if launched anew
