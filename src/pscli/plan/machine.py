"""What there is to train on."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from pscli.config import Config
from pscli.processes import number


@dataclass(frozen=True)
class Machine:
    """A device, as far as memory goes.

    Args:
        kind: `cpu` or `cuda`.
        name: In a sentence.
        memory: Bytes; infinite where nobody can say.
        sharing: Processes among which FSDP shares out weights, gradients and moments.
    """

    kind: str
    name: str
    memory: float
    sharing: int = 1


def machine(config: Config, sharing: int | None = None) -> Machine:
    """The smallest GPU that there is, or the host; `train.memory_gb` says how much of it counts.

    Args:
        sharing: By default, as accelerate was told to launch.
    """
    import torch

    if sharing is None:
        sharing = number() if os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true" else 1
    told = config.train.memory_gb
    limit = None if told is None else told * 1e9
    if torch.cuda.is_available():
        devices = map(torch.cuda.get_device_properties, range(torch.cuda.device_count()))
        memory, name = min((float(d.total_memory), d.name) for d in devices)
        return Machine("cuda", f"this {name}", memory if limit is None else limit, sharing)
    host = host_memory() / number()
    return Machine("cpu", "this machine", host if limit is None else limit, sharing)


def host_memory() -> float:
    """Bytes of memory that this process and its like may have."""
    found = [float("inf")]
    with contextlib.suppress(OSError, ValueError, AttributeError):
        found.append(float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")))
    with contextlib.suppress(OSError, ValueError):  # "max" where a container has no limit
        found.append(float(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii")))
    return min(found)
