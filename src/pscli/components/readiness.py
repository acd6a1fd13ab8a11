"""How readily replies share photos, and how readily they end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor
from transformers import LogitsProcessor

# P prompts, R replies of t tokens so far, V vocabulary


@runtime_checkable
class OfPrompts(Protocol):
    """A processor that changes the replies to each prompt in another way."""

    def of(self, prompts: Sequence[int]) -> LogitsProcessor:
        """The same for the replies to these prompts alone, one a row."""


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


class Decided(LogitsProcessor):
    """Photos where they were decided on, and nowhere else.

    Where one is due, what would end the reply begins the photo, and so does the token number
    `latest`; its caption is not empty.

    Args:
        img, end_img, end: Ids of [IMG], [/IMG] and the end token.
        due: [P] whether the reply to each prompt has a photo.
        latest: Tokens of words before a photo, at most.
    """

    def __init__(self, img: int, end_img: int, end: int, due: Tensor, latest: int) -> None:
        self.img, self.end_img, self.end = img, end_img, end
        self.due, self.latest = due, latest

    def of(self, prompts: Sequence[int]) -> Decided:
        return Decided(self.img, self.end_img, self.end, self.due[list(prompts)], self.latest)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """[R, V] logits. Args: input_ids: [R, t] tokens of the replies. scores: [R, V] logits."""
        due, never = self.due.to(scores.device), -torch.inf
        lacks = due & ~(input_ids == self.img).any(dim=1)
        changed = scores.clone()
        changed[~due, self.img] = never
        changed[lacks, self.img] = scores[lacks][:, [self.img, self.end]].amax(dim=1)
        changed[lacks, self.end] = never
        if input_ids.shape[1] >= self.latest:
            changed[lacks] = never
            changed[lacks, self.img] = 0.0
        if input_ids.shape[1]:
            begun = due & (input_ids[:, -1] == self.img)
            for token in (self.img, self.end_img, self.end):
                changed[begun, token] = never
        return changed


class Follow(LogitsProcessor):
    """Tokens that follow [IMG] of themselves, and but for the last one nowhere else.

    Args:
        mark: Id of [IMG].
        chain: Ids of what follows it, in order; the last one is [/IMG].
    """

    def __init__(self, mark: int, chain: Sequence[int]) -> None:
        self.mark, self.chain = mark, list(chain)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """[R, V] logits. Args: input_ids: [R, t] tokens of the replies. scores: [R, V] logits."""
        scores = scores.clone()
        scores[:, self.chain[:-1]] = -torch.inf
        recent = input_ids[:, -len(self.chain) :].flip(1).tolist()
        for row, tokens in enumerate(recent):
            if self.mark in tokens:
                scores[row] = -torch.inf
                scores[row, self.chain[tokens.index(self.mark)]] = 0
        return scores
