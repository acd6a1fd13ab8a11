"""What is typed: with a line editor in a terminal, and else line by line from stdin."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from pscli import console
from pscli.errors import DataError

Completions = Callable[[str], list[str]]  # of a whole line as it was typed so far


class Lines:
    """Lines of stdin.

    Args:
        completions: What Tab offers.
    """

    def __init__(self, completions: Completions) -> None:
        self.terminal = sys.stdin.isatty() and console.stdout.is_terminal
        if isinstance(sys.stdin, io.TextIOWrapper):
            sys.stdin.reconfigure(errors="replace")
        if self.terminal and find_spec("readline"):  # not on Windows
            _complete_by(completions)

    def read(self, prompt: str) -> str:
        """The next line. Raises EOFError when there is none. Args: prompt: Shown in a terminal."""
        if self.terminal:
            return input(prompt)
        line = sys.stdin.readline()
        if not line:
            raise EOFError
        return line


def _complete_by(completions: Completions) -> None:
    import readline

    found: list[str] = []

    def complete(line: str, number: int) -> str | None:
        if number == 0:
            found[:] = completions(line)
        return found[number] if number < len(found) else None

    readline.set_completer(complete)
    readline.set_completer_delims("")  # a path may hold anything
    edit = "libedit" in (readline.__doc__ or "")  # of macOS
    readline.parse_and_bind("bind ^I rl_complete" if edit else "tab: complete")


def paths(begun: str) -> list[str]:
    """Files and folders whose paths begin so; none whose names would control a terminal."""
    head, tail = os.path.split(begun)
    try:
        there = sorted(os.scandir(os.path.expanduser(head) or "."), key=lambda entry: entry.name)
        return [
            os.path.join(head, entry.name) + ("/" if entry.is_dir() else "")
            for entry in there
            if entry.name.startswith(tail)
            and (tail.startswith(".") or not entry.name.startswith("."))
            and entry.name == console.plain(entry.name)
        ]
    except OSError:
        return []


def path_of(text: str) -> Path:
    """A path as it is typed, dragged or pasted: perhaps quoted, with `~` or escaped spaces.

    Raises:
        DataError: if no path can be so.
    """
    if "\0" in text:
        raise DataError("A path cannot hold a NUL.", "Type it again.")
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
    path = os.path.expanduser(text[1:-1] if quoted else text)
    return Path(path if quoted or os.path.exists(path) else path.replace("\\ ", " "))
