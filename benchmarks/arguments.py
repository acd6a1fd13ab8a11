"""What the commands of benchmarks have in common."""

from __future__ import annotations

from argparse import ArgumentTypeError
from math import inf


def positive(text: str) -> int:
    """A whole number of 1 at least."""
    if not text.isdecimal() or not int(text):
        raise ArgumentTypeError(f"expected a whole number of 1 at least, got {text!r}")
    return int(text)


def above_zero(text: str) -> float:
    """A number above zero."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < inf:
        raise ArgumentTypeError(f"expected a number above zero, got {text!r}")
    return number
