"""How a system gets its parts: by the names of a configuration, or from the folder of an agent."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from pscli.components.bridge import Bridge, Sizes
from pscli.config import ModelConfig, PartConfig
from pscli.errors import CheckpointError
from pscli.registry import TABLES, find

WEIGHTS = "model.safetensors"
# What the libraries raise at folders that lack something, or hold something else.
BROKEN = (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError)


@dataclass(frozen=True)
class Load:
    """Loads the parts of a system.

    Args:
        config: Names of the parts.
        folder: Of an agent; the parts that it holds are loaded from there.
    """

    config: ModelConfig
    folder: Path | None = None

    def __call__(self, part: str) -> Any:
        """`perceptron`, `llm` or `generator`, as the agent has it."""
        here = self.folder / part if self.folder else None
        return self._part(part, str(here)) if here and here.is_dir() else self.pretrained(part)

    def pretrained(self, part: str) -> Any:
        """The same as it was before this system was trained."""
        named: PartConfig = getattr(self.config, part)
        return self._part(part, located(named.weights, part), named.revision)

    def _part(self, part: str, place: str, revision: str | None = None) -> Any:
        c = self.config
        drawing = {"guidance": c.guidance, "steps": c.draw_steps, "snr_gamma": c.snr_gamma}
        options: dict[str, Any] = drawing if part == "generator" else {}
        kind = find(part, getattr(c, part).kind)
        try:
            with _seeded():
                return kind.from_pretrained(place, revision, **options)
        except BROKEN as error:
            raise CheckpointError(
                f"The {part} in {place} cannot be loaded: {error}",
                "Expected a folder or hub id with safetensors; pickles and code are not loaded.",
            ) from error

    def bridge(self, sizes: Sizes) -> Bridge:
        """The bridge: a function, or a module, made for `sizes` and with the agent's weights."""
        found = find("bridge", self.config.bridge)
        if not (inspect.isclass(found) and issubclass(found, nn.Module)):
            function: Bridge = found
            return function
        with _seeded():
            bridge = found(sizes)
        weights = self.folder / "bridge" / WEIGHTS if self.folder else None
        try:
            if weights and weights.is_file():
                bridge.load_state_dict(load_file(weights))
        except BROKEN as error:
            raise CheckpointError(f"The bridge in {weights} cannot be loaded: {error}") from error
        return bridge


def located(weights: str, part: str) -> str:
    """Folder or hub id of a part's weights."""
    return str(find("weights", weights)(part)) if weights in TABLES["weights"] else weights


@contextlib.contextmanager
def _seeded() -> Iterator[None]:
    """New weights, where a folder lacks some, are the same in every process and run."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
