"""What one loss alone brings to a part: how much the LLM learns from its photos."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Gradient:
    """The gradient that one loss alone brings to the parameters of a part, over micro-batches."""

    def __init__(self, part: nn.Module) -> None:
        self.parameters = [p for p in part.parameters() if p.requires_grad]
        self.sums: list[Tensor | None] = [None] * len(self.parameters)

    def add(self, loss: Tensor) -> None:
        """Adds the gradient of a loss, and leaves its graph for the backward pass to come."""
        if not (loss.requires_grad and self.parameters):  # a frozen part has none
            return
        grads = torch.autograd.grad(loss, self.parameters, retain_graph=True, allow_unused=True)
        self.sums = [
            s if g is None else g if s is None else s + g
            for s, g in zip(self.sums, grads, strict=True)
        ]

    def norm(self) -> float:
        """L2 norm; exactly 0 where the loss does not reach the part."""
        squares = [g.float().pow(2).sum() for g in self.sums if g is not None]
        return float(torch.stack(squares).sum().sqrt()) if squares else 0.0
