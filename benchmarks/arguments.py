"""What the commands of benchmarks have in common."""

from __future__ import annotations

from argparse import ArgumentTypeError


def positive(text: str) -> int:
    """A whole number of 1 at least."""
    if not text.isdecimal() or not int(text):
        raise ArgumentTypeError(f"expected a whole number of 1 at least, got {text!r}")
    return int(text)
