"""Which names of photos a file system cannot hold, alone or beside one another."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from pscli.files import folds_names

on_windows = os.name == "nt"
_FORBIDDEN = re.compile(
    r"""^(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])[ ]*(\.|$) | [<>:"\\|?*\x00-\x1f] | [ .]$""",
    re.IGNORECASE | re.VERBOSE,
)


def clashes(paths: Iterable[str], folder: Path) -> dict[str, str]:
    """Paths that cannot be in a folder beside those that come before them, and why.

    Args:
        paths: All different, with slashes, below the folder.
    """
    fold = folded if folds_names(folder) else str
    files: dict[str, str] = {}
    folders: dict[str, str] = {}
    problems: dict[str, str] = {}
    for path in paths:
        key = fold(path)
        above = [key[:i] for i, letter in enumerate(key) if letter == "/"]
        taken = next((files[name] for name in (key, *above) if name in files), folders.get(key))
        if taken is not None:
            problems[path] = f"its name clashes with {taken}"
        elif on_windows and forbidden_by_windows(path):
            problems[path] = "a name that Windows forbids"
        else:
            files[key] = path
            for name in above:
                folders.setdefault(name, path)
    return problems


def folded(path: str) -> str:
    """Equal for names that a file system which folds case or normalises Unicode takes for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", path).casefold())


def forbidden_by_windows(path: str) -> bool:
    """Whether a part of a path is a device there, or holds or ends in what names may not."""
    return any(map(_FORBIDDEN.search, path.split("/")))
