"""Exact training state in safetensors and JSON: weights, optimiser moments, counters. No pickle.

All randomness of training is seeded from (seed, step, example), so that weights, moments and the
step number are the whole state and a resumed run continues bit for bit.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from pscli.errors import CheckpointError


def save_checkpoint(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, state: dict[str, Any]
) -> Path:
    """Writes `folder/step-N` atomically (N = state["step"]) and then removes older ones.

    Only trainable parameters are kept; frozen ones come from the foundations.
    """
    target = folder / f"step-{state['step']:08d}"
    temporary = folder / f".{target.name}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    names = {id(p): n for n, p in model.named_parameters()}
    weights = {n: p.detach() for n, p in model.named_parameters() if p.requires_grad}
    moments = {
        f"{names[id(parameter)]}|{key}": value
        for parameter, values in optimizer.state.items()
        for key, value in values.items()
    }
    save_file(
        {n: t.contiguous().cpu() for n, t in weights.items()}, temporary / "weights.safetensors"
    )
    save_file(
        {n: t.contiguous().cpu() for n, t in moments.items()}, temporary / "moments.safetensors"
    )
    (temporary / "state.json").write_text(json.dumps(state), encoding="utf-8")
    if target.exists():  # the same step again: keep it until the new one is in place
        replaced = folder / f".{target.name}.old"
        shutil.rmtree(replaced, ignore_errors=True)
        os.replace(target, replaced)
    os.replace(temporary, target)
    for old in [*folder.glob("step-*"), *folder.glob(".step-*")]:
        if old != target:
            shutil.rmtree(old, ignore_errors=True)
    return target


def latest_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint below `folder`, or None."""
    return max(folder.glob("step-*"), default=None)


def load_checkpoint(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer
) -> dict[str, Any]:
    """Restores weights and moments in place and returns the counters.

    Raises:
        CheckpointError: if the checkpoint was written by a model of another shape.
    """
    try:
        weights = load_file(folder / "weights.safetensors")
        moments = load_file(folder / "moments.safetensors")
        state: dict[str, Any] = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        parameters = dict(model.named_parameters())
        expected = {n for n, p in parameters.items() if p.requires_grad}
        if expected != set(weights):
            raise ValueError(f"{len(expected ^ set(weights))} parameters differ")
        for name, weight in weights.items():
            if weight.shape != parameters[name].shape:  # copy_ would broadcast
                raise ValueError(f"{name} has another shape")
        with torch.no_grad():
            for name, weight in weights.items():
                parameters[name].copy_(weight)
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(
            f"Checkpoint {folder} does not fit this model: {error}.",
            "Resume with the configuration it was trained with, or start a new run.",
        ) from error
    for key, value in moments.items():
        name, kind = key.rsplit("|", 1)
        # AdamW keeps its step counter on the CPU and its moments beside the parameter.
        place = value if kind == "step" else value.to(parameters[name].device)
        optimizer.state[parameters[name]][kind] = place
    return state
