"""Parts that are loaded when they are needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

from torch import nn


class Late(nn.Module):
    """A part that is loaded when it is first asked for anything, and is that part from then on.

    An agent says its first words without its generator, and without the libraries that draw.

    Args:
        load: Loads the part.
    """

    def __init__(self, load: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.__dict__["_load"], self.__dict__["_moves"] = load, []

    def __getattr__(self, name: str) -> Any:
        # Only what a module without weights does not have is looked up here.
        self._become()
        return getattr(self, name)

    def _become(self) -> None:
        moves, training = self._moves, self.training
        part = self._load()
        self.__class__ = type(part)
        self.__dict__ = part.__dict__
        for move in moves:
            self._apply(move)
        self.train(training)

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        """To another device or dtype: remembered until there is something to move."""
        self._moves.append(fn)
        return self
