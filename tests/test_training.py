"""The loop: exact resume after a kill, micro-batches, early stopping."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from pscli.cli import app
from pscli.config import Config, SequenceConfig, TrainConfig
from pscli.errors import CheckpointError, DataError, TrainingError
from pscli.files import append_line, write_json
from pscli.metrics.base import Score, Scored
from pscli.metrics.score import Scores
from pscli.photoworld.dataset import Photoworld
from pscli.report import sheet
from pscli.runs import Run
from pscli.systems.agent import Agent
from pscli.systems.base import System
from pscli.training import experiment, loop
from pscli.training.experiment import Evaluation, refuse_unanswerable
from pscli.training.loop import batch_of, share, train

RECIPE = TrainConfig(
    lr=1e-3, batch=4, micro_batch=4, warmup=2, epochs=2.0, tau_epochs=1.0, save_minutes=0.0
)


def config(**changes: Any) -> Config:
    pairs = {**RECIPE.__dict__, **changes}
    return Config(sequence=SequenceConfig(max_length=120), train=TrainConfig(**pairs))


def curve(run: Path) -> list[dict[str, float]]:
    """Losses of metrics.jsonl, without what depends on the clock."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "tokens_per_second"} for line in lines]


@pytest.fixture
def every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pscli.training.loop.GRADIENT_EVERY", 2)


@pytest.fixture
def dialogues(random_dialogue: Any) -> list[Any]:
    return [random_dialogue(i) for i in range(12)]


def scores(system: Any, step: int) -> dict[str, float]:
    return {"BLEU-2": 1.0, "FID": 1.0}


def killed(step: int, *arguments: Any) -> None:
    """`train`, killed in its step of this number, before the step is taken."""
    clip, calls = loop.clip, itertools.count()

    def failing(*arguments: Any) -> Any:
        if next(calls) == step:
            raise MemoryError("killed")
        return clip(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "clip", failing)
        with pytest.raises(MemoryError):
            train(*arguments)


@pytest.mark.usefixtures("every_step")
def test_a_killed_run_goes_on_bit_for_bit(
    build: SimpleNamespace, dialogues: list[Any], tmp_path: Path
) -> None:
    """Oracle: the run that was never interrupted."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(build.end_to_end(), dialogues, config(), Run(whole), scores)

    # In the middle of the second epoch.
    killed(4, build.end_to_end(), dialogues, config(), Run(broken), scores)
    assert len(curve(broken)) == 4
    train(build.end_to_end(), dialogues, config(), Run(broken), scores, resume=True)
    assert curve(broken) == curve(whole)
    assert len(curve(whole)) >= 6


@pytest.mark.usefixtures("every_step")
def test_micro_batches_trace_the_same_curve(
    build: SimpleNamespace, dialogues: list[Any], tmp_path: Path
) -> None:
    """A small rate: sums in another order round otherwise, and AdamW divides by what is nearly
    zero at first, so that a rate of 1e-3 turns 1e-7 into 2e-5 of a loss of 6 in eight steps."""
    curves = []
    for size in (1, 2, 4):
        run = tmp_path / str(size)
        train(build.end_to_end(), dialogues, config(micro_batch=size, lr=1e-4), Run(run), scores)
        curves.append(curve(run))
    for other in curves[:2]:
        for a, b in zip(other, curves[2], strict=True):
            assert a == pytest.approx(b, rel=1e-3, abs=1e-5)
            for name in ("loss", "text", "image"):
                assert name not in a or a[name] == pytest.approx(b[name], abs=1e-5)


def test_every_dialogue_is_seen_once_per_epoch() -> None:
    for epoch in range(3):
        rows = [i for part in range(3) for i in batch_of(10, 4, epoch * 3 + part, seed=0)]
        assert sorted(rows) == list(range(10))
    assert batch_of(10, 4, 0, 0) != batch_of(10, 4, 3, 0)


def test_it_stops_when_nothing_improves(
    build: SimpleNamespace, dialogues: list[Any], tmp_path: Path
) -> None:
    history = train(
        build.end_to_end(),
        dialogues,
        config(epochs=9.0, patience=2, lr=0.0),
        Run(tmp_path),
        scores,
    )
    assert len(history) == 3  # one to compare with, and two that were no better


def test_the_gradient_from_the_image_loss_is_logged(
    build: SimpleNamespace, dialogues: list[Any], tmp_path: Path
) -> None:
    from pscli.components.bridge import none

    train(build.end_to_end(), dialogues, config(epochs=0.4), Run(tmp_path / "dvtm"), scores)
    train(
        build.end_to_end(bridge=none), dialogues, config(epochs=0.4), Run(tmp_path / "none"), scores
    )
    assert curve(tmp_path / "dvtm")[0]["grad_llm_from_image"] > 0
    assert curve(tmp_path / "none")[0]["grad_llm_from_image"] == 0


INTERRUPTED = """
import json, os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import conftest, test_training, pscli.training.loop as loop
from pscli.runs import Run
tokenizer = conftest.tokenizer.__wrapped__()
build = conftest.build.__wrapped__(tokenizer, conftest.clip_tokenizer.__wrapped__())
clip = loop.clip
def interrupted(*arguments):
    os.kill(os.getpid(), signal.{signal})
    return clip(*arguments)
