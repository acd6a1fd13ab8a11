"""Configuration files of models: of folders, of published ids, and of the hub.

`published.json` holds those of the presets' ids, as far as they say how large a model is, so that
a run can be planned where no hub is within reach.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from pscli.components.hub import fetched, refuse_file
from pscli.errors import CheckpointError, DataError
from pscli.files import read_json


@cache
def published() -> dict[str, dict[str, Any]]:
    """Configuration files by id and path."""
    path = Path(__file__).with_name("published.json")
    known: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return known


def settings(place: str, path: str, revision: str | None = None) -> dict[str, Any]:
    """A configuration file of a folder or hub id.

    Raises:
        CheckpointError: if there is none.
    """
    refuse_file(place)
    try:
        if Path(place).is_dir():
            found = read_json(Path(place) / path)
        elif place in published():
            found = published()[place][path]
        else:
            file = fetched(place, path, revision)
            found = read_json(file) if file else None
    except (DataError, KeyError) as error:
        raise CheckpointError(f"{place} has no {path} that says how large it is.") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} in {place} is no configuration.")
    return dict(found)
