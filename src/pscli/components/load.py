"""How a system gets its parts: by the names of a configuration, or from the folder of an agent."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from pscli.components.bridge import Bridge, Sizes
from pscli.components.hub import ask_for, refuse_file
from pscli.components.late import Late
from pscli.components.weights import same_weights
from pscli.config import ModelConfig, PartConfig
from pscli.errors import CheckpointError, ConfigError
from pscli.registry import TABLES, find

WEIGHTS = "model.safetensors"
SIZES, CROSSED = ("sizes",), ("captions", "embeddings", "tau")  # what bridges take
# What the libraries raise at folders that lack something, or hold something else.
BROKEN = (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError)


@dataclass(frozen=True)
class Load:
    """Loads the parts of a system.

    Args:
        config: Names of the parts.
        folder: Of an agent; the parts that it holds are loaded from there.
        late: Parts that are loaded only when they are needed.
    """

    config: ModelConfig
    folder: Path | None = None
    late: Collection[str] = ()

    def __call__(self, part: str, **options: Any) -> Any:
        """`perceptron`, `llm` or `generator`, as the agent has it.

        Args:
            options: More that the part's `from_pretrained` takes.
        """
        if part in self.late:
            return Late(lambda: replace(self, late=())(part, **options))
        here = self.folder / part if self.folder else None
        if here is None or not here.is_dir():
            return self.pretrained(part, **options)
        named: PartConfig = getattr(self.config, part)
        if named.lora:  # the folder holds adapters alone
            return self.pretrained(part, adapters=here, **options)
        own = replace(named, revision=None, variant=None)
        return self._part(part, str(here), own, options)

    def pretrained(self, part: str, **options: Any) -> Any:
        """The same as it was before this system was trained."""
        named: PartConfig = getattr(self.config, part)
        ask_for(part, named)
        return self._part(part, located(named.weights, part), named, options)

    def _part(self, part: str, place: str, named: PartConfig, options: dict[str, Any]) -> Any:
        c = self.config
        if part == "generator":
            options |= {"guidance": c.guidance, "steps": c.draw_steps, "snr_gamma": c.snr_gamma}
        # A part of one's own need not know of what nobody asked for.
        told = {"variant": named.variant, "quantize": named.quantize, "lora": named.lora}
        options |= {key: value for key, value in told.items() if value is not None}
        if named.dtype != "float32":
            options["dtype"] = named.dtype
        kind = find(part, named.kind)
        with loading(part, place):
            return kind.from_pretrained(place, named.revision, **options)

    def bridge(self, sizes: Callable[[], Sizes]) -> Bridge:
        """The bridge: a function, or a module, made for `sizes` and with the agent's weights.

        Args:
            sizes: Asked only for a module.

        Raises:
            ConfigError: if it does not take what a bridge takes.
        """
        found = find("bridge", self.config.bridge)
        module = inspect.isclass(found) and issubclass(found, nn.Module)
        refuse_others(found, self.config.bridge, *(SIZES if module else CROSSED))
        if not module:
            function: Bridge = found
            return function
        learnt: Bridge = self.made("bridge", lambda: found(sizes()))
        return learnt

    def made(self, part: str, make: Callable[[], nn.Module]) -> Any:
        """A part that begins anew: seeded, or with the agent's weights.

        Raises:
            CheckpointError: if the agent's folder holds others, or is without them.
        """
        with same_weights():
            module = make()
        if self.folder is None:
            return module
        weights = self.folder / part / WEIGHTS
        try:
            module.load_state_dict(found := load_file(weights))
            if strange := [name for name, value in found.items() if not value.isfinite().all()]:
                raise ValueError(f"{strange[0]} has values that are no numbers.")
        except BROKEN as error:
            raise CheckpointError(f"The {part} in {weights} cannot be loaded: {error}") from error
        return module


def refuse_unread(model: ModelConfig, uses: Collection[str]) -> None:
    """Raises ConfigError if something is set of a part that no one of its kind reads.

    Args:
        uses: Parts of the system.
    """
    for part in uses:
        named: PartConfig = getattr(model, part)
        for name in ("quantize", "lora"):
            if not getattr(named, name) or named.kind not in TABLES[part]:
                continue
            # One of the package that takes any option hands them on, to nobody who reads these.
            if name not in inspect.signature(find(part, named.kind).from_pretrained).parameters:
                raise ConfigError(
                    f"The {part} '{named.kind}' has no {name}.", f"Leave out model.{part}.{name}."
                )
        if named.quantize and not named.lora:
            raise ConfigError(
                f"Weights in {named.quantize} do not train: only adapters beside them do.",
                f"Set their rank as well (model.{part}.lora=16), or leave out "
                f"model.{part}.quantize.",
            )


def refuse_others(bridge: Any, name: str, *takes: str) -> None:
    """Raises ConfigError if a bridge cannot be called with these arguments."""
    with contextlib.suppress(ValueError):  # of some built in, nobody knows
        signature = inspect.signature(bridge)
        try:
            signature.bind(*takes)
        except TypeError as error:
            raise ConfigError(
                f"The bridge '{name}' cannot be called with {', '.join(takes)}: {error}.",
                "Expected a function of the captions, the embeddings and τ, or a torch.nn.Module "
                "that is made for sizes: see docs/extending.md.",
            ) from error


def located(weights: str, part: str) -> str:
    """Folder or hub id of a part's weights."""
    return str(find("weights", weights)(part)) if weights in TABLES["weights"] else weights


@contextlib.contextmanager
def loading(part: str, place: str) -> Iterator[None]:
    """Tells of a part that cannot be loaded; its new weights are the same in every process.

    Raises:
        CheckpointError: if it cannot be loaded.
    """
    if part != "llm" or Path(place).suffix != ".gguf":
        refuse_file(place)
    try:
        with same_weights():
            yield
    except BROKEN as error:
        hint = "Expected a folder or hub id with safetensors; pickles and code are not loaded."
        if variants := {path.name.split(".")[-2] for path in Path(place).rglob("*.*.safetensors")}:
            hint = f"Its files are of a variant: --set model.{part}.variant={variants.pop()}."
        raise CheckpointError(f"The {part} in {place} cannot be loaded: {error}", hint) from error
