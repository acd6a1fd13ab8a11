"""Errors that a user can fix: what happened, what was expected, what to do."""

from __future__ import annotations


class PscliError(Exception):
    """An expected failure. The command line prints it without a traceback and exits with 2.

    Args:
        message: What happened and what was expected, in one or two sentences.
        hint: What to do about it.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class ConfigError(PscliError):
    """A name, option or configuration value that cannot be used."""


class DataError(PscliError):
    """A dialogue, photo or dataset that cannot be read."""


class CheckpointError(PscliError):
    """A run, checkpoint or agent folder that cannot be used."""


class TrainingError(PscliError):
    """A run that cannot go on."""
