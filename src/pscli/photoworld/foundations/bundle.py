"""`python -m pscli.photoworld.foundations.bundle RUN`: ships the agent of a run."""

from __future__ import annotations

import sys
from pathlib import Path

from pscli import console
from pscli.errors import DataError
from pscli.photoworld.shipped import AGENT
from pscli.runs import Run
from pscli.systems.agent import Agent


def main() -> None:
    """Of the one run that the command line names."""
    run = Run(Path(sys.argv[1])) if len(sys.argv) == 2 else None
    scored = [line for line in run.metrics if not {*run.monitored}.isdisjoint(line)] if run else []
    if not run or not scored:
        raise DataError("Expected one run that was scored on dev.", "Name its folder.")
    scores = {name: value for name, value in scored[-1].items() if name != "step"}
    Agent.from_pretrained(str(run.agent)).save_pretrained(AGENT, half=True, scores=scores)


if __name__ == "__main__":
    console.script(main)
