"""The command line: thin commands over the modules that do the work, in the order of --help."""

# isort: off
from pscli.cli.app import app, main
from pscli.cli import data, caption, plan, train, generate, chat, score, report, push, foundations

# isort: on
__all__ = [
    "app",
    "caption",
    "chat",
    "data",
    "foundations",
    "generate",
    "main",
    "plan",
    "push",
    "report",
    "score",
    "train",
]
