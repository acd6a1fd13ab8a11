"""Packed sequences as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from pscli.dialogue.schema import Photo
from pscli.dialogue.sequence import IGNORE, CaptionSpan, Packed

# B sequences, L tokens


@dataclass(frozen=True)
class Batch:
    """B packed sequences, padded on the right to L tokens.

    Args:
        ids: [B, L] token ids.
        labels: [B, L] ids to be predicted, else IGNORE.
        positions: [B, L] position ids.
        mask: [B, 1, L, L] True where the position of a row sees that of a column.
        photos: Context photos, sequence by sequence, in order.
        captions: (sequence, span) of each response photo.
        seen: [P, …] what the perceptron sees in the context photos, once a system has prepared it.
        drawn: [C, …] latents of the response photos, likewise.
    """

    ids: Tensor
    labels: Tensor
    positions: Tensor
    mask: Tensor
    photos: tuple[Photo, ...]
    captions: tuple[tuple[int, CaptionSpan], ...]
    seen: Tensor | None = None
    drawn: Tensor | None = None

    @property
    def tokens(self) -> int:
        """Supervised tokens."""
        return int((self.labels != IGNORE).sum())

    def to(self, device: torch.device) -> Batch:
        moved = {k: getattr(self, k).to(device) for k in ("ids", "labels", "positions", "mask")}
        return replace(self, **moved)


def visible(segments: Tensor) -> Tensor:
    """[B, 1, L, L] attention mask of packed sequences: the past, if context or one's own target.

    Args:
        segments: [B, L] 0 for context, k > 0 for hidden targets, -1 for padding.
    """
    length = segments.shape[1]
    past = torch.ones(length, length, dtype=torch.bool, device=segments.device).tril()
    context = segments[:, None, :] == 0
    own = segments[:, None, :] == segments[:, :, None]
    return (past & (context | own))[:, None]


def collate(sequences: Sequence[Packed], pad: int) -> Batch:
    """Pads sequences with token `pad` into one batch."""

    def tensor(name: str, value: int) -> Tensor:
        rows = [torch.tensor(getattr(s, name)) for s in sequences]
        return pad_sequence(rows, batch_first=True, padding_value=value)

    return Batch(
        ids=tensor("ids", pad),
        labels=tensor("labels", IGNORE),
        positions=tensor("positions", 0),
        mask=visible(tensor("segments", -1)),
        photos=tuple(photo for s in sequences for photo in s.photos),
        captions=tuple((row, span) for row, s in enumerate(sequences) for span in s.captions),
    )
