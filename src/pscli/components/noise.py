"""Randomness of training, seeded per example, so that it does not depend on the micro-batch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor


def seeded(*parts: object) -> torch.Generator:
    """A CPU generator seeded by the text of its arguments, the same in every process."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest) >> 1)


def seeds_torch(*parts: object) -> None:
    """Seeds torch's own generators by the text of the arguments: dropout takes no generator."""
    torch.manual_seed(seeded(*parts).initial_seed())


def gumbel(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Standard Gumbel noise g = -log(-log(u)), u ~ Uniform(0, 1) (Eq. 4), float32 on the CPU.

    u is kept inside (0, 1): at 0 or 1 the formula is infinite.
    """
    smallest = torch.finfo(torch.float32).tiny
    u = torch.rand(tuple(shape), generator=generator).clamp(smallest, 1 - 2**-24)
    return -torch.log(-torch.log(u))
