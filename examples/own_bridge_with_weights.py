"""A bridge with weights is a module made for `Sizes`: it trains, and the agent's folder keeps it.

pscli train-e2e --bridge own_bridge_with_weights:Learnt
"""

import torch
from torch import Tensor, nn

from pscli.components.bridge import Captions, Sizes, straight_through

RANK = 8


class Learnt(nn.Module):
    """A learnt matrix of rank 8 in the place of M (Eq. 9): every LLM token to the text encoder."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.tokens = nn.Embedding(sizes.llm_vocabulary, RANK)
        self.places = nn.Linear(RANK, sizes.clip_width, bias=False)

    def forward(self, captions: Captions, embeddings: Tensor, tau: float) -> Tensor:
        """[B, N, D], zero in value; its gradient reaches the LLM and the learnt matrix."""
        p = torch.softmax((captions.logits + captions.noise) / tau, dim=-1)  # Eq. 6
        read = self.places(p @ self.tokens.weight)  # r_i M E
        pooled = (read * captions.llm_mask[..., None]).mean(dim=1)  # avg (Eq. 11)
        return straight_through(pooled)[:, None].expand(-1, captions.clip_ids.shape[1], -1)
