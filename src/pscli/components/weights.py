"""Weights from folders and hubs: safetensors only, and all of them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME
from transformers.utils.hub import cached_file

from pscli.errors import CheckpointError
from pscli.files import read_json, write_json

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def whole(kind: Any, place: str | Path, **options: Any) -> Any:
    """A model of transformers or diffusers, every weight of which the folder or hub id holds.

    Raises:
        ValueError: if some are missing, which the library would draw at random, or have another
            shape.
    """
    model, found = kind.from_pretrained(
        str(place), use_safetensors=True, output_loading_info=True, **options
    )
    refuse_lacking(map(str, [*found["missing_keys"], *found.get("mismatched_keys", ())]))
    return model


def refuse_lacking(names: Iterable[str], what: str = "weights") -> None:
    """Raises ValueError, with the first of them, if there are names of what should be there."""
    if lacking := sorted(names):
        raise ValueError(f"{len(lacking)} of its {what} are not there, such as {lacking[0]}.")


def other_kind(what: str) -> CheckpointError:
    """The error of a generator that is whole, and of another kind. Args: what: Which one it is."""
    return CheckpointError(
        f"This generator is of another kind. {what}",
        "Name its kind, --set model.generator.kind=…, or other weights: "
        "--set model.generator.weights=FOLDER.",
    )


def some(place: str | Path, prefixes: tuple[str, ...], **at: Any) -> dict[str, Tensor]:
    """Weights of a folder or hub id whose names begin with one of the prefixes.

    Only the files that hold them are read, or fetched: a vision tower does not need the language
    model that it was published with.

    Args:
        at: Revision, and what else `cached_file` of transformers takes.

    Raises:
        OSError: if there are no safetensors.
    """
    names = {SAFE_WEIGHTS_NAME}
    index = cached_file(
        str(place), SAFE_WEIGHTS_INDEX_NAME, _raise_exceptions_for_missing_entries=False, **at
    )
    if index:
        shards = json.loads(Path(index).read_text(encoding="utf-8"))["weight_map"]
        names = {name for key, name in shards.items() if key.startswith(prefixes)}
    found = {}
    for name in sorted(names):
        with safe_open(cached_file(str(place), name, **at), "pt") as weights:
            keys = [key for key in weights.keys() if key.startswith(prefixes)]  # noqa: SIM118
            found.update({key: weights.get_tensor(key) for key in keys})
    return found


def fill(module: nn.Module, weights: dict[str, Tensor], prefix: str) -> None:
    """Gives a module those weights whose names begin with `prefix`.

    Raises:
        ValueError: if one is missing or has another shape.
    """
    own = {key.removeprefix(prefix): w for key, w in weights.items() if key.startswith(prefix)}
    needed = dict(module.state_dict())
    refuse_lacking(set(needed) - set(own))
    module.load_state_dict({key: own[key].to(needed[key].dtype) for key in needed})


def forget_places(folder: Path, parts: Iterable[str]) -> None:
    """Takes the paths that parts were loaded from out of their saved configurations."""
    for name in parts:
        path = folder / name / "config.json"
        pairs = read_json(path)
        pairs.pop("_name_or_path", None)
        write_json(path, pairs)


@contextlib.contextmanager
def same_weights() -> Iterator[None]:
    """New weights, where a folder lacks some, are the same in every process and run."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
