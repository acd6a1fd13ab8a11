"""Where a system computes, and in how many bits."""

from __future__ import annotations

import torch

from pscli.components.weights import DTYPES
from pscli.errors import ConfigError

CHOICES = "auto, cpu, cuda, cuda:1 …, mps"


def device_named(name: str) -> torch.device:
    """The device of a name; `auto` is a GPU if there is one.

    Raises:
        ConfigError: if the name is unknown, or this machine has no such device.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"Unknown device '{name}'.", f"Known: {CHOICES}.") from None
    there = {
        "cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())
    }  # fmt: skip
    if (device.index or 0) >= there.get(device.type, 0):
        raise ConfigError(f"This machine has no device '{name}'.", "Leave --device out, or: cpu.")
    return device


def spare(device: torch.device, beside: int) -> int:
    """Bytes that what is not weights may take: an eighth of a GPU's memory, `beside` elsewhere."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory // 8
    return beside


def dtype_named(name: str) -> torch.dtype:
    """Raises ConfigError if the name is unknown."""
    if name not in DTYPES:
        raise ConfigError(f"Unknown dtype '{name}'.", f"Known: {', '.join(DTYPES)}.")
    return DTYPES[name]
