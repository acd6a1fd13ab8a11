"""One resumable loop for all foundations: seeded batches, AdamW, warm-up, linear decay, EMA."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from pscli.console import stderr
from pscli.files import append_line
from pscli.training.checkpoint import latest_checkpoint, load_checkpoint, save_checkpoint
from pscli.training.memory import keep_freed_memory

Losses = dict[str, Tensor]


def fit(
    model: nn.Module,
    loss: Callable[[int], Losses],
    work: Path,
    *,
    steps: int,
    lr: float,
    warmup: int = 100,
    weight_decay: float = 0.01,
    ema: float | None = None,
    decays: bool = True,
    save_every: int = 200,
    clip: float = 1.0,
) -> nn.Module:
    """Trains `model` in place and returns it, resuming from the newest checkpoint in `work`.

    Args:
        loss: Losses of step n by name; they are summed. All its randomness must come from n.
        steps: Optimiser steps; the rate rises linearly for `warmup` and then falls to zero.
        decays: If not, it stays.
        ema: Decay of an exponential moving average of the weights, which then replaces them.
    """
    keep_freed_memory()
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=weight_decay, betas=(0.9, 0.98))
    averaged = _Averaged(model, ema)
    start, newest = 0, latest_checkpoint(work)
    holder = nn.ModuleDict({"model": model, "averaged": averaged})
    if newest:
        start = load_checkpoint(newest, holder, optimizer)["step"]
    log = work / "metrics.jsonl"
    began = time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=stderr) as progress:
        task = progress.add_task(work.name, total=steps, completed=start)
        for step in range(start, steps):
            rate = lr * min(1.0, (step + 1) / warmup) * (1 - step / steps if decays else 1)
            for group in optimizer.param_groups:
                group["lr"] = rate
            losses = loss(step)
            optimizer.zero_grad()
            torch.stack(list(losses.values())).sum().backward()
            nn.utils.clip_grad_norm_(parameters, clip)
            optimizer.step()
            averaged.update(model)
            if step % 25 == 0:
                values = {k: round(v.item(), 4) for k, v in losses.items()}
                line = {"step": step, "seconds": round(time.monotonic() - began, 1), **values}
                append_line(log, line)
                shown = " ".join(f"{k} {v:.3f}" for k, v in values.items())
                progress.update(task, description=f"{work.name} {shown}")
            if (step + 1) % save_every == 0 or step + 1 == steps:
                save_checkpoint(work, holder, optimizer, {"step": step + 1})
            progress.update(task, completed=step + 1)
    averaged.replace(model)
    return model


class _Averaged(nn.Module):
    """Moving average of the trainable weights, kept as parameters so that it is checkpointed."""

    def __init__(self, model: nn.Module, decay: float | None) -> None:
        super().__init__()
        self.decay = decay
        weights = [p for p in model.parameters() if p.requires_grad] if decay else []
        self.weights = nn.ParameterList(nn.Parameter(p.detach().clone()) for p in weights)

    def update(self, model: nn.Module) -> None:
        live = [p for p in model.parameters() if p.requires_grad]
        if self.decay:
            with torch.no_grad():
                for mean, weight in zip(self.weights, live, strict=True):
                    mean.lerp_(weight, 1 - self.decay)

    def replace(self, model: nn.Module) -> None:
        live = [p for p in model.parameters() if p.requires_grad]
        if self.decay:
            with torch.no_grad():
                for mean, weight in zip(self.weights, live, strict=True):
                    weight.copy_(mean)
