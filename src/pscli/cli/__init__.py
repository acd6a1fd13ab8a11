"""The command line: thin commands over the modules that do the work, in the order of --help."""

# isort: off
from pscli.cli.app import app, main
from pscli.cli import data, inspect, caption, plan, train, generate, chat, demo
from pscli.cli import serve, score, report, push, doctor, foundations

# isort: on
__all__ = [
    "app",
    "caption",
    "chat",
    "data",
    "demo",
    "doctor",
    "foundations",
    "generate",
    "inspect",
    "main",
    "plan",
    "push",
    "report",
    "score",
    "serve",
    "train",
]
