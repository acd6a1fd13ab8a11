"""Exact training state in safetensors and JSON: weights, optimiser moments, counters. No pickle.

All randomness of training is seeded from (seed, step, example), so that weights, moments and the
step number are the whole state and a resumed run continues bit for bit. Sharded weights are stored
whole, so that a run may go on with another number of processes.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from pscli.dialogue.sequence import Packed
from pscli.errors import CheckpointError, PscliError
from pscli.files import new_folder, read_json, write_json

# Of the shape of their parameter; bitsandbytes keeps quantiles and scales beside its own two.
SHAPED = ("exp_avg", "exp_avg_sq", "state1", "state2")
WEIGHTS, MOMENTS, STATE = "weights.safetensors", "moments.safetensors", "state.json"


def save_checkpoint(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    state: dict[str, Any],
    chief: bool = True,
) -> Path:
    """Writes `folder/step-N` atomically (N = state["step"]) and then removes older ones.

    Only trainable parameters are kept; frozen ones come from the foundations. All processes must
    call it, and one of them, the chief, writes.

    Raises:
        CheckpointError: if it cannot be written; older ones are kept.
    """
    target = folder / f"step-{state['step']:08d}"
    names = {id(p): n for n, p in model.named_parameters()}
    weights = {n: _whole(p) for n, p in model.named_parameters() if p.requires_grad}
    moments = {
        f"{names[id(parameter)]}|{key}": _kept(key, value)
        for parameter, values in optimizer.state.items()
        for key, value in values.items()
    }
    if not chief:
        return target
    try:
        with new_folder(target) as new:
            save_file(weights, new / WEIGHTS)
            save_file(moments, new / MOMENTS)
            write_json(new / STATE, state)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"Checkpoint {target} could not be written: {error}.",
            "Make room; --resume goes on from the checkpoint before.",
        ) from error
    for old in [*folder.glob("step-*"), *folder.glob(".step-*")]:
        if old != target:
            shutil.rmtree(old, ignore_errors=True)
    return target


def latest_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint below `folder`, or None."""
    return max(folder.glob("step-*"), default=None)


def load_checkpoint(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, data: str | None = None
) -> dict[str, Any]:
    """Restores weights and moments in place and returns the counters.

    Args:
        data: Digest of what is to be trained on, if it matters.

    Raises:
        CheckpointError: if the checkpoint is broken, or was written by a model of another shape or
            on other data.
    """
    try:
        weights, moments = load_file(folder / WEIGHTS), load_file(folder / MOMENTS)
        state: dict[str, Any] = read_json(folder / STATE)
        parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
        _check_state(state, folder.name, data)
        _check(weights, moments, parameters)
    except (OSError, ValueError, SafetensorError, PscliError) as error:
        why = error.message if isinstance(error, PscliError) else f"{error}."
        raise CheckpointError(
            f"Checkpoint {folder} does not fit this run: {why}",
            "Resume with the data and configuration it was trained with, or start a new run.",
        ) from error
    with torch.no_grad():
        for name, weight in weights.items():
            parameters[name].copy_(_like(weight, parameters[name]))
    for key, value in moments.items():
        name, kind = key.rsplit("|", 1)
        optimizer.state[parameters[name]][kind] = _moment(kind, value, parameters[name])
    return state


def _kept(kind: str, value: Tensor | int) -> Tensor:
    """A moment as a file holds it: bitsandbytes counts in an int, and shares its quantiles."""
    return _whole(value if kind in SHAPED else torch.as_tensor(value).clone())


def _moment(kind: str, value: Tensor, parameter: Tensor) -> Tensor | int:
    """AdamW keeps its step counter on the CPU and its moments beside the parameter."""
    if kind == "step":
        return value if value.is_floating_point() else int(value)
    return _like(value, parameter) if kind in SHAPED else value.to(parameter.device)


def _check_state(state: Any, name: str, data: str | None) -> None:
    """Raises ValueError if counters are none, of another folder than `name`, or of other data."""
    counters = isinstance(state, dict) and isinstance(state.get("step"), int)
    if not counters or not _is_history(state.get("history", [])):
        raise ValueError(f"{STATE} has no counters")
    if name != f"step-{state['step']:08d}":
        raise ValueError(f"{STATE} is of step {state['step']}")
    if data is not None and state.get("data") not in (None, data):
        raise ValueError("it was trained on other dialogues")


def _is_history(value: Any) -> bool:
    lines = value if isinstance(value, list) else [None]
    return all(
        isinstance(line, dict) and all(isinstance(score, int | float) for score in line.values())
        for line in lines
    )


def _check(
    weights: dict[str, Tensor], moments: dict[str, Tensor], parameters: dict[str, nn.Parameter]
) -> None:
    """Raises ValueError if weights and moments are not of these parameters, or no numbers."""
    if differing := set(parameters) ^ set(weights):
        raise ValueError(f"{len(differing)} parameters differ, such as {min(differing)}")
    for name, weight in weights.items():
        if weight.shape != parameters[name].shape:  # copy_ would broadcast
            raise ValueError(f"{name} has another shape")
        if not weight.isfinite().all():
            raise ValueError(f"{name} has values that are no numbers")
    for key, value in moments.items():
        name, _, kind = key.rpartition("|")
        if name not in parameters or (kind in SHAPED and value.shape != parameters[name].shape):
            raise ValueError(f"the moment {key} is of another parameter")


def _whole(tensor: Any) -> Tensor:
    """A tensor on the CPU, gathered from all processes if each holds a part of it."""
    full = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
    return full.detach().cpu().contiguous()


def _like(value: Tensor, tensor: Tensor) -> Tensor:
    """A whole tensor, placed and shared out as another one is."""
    moved = value.to(tensor.device)
    if isinstance(tensor, DTensor):
        return distribute_tensor(moved, tensor.device_mesh, tensor.placements)
    return moved


def data_digest(sequences: Iterable[Packed]) -> str:
    """A short text that changes when what is trained on does."""
    found = hashlib.blake2b(digest_size=8)
    for packed in sequences:
        found.update(repr((packed.ids, packed.labels, [s.key for s in packed.captions])).encode())
    return found.hexdigest()