loop.clip = interrupted
dialogues = [conftest.dialogue(i) for i in range(12)]
config = test_training.config(save_minutes=99.0)
loop.train(build.end_to_end(), dialogues, config, Run(Path({run!r})), test_training.scores)
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_ctrl_c_finishes_the_step_and_saves_it(tmp_path: Path, name: str) -> None:
    program = INTERRUPTED.format(
        tests=str(Path(__file__).parent), run=str(tmp_path / "run"), signal=name
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=dict(os.environ)
    )
    assert done.returncode in (130, 1, -signal.SIGINT), done.stderr
    assert "Stopping after this step" in done.stderr
    assert "Go on with --resume" in done.stderr
    assert [p.name for p in (tmp_path / "run" / "checkpoints").glob("step-*")] == ["step-00000001"]


# -- what must not be lost, run or learnt --------------------------------------------------------


def test_a_loss_that_is_no_number_changes_nothing(
    build: SimpleNamespace, dialogues: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = build.end_to_end()
    good = train(system, dialogues, config(epochs=0.4), Run(tmp_path), scores)
    kept = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
    before = {n: p.detach().clone() for n, p in system.named_parameters()}
    losses = system.generator.losses
    monkeypatch.setattr(system.generator, "losses", lambda *a, **k: losses(*a, **k) * float("nan"))
    with pytest.raises(TrainingError) as caught:
        train(system, dialogues, config(epochs=3.0), Run(tmp_path), scores, resume=True)
    assert str(caught.value).startswith(f"Step {good[-1]['step'] + 1}: L^v is nan")
    assert "step-00000002 is kept" in str(caught.value)
    assert all(torch.equal(p, before[n]) for n, p in system.named_parameters())
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == kept


def test_other_data_are_refused(
    build: SimpleNamespace, dialogues: list[Any], tmp_path: Path
) -> None:
    train(build.end_to_end(), dialogues, config(epochs=0.4), Run(tmp_path), scores)
    with pytest.raises(CheckpointError, match="it was trained on other dialogues"):
        train(build.end_to_end(), dialogues[1:], config(), Run(tmp_path), scores, resume=True)


def test_a_run_that_stopped_early_trains_no_step_more(
    build: SimpleNamespace, dialogues: list[Any], tmp_path: Path
) -> None:
    patient = config(epochs=9.0, patience=1, lr=0.0)
    history = train(build.end_to_end(), dialogues, patient, Run(tmp_path), scores)
    lines = curve(tmp_path)
    again = train(build.end_to_end(), dialogues, patient, Run(tmp_path), scores, resume=True)
    assert (again, curve(tmp_path)) == (history, lines)


def test_it_trains_in_training_mode_and_dropout_is_seeded(
    build: SimpleNamespace, dialogues: list[Any], tmp_path: Path
) -> None:
    """Oracle: the run that was never interrupted, with dropout in the Q-Former."""

    def dropping() -> Any:
        system = build.end_to_end().freeze()
        for module in system.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.2
        return system

    modes = []

    def watched(system: Any, step: int) -> dict[str, float]:
        modes.append((system.training, system.perceptron.qformer.training))
        modes.append((system.generator.vae.training, system.perceptron.vision.training))
        system.eval()  # as an evaluation does
        return {"BLEU-2": float(step), "FID": 1.0}

    whole, halves = tmp_path / "whole", tmp_path / "halves"
    train(dropping(), dialogues, config(), Run(whole), watched)
    assert set(modes[::2]) == {(True, True)} and set(modes[1::2]) == {(False, False)}
    for epochs in (1.0, 2.0):
        cut = config(epochs=epochs)
        train(dropping(), dialogues, cut, Run(halves), watched, resume=epochs > 1)
    assert curve(halves) == curve(whole)
    without = build.end_to_end().freeze()
    train(without, dialogues, config(), Run(tmp_path / "without"), scores)
    assert curve(tmp_path / "without")[0]["text"] != curve(whole)[0]["text"]  # dropout counts


@pytest.mark.parametrize(
    ("length", "ranks", "size", "expected"),
    [
        (4, 1, 2, [[[0, 1], [2, 3]]]),
        (5, 2, 2, [[[0, 2], [4]], [[1, 3], [-0]]]),  # a repeated one has weight 0
        (1, 3, 2, [[[0]], [[0]], [[0]]]),
    ],
)
def test_every_process_has_as_many_micro_batches(
    length: int, ranks: int, size: int, expected: list[Any]
) -> None:
    """Hand counts."""
    batch: list[Any] = list(range(length))
    shares = [share(batch, rank, ranks, size) for rank in range(ranks)]
    assert [[list(part) for part, _ in mine] for mine in shares] == expected
    weighed = [i for mine in shares for part, weight in mine if weight for i in part]
    assert sorted(weighed) == batch


def test_a_run_that_is_training_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    few = ["--preset", "demo", "--set", "train.dialogues=2", "--set", "train.eval_dialogues=1"]
    append_line(Path("r/metrics.jsonl"), {"step": 3})
    write_json(Path("r/config.json"), Config().to_json())
    with Run(Path("r")).lock():
        refused = CliRunner().invoke(app, ["train-e2e", "--run", "r", "--overwrite", *few])
    assert refused.exit_code == 2 and "Another process is training in r." in refused.stderr
    assert Run(Path("r")).metrics == [{"step": 3}]


@pytest.mark.parametrize(
    ("setting", "why"),
    [
        ("train.optimizer=adamw-8bit", "train.optimizer=adamw-8bit needs bitsandbytes"),
        ("sequence.max_length=4096", "The LLM reads 512 tokens at most"),
    ],
)
def test_a_run_that_is_refused_leaves_all_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, why: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", None)
    append_line(Path("r/metrics.jsonl"), {"step": 3})
    write_json(Path("r/config.json"), Config().to_json())
    few = ["--set", "train.dialogues=1", "--set", "train.eval_dialogues=1", "--set", setting]
    for run in (["r", "--overwrite"], ["new"]):
        refused = CliRunner().invoke(app, ["train-e2e", "--preset", "demo", *few, "--run", *run])
        assert refused.exit_code == 2 and f"Error: {why}" in refused.stderr, refused.output
    assert Run(Path("r")).metrics == [{"step": 3}]
    assert not Path("new").exists()


def test_a_dev_split_in_which_nobody_replies_is_refused() -> None:
    """As one of a dataset of one's own may be; those in files are refused when they are read."""
    with pytest.raises(DataError, match="answer in mine dev: no dialogue has a second response"):
        refuse_unanswerable([], "mine", System)


def test_the_best_agent_gives_way_to_none_without_what_is_monitored(
    build: SimpleNamespace, dialogues: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = config(extractor="photoworld", monitor=("BLEU-2", "-FID"))
    run = Run.start(tmp_path / "r", recipe)
    evaluation = Evaluation(run, recipe, dialogues[:1])
    evaluation.work = evaluation.work[:1]
    run.agent.mkdir()
    kept: list[Any] = []
    monkeypatch.setattr(Agent, "save_pretrained", lambda *_, scores: kept.append(scores))
    system = build.end_to_end()
    run.log(step=0, loss=1.0)
    for step, found in enumerate([{"BLEU-2": 3.0}, {"FID": 9.0}, {}, {"BLEU-2": 4.0}]):
        overall = Scored(tuple(Score(name, value, 1, "", None) for name, value in found.items()))
        scored = Scores(1, overall)
        monkeypatch.setattr(experiment, "score_folder", lambda *_, scored=scored, **how: scored)
        run.log(step=step, **evaluation(system, step))
    assert kept == [{"BLEU-2": 3.0}, {"BLEU-2": 4.0}]


def test_dialogues_are_loaded_once_however_often_they_are_answered(
    build: SimpleNamespace, dialogues: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Photoworld, "load", lambda *_, **__: pytest.fail("loaded again"))
    before: list[int] = []
    whole = sheet.exchange
    monkeypatch.setattr(
        sheet, "exchange", lambda said, *rest: before.append(len(said)) or whole(said, *rest)
    )
    recipe = config(extractor="photoworld", monitor=("BLEU-2",))
    run = Run.start(tmp_path / "r", recipe)
    append_line(run.folder / "metrics.jsonl", {"step": 0, "loss": 1.0})
    evaluation = Evaluation(run, recipe, dialogues[:2])
    evaluation.work = evaluation.work[:2]
    assert "BLEU-2" in evaluation(build.end_to_end(), 1)
    assert before == [1]
