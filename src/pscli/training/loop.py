"""The training loop, top to bottom: batch, losses, backward, clip, step, log, evaluate, save."""

from __future__ import annotations

import contextlib
import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import nn

from pscli.components.noise import seeded
from pscli.config import Config
from pscli.console import stderr
from pscli.dialogue.batch import collate
from pscli.dialogue.schema import Dialogue
from pscli.dialogue.sequence import Packed
from pscli.errors import ConfigError
from pscli.systems.base import System
from pscli.training.checkpoint import latest_checkpoint, load_checkpoint, save_checkpoint
from pscli.training.memory import keep_freed_memory
from pscli.training.schedules import out_of_patience, rate, temperature

GRADIENT_EVERY = 25  # steps between two looks at what L^v brings to the LLM

Evaluate = Callable[[System, int], dict[str, float]]


def train(
    system: System,
    dialogues: Sequence[Dialogue],
    config: Config,
    run: Path,
    evaluate: Evaluate,
    *,
    resume: bool = False,
    accelerator: Accelerator | None = None,
) -> list[dict[str, float]]:
    """Trains a system in place and returns its evaluations.

    All noise is seeded by (seed, epoch, example) and batches by (seed, epoch): a run that was
    killed and resumed, or that was cut into other micro-batches, takes the same path.

    Args:
        run: Folder for `metrics.jsonl` and `checkpoints/`.
        evaluate: Scores of the system on the dev split after a step: at least `bleu2` and `fid`.

    Raises:
        ConfigError: if the batch cannot be shared evenly between processes.
    """
    keep_freed_memory()
    accelerator = accelerator or Accelerator()
    chief, ranks = accelerator.is_main_process, accelerator.num_processes
    t = config.train
    if t.batch % ranks:
        raise ConfigError(f"Batch {t.batch} on {ranks} processes.", "Make it a multiple of them.")

    template = system.template(config.sequence.max_length)
    sequences = [packed for dialogue in dialogues for packed in template.pack(dialogue)]
    pad = template.tokenizer.pad_token_id
    parameters = [p for p in system.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=t.lr, weight_decay=t.weight_decay)
    model, optimizer = accelerator.prepare(system, optimizer)

    per_epoch = math.ceil(len(sequences) / t.batch)
    steps = max(1, round(t.epochs * per_epoch))
    pause = max(1, round(per_epoch / t.evaluations_per_epoch))  # steps between evaluations
    state: dict[str, Any] = {"step": 0, "history": []}
    if resume and (newest := latest_checkpoint(run / "checkpoints")):
        state = load_checkpoint(newest, system, optimizer)
    log = Log(run / "metrics.jsonl", state["step"], chief)
    saved = time.monotonic()

    def save() -> None:
        if chief:
            save_checkpoint(run / "checkpoints", system, optimizer, state)

    with _progress(chief) as progress, interruptible() as interrupted:
        task = progress.add_task("", total=steps, completed=state["step"])
        while state["step"] < steps:
            step = state["step"]
            epoch = step / per_epoch
            tau = temperature(epoch, t.tau_start, t.tau_end, t.tau_epochs)
            for group in optimizer.param_groups:
                group["lr"] = t.lr * rate(step, t.warmup, steps, t.decay)

            began = time.monotonic()
            rows = batch_of(len(sequences), t.batch, step, config.seed)
            # Those of a length together, so that little is padded; their order does not matter.
            whole = sorted((sequences[i] for i in rows), key=lambda packed: len(packed.ids))
            tokens = sum(label >= 0 for s in whole for label in s.labels)
            photos = max(1, sum(len(s.captions) for s in whole))
            mine = [
                collate(part, pad).to(accelerator.device)
                for part in _chunks(whole[accelerator.process_index :: ranks], t.micro_batch)
            ]

            optimizer.zero_grad()
            sums, from_image = torch.zeros(2), Gradient(system.llm)
            seed = f"{config.seed}/{step // per_epoch}"
            for number, batch in enumerate(mine):
                last = number == len(mine) - 1
                with contextlib.nullcontext() if last else accelerator.no_sync(model):
                    losses = model(batch, tau, seed)
                    # Normalised by the whole batch, so that micro-batches do not matter.
                    text = losses.text / tokens  # L^t
                    image = losses.image / photos  # L^v
                    if step % GRADIENT_EVERY == 0:
                        from_image.add(image)
                    loss = text + t.alpha * image  # L (Eq. 13)
                    accelerator.backward(loss * ranks)
                sums += torch.stack([text.detach(), image.detach()]).cpu()
            sums = accelerator.reduce(sums.to(accelerator.device), "sum").cpu()
            norms = clip(system, t.max_grad_norm)
            optimizer.step()

            state["step"] = step + 1
            if step % GRADIENT_EVERY == 0:
                log.note(grad_llm_from_image=from_image.norm())
            log.note(
                step=step, epoch=epoch, tau=tau, lr=optimizer.param_groups[0]["lr"],
                loss=float(sums[0] + t.alpha * sums[1]), text=float(sums[0]),
                image=float(sums[1]), tokens_per_second=tokens / (time.monotonic() - began),
                **norms,
            )  # fmt: skip
            progress.update(task, completed=step + 1, description=log.line())
            if chief and not stderr.is_terminal and step % max(1, steps // 10) == 0:
                stderr.print(f"step {step + 1}/{steps}  {log.line()}")
            evaluated = (step + 1) % pause == 0 or step + 1 == steps
            log.write()

            if evaluated:
                (scores,) = broadcast_object_list([evaluate(system, step + 1) if chief else {}])
                state["history"].append({"step": step + 1, **scores})
                log.note(step=step, **scores)
                log.write()
                save()
                if out_of_patience(state["history"], t.patience):
                    break
            elif time.monotonic() - saved > 60 * t.save_minutes:
                save()
                saved = time.monotonic()
            if interrupted():
                save()
                stderr.print(f"Stopped after step {step + 1} of {steps}. Go on with --resume.")
                raise KeyboardInterrupt
    return list(state["history"])


def batch_of(count: int, size: int, step: int, seed: int) -> list[int]:
    """Indices of the sequences of one step: a seeded shuffle per epoch."""
    per_epoch = math.ceil(count / size)
    epoch, part = divmod(step, per_epoch)
    order = torch.randperm(count, generator=seeded(seed, "order", epoch)).tolist()
    return order[part * size : (part + 1) * size]


@contextlib.contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Holds Ctrl-C back, so that a step is never left half done; gives whether it was pressed."""
    pressed = False

    def press(signum: int, frame: object) -> None:
        nonlocal pressed
        if pressed:  # twice: at once
            raise KeyboardInterrupt
        pressed = True

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = signal.signal(signal.SIGINT, press)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)


def _chunks(rows: Sequence[Packed], size: int) -> list[Sequence[Packed]]:
    return [rows[i : i + size] for i in range(0, len(rows), size)]


def clip(system: nn.Module, largest: float) -> dict[str, float]:
    """Clips each component's gradient by its own norm [L2], and returns the norms.

    By component, so that the pipeline's parts stay as separate as the paper has them, and the
    generator's large gradients do not slow the LLM down.
    """
    return {
        f"grad_{name}": float(nn.utils.clip_grad_norm_(part.parameters(), largest))
        for name, part in system.named_children()
        if any(p.requires_grad for p in part.parameters())
    }


class Gradient:
    """The gradient that one loss alone brings to the parameters of a part, over micro-batches."""

    def __init__(self, part: nn.Module) -> None:
        self.parameters = [p for p in part.parameters() if p.requires_grad]
        self.sums: list[torch.Tensor | None] = [None] * len(self.parameters)

    def add(self, loss: torch.Tensor) -> None:
        """Adds the gradient of a loss, and leaves its graph for the backward pass to come."""
        if not loss.requires_grad:
            return
        grads = torch.autograd.grad(loss, self.parameters, retain_graph=True, allow_unused=True)
        self.sums = [
            s if g is None else g if s is None else s + g
            for s, g in zip(self.sums, grads, strict=True)
        ]

    def norm(self) -> float:
        """L2 norm; exactly 0 where the loss does not reach the part."""
        squares = [g.float().pow(2).sum() for g in self.sums if g is not None]
        return float(torch.stack(squares).sum().sqrt()) if squares else 0.0


class Log:
    """metrics.jsonl: a line a step; a resumed run takes back the lines that it repeats."""

    def __init__(self, path: Path, step: int, active: bool) -> None:
        self.path, self.active = path, active
        self.values: dict[str, float] = {}
        self.shown: dict[str, float] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        if active and path.is_file():
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
            kept = [
                line for line in lines if line.endswith("\n") and json.loads(line)["step"] < step
            ]
            path.write_text("".join(kept), encoding="utf-8")

    def note(self, **values: float) -> None:
        self.values |= values
        self.shown |= values

    def line(self) -> str:
        """What the progress bar says."""
        s = self.shown
        return (
            f"L {s['loss']:.3f}  Lᵗ {s['text']:.3f}  Lᵛ {s['image']:.3f}  τ {s['tau']:.2f}  "
            f"∇ {s.get('grad_llm_from_image', 0):.1e}  {s['tokens_per_second']:,.0f} tok/s"
        )

    def write(self) -> None:
        if self.active:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(self.values) + "\n")
        self.values = {}


def _progress(active: bool) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    shown = active and stderr.is_terminal
    return Progress(*columns, console=stderr, disable=not shown)
