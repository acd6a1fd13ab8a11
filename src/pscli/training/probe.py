"""What one loss alone brings to a part: how much the LLM learns from its photos."""

from __future__ import annotations

import torch
from torch import nn
from torch.distributed.tensor import DTensor


def gradient_norm(part: nn.Module) -> float:
    """L2 norm of a part's gradient, over all processes that share it; 0 where there is none."""
    grads = [p.grad for p in part.parameters() if p.grad is not None]
    if not grads:
        return 0.0
    norm = torch.nn.utils.get_total_norm(grads)
    return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)
