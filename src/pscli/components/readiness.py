"""How readily replies share photos, and how readily they end."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import LogitsProcessor

# R replies of t tokens so far, V vocabulary


class ShareBias(LogitsProcessor):
    """Adds a constant to the logit of [IMG] as long as a reply has no photo.

    Args:
        token: Id of [IMG].
        bias: In nats; above 0 photos are shared more readily.
    """

    def __init__(self, token: int, bias: float) -> None:
        self.token, self.bias = token, bias

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """[R, V] logits. Args: input_ids: [R, t] tokens of the replies. scores: [R, V] logits."""
        added = torch.zeros_like(scores)
        added[:, self.token] = self.bias * ~(input_ids == self.token).any(dim=1)
        return scores + added


class EndBias(LogitsProcessor):
    """Adds a constant to the logit of the end token.

    Args:
        token: Its id.
        bias: In nats; below 0 replies are longer.
    """

    def __init__(self, token: int, bias: float) -> None:
        self.token, self.bias = token, bias

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """[R, V] logits. Args: scores: [R, V] logits."""
        added = torch.zeros_like(scores)
        added[:, self.token] = self.bias
        return scores + added
