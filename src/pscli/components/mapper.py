"""From an LLM's hidden states to what the generator's text encoder would say: photos without words.

As in MiniGPT-5 (Zheng et al. 2023): an MLP, then a transformer with a learnt sequence to decode.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

LAYERS = 4  # of encoder and decoder each, as released

# C photos, T image tokens, D width of the LLM; N tokens and W width of the text encoder


class Mapper(nn.Module):
    """v̂ = Decoder(Encoder(MLP(h)), q): [C, N, W] of hidden states h [C, T, D].

    Args:
        llm: D.
        length: N.
        width: W.
    """

    def __init__(self, llm: int, length: int, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(llm, width), nn.GELU(), nn.Linear(width, width))
        how: Any = {"nhead": heads(width), "dim_feedforward": 4 * width, "dropout": 0.0}
        how |= {"batch_first": True, "norm_first": True}
        layer = nn.TransformerEncoderLayer(width, **how)
        # As nn.Transformer would make it, which warns of a short cut that is not for norm_first.
        encoder = nn.TransformerEncoder(layer, LAYERS, nn.LayerNorm(width), False)
        self.transformer = nn.Transformer(
            width, num_decoder_layers=LAYERS, custom_encoder=encoder, **how
        )
        self.decoded = nn.Parameter(torch.randn(length, width))  # q

    def forward(self, hidden: Tensor) -> Tensor:
        """[C, N, W] in place of the text encoder's output. Args: hidden: [C, T, D]."""
        wanted = self.decoded.expand(len(hidden), -1, -1)
        # It trains, and so is float32 beside an LLM with adapters in 16 bits.
        found: Tensor = self.transformer(self.mlp(hidden.to(wanted.dtype)), wanted)
        return found


class Connector(Mapper):
    """A mapper with the queries that the LLM reads (MetaQueries: Pan et al. 2025).

    Args:
        tokens: T.
    """

    def __init__(self, tokens: int, llm: int, length: int, width: int) -> None:
        super().__init__(llm, length, width)
        self.queries = nn.Parameter(0.02 * torch.randn(tokens, llm))  # as LLMs begin embeddings


def heads(width: int) -> int:
    """Of attention: the released 8, or as many fewer as divide the width."""
    return next(count for count in (8, 4, 2, 1) if width % count == 0)
