"""The loop by hand: a system of two numbers, of which every loss and gradient is known.

In every GRADIENT_EVERY-th step, the first one among them, micro-batches are gone through twice.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from torch import nn

from pscli.components.noise import seeded
from pscli.config import Config, TrainConfig
from pscli.dialogue.batch import Batch
from pscli.dialogue.sequence import CaptionSpan, Packed
from pscli.errors import CheckpointError, ConfigError, DataError, TrainingError
from pscli.runs import Run
from pscli.systems.base import Losses
from pscli.training import loop
from pscli.training.checkpoint import data_digest
from pscli.training.loop import batch_of, share, train

RECIPE = TrainConfig(
    lr=0.1, weight_decay=0.5, batch=3, micro_batch=3, warmup=2, epochs=1.0, tau_start=0.8,
    tau_end=0.008, tau_epochs=2.0, alpha=0.5, max_grad_norm=1.5, patience=0, save_minutes=99.0,
)  # fmt: skip
CONFIG = Config(seed=7, train=RECIPE)


def sequence(*labels: int, photos: int = 0) -> Packed:
    """A sequence of these labels."""
    spans = [CaptionSpan(None, 0, 1, str(i)) for i in range(photos)]  # type: ignore[arg-type]
    packed = Packed(captions=spans)
    packed.append([abs(label) for label in labels], [label >= 0 for label in labels], 0)
    return packed


# Four supervised tokens whose labels sum to 10, and three photos.
DATA = [sequence(-1, 2, photos=2), sequence(-1, 0, 3), sequence(5, photos=1)]


class Line(nn.Module):
    """L^t is w a label, L^v is w + 4 v a photo; w = 2 is the LLM and v = 3 the generator."""

    speaks = True

    def __init__(self) -> None:
        super().__init__()
        self.llm, self.generator = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
        self.frozen = nn.Linear(1, 1).requires_grad_(False)
        nn.init.constant_(self.llm.weight, 2.0)
        nn.init.constant_(self.generator.weight, 3.0)
        self.calls: list[SimpleNamespace] = []
        self.prepared: list[Batch] = []
        self.begun: list[float] = []

    def before_training(self) -> None:
        self.begun += self.weights

    def template(self, max_length: int) -> Any:
        def pack(dialogue: Packed | None, drop: Callable[[str, str], None]) -> list[Packed]:
            if dialogue is None:
                drop(f"dialogue {max_length}", "a dialogue in which nobody replies")
            return [] if dialogue is None else [dialogue]

        return SimpleNamespace(tokenizer=SimpleNamespace(pad_token_id=9), pack=pack)

    def prepare(self, batch: Batch) -> Batch:
        self.prepared.append(batch)
        return batch

    def forward(self, batch: Batch, tau: float, seed: str) -> Losses:
        assert batch is self.prepared[-1]
        drawn = torch.initial_seed()
        self.calls.append(
            SimpleNamespace(
                ids=batch.ids.tolist(), tau=tau, seed=seed, drawn=drawn, training=self.training
            )
        )
        w, v = self.llm.weight.sum(), self.generator.weight.sum()
        labels = batch.labels.clamp(min=0).sum()
        return Losses(w * labels, (w + 4 * v) * len(batch.captions))

    @property
    def weights(self) -> list[float]:
        return [self.llm.weight.item(), self.generator.weight.item()]


class Alone(Accelerator):
    """One process that takes itself for one of several."""

    def __init__(self, rank: int = 0, ranks: int = 1) -> None:
        super().__init__(cpu=True)
        self.place = (rank, ranks)
        self.unsynced: list[int] = []

    is_main_process = property(lambda self: self.place[0] == 0)
    process_index = property(lambda self: self.place[0])
    num_processes = property(lambda self: self.place[1])

    @contextmanager
    def no_sync(self, model: nn.Module) -> Iterator[None]:
        assert isinstance(model, Line)
        self.unsynced.append(len(model.calls))
        yield

    def reduce(self, tensor: Any, reduction: str = "mean", scale: float = 1.0) -> Any:
        assert reduction == "sum"
        return tensor


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Time passes while a system computes its losses: `seconds` each."""
    time = SimpleNamespace(now=100.0, seconds=2.0)
    forward = Line.forward

    def slow(self: Line, *args: Any) -> Losses:
        time.now += time.seconds
        return forward(self, *args)

    monkeypatch.setattr(Line, "forward", slow)
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: time.now))
    return time


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []
    monkeypatch.setattr("pscli.console.note", said.append)
    return said


