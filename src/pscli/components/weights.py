"""Weights from folders and hubs: safetensors only, and all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def whole(kind: Any, place: str | Path, **options: Any) -> Any:
    """A model of transformers, every weight of which the folder or hub id `place` holds.

    Raises:
        ValueError: if some are missing, which the library would draw at random, or have another
            shape.
    """
    model, found = kind.from_pretrained(
        str(place), use_safetensors=True, output_loading_info=True, **options
    )
    lacking = sorted(map(str, [*found["missing_keys"], *found.get("mismatched_keys", ())]))
    if lacking:
        raise ValueError(f"{len(lacking)} of its weights are not there, such as {lacking[0]}.")
    return model
