"""What one loss alone brings to a part: how much the LLM learns from its photos."""

from __future__ import annotations

import torch
from torch import nn
from torch.distributed.tensor import DTensor


def gradient_norm(part: nn.Module) -> float:
    """L2 norm of a part's gradient, over all processes that share it; 0 where there is none."""
    squares = [p.grad.float().pow(2).sum() for p in part.parameters() if p.grad is not None]
    if not squares:
        return 0.0
    total = torch.stack(squares).sum()
    return float((total.full_tensor() if isinstance(total, DTensor) else total).sqrt())
