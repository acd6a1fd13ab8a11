"""`python -m pscli.photoworld.foundations.bundle RUN`: ships the agent of a run."""

from __future__ import annotations

import sys
from pathlib import Path

from pscli.photoworld.shipped import AGENT
from pscli.runs import Run
from pscli.systems.agent import Agent

if __name__ == "__main__":
    run = Run(Path(sys.argv[1]))
    scored = [line for line in run.metrics if not {*run.monitored}.isdisjoint(line)]
    scores = {name: value for name, value in scored[-1].items() if name != "step"}
    Agent.from_pretrained(str(run.agent)).save_pretrained(AGENT, half=True, scores=scores)
