"""The training loop, top to bottom: batch, losses, backward, clip, step, log, evaluate, save."""

from __future__ import annotations

import contextlib
import importlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, broadcast_object_list
from torch import nn

from pscli import console
from pscli.components.noise import seeded, seeds_torch
from pscli.config import Config, TrainConfig
from pscli.datasets.records import Dropped
from pscli.dialogue.batch import collate
from pscli.dialogue.schema import Dialogue
from pscli.dialogue.sequence import Packed
from pscli.errors import ConfigError, DataError, TrainingError
from pscli.processes import asked, here
from pscli.runs import Run
from pscli.systems.base import System
from pscli.training.checkpoint import (
    data_digest,
    latest_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from pscli.training.memory import keep_freed_memory
from pscli.training.probe import gradient_norm
from pscli.training.schedules import out_of_patience, rate, temperature
from pscli.training.shards import entire, share_out
from pscli.training.signals import interruptible
from pscli.training.trackers import tracked

GRADIENT_EVERY = 25  # steps between two looks at what L^v brings to the LLM

Evaluate = Callable[[System, int], Mapping[str, float]]


def train(
    system: System,
    dialogues: Sequence[Dialogue],
    config: Config,
    run: Run,
    evaluate: Evaluate,
    *,
    resume: bool = False,
    tracker: str | None = None,
    begin: Callable[[], object] = lambda: None,
    accelerator: Accelerator | None = None,
) -> list[dict[str, float]]:
    """Trains a system in place and returns its evaluations.

    All noise is seeded by (seed, epoch, example) and batches by (seed, epoch): a run that was
    killed and resumed, or that was cut into other micro-batches, takes the same path.

    Args:
        evaluate: Scores of the system on the dev split after a step, by name. Every process calls
            it, with whole weights; the scores of the first one count.
        tracker: What gets every figure of metrics.jsonl as well: see `trackers`.
        begin: Makes the folder of a new run: called by the first process when nothing is left to be
            refused.

    Raises:
        DataError: if there is nothing to learn from.
        CheckpointError: if the run was trained on other data, or by another model.
        TrainingError: at a loss or gradient that is not a number; nothing of it is kept.
    """
    keep_freed_memory()
    # A process whose dialogues have no photo does not compute what the others wait for.
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)
    t = config.train
    cpu = here().device.type == "cpu"
    accelerator = accelerator or Accelerator(
        cpu=cpu, mixed_precision=t.precision, kwargs_handlers=[unused]
    )
    chief = accelerator.is_main_process

    template = system.template(config.sequence.max_length)
    dropped = Dropped()
    sequences = [packed for d in dialogues for packed in template.pack(d, dropped)]
    for what in dropped.lines() if chief else ():
        console.note(f"Left out: {what}.")
    if not sequences:
        raise DataError(
            "There is nothing to learn: no dialogue has a response that fits.",
            "See `pscli stats`, or raise sequence.max_length.",
        )
    pad = template.tokenizer.pad_token_id
    system.before_training()
    if t.checkpointing:
        system.recompute()
    optimizer = optimizer_of(system, t)
    any_described = any(s.described for s in sequences)  # by photos that nobody can see
    copied = share_out(accelerator, system)
    model, optimizer = accelerator.prepare(system, optimizer)

    per_epoch = math.ceil(len(sequences) / t.batch)
    steps = max(1, round(t.epochs * per_epoch))
    pause = max(1, round(per_epoch / t.evaluations_per_epoch))  # steps between evaluations
    state: dict[str, Any] = {
        "step": 0,
        "seconds": 0.0,
        "history": [],
        "data": data_digest(sequences),
    }
    if resume and (newest := latest_checkpoint(run.checkpoints)):
        state |= load_checkpoint(newest, system, optimizer, data=state["data"])
    if chief:
        if not resume:
            begin()
        run.forget(state["step"])
    accelerator.wait_for_everyone()  # before others write into its folder
    saved = time.monotonic()

    def save() -> None:
        save_checkpoint(run.checkpoints, system, optimizer, state, chief)

    with (
        console.training_bar(steps, state["step"], chief) as bar,
        tracked(tracker, run, config, state["step"]) as track,
        interruptible() as interrupted,
    ):
        system.train()
        while state["step"] < steps and not out_of_patience(state["history"], t):
            step = state["step"]
            epoch = step / per_epoch
            tau = temperature(epoch, t.tau_start, t.tau_end, t.tau_epochs)
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * rate(step, t.warmup, steps, t.decay)

            began = time.monotonic()
            rows = batch_of(len(sequences), t.batch, step, config.seed)
            # Those of a length together, so that little is padded; their order does not matter.
            whole = sorted((sequences[i] for i in rows), key=lambda packed: len(packed.ids))
            tokens = max(1, sum(label >= 0 for s in whole for label in s.labels))
            photos = max(1, sum(len(s.captions) for s in whole))
            mine = share(whole, accelerator.process_index, accelerator.num_processes, t.micro_batch)

            seed = f"{config.seed}/{step // per_epoch}"
            # First, and apart, at what L^v brings to the LLM
            looks = system.speaks and step % GRADIENT_EVERY == 0
            for alone in (True, False) if looks else (False,):
                optimizer.zero_grad()
                sums = torch.zeros(2)
                for number, (some, weight) in enumerate(mine):
                    batch = system.prepare(collate(some, pad).to(accelerator.device))
                    seeds_torch(seed, step, accelerator.process_index, number)  # dropout
                    last = number == len(mine) - 1
                    with contextlib.nullcontext() if last else accelerator.no_sync(model):
                        with accelerator.autocast():
                            losses = model(batch, tau, seed)
                        # Normalised by the whole batch, so that micro-batches do not matter.
                        text = weight * losses.text / tokens  # L^t
                        image = weight * losses.image / photos  # L^v
                        # L (Eq. 13); text always takes part, as not every process has photos
                        loss = 0 * text + image if alone else text + t.alpha * image
                        accelerator.backward(loss * accelerator.num_processes)
                    sums += torch.stack([text.detach(), image.detach()]).cpu()
                if alone:
                    from_image = gradient_norm(system.llm)
            sums = accelerator.reduce(sums.to(accelerator.device), "sum").cpu()
            norms = clip(system, t.max_grad_norm, accelerator)
            refuse_nan(step, {"L^t": float(sums[0]), "L^v": float(sums[1]), **norms}, run)
            optimizer.step()

            state["step"] = step + 1
            state["seconds"] += time.monotonic() - began
            line = {
                "step": step, "epoch": epoch, "tau": tau, "lr": optimizer.param_groups[0]["lr"],
                "loss": float(sums[0] + t.alpha * sums[1]), "text": float(sums[0]),
                "image": float(sums[1]), "tokens_per_second": tokens / (time.monotonic() - began),
                **norms,
            }  # fmt: skip
            if any_described:
                line["described"] = sum(s.described for s in whole)
            if looks:
                line["grad_llm_from_image"] = from_image
            if chief:
                run.log(**line)
                track(line, step)
            bar(line)

            pausing = (step + 1) % pause == 0 or step + 1 == steps
            if pausing:
                with entire(system, copied) as whole_system:
                    (scores,) = broadcast_object_list([evaluate(whole_system, step + 1)])
                system.train()
                state["history"].append({"step": step + 1, **scores})
                if chief:
                    run.log(step=step, **scores)
                    track(scores, step)
            # All save, and all stop, after the same step.
            due, stop = asked(time.monotonic() - saved > 60 * t.save_minutes, interrupted())
            if pausing or due or stop:
                save()
                saved = time.monotonic()
            if stop:
                console.note(f"Stopped after step {step + 1} of {steps}. Go on with --resume.")
                raise KeyboardInterrupt
    return list(state["history"])


