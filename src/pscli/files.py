"""Files and folders: read with errors that help, and never left half-written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pscli.errors import CheckpointError, DataError, PscliError


def read_json(path: Path) -> Any:
    """The JSON value in a file. Raises DataError with line and column if it is broken."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist.", "Check the path.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}.", "Expected a JSON file.") from error
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path} is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}.",
            "Mend the file and try again.",
        ) from error
    except ValueError as error:  # an integer of thousands of digits
        raise DataError(f"{path} cannot be read: {error}.", "Expected a dialogue.") from error
    except RecursionError as error:
        raise DataError(f"{path} is nested too deeply.", "Expected a dialogue.") from error


def claim(
    folder: Path, marker: str, overwrite: bool, error: type[PscliError] = CheckpointError
) -> None:
    """Returns if a folder may be written.

    Args:
        marker: File that tells our own folders, the only ones that `overwrite` gives up.

    Raises:
        error: if something is there already, and is not ours or not to be overwritten.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not overwrite:
        raise error(f"{folder} exists already.", "Name another folder, or replace it: --overwrite.")
    if not (folder / marker).is_file():
        raise error(
            f"{folder} is not overwritten: it has no {marker}, so it may hold something else.",
            "Name another folder, or delete it yourself.",
        )
