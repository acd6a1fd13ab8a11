"""The processes of one launch: which of them this is, and what they agree on.

`accelerate launch` and `torchrun` start several, each on its own device; without them there is one.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

from pscli.errors import ConfigError

# One scores the dev split while the others wait for it; their libraries give up after ten minutes.
PATIENCE = timedelta(hours=12)


def number() -> int:
    """How many processes were launched."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def first() -> bool:
    """Whether this is the one that speaks and writes."""
    return os.environ.get("RANK", "0") == "0"


def here() -> Any:
    """accelerate's `PartialState`: rank and device. The first call waits for the other processes.

    Raises:
        ConfigError: if they cannot be joined.
    """
    import torch
    from accelerate import PartialState
    from accelerate.utils import parse_flag_from_env

    found = torch.accelerator.current_accelerator(check_available=True)
    # accelerate joins processes without accelerators only if it is told so.
    bare = number() > 1 and (found is None or found.type == "mps")
    state = PartialState(cpu=bare or parse_flag_from_env("ACCELERATE_USE_CPU"), timeout=PATIENCE)
    if state.num_processes != number():
        raise ConfigError(
            f"{number()} processes were launched, but {state.num_processes} found each other.",
            "Launch them by `accelerate launch` or `torchrun`: see docs/several-devices.md.",
        )
    return state


def asked(*questions: bool) -> list[bool]:
    """Whether any process says yes, question by question. All of them must ask."""
    if number() == 1:
        return list(questions)
    import torch
    from accelerate.utils import reduce

    answers = torch.tensor(questions, dtype=torch.float32, device=here().device)
    return [bool(answer) for answer in reduce(answers, "sum")]