def batch_of(count: int, size: int, step: int, seed: int) -> list[int]:
    """Indices of the sequences of one step: a seeded shuffle per epoch."""
    per_epoch = math.ceil(count / size)
    epoch, part = divmod(step, per_epoch)
    order = torch.randperm(count, generator=seeded(seed, "order", epoch)).tolist()
    return order[part * size : (part + 1) * size]


def share(
    batch: Sequence[Packed], rank: int, ranks: int, size: int
) -> list[tuple[Sequence[Packed], float]]:
    """Micro-batches of one process, as many as every other has, and their weights.

    A process that has fewer repeats what others have, with weight 0: all must take part in the
    exchange of gradients.
    """
    count = math.ceil(math.ceil(len(batch) / ranks) / size)
    mine = batch[rank::ranks]
    parts = [mine[i * size : (i + 1) * size] for i in range(count)]
    return [(part, 1.0) if part else (batch[:1], 0.0) for part in parts]


def optimizer_of(system: nn.Module, t: TrainConfig) -> torch.optim.Optimizer:
    """AdamW over what trains.

    Raises:
        ConfigError: if the moments are to be of 8 bits, and bitsandbytes is not there.
    """
    kind: Any = torch.optim.AdamW
    if t.optimizer == "adamw-8bit":
        try:
            kind = importlib.import_module("bitsandbytes.optim").AdamW8bit
        except ImportError as error:
            raise ConfigError(
                f"train.optimizer={t.optimizer} needs bitsandbytes: {error}.",
                "Install it with `pip install bitsandbytes`, or train with "
                "--set train.optimizer=adamw, which takes four times its memory.",
            ) from error
    drawing = {id(p) for p in getattr(system, "generator", nn.Module()).parameters()}
    groups: dict[float, list[nn.Parameter]] = {}  # by rate
    for weight in system.parameters():
        own = t.generator_lr if id(weight) in drawing else None
        if weight.requires_grad:
            groups.setdefault(t.lr if own is None else own, []).append(weight)
    optimizer: torch.optim.Optimizer = kind(
        [{"params": some, "peak": peak} for peak, some in groups.items()],
        lr=t.lr, weight_decay=t.weight_decay, betas=(0.9, t.beta2),
    )  # fmt: skip
    return optimizer


def clip(system: nn.Module, largest: float, accelerator: Accelerator) -> dict[str, float]:
    """Clips each component's gradient by its own norm [L2], and returns the norms.

    By component, so that the pipeline's parts stay as separate as the paper has them, and the
    generator's large gradients do not slow the LLM down.
    """
    return {
        f"grad_{name}": float(accelerator.clip_grad_norm_(part.parameters(), largest))
        for name, part in system.named_children()
        if any(p.requires_grad for p in part.parameters())
    }


def refuse_nan(step: int, values: Mapping[str, float], run: Run) -> None:
    """Raises TrainingError if a loss or gradient is not finite, before the weights are touched."""
    broken = [f"{name} is {value}" for name, value in values.items() if not math.isfinite(value)]
    if broken:
        kept = latest_checkpoint(run.checkpoints)
        raise TrainingError(
            f"Step {step + 1}: {', '.join(broken)}. The weights of the step before were not "
            f"changed{f'; {kept} is kept' if kept else ''}.",
            "Train with a lower rate, such as --set train.lr=1e-5, or a longer train.warmup.",
        )