def config(**changes: Any) -> Config:
    return replace(CONFIG, train=replace(RECIPE, **changes))


def scores(system: Any, step: int) -> dict[str, float]:
    system.eval()  # as evaluations do
    return {"BLEU-2": 10.0 * step}


def trained(
    folder: Path, data: Any = DATA, settings: Config = CONFIG, **options: Any
) -> tuple[Line, list[dict[str, float]]]:
    """A system after its training, and the lines of its metrics."""
    system = options.pop("system", None) or Line().eval()  # as parts are loaded
    evaluate = options.pop("evaluate", scores)
    train(system, data, settings, Run(folder), evaluate, **options)  # type: ignore[arg-type]
    return system, logged(folder)


def logged(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def steps(lines: list[dict[str, float]]) -> list[dict[str, float]]:
    return [line for line in lines if "loss" in line]


def saved(folder: Path) -> list[str]:
    return [path.name[-1] for path in (folder / "checkpoints").glob("step-*")]


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("micro", [1, 2, 3])
def test_one_step_by_hand(tmp_path: Path, micro: int) -> None:
    """L^t = 2 · 10 / 4 a token and L^v = (2 + 4 · 3) a photo, however they are cut.

    dL/dw = 10/4 + 0.5 · 1 and dL/dv = 0.5 · 4: each is clipped to 1.5 by its own norm. AdamW's
    first step is the rate (half of 0.1: warm-up) against the sign, after decay by 0.5 of it.
    """
    system, (line, evaluated) = trained(tmp_path, settings=config(micro_batch=micro))
    seconds = {1: 12, 2: 8, 3: 4}[micro]  # two each, and twice
    assert line == pytest.approx(
        {
            "step": 0, "epoch": 0, "tau": 0.8, "lr": 0.05, "loss": 5 + 0.5 * 14, "text": 5,
            "image": 14, "tokens_per_second": 4 / seconds, "grad_llm": 3, "grad_generator": 2,
            "grad_llm_from_image": 1,
        }
    )  # fmt: skip
    assert evaluated == {"step": 0, "BLEU-2": 10.0}
    decayed = 1 - 0.05 * 0.5
    assert system.weights == pytest.approx([2 * decayed - 0.05, 3 * decayed - 0.05], abs=1e-6)
    folder = tmp_path / "checkpoints" / "step-00000001"
    moments = load_file(folder / "moments.safetensors")
    assert float(moments["llm.weight|exp_avg"]) == pytest.approx(0.1 * 1.5, rel=1e-5)
    assert float(moments["generator.weight|exp_avg"]) == pytest.approx(0.1 * 1.5, rel=1e-5)
    assert set(load_file(folder / "weights.safetensors")) == {"llm.weight", "generator.weight"}
    state = json.loads((folder / "state.json").read_text())
    history = [{"step": 1, "BLEU-2": 10.0}]
    spent = {"step": 1, "seconds": seconds}
    assert state == {**spent, "history": history, "data": data_digest(DATA)}


def test_gradients_below_the_limit_are_left_alone(tmp_path: Path) -> None:
    trained(tmp_path, settings=config(max_grad_norm=2.5))
    moments = load_file(tmp_path / "checkpoints" / "step-00000001" / "moments.safetensors")
    assert float(moments["llm.weight|exp_avg"]) == pytest.approx(0.25, rel=1e-5)
    assert float(moments["generator.weight|exp_avg"]) == pytest.approx(0.2)


def test_batches_without_a_photo_or_a_token_and_with_one(tmp_path: Path) -> None:
    """In the order of the seed; w stays 2 and v 3, as the rate is 0."""
    data = [sequence(-1, -1, photos=1), sequence(-1, 7), sequence(-1, -1)]
    system, lines = trained(tmp_path, data, config(batch=1, lr=0.0))
    found = [
        (call.ids, x["text"], x["image"]) for call, x in zip(system.calls[1:], lines, strict=False)
    ]
    assert sorted(found) == [([[1, 1]], 0, 0), ([[1, 1]], 0, 14), ([[1, 7]], 14, 0)]


def test_micro_batches_hold_sequences_of_a_length_padded(tmp_path: Path) -> None:
    accelerator = Alone()
    system, _ = trained(tmp_path / "2", settings=config(micro_batch=2), accelerator=accelerator)
    assert [call.ids for call in system.calls] == [[[5, 9], [1, 2]], [[1, 0, 3]]] * 2
    assert accelerator.unsynced == [0, 2]  # all but the last wait with the exchange of gradients
    drawn = [seeded("7/0", 0, 0, number).initial_seed() for number in (0, 1)] * 2
    assert [call.drawn for call in system.calls] == drawn
    accelerator = Alone()
    trained(tmp_path / "1", settings=config(micro_batch=1), accelerator=accelerator)
    assert accelerator.unsynced == [0, 1, 3, 4]


def test_schedules_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two steps an epoch: τ falls by 10 an epoch; the rate rises for two steps and falls to 0."""
    monkeypatch.setattr(loop, "GRADIENT_EVERY", 2)
    bars: list[Any] = []
    told: list[dict[str, float]] = []

    @contextmanager
    def bar(*args: Any) -> Iterator[Callable[[dict[str, float]], None]]:
        bars.append(args)
        yield told.append

    monkeypatch.setattr("pscli.console.training_bar", bar)
    settings = config(batch=2, epochs=2.5, decay=True, evaluations_per_epoch=1.0)
    system, lines = trained(tmp_path, settings=settings)
    tau = [0.8 * 10**-epoch for epoch in (0, 0.5, 1, 1.5, 2)]
    assert [line["epoch"] for line in steps(lines)] == [0, 0.5, 1, 1.5, 2]
    assert [line["tau"] for line in steps(lines)] == pytest.approx(tau)
    order = [0, 0, 1, 2, 2, 3, 4, 4]  # steps of the calls
    assert [call.tau for call in system.calls] == pytest.approx([tau[step] for step in order])
    rates = [0.5, 0.8, 0.6, 0.4, 0.2]
    assert [line["lr"] for line in steps(lines)] == pytest.approx([0.1 * r for r in rates])
    assert [call.seed for call in system.calls] == [f"7/{step // 2}" for step in order]
    drawn = [seeded(f"7/{step // 2}", step, 0, 0).initial_seed() for step in order]
    assert [call.drawn for call in system.calls] == drawn
    found = [line.get("grad_llm_from_image") for line in steps(lines)]
    assert found == [1, None, 1, None, 1]  # a photo each
    assert [line["step"] for line in lines if "loss" not in line] == [1, 3, 4]
    assert [line["BLEU-2"] for line in lines if "loss" not in line] == [20, 40, 50]
    assert all(call.training for call in system.calls)
    assert (bars, told) == ([(5, 0, True)], steps(lines))
    assert [len(call.ids) for call in system.calls] == [1 if step % 2 else 2 for step in order]
    for step, call in zip(order, system.calls, strict=True):
        rows = torch.randperm(3, generator=seeded(7, "order", step // 2)).tolist()
        some = rows[:2] if step % 2 == 0 else rows[2:]
        firsts = [DATA[i].ids[0] for i in sorted(some, key=lambda i: len(DATA[i]))]
        assert [row[0] for row in call.ids] == firsts
    assert batch_of(3, 2, 1, 7) == torch.randperm(3, generator=seeded(7, "order", 0)).tolist()[2:]


def test_there_is_a_step_at_least_and_an_evaluation_at_most_a_step(tmp_path: Path) -> None:
    _, lines = trained(tmp_path / "short", settings=config(epochs=0.1))
    assert len(steps(lines)) == 1
    settings = config(batch=1, evaluations_per_epoch=50.0)
    _, lines = trained(tmp_path / "often", settings=settings)
    assert [line["step"] for line in lines if "BLEU-2" in line] == [0, 1, 2]


@pytest.mark.parametrize(("seconds", "kept"), [(61.0, [1, 2, 3]), (60.0, [1, 3]), (30.0, [2])])
def test_the_state_is_saved_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Any, seconds: float, kept: list[int]
) -> None:
    """Once more than a minute has gone since the last time, and after the last of four steps."""
    clock.seconds = seconds
    found: list[int] = []
    whole = loop.save_checkpoint
    monkeypatch.setattr(
        loop, "save_checkpoint", lambda *args: (found.append(args[3]["step"]), whole(*args))
    )
    data = [*DATA, sequence(4)]
    trained(tmp_path, data, config(batch=1, save_minutes=1.0))
    assert (found, saved(tmp_path)) == ([*kept, 4], ["4"])


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("at", [2, 4])
def test_a_run_that_died_in_an_evaluation_goes_on_to_the_digit(tmp_path: Path, at: int) -> None:
    """Oracle: the run that was never stopped."""

    def dies(system: Any, step: int) -> dict[str, float]:
        if step == at:
            raise MemoryError
        return scores(system, step)

    settings = config(batch=2, epochs=2.0)
    whole, lines = trained(tmp_path / "whole", settings=settings)
    with pytest.raises(MemoryError):
        trained(tmp_path / "died", settings=settings, evaluate=dies)
    again, found = trained(tmp_path / "died", settings=settings, resume=True)
    assert (found, again.weights) == (lines, whole.weights)
    assert whole.begun == again.begun == [2.0, 3.0]  # once, with the weights of the beginning
    assert len(again.calls) == {2: 5, 4: 2}[at]
    with pytest.raises(CheckpointError, match="on other dialogues"):
        trained(tmp_path / "died", DATA[1:], settings, resume=True)
    anew, found = trained(tmp_path / "died", settings=settings)  # not resumed: from the beginning
    assert (found, len(anew.calls)) == (lines, 5)


def test_a_finished_run_is_not_trained_any_further(tmp_path: Path) -> None:
    history = [{"step": 1, "BLEU-2": 10.0}]
    for resume in (False, True):
        system = Line()
        found = train(system, DATA, CONFIG, Run(tmp_path), scores, resume=resume)  # type: ignore
        assert (found, len(system.calls)) == (history, 0 if resume else 2)
    (tmp_path / "checkpoints" / "step-00000001" / "state.json").write_text('{"step": 1}')
    assert train(Line(), DATA, CONFIG, Run(tmp_path), scores, resume=True) == []  # type: ignore


def test_it_stops_when_patience_ends(tmp_path: Path) -> None:
    _, lines = trained(
        tmp_path, settings=config(epochs=9.0, patience=2), evaluate=lambda *_: {"BLEU-2": 1.0}
    )
    assert len(steps(lines)) == 3


@pytest.mark.usefixtures("clock")
def test_one_of_two_processes_by_hand(tmp_path: Path, notes: list[str]) -> None:
    """Of C, A, B, by length, the first takes C and B, the second A, and A's place again for none.

    Losses are shares of the whole; the gradients are twice as large, as DDP takes their mean.
    """
    first, lines = trained(tmp_path / "0", settings=config(micro_batch=1), accelerator=Alone(0, 2))
    assert [call.ids for call in first.calls] == [[[5]], [[1, 0, 3]]] * 2
    assert [share(DATA, rank, 2, 1) for rank in (0, 1)] == [
        [([DATA[0]], 1.0), ([DATA[2]], 1.0)], [([DATA[1]], 1.0), ([DATA[0]], 0.0)],
    ]  # fmt: skip
    assert (lines[0]["text"], lines[0]["image"]) == pytest.approx((2 * 8 / 4, 14 / 3))
    assert lines[0]["grad_llm"] == pytest.approx(2 * (8 / 4 + 0.5 / 3))
    assert lines[0]["grad_generator"] == pytest.approx(2 * 0.5 * 4 / 3)
    assert lines[0]["grad_llm_from_image"] == pytest.approx(2 / 3)
    notes.clear()
    second, run = Line(), Run(tmp_path / "1")
    options: Any = {"accelerator": Alone(1, 2)}
    data: Any = [*DATA, None]
    history = train(second, data, config(micro_batch=1), run, scores, **options)  # type: ignore
    assert [call.ids for call in second.calls] == [[[1, 2]], [[5]]] * 2
    drawn = [seeded("7/0", 0, 1, number).initial_seed() for number in (0, 1)] * 2
    assert [call.drawn for call in second.calls] == drawn
    assert history == [{"step": 1, "BLEU-2": 10.0}]  # the first one logs, saves and speaks
    assert not run.folder.exists() and not notes


def test_what_is_left_out_is_told(tmp_path: Path, notes: list[str]) -> None:
    trained(tmp_path, [None, *DATA])
    left = "1 × a dialogue in which nobody replies, first in dialogue 400"
    assert notes[0] == f"Left out: {left}."


def test_nothing_to_learn_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        trained(tmp_path, [None], begin=lambda: (tmp_path / "config.json").touch())
    assert str(caught.value) == (
        "There is nothing to learn: no dialogue has a response that fits. See `pscli stats`, or "
        "raise sequence.max_length."
    )
    assert not list(tmp_path.iterdir())


def test_the_first_process_of_a_new_run_begins_its_folder(tmp_path: Path) -> None:
    begun: list[Any] = []
    for options in ({}, {"resume": True}, {"accelerator": Alone(1, 2)}):
        how: Any = {**options, "begin": lambda options=options: begun.append(options)}
        train(Line(), DATA, CONFIG, Run(tmp_path), scores, **how)  # type: ignore[arg-type]
    assert begun == [{}]


def test_an_interrupted_run_is_saved_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, notes: list[str]
) -> None:
    asked = iter([False, True])

    @contextmanager
    def interruptible() -> Iterator[Callable[[], bool]]:
        yield lambda: next(asked)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "interruptible", interruptible)
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path, settings=config(batch=1))
    assert (len(steps(logged(tmp_path))), saved(tmp_path)) == (2, ["2"])
    assert notes[-1] == "Stopped after step 2 of 3. Go on with --resume."
    system, lines = trained(tmp_path, settings=config(batch=1), resume=True)
    assert (len(system.calls), len(steps(lines))) == (1, 3)


class Broken(Line):
    """After a number of steps, losses or the gradient of the generator are no number."""

    def __init__(self, what: str, after: int) -> None:
        super().__init__()
        self.what, self.after = what, after

    def forward(self, batch: Batch, tau: float, seed: str) -> Losses:
        losses = super().forward(batch, tau, seed)
        if len(self.calls) <= 2 * self.after:
            return losses
        v = self.generator.weight.sum()
        text, image = (torch.nan if name in self.what else 0.0 for name in ("L^t", "L^v"))
        flat = (v - v).abs().sqrt() if "grad" in self.what else 0.0  # 0, without a gradient
        return Losses(losses.text + text, losses.image + image + flat)


@pytest.mark.parametrize("what", ["L^t", "L^v", "L^t is nan, L^v", "grad_generator"])
@pytest.mark.parametrize("after", [0, 1])
def test_what_is_no_number_changes_nothing(tmp_path: Path, what: str, after: int) -> None:
    system = Broken(what, after)
    settings = config(epochs=2.0)
    kept = tmp_path / "checkpoints" / "step-00000001"
    with pytest.raises(TrainingError) as caught:
        trained(tmp_path, settings=settings, system=system)
    assert str(caught.value) == (
        f"Step {after + 1}: {what} is nan. The weights of the step before were not changed"
        f"{f'; {kept} is kept' if after else ''}. Train with a lower rate, such as --set "
        "train.lr=1e-5, or a longer train.warmup."
    )
    assert len(steps(logged(tmp_path))) == after
    if not after:
        assert system.weights == [2, 3]


@pytest.mark.parametrize(("precision", "again"), [("no", False), ("bf16", True)])
def test_what_the_loop_asks_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str, again: bool
) -> None:
    asked: list[Any] = []

    def accelerator(cpu: bool, mixed_precision: str, kwargs_handlers: list[Any]) -> Accelerator:
        unused = [handler.find_unused_parameters for handler in kwargs_handlers]
        asked.append((cpu, mixed_precision, unused))
        return Alone()

    monkeypatch.setattr(loop, "Accelerator", accelerator)
    monkeypatch.setattr(loop, "keep_freed_memory", lambda: asked.append("memory"))
    monkeypatch.setattr(Line, "recompute", lambda self: asked.append("again"), raising=False)
    trained(tmp_path, settings=config(precision=precision, checkpointing=again))
    cpu = not torch.accelerator.is_available()
    assert asked == ["memory", (cpu, precision, [True]), *["again"] * again]


def test_photos_that_nobody_can_see_are_counted(tmp_path: Path) -> None:
    """In every step of a run that has some, by hand."""
    data = [replace(packed, described=count) for packed, count in zip(DATA, (2, 0, 1), strict=True)]
    _, lines = trained(tmp_path / "some", data, config(batch=2))
    order = torch.randperm(3, generator=seeded(7, "order", 0)).tolist()
    counts = [data[i].described for i in order]
    assert [line["described"] for line in steps(lines)] == [counts[0] + counts[1], counts[2]]
    _, lines = trained(tmp_path / "none")
    assert not any("described" in line for line in lines)


def test_the_generator_may_learn_at_a_rate_of_its_own(tmp_path: Path) -> None:
    """By hand: half of both rates in the first step, and as much of weight decay."""
    system, lines = trained(tmp_path, settings=config(generator_lr=0.02))
    assert system.weights == pytest.approx([1.95 - 0.05, 3 * (1 - 0.01 * 0.5) - 0.01], abs=1e-6)
    assert steps(lines)[0]["lr"] == pytest.approx(0.05)


def test_moments_of_eight_bits_need_bitsandbytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []

    def eight(parameters: list[Any], **options: float) -> torch.optim.Optimizer:
        made.extend([sum(len(group["params"]) for group in parameters), options])
        return torch.optim.AdamW(parameters, **options)

    theirs = SimpleNamespace(AdamW8bit=eight)
    monkeypatch.setitem(sys.modules, "bitsandbytes", SimpleNamespace(optim=theirs))
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", theirs)
    system, _ = trained(tmp_path / "there", settings=config(optimizer="adamw-8bit"))
    assert made == [2, {"lr": 0.1, "weight_decay": 0.5, "betas": (0.9, 0.999)}]
    assert system.weights == pytest.approx([1.9, 2.875], abs=1e-6)
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", None)
    with pytest.raises(ConfigError) as caught:
        trained(tmp_path / "gone", settings=config(optimizer="adamw-8bit"))
    assert str(caught.value) == (
        "train.optimizer=adamw-8bit needs bitsandbytes: import of bitsandbytes.optim halted; None "
        "in sys.modules. Install it with `pip install bitsandbytes`, or train with --set "
        "train.optimizer=adamw, which takes four times its memory."
    )
